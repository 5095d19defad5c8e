"""Owns what a Sparkplug edge node remembers: its bdSeq numbers, and the values that no host has seen yet (SPB-1).

The backlog is an SQLite file of its own in WAL with synchronous=NORMAL: a SIGKILL loses nothing that was appended, a
power cut at most the last second, and no append waits for the disk to turn.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

import msgspec

from actors.vocabulary import DeviceError
from storage.files import UtcSecond, ensure_folder, read_struct, refused, write_whole

T = TypeVar("T")

NUMBERS: Final = 256
_BUSY_MS: Final = 1_500
_OVERHEAD_BYTES: Final = 24
_OUR_BUGS: Final = (
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    sqlite3.NotSupportedError,
)
_MARK: Final = 0x43414C53  # "CALS": this file is a backlog and nothing else

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS waiting (
  position INTEGER PRIMARY KEY AUTOINCREMENT, samples INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS totals (
  one INTEGER PRIMARY KEY CHECK (one = 1), samples INTEGER NOT NULL, bytes INTEGER NOT NULL, lost INTEGER NOT NULL);
INSERT OR IGNORE INTO totals VALUES (1, 0, 0, 0);
CREATE TRIGGER IF NOT EXISTS counted AFTER INSERT ON waiting BEGIN
  UPDATE totals SET samples = samples + NEW.samples, bytes = bytes + NEW.bytes; END;
CREATE TRIGGER IF NOT EXISTS discounted AFTER DELETE ON waiting BEGIN
  UPDATE totals SET samples = samples - OLD.samples, bytes = bytes - OLD.bytes; END;
"""


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    bd_seq: int


class BirthSequenceFile:
    """`<data-dir>/sparkplug/<site>.json`: the last bdSeq that was used; a missing or damaged file starts at 0."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The last number issued by this process that the file does not hold.
        self._unsaved: int | None = None

    def issue(self) -> int:
        """Return the next bdSeq, durable before it returns: a crash may skip a number, never use one twice in a row.

        Raises:
            DeviceError: the disk refused.

        """
        last = self._unsaved if self._unsaved is not None else self._held()
        issued = 0 if last is None else (last + 1) % NUMBERS
        self._write(issued)
        return issued

    def save(self) -> None:
        """Make the last number durable that the disk refused, if there is one.

        Raises:
            DeviceError: the disk refused.

        """
        if self._unsaved is not None:
            self._write(self._unsaved)

    def _write(self, number: int) -> None:
        write_whole(self._path, msgspec.json.encode(_Content(bd_seq=number)) + b"\n")
        self._unsaved = None

    def issue_unsaved(self) -> int:
        """Return the next bdSeq although the disk refuses it: unique as long as this process lives.

        A successor may use it again. That is the lesser evil: without a number nobody could connect at all.
        """
        last = self._unsaved
        if last is None:
            with suppress(DeviceError):
                last = self._held()
        self._unsaved = 0 if last is None else (last + 1) % NUMBERS
        return self._unsaved

    def _held(self) -> int | None:
        held = read_struct(self._path, _Content)
        return held.bd_seq if held is not None and 0 <= held.bd_seq < NUMBERS else None


class BacklogFile:
    """One edge node's backlog: chunks of samples, oldest first; beyond `bytes_max` the oldest go, and are counted.

    Calls may come from any thread, several at once: each waits for the one before it. A caller that gave up waiting may
    have left one behind.
    """

    def __init__(self, path: Path, *, bytes_max: int, utc_second: UtcSecond) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._utc_second = utc_second
        self._connection: sqlite3.Connection | None = None
        self._turn = Lock()
        # What `totals` said last: the least that is known of a file which is found damaged.
        self._told = (0, 0)

    def append(self, chunks: Sequence[tuple[int, bytes]]) -> int:
        """Keep these (each: how many samples, and their bytes); return how many of the oldest samples had to go.

        Raises:
            DeviceError: the disk refused; none was kept.

        """

        def work(connection: sqlite3.Connection) -> int:
            connection.executemany(
                "INSERT INTO waiting (samples, bytes, body) VALUES (?, ?, ?)",
                [(samples, len(body) + _OVERHEAD_BYTES, body) for samples, body in chunks],
            )
            lost = self._make_room(connection)
            connection.execute("UPDATE totals SET lost = lost + ?", (lost,))
            return lost

        with self._turn:
            return self._run(work)

    def oldest(self) -> tuple[int, bytes] | None:
        """Return the oldest chunk and its position.

        Raises:
            DeviceError: the disk refused.

        """

        def work(connection: sqlite3.Connection) -> tuple[int, bytes] | None:
            found: tuple[int, bytes] | None = connection.execute(
                "SELECT position, body FROM waiting ORDER BY position LIMIT 1"
            ).fetchone()
            return found

        with self._turn:
            return self._run(work)

    def remove(self, position: int) -> None:
        """Forget a chunk.

        Raises:
            DeviceError: the disk refused; it is still there.

        """
        with self._turn:
            self._run(
                lambda connection: connection.execute("DELETE FROM waiting WHERE position = ?", (position,))
            )

    def note_lost(self, samples: int) -> None:
        """Count samples that never got here.

        Raises:
            DeviceError: the disk refused.

        """
        with self._turn:
            self._run(lambda connection: connection.execute("UPDATE totals SET lost = lost + ?", (samples,)))

    def totals(self) -> tuple[int, int]:
        """Return how many samples wait, and how many were ever lost.

        Raises:
            DeviceError: the disk refused.

        """

        def work(connection: sqlite3.Connection) -> tuple[int, int]:
            found: tuple[int, int] = connection.execute("SELECT samples, lost FROM totals").fetchone()
            return found

        with self._turn:
            self._told = self._run(work)
            return self._told

    def close(self) -> None:
        """Close the file once nobody works with it; the next call opens it again."""
        with self._turn:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _make_room(self, connection: sqlite3.Connection) -> int:
        (held,) = connection.execute("SELECT bytes FROM totals").fetchone()
        excess, lost, last = held - self._bytes_max, 0, None
        for position, samples, size in connection.execute(
            "SELECT position, samples, bytes FROM waiting ORDER BY position"
        ):
            if excess <= 0:
                break
            excess, lost, last = excess - size, lost + samples, position
        if last is not None:
            connection.execute("DELETE FROM waiting WHERE position <= ?", (last,))
        return lost

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction; a damaged file is moved aside and the work done in a fresh one.

        A call that SQLite finds wrong in itself (`ProgrammingError` and its like) is our bug and says nothing about the
        file.
        """
        try:
            return self._once(work)
        except sqlite3.Error as error:
            self._close()
            if isinstance(error, _OUR_BUGS):
                raise
            damaged = not isinstance(error, sqlite3.OperationalError) or "malformed" in str(error)
            if not damaged:
                raise DeviceError(f"{self._path}: {error}") from error
        self._move_aside()
        waiting, lost = self._told

        def anew(connection: sqlite3.Connection) -> T:
            # The figure of what was lost never runs back, and what the damaged file held belongs to it.
            connection.execute("UPDATE totals SET lost = lost + ?", (waiting + lost,))
            return work(connection)

        try:
            return self._once(anew)
        except sqlite3.Error as error:
            self._close()
            raise DeviceError(f"{self._path}: {error}") from error

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._open()
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _open(self) -> sqlite3.Connection:
        ensure_folder(self._path.parent)
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=_BUSY_MS / 1000, check_same_thread=False
        )
        try:
            self._path.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (mark,) = connection.execute("PRAGMA application_id").fetchone()
            with closing(connection.execute("PRAGMA quick_check(1)")) as checked:
                (verdict,) = checked.fetchone()
            if verdict != "ok" or mark not in {0, _MARK}:
                raise sqlite3.DatabaseError(f"malformed: {verdict}")
            if mark == 0:
                connection.execute(f"PRAGMA application_id = {_MARK}")
            connection.executescript(_SCHEMA)
        except OSError as error:
            connection.close()
            raise refused(self._path, error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _move_aside(self) -> None:
        name = f"{self._path.stem}.damaged-{self._utc_second()}{self._path.suffix}"
        try:
            for suffix in ("", "-wal", "-shm"):
                old = self._path.with_name(self._path.name + suffix)
                if old.exists():
                    old.replace(self._path.with_name(name + suffix))
        except OSError as error:
            raise refused(self._path, error) from error
