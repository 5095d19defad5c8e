"""What a proposal must look like to be ordered, and to be believed (SAF-3): one thing wrong at a time."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from actors.messages import Proposal, ProposalSource
from actors.safety.failsafe import advance, invalid_wish, malformed
from actors.safety.types import Failsafe
from actors.vocabulary import Instant, Mode, Reason
from tests.unit.actors.safety.timeline import BOOT, START

SOUND = Proposal(
    pump_id="a",
    wish_hz=35.0,
    mode=Mode.AUTO,
    origin=START,
    sequence=0,
    source=ProposalSource(calculator="test", plan_id=1),
)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("sequence", 0, ""),
        ("sequence", 1, ""),
        ("sequence", -1, "sequence"),
        ("sequence", 1.0, "sequence"),
        ("sequence", True, "sequence"),
        ("sequence", 10**400, "sequence"),
        ("sequence", None, "sequence"),
        ("origin", START.plus(1.0), ""),
        ("origin", START.plus(1.1), "future"),
        ("origin", Instant("another", START.boot_ns + 10**12, 0), ""),
        ("origin", None, "origin"),
        ("origin", Instant(BOOT, "soon", 0), "origin"),  # type: ignore[arg-type]
        ("origin", Instant(7, START.boot_ns, 0), "origin"),  # type: ignore[arg-type]
        ("source", None, "source"),
    ],
)
def test_one_thing_wrong_is_enough(field: str, value: Any, named: str) -> None:
    """SAF-3: a proposal that cannot be ordered in time is not decided on at all, and it says why."""
    why = malformed(msgspec.structs.replace(SOUND, **{field: value}), now=START)
    assert named in why
    assert bool(why) is bool(named)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"wish_hz": None, "held_stopped": True}, ""),
        ({"wish_hz": None}, "no wish and no reason for it"),
        ({"wish_hz": math.nan}, "wish nan is not a finite number"),
        ({"wish_hz": "fast"}, "wish str is not a finite number"),
        ({"wish_hz": 100.0}, ""),
        ({"wish_hz": 100.1}, "wish 100.1 Hz is absurd (above 100 Hz)"),
        ({"wish_hz": -0.1}, "wish -0.1 Hz is negative"),
        ({"wish_hz": 0.0}, ""),
    ],
)
def test_a_wish_is_believed_or_told_why_not(changed: dict[str, Any], why: str) -> None:
    """SAF-3: finite, not negative, not absurd; none only with a reason for it."""
    assert invalid_wish(msgspec.structs.replace(SOUND, **changed)) == why


def test_a_failsafe_is_counted_from_its_beginning() -> None:
    """WDG-2: `since` is when it was entered, whatever its cause has become meanwhile."""
    entered = advance(Failsafe(), Reason.FAILSAFE_DATABASE, mode=Mode.AUTO, now=START, hold_s=60.0)
    assert entered == Failsafe(reason=Reason.FAILSAFE_DATABASE, since=START)
    later = advance(entered, Reason.FAILSAFE_PLAN_EXPIRED, mode=Mode.AUTO, now=START.plus(5.0), hold_s=60.0)
    assert later == Failsafe(reason=Reason.FAILSAFE_PLAN_EXPIRED, since=START)


def test_without_a_cause_and_without_a_failsafe_nothing_is_remembered() -> None:
    """WDG-2: no recovery of what never was."""
    for mode in (Mode.AUTO, Mode.MANUAL):
        assert advance(Failsafe(), None, mode=mode, now=START, hold_s=60.0) == Failsafe()
