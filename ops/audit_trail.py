"""The audit trail as commands use it: opened from the settings, held against its checkpoints, appended to."""

from __future__ import annotations

import asyncio
import getpass
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from actors.vocabulary import CalejoError, InvalidValueError, Settings
from actors.vocabulary.audit_events import EVENT_TYPES
from actors.vocabulary.audit_trail import Checkpoint, SignedCheckpoint, SignedKey
from actors.vocabulary.records import AuditRecord
from ops.database import database_urls
from storage import audit
from storage.audit_keys import KeyFolder, read_lines
from storage.audit_reader import AuditBook, TrailVerdict
from storage.audit_segments import Seen, seen, walked
from storage.checkpoints import Notary, judged, read_checkpoints
from storage.engine import Access, Database, real_chance
from supervisors.process import SystemClock

S = TypeVar("S", bound=msgspec.Struct)

FOLDER: Final = "audit"
COMMAND_LINE: Final = "command line"


def folder_of(settings: Settings) -> Path:
    """Return where keys and checkpoints are kept on this machine."""
    return Path(settings.data_dir) / FOLDER


def now_utc() -> datetime:
    """Return the time; commands have no actor's clock."""
    return SystemClock().now().utc


@asynccontextmanager
async def opened(settings: Settings, access: Access = Access.READ) -> AsyncIterator[Database]:
    """Open the database with the writer's login: the reader's may not read the trail (DAT-2)."""
    url = database_urls(settings).writer
    database = Database(url, access, settings=settings.database, chance=real_chance())
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Database]:
    """Open the database with the reader's login, which alone reads the plant's configuration (DAT-2)."""
    url = database_urls(settings).reader
    database = Database(url, Access.READ, settings=settings.database, chance=real_chance())
    try:
        yield database
    finally:
        await database.close()


def notary_of(settings: Settings, book: AuditBook) -> Notary:
    """Return what signs checkpoints, with the settings' intervals."""
    wanted = settings.audit
    return Notary(
        folder_of(settings),
        book,
        every_records=wanted.checkpoint_records,
        every_s=wanted.checkpoint_s,
        elsewhere=Path(wanted.checkpoint_dir) if wanted.checkpoint_dir else None,
    )


def signed_of(settings: Settings) -> tuple[tuple[SignedCheckpoint, ...], tuple[SignedKey, ...]]:
    """Return the checkpoints and public keys of this machine.

    Raises:
        DeviceError: the disk refused.

    """
    folder = folder_of(settings)
    return read_checkpoints(folder), KeyFolder(folder).keys()


def known_checkpoints(
    settings: Settings, *, kept: Path | None = None, keys: Path | None = None
) -> tuple[tuple[Checkpoint, ...], tuple[str, ...]]:
    """Return every checkpoint that counts, ours, those of `audit.checkpoint_dir` and those of `kept`; and complaints.

    Raises:
        DeviceError: the disk refused.
        InvalidValueError: `kept` or `keys` holds none.

    """
    ours, listed = signed_of(settings)
    if keys is not None:
        listed = tuple(_lines(keys, SignedKey))
    lots: list[tuple[str, Sequence[SignedCheckpoint]]] = [("", ours)]
    elsewhere = settings.audit.checkpoint_dir
    if elsewhere and Path(elsewhere).is_dir():
        lots.append((f"{elsewhere}: ", read_checkpoints(Path(elsewhere))))
    if kept is not None:
        lots.append((f"{kept}: ", _lines(kept, SignedCheckpoint)))
    found: list[Checkpoint] = []
    complaints = []
    for whose, signed in lots:
        good, wrong = judged(signed, listed)
        found += good
        if wrong:
            complaints.append(f"{whose}{wrong}")
    return tuple(found), tuple(complaints)


async def verified(
    settings: Settings,
    *,
    kept: Path | None = None,
    keys: Path | None = None,
    segments: Sequence[Path] = (),
) -> TrailVerdict:
    """Walk the whole trail and hold it against every checkpoint that is known; archived segments in these folders too.

    Raises:
        CalejoError: database or disk refused, or a file holds nothing of the kind.

    """
    checkpoints, complaints = known_checkpoints(settings, kept=kept, keys=keys)
    async with opened(settings) as database:
        book = AuditBook(database)
        verdict = await book.verify(checkpoints)
        archived = await book.archived()
    found = await asyncio.to_thread(walked, archived, segments, checkpoints)
    return msgspec.structs.replace(
        verdict, complaints=(*complaints, *found.complaints, *verdict.complaints), unseen=found.unseen
    )


async def looked_up(settings: Settings, folders: Sequence[Path]) -> Seen:
    """Look in these folders for the files of what was archived.

    Raises:
        DeviceError: database or disk refused.

    """
    async with opened(settings) as database:
        archived = await AuditBook(database).archived()
    return await asyncio.to_thread(seen, archived, folders)


def record_of(
    event_type: str,
    *,
    by: str,
    object_id: str,
    outcome: str = "success",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditRecord:
    """Return a record of what a command did, with the severity that its type usually has."""
    return AuditRecord(
        record_id=f"{uuid.uuid4()}:command",
        at=now_utc(),
        event_type=event_type,
        actor=by,
        source_address=COMMAND_LINE,
        object_id=object_id,
        outcome=outcome,
        severity=EVENT_TYPES[event_type].severity,
        before=None if before is None else dict(before),
        after=None if after is None else dict(after),
    )


async def append(settings: Settings, records: Iterable[AuditRecord]) -> None:
    """Append records straight to the chain; the database fences this writer against the running one.

    Raises:
        DeviceError: the database is away or refuses.

    """
    wanted = list(records)
    async with opened(settings, Access.WRITE) as database:
        await database.run(lambda connection: audit.append(connection, wanted))


async def appended(settings: Settings, record: AuditRecord) -> str:
    """Append one record if that is possible; return why it was not: what it tells of is done and stays done."""
    try:
        await append(settings, [record])
    except CalejoError as error:
        return f"not in the trail: {record.event_type}: {error}"
    return ""


def moment_of(text: str | None, *, what: str) -> datetime | None:
    """Read an ISO 8601 time, UTC unless it says otherwise; None stays None.

    Raises:
        InvalidValueError: it is none.

    """
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValueError(
            f"{what}: {text[:40]!r}, expected a time such as 2026-11-21T08:00 (UTC)"
        ) from None
    return (read.replace(tzinfo=UTC) if read.tzinfo is None else read).astimezone(UTC)


def user_name() -> str:
    """Return who runs this process, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _lines(path: Path, kind: type[S]) -> list[S]:
    found = read_lines(path, kind) if path.is_file() else []
    if not found:
        raise InvalidValueError(f"{path}: holds no {kind.__name__}")
    return found
