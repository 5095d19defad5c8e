"""Limits, the relations that must hold between them, and the final check that kernel and gate share
(SAF-2.11, SAF-8).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from actors.vocabulary import PumpConfig, Reason, SafetyLimits

RESOLUTION_HZ: Final = 0.01
# No municipal pump's drive is asked for more; twice the mains frequency is a mistake, not a limit.
ABSURD_HZ: Final = 100.0
_STEPS_PER_HZ: Final = 100
_HUGE: Final = 1e300


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What may go to the wire, and why it differs from what was asked (`refusal` None: it does not)."""

    value_hz: float
    refusal: Reason | None = None
    why: str = ""


def final_check(
    value_hz: float,
    pump: PumpConfig,
    *,
    stopped: bool,
    out_of_service: bool,
    last_hz: float,
) -> Checked:
    """Let through what is fit for the wire: finite, 0 or inside the pump's band, in steps of 0.01 Hz, no
    latch against it.

    `stopped`: an emergency stop covers the pump; then at most min(`last_hz`, emergency_stop_setpoint_hz),
    so never a start. `out_of_service`: then 0. What does not pass becomes 0 with the reason; a value
    between two steps is rounded without a refusal. The kernel replaces a refusal by the failsafe output
    (SAF-2.11); the gate shows the value returned here. Total: never raises for any float.
    """
    limits = pump.limits
    if not is_finite_number(value_hz):
        return Checked(value_hz=0.0, refusal=Reason.FINAL_CHECK, why=f"{value_hz!r} is not a finite number")
    if limits is None or problems(limits):
        refusal = None if value_hz == 0.0 else Reason.NOT_COMMISSIONED
        return Checked(value_hz=0.0, refusal=refusal, why="no approved, valid limits")
    if out_of_service:
        refusal = None if value_hz == 0.0 else Reason.OUT_OF_SERVICE
        return Checked(value_hz=0.0, refusal=refusal, why="out of service")
    if stopped:
        ceiling_hz = stop_value_hz(pump, last_hz=last_hz)
        if value_hz > ceiling_hz:
            why = f"{value_hz:g} Hz under an emergency stop, at most {ceiling_hz:g} Hz"
            return Checked(value_hz=ceiling_hz, refusal=Reason.EMERGENCY_STOP, why=why)
    resolved_hz = resolve_hz(value_hz, limits)
    if abs(resolved_hz - value_hz) <= RESOLUTION_HZ and (resolved_hz == 0.0) == (value_hz == 0.0):
        return Checked(value_hz=resolved_hz)
    why = (
        f"{value_hz:g} Hz is neither 0 nor in {limits.hard_min_speed_hz:g} to {limits.hard_max_speed_hz:g} Hz"
    )
    return Checked(value_hz=0.0, refusal=Reason.FINAL_CHECK, why=why)


def resolve_hz(value_hz: float, limits: SafetyLimits) -> float:
    """Round to 0.01 Hz without leaving the band; what is neither 0 nor (to the resolution) in the band
    becomes 0.
    """
    low, high = limits.hard_min_speed_hz, limits.hard_max_speed_hz
    if value_hz <= 0.0 or not low - RESOLUTION_HZ <= value_hz <= high + RESOLUTION_HZ:
        return 0.0
    first, last = _steps_of_band(low, high)
    steps = min(max(round(value_hz * _STEPS_PER_HZ), first), last)
    return steps / _STEPS_PER_HZ


def in_band(value_hz: float, limits: SafetyLimits) -> bool:
    """Whether the pump may run at this speed; 0 is not running, and always allowed."""
    return limits.hard_min_speed_hz <= value_hz <= limits.hard_max_speed_hz


def band_or_zero_hz(value_hz: float, limits: SafetyLimits) -> float:
    """A configured setpoint (default, emergency) that is outside the band counts as 0 (DAT-1)."""
    return value_hz if is_finite_number(value_hz) and in_band(value_hz, limits) else 0.0


def stop_value_hz(pump: PumpConfig, *, last_hz: float) -> float:
    """Rule 1: min(last applied, emergency_stop_setpoint_hz), 0 wherever that is not a speed the pump may
    run at.
    """
    if pump.limits is None or not is_finite_number(last_hz):
        return 0.0
    wanted_hz = band_or_zero_hz(pump.emergency_stop_setpoint_hz, pump.limits)
    return resolve_hz(min(last_hz, wanted_hz), pump.limits)


def failsafe_output_hz(pump: PumpConfig) -> float:
    """The default setpoint where it is inside the band, else 0; in steps of 0.01 Hz."""
    if pump.limits is None:
        return 0.0
    return resolve_hz(band_or_zero_hz(pump.default_setpoint_hz, pump.limits), pump.limits)


def is_finite_number(value: object) -> bool:
    """Whether this is a real number a controller could use (structs check no types, so anything may stand
    here).
    """
    return isinstance(value, float | int) and not isinstance(value, bool) and -_HUGE < value < _HUGE


def problems(limits: SafetyLimits) -> tuple[str, ...]:
    """Name every relation that these limits break; empty: they may be applied (DAT-1, DAT-5).

    Speeds in Hz, rate in Hz/s, levels in m, power in kW, flow in m3/h, times in s. Asked by every gate for every pump
    ten times a second, so the answer is kept: for these frozen limits themselves, not for what equals them (a bound of
    True equals 1, and is no number).
    """
    known = _judged.get(id(limits))
    if known is not None and known[0] is limits:
        return known[1]
    found = tuple(_problems(limits))
    if len(_judged) >= _JUDGED_MAX:
        _judged.clear()
    _judged[id(limits)] = (limits, found)
    return found


# By id, which is theirs as long as they are held here.
_judged: Final[dict[int, tuple[SafetyLimits, tuple[str, ...]]]] = {}
_JUDGED_MAX: Final = 1_024


_FLOATS: Final = (
    "hard_min_speed_hz",
    "hard_max_speed_hz",
    "max_rate_hz_per_s",
    "level_min_m",
    "level_max_m",
    "level_emergency_high_m",
    "level_emergency_high_reset_m",
    "level_dry_run_m",
    "level_dry_run_reset_m",
    "max_power_kw",
    "max_flow_m3h",
    "min_flow_m3h",
    "min_run_s",
    "max_run_s",
    "min_rest_s",
)
_NEEDED: Final = frozenset({"hard_min_speed_hz", "hard_max_speed_hz", "max_rate_hz_per_s"})

# (lower, upper, may be equal): with both set, lower must be below upper, or the rules would contradict each
# other.
_ORDER: Final = (
    ("level_dry_run_m", "level_dry_run_reset_m", True),
    ("level_dry_run_m", "level_min_m", False),
    ("level_dry_run_m", "level_max_m", False),
    ("level_dry_run_m", "level_emergency_high_m", False),
    ("level_dry_run_reset_m", "level_max_m", False),
    ("level_dry_run_reset_m", "level_emergency_high_m", False),
    ("level_dry_run_reset_m", "level_emergency_high_reset_m", False),
    ("level_min_m", "level_max_m", False),
    ("level_min_m", "level_emergency_high_m", False),
    ("level_max_m", "level_emergency_high_m", False),
    ("level_min_m", "level_emergency_high_reset_m", False),
    ("level_emergency_high_reset_m", "level_emergency_high_m", True),
    ("min_flow_m3h", "max_flow_m3h", False),
    ("min_run_s", "max_run_s", False),
)
_RESETS: Final = (
    ("level_dry_run_reset_m", "level_dry_run_m"),
    ("level_emergency_high_reset_m", "level_emergency_high_m"),
)
_POSITIVE: Final = ("hard_min_speed_hz", "max_rate_hz_per_s", "max_power_kw", "max_flow_m3h", "max_run_s")
_NOT_NEGATIVE: Final = ("min_flow_m3h", "min_run_s", "min_rest_s")


def _problems(limits: SafetyLimits) -> Iterator[str]:
    given = {name: getattr(limits, name) for name in _FLOATS}
    given = {name: value for name, value in given.items() if value is not None or name in _NEEDED}
    values: dict[str, float] = {name: value for name, value in given.items() if is_finite_number(value)}
    for name in sorted(given.keys() - values.keys()):
        yield f"{name}: {given[name]!r} is not a finite number"
    for name in _POSITIVE:
        if name in values and values[name] <= 0.0:
            yield f"{name}: {values[name]:g} must be above 0"
    for name in _NOT_NEGATIVE:
        if name in values and values[name] < 0.0:
            yield f"{name}: {values[name]:g} must not be negative"
    for lower, upper, may_be_equal in _ORDER:
        if lower in values and upper in values:
            low, high = values[lower], values[upper]
            if low > high or (low == high and not may_be_equal):
                yield f"{lower}: {low:g} must be below {upper}: {high:g}"
    for reset, of in _RESETS:
        if reset in values and of not in values:
            yield f"{reset}: is set without {of}"
    starts: object = limits.max_starts_per_hour
    if starts is not None and not (is_finite_number(starts) and isinstance(starts, int) and starts >= 1):
        yield f"max_starts_per_hour: {starts!r} must be a whole number above 0"
    yield from _band_problems(values)


def _band_problems(values: dict[str, float]) -> Iterator[str]:
    low, high = values.get("hard_min_speed_hz"), values.get("hard_max_speed_hz")
    if low is None or high is None:
        return
    if low > high:
        yield f"hard_min_speed_hz: {low:g} must not be above hard_max_speed_hz: {high:g}"
    elif high > ABSURD_HZ:
        yield f"hard_max_speed_hz: {high:g} must not be above {ABSURD_HZ:g}"
    else:
        first, last = _steps_of_band(low, high)
        if first > last:
            yield f"hard_min_speed_hz: no step of {RESOLUTION_HZ} Hz lies between {low:g} and {high:g}"


def _steps_of_band(low_hz: float, high_hz: float) -> tuple[int, int]:
    """Return the first and last multiple of 0.01 Hz inside the band (20.0 must not become 20.01 by a
    float's error).
    """
    first = round(low_hz * _STEPS_PER_HZ)
    last = round(high_hz * _STEPS_PER_HZ)
    if first / _STEPS_PER_HZ < low_hz:
        first += 1
    if last / _STEPS_PER_HZ > high_hz:
        last -= 1
    return first, last
