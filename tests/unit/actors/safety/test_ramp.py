"""Rule 10 by itself: the two steps that are none of its business, and what counts as held back."""

from __future__ import annotations

import math

import pytest

from actors.safety.ramp import move
from actors.vocabulary import Rule
from tests.unit.actors.safety.timeline import limits

OF = limits(band_hz=(20.0, 50.0), rate_hz_per_s=2.0)


@pytest.mark.parametrize(
    ("last_hz", "target_hz", "moved_hz", "held"),
    [
        (0.0, 0.0, 0.0, None),
        (0.0, 20.0, 20.0, None),  # a start to the minimum itself is all that was wanted
        (0.0, 35.0, 20.0, Rule.START_STEP),
        (20.0, 0.0, 0.0, None),
        (21.0, 0.0, 20.0, Rule.RATE),
        (35.0, 0.0, 33.0, Rule.RATE),
        (35.0, 37.0, 37.0, None),
        (35.0, 38.0, 37.0, Rule.RATE),
        (35.0, 30.0, 33.0, Rule.RATE),
        (60.0, 50.0, 50.0, None),  # the band was narrowed: it outranks the rate
        (10.0, 25.0, 22.0, Rule.RATE),
    ],
)
def test_one_tick_of_the_ramp(last_hz: float, target_hz: float, moved_hz: float, held: Rule | None) -> None:
    """SAF-2.10: 0 to the minimum and back are steps, between them the rate holds for one tick's time."""
    assert move(last_hz=last_hz, target_hz=target_hz, limits=OF, elapsed_s=1.0) == (moved_hz, held)


@pytest.mark.parametrize(
    ("last_hz", "soft_hz_per_s", "below_hz", "moved_hz", "held"),
    [
        (35.0, None, math.inf, 33.0, Rule.RATE),
        (35.0, 0.5, math.inf, 34.5, Rule.SOFT_STOP),
        (35.0, 2.0, math.inf, 33.0, Rule.RATE),  # no softer than the rate
        (35.0, 3.0, math.inf, 33.0, Rule.RATE),
        (35.0, 0.5, 30.0, 33.0, Rule.RATE),
        (35.0, 0.5, 34.0, 34.0, Rule.RATE),
        (35.0, 0.5, 34.5, 34.5, Rule.SOFT_STOP),  # both lead there: it is told as the softer
        (20.25, 0.5, 0.0, 20.0, Rule.SOFT_STOP),
        (20.0, 0.5, math.inf, 0.0, None),
    ],
)
def test_one_tick_of_a_soft_stop(
    last_hz: float, soft_hz_per_s: float | None, below_hz: float, moved_hz: float, held: Rule | None
) -> None:
    """SAF-2.10: softer than the rate below `soft_below_hz`, by the rate down to it, then the step to 0."""
    moved = move(
        last_hz=last_hz,
        target_hz=0.0,
        limits=OF,
        elapsed_s=1.0,
        stop_hz_per_s=soft_hz_per_s,
        soft_below_hz=below_hz,
    )
    assert moved == (moved_hz, held)
