"""Commands by their key and failed logins in the database: a restart of the API forgets neither (API-2, SEC-1)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, insert, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import RefusedError
from actors.vocabulary.requests import (
    FAILURES_MAX,
    KEYS_PER_USER_MAX,
    WINDOW,
    Command,
    Failing,
    LoginFailures,
)
from storage.audit import clean
from storage.models import login_failures, request_keys
from storage.models.base import UtcDateTime, moment
from storage.pools import TwoPools
from storage.readers import rows_of

_LOCK: Final = 0x43616C65_6A6F_0005  # "Calejo", fifth of its advisory locks: keys of commands


class DatabaseRequests(TwoPools):
    """Keys of commands and counters of failed logins."""

    # ------------------------------------------------------------------ commands

    async def claim(self, command: Command) -> Command | None:
        """Write a command down; None: it is new. Else return the one that has its key.

        Raises:
            RefusedError: this user holds as many keys as one may.
            DeviceError: the database is away or slow. So everywhere below.

        """

        async def work(connection: AsyncConnection) -> Command | None:
            # Two of one key at once: one of them is first.
            if connection.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            held = await rows_of(connection, select(request_keys).where(*_of(command.user_id, command.key)))
            if held and held[0]["asked_at"] > command.asked_at - WINDOW:
                return Command(**held[0])
            if held:  # older than keys are remembered, and not pruned yet
                await connection.execute(delete(request_keys).where(*_of(command.user_id, command.key)))
            mine = request_keys.c.user_id == command.user_id
            counted = select(func.count()).select_from(request_keys).where(mine)
            if ((await connection.execute(counted)).scalar() or 0) >= KEYS_PER_USER_MAX:
                raise RefusedError(
                    f"Idempotency-Key: {command.user_id} holds {KEYS_PER_USER_MAX} keys of the last 24 hours"
                )
            row = {name: getattr(command, name) for name in command.__struct_fields__}
            await connection.execute(insert(request_keys).values(row))
            return None

        return await self._writer.run(work)

    async def answered(self, command: Command) -> None:
        """Write down what a command was answered."""
        row = {
            "status": command.status,
            "content_type": clean(command.content_type),
            "body": clean(command.body),
        }

        async def work(connection: AsyncConnection) -> None:
            where = _of(command.user_id, command.key)
            await connection.execute(update(request_keys).where(*where).values(row))

        await self._writer.run(work)

    async def release(self, user_id: str, key: str) -> None:
        """Forget a command that was not carried out: the same key may ask again."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(request_keys).where(*_of(user_id, key)))

        await self._writer.run(work)

    # ------------------------------------------------------------------ failed logins

    async def failures(self, *, since: datetime) -> tuple[LoginFailures, ...]:
        """Return who has failed since a moment, whoever failed longest ago first, at most 10,000."""
        newest_first = (
            select(login_failures)
            .where(moment(login_failures.c.last_at) >= _at(since))
            .order_by(moment(login_failures.c.last_at).desc())
            .limit(FAILURES_MAX)
        )
        rows = await self._reader.run(lambda connection: rows_of(connection, newest_first))
        return tuple(LoginFailures(**{**row, "kind": Failing(row["kind"])}) for row in reversed(rows))

    async def failed(self, failures: tuple[LoginFailures, ...]) -> None:
        """Write down failures; what stood under their names before is replaced."""

        async def work(connection: AsyncConnection) -> None:
            for each in failures:
                name = clean(each.name)
                await connection.execute(delete(login_failures).where(*_named(each.kind, name)))
                await connection.execute(
                    insert(login_failures).values(
                        kind=each.kind.value, name=name, count=each.count, last_at=each.last_at
                    )
                )

        await self._writer.run(work)

    async def forgive(self, kind: Failing, name: str) -> None:
        """Forget the failures of one name."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(login_failures).where(*_named(kind, clean(name))))

        await self._writer.run(work)

    async def prune(self, *, commands_before: datetime, failures_before: datetime) -> int:
        """Forget commands that were asked for, and failures that happened, before a moment; return how many."""
        doomed = (
            delete(request_keys).where(moment(request_keys.c.asked_at) < _at(commands_before)),
            delete(login_failures).where(moment(login_failures.c.last_at) < _at(failures_before)),
        )

        async def work(connection: AsyncConnection) -> int:
            return sum([(await connection.execute(each)).rowcount for each in doomed])

        return await self._writer.run(work)


def _of(user_id: str, key: str) -> tuple[Any, Any]:
    return request_keys.c.user_id == user_id, request_keys.c.key == key


def _named(kind: Failing, name: str) -> tuple[Any, Any]:
    return login_failures.c.kind == kind.value, login_failures.c.name == name


def _at(at: datetime) -> Any:
    return moment(literal(at, UtcDateTime()))
