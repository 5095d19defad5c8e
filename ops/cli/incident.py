"""`calejo incident export`: all that is known of an incident, with the time of awareness (SEC-6).

The times by which NIS2, article 23(4), asks for an early warning, a notification and a final report follow from the
moment of awareness; they are told for orientation.
"""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.vocabulary import CalejoError, DeviceError, RefusedError, Settings
from ops.cli.audit import trail_settings, waited
from ops.cli.exits import DONE, USAGE, ExitError
from ops.cli.output import show as show_rows

FORMAT: Final = "calejo-incident/1"
_EARLY: Final = timedelta(hours=24)
_NOTIFICATION: Final = timedelta(hours=72)
_MONTH_END: Final = 12


def export(arguments: argparse.Namespace) -> int:
    """Write everything recorded in a time range into a new folder, and say so in the audit trail.

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
        )
    )
    if arguments.format == "json":
        show_rows(told, (), form="json")
        return DONE
    print(f"{arguments.to}: {', '.join(f'{count} {name}' for name, count in told['rows'].items())}")
    for name, at in told["due"].items():
        print(f"{name.replace('_', ' ')} due by {at}")
    return DONE


async def _export(
    settings: Settings,
    to: Path,
    *,
    since: datetime,
    until: datetime,
    aware: datetime,
    by: str,
    note: str,
) -> dict[str, Any]:
    from ops.audit_trail import appended, now_utc, opened, record_of, signed_of, verified
    from storage import incidents
    from storage.audit import utc_text

    _made(to)
    rows: dict[str, int] = {}
    async with opened(settings) as database:
        for part in incidents.PARTS:
            name, count = part.table.name, 0
            with _file(to / f"{name}.jsonl") as file:
                async for page in incidents.pages(database, part, since=since, until=until):
                    file.write(
                        "".join(f"{json.dumps(row, default=_plain, sort_keys=True)}\n" for row in page)
                    )
                    count += len(page)
            rows[name] = count
    verdict = await verified(settings)
    checkpoints, keys = signed_of(settings)
    for file_name, entries in (("checkpoints.jsonl", checkpoints), ("keys.jsonl", keys)):
        with _file(to / file_name) as file:
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
        "reached_the_bound": [name for name, count in rows.items() if count >= incidents.ROWS_MAX],
        "trail": {
            "holds": verdict.holds,
            "archived": verdict.archived,
            "count": verdict.chain.count,
            "head": verdict.chain.head,
            "broken_at": verdict.chain.broken_at,
            "complaints": [each for each in (verdict.chain.reason, *verdict.complaints) if each],
        },
    }
    record = record_of(
        "INCIDENT_EXPORTED",
        by=by,
        object_id=str(to),
        after={key: told[key] for key in ("aware_at", "since", "until", "note", "rows")},
    )
    told["not_recorded"] = await appended(settings, record)
    with _file(to / "incident.json") as file:
        file.write(json.dumps(told, indent=2) + "\n")
    return told


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


def _made(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise RefusedError(f"{folder}: exists already") from None
    except OSError as error:
        raise DeviceError(f"{folder}: {error.strerror}") from error


def _file(path: Path) -> Any:
    try:
        return path.open("x", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from error


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
