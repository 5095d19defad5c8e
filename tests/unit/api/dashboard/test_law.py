"""Goal: what is abnormal, the drawing of a well, small trends and a day's pieces: the pure parts, told by figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from actors.messages import AlarmView, JudgedValue
from actors.vocabulary import Quality, Reason, SafetyLimits, Severity
from actors.vocabulary.records import PlanRow
from actors.vocabulary.trends import Piece
from api.dashboard import wells
from api.dashboard.abnormal import Rank, pump_findings, station_findings
from api.dashboard.trends import STEP_S, drawn, span
from api.views import JudgedView, PublishedView, PumpView, SetpointView, StepView
from tests.browser.plant import LIMITS, NORTH
from tests.unit.api.served import moment

NOW = datetime(2026, 11, 21, 12, 2, 3, tzinfo=UTC)
GOOD = JudgedView(value=1.0, quality="GOOD", age_s=0.1, why="")
NONE = JudgedView(value=0.0, quality="GOOD", age_s=0.1, why="")
OLD = JudgedView(value=1.0, quality="BAD", age_s=95.0, why="not written for 95 s")
MOVED = StepView(rule="substitution", before_hz=35.0, after_hz=0.0, why="p2 runs in its place: fault")


def setpoint(**changed: object) -> SetpointView:
    made = SetpointView(
        setpoint_hz=35.0, remote_enabled=True, run_inhibit=False, quality="GOOD", reason="PLAN", mode="AUTO",
        epoch="0.1", sequence=1, limits_version=1, decided_at=NOW.isoformat(), failsafe_since=None,
        failsafe_reason=None, not_following_since=None, trail=[],
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)


def shown(reason: str = "PLAN") -> PublishedView:
    return PublishedView(
        endpoint="/e/modbus", setpoint_hz=35.0, remote_enabled=True, run_inhibit=False, quality="GOOD",
        reason=reason, heartbeat=1, sequence=1, epoch=1, release_id=1, accepted_at=None, lease_left_s=9.0,
        lapses=0, refused={}, echo_hz=None, measured_hz=None,
    )  # fmt: skip


def view(**changed: object) -> PumpView:
    made = PumpView(
        pump_id="p1", station_id="s1", site_id="north", name="P1", control_type="DIRECT_SPEED", commissioned=True,
        out_of_service=False, mode="AUTO", setpoint=setpoint(), waiting_for=None,
        feedback={"actual_speed_hz": GOOD, "running": GOOD}, published=[shown()],
        unavailable=[],
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)


def ranks(pump: PumpView, *, stopped: bool = False) -> list[tuple[str, str]]:
    found = pump_findings(pump, stopped=stopped, endpoints=2, has_high_float=True)
    return [(each.rank.name, each.what) for each in found]


@pytest.mark.parametrize(
    "reason", ["PLAN", "LIMITED", "RAMP", "STANDBY", "ASSIST", "MAX_RUNNING", "STAGGER", "ROTATED"]
)
def test_what_is_meant_to_be_so_has_no_colour(reason: str) -> None:
    """HMI-1: a pump under plan is grey, limited, ramping or waiting its turn included."""
    assert ranks(view(setpoint=setpoint(reason=reason))) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"setpoint": setpoint(reason="HIGH_LEVEL")}, [("CRITICAL", "high_level")]),
        ({"setpoint": setpoint(reason="DRY_RUN")}, [("HIGH", "dry_run")]),
        (
            {"setpoint": setpoint(failsafe_since=NOW.isoformat(), failsafe_reason="FAILSAFE_DATABASE")},
            [("HIGH", "failsafe")],
        ),
        ({"setpoint": setpoint(not_following_since=NOW.isoformat())}, [("HIGH", "not_following")]),
        ({"setpoint": setpoint(mode="LOCAL")}, [("NOTED", "local")]),
        ({"setpoint": setpoint(mode="MANUAL")}, [("NOTED", "manual")]),
        ({"published": []}, [("CRITICAL", "not_published")]),
        ({"published": [shown("LEASE_EXPIRED")]}, [("HIGH", "lease_expired")]),
        ({"setpoint": None, "unavailable": ["safety: dead"]}, [("HIGH", "no_answer")]),
        ({"out_of_service": True}, [("NOTED", "out_of_service")]),
        ({"commissioned": False}, [("MEDIUM", "not_commissioned")]),
        ({"waiting_for": "running"}, [("MEDIUM", "waiting")]),
        ({"feedback": {"fault_code": GOOD}}, [("HIGH", "fault")]),
        ({"feedback": {"fault_code": NONE}}, []),
        ({"feedback": {"fault_code": OLD}}, []),
        ({"feedback": {"high_float": GOOD}}, [("CRITICAL", "high_float")]),
        ({"feedback": {"high_float": NONE}}, []),
        ({"feedback": {"high_float": OLD}}, []),
        ({"setpoint": setpoint(setpoint_hz=0.0, trail=[MOVED])}, [("MEDIUM", "duty_substituted")]),
        ({"setpoint": setpoint(setpoint_hz=35.0, trail=[MOVED])}, [("NOTED", "duty_substituted")]),
        ({"setpoint": setpoint(reason="EMERGENCY_STOP")}, [("CRITICAL", "emergency_stop")]),
        (
            {"published": [shown("EMERGENCY_STOP")]},
            [("CRITICAL", "emergency_stop")],
        ),
        (
            {"feedback": {"running": JudgedView(value=None, quality="BAD", age_s=None, why="never written")}},
            [("MEDIUM", "bad_value")],
        ),
    ],
)  # fmt: skip
def test_what_is_not_normal_is_named(changed: dict[str, object], expected: list[tuple[str, str]]) -> None:
    """HMI-1: each abnormal state of a pump has its rank."""
    assert ranks(view(**changed)) == expected


def test_a_float_that_is_not_there_is_not_believed() -> None:
    """SAF-2: only a declared float counts, here as in the kernel."""
    assert pump_findings(view(feedback={"high_float": GOOD}), stopped=False, endpoints=2) == ()


def standing(condition: str, severity: Severity) -> AlarmView:
    return AlarmView(
        alarm_id=condition, condition=condition, subject="p1", severity=severity, state="UNACKNOWLEDGED", text="",
        raised_at=moment(), returned_at=None, occurrences=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "alarm", "expected"),
    [
        ({}, standing("plc_heartbeat", Severity.HIGH), [("HIGH", "alarm", "plc_heartbeat")]),
        ({}, standing("plc_heartbeat", Severity.CRITICAL), [("CRITICAL", "alarm", "plc_heartbeat")]),
        ({}, standing("setpoint_echo_mismatch", Severity.MEDIUM), [("MEDIUM", "alarm", "setpoint_echo_mismatch")]),
        ({}, standing("levels_disagree", Severity.LOW), [("NOTED", "alarm", "levels_disagree")]),
        # Said once, in the finding's own words; said again where the alarm is worse.
        ({"setpoint": "dry"}, standing("dry_run", Severity.HIGH), [("HIGH", "dry_run", "DRY_RUN")]),
        (
            {"setpoint": "dry"},
            standing("dry_run", Severity.CRITICAL),
            [("CRITICAL", "alarm", "dry_run"), ("HIGH", "dry_run", "DRY_RUN")],
        ),
    ],
)  # fmt: skip
def test_a_standing_alarm_ranks_its_pump(
    changed: dict[str, object], alarm: AlarmView, expected: list[tuple[str, str, str]]
) -> None:
    """ALM-1, HMI-1: what the alarm actor knows and no value shows is not grey, and nothing is said twice."""
    pump = view(**{key: setpoint(reason="DRY_RUN") for key in changed})
    found = pump_findings(pump, stopped=False, endpoints=2, alarms=[alarm])
    assert [(each.rank.name, each.what, each.detail) for each in found] == expected


def test_a_stop_stands_above_everything_else() -> None:
    """EST-1, HMI-1: the worst is told first."""
    failing = view(setpoint=setpoint(failsafe_since=NOW.isoformat(), failsafe_reason="FAILSAFE_DATABASE"))
    assert ranks(failing, stopped=True)[0] == ("CRITICAL", "emergency_stop")


def test_every_hand_back_is_abnormal() -> None:
    """CTL-7, HMI-1: no reason to claim nothing goes unseen."""
    for reason in Reason:
        if reason.name.startswith("HANDED_BACK"):
            assert ranks(view(setpoint=setpoint(reason=reason.name, remote_enabled=False)))[0][0] == "HIGH"


def level(value: float | None, quality: Quality = Quality.GOOD) -> JudgedValue:
    return JudgedValue(
        value=value, quality=quality, age_s=1.0, why="" if quality is Quality.GOOD else "stale"
    )


@pytest.mark.parametrize(
    ("judged", "worst"),
    [
        (level(1.4), []),
        (level(2.9), [Rank.CRITICAL]),
        (level(0.5), [Rank.HIGH]),
        (level(1.4, Quality.BAD), [Rank.HIGH]),
        (level(None, Quality.BAD), [Rank.HIGH]),
    ],
)
def test_a_level_beyond_its_alarm_limits_is_abnormal(judged: JudgedValue, worst: list[Rank]) -> None:
    """SAF-2, HMI-1: the station says it whatever its pumps do; a bad level is never judged by its number."""
    found = station_findings(judged, None, [], [LIMITS, LIMITS])
    assert [each.rank for each in found] == worst


def test_a_well_is_drawn_to_scale() -> None:
    """HMI-2: heights are proportional to metres; labels stand apart."""
    drawing = wells.well([("p1", LIMITS)], 1.7)
    assert drawing is not None
    by_key = {line.key: line for line in drawing.lines}
    low, high = by_key["level_dry_run_m"], by_key["level_emergency_high_m"]
    per_m = (low.y - high.y) / (high.value_m - low.value_m)
    assert drawing.level_y is not None
    assert abs((low.y - drawing.level_y) / per_m - (1.7 - 0.5)) < 0.01
    assert drawing.crossed == ()
    places = [line.label_y for line in drawing.lines]
    assert all(after - before >= 16.9 for before, after in pairwise(places))


def test_limits_that_differ_say_for_which_pumps() -> None:
    """HMI-2: two pumps, two dry-run levels: both are drawn and named."""
    other = msgspec.structs.replace(LIMITS, level_dry_run_m=0.6)
    drawing = wells.well([("p1", LIMITS), ("p2", other)], 0.55)
    assert drawing is not None
    found = {(line.value_m, line.pumps) for line in drawing.lines if line.key == "level_dry_run_m"}
    assert found == {(0.5, "p1"), (0.6, "p2")}
    assert drawing.crossed == ("level_dry_run_m",)


def test_without_level_and_limits_there_is_no_well() -> None:
    """HMI-2: nothing is invented."""
    assert wells.well([("p1", None)], None) is None


levels = some.floats(min_value=-500.0, max_value=9000.0, allow_nan=False)


@given(level_m=some.none() | levels, dry=levels, apart=some.floats(min_value=0.001, max_value=50.0))
def test_everything_stands_inside_the_drawing(level_m: float | None, dry: float, apart: float) -> None:
    """HMI-2: whatever the datum and the levels, nothing is drawn outside."""
    limits = SafetyLimits(
        version=1, hard_min_speed_hz=20.0, hard_max_speed_hz=50.0, max_rate_hz_per_s=2.0, level_dry_run_m=dry,
        level_dry_run_reset_m=dry + apart, level_min_m=dry + 2 * apart, level_max_m=dry + 3 * apart,
        level_emergency_high_reset_m=dry + 4 * apart, level_emergency_high_m=dry + 5 * apart,
    )  # fmt: skip
    drawing = wells.well([("p1", limits)], level_m)
    assert drawing is not None
    heights = [line.y for line in drawing.lines] + [tick.y for tick in drawing.ticks]
    heights += [] if drawing.level_y is None else [drawing.level_y]
    assert all(wells.TOP - 0.5 <= height <= wells.BOTTOM + 0.5 for height in heights)
    assert all(wells.TOP - 0.1 <= line.label_y <= wells.BOTTOM + 0.1 for line in drawing.lines)
    assert 2 <= len(drawing.ticks) <= 20


def test_a_small_trend_needs_a_minute() -> None:
    """HMI-1: a line that says nothing yet is not drawn; one that does ends at now, on the right."""
    assert wells.sparkline([(20.0, 1.0), (0.0, 2.0)], width=120, height=30, span_s=3600.0) == ""
    line = wells.sparkline([(1800.0, 1.0), (0.0, 2.0)], width=120, height=30, span_s=3600.0)
    (x0, y0), (x1, y1) = (tuple(map(float, point.split(","))) for point in line.split())
    assert (x0, x1) == (60.0, 120.0)
    assert y0 > y1, "a higher level is drawn higher"


def plan(plan_id: int, start: datetime, hours: float, hz: float, *, version: int = 1) -> PlanRow:
    return PlanRow(
        plan_id=plan_id, station_id="harbour", pump_id="p1", interval_start=start,
        interval_end=start + timedelta(hours=hours), plan_version=version, created_at=start, suggested_speed_hz=hz,
    )  # fmt: skip


def test_the_plan_in_force_is_the_highest_version() -> None:
    """CTL-1, HMI-2: as the plan actor has it; where no row covers, there is a gap."""
    start, _ = span(NOW)
    rows = [plan(1, start, 2.0, 30.0), plan(2, start + timedelta(hours=1), 0.5, 40.0, version=2)]
    trend = drawn(NORTH.stations[0], rows, {}, now=NOW)
    told = trend.pumps[0].plan
    hour = round(3600 / STEP_S)
    assert told[:hour] == [30.0] * hour
    assert told[hour : hour + hour // 2] == [40.0] * (hour // 2)
    assert told[hour + hour // 2 : 2 * hour] == [30.0] * (hour // 2)
    assert told[2 * hour] is None


def test_what_was_not_measured_is_a_gap() -> None:
    """HMI-2: no line is drawn over what nobody knows."""
    start, end = span(NOW)
    pieces = [
        Piece(at=start + timedelta(seconds=STEP_S * at), speed_hz=35.0, level_m=1.0) for at in (0, 1, 5)
    ]
    trend = drawn(NORTH.stations[0], [], {"p1": pieces}, now=NOW)
    assert trend.pumps[0].actual[:7] == [35.0, 35.0, None, None, None, 35.0, None]
    assert trend.level[:6] == [1.0, 1.0, None, None, None, 1.0]
    assert trend.t[0] == start.timestamp()
    assert trend.t[-1] < end.timestamp()
