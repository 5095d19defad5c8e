"""Reads what was refused, violated and planned by pages, newest first (API-2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Table, or_, select

from actors.vocabulary.past import PastQuery, PastTable
from storage.engine import Database
from storage.models import failsafe_events, plan_refusals, pump_plans, safety_limit_violations
from storage.models.base import moment
from storage.readers import moment_of, rows_of


class _Source(NamedTuple):
    table: Table
    key: Column[int]
    subject: Column[str]
    columns: tuple[str, ...]
    begins: Column[Any]
    ends: Column[Any]


def _source(table: Table, key: str, subject: str, *, begins: str, ends: str) -> _Source:
    hidden = {"record_id"}
    return _Source(
        table,
        table.c[key],
        table.c[subject],
        tuple(column.name for column in table.columns if column.name not in hidden),
        table.c[begins],
        table.c[ends],
    )


_SOURCES: Final[Mapping[PastTable, _Source]] = {
    PastTable.VIOLATIONS: _source(safety_limit_violations, "violation_id", "pump_id", begins="at", ends="at"),
    PastTable.FAILSAFES: _source(
        failsafe_events, "event_id", "scope_id", begins="started_at", ends="ended_at"
    ),
    PastTable.REFUSALS: _source(plan_refusals, "refusal_id", "pump_id", begins="at", ends="at"),
    PastTable.PLANS: _source(pump_plans, "plan_id", "pump_id", begins="interval_start", ends="interval_end"),
}
assert set(_SOURCES) == set(PastTable), "every table has its source"
_LASTING: Final = frozenset({PastTable.FAILSAFES, PastTable.PLANS})
_OPEN: Final = frozenset({PastTable.FAILSAFES})
"""Where no end means that it lasts."""


class PastRows:
    """`appended`: any role that may SELECT what Calejo appends; `plans`: one that may SELECT the optimiser's rows."""

    def __init__(self, appended: Database, plans: Database) -> None:
        self._appended = appended
        self._plans = plans

    async def close(self) -> None:
        """Close every connection."""
        await self._appended.close()
        await self._plans.close()

    async def page(self, table: PastTable, query: PastQuery) -> tuple[Mapping[str, Any], ...]:
        """Return the rows of a table that fit, the newest first.

        Raises:
            DeviceError: the database is away or slow.

        """
        source = _SOURCES[table]
        database = self._plans if table is PastTable.PLANS else self._appended
        statement = (
            select(*(source.table.c[name] for name in source.columns))
            .where(*_narrowing(table, source, query, database))
            .order_by(source.key.desc())
            .limit(query.count_max)
        )
        return tuple(await database.run(lambda connection: rows_of(connection, statement)))


def _narrowing(
    table: PastTable, source: _Source, query: PastQuery, database: Database
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if query.subjects is not None:
        found.append(source.subject.in_(query.subjects))
    if query.before is not None:
        found.append(source.key < query.before)
    if query.until is not None:
        found.append(moment(source.begins) < moment_of(database, query.until))
    if query.since is not None:
        ends, since = moment(source.ends), moment_of(database, query.since)
        within = ends > since if table in _LASTING else ends >= since
        found.append(or_(source.ends.is_(None), within) if table in _OPEN else within)
    return found
