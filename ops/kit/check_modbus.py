"""What `wire check` asks of the Modbus endpoint: the map, its edges, refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Final

from ops.kit.clients import ModbusWire, Refused
from ops.kit.report import Finding, Subject
from ops.kit.tags import Tag

# Past the handshake block in a pump's registers: belongs to no point.
_FREE_OFFSET: Final = 13
_NO_SUCH_ADDRESS: Final = "02"
_NO_SUCH_FUNCTION: Final = "01"
_NO_SUCH_UNIT: Final = "0B"
_UNIT_IDS: Final = range(1, 248)
_ADDRESS_MAX: Final = 65_535
# (no station, no pump): site, station, pump.
_LEVELS: Final = {(True, True), (False, True), (False, False)}


def _by_unit(subject: Subject) -> dict[int, list[Tag]]:
    units: dict[int, list[Tag]] = {}
    for tag in subject.tags:
        if tag.station_id is not None and tag.places:
            units.setdefault(tag.places[0].unit_id, []).append(tag)
    return units


async def readable(subject: Subject, wire: ModbusWire) -> AsyncIterator[Finding]:
    """Every address of the map is readable, in the size that the map says."""
    for unit_id, tags in _by_unit(subject).items():
        faults = []
        for tag in tags:
            for place in tag.places:
                try:
                    cells = await wire.cells(place.unit_id, place.table, place.address, place.count)
                except Refused as error:
                    faults.append(f"{tag.path}: {error}")
                    continue
                if tag.type == "Boolean" and cells[0] not in (0, 1):
                    faults.append(f"{tag.path}: {cells[0]} is neither 0 nor 1")
        yield subject.finding("modbus map is readable", f"unit {unit_id}", faults, f"{len(tags)} points")
    stops = [tag for tag in subject.tags if tag.point == "emergency_stop"]
    faults = [
        f"{tag.path}: no coil" for tag in stops if not any(place.table == "coil" for place in tag.places)
    ]
    for tag in stops:
        for place in tag.places:
            try:
                await wire.cells(place.unit_id, place.table, place.address, 1)
            except Refused as error:
                faults.append(str(error))
    levels = "pump, station and site" if subject.whole else "every scope chosen"
    if not stops or (subject.whole and {(t.station_id is None, t.pump_id is None) for t in stops} != _LEVELS):
        faults.append("not there for every scope")
    yield subject.finding("emergency stop coils", subject.site_id, faults, f"{len(stops)} for {levels}")


async def edges(subject: Subject, wire: ModbusWire) -> AsyncIterator[Finding]:
    """What is not on the map is refused with the code of its reason."""
    units = _by_unit(subject)
    for unit_id, tags in units.items():
        ends = [
            place.address + place.count for tag in tags for place in tag.places if place.table == "holding"
        ]
        if not ends or not subject.whole:
            continue
        beyond = max(ends) + 50  # past the last pump's reserved registers
        if beyond <= _ADDRESS_MAX:
            faults = await _refusal(
                wire.cells(unit_id, "holding", beyond, 1), f"register {beyond}", _NO_SUCH_ADDRESS
            )
            yield subject.finding("modbus refuses beyond the map", f"unit {unit_id}", faults, "exception 02")
    known = {place.unit_id for tag in subject.tags for place in tag.places}
    if subject.whole and (free := next((unit for unit in _UNIT_IDS if unit not in known), None)) is not None:
        faults = await _refusal(wire.cells(free, "holding", 0, 1), f"unit {free}", _NO_SUCH_UNIT)
        yield subject.finding("modbus refuses unknown units", f"unit {free}", faults, "exception 0B")
    for unit_id in list(units)[:1]:
        faults = await _refusal(wire.unserved_function(unit_id), "function 07", _NO_SUCH_FUNCTION)
        yield subject.finding("modbus refuses other functions", f"unit {unit_id}", faults, "exception 01")


async def read_only(subject: Subject, wire: ModbusWire) -> AsyncIterator[Finding]:
    """Writes that no version may take are refused, and with the right code."""
    for owner, points in subject.pumps.items():
        place = points["epoch"].places[0]
        shown = await wire.cells(place.unit_id, "holding", place.address, place.count)
        free = points["sequence"].places[0].address + _FREE_OFFSET
        faults = await _refusal(
            wire.write_registers(place.unit_id, place.address, shown),
            "write to epoch",
            _NO_SUCH_ADDRESS,
        )
        faults += await _refusal(
            wire.write_registers(place.unit_id, free, [0]), f"write to free register {free}",
            _NO_SUCH_ADDRESS,
        )  # fmt: skip
        yield subject.finding("modbus refuses writes to read-only", owner, faults, "exception 02")


async def _refusal(request: Awaitable[object], what: str, code: str) -> list[str]:
    try:
        await request
    except Refused as error:
        return [] if error.code == code else [f"{what}: exception {error.code}, expected {code}"]
    return [f"{what}: accepted, expected exception {code}"]
