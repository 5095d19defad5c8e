"""Measures the audit trail on SQLite and PostgreSQL: appended records a second, cost of one, time to verify (AUD-1).

`calejo bench --audit N [--database URL]`: N records into a new SQLite file, and into the PostgreSQL database of the
URL, which has to be empty: it gets Calejo's schema and keeps the records.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from actors.vocabulary import RefusedError, Severity
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.settings import DatabaseSettings
from ops.audit_trail import now_utc
from storage import schema
from storage.audit_reader import AuditBook
from storage.engine import Access, Database, real_chance
from storage.urls import sqlite_url
from storage.writer import DatabaseWriter

RECORDS_MAX: Final = 1_000_000
_BATCH: Final = 500
"""What the storage actor writes at once."""
_SINGLE_MAX: Final = 200


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One engine: in batches of 500 as the storage actor writes, one by one as a command does, and verifying."""

    engine: str
    records: int
    appended_per_s: float
    batch_us_per_record: float
    single_p50_ms: float
    single_p99_ms: float
    verified_per_s: float
    verified_million_s: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` writes."""

    engines: tuple[Measured, ...]


def run(work_dir: Path, *, count: int, url: str) -> tuple[Measured, ...]:
    """Measure one engine, or both when `url` names a PostgreSQL database.

    Raises:
        RefusedError: the database of `url` has records already.
        DeviceError: a database is away or refuses.

    """
    urls = [("SQLite", sqlite_url(work_dir / "audit.db")), *([("PostgreSQL", url)] if url else [])]
    found = []
    for engine, where in urls:
        schema.upgrade(where)
        found.append(asyncio.run(_measured(engine, where, count=min(count, RECORDS_MAX))))
    return tuple(found)


def shown(report: tuple[Measured, ...]) -> str:
    """Return the figures as a table."""
    lines = ["engine      records  appended/s  us each  one by one p50/p99 ms  verified/s  a million in s"]
    lines += [
        f"{each.engine:<10} {each.records:>8} {each.appended_per_s:>11.0f} {each.batch_us_per_record:>8.0f}"
        f" {each.single_p50_ms:>12.2f}/{each.single_p99_ms:<9.2f} {each.verified_per_s:>11.0f}"
        f" {each.verified_million_s:>15.1f}"
        for each in report
    ]
    return "\n".join(lines)


async def _measured(engine: str, url: str, *, count: int) -> Measured:
    settings = DatabaseSettings(pool_size=1)
    writing = Database(url, Access.WRITE, settings=settings, chance=real_chance())
    reading = Database(url, Access.READ, settings=settings, chance=real_chance())
    try:
        book, writer = AuditBook(reading), DatabaseWriter(writing)
        if (await book.tail())[0]:
            raise RefusedError(f"{writing.name}: has audit records already; measure with an empty database")
        singles = min(count, _SINGLE_MAX)
        took_s = [await _write(writer, [record]) for record in _records(singles)]
        took_s.sort()
        batches_s = 0.0
        written = 0
        while written < count:
            batch = list(_records(min(_BATCH, count - written)))
            batches_s += await _write(writer, batch)
            written += len(batch)
        began_s = time.perf_counter()
        verdict = await book.verify()
        verified_s = time.perf_counter() - began_s
    finally:
        await writing.close()
        await reading.close()
    assert verdict.holds, "what was just written verifies"
    total = verdict.chain.count
    return Measured(
        engine=engine,
        records=total,
        appended_per_s=count / batches_s,
        batch_us_per_record=batches_s / count * 1e6,
        single_p50_ms=took_s[singles // 2] * 1e3,
        single_p99_ms=took_s[min(singles - 1, singles * 99 // 100)] * 1e3,
        verified_per_s=total / verified_s,
        verified_million_s=verified_s / total * 1e6,
    )


async def _write(writer: DatabaseWriter, records: list[AuditRecord]) -> float:
    began_s = time.perf_counter()
    refused = await writer.write(list(enumerate(records)))
    assert not refused, "nothing of this is refused"
    return time.perf_counter() - began_s


def _records(count: int) -> Iterator[AuditRecord]:
    for _ in range(count):
        record_id = str(uuid.uuid4())
        yield AuditRecord(
            record_id=record_id,
            at=now_utc(),
            event_type="MODE_SET",
            actor="bench",
            source_address="127.0.0.1:4840",
            object_id="PUMP:p1",
            outcome="success",
            severity=Severity.MEDIUM,
            before={"mode": "AUTO", "setpoint_hz": None},
            after={"mode": "MANUAL", "setpoint_hz": 32.5, "expires_after_s": 3600},
            correlation_id=record_id,
        )
