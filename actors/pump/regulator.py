"""A PID about a feed-forward: anti-windup by tracking, derivative on the measurement, bumpless joining. Pure.

Source: K. J. Åström, R. M. Murray, Feedback Systems, section 11.4 (back-calculation and tracking, filtered
derivative). One form serves level (error in m) and power (error in kW).
"""

from __future__ import annotations

from typing import Final

import msgspec

ERROR_MAX: Final = (
    1e6  # in units of error: a target may be any finite number, and no sum of ours may overflow
)


class Gains(msgspec.Struct, frozen=True, kw_only=True):
    """`gain` in Hz per unit of error, times in s (0: that part is off), `deadband` in units of error.

    `sign` is +1 when a measurement above its target asks for more speed, -1 when it asks for less.
    """

    sign: int
    gain: float
    integral_time_s: float
    deadband: float
    tracking_time_s: float
    output_min_hz: float
    output_max_hz: float
    derivative_time_s: float = 0.0
    derivative_filter_s: float = 1.0
    correction_max_hz: float | None = None  # bound of everything that is added to the feed-forward


class RegulatorState(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept between two steps. `filtered` None: the measurement has not been seen lately."""

    integral_hz: float = 0.0
    filtered: float | None = None
    output_hz: float | None = None


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What the safety layer made of the previous output; `ramping`: it is only on its way there."""

    hz: float
    ramping: bool = False


def join(output_hz: float | None) -> RegulatorState:
    """Return the state in which somebody else holds the output: the next step continues from `output_hz`.

    None, or a pump that stands (0): the next step begins with its feed-forward; the start ramp makes it smooth.
    """
    joined = None if output_hz is None or output_hz <= 0.0 else output_hz
    return RegulatorState(output_hz=joined)


def step(
    gains: Gains,
    state: RegulatorState,
    *,
    joining: bool,
    feed_forward_hz: float,
    target: float,
    measured: float,
    applied: Applied | None,
    dt_s: float,
) -> tuple[float, RegulatorState]:
    """Return the output (Hz, inside the gains' output limits) and the next state.

    `joining`: the state comes from `join`, so the output starts there and the integral is found from it.
    `applied` is what became of the previous output (None: not known); the integral follows it, so that a limit
    further down winds nothing up. `dt_s` is the time since the previous step, 0 for the first one.
    """
    error = _clamp(_outside(gains.sign * (measured - target), gains.deadband), -ERROR_MAX, ERROR_MAX)
    proportional = gains.gain * error
    derivative, filtered = _derivative(gains, state.filtered, measured, dt_s)
    base = feed_forward_hz + proportional + derivative
    share = min(1.0, dt_s / gains.tracking_time_s)
    if joining:
        integral = 0.0 if state.output_hz is None else _limited(gains, state.output_hz) - base
    else:
        growth = proportional * dt_s / gains.integral_time_s if gains.integral_time_s > 0.0 else 0.0
        integral = state.integral_hz + _followed(gains, state, applied, growth=growth, share=share)
    # Enough to bring the output from one end to the other against the other parts, so that a join always fits.
    bound = gains.output_max_hz - gains.output_min_hz + abs(proportional + derivative)
    integral = _clamp(integral, -bound, bound)
    correction = proportional + derivative + integral
    if gains.correction_max_hz is not None:
        correction = _clamp(correction, -gains.correction_max_hz, gains.correction_max_hz)
    output_hz = _limited(gains, feed_forward_hz + correction)
    if not joining:
        # What our own limits took from the output the integral gives back.
        integral += (output_hz - base - integral) * share
    return output_hz, RegulatorState(integral_hz=integral, filtered=filtered, output_hz=output_hz)


def _followed(
    gains: Gains, state: RegulatorState, applied: Applied | None, *, growth: float, share: float
) -> float:
    """Return the integral's change: its growth, less what was not applied of the previous output.

    A ramp only delays: it may stop the integral from growing away from it, but must take nothing from it, or each
    new plan would leave the speed short of its feed-forward.
    """
    if applied is None or state.output_hz is None:
        return growth
    gap = _limited(gains, applied.hz) - state.output_hz
    if applied.ramping:
        return 0.0 if growth * gap < 0.0 else growth
    return growth + gap * share


def _derivative(gains: Gains, filtered: float | None, measured: float, dt_s: float) -> tuple[float, float]:
    """Derivative of the measurement, so that a new target gives no kick, behind a first-order filter."""
    if filtered is None:
        return 0.0, measured
    slope = (measured - filtered) / gains.derivative_filter_s
    moved = filtered + (measured - filtered) * dt_s / (gains.derivative_filter_s + dt_s)
    return gains.sign * gains.gain * gains.derivative_time_s * slope, moved


def _outside(error: float, deadband: float) -> float:
    """Return the part of the error outside the deadband: continuous, so that its edge is no step."""
    if abs(error) <= deadband:
        return 0.0
    return error - deadband if error > 0.0 else error + deadband


def _limited(gains: Gains, hz: float) -> float:
    return _clamp(hz, gains.output_min_hz, gains.output_max_hz)


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
