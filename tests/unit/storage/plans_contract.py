"""Plans, heartbeat, changes and foreign feedback on every database."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from storage.engine import Access, Database
from storage.readers import DatabaseFeedbackReader, DatabasePlanReader, DatabaseTopologyReader
from tests.unit.storage.contract import NOON, Place, audit_record, feedback, moment


class PlansContract:
    """Runs on each engine; a subclass brings the fixture `place`."""

    def plan(self, place: Place, start: str, end: str, **values: object) -> None:
        """Insert a plan as the optimiser does: without plan_id and created_at."""
        row = {
            "station_id": "s1",
            "pump_id": "p1",
            "interval_start": start,
            "interval_end": end,
            "suggested_speed_hz": 35.0,
            "plan_version": 1,
            **values,
        }
        place.insert("pump_plans", row)

    def test_plans_are_read_by_moment_in_any_form(self, place: Place) -> None:
        """CTL-1: intervals that touch [start, end) are found, however their times are written."""
        place.seed()
        self.plan(place, "2026-06-01T11:00:00+00:00", "2026-06-01T12:00:00+00:00")  # ends where we begin
        self.plan(place, "2026-06-01 11:00:00+00:00", "2026-06-01 12:00:00.000001+00:00")
        self.plan(place, "2026-06-01T14:00:00+02:00", "2026-06-01T15:00:00+02:00")
        self.plan(place, "2026-06-01T05:30:00.5-07:00", "2026-06-01T06:30:00-07:00")
        self.plan(place, "2026-06-01T13:00:00Z", "2026-06-01T14:00:00Z")  # begins where we end
        self.plan(place, "2026-06-01T12:45:00Z", "2026-06-01T12:30:00Z")  # backwards: to be refused by name
        rows = place.run(
            Access.READ,
            lambda database: DatabasePlanReader(database).plans("s1", start=NOON, end=moment(3600)),
        )
        assert [row.plan_id for row in rows] == [2, 3, 4, 6]
        assert rows[1].interval_start == NOON
        assert rows[2].interval_start == moment(1800.5)
        assert all(row.created_at.utcoffset() == timedelta(0) for row in rows)

    def test_odd_plan_values_come_through_to_be_refused_with_their_reason(self, place: Place) -> None:
        """CTL-1: a plan of 60 Hz or NaN is not lost in the database: its reader refuses it and says why."""
        place.seed()
        for speed in (60.0, float("nan"), float("inf"), None):
            self.plan(place, "2026-06-01T12:00:00Z", "2026-06-01T13:00:00Z", suggested_speed_hz=speed)
        rows = place.run(
            Access.READ, lambda database: DatabasePlanReader(database).plans("s1", start=NOON, end=moment(1))
        )
        speeds = [row.suggested_speed_hz for row in rows]
        assert (speeds[0], speeds[2], speeds[3]) == (60.0, float("inf"), None)
        assert speeds[1] is None or speeds[1] != speeds[1]  # NaN on PostgreSQL, NULL on SQLite

    def read_plans(self, place: Place, *, start: datetime, end: datetime) -> list[tuple[str, int, datetime]]:
        """Return (pump, version, start) of what a plan actor gets."""
        rows = place.run(
            Access.READ, lambda database: DatabasePlanReader(database).plans("s1", start=start, end=end)
        )
        return [(row.pump_id, row.plan_version, row.interval_start) for row in rows]

    def test_the_newest_plan_is_never_cut_off(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """CTL-1: an optimiser that replans each minute and deletes nothing: the bound cuts old versions only."""
        monkeypatch.setattr("storage.readers.PLAN_ROWS_MAX", 20)
        monkeypatch.setattr("storage.readers._VERSIONS_OF_AN_INTERVAL", 4)
        place.seed()
        insert = (
            "INSERT INTO pump_plans (station_id, pump_id, interval_start, interval_end, suggested_speed_hz,"
            " plan_version) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
        )
        noon, one, two, four = (f"'2026-06-01T1{hour}:00:00+00:00'" for hour in (2, 3, 4, 6))
        if place.admin_url.startswith("postgresql"):
            noon, one, two, four = (f"timestamptz {each}" for each in (noon, one, two, four))
        # One interval, 500 versions, for a pump that counts from 1 and one that counts from 1,001.
        place.execute(f"{insert} SELECT 's1', 'p1', {noon}, {one}, 30, i FROM n")
        place.execute(f"{insert} SELECT 's1', 'p2', {noon}, {one}, 30, i + 1000 FROM n")
        # What began at the same time but lasts longer speaks when the others have ended.
        place.execute(f"{insert} SELECT 's1', 'p1', {noon}, {four}, 30, 0 FROM n WHERE i = 1")
        rows = self.read_plans(place, start=NOON, end=moment(7200))
        assert sorted(rows) == [
            *(("p1", version, NOON) for version in (0, 497, 498, 499, 500)),
            *(("p2", version, NOON) for version in (1497, 1498, 1499, 1500)),
        ]
        # More intervals than the bound: each pump has its newest, however the others number theirs.
        place.execute(f"{insert} SELECT 's1', 'p2', {one}, {two}, 30, 5000 + i FROM n WHERE i <= 4")
        monkeypatch.setattr("storage.readers.PLAN_ROWS_MAX", 6)
        rows = self.read_plans(place, start=NOON, end=moment(7200))
        assert sorted(rows) == [
            *(("p1", version, NOON) for version in (498, 499, 500)),
            *(("p2", version, moment(3600)) for version in (5002, 5003, 5004)),
        ]

    def test_of_equal_versions_the_one_written_last_comes_first(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """CTL-1: plan_version, then created_at, then plan_id; rows that can only be refused come last."""
        monkeypatch.setattr("storage.readers._VERSIONS_OF_AN_INTERVAL", 2)
        place.seed()
        for speed, created in (
            (31.0, "12:00:05"),
            (32.0, "12:00:09"),
            (33.0, "12:00:07"),
            (34.0, "12:00:07"),
        ):
            self.plan(
                place, "2026-06-01T12:00:00Z", "2026-06-01T13:00:00Z", suggested_speed_hz=speed,
                created_at=f"2026-06-01T{created}Z",
            )  # fmt: skip
        self.plan(place, "2026-06-01T12:45:00Z", "2026-06-01T12:30:00Z", plan_version=9)

        def read() -> list[float | None]:
            rows = place.run(
                Access.READ,
                lambda database: DatabasePlanReader(database).plans("s1", start=NOON, end=moment(3600)),
            )
            return [row.suggested_speed_hz for row in rows]

        assert read() == [32.0, 34.0, 35.0]
        monkeypatch.setattr("storage.readers.PLAN_ROWS_MAX", 2)
        assert len(read()) == 2

    def test_the_optimisers_heartbeat_is_read(self, place: Place) -> None:
        """WDG-1: the optimiser's own time and version, None without a row."""
        place.seed()

        async def read(database: Database) -> Any:
            return await DatabasePlanReader(database).optimiser_status("s1")

        assert place.run(Access.READ, read) is None
        place.insert(
            "optimiser_status",
            {"station_id": "s1", "heartbeat_at": "2026-06-01 12:00:00+00:00", "plan_version": 3},
        )
        status = place.run(Access.READ, read)
        assert (status.station_id, status.heartbeat_at, status.plan_version) == ("s1", NOON, 3)

    @pytest.mark.parametrize(
        ("table", "watch", "change"),
        [
            ("plans", DatabasePlanReader, "UPDATE pump_plans SET plan_version = 2"),
            ("configuration", DatabaseTopologyReader, "UPDATE pumps SET name = 'new' WHERE pump_id = 'p1'"),
        ],
    )
    def test_a_change_wakes_its_reader_and_nobody_else(
        self, place: Place, table: str, watch: type[Any], change: str
    ) -> None:
        """CTL-1: a reader is woken by a write to what it reads, within a second, not by its own side's writes."""
        place.seed()
        self.plan(place, "2026-06-01T12:00:00Z", "2026-06-01T13:00:00Z")

        async def work(database: Database) -> tuple[bool, bool, float]:
            reader = watch(database)
            try:
                assert not await reader.wait_for_change(at_most_s=0.0)
                waiting = asyncio.create_task(reader.wait_for_change(at_most_s=0.8))
                await asyncio.to_thread(place.write, feedback(1), audit_record(1))
                quiet = await waiting
                waiting = asyncio.create_task(reader.wait_for_change(at_most_s=10.0))
                begun_s = time.monotonic()
                await asyncio.to_thread(place.execute, change)
                return quiet, await waiting, time.monotonic() - begun_s
            finally:
                await reader.close()

        quiet, woken, after_s = place.run(Access.READ, work)
        assert (quiet, woken) == (False, True)
        assert after_s < 1.5

    def test_foreign_feedback_is_the_newest_of_each_pump(self, place: Place) -> None:
        """CTL-4: foreign rows measured after our start count, ours never do, whatever form the time has."""
        place.seed()
        place.write(*(feedback(number) for number in range(50, 60)))
        for measured_at, speed in (
            ("2026-06-01T12:00:00+00:00", 1.0),
            ("2026-06-01 14:00:10+02:00", 2.0),
            ("2026-06-01T12:00:09.999+00:00", 3.0),
        ):
            place.insert(
                "pump_feedback",
                {
                    "pump_id": "p1",
                    "measured_at": measured_at,
                    "actual_speed_hz": speed,
                    "source": "historian",
                },
            )
        place.insert(
            "pump_feedback", {"pump_id": "p2", "measured_at": "2026-06-01T11:59:59Z", "actual_speed_hz": 4.0}
        )

        async def read(database: Database) -> Any:
            return await DatabaseFeedbackReader(database).foreign_feedback("s1", since=NOON)

        (row,) = place.run(Access.READ, read)
        assert (row.pump_id, row.actual_speed_hz, row.measured_at, row.running) == (
            "p1",
            2.0,
            moment(10),
            None,
        )
        assert row.record_id.startswith("foreign:")
