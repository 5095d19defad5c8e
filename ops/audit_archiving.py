"""Moves old records of the trail into a segment: written, looked at, and only then taken out of the database (AUD-3).

The three are apart: whoever archives without deleting can look at the file and delete later, and a process that is
killed between them is followed by one that goes on. What goes is what was read back from the file, record by record.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from actors.vocabulary import DeviceError, RefusedError, Settings
from actors.vocabulary.audit_trail import GENESIS, Checkpoint
from ops.audit_trail import appended, folder_of, known_checkpoints, now_utc, opened, record_of, signed_of
from storage import audit_archive, audit_export
from storage.audit_export import digest_of
from storage.audit_reader import AuditBook, Segment
from storage.audit_segments import walked
from storage.engine import Access
from storage.files import alone, sync_folder

SEGMENT_MAX: Final = 100_000
"""Records in one segment: what is deleted in one transaction has to end within a statement's time."""
_NAME: Final = re.compile(r"audit-(\d{12})-(\d{12})\.tar\.gz")
_LOCK: Final = "archive.lock"


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: records `first` to `last` are in `segment`, which was there already or is new."""

    first: int
    last: int
    segment: str
    sha256: str
    deleted: bool
    was_there: bool
    not_recorded: str = ""


async def archive(settings: Settings, to: Path, *, days: int, by: str, delete: bool) -> Archived:
    """Write what is older than `days` into a segment in the folder `to`; with `delete` take it out of the database.

    A segment that lies there already is used if it is the chain's; with `delete` also one that ends earlier.

    Raises:
        RefusedError: nothing is old enough, the trail is broken, or a file is there that is not the chain's.
        UnavailableError: another process archives this trail.
        DeviceError: the database is away or the login may not delete, or the disk refused.

    """
    now = now_utc()
    with alone(folder_of(settings) / _LOCK, doing="archives"):
        async with opened(settings) as database:
            book = AuditBook(database)
            older = await audit_archive.last_older(database, now - timedelta(days=days))
            segments = await book.segments()
            first = segments[-1].last_sequence + 1 if segments else 1
            last = min(older, first + SEGMENT_MAX - 1)
            if last < first:
                raise RefusedError(f"nothing is older than {days} days and not archived yet")
            checkpoints, complaints = known_checkpoints(settings)
            verdict = await book.verify(checkpoints)
            if complaints or not verdict.holds:
                why = "; ".join((*complaints, verdict.chain.reason, *verdict.complaints))
                raise RefusedError(f"a broken trail is not archived: {why}")
            found = await asyncio.to_thread(_lying_there, to, first=first, last=last, or_shorter=delete)
            last = last if found is None else int(found.name.split("-")[2].partition(".")[0])
            head = await book.hash_at(last)
            if found is None:
                path = await _written(settings, book, to, first=first, last=last, head=head, at=now)
            else:
                path = found
        segment = await asyncio.to_thread(_segment, path, first=first, last=last, head=head)
        before = segments[-1].last_hash if segments else GENESIS
        await asyncio.to_thread(_require_the_chain_s, path, segment, checkpoints, before)
        done = Archived(
            first=first,
            last=last,
            segment=str(path),
            sha256=segment.sha256,
            deleted=delete,
            was_there=found is not None,
        )
        told = msgspec.to_builtins(done)
        record = record_of("AUDIT_ARCHIVED", by=by, object_id=path.name, after=told)
        if delete:
            async with opened(settings, Access.WRITE) as database:
                await audit_archive.take_out(database, segment, record=record)
        elif found is None:
            return msgspec.structs.replace(done, not_recorded=await appended(settings, record))
    return done


def _lying_there(to: Path, *, first: int, last: int, or_shorter: bool) -> Path | None:
    """Return the longest segment in the folder that begins with `first` and ends with `last`, or not behind it."""
    found: dict[int, Path] = {}
    try:
        for path in to.iterdir() if to.is_dir() else ():
            told = _NAME.fullmatch(path.name)
            if told is not None and int(told[1]) == first and int(told[2]) <= last:
                found[int(told[2])] = path
    except OSError as error:
        raise DeviceError(f"{to}: {error.strerror}") from error
    return found[max(found)] if or_shorter and found else found.get(last)


async def _written(
    settings: Settings, book: AuditBook, to: Path, *, first: int, last: int, head: str | None, at: datetime
) -> Path:
    """Write a segment under its name, whole or not at all; what a process that was killed left there goes."""
    name = f"audit-{first:012d}-{last:012d}.tar.gz"
    folder, unfinished, path = to / f".{name}.folder", to / f".{name}", to / name
    await asyncio.to_thread(_cleared, folder, unfinished)
    signed, keys = signed_of(settings)
    try:
        done = await audit_export.export(
            book, folder, checkpoints=signed, keys=keys, at=at, after=first - 1, until=last
        )
        if done.broken or (done.count, done.head) != (last, head):
            why = done.broken or f"it ends at record {done.count}"
            raise RefusedError(f"the trail changed while it was archived: {why}")
        await asyncio.to_thread(audit_export.pack, folder, unfinished)
        await asyncio.to_thread(_named, unfinished, path)
    finally:
        await asyncio.to_thread(_cleared, folder, unfinished)
    return path


def _segment(path: Path, *, first: int, last: int, head: str | None) -> Segment:
    return Segment(
        first_sequence=first,
        last_sequence=last,
        last_hash=head or "",
        name=path.name,
        sha256=digest_of(path),
    )


def _require_the_chain_s(
    path: Path, segment: Segment, checkpoints: Sequence[Checkpoint], before: str
) -> None:
    """Read the file back as it lies there: every record continues the chain and it ends where the database says."""
    found = walked((segment,), (path.parent,), checkpoints, before=before)
    if found.unseen or found.complaints:
        why = "; ".join((*found.complaints, *found.unseen))
        raise RefusedError(f"{path} is not what the chain holds, move it away: {why}")


def _named(unfinished: Path, path: Path) -> None:
    try:
        unfinished.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from error


def _cleared(folder: Path, unfinished: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise DeviceError(f"{unfinished}: {error.strerror}") from error
