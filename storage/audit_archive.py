"""Takes archived records out of the database, by its owner only; the database itself checks what may go (AUD-3)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import RefusedError
from actors.vocabulary.records import AuditRecord
from storage.audit import append
from storage.audit_reader import Segment
from storage.engine import Database, RowRefusedError
from storage.models import audit_log, audit_segments
from storage.models.base import moment
from storage.readers import moment_of


async def last_older(database: Database, than: datetime) -> int:
    """Return the last record before the first that is not older than a moment; never the end of the chain; or 0.

    Raises:
        DeviceError: the database is away or slow.

    """
    columns = audit_log.c

    async def work(connection: AsyncConnection) -> int:
        end = (await connection.execute(select(func.max(columns.sequence)))).scalar() or 0
        younger = select(func.min(columns.sequence)).where(moment(columns.at) >= moment_of(database, than))
        first_younger = (await connection.execute(younger)).scalar()
        return int(min(end, first_younger if first_younger is not None else end)) - 1

    return max(0, await database.run(work))


async def take_out(database: Database, segment: Segment, *, record: AuditRecord) -> None:
    """Note the segment, delete its records and append the record that tells of it: all of it or nothing.

    Raises:
        RefusedError: the segment does not continue the one before.
        DeviceError: the database is away, or the login may not do this (control_writer may not).

    """
    row: dict[str, Any] = {
        **msgspec.to_builtins(segment),
        "archived_by": record.actor,
        "archived_at": record.at,
    }

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(insert(audit_segments).values(**row))
        await connection.execute(delete(audit_log).where(audit_log.c.sequence <= segment.last_sequence))
        await append(connection, [record])

    try:
        await database.run(work)
    except RowRefusedError as error:
        raise RefusedError(f"the database refuses the segment: {error}") from None
