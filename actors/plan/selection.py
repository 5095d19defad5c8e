"""Which accepted plan row speaks at a moment, and which one is next (CTL-1)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from heapq import heappop, heappush

import msgspec

from actors.vocabulary.records import PlanRow


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The row in force, the next other one that will be, and when the one in force changes (None: never)."""

    current: PlanRow | None
    following: PlanRow | None
    changes_at: datetime | None


def rank(row: PlanRow) -> tuple[int, datetime, int]:
    """Of two rows that cover the same moment the higher rank speaks: plan_version, created_at, plan_id."""
    return row.plan_version, row.created_at, row.plan_id


def covers(row: PlanRow, at: datetime) -> bool:
    """Say whether `at` lies inside the row's half-open interval."""
    return row.interval_start <= at < row.interval_end


def governing(rows: Iterable[PlanRow | None], at: datetime) -> PlanRow | None:
    """Return the row in force at `at`; a pump uses it on (current, following) to change over without anybody."""
    return max((row for row in rows if row is not None and covers(row, at)), key=rank, default=None)


def select(rows: Iterable[PlanRow], at: datetime) -> Selection:
    """Find what is in force at `at` and what comes next; n rows cost n log n."""
    alive = sorted((row for row in rows if row.interval_end > at), key=lambda row: row.interval_start)
    current = governing(alive, at)
    moments = sorted({edge for row in alive for edge in (row.interval_start, row.interval_end) if edge > at})
    started: list[_Ranked] = []
    place = 0
    changes_at: datetime | None = None
    for moment in moments:
        while place < len(alive) and alive[place].interval_start <= moment:
            heappush(started, _Ranked(alive[place]))
            place += 1
        while started and started[0].row.interval_end <= moment:
            heappop(started)
        winner = started[0].row if started else None
        if winner is not current and changes_at is None:
            changes_at = moment
        if winner is not None and winner is not current:
            return Selection(current=current, following=winner, changes_at=changes_at)
    return Selection(current=current, following=None, changes_at=changes_at)


class _Ranked:
    """A heap's entry: the highest rank first."""

    __slots__ = ("row",)

    def __init__(self, row: PlanRow) -> None:
        self.row = row

    def __lt__(self, other: _Ranked) -> bool:
        return rank(self.row) > rank(other.row)
