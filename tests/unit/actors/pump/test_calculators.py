"""The three calculators: their outputs, fallbacks, anti-windup, bumpless joins, and a well that settles."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feedback import LEVEL, POWER, RUNNING
from actors.messages import JudgedValue
from actors.pump.calculators import (
    CalculatorSetup,
    CalculatorState,
    Wish,
    affinity_speed_hz,
    calculate,
    setup_of,
    track,
)
from actors.pump.parameters import check_parameters
from actors.pump.regulator import Applied
from actors.vocabulary import ControlType
from actors.vocabulary.records import PlanRow
from tests.unit.actors.pump.parts import CONTROL, WetWell, bad, good, level_plan, plan, power_plan, pump


def setup(control_type: ControlType, **parameters: Any) -> CalculatorSetup:
    return setup_of(pump(control_type), check_parameters(control_type, parameters), CONTROL)


def tick(
    own: CalculatorSetup,
    row: PlanRow,
    judged: dict[str, JudgedValue],
    state: CalculatorState,
    *,
    applied: Applied | None = None,
    dt_s: float = 1.0,
) -> Wish:
    return calculate(own, row, judged, state, applied=applied, dt_s=dt_s)


def hz_of(wish: Wish) -> float:
    assert wish.hz is not None
    return wish.hz


def held(
    own: CalculatorSetup,
    row: PlanRow,
    judged: dict[str, JudgedValue],
    seconds: int,
    applied: Applied | None = None,
) -> Wish:
    """The last wish after `seconds` in which nothing changes."""
    wish = tick(own, row, judged, FRESH)
    for _ in range(seconds):
        wish = tick(own, row, judged, wish.state, applied=applied)
    return wish


LEVEL_SETUP = setup(ControlType.LEVEL_CONTROLLED)
POWER_SETUP = setup(ControlType.POWER_CONTROLLED)
FRESH = CalculatorState()


# --------------------------------------------------------------------------- DIRECT_SPEED and stopped plans


def test_direct_speed_is_the_plans_speed() -> None:
    """CTL-2: DIRECT_SPEED wishes the plan's speed and names its plan."""
    wish = tick(setup(ControlType.DIRECT_SPEED), plan(5, 0, 60, suggested_speed_hz=33.0), {}, FRESH)
    assert wish.hz == 33.0
    assert (wish.source.calculator, wish.source.plan_id, wish.source.plan_version) == ("direct_speed", 5, 1)


@pytest.mark.parametrize("control_type", ControlType)
def test_a_plan_speed_of_zero_means_stopped(control_type: ControlType) -> None:
    """CTL-1: plan speed 0 means stopped, whatever level or power would ask for."""
    row = plan(5, 0, 60, suggested_speed_hz=0.0, target_level_m=1.0, target_power_kw=10.0)
    assert tick(setup(control_type), row, {LEVEL: good(5.0), POWER: good(0.0)}, FRESH).hz == 0.0


# --------------------------------------------------------------------------- LEVEL_CONTROLLED


def test_level_control_told_as_a_timeline() -> None:
    """CTL-2: feed-forward in the deadband, faster above, slower below, the plan's speed without a level."""
    own = setup(ControlType.LEVEL_CONTROLLED, gain_hz_per_m=10, integral_time_s=0, deadband_m=0.1)
    timeline = """
        level_m  plan_hz  wish_hz  because
           1.50       35    35.00  level_pid
           1.60       35    35.00  level_pid
           1.80       35    37.00  level_pid
           1.20       35    33.00  level_pid
           9.00       35    50.00  level_pid
           0.00       25    20.00  level_pid
            bad       35    35.00  level_fallback_plan_speed
           1.80       35    37.00  level_pid
    """
    for line in timeline.strip().splitlines()[1:]:
        level, plan_hz, wish_hz, because = line.split()
        judged = {LEVEL: bad(1.5) if level == "bad" else good(float(level))}
        wish = tick(own, level_plan(1.5, float(plan_hz)), judged, FRESH)
        assert hz_of(wish) == pytest.approx(float(wish_hz)), line
        assert wish.source.calculator == because, line
        assert wish.source.inputs[LEVEL] == judged[LEVEL]


def test_direction_turns_the_answer_round() -> None:
    """CTL-2: when pumping raises the level, a level above its target asks for less speed."""
    filling = setup(
        ControlType.LEVEL_CONTROLLED, direction="FILLING", gain_hz_per_m=10, integral_time_s=0, deadband_m=0
    )
    assert hz_of(tick(filling, level_plan(1.5), {LEVEL: good(2.0)}, FRESH)) == pytest.approx(30.0)
    assert hz_of(tick(filling, level_plan(1.5), {LEVEL: good(1.0)}, FRESH)) == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("direction", "levels"),
    [
        ("EMPTYING", [(1.5, 0), (1.99, 0), (2.0, 1), (1.01, 1), (1.0, 0), (1.99, 0), (2.0, 1)]),
        ("FILLING", [(1.5, 0), (1.01, 0), (1.0, 1), (1.99, 1), (2.0, 0), (1.01, 0), (1.0, 1)]),
    ],
)
def test_start_and_stop_levels_have_hysteresis(direction: str, levels: list[tuple[float, int]]) -> None:
    """CTL-2: start at the start level, stop at the stop level, in both directions."""
    start_m, stop_m = (2.0, 1.0) if direction == "EMPTYING" else (1.0, 2.0)
    own = setup(ControlType.LEVEL_CONTROLLED, direction=direction, start_level_m=start_m, stop_level_m=stop_m)
    state = FRESH
    for level_m, runs in levels:
        wish = tick(own, level_plan(1.5), {LEVEL: good(level_m), RUNNING: good(0.0)}, state)
        state = wish.state
        assert (hz_of(wish) > 0.0) == bool(runs), level_m


def test_between_the_levels_what_runs_goes_on_running_after_a_restart() -> None:
    """SAF-10, CTL-2: an actor that knows nothing yet neither stops nor starts a pump between the levels."""
    own = setup(ControlType.LEVEL_CONTROLLED, start_level_m=2.0, stop_level_m=1.0)
    assert hz_of(tick(own, level_plan(1.5), {LEVEL: good(1.5), RUNNING: good(1.0)}, FRESH)) > 0.0
    assert hz_of(tick(own, level_plan(1.5), {LEVEL: good(1.5), RUNNING: good(0.0)}, FRESH)) == 0.0
    assert hz_of(tick(own, level_plan(1.5), {LEVEL: good(1.5)}, FRESH)) == 0.0


def test_derivative_answers_the_measurement_not_the_target() -> None:
    """CTL-2: derivative on the filtered measurement: a rising level speeds up, a new target gives no kick."""
    own = setup(
        ControlType.LEVEL_CONTROLLED, gain_hz_per_m=10, integral_time_s=0, deadband_m=0, derivative_time_s=30
    )
    still = tick(own, level_plan(1.5), {LEVEL: good(1.5)}, FRESH)
    rising = tick(own, level_plan(1.5), {LEVEL: good(1.6)}, still.state)
    assert hz_of(rising) == pytest.approx(35.0 + 10 * 0.1 + 10 * 30 * 0.1 / 10)
    moved_target = tick(own, level_plan(1.6), {LEVEL: good(1.5)}, still.state)
    assert hz_of(moved_target) == pytest.approx(34.0)


def test_the_level_settles_at_its_target_in_a_closed_loop() -> None:
    """CTL-2: with inflow the plan did not expect, level and speed settle without swinging on."""
    well = WetWell(level_m=1.0, inflow_m3h=160.0)  # needs 40 Hz, planned are 30
    own, row, state = setup(ControlType.LEVEL_CONTROLLED), level_plan(1.5, 30.0), FRESH
    speed_hz, levels, speeds = 30.0, [], []
    for _ in range(6 * 3600):
        wish = tick(own, row, {LEVEL: good(well.level_m)}, state, applied=Applied(hz=speed_hz, ramping=False))
        state = wish.state
        speed_hz = hz_of(wish)
        well.run(speed_hz, 1.0)
        levels.append(well.level_m)
        speeds.append(speed_hz)
    assert max(levels) < 2.2
    assert min(levels) > 0.9
    assert all(abs(level_m - 1.5) < 0.05 for level_m in levels[-1800:])
    assert all(abs(speed - 40.0) < 0.5 for speed in speeds[-1800:])


def test_a_long_saturation_winds_nothing_up() -> None:
    """CTL-2: anti-windup: after hours at the maximum the output leaves it soon after the level passes its target."""
    own, row = setup(ControlType.LEVEL_CONTROLLED), level_plan(1.5, 30.0)
    wish = held(own, row, {LEVEL: good(6.0)}, 5 * 3600)
    assert wish.hz == 50.0
    after = 0
    while hz_of(wish) > 49.0:
        wish = tick(own, row, {LEVEL: good(1.2)}, wish.state)
        after += 1
        assert after < 10
    assert hz_of(wish) < 49.0


def test_a_limit_further_down_winds_nothing_up() -> None:
    """CTL-2: anti-windup against the applied value: while safety caps at 30 Hz, the wish does not run away."""
    own, row = setup(ControlType.LEVEL_CONTROLLED, gain_hz_per_m=2), level_plan(1.5, 30.0)
    wish = held(own, row, {LEVEL: good(3.0)}, 3 * 3600, Applied(hz=30.0))
    assert hz_of(wish) < 31.0
    free = tick(own, row, {LEVEL: good(1.5)}, wish.state, applied=Applied(hz=30.0))
    assert hz_of(free) < 31.0


def test_a_ramp_takes_nothing_from_a_new_plan() -> None:
    """CTL-3: while safety ramps to a new plan's speed, the integral neither falls short of it nor winds up."""
    own, row, judged = setup(ControlType.LEVEL_CONTROLLED), level_plan(1.5, 40.0), {LEVEL: good(1.5)}
    wish, applied_hz = tick(own, row, judged, FRESH), 25.0
    for _ in range(40):
        wish = tick(own, row, judged, wish.state, applied=Applied(hz=applied_hz, ramping=True))
        applied_hz = min(applied_hz + 0.5, hz_of(wish))
    assert hz_of(wish) == pytest.approx(40.0)


@pytest.mark.parametrize("applied_hz", [20.0, 27.5, 41.0, 50.0])
def test_taking_over_from_somebody_else_starts_where_he_was(applied_hz: float) -> None:
    """CTL-2, CTL-7: MANUAL, LOCAL or failsafe to AUTO without a step, then towards the plan at its own pace."""
    for own, row, judged in [
        (LEVEL_SETUP, level_plan(1.5), {LEVEL: good(2.1)}),
        (LEVEL_SETUP, level_plan(1.5), {LEVEL: good(0.9)}),
    ]:
        first = tick(own, row, judged, track(applied_hz))
        assert hz_of(first) == pytest.approx(applied_hz)
        second = tick(own, row, judged, first.state, applied=Applied(hz=applied_hz))
        assert abs(hz_of(second) - applied_hz) < 0.1


def test_a_level_that_fails_and_returns_makes_no_step() -> None:
    """CTL-2: back from the fallback the output begins at the plan's speed that was held meanwhile."""
    failed = tick(LEVEL_SETUP, level_plan(1.5, 33.0), {LEVEL: bad()}, FRESH)
    assert failed.hz == 33.0
    back = tick(LEVEL_SETUP, level_plan(1.5, 33.0), {LEVEL: good(2.5)}, failed.state)
    assert hz_of(back) == pytest.approx(33.0)


def test_after_a_stop_the_regulator_begins_anew() -> None:
    """CTL-2: a pump that stood starts from its feed-forward, not from what was wound up before the stop."""
    started = tick(LEVEL_SETUP, level_plan(1.5), {LEVEL: good(1.5)}, track(0.0))
    assert hz_of(started) == pytest.approx(35.0)


# --------------------------------------------------------------------------- POWER_CONTROLLED


def test_affinity_gives_rated_speed_for_rated_power() -> None:
    """CTL-2: P ~ n3: rated power at rated speed, an eighth of it at half."""
    assert affinity_speed_hz(15.0, rated_power_kw=15.0, rated_speed_hz=50.0) == pytest.approx(50.0)
    assert affinity_speed_hz(15.0 / 8, rated_power_kw=15.0, rated_speed_hz=50.0) == pytest.approx(25.0)


def test_power_falls_back_to_the_affinity_estimate() -> None:
    """CTL-2: with power not GOOD the estimate alone, and no step when power returns."""
    wish = tick(POWER_SETUP, power_plan(15.0 * 0.8**3), {POWER: bad(99.0)}, FRESH)
    assert hz_of(wish) == pytest.approx(40.0)
    assert wish.source.calculator == "power_affinity"
    back = tick(POWER_SETUP, power_plan(15.0 * 0.8**3), {POWER: good(3.0)}, wish.state)
    assert hz_of(back) == pytest.approx(40.0)


def test_without_ratings_power_control_uses_the_plans_speed_or_says_that_it_cannot() -> None:
    """CTL-2: no affinity without ratings: the plan's own speed, else no wish with a note (then failsafe)."""
    bare = msgspec.structs.replace(POWER_SETUP, rated_power_kw=None)
    row = plan(8, 0, 60, suggested_speed_hz=31.0, target_power_kw=5.0)
    assert tick(bare, row, {}, FRESH).hz == 31.0
    nothing = tick(bare, power_plan(5.0), {}, FRESH)
    assert nothing.hz is None
    assert "rated" in nothing.source.note


def test_power_settles_at_its_target_within_the_trim() -> None:
    """CTL-2: a pump that draws 20 % more than the affinity law says is trimmed to its target."""
    state, speed_hz, target_kw = FRESH, 40.0, 7.68
    for _ in range(600):
        power_kw = 1.2 * 15.0 * (speed_hz / 50.0) ** 3
        wish = tick(
            POWER_SETUP, power_plan(target_kw), {POWER: good(power_kw)}, state, applied=Applied(hz=speed_hz)
        )
        state, speed_hz = wish.state, hz_of(wish)
    assert 1.2 * 15.0 * (speed_hz / 50.0) ** 3 == pytest.approx(target_kw, abs=0.2)


def test_the_trim_is_bounded() -> None:
    """CTL-2: a wattmeter that reads nonsense moves the speed by the trim limit, no further."""
    wish = held(POWER_SETUP, power_plan(15.0 * 0.8**3), {POWER: good(40.0)}, 3600)
    assert hz_of(wish) == pytest.approx(32.0)


# --------------------------------------------------------------------------- properties

finite = st.floats(allow_nan=False, allow_infinity=False)
measured = st.floats(-1e7, 1e7)  # far beyond what feedback that is GOOD can be
levels_m = st.floats(-10.0, 30.0)


@given(
    st.lists(
        st.tuples(measured, finite, st.none() | st.floats(0.0, 60.0), st.booleans(), st.floats(-1.0, 1e6)),
        min_size=1,
        max_size=30,
    ),
    st.floats(25.0, 45.0),
    st.sampled_from([0.0, 1.0, 300.0]),
    st.sampled_from([0.0, 30.0]),
)
def test_wishes_are_finite_and_inside_the_band(
    steps: list[tuple[float, float, float | None, bool, float]], plan_hz: float, ti_s: float, td_s: float
) -> None:
    """CTL-2: whatever finite is measured, planned or applied, the wish is 0 or finite inside the output limits."""
    level = setup(ControlType.LEVEL_CONTROLLED, integral_time_s=ti_s, derivative_time_s=td_s)
    power = setup(ControlType.POWER_CONTROLLED, integral_time_s=ti_s)
    level_state, power_state = FRESH, FRESH
    for value, target, applied_hz, ramping, dt_s in steps:
        applied = None if applied_hz is None else Applied(hz=applied_hz, ramping=ramping)
        row = level_plan(target, plan_hz)
        one = tick(level, row, {LEVEL: good(value)}, level_state, applied=applied, dt_s=dt_s)
        row = power_plan(abs(target))
        other = tick(power, row, {POWER: good(value)}, power_state, applied=applied, dt_s=dt_s)
        level_state, power_state = one.state, other.state
        for wish in (one, other):
            assert math.isfinite(hz_of(wish))
            assert wish.hz == 0.0 or 20.0 <= hz_of(wish) <= 50.0


@given(st.lists(levels_m, max_size=60), st.floats(20.0, 50.0), levels_m, st.floats(25.0, 45.0))
def test_auto_to_manual_to_auto_makes_no_step(
    past: list[float], manual_hz: float, level_m: float, plan_hz: float
) -> None:
    """CTL-2, CTL-7: whatever happened in AUTO before, the first wish after MANUAL is the operator's value."""
    state = FRESH
    for earlier_m in past:
        state = tick(LEVEL_SETUP, level_plan(1.5, plan_hz), {LEVEL: good(earlier_m)}, state).state
    back = tick(LEVEL_SETUP, level_plan(1.5, plan_hz), {LEVEL: good(level_m)}, track(manual_hz))
    assert hz_of(back) == pytest.approx(manual_hz)


@given(st.lists(levels_m, min_size=1, max_size=200), st.floats(25.0, 45.0))
def test_the_integral_is_bounded_by_what_it_may_have_to_move(past: list[float], plan_hz: float) -> None:
    """CTL-2: anti-windup bound: never more than the output span and what the other parts push against it."""
    state = FRESH
    for level_m in past:
        state = tick(LEVEL_SETUP, level_plan(1.5, plan_hz), {LEVEL: good(level_m)}, state, dt_s=10.0).state
        bound = 30.0 + 20.0 * abs(level_m - 1.5)
        assert abs(state.regulator.integral_hz) <= bound + 1e-6


def test_a_plan_without_a_target_level_is_its_speed() -> None:
    """CTL-2: level control falls back to the plan's speed, and says so."""
    own = setup(ControlType.LEVEL_CONTROLLED)
    row = msgspec.structs.replace(level_plan(1.5), target_level_m=None)
    wish = tick(own, row, {LEVEL: good(1.5)}, FRESH)
    assert wish.hz == row.suggested_speed_hz
    assert "no target level" in wish.source.note


def test_without_limits_the_optimisers_band_bounds() -> None:
    """CTL-2: a pump that is not commissioned yet is calculated for, and driven by nobody (DAT-5)."""
    bare = msgspec.structs.replace(pump(ControlType.DIRECT_SPEED), limits=None)
    own = setup_of(bare, check_parameters(ControlType.DIRECT_SPEED, {}), CONTROL)
    assert (own.output_min_hz, own.output_max_hz) == (
        CONTROL.optimiser_speed_hz_min,
        CONTROL.optimiser_speed_hz_max,
    )
