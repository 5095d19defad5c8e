"""The safety kernel: one round of one station, from proposals to decisions; pure (SAF-1).

Nothing reaches a wire without a decision from here. The order of the rules is data (`rules.RULES`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.messages import TrailStep
from actors.safety import rotation, rules, station_pass, timers
from actors.safety.conditions import observe, trusted_again
from actors.safety.failsafe import mode_of
from actors.safety.limits import final_check
from actors.safety.types import (
    Conditions,
    Decision,
    Facts,
    KernelState,
    PumpState,
    RoundInput,
    Work,
)
from actors.station import clean_out, profiles, sequencing, tasks
from actors.vocabulary import Instant, Mode, Quality, Reason, Rule, StationConfig

_CAPS: Final = frozenset({Rule.POWER_CAP, Rule.FLOW_CAP})


def decide_round(
    round_input: RoundInput,
    state: KernelState,
    *,
    now: Instant,
) -> tuple[dict[str, Decision], KernelState]:
    """Decide for every pump of `round_input.deciding` that is seeded and has proposed; return the new state.

    Station pass and pump pass in one: conditions of all pumps, rules 1 to 5 per pump, the rotation of duties
    between them, rules 6 to 9 per pump, what the station bounds, rules 10 and 11 per pump, then the failsafe
    image of the whole station. Deterministic and total:
    whatever stands in a proposal or a measurement, it raises nothing (SAF-3).
    """
    facts, state = observe(round_input, state, now=now)
    facts = _with_choice(facts, round_input)
    ordered, facts = clean_out.judged(state.clean_out, facts, round_input.station, now=now)
    state = msgspec.structs.replace(state, clean_out=ordered)
    station = profiles.in_force(
        round_input.station,
        round_input.profile,
        high=any(fact.high_level for fact in facts.values()),
    )
    order = rules.order_for(station)
    wishes, state = _by_duty(
        _wishes(facts, round_input, order, now=now), facts, station, round_input, state, now=now
    )
    works = {
        pump_id: rules.from_timers(wishes[pump_id], fact, order)
        for pump_id, fact in facts.items()
        if pump_id in round_input.deciding and pump_id in wishes
    }
    works = station_pass.permit(works, facts, station, started_at=state.started_at, now=now)
    finished = {pump_id: rules.after_station(work, facts[pump_id], order) for pump_id, work in works.items()}
    images = _images(facts, station, order)
    decisions: dict[str, Decision] = {}
    pumps = dict(state.pumps)
    started_at = state.started_at
    turn = state.turn
    duties_hz = rotation.duties_of(
        state.duties,
        {pump_id: fact.state.output_hz for pump_id, fact in facts.items()}
        | {pump_id: work.value_hz for pump_id, work in finished.items()},
    )
    for pump_id, work in finished.items():
        fact = facts[pump_id]
        decisions[pump_id] = _decision(
            fact,
            work,
            images[pump_id],
            duty_hz=duties_hz.get(pump_id),
            substituted=pump_id in state.duties and rotation.cannot(wishes[pump_id], fact),
        )
        told = _after(fact, work, target_hz=works[pump_id].value_hz, now=now)
        pumps[pump_id] = msgspec.structs.replace(told, wear=state.pumps[pump_id].wear)
        if fact.enabled and fact.state.output_hz <= 0.0 < work.value_hz:
            started_at = now
            turn = pump_id if rules.on_duty(wishes[pump_id], fact) else turn
    return decisions, msgspec.structs.replace(state, pumps=pumps, started_at=started_at, turn=turn)


def _by_duty(
    wishes: dict[str, Work],
    facts: dict[str, Facts],
    station: StationConfig,
    round_input: RoundInput,
    state: KernelState,
    *,
    now: Instant,
) -> tuple[dict[str, Work], KernelState]:
    """Move duties to the pumps that do them, and have pumps clean out, assist, flush and exercise (CTL-6)."""
    turns = sequencing.turns_of(station, facts, state.turn, round_input.profile)
    settling = now.seconds_since(state.since) <= round_input.control.setpoint_lease_s
    wishes, duties = rotation.rotate(wishes, facts, state.duties, turns, settling=settling)
    wishes = clean_out.served(state.clean_out, wishes, facts, station)
    cleaning = state.clean_out is not None and not state.clean_out.over
    well = tasks.Well(
        station=station,
        works=wishes,
        facts=facts,
        performing=frozenset(duties.values()),
        reserved=frozenset({state.clean_out.pump_id} if cleaning and state.clean_out is not None else ()),
        turns=turns,
        now=now,
    )
    return tasks.assign(well, msgspec.structs.replace(state, duties=duties), settling=settling)


def _wishes(
    facts: dict[str, Facts],
    round_input: RoundInput,
    order: tuple[rules.RuleRow, ...],
    *,
    now: Instant,
) -> dict[str, Work]:
    """What each pump would do by rules 1 to 5: of those being decided, and of the others whose tick still counts."""
    return {
        pump_id: rules.before_timers(rules.base_work(fact, fact.proposal), fact, order)
        for pump_id, fact in facts.items()
        if fact.state.seeded
        and fact.proposal is not None
        and (
            pump_id in round_input.deciding
            or now.seconds_since(fact.proposal.origin) <= round_input.control.setpoint_lease_s
        )
    }


def _with_choice(facts: dict[str, Facts], round_input: RoundInput) -> dict[str, Facts]:
    """Mark the pumps that answer the emergency high level."""
    if not any(fact.high_level for fact in facts.values()):
        return facts
    chosen = station_pass.choose_for_high_level(facts, round_input.station)
    return {
        pump_id: msgspec.structs.replace(fact, high_chosen=pump_id in chosen)
        for pump_id, fact in facts.items()
    }


def _images(
    facts: dict[str, Facts],
    station: StationConfig,
    order: tuple[rules.RuleRow, ...],
) -> dict[str, Work]:
    """What every gate shows when its lease runs out, decided for the station as a whole (SAF-9)."""
    seen = {pump_id: msgspec.structs.replace(fact, image=True) for pump_id, fact in facts.items()}
    works: dict[str, Work] = {}
    for pump_id, fact in seen.items():
        if fact.proposal is None or not fact.state.seeded:
            continue
        if fact.limits is None:
            works[pump_id] = rules.before_station(
                Work(value_hz=0.0, reason=Reason.NOT_COMMISSIONED),
                msgspec.structs.replace(fact, image=False),
                order,
            )
            continue
        works[pump_id] = rules.before_station(rules.base_work(fact, fact.proposal), fact, order)
    return station_pass.bound_image(works, seen, station)


def _decision(fact: Facts, work: Work, image: Work, *, duty_hz: float | None, substituted: bool) -> Decision:
    assert fact.proposal is not None
    state = fact.state
    in_failsafe = state.failsafe.reason is not None
    return Decision(
        pump_id=fact.config.pump_id,
        proposal=fact.proposal,
        setpoint_hz=_fit(fact, work.value_hz),
        remote_enabled=fact.enabled,
        quality=_quality(fact),
        reason=work.reason,
        run_inhibit=fact.stopped or fact.out_of_service,
        mode=_mode(fact),
        limits_version=0 if fact.limits is None else fact.limits.version,
        trail=_told(work.trail, fact),
        failsafe_image_hz=_fit(fact, image.value_hz),
        failsafe_image_reason=image.reason,
        failsafe=state.failsafe,
        handed_back_since=state.hand_back.since,
        tracking_hz=None if fact.enabled else fact.tracked_hz,
        conditions=Conditions(
            dry_run=fact.dry_run and not fact.snoring,
            high_level=fact.high_level,
            failsafe=in_failsafe,
            handed_back=not fact.enabled and fact.claim_reason in _HANDED_BACK,
            not_commissioned=fact.limits is None,
            invalid_proposal=state.invalid_ticks > 0,
            final_check=work.failed_check,
            not_following=fact.not_following,
            substituted=substituted,
            clean_out=work.reason is Reason.CLEAN_OUT,
        ),
        duty_hz=duty_hz,
        not_following_since=state.following.failed_since,
    )


_HANDED_BACK: Final = frozenset(
    {
        Reason.HANDED_BACK_FEEDBACK,
        Reason.HANDED_BACK_LEVEL,
        Reason.HANDED_BACK_PLC_HEARTBEAT,
        Reason.HANDED_BACK_STRATEGY,
        Reason.HANDED_BACK_STORAGE,
        Reason.RECOVERING,
        Reason.HIGH_LEVEL,
    }
)


def _fit(fact: Facts, value_hz: float) -> float:
    """Return the value as the wire may have it; rule 11 has seen it, so this only rounds."""
    return final_check(
        value_hz,
        fact.config,
        stopped=fact.stopped,
        out_of_service=fact.out_of_service,
        last_hz=fact.state.output_hz,
    ).value_hz


def _quality(fact: Facts) -> Quality:
    if not fact.enabled:
        return Quality.BAD
    return Quality.GOOD if fact.state.failsafe.reason is None else Quality.UNCERTAIN


def _mode(fact: Facts) -> Mode:
    if fact.out_of_service:
        return Mode.OUT_OF_SERVICE
    if fact.local:
        return Mode.LOCAL
    assert fact.proposal is not None
    return mode_of(fact.proposal)


def _told(trail: tuple[TrailStep, ...], fact: Facts) -> tuple[TrailStep, ...]:
    """Put in front why nothing is claimed: the wish was kept out, and the trail says so."""
    if fact.enabled or fact.proposal is None:
        return trail
    rule = Rule.LOCAL if fact.local else Rule.HAND_BACK
    if fact.limits is None:
        rule = Rule.NOT_COMMISSIONED
    why = "" if fact.claim_reason is None else fact.claim_reason.name.lower()
    step = TrailStep(
        rule=rule,
        before_hz=rules.shown_hz(fact.proposal.wish_hz),
        after_hz=fact.tracked_hz,
        why=f"nothing is claimed: {why}",
    )
    return (step, *trail)


def _after(fact: Facts, work: Work, *, target_hz: float, now: Instant) -> PumpState:
    """Remember the decision. What we do not claim is remembered as measured, not as shown."""
    assert fact.proposal is not None
    trusted = trusted_again(fact.state, ticked=fact.ticked, now=now)
    was = msgspec.structs.replace(trusted, decided_at=now, origin=fact.proposal.origin)
    if not fact.enabled:
        return was
    starts = was.output_hz <= 0.0 < work.value_hz
    capped = any(step.rule in _CAPS and step.after_hz == 0.0 for step in work.trail)
    return msgspec.structs.replace(
        was,
        output_hz=work.value_hz,
        target_hz=target_hz,
        duty_hz=rules.duty_value_hz(work, fact, target_hz=target_hz),
        timers=timers.ordered(was.timers, now=now) if starts else was.timers,
        cap_stopped_at=now if capped and was.output_hz > 0.0 else was.cap_stopped_at,
    )
