"""`calejo audit checkpoint|rotate-key|archive`: signing by hand, a new key, old records into segments (AUD-3)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from actors.vocabulary import RefusedError
from ops.cli.audit import trail_settings, waited
from ops.cli.exits import DONE, FAILED, USAGE, ExitError
from ops.cli.output import show as show_rows


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

    A segment that is there already is read back and used, so that archiving, looking and deleting may be three days.

    Raises:
        ExitError: (2) no age is given, (4) nothing is old enough, the trail is broken or a file is there that is not
            the chain's, (1) database or disk refuses.

    """
    from ops.audit_archiving import archive as work

    settings = trail_settings(arguments)
    days = settings.audit.retention_days if arguments.days is None else arguments.days
    if days < 1:
        raise ExitError(USAGE, "how old? give --days, or set audit.retention_days")
    done = waited(work(settings, Path(arguments.to), days=days, by=arguments.by, delete=arguments.delete))
    if arguments.format == "json":
        show_rows(msgspec.to_builtins(done), (), form="json")
    else:
        there = ", which was there and holds" if done.was_there else ""
        gone = (
            "taken out of the database" if done.deleted else "still in the database (--delete takes them out)"
        )
        print(f"records {done.first} to {done.last} are in {done.segment}{there}, and {gone}")
    if done.not_recorded:
        print(f"calejo: {done.not_recorded}", file=sys.stderr)
    return DONE
