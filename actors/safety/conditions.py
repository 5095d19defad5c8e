"""What holds at a station right now: seeding, dry run, high level, claims and failsafe, before any rule is
asked.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.feedback import HIGH_FLOAT, LEVEL, LOCAL_OVERRIDE, RUNNING, SPEED, arrived, good_value
from actors.publisher.gate import FRESH_NEEDED, LAPSE_WAIT_S, LAPSE_WINDOW_S, LAPSES_PATIENT
from actors.safety import failsafe as failsafe_law
from actors.safety import following as following_law
from actors.safety import hand_back as claims
from actors.safety import strategies
from actors.safety import timers as timer_law
from actors.safety.limits import is_finite_number, problems
from actors.safety.parameters import safety_parameters
from actors.safety.types import Facts, KernelState, PumpInput, PumpState, RoundInput
from actors.station.wear import worn
from actors.vocabulary import (
    FailsafeStrategy,
    HighLevelResponse,
    Instant,
    Quality,
    Reason,
    SafetyLimits,
)

_INVALID_TICKS_SHOWN: Final = failsafe_law.INVALID_TICKS_MAX + 1


class _StationLevel(msgspec.Struct, frozen=True, kw_only=True):
    """The wet well as the whole station sees it."""

    high: bool
    float_closed: bool
    bad: bool
    contradicted: bool
    float_alone_since: Instant | None


def observe(
    round_input: RoundInput, state: KernelState, *, now: Instant
) -> tuple[dict[str, Facts], KernelState]:
    """Advance every condition of the station to `now`; return the facts of every pump (wire order), and the
    state.
    """
    round_input = _without_invalid_limits(round_input)
    pumps: dict[str, PumpState] = {}
    levels: dict[str, float | None] = {}
    for pump in round_input.station.pumps:
        entry = round_input.pumps[pump.pump_id]
        level_m = claims.good_level_m(
            entry.feedback, entry.config, protective_age_s=round_input.station.protective_level_age_s
        )
        levels[pump.pump_id] = level_m
        was = _seeded(state.pumps.get(pump.pump_id, PumpState()), entry, now=now)
        was = _after_lapse(was, round_input, now=now)
        was = _with_flags(was, entry, level_m)
        was = _with_timers(was, entry, round_input, now=now)
        was = _with_wear(was, entry, round_input, now=now)
        pumps[pump.pump_id] = _with_failsafe(was, entry, round_input, now=now)
    level = _station_level(round_input, state, pumps, levels, now=now)
    facts: dict[str, Facts] = {}
    for pump_id, old in pumps.items():
        entry = round_input.pumps[pump_id]
        problem = _problem(entry, old, level, levels[pump_id], starts_durable=round_input.starts_durable)
        hand_back = claims.advance(
            old.hand_back,
            problem,
            now=now,
            hold_s=round_input.control.failsafe_recovery_hold_s,
            lost=claims.arrived_bad(entry.feedback)
            or (problem is Reason.HANDED_BACK_LEVEL and arrived(entry.feedback, LEVEL)),
        )
        was = msgspec.structs.replace(old, hand_back=hand_back)
        fact = _facts(entry, was, level, levels[pump_id], round_input, now=now)
        if not fact.enabled or was.fresh_left > 0:
            # While nothing is claimed our output follows the pump, so that a return moves nothing (CTL-7).
            was = msgspec.structs.replace(
                was, output_hz=fact.tracked_hz, target_hz=fact.tracked_hz, duty_hz=None
            )
        elif was.duty_hz is None and (level.high or _served(state, pump_id)):
            # What it does now is rule 4's or a task's, and nobody knows what its duty was: none.
            was = msgspec.structs.replace(was, duty_hz=0.0)
        fact = msgspec.structs.replace(fact, state=was)
        facts[pump_id] = fact = _with_strategy(_with_following(fact, now=now), now=now)
        pumps[pump_id] = fact.state
    return facts, msgspec.structs.replace(
        state, pumps=pumps, float_alone_since=level.float_alone_since, contradicted=level.contradicted
    )


def _served(state: KernelState, pump_id: str) -> bool:
    """Whether at the last round, perhaps our predecessor's, a pump ran for rule 4 or a task of its station."""
    was = state.pumps.get(pump_id, PumpState())
    return was.high or pump_id in state.tasks


def _without_invalid_limits(round_input: RoundInput) -> RoundInput:
    """Limits that contradict each other are none: a pump that has no others is not commissioned (DAT-5)."""
    pumps = {
        pump_id: msgspec.structs.replace(entry, config=msgspec.structs.replace(entry.config, limits=None))
        if entry.config.limits is not None and problems(entry.config.limits)
        else entry
        for pump_id, entry in round_input.pumps.items()
    }
    return msgspec.structs.replace(round_input, pumps=pumps)


def waiting_for(entry: PumpInput, state: PumpState) -> str:
    """Name what must still arrive before anything is published for this pump; empty: it is seeded (SAF-10)."""
    if state.seeded:
        return ""
    missing = list(claims.missing_essentials(entry.feedback))
    if claims.needs_level(entry.config) and not arrived(entry.feedback, LEVEL):
        missing.append(LEVEL)
    return ", ".join(missing)


def _seeded(was: PumpState, entry: PumpInput, *, now: Instant) -> PumpState:
    """Seed from what was measured after our start; never from our own registers or rows (SAF-10)."""
    if was.seeded or claims.missing_essentials(entry.feedback):
        return was
    essentials_at = was.essentials_at or now
    complete = not claims.needs_level(entry.config) or arrived(entry.feedback, LEVEL)
    if not complete and now.seconds_since(essentials_at) < claims.SEED_PATIENCE_S:
        return msgspec.structs.replace(was, essentials_at=essentials_at)
    seed_hz = _tracked_hz(entry, entry.config.limits, last_hz=0.0)
    return msgspec.structs.replace(
        was, seeded=True, essentials_at=essentials_at, output_hz=seed_hz, target_hz=seed_hz
    )


def _after_lapse(was: PumpState, round_input: RoundInput, *, now: Instant) -> PumpState:
    """Notice that the gates have let the pump go, since no newer tick was decided within the lease (SAF-9).

    Until they trust the chain again the pump is the local controller's; how long that takes is the gates' own law.
    """
    lease_s = round_input.control.setpoint_lease_s
    if was.origin is None or now.seconds_since(was.origin) <= lease_s:
        return was
    lapses = was.lapses
    if not was.fresh_left:
        lapsed_at = was.origin.plus(lease_s)
        recent = [at for at in lapses if lapsed_at.seconds_since(at) <= LAPSE_WINDOW_S]
        lapses = (*recent, lapsed_at)[-LAPSES_PATIENT:]
    return msgspec.structs.replace(was, fresh_left=FRESH_NEEDED, fresh_since=None, lapses=lapses)


def trusted_again(was: PumpState, *, ticked: bool, now: Instant) -> PumpState:
    """Count the fresh decisions after a lapse as the gates do, the wait after too many lapses included (SAF-9)."""
    if was.fresh_left == 0 or not ticked:
        return was
    since = was.fresh_since or now
    waits = len(was.lapses) >= LAPSES_PATIENT and now.seconds_since(since) < LAPSE_WAIT_S
    return msgspec.structs.replace(
        was, fresh_left=max(1 if waits else 0, was.fresh_left - 1), fresh_since=since
    )


def _running(entry: PumpInput) -> bool | None:
    value = good_value(entry.feedback, RUNNING)
    return None if value is None else value == 1.0


def _tracked_hz(entry: PumpInput, limits: SafetyLimits | None, *, last_hz: float) -> float:
    """Return the measured speed as a value we could have ordered: 0, or inside the band while the pump
    runs.
    """
    running = _running(entry)
    if limits is None or running is False:
        return 0.0
    if running is None:
        return last_hz
    low, high = limits.hard_min_speed_hz, limits.hard_max_speed_hz
    speed_hz = good_value(entry.feedback, SPEED)
    return min(max(last_hz if speed_hz is None else speed_hz, low), high)


def _with_flags(was: PumpState, entry: PumpInput, level_m: float | None) -> PumpState:
    """Advance the hysteresis of dry run and high level; at a level that is not good they stay as they are."""
    limits = entry.config.limits
    if limits is None:
        return msgspec.structs.replace(was, dry_run=None, high=False)
    dry, high = was.dry_run, was.high
    dry_m, high_m = limits.level_dry_run_m, limits.level_emergency_high_m
    if dry_m is None:
        dry = False
    elif level_m is not None:
        reset_m = dry_m if limits.level_dry_run_reset_m is None else limits.level_dry_run_reset_m
        # Unknown after a restart: a pump that stands below the reset level was probably stopped by this rule.
        remembers = dry if dry is not None else _running(entry) is not True
        dry = level_m <= dry_m or (remembers and level_m <= reset_m)
    if high_m is None:
        high = False
    elif level_m is not None:
        reset_m = (
            high_m if limits.level_emergency_high_reset_m is None else limits.level_emergency_high_reset_m
        )
        high = level_m >= high_m or (high and level_m >= reset_m)
    return msgspec.structs.replace(was, dry_run=dry, high=high)


def _with_timers(was: PumpState, entry: PumpInput, round_input: RoundInput, *, now: Instant) -> PumpState:
    """Advance starts, run and rest by what is measured and by what we told the pump (rule 6)."""
    claimed = was.seeded and claims.holds_claim(was.hand_back) and was.fresh_left == 0
    timers = timer_law.advance(
        was.timers,
        running=_running(entry),
        told=claimed and was.output_hz > 0.0,
        now=now,
        gap_s_max=round_input.control.setpoint_lease_s,
    )
    return msgspec.structs.replace(was, timers=timers)


def _with_wear(was: PumpState, entry: PumpInput, round_input: RoundInput, *, now: Instant) -> PumpState:
    """Count what the motor works, whoever drives it (CTL-6)."""
    wear = worn(was.wear, running=_running(entry), now=now, gap_s_max=round_input.control.setpoint_lease_s)
    return msgspec.structs.replace(was, wear=wear)


def _with_failsafe(was: PumpState, entry: PumpInput, round_input: RoundInput, *, now: Instant) -> PumpState:
    """Count bad proposals, each once, and enter or leave failsafe."""
    proposal = entry.proposal
    if proposal is None:
        return was
    invalid_ticks, counted = was.invalid_ticks, was.counted_sequence
    if proposal.sequence != counted:
        bad = bool(failsafe_law.invalid_wish(proposal))
        invalid_ticks = min(invalid_ticks + 1, _INVALID_TICKS_SHOWN) if bad else 0
    cause = failsafe_law.cause_of(proposal, invalid_ticks=invalid_ticks, scope_failure=entry.scope_failure)
    return msgspec.structs.replace(
        was,
        invalid_ticks=invalid_ticks,
        counted_sequence=proposal.sequence,
        failsafe=failsafe_law.advance(
            was.failsafe,
            cause,
            mode=failsafe_law.mode_of(proposal),
            now=now,
            hold_s=round_input.control.failsafe_recovery_hold_s,
        ),
    )


def _with_following(fact: Facts, *, now: Instant) -> Facts:
    """Judge whether the pump does what it was told last, while it is ours and the gates show it (CTL-5)."""
    state = fact.state
    ours = fact.enabled and state.fresh_left == 0 and not fact.out_of_service and state.decided_at is not None
    speed_hz = good_value(fact.feedback, SPEED)
    own = safety_parameters(fact.config)
    following = following_law.advance(
        state.following,
        told_hz=state.output_hz if ours and speed_hz is not None else None,
        measured_hz=0.0 if fact.running is False or speed_hz is None else speed_hz,
        tolerance_hz=own.following_tolerance_hz,
        time_s=own.following_time_s,
        now=now,
    )
    return msgspec.structs.replace(
        fact,
        state=msgspec.structs.replace(state, following=following),
        not_following=following.failed_since is not None,
    )


def _with_strategy(fact: Facts, *, now: Instant) -> Facts:
    """Advance what the pump's failsafe strategy remembers (WDG-3)."""
    if fact.proposal is None:
        # Whether it is in failsafe is not known yet: what was remembered across a restart stays (SAF-10).
        return fact
    memory = strategies.advance(fact.state.strategy, fact, now=now)
    held_s = 0.0 if memory.held_since is None else now.seconds_since(memory.held_since)
    return msgspec.structs.replace(
        fact, state=msgspec.structs.replace(fact.state, strategy=memory), held_s=held_s
    )


def _station_level(
    round_input: RoundInput,
    state: KernelState,
    pumps: dict[str, PumpState],
    levels: dict[str, float | None],
    *,
    now: Instant,
) -> _StationLevel:
    """Judge the wet well by all pumps in use: a dry or missing level against a closed float, and who is
    right.
    """
    used = {
        pump_id: entry
        for pump_id, entry in round_input.pumps.items()
        if entry.config.limits is not None
        and not entry.out_of_service
        and good_value(entry.feedback, LOCAL_OVERRIDE) != 1.0
    }
    closed = round_input.station.has_high_float and any(
        _closed(entry, round_input.station.protective_level_age_s) for entry in round_input.pumps.values()
    )
    dry = any(pumps[pump_id].dry_run is True for pump_id in used)
    contradicted = dry and (closed or state.contradicted)
    measured_high = any(pumps[pump_id].high for pump_id in used)
    seen_high = any(pumps[pump_id].high and levels[pump_id] is not None for pump_id in used)
    alone = closed and not seen_high
    alone_since = (state.float_alone_since or now) if alone else None
    too_long = (
        alone_since is not None and now.seconds_since(alone_since) >= round_input.station.float_response_max_s
    )
    needing = [pump_id for pump_id in used if claims.needs_level(used[pump_id].config)]
    # A controller that is silent loses its own pump; a sensor that lies, or no good level at all, the whole
    # station.
    lies = any(_lies(used[pump_id], round_input) for pump_id in needing)
    none_good = bool(needing) and all(levels[pump_id] is None for pump_id in needing)
    return _StationLevel(
        high=measured_high or closed,
        float_closed=closed and not too_long,
        bad=lies or none_good or contradicted or too_long,
        contradicted=contradicted,
        float_alone_since=alone_since,
    )


def _closed(entry: PumpInput, age_s_max: float) -> bool:
    value = entry.feedback.get(HIGH_FLOAT)
    return (
        value is not None
        and value.quality is Quality.GOOD
        and value.value == 1.0
        and value.age_s is not None
        and value.age_s <= age_s_max
    )


def _lies(entry: PumpInput, round_input: RoundInput) -> bool:
    """Whether a level arrives in time and yet cannot be true (range, frozen, not finite)."""
    value = entry.feedback.get(LEVEL)
    return (
        value is not None
        and value.quality is not Quality.GOOD
        and value.age_s is not None
        and value.age_s <= round_input.control.feedback_stale_s
    )


def _problem(
    entry: PumpInput,
    was: PumpState,
    level: _StationLevel,
    level_m: float | None,
    *,
    starts_durable: bool,
) -> Reason | None:
    """Why this pump cannot be claimed by what is measured and what the disk takes; None: it can."""
    lost = claims.lost_feedback(entry.feedback)
    if lost is not None:
        return lost
    hand_back = was.hand_back
    if not starts_durable and _needs_the_disk(entry, was, level):
        return Reason.HANDED_BACK_STORAGE
    missing = claims.needs_level(entry.config) and level_m is None
    if not (missing or level.bad):
        return None
    # The float keeps a claim, and may make the first one; it never wins one back: a float that chatters
    # must not switch between us and the local controller.
    first = not hand_back.claimed and arrived(entry.feedback, LEVEL)
    if level.float_closed and (claims.holds_claim(hand_back) or first):
        return None
    return Reason.HANDED_BACK_LEVEL


def _needs_the_disk(entry: PumpInput, was: PumpState, level: _StationLevel) -> bool:
    """Whether a disk that refuses costs us this pump: we may not start it, so the local controller has to (SAF-7).

    What runs goes on. At high level a start is never refused (SAF-2.6), durable or not. What was handed back stays so
    until the disk is well, or each stop of the local controller's would begin it anew.
    """
    if entry.config.limits is None or not timer_law.guarded(entry.config.limits):
        return False
    if was.hand_back.claimed and was.hand_back.since is not None:
        return True
    stands = was.output_hz <= 0.0 and _running(entry) is False
    return stands and _wishes_to_run(entry, was) and not level.high


def _wishes_to_run(entry: PumpInput, was: PumpState) -> bool:
    if was.failsafe.reason is not None:
        return True
    proposal = entry.proposal
    if proposal is None or proposal.held_stopped is True or not is_finite_number(proposal.wish_hz):
        return False
    return proposal.wish_hz is not None and proposal.wish_hz > 0.0


def _facts(
    entry: PumpInput,
    was: PumpState,
    level: _StationLevel,
    level_m: float | None,
    round_input: RoundInput,
    *,
    now: Instant,
) -> Facts:
    limits = entry.config.limits
    at_panel = good_value(entry.feedback, LOCAL_OVERRIDE) == 1.0
    reason = _claim_reason(entry, was, level, round_input, at_panel=at_panel)
    period_s = round_input.control.period_s
    elapsed_s = 0.0 if was.decided_at is None else now.seconds_since(was.decided_at)
    hold_s = round_input.control.failsafe_recovery_hold_s
    ticked = entry.proposal is not None and entry.proposal.origin != was.origin
    return Facts(
        config=entry.config,
        limits=limits,
        control=round_input.control,
        feedback=entry.feedback,
        proposal=entry.proposal,
        state=was,
        running=_running(entry),
        level_m=None if level.contradicted else level_m,
        enabled=reason is None,
        claim_reason=reason,
        local=at_panel,
        stopped=entry.stopped,
        out_of_service=entry.out_of_service,
        dry_run=was.dry_run is True and not level.contradicted,
        tracked_hz=_tracked_hz(entry, limits, last_hz=was.output_hz),
        elapsed_s=min(max(elapsed_s, 0.0), period_s),
        cap_hold=was.cap_stopped_at is not None and now.seconds_since(was.cap_stopped_at) < hold_s,
        high_level=level.high,
        start_refused=_start_refused(was, limits, round_input, now=now),
        run_s=timer_law.run_s(was.timers, now=now),
        soft_stop_hz_per_s=_soft_stop_hz_per_s(round_input),
        profile=round_input.profile,
        ticked=ticked,
        unseen=trusted_again(was, ticked=ticked, now=now).fresh_left > 0,
    )


def _start_refused(
    was: PumpState, limits: SafetyLimits | None, round_input: RoundInput, *, now: Instant
) -> str:
    """Why rule 6 forbids a start now; empty: it does not."""
    if limits is None or not timer_law.guarded(limits):
        return ""
    if not round_input.starts_durable:
        return "the disk refuses, a start would leave no trace"
    return timer_law.start_refusal(was.timers, limits, now=now)


def _soft_stop_hz_per_s(round_input: RoundInput) -> float | None:
    """Return the station's soft stop where it is a rate: anything else must never keep a pump from stopping."""
    rate = round_input.station.soft_stop_hz_per_s
    return rate if is_finite_number(rate) and rate is not None and rate > 0.0 else None


def _claim_reason(
    entry: PumpInput,
    was: PumpState,
    level: _StationLevel,
    round_input: RoundInput,
    *,
    at_panel: bool,
) -> Reason | None:
    """Why remote_enabled is 0; None: the pump is ours."""
    if entry.config.limits is None:
        return Reason.NOT_COMMISSIONED
    if at_panel:
        return Reason.LOCAL
    if not was.seeded:
        return Reason.NOT_STARTED
    if not claims.holds_claim(was.hand_back):
        return was.hand_back.reason or Reason.HANDED_BACK_FEEDBACK
    if level.high and round_input.station.high_level_response is HighLevelResponse.HAND_BACK:
        return Reason.HIGH_LEVEL
    handed = entry.config.failsafe_strategy is FailsafeStrategy.HAND_BACK
    if was.failsafe.reason is not None and handed:
        return Reason.HANDED_BACK_STRATEGY
    return None
