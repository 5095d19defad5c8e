"""Feedback as it may be believed (CTL-4)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feedback import (
    POINTS,
    FeedbackMemory,
    arrived,
    good_value,
    judge,
    level_range_m,
    newest,
    pumping_since_of,
    running_since,
)
from actors.messages import JudgedValue, PumpFeedback, Sample
from actors.vocabulary import ControlSettings, Instant, Quality
from tests.unit.actors.safety.timeline import START, limits, pump

CONTROL = ControlSettings()
PUMP = pump("a", limits(dry_run_m=0.4, high_m=3.0), rated_power_kw=10.0, rated_flow_m3h=100.0)


def written(at: Instant, **values: Any) -> PumpFeedback:
    return PumpFeedback(pump_id="a", **{name: Sample(value, at) for name, value in values.items()})


def judged_once(feedback: PumpFeedback, *, now: Instant) -> dict[str, JudgedValue]:
    return judge(feedback, FeedbackMemory(), now=now, since=START, control=CONTROL, pump=PUMP)[0]


def test_a_point_never_written_is_bad_and_not_0() -> None:
    """CTL-4: every point is there, BAD and without a value."""
    judged = judged_once(PumpFeedback(pump_id="a"), now=START.plus(1))
    assert judged.keys() == set(POINTS)
    assert {(value.value, value.quality, value.age_s) for value in judged.values()} == {
        (None, Quality.BAD, None)
    }


@pytest.mark.parametrize(
    "at", [START, START.plus(-5), Instant("another boot", START.boot_ns + 10**9, START.utc_ns)]
)
def test_what_was_written_before_our_start_was_never_written(at: Instant) -> None:
    """CTL-4, SAF-10: only samples of later than our own start count, and only of this boot."""
    judged = judged_once(written(at, running=1.0), now=START.plus(1))
    assert not arrived(judged, "running")
    assert judged["running"].why == "never written since our start"


@pytest.mark.parametrize(
    ("point", "value", "good"),
    [
        ("actual_speed_hz", 0.0, True),
        ("actual_speed_hz", 50.0, True),
        ("actual_speed_hz", -0.1, False),
        ("actual_speed_hz", 655.35, False),
        ("actual_speed_hz", float("nan"), False),
        ("actual_speed_hz", float("inf"), False),
        ("actual_speed_hz", "35", False),
        ("running", 1.0, True),
        ("running", 0.0, True),
        ("running", 0.5, False),
        ("running", 2.0, False),
        ("local_override", 7.0, False),
        ("high_float", 1.0, True),
        ("wet_well_level_m", -2.1, True),
        ("wet_well_level_m", -2.3, False),
        ("wet_well_level_m", 12.9, True),
        ("wet_well_level_m", 13.1, False),
        ("wet_well_level_m", -2147483.648, False),
        ("actual_power_kw", 29.0, True),
        ("actual_power_kw", 31.0, False),
        ("actual_flow_m3h", -100.0, True),
        ("actual_flow_m3h", 301.0, False),
        ("fault_code", 17.0, True),
        ("fault_code", 17.5, False),
        ("plc_heartbeat", 65536.0, False),
        ("setpoint_echo_hz", 35.0, True),
    ],
)
def test_range_and_form(point: str, value: Any, good: bool) -> None:
    """CTL-4: not finite, out of range, booleans that are neither 0 nor 1, counters with a fraction: rejected."""
    judged = judged_once(written(START.plus(1), **{point: value}), now=START.plus(2))
    assert (judged[point].quality is Quality.GOOD) == good
    assert (good_value(judged, point) == value) == good
    assert bool(judged[point].why) != good
    assert arrived(judged, point)


def test_staleness() -> None:
    """CTL-4, WDG-1: 30 s for feedback, 10 s for the PLC heartbeat; a value from the future is none."""
    feedback = written(START.plus(1), actual_speed_hz=35.0, plc_heartbeat=4.0)
    assert good_value(judged_once(feedback, now=START.plus(31)), "actual_speed_hz") == 35.0
    assert good_value(judged_once(feedback, now=START.plus(31.1)), "actual_speed_hz") is None
    assert good_value(judged_once(feedback, now=START.plus(11)), "plc_heartbeat") == 4.0
    assert good_value(judged_once(feedback, now=START.plus(11.1)), "plc_heartbeat") is None
    ahead = judged_once(written(START.plus(9), running=1.0), now=START.plus(1))
    assert "future" in ahead["running"].why


def drive(
    values: list[tuple[float, dict[str, float]]], *, pumping: bool = False
) -> tuple[dict[str, JudgedValue], FeedbackMemory]:
    """Write once a second from moment to moment, judging each time."""
    memory, judged = FeedbackMemory(), dict[str, JudgedValue]()
    second = 1
    for until_s, given_values in values:
        while second <= until_s:
            now = START.plus(float(second))
            feedback = written(now, **given_values, plc_heartbeat=float(second))
            judged, memory = judge(
                feedback,
                memory,
                now=now,
                since=START,
                control=CONTROL,
                pump=PUMP,
                pumping_since=START.plus(1) if pumping else None,
            )
            second += 1
    return judged, memory


def test_a_level_that_stands_while_pumping_is_frozen() -> None:
    """CTL-4: the same to the last bit for longer than feedback_frozen_s while the pump runs."""
    still = {"running": 1.0, "wet_well_level_m": 1.234}
    assert good_value(drive([(301, still)])[0], "wet_well_level_m") == 1.234
    assert "frozen" in drive([(302, still)])[0]["wet_well_level_m"].why


def test_a_calm_level_and_a_stopped_pump_are_not_frozen() -> None:
    """CTL-4: no pump runs: nothing need move; what stood before the start of a pump does not count."""
    calm = {"running": 0.0, "wet_well_level_m": 1.234, "actual_speed_hz": 0.0, "actual_power_kw": 0.0}
    judged, _ = drive([(900, calm)])
    assert good_value(judged, "wet_well_level_m") == 1.234
    assert good_value(judged, "actual_speed_hz") == 0.0
    judged, _ = drive([(900, calm), (1100, {**calm, "running": 1.0})])
    assert good_value(judged, "wet_well_level_m") == 1.234


def test_a_level_is_frozen_by_the_station_not_by_the_own_pump() -> None:
    """CTL-4: another pump of the same well runs: the level should move for this one too."""
    judged, _ = drive([(400, {"running": 0.0, "wet_well_level_m": 1.0})], pumping=True)
    assert good_value(judged, "wet_well_level_m") is None


def test_a_drive_at_its_setpoint_is_not_frozen_but_one_that_ignores_it_is() -> None:
    """CTL-4: a speed equal to the last bit is expected while the setpoint stands, and no longer when it moved."""
    steady = {"running": 1.0, "actual_speed_hz": 35.0, "setpoint_echo_hz": 35.0}
    assert good_value(drive([(900, steady)])[0], "actual_speed_hz") == 35.0
    moved = {**steady, "setpoint_echo_hz": 40.0}
    assert "frozen" in drive([(100, steady), (400, moved)])[0]["actual_speed_hz"].why
    followed = {**moved, "actual_speed_hz": 40.0}
    assert good_value(drive([(100, steady), (101, moved), (900, followed)])[0], "actual_speed_hz") == 40.0
    without_echo = {"running": 1.0, "actual_speed_hz": 35.0}
    assert good_value(drive([(900, without_echo)])[0], "actual_speed_hz") == 35.0


def test_power_and_flow_of_a_running_pump_are_noisy() -> None:
    """CTL-4: a power that does not move in 5 minutes is not measured."""
    judged, _ = drive([(302, {"running": 1.0, "actual_power_kw": 7.5, "actual_flow_m3h": 80.0})])
    assert good_value(judged, "actual_power_kw") is None
    assert good_value(judged, "actual_flow_m3h") is None


def test_a_plc_heartbeat_lives_by_change() -> None:
    """WDG-1: written each second, changed for the last time more than 10 s ago: dead."""
    memory = FeedbackMemory()
    for second, beat in [
        *((second, float(second)) for second in range(1, 6)),
        *((s, 5.0) for s in range(6, 17)),
    ]:
        now = START.plus(float(second))
        judged, memory = judge(
            written(now, plc_heartbeat=beat), memory, now=now, since=START, control=CONTROL, pump=PUMP
        )
        assert (judged["plc_heartbeat"].quality is Quality.GOOD) == (second <= 15)


def test_since_when_a_station_pumps() -> None:
    """CTL-4: by the pump that runs longest; None when none does or none says."""
    _, runs = drive([(10, {"running": 0.0}), (20, {"running": 1.0})])
    _, stands = drive([(10, {"running": 0.0})])
    assert running_since(runs) == START.plus(11)
    assert pumping_since_of([stands, runs, FeedbackMemory()]) == START.plus(11)
    assert pumping_since_of([stands]) is None


def test_the_newest_sample_of_each_point_counts() -> None:
    """CTL-4: two endpoints, one PLC: per point the later sample; nothing from the future, nothing of a past boot."""
    now = START.plus(10)
    old = written(START.plus(5), running=1.0, actual_speed_hz=30.0)
    new = newest(old, written(START.plus(6), actual_speed_hz=31.0), now=now)
    assert new.running is not None
    assert new.actual_speed_hz is not None
    assert (new.running.value, new.actual_speed_hz.value) == (1.0, 31.0)
    assert newest(new, written(START.plus(4), actual_speed_hz=29.0), now=now) == new
    assert newest(new, written(START.plus(60), actual_speed_hz=29.0), now=now) == new
    past = Instant("past boot", START.boot_ns + 10**15, START.utc_ns)
    assert newest(new, written(past, actual_speed_hz=29.0), now=now) == new
    assert newest(written(past, actual_speed_hz=29.0), new, now=now) == new
    assert newest(None, new, now=now) == new


def test_the_range_of_levels_follows_the_limits() -> None:
    """CTL-4: what can be true depends on where the limits are; without them on the earth."""
    assert level_range_m(pump("a", None)) == (-500.0, 9000.0)
    assert level_range_m(pump("a", limits())) == (-500.0, 9000.0)
    assert level_range_m(pump("a", limits(high_m=3.0))) == (-500.0, 13.0)
    assert level_range_m(pump("a", limits(dry_run_m=100.4))) == (99.4, 9000.0)
    assert level_range_m(PUMP) == pytest.approx((-2.2, 13.0))


@given(
    st.dictionaries(st.sampled_from(POINTS), st.floats(allow_nan=True, allow_infinity=True)),
    st.floats(-100.0, 1000.0),
)
def test_judging_is_total(values: dict[str, float], age_s: float) -> None:
    """CTL-4: no float makes it raise, and nothing GOOD is not finite."""
    judged = judged_once(written(START.plus(2), **values), now=START.plus(2 + age_s))
    for value in judged.values():
        assert value.quality is Quality.BAD or (value.value is not None and abs(value.value) < 1e6)
