"""Watchdog timers: goal: each is lost at its own limit, returns with hysteresis, and rings for nothing else."""

from __future__ import annotations

import msgspec
import pytest

from actors.feedback import LEVEL, LOCAL_OVERRIDE, PLC_HEARTBEAT, RUNNING, SPEED
from actors.messages import EndpointStatus, Epoch, JudgedValue, PlanStatus, StationDecisions
from actors.vocabulary import (
    ControlSettings,
    ControlType,
    FailsafeStrategy,
    Instant,
    PumpConfig,
    Quality,
    SafetyLimits,
    SiteConfig,
    StationConfig,
)
from actors.watchdog import timers
from actors.watchdog.timers import Watch

T0 = Instant("boot-a", 1_000 * 10**9, 1_800_000_000 * 10**9)
CONTROL = ControlSettings()


DRY = SafetyLimits(
    version=1, hard_min_speed_hz=20.0, hard_max_speed_hz=50.0, max_rate_hz_per_s=1.0, level_dry_run_m=0.4
)


def pump(pump_id: str, station_id: str) -> PumpConfig:
    return PumpConfig(
        pump_id=pump_id,
        station_id=station_id,
        name=pump_id,
        control_type=ControlType.DIRECT_SPEED,
        default_setpoint_hz=25.0,
        failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
        wire_slot=0,
        limits=DRY if pump_id == "p1" else None,
    )


def station(station_id: str, *pump_ids: str) -> StationConfig:
    pumps = tuple(pump(pump_id, station_id) for pump_id in pump_ids)
    return StationConfig(
        station_id=station_id, site_id="north", name="", timezone="UTC", modbus_unit_id=1, pumps=pumps
    )


SITE = SiteConfig(
    site_id="north", name="", timezone="UTC", stations=(station("s1", "p1", "p2"), station("s2", "q1"))
)


class Desk:
    """All timers of the site, with a clock."""

    def __init__(self) -> None:
        self.now = T0
        self.held = timers.watching({}, SITE, CONTROL, now=T0)
        found = timers.subjects(SITE)
        self.known = frozenset((watch, subject) for watch, ids in found.items() for subject in ids)

    def feed(self, fed: list[tuple[Watch, str, Instant]]) -> None:
        self.held = timers.feed(self.held, fed, self.known)

    def lost(self, after_s: float = 0.0) -> set[timers.Key]:
        self.now = self.now.plus(after_s)
        self.held = timers.judge(self.held, CONTROL, now=self.now)
        return {key for key, state in self.held.items() if state.lost_at is not None}


SUBJECTS = [(watch, timers.subjects(SITE)[watch][0]) for watch in Watch]


@pytest.mark.parametrize(("watch", "subject"), SUBJECTS)
def test_each_timer_has_its_own_limit_and_hysteresis(watch: Watch, subject: str) -> None:
    """WDG-1: lost just past the limit, and back only after good for the whole hold."""
    spec = timers.specs(CONTROL)[watch]
    desk = Desk()
    desk.feed([(watch, subject, desk.now)])
    assert (watch, subject) not in desk.lost(spec.limit_s)
    assert (watch, subject) in desk.lost(0.01)
    steps = round(spec.return_hold_s / 0.5)
    for _ in range(steps):
        desk.feed([(watch, subject, desk.now)])
        assert (watch, subject) in desk.lost(0.5)
    desk.feed([(watch, subject, desk.now)])
    assert (watch, subject) not in desk.lost(0.5)


@pytest.mark.parametrize(("watch", "subject"), SUBJECTS)
def test_what_was_never_good_rings_only_where_it_is_owed(watch: Watch, subject: str) -> None:
    """WDG-1: a SCADA that never wrote a heartbeat has none to lose; a chain that never spoke is silent."""
    spec = timers.specs(CONTROL)[watch]
    lost = Desk().lost(10_000.0)
    assert ((watch, subject) in lost) is spec.from_start


def test_a_plc_that_has_yet_to_connect_is_no_alarm() -> None:
    """WDG-1: at a start a pump's first heartbeat may take as long as one may stand still; then it is missing."""
    desk, key = Desk(), (Watch.PLC_HEARTBEAT, "p1")
    assert key not in desk.lost(CONTROL.plc_heartbeat_s + 2.0)
    assert key in desk.lost(0.01)


def test_a_relapse_during_the_hold_starts_it_anew() -> None:
    """WDG-1: on/off chatter does not return the alarm."""
    desk, key = Desk(), (Watch.CHAIN_SILENT, "s1")
    assert key in desk.lost(11.0)
    for _ in range(20):
        desk.feed([(*key, desk.now)])
        assert key in desk.lost(2.0)
        assert key in desk.lost(11.0)


def test_late_and_foreign_food_counts_nothing() -> None:
    """WDG-1: messages come in any order; what is not configured is not watched."""
    desk, key = Desk(), (Watch.CHAIN_SILENT, "s1")
    desk.feed([(*key, T0.plus(5.0)), (*key, T0), (Watch.CHAIN_SILENT, "elsewhere", T0)])
    assert desk.held[key].good_at == T0.plus(5.0)
    assert (Watch.CHAIN_SILENT, "elsewhere") not in desk.held


def test_reconfiguring_keeps_and_forgets() -> None:
    """DAT-4: what stays keeps its state, what is gone is no longer watched."""
    desk = Desk()
    desk.lost(11.0)
    kept = timers.watching(desk.held, SITE.only("s1"), CONTROL, now=desk.now)
    assert kept[Watch.CHAIN_SILENT, "s1"].lost_at is not None
    assert (Watch.CHAIN_SILENT, "s2") not in kept


def judged(age_s: float | None, quality: Quality = Quality.GOOD) -> JudgedValue:
    return JudgedValue(value=1.0, quality=quality, age_s=age_s)


def decisions(**points: JudgedValue) -> StationDecisions:
    feedback = {SPEED: judged(1.0), RUNNING: judged(1.0), LOCAL_OVERRIDE: judged(1.0), LEVEL: judged(1.0)}
    return StationDecisions(
        station_id="s1",
        epoch=Epoch(0, 1),
        decisions=(),
        waiting_for={},
        feedback={"p1": {**feedback, **points}},
        sent_at=T0,
    )


def test_feedback_is_as_old_as_its_oldest_needed_point() -> None:
    """WDG-1: one point that is no longer written makes the pump's feedback stale; rejected is another alarm."""
    stale = timers.fed_by_decisions(decisions(**{LEVEL: judged(29.0)}))
    assert (Watch.FEEDBACK_STALE, "p1", T0.plus(-29.0)) in stale
    never = timers.fed_by_decisions(decisions(**{LEVEL: judged(None, Quality.BAD)}))
    assert {watch for watch, _, _ in never} == {Watch.CHAIN_SILENT}
    frozen = timers.fed_by_decisions(decisions(**{LEVEL: judged(1.0, Quality.BAD)}))
    assert {watch for watch, _, _ in frozen} == {Watch.CHAIN_SILENT, Watch.FEEDBACK_STALE}
    alive = timers.fed_by_decisions(decisions(**{PLC_HEARTBEAT: judged(1.0)}))
    assert (Watch.PLC_HEARTBEAT, "p1", T0) in alive


def test_a_protective_level_is_as_young_as_its_station_says() -> None:
    """WDG-1, SAF-2: GOOD and within protective_level_age_s, of a pump whose limits need it; one is enough."""
    [s1, s2] = SITE.stations
    fed = [(Watch.PROTECTIVE_LEVEL, "s1", T0)]
    assert timers.fed_by_levels(s1, decisions(**{LEVEL: judged(5.0)})) == fed
    assert timers.fed_by_levels(s1, decisions(**{LEVEL: judged(5.1)})) == []
    assert timers.fed_by_levels(s1, decisions(**{LEVEL: judged(1.0, Quality.BAD)})) == []
    assert timers.fed_by_levels(s1, decisions(**{LEVEL: judged(None, Quality.BAD)})) == []
    own = msgspec.structs.replace(s1, protective_level_age_s=2.0)
    assert timers.fed_by_levels(own, decisions(**{LEVEL: judged(2.1)})) == []
    assert timers.subjects(SITE)[Watch.PROTECTIVE_LEVEL] == ("s1",), "s2 has no limit on level"
    assert timers.fed_by_levels(s2, decisions()) == []


def test_what_a_plan_status_proves() -> None:
    """WDG-1: coverage per pump, the database by its last answer, the optimiser by its own heartbeat."""
    status = PlanStatus(
        station_id="s1",
        database_answered_at=T0.plus(-2.0),
        optimiser_heartbeat_age_s=600.0,
        covered={"p1": True, "p2": False},
        refused_total=0,
        last_refusals={},
        sent_at=T0,
    )
    assert timers.fed_by_plan("north", status) == [
        (Watch.PLAN_COVERAGE, "p1", T0),
        (Watch.DATABASE, "north", T0.plus(-2.0)),
        (Watch.OPTIMISER_HEARTBEAT, "s1", T0.plus(-600.0)),
    ]


def test_a_plan_status_without_a_database_and_an_optimiser_proves_neither() -> None:
    """WDG-1: what nobody has read yet feeds nothing."""
    status = PlanStatus(
        station_id="s1",
        database_answered_at=None,
        optimiser_heartbeat_age_s=None,
        covered={},
        refused_total=0,
        last_refusals={},
        sent_at=T0,
    )
    assert timers.fed_by_plan("north", status) == []


def test_an_endpoint_that_has_no_port_is_silent() -> None:
    """WDG-1: reporting is not enough, it must serve; SCADA's heartbeat counts when it moves."""
    status = EndpointStatus(
        protocol="modbus",
        bound="",
        clients=0,
        pumps=(),
        writes_refused=0,
        stops_active=(),
        sent_at=T0,
        scada_moved_at={"s1": T0.plus(-3.0)},
    )
    assert timers.fed_by_endpoint("north", status) == [(Watch.SCADA_HEARTBEAT, "s1", T0.plus(-3.0))]
