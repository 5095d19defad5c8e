"""Learns that somebody else wrote: LISTEN on PostgreSQL, the change counters on SQLite (CTL-1, DAT-4)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final, Protocol

import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import DeviceError
from storage.engine import Database

PLANS: Final = "calejo_plans"
CONFIGURATION: Final = "calejo_configuration"

_POLL_S: Final = 0.5


class Changes(Protocol):
    """Waits for one channel's changes."""

    async def wait(self, *, at_most_s: float, concerns: Collection[str] | None = None) -> bool:
        """Return True as soon as something changed (one of `concerns`, if given), False when the time is over."""
        ...

    async def close(self) -> None:
        """Give the connection back."""
        ...


def changes_of(database: Database, channel: str) -> Changes:
    """Return what watches `channel` on this kind of database."""
    return _Counted(database, channel) if database.is_sqlite else _Notified(database, channel)


class _Counted:
    """SQLite: triggers count writes per channel; reading one row twice a second costs next to nothing."""

    def __init__(self, database: Database, channel: str) -> None:
        self._database = database
        self._channel = channel
        self._seen: int | None = None

    async def wait(self, *, at_most_s: float, concerns: Collection[str] | None = None) -> bool:
        left_s = at_most_s
        while True:
            try:
                value = await self._database.run(self._value)
            except DeviceError:
                # The reader's next statement reports it; nothing is known to have changed.
                value = self._seen
            changed = self._seen is not None and value != self._seen
            self._seen = value
            if changed:
                return True
            if left_s <= 0.0:
                return False
            step_s = min(_POLL_S, left_s)
            await self._database.chance.sleep(step_s)
            left_s -= step_s

    async def close(self) -> None:
        """Nothing is held between two looks."""

    async def _value(self, connection: AsyncConnection) -> int | None:
        statement = text("SELECT value FROM change_counters WHERE channel = :channel")
        found: int | None = (await connection.execute(statement, {"channel": self._channel})).scalar()
        return found


class _Notified:
    """PostgreSQL: one connection of its own that listens."""

    def __init__(self, database: Database, channel: str) -> None:
        self._database = database
        self._channel = channel
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._before = False

    async def wait(self, *, at_most_s: float, concerns: Collection[str] | None = None) -> bool:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + at_most_s
        try:
            if self._connection is None:
                await self._connect()
                # What was written while nobody listened was missed; at the very first time nothing was.
                missed, self._before = self._before, True
                if missed:
                    return True
            while (left_s := until_s - loop.time()) > 0.0:
                assert self._connection is not None
                async for notice in self._connection.notifies(timeout=left_s, stop_after=1):
                    if concerns is None or notice.payload in concerns:
                        return True
        except (psycopg.Error, OSError, TimeoutError):
            # The reader's next statement reports it; here it must not become a loop that never waits.
            await self.close()
            await self._database.chance.sleep(max(0.0, until_s - loop.time()))
        return False

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> None:
        arguments = self._database.connect_arguments()
        async with asyncio.timeout(self._database.deadline_s):
            connection = await psycopg.AsyncConnection.connect(**arguments, autocommit=True)
            try:
                await connection.execute(
                    psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._channel))
                )
            except BaseException:
                await connection.close()
                raise
        self._connection = connection
