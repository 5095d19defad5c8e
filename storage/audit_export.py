"""Writes the trail as an outsider verifies it: records, checkpoints and public keys in a folder or a tar file (AUD-1).

    manifest.json      what the export holds: format, the record it begins behind, how many there are, the last hash
    records.jsonl      one record a line, in order, every column, `at` as it is hashed
    checkpoints.jsonl  the signed checkpoints up to the last record
    keys.jsonl         every public key, each signed by its predecessor

`ops/docs/audit.md` specifies it, `ops/verify_audit.py` verifies it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.vocabulary import DeviceError, RefusedError
from actors.vocabulary.audit_trail import SignedCheckpoint, SignedKey
from storage.audit import Chain, utc_text
from storage.audit_keys import KEYS_FILE
from storage.audit_reader import AuditBook
from storage.checkpoints import CHECKPOINTS_FILE
from storage.files import FOLDER_MODE, ensure_folder, refused, sync_folder

EXPORT_FORMAT: Final = "calejo-audit-export/1"
RECORDS_FILE: Final = "records.jsonl"
MANIFEST_FILE: Final = "manifest.json"
MEMBERS: Final = (MANIFEST_FILE, KEYS_FILE, CHECKPOINTS_FILE, RECORDS_FILE)
_CHUNK: Final = 1_048_576


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: records behind `after` up to `count`; `broken` is empty, or says where the chain broke."""

    after: int
    count: int
    head: str
    broken: str


def line(entry: Mapping[str, Any]) -> bytes:
    """Return one line of an export: JSON with sorted keys, in ASCII."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), default=repr).encode("ascii") + b"\n"


async def export(
    book: AuditBook,
    folder: Path,
    *,
    checkpoints: Iterable[SignedCheckpoint],
    keys: Iterable[SignedKey],
    at: datetime,
    after: int = 0,
    until: int | None = None,
) -> Exported:
    """Write a new folder; what is broken is exported as it stands, since that is what has to be looked at.

    Without `after` it begins where the database does: behind the last archived segment.

    Raises:
        RefusedError: the folder exists, or there is no record `after` to begin behind.
        DeviceError: the database is away, or the disk refused.

    """
    segments = await book.segments()
    if after == 0 and segments:
        after = segments[-1].last_sequence
    first = await book.hash_at(after)
    if first is None:
        raise RefusedError(f"there is no record {after} to begin behind")
    _make(folder)
    chain, broken, count, head = Chain(count=after, head=first), "", after, first
    try:
        with (folder / RECORDS_FILE).open("xb") as file:
            async for rows in book.pages(after=after, until=until):
                for row in rows:
                    file.write(line(row))
                    if not broken and (why := chain.take(row)):
                        broken = f"record {chain.count + 1} ({row['record_id']!r}): {why}"
                    count, head = row["sequence"], row["hash"]
            _synced(file)
        for name, entries in (
            (CHECKPOINTS_FILE, [each for each in checkpoints if each.checkpoint.count <= _number(count)]),
            (KEYS_FILE, list(keys)),
        ):
            with (folder / name).open("xb") as file:
                file.writelines(line(msgspec.to_builtins(entry)) for entry in entries)
                _synced(file)
        manifest = {
            "format": EXPORT_FORMAT,
            "made_at": utc_text(at),
            "after": after,
            "after_hash": first,
            "count": count,
            "head": head,
        }
        with (folder / MANIFEST_FILE).open("xb") as file:
            file.write(line(manifest))
            _synced(file)
        sync_folder(folder)
    except OSError as error:
        raise refused(folder, error) from error
    return Exported(after=after, count=_number(count), head=str(head), broken=broken)


def pack(folder: Path, tar: Path) -> str:
    """Put an exported folder into one tar file (compressed when its name ends so); return the file's SHA-256.

    Raises:
        RefusedError: the file exists.
        DeviceError: the disk refused.

    """
    try:
        with tar.open("xb") as file:
            mode = "w:gz" if tar.name.endswith((".tar.gz", ".tgz")) else "w"
            with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
                for name in MEMBERS:
                    archive.add(folder / name, arcname=name, filter=_nobody_s)
            _synced(file)
        sync_folder(tar.parent)
    except FileExistsError:
        raise RefusedError(f"{tar}: exists already") from None
    except (OSError, tarfile.TarError) as error:
        raise DeviceError(f"{tar}: {error}") from error
    return digest_of(tar)


def digest_of(path: Path) -> str:
    """Return a file's SHA-256.

    Raises:
        DeviceError: the disk refused.

    """
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
    except OSError as error:
        raise refused(path, error) from error
    return found.hexdigest()


def _make(folder: Path) -> None:
    ensure_folder(folder.parent)
    try:
        folder.mkdir(mode=FOLDER_MODE)
    except FileExistsError:
        raise RefusedError(f"{folder}: exists already") from None
    except OSError as error:
        raise refused(folder, error) from error


def _synced(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _number(count: Any) -> int:
    """Return a sequence as a number; somebody may have put another thing into the database."""
    return count if isinstance(count, int) else 0


def _nobody_s(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
