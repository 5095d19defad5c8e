"""`calejo audit verify|export|search`: the trail read and proved, with or without a running Calejo (AUD-1, AUD-3)."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from actors.vocabulary import CalejoError, RefusedError, Settings
from ops.cli.exits import DONE, FAILED, REFUSED, USAGE, ExitError
from ops.cli.output import show as show_rows
from ops.cli.settings_of import settings_of

T = TypeVar("T")

_COLUMNS: Final = (
    "sequence", "at", "severity", "event_type", "actor", "source_address", "object_id", "outcome",
)  # fmt: skip
_TARS: Final = (".tar", ".tar.gz", ".tgz")


def trail_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings of a database that holds a trail of this version.

    Raises:
        ExitError: (1) the settings are wrong, or the database is not of this version.

    """
    from ops.database import database_urls
    from storage import schema

    settings = settings_of(arguments)
    try:
        schema.require_current(database_urls(settings).writer)
    except CalejoError as error:
        raise ExitError(FAILED, str(error)) from error
    return settings


def waited(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; what goes wrong becomes one line.

    Raises:
        ExitError: (4) refused, (1) anything else that we know of.

    """
    try:
        return asyncio.run(work)
    except RefusedError as error:
        raise ExitError(REFUSED, str(error)) from error
    except CalejoError as error:
        raise ExitError(FAILED, str(error)) from error


def verify(arguments: argparse.Namespace) -> int:
    """Walk the chain, hold it against every checkpoint that is known, and name the first broken record.

    Raises:
        ExitError: (1) the database or a file cannot be read.

    """
    from ops.audit_trail import verified

    settings = trail_settings(arguments)
    found = waited(
        verified(settings, kept=arguments.checkpoint, keys=arguments.keys, segments=arguments.segments)
    )
    chain = found.chain
    if arguments.format == "json":
        told = {
            "holds": found.is_whole,
            "first": chain.first,
            "count": chain.count,
            "head": chain.head,
            "broken_at": chain.broken_at,
            "reason": chain.reason,
            "complaints": list(found.complaints),
            "checkpoints_met": found.checkpoints_met,
            "archived": found.archived,
            "unseen": list(found.unseen),
        }
        show_rows(told, (), form="json")
        return DONE if found.is_whole else FAILED
    if chain.broken_at is not None:
        print(f"BROKEN at {chain.broken_at}: {chain.reason}")
    for complaint in found.complaints:
        print(f"BROKEN: {complaint}")
    print(f"records {chain.first} to {chain.count} hold; the last hash is {chain.head}")
    print(f"{found.checkpoints_met} checkpoints are met")
    for name in found.unseen:
        print(f"NOT SEEN: segment {name!r}, where is it? (--segments FOLDER)")
    if found.archived:
        seen = "not all of them were seen" if found.unseen else "and hold as well"
        print(f"records 1 to {found.archived} are archived, {seen}")
    return DONE if found.is_whole else FAILED


def export(arguments: argparse.Namespace) -> int:
    """Write records, checkpoints and public keys as `ops/docs/audit.md` specifies them.

    Raises:
        ExitError: (4) the place is taken, (1) database or disk refuses.

    """
    settings = trail_settings(arguments)
    to = Path(arguments.to).expanduser().resolve()
    found = waited(exported(settings, to, after=arguments.after, until=arguments.until, by=arguments.by))
    if arguments.format == "json":
        show_rows(found, (), form="json")
    else:
        print(
            f"records {found['after'] + 1} to {found['count']} are in {to}; the last hash is {found['head']}"
        )
    for problem in ("broken", "not_recorded"):
        if found[problem]:
            print(f"calejo: {found[problem]}", file=sys.stderr)
    return FAILED if found["broken"] else DONE


async def exported(settings: Settings, to: Path, *, after: int, until: int | None, by: str) -> dict[str, Any]:
    """Export, and say so in the trail.

    Raises:
        CalejoError: the place is taken, or database or disk refuses.

    """
    from ops.audit_trail import appended, now_utc, opened, record_of, signed_of
    from storage import audit_export
    from storage.audit_reader import AuditBook

    is_tar = to.name.endswith(_TARS)
    if await asyncio.to_thread(to.exists):
        raise RefusedError(f"{to}: exists already")
    folder = to.with_name(f".{to.name}.folder") if is_tar else to
    checkpoints, keys = signed_of(settings)
    try:
        async with opened(settings) as database:
            done = await audit_export.export(
                AuditBook(database),
                folder,
                checkpoints=checkpoints,
                keys=keys,
                at=now_utc(),
                after=after,
                until=until,
            )
        sha256 = await asyncio.to_thread(audit_export.pack, folder, to) if is_tar else ""
    finally:
        if is_tar:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    what = {"after": done.after, "count": done.count, "head": done.head, "sha256": sha256}
    record = record_of("AUDIT_EXPORTED", by=by, object_id=str(to), after=what)
    return {**what, "broken": done.broken, "not_recorded": await appended(settings, record)}


def search(arguments: argparse.Namespace) -> int:
    """Print records, the newest first; what is archived is searched where its segments are seen, and else named.

    Raises:
        ExitError: (2) a time is none, (1) the database refuses.

    """
    from actors.vocabulary.audit_trail import SEARCH_MAX, AuditPage, AuditQuery
    from ops.audit_state import not_seen
    from ops.audit_trail import looked_up, moment_of, opened
    from storage.audit_reader import AuditBook
    from storage.audit_segments import Seen
    from storage.audit_segments import search as everywhere

    settings = trail_settings(arguments)
    if not 1 <= arguments.limit <= SEARCH_MAX:
        raise ExitError(USAGE, f"--limit: {arguments.limit}, expected 1 to {SEARCH_MAX}")
    try:
        query = AuditQuery(
            event_types=tuple(word.upper() for word in arguments.event_types),
            severities=tuple(word.upper() for word in arguments.severities),
            actor=arguments.actor,
            source_address=arguments.address,
            object_id=arguments.object,
            outcome=arguments.outcome,
            correlation_id=arguments.correlation,
            text=arguments.text,
            since=moment_of(arguments.since, what="--since"),
            until=moment_of(arguments.until, what="--until"),
            before=arguments.before,
            limit=arguments.limit,
        )
    except CalejoError as error:
        raise ExitError(USAGE, str(error)) from error

    async def work() -> tuple[AuditPage, Seen]:
        archived = await looked_up(settings, arguments.segments)
        async with opened(settings) as database:
            return await everywhere(AuditBook(database), query, archived.paths), archived

    page, archived = waited(work())
    if arguments.format == "json":
        told = {
            "records": [dict(each) for each in page.records],
            "next_before": page.next_before,
            "unseen": list(archived.unseen),
        }
        show_rows(told, (), form="json")
    else:
        show_rows(page.records, _COLUMNS, form="table")
        if page.next_before is not None:
            print(f"more: --before {page.next_before}")
    if archived.unseen and page.next_before is None:
        print(f"calejo: not searched: {not_seen(archived.unseen)}", file=sys.stderr)
    return DONE
