"""The relations between limits and the final check that kernel and gate share."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.safety.limits import (
    failsafe_output_hz,
    final_check,
    is_finite_number,
    problems,
    resolve_hz,
    stop_value_hz,
)
from actors.vocabulary import Reason
from tests.unit.actors.safety.timeline import limits, pump

SOUND = limits(
    dry_run_m=0.4,
    dry_run_reset_m=0.6,
    level_min_m=0.8,
    level_max_m=2.0,
    high_m=3.0,
    high_reset_m=2.5,
    min_flow_m3h=1.0,
    max_flow_m3h=80.0,
    min_run_s=60.0,
    max_run_s=3600.0,
    min_rest_s=60.0,
    max_starts_per_hour=10,
    max_power_kw=9.0,
)


def test_sound_limits_have_no_problem() -> None:
    """DAT-1: dry < min < max < emergency high, and the least limits that a pump needs."""
    assert problems(SOUND) == ()
    assert problems(limits()) == ()


def test_an_answer_is_kept_for_the_limits_themselves_and_not_for_their_equals() -> None:
    """SAF-2.11: a bound of True equals 1 and is refused all the same, however many others are asked about between."""
    one = limits(max_starts_per_hour=1)
    true = msgspec.structs.replace(one, max_starts_per_hour=True)
    assert one == true
    for _ in range(2):
        assert problems(one) == ()
        assert "max_starts_per_hour" in problems(true)[0]
        for version in range(1_100):
            assert problems(msgspec.structs.replace(one, version=version)) == ()


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("hard_min_speed_hz", 0.0, "hard_min_speed_hz"),
        ("hard_min_speed_hz", 51.0, "hard_max_speed_hz"),
        ("hard_min_speed_hz", None, "hard_min_speed_hz"),
        ("hard_max_speed_hz", float("nan"), "hard_max_speed_hz"),
        ("hard_max_speed_hz", 200.0, "100"),
        ("max_rate_hz_per_s", 0.0, "max_rate_hz_per_s"),
        ("max_rate_hz_per_s", float("inf"), "max_rate_hz_per_s"),
        ("level_dry_run_m", 0.9, "level_dry_run_m"),
        ("level_dry_run_m", None, "level_dry_run_reset_m"),
        ("level_dry_run_reset_m", 0.3, "level_dry_run_m"),
        ("level_dry_run_reset_m", 2.6, "level_emergency_high_reset_m"),
        ("level_min_m", 2.0, "level_max_m"),
        ("level_max_m", 3.0, "level_emergency_high_m"),
        ("level_emergency_high_reset_m", 3.1, "level_emergency_high_m"),
        ("level_emergency_high_m", None, "level_emergency_high_reset_m"),
        ("max_power_kw", -1.0, "max_power_kw"),
        ("max_flow_m3h", 0.5, "max_flow_m3h"),
        ("min_flow_m3h", -1.0, "min_flow_m3h"),
        ("min_run_s", 4000.0, "max_run_s"),
        ("min_rest_s", -1.0, "min_rest_s"),
        ("max_starts_per_hour", 0, "max_starts_per_hour"),
        ("max_starts_per_hour", 1.5, "max_starts_per_hour"),
        ("max_starts_per_hour", True, "max_starts_per_hour"),
    ],
)
def test_a_broken_relation_is_named(field: str, value: Any, named: str) -> None:
    """DAT-1, DAT-5: what breaks a relation is named by its column."""
    found = problems(msgspec.structs.replace(SOUND, **{field: value}))
    assert any(named in problem for problem in found), found


def test_a_band_without_a_step_of_the_wire_is_none() -> None:
    """SAF-2.11: 20.001 to 20.009 holds no multiple of 0.01 Hz."""
    assert problems(limits(band_hz=(20.001, 20.009)))
    assert not problems(limits(band_hz=(20.001, 20.011)))


@pytest.mark.parametrize(
    ("value_hz", "shown_hz", "refusal"),
    [
        (0.0, 0.0, None),
        (35.0, 35.0, None),
        (35.004, 35.0, None),
        (20.0, 20.0, None),
        (50.0, 50.0, None),
        (19.9, 0.0, Reason.FINAL_CHECK),
        (50.1, 0.0, Reason.FINAL_CHECK),
        (-1.0, 0.0, Reason.FINAL_CHECK),
        (float("nan"), 0.0, Reason.FINAL_CHECK),
        (float("inf"), 0.0, Reason.FINAL_CHECK),
    ],
)
def test_final_check(value_hz: float, shown_hz: float, refusal: Reason | None) -> None:
    """SAF-2.11, SAF-8: finite, 0 or in the band, in steps of 0.01 Hz."""
    checked = final_check(value_hz, pump("a", limits()), stopped=False, out_of_service=False, last_hz=30.0)
    assert (checked.value_hz, checked.refusal) == (shown_hz, refusal)


def test_final_check_under_latches() -> None:
    """SAF-8: the latch outranks everything: never above the emergency setpoint nor the last value, 0 out of service."""
    of = pump("a", limits(), emergency_stop_setpoint_hz=25.0)
    stopped = final_check(35.0, of, stopped=True, out_of_service=False, last_hz=35.0)
    assert (stopped.value_hz, stopped.refusal) == (25.0, Reason.EMERGENCY_STOP)
    assert final_check(22.0, of, stopped=True, out_of_service=False, last_hz=22.0).value_hz == 22.0
    assert final_check(22.0, of, stopped=True, out_of_service=False, last_hz=0.0).value_hz == 0.0
    assert final_check(22.0, of, stopped=True, out_of_service=False, last_hz=float("nan")).value_hz == 0.0
    both = final_check(22.0, of, stopped=True, out_of_service=True, last_hz=22.0)
    assert (both.value_hz, both.refusal) == (0.0, Reason.OUT_OF_SERVICE)
    assert final_check(0.0, of, stopped=False, out_of_service=True, last_hz=0.0).refusal is None


@pytest.mark.parametrize("of", [None, limits(band_hz=(50.0, 20.0))])
def test_final_check_without_limits(of: Any) -> None:
    """DAT-5: without valid limits nothing but 0 passes."""
    checked = final_check(30.0, pump("a", of), stopped=False, out_of_service=False, last_hz=30.0)
    assert (checked.value_hz, checked.refusal) == (0.0, Reason.NOT_COMMISSIONED)
    resting = final_check(0.0, pump("a", of), stopped=False, out_of_service=False, last_hz=0.0)
    assert (resting.value_hz, resting.refusal) == (0.0, None)


def test_configured_setpoints_outside_the_band_count_as_0() -> None:
    """DAT-1: default and emergency setpoints are 0 or inside the band."""
    assert failsafe_output_hz(pump("a", limits(), default_setpoint_hz=30.004)) == 30.0
    assert failsafe_output_hz(pump("a", limits(), default_setpoint_hz=12.0)) == 0.0
    assert failsafe_output_hz(pump("a", limits(), default_setpoint_hz=float("nan"))) == 0.0
    assert failsafe_output_hz(pump("a", None)) == 0.0
    assert stop_value_hz(pump("a", None), last_hz=30.0) == 0.0


def test_numbers_that_are_none() -> None:
    """SAF-3: what stands in a struct may be anything."""
    assert is_finite_number(3)
    assert not any(map(is_finite_number, [True, "3", None, 10**400, float("nan"), [1]]))


@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0.01, 99.0),
    st.floats(0.0, 50.0),
    st.booleans(),
    st.booleans(),
)
def test_final_check_is_total_and_repeats_itself(
    value_hz: float, last_hz: float, low_hz: float, width_hz: float, stopped: bool, out_of_service: bool
) -> None:
    """SAF-8: kernel and gate apply it one after the other: the second time changes nothing."""
    of = pump("a", limits(band_hz=(low_hz, low_hz + width_hz)), emergency_stop_setpoint_hz=30.0)
    once = final_check(value_hz, of, stopped=stopped, out_of_service=out_of_service, last_hz=last_hz)
    again = final_check(once.value_hz, of, stopped=stopped, out_of_service=out_of_service, last_hz=last_hz)
    assert again.value_hz == once.value_hz
    assert again.refusal is None
    assert once.value_hz == 0.0 or low_hz <= once.value_hz <= low_hz + width_hz


@given(st.floats(0.01, 99.0), st.floats(0.0, 1.0), st.floats(-1.0, 101.0))
def test_resolution_never_leaves_the_band(low_hz: float, width_hz: float, value_hz: float) -> None:
    """SAF-2.11: rounding goes inwards."""
    of = limits(band_hz=(low_hz, low_hz + width_hz))
    if not problems(of):
        shown_hz = resolve_hz(value_hz, of)
        assert shown_hz == 0.0 or low_hz <= shown_hz <= low_hz + width_hz
