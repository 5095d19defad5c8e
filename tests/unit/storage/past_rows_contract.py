"""Rows of the past by pages: the same tests run on SQLite and on a real PostgreSQL, each role with its own rights."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.vocabulary import Scope
from actors.vocabulary.past import PastQuery, PastTable
from actors.vocabulary.records import FailsafeRecord, PlanRefusalRecord, ViolationRecord
from actors.vocabulary.settings import DatabaseSettings
from api.past_views import FailsafeView, PlanView, RefusalView, ViolationView
from storage.engine import Access, Database, real_chance
from storage.past_rows import PastRows
from tests.unit.storage.contract import Place, moment

NUMBERS = {
    PastTable.VIOLATIONS: "violation_id",
    PastTable.FAILSAFES: "event_id",
    PastTable.REFUSALS: "refusal_id",
    PastTable.PLANS: "plan_id",
}
VIEWS = {
    PastTable.VIOLATIONS: ViolationView,
    PastTable.FAILSAFES: FailsafeView,
    PastTable.REFUSALS: RefusalView,
    PastTable.PLANS: PlanView,
}


def rows(place: Place, table: PastTable, **query: Any) -> list[dict[str, Any]]:
    async def work() -> list[dict[str, Any]]:
        databases = [
            Database(url, Access.READ, settings=DatabaseSettings(), chance=real_chance())
            for url in (place.writer_url, place.reader_url)
        ]
        past = PastRows(*databases)
        try:
            return [dict(each) for each in await past.page(table, PastQuery(**{"count_max": 100, **query}))]
        finally:
            await past.close()

    return asyncio.run(work())


def violation(number: int, pump_id: str = "p1") -> ViolationRecord:
    return ViolationRecord(
        record_id=f"v{number}", pump_id=pump_id, at=moment(number), limit="max_power_kw", proposed=44.0,
        applied=35.0, detail=str(number),
    )  # fmt: skip


def failsafe(number: int, end_s: float | None, scope: Scope = Scope.PUMP, scope_id: str = "p1") -> Any:
    return FailsafeRecord(
        record_id=f"f{number}", scope=scope, scope_id=scope_id, reason="PLAN_STALE", started_at=moment(number),
        detail=str(number), ended_at=None if end_s is None else moment(end_s),
    )  # fmt: skip


def plan(place: Place, begin_s: float, end_s: float, pump_id: str = "p1") -> None:
    place.insert(
        "pump_plans",
        {
            "station_id": "s1", "pump_id": pump_id, "plan_version": 1, "suggested_speed_hz": 30.0,
            "interval_start": moment(begin_s).isoformat(), "interval_end": moment(end_s).isoformat(),
        },
    )  # fmt: skip


class PastRowsContract:
    """Runs on each engine; a subclass brings the fixture `place`."""

    def test_every_table_is_read_with_the_rights_that_there_are(self, place: Place) -> None:
        """API-2, DAT-2: neither role may read all of them; every column is shown, or hidden on purpose."""
        place.seed()
        plan(place, 0, 10)
        place.write(
            violation(1),
            failsafe(1, None),
            PlanRefusalRecord(
                record_id="r1", plan_id=1, pump_id="p1", at=moment(1), reason="60 Hz", value="60"
            ),
        )
        for table in PastTable:
            [row] = rows(place, table)
            assert set(row) == set(VIEWS[table].__struct_fields__), table
            assert next(iter(VIEWS[table].__struct_fields__)) == NUMBERS[table]

    def test_events_of_a_span_are_found(self, place: Place) -> None:
        """API-2: from `since` on, before `until`; of these pumps only; the newest first, page by page."""
        place.seed()
        place.write(*(violation(number, "p1" if number % 2 else "p2") for number in range(6)))
        found = rows(place, PastTable.VIOLATIONS, since=moment(1), until=moment(4))
        assert [row["detail"] for row in found] == ["3", "2", "1"]
        odd = rows(place, PastTable.VIOLATIONS, subjects=("p1",))
        assert [row["detail"] for row in odd] == ["5", "3", "1"]
        assert rows(place, PastTable.VIOLATIONS, subjects=()) == []
        assert len(rows(place, PastTable.VIOLATIONS, subjects=("p1", "p2"))) == 6
        older = rows(place, PastTable.VIOLATIONS, before=odd[0]["violation_id"], count_max=2)
        assert [row["detail"] for row in older] == ["4", "3"]

    def test_what_lasts_is_found_where_any_of_it_lies(self, place: Place) -> None:
        """API-2, WDG-2: a failsafe that holds reaches to now; one that had ended is not found after its end."""
        place.seed()
        place.write(
            failsafe(0, 5),
            failsafe(2, None, Scope.STATION, "s1"),
            failsafe(8, 9),
        )
        for since, until, expected in (
            (None, None, ["8", "2", "0"]),
            (6, None, ["8", "2"]),
            (5, None, ["8", "2"]),
            (4, None, ["8", "2", "0"]),
            (None, 8, ["2", "0"]),
            (None, 8.5, ["8", "2", "0"]),
            (6, 7, ["2"]),
        ):
            found = rows(
                place,
                PastTable.FAILSAFES,
                since=None if since is None else moment(since),
                until=None if until is None else moment(until),
            )
            assert [row["detail"] for row in found] == expected, (since, until)
        assert len(rows(place, PastTable.FAILSAFES, subjects=("s1", "p2"))) == 1

    def test_plans_are_found_by_their_interval(self, place: Place) -> None:
        """API-2, CTL-1: not by when they were written: a plan of tomorrow is of tomorrow."""
        place.seed()
        for begin_s, end_s in ((0, 900), (900, 1800), (86_400, 87_300)):
            plan(place, begin_s, end_s)
        found = rows(place, PastTable.PLANS, since=moment(900), until=moment(1800))
        assert [row["interval_start"] for row in found] == [moment(900)]
        assert len(rows(place, PastTable.PLANS, since=moment(0), until=moment(2000))) == 2
