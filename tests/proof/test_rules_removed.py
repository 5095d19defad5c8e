"""Each rule of the kernel's table taken out in turn: some invariant must break, or it would be proved of nothing.

A row that has a function gets one that changes nothing. A row that the station pass decides is taken out where that
pass applies what it decided. A rule that is added to the table is taken out here without anybody's doing: if nothing
breaks, an invariant (or an axis of the spaces) is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from actors.safety import conditions, following, ramp, rotation, rules, station_pass, strategies
from actors.safety.limits import failsafe_output_hz
from actors.safety.rules import RuleRow
from actors.safety.types import Facts, StrategyMemory, Work
from actors.station import clean_out, tasks
from actors.vocabulary import Instant, PumpConfig, Rule, StationConfig
from tests.proof.invariants import fit_for_the_wire, one_of, what_was_told_is_remembered
from tests.proof.search import FIRST_CASES, Finding, answer, findings, quick_finding
from tests.proof.spaces import SPACES

Removal = Callable[[Rule], None]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[[Rule, rules.RuleFunction], None]:
    """Put another function in a rule's place, in either order of rules 3 and 4, and in the station pass."""

    def put_(rule: Rule, function: rules.RuleFunction) -> None:
        true_order, true_refusal, true_rotated = rules.order_for, rules.refused_by_station, rules.rotated
        true_by_duty = rules.by_duty

        def order_for(station: StationConfig) -> tuple[RuleRow, ...]:
            return tuple(
                msgspec.structs.replace(row, apply=function) if row.rule is rule and row.apply else row
                for row in true_order(station)
            )

        def refused_by_station(work: Work, by: Rule, after_hz: float, why: str) -> Work:
            return work if by is rule else true_refusal(work, by, after_hz, why)

        def rotated(work: Work, hz: float, why: str, by: Rule = Rule.ROTATION) -> Work:
            return work if by is rule else true_rotated(work, hz, why, by)

        def by_duty(work: Work, facts: Facts, by: Rule, hz: float, why: str) -> Work:
            return work if by is rule else true_by_duty(work, facts, by, hz, why)

        monkeypatch.setattr(rules, "order_for", order_for)
        monkeypatch.setattr(rotation, "rotated", rotated)
        monkeypatch.setattr(tasks, "by_duty", by_duty)
        monkeypatch.setattr(clean_out, "by_duty", by_duty)
        monkeypatch.setattr(station_pass, "refused_by_station", refused_by_station)

    return put_


def nothing(work: Work, facts: Facts) -> Work:
    return work


IN_FORCE = [row.rule for row in rules.RULES if row.rule is not Rule.FINAL_CHECK]


@pytest.mark.parametrize("rule", IN_FORCE)
def test_without_a_rule_some_invariant_breaks(
    rule: Rule,
    put: Callable[[Rule, rules.RuleFunction], None],
    record_property: Callable[[str, object], None],
) -> None:
    """BYD-5, SAF-2: the search misses each rule that is taken out."""
    put(rule, nothing)
    found = quick_finding()
    assert found is not None, f"nothing misses rule {rule.value}: an invariant or an axis is missing"
    record_property("figures", f"without {rule.value}: {found.invariant} ({found.wrong})")


def test_without_any_rotation_a_duty_that_nobody_does_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """BYD-5, SAF-2.6: a refused pump whose duty another could do is found, also where nothing tells of a duty."""

    def rotate(works: Mapping[str, Work], *_: object, **__: object) -> tuple[dict[str, Work], dict[str, str]]:
        return dict(works), {}

    monkeypatch.setattr(rotation, "rotate", rotate)
    found = quick_finding()
    assert found is not None
    assert found.invariant == "a_refused_duty_is_done", found


MAD = (math.nan, math.inf, -5.0, 7.0, 60.0, 1e9)


def _after_a_mad_rule(
    put: Callable[[Rule, rules.RuleFunction], None], mad_hz: float, *, validated: bool
) -> Finding | None:
    put(Rule.RATE, lambda work, facts: msgspec.structs.replace(work, value_hz=mad_hz))
    if not validated:
        put(Rule.FINAL_CHECK, nothing)
    for space in SPACES:
        for index in space.indices(FIRST_CASES):
            round_ = answer(space, index)
            for decision in round_.decisions.values():
                one = one_of(round_, decision)
                wrong = fit_for_the_wire(one) or what_was_told_is_remembered(one)
                if not wrong and one.limits is not None and not decision.conditions.final_check:
                    wrong = "shown as if nothing were wrong"
                if wrong:
                    return Finding(Rule.FINAL_CHECK.value, wrong, space.name, index, space.point(index))
    return None


@pytest.mark.parametrize("mad_hz", MAD)
def test_what_a_mad_rule_leaves_is_caught_told_and_not_remembered(
    mad_hz: float, put: Callable[[Rule, rules.RuleFunction], None]
) -> None:
    """SAF-2.11: whatever a rule above answers, rule 11 shows a fit value, raises the alarm, and goes on from there."""
    found = _after_a_mad_rule(put, mad_hz, validated=True)
    assert found is None, found


@pytest.mark.parametrize("mad_hz", MAD)
def test_without_the_final_validation_a_mad_rule_is_not_told(
    mad_hz: float, put: Callable[[Rule, rules.RuleFunction], None]
) -> None:
    """BYD-5, SAF-2.11: rule 11 taken out is missed as soon as a rule above it is wrong."""
    assert _after_a_mad_rule(put, mad_hz, validated=False) is not None


# --------------------------------------------------------------------------- failsafe strategies, following


def _without_hysteresis(patch: pytest.MonkeyPatch) -> None:
    true_switched = strategies.switched
    patch.setattr(
        strategies,
        "switched",
        lambda levels, *, was_on, level_m: true_switched(levels, was_on=False, level_m=level_m),
    )


def _without_levels(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(strategies, "switched", lambda levels, *, was_on, level_m: was_on)


def _without_checked_levels(patch: pytest.MonkeyPatch) -> None:
    def on_off(pump: PumpConfig) -> strategies.OnOff:
        return strategies.OnOff(start_m=1.6, stop_m=0.3, run_hz=30.0, filling=False)

    patch.setattr(strategies, "on_off", on_off)


def _without_memory(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(strategies, "advance", lambda memory, facts, *, now: StrategyMemory())


def _without_an_end_of_the_hold(patch: pytest.MonkeyPatch) -> None:
    true_output = strategies.output
    patch.setattr(rules, "output", lambda facts: true_output(msgspec.structs.replace(facts, held_s=0.0)))


def _with_a_hold_that_begins_anew(patch: pytest.MonkeyPatch) -> None:
    true_advance = strategies.advance

    def advance(memory: StrategyMemory, facts: Facts, *, now: Instant) -> StrategyMemory:
        return true_advance(msgspec.structs.replace(memory, held_since=None), facts, now=now)

    patch.setattr(strategies, "advance", advance)


def _with_an_image_of_the_moment(patch: pytest.MonkeyPatch) -> None:
    true_output = strategies.output
    patch.setattr(rules, "output", lambda facts: true_output(msgspec.structs.replace(facts, image=False)))


def _with_the_default_always(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "output", lambda facts: (failsafe_output_hz(facts.config), ""))


def _with_a_hold_of_what_rule_4_drives(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "duty_value_hz", lambda work, facts, *, target_hz: work.value_hz)


def _with_a_hold_of_the_way_back(patch: pytest.MonkeyPatch) -> None:
    true_value = rules.duty_value_hz

    def duty_value_hz(work: Work, facts: Facts, *, target_hz: float) -> float:
        return true_value(work, facts, target_hz=max(target_hz, work.value_hz))

    patch.setattr(rules, "duty_value_hz", duty_value_hz)


def _with_a_hold_of_what_was_applied(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(strategies, "_last_hz", lambda facts: facts.state.output_hz)


def _trusted_at_once_after_a_lapse(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(conditions, "FRESH_NEEDED", 0)


def _without_following(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(following, "advance", lambda was, **more: following.UNJUDGED)


def _following_judges(patch: pytest.MonkeyPatch, **changed: float) -> None:
    true_advance = following.advance

    def advance(was: following.Following, **given: Any) -> following.Following:
        return true_advance(was, **{**given, **changed})

    patch.setattr(following, "advance", advance)


def _following_without_its_time(patch: pytest.MonkeyPatch) -> None:
    _following_judges(patch, time_s=0.0)


def _following_without_its_tolerance(patch: pytest.MonkeyPatch) -> None:
    _following_judges(patch, tolerance_hz=0.0)


def _following_judges_everybody(patch: pytest.MonkeyPatch) -> None:
    _following_judges(patch, told_hz=35.0)


def _following_without_a_way_to_come_nearer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(following, "NEARER_HZ", math.inf)


def _following_is_proved_by_standing(patch: pytest.MonkeyPatch) -> None:
    true_advance = following.advance

    def advance(was: following.Following, **given: Any) -> following.Following:
        return true_advance(msgspec.structs.replace(was, failed_to_run=False), **given)

    patch.setattr(following, "advance", advance)


@pytest.mark.parametrize(
    "take_out",
    [
        _without_hysteresis,
        _without_levels,
        _without_checked_levels,
        _without_memory,
        _without_an_end_of_the_hold,
        _with_a_hold_that_begins_anew,
        _with_an_image_of_the_moment,
        _with_the_default_always,
        _with_a_hold_of_what_rule_4_drives,
        _with_a_hold_of_the_way_back,
        _with_a_hold_of_what_was_applied,
        _trusted_at_once_after_a_lapse,
        _without_following,
        _following_without_its_time,
        _following_without_its_tolerance,
        _following_judges_everybody,
        _following_without_a_way_to_come_nearer,
        _following_is_proved_by_standing,
    ],
)
def test_without_a_condition_of_failsafe_or_following_some_invariant_breaks(
    take_out: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """BYD-5, WDG-3, CTL-5: each condition of a strategy, and of NOT_FOLLOWING, is missed when it is taken out."""
    take_out(monkeypatch)
    found = quick_finding()
    assert found is not None, f"nothing misses {take_out.__name__}"
    record_property("figures", f"{take_out.__name__}: {found.invariant} ({found.wrong})")


def _soft_above_the_power(patch: pytest.MonkeyPatch) -> None:
    def move(**given: Any) -> tuple[float, Rule | None]:
        return ramp.move(**{**given, "soft_below_hz": math.inf})

    patch.setattr(rules, "move", move)


def _stand_in_with_a_bad_wish(patch: pytest.MonkeyPatch) -> None:
    true_check = rotation._may_stand_in

    def may_stand_in(work: Work, fact: Facts) -> bool:
        state = msgspec.structs.replace(fact.state, invalid_ticks=0)
        return true_check(work, msgspec.structs.replace(fact, state=state))

    patch.setattr(rotation, "_may_stand_in", may_stand_in)


def _timid_at_high_level(patch: pytest.MonkeyPatch) -> None:
    """A pump with a bound on its power answers with its minimum, as if the bound excused it."""
    true_rule, row = rules.high_level, rules._HIGH_LEVEL_ROW

    def high_level(work: Work, facts: Facts) -> Work:
        answered = true_rule(work, facts)
        if not answered.high or facts.limits is None or facts.limits.max_power_kw is None:
            return answered
        return msgspec.structs.replace(answered, value_hz=facts.limits.hard_min_speed_hz)

    true_order = rules.order_for
    timid = msgspec.structs.replace(row, apply=high_level)
    patch.setattr(
        rules,
        "order_for",
        lambda station: tuple(timid if each is row else each for each in true_order(station)),
    )


def _a_place_for_the_dead(patch: pytest.MonkeyPatch) -> None:
    """Only a fault makes a pump come last, not that it does not follow."""
    true_choice = station_pass.choose_for_high_level

    def choose(facts: Mapping[str, Facts], of: StationConfig) -> frozenset[str]:
        seen = {key: msgspec.structs.replace(fact, not_following=False) for key, fact in facts.items()}
        return true_choice(seen, of)

    patch.setattr(station_pass, "choose_for_high_level", choose)


def _a_place_lost_by_its_own_start(patch: pytest.MonkeyPatch) -> None:
    """A pump that was told to run and is not seen to yet is taken for one that stands."""
    true_choice = station_pass.choose_for_high_level

    def choose(facts: Mapping[str, Facts], of: StationConfig) -> frozenset[str]:
        seen = {
            key: msgspec.structs.replace(fact, state=msgspec.structs.replace(fact.state, output_hz=0.0))
            for key, fact in facts.items()
        }
        return true_choice(seen, of)

    patch.setattr(station_pass, "choose_for_high_level", choose)


def _no_start_at_high_level(patch: pytest.MonkeyPatch) -> None:
    """A wish for the maximum, which rule 4 does not change, is made to wait for nothing."""
    true_permit = station_pass.permit

    def permit(
        works: Mapping[str, Work], facts: Mapping[str, Facts], *rest: Any, **more: Any
    ) -> dict[str, Work]:
        return {
            pump_id: refused_by_station(work, Rule.MAX_RUNNING, 0.0, "no reason")
            if work.high and facts[pump_id].state.output_hz <= 0.0
            else work
            for pump_id, work in true_permit(works, facts, *rest, **more).items()
        }

    refused_by_station = rules.refused_by_station
    patch.setattr(station_pass, "permit", permit)


@pytest.mark.parametrize(
    ("loosen", "missed_by"),
    [
        (_soft_above_the_power, "power_within_the_motors"),
        (_stand_in_with_a_bad_wish, "a_bad_wish_raises_nothing"),
        (_timid_at_high_level, "a_high_level_is_answered"),
        (_no_start_at_high_level, "a_high_level_is_answered"),
        (_a_place_for_the_dead, "a_high_level_is_answered_by_pumps_that_run"),
        (_a_place_lost_by_its_own_start, "a_high_level_is_answered_by_pumps_that_run"),
    ],
)
def test_an_excuse_that_was_too_wide_is_missed(
    loosen: Callable[[pytest.MonkeyPatch], None], missed_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BYD-5: what invariants once let pass for the sake of a rule beside it does not pass any more."""
    loosen(monkeypatch)
    found = {finding.invariant for space in SPACES for finding in findings(space, space.indices(FIRST_CASES))}
    assert missed_by in found, found
