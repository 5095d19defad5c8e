"""Reads what was refused, violated and planned by pages, newest first (API-2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Table, select

from actors.vocabulary.past import PastTable
from storage.engine import Database
from storage.models import failsafe_events, plan_refusals, pump_plans, safety_limit_violations
from storage.readers import rows_of


class _Source(NamedTuple):
    table: Table
    key: Column[int]
    subject: Column[str]
    columns: tuple[str, ...]


def _source(table: Table, key: str, subject: str) -> _Source:
    hidden = {"record_id"}
    return _Source(
        table,
        table.c[key],
        table.c[subject],
        tuple(column.name for column in table.columns if column.name not in hidden),
    )


_SOURCES: Final[Mapping[PastTable, _Source]] = {
    PastTable.VIOLATIONS: _source(safety_limit_violations, "violation_id", "pump_id"),
    PastTable.FAILSAFES: _source(failsafe_events, "event_id", "scope_id"),
    PastTable.REFUSALS: _source(plan_refusals, "refusal_id", "pump_id"),
    PastTable.PLANS: _source(pump_plans, "plan_id", "pump_id"),
}
assert set(_SOURCES) == set(PastTable), "every table has its source"


class PastRows:
    """Reads with any role that may SELECT what Calejo appends."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    async def page(
        self, table: PastTable, *, subject: str | None, before: int | None, count_max: int
    ) -> tuple[Mapping[str, Any], ...]:
        """Return rows of a table, the newest first; of one pump or scope, and older than a row's number.

        Raises:
            DeviceError: the database is away or slow.

        """
        source = _SOURCES[table]
        statement = select(*(source.table.c[name] for name in source.columns))
        if subject is not None:
            statement = statement.where(source.subject == subject)
        if before is not None:
            statement = statement.where(source.key < before)
        newest_first = statement.order_by(source.key.desc()).limit(count_max)
        return tuple(await self._database.run(lambda connection: rows_of(connection, newest_first)))
