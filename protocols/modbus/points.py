"""The whole Modbus map: the points that all wires share, and what only Modbus has of them (MOD-2); pure.

Modbus knows neither quality nor methods, so it has more points: status and feedback once more as input registers,
state bits as discrete inputs, commands as coils, an operator's requests as holding registers. Every address follows
from the station's unit id and the pump's `wire_slot` alone; what was there before keeps its place.

    coil      0 station stop, 1 site stop, 2 and 3 acknowledge; 100 + slot: pump stop; 2000 + 4 x slot: commands
    discrete  0 station failsafe, 1 site failsafe, 2 to 5 alarms; 100 + slot: not following; 10000 + 32 x slot: states
    input     the addresses of the holding registers that show something
    holding   100 + 50 x slot: a pump (handshake 0..12, feedback 20..32, requests 40..41)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from actors.vocabulary import Mode, Quality, Reason, SiteConfig
from protocols.points import (
    ADDRESSES,
    FEEDBACK_POINTS,
    PUMP_BASE,
    PUMP_REGISTERS,
    WIRE_SLOTS,
    Access,
    ModbusPlace,
    Point,
    PointType,
    PointValue,
    path_of,
    pump_base,
    site_points,
)

MODE_REQUEST: Final = "mode_request"
SETPOINT_REQUEST: Final = "setpoint_request"
AUTO_COMMAND: Final = "auto_command"
MANUAL_COMMAND: Final = "manual_command"
ACKNOWLEDGE: Final = "acknowledge"
ALARM_ACTIVE: Final = "alarm_active"
ALARM_UNACKNOWLEDGED: Final = "alarm_unacknowledged"

REQUEST_OFFSET: Final = 40
REQUEST_REGISTERS: Final = 2
REQUEST_POINTS: Final = (MODE_REQUEST, SETPOINT_REQUEST)
STATION_ACKNOWLEDGE_ADDRESS: Final = 2
SITE_ACKNOWLEDGE_ADDRESS: Final = 3
STATION_ALARMS_ADDRESS: Final = 2
SITE_ALARMS_ADDRESS: Final = 4
PUMP_ALARMS_OFFSET: Final = 14
COMMAND_BASE: Final = 2_000
COMMAND_COILS: Final = 4
STATE_BASE: Final = 10_000
STATE_BITS: Final = 32

_PUMP_COILS_END: Final = PUMP_BASE + WIRE_SLOTS
assert REQUEST_OFFSET + REQUEST_REGISTERS <= PUMP_REGISTERS
assert _PUMP_COILS_END <= COMMAND_BASE, "commands lie past the last pump's stop"
assert COMMAND_BASE + COMMAND_COILS * WIRE_SLOTS <= ADDRESSES
assert _PUMP_COILS_END <= STATE_BASE
assert STATE_BASE + STATE_BITS * WIRE_SLOTS <= ADDRESSES

COMMANDS: Final[Mapping[str, tuple[str, int]]] = {
    AUTO_COMMAND: (MODE_REQUEST, Mode.AUTO.value),
    MANUAL_COMMAND: (MODE_REQUEST, Mode.MANUAL.value),
}
"""What writing 1 to a command's coil writes instead; writing 0 changes nothing."""

Shows: TypeAlias = Callable[[PointValue], bool]


def _is_set(value: PointValue) -> bool:
    return bool(value.value)


def _is_good(value: PointValue) -> bool:
    return value.quality is Quality.GOOD


def _is(code: int) -> Shows:
    return lambda value: value.value == code


class StateBit(NamedTuple):
    """A discrete input: `offset` counts from the pump's first; 1 while `shows` holds of the pump's point `source`."""

    point: str
    offset: int
    source: str
    shows: Shows
    description: str


_GOOD: Final = "is GOOD (neither stale nor impossible nor frozen)"

STATES: Final = (
    StateBit("is_enabled", 0, "remote_enabled", _is_set, "1: the controller may obey the setpoint"),
    StateBit("is_inhibited", 1, "run_inhibit", _is_set, "1: a stop or OUT_OF_SERVICE holds"),
    StateBit(
        "is_stopped", 2, "reason", _is(Reason.EMERGENCY_STOP), "1: an emergency stop of whatever scope holds"
    ),
    StateBit("is_running", 3, "running", _is_set, "1: the drive is running"),
    StateBit("is_local", 4, "local_override", _is_set, "1: the panel has control"),
    StateBit("is_high", 5, "high_float", _is_set, "1: the high float is closed"),
    StateBit("is_faulty", 6, "fault_code", _is_set, "1: the drive reports a fault"),
    StateBit(
        "is_not_following", 7, "not_following", _is_set, "1: its measured speed is not what it is told"
    ),
    StateBit(
        "is_setpoint_good", 8, "setpoint_quality", _is(Quality.GOOD), "1: the setpoint's quality is GOOD"
    ),
    StateBit(
        "is_failsafe", 9, "setpoint_quality", _is(Quality.UNCERTAIN),
        "1: the setpoint's quality is UNCERTAIN: a failsafe strategy made it",
    ),
    StateBit("is_auto", 10, "mode", _is(Mode.AUTO), "1: the plan commands"),
    StateBit("is_manual", 11, "mode", _is(Mode.MANUAL), "1: an operator commands"),
    StateBit("is_mode_local", 12, "mode", _is(Mode.LOCAL), "1: mode LOCAL"),
    StateBit("is_out_of_service", 13, "mode", _is(Mode.OUT_OF_SERVICE), "1: out of service"),
    *(
        StateBit(
            f"good_{point}", 16 + index, point, _is_good, f"1: {point} {_GOOD}"
        )
        for index, point in enumerate(FEEDBACK_POINTS)
    ),
)  # fmt: skip
assert len({state.point for state in STATES}) == len({state.offset for state in STATES}) == len(STATES)
assert all(0 <= state.offset < STATE_BITS for state in STATES)
assert not {PUMP_ALARMS_OFFSET, PUMP_ALARMS_OFFSET + 1} & {state.offset for state in STATES}
# What follows from another point: a bit's own point, its source, and when it is 1.
_DERIVED: Final[Mapping[str, tuple[str, Shows]]] = {
    **{state.point: (state.source, state.shows) for state in STATES},
    AUTO_COMMAND: ("mode", _is(Mode.AUTO)),
    MANUAL_COMMAND: ("mode", _is(Mode.MANUAL)),
}


def modbus_points(site: SiteConfig) -> tuple[Point, ...]:
    """Return every point of the site with all its places on Modbus, in a stable order.

    A point that the other wires have, too, is one with its own path; what only Modbus has comes after it.

    Raises:
        InvalidValueError: see `protocols.points.site_points`.

    """
    points = {point.path: _mirrored(point) for point in site_points(site)}
    for added in _additions(site):
        known = points.get(added.path)
        points[added.path] = (
            added if known is None else msgspec.structs.replace(known, places=(*known.places, *added.places))
        )
    return tuple(points.values())


def state_bits(points: Iterable[Point]) -> dict[str, tuple[tuple[str, Shows], ...]]:
    """Return by the path of a source which bits follow from it, each with its path."""
    found: dict[str, tuple[tuple[str, Shows], ...]] = {}
    for point in points:
        derived = _DERIVED.get(point.point)
        if derived is not None:
            source = path_of(point.site_id, point.station_id, point.pump_id, derived[0])
            found[source] = (*found.get(source, ()), (point.path, derived[1]))
    return found


def with_states(
    values: Mapping[str, PointValue], bits: Mapping[str, tuple[tuple[str, Shows], ...]]
) -> dict[str, PointValue]:
    """Return the values and the state bits that follow from them."""
    shown = dict(values)
    for path, value in values.items():
        for bit, shows in bits.get(path, ()):
            shown[bit] = PointValue(value=shows(value), quality=Quality.GOOD, utc_ns=value.utc_ns)
    return shown


def block_of(point: Point, place: ModbusPlace) -> tuple[int, int]:
    """Return first address and count of what exists because of this place: a pump's whole block, gaps included."""
    if point.pump_id is not None and place.table in ("holding", "input") and place.address >= PUMP_BASE:
        slot = (place.address - PUMP_BASE) // PUMP_REGISTERS
        return PUMP_BASE + slot * PUMP_REGISTERS, PUMP_REGISTERS
    if place.table == "discrete" and place.address >= STATE_BASE:
        slot = (place.address - STATE_BASE) // STATE_BITS
        return STATE_BASE + slot * STATE_BITS, STATE_BITS
    return place.address, place.count


def _mirrored(point: Point) -> Point:
    inputs = tuple(
        msgspec.structs.replace(place, table="input") for place in point.places if place.table == "holding"
    )
    return msgspec.structs.replace(point, places=(*point.places, *inputs)) if inputs else point


_MODES: Final = f"{Mode.AUTO.value} AUTO, {Mode.MANUAL.value} MANUAL"
_REQUESTS: Final = (
    (MODE_REQUEST, PointType.UINT16, 1.0, "", f"{_MODES} (at the applied or requested speed)"),
    (SETPOINT_REQUEST, PointType.FLOAT, 0.01, "Hz", "An operator's speed, in MANUAL only"),
)
_ACKNOWLEDGES: Final = (
    ACKNOWLEDGE,
    "Writing 1 acknowledges every alarm of this object and below it, 0 changes nothing; reads 0",
)
_COMMANDS: Final = (
    (AUTO_COMMAND, "Writing 1 asks for AUTO, 0 changes nothing; reads 1 in AUTO"),
    (MANUAL_COMMAND, "Writing 1 asks for MANUAL at the applied speed, 0 changes nothing; reads 1 in MANUAL"),
    _ACKNOWLEDGES,
)
_ALARMS: Final = (
    (ALARM_ACTIVE, "1: an alarm of this object, or below it, stands"),
    (ALARM_UNACKNOWLEDGED, "1: an alarm of this object, or below it, was acknowledged by nobody"),
)
_Owner: TypeAlias = tuple[str, str | None, str | None]


def _additions(site: SiteConfig) -> Iterator[Point]:
    units = sorted(station.modbus_unit_id for station in site.stations)
    own = (site.site_id, None, None)
    yield from _of_alarms(own, units, coil=SITE_ACKNOWLEDGE_ADDRESS, bits=SITE_ALARMS_ADDRESS)
    for station in sorted(site.stations, key=lambda each: each.station_id):
        unit = [station.modbus_unit_id]
        ids = (site.site_id, station.station_id, None)
        yield from _of_alarms(ids, unit, coil=STATION_ACKNOWLEDGE_ADDRESS, bits=STATION_ALARMS_ADDRESS)
        for pump in sorted(station.pumps, key=lambda each: each.wire_slot):
            ids_of_pump = (site.site_id, station.station_id, pump.pump_id)
            yield from _of_pump(ids_of_pump, station.modbus_unit_id, pump.wire_slot)


def _of_alarms(ids: _Owner, units: Sequence[int], *, coil: int, bits: int) -> Iterator[Point]:
    name, told = _ACKNOWLEDGES
    yield _bit(ids, name, "coil", units, coil, told)
    for offset, (name, told) in enumerate(_ALARMS):
        yield _bit(ids, name, "discrete", units, bits + offset, told)


def _of_pump(ids: _Owner, unit_id: int, slot: int) -> Iterator[Point]:
    for offset, (name, kind, scale, unit, told) in enumerate(_REQUESTS):
        place = ModbusPlace(
            unit_id=unit_id, table="holding", address=pump_base(slot) + REQUEST_OFFSET + offset, count=1,
            raw="uint16", scale=scale,
        )  # fmt: skip
        yield _point(ids, name, kind, (place,), told, writable=True, unit=unit)
    commands, states = COMMAND_BASE + COMMAND_COILS * slot, STATE_BASE + STATE_BITS * slot
    for offset, (name, told) in enumerate(_COMMANDS):
        yield _bit(ids, name, "coil", [unit_id], commands + offset, told)
    for state in STATES:
        yield _bit(ids, state.point, "discrete", [unit_id], states + state.offset, state.description)
    for offset, (name, told) in enumerate(_ALARMS):
        yield _bit(ids, name, "discrete", [unit_id], states + PUMP_ALARMS_OFFSET + offset, told)


def _bit(ids: _Owner, name: str, table: str, units: Sequence[int], address: int, told: str) -> Point:
    places = tuple(
        ModbusPlace(unit_id=unit, table=table, address=address, count=1, raw="bit", scale=1.0)
        for unit in units
    )
    return _point(ids, name, PointType.BOOL, places, told, writable=table == "coil")


def _point(
    ids: _Owner,
    name: str,
    kind: PointType,
    places: tuple[ModbusPlace, ...],
    told: str,
    *,
    writable: bool,
    unit: str = "",
) -> Point:
    return Point(
        path=path_of(*ids, name), site_id=ids[0], station_id=ids[1], pump_id=ids[2], point=name, type=kind,
        unit=unit, access=Access.READ_WRITE if writable else Access.READ, description=told, places=places,
        node_id="",
    )  # fmt: skip
