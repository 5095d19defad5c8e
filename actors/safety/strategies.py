"""What a pump does in failsafe while the chain lives: its strategy, and what each must remember (WDG-3); pure.

HAND_BACK decides nothing here: the claim is given up before any rule is asked. Rules 6 to 11 and the station's maximum
hold on top of every value that comes from here.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from actors.safety.limits import band_or_zero_hz, failsafe_output_hz, problems
from actors.safety.parameters import is_filling, safety_parameters
from actors.safety.types import Facts, StrategyMemory
from actors.vocabulary import FailsafeStrategy, Instant, PumpConfig


class OnOff(msgspec.Struct, frozen=True, kw_only=True):
    """LEVEL_ON_OFF as it can be carried out: levels in m, the speed while it runs in Hz.

    `filling`: the pump raises the level, so it starts at the lower of the two.
    """

    start_m: float
    stop_m: float
    run_hz: float
    filling: bool


def on_off(pump: PumpConfig) -> OnOff | str:
    """Return the levels and the speed of LEVEL_ON_OFF, or why there are none that could be carried out.

    Levels of `control_parameters`, else the approved `level_max_m` and `level_min_m` (not for a pump that fills). They
    must lie above dry run and below the emergency high level, which rules 3 and 4 own, and no start below the minimum.
    """
    limits = pump.limits
    if limits is None or problems(limits):
        return "no approved, valid limits"
    own = safety_parameters(pump)
    filling = is_filling(pump.control_type, pump.control_parameters)
    start_m, stop_m = own.failsafe_start_level_m, own.failsafe_stop_level_m
    if (start_m is None or stop_m is None) and not filling:
        start_m, stop_m = limits.level_max_m, limits.level_min_m
    if start_m is None or stop_m is None:
        return "no start and stop level"
    dry_m, high_m, least_m = limits.level_dry_run_m, limits.level_emergency_high_m, limits.level_min_m
    if dry_m is not None and min(start_m, stop_m) <= dry_m:
        return f"{min(start_m, stop_m):g} m is not above the dry-run level {dry_m:g} m"
    if high_m is not None and max(start_m, stop_m) >= high_m:
        return f"{max(start_m, stop_m):g} m is not below the emergency high level {high_m:g} m"
    if least_m is not None and start_m < least_m:
        return f"start level {start_m:g} m is below the minimum level {least_m:g} m"
    run_hz = 0.0 if own.failsafe_run_hz is None else band_or_zero_hz(own.failsafe_run_hz, limits)
    run_hz = run_hz or failsafe_output_hz(pump) or limits.hard_max_speed_hz
    return OnOff(start_m=start_m, stop_m=stop_m, run_hz=run_hz, filling=filling)


def unusable(pump: PumpConfig) -> str:
    """Why the pump's strategy cannot be carried out and the default setpoint stands in for it; empty: it can."""
    if pump.failsafe_strategy is not FailsafeStrategy.LEVEL_ON_OFF:
        return ""
    found = on_off(pump)
    return found if isinstance(found, str) else ""


def switched(levels: OnOff, *, was_on: bool, level_m: float) -> bool:
    """Whether the pump runs at this level: between the two levels it goes on as it was."""
    if levels.filling:
        return level_m <= levels.start_m or (was_on and level_m < levels.stop_m)
    return level_m >= levels.start_m or (was_on and level_m > levels.stop_m)


def advance(memory: StrategyMemory, facts: Facts, *, now: Instant) -> StrategyMemory:
    """Return what the strategy remembers at `now`; outside failsafe nothing.

    What is not ours, or not shown by the gates yet, is found anew from the speed that our output then follows: so what
    runs goes on and what stands stays, after a restart of the chain as after a hand-back (SAF-10). Only the moment from
    which a hold is counted is older than that.
    """
    state = facts.state
    if state.failsafe.reason is None:
        return StrategyMemory()
    ours = facts.enabled and state.fresh_left == 0
    match facts.config.failsafe_strategy:
        case FailsafeStrategy.DEFAULT_SETPOINT | FailsafeStrategy.HAND_BACK:
            return StrategyMemory()
        case FailsafeStrategy.LEVEL_ON_OFF:
            levels = on_off(facts.config)
            if not ours or isinstance(levels, str):
                return StrategyMemory()
            was_on = _was_on(memory, facts)
            if facts.level_m is None:
                return StrategyMemory(on=was_on)
            return StrategyMemory(on=switched(levels, was_on=was_on, level_m=facts.level_m))
        case FailsafeStrategy.HOLD_LAST:
            held_hz = memory.held_hz if memory.held_hz is not None else _last_hz(facts)
            return StrategyMemory(held_hz=held_hz if ours else None, held_since=memory.held_since or now)
        case _:
            assert_never(facts.config.failsafe_strategy)


def output(facts: Facts) -> tuple[float, str]:
    """Return the value (Hz) of rule 5 and why, in failsafe or as the image of one.

    An image is for when the chain is gone: nobody would watch a level or a clock then, so LEVEL_ON_OFF and HOLD_LAST
    come to what stands in for them in the end, the default setpoint.
    """
    pump, state = facts.config, facts.state
    default_hz = failsafe_output_hz(pump)
    default = f"default setpoint {default_hz:g} Hz"
    strategy = pump.failsafe_strategy
    match strategy:
        case FailsafeStrategy.DEFAULT_SETPOINT:
            return default_hz, default
        case FailsafeStrategy.HAND_BACK:
            # Live, the claim is given up before this rule; what remains is the image: the local controller's pump.
            return 0.0, "handed back"
        case FailsafeStrategy.LEVEL_ON_OFF:
            levels = on_off(pump)
            if facts.image:
                return default_hz, f"no level is watched without the chain: {default}"
            if isinstance(levels, str):
                return default_hz, f"{levels}: {default}"
            if facts.level_m is None:
                return default_hz, f"level unknown: {default}"
            on = switched(levels, was_on=_was_on(state.strategy, facts), level_m=facts.level_m)
            hz = levels.run_hz if on else 0.0
            shown = f"level {facts.level_m:g} m, starts at {levels.start_m:g} m, stops at {levels.stop_m:g} m"
            return hz, shown
        case FailsafeStrategy.HOLD_LAST:
            if facts.image:
                return default_hz, f"nothing is held without the chain: {default}"
            hold_s = safety_parameters(pump).failsafe_hold_s
            if facts.held_s >= hold_s:
                return default_hz, f"held for {hold_s:g} s: {default}"
            held_hz = _last_hz(facts) if state.strategy.held_hz is None else state.strategy.held_hz
            return held_hz, f"holds {held_hz:g} Hz for {hold_s - facts.held_s:.0f} s more"
        case _:
            assert_never(strategy)


def _last_hz(facts: Facts) -> float:
    """The last value of the pump's own duty (Hz), and what it does where nobody has given it one yet.

    A high level that comes and goes, or a flush, must not be held for the time that a lost plan is.
    """
    return facts.state.output_hz if facts.state.duty_hz is None else facts.state.duty_hz


def _was_on(memory: StrategyMemory, facts: Facts) -> bool:
    """Between the levels a pump that enters failsafe goes on as it is."""
    return memory.on if memory.on is not None else facts.state.output_hz > 0.0
