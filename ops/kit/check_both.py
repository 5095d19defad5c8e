"""What `wire check` asks of both endpoints together: the same values, whole blocks, a heartbeat that moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from actors.vocabulary import Reason
from ops.kit.clients import ModbusWire, OpcUaWire, Shown
from ops.kit.looking import STALE_S
from ops.kit.report import Finding, Subject
from ops.kit.tags import Tag

# Looks at every pump's block on both wires; a large plant is looked at less often, so that the check ends.
_LOOKS: Final = 20
_LOOKS_MIN: Final = 3
_READS: Final = 1_000
_TRIES: Final = 8
_AGAIN_S: Final = 0.25
_HEARTBEAT_WAIT_S: Final = STALE_S + 2.0
_MOVES_BY_ITSELF: Final = frozenset({"heartbeat", "sequence", "sequence_end"})


async def agreement(subject: Subject, modbus_wire: ModbusWire, opcua: OpcUaWire) -> AsyncIterator[Finding]:
    """Both wires say the same value: that proves addresses, types, word order and scaling at once."""
    by_owner: dict[str, list[Tag]] = {}
    for tag in subject.tags:
        if tag.places and tag.point not in _MOVES_BY_ITSELF:
            by_owner.setdefault(tag.owner, []).append(tag)
    for owner, tags in by_owner.items():
        apart = tags
        last: dict[str, str] = {}
        # Between two reads a value may move: what agrees once is right.
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(_AGAIN_S)
            before = await opcua.read(apart)
            modbus = await modbus_wire.read(apart)
            after = await opcua.read(apart)
            apart = [tag for tag in apart if not _agree(tag, modbus, before, after)]
            last = {tag.path: f"{modbus[tag.path].value:g} and {after[tag.path].value:g}" for tag in apart}
            if not apart:
                break
        faults = [f"{path}: modbus {pair} opcua" for path, pair in last.items()]
        yield subject.finding("both wires say the same", owner, faults, f"{len(tags)} points")


async def handshake(subject: Subject, modbus_wire: ModbusWire, opcua: OpcUaWire) -> AsyncIterator[Finding]:
    """Blocks are whole, and the heartbeat moves on both wires."""
    torn: dict[str, list[str]] = {owner: [] for owner in subject.pumps}
    beats: dict[tuple[str, str], set[object]] = {}
    reasons: dict[str, str] = {}
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + _HEARTBEAT_WAIT_S
    enough = max(_LOOKS_MIN, min(_LOOKS, _READS // max(1, len(subject.pumps))))
    looks = 0
    while looks < enough or (loop.time() < ends_s and not _all_moved(subject, beats)):
        looks += 1
        for owner, points in subject.pumps.items():
            own = list(points.values())
            for wire, shown in (
                ("modbus", await modbus_wire.read(own)),
                ("opcua", await opcua.read(own)),
            ):
                values = {tag.point: shown[tag.path].value for tag in own}
                if values["sequence"] != values["sequence_end"]:
                    torn[owner].append(f"{wire}: {values['sequence']:g} and {values['sequence_end']:g}")
                beats.setdefault((owner, wire), set()).add(values["heartbeat"])
                reasons[owner] = _reason(values["reason"])
        await asyncio.sleep(_AGAIN_S / 5)
    for owner in subject.pumps:
        yield subject.finding("handshake block is untorn", owner, torn[owner], f"{looks} looks at both wires")
        still = [wire for wire in ("modbus", "opcua") if len(beats[owner, wire]) < 2]  # noqa: PLR2004  (it moved)
        detail = f"{' and '.join(still)}: not for {_HEARTBEAT_WAIT_S:g} s, reason {reasons[owner]}"
        if still and subject.without_plc:
            yield subject.note("heartbeat moves", owner, detail)
        else:
            yield subject.finding("heartbeat moves", owner, detail if still else "", "on both wires")


def _all_moved(subject: Subject, beats: Mapping[tuple[str, str], set[object]]) -> bool:
    return all(
        len(beats.get((owner, wire), ())) > 1 for owner in subject.pumps for wire in ("modbus", "opcua")
    )


def _agree(
    tag: Tag, modbus: Mapping[str, Shown], before: Mapping[str, Shown], after: Mapping[str, Shown]
) -> bool:
    value = modbus[tag.path].value
    if tag.type != "Double":
        return value in (before[tag.path].value, after[tag.path].value)
    # Rounded to the register's resolution; a value that lies beyond the registers is shown at their end.
    low, high = tag.value_range
    tolerance = tag.places[0].scale * 0.5 + 1e-9
    return any(
        abs(value - min(max(other[tag.path].value, low), high)) <= tolerance for other in (before, after)
    )


def _reason(code: object) -> str:
    try:
        return Reason(int(str(code))).name
    except ValueError:
        return str(code)
