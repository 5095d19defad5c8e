"""Clean-out: the one supervised exception to rule 3, ordered by a person for one pump and a bounded time; pure (CTL-6).

The exception lets a pump that runs go on below its dry-run level. It starts nothing there, it is judged anew in every
round from what is measured in that round, and whatever is not as it must be ends it for good (see decision 0039).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from actors.feedback import POWER, good_value
from actors.safety.failsafe import invalid_wish, mode_of
from actors.safety.rules import by_duty, may_serve
from actors.safety.station_pass import faulty
from actors.safety.types import CleanOutOrder, Facts, Work
from actors.vocabulary import CleanOut, Instant, Mode, Rule, StationConfig

BEGIN_WITHIN_S: Final = 60.0
"""A pump that does not run so long after the order is not started any more: whoever ordered it may have gone."""


def why_not(pump_id: str, facts: Mapping[str, Facts], station: StationConfig) -> str:
    """Why a clean-out with this pump cannot be ordered now; empty: it can."""
    settings, fact = station.duties.clean_out, facts.get(pump_id)
    if settings is None:
        return "station_duties has no valid clean-out for this station"
    if fact is None:
        return f"no pump {pump_id!r} at this station"
    if (why := _unfit(fact, settings)) != "":
        return why
    if fact.dry_run:
        return "it is stopped by dry run; the level must first be above its reset"
    assert fact.limits is not None, "_unfit has looked"
    assert fact.level_m is not None, "_unfit has looked"
    least_m = fact.limits.level_min_m
    if least_m is not None and fact.level_m < least_m:
        return f"level {fact.level_m:g} m, no start below {least_m:g} m"
    return ""


def judged(
    order: CleanOutOrder | None, facts: Mapping[str, Facts], station: StationConfig, *, now: Instant
) -> tuple[CleanOutOrder | None, dict[str, Facts]]:
    """Return the order as it stands now, and the facts with the one pump marked that may run on below dry run."""
    if order is None or order.over:
        return order, dict(facts)
    why = _over(order, facts.get(order.pump_id), station.duties.clean_out, now=now)
    if why:
        return msgspec.structs.replace(order, over=why), dict(facts)
    fact = facts[order.pump_id]
    began = order.began or (fact.state.output_hz > 0.0 and fact.running is True)
    order = msgspec.structs.replace(order, began=began)
    return order, {**facts, order.pump_id: msgspec.structs.replace(fact, snoring=began)}


def served(
    order: CleanOutOrder | None,
    works: Mapping[str, Work],
    facts: Mapping[str, Facts],
    station: StationConfig,
) -> dict[str, Work]:
    """Return the values with that of the pump that cleans out."""
    settings = station.duties.clean_out
    if order is None or order.over or settings is None or order.pump_id not in works:
        return dict(works)
    fact, work = facts[order.pump_id], works[order.pump_id]
    if not may_serve(work, fact):
        return dict(works)
    why = f"clean-out by {order.by} down to {settings.level_m:g} m"
    return {**works, order.pump_id: by_duty(work, fact, Rule.CLEAN_OUT, settings.speed_hz, why)}


def _over(order: CleanOutOrder, fact: Facts | None, settings: CleanOut | None, *, now: Instant) -> str:
    """Why the order has ended; empty: it holds."""
    if settings is None or fact is None:
        return "it is not configured any more"
    if now.seconds_since(order.until) >= 0.0:
        return "its time is over"
    if (why := _unfit(fact, settings)) != "":
        return why
    if not order.began:
        if now.seconds_since(order.since) >= BEGIN_WITHIN_S:
            return "the pump did not start in time"
        return "dry run before the pump ran" if fact.dry_run else ""
    if fact.state.output_hz <= 0.0 or fact.running is not True:
        return "the pump stopped"
    return _takes_air(fact, settings)


def _takes_air(fact: Facts, settings: CleanOut) -> str:
    """Why a pump that runs below its dry-run level must not go on; empty: it may."""
    if not fact.dry_run:
        return ""
    power_kw = good_value(fact.feedback, POWER)
    if power_kw is None:
        return "its power is not GOOD below the dry-run level"
    if power_kw < settings.power_kw_min:
        return f"it draws {power_kw:g} kW, takes air below {settings.power_kw_min:g} kW"
    return ""


def _unfit(fact: Facts, settings: CleanOut) -> str:
    """Why this pump cannot clean out, begun or not; empty: it can."""
    limits, proposal = fact.limits, fact.proposal
    if limits is None or limits.level_dry_run_m is None:
        return "the pump has no dry-run level"
    if not fact.enabled or fact.state.fresh_left > 0:
        return "the pump is not ours to command"
    if fact.stopped or fact.out_of_service:
        return "it is stopped or out of service"
    # `malformed` and lapse are the shell's: what stands here is a tick that still counts.
    if proposal is None or invalid_wish(proposal) or mode_of(proposal) is not Mode.AUTO:
        return "the pump is not in AUTO"
    if proposal.held_stopped is True:
        return "the pump is held stopped"
    if fact.state.failsafe.reason is not None:
        return "the pump is in failsafe"
    if faulty(fact):
        return "the pump reports a fault"
    if fact.high_level:
        return "emergency high level"
    if fact.level_m is None:
        return "the level is not GOOD"
    if fact.level_m <= settings.level_m:
        return f"level {fact.level_m:g} m, its lower bound is {settings.level_m:g} m"
    return ""
