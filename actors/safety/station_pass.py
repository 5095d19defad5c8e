"""The station pass: who answers a high level, and how many pumps may run, start and draw power together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from actors.feedback import FAULT, POWER, good_value
from actors.safety.estimate import power_kw_at, power_point, speed_hz_for_power
from actors.safety.rules import refused_by_station
from actors.safety.types import Facts, Work
from actors.vocabulary import Instant, Rule, StationConfig

_NO_BOUND: Final = 1_000_000


class Others(msgspec.Struct, frozen=True, kw_only=True):
    """Pumps of the station that we do not command now: those known to run, and those nobody knows of."""

    running: int
    unknown: int


def others_of(facts: Mapping[str, Facts]) -> Others:
    """Count the pumps that are not ours to command."""
    foreign = [fact for fact in facts.values() if not fact.enabled]
    return Others(
        running=sum(fact.running is True for fact in foreign),
        unknown=sum(fact.running is None for fact in foreign),
    )


def permitted(station: StationConfig) -> int:
    """How many pumps may run together; a missing or negative figure bounds nothing below 0."""
    return _NO_BOUND if station.max_pumps_running is None else max(0, station.max_pumps_running)


def choose_for_high_level(facts: Mapping[str, Facts], station: StationConfig) -> frozenset[str]:
    """Choose the pumps that rule 4 runs at their maximum: running ones first, then in wire order.

    `facts` are in wire order. A pump that stands in fault, or although it was told to run, comes last: it would waste
    the place. Who was told to run keeps its place before it is seen to: drives report late. Of those that stand, a
    rested one comes before one that rule 6 would not start; if it is needed, it starts all the same (SAF-2.6). One at
    its dry-run level answers only where the station lets the high level outrank that.
    """
    candidates = [
        (
            fact.running is not True,
            failed(fact),
            faulty(fact),
            fact.state.output_hz <= 0.0,
            fact.state.output_hz <= 0.0 and bool(fact.start_refused),
            index,
            pump_id,
        )
        for index, (pump_id, fact) in enumerate(facts.items())
        if fact.enabled
        and not fact.stopped
        and not fact.out_of_service
        and not (fact.dry_run and station.dry_run_outranks_high_level)
    ]
    free = max(0, permitted(station) - others_of(facts).running)
    return frozenset(row[-1] for row in sorted(candidates)[:free])


def permit(
    works: Mapping[str, Work],
    facts: Mapping[str, Facts],
    station: StationConfig,
    *,
    started_at: Instant,
    now: Instant,
) -> dict[str, Work]:
    """Apply maximum running, station power and stagger to the values of the pumps being decided.

    `works` holds the pumps of this round, `facts` every pump of the station, both in wire order.
    """
    kept = _bound_running(works, facts, station)
    kept = bound_power(kept, facts, station)
    return _bound_starts(kept, facts, station, started_at=started_at, now=now)


def active(fact: Facts) -> bool:
    """Whether the pump turns or is told to: it occupies a place until it has been seen to stand."""
    return fact.state.output_hz > 0.0 or fact.running is not False


def bound_image(
    works: Mapping[str, Work], facts: Mapping[str, Facts], station: StationConfig
) -> dict[str, Work]:
    """Keep the failsafe image of a whole station inside maximum running: pumps that run first, then wire
    order.
    """
    wanting = [pump_id for pump_id, work in works.items() if work.value_hz > 0.0]
    wanting.sort(key=lambda pump_id: (not works[pump_id].high, not active(facts[pump_id])))
    result = dict(works)
    for pump_id in wanting[permitted(station) :]:
        result[pump_id] = refused_by_station(
            works[pump_id], Rule.MAX_RUNNING, 0.0, f"at most {permitted(station)} pumps run"
        )
    return bound_power(result, facts, station)


def bound_power(
    works: Mapping[str, Work], facts: Mapping[str, Facts], station: StationConfig
) -> dict[str, Work]:
    """Keep the sum of estimated powers inside the station's: running pumps first, then in wire order.

    Pumps that are not decided now, and those that others run, count first, with what they measure or, at their
    last value, are estimated to draw.
    """
    result = dict(works)
    if station.max_power_kw is None:
        return result
    left_kw = station.max_power_kw - sum(
        _drawn_kw(fact)
        for pump_id, fact in facts.items()
        if (active(fact) if pump_id not in works else _runs_for_others(fact))
    )
    order = sorted(works, key=lambda pump_id: (not works[pump_id].high, not active(facts[pump_id])))
    for pump_id in order:
        work, fact = works[pump_id], facts[pump_id]
        if work.value_hz <= 0.0 or fact.limits is None or not (fact.enabled or fact.image):
            continue
        low = fact.limits.hard_min_speed_hz
        point = power_point(fact)
        why = f"station at most {station.max_power_kw:g} kW, {left_kw:g} kW left"
        blind_hz = low if left_kw > 0.0 else 0.0
        cap_hz = blind_hz if point is None else speed_hz_for_power(point, left_kw)
        if cap_hz < work.value_hz:
            work = refused_by_station(work, Rule.STATION_POWER, cap_hz if cap_hz >= low else 0.0, why)
            result[pump_id] = work
        if point is not None:
            left_kw -= power_kw_at(point, work.value_hz)
        elif fact.limits.max_power_kw is not None and work.value_hz > 0.0:
            left_kw -= fact.limits.max_power_kw
    return result


def _bound_running(
    works: Mapping[str, Work], facts: Mapping[str, Facts], station: StationConfig
) -> dict[str, Work]:
    """Stop what runs beyond the permitted number. Running pumps keep their place against starting ones.

    A pump of which nobody knows whether it runs hinders starts, but stops no pump that runs: a lost
    controller must not empty the station.
    """
    result = dict(works)
    places = max(0, permitted(station) - others_of(facts).running)
    high = any(work.high for work in works.values())
    running = [
        pump_id
        for pump_id, fact in facts.items()
        if fact.enabled and _keeps_running(works.get(pump_id), fact)
    ]
    if high:
        # A pump that was chosen for the high level and stands still gets its place from one that was not
        # chosen.
        waiting = sum(work.high and facts[pump_id].state.output_hz <= 0.0 for pump_id, work in works.items())
        chosen = sum(facts[pump_id].high_chosen for pump_id in running)
        places = max(min(places, chosen), places - waiting)
    running.sort(
        key=lambda pump_id: (high and not facts[pump_id].high_chosen, facts[pump_id].running is not True)
    )
    for pump_id in running[places:]:
        if pump_id in works:
            result[pump_id] = refused_by_station(
                works[pump_id], Rule.MAX_RUNNING, 0.0, f"at most {permitted(station)} pumps run"
            )
    return result


def _keeps_running(work: Work | None, fact: Facts) -> bool:
    """Whether the pump runs and means to go on; one that is not decided now goes where it was going."""
    target_hz = fact.state.target_hz if work is None else work.value_hz
    return fact.state.output_hz > 0.0 and target_hz > 0.0


def _bound_starts(
    works: Mapping[str, Work],
    facts: Mapping[str, Facts],
    station: StationConfig,
    *,
    started_at: Instant,
    now: Instant,
) -> dict[str, Work]:
    result = dict(works)
    waited_s = now.seconds_since(started_at)
    occupied = {pump_id for pump_id, fact in facts.items() if active(fact)}
    starters = [
        pump_id
        for pump_id, work in works.items()
        if facts[pump_id].enabled
        and facts[pump_id].state.output_hz <= 0.0
        and work.value_hz > 0.0
        and work.stopped_by is None
    ]
    starters.sort(key=lambda pump_id: not works[pump_id].high)
    for pump_id in starters:
        work = works[pump_id]
        if len(occupied - {pump_id}) >= permitted(station):
            why = f"at most {permitted(station)} pumps run, {len(occupied - {pump_id})} do"
            result[pump_id] = refused_by_station(work, Rule.MAX_RUNNING, 0.0, why)
        elif waited_s < station.stagger_s:
            why = f"{station.stagger_s:g} s between starts, {waited_s:.1f} s since the last"
            result[pump_id] = refused_by_station(work, Rule.STAGGER, 0.0, why)
        else:
            occupied.add(pump_id)
            waited_s = 0.0
    return result


def faulty(fact: Facts) -> bool:
    """Whether the pump reports a fault."""
    return (good_value(fact.feedback, FAULT) or 0.0) != 0.0


def failed(fact: Facts) -> bool:
    """Whether the pump stands although it should not: it reports a fault, or does not follow (CTL-5).

    One that turns does its duty, well or badly, and an alarm tells of it: two would then do one's.
    """
    return fact.running is False and (faulty(fact) or fact.not_following)


def _runs_for_others(fact: Facts) -> bool:
    """Whether the pump is not ours and turns, or did when it was last heard of, commissioned or not."""
    if fact.enabled or fact.image:
        return False
    return fact.running is True or (fact.running is None and fact.tracked_hz > 0.0)


def _drawn_kw(fact: Facts) -> float:
    """What a pump that is not decided now draws: measured, else estimated at the speed it is known to have,
    else rated.
    """
    measured_kw = good_value(fact.feedback, POWER)
    if measured_kw is not None:
        return max(0.0, measured_kw)
    point = power_point(fact)
    if point is None:
        return 0.0 if fact.limits is None else fact.limits.max_power_kw or 0.0
    return power_kw_at(point, fact.tracked_hz if fact.tracked_hz > 0.0 else point.speed_hz)
