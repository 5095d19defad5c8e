"""Rule 10: how far a value may move in one tick, and the two steps that are none of its business (0 <->
minimum).
"""

from __future__ import annotations

import math

from actors.vocabulary import Rule, SafetyLimits


def move(
    *,
    last_hz: float,
    target_hz: float,
    limits: SafetyLimits,
    elapsed_s: float,
    stop_hz_per_s: float | None = None,
    soft_below_hz: float = math.inf,
) -> tuple[float, Rule | None]:
    """Return the value (Hz) one step from `last_hz` towards `target_hz`, and the rule that held it back, if
    one did.

    A start steps 0 -> minimum, a stop goes down to the minimum and then steps to 0; between them the rate
    limit holds for `elapsed_s`, which the caller has bounded by one tick. A last value outside the band
    (the band was narrowed) counts as the band's edge: the band outranks the rate. `stop_hz_per_s`: a stop comes
    down no faster than this (a soft stop: the water column of a rising main must slow down with the pump), but by the
    rate as long as it is above `soft_below_hz`.
    """
    low, high = limits.hard_min_speed_hz, limits.hard_max_speed_hz
    if last_hz <= 0.0:
        if target_hz <= 0.0:
            return 0.0, None
        return low, Rule.START_STEP if target_hz > low else None
    base_hz = min(max(last_hz, low), high)
    step_hz = limits.max_rate_hz_per_s * elapsed_s
    if target_hz <= 0.0:
        if base_hz <= low:
            return 0.0, None
        if stop_hz_per_s is not None and stop_hz_per_s < limits.max_rate_hz_per_s:
            soft_hz = max(low, base_hz - stop_hz_per_s * elapsed_s)
            fast_hz = max(low, soft_below_hz, base_hz - step_hz)
            return (soft_hz, Rule.SOFT_STOP) if soft_hz <= fast_hz else (fast_hz, Rule.RATE)
        return max(low, base_hz - step_hz), Rule.RATE
    moved_hz = min(max(target_hz, base_hz - step_hz), base_hz + step_hz)
    return moved_hz, None if moved_hz == target_hz else Rule.RATE
