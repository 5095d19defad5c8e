r"""The audit chain: one `append`, one `Chain` that judges records one after the other (AUD-1).

    format 2:  hash(n) = SHA-256( "calejo-audit/2\n" hash(n-1) "\n" n "\n" canonical(record n) )
    format 1:  hash(n) = SHA-256( hash(n-1) "\n" n "\n" canonical(record n) )

in lower-case hex, ASCII throughout; `hash(0)` is 64 zeros and n counts from 1 without a gap. `canonical` is JSON with
sorted keys, no space between tokens and every character outside ASCII 32 to 126 escaped; its keys are the columns
`COVERED_BY` the record's format; times are UTC as 2026-01-31T12:00:00.000000Z; `before` and `after` are canonical
JSON as text or null. New records have format 2; older ones stay, and the format never goes back along the chain.
`ops/docs/audit.md` specifies it for those who verify without Calejo.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import psycopg
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary.audit_events import clauses_of
from actors.vocabulary.audit_trail import GENESIS
from actors.vocabulary.records import AuditRecord
from storage.engine import StaleReadError
from storage.models import audit_log

FORMAT: Final = 2
"""What new records are written in."""

_COVERED_BY_1: Final = (
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
COVERED_BY: Final[Mapping[int, tuple[str, ...]]] = {
    1: _COVERED_BY_1,
    2: (*_COVERED_BY_1, "clauses", "format"),
}
"""By format: every column but the sequence and the two hashes, which stand beside the canonical record."""

_TAG: Final[Mapping[int, str]] = {1: "", 2: "calejo-audit/2\n"}
assert set(COVERED_BY) == set(_TAG)

_LOCK: Final = 0x43616C65_6A6F_0002  # "Calejo", second of its advisory locks: the end of the chain
_LOOKUP_MAX: Final = 500
# What is no JSON was put into the database past Calejo: encoded somehow, it cannot have the hash that stands there.
_encode: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=repr
).encode


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk along the chain found. `broken_at` None: it holds from `first` to `count`, which ends in `head`."""

    count: int
    head: str
    broken_at: int | None = None
    reason: str = ""
    first: int = 1


class Chain:
    """Walks a chain record by record, from the beginning or from a record whose hash is known."""

    def __init__(self, *, count: int = 0, head: str = GENESIS) -> None:
        self.count = count
        self.head = head
        self._format = 1
        self._first = count + 1

    def take(self, row: Mapping[str, Any]) -> str:
        """Go on to `row` (`at` as canonical text); return why it does not continue the chain, '' when it does."""
        expected = self.count + 1
        form = row["format"]
        if row["sequence"] != expected:
            return f"sequence {row['sequence']} where {expected} was expected: records are missing, moved or in excess"
        if row["previous_hash"] != self.head:
            return "does not name its predecessor's hash"
        if form not in COVERED_BY or (form == 1 and row["clauses"] != ""):
            return f"its format {form!r} is none"
        if form < self._format:
            return f"goes back to format {form}"
        if row["hash"] != digest(self.head, expected, row):
            return "its content is not what was hashed"
        self.count, self.head, self._format = expected, row["hash"], form
        return ""

    def verdict(self, reason: str = "") -> Verdict:
        """Return what the walk found so far; with `reason` the next record is the broken one."""
        return Verdict(
            count=self.count,
            head=self.head,
            broken_at=self.count + 1 if reason else None,
            reason=reason,
            first=self._first,
        )


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


def verify_rows(rows: Iterable[Mapping[str, Any]], *, chain: Chain | None = None) -> Verdict:
    """Walk rows in the order of their sequence and name the first that does not continue the chain."""
    walk = chain or Chain()
    for row in rows:
        if reason := walk.take(row):
            return walk.verdict(f"record {row['record_id']!r}: {reason}")
    return walk.verdict()


def row_of(record: AuditRecord) -> dict[str, Any]:
    """Return the columns of a record as they are stored and hashed, but for `at`, which is hashed as `utc_text`."""
    row: dict[str, Any] = {name: getattr(record, name) for name in _COVERED_BY_1}
    for name in ("before", "after"):
        row[name] = None if row[name] is None else canonical(row[name])
    row["severity"] = record.severity.value
    row = {name: clean(value) if isinstance(value, str) else value for name, value in row.items()}
    return {**row, "clauses": clauses_of(record.event_type), "format": FORMAT}


def utc_text(at: datetime) -> str:
    """Return a moment as it is hashed."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def link(previous: str, sequence: int, row: Mapping[str, Any]) -> str:
    """Return the hash of a record (as `row_of` returns it) that stands at `sequence` behind `previous`."""
    return digest(previous, sequence, {**row, "at": utc_text(row["at"])})


def digest(previous: str, sequence: int, row: Mapping[str, Any]) -> str:
    """Return the hash of a record whose `at` is text already."""
    form = row["format"]
    covered = _encode({name: row[name] for name in COVERED_BY[form]})
    return hashlib.sha256(f"{_TAG[form]}{previous}\n{sequence}\n{covered}".encode("ascii")).hexdigest()


def canonical(value: object) -> str:
    """Return `value` as canonical JSON (ASCII); a number that JSON has no word for becomes its name as text."""
    return _encode(plain(value))


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


async def _known(connection: AsyncConnection, record_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(record_ids), _LOOKUP_MAX):
        part = record_ids[start : start + _LOOKUP_MAX]
        statement = select(audit_log.c.record_id).where(audit_log.c.record_id.in_(part))
        found |= set((await connection.execute(statement)).scalars())
    return found


def _tail() -> Any:
    return select(audit_log.c.sequence, audit_log.c.hash).order_by(audit_log.c.sequence.desc()).limit(1)
