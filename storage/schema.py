"""Brings a database up to this program's schema, or says in one line why it is not."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum, unique
from pathlib import Path
from typing import Any, Final, NamedTuple, assert_never

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, inspect, literal, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from actors.vocabulary import DeviceError
from storage.models import (
    optimiser_status,
    pump_commissioning_envelopes,
    pump_feedback,
    pump_plans,
    pump_safety_limits,
    pump_stations,
    pumps,
    sites,
)
from storage.urls import parsed, shown, without_secrets

CONNECT_TIMEOUT_S: Final = 5
READ_BY_READERS: Final = (
    sites,
    pump_stations,
    pumps,
    pump_safety_limits,
    pump_commissioning_envelopes,
    pump_plans,
    optimiser_status,
    pump_feedback,
)
"""What the role control_reader may SELECT from, and the readers do."""

_ONE_AT_A_TIME: Final = threading.Lock()  # Alembic keeps the migration under way in module variables
_LOCK: Final = 0x43616C65_6A6F_0001  # "Calejo", first of its advisory locks: migrations


@unique
class SchemaState(StrEnum):
    """How a database's schema stands to the one this program needs."""

    CURRENT = "current"
    MISSING = "missing"
    OLDER = "older"
    NEWER = "newer"


class SchemaError(DeviceError):
    """The database's schema is not the one this program needs; the text is one line and says what to do."""


class UnreachableError(DeviceError):
    """Nobody answers where the database should be, or it is only just starting or ending; one line."""


# A server that answers, and refuses, begins with this word; these two refusals pass by themselves.
_SERVER_SAYS: Final = "FATAL"
_PASSING: Final = ("starting up", "shutting down", "recovery")


def upgrade(url: str) -> None:
    """Bring the schema of `url` up to this program's, making the SQLite file if there is none. Idempotent.

    All or nothing: what fails leaves the database as it was. Two upgrades at once wait for each other.

    Raises:
        DeviceError: the database cannot be reached, or refused; SchemaError: its schema is newer than the program.
        InvalidValueError: `url` is none.

    """
    where = parsed(url, "sync")
    if where.get_backend_name() == "sqlite" and where.database is not None:
        Path(where.database).parent.mkdir(parents=True, exist_ok=True)
    with _connection(where, changing=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        found = _found(connection)
        match found.state:
            case SchemaState.CURRENT:
                return
            case SchemaState.NEWER:
                raise _error(found, where)
            case SchemaState.MISSING | SchemaState.OLDER:
                config = _config()
                config.attributes["connection"] = connection
                with _ONE_AT_A_TIME:
                    command.upgrade(config, "head")
            case _:
                assert_never(found.state)


def check(url: str) -> SchemaState:
    """Say how the schema of `url` stands; changes nothing and makes no file.

    Raises:
        DeviceError: the database cannot be reached or read.
        InvalidValueError: `url` is none.

    """
    return _checked(parsed(url, "sync")).state


def require_current(url: str) -> None:
    """Return if the schema is current.

    Raises:
        SchemaError: it is missing, older or newer.
        UnreachableError: nobody answers; DeviceError: the database cannot be read.
        InvalidValueError: `url` is none.

    """
    where = parsed(url, "sync")
    found = _checked(where)
    if found.state is not SchemaState.CURRENT:
        raise _error(found, where)


def require_readable(url: str) -> None:
    """Return if `url` may read all that the readers read; changes nothing and makes no file.

    Raises:
        DeviceError: the database is missing or cannot be reached, or a table may not be read: one line.
        InvalidValueError: `url` is none.

    """
    where = parsed(url, "sync")
    if _is_missing(where):
        raise DeviceError(f"{shown(where)}: there is no such file")
    with _connection(where, changing=False) as connection:
        for table in READ_BY_READERS:
            connection.execute(select(literal(1)).select_from(table).limit(1))


def _is_missing(where: URL) -> bool:
    """Say whether it is a SQLite file that is not there: connecting would make it."""
    is_file = where.get_backend_name() == "sqlite" and where.database is not None
    return is_file and not Path(str(where.database)).exists()


class _Found(NamedTuple):
    """How a schema stands, and the revisions that say so."""

    state: SchemaState
    present: str = ""
    needed: str = ""


def _checked(where: URL) -> _Found:
    if _is_missing(where):
        return _Found(SchemaState.MISSING)
    with _connection(where, changing=False) as connection:
        return _found(connection)


def _error(found: _Found, where: URL) -> SchemaError:
    advice = "run `calejo db upgrade`"
    if found.state is SchemaState.NEWER:
        advice = "a newer Calejo made it; run that version, or restore a backup from before its upgrade"
    revisions = f" (revision {found.present}; needed {found.needed})" if found.present else ""
    return SchemaError(f"{shown(where)}: database schema is {found.state.value}{revisions}: {advice}")


def _found(connection: Connection) -> _Found:
    if not inspect(connection).has_table("alembic_version"):
        return _Found(SchemaState.MISSING)
    scripts = ScriptDirectory.from_config(_config())
    present = set(MigrationContext.configure(connection).get_current_heads())
    if not present:
        return _Found(SchemaState.MISSING)
    needed = set(scripts.get_heads())
    state = SchemaState.CURRENT if present == needed else SchemaState.OLDER
    if not present <= {script.revision for script in scripts.walk_revisions()}:
        state = SchemaState.NEWER
    return _Found(state, ", ".join(sorted(present)), ", ".join(sorted(needed)))


def _config() -> Config:
    config = Config()
    # Alembic reads % in options as interpolation, and a folder may have one in its name.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _connection(where: URL, *, changing: bool) -> Iterator[Connection]:
    """Open one connection in one transaction; what the engine refuses becomes one line without secrets."""
    arguments: dict[str, Any] = {"timeout": CONNECT_TIMEOUT_S}
    if where.get_backend_name() == "postgresql":
        arguments = {"connect_timeout": CONNECT_TIMEOUT_S}
    engine = create_engine(where, poolclass=NullPool, connect_args=arguments)
    if where.get_backend_name() == "sqlite":
        _prepare_sqlite(engine, changing=changing)
    try:
        with engine.begin() as connection:
            yield connection
    except (SQLAlchemyError, CommandError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        text = f"{shown(where)}: {without_secrets(line, where)}"
        raise (UnreachableError if _nobody_answers(error, str(cause)) else DeviceError)(text) from None
    finally:
        engine.dispose()


def _nobody_answers(error: Exception, said: str) -> bool:
    """Whether a PostgreSQL connection failed for want of a server, not for what a server said."""
    if not isinstance(error, OperationalError) or getattr(error.orig, "sqlstate", None) is not None:
        return False
    if isinstance(error.orig, sqlite3.Error):
        return False
    return _SERVER_SAYS not in said or any(word in said for word in _PASSING)


def _prepare_sqlite(engine: Engine, *, changing: bool) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _: object) -> None:
        # Python's own transaction control would commit before DDL: a migration that fails must leave nothing.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL" if changing else "PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if changing else "BEGIN")
