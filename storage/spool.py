"""Owns the bounded on-disk queue of records for the time the database is away (DAT-3, AUD-4).

An SQLite file of its own in WAL with synchronous=FULL: an append is one transaction and one fsync, so a SIGKILL or a
power cut leaves the batch whole or absent, removal from the middle (by priority, or out of order) costs no rewriting,
and a damaged file is recognised. All calls block for about as long as the disk needs for one fsync.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from actors.vocabulary import DeviceError, InvalidValueError
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
from actors.vocabulary.settings import LIVENESS_DEADLINE_S
from storage.files import UtcSecond, ensure_folder, refused, sync_folder

T = TypeVar("T")

NEVER_DROPPED: Final = 9
PRIORITY: Final[dict[type[Record], int]] = {
    FeedbackRow: 0,
    DecisionRecord: 1,
    WireRecord: 1,
    PlanRefusalRecord: 2,
    ViolationRecord: 3,
    FailsafeRecord: 4,
    AlarmRecord: NEVER_DROPPED,
    StopEventRecord: NEVER_DROPPED,
    AuditRecord: NEVER_DROPPED,
}
"""What goes first when there is no room; never dropped is what must not be lost at all."""

RESERVE: Final = 2
# What is never dropped may fill this many times the bound; then it is refused, and stays with its sender.
SET_ASIDE_MAX: Final = 10_000
_BUSY_MS: Final = 1500
# The storage actor answers its liveness ping between two calls.
assert _BUSY_MS < LIVENESS_DEADLINE_S * 1000

_OVERHEAD_BYTES: Final = 24
_MARK: Final = 0x43414C4A  # "CALJ": this file is a spool and nothing else

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS waiting (
  position INTEGER PRIMARY KEY AUTOINCREMENT, priority INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_priority ON waiting (priority, position, bytes);
CREATE TABLE IF NOT EXISTS set_aside (
  number INTEGER PRIMARY KEY AUTOINCREMENT, reason TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS totals (
  one INTEGER PRIMARY KEY CHECK (one = 1), records INTEGER NOT NULL, bytes INTEGER NOT NULL, dropped INTEGER NOT NULL);
INSERT OR IGNORE INTO totals VALUES (1, 0, 0, 0);
CREATE TRIGGER IF NOT EXISTS counted AFTER INSERT ON waiting BEGIN
  UPDATE totals SET records = records + 1, bytes = bytes + NEW.bytes; END;
CREATE TRIGGER IF NOT EXISTS discounted AFTER DELETE ON waiting BEGIN
  UPDATE totals SET records = records - 1, bytes = bytes - OLD.bytes; END;
"""


class SpoolFile:
    """`<data-dir>/spool/spool.db`. Opened when first used; a successor may open it while a hung one still has it."""

    def __init__(self, folder: Path, *, bytes_max: int, utc_second: UtcSecond) -> None:
        self._folder = folder
        self._path = folder / "spool.db"
        self._bytes_max = bytes_max
        self._utc_second = utc_second
        self._connection: sqlite3.Connection | None = None
        self._set_aside_files: list[str] = []

    def append(self, records: Sequence[Record]) -> int:
        """Make these durable; return how many records of low priority had to be dropped to stay inside the bound.

        Raises:
            DeviceError: the disk refused, or nothing is left that may be dropped. None of the records was taken.
            InvalidValueError: one of them holds what cannot be encoded, now or ever. None was taken.

        """
        rows = []
        for record in records:
            try:
                body = _ENCODER.encode(record)
            except (ValueError, OverflowError) as error:  # no UTF-8, or a number beyond 64 bits
                raise InvalidValueError(f"{type(record).__name__} {record.record_id!r}: {error!r}") from error
            rows.append((PRIORITY[type(record)], len(body) + _OVERHEAD_BYTES, body))

        def work(connection: sqlite3.Connection) -> int:
            connection.executemany("INSERT INTO waiting (priority, bytes, body) VALUES (?, ?, ?)", rows)
            dropped = self._make_room(connection)
            connection.execute("UPDATE totals SET dropped = dropped + ?", (dropped,))
            return dropped

        return self._run(work)

    def peek(self, count_max: int) -> Sequence[tuple[int, Record]]:
        """Return the oldest records with their positions.

        Raises:
            DeviceError: the disk refused.

        """

        def work(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
            found = connection.execute(
                "SELECT position, body FROM waiting ORDER BY position LIMIT ?", (count_max,)
            )
            return found.fetchall()

        readable: list[tuple[int, Record]] = []
        unreadable: list[int] = []
        for position, body in self._run(work):
            try:
                readable.append((position, _DECODER.decode(body)))
            except msgspec.DecodeError:
                unreadable.append(position)
        # A record of another version, or a damaged one: kept aside, so that it does not hold up the others.
        for position in unreadable:
            self.set_aside(position, "unreadable")
        return readable

    def remove(self, positions: Sequence[int]) -> None:
        """Forget these.

        Raises:
            DeviceError: the disk refused; they are still there and will be written again, which does no harm.

        """

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "DELETE FROM waiting WHERE position = ?", [(position,) for position in positions]
            )

        self._run(work)

    def set_aside(self, position: int, reason: str) -> None:
        """Take a record out of the queue that the database refuses for good, and keep it for people (at most 10,000).

        Raises:
            DeviceError: the disk refused.

        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO set_aside (reason, body) SELECT ?, body FROM waiting WHERE position = ?",
                (reason, position),
            )
            connection.execute("DELETE FROM waiting WHERE position = ?", (position,))
            connection.execute(
                "DELETE FROM set_aside WHERE number <= (SELECT max(number) FROM set_aside) - ?",
                (SET_ASIDE_MAX,),
            )

        self._run(work)

    def size(self) -> tuple[int, int]:
        """Return (records, bytes) waiting.

        Raises:
            DeviceError: the disk refused.

        """
        records, bytes_, _ = self._totals()
        return records, bytes_

    def dropped_total(self) -> int:
        """Return how many records were ever dropped here.

        Raises:
            DeviceError: the disk refused.

        """
        return self._totals()[2]

    def set_aside_files(self) -> tuple[str, ...]:
        """Return the damaged files that this object had to move out of the way, by name."""
        return tuple(self._set_aside_files)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _totals(self) -> tuple[int, int, int]:
        def work(connection: sqlite3.Connection) -> tuple[int, int, int]:
            found: tuple[int, int, int] = connection.execute(
                "SELECT records, bytes, dropped FROM totals"
            ).fetchone()
            return found

        return self._run(work)

    def _make_room(self, connection: sqlite3.Connection) -> int:
        dropped = 0
        (waiting,) = connection.execute("SELECT bytes FROM totals").fetchone()
        excess = waiting - self._bytes_max
        if excess > 0:
            oldest_first = connection.execute(
                "SELECT position, bytes FROM waiting WHERE priority < ? ORDER BY priority, position",
                (NEVER_DROPPED,),
            )
            doomed = []
            for position, bytes_ in oldest_first:
                if excess <= 0:
                    break
                doomed.append((position,))
                excess -= bytes_
            connection.executemany("DELETE FROM waiting WHERE position = ?", doomed)
            dropped = len(doomed)
        if excess > (RESERVE - 1) * self._bytes_max:
            raise DeviceError(f"{self._path}: full with what must not be dropped ({waiting} bytes)")
        return dropped

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one durable transaction; a damaged file is set aside and the work done in a fresh one."""
        try:
            return self._once(work)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                self.close()
                raise DeviceError(f"{self._path}: {error}") from error
        self._replace_damaged()
        try:
            return self._once(work)
        except sqlite3.Error as error:
            self.close()
            raise DeviceError(f"{self._path}: {error}") from error

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._open()
        with _transaction(self._connection) as connection:
            return work(connection)

    def _open(self) -> sqlite3.Connection:
        ensure_folder(self._folder)
        fresh = not self._path.exists()
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY_MS / 1000)
        try:
            if fresh:
                self._path.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            (mark,) = connection.execute("PRAGMA application_id").fetchone()
            with closing(connection.execute("PRAGMA quick_check(1)")) as checked:
                (verdict,) = checked.fetchone()
            if verdict != "ok" or mark not in {0, _MARK}:
                raise sqlite3.DatabaseError("malformed: " + str(verdict))
            if mark == 0:
                connection.execute(f"PRAGMA application_id = {_MARK}")
            connection.executescript(_SCHEMA)
            if fresh:
                sync_folder(self._folder)
        except OSError as error:
            connection.close()
            raise refused(self._path, error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _replace_damaged(self) -> None:
        self.close()
        name = f"spool.damaged-{self._utc_second()}"
        try:
            for suffix in ("", "-wal", "-shm"):
                old = self._path.with_name(self._path.name + suffix)
                if old.exists():
                    old.replace(self._folder / f"{name}.db{suffix}")
            sync_folder(self._folder)
        except OSError as error:
            raise refused(self._path, error) from error
        self._set_aside_files.append(f"{name}.db")


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=str)
_DECODER: Final[msgspec.msgpack.Decoder[Record]] = msgspec.msgpack.Decoder(Record)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Say whether the file itself is at fault, rather than the disk or a lock."""
    if isinstance(error, sqlite3.OperationalError):
        return "malformed" in str(error)
    return not isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError)
