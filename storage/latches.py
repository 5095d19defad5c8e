"""Owns the durable folder of stops and their clears (EST-2) and the counters kept with them (EST-6).

No lock is ever taken: a process that hangs while it holds one (SIGSTOP) would keep everybody else from stopping a
pump. Instead every distinct content has a file name of its own, is written once and never changed:

    <id>.stop.<hash>.json     a stop as somebody stored it
    <id>.clear.<hash>.json    the stop with its clear
    <number>.stamp            a number that was issued; the highest one counts
    joined                    a mark that comes when the folder is first joined with the database: one without it is
                              new, or is what is left of a lost one

The set is the union of the files, so two writers cannot lose each other's, whatever their order.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from actors.vocabulary import DeviceError, Scope
from actors.vocabulary.records import StopEventRecord
from actors.vocabulary.stops import is_cleared
from actors.vocabulary.stops import joined as join_stops
from storage.files import (
    FILE_MODE,
    TEMPORARY_PREFIX,
    U32_MAX,
    UtcSecond,
    ensure_folder,
    refused,
    sweep,
    sync_folder,
    write_together,
    write_whole,
)

UNREADABLE: Final = "unreadable-latch-file"
"""`set_by` of the stop that stands for a file that cannot be read."""

_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_STAMP: Final = re.compile(r"([0-9]{1,10})\.stamp\Z")
_STOP: Final = "stop"
_CLEAR: Final = "clear"
_JOINED: Final = "joined"
# The mark of earlier versions, which held a release number of its own.
_MARKS: Final = frozenset({_JOINED, "release_floor"})
_CLAIMS_MAX: Final = 1000
_SWEEP_AFTER_S: Final = 3600
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LatchFolder:
    """One `<data-dir>/latches/`, shared by every process of this machine."""

    def __init__(self, folder: Path, *, utc_second: UtcSecond) -> None:
        self._folder = folder
        self._utc_second = utc_second
        # Files are never changed, so what was read once need not be read again: (size, mtime) guards against hands.
        self._read: dict[str, tuple[tuple[int, int], StopEventRecord | None]] = {}
        # The names that this process has seen become durable: a file that another wrote is there before it is.
        self._synced: set[str] = set()

    def load(self) -> tuple[StopEventRecord, ...]:
        """Return every stop with its clear, if any, ordered by id. A missing folder holds none.

        A file that cannot be read counts as an active SYSTEM stop whose id names the file: it may be one.

        Raises:
            DeviceError: the folder itself cannot be listed.

        """
        joined: dict[str, StopEventRecord] = {}
        seen: dict[str, tuple[tuple[int, int], StopEventRecord | None]] = {}
        for name, mark in self._entries():
            known = self._read.get(name)
            record = known[1] if known is not None and known[0] == mark else self._decode(name)
            seen[name] = (mark, record)
            shown = record if record is not None else _stands_for(name, mark)
            other = joined.get(shown.record_id)
            joined[shown.record_id] = shown if other is None else join_stops(other, shown)
        # An unreadable file is tried again at each load: a disk may recover.
        self._read = {name: entry for name, entry in seen.items() if entry[1] is not None}
        return tuple(joined[record_id] for record_id in sorted(joined))

    def fingerprint(self) -> object:
        """Return names, sizes and times of the files: changes whenever `load` would return something else.

        Raises:
            DeviceError: the folder cannot be listed.

        """
        return self._entries()

    def next_stamp(self) -> int:
        """Return a number above every one issued or merged here so far, at least the current UTC second. Durable.

        Raises:
            DeviceError: the disk refused, or the 32 bits of the wire are used up.

        """
        ensure_folder(self._folder)
        highest = self._highest_stamp()
        stamp = max(highest + 1, self._utc_second())
        for _ in range(_CLAIMS_MAX):
            if stamp > U32_MAX:
                raise DeviceError(f"{self._folder}: stamp {stamp} does not fit 32 bits (is the clock right?)")
            # Valid only if nothing higher is there after the claim: then everything issued before is lower.
            claimed = self._claim(stamp)
            highest = self._highest_stamp()
            if claimed and highest <= stamp:
                self._drop_stamps_below(stamp)
                return stamp
            stamp = max(stamp, highest) + 1
        raise DeviceError(f"{self._folder}: no stamp in {_CLAIMS_MAX} tries, last seen {highest}")

    def mark_joined(self) -> None:
        """Note for good that this folder holds all that the database holds.

        Raises:
            DeviceError: the disk refused.

        """
        ensure_folder(self._folder)
        write_whole(self._folder / _JOINED, b"")

    def merge(self, records: Sequence[StopEventRecord], *, wanted: Callable[[], bool] = lambda: True) -> None:
        """Make these durable and return; what is known is kept, a clear is added to its stop.

        `wanted` is asked immediately before clears get their names, after all that may take a disk its time: a clear
        that was answered "not cleared" meanwhile must not come into force. Stops are never asked about.

        Raises:
            DeviceError: the disk refused. A stop must be acted on all the same, and may be shown here already; a clear
                must be refused, and is not shown. Or the clears are not `wanted` any more.

        """
        ensure_folder(self._folder)
        sweep(self._folder, older_than_utc_s=self._utc_second() - _SWEEP_AFTER_S)
        present = {name for name, _ in self._entries()}
        self._synced &= present
        files = [file for record in records for file in _files_of(record) if file[1] not in self._synced]
        absent = [(kind, name, content) for kind, name, content in files if name not in present]
        for kind, name, content in absent:
            if kind == _STOP:
                # Another process may have confirmed this very stop meanwhile: taken back, it would be lost to both.
                write_whole(self._folder / name, content, undo=False)
        # Another node's stamps count as issued: a release given here must be above them (EST-6).
        stamps = [record.set_stamp for record in records]
        stamps += [record.release for record in records if record.release is not None]
        highest = max((stamp for stamp in stamps if 0 < stamp <= U32_MAX), default=0)
        if highest > self._highest_stamp() and self._claim(highest):
            self._drop_stamps_below(highest)
        clears = [(name, content) for kind, name, content in absent if kind == _CLEAR]
        if clears or len(absent) < len(files):
            self._sync()
        # All or none of what one person cleared.
        write_together([(self._folder / name, content) for name, content in clears], wanted=wanted)
        self._synced.update(name for _, name, _ in files)

    def _sync(self) -> None:
        """Make the names durable that others wrote, and find out whether the disk does that at all.

        A clear has a name only after this: gates look into the folder every 200 ms, and what they have read once they
        do not forget, so a clear that is taken back again may have started a pump.

        Raises:
            DeviceError: the disk refused.

        """
        try:
            sync_folder(self._folder)
        except OSError as error:
            raise refused(self._folder, error) from error

    def is_new(self) -> bool:
        """Return whether it was never marked as joined: the database's stops may be missing here.

        Raises:
            DeviceError: the folder cannot be looked at.

        """
        return _MARKS.isdisjoint(self._names())

    def drop(self, record_ids: Collection[str]) -> None:
        """Forget these cleared ids: the bare stops first, so that a crash in between leaves no stop without its clear.

        Raises:
            DeviceError: the disk refused; some may be gone, none of them half.

        """
        heads = {_plain(record_id) for record_id in record_ids}
        named = [name for name, _ in self._entries() if name.partition(".")[0] in heads]
        # What cannot be read is no copy of what the caller knows: it stays, and stays a stop.
        doomed = [name for name in named if self._decode(name) is not None]
        try:
            for kind in (_STOP, _CLEAR):
                of_kind = [name for name in doomed if f".{kind}." in name]
                for name in of_kind:
                    (self._folder / name).unlink(missing_ok=True)
                if of_kind:
                    sync_folder(self._folder)
        except OSError as error:
            raise refused(self._folder, error) from error

    def _entries(self) -> tuple[tuple[str, tuple[int, int]], ...]:
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name in _MARKS or name.startswith(TEMPORARY_PREFIX) or _STAMP.match(name):
                        continue
                    try:
                        status = entry.stat()
                    except FileNotFoundError:
                        continue
                    found.append((name, (status.st_size, status.st_mtime_ns)))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise refused(self._folder, error) from error
        return tuple(sorted(found))

    def _decode(self, name: str) -> StopEventRecord | None:
        try:
            content = (self._folder / name).read_bytes()
            record = msgspec.json.decode(content, type=StopEventRecord)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        # The name holds the hash of the content: a file that was cut short or edited is no witness. The content as
        # it is, not as this version would write it: an older version's file stays readable.
        kind = "clear" if f".{_CLEAR}." in name else _STOP
        return record if _name(kind, record.record_id, content) == name else None

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._folder)  # noqa: PTH208  (names are all that is wanted)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise refused(self._folder, error) from error

    def _highest_stamp(self) -> int:
        return max((int(match[1]) for match in map(_STAMP.match, self._names()) if match), default=0)

    def _claim(self, stamp: int) -> bool:
        path = self._folder / f"{stamp}.stamp"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
            sync_folder(self._folder)
        except FileExistsError:
            return False
        except OSError as error:
            raise refused(path, error) from error
        return True

    def _drop_stamps_below(self, stamp: int) -> None:
        for name in self._names():
            match = _STAMP.match(name)
            if match and int(match[1]) < stamp:
                with suppress(OSError):  # the next one drops it
                    (self._folder / name).unlink(missing_ok=True)


def _files_of(record: StopEventRecord) -> Iterable[tuple[str, str, bytes]]:
    """Kind, name and content of the files that hold this record: the bare stop, and the stop with its clear."""
    bare = msgspec.structs.replace(record, cleared_by=None, cleared_at=None, clear_reason=None, release=None)
    yield _file(_STOP, bare)
    if is_cleared(record):
        yield _file(_CLEAR, record)


def _file(kind: str, record: StopEventRecord) -> tuple[str, str, bytes]:
    content = msgspec.json.encode(record) + b"\n"
    return kind, _name(kind, record.record_id, content), content


def _name(kind: str, record_id: str, content: bytes) -> str:
    return f"{_plain(record_id)}.{kind}.{hashlib.sha256(content).hexdigest()[:16]}.json"


def _plain(record_id: str) -> str:
    """Return what the names of a record's files begin with."""
    if _PLAIN_ID.match(record_id):
        return record_id
    return hashlib.sha256(record_id.encode("utf-8", "surrogatepass")).hexdigest()


def _stands_for(name: str, mark: tuple[int, int]) -> StopEventRecord:
    return StopEventRecord(
        record_id=f"unreadable:{name}",
        scope=Scope.SYSTEM,
        scope_id="",
        reason=f"the latch file {name} cannot be read: it may be a stop",
        set_by=UNREADABLE,
        set_at=datetime.fromtimestamp(mark[1] // 1_000_000_000, UTC) if mark[1] >= 0 else _EPOCH,
        # The lowest stamp: no release counts while this stands.
        set_stamp=0,
    )
