"""Forgets decisions and what the endpoints made of them, once they are older than what is kept (SAF-4).

Of each pump the newest row until the horizon stays, with what belongs to it: it is what held at the horizon.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Executable, Table, cast, delete, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.engine import Database
from storage.models import decisions, wire_records
from storage.models.base import moment
from storage.readers import moment_of, rows_of

_TABLES: Final[tuple[tuple[Table, str], ...]] = ((decisions, "decision_id"), (wire_records, "wire_id"))


class DecisionRetention:
    """Looks with one pool and deletes with the other, so that a look never holds up who writes (SQLite)."""

    def __init__(self, reader: Database, writer: Database) -> None:
        self._reader = reader
        self._writer = writer

    async def due(self, *, before: datetime) -> tuple[str, ...]:
        """Return the pumps that have something to forget; by steps through the index, not by reading every row.

        Raises:
            DeviceError: the database is away or slow.

        """

        async def work(connection: AsyncConnection) -> tuple[str, ...]:
            found = set()
            for table, _ in _TABLES:
                last = ""
                while pump_id := await self._pump_after(connection, table, last):
                    last = pump_id
                    if await self._horizon(connection, pump_id, table, before) is not None:
                        found.add(pump_id.lower())
            return tuple(sorted(found))

        return await self._reader.run(work)

    async def forget(self, pump_id: str, *, before: datetime, count_max: int) -> int:
        """Delete at most `count_max` of a pump's rows in one transaction and return how many; 0: nothing is left.

        Raises:
            DeviceError: the database is away or slow.
            RowRefusedError: the database holds a row back (none younger than a day is ever deleted).

        """

        async def work(connection: AsyncConnection) -> int:
            gone = 0
            for table, key in _TABLES:
                horizon = await self._horizon(connection, pump_id, table, before)
                if horizon is None or gone >= count_max:
                    continue
                at = moment(table.c.at)
                oldest = (
                    select(table.c[key])
                    .where(table.c.pump_id == pump_id, at < moment_of(self._writer, horizon))
                    .order_by(at)
                    .limit(count_max - gone)
                )
                ids = [row[key] for row in await rows_of(connection, oldest)]
                if ids:
                    await connection.execute(_deleting(connection, table, key, ids))
                gone += len(ids)
            return gone

        return await self._writer.run(work)

    async def _pump_after(self, connection: AsyncConnection, table: Table, last: str) -> str:
        statement = select(table.c.pump_id).where(table.c.pump_id > last).order_by(table.c.pump_id).limit(1)
        rows = await rows_of(connection, statement)
        return rows[0]["pump_id"] if rows else ""

    async def _horizon(
        self, connection: AsyncConnection, pump_id: str, table: Table, before: datetime
    ) -> datetime | None:
        """Return the moment before which this pump's rows of a table are forgotten; None: it has none there.

        That is when the decision that held at `before` was made, which stays.
        """
        held = await self._end(connection, decisions, pump_id, before, newest=True)
        horizon = before if held is None else held
        oldest = await self._end(connection, table, pump_id, horizon, newest=False)
        return horizon if oldest is not None and oldest < horizon else None

    async def _end(
        self, connection: AsyncConnection, table: Table, pump_id: str, until: datetime, *, newest: bool
    ) -> datetime | None:
        at: Any = moment(table.c.at)
        statement = (
            select(table.c.at)
            .where(table.c.pump_id == pump_id, at <= moment_of(self._reader, until))
            .order_by(at.desc() if newest else at)
            .limit(1)
        )
        rows = await rows_of(connection, statement)
        found: datetime | None = rows[0]["at"] if rows else None
        return found


def _deleting(connection: AsyncConnection, table: Table, key: str, ids: list[int]) -> Executable:
    """Return what deletes these rows: on PostgreSQL a function of the owner's, for the writer may not (DAT-2)."""
    if connection.dialect.name == "sqlite":
        return delete(table).where(table.c[key].in_(ids))
    return select(getattr(func, f"calejo_forget_{table.name}")(cast(ids, ARRAY(BigInteger))))
