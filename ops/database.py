"""Database chores of the composition root: where it is, is its schema there, bring it up; for commands and demo."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
from alembic.script import ScriptDirectory

import storage
from actors.vocabulary import DeviceError, Settings
from storage import schema
from storage.urls import sqlite_url

FILE: Final = "calejo.db"


class DatabaseUrls(msgspec.Struct, frozen=True, kw_only=True):
    """SQLAlchemy URLs of the role that writes and of the one that may only SELECT; the same on SQLite."""

    writer: str
    reader: str


def database_urls(settings: Settings) -> DatabaseUrls:
    """Return where the database is: as configured, else `<data-dir>/calejo.db`."""
    writer = settings.database.url or sqlite_url(Path(settings.data_dir) / FILE)
    return DatabaseUrls(writer=writer, reader=settings.database.reader_url or writer)


def upgrade(settings: Settings) -> str:
    """Bring the schema to this version and return its revision. Idempotent.

    Raises:
        DeviceError: the database cannot be reached or made, or its schema is newer than this program.

    """
    try:
        schema.upgrade(database_urls(settings).writer)
    except OSError as error:
        text = f"data directory {settings.data_dir}: not writable ({error.strerror})"
        raise DeviceError(text) from error
    return needed_revision()


def require_current(settings: Settings) -> None:
    """Return if the schema is the one this version needs, and the reader may read what it is there for.

    Raises:
        DeviceError: it is missing, older or newer (storage.schema.SchemaError: one line, with what to do), or the
            database cannot be reached (storage.schema.UnreachableError) or read.

    """
    urls = database_urls(settings)
    schema.require_current(urls.writer)
    try:
        schema.require_readable(urls.reader)
    except schema.UnreachableError:
        raise
    except DeviceError as error:
        if settings.database.reader_url:
            text = f"database.reader_url: {error} (expected this database by a login of control_reader)"
        else:
            text = f"database.url: {error} (set database.reader_url to this database by a login of control_reader)"
        raise DeviceError(text) from error


def needed_revision() -> str:
    """Return the schema revision that this version needs."""
    scripts = ScriptDirectory(str(Path(storage.__file__).parent / "migrations"))
    revision = scripts.get_current_head()
    assert revision is not None, "there is at least one migration"
    return revision
