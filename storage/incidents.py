"""Reads everything that was recorded in a time range, kind by kind, for the report of an incident (SEC-6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Table, or_, select

from storage.engine import Database
from storage.models import (
    alarms,
    audit_log,
    decisions,
    emergency_stop_events,
    failsafe_events,
    plan_refusals,
    pump_feedback,
    safety_limit_violations,
)
from storage.models.base import moment
from storage.readers import moment_of, rows_of

ROWS_MAX: Final = 100_000
"""Rows of one kind; of more the oldest are there, and the count says that it was reached."""
_PAGE: Final = 2_000


class Part(NamedTuple):
    """One kind of records: when it began, and when it ended if it has an end."""

    table: Table
    key: str
    began: str
    ended: str = ""


PARTS: Final = (
    Part(audit_log, "sequence", "at"),
    Part(emergency_stop_events, "stop_id", "set_at", "cleared_at"),
    Part(failsafe_events, "event_id", "started_at", "ended_at"),
    Part(alarms, "alarm_id", "raised_at", "returned_at"),
    Part(safety_limit_violations, "violation_id", "at"),
    Part(decisions, "decision_id", "at"),
    Part(plan_refusals, "refusal_id", "at"),
    Part(pump_feedback, "feedback_id", "measured_at"),
)


async def pages(
    database: Database, part: Part, *, since: datetime, until: datetime
) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield what happened, or still lasted, in [since, until), a page at a time, at most 100,000 rows.

    Raises:
        DeviceError: the database is away or slow.

    """
    columns = part.table.c
    key, began = columns[part.key], moment(columns[part.began])
    start, end = moment_of(database, since), moment_of(database, until)
    conditions: list[ColumnElement[bool]] = [began < end]
    if part.ended:
        ended = columns[part.ended]
        conditions.append(or_(ended.is_(None), moment(ended) >= start))
    else:
        conditions.append(began >= start)
    last: Any = None
    count = 0
    while count < ROWS_MAX:
        statement = select(part.table).where(*conditions).order_by(key).limit(min(_PAGE, ROWS_MAX - count))
        if last is not None:
            statement = statement.where(key > last)
        rows = await database.run(partial(rows_of, statement=statement))
        if not rows:
            return
        yield rows
        count, last = count + len(rows), rows[-1][part.key]
