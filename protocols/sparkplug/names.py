"""What the edge node is called: topics, devices, metrics and their properties, from the site's points; pure.

A site is an edge node, a station the device `<station>`, a pump the device `<station>.<pump>` (ids hold no dot, so no
two can meet); a metric has the name of its point. Nothing depends on order, so a name never changes while its pump
exists (ops/decisions/0071).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum, unique
from typing import Final

import msgspec

from actors.vocabulary import PumpConfig, Quality, SiteConfig
from protocols.points import Access, Point, PointType, node_id_of, path_of, site_points
from protocols.sparkplug.schema import DataType, Property

NAMESPACE: Final = "spBv1.0"
NODE: Final = ""
"""The node itself, where a device could stand."""

REBIRTH: Final = "Node Control/Rebirth"
BD_SEQ: Final = "bdSeq"
SETPOINT_REQUEST: Final = "setpoint_request"
MODE_REQUEST: Final = "mode_request"
OPERATOR_POINTS: Final = (SETPOINT_REQUEST, MODE_REQUEST)
COMMAND_POINTS: Final = (*OPERATOR_POINTS, "emergency_stop", "scada_heartbeat")

# Metrics that this module's session owns and no point stands behind; `:` cannot be in a point's path.
ANSWER_ID: Final = "command_id"
ANSWER_METRIC: Final = "command_metric"
ANSWER_RESULT: Final = "command_result"
ANSWER_DETAIL: Final = "command_detail"
ANSWERS: Final = (ANSWER_ID, ANSWER_METRIC, ANSWER_RESULT, ANSWER_DETAIL)
BACKFILL_WAITING: Final = "backfill_waiting"
BACKFILL_LOST: Final = "backfill_lost"

# Proof of life, or a number that means nothing a day later: shown, but not kept for later.
NOT_KEPT: Final = frozenset(
    {"sequence", "sequence_end", "heartbeat", "plc_heartbeat", "scada_heartbeat", *OPERATOR_POINTS}
)

_TYPES: Final = {
    PointType.BOOL: DataType.BOOLEAN,
    PointType.UINT16: DataType.UINT16,
    # Hosts disagree on the field of an unsigned 32-bit number; on 64 bits they agree.
    PointType.UINT32: DataType.INT64,
    PointType.FLOAT: DataType.DOUBLE,
}


@unique
class Verb(StrEnum):
    """Message types of an edge node."""

    NBIRTH = "NBIRTH"
    NDEATH = "NDEATH"
    NDATA = "NDATA"
    NCMD = "NCMD"
    DBIRTH = "DBIRTH"
    DDEATH = "DDEATH"
    DDATA = "DDATA"
    DCMD = "DCMD"


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One metric as its birth tells it. `path`: the point's, or one of our own."""

    path: str
    device: str
    name: str
    datatype: DataType
    writable: bool = False
    kept: bool = False
    properties: tuple[Property, ...] = ()


class Node(msgspec.Struct, frozen=True):
    """The edge node's descriptor; makes and reads topics."""

    group: str
    node_id: str

    def topic(self, verb: Verb, device: str = NODE) -> str:
        """Return the topic of one of our messages, or the one where we are commanded."""
        parts = (NAMESPACE, self.group, verb.value, self.node_id, *((device,) if device else ()))
        return "/".join(parts)

    def commanded(self, topic: str) -> str | None:
        """Return the device that a command is for (`NODE`: us); None: it is no command of ours."""
        match topic.split("/"):
            case [namespace, group, "NCMD", node_id] if self._ours(namespace, group, node_id):
                return NODE
            case [namespace, group, "DCMD", node_id, device] if device and self._ours(
                namespace, group, node_id
            ):
                return device
            case _:
                return None

    def _ours(self, namespace: str, group: str, node_id: str) -> bool:
        return (namespace, group, node_id) == (NAMESPACE, self.group, self.node_id)


def device_of(point: Point) -> str:
    """Return the device of a point, `NODE` for the site's own."""
    return ".".join(part for part in (point.station_id, point.pump_id) if part is not None)


def own_path(device: str, name: str) -> str:
    """Return the path of a metric that no point stands behind."""
    return f"{device}:{name}"


def definitions(points: Iterable[Point]) -> dict[str, Definition]:
    """Return every metric of the edge node by path, answers and the backfill's counters included."""
    found: dict[str, Definition] = {}
    devices = {NODE: None}
    for point in points:
        device = device_of(point)
        devices[device] = None
        writable = point.point in COMMAND_POINTS and point.access is not Access.READ
        found[point.path] = Definition(
            path=point.path,
            device=device,
            name=point.point,
            datatype=_TYPES[point.type],
            writable=writable,
            kept=point.point not in NOT_KEPT,
            properties=tuple(_properties(point, writable=writable)),
        )
    for device in devices:
        for name in ANSWERS:
            kind = DataType.DATETIME if name == ANSWER_ID else DataType.STRING
            path = own_path(device, name)
            found[path] = Definition(path=path, device=device, name=name, datatype=kind)
    for name in (BACKFILL_WAITING, BACKFILL_LOST):
        path = own_path(NODE, name)
        found[path] = Definition(path=path, device=NODE, name=name, datatype=DataType.INT64)
    return found


def _properties(point: Point, *, writable: bool) -> Iterator[Property]:
    """Yield unit, range, access and meaning under the names that hosts know (Ignition's, by custom)."""
    if point.unit:
        yield Property("engUnit", DataType.STRING, point.unit)
    if point.low is not None:
        yield Property("engLow", DataType.DOUBLE, point.low)
    if point.high is not None:
        yield Property("engHigh", DataType.DOUBLE, point.high)
    yield Property("readOnly", DataType.BOOLEAN, not writable)
    yield Property("documentation", DataType.STRING, point.description)


def quality_code(quality: Quality) -> int:
    """Return the `Quality` property of the specification: 192 GOOD, 0 BAD, 500 STALE.

    It knows no uncertain: whoever must not take a value for good is told that it is not current. Our own code stands
    in the metric `setpoint_quality`.
    """
    return {Quality.GOOD: 192, Quality.UNCERTAIN: 500, Quality.BAD: 0}[quality]


# --------------------------------------------------------------------------- the site's points on this wire


def sparkplug_points(site: SiteConfig) -> tuple[Point, ...]:
    """Return the site's points with engineering ranges, and per pump what an operator may ask for.

    Raises:
        InvalidValueError: see `protocols.points.site_points`.

    """
    pumps = {(station.station_id, pump.pump_id): pump for station in site.stations for pump in station.pumps}
    points = []
    for point in site_points(site):
        found = pumps.get((point.station_id or "", point.pump_id or ""))
        points.append(point if found is None else _ranged(point, found))
    points += [request for pump in pumps.values() for request in _requests(site.site_id, pump)]
    return tuple(points)


def _ranged(point: Point, pump: PumpConfig) -> Point:
    limits = pump.limits
    high: float | None
    match point.point:
        case "setpoint" | "setpoint_echo" | "actual_speed":
            high = None if limits is None else limits.hard_max_speed_hz
        case "actual_power":
            high = pump.rated_power_kw
        case "actual_flow":
            high = pump.rated_flow_m3h
        case "wet_well_level":
            high = None if limits is None else limits.level_emergency_high_m
        case _:
            return point
    return msgspec.structs.replace(point, low=0.0, high=high)


def _requests(site_id: str, pump: PumpConfig) -> Iterator[Point]:
    high = None if pump.limits is None else pump.limits.hard_max_speed_hz
    rows = (
        (SETPOINT_REQUEST, PointType.FLOAT, "Hz", 0.0, high, "An operator's speed, in MANUAL only"),
        (
            MODE_REQUEST,
            PointType.UINT16,
            "",
            None,
            None,
            "1 AUTO, 2 MANUAL (at the applied or requested speed)",
        ),
    )
    for name, kind, unit, low, top, description in rows:
        path = path_of(site_id, pump.station_id, pump.pump_id, name)
        yield Point(
            path=path, site_id=site_id, station_id=pump.station_id, pump_id=pump.pump_id, point=name, type=kind,
            unit=unit, access=Access.READ_WRITE, description=description, places=(), node_id=node_id_of(path),
            low=low, high=top,
        )  # fmt: skip
