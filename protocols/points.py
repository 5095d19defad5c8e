"""Every point on the wires: path, type, unit, access, Modbus place, OPC UA node id; derived from the
plant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum, StrEnum, unique
from typing import Any, Final

import msgspec

from actors.vocabulary import InvalidValueError, Mode, PumpConfig, Quality, Reason, SiteConfig, StationConfig

OPCUA_NAMESPACE_URI: Final = "urn:calejo"
# 0 is the standard's, 1 the server's own, ours the first one registered: the OPC UA server keeps to that.
OPCUA_NAMESPACE_INDEX: Final = 2

UNIT_ID_MIN: Final = 1
UNIT_ID_MAX: Final = 247
ADDRESSES: Final = 65_536

SCADA_HEARTBEAT_ADDRESS: Final = 0
STATION_STOP_ADDRESS: Final = 0
SITE_STOP_ADDRESS: Final = 1
PUMP_BASE: Final = 100
PUMP_REGISTERS: Final = 50
WIRE_SLOTS: Final = (ADDRESSES - PUMP_BASE) // PUMP_REGISTERS

# First register of the handshake block and how many one read returns whole, `mode` included (WDG-4).
HANDSHAKE_OFFSET: Final = 0
HANDSHAKE_REGISTERS: Final = 13
# What the PLC writes lies together, so that one request carries it all.
FEEDBACK_OFFSET: Final = 20
FEEDBACK_REGISTERS: Final = 13
assert HANDSHAKE_OFFSET + HANDSHAKE_REGISTERS <= FEEDBACK_OFFSET
assert FEEDBACK_OFFSET + FEEDBACK_REGISTERS <= PUMP_REGISTERS


@unique
class PointType(StrEnum):
    """Type of a point's value in engineering units (BOOL: bool; FLOAT: float; the others: int)."""

    BOOL = "bool"
    UINT16 = "uint16"
    UINT32 = "uint32"
    FLOAT = "float"


@unique
class Access(StrEnum):
    """What a client may do."""

    READ = "r"
    WRITE = "w"
    READ_WRITE = "rw"


class ModbusPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A place on Modbus: zero-based address, `raw` is uint16/uint32/int32/bit, value = raw x scale."""

    unit_id: int
    table: str
    address: int
    count: int
    raw: str
    scale: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One point. A site point has one `Point` with a place in every station's unit."""

    path: str
    site_id: str
    station_id: str | None
    pump_id: str | None
    point: str
    type: PointType
    unit: str
    access: Access
    description: str
    places: tuple[ModbusPlace, ...]
    node_id: str
    # Engineering range, for wires that tell it; None: not known.
    low: float | None = None
    high: float | None = None


class PointValue(msgspec.Struct, frozen=True, kw_only=True):
    """A value in engineering units, its quality and source time (ns since 1970 UTC; None: never had one)."""

    value: bool | int | float
    quality: Quality
    utc_ns: int | None = None


class _Register(msgspec.Struct, frozen=True):
    """A row of the map inside a pump's registers; `offset` counts from the pump's base."""

    point: str
    offset: int
    type: PointType
    raw: str
    scale: float
    unit: str
    access: Access
    description: str


_COUNT: Final = {"uint16": 1, "uint32": 2, "int32": 2, "bit": 1}
_R: Final = Access.READ
_RW: Final = Access.READ_WRITE


def _codes(codes: type[IntEnum]) -> str:
    """Name every code of a closed vocabulary, for descriptions and documents."""
    return ", ".join(f"{code.value} {code.name}" for code in codes)


_PUMP_MAP: Final = tuple(
    _Register(*row)
    for row in (
        ("sequence", 0, PointType.UINT16, "uint16", 1.0, "", _R,
         "Low 16 bits of the setpoint's sequence; first register of the handshake block"),
        ("remote_enabled", 1, PointType.BOOL, "uint16", 1.0, "", _R,
         "1: the controller may obey the setpoint; 0: Calejo claims nothing"),
        ("run_inhibit", 2, PointType.BOOL, "uint16", 1.0, "", _R,
         "1: a stop or OUT_OF_SERVICE holds; the controller retains it until release_id rises"),
        ("setpoint", 3, PointType.FLOAT, "uint16", 0.01, "Hz", _R, "Speed wanted; 0: stopped"),
        ("setpoint_quality", 4, PointType.UINT16, "uint16", 1.0, "", _R, _codes(Quality)),
        ("heartbeat", 5, PointType.UINT16, "uint16", 1.0, "", _R,
         "Moves only with a fresh setpoint of a newer sequence; proves the whole chain"),
        ("epoch", 6, PointType.UINT32, "uint32", 1.0, "", _R,
         "Incarnation of the control chain; refuse a lower one"),
        ("release_id", 8, PointType.UINT32, "uint32", 1.0, "", _R,
         "Rises when the last inhibit of the pump is cleared"),
        ("reason", 10, PointType.UINT16, "uint16", 1.0, "", _R, _codes(Reason)),
        ("sequence_end", 11, PointType.UINT16, "uint16", 1.0, "", _R,
         "Equal to sequence when the block was read untorn"),
        ("mode", 12, PointType.UINT16, "uint16", 1.0, "", _R, _codes(Mode)),
        ("local_override", 20, PointType.BOOL, "uint16", 1.0, "", _RW, "1: the panel has control"),
        ("plc_heartbeat", 21, PointType.UINT16, "uint16", 1.0, "", _RW,
         "The controller moves it every second"),
        ("setpoint_echo", 22, PointType.FLOAT, "uint16", 0.01, "Hz", _RW,
         "The setpoint the controller read, obeyed or not"),
        ("actual_speed", 23, PointType.FLOAT, "uint16", 0.01, "Hz", _RW, "Measured drive frequency"),
        ("actual_power", 24, PointType.FLOAT, "int32", 0.01, "kW", _RW, "Measured electrical power"),
        ("actual_flow", 26, PointType.FLOAT, "int32", 0.01, "m3/h", _RW, "Measured flow of this pump"),
        ("wet_well_level", 28, PointType.FLOAT, "int32", 0.001, "m", _RW,
         "Wet-well level above the declared datum, millimetres on the wire"),
        ("high_float", 30, PointType.BOOL, "uint16", 1.0, "", _RW, "1: the high float is closed"),
        ("running", 31, PointType.BOOL, "uint16", 1.0, "", _RW, "1: the drive is running"),
        ("fault_code", 32, PointType.UINT16, "uint16", 1.0, "", _RW,
         "0: no fault; else the drive's own code"),
    )
)  # fmt: skip

STOP_DESCRIPTION: Final = "Writing 1 sets an emergency stop of this scope; writing 0 changes nothing"
FAILSAFE_DESCRIPTION: Final = "1: at least one pump of this scope is in failsafe"
NOT_FOLLOWING_DESCRIPTION: Final = "1: its measured speed is not what it is told, beyond tolerance and time"
_BIT_DESCRIPTIONS: Final = {
    "emergency_stop": STOP_DESCRIPTION,
    "failsafe": FAILSAFE_DESCRIPTION,
    "not_following": NOT_FOLLOWING_DESCRIPTION,
}

SITE_POINTS: Final = ("emergency_stop", "failsafe")
STATION_POINTS: Final = ("emergency_stop", "failsafe", "scada_heartbeat")
PUMP_POINTS: Final = (*(row.point for row in _PUMP_MAP), "emergency_stop", "not_following")
# What the PLC writes; beside these the endpoints accept `scada_heartbeat` and `emergency_stop`, nothing else.
FEEDBACK_POINTS: Final = tuple(row.point for row in _PUMP_MAP if row.access is Access.READ_WRITE)


def path_of(site_id: str, station_id: str | None, pump_id: str | None, point: str) -> str:
    """Return `/site[/station[/pump]]/point`."""
    return "/" + "/".join(part for part in (site_id, station_id, pump_id, point) if part is not None)


def node_id_of(path: str) -> str:
    """Return the OPC UA node id of a path: the same text as the browse path, in Calejo's namespace."""
    return f"ns={OPCUA_NAMESPACE_INDEX};s={path}"


def pump_base(wire_slot: int) -> int:
    """Return the first holding register of the pump in `wire_slot`.

    Raises:
        InvalidValueError: the slot is negative or its registers would lie past address 65,535.

    """
    if not 0 <= wire_slot < WIRE_SLOTS:
        raise InvalidValueError(
            f"wire_slot {wire_slot}: a Modbus unit has room for the slots 0 to {WIRE_SLOTS - 1}"
            f" ({PUMP_REGISTERS} registers each from address {PUMP_BASE})"
        )
    return PUMP_BASE + PUMP_REGISTERS * wire_slot


def check_station(station: StationConfig) -> None:
    """Refuse a station that has no collision-free place in the map; discovery may ask this per row.

    Raises:
        InvalidValueError: unit id outside 1..247, a wire slot outside its range or taken twice, or an id that
            is the name of a point of the level above (both would have the same path).

    """
    place = f"station {station.station_id}"
    if not UNIT_ID_MIN <= station.modbus_unit_id <= UNIT_ID_MAX:
        raise InvalidValueError(
            f"{place}: modbus_unit_id {station.modbus_unit_id} is not in {UNIT_ID_MIN}..{UNIT_ID_MAX}"
        )
    if station.station_id in SITE_POINTS:
        raise InvalidValueError(f"{place}: this id is the name of a site point ({', '.join(SITE_POINTS)})")
    taken: dict[int, str] = {}
    for pump in station.pumps:
        pump_base(pump.wire_slot)
        if pump.pump_id in STATION_POINTS:
            raise InvalidValueError(f"{place}: pump id {pump.pump_id} is the name of a station point")
        other = taken.setdefault(pump.wire_slot, pump.pump_id)
        if other != pump.pump_id:
            raise InvalidValueError(
                f"{place}: pumps {other} and {pump.pump_id} both have wire_slot {pump.wire_slot}"
            )


def site_points(site: SiteConfig) -> tuple[Point, ...]:
    """Return every point of the site in a stable order: the same plant gives the same map for ever.

    A pump's place depends on its `wire_slot` and its station's `modbus_unit_id` only.

    Raises:
        InvalidValueError: see `check_station`; or two stations share a unit id or a name.

    """
    stations = sorted(site.stations, key=lambda station: station.station_id)
    units: dict[int, str] = {}
    for station in stations:
        check_station(station)
        other = units.setdefault(station.modbus_unit_id, station.station_id)
        if other != station.station_id:
            raise InvalidValueError(
                f"site {site.site_id}: stations {other} and {station.station_id}"
                f" both have modbus_unit_id {station.modbus_unit_id}"
            )
    points = [*_site_level(site, stations)]
    for station in stations:
        points += _station_level(site, station)
        for pump in sorted(station.pumps, key=lambda pump: pump.wire_slot):
            points += _pump_level(site, station, pump)
    return tuple(points)


def _bits(units: Iterable[int], table: str, address: int) -> tuple[ModbusPlace, ...]:
    return tuple(
        ModbusPlace(unit_id=unit, table=table, address=address, count=1, raw="bit", scale=1.0)
        for unit in units
    )


def _site_level(site: SiteConfig, stations: Sequence[StationConfig]) -> Iterator[Point]:
    units = sorted(station.modbus_unit_id for station in stations)
    yield _bit_point(site.site_id, None, None, "emergency_stop", _bits(units, "coil", SITE_STOP_ADDRESS))
    yield _bit_point(site.site_id, None, None, "failsafe", _bits(units, "discrete", SITE_STOP_ADDRESS))


def _station_level(site: SiteConfig, station: StationConfig) -> Iterator[Point]:
    unit, ids = station.modbus_unit_id, (site.site_id, station.station_id, None)
    yield _bit_point(*ids, "emergency_stop", _bits([unit], "coil", STATION_STOP_ADDRESS))
    yield _bit_point(*ids, "failsafe", _bits([unit], "discrete", STATION_STOP_ADDRESS))
    heartbeat = _Register(
        "scada_heartbeat", 0, PointType.UINT16, "uint16", 1.0, "", _RW,
        "SCADA moves it; watched for standstill once a client has written it",
    )  # fmt: skip
    yield _register_point(ids, unit, SCADA_HEARTBEAT_ADDRESS, heartbeat)


def _pump_level(site: SiteConfig, station: StationConfig, pump: PumpConfig) -> Iterator[Point]:
    unit, ids = station.modbus_unit_id, (site.site_id, station.station_id, pump.pump_id)
    base = pump_base(pump.wire_slot)
    for row in _PUMP_MAP:
        yield _register_point(ids, unit, base + row.offset, row)
    yield _bit_point(*ids, "emergency_stop", _bits([unit], "coil", PUMP_BASE + pump.wire_slot))
    yield _bit_point(*ids, "not_following", _bits([unit], "discrete", PUMP_BASE + pump.wire_slot))


def _register_point(
    ids: tuple[str, str | None, str | None], unit: int, address: int, row: _Register
) -> Point:
    path = path_of(*ids, row.point)
    place = ModbusPlace(
        unit_id=unit, table="holding", address=address, count=_COUNT[row.raw], raw=row.raw, scale=row.scale
    )
    return Point(
        path=path, site_id=ids[0], station_id=ids[1], pump_id=ids[2], point=row.point, type=row.type,
        unit=row.unit, access=row.access, description=row.description, places=(place,),
        node_id=node_id_of(path),
    )  # fmt: skip


def _bit_point(
    site_id: str, station_id: str | None, pump_id: str | None, point: str, places: tuple[ModbusPlace, ...]
) -> Point:
    stop = point == "emergency_stop"
    path = path_of(site_id, station_id, pump_id, point)
    return Point(
        path=path, site_id=site_id, station_id=station_id, pump_id=pump_id, point=point, type=PointType.BOOL,
        unit="", access=_RW if stop else _R, description=_BIT_DESCRIPTIONS[point],
        places=places, node_id=node_id_of(path),
    )  # fmt: skip


SETPOINT_REQUEST: Final = "setpoint_request"
_SETPOINT_REQUEST: Final = _Register(
    SETPOINT_REQUEST, 0, PointType.FLOAT, "uint16", 0.01, "Hz", _RW,
    "An operator's speed, in MANUAL only, through the safety layer; read back: the last one taken here",
)  # fmt: skip


def operator_points(site: SiteConfig) -> tuple[Point, ...]:
    """Return what operators may ask for on OPC UA beside the points of both wires: a speed per pump (OPC-2)."""
    return tuple(
        _without_place((site.site_id, station.station_id, pump.pump_id), _SETPOINT_REQUEST)
        for station in sorted(site.stations, key=lambda station: station.station_id)
        for pump in sorted(station.pumps, key=lambda pump: pump.wire_slot)
    )


def _without_place(ids: tuple[str, str | None, str | None], row: _Register) -> Point:
    path = path_of(*ids, row.point)
    return Point(
        path=path, site_id=ids[0], station_id=ids[1], pump_id=ids[2], point=row.point, type=row.type,
        unit=row.unit, access=row.access, description=row.description, places=(), node_id=node_id_of(path),
    )  # fmt: skip


def opcua_points(site: SiteConfig) -> tuple[Point, ...]:
    """Return the points of the OPC UA endpoint: those of both wires, what operators ask for, and their ranges.

    Raises:
        InvalidValueError: see `site_points`.

    """
    pumps = {(station.station_id, pump.pump_id): pump for station in site.stations for pump in station.pumps}
    shared = site_points(site)
    taken = {point.path for point in shared}
    own = {(each.station_id, each.pump_id): each for each in operator_points(site) if each.path not in taken}
    points: list[Point] = []
    for point, following in zip(shared, (*shared[1:], None), strict=True):
        points.append(point)
        # Behind the pump's own points: whoever reads the list finds it there.
        if following is None or following.pump_id != point.pump_id:
            points += [each for each in [own.get((point.station_id, point.pump_id))] if each is not None]
    return tuple(_ranged(each, pumps.get((each.station_id or "", each.pump_id or ""))) for each in points)


def _ranged(point: Point, pump: PumpConfig | None) -> Point:
    """Return the point with the range that its pump's own figures give it, as far as they are known."""
    if pump is None:
        return point
    limits = pump.limits
    high: float | None
    match point.point:
        case "setpoint" | "setpoint_echo" | "actual_speed" | "setpoint_request":
            high = None if limits is None else limits.hard_max_speed_hz
        case "actual_power":
            high = pump.rated_power_kw
        case "actual_flow":
            high = pump.rated_flow_m3h
        case "wet_well_level":
            high = None if limits is None else limits.level_emergency_high_m
        case _:
            return point
    return point if high is None else msgspec.structs.replace(point, low=0.0, high=high)


_OPCUA_TYPES: Final = {
    PointType.BOOL: "Boolean",
    PointType.UINT16: "UInt16",
    PointType.UINT32: "UInt32",
    PointType.FLOAT: "Double",
}


def tags(site: SiteConfig) -> list[dict[str, Any]]:
    """Return the rows of `calejo tags --format json`: one per Modbus place and OPC UA node, all keys in each.

    Modbus `type` is uint16, uint32, int32 (most significant word first) or bool (a coil or discrete input);
    OPC UA `type` is the built-in type's name. value = raw x scale. What a protocol has not is null.

    Raises:
        InvalidValueError: see `site_points`.

    """
    rows: list[dict[str, Any]] = []
    for point in opcua_points(site):
        common = {
            "path": point.path,
            "site_id": point.site_id,
            "station_id": point.station_id,
            "pump_id": point.pump_id,
            "point": point.point,
        }
        last = {"unit": point.unit or None, "access": point.access.value}
        told = {"description": point.description}
        for place in point.places:
            modbus = {
                "protocol": "modbus",
                "unit_id": place.unit_id,
                "table": place.table,
                "address": place.address,
                "count": place.count,
                "type": "bool" if place.raw == "bit" else place.raw,
                "scale": place.scale,
            }
            rows.append({**common, **modbus, **last, "node_id": None, **told})
        opcua = {
            "protocol": "opcua",
            "unit_id": None,
            "table": None,
            "address": None,
            "count": None,
            "type": _OPCUA_TYPES[point.type],
            "scale": 1.0,
        }
        rows.append({**common, **opcua, **last, "node_id": point.node_id, **told})
    return rows
