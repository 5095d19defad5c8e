"""What a station's controller needs: Structured Text made from the running map, and where each pump's registers lie.

The function block itself is a file, `ops/plc/calejo_pump.st`: the same for every pump there is. Only addresses and
names are made here. Language: IEC 61131-3:2013, Structured Text, without vendor extensions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Final

import msgspec

from actors.vocabulary import DeviceError
from ops.kit.tags import Place, Tag

BLOCK_FILE: Final = "calejo_pump.st"
BLOCK_REGISTERS: Final = 13
# What the function block takes for granted: the registers of BLOCK and REPORT, counted from their first.
BLOCK_POINTS: Final[Mapping[str, int]] = {
    "sequence": 0, "remote_enabled": 1, "run_inhibit": 2, "setpoint": 3, "setpoint_quality": 4, "heartbeat": 5,
    "epoch": 6, "release_id": 8, "reason": 10, "sequence_end": 11, "mode": 12,
}  # fmt: skip
REPORT_POINTS: Final[Mapping[str, int]] = {
    "local_override": 0, "plc_heartbeat": 1, "setpoint_echo": 2, "actual_speed": 3, "actual_power": 4,
    "actual_flow": 6, "wet_well_level": 8, "high_float": 10, "running": 11, "fault_code": 12,
}  # fmt: skip
_REPORT_OFFSET: Final = 20
_NO_IDENTIFIER: Final = re.compile(r"[^A-Za-z0-9]+")
_HOLDING_FIRST: Final = 40_001


class PumpRegisters(msgspec.Struct, frozen=True, kw_only=True):
    """Where one pump's block and report begin (zero-based holding registers), and its tags by point."""

    pump_id: str
    unit_id: int
    read: int
    write: int
    tags: Mapping[str, Tag]


def modicon(place: Place) -> str:
    """Return the address in the notation that counts from 1 and begins with the area's digit."""
    first = {"coil": 1, "discrete": 10_001, "input": 30_001, "holding": _HOLDING_FIRST}[place.table]
    width = 5 if place.address < 9_999 else 6  # noqa: PLR2004  (five digits end there)
    return f"{place.address + first + (first // 10_000 * 90_000 if width == 6 else 0):0{width}d}"  # noqa: PLR2004


def registers_of(tags: Sequence[Tag]) -> tuple[PumpRegisters, ...]:
    """Return the pumps of one station's tags in the order of their registers.

    Raises:
        DeviceError: a pump's points do not lie where the function block expects them.

    """
    pumps: dict[str, dict[str, Tag]] = {}
    for tag in tags:
        if tag.pump_id is not None:
            pumps.setdefault(tag.pump_id, {})[tag.point] = tag
    found = [_registers(pump_id, points) for pump_id, points in pumps.items()]
    return tuple(sorted(found, key=lambda pump: pump.read))


def _registers(pump_id: str, points: Mapping[str, Tag]) -> PumpRegisters:
    missing = sorted({*BLOCK_POINTS, *REPORT_POINTS} - set(points))
    if missing:
        raise DeviceError(f"pump {pump_id}: not on the wire: {', '.join(missing)}")
    first = points["sequence"].places[0]
    for expected, offset in ((BLOCK_POINTS, 0), (REPORT_POINTS, _REPORT_OFFSET)):
        for name, at in expected.items():
            place = points[name].places[0]
            if (place.unit_id, place.address) != (first.unit_id, first.address + offset + at):
                raise DeviceError(
                    f"pump {pump_id}: {name} lies at {place.address}, the function block expects"
                    f" {first.address + offset + at} (this kit is older than the map)"
                )
    return PumpRegisters(
        pump_id=pump_id,
        unit_id=first.unit_id,
        read=first.address,
        write=first.address + _REPORT_OFFSET,
        tags=points,
    )


def identifiers(ids: Sequence[str]) -> dict[str, str]:
    """Return an IEC 61131-3 identifier (2.1.2: no doubled or trailing underscore, case does not count) per id."""
    plain = {each: _NO_IDENTIFIER.sub("_", each).strip("_").upper() for each in ids}
    often = Counter(plain.values())
    return {
        each: name
        if often[name] == 1 and name
        else f"{name or 'X'}_{sha256(each.encode()).hexdigest()[:6].upper()}"
        for each, name in plain.items()
    }


def function_block() -> str:
    """Return the function block's text."""
    return (files("ops.plc") / BLOCK_FILE).read_text(encoding="utf-8")


def structured_text(tags: Sequence[Tag]) -> str:
    """Return types, function block and the station's program, for one station's tags.

    Raises:
        DeviceError: as `registers_of`; the station has no pump.

    """
    pumps = registers_of(tags)
    if not pumps:
        raise DeviceError("the station has no pump on the wires")
    return function_block() + "\n" + "\n".join(_program(tags[0], pumps)) + "\n"


# Inputs that the engineer connects, per pump: name, type, what it is.
_WIRED: Final = (
    ("PANEL_RESET", "BOOL", "push button at the panel"),
    ("HAND", "BOOL", "the panel has control"),
    ("HAND_HZ", "REAL", "the panel's speed"),
    ("LOCAL_HZ", "REAL", "what your level control wants of this pump"),
    ("PROTECTION_OK", "BOOL", "your interlocks permit running"),
    ("ACTUAL_HZ", "REAL", "measured"),
    ("RUNNING", "BOOL", "the drive runs"),
    ("POWER_KW", "REAL", "measured"),
    ("FLOW_M3H", "REAL", "measured"),
    ("LEVEL_M", "REAL", "above the declared datum"),
    ("HIGH_FLOAT", "BOOL", "closed"),
    ("FAULT_CODE", "UINT", "0: none"),
)


def _program(of: Tag, pumps: Sequence[PumpRegisters]) -> Iterator[str]:
    named = identifiers([pump.pump_id for pump in pumps])
    station = identifiers([of.station_id or ""])[of.station_id or ""]
    yield f"(* Station {of.station_id} of site {of.site_id}: Modbus unit id {pumps[0].unit_id}. Made by `calejo plc st`"
    yield "   from the running map; addresses are holding registers, counted from 0 (in parentheses: 4xxxx notation).\n"
    yield "   pump              read 13, function 03     write 13, function 16"
    for pump in pumps:
        read, write = pump.tags["sequence"].places[0], pump.tags["local_override"].places[0]
        yield f"   {pump.pump_id:<16}  {pump.read:>6} ({modicon(read)})         {pump.write:>6} ({modicon(write)})"
    yield "\n   Yours to connect: the Modbus client (.._BLOCK, .._NEW, .._REPORT), the inputs below, .._COMMAND_HZ."
    yield "   32-bit values: most significant word first. *)"
    yield f"PROGRAM CALEJO_STATION_{station}"
    yield "VAR CONSTANT"
    yield f"  CALEJO_UNIT_ID : UINT := {pumps[0].unit_id};"
    yield f"  CALEJO_REGISTERS : UINT := {BLOCK_REGISTERS};"
    for pump in pumps:
        yield f"  P_{named[pump.pump_id]}_READ_FROM : UINT := {pump.read};"
        yield f"  P_{named[pump.pump_id]}_WRITE_TO : UINT := {pump.write};"
    yield "END_VAR"
    yield "VAR"
    yield "  SECOND : TON;"
    yield "  SECOND_DONE : BOOL;"
    for pump in pumps:
        name = f"P_{named[pump.pump_id]}"
        yield f"  {name}_FB : CALEJO_PUMP;"
        yield f"  {name}_BLOCK : CALEJO_BLOCK; (* from the Modbus client *)"
        yield f"  {name}_NEW : BOOL; (* from the Modbus client: one scan per complete answer *)"
        yield f"  {name}_REPORT : CALEJO_REPORT; (* to the Modbus client *)"
        yield f"  {name}_COMMAND_HZ : REAL; (* to the drive *)"
        for wired, kind, meaning in _WIRED:
            yield f"  {name}_{wired} : {kind}; (* {meaning} *)"
    yield "END_VAR"
    yield ""
    yield "SECOND(IN := NOT SECOND_DONE, PT := T#1s);"
    yield "SECOND_DONE := SECOND.Q;"
    for pump in pumps:
        name = f"P_{named[pump.pump_id]}"
        yield f"{name}_FB("
        yield f"  BLOCK := {name}_BLOCK, BLOCK_NEW := {name}_NEW, REPORT_NEXT := SECOND_DONE,"
        yield ",\n".join(f"  {wired} := {name}_{wired}" for wired, _, _ in _WIRED)
        yield ");"
        yield f"{name}_REPORT := {name}_FB.REPORT;"
        yield f"{name}_COMMAND_HZ := {name}_FB.COMMAND_HZ;"
    yield "END_PROGRAM"
