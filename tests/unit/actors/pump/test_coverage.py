"""What a pump knows of its plan, the causes of failsafe on its side, and the rhythm of a station."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import PlanIntervals
from actors.pump.coverage import Coverage, PlanKnowledge, coverage, first_beat_after_s, learn, must_wait
from actors.vocabulary import Instant, Reason
from tests.unit.actors.pump.parts import CONTROL, instant, plan


def told(t_s: float, **changes: Any) -> PlanIntervals:
    values: dict[str, Any] = {
        "pump_id": "p-1",
        "current": plan(1, 0, 100),
        "following": plan(2, 100, 200),
        "database_answered_at": instant(t_s),
        "optimiser_heartbeat_age_s": 5.0,
        "sent_at": instant(t_s),
    }
    return PlanIntervals(**{**values, **changes})


def test_a_silent_plan_actor_and_database_as_a_timeline() -> None:
    """WDG-1, WDG-2: known plans are carried out to their end without anybody; then the reason says who is silent."""
    known = learn(PlanKnowledge(), told(0))
    timeline = """
        t_s  plan  reason
          0  1     -
         99  1     -
        100  2     -
        199  2     -
        200  -     FAILSAFE_DATABASE
    """
    for line in timeline.strip().splitlines()[1:]:
        t_s, plan_id, reason = line.split()
        found = coverage(known, now=instant(float(t_s)), control=CONTROL)
        assert (found.plan.plan_id if found.plan else None) == (None if plan_id == "-" else int(plan_id)), (
            line
        )
        assert found.failsafe == (None if reason == "-" else Reason[reason]), line


def test_a_plan_that_ends_while_the_database_answers_has_expired() -> None:
    """WDG-1: coverage ended and the database said so: FAILSAFE_PLAN_EXPIRED."""
    known = learn(learn(PlanKnowledge(), told(0)), told(150, current=None, following=None))
    assert coverage(known, now=instant(151), control=CONTROL).failsafe is Reason.FAILSAFE_PLAN_EXPIRED
    assert coverage(known, now=instant(211), control=CONTROL).failsafe is Reason.FAILSAFE_DATABASE


@pytest.mark.parametrize(
    ("age_s", "failsafe"), [(None, None), (1200.0, None), (1200.1, Reason.FAILSAFE_OPTIMISER_STALE)]
)
def test_the_optimisers_heartbeat_is_watched_once_there_is_one(
    age_s: float | None, failsafe: Reason | None
) -> None:
    """WDG-1: older than 20 min is stale though the plan covers now; no row at all is not watched."""
    known = learn(PlanKnowledge(), told(0, optimiser_heartbeat_age_s=age_s))
    assert coverage(known, now=instant(1), control=CONTROL).failsafe is failsafe


def test_a_restarted_plan_actor_takes_no_plan_away() -> None:
    """SUP-8: one that has not read yet says nothing about plans; older news than known is dropped."""
    known = learn(PlanKnowledge(), told(10))
    restarted = told(20, current=None, following=None, database_answered_at=None)
    assert coverage(learn(known, restarted), now=instant(21), control=CONTROL).plan == plan(1, 0, 100)
    assert learn(known, told(9, current=None)) is known
    withdrawn = learn(known, told(30, current=None, following=None))
    assert coverage(withdrawn, now=instant(31), control=CONTROL).failsafe is Reason.FAILSAFE_PLAN_EXPIRED


def test_a_wall_clock_that_is_set_back_across_a_boundary_takes_no_plan_away() -> None:
    """WDG-1, CTL-1: the row that has just run out holds again until the clock is past it; a withdrawn one does not."""
    crossed = learn(learn(PlanKnowledge(), told(0)), told(100, current=plan(2, 100, 200), following=None))
    again = learn(crossed, told(105, current=plan(2, 100, 200), following=None))
    for known in (crossed, again):
        assert coverage(known, now=instant(99), control=CONTROL) == Coverage(
            plan=plan(1, 0, 100), failsafe=None
        )
        assert coverage(known, now=instant(101), control=CONTROL).plan == plan(2, 100, 200)
    replaced = learn(learn(PlanKnowledge(), told(0)), told(50, current=plan(3, 60, 200), following=None))
    withdrawn = learn(crossed, told(150, current=None, following=None))
    for known in (replaced, withdrawn):
        assert coverage(known, now=instant(59), control=CONTROL).failsafe is Reason.FAILSAFE_PLAN_EXPIRED


@pytest.mark.parametrize("step_s", [-1e6, -150.0, -3.0, 3.0, 150.0, 1e6])
def test_a_wall_clock_that_is_set_neither_takes_a_known_plan_nor_brings_one_back(step_s: float) -> None:
    """WDG-1, CTL-1: known plans go by the clock they were read by; the next read is by the new one."""
    known = learn(PlanKnowledge(), told(0))
    for t_s, plan_id in ((50, 1), (150, 2), (250, None)):
        now = instant(t_s)
        stepped = Instant(now.boot_id, now.boot_ns, now.utc_ns + round(step_s * 1e9))
        found = coverage(known, now=stepped, control=CONTROL).plan
        assert (found.plan_id if found else None) == plan_id
    # Read again under the new clock: it says what covers now.
    now = instant(50)
    stepped = Instant(now.boot_id, now.boot_ns, now.utc_ns + round(step_s * 1e9))
    again = learn(known, told(50, database_answered_at=stepped, sent_at=stepped))
    covers = 0.0 <= 50.0 + step_s < 200.0
    assert (coverage(again, now=stepped.plus(1.0), control=CONTROL).plan is not None) is covers


def test_a_pump_waits_ten_seconds_to_hear_of_its_plan() -> None:
    """WDG-2: at a start it is too early for failsafe; after 10 s the reason says what is missing."""
    silent = PlanKnowledge()
    unread = learn(silent, told(1, current=None, following=None, database_answered_at=None))
    for known in (silent, unread):
        assert must_wait(known, now=instant(9.9), started_at=instant(0))
        assert not must_wait(known, now=instant(10), started_at=instant(0))
    assert not must_wait(learn(silent, told(1)), now=instant(1), started_at=instant(0))
    assert coverage(silent, now=instant(10), control=CONTROL).failsafe is Reason.FAILSAFE_PLAN_EXPIRED
    assert coverage(unread, now=instant(10), control=CONTROL).failsafe is Reason.FAILSAFE_DATABASE


@given(st.text(min_size=1, max_size=20), st.floats(0.05, 5.0), st.floats(0, 1e5), st.floats(0, 1e3))
def test_all_pumps_of_a_station_beat_together(
    station_id: str, period_s: float, one_s: float, other_s: float
) -> None:
    """CTL-8: whenever two pumps of a station start, their beats fall together on the boot clock."""
    beats = [
        now.boot_ns / 1e9 + first_beat_after_s(station_id, period_s=period_s, now=now)
        for now in (instant(one_s), instant(one_s + other_s))
    ]
    apart = (beats[1] - beats[0]) / period_s
    assert abs(apart - round(apart)) < 1e-3
    assert 0.0 <= first_beat_after_s(station_id, period_s=period_s, now=instant(one_s)) <= period_s
