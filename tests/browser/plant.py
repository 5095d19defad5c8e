"""A plant whose actors say what a test tells them to: two sites, three stations, seven pumps."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from actors.alarm.lifecycle import AlarmList, asserted, returned
from actors.messages import (
    AlarmAsserted,
    AlarmReturned,
    EndpointStatus,
    Epoch,
    GetEndpoint,
    GetPlanStatus,
    GetPump,
    GetStation,
    GetStationDecisions,
    GetTree,
    GetWatchdog,
    JudgedValue,
    PlanStatus,
    Proposal,
    ProposalSource,
    PublishedPump,
    PumpDecision,
    PumpStatus,
    Setpoint,
    StationDecisions,
    StationStatus,
    TrailStep,
    TreeNode,
    TreeView,
    WatchdogStatus,
)
from actors.safety.latch import LatchSet
from actors.vocabulary import (
    ControlType,
    FailsafeStrategy,
    Mode,
    PumpConfig,
    Quality,
    Reason,
    Role,
    Rule,
    SafetyLimits,
    Severity,
    SiteConfig,
    StationConfig,
    Topology,
)
from actors.vocabulary.records import PlanRow
from actors.vocabulary.trends import Piece
from tests.unit.api.served import Tree, moment

EPOCH = Epoch(0, 1_800_000_001)
LIMITS = SafetyLimits(
    version=3,
    hard_min_speed_hz=20.0,
    hard_max_speed_hz=50.0,
    max_rate_hz_per_s=2.0,
    level_dry_run_m=0.50,
    level_dry_run_reset_m=0.70,
    level_min_m=0.80,
    level_max_m=2.40,
    level_emergency_high_reset_m=2.60,
    level_emergency_high_m=2.90,
    set_by="zoe",
    approved_by="yan",
)


def _pump(pump_id: str, station_id: str, name: str, slot: int) -> PumpConfig:
    return PumpConfig(
        pump_id=pump_id, station_id=station_id, name=name, control_type=ControlType.DIRECT_SPEED,
        default_setpoint_hz=30.0, failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT, wire_slot=slot, limits=LIMITS,
    )  # fmt: skip


def _station(station_id: str, site_id: str, name: str, unit: int, pumps: dict[str, str]) -> StationConfig:
    return StationConfig(
        station_id=station_id, site_id=site_id, name=name, timezone="Europe/Berlin", modbus_unit_id=unit,
        max_pumps_running=2, level_datum="well floor",
        pumps=tuple(
            _pump(pump_id, station_id, title, slot) for slot, (pump_id, title) in enumerate(pumps.items())
        ),
    )  # fmt: skip


NORTH = SiteConfig(
    site_id="north",
    name="North shore",
    timezone="Europe/Berlin",
    stations=(
        _station("harbour", "north", "Harbour", 1, {"p1": "Harbour 1", "p2": "Harbour 2"}),
        _station("mill", "north", "Mill lane", 2, {"p3": "Mill 1", "p4": "Mill 2", "p5": "Mill 3"}),
    ),
)
SOUTH = SiteConfig(
    site_id="south",
    name="South hill",
    timezone="Europe/Berlin",
    stations=(_station("hill", "south", "Hilltop", 1, {"p6": "Hill 1", "p7": "Hill 2"}),),
)
PROTOCOLS = ("modbus", "opcua")


def endpoint(site_id: str, protocol: str) -> str:
    return f"/sites/{site_id}/endpoints/{protocol}"


class Plant(Tree):
    """Everything is well until a test says otherwise.

    `speeds`: setpoint of each pump (Hz). `levels`: of each station (m). `bad_levels`, `failsafe`, `handed_back`:
    stations and pumps that are so. `nodes`: the tree, by address.
    """

    def __init__(self, *sites: SiteConfig) -> None:
        super().__init__()
        self.sites = sites or (NORTH, SOUTH)
        self.topology = Topology(revision="r1", sites=self.sites)
        self.speeds = {pump.pump_id: 35.0 for pump in self._pumps()}
        for silent in list(self.speeds)[1::2]:
            self.speeds[silent] = 0.0
        self.levels = {station.station_id: 1.42 for site in self.sites for station in site.stations}
        self.bad_levels: set[str] = set()
        self.failsafe: set[str] = set()
        self.handed_back: set[str] = set()
        self.alarms = AlarmList()
        names = [endpoint(site.site_id, protocol) for site in self.sites for protocol in PROTOCOLS]
        self.stops = {name: LatchSet() for name in names}
        self.ports = {name: f"127.0.0.1:{5020 + at}" for at, name in enumerate(names)}
        self.nodes = {node.address: node for node in self._all_nodes()}

    def answer(self, address: str, message: Any) -> Any:
        if address in self.odd:
            return super().answer(address, message)
        match message:
            case GetStationDecisions():
                return self._decisions(self._station_of(address))
            case GetStation():
                return self._status(self._station_of(address))
            case GetPlanStatus():
                return self._plan_status(self._station_of(address))
            case GetEndpoint():
                return self.endpoint(address)
            case GetPump():
                return self._pump_status(address.rpartition("/")[2])
            case GetTree():
                return TreeView(nodes=tuple(self.nodes.values()))
            case GetWatchdog():
                return WatchdogStatus(timers=(), failsafes=tuple(self._failsafes(address)))
            case _:
                return super().answer(address, message)

    def alarm(self, condition: str, subject: str, severity: Severity, text: str) -> str:
        """Raise an alarm as the alarm actor does; return its id."""
        news = AlarmAsserted(
            condition=condition, subject=subject, severity=severity, text=text, at=moment()
        )  # fmt: skip
        self.alarms, _ = asserted(self.alarms, news, now=moment())
        return self.alarms.alarms[condition, subject].alarm_id

    def alarm_over(self, condition: str, subject: str) -> None:
        news = AlarmReturned(condition=condition, subject=subject, at=moment())
        self.alarms = returned(self.alarms, news, now=moment())

    # ------------------------------------------------------------------ what its actors say

    def _pumps(self) -> list[PumpConfig]:
        return [pump for site in self.sites for station in site.stations for pump in station.pumps]

    def _station_of(self, address: str) -> StationConfig:
        wanted = address.split("/")[4]
        stations = [station for site in self.sites for station in site.stations]
        return next(station for station in stations if station.station_id == wanted)

    def _inhibited(self, site_id: str, station_id: str, pump_id: str) -> bool:
        return any(each.inhibited(site_id, station_id, pump_id) for each in self.stops.values())

    def _shown_hz(self, site_id: str, station_id: str, pump_id: str) -> float:
        return 0.0 if self._inhibited(site_id, station_id, pump_id) else self.speeds[pump_id]

    def _reason(self, site_id: str, station_id: str, pump_id: str) -> Reason:
        if self._inhibited(site_id, station_id, pump_id):
            return Reason.EMERGENCY_STOP
        if pump_id in self.handed_back:
            return Reason.HANDED_BACK_FEEDBACK
        if pump_id in self.failsafe:
            return Reason.FAILSAFE_PLAN_EXPIRED
        return Reason.LIMITED if self.speeds[pump_id] else Reason.PLAN

    def _judged(self, value: float, *, good: bool = True) -> JudgedValue:
        if good:
            return JudgedValue(value=value, quality=Quality.GOOD, age_s=0.4)
        return JudgedValue(value=value, quality=Quality.BAD, age_s=95.0, why="not written for 95 s")

    def _feedback(self, station: StationConfig, pump_id: str) -> dict[str, JudgedValue]:
        hz = self._shown_hz(station.site_id, station.station_id, pump_id)
        good = pump_id not in self.handed_back
        return {
            "actual_speed_hz": self._judged(hz, good=good),
            "actual_power_kw": self._judged(hz * 0.31, good=good),
            "actual_flow_m3h": self._judged(hz * 4.2, good=good),
            "running": self._judged(float(hz > 0), good=good),
            "wet_well_level_m": self._judged(
                self.levels[station.station_id], good=station.station_id not in self.bad_levels
            ),
        }

    def _decisions(self, station: StationConfig) -> StationDecisions:
        now = moment()
        return StationDecisions(
            station_id=station.station_id,
            epoch=EPOCH,
            decisions=tuple(self._decision(station, pump.pump_id) for pump in station.pumps),
            waiting_for={},
            feedback={pump.pump_id: self._feedback(station, pump.pump_id) for pump in station.pumps},
            sent_at=now,
        )

    def _decision(self, station: StationConfig, pump_id: str) -> PumpDecision:
        now, hz = moment(), self._shown_hz(station.site_id, station.station_id, pump_id)
        reason = self._reason(station.site_id, station.station_id, pump_id)
        failed = pump_id in self.failsafe
        return PumpDecision(
            setpoint=Setpoint(
                pump_id=pump_id, setpoint_hz=hz, remote_enabled=pump_id not in self.handed_back,
                quality=Quality.UNCERTAIN if failed else Quality.GOOD, reason=reason,
                run_inhibit=reason is Reason.EMERGENCY_STOP, failsafe_image_hz=0.0,
                failsafe_image_reason=Reason.NOT_STARTED, epoch=EPOCH, sequence=41, origin=now, lease_s=10.0,
                limits_version=3, mode=Mode.AUTO,
            ),
            proposal=Proposal(
                pump_id=pump_id, wish_hz=44.0, mode=Mode.AUTO, origin=now, sequence=9,
                source=ProposalSource(
                    calculator="direct_speed", plan_id=17, plan_version=2, plan=self._plan(pump_id),
                    inputs={"level": self._judged(self.levels[station.station_id])},
                ),
            ),
            trail=(
                TrailStep(rule=Rule.POWER_CAP, before_hz=44.0, after_hz=36.0, why="11.0 kW allowed"),
                TrailStep(rule=Rule.RATE, before_hz=36.0, after_hz=hz, why="2.0 Hz/s for 1.0 s"),
            ),
            failsafe_since=now.plus(-120.0) if failed else None,
            failsafe_reason=Reason.FAILSAFE_PLAN_EXPIRED if failed else None,
            handed_back_since=None,
            decided_at=now,
        )  # fmt: skip

    def _status(self, station: StationConfig) -> StationStatus:
        good = station.station_id not in self.bad_levels
        return StationStatus(
            station_id=station.station_id,
            level=self._judged(self.levels[station.station_id], good=good),
            running={},
            feedback={},
            feedback_sources={},
        )

    def _plan_status(self, station: StationConfig) -> PlanStatus:
        return PlanStatus(
            station_id=station.station_id, database_answered_at=moment(), optimiser_heartbeat_age_s=12.0,
            covered={pump.pump_id: pump.pump_id not in self.failsafe for pump in station.pumps}, refused_total=0,
            last_refusals={}, sent_at=moment(),
        )  # fmt: skip

    def _plan(self, pump_id: str) -> PlanRow:
        start = moment().utc.replace(minute=0, second=0, microsecond=0)
        return PlanRow(
            plan_id=17, station_id="s", pump_id=pump_id, interval_start=start,
            interval_end=start + timedelta(hours=1), plan_version=2, created_at=start, suggested_speed_hz=44.0,
        )  # fmt: skip

    def _pump_status(self, pump_id: str) -> PumpStatus:
        return PumpStatus(
            pump_id=pump_id, mode=Mode.AUTO, mode_by="", mode_expires_at=None, manual_hz=None,
            plan=self._plan(pump_id), wish_hz=44.0, source=None, feedback={}, held_stopped=False,
        )  # fmt: skip

    def endpoint(self, address: str) -> EndpointStatus:
        now, site_id = moment(), address.split("/")[2]
        site = next(each for each in self.sites if each.site_id == site_id)
        pumps = []
        for station in site.stations:
            for pump in station.pumps:
                hz = self._shown_hz(site_id, station.station_id, pump.pump_id)
                inhibited = self.stops[address].inhibited(site_id, station.station_id, pump.pump_id)
                pumps.append(
                    PublishedPump(
                        pump_id=pump.pump_id,
                        setpoint_hz=0.0 if inhibited else hz,
                        remote_enabled=pump.pump_id not in self.handed_back,
                        run_inhibit=inhibited,
                        quality=Quality.GOOD,
                        reason=self._reason(site_id, station.station_id, pump.pump_id),
                        heartbeat=7,
                        sequence=41,
                        epoch_counter=EPOCH.counter,
                        release_id=1,
                        mode=Mode.AUTO,
                        accepted_at=now,
                        lease_left_s=9.5,
                        lapses=0,
                        refused={},
                        echo_hz=hz,
                        measured_hz=hz,
                        echo_at=now,
                        measured_at=now,
                    )
                )
        return EndpointStatus(
            protocol=address.rpartition("/")[2], bound=self.ports[address], clients=2, pumps=tuple(pumps),
            writes_refused=0, stops_active=tuple(stop.record_id for stop in self.stops[address].active()),
            sent_at=now,
        )  # fmt: skip

    def _failsafes(self, address: str) -> list[dict[str, Any]]:
        site_id = address.split("/")[2]
        return [
            {
                "scope": "PUMP", "scope_id": pump.pump_id, "reason": Reason.FAILSAFE_PLAN_EXPIRED.name,
                "started_at": moment().utc.isoformat(), "detail": "",
            }
            for site in self.sites if site.site_id == site_id
            for station in site.stations for pump in station.pumps if pump.pump_id in self.failsafe
        ]  # fmt: skip

    # ------------------------------------------------------------------ its tree

    def _all_nodes(self) -> list[TreeNode]:
        rows = [
            ("/", Role.SUPERVISOR),
            ("/storage", Role.STORAGE),
            ("/platform/alarm", Role.ALARM),
            ("/platform/api", Role.API),
        ]
        for site in self.sites:
            rows.append((f"/sites/{site.site_id}", Role.SUPERVISOR))
            rows += [(endpoint(site.site_id, protocol), Role(protocol)) for protocol in PROTOCOLS]
            for station in site.stations:
                base = f"/sites/{site.site_id}/stations/{station.station_id}"
                rows += [(f"{base}/safety", Role.SAFETY), (f"{base}/plan", Role.PLAN)]
                rows += [(f"{base}/pumps/{pump.pump_id}", Role.PUMP) for pump in station.pumps]
        return [node(address, role, pid=1000 + at) for at, (address, role) in enumerate(rows)]


def node(
    address: str,
    role: Role,
    *,
    pid: int | None,
    state: str = "running",
    restarts: int = 0,
    away_s: float | None = None,
) -> TreeNode:
    return TreeNode(
        address=address, role=role, kind="process", state=state, pid=pid, node_id="n1", restarts=restarts,
        last_error="", mailbox_depth=0, rss_mib=51.5, away_s=away_s,
        gone_at=None if away_s is None and state == "running" else moment().utc,
    )  # fmt: skip


class Trends:
    """A day of measurements: a pump that runs every other hour, a level that goes up and down."""

    def __init__(self) -> None:
        self.fails = False
        self.asked_at: list[float] = []

    async def measured(self, pump_id: str, *, start: datetime, end: datetime, piece_s: float) -> list[Piece]:
        del pump_id
        self.asked_at.append(time.monotonic())
        count = round((min(end, moment().utc) - start).total_seconds() / piece_s)
        return [
            Piece(
                at=start + timedelta(seconds=piece_s * at),
                speed_hz=36.0 if (at // 12) % 2 else 0.0,
                level_m=1.2 + 0.02 * abs((at % 24) - 12),
            )
            for at in range(count)
        ]

    async def plans(self, station_id: str, *, start: datetime, end: datetime) -> list[PlanRow]:
        rows = []
        for pump_id in ("p1", "p2", "p3", "p4", "p5", "p6", "p7"):
            at = start
            for number in range(26):
                rows.append(
                    PlanRow(
                        plan_id=number,
                        station_id=station_id,
                        pump_id=pump_id,
                        interval_start=at,
                        interval_end=at + timedelta(hours=1),
                        plan_version=1,
                        created_at=start,
                        suggested_speed_hz=38.0 if number % 2 else 0.0,
                        target_level_m=1.4,
                    )
                )
                at += timedelta(hours=1)
        return rows
