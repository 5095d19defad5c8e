"""Which row speaks when: versions, gaps, and a pump that changes over alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.plan.selection import governing, rank, select
from actors.vocabulary.records import PlanRow
from tests.unit.actors.plan.plans import at, plan


def ids(rows: list[PlanRow], seconds: float) -> tuple[int | None, int | None, float | None]:
    found = select(rows, at(seconds))
    return (
        None if found.current is None else found.current.plan_id,
        None if found.following is None else found.following.plan_id,
        None if found.changes_at is None else (found.changes_at - at(0)).total_seconds(),
    )


def test_a_day_of_plans_as_a_timeline() -> None:
    """CTL-1: current, following and the moment of the change, across gaps and versions."""
    rows = [
        plan(1, 0, 60),
        plan(2, 60, 120),
        plan(3, 180, 240),  # after a gap
        plan(4, 80, 100, plan_version=2),  # a correction inside plan 2
    ]
    timeline = """
        t_s  current  following  changes_at_s
        -10  -        1          0
          0  1        2          60
         59  1        2          60
         60  2        4          80
         80  4        2          100
        100  2        3          120
        120  -        3          180
        180  3        -          240
        240  -        -          -
    """
    for line in timeline.strip().splitlines()[1:]:
        t_s, current, following, changes = line.split()
        expected = tuple(None if text == "-" else float(text) for text in (current, following, changes))
        assert ids(rows, float(t_s)) == expected, line


def test_the_highest_version_wins_then_the_youngest_then_the_id() -> None:
    """CTL-1: across versions the highest plan_version wins, then created_at, then plan_id."""
    ranked = [
        plan(9, 0, 60, plan_version=1, created_at=at(99)),
        plan(1, 0, 60, plan_version=2, created_at=at(1)),
        plan(2, 0, 60, plan_version=2, created_at=at(1)),
        plan(0, 0, 60, plan_version=2, created_at=at(2)),
    ]
    for number in range(1, len(ranked) + 1):
        winner = governing(reversed(ranked[:number]), at(30))
        assert winner == ranked[number - 1]


def test_a_pump_changes_over_by_itself_to_the_following_row() -> None:
    """CTL-1: with (current, following) alone a pump is right at every moment until the second change."""
    rows = [plan(1, 0, 60), plan(2, 20, 40, plan_version=2), plan(3, 60, 90)]
    told = select(rows, at(10))
    known = (told.current, told.following)
    for seconds, plan_id in [(10, 1), (19, 1), (20, 2), (39, 2), (40, 1), (59, 1)]:
        row = governing(known, at(seconds))
        assert row is not None
        assert row.plan_id == plan_id
    assert governing(known, at(60)) is None


spans = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 20), st.integers(1, 3), st.integers(0, 2)), max_size=10
).map(
    lambda found: [
        plan(number, start, start + length, plan_version=version, created_at=at(created))
        for number, (start, length, version, created) in enumerate(found)
    ]
)


@given(spans, st.integers(-5, 65), st.randoms(use_true_random=False))
def test_selection_says_what_a_look_at_every_moment_would(
    rows: list[PlanRow], now_s: int, random: Any
) -> None:
    """CTL-1: deterministic under row order, and equal to asking `governing` at each half second."""
    found = select(rows, at(now_s))
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert select(shuffled, at(now_s)) == found
    current = max(
        (row for row in rows if row.interval_start <= at(now_s) < row.interval_end), key=rank, default=None
    )
    assert found.current == current
    changes_at, following = None, None
    for half_seconds in range(2 * now_s + 1, 2 * 70):
        winner = governing(rows, at(half_seconds / 2))
        if winner != current and changes_at is None:
            changes_at = at(half_seconds / 2)
        if winner is not None and winner != current:
            following = winner
            break
    assert found.changes_at == changes_at
    assert found.following == following
