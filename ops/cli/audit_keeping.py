"""`calejo audit checkpoint|rotate-key|archive`: signing by hand, a new key, old records into segments (AUD-3)."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.vocabulary import RefusedError, Settings
from ops.cli.audit import trail_settings, waited
from ops.cli.exits import DONE, FAILED, USAGE, ExitError
from ops.cli.output import show as show_rows

_SEGMENT_MAX: Final = 100_000
"""Records in one segment: what is deleted in one transaction has to end within a statement's time."""


def checkpoint(arguments: argparse.Namespace) -> int:
    """Sign what the chain has come to, and print the line, for whoever keeps it elsewhere.

    Raises:
        ExitError: (1) the trail is broken, or database or disk refuses.

    """
    from actors.vocabulary.audit_trail import Look, SignedCheckpoint, Why
    from ops.audit_trail import notary_of, now_utc, opened, signed_of
    from storage.audit_keys import append_line
    from storage.audit_reader import AuditBook

    settings = trail_settings(arguments)

    async def work() -> tuple[Look, SignedCheckpoint]:
        async with opened(settings) as database:
            look = await notary_of(settings, AuditBook(database)).look(now=now_utc(), why=Why.ASKED)
        signed, _ = signed_of(settings)
        if look.broken or not signed:
            raise RefusedError(f"nothing is signed over a broken trail: {look.broken}")
        if arguments.out is not None:
            append_line(Path(arguments.out), signed[-1])
        return look, signed[-1]

    look, entry = waited(work())
    print(msgspec.json.encode(entry).decode())
    if look.not_kept_elsewhere:
        print(f"calejo: not kept elsewhere: {look.not_kept_elsewhere}", file=sys.stderr)
        return FAILED
    return DONE


def rotate_key(arguments: argparse.Namespace) -> int:
    """Replace the signing key by one that it signs.

    Raises:
        ExitError: (1) the trail is broken, or database or disk refuses.

    """
    from actors.vocabulary.audit_trail import PublicKey
    from ops.audit_trail import appended, notary_of, now_utc, opened, record_of
    from storage.audit_reader import AuditBook

    settings = trail_settings(arguments)

    async def work() -> tuple[PublicKey, PublicKey, str]:
        async with opened(settings) as database:
            old, new, _ = await notary_of(settings, AuditBook(database)).rotate(now=now_utc())
        told = record_of(
            "AUDIT_KEY_ROTATED",
            by=arguments.by,
            object_id=new.key_id,
            before={"key_id": old.key_id},
            after={"key_id": new.key_id, "public_key": new.public_key},
        )
        return old, new, await appended(settings, told)

    old, new, why = waited(work())
    if arguments.format == "json":
        show_rows({"old": msgspec.to_builtins(old), "new": msgspec.to_builtins(new)}, (), form="json")
    else:
        print(f"key {new.key_id} signs from now on; {old.key_id} has signed it and signs no more")
    if why:
        print(f"calejo: {why}", file=sys.stderr)
    return DONE


def archive(arguments: argparse.Namespace) -> int:
    """Write records older than the policy into a segment; with `--delete` take them out of the database.

    Raises:
        ExitError: (2) no age is given, (4) nothing is old enough, (1) the trail is broken or something refuses.

    """
    settings = trail_settings(arguments)
    days = settings.audit.retention_days if arguments.days is None else arguments.days
    if days < 1:
        raise ExitError(USAGE, "how old? give --days, or set audit.retention_days")
    done = waited(_archive(settings, Path(arguments.to), days=days, by=arguments.by, delete=arguments.delete))
    if arguments.format == "json":
        show_rows(done, (), form="json")
    else:
        gone = (
            "taken out of the database"
            if done["deleted"]
            else "still in the database (--delete takes them out)"
        )
        print(f"records {done['first']} to {done['last']} are in {done['segment']}, and {gone}")
    if done["not_recorded"]:
        print(f"calejo: {done['not_recorded']}", file=sys.stderr)
    return DONE


async def _archive(settings: Settings, to: Path, *, days: int, by: str, delete: bool) -> dict[str, Any]:
    from ops.audit_trail import (
        appended,
        known_checkpoints,
        now_utc,
        opened,
        record_of,
        signed_of,
    )
    from storage import audit_archive, audit_export
    from storage.audit_reader import AuditBook
    from storage.engine import Access

    now: datetime = now_utc()
    async with opened(settings) as database:
        book = AuditBook(database)
        last = await audit_archive.last_older(database, now - timedelta(days=days))
        segments = await book.segments()
        first = segments[-1].last_sequence + 1 if segments else 1
        last = min(last, first + _SEGMENT_MAX - 1)
        if last < first:
            raise RefusedError(f"nothing is older than {days} days and not archived yet")
        checkpoints, complaints = known_checkpoints(settings)
        verdict = await book.verify(checkpoints)
        if complaints or not verdict.holds:
            why = "; ".join((*complaints, verdict.chain.reason, *verdict.complaints))
            raise RefusedError(f"a broken trail is not archived: {why}")
        name = f"audit-{first:012d}-{last:012d}.tar.gz"
        folder = to / f".{name}.folder"
        signed, keys = signed_of(settings)
        try:
            done = await audit_export.export(
                book, folder, checkpoints=signed, keys=keys, at=now, after=first - 1, until=last
            )
            sha256 = await asyncio.to_thread(audit_export.pack, folder, to / name)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    told = {"first": first, "last": last, "segment": str(to / name), "sha256": sha256, "deleted": delete}
    if delete:
        async with opened(settings, Access.WRITE) as database:
            await audit_archive.take_out(
                database,
                first=first,
                last=last,
                last_hash=done.head,
                name=name,
                sha256=sha256,
                by=by,
                at=now,
            )
    record = record_of("AUDIT_ARCHIVED", by=by, object_id=name, after=told)
    return {**told, "not_recorded": await appended(settings, record)}
