"""`control_parameters` of a pump: keys, units, defaults, bounds, and what becomes of a bad value (CTL-2).

A set with one bad value is refused whole and the defaults hold: a controller tuned by half is nobody's tuning.
Keys that begin with `x_` belong to somebody else and are left alone; `actors.safety.parameters` has those that any
control type may carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Any, Final, TypeAlias, assert_never

import msgspec

from actors.safety.parameters import KEYS as SAFETY_KEYS
from actors.safety.parameters import SHOWN_MAX, check_safety_parameters
from actors.vocabulary import ControlType, InvalidValueError, PumpConfig

FOREIGN_PREFIX: Final = "x_"


@unique
class Direction(StrEnum):
    """What a faster pump does to the level."""

    EMPTYING = "EMPTYING"  # pumping lowers the level: a wet well
    FILLING = "FILLING"  # pumping raises the level: a tank that the pump feeds


class DirectParameters(msgspec.Struct, frozen=True, kw_only=True):
    """DIRECT_SPEED has nothing to tune."""


class LevelParameters(msgspec.Struct, frozen=True, kw_only=True):
    """LEVEL_CONTROLLED; defaults: no derivative, no start and stop levels, and a PI for wells of 10 to 100 m2.

    A well integrates, so damping is sqrt(gain x integral time x flow per Hz / area) / 2: with the defaults and
    4 m3/h per Hz on 20 m2 it is 0.7, and any area is stable.
    """

    direction: Direction = Direction.EMPTYING
    gain_hz_per_m: float = 20.0
    integral_time_s: float = 1800.0  # 0: no integral part
    derivative_time_s: float = 0.0  # 0: no derivative part
    derivative_filter_s: float = 10.0
    deadband_m: float = 0.02
    start_level_m: float | None = None  # both or neither
    stop_level_m: float | None = None
    output_min_hz: float | None = None  # None: the pump's own band
    output_max_hz: float | None = None
    tracking_time_s: float = 20.0


class PowerParameters(msgspec.Struct, frozen=True, kw_only=True):
    """POWER_CONTROLLED. The trim corrects the affinity estimate, which knows no static head, by at most its limit."""

    gain_hz_per_kw: float | None = None  # None: rated speed / (6 x rated power), a loop gain of at most 1/2
    integral_time_s: float = 20.0  # 0: no integral part
    trim_limit_hz: float = 8.0
    deadband_kw: float | None = None  # None: 1 % of rated power
    output_min_hz: float | None = None
    output_max_hz: float | None = None
    tracking_time_s: float = 10.0


Parameters: TypeAlias = DirectParameters | LevelParameters | PowerParameters

# Inclusive bounds of every number, by key (unit in the key).
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "gain_hz_per_m": (0.0, 1_000.0),
    "gain_hz_per_kw": (0.0, 100.0),
    "integral_time_s": (0.0, 86_400.0),
    "derivative_time_s": (0.0, 3_600.0),
    "derivative_filter_s": (1.0, 3_600.0),
    "deadband_m": (0.0, 10.0),
    "deadband_kw": (0.0, 1_000.0),
    "start_level_m": (-1_000.0, 10_000.0),
    "stop_level_m": (-1_000.0, 10_000.0),
    "output_min_hz": (0.0, 100.0),
    "output_max_hz": (0.0, 100.0),
    "tracking_time_s": (1.0, 3_600.0),
    "trim_limit_hz": (0.0, 50.0),
}

OPTIONAL: Final = frozenset(
    {"start_level_m", "stop_level_m", "output_min_hz", "output_max_hz", "gain_hz_per_kw", "deadband_kw"}
)


def default_parameters(control_type: ControlType) -> Parameters:
    """Return what holds when nothing, or nothing valid, is configured."""
    return _kind(control_type)()


def check_parameters(
    control_type: ControlType, values: Mapping[str, Any], *, pump_id: str = "?"
) -> Parameters:
    """Decode `control_parameters`.

    Raises:
        InvalidValueError: an unknown key, a wrong type, a value out of bounds or two that contradict each other;
            the text names pump, key, value and expectation.

    """
    check_safety_parameters(control_type, values, pump_id=pump_id)
    kind = _kind(control_type)
    own = {
        key: value
        for key, value in values.items()
        if key not in SAFETY_KEYS and not str(key).startswith(FOREIGN_PREFIX)
    }
    for key, value in own.items():
        if key not in kind.__struct_fields__:
            known = ", ".join((*kind.__struct_fields__, *sorted(SAFETY_KEYS)))
            raise _invalid(pump_id, key, value, f"a key of {control_type.value}: {known}")
        _check_value(pump_id, key, value)
    parameters = msgspec.convert(own, kind)
    _check_together(pump_id, parameters)
    return parameters


def effective_parameters(pump: PumpConfig) -> tuple[Parameters, str]:
    """Return the pump's parameters, or the defaults with the reason why its own are refused (empty: they are not)."""
    try:
        return check_parameters(pump.control_type, pump.control_parameters, pump_id=pump.pump_id), ""
    except InvalidValueError as error:
        return default_parameters(pump.control_type), str(error)


def _kind(control_type: ControlType) -> type[Parameters]:
    match control_type:
        case ControlType.DIRECT_SPEED:
            return DirectParameters
        case ControlType.LEVEL_CONTROLLED:
            return LevelParameters
        case ControlType.POWER_CONTROLLED:
            return PowerParameters
        case _:
            assert_never(control_type)


def _check_value(pump_id: str, key: str, value: object) -> None:
    if key == "direction":
        if value not in list(Direction):
            raise _invalid(pump_id, key, value, f"one of {', '.join(Direction)}")
        return
    if value is None and key in OPTIONAL:
        return
    low, high = BOUNDS[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise _invalid(pump_id, key, value, f"a number in {low:g}..{high:g}")


def _check_together(pump_id: str, parameters: Parameters) -> None:
    if isinstance(parameters, DirectParameters):
        return
    low, high = parameters.output_min_hz, parameters.output_max_hz
    if low is not None and high is not None and low >= high:
        raise _invalid(pump_id, "output_min_hz", low, f"below output_max_hz ({high:g})")
    if not isinstance(parameters, LevelParameters):
        return
    start_m, stop_m = parameters.start_level_m, parameters.stop_level_m
    if (start_m is None) != (stop_m is None):
        raise _invalid(pump_id, "start_level_m", start_m, f"given together with stop_level_m ({stop_m})")
    if start_m is None or stop_m is None:
        return
    match parameters.direction:
        case Direction.EMPTYING:
            if start_m <= stop_m:
                raise _invalid(
                    pump_id, "start_level_m", start_m, f"above stop_level_m ({stop_m:g}) when emptying"
                )
        case Direction.FILLING:
            if start_m >= stop_m:
                raise _invalid(
                    pump_id, "start_level_m", start_m, f"below stop_level_m ({stop_m:g}) when filling"
                )
        case _:
            assert_never(parameters.direction)


def _invalid(pump_id: str, key: str, value: object, expected: str) -> InvalidValueError:
    shown = f"{value!r:.{SHOWN_MAX}}"
    return InvalidValueError(f"pump {pump_id}: control_parameters.{key} is {shown}, expected {expected}")
