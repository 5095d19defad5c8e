"""Owns the connections to the database: pooled, bounded in time, retried when that may help (DAT-3)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, unique
from random import SystemRandom
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import event
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from actors.vocabulary import CalejoError, DeviceError
from actors.vocabulary.settings import DatabaseSettings
from storage.urls import parsed, shown, without_secrets

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

ATTEMPTS: Final = 3
BACKOFF_S: Final = 0.05
OVERHEAD_S: Final = 1.0
_DROPPED_LINK_S: Final = 10


@unique
class Access(Enum):
    """What a `Database` may do."""

    READ = "read"
    WRITE = "write"


class StaleReadError(Exception):
    """Raised by a work: what it read is out of date. The same work may succeed in a fresh transaction."""


class RowRefusedError(CalejoError):
    """The database refuses these rows for good (a constraint, a value): trying again changes nothing."""


@dataclass(frozen=True, kw_only=True)
class Chance:
    """Where waiting and randomness come from; tests and simulation bring their own."""

    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]


def real_chance() -> Chance:
    """Return real waiting and the machine's own randomness, for whoever has no actor's clock."""
    return Chance(sleep=asyncio.sleep, random=SystemRandom().random)


class Database:
    """A small pool of connections to one database, for one event loop. Connects when first used."""

    def __init__(self, url: str, access: Access, *, settings: DatabaseSettings, chance: Chance) -> None:
        """Raise InvalidValueError if `url` is none; no I/O."""
        self.url = parsed(url, "async")
        self.name = shown(self.url)
        self.chance = chance
        self._access = access
        self._settings = settings
        # Connecting, then a statement, then what the driver needs to give up.
        self.deadline_s = settings.connect_timeout_s + settings.statement_timeout_s + OVERHEAD_S
        self._engine = self._sqlite() if self.is_sqlite else self._postgresql()

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.url.get_backend_name() == "sqlite"

    async def run(self, work: Work[T]) -> T:
        """Do `work` in one transaction and return its result; transient faults are tried again, with jitter.

        `work` may run more than once, each time in a fresh transaction.

        Raises:
            DeviceError: the database is away, slow or not as it should be, also after the last attempt.
            RowRefusedError: a constraint or a value was refused; never tried again.

        """
        try:
            async with asyncio.timeout(self.deadline_s):
                return await self._attempts(work)
        except TimeoutError:
            raise DeviceError(f"{self.name}: no answer within {self.deadline_s:g} s") from None

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def _attempts(self, work: Work[T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._engine.connect() as connection:
                    if self._access is Access.READ and not self.is_sqlite:
                        # One picture of the world for all statements of the work.
                        await connection.execution_options(isolation_level="REPEATABLE READ")
                    async with connection.begin():
                        return await work(connection)
            except (SQLAlchemyError, sqlite3.Error, psycopg.Error, OSError) as error:
                if _is_refusal(error):
                    raise RowRefusedError(self._line(error)) from None
                if attempt == ATTEMPTS or not _is_transient(error):
                    raise DeviceError(f"{self.name}: {self._line(error)}") from None
            except StaleReadError as error:
                if attempt == ATTEMPTS:
                    raise DeviceError(f"{self.name}: {error}") from None
            except (
                OverflowError
            ) as error:  # a whole number beyond 64 bits, which SQLite's driver refuses itself
                raise RowRefusedError(str(error)) from None
            await self.chance.sleep(BACKOFF_S * 2**attempt * (0.5 + self.chance.random()))
        raise AssertionError("the last attempt returns or raises")

    def _line(self, error: BaseException) -> str:
        """Return the driver's own first line: no SQL, no parameters, no password."""
        cause = getattr(error, "orig", None) or error
        lines = str(cause).strip().splitlines()
        return without_secrets(lines[0] if lines else type(cause).__name__, self.url)

    def _sqlite(self) -> AsyncEngine:
        writes = self._access is Access.WRITE
        engine = create_async_engine(
            self.url,
            pool_size=1 if writes else 2,
            max_overflow=0,
            pool_timeout=self.deadline_s,
            connect_args={"timeout": self._settings.statement_timeout_s},
        )

        @event.listens_for(engine.sync_engine, "connect")
        def _connected(connection: Any, _: object) -> None:
            # Transactions begin where we say so, not where Python guesses.
            connection.isolation_level = None
            # One text that is no UTF-8 would fail the whole statement: its reader names and skips its row instead.
            connection.driver_connection.text_factory = _text_as_it_stands
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {round(self._settings.statement_timeout_s * 1000)}")
            if writes:
                cursor.execute("PRAGMA journal_mode = WAL")
                cursor.execute("PRAGMA synchronous = FULL")
                cursor.execute("PRAGMA foreign_keys = ON")
            else:
                cursor.execute("PRAGMA query_only = ON")
            cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def _begun(connection: Any) -> None:
            # A writer that only reads at first could not become one later while another writes.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    def _postgresql(self) -> AsyncEngine:
        given = self.url.query.get("options", "")
        options = [given if isinstance(given, str) else " ".join(given)]
        options.append(f"-c statement_timeout={round(self._settings.statement_timeout_s * 1000)}")
        options.append(f"-c idle_in_transaction_session_timeout={round(self.deadline_s * 1000)}")
        if self._access is Access.READ:
            options.append("-c default_transaction_read_only=on")
        return create_async_engine(
            self.url,
            pool_size=self._settings.pool_size,
            max_overflow=0,
            pool_timeout=self._settings.connect_timeout_s,
            pool_pre_ping=True,
            # Whatever the server's default is: who appends to the audit chain must see its end once the lock is
            # his, not as it was when his transaction began. (A reader asks for one picture of the world itself.)
            isolation_level="READ COMMITTED",
            connect_args={**self.link(), "options": " ".join(options).strip()},
        )

    def link(self) -> dict[str, Any]:
        """Return libpq's settings that notice a dead link (PostgreSQL)."""
        return {
            "connect_timeout": max(2, round(self._settings.connect_timeout_s)),
            "keepalives_idle": _DROPPED_LINK_S,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": _DROPPED_LINK_S * 1000,
        }

    def connect_arguments(self) -> dict[str, Any]:
        """Return psycopg's arguments for a connection of one's own (PostgreSQL), as the pool would make it."""
        arguments = self._engine.dialect.create_connect_args(self.url)[1]
        return {**arguments, **self.link()}


def _text_as_it_stands(raw: bytes) -> str:
    """Return a text of SQLite; bytes that are no UTF-8 become lone surrogates, by which they are recognised."""
    return raw.decode("utf-8", "surrogateescape")


def _is_refusal(error: BaseException) -> bool:
    """Say whether the rows themselves are at fault."""
    if isinstance(error, IntegrityError | DataError):
        return True
    # A value that our own types refuse to bind never reaches the driver.
    return (
        isinstance(error, StatementError)
        and not isinstance(error, DBAPIError)
        and not isinstance(error, InvalidRequestError)
        and isinstance(error.orig, ValueError | TypeError | OverflowError)
    )


def _is_transient(error: BaseException) -> bool:
    """Say whether the same may succeed a moment later: lost connections, locks, serialisation, a full pool."""
    if isinstance(error, DBAPIError):
        return isinstance(
            error.orig, sqlite3.OperationalError | psycopg.OperationalError | psycopg.InterfaceError
        )
    return isinstance(
        error, sqlite3.OperationalError | psycopg.OperationalError | psycopg.InterfaceError | OSError
    )
