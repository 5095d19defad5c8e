"""Rule 6 for the station as a whole: a pump that may not start or run on has its duty done by another (SAF-2.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actors.safety.failsafe import mode_of
from actors.safety.rules import forbidden, rotated, wants_to_run
from actors.safety.station_pass import faulty
from actors.safety.types import Facts, Work
from actors.vocabulary import Mode

_UNHEARD: Final = "its pump was not heard of yet"


def rotate(
    works: Mapping[str, Work],
    facts: Mapping[str, Facts],
    duties: Mapping[str, str],
    *,
    settling: bool,
) -> tuple[dict[str, Work], dict[str, str]]:
    """Return the values with the duties moved, and who does whose duty now.

    `works` holds the value of every pump that has one, after rules 1 to 5, in wire order; `duties` who did whose duty
    so far (pump -> the one in its place). A duty stays where it is until its wish ends or the other may no longer do
    it: going back as soon as the first has rested would cost both a start each time. `settling`: we have just started,
    and pumps that have not been heard of keep their duties (SAF-10).
    """
    kept = {
        pump_id: other_id
        for pump_id, other_id in duties.items()
        if pump_id in facts
        and other_id in facts
        and _stays(pump_id, other_id, works, facts, settling=settling)
    }
    for pump_id, work in works.items():
        if pump_id in kept or pump_id in kept.values() or not _blocked(work, facts[pump_id]):
            continue
        other_id = _other_for(pump_id, works, facts, kept)
        if other_id is not None:
            kept[pump_id] = other_id
    result = dict(works)
    for pump_id, other_id in kept.items():
        if pump_id in works:
            why = f"{other_id} runs in its place{_because(facts[pump_id])}"
            result[pump_id] = forbidden(works[pump_id], why)
        if other_id in works and pump_id in works:
            result[other_id] = rotated(works[other_id], works[pump_id].value_hz, f"in the place of {pump_id}")
        elif other_id in works:
            # Of a pump that was not heard of since our start nobody knows the wish: the other goes on as it is.
            hz = facts[other_id].state.output_hz
            result[other_id] = rotated(works[other_id], hz, f"in the place of {pump_id}: {_UNHEARD}")
    return result, kept


def _stays(
    pump_id: str, other_id: str, works: Mapping[str, Work], facts: Mapping[str, Facts], *, settling: bool
) -> bool:
    """Whether a duty stays with the other pump."""
    if pump_id not in works:
        return settling and (other_id not in works or _may_stand_in(works[other_id], facts[other_id]))
    if not _has_duty(works[pump_id], facts[pump_id]):
        return False
    if other_id not in works:
        return settling
    return _may_stand_in(works[other_id], facts[other_id])


def _has_duty(work: Work, fact: Facts) -> bool:
    """Whether the pump has something to do that another could do: an operator's value is meant for this pump."""
    return (
        fact.enabled
        and work.stopped_by is None
        and not work.high
        and fact.proposal is not None
        and mode_of(fact.proposal) is Mode.AUTO
        and wants_to_run(work.value_hz, fact)
    )


def _blocked(work: Work, fact: Facts) -> bool:
    """Whether rule 6 keeps the pump from its duty."""
    if not _has_duty(work, fact):
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
    if not idle or faulty(fact):
        return False
    return not fact.start_refused if fact.state.output_hz <= 0.0 else not _ran_too_long(fact)


def _other_for(
    pump_id: str, works: Mapping[str, Work], facts: Mapping[str, Facts], kept: Mapping[str, str]
) -> str | None:
    """Return the next pump in wire order that may stand in; one that runs already comes first."""
    names = list(works)
    after = names.index(pump_id) + 1
    around = [*names[after:], *names[: after - 1]]
    fit = [
        other_id
        for other_id in around
        if other_id not in kept.values()
        and other_id not in kept
        and _may_stand_in(works[other_id], facts[other_id])
    ]
    return next(iter(sorted(fit, key=lambda other_id: facts[other_id].state.output_hz <= 0.0)), None)


def _because(fact: Facts) -> str:
    return f": {fact.start_refused}" if fact.start_refused and fact.state.output_hz <= 0.0 else ""


def duties_of(duties: Mapping[str, str], values_hz: Mapping[str, float]) -> dict[str, float]:
    """Return at which value each moved duty is done now."""
    return {pump_id: values_hz[other_id] for pump_id, other_id in duties.items() if other_id in values_hz}
