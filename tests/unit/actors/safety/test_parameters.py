"""Goal: the safety layer's keys of `control_parameters` are decoded or named as wrong (WDG-3, CTL-5, CFG-1)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from actors.safety.parameters import (
    BOUNDS,
    DEFAULTS,
    KEYS,
    SafetyParameters,
    check_safety_parameters,
    safety_parameters,
)
from actors.vocabulary import ControlType, InvalidValueError
from tests.unit.actors.safety.timeline import limits, pump


def test_what_is_given_holds_and_the_rest_has_its_default() -> None:
    """WDG-3, CTL-5: foreign keys are left alone."""
    found = check_safety_parameters(
        ControlType.DIRECT_SPEED, {"failsafe_hold_s": 60, "x_mine": [], "gain_hz_per_m": 3}
    )
    assert found == SafetyParameters(failsafe_hold_s=60.0)
    assert BOUNDS.keys() == KEYS


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"failsafe_hold_s": -1}, "failsafe_hold_s is -1, expected a number in 0..86400"),
        ({"failsafe_hold_s": None}, "failsafe_hold_s is None, expected a number"),
        ({"failsafe_hold_s": True}, "failsafe_hold_s is True, expected a number"),
        ({"failsafe_hold_s": math.nan}, "failsafe_hold_s is nan, expected a number"),
        ({"failsafe_hold_s": 10**400}, "expected a number in 0..86400"),
        ({"following_time_s": "5"}, "following_time_s is '5', expected a number in 1..600"),
        ({"following_tolerance_hz": 0}, "following_tolerance_hz is 0, expected a number in 0.1..50"),
        ({"failsafe_run_hz": 0}, "failsafe_run_hz is 0, expected a number in 0.01..100"),
        ({"failsafe_start_level_m": 2}, "failsafe_start_level_m is 2.0, expected given together"),
        ({"failsafe_stop_level_m": 2}, "failsafe_start_level_m is None, expected given together"),
        (
            {"failsafe_start_level_m": 1, "failsafe_stop_level_m": 2},
            "failsafe_start_level_m is 1.0, expected above failsafe_stop_level_m (2)",
        ),
        (
            {"failsafe_start_level_m": 2, "failsafe_stop_level_m": 2},
            "failsafe_start_level_m is 2.0, expected above failsafe_stop_level_m (2)",
        ),
        (
            {"failsafe_start_level_m": 2, "failsafe_stop_level_m": 1, "direction": "FILLING"},
            "failsafe_start_level_m is 2.0, expected below failsafe_stop_level_m (1)",
        ),
    ],
)
def test_a_bad_value_is_named_and_the_whole_set_falls_to_the_defaults(
    values: dict[str, Any], text: str
) -> None:
    """CFG-1, WDG-3: where, what and what was expected; the kernel never raises for it (SAF-3)."""
    level = ControlType.LEVEL_CONTROLLED
    with pytest.raises(InvalidValueError) as caught:
        check_safety_parameters(level, values, pump_id="p-1")
    assert str(caught.value).startswith("pump p-1: control_parameters.")
    assert text in str(caught.value)
    config = pump(of=limits(), control_type=level, control_parameters={"following_time_s": 9.0, **values})
    assert safety_parameters(config) == DEFAULTS


def test_optional_keys_may_be_none() -> None:
    """CFG-1: none is the same as not given."""
    values = {"failsafe_start_level_m": None, "failsafe_stop_level_m": None, "failsafe_run_hz": None}
    assert check_safety_parameters(ControlType.DIRECT_SPEED, values) == DEFAULTS
