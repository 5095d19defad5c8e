"""The keys of `control_parameters` that belong to the safety layer, whatever the control type: failsafe and following.

`actors.pump.parameters` checks them with the rest of a pump's set; the kernel takes them from here (WDG-3, CTL-5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from actors.vocabulary import ControlType, InvalidValueError, PumpConfig

SHOWN_MAX: Final = 60  # characters of a refused value


class SafetyParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What one pump may be given; a level in m above the station's datum, a speed in Hz, a time in s.

    `failsafe_start_level_m`, `failsafe_stop_level_m`: LEVEL_ON_OFF; both or neither; None: the approved `level_max_m`
    and `level_min_m`. `failsafe_run_hz`: its speed while it runs; None: the default setpoint, and where that is 0 the
    pump's maximum. `failsafe_hold_s`: how long HOLD_LAST holds. `following_tolerance_hz`, `following_time_s`: how far,
    and for how long without coming nearer, a measured speed may be off before the pump is NOT_FOLLOWING.
    """

    failsafe_start_level_m: float | None = None
    failsafe_stop_level_m: float | None = None
    failsafe_run_hz: float | None = None
    failsafe_hold_s: float = 900.0
    following_tolerance_hz: float = 2.0
    following_time_s: float = 20.0


KEYS: Final = frozenset(SafetyParameters.__struct_fields__)
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "failsafe_start_level_m": (-1_000.0, 10_000.0),
    "failsafe_stop_level_m": (-1_000.0, 10_000.0),
    "failsafe_run_hz": (0.01, 100.0),
    "failsafe_hold_s": (0.0, 86_400.0),
    "following_tolerance_hz": (0.1, 50.0),
    "following_time_s": (1.0, 600.0),
}
"""Inclusive bounds of every number, by key (unit in the key)."""

OPTIONAL: Final = frozenset({"failsafe_start_level_m", "failsafe_stop_level_m", "failsafe_run_hz"})
DEFAULTS: Final = SafetyParameters()


def check_safety_parameters(
    control_type: ControlType, values: Mapping[str, Any], *, pump_id: str = "?"
) -> SafetyParameters:
    """Decode this layer's keys of `control_parameters`; the others are somebody else's.

    Raises:
        InvalidValueError: a wrong type, a value out of bounds or two that contradict each other; the text names pump,
            key, value and expectation.

    """
    own = {key: value for key, value in values.items() if key in KEYS}
    for key, value in own.items():
        if value is None and key in OPTIONAL:
            continue
        low, high = BOUNDS[key]
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise _invalid(pump_id, key, value, f"a number in {low:g}..{high:g}")
    parameters = msgspec.convert(own, SafetyParameters)
    start_m, stop_m = parameters.failsafe_start_level_m, parameters.failsafe_stop_level_m
    if start_m is None and stop_m is None:
        return parameters
    if start_m is None or stop_m is None:
        expected = f"given together with failsafe_stop_level_m ({stop_m})"
        raise _invalid(pump_id, "failsafe_start_level_m", start_m, expected)
    filling = is_filling(control_type, values)
    if start_m == stop_m or (start_m < stop_m) is not filling:
        side = "below" if filling else "above"
        expected = f"{side} failsafe_stop_level_m ({stop_m:g})"
        raise _invalid(pump_id, "failsafe_start_level_m", start_m, expected)
    return parameters


def safety_parameters(pump: PumpConfig) -> SafetyParameters:
    """Return the pump's own, or the defaults where they are not valid (a set with one bad value is refused whole)."""
    if KEYS.isdisjoint(pump.control_parameters):
        return DEFAULTS
    try:
        return check_safety_parameters(pump.control_type, pump.control_parameters, pump_id=pump.pump_id)
    except InvalidValueError:
        return DEFAULTS


def is_filling(control_type: ControlType, values: Mapping[str, Any]) -> bool:
    """Whether the pump raises the level (`direction` FILLING, which only LEVEL_CONTROLLED knows)."""
    return control_type is ControlType.LEVEL_CONTROLLED and values.get("direction") == "FILLING"


def _invalid(pump_id: str, key: str, value: object, expected: str) -> InvalidValueError:
    shown = f"{value!r:.{SHOWN_MAX}}"
    return InvalidValueError(f"pump {pump_id}: control_parameters.{key} is {shown}, expected {expected}")
