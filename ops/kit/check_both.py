"""What `wire check` asks of both endpoints together: the same values, whole blocks, a heartbeat that moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from actors.vocabulary import Reason
from ops.kit.clients import ModbusWire, OpcUaWire, Refused, Shown, number
from ops.kit.looking import STALE_S, WIRES
from ops.kit.report import Finding, Subject
from ops.kit.tags import Tag
from protocols.modbus.points import REQUEST_POINTS

# Looks at every pump's block on both wires; a large plant is looked at less often, so that the check ends.
_LOOKS: Final = 20
_LOOKS_MIN: Final = 3
_READS: Final = 1_000
_TRIES: Final = 8
_AGAIN_S: Final = 0.25
_HEARTBEAT_WAIT_S: Final = STALE_S + 2.0
# ... or is each wire's own: what was last asked for there.
_MOVES_BY_ITSELF: Final = frozenset({"heartbeat", "sequence", "sequence_end", *REQUEST_POINTS})


async def agreement(subject: Subject, modbus_wire: ModbusWire, opcua: OpcUaWire) -> AsyncIterator[Finding]:
    """Both wires say the same value: that proves addresses, types, word order and scaling at once."""
    by_owner: dict[str, list[Tag]] = {}
    for tag in subject.tags:
        if tag.on_both and tag.point not in _MOVES_BY_ITSELF:
            by_owner.setdefault(tag.owner, []).append(tag)
    for owner, tags in by_owner.items():
        try:
            faults = await _apart(tags, modbus_wire, opcua)
        except Refused as error:
            faults = [str(error)]
        yield subject.finding("both wires say the same", owner, faults, f"{len(tags)} points")


async def _apart(tags: Sequence[Tag], modbus_wire: ModbusWire, opcua: OpcUaWire) -> list[str]:
    """Return a line per point on which the wires go on to differ."""
    apart = list(tags)
    last: dict[str, tuple[str, str]] = {}
    # Between two reads a value may move: what agrees once is right.
    for attempt in range(_TRIES):
        if attempt:
            await asyncio.sleep(_AGAIN_S)
        before = await opcua.read(apart)
        modbus = await modbus_wire.read(apart)
        after = await opcua.read(apart)
        apart = [tag for tag in apart if not _agree(tag, modbus, before, after)]
        last = {tag.path: (number(modbus[tag.path].value), number(after[tag.path].value)) for tag in apart}
        if not apart:
            break
    return [f"{path}: modbus {one}, opcua {other}" for path, (one, other) in last.items()]


class _Block:
    """What was seen of one pump's block on both wires."""

    def __init__(self, points: Mapping[str, Tag]) -> None:
        self.tags = [points[name] for name in _BLOCK]
        self.looks = 0
        self.faults: list[str] = []
        self.refused = False
        self.beats: dict[str, set[object]] = {wire: set() for wire in WIRES}
        self.reason = ""

    @property
    def still(self) -> list[str]:
        """The wires on which the heartbeat was not seen to move."""
        return [wire for wire in WIRES if len(self.beats[wire]) < 2]  # noqa: PLR2004  (moved: two values)

    async def look(self, modbus: ModbusWire, opcua: OpcUaWire) -> None:
        """Look once.

        Raises:
            DeviceError: a wire does not answer.

        """
        self.looks += 1
        try:
            seen = {"modbus": await modbus.read(self.tags), "opcua": await opcua.read(self.tags)}
        except Refused as error:
            self.refused = True
            self.faults.append(str(error))
            return
        for wire, shown in seen.items():
            first, last, beat, reason = (shown[tag.path].value for tag in self.tags)
            if first != last:
                self.faults.append(f"{wire}: {number(first)} and {number(last)}")
            self.beats[wire].add(beat)
            self.reason = _reason(reason)


_BLOCK: Final = ("sequence", "sequence_end", "heartbeat", "reason")


async def handshake(subject: Subject, modbus: ModbusWire, opcua: OpcUaWire) -> AsyncIterator[Finding]:
    """Blocks are whole, and the heartbeat moves on both wires."""
    blocks = {owner: _Block(points) for owner, points in subject.pumps.items()}
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + _HEARTBEAT_WAIT_S
    enough = max(_LOOKS_MIN, min(_LOOKS, _READS // max(1, len(blocks))))
    while any(
        not block.refused and (block.looks < enough or (block.still and loop.time() < ends_s))
        for block in blocks.values()
    ):
        for block in blocks.values():
            if not block.refused:
                await block.look(modbus, opcua)
        await asyncio.sleep(_AGAIN_S / 5)
    for owner, block in blocks.items():
        good = f"{block.looks} looks at both wires"
        yield subject.finding("handshake block is untorn", owner, block.faults, good)
        detail = f"{' and '.join(block.still)}: not for {_HEARTBEAT_WAIT_S:g} s, reason {block.reason or 'unknown'}"
        if block.still and subject.without_plc and not block.refused:
            yield subject.note("heartbeat moves", owner, detail)
        else:
            yield subject.finding("heartbeat moves", owner, detail if block.still else "", "on both wires")


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
