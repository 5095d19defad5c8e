"""Whose turn it is: the order in which a station's pumps are given duty, assist and standby; pure (CTL-6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec

from actors.safety.types import Facts
from actors.vocabulary import Alternation, DutyProfile, StationConfig


class Turns(msgspec.Struct, frozen=True, kw_only=True):
    """The pumps, the next one first. `alternates`: a duty that begins goes to the first that may do it.

    `hand_over_s`: one that runs on goes to one further in front after so long; None: never while it runs.
    """

    order: tuple[str, ...]
    alternates: bool = False
    hand_over_s: float | None = None


def turns_of(
    station: StationConfig, facts: Mapping[str, Facts], turn: str, profile: DutyProfile | None
) -> Turns:
    """Return the order now. `facts` are in wire order, `turn` is the pump that started last on duty."""
    duties = station.duties
    named = duties.order if profile is None or not profile.duty_order else profile.duty_order
    first = [pump_id for pump_id in named if pump_id in facts]
    fixed = (*first, *(pump_id for pump_id in facts if pump_id not in first))
    hours = duties.alternation_h
    return Turns(
        order=_round(fixed, facts, duties.alternation, turn),
        alternates=duties.alternation is not Alternation.OFF,
        hand_over_s=None if hours is None or duties.alternation is Alternation.OFF else hours * 3600.0,
    )


def _round(
    fixed: tuple[str, ...], facts: Mapping[str, Facts], alternation: Alternation, turn: str
) -> tuple[str, ...]:
    match alternation:
        case Alternation.OFF | Alternation.FIXED:
            return fixed
        case Alternation.BY_START:
            after = fixed.index(turn) + 1 if turn in fixed else 0
            return (*fixed[after:], *fixed[:after])
        case Alternation.BY_HOURS:
            return _least(fixed, lambda pump_id: facts[pump_id].state.wear.run_s)
        case Alternation.BY_STARTS:
            return _least(fixed, lambda pump_id: facts[pump_id].state.wear.starts)
        case _:
            assert_never(alternation)


def _least(fixed: tuple[str, ...], worked: Callable[[str], float]) -> tuple[str, ...]:
    """Return those that worked least first; equals stay in the configured order."""
    return tuple(sorted(fixed, key=worked))
