"""`control_parameters`: what is decoded, what is refused and in which words."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pump.parameters import (
    BOUNDS,
    Direction,
    LevelParameters,
    PowerParameters,
    check_parameters,
    default_parameters,
    effective_parameters,
)
from actors.vocabulary import ControlType, InvalidValueError
from tests.unit.actors.pump.parts import pump

LEVEL = ControlType.LEVEL_CONTROLLED
POWER = ControlType.POWER_CONTROLLED


def test_values_are_decoded_and_the_rest_is_default() -> None:
    """CTL-2: parameters per pump, with documented defaults."""
    found = check_parameters(LEVEL, {"direction": "FILLING", "gain_hz_per_m": 4, "x_note": "left alone"})
    assert found == LevelParameters(direction=Direction.FILLING, gain_hz_per_m=4.0)
    assert check_parameters(POWER, {}) == PowerParameters()


@pytest.mark.parametrize("control_type", ControlType)
def test_defaults_are_inside_their_own_bounds(control_type: ControlType) -> None:
    """CTL-2: the documented defaults would be accepted if somebody wrote them down."""
    defaults = default_parameters(control_type)
    written = {key: getattr(defaults, key) for key in defaults.__struct_fields__}
    assert check_parameters(control_type, written) == defaults
    numbers = {key for key in written if key != "direction"}
    assert numbers <= BOUNDS.keys()


@pytest.mark.parametrize(
    ("control_type", "values", "text"),
    [
        (LEVEL, {"kp": 2}, "control_parameters.kp is 2, expected a key of LEVEL_CONTROLLED"),
        (ControlType.DIRECT_SPEED, {"gain_hz_per_m": 2}, "expected a key of DIRECT_SPEED: failsafe_"),
        (LEVEL, {"gain_hz_per_m": -1}, "gain_hz_per_m is -1, expected a number in 0..1000"),
        (LEVEL, {"gain_hz_per_m": math.nan}, "gain_hz_per_m is nan, expected a number"),
        (LEVEL, {"gain_hz_per_m": 10**400}, "expected a number in 0..1000"),
        (LEVEL, {"gain_hz_per_m": "4"}, "gain_hz_per_m is '4', expected a number"),
        (LEVEL, {"gain_hz_per_m": True}, "gain_hz_per_m is True, expected a number"),
        (LEVEL, {"gain_hz_per_m": None}, "gain_hz_per_m is None, expected a number"),
        (LEVEL, {"direction": "UP"}, "direction is 'UP', expected one of EMPTYING, FILLING"),
        (LEVEL, {"direction": ["EMPTYING"]}, "expected one of EMPTYING, FILLING"),
        (LEVEL, {"start_level_m": 2.0}, "start_level_m is 2.0, expected given together with stop_level_m"),
        (LEVEL, {"start_level_m": 1.0, "stop_level_m": 2.0}, "expected above stop_level_m (2) when emptying"),
        (
            LEVEL,
            {"start_level_m": 3.0, "stop_level_m": 2.0, "direction": "FILLING"},
            "expected below stop_level_m (2) when filling",
        ),
        (
            POWER,
            {"output_min_hz": 40, "output_max_hz": 30},
            "output_min_hz is 40.0, expected below output_max_hz (30)",
        ),
    ],
)
def test_a_bad_value_names_pump_key_value_and_expectation(
    control_type: ControlType, values: dict[str, Any], text: str
) -> None:
    """CTL-2, CFG-1: what is refused says where, what and what was expected."""
    with pytest.raises(InvalidValueError) as caught:
        check_parameters(control_type, values, pump_id="p-1")
    assert str(caught.value).startswith("pump p-1: control_parameters.")
    assert text in str(caught.value)


def test_one_bad_value_brings_all_defaults() -> None:
    """CTL-2: invalid parameters fall back to the documented defaults as a whole, with the reason."""
    own = {"gain_hz_per_m": 4, "deadband_m": -1}
    found, error = effective_parameters(pump(LEVEL, control_parameters=own))
    assert found == LevelParameters()
    assert "deadband_m is -1" in error
    assert effective_parameters(pump(LEVEL, control_parameters={"gain_hz_per_m": 4}))[1] == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.sampled_from(ControlType),
    st.dictionaries(st.sampled_from([*BOUNDS, "direction", "x_1", "y"]), json_values, max_size=5),
)
def test_any_json_is_decoded_or_refused(control_type: ControlType, values: dict[str, Any]) -> None:
    """CTL-2: no content of `control_parameters` raises anything but InvalidValueError."""
    try:
        found = check_parameters(control_type, values)
    except InvalidValueError:
        return
    assert isinstance(found, type(default_parameters(control_type)))
