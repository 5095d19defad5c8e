"""`calejo incident export`: all that is known of an incident, with the time of awareness (SEC-6).

The times by which NIS2, article 23(4), asks for an early warning, a notification and a final report follow from the
moment of awareness; they are told for orientation.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from actors.vocabulary import CalejoError, DeviceError, RefusedError, Settings
from ops.cli.audit import trail_settings, waited
from ops.cli.exits import DONE, FAILED, USAGE, ExitError
from ops.cli.output import show as show_rows

FORMAT: Final = "calejo-incident/2"
_TRAIL: Final = "audit_log"
_EARLY: Final = timedelta(hours=24)
_NOTIFICATION: Final = timedelta(hours=72)
_MONTH_END: Final = 12


def export(arguments: argparse.Namespace) -> int:
    """Write everything recorded in a time range into a new folder, and say so in the audit trail.

    Exit 1 also where the trail in it is not proved (broken, or archived segments not seen): the folder is there.

    Raises:
        ExitError: (2) a time is none or the range is empty, (4) the folder exists, (1) database or disk refuses.

    """
    from ops.audit_trail import moment_of, now_utc

    now = now_utc()
    try:
        since = moment_of(arguments.since, what="--since")
        until = moment_of(arguments.until, what="--until") or now
        aware = moment_of(arguments.aware, what="--aware") or now
    except CalejoError as error:
        raise ExitError(USAGE, str(error)) from error
    if since is None or not since < until:
        raise ExitError(USAGE, f"--since: {arguments.since}, expected a moment before {until.isoformat()}")
    if aware > now:
        raise ExitError(USAGE, f"--aware: {aware.isoformat()} is yet to come")
    settings = trail_settings(arguments)
    told = waited(
        _export(
            settings,
            Path(arguments.to),
            since=since,
            until=until,
            aware=aware,
            by=arguments.by,
            note=arguments.note,
            segments=arguments.segments,
        )
    )
    if arguments.format == "json":
        show_rows(told, (), form="json")
    else:
        _print(arguments.to, told)
    if told["not_recorded"]:
        print(f"calejo: {told['not_recorded']}", file=sys.stderr)
    if told["not_proved"]:
        print(f"calejo: the trail: {told['not_proved']}", file=sys.stderr)
    return FAILED if told["not_proved"] else DONE


def _print(to: Path, told: Mapping[str, Any]) -> None:
    print(f"{to}: {', '.join(f'{count} {name}' for name, count in told['rows'].items())}")
    for name, at in told["due"].items():
        print(f"{name.replace('_', ' ')} due by {at}")


async def _export(
    settings: Settings,
    to: Path,
    *,
    since: datetime,
    until: datetime,
    aware: datetime,
    by: str,
    note: str,
    segments: Sequence[Path],
) -> dict[str, Any]:
    from ops.audit_state import proof
    from ops.audit_state import told as state_of
    from ops.audit_trail import appended, now_utc, opened, record_of, signed_of, verified
    from storage.audit import utc_text
    from storage.audit_reader import AuditBook
    from storage.incidents import LEFT_OUT

    if await asyncio.to_thread(to.exists):
        raise RefusedError(f"{to}: exists already")
    part = to.with_name(f".{to.name}.part")
    with _alone_in(part):
        rows = await _tables(settings, part, since=since, until=until, segments=segments)
        verdict = await verified(settings, segments=segments)
        async with opened(settings) as database:
            archived = await AuditBook(database).archived()
        checkpoints, keys = signed_of(settings)
        for file_name, entries in (("checkpoints.jsonl", checkpoints), ("keys.jsonl", keys)):
            with _file(part / file_name) as file:
                file.write("".join(f"{msgspec.json.encode(entry).decode()}\n" for entry in entries))
        told = {
            "format": FORMAT,
            "aware_at": utc_text(aware),
            "since": utc_text(since),
            "until": utc_text(until),
            "made_at": utc_text(now_utc()),
            "by": by,
            "note": note,
            "due": {name: utc_text(at) for name, at in due(aware).items()},
            "rows": rows,
            "left_out": dict(LEFT_OUT),
            "trail": state_of(verdict, archived),
        }
        with _file(part / "incident.json") as file:
            file.write(json.dumps(told, indent=2) + "\n")
        await asyncio.to_thread(_moved, part, to)
    record = record_of(
        "INCIDENT_EXPORTED",
        by=by,
        object_id=str(to),
        after={key: told[key] for key in ("aware_at", "since", "until", "note", "rows")},
    )
    told["not_recorded"] = await appended(settings, record)
    told["not_proved"] = "" if verdict.is_whole else proof(verdict)
    return told


async def _tables(
    settings: Settings, folder: Path, *, since: datetime, until: datetime, segments: Sequence[Path]
) -> dict[str, int]:
    """Write a file for each table, archived records of the trail before those that are still there."""
    from actors.vocabulary.audit_trail import AuditQuery
    from ops.audit_trail import looked_up, opened, reading
    from storage import incidents
    from storage.audit_segments import matching

    found: dict[str, int] = {}
    query = AuditQuery(since=since, until=until)
    archived = await looked_up(settings, segments)
    async with opened(settings) as writer_s, reading(settings) as reader_s:
        for part in incidents.PARTS:
            name, count = part.table.name, 0
            with _file(folder / f"{name}.jsonl") as file:
                if name == _TRAIL:
                    for path in archived.paths:
                        count += await asyncio.to_thread(_lines, file, matching(path, query))
                database = reader_s if part.by_reader else writer_s
                async for page in incidents.pages(database, part, since=since, until=until):
                    count += await asyncio.to_thread(_lines, file, page)
            found[name] = count
    return found


def due(aware: datetime) -> dict[str, datetime]:
    """Return when early warning, notification and final report are due: 24 h, 72 h, a month after the notification."""
    notification = aware + _NOTIFICATION
    return {
        "early_warning": aware + _EARLY,
        "notification": notification,
        "final_report": _a_month_after(notification),
    }


def _a_month_after(at: datetime) -> datetime:
    year, month = (at.year + 1, 1) if at.month == _MONTH_END else (at.year, at.month + 1)
    for day in range(at.day, 0, -1):
        try:
            return at.replace(year=year, month=month, day=day)
        except ValueError:
            continue
    raise AssertionError("every month has a first day")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder to write into, empty whatever a run that was killed left there; it goes unless it was moved.

    Raises:
        RefusedError: another export is being written there.
        DeviceError: the disk refused.

    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DeviceError(f"{folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(f"{folder}: another export is being written there") from None
        except OSError:  # a share that knows no locks: two at once then fail by each other's files
            pass
        try:
            for left in folder.iterdir():
                left.unlink()
            yield
        except OSError as error:
            raise DeviceError(f"{folder}: {error.strerror}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _moved(part: Path, to: Path) -> None:
    """Give the whole folder its name, durable with everything in it."""
    from storage.files import sync_folder

    try:
        sync_folder(part)
        part.rename(to)
        sync_folder(to.parent)
    except OSError as error:
        raise DeviceError(f"{to}: {error.strerror}") from error


@contextmanager
def _file(path: Path) -> Iterator[TextIO]:
    """Open a new file and make it durable when it is written; a disk that refuses is told as such."""
    try:
        with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from error


def _lines(file: TextIO, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a line for each row; return how many."""
    count = 0
    for row in rows:
        file.write(f"{json.dumps(row, default=_plain, sort_keys=True)}\n")
        count += 1
    return count


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
