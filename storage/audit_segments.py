"""Looks for archived segments where they are said to lie, and walks the chain through them (AUD-1, AUD-3).

A row in `audit_segments` is no proof that anything was archived: whoever may write a SQLite database can note a segment
that there is not, and then take its records out. So a trail with archived records is whole only where their files are
seen: with the digest that was noted, and continuing the chain from its beginning to where the database goes on.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import lzma
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.vocabulary import DeviceError
from actors.vocabulary.audit_trail import GENESIS, SEARCH_MAX, AuditPage, AuditQuery, Checkpoint
from storage.audit import Chain
from storage.audit_export import RECORDS_FILE, digest_of
from storage.audit_reader import AuditBook, CheckpointWatch, Segment

Row = Mapping[str, Any]

_LINE_MAX: Final = 16 * 1_048_576
# What reading a file says that is no sound export; a plain OSError is the disk's.
_DAMAGED: Final = (
    tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, ValueError, KeyError, TypeError,
)  # fmt: skip
_TEXT_COLUMNS: Final = ("object_id", "outcome", "before", "after")


class Walked(msgspec.Struct, frozen=True, kw_only=True):
    """What the walk through segments found: those that are not seen here, and what is wrong with those that are."""

    unseen: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()


def walked(
    segments: Sequence[Segment],
    folders: Sequence[Path],
    checkpoints: Sequence[Checkpoint] = (),
    *,
    before: str = GENESIS,
) -> Walked:
    """Walk through every segment whose file lies in one of `folders`, oldest first; it reads them whole.

    `before`: the hash that the first of them continues.

    Raises:
        DeviceError: a file is there and the disk refused it.

    """
    unseen: list[str] = []
    complaints: list[str] = []
    chain, head = Chain(), before
    for segment in segments:
        if chain.count != segment.first_sequence - 1 or chain.head != head:
            chain = Chain(count=segment.first_sequence - 1, head=head)
        head = segment.last_hash
        path = _found(segment, folders)
        if path is None:
            unseen.append(segment.name)
            continue
        own = [each for each in checkpoints if segment.first_sequence <= each.count <= segment.last_sequence]
        watch = CheckpointWatch(own)
        if why := _through(path, chain, watch) or _end(chain, segment):
            complaints.append(f"segment {segment.name}: {why}")
        complaints += watch.complaints
    return Walked(unseen=tuple(unseen), complaints=tuple(complaints))


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the archived segments lie in the folders with the digest that was noted, oldest first."""

    paths: tuple[Path, ...] = ()
    unseen: tuple[str, ...] = ()


def seen(segments: Sequence[Segment], folders: Sequence[Path]) -> Seen:
    """Look for the segments' files; it reads each for its digest.

    Raises:
        DeviceError: a file is there and the disk refused it.

    """
    paths: list[Path] = []
    unseen: list[str] = []
    for segment in segments:
        path = _found(segment, folders)
        if path is None:
            unseen.append(segment.name)
        else:
            paths.append(path)
    return Seen(paths=tuple(paths), unseen=tuple(unseen))


def matching(path: Path, query: AuditQuery) -> Iterator[Row]:
    """Yield the records of one segment that a search would find, oldest first.

    Raises:
        DeviceError: the file cannot be read.

    """
    try:
        for row in _rows(path):
            if fits(row, query):
                yield row
    except (*_DAMAGED, OSError) as error:
        raise DeviceError(f"{path}: {type(error).__name__}: {error}") from error


def newest_of(
    paths: Sequence[Path], query: AuditQuery, *, count_max: int, keep: Callable[[Row], bool] = lambda _: True
) -> list[Row]:
    """Return the newest records that fit and are kept, the newest first, at most `count_max`; it reads segments whole.

    Raises:
        DeviceError: a file cannot be read.

    """
    found: list[Row] = []
    for path in reversed(paths):
        if len(found) >= count_max:
            break
        kept = (row for row in matching(path, query) if keep(row))
        found += reversed(deque(kept, maxlen=count_max - len(found)))
    return found


async def search(book: AuditBook, query: AuditQuery, paths: Sequence[Path]) -> AuditPage:
    """Search the database, and behind its last page the segments that were seen.

    Raises:
        DeviceError: the database is away, or a file cannot be read.

    """
    page = await book.search(query)
    if page.next_before is not None or not paths:
        return page
    left = max(1, min(query.limit, SEARCH_MAX)) - len(page.records)
    older = await asyncio.to_thread(newest_of, paths, query, count_max=left + 1)
    records = (*page.records, *older[:left])
    return AuditPage(records=records, next_before=records[-1]["sequence"] if len(older) > left else None)


def fits(row: Row, query: AuditQuery) -> bool:
    """Say whether a record is one that the query asks for, as the database would; letters' case never decides."""

    def low(name: str) -> str:
        return str(row.get(name) or "").lower()

    if query.event_types and row.get("event_type") not in query.event_types:
        return False
    if query.severities and row.get("severity") not in query.severities:
        return False
    whole = (("actor", query.actor), ("object_id", query.object_id), ("correlation_id", query.correlation_id))
    if any(wanted and low(name) != wanted.lower() for name, wanted in whole):
        return False
    begins = (("source_address", query.source_address), ("outcome", query.outcome))
    if any(wanted and not low(name).startswith(wanted.lower()) for name, wanted in begins):
        return False
    if query.text and not any(query.text.lower() in low(name) for name in _TEXT_COLUMNS):
        return False
    if query.before is not None and not int(row["sequence"]) < query.before:
        return False
    return _is_within(str(row.get("at")), query)


def _is_within(text: str, query: AuditQuery) -> bool:
    if query.since is None and query.until is None:
        return True
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return True  # a time that is none hides no record
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (query.since is None or at >= query.since) and (query.until is None or at < query.until)


def _found(segment: Segment, folders: Sequence[Path]) -> Path | None:
    # The name comes out of the database: it names a file of these folders, and none elsewhere.
    name = Path(segment.name).name
    if not name or name != segment.name:
        return None
    for folder in folders:
        path = folder / name
        if path.is_file() and digest_of(path) == segment.sha256:
            return path
    return None


def _through(path: Path, chain: Chain, watch: CheckpointWatch) -> str:
    try:
        for row in _rows(path):
            if why := chain.take(row):
                return f"record {chain.count + 1}: {why}"
            watch.pass_by(chain.count, chain.head)
    except _DAMAGED as error:
        return f"is no export ({type(error).__name__}: {error})"
    except OSError as error:
        raise DeviceError(f"{path}: {error}") from error
    return ""


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with tarfile.open(path, "r:*") as archive:
        file = archive.extractfile(RECORDS_FILE)
        if file is None:
            raise ValueError(f"{RECORDS_FILE} is no file")
        while line := file.readline(_LINE_MAX):
            yield json.loads(line)


def _end(chain: Chain, segment: Segment) -> str:
    if (chain.count, chain.head) == (segment.last_sequence, segment.last_hash):
        return ""
    return f"ends at record {chain.count}, not at {segment.last_sequence} with the hash that was noted"
