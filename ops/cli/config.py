"""`calejo config check|show|schema` and `calejo db upgrade`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping

from actors.vocabulary import CalejoError
from ops.cli.exits import DONE, FAILED, ExitError
from ops.cli.output import show as show_rows
from ops.cli.settings_of import loaded_of, settings_of
from ops.settings import schema as settings_schema
from storage.masking import masked


def check(arguments: argparse.Namespace) -> int:
    """Say whether the configuration is valid.

    Raises:
        ExitError: (1) it is not.

    """
    settings = settings_of(arguments)
    if arguments.format == "json":
        print(json.dumps({"valid": True, "data_dir": settings.data_dir}))
    else:
        print(f"valid (data directory {settings.data_dir})")
    return DONE


def show(arguments: argparse.Namespace) -> int:
    """Print the settings in force, secrets masked.

    Raises:
        ExitError: (1) they are wrong.

    """
    settings, sources = loaded_of(arguments)
    plain = masked(settings)
    if arguments.format == "json":
        print(json.dumps(plain, indent=2))
        return DONE
    rows = []
    for section, value in plain.items():
        keys = value.items() if isinstance(value, dict) else [("", value)]
        for key, entry in keys:
            name = f"{section}.{key}".rstrip(".")
            rows.append({"key": name, "value": _plain(entry), "from": _source(name, sources)})
    show_rows(rows, ("key", "value", "from"), form="table")
    return DONE


def _source(key: str, sources: Mapping[str, str]) -> str:
    """Return where a key's value came from; a site's settings may have come from several places."""
    found = {source for name, source in sources.items() if name == key or name.startswith(f"{key}.")}
    return ", ".join(sorted(found)) or "default"


def _plain(entry: object) -> str:
    return json.dumps(entry) if isinstance(entry, dict) else str(entry)


def schema(arguments: argparse.Namespace) -> int:
    """Print the JSON schema of the configuration file."""
    del arguments
    print(json.dumps(settings_schema(), indent=2))
    return DONE


def db_upgrade(arguments: argparse.Namespace) -> int:
    """Bring the database's schema to this version.

    Raises:
        ExitError: (1) the database cannot be reached or is newer than this program.

    """
    from ops.audit_trail import appended, record_of, user_name
    from ops.database import database_urls, upgrade
    from storage import schema

    settings = settings_of(arguments)
    try:
        was = schema.check(database_urls(settings).writer)
        revision = upgrade(settings)
    except CalejoError as error:
        raise ExitError(FAILED, str(error)) from error
    if was is not schema.SchemaState.CURRENT:
        told = {"revision": revision}
        record = record_of(
            "DATABASE_UPGRADED", by=user_name(), object_id="schema", before={"schema": was.value}, after=told
        )
        if why := asyncio.run(appended(settings, record)):
            print(f"calejo: {why}", file=sys.stderr)
    if arguments.format == "json":
        print(json.dumps({"revision": revision}))
    else:
        print(f"schema is at revision {revision}")
    return DONE
