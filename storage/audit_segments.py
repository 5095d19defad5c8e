"""Looks for archived segments where they are said to lie, and walks the chain through them (AUD-1, AUD-3).

A row in `audit_segments` is no proof that anything was archived: whoever may write a SQLite database can note a segment
that there is not, and then take its records out. So a trail with archived records is whole only where their files are
seen: with the digest that was noted, and continuing the chain from its beginning to where the database goes on.
"""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.vocabulary import DeviceError
from actors.vocabulary.audit_trail import GENESIS, Checkpoint
from storage.audit import Chain
from storage.audit_export import RECORDS_FILE, digest_of
from storage.audit_reader import CheckpointWatch, Segment

_LINE_MAX: Final = 16 * 1_048_576


class Walked(msgspec.Struct, frozen=True, kw_only=True):
    """What the walk through segments found: those that are not seen here, and what is wrong with those that are."""

    unseen: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()


def walked(
    segments: Sequence[Segment], folders: Sequence[Path], checkpoints: Sequence[Checkpoint] = ()
) -> Walked:
    """Walk through every segment whose file lies in one of `folders`, oldest first; it reads them whole.

    Raises:
        DeviceError: a file is there and the disk refused it.

    """
    unseen: list[str] = []
    complaints: list[str] = []
    chain, head = Chain(), GENESIS
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
    except (tarfile.TarError, zlib.error, ValueError, KeyError, TypeError, EOFError) as error:
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
