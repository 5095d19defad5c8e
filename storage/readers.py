"""Reads configuration, plans, the optimiser's status and foreign feedback with the read-only role (DAT-2, DAT-4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import InvalidRow, SiteConfig
from actors.vocabulary.records import FeedbackRow, OptimiserStatus, PlanRow
from storage.changes import CONFIGURATION, PLANS, Changes, changes_of
from storage.engine import Database
from storage.models import (
    optimiser_status,
    pump_commissioning_envelopes,
    pump_feedback,
    pump_plans,
    pump_safety_limits,
    pump_stations,
    pumps,
    sites,
)
from storage.models.base import moment
from storage.models.configuration import BACKWARDS
from storage.models.history import FOREIGN_ROW
from storage.validation import build

PLAN_ROWS_MAX: Final = 10_000
_VERSIONS_OF_AN_INTERVAL: Final = 16
_NEWEST_CANDIDATES: Final = 8


class DatabaseTopologyReader:
    """Reads the whole configuration in five statements of one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changes: Changes | None = None

    async def read(self) -> tuple[tuple[SiteConfig, ...], tuple[InvalidRow, ...]]:
        """Return every valid active site and the rows that were skipped, each with its reason.

        Raises:
            DeviceError: the database is away or slow.

        """

        async def work(connection: AsyncConnection) -> dict[str, list[dict[str, Any]]]:
            return {
                "sites": await rows_of(connection, select(sites)),
                "stations": await rows_of(connection, select(pump_stations).where(pump_stations.c.active)),
                "pumps": await rows_of(connection, _of_active(pumps).where(pumps.c.active)),
                "limits": await rows_of(connection, _of_pumps(pump_safety_limits)),
                "envelopes": await rows_of(connection, _of_pumps(pump_commissioning_envelopes)),
            }

        return build(**await self._database.run(work))

    async def wait_for_change(self, *, at_most_s: float) -> bool:
        """Wait until the configuration may have changed or the time is over; return whether it may have.

        While the database is away this only waits: the next `read` says so.
        """
        if self._changes is None:
            self._changes = changes_of(self._database, CONFIGURATION)
        return await self._changes.wait(at_most_s=at_most_s)

    async def close(self) -> None:
        """Close the connection that listens; the database belongs to whoever made it."""
        if self._changes is not None:
            await self._changes.close()


class DatabasePlanReader:
    """Reads plans; one reader per plan actor, which is woken for the stations that it asked about."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changes: Changes | None = None
        self._stations: set[str] = set()

    async def plans(self, station_id: str, *, start: datetime, end: datetime) -> Sequence[PlanRow]:
        """Return the rows whose interval touches [start, end), at most 10,000, oldest interval first.

        Of the rows of one pump and one interval the newest 16 come: plan_version, then created_at, then plan_id;
        what others replaced so often can only speak again if all of those are refused. If there are more than
        10,000 all the same, each pump has its newest ones: never are new rows left out for old ones.

        A row whose end is not after its start touches as if its two ends stood the right way round: whoever
        validates plans must see it to refuse it.

        Raises:
            DeviceError: the database is away or slow.

        """
        self._stations.add(station_id)
        columns = pump_plans.c
        from_, until = moment_of(self._database, start), moment_of(self._database, end)
        of_station = columns.station_id == station_id
        forwards = _newest(
            of_station, moment(columns.interval_end) >= from_, moment(columns.interval_start) <= until
        )
        backwards = _newest(
            of_station,
            BACKWARDS,
            moment(columns.interval_start) >= from_,
            moment(columns.interval_end) <= until,
        )

        async def work(connection: AsyncConnection) -> list[dict[str, Any]]:
            return [*await rows_of(connection, forwards), *await rows_of(connection, backwards)]

        # SQLite compares to the millisecond: the exact bounds are drawn here.
        touching = {
            row["plan_id"]: row
            for row in await self._database.run(work)
            if max(row["interval_start"], row["interval_end"]) > start
            and min(row["interval_start"], row["interval_end"]) < end
        }
        # In the order of importance until here: what can only be refused comes last.
        kept = list(touching.values())[:PLAN_ROWS_MAX]
        return [
            PlanRow(**{**row, "station_id": row["station_id"].lower(), "pump_id": row["pump_id"].lower()})
            for row in sorted(kept, key=lambda row: (row["interval_start"], row["plan_id"]))
        ]

    async def optimiser_status(self, station_id: str) -> OptimiserStatus | None:
        """Return the optimiser's heartbeat row, None when there is none.

        Raises:
            DeviceError: the database is away or slow.

        """
        statement = select(optimiser_status).where(optimiser_status.c.station_id == station_id)
        rows = await self._database.run(lambda connection: rows_of(connection, statement))
        return OptimiserStatus(**{**rows[0], "station_id": station_id}) if rows else None

    async def wait_for_change(self, *, at_most_s: float) -> bool:
        """Wait until plans of a station asked about may have changed or the time is over; return whether.

        While the database is away this only waits: the next `plans` says so.
        """
        if self._changes is None:
            self._changes = changes_of(self._database, PLANS)
        return await self._changes.wait(at_most_s=at_most_s, concerns=self._stations or None)

    async def close(self) -> None:
        """Close the connection that listens; the database belongs to whoever made it."""
        if self._changes is not None:
            await self._changes.close()


class DatabaseFeedbackReader:
    """Reads what others wrote into `pump_feedback`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def foreign_feedback(self, station_id: str, *, since: datetime) -> Sequence[FeedbackRow]:
        """Return the newest foreign row of each active pump of the station measured after `since`.

        Raises:
            DeviceError: the database is away or slow.

        """
        columns = pump_feedback.c
        of_station = select(pumps.c.pump_id).where(pumps.c.station_id == station_id, pumps.c.active)

        async def work(connection: AsyncConnection) -> list[dict[str, Any]]:
            found = []
            for (pump_id,) in (await connection.execute(of_station)).all():
                # The partial index answers this with one step, however much feedback of ours stands beside it.
                newest = (
                    select(pump_feedback)
                    .where(columns.pump_id == pump_id, text(FOREIGN_ROW))
                    .where(moment(columns.measured_at) >= moment_of(self._database, since))
                    .order_by(moment(columns.measured_at).desc())
                    .limit(_NEWEST_CANDIDATES)
                )
                rows = await rows_of(connection, newest)
                found += [
                    max(later, key=lambda row: (row["measured_at"], row["feedback_id"]))
                    for later in [[row for row in rows if row["measured_at"] > since]]
                    if later
                ]
            return found

        return [feedback_row(row) for row in await self._database.run(work)]


def _newest(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Select plans: of each pump and interval the newest few, of those each pump's newest first, bounded."""
    plans = pump_plans.c
    # Ranked by slim rows: sorting whole ones costs twice as much.
    by_interval = (
        select(
            plans.plan_id,
            plans.pump_id,
            plans.plan_version,
            moment(plans.created_at).label("written"),
            func.row_number()
            .over(
                partition_by=(plans.pump_id, moment(plans.interval_start), moment(plans.interval_end)),
                order_by=(plans.plan_version.desc(), moment(plans.created_at).desc(), plans.plan_id.desc()),
            )
            .label("rank"),
        )
        .where(*conditions)
        .subquery()
    )
    found = by_interval.c
    newest_first = (found.plan_version.desc(), found.written.desc(), found.plan_id.desc())
    by_pump = (
        select(
            found.plan_id,
            func.row_number().over(partition_by=found.pump_id, order_by=newest_first).label("place"),
        )
        .where(found.rank <= _VERSIONS_OF_AN_INTERVAL)
        .order_by("place", found.plan_id)
        .limit(PLAN_ROWS_MAX)
        .subquery()
    )
    return (
        select(pump_plans)
        .join(by_pump, by_pump.c.plan_id == plans.plan_id)
        .order_by(by_pump.c.place, plans.plan_id)
    )


def feedback_row(row: dict[str, Any]) -> FeedbackRow:
    """Return a row of `pump_feedback` as it crosses the boundary."""
    number = row.pop("feedback_id")
    return FeedbackRow(
        **{**row, "pump_id": row["pump_id"].lower(), "record_id": row["record_id"] or f"foreign:{number}"}
    )


async def rows_of(connection: AsyncConnection, statement: Select[Any]) -> list[dict[str, Any]]:
    """Return what a statement finds, by column name."""
    return [dict(row) for row in (await connection.execute(statement)).mappings()]


def _of_active(table: Table) -> Select[Any]:
    return (
        select(table)
        .join(pump_stations, pump_stations.c.station_id == table.c.station_id)
        .where(pump_stations.c.active)
    )


def _of_pumps(table: Table) -> Select[Any]:
    return select(table).join(pumps, pumps.c.pump_id == table.c.pump_id).where(pumps.c.active)


def moment_of(database: Database, value: datetime) -> Any:
    """Return `value` in the form that `moment` compares with."""
    if not database.is_sqlite:
        return value.astimezone(UTC)
    return func.julianday(value.astimezone(UTC).isoformat(timespec="microseconds"))
