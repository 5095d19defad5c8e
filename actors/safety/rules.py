"""The pump pass: every rule of SAF-2 as a function, and their order as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from actors.messages import Proposal, TrailStep
from actors.safety.estimate import (
    OperatingPoint,
    flow_point,
    power_point,
    rated_flow_point,
    speed_hz_for_flow,
    speed_hz_for_power,
)
from actors.safety.failsafe import INVALID_TICKS_MAX, invalid_wish, mode_of
from actors.safety.limits import failsafe_output_hz, final_check, is_finite_number, stop_value_hz
from actors.safety.ramp import move
from actors.safety.strategies import output
from actors.safety.types import Facts, Work
from actors.vocabulary import Mode, Reason, Rule, StationConfig

RuleFunction: TypeAlias = Callable[[Work, Facts], Work]

# A wish between 0 and the minimum: a stopped pump starts only near the minimum, a running one stops well
# below it, so that a wish that wanders around one figure does not switch the pump.
START_AT_FRACTION_OF_MIN: Final = 0.9
STOP_BELOW_FRACTION_OF_MIN: Final = 0.7


class RuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the order. `number` is SAF-2's ('-' for what SAF-2 takes for granted).

    `apply` None: decided by the station pass, for all pumps together.
    """

    number: str
    rule: Rule
    apply: RuleFunction | None
    summary: str


def base_work(facts: Facts, proposal: Proposal) -> Work:
    """Return the wish before any rule, or the last safe value where there is no wish to believe (SAF-3)."""
    if not facts.enabled and not facts.image:
        # The wish is kept out: nothing is claimed, our output follows the pump (rule 2, CTL-7).
        return Work(value_hz=facts.tracked_hz, reason=facts.claim_reason or Reason.LOCAL)
    why = invalid_wish(proposal)
    # Held stopped needs no wish to believe: an absurd one beside it starts nothing (CTL-7).
    if why and proposal.held_stopped is not True:
        step = TrailStep(
            rule=Rule.INVALID_PROPOSAL,
            before_hz=shown_hz(proposal.wish_hz),
            after_hz=facts.state.output_hz,
            why=f"{why}; last safe value, {facts.state.invalid_ticks} of {INVALID_TICKS_MAX} ticks",
        )
        return Work(value_hz=facts.state.output_hz, reason=Reason.LIMITED, trail=(step,))
    if proposal.held_stopped is True:
        return Work(value_hz=0.0, reason=Reason.HELD_STOPPED)
    reason = Reason.MANUAL if proposal.mode is Mode.MANUAL else Reason.PLAN
    if proposal.wish_hz is None:
        return Work(value_hz=facts.state.output_hz, reason=reason)
    return Work(value_hz=proposal.wish_hz + 0.0, reason=reason)


def emergency_stop(work: Work, facts: Facts) -> Work:
    """Rule 1: min(last applied, emergency_stop_setpoint_hz), never starting a pump that does not run.

    Nor does a stop keep one running that is wished to stop: 0 is always inside the band (SAF-2).
    """
    if not facts.stopped:
        return work
    runs_under_us = facts.enabled and facts.running is True and not facts.image and work.value_hz > 0.0
    ceiling_hz = stop_value_hz(facts.config, last_hz=facts.state.output_hz) if runs_under_us else 0.0
    work = _changed(work, Rule.EMERGENCY_STOP, ceiling_hz, "a stop covers this pump", Reason.EMERGENCY_STOP)
    return msgspec.structs.replace(work, stopped_by=Rule.EMERGENCY_STOP)


def out_of_service(work: Work, facts: Facts) -> Work:
    """Rule 2: a pump out of service gets 0."""
    if not facts.out_of_service:
        return work
    return _stop(work, Rule.OUT_OF_SERVICE, "out of service", Reason.OUT_OF_SERVICE)


def local(work: Work, facts: Facts) -> Work:
    """Rule 2: at the panel's pump we claim nothing; the value already tracks the measured speed."""
    if not facts.local or work.stopped_by is not None or facts.image:
        return work
    return msgspec.structs.replace(work, reason=Reason.LOCAL)


def dry_run(work: Work, facts: Facts) -> Work:
    """Rule 3: at or below the dry-run level until above its reset level, 0. Swapped, a pump that answers a high level
    goes on. The one exception, a clean-out that a person ordered, is judged in `actors.station.clean_out`.
    """
    if not facts.dry_run or work.high or (facts.snoring and not facts.image):
        return work
    limits = facts.limits
    at = f"dry-run level {limits.level_dry_run_m} m" if limits is not None else "dry-run level"
    level = "unknown" if facts.level_m is None else f"{facts.level_m:g} m"
    # What we do not claim keeps its own reason; its value is 0 all the same.
    reason = Reason.DRY_RUN if facts.enabled or facts.image else work.reason
    return _stop(work, Rule.DRY_RUN, f"level {level}, {at}", reason)


def high_level(work: Work, facts: Facts) -> Work:
    """Rule 4: the pumps that the station pass chose run at their maximum."""
    if not facts.high_chosen or work.stopped_by is not None or facts.limits is None:
        return work
    work = _changed(
        work,
        Rule.HIGH_LEVEL,
        facts.limits.hard_max_speed_hz,
        "emergency high level: the permitted pumps run at their maximum",
        Reason.HIGH_LEVEL,
    )
    return msgspec.structs.replace(work, high=True)


def failsafe(work: Work, facts: Facts) -> Work:
    """Rule 5: the pump's strategy while in failsafe (the image always is: it is for when the chain is
    gone). An operator's 0 is no plan that can be stale: it is never turned into a start (CTL-7).
    """
    if not _free(work, facts) or _stopped_by_operator(work):
        return work
    reason = Reason.LEASE_EXPIRED if facts.image else facts.state.failsafe.reason
    if reason is None:
        return work
    value_hz, why = output(facts)
    return _changed(work, Rule.FAILSAFE, value_hz, why, reason)


def protection_timers(work: Work, facts: Facts) -> Work:
    """Rule 6: no start too soon or too often, no stop too soon, no run too long; nothing of it at high level.

    A pump that has not run long enough is kept at its minimum against every wish to stop, but not against rules 1
    to 3, motor power or what the station bounds.
    """
    limits = facts.limits
    if limits is None or work.stopped_by is not None or work.high or facts.image or not facts.enabled:
        return work
    goes_on = wants_to_run(work.value_hz, facts)
    if facts.state.output_hz <= 0.0:
        if goes_on and facts.start_refused:
            return forbidden(work, facts.start_refused)
        return work
    if facts.run_s is None:
        return work
    if limits.max_run_s is not None and facts.run_s >= limits.max_run_s:
        return forbidden(work, f"has run {facts.run_s:.0f} s, at most {limits.max_run_s:g} s")
    if limits.min_run_s is None or facts.run_s >= limits.min_run_s:
        return work
    if not goes_on:
        why = f"has run {facts.run_s:.0f} s, at least {limits.min_run_s:g} s"
        low = limits.hard_min_speed_hz
        work = _changed(work, Rule.PROTECTION_TIMERS, low, why, Reason.PROTECTION_TIMER)
    return msgspec.structs.replace(work, held=True)


def forbidden(work: Work, why: str) -> Work:
    """Rule 6: 0, a normal stop or no start."""
    return _changed(work, Rule.PROTECTION_TIMERS, 0.0, why, Reason.PROTECTION_TIMER)


def rotated(work: Work, hz: float, why: str, rule: Rule = Rule.ROTATION) -> Work:
    """Rule 6: this pump runs in the place of another."""
    return _changed(work, rule, hz, why, Reason.ROTATED)


def stood_down(work: Work, rule: Rule, why: str) -> Work:
    """Rule 6: another pump does this one's duty, though no motor rule forbids it to this one."""
    return _changed(work, rule, 0.0, why, Reason.STANDBY)


def may_serve(work: Work, facts: Facts) -> bool:
    """Whether a duty of the station may choose this pump's value: it is ours, in AUTO with a wish to believe, and none
    of rules 1 to 5 has a say.
    """
    proposal = facts.proposal
    return (
        _free(work, facts)
        and facts.enabled
        and not facts.image
        and facts.limits is not None
        and proposal is not None
        and proposal.wish_hz is not None
        and not invalid_wish(proposal)
        and mode_of(proposal) is Mode.AUTO
        and proposal.held_stopped is not True
        and facts.state.failsafe.reason is None
        and (not facts.dry_run or facts.snoring)
    )


def by_duty(work: Work, facts: Facts, rule: Rule, hz: float, why: str) -> Work:
    """Give a pump the value of a station's duty, inside its band; what `may_serve` forbids stays as it is."""
    if not may_serve(work, facts):
        return work
    assert facts.limits is not None
    hz = min(max(hz, facts.limits.hard_min_speed_hz), facts.limits.hard_max_speed_hz)
    return _changed(work, rule, hz, why, _DUTY_REASONS[rule])


_DUTY_REASONS: Final[Mapping[Rule, Reason]] = {
    Rule.ASSIST: Reason.ASSIST,
    Rule.EXERCISE: Reason.EXERCISE,
    Rule.FLUSH: Reason.FLUSH,
    Rule.CLEAN_OUT: Reason.CLEAN_OUT,
}


def on_duty(work: Work, facts: Facts) -> bool:
    """Whether a pump runs for a plan, its own or another's, or its failsafe: not for a task, nor for rule 4."""
    automatic = facts.proposal is not None and mode_of(facts.proposal) is Mode.AUTO
    return automatic and _for_itself(work)


def _for_itself(work: Work) -> bool:
    return not work.high and work.reason not in _DUTY_REASONS.values()


def duty_value_hz(work: Work, facts: Facts, *, target_hz: float) -> float:
    """Return what a pump of ours is remembered to do by its own duty (Hz) after this decision: its plan's, its
    operator's or its failsafe's last value.

    What rule 4 and a task drive is not, nor is the way back from there: on it counts where it is going. A stop makes
    of it no more than it was.
    """
    state = facts.state
    if not _for_itself(work):
        return state.duty_hz or 0.0
    if state.duty_hz is None or state.duty_hz == state.output_hz:
        return work.value_hz
    known_hz = state.duty_hz if work.stopped_by is not None else target_hz
    return min(work.value_hz, known_hz)


def wish_alone(facts: Facts) -> float:
    """Return what the pump would be driven with (Hz) by rules 4 and 5 alone, were it ours and nothing stopped it."""
    if facts.proposal is None or facts.limits is None:
        return 0.0
    able = msgspec.structs.replace(
        facts, enabled=True, stopped=False, out_of_service=False, local=False, image=False
    )
    return failsafe(profile(base_work(able, facts.proposal), able), able).value_hz


def profile(work: Work, facts: Facts) -> Work:
    """Keep a plan's wish above 0 inside the band that the station's profile of this hour names."""
    bounds = facts.profile
    if bounds is None or not _free(work, facts) or work.reason is not Reason.PLAN or work.value_hz <= 0.0:
        return work
    low_hz, high_hz = bounds.speed_hz_min, bounds.speed_hz_max
    hz = work.value_hz if high_hz is None else min(work.value_hz, high_hz)
    # A wish that is meant to be 0, or near it, stays what it is.
    hz = hz if low_hz is None or not wants_to_run(hz, facts) else max(hz, low_hz)
    return (
        work
        if hz == work.value_hz
        else _changed(work, Rule.PROFILE, hz, f"profile {bounds.name}", Reason.PLAN)
    )


def wants_to_run(value_hz: float, facts: Facts) -> bool:
    """Whether rule 9 will let this value run the pump: a wish in (0, minimum) becomes 0 or the minimum."""
    if facts.limits is None:
        return False
    fraction = START_AT_FRACTION_OF_MIN if facts.state.output_hz <= 0.0 else STOP_BELOW_FRACTION_OF_MIN
    return value_hz >= fraction * facts.limits.hard_min_speed_hz


def flow_floor(work: Work, facts: Facts) -> Work:
    """Rule 7: a pump that runs moves at least `min_flow_m3h`, judged by its rated point, as far as the caps allow.

    Never by the measured flow: a clogged pump or a dead meter must not drive it to its maximum.
    """
    limits = facts.limits
    if limits is None or limits.min_flow_m3h is None or not _caps(work, facts) or work.stopped_by is not None:
        return work
    point = rated_flow_point(facts)
    if point is None or not wants_to_run(work.value_hz, facts):
        return work
    floor_hz = min(speed_hz_for_flow(point, limits.min_flow_m3h), limits.hard_max_speed_hz)
    if work.value_hz >= floor_hz:
        return work
    why = f"at least {limits.min_flow_m3h:g} m3/h, by rated {point.amount:g} at {point.speed_hz:g} Hz"
    return _changed(work, Rule.FLOW_FLOOR, floor_hz, why, _limited(work))


def power_cap(work: Work, facts: Facts) -> Work:
    """Rule 7: the motor's power, also at high level."""
    if facts.limits is None or facts.limits.max_power_kw is None or not _caps(work, facts):
        return work
    why = f"at most {facts.limits.max_power_kw:g} kW"
    return _capped(work, facts, Rule.POWER_CAP, _power_cap_hz(facts), why, power_point(facts))


def _power_cap_hz(facts: Facts) -> float:
    """Return the speed up to which the motor's power lets the pump run; inf: no bound.

    Without measured or rated values that is the minimum: nothing to judge by.
    """
    if facts.limits is None or facts.limits.max_power_kw is None:
        return math.inf
    point = power_point(facts)
    if point is None:
        return facts.limits.hard_min_speed_hz
    return speed_hz_for_power(point, facts.limits.max_power_kw)


def flow_cap(work: Work, facts: Facts) -> Work:
    """Rule 7: the flow; at high level the well matters more."""
    if facts.limits is None or facts.limits.max_flow_m3h is None or work.high or not _caps(work, facts):
        return work
    why = f"at most {facts.limits.max_flow_m3h:g} m3/h"
    return _capped(work, facts, Rule.FLOW_CAP, _flow_cap_hz(facts), why, flow_point(facts))


def _flow_cap_hz(facts: Facts) -> float:
    """Return the speed up to which the flow lets the pump run; inf: no bound; the minimum: nothing to judge by."""
    if facts.limits is None or facts.limits.max_flow_m3h is None:
        return math.inf
    point = flow_point(facts)
    if point is None:
        return facts.limits.hard_min_speed_hz
    return speed_hz_for_flow(point, facts.limits.max_flow_m3h)


def level_band(work: Work, facts: Facts) -> Work:
    """Rule 8: no start below level_min, nor at a level nobody knows; a running pump goes on."""
    limits = facts.limits
    if limits is None or limits.level_min_m is None or not _starts(work, facts) or work.high:
        return work
    if facts.level_m is not None and facts.level_m >= limits.level_min_m:
        return work
    level = "unknown" if facts.level_m is None else f"{facts.level_m:g} m"
    why = f"level {level}: no start below {limits.level_min_m:g} m"
    return _changed(work, Rule.LEVEL_BAND, 0.0, why, Reason.LEVEL_BAND)


def speed_band(work: Work, facts: Facts) -> Work:
    """Rule 9: {0} and [min, max]; between 0 and the minimum by hysteresis, and 0 while rules 1 to 3 hold."""
    limits = facts.limits
    if limits is None or work.value_hz == 0.0 or not (facts.enabled or facts.image):
        return work
    low, high = limits.hard_min_speed_hz, limits.hard_max_speed_hz
    if work.value_hz > high:
        return _changed(work, Rule.SPEED_BAND, high, f"maximum {high:g} Hz", _limited(work))
    if work.value_hz >= low:
        return work
    if work.stopped_by is not None:
        return _changed(work, Rule.SPEED_BAND, 0.0, f"below {low:g} Hz under a stop", work.reason)
    after_hz = low if wants_to_run(work.value_hz, facts) else 0.0
    return _changed(work, Rule.SPEED_BAND, after_hz, f"0 or at least {low:g} Hz", _limited(work))


def rate(work: Work, facts: Facts) -> Work:
    """Rule 10: inside the band, for one tick's time; what rules 1 to 3 ordered goes at once."""
    if facts.limits is None or work.stopped_by is not None or not facts.enabled:
        return work
    if facts.state.output_hz <= 0.0 < work.value_hz and not facts.ticked and not work.high:
        # A gate shows no start before a newer tick either (EST-2): started here, our ramp would run ahead of it.
        return _changed(work, Rule.RATE, 0.0, "no start before the next tick", Reason.HELD_STOPPED)
    if facts.state.output_hz <= 0.0 < work.value_hz and facts.unseen:
        # The gates let nothing through yet: a start that nobody sees would count, and leave our ramp ahead of theirs.
        return _changed(work, Rule.RATE, 0.0, "no start before the gates trust us", Reason.HELD_STOPPED)
    # Above what rule 7 allows no stop is soft, whoever ordered it: a lower rule never weakens a higher one.
    soft = facts.soft_stop_hz_per_s if not work.cut and not facts.high_level else None
    value_hz, held = move(
        last_hz=facts.state.output_hz,
        target_hz=work.value_hz,
        limits=facts.limits,
        elapsed_s=facts.elapsed_s,
        stop_hz_per_s=soft,
        soft_below_hz=min(_power_cap_hz(facts), _flow_cap_hz(facts)),
    )
    if held is None:
        return msgspec.structs.replace(work, value_hz=value_hz)
    rate_hz_per_s = soft if held is Rule.SOFT_STOP else facts.limits.max_rate_hz_per_s
    why = f"{rate_hz_per_s:g} Hz/s for {facts.elapsed_s:.2f} s"
    reason = Reason.RAMP if work.reason in _RAMP_SHOWS else work.reason
    return _changed(work, held, value_hz, "0 to the minimum" if held is Rule.START_STEP else why, reason)


def final(work: Work, facts: Facts) -> Work:
    """Rule 11: what does not pass becomes the failsafe output (0 while 1 to 3 hold or the pump does not
    run).
    """
    checked = final_check(
        work.value_hz,
        facts.config,
        stopped=facts.stopped,
        out_of_service=facts.out_of_service,
        last_hz=facts.state.output_hz,
    )
    if checked.refusal is None:
        return work
    stopped = work.stopped_by is not None or facts.state.output_hz <= 0.0 or not facts.enabled
    fallback_hz = 0.0 if stopped else failsafe_output_hz(facts.config)
    work = _changed(work, Rule.FINAL_CHECK, fallback_hz, checked.why, Reason.FINAL_CHECK)
    return msgspec.structs.replace(work, failed_check=True)


_DRY_RUN_ROW: Final = RuleRow(
    number="3", rule=Rule.DRY_RUN, apply=dry_run, summary="level at or below dry run until its reset: 0"
)
_HIGH_LEVEL_ROW: Final = RuleRow(
    number="4", rule=Rule.HIGH_LEVEL, apply=high_level, summary="emergency high level: maximum, or hand back"
)

RULES: Final[tuple[RuleRow, ...]] = (
    RuleRow(
        number="1",
        rule=Rule.EMERGENCY_STOP,
        apply=emergency_stop,
        summary="min(last applied, emergency stop setpoint), never a start",
    ),
    RuleRow(number="2", rule=Rule.OUT_OF_SERVICE, apply=out_of_service, summary="out of service: 0"),
    RuleRow(number="2", rule=Rule.LOCAL, apply=local, summary="local: track, claim nothing"),
    _DRY_RUN_ROW,
    _HIGH_LEVEL_ROW,
    RuleRow(number="-", rule=Rule.PROFILE, apply=profile, summary="a plan's wish inside the profile's band"),
    RuleRow(number="5", rule=Rule.FAILSAFE, apply=failsafe, summary="failsafe: the pump's strategy"),
    RuleRow(
        number="-",
        rule=Rule.CLEAN_OUT,
        apply=None,
        summary="a person's clean-out, the one exception to rule 3 (station)",
    ),
    RuleRow(number="8", rule=Rule.ASSIST, apply=None, summary="above level_max an assist pump (station)"),
    RuleRow(number="-", rule=Rule.FLUSH, apply=None, summary="flush of the rising main (station)"),
    RuleRow(number="-", rule=Rule.EXERCISE, apply=None, summary="exercise of a pump that stands (station)"),
    RuleRow(
        number="6",
        rule=Rule.SUBSTITUTION,
        apply=None,
        summary="duty of a pump that cannot do it to another (station)",
    ),
    RuleRow(
        number="6", rule=Rule.ALTERNATION, apply=None, summary="duty to the pump whose turn it is (station)"
    ),
    RuleRow(
        number="6",
        rule=Rule.PROTECTION_TIMERS,
        apply=protection_timers,
        summary="minimum rest, minimum run, maximum run, starts per hour",
    ),
    RuleRow(
        number="6", rule=Rule.ROTATION, apply=None, summary="duty to another pump of the station (station)"
    ),
    RuleRow(number="7", rule=Rule.FLOW_FLOOR, apply=flow_floor, summary="at least the minimum flow"),
    RuleRow(number="7", rule=Rule.POWER_CAP, apply=power_cap, summary="motor power"),
    RuleRow(number="7", rule=Rule.FLOW_CAP, apply=flow_cap, summary="flow"),
    RuleRow(number="8", rule=Rule.LEVEL_BAND, apply=level_band, summary="no start below the minimum level"),
    RuleRow(number="9", rule=Rule.SPEED_BAND, apply=speed_band, summary="0, or minimum to maximum speed"),
    RuleRow(number="-", rule=Rule.MAX_RUNNING, apply=None, summary="maximum pumps running (station)"),
    RuleRow(number="-", rule=Rule.STATION_POWER, apply=None, summary="station power (station)"),
    RuleRow(number="-", rule=Rule.STAGGER, apply=None, summary="time between two starts (station)"),
    RuleRow(number="10", rule=Rule.RATE, apply=rate, summary="rate of change inside the band"),
    RuleRow(number="11", rule=Rule.FINAL_CHECK, apply=final, summary="finite, 0 or in band, 0.01 Hz"),
)
"""The order of SAF-2, highest first, as the CLI prints it. The only swap a station may configure is 3
against 4.
"""

_SWAP: Final = {Rule.DRY_RUN: _HIGH_LEVEL_ROW, Rule.HIGH_LEVEL: _DRY_RUN_ROW}
_SWAPPED: Final = tuple(_SWAP.get(row.rule, row) for row in RULES)
_TIMERS_AT: Final = next(index for index, row in enumerate(RULES) if row.rule is Rule.PROTECTION_TIMERS)
_STATION_AT: Final = next(index for index, row in enumerate(RULES) if row.rule is Rule.MAX_RUNNING)
# While one of these shows, a ramp is worth showing instead; the others say more than a ramp does.
_RAMP_SHOWS: Final = frozenset({Reason.PLAN, Reason.MANUAL, Reason.LIMITED})


def order_for(station: StationConfig) -> tuple[RuleRow, ...]:
    """Return this station's order of rules."""
    return RULES if station.dry_run_outranks_high_level else _SWAPPED


def before_timers(work: Work, facts: Facts, order: tuple[RuleRow, ...]) -> Work:
    """Apply the rules above those of time (1 to 5): what the pump would do if its motor could do anything."""
    return _through(work, facts, order[:_TIMERS_AT])


def from_timers(work: Work, facts: Facts, order: tuple[RuleRow, ...]) -> Work:
    """Apply the rules from those of time on, above the station's own (6 to 9)."""
    return _through(work, facts, order[_TIMERS_AT:_STATION_AT])


def before_station(work: Work, facts: Facts, order: tuple[RuleRow, ...]) -> Work:
    """Apply the rules above the station's own (1 to 9)."""
    return _through(work, facts, order[:_STATION_AT])


def after_station(work: Work, facts: Facts, order: tuple[RuleRow, ...]) -> Work:
    """Apply the rules below the station's own (10, 11)."""
    return _through(work, facts, order[_STATION_AT:])


def refused_by_station(work: Work, rule: Rule, after_hz: float, why: str) -> Work:
    """Apply what the station pass decided for this pump."""
    # A pump that an emergency setpoint keeps running can lose its place too; the stop stays the reason.
    reason = _STATION_REASONS.get(rule, _limited(work)) if work.stopped_by is None else work.reason
    work = _changed(work, rule, after_hz, why, reason)
    return msgspec.structs.replace(work, cut=True) if rule is Rule.STATION_POWER and after_hz == 0.0 else work


_STATION_REASONS: Final[Mapping[Rule, Reason]] = {
    Rule.MAX_RUNNING: Reason.MAX_RUNNING,
    Rule.STAGGER: Reason.STAGGER,
}


def _through(work: Work, facts: Facts, rows: tuple[RuleRow, ...]) -> Work:
    for row in rows:
        if row.apply is not None:
            work = row.apply(work, facts)
    return work


def _changed(work: Work, rule: Rule, after_hz: float, why: str, reason: Reason) -> Work:
    """Set the value; the trail tells only of changes."""
    if after_hz == work.value_hz:
        return msgspec.structs.replace(work, reason=reason)
    step = TrailStep(rule=rule, before_hz=work.value_hz, after_hz=after_hz, why=why)
    return msgspec.structs.replace(work, value_hz=after_hz, reason=reason, trail=(*work.trail, step))


def _stop(work: Work, rule: Rule, why: str, reason: Reason) -> Work:
    """Force 0 below whatever a higher stop left; the higher one's reason stays."""
    shown = work.reason if work.stopped_by is not None else reason
    work = _changed(work, rule, 0.0, why, shown)
    return msgspec.structs.replace(work, stopped_by=work.stopped_by or rule)


def _free(work: Work, facts: Facts) -> bool:
    """Whether rules below 4 may choose a value: nothing higher holds, and the pump is ours."""
    return work.stopped_by is None and not work.high and (facts.enabled or facts.image)


def _stopped_by_operator(work: Work) -> bool:
    """Whether the wish is an operator's 0, in force or run out."""
    return work.value_hz == 0.0 and work.reason in {Reason.MANUAL, Reason.HELD_STOPPED}


def _caps(work: Work, facts: Facts) -> bool:
    return work.value_hz > 0.0 and (facts.enabled or facts.image)


def _starts(work: Work, facts: Facts) -> bool:
    return facts.state.output_hz <= 0.0 and _caps(work, facts)


def _limited(work: Work) -> Reason:
    """Being limited shows only where nothing of more weight does."""
    return Reason.LIMITED if work.reason in _RAMP_SHOWS else work.reason


def _capped(
    work: Work,
    facts: Facts,
    rule: Rule,
    cap_hz: float,
    why: str,
    point: OperatingPoint | None,
) -> Work:
    """Lower the value to a cap; a cap below the minimum becomes 0, and then holds off the next start for a
    while.

    Without measured or rated values a cap cannot be judged: the pump may run at its minimum and no faster.
    """
    assert facts.limits is not None
    low = facts.limits.hard_min_speed_hz
    if facts.cap_hold and facts.state.output_hz <= 0.0:
        return _changed(work, rule, 0.0, f"{why}: stopped by a cap a moment ago", _limited(work))
    if point is None:
        return _changed(work, rule, min(work.value_hz, low), f"{why}: nothing to judge by", _limited(work))
    # What rule 9 would lift to the minimum is judged as the minimum: lifted later it would break the cap.
    if cap_hz >= (max(work.value_hz, low) if wants_to_run(work.value_hz, facts) else work.value_hz):
        return work
    basis = "measured" if point.measured else "rated"
    text = f"{why}, by {basis} {point.amount:g} at {point.speed_hz:g} Hz"
    if cap_hz >= low:
        return _changed(work, rule, cap_hz, text, _limited(work))
    if rule is Rule.FLOW_CAP and work.held:
        # Rule 6 stands above the flow; motor power stands above rule 4, and so above rule 6.
        return _changed(work, rule, low, text, _limited(work))
    return _changed(work, rule, 0.0, text, _limited(work))


def shown_hz(wish: object) -> float:
    """Return a wish as a trail can hold it; what is no finite number becomes -1 (the text beside it says
    more).
    """
    return float(wish) if isinstance(wish, float | int) and is_finite_number(wish) else -1.0
