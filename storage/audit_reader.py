"""Reads the audit trail: its end, page by page, by search; verifies it against checkpoints (AUD-1, AUD-3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Text, and_, func, literal_column, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary.audit_trail import GENESIS, SEARCH_MAX, AuditPage, AuditQuery, Checkpoint
from storage.audit import Chain, Verdict
from storage.engine import Database
from storage.models import audit_log, audit_segments
from storage.models.base import moment
from storage.readers import moment_of, rows_of

PAGE: Final = 5_000
_ISO_LENGTH: Final = len("2026-01-31T12:00:00.000000+00:00")
_ISO_END: Final = "+00:00"
_WIRE: Final = tuple(column.name for column in audit_log.c)


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Archived records: no longer in the database, but in the file `name` with this digest."""

    first_sequence: int
    last_sequence: int
    last_hash: str
    name: str
    sha256: str


class TrailVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying found: the chain's own verdict, and the checkpoints that it does not meet.

    `unseen`: archived segments whose files were not seen, so that nobody can say what stood in records 1 to `archived`.
    """

    chain: Verdict
    archived: int = 0
    unseen: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    checkpoints_met: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong with what was seen."""
        return self.chain.broken_at is None and not self.complaints

    @property
    def is_whole(self) -> bool:
        """Whether all records from the first on were seen, and nothing at all is wrong."""
        return self.holds and not self.unseen


class CheckpointWatch:
    """Holds a walk along the chain against what was signed: one entry per count, whoever kept it."""

    def __init__(
        self, checkpoints: Sequence[Checkpoint], *, archived: int = 0, archived_head: str = ""
    ) -> None:
        self._by_count: dict[int, set[str]] = {}
        for each in checkpoints:
            self._by_count.setdefault(each.count, set()).add(each.head)
        self.met = 0
        self.complaints: list[str] = []
        # What was archived is judged by its segments; here only that the walk begins where they end.
        for count in sorted(count for count in self._by_count if count <= archived):
            heads = self._by_count.pop(count)
            if count == archived:
                self._judge(count, archived_head, heads)

    def pass_by(self, count: int, head: str) -> None:
        """Compare where the walk is now."""
        if heads := self._by_count.pop(count, None):
            self._judge(count, head, heads)

    def end(self, verdict: Verdict) -> None:
        """Say what was signed and is not there; a broken chain has said enough about what stands behind its break."""
        if verdict.broken_at is None and self._by_count:
            self.complaints.append(
                f"a checkpoint says {max(self._by_count)} records, the trail ends at {verdict.count}: it was cut off"
                " or rolled back"
            )

    def _judge(self, count: int, head: str, heads: set[str]) -> None:
        if heads == {head}:
            self.met += 1
        else:
            self.complaints.append(
                f"record {count}: a checkpoint was signed over another record; the chain was rebuilt or rolled back"
            )


class AuditBook:
    """The trail in the database; reads with the writer's login (the reader's may not), never writes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        at: ColumnElement[Any] = type_coerce(audit_log.c.at, Text())
        if not database.is_sqlite:
            at = func.to_char(
                func.timezone("UTC", audit_log.c.at), literal_column('\'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\'')
            )
        self._columns = [at.label("at") if column.name == "at" else column for column in audit_log.c]

    async def tail(self) -> tuple[int, str]:
        """Return how many records there are and the hash of the last; archived ones count.

        Raises:
            DeviceError: the database is away or slow.

        """
        statement = (
            select(audit_log.c.sequence, audit_log.c.hash).order_by(audit_log.c.sequence.desc()).limit(1)
        )
        rows = await self._database.run(lambda connection: rows_of(connection, statement))
        return (rows[0]["sequence"], rows[0]["hash"]) if rows else (0, GENESIS)

    async def oldest(self) -> tuple[int, str]:
        """Return sequence and time of the first record that is still here; (0, ''): there is none.

        Raises:
            DeviceError: the database is away or slow.

        """
        rows = await self._read(select(*self._columns).order_by(audit_log.c.sequence).limit(1))
        return (rows[0]["sequence"], str(rows[0]["at"])) if rows else (0, "")

    async def hash_at(self, sequence: int) -> str | None:
        """Return the hash of one record, from its segment if it is the last of one; None: it is not there.

        Raises:
            DeviceError: the database is away or slow.

        """
        if sequence == 0:
            return GENESIS
        here = select(audit_log.c.hash.label("hash")).where(audit_log.c.sequence == sequence)
        archived = select(audit_segments.c.last_hash.label("hash")).where(
            audit_segments.c.last_sequence == sequence
        )

        async def work(connection: AsyncConnection) -> str | None:
            for statement in (here, archived):
                if rows := await rows_of(connection, statement):
                    return str(rows[0]["hash"])
            return None

        return await self._database.run(work)

    async def segments(self) -> tuple[Segment, ...]:
        """Return what was archived, oldest first.

        Raises:
            DeviceError: the database is away or slow.

        """
        table = audit_segments.c
        columns = (table.first_sequence, table.last_sequence, table.last_hash, table.name, table.sha256)
        statement = select(*columns).order_by(table.last_sequence)
        rows = await self._database.run(lambda connection: rows_of(connection, statement))
        return tuple(Segment(**row) for row in rows)

    async def archived(self) -> tuple[Segment, ...]:
        """Return the segments whose records are not here any more, oldest first; () while all of them still are.

        Raises:
            DeviceError: the database is away or slow.

        """
        segments = await self.segments()
        gone = bool(segments) and await self._begins_behind(segments[-1].last_sequence)
        return segments if gone else ()

    async def pages(
        self, *, after: int = 0, until: int | None = None, page: int = PAGE
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield records behind `after` in order, a page at a time, each `at` as it is hashed.

        Each page is a transaction of its own: what is appended meanwhile comes too, unless `until` bounds it. The
        first page holds also what stands below sequence 1, where nothing may.

        Raises:
            DeviceError: the database is away or slow.

        """
        last: int | None = after if after > 0 else None
        while True:
            statement = select(*self._columns).order_by(audit_log.c.sequence).limit(page)
            if last is not None:
                statement = statement.where(audit_log.c.sequence > last)
            if until is not None:
                statement = statement.where(audit_log.c.sequence <= until)
            rows = await self._read(statement)
            if rows:
                yield rows
            if len(rows) < page:
                return
            last = rows[-1]["sequence"]

    async def verify(
        self, checkpoints: Sequence[Checkpoint] = (), *, after: int = 0, until: int | None = None
    ) -> TrailVerdict:
        """Walk the chain from its beginning, or from behind record `after`, and hold it against checkpoints.

        Raises:
            DeviceError: the database is away or slow.

        """
        archived, head = after, await self.hash_at(after) if after else GENESIS
        segments = () if after else await self.archived()
        if segments:
            archived, head = segments[-1].last_sequence, segments[-1].last_hash
        if head is None:
            reason = f"there is no record {after} to begin behind"
            return TrailVerdict(
                chain=Verdict(count=after, head="", broken_at=after, reason=reason, first=after + 1)
            )
        watch = CheckpointWatch(
            [each for each in checkpoints if until is None or each.count <= until],
            archived=archived,
            archived_head=head,
        )
        chain = Chain(count=archived, head=head)
        verdict = chain.verdict()
        async for rows in self.pages(after=archived, until=until):
            for row in rows:
                if reason := chain.take(row):
                    verdict = chain.verdict(f"record {row['record_id']!r}: {reason}")
                    break
                watch.pass_by(chain.count, chain.head)
            else:
                verdict = chain.verdict()
                continue
            break
        watch.end(verdict)
        complaints = tuple(watch.complaints)
        return TrailVerdict(
            chain=verdict, archived=archived, complaints=complaints, checkpoints_met=watch.met
        )

    async def search(self, query: AuditQuery) -> AuditPage:
        """Return the newest records that fit, a page of at most 1,000.

        Raises:
            DeviceError: the database is away or slow.

        """
        limit = max(1, min(query.limit, SEARCH_MAX))
        statement = (
            select(*self._columns)
            .where(and_(True, *self._conditions(query)))
            .order_by(audit_log.c.sequence.desc())
            .limit(limit + 1)
        )
        rows = await self._read(statement)
        more = len(rows) > limit
        return AuditPage(
            records=tuple(rows[:limit]), next_before=rows[limit - 1]["sequence"] if more else None
        )

    def _conditions(self, query: AuditQuery) -> list[ColumnElement[bool]]:
        columns = audit_log.c
        found: list[ColumnElement[bool]] = []
        if query.event_types:
            found.append(columns.event_type.in_(query.event_types))
        if query.severities:
            found.append(columns.severity.in_(query.severities))
        for column, wanted in (
            (columns.actor, query.actor),
            (columns.object_id, query.object_id),
            (columns.correlation_id, query.correlation_id),
        ):
            if wanted:
                found.append(func.lower(column) == func.lower(wanted))
        # An address stands there with its port, an outcome with its reason.
        for column, wanted in (
            (columns.source_address, query.source_address),
            (columns.outcome, query.outcome),
        ):
            if wanted:
                found.append(column.startswith(wanted, autoescape=True))
        if query.text:
            sought = (columns.object_id, columns.outcome, columns.before, columns.after)
            found.append(or_(*(column.icontains(query.text, autoescape=True) for column in sought)))
        if query.since is not None:
            found.append(moment(columns.at) >= moment_of(self._database, query.since))
        if query.until is not None:
            found.append(moment(columns.at) < moment_of(self._database, query.until))
        if query.before is not None:
            found.append(columns.sequence < query.before)
        return found

    async def _begins_behind(self, sequence: int) -> bool:
        statement = select(audit_log.c.sequence).order_by(audit_log.c.sequence).limit(1)
        rows = await self._database.run(lambda connection: rows_of(connection, statement))
        # A database that is empty begins behind all of them: what they say stood there is not in it.
        return not rows or rows[0]["sequence"] > sequence

    async def _read(self, statement: Any) -> list[dict[str, Any]]:
        async def work(connection: AsyncConnection) -> Sequence[Any]:
            return (await connection.execute(statement)).all()

        rows = await self._database.run(work)
        found = [dict(zip(_WIRE, row, strict=True)) for row in rows]
        if self._database.is_sqlite:
            for row in found:
                row["at"] = _wire_time(row["at"])
        return found


def _wire_time(stored: Any) -> Any:
    """Return SQLite's text of a time as it is hashed; one that is none as it stands: it fits no hash."""
    if not isinstance(stored, str):
        return stored
    if len(stored) == _ISO_LENGTH and stored.endswith(_ISO_END):
        return f"{stored[: -len(_ISO_END)]}Z"
    try:
        return datetime.fromisoformat(stored).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        return stored
