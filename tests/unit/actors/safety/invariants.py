"""What must hold of every decision, whatever was put in; written once, used by every search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.safety.limits import problems, stop_value_hz
from actors.safety.types import Decision, KernelState, PumpState, RoundInput
from actors.vocabulary import Instant, Mode, PumpConfig, Quality, Reason, Rule, SafetyLimits

HOUR_S = 3600.0
RESOLUTION_HZ = 0.01 + 1e-9
FORCED = {Rule.EMERGENCY_STOP, Rule.OUT_OF_SERVICE, Rule.DRY_RUN}


def check_round(
    round_input: RoundInput,
    before: KernelState,
    decisions: Mapping[str, Decision],
    after: KernelState,
    last: Mapping[str, Decision],
) -> None:
    """Check one round; `last` holds the decisions of the round before it."""
    for pump_id, decision in decisions.items():
        entry = round_input.pumps[pump_id]
        _check_value(entry.config, decision.setpoint_hz)
        _check_value(entry.config, decision.failsafe_image_hz)
        _check_claim(round_input, decision)
        _check_dry_run(round_input, decision)
        was = last.get(pump_id)
        state = before.pumps.get(pump_id)
        # After a lapse the gates show remote_enabled 0 until the third fresh setpoint: those are no enabled ones.
        lapsed = after.pumps[pump_id].fresh_left > 0 or (state is not None and state.fresh_left > 0)
        _check_latch(round_input, before, decision, was_enabled=_enabled(was) and not lapsed)
        if was is not None and was.limits_version == decision.limits_version and not lapsed:
            _check_step(round_input, was, decision)
    _check_running(round_input, before, decisions)
    assert after.pumps.keys() == round_input.pumps.keys()


def _check_value(config: PumpConfig, value_hz: float) -> None:
    """SAF-2.9, 2.11: 0, or inside the pump's own band, in steps of 0.01 Hz."""
    assert math.isfinite(value_hz), "no number on the wire"
    if config.limits is None or problems(config.limits):
        assert value_hz == 0.0, "driven without limits"
        return
    assert value_hz == 0.0 or (
        config.limits.hard_min_speed_hz <= value_hz <= config.limits.hard_max_speed_hz
    ), f"{value_hz} outside the band"
    assert abs(value_hz * 100.0 - round(value_hz * 100.0)) < 1e-6, f"{value_hz} is not a step of 0.01 Hz"


def _enabled(decision: Decision | None) -> bool:
    return decision is not None and decision.remote_enabled


def _check_latch(
    round_input: RoundInput, before: KernelState, decision: Decision, *, was_enabled: bool
) -> None:
    """SAF-2.1, 2.2, EST-6."""
    entry = round_input.pumps[decision.pump_id]
    assert decision.run_inhibit == (entry.stopped or entry.out_of_service)
    if entry.out_of_service:
        assert decision.setpoint_hz == 0.0
        assert decision.mode is Mode.OUT_OF_SERVICE
    if entry.stopped:
        assert decision.failsafe_image_hz == 0.0
        assert decision.reason is Reason.EMERGENCY_STOP
        assert decision.setpoint_hz <= max(0.0, entry.config.emergency_stop_setpoint_hz) + RESOLUTION_HZ
        state = before.pumps.get(decision.pump_id)
        # A pump that comes back from local control or a lapse counts from what it is measured at now.
        if (
            state is not None
            and state.seeded
            and decision.remote_enabled
            and was_enabled
            and not state.fresh_left
        ):
            assert decision.setpoint_hz <= stop_value_hz(entry.config, last_hz=state.output_hz)


def _check_claim(round_input: RoundInput, decision: Decision) -> None:
    """CTL-7, WDG-3: quality tells the claim, and nothing is claimed at the panel or without feedback."""
    entry = round_input.pumps[decision.pump_id]
    assert (decision.quality is Quality.BAD) == (not decision.remote_enabled)
    if decision.remote_enabled:
        assert decision.tracking_hz is None
        for point in ("running", "actual_speed_hz", "local_override"):
            assert entry.feedback[point].quality is Quality.GOOD, point
        assert entry.feedback["local_override"].value == 0.0
        if decision.failsafe.reason is not None:
            assert decision.quality is Quality.UNCERTAIN


def _check_dry_run(round_input: RoundInput, decision: Decision) -> None:
    """SAF-2.3: at a good level at or below dry run there is 0, unless a float or a swapped rule 4 contradicts."""
    entry = round_input.pumps[decision.pump_id]
    limits, level = entry.config.limits, entry.feedback["wet_well_level_m"]
    if (
        limits is None
        or problems(limits)
        or limits.level_dry_run_m is None
        or round_input.station.has_high_float
        or (decision.conditions.high_level and not round_input.station.dry_run_outranks_high_level)
        or level.quality is not Quality.GOOD
        or level.value is None
        or level.age_s is None
        or level.age_s > round_input.station.protective_level_age_s
    ):
        return
    if level.value <= limits.level_dry_run_m:
        assert decision.setpoint_hz == 0.0
        assert decision.failsafe_image_hz == 0.0


def _check_step(round_input: RoundInput, was: Decision, decision: Decision) -> None:
    """CTL-3, SAF-2.10: between two enabled decisions no step beyond the rate but 0 <-> minimum and forced stops."""
    limits = round_input.pumps[decision.pump_id].config.limits
    if limits is None or not (was.remote_enabled and decision.remote_enabled):
        return
    step_hz = abs(decision.setpoint_hz - was.setpoint_hz)
    low = limits.hard_min_speed_hz
    if decision.setpoint_hz == 0.0:
        forced = decision.reason in {Reason.EMERGENCY_STOP, Reason.OUT_OF_SERVICE, Reason.DRY_RUN}
        assert forced or was.setpoint_hz <= low + RESOLUTION_HZ, f"stop from {was.setpoint_hz}"
    elif was.setpoint_hz == 0.0:
        assert decision.setpoint_hz <= low + RESOLUTION_HZ, f"start to {decision.setpoint_hz}"
    elif decision.reason is not Reason.EMERGENCY_STOP:
        most_hz = limits.max_rate_hz_per_s * round_input.control.period_s
        assert step_hz <= most_hz + RESOLUTION_HZ, f"step of {step_hz}"


def _check_running(round_input: RoundInput, before: KernelState, decisions: Mapping[str, Decision]) -> None:
    """CTL-6: no start beyond the permitted number, counting what runs, is told to, or is unknown."""
    permitted = round_input.station.max_pumps_running
    if permitted is None:
        return
    started = [
        pump_id
        for pump_id, decision in decisions.items()
        if decision.remote_enabled
        and decision.setpoint_hz > 0.0
        and round_input.pumps[pump_id].feedback["running"].value == 0.0
        and pump_id in before.pumps
        and before.pumps[pump_id].output_hz == 0.0
        and before.pumps[pump_id].seeded
    ]
    occupied = {
        pump_id
        for pump_id, entry in round_input.pumps.items()
        if pump_id in started
        or entry.feedback["running"].value == 1.0
        or entry.feedback["running"].quality is not Quality.GOOD
    }
    if started:
        assert len(occupied) <= max(permitted, 0), f"{started} started, {occupied} occupy {permitted} places"


@dataclass
class Motor:
    """What a witness beside the kernel knows of one motor: when it was started by order, and when it last turned."""

    started: list[Instant] = field(default_factory=list)
    turned: Instant | None = None


def check_motors(
    round_input: RoundInput,
    before: KernelState,
    decisions: Mapping[str, Decision],
    after: KernelState,
    motors: Mapping[str, Motor],
    *,
    now: Instant,
) -> None:
    """SAF-2.6, SAF-7: starts per hour, rest and run, judged by what was ordered and measured, not by its count."""
    for pump_id, entry in round_input.pumps.items():
        motor, decision = motors[pump_id], decisions.get(pump_id)
        was = before.pumps.get(pump_id)
        if entry.feedback["running"].quality is Quality.GOOD and entry.feedback["running"].value == 1.0:
            motor.turned = now
        limits = entry.config.limits
        if decision is None or limits is None or problems(limits) or not decision.remote_enabled:
            continue
        state = after.pumps[pump_id]
        if (
            was is not None
            and was.seeded
            and was.output_hz <= 0.0 < decision.setpoint_hz
            and _ordered_now(state, now)
        ):
            if decision.reason is not Reason.HIGH_LEVEL:
                _check_start(limits, motor, decision, now=now, durable=round_input.starts_durable)
            motor.started.append(now)
        if decision.setpoint_hz > 0.0:
            motor.turned = now
        elif was is not None and was.output_hz > 0.0:
            _check_end(limits, state, decision, now=now)


def _ordered_now(state: PumpState, now: Instant) -> bool:
    """An order is not confirmed yet; a pump that is only followed after a gap runs already."""
    return state.timers is not None and state.timers.starts[-1:] == (now,) and not state.timers.confirmed


def _check_start(
    limits: SafetyLimits, motor: Motor, decision: Decision, *, now: Instant, durable: bool
) -> None:
    of_the_hour = [at for at in motor.started if now.seconds_since(at) < HOUR_S]
    if limits.max_starts_per_hour is not None:
        assert len(of_the_hour) < limits.max_starts_per_hour, (
            f"start {len(of_the_hour) + 1} of {decision.pump_id}"
        )
        assert durable, "a start that no disk holds"
    if limits.min_rest_s is not None and motor.turned is not None:
        assert now.seconds_since(motor.turned) >= limits.min_rest_s, f"{decision.pump_id} has not rested"


def _check_end(limits: SafetyLimits, state: PumpState, decision: Decision, *, now: Instant) -> None:
    """A stop within the minimum run has a reason that stands above it, or the pump did not turn."""
    if limits.min_run_s is None or state.timers is None or not state.timers.turning:
        return
    forced = {Reason.EMERGENCY_STOP, Reason.OUT_OF_SERVICE, Reason.DRY_RUN}
    above = {Rule.POWER_CAP, Rule.MAX_RUNNING, Rule.STATION_POWER, Rule.FINAL_CHECK}
    if decision.reason not in forced and not any(step.rule in above for step in decision.trail):
        assert now.seconds_since(state.timers.since) >= limits.min_run_s, f"{decision.pump_id} ran too short"
