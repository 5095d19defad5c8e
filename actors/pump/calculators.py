"""The three calculators (CTL-2): a plan's row and judged feedback become a wish in Hz. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from actors.feedback import LEVEL, POWER, RUNNING, good_value
from actors.messages import JudgedValue, ProposalSource
from actors.pump.parameters import Direction, DirectParameters, LevelParameters, Parameters, PowerParameters
from actors.pump.regulator import Applied, Gains, RegulatorState, join, step
from actors.vocabulary import ControlSettings, ControlType, PumpConfig
from actors.vocabulary.records import PlanRow

DT_S_MAX: Final = 10.0  # a longer gap between two steps is a pause, not a period to integrate over

DIRECT: Final = "direct_speed"
LEVEL_PI: Final = "level_pid"
LEVEL_FALLBACK: Final = "level_fallback_plan_speed"
LEVEL_STOPPED: Final = "level_below_stop"
POWER_PI: Final = "power_affinity_pi"
POWER_FALLBACK: Final = "power_affinity"
PLANNED_STOP: Final = "plan_stopped"


class CalculatorState(msgspec.Struct, frozen=True, kw_only=True):
    """What a pump's calculator keeps. `joining`: the next regulated step continues from `regulator.output_hz`.

    `pumping` is the start/stop hysteresis of LEVEL_CONTROLLED, None before the first look.
    """

    regulator: RegulatorState = RegulatorState()
    joining: bool = True
    pumping: bool | None = None


class CalculatorSetup(msgspec.Struct, frozen=True, kw_only=True):
    """A pump's unchanging share: ratings (Hz, kW), its output band and its parameters."""

    control_type: ControlType
    parameters: Parameters
    output_min_hz: float
    output_max_hz: float
    rated_speed_hz: float | None = None
    rated_power_kw: float | None = None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A calculator's answer; `hz` None: this plan gives none, and `source.note` says why."""

    hz: float | None
    source: ProposalSource
    state: CalculatorState


def setup_of(pump: PumpConfig, parameters: Parameters, control: ControlSettings) -> CalculatorSetup:
    """Resolve the output band: the parameters' own, inside the pump's limits; without limits the optimiser's."""
    low, high = control.optimiser_speed_hz_min, control.optimiser_speed_hz_max
    if pump.limits is not None:
        low, high = pump.limits.hard_min_speed_hz, pump.limits.hard_max_speed_hz
    if not isinstance(parameters, DirectParameters):
        own_low, own_high = parameters.output_min_hz, parameters.output_max_hz
        low = low if own_low is None else min(max(own_low, low), high)
        high = high if own_high is None else max(min(own_high, high), low)
    return CalculatorSetup(
        control_type=pump.control_type,
        parameters=parameters,
        output_min_hz=low,
        output_max_hz=high,
        rated_speed_hz=pump.rated_speed_hz,
        rated_power_kw=pump.rated_power_kw,
    )


def track(output_hz: float | None) -> CalculatorState:
    """Somebody else holds the speed (MANUAL, LOCAL, failsafe, a stop): be ready to continue from `output_hz`."""
    return CalculatorState(regulator=join(output_hz))


def calculate(
    setup: CalculatorSetup,
    plan: PlanRow,
    judged: Mapping[str, JudgedValue],
    state: CalculatorState,
    *,
    applied: Applied | None,
    dt_s: float,
) -> Wish:
    """Return the wish for `plan` with the next state; `dt_s` since the previous step, `applied` what became of it.

    A plan speed of 0 means stopped, whatever the control type (CTL-1).
    """
    dt_s = min(max(dt_s, 0.0), DT_S_MAX)
    if plan.suggested_speed_hz == 0.0:
        return Wish(hz=0.0, source=_source(PLANNED_STOP, plan), state=track(0.0))
    match setup.parameters:
        case DirectParameters():
            return _direct(plan)
        case LevelParameters() as parameters:
            return _level(setup, parameters, plan, judged, state, applied=applied, dt_s=dt_s)
        case PowerParameters() as parameters:
            return _power(setup, parameters, plan, judged, state, applied=applied, dt_s=dt_s)


def affinity_speed_hz(power_kw: float, *, rated_power_kw: float, rated_speed_hz: float) -> float:
    """Speed for a shaft power by the affinity law P ∝ n³ (ISO 17769-1; exact only without static head)."""
    return float(rated_speed_hz * (max(power_kw, 0.0) / rated_power_kw) ** (1.0 / 3.0))


def _direct(plan: PlanRow) -> Wish:
    note = "" if plan.suggested_speed_hz is not None else "the plan has no speed"
    source = _source(DIRECT, plan, note=note)
    return Wish(hz=plan.suggested_speed_hz, source=source, state=track(plan.suggested_speed_hz))


def _level(
    setup: CalculatorSetup,
    parameters: LevelParameters,
    plan: PlanRow,
    judged: Mapping[str, JudgedValue],
    state: CalculatorState,
    *,
    applied: Applied | None,
    dt_s: float,
) -> Wish:
    level_m = good_value(judged, LEVEL)
    inputs = {LEVEL: judged[LEVEL]} if LEVEL in judged else {}
    feed_forward_hz = plan.suggested_speed_hz
    if feed_forward_hz is None or plan.target_level_m is None:
        source = _source(LEVEL_FALLBACK, plan, inputs, note="the plan has no speed or no target level")
        return Wish(hz=feed_forward_hz, source=source, state=track(feed_forward_hz))
    if level_m is None:
        source = _source(LEVEL_FALLBACK, plan, inputs, note="level is not GOOD: the plan's speed")
        kept = CalculatorState(regulator=join(feed_forward_hz), pumping=state.pumping)
        return Wish(hz=feed_forward_hz, source=source, state=kept)
    running = good_value(judged, RUNNING)
    pumping = _pumping(parameters, level_m, state.pumping, None if running is None else running == 1.0)
    if not pumping:
        source = _source(LEVEL_STOPPED, plan, inputs, note="waits for its start level")
        return Wish(hz=0.0, source=source, state=CalculatorState(regulator=join(0.0), pumping=False))
    wish_hz, regulator = step(
        _level_gains(setup, parameters),
        state.regulator,
        joining=state.joining,
        feed_forward_hz=feed_forward_hz,
        target=plan.target_level_m,
        measured=level_m,
        applied=applied,
        dt_s=dt_s,
    )
    return Wish(
        hz=wish_hz,
        source=_source(LEVEL_PI, plan, inputs),
        state=CalculatorState(regulator=regulator, joining=False, pumping=True),
    )


def _pumping(parameters: LevelParameters, level_m: float, before: bool | None, running: bool | None) -> bool:
    """Start/stop hysteresis; off (always pumping) unless both levels are set. At first what runs goes on running."""
    start_m, stop_m = parameters.start_level_m, parameters.stop_level_m
    if start_m is None or stop_m is None:
        return True
    sign = _sign(parameters)
    if sign * (level_m - start_m) >= 0.0:
        return True
    if sign * (level_m - stop_m) <= 0.0:
        return False
    return before if before is not None else bool(running)


def _sign(parameters: LevelParameters) -> int:
    return 1 if parameters.direction is Direction.EMPTYING else -1


def _level_gains(setup: CalculatorSetup, parameters: LevelParameters) -> Gains:
    return Gains(
        sign=_sign(parameters),
        gain=parameters.gain_hz_per_m,
        integral_time_s=parameters.integral_time_s,
        derivative_time_s=parameters.derivative_time_s,
        derivative_filter_s=parameters.derivative_filter_s,
        deadband=parameters.deadband_m,
        tracking_time_s=parameters.tracking_time_s,
        output_min_hz=setup.output_min_hz,
        output_max_hz=setup.output_max_hz,
    )


def _power(
    setup: CalculatorSetup,
    parameters: PowerParameters,
    plan: PlanRow,
    judged: Mapping[str, JudgedValue],
    state: CalculatorState,
    *,
    applied: Applied | None,
    dt_s: float,
) -> Wish:
    power_kw = good_value(judged, POWER)
    inputs = {POWER: judged[POWER]} if POWER in judged else {}
    target_kw = plan.target_power_kw
    rated_kw, rated_hz = setup.rated_power_kw, setup.rated_speed_hz
    if target_kw is None or not rated_kw or not rated_hz:
        note = "rated power or speed of the pump, or the plan's target, is missing: the plan's speed"
        source = _source(POWER_FALLBACK, plan, inputs, note=note)
        speed_hz = plan.suggested_speed_hz
        return Wish(hz=speed_hz, source=source, state=track(speed_hz))
    if target_kw == 0.0:
        return Wish(hz=0.0, source=_source(PLANNED_STOP, plan, inputs), state=track(0.0))
    estimate_hz = affinity_speed_hz(target_kw, rated_power_kw=rated_kw, rated_speed_hz=rated_hz)
    estimate_hz = min(max(estimate_hz, setup.output_min_hz), setup.output_max_hz)
    if power_kw is None:
        source = _source(POWER_FALLBACK, plan, inputs, note="power is not GOOD: the affinity estimate")
        return Wish(hz=estimate_hz, source=source, state=track(estimate_hz))
    wish_hz, regulator = step(
        _power_gains(setup, parameters, rated_kw=rated_kw, rated_hz=rated_hz),
        state.regulator,
        joining=state.joining,
        feed_forward_hz=estimate_hz,
        target=target_kw,
        measured=power_kw,
        applied=applied,
        dt_s=dt_s,
    )
    source = _source(POWER_PI, plan, inputs, note=f"affinity estimate {estimate_hz:.2f} Hz")
    return Wish(hz=wish_hz, source=source, state=CalculatorState(regulator=regulator, joining=False))


def _power_gains(
    setup: CalculatorSetup, parameters: PowerParameters, *, rated_kw: float, rated_hz: float
) -> Gains:
    """More power than wanted asks for less speed. At rated speed the affinity law has dP/dn = 3 P/n."""
    gain = parameters.gain_hz_per_kw
    deadband_kw = parameters.deadband_kw
    return Gains(
        sign=-1,
        gain=0.5 * rated_hz / (3.0 * rated_kw) if gain is None else gain,
        integral_time_s=parameters.integral_time_s,
        deadband=0.01 * rated_kw if deadband_kw is None else deadband_kw,
        tracking_time_s=parameters.tracking_time_s,
        output_min_hz=setup.output_min_hz,
        output_max_hz=setup.output_max_hz,
        correction_max_hz=parameters.trim_limit_hz,
    )


def _source(
    calculator: str, plan: PlanRow, inputs: dict[str, JudgedValue] | None = None, *, note: str = ""
) -> ProposalSource:
    return ProposalSource(
        calculator=calculator,
        plan_id=plan.plan_id,
        plan_version=plan.plan_version,
        plan=plan,
        inputs=inputs or {},
        note=note,
    )
