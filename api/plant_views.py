"""What REST shows of the plant and the tree: stations, points on the wires, processes, alarms, stops, discovery."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.messages import AlarmView, DiscoveryStatus, PlanStatus, StationStatus, TreeNode
from actors.vocabulary import InvalidRow, StationConfig
from actors.vocabulary.records import StopEventRecord
from api.stop_answers import EndpointAnswer, StoppedPump
from api.views import JudgedView, finite, judged, when


class PlanCoverView(msgspec.Struct, frozen=True, kw_only=True):
    """Which pumps of a station a plan covers now, and what was refused of late."""

    covered: dict[str, bool]
    refused_total: int
    last_refusals: dict[str, str]
    database_answered_at: str | None
    optimiser_heartbeat_age_s: float | None


class StationView(msgspec.Struct, frozen=True, kw_only=True):
    """A station with its wet well; `unavailable` says which parts did not answer."""

    station_id: str
    site_id: str
    name: str
    timezone: str
    modbus_unit_id: int
    max_pumps_running: int | None
    pumps: list[str]
    level: JudgedView | None
    plan: PlanCoverView | None
    unavailable: list[str]


class TagView(msgspec.Struct, frozen=True, kw_only=True):
    """A point at one place of one protocol; what that protocol has not is null. value = raw x `scale`."""

    path: str
    site_id: str
    station_id: str | None
    pump_id: str | None
    point: str
    protocol: str
    unit_id: int | None
    table: str | None
    address: int | None
    count: int | None
    type: str
    scale: float
    unit: str | None
    access: str
    node_id: str | None
    description: str


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the process tree; `birth`: forked from a warm process, or started cold.

    `gone_at`: when it was last noticed that it no longer ran; `away_s`: until it answered again, null: not yet.
    """

    address: str
    role: str
    kind: str
    state: str
    pid: int | None
    node_id: str | None
    restarts: int
    last_error: str
    mailbox_depth: int | None
    rss_mib: float | None
    lost_tells: int
    birth: str | None
    gone_at: str | None
    away_s: float | None


class AlarmShown(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm, raised or returned, and who has seen it."""

    alarm_id: str
    condition: str
    subject: str
    severity: str
    state: str
    text: str
    raised_at: str
    returned_at: str | None
    occurrences: int
    acknowledged_at: str | None
    acknowledged_by: str
    comment: str


class StopView(msgspec.Struct, frozen=True, kw_only=True):
    """A stop or an out-of-service mark (`kind`), and its clear if there is one."""

    stop_id: str
    kind: str
    scope: str
    scope_id: str
    reason: str
    set_by: str
    set_at: str
    cleared_by: str | None
    cleared_at: str | None
    clear_reason: str | None


class StopNowView(StopView, frozen=True, kw_only=True):
    """A stop with what this node's disk, each endpoint and each covered pump show of it now."""

    durable: bool
    endpoints: list[EndpointAnswer]
    pumps: list[StoppedPump]


class DiscoveryView(msgspec.Struct, frozen=True, kw_only=True):
    """How the look at the database went; `invalid`: rows that were skipped, each with its reason."""

    looked_at: str | None
    last_error: str
    revision: str | None
    stations: int
    pumps: int
    invalid: list[InvalidRow]


def station_view(
    site_id: str, station: StationConfig, *, status: StationStatus | str, plan: PlanStatus | str
) -> StationView:
    """Return a station as shown, from whatever answered."""
    return StationView(
        station_id=station.station_id,
        site_id=site_id,
        name=station.name,
        timezone=station.timezone,
        modbus_unit_id=station.modbus_unit_id,
        max_pumps_running=station.max_pumps_running,
        pumps=[pump.pump_id for pump in station.pumps],
        level=None if isinstance(status, str) else judged({"level": status.level})["level"],
        plan=None if isinstance(plan, str) else _plan_view(plan),
        unavailable=[
            f"{part}: {answer}"
            for part, answer in (("station", status), ("plan", plan))
            if isinstance(answer, str)
        ],
    )


def _plan_view(plan: PlanStatus) -> PlanCoverView:
    return PlanCoverView(
        covered=plan.covered,
        refused_total=plan.refused_total,
        last_refusals=plan.last_refusals,
        database_answered_at=when(plan.database_answered_at),
        optimiser_heartbeat_age_s=finite(plan.optimiser_heartbeat_age_s),
    )


def node_view(node: TreeNode) -> NodeView:
    """Return a row of the tree as shown (SUP-7)."""
    return NodeView(
        address=node.address,
        role=node.role.value,
        kind=node.kind,
        state=node.state,
        pid=node.pid,
        node_id=node.node_id,
        restarts=node.restarts,
        last_error=node.last_error,
        mailbox_depth=node.mailbox_depth,
        rss_mib=node.rss_mib,
        lost_tells=node.lost_tells,
        birth=node.birth,
        gone_at=None if node.gone_at is None else node.gone_at.isoformat(),
        away_s=node.away_s,
    )


def alarm_view(alarm: AlarmView) -> AlarmShown:
    """Return an alarm as shown."""
    return AlarmShown(
        alarm_id=alarm.alarm_id,
        condition=alarm.condition,
        subject=alarm.subject,
        severity=alarm.severity.value,
        state=alarm.state,
        text=alarm.text,
        raised_at=alarm.raised_at.utc.isoformat(),
        returned_at=when(alarm.returned_at),
        occurrences=alarm.occurrences,
        acknowledged_at=when(alarm.acknowledged_at),
        acknowledged_by=alarm.acknowledged_by,
        comment=alarm.comment,
    )


def stop_view(stop: StopEventRecord) -> StopView:
    """Return a stop as shown."""
    return StopView(**_stop(stop))


def stop_now_view(
    stop: StopEventRecord, *, durable: bool, endpoints: list[EndpointAnswer], pumps: list[StoppedPump]
) -> StopNowView:
    """Return a stop as shown, with what the wires and controllers show of it (EST-1)."""
    return StopNowView(**_stop(stop), durable=durable, endpoints=endpoints, pumps=pumps)


def _stop(stop: StopEventRecord) -> dict[str, Any]:
    return {
        "stop_id": stop.record_id,
        "kind": stop.kind,
        "scope": stop.scope.value,
        "scope_id": stop.scope_id,
        "reason": stop.reason,
        "set_by": stop.set_by,
        "set_at": stop.set_at.isoformat(),
        "cleared_by": stop.cleared_by,
        "cleared_at": None if stop.cleared_at is None else stop.cleared_at.isoformat(),
        "clear_reason": stop.clear_reason,
    }


def discovery_view(status: DiscoveryStatus) -> DiscoveryView:
    """Return how a look at the database went (DAT-4)."""
    topology = status.topology
    stations = [] if topology is None else [each for site in topology.sites for each in site.stations]
    return DiscoveryView(
        looked_at=when(status.looked_at),
        last_error=status.last_error,
        revision=None if topology is None else topology.revision,
        stations=len(stations),
        pumps=sum(len(each.pumps) for each in stations),
        invalid=[] if topology is None else list(topology.invalid),
    )
