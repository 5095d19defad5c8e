"""Reads back what Calejo appended: stops for the union of latches, open alarms and failsafes, decisions for `explain`,
the audit verdict.

These tables are not the reader role's business (DAT-2): use the writer's URL.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import Scope, Severity
from actors.vocabulary.records import AlarmRecord, DecisionRecord, FailsafeRecord, StopEventRecord
from storage.audit import Verdict
from storage.audit_reader import AuditBook
from storage.decisions import Decisions, stop_record
from storage.engine import Database
from storage.models import alarms, emergency_stop_events, failsafe_events
from storage.models.base import moment
from storage.readers import rows_of

CLEARED_STOPS_MAX: Final = 10_000
OPEN_ALARMS_MAX: Final = 1_000
# Returned, but never acknowledged: the newest of them.
UNSEEN_ALARMS_MAX: Final = 200
OPEN_FAILSAFES_MAX: Final = 1_000
_IDS_MAX: Final = 500


class History:
    """Reads with any role that may SELECT what Calejo appends."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stops(self, *, also: Collection[str] = ()) -> tuple[StopEventRecord, ...]:
        """Return every stop that is not cleared, the newest 10,000 cleared ones, and those of the ids `also`.

        Oldest first: to be merged by union with the latch folder (EST-2).

        Raises:
            DeviceError: the database is away or slow.

        """
        table, columns = emergency_stop_events, emergency_stop_events.c
        newest_first = moment(columns.set_at).desc()
        cleared = columns.cleared_at.is_not(None)

        async def work(connection: AsyncConnection) -> dict[str, dict[str, Any]]:
            rows = await rows_of(connection, select(table).where(columns.cleared_at.is_(None)))
            newest = select(table).where(cleared).order_by(newest_first).limit(CLEARED_STOPS_MAX)
            rows += await rows_of(connection, newest)
            found = {row["stop_id"]: row for row in rows}
            missing = sorted(set(also) - found.keys())
            for start in range(0, len(missing), _IDS_MAX):
                of_ids = select(table).where(columns.stop_id.in_(missing[start : start + _IDS_MAX]))
                found |= {row["stop_id"]: row for row in await rows_of(connection, of_ids)}
            return found

        found = await self._database.run(work)
        ordered = sorted(found.values(), key=lambda row: (row["set_at"], row["stop_id"]))
        return tuple(stop_record(row) for row in ordered)

    async def open_alarms(self) -> tuple[AlarmRecord, ...]:
        """Return the alarms whose record has no end, at most 1,000, then the newest 200 that returned unseen.

        Newest first each.

        Raises:
            DeviceError: the database is away or slow.

        """
        columns = alarms.c
        newest = (moment(columns.raised_at).desc(), columns.alarm_id.desc())
        standing = select(alarms).where(columns.returned_at.is_(None)).order_by(*newest)
        unseen = (
            select(alarms)
            .where(columns.returned_at.is_not(None), columns.acknowledged_at.is_(None))
            .order_by(*newest)
        )

        async def work(connection: AsyncConnection) -> list[dict[str, Any]]:
            return [
                *await rows_of(connection, standing.limit(OPEN_ALARMS_MAX)),
                *await rows_of(connection, unseen.limit(UNSEEN_ALARMS_MAX)),
            ]

        return tuple(_alarm(row) for row in await self._database.run(work))

    async def open_failsafes(self) -> tuple[FailsafeRecord, ...]:
        """Return the failsafe periods whose record has no end, the newest first, at most 1,000.

        Raises:
            DeviceError: the database is away or slow.

        """
        statement = (
            select(failsafe_events)
            .where(failsafe_events.c.ended_at.is_(None))
            .order_by(moment(failsafe_events.c.started_at).desc(), failsafe_events.c.event_id.desc())
            .limit(OPEN_FAILSAFES_MAX)
        )
        rows = await self._database.run(lambda connection: rows_of(connection, statement))
        return tuple(_failsafe(row) for row in rows)

    async def decision(self, pump_id: str, *, at: datetime) -> DecisionRecord | None:
        """Return the decision that was in force for a pump at a moment; None: none is remembered (SAF-4).

        Raises:
            DeviceError: the database is away or slow.

        """
        past = Decisions(self._database)
        return await self._database.run(lambda connection: past.in_force(connection, pump_id, at=at))

    async def verify_audit(self) -> Verdict:
        """Walk the audit chain from its beginning (AUD-1).

        Raises:
            DeviceError: the database is away or slow.

        """
        return (await AuditBook(self._database).verify()).chain


def _alarm(row: dict[str, Any]) -> AlarmRecord:
    del row["alarm_id"]
    return AlarmRecord(**{**row, "severity": Severity(row["severity"])})


def _failsafe(row: dict[str, Any]) -> FailsafeRecord:
    del row["event_id"]
    return FailsafeRecord(**{**row, "scope": Scope(row["scope"])})
