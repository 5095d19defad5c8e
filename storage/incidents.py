"""Reads everything that was recorded in a time range, table by table, for the report of an incident (SEC-6).

What is read follows from the tables' models: one with times gives what happened or still lasted in the range, every
other one is read as it stands now, and what is left out is named here with the reason. A new table is in it by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, and_, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.engine import Database
from storage.models import metadata
from storage.models.base import moment
from storage.readers import moment_of, rows_of

PAGE: Final = 2_000
"""Rows of one statement: how many there are altogether is bounded by the time range alone."""


class Times(NamedTuple):
    """When a row began, when it ended if it has an end; `leading`: the column that leads its index by time."""

    began: str
    ended: str = ""
    leading: str = ""


TIMES: Final[Mapping[str, Times]] = {
    "alarms": Times("raised_at", "returned_at"),
    "audit_log": Times("at"),
    "decisions": Times("at", leading="pump_id"),
    "emergency_stop_events": Times("set_at", "cleared_at"),
    "failsafe_events": Times("started_at", "ended_at"),
    "plan_refusals": Times("at", leading="pump_id"),
    "pump_feedback": Times("measured_at", leading="pump_id"),
    "pump_limit_proposals": Times("proposed_at", "closed_at"),
    "pump_plans": Times("interval_start", "interval_end", leading="station_id"),
    "pump_safety_limits_history": Times("recorded_at"),
    "safety_limit_violations": Times("at", leading="pump_id"),
    "user_sessions": Times("started_at", "ended_at"),
    "wire_records": Times("at", leading="pump_id"),
}
LEFT_OUT: Final[Mapping[str, str]] = {
    "request_keys": (
        "answers to commands, kept to be given again: they may hold a first password or a key; each command itself"
        " stands in audit_log"
    ),
}
SECRET_COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    "service_keys": frozenset({"secret_hash"}),
    "users": frozenset({"password_hash", "totp", "totp_wanted", "totp_step"}),
}
# What the reader's role reads on PostgreSQL; the writer's, which reads all else, may not read all of these (DAT-2).
_READERS: Final = frozenset({
    "optimiser_status", "pump_commissioning_envelopes", "pump_plans", "pump_safety_limits", "pump_stations", "pumps",
    "sites", "station_duties", "station_profiles",
})  # fmt: skip


class Part(NamedTuple):
    """One table: its columns but for secrets, its times (None: it is read as it stands), who may read it."""

    table: Table
    times: Times | None
    by_reader: bool

    @property
    def columns(self) -> list[Any]:
        """The columns that are written."""
        hidden = SECRET_COLUMNS.get(self.table.name, frozenset())
        return [column for column in self.table.c if column.name not in hidden]


PARTS: Final = tuple(
    Part(table, TIMES.get(table.name), table.name in _READERS)
    for table in sorted(metadata.tables.values(), key=lambda each: each.name)
    if table.name not in LEFT_OUT
)


async def pages(
    database: Database, part: Part, *, since: datetime, until: datetime
) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield a part by pages: what happened, or still lasted, in [since, until), or the table as it stands.

    Raises:
        DeviceError: the database is away or slow.

    """
    times = part.times
    if times is None:
        async for rows in _through(database, part, true(), ()):
            yield rows
        return
    columns = part.table.c
    start, end = moment_of(database, since), moment_of(database, until)
    began = moment(columns[times.began])
    conditions: list[ColumnElement[bool]] = [began < end]
    order: ColumnElement[Any] = began
    if times.ended:
        ended = columns[times.ended]
        lasts = moment(ended) >= start
        # A plan's index is by its end, which is never null.
        conditions.append(or_(ended.is_(None), lasts) if ended.nullable else lasts)
        order = began if ended.nullable else moment(ended)
    else:
        conditions.append(began >= start)
    if not times.leading:
        async for rows in _through(database, part, and_(*conditions), (order,)):
            yield rows
        return
    leading = columns[times.leading]
    last = ""
    while value := await _after(database, leading, last):
        last = value
        async for rows in _through(database, part, and_(leading == value, *conditions), (order,)):
            yield rows


async def _through(
    database: Database, part: Part, condition: ColumnElement[bool], order: tuple[ColumnElement[Any], ...]
) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield pages in the order given, then by key; each goes on behind the last row of the one before."""
    place = (*order, *part.table.primary_key.columns)
    names = [f"_place_{number}" for number in range(len(place))]
    wanted = select(*part.columns, *(each.label(name) for each, name in zip(place, names, strict=True)))
    last: list[Any] | None = None
    while True:
        statement = wanted.where(condition).order_by(*place).limit(PAGE)
        if last is not None:
            statement = statement.where(_behind(place, last))
        rows = await _read(database, statement)
        if rows:
            last = [rows[-1][name] for name in names]
            yield [{key: value for key, value in row.items() if key not in names} for row in rows]
        if len(rows) < PAGE:
            return


def _behind(place: tuple[ColumnElement[Any], ...], last: list[Any]) -> ColumnElement[bool]:
    """Return that a row stands behind `last`; the first comparison again alone, so that an index serves it."""
    found: ColumnElement[bool] = place[-1] > last[-1]
    for column, value in zip(reversed(place[:-1]), reversed(last[:-1]), strict=True):
        found = and_(column >= value, or_(column > value, found))
    return found


async def _after(database: Database, column: ColumnElement[Any], last: str) -> str:
    """Return the next value of an index's leading column, by one step through it; '': there is none."""
    rows = await _read(database, select(column.label("value")).where(column > last).order_by(column).limit(1))
    return str(rows[0]["value"]) if rows else ""


async def _read(database: Database, statement: Select[Any]) -> list[dict[str, Any]]:
    async def work(connection: AsyncConnection) -> list[dict[str, Any]]:
        return await rows_of(connection, statement)

    return await database.run(work)
