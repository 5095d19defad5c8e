"""Writes records to the database in batches; storing a record twice stores it once (DAT-3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, assert_never

import msgspec
from sqlalchemy import Table, case, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary.records import (
    AlarmRecord,
    AuditRecord,
    DecisionRecord,
    FailsafeRecord,
    FeedbackRow,
    PlanRefusalRecord,
    Record,
    StopEventRecord,
    ViolationRecord,
    WireRecord,
)
from storage import audit
from storage.engine import Database, RowRefusedError
from storage.models import (
    alarms,
    decisions,
    emergency_stop_events,
    failsafe_events,
    plan_refusals,
    pump_feedback,
    safety_limit_violations,
    wire_records,
)

Insert = sqlite.Insert | postgresql.Insert
Numbered = tuple[int, Record]

_TABLES: Final[Mapping[type[Record], Table]] = {
    FeedbackRow: pump_feedback,
    PlanRefusalRecord: plan_refusals,
    ViolationRecord: safety_limit_violations,
    DecisionRecord: decisions,
    WireRecord: wire_records,
    FailsafeRecord: failsafe_events,
    StopEventRecord: emergency_stop_events,
    AlarmRecord: alarms,
}


class DatabaseWriter:
    """Appends with the writer role; the only one in Calejo that writes to the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, records: Sequence[Numbered]) -> dict[int, str]:
        """Write a batch in one transaction; return the positions the database refused for good, with the reason.

        A row that is refused is found by halving the batch, so that the others are written all the same.

        Raises:
            DeviceError: the database is away or the fault is transient; nothing of the batch is to be forgotten.

        """
        if not records:
            return {}
        try:
            await self._database.run(lambda connection: _write(connection, [record for _, record in records]))
        except RowRefusedError as error:
            if len(records) == 1:
                return {records[0][0]: str(error)}
            middle = len(records) // 2
            # One after the other: the audit chain keeps the order of the batch.
            return {**await self.write(records[:middle]), **await self.write(records[middle:])}
        return {}


async def _write(connection: AsyncConnection, records: Sequence[Record]) -> None:
    by_kind: dict[type[Record], list[Record]] = {}
    for record in records:
        by_kind.setdefault(type(record), []).append(record)
    for kind, group in by_kind.items():
        if kind is AuditRecord:
            await audit.append(connection, [record for record in group if isinstance(record, AuditRecord)])
            continue
        table = _TABLES[kind]
        statement = _CLOSING.get(kind, _once)(_insert(connection, table))
        await connection.execute(statement, [_row(record) for record in group])


def _insert(connection: AsyncConnection, table: Table) -> Insert:
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def _once(insert: Insert) -> Insert:
    return insert.on_conflict_do_nothing(index_elements=["record_id"])


def _closes_failsafe(insert: Insert) -> Insert:
    """Take the first end that comes, whichever of the two records comes first."""
    new, table = insert.excluded, failsafe_events.c
    return insert.on_conflict_do_update(
        index_elements=["record_id"],
        set_={
            "ended_at": func.coalesce(table.ended_at, new.ended_at),
            "detail": case(
                (new.ended_at.is_not(None) & table.ended_at.is_(None), new.detail), else_=table.detail
            ),
        },
    )


def _returns_alarm(insert: Insert) -> Insert:
    """Take the first end and the first acknowledgement that come, in any order."""
    new, table = insert.excluded, alarms.c
    unseen = table.acknowledged_at.is_(None)
    seen = ("acknowledged_at", "acknowledged_by", "acknowledge_comment")
    return insert.on_conflict_do_update(
        index_elements=["record_id"],
        set_={
            "returned_at": func.coalesce(table.returned_at, new.returned_at),
            **{name: case((unseen, new[name]), else_=table[name]) for name in seen},
        },
    )


def _merges_stop(insert: Insert) -> Insert:
    """Merge by union: a clear, once there, stays; of two that differ the one with the smaller release (EST-2)."""
    new, table = insert.excluded, emergency_stop_events.c
    takes_new_clear = new.cleared_by.is_not(None) & (
        table.cleared_by.is_(None)
        | (new.release.is_not(None) & (table.release.is_(None) | (new.release < table.release)))
    )
    clear = ("cleared_by", "cleared_at", "clear_reason", "release")
    return insert.on_conflict_do_update(
        index_elements=["stop_id"],
        set_={
            "set_stamp": case((new.set_stamp < table.set_stamp, new.set_stamp), else_=table.set_stamp),
            **{name: case((takes_new_clear, new[name]), else_=table[name]) for name in clear},
        },
    )


_CLOSING: Final[Mapping[type[Record], Callable[[Insert], Insert]]] = {
    FailsafeRecord: _closes_failsafe,
    AlarmRecord: _returns_alarm,
    StopEventRecord: _merges_stop,
}


def _row(record: Record) -> dict[str, Any]:
    """Return the record's columns as both engines can store them."""
    row: dict[str, Any] = {
        name: audit.clean(value) if isinstance(value, str) else value
        for name, value in msgspec.structs.asdict(record).items()
    }
    match record:
        case StopEventRecord():
            row["stop_id"] = row.pop("record_id")
            row["scope"] = record.scope.value
            if record.cleared_by is None or record.cleared_at is None:
                row |= {"cleared_by": None, "cleared_at": None, "clear_reason": None, "release": None}
        case FailsafeRecord():
            row["scope"] = record.scope.value
        case AlarmRecord():
            row["severity"] = record.severity.value
        case DecisionRecord():
            row["trail"] = audit.plain(record.trail)
        case WireRecord():
            row["detail"] = audit.plain(record.detail)
        case ViolationRecord():
            if record.proposed is not None and not math.isfinite(record.proposed):
                # What was proposed is the news: SQLite has no word for it, so it goes to the text on both engines.
                row |= {"proposed": None, "detail": f"proposed {record.proposed}; {row['detail']}"}
        case FeedbackRow():
            row |= {
                name: None
                for name, value in row.items()
                if isinstance(value, float) and not math.isfinite(value)
            }
        case PlanRefusalRecord() | AuditRecord():
            pass
        case _:
            assert_never(record)
    return row
