r"""The audit chain: one `append`, one `verify` (AUD-1).

    hash(n) = SHA-256( hash(n-1) "\n" n "\n" canonical(record n) ), in lower-case hex, ASCII throughout

`hash(0)` is 64 zeros and n counts from 1 without a gap. `canonical` is JSON with sorted keys, no space between tokens
and every character above ASCII escaped; its keys are the columns `COVERED`; times are UTC as
2026-01-31T12:00:00.000000Z; `before` and `after` are canonical JSON as text or null. With that, anybody can verify a
chain without Calejo.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import psycopg
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary.records import AuditRecord
from storage.engine import StaleReadError
from storage.models import audit_log

GENESIS: Final = "0" * 64
COVERED: Final = (
    "record_id",
    "at",
    "event_type",
    "actor",
    "source_address",
    "object_id",
    "outcome",
    "severity",
    "before",
    "after",
    "correlation_id",
)
"""Every column but the sequence and the two hashes, which stand beside the canonical record."""

_LOCK: Final = 0x43616C65_6A6F_0002  # "Calejo", second of its advisory locks: the end of the chain
_PAGE: Final = 1000
_LOOKUP_MAX: Final = 500


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk along the chain found. `broken_at` None: it holds from 1 to `count`, which ends in `head`."""

    count: int
    head: str
    broken_at: int | None = None
    reason: str = ""


async def append(connection: AsyncConnection, records: Sequence[AuditRecord]) -> int:
    """Append what is not there yet, in the order given, in the connection's transaction; return how many were new.

    Two writers cannot fork the chain: on PostgreSQL the second waits for the first one's transaction, on SQLite
    there is one writing transaction at a time (the connection's begins as a writing one).

    Raises:
        StaleReadError: the chain has gone on since its end was read; nothing is wrong with the records.

    """
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    known = await _known(connection, [clean(record.record_id) for record in records])
    end = (await connection.execute(_tail())).one_or_none()
    sequence, previous = (0, GENESIS) if end is None else (end.sequence, end.hash)
    rows: list[dict[str, Any]] = []
    for record in records:
        row = row_of(record)
        if row["record_id"] in known:
            continue
        known.add(row["record_id"])
        sequence += 1
        own = link(previous, sequence, row)
        rows.append({**row, "sequence": sequence, "previous_hash": previous, "hash": own})
        previous = own
    if rows:
        try:
            await connection.execute(insert(audit_log), rows)
        except IntegrityError as error:
            if _has_gone_on(error):
                raise StaleReadError("the audit chain has gone on since its end was read") from error
            raise
    return len(rows)


async def verify(connection: AsyncConnection) -> Verdict:
    """Walk the whole chain and name the first record that does not continue it."""
    count, head = 0, GENESIS
    async for row in _walk(connection):
        verdict = _judge(row, count, head)
        if verdict is not None:
            return verdict
        count, head = count + 1, row["hash"]
    return Verdict(count=count, head=head)


def verify_rows(rows: Iterable[Mapping[str, Any]]) -> Verdict:
    """Do what `verify` does for rows in the order of their sequence."""
    count, head = 0, GENESIS
    for row in rows:
        verdict = _judge(row, count, head)
        if verdict is not None:
            return verdict
        count, head = count + 1, row["hash"]
    return Verdict(count=count, head=head)


def row_of(record: AuditRecord) -> dict[str, Any]:
    """Return the columns of a record as they are stored and hashed."""
    row: dict[str, Any] = {name: getattr(record, name) for name in COVERED}
    for name in ("before", "after"):
        row[name] = None if row[name] is None else canonical(row[name])
    row["severity"] = record.severity.value
    return {name: clean(value) if isinstance(value, str) else value for name, value in row.items()}


def link(previous: str, sequence: int, row: Mapping[str, Any]) -> str:
    """Return the hash of a record that stands at `sequence` behind the one with hash `previous`."""
    covered = {name: row[name] for name in COVERED}
    at: datetime = covered["at"]
    covered["at"] = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return hashlib.sha256(f"{previous}\n{sequence}\n{canonical(covered)}".encode("ascii")).hexdigest()


def canonical(value: object) -> str:
    """Return `value` as canonical JSON (ASCII); a number that JSON has no word for becomes its name as text."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def clean(value: str) -> str:
    """Return text that both engines can store: no NUL, no lone surrogate."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def plain(value: object) -> Any:
    """Return `value` made of nothing but what JSON knows; a number that it has no word for becomes its name."""
    match value:
        case dict():
            return {clean(str(key)): plain(part) for key, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(part) for part in value]
        case bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return clean(value)
        case _:
            return clean(str(value))


def _has_gone_on(error: IntegrityError) -> bool:
    """Say whether the place in the chain was refused, by its trigger or because it is taken, not the record."""
    cause = error.orig
    if isinstance(cause, psycopg.errors.UniqueViolation) or "does not continue the chain" in str(cause):
        return True
    return getattr(cause, "sqlite_errorname", "") in {
        "SQLITE_CONSTRAINT_UNIQUE",
        "SQLITE_CONSTRAINT_PRIMARYKEY",
    }


def _judge(row: Mapping[str, Any], count: int, head: str) -> Verdict | None:
    expected = count + 1
    reason = ""
    if row["sequence"] != expected:
        reason = f"sequence {row['sequence']} where {expected} was expected: records are missing or in excess"
    elif row["previous_hash"] != head:
        reason = "does not name its predecessor's hash"
    elif row["hash"] != link(head, expected, row):
        reason = "its content is not what was hashed"
    return Verdict(count=count, head=head, broken_at=expected, reason=reason) if reason else None


async def _walk(connection: AsyncConnection) -> AsyncIterator[dict[str, Any]]:
    """Yield every row in order, a page at a time; the first page holds also what stands below sequence 1."""
    last: int | None = None
    while True:
        page = select(audit_log).order_by(audit_log.c.sequence).limit(_PAGE)
        if last is not None:
            page = page.where(audit_log.c.sequence > last)
        rows = [dict(row) for row in (await connection.execute(page)).mappings()]
        for row in rows:
            yield row
        if len(rows) < _PAGE:
            return
        last = rows[-1]["sequence"]


async def _known(connection: AsyncConnection, record_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(record_ids), _LOOKUP_MAX):
        part = record_ids[start : start + _LOOKUP_MAX]
        statement = select(audit_log.c.record_id).where(audit_log.c.record_id.in_(part))
        found |= set((await connection.execute(statement)).scalars())
    return found


def _tail() -> Any:
    return select(audit_log.c.sequence, audit_log.c.hash).order_by(audit_log.c.sequence.desc()).limit(1)
