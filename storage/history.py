"""Reads back what Calejo appended: stops for the union of latches, decisions for `explain`, the audit verdict.

These tables are not the reader role's business (DAT-2): use the writer's URL.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import Scope
from actors.vocabulary.records import DecisionRecord, StopEventRecord
from storage import audit
from storage.engine import Database
from storage.models import decisions, emergency_stop_events
from storage.models.base import moment
from storage.readers import moment_of

STOPS_MAX: Final = 100_000
_CANDIDATES: Final = 8


class History:
    """Reads with any role that may SELECT what Calejo appends."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stops(self) -> tuple[StopEventRecord, ...]:
        """Return every stop with its clear, oldest first: to be merged by union with the latch folder (EST-2).

        Raises:
            DeviceError: the database is away or slow.

        """
        statement = (
            select(emergency_stop_events).order_by(moment(emergency_stop_events.c.set_at)).limit(STOPS_MAX)
        )
        rows = await self._database.run(lambda connection: _rows(connection, statement))
        return tuple(_stop(row) for row in rows)

    async def decision(self, pump_id: str, *, at: datetime) -> DecisionRecord | None:
        """Return the decision that was in force for a pump at a moment; None: none is remembered (SAF-4).

        Raises:
            DeviceError: the database is away or slow.

        """
        columns = decisions.c
        statement = (
            select(decisions)
            .where(columns.pump_id == pump_id, moment(columns.at) <= moment_of(self._database, at))
            .order_by(moment(columns.at).desc(), columns.decision_id.desc())
            .limit(_CANDIDATES)
        )
        rows = await self._database.run(lambda connection: _rows(connection, statement))
        in_force = [row for row in rows if row["at"] <= at]
        if not in_force:
            return None
        row = max(in_force, key=lambda row: (row["at"], row["decision_id"]))
        trail = row["trail"]
        row["trail"] = msgspec.json.decode(trail, type=dict[str, Any]) if isinstance(trail, str) else trail
        del row["decision_id"]
        return DecisionRecord(**row)

    async def verify_audit(self) -> audit.Verdict:
        """Walk the audit chain in one picture of the database (AUD-1).

        Raises:
            DeviceError: the database is away or slow.

        """
        return await self._database.run(audit.verify)


def _stop(row: dict[str, Any]) -> StopEventRecord:
    record_id = row.pop("stop_id")
    return StopEventRecord(**{**row, "scope": Scope(row["scope"]), "record_id": record_id})


async def _rows(connection: AsyncConnection, statement: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in (await connection.execute(statement)).mappings()]
