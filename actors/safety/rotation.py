"""Duties that another pump does: of one that rule 6 holds back (SAF-2.6), of one that cannot, or by turns (CTL-6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from actors.safety.failsafe import mode_of
from actors.safety.rules import forbidden, rotated, stood_down, wants_to_run, wish_alone
from actors.safety.station_pass import failed, faulty
from actors.safety.types import Facts, Work
from actors.station.sequencing import Turns
from actors.vocabulary import Mode, Rule

_UNHEARD: Final = "its pump was not heard of yet"


def rotate(
    works: Mapping[str, Work],
    facts: Mapping[str, Facts],
    duties: Mapping[str, str],
    turns: Turns,
    *,
    settling: bool,
) -> tuple[dict[str, Work], dict[str, str]]:
    """Return the values with the duties moved, and who does whose duty now.

    `works` holds the value of every pump that has one, after rules 1 to 5, in wire order; `duties` who did whose duty
    so far (pump -> the one in its place). A duty stays where it is until its wish ends, its turn is over or the other
    may no longer do it: going back as soon as the first could do it again would cost both a start each time.
    `settling`: we have just started, and pumps that have not been heard of keep their duties (SAF-10).
    """
    kept = {
        pump_id: other_id
        for pump_id, other_id in duties.items()
        if pump_id in facts
        and other_id in facts
        and _stays(pump_id, other_id, works, facts, settling=settling)
    }
    _hand_over(kept, works, facts, turns)
    for pump_id, work in works.items():
        if pump_id in kept or pump_id in kept.values():
            continue
        cause = _cause(work, facts[pump_id], turns)
        if cause is Rule.ALTERNATION:
            other_id = _whose_turn(pump_id, works, facts, kept, turns)
        else:
            other_id = None if cause is None else _other_for(pump_id, works, facts, kept, turns)
        if other_id is not None:
            kept[pump_id] = other_id
    return _moved(works, facts, kept, turns), kept


def _moved(
    works: Mapping[str, Work], facts: Mapping[str, Facts], kept: Mapping[str, str], turns: Turns
) -> dict[str, Work]:
    """Return the values with these duties where they are done."""
    result = dict(works)
    for pump_id, other_id in kept.items():
        if pump_id not in works:
            if other_id in works:
                # Of a pump that was not heard of since our start nobody knows the wish: the other goes on as it is.
                hz = facts[other_id].state.output_hz
                result[other_id] = rotated(works[other_id], hz, f"in the place of {pump_id}: {_UNHEARD}")
            continue
        work, fact = works[pump_id], facts[pump_id]
        rule, why = _told(work, fact, turns)
        if _able(work, fact):
            text = f"{other_id} runs in its place{why}"
            blocked = rule is Rule.ROTATION and _blocked(work, fact)
            result[pump_id] = forbidden(work, text) if blocked else stood_down(work, rule, text)
        if other_id in works:
            text = f"in the place of {pump_id}{why if rule is Rule.SUBSTITUTION else ''}"
            result[other_id] = rotated(works[other_id], duty_hz(work, fact), text, rule)
    return result


def duty_hz(work: Work, fact: Facts) -> float:
    """Return what the pump has to do that another could do (Hz); 0: nothing. An operator's value is meant for it alone.

    What turns at the panel does its duty, and what was handed back is its own controller's to drive. A dry well has no
    duty for anybody, and at a high level rule 4 chooses.
    """
    if fact.proposal is None or mode_of(fact.proposal) is not Mode.AUTO or fact.proposal.held_stopped is True:
        return 0.0
    if _able(work, fact):
        hz = 0.0 if work.high else work.value_hz
    else:
        gone = fact.local or fact.stopped or fact.out_of_service
        gone = gone and fact.running is False and not fact.dry_run and not fact.high_level
        hz = wish_alone(fact) if gone else 0.0
    return hz if wants_to_run(hz, fact) else 0.0


def _able(work: Work, fact: Facts) -> bool:
    """Whether the pump is ours and neither stopped nor out of service, nor is its well dry."""
    return fact.enabled and work.stopped_by is None


def cannot(work: Work, fact: Facts) -> bool:
    """Whether the pump cannot do its duty: it is at its panel, stopped, out of service, or failed."""
    return not _able(work, fact) or failed(fact)


def _cause(work: Work, fact: Facts, turns: Turns) -> Rule | None:
    """Why the pump's duty is another's to do; None: it has none, or does it itself."""
    if duty_hz(work, fact) <= 0.0:
        return None
    if cannot(work, fact):
        return Rule.SUBSTITUTION
    if _blocked(work, fact):
        return Rule.ROTATION
    stands = fact.state.output_hz <= 0.0 and fact.running is not True
    return Rule.ALTERNATION if turns.alternates and stands else None


def _told(work: Work, fact: Facts, turns: Turns) -> tuple[Rule, str]:
    """Return under which rule a moved duty is told now, and what is to be said of its pump."""
    if cannot(work, fact):
        return Rule.SUBSTITUTION, f": {unable_because(fact)}"
    if _blocked(work, fact):
        return Rule.ROTATION, _because(fact)
    return Rule.ALTERNATION if turns.alternates else Rule.ROTATION, ""


def unable_because(fact: Facts) -> str:
    """Say in a word why a pump cannot do its duty."""
    if fact.stopped:
        return "stopped"
    if fact.out_of_service:
        return "out of service"
    if fact.local:
        return "at its panel"
    return "fault" if faulty(fact) else "does not follow"


def _stays(
    pump_id: str, other_id: str, works: Mapping[str, Work], facts: Mapping[str, Facts], *, settling: bool
) -> bool:
    """Whether a duty stays with the other pump."""
    if pump_id not in works:
        return settling and (other_id not in works or _may_stand_in(works[other_id], facts[other_id]))
    if duty_hz(works[pump_id], facts[pump_id]) <= 0.0:
        return False
    if other_id not in works:
        return settling
    return _may_stand_in(works[other_id], facts[other_id])


def _hand_over(
    kept: dict[str, str], works: Mapping[str, Work], facts: Mapping[str, Facts], turns: Turns
) -> None:
    """Give duties that ran for their time to the first pump further in front, the first of all perhaps."""
    if turns.hand_over_s is None:
        return
    for pump_id, work in works.items():
        holder_id = kept.get(pump_id, pump_id)
        run_s = facts[holder_id].run_s
        if pump_id in kept.values() or run_s is None or run_s < turns.hand_over_s:
            continue
        if duty_hz(work, facts[pump_id]) <= 0.0:
            continue
        before = turns.order[: turns.order.index(holder_id)]
        for next_id in _fit(before, pump_id, works, facts, kept):
            if next_id == pump_id:
                del kept[pump_id]
            else:
                kept[pump_id] = next_id
            break


def _blocked(work: Work, fact: Facts) -> bool:
    """Whether rule 6 keeps the pump from its duty."""
    if duty_hz(work, fact) <= 0.0 or not _able(work, fact):
        return False
    return bool(fact.start_refused) if fact.state.output_hz <= 0.0 else _ran_too_long(fact)


def _ran_too_long(fact: Facts) -> bool:
    limits = fact.limits
    if limits is None or limits.max_run_s is None or fact.run_s is None:
        return False
    return fact.run_s >= limits.max_run_s


def _may_stand_in(work: Work, fact: Facts) -> bool:
    """Whether a pump has nothing to do, is ours, well, and may start or run on."""
    idle = (
        fact.enabled
        and fact.limits is not None
        and work.stopped_by is None
        and not work.high
        and work.value_hz == 0.0
        and fact.proposal is not None
        and mode_of(fact.proposal) is Mode.AUTO
        and fact.proposal.held_stopped is not True
        # A wish that cannot be believed leaves the last safe value: 0 here (SAF-3).
        and fact.state.invalid_ticks == 0
        and fact.state.failsafe.reason is None
    )
    if not idle or faulty(fact) or failed(fact):
        return False
    return not fact.start_refused if fact.state.output_hz <= 0.0 else not _ran_too_long(fact)


def _fit(
    order: tuple[str, ...],
    pump_id: str,
    works: Mapping[str, Work],
    facts: Mapping[str, Facts],
    kept: Mapping[str, str],
) -> Iterator[str]:
    """Yield who may do the duty of `pump_id`, itself included, in this order."""
    for other_id in order:
        if other_id not in works:
            continue
        work, fact = works[other_id], facts[other_id]
        if other_id == pump_id:
            if _able(work, fact) and not failed(fact) and not fact.start_refused:
                yield other_id
        elif other_id not in kept and other_id not in kept.values() and _may_stand_in(work, fact):
            yield other_id


def _whose_turn(
    pump_id: str,
    works: Mapping[str, Work],
    facts: Mapping[str, Facts],
    kept: Mapping[str, str],
    turns: Turns,
) -> str | None:
    """Return who does a duty that begins now; None: the pump itself."""
    first = next(_fit(turns.order, pump_id, works, facts, kept), pump_id)
    return None if first == pump_id else first


def _other_for(
    pump_id: str,
    works: Mapping[str, Work],
    facts: Mapping[str, Facts],
    kept: Mapping[str, str],
    turns: Turns,
) -> str | None:
    """Return the next pump that may stand in, by turns or else in wire order; one that runs already comes first."""
    names = list(turns.order) if turns.alternates else list(works)
    after = 0 if turns.alternates else names.index(pump_id) + 1
    around = tuple(name for name in (*names[after:], *names[:after]) if name != pump_id)
    fit = list(_fit(around, pump_id, works, facts, kept))
    return next(iter(sorted(fit, key=lambda other_id: facts[other_id].state.output_hz <= 0.0)), None)


def _because(fact: Facts) -> str:
    return f": {fact.start_refused}" if fact.start_refused and fact.state.output_hz <= 0.0 else ""


def duties_of(duties: Mapping[str, str], values_hz: Mapping[str, float]) -> dict[str, float]:
    """Return at which value each moved duty is done now."""
    return {pump_id: values_hz[other_id] for pump_id, other_id in duties.items() if other_id in values_hz}
