"""Users, sessions and keys in the database; every change is read, decided and written in one transaction (SEC-1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, insert, literal, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import DeviceError, RefusedError, UnknownSubjectError
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.users import (
    Account,
    AccountKind,
    Ending,
    ServiceKey,
    Session,
    Telling,
    nothing,
    nothing_ended,
    nothing_revoked,
)
from storage import audit
from storage.audit import clean
from storage.cells import Row
from storage.engine import RowRefusedError
from storage.models import service_keys, user_sessions, users
from storage.models.base import UtcDateTime, moment
from storage.pools import TwoPools
from storage.readers import rows_of

LISTED_MAX: Final = 1_000
LIVE_KEYS_MAX: Final = 20_000  # of so many accounts so many keys each may be made
_LOCK: Final = 0x43616C65_6A6F_0004  # "Calejo", fourth of its advisory locks: changes of accounts
_CHANGING: Final = (
    "role", "enabled", "password_hash", "password_at", "must_change", "totp", "totp_wanted", "totp_step",
)  # fmt: skip
_TURNING: Final = ("seen_at", "generation", "ended_at", "ended_by", "end_reason")


class DatabaseUsers(TwoPools):
    """Accounts, sessions and keys of service accounts."""

    # ------------------------------------------------------------------ accounts

    async def accounts(self) -> tuple[Account, ...]:
        """Return every account, by name.

        Raises:
            DeviceError: the database is away or slow. So everywhere below.

        """
        return await self._reader.run(_accounts)

    async def account(self, user_id: str) -> Account | None:
        """Return one account, None: there is none."""
        rows = await self._reader.run(lambda connection: rows_of(connection, _of(users, user_id=user_id)))
        return _account(rows[0]) if rows else None

    async def add(self, account: Account, *, records: Sequence[AuditRecord] = ()) -> None:
        """Add an account, and tell the audit log of it in the same transaction. So with `records` and `tell` below.

        Raises:
            RefusedError: the name is taken.

        """

        async def work(connection: AsyncConnection) -> None:
            await _lock(connection)
            if await rows_of(connection, _of(users, user_id=account.user_id)):
                raise RefusedError(f"user {account.user_id!r} exists already (names are never given again)")
            await connection.execute(insert(users).values(_row(account)))
            await _tell(connection, records)

        try:
            await self._writer.run(work)
        except RowRefusedError as error:
            raise RefusedError(f"the database refused the account: {error}") from None

    async def change(
        self,
        user_id: str,
        decide: Callable[[Account, tuple[Account, ...]], Account],
        *,
        ending: Ending | None = None,
        tell: Telling = nothing,
    ) -> Account:
        """Write an account as `decide` returns it, which sees all the others as well.

        What ends with it, and what the audit log is told of it, is written in the same transaction.

        Raises:
            UnknownSubjectError: there is no such account.
            CallerError: as `decide` raises.

        """

        async def work(connection: AsyncConnection) -> Account:
            await _lock(connection)
            await _locked(connection, user_id)
            found = {each.user_id: each for each in await _accounts(connection)}
            before = found.pop(user_id)
            after = decide(before, tuple(found.values()))
            await _write(connection, before, after)
            gone: list[Session] = []
            if ending is not None:
                live = await _live(connection, user_id=user_id, session_id=None, at=None)
                gone = [each for each in live if each.session_id != ending.but]
                await _end(connection, gone, by=ending.by, reason=ending.reason, at=ending.at)
            await _tell(connection, tell(before, after, tuple(gone)))
            return after

        return await self._writer.run(work)

    # ------------------------------------------------------------------ sessions

    async def begin(
        self,
        session: Session,
        *,
        live_max: int,
        decide: Callable[[Account], Account],
        tell: Telling = nothing,
    ) -> tuple[Account, tuple[str, ...]]:
        """Store a new session of an account as `decide` returns it; of one user at most `live_max` live on.

        Return the account, and the ids of the sessions that ended for the new one.

        Raises:
            UnknownSubjectError: there is no such account.
            CallerError: as `decide` raises.

        """

        async def work(connection: AsyncConnection) -> tuple[Account, tuple[str, ...]]:
            before = await _locked(connection, session.user_id)
            after = decide(before)
            await _write(connection, before, after)
            live = await _live(connection, user_id=session.user_id, session_id=None, at=session.started_at)
            crowded = live[max(0, live_max - 1) :]
            await _end(
                connection, crowded, by=session.user_id, reason="too many sessions", at=session.started_at
            )
            await connection.execute(insert(user_sessions).values(_session_row(session)))
            await _tell(connection, tell(before, after, tuple(crowded)))
            return after, tuple(each.session_id for each in crowded)

        return await self._writer.run(work)

    async def session(self, session_id: str) -> tuple[Session, Account] | None:
        """Return a session with its account, None: there is none."""
        return await self._reader.run(lambda connection: _session_of(connection, session_id))

    async def sessions(self, *, user_id: str | None, live_at: datetime | None) -> tuple[Session, ...]:
        """Return sessions, the newest first, at most 1,000; of one user, and only those that live at a moment."""

        async def work(connection: AsyncConnection) -> tuple[Session, ...]:
            if live_at is not None:
                return tuple(await _live(connection, user_id=user_id, session_id=None, at=live_at))
            statement = select(user_sessions).order_by(moment(user_sessions.c.started_at).desc())
            if user_id is not None:
                statement = statement.where(user_sessions.c.user_id == user_id)
            return tuple(Session(**row) for row in await rows_of(connection, statement.limit(LISTED_MAX)))

        return await self._reader.run(work)

    async def turn(
        self, session_id: str, decide: Callable[[Session, Account], Session]
    ) -> tuple[Session, Account] | None:
        """Write a session as `decide` returns it; None: there is none. Two at once are judged one after the other."""

        async def work(connection: AsyncConnection) -> tuple[Session, Account] | None:
            found = await _session_of(connection, session_id, locked=True)
            if found is None:
                return None
            before, account = found
            after = decide(before, account)
            if after != before:
                row = {name: value for name, value in _session_row(after).items() if name in _TURNING}
                where = user_sessions.c.session_id == session_id
                await connection.execute(update(user_sessions).where(where).values(row))
            return after, account

        return await self._writer.run(work)

    async def end(
        self,
        *,
        user_id: str | None,
        session_id: str | None,
        by: str,
        reason: str,
        at: datetime,
        tell: Callable[[tuple[Session, ...]], Sequence[AuditRecord]] = nothing_ended,
    ) -> tuple[Session, ...]:
        """End the live sessions of a user, or one session; return those that were ended now."""

        async def work(connection: AsyncConnection) -> tuple[Session, ...]:
            live = await _live(connection, user_id=user_id, session_id=session_id, at=None)
            await _end(connection, live, by=by, reason=reason, at=at)
            await _tell(connection, tell(tuple(live)))
            return tuple(live)

        return await self._writer.run(work)

    async def prune(self, *, before: datetime) -> int:
        """Forget sessions that ended or expired before a moment; return how many."""
        columns = user_sessions.c
        doomed = delete(user_sessions).where(
            or_(moment(columns.ended_at) < _at(before), moment(columns.expires_at) < _at(before))
        )

        async def work(connection: AsyncConnection) -> int:
            return (await connection.execute(doomed)).rowcount

        return await self._writer.run(work)

    # ------------------------------------------------------------------ keys of service accounts

    async def add_key(self, key: ServiceKey, *, records: Sequence[AuditRecord] = ()) -> None:
        """Store a key of a service account."""
        row = {name: getattr(key, name) for name in key.__struct_fields__}
        row["operations"] = [each.value for each in key.operations]
        row["label"] = clean(key.label)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(service_keys).values(row))
            await _tell(connection, records)

        await self._writer.run(work)

    async def key(self, key_id: str) -> tuple[ServiceKey, Account] | None:
        """Return a key with its account, None: there is none."""

        async def work(connection: AsyncConnection) -> tuple[ServiceKey, Account] | None:
            rows = await rows_of(connection, _of(service_keys, key_id=key_id))
            if not rows:
                return None
            key = _readable(rows[0])
            if key is None:
                raise DeviceError(f"service_keys/{key_id}: its operations are none")
            account = await rows_of(connection, _of(users, user_id=key.user_id))
            return key, _account(account[0])

        return await self._reader.run(work)

    async def live_keys(self) -> tuple[tuple[ServiceKey, Account], ...]:
        """Return every key that is not revoked, of every account that is enabled."""

        async def work(connection: AsyncConnection) -> tuple[tuple[ServiceKey, Account], ...]:
            statement = (
                select(service_keys)
                .join(users, users.c.user_id == service_keys.c.user_id)
                .where(service_keys.c.revoked_at.is_(None), users.c.enabled.is_(True))
                .order_by(service_keys.c.key_id)
                .limit(LIVE_KEYS_MAX)
            )
            rows = await rows_of(connection, statement)
            # One that somebody wrote by SQL and nobody can read lets nobody in, and costs the others nothing.
            keys = [key for row in rows if (key := _readable(row)) is not None]
            # Each account once: a program may have many keys.
            owners = {each.user_id: each for each in await _accounts(connection)} if keys else {}
            return tuple((key, owners[key.user_id]) for key in keys)

        return await self._reader.run(work)

    async def keys(self, user_id: str) -> tuple[ServiceKey, ...]:
        """Return the keys of an account, the newest first, revoked ones too."""
        statement = _of(service_keys, user_id=user_id).order_by(moment(service_keys.c.created_at).desc())
        rows = await self._reader.run(lambda connection: rows_of(connection, statement.limit(LISTED_MAX)))
        return tuple(_key(row) for row in rows)

    async def revoke_key(
        self,
        key_id: str,
        *,
        by: str,
        at: datetime,
        tell: Callable[[ServiceKey], Sequence[AuditRecord]] = nothing_revoked,
    ) -> tuple[ServiceKey, bool] | None:
        """Revoke a key; return it and whether that was now, None: there is none.

        Revoked twice it keeps the first time, and nothing is told again.
        """

        async def work(connection: AsyncConnection) -> tuple[ServiceKey, bool] | None:
            where = (service_keys.c.key_id == key_id) & service_keys.c.revoked_at.is_(None)
            done = await connection.execute(
                update(service_keys).where(where).values(revoked_at=at, revoked_by=clean(by))
            )
            rows = await rows_of(connection, _of(service_keys, key_id=key_id))
            if not rows:
                return None
            key, is_now = _key(rows[0]), done.rowcount > 0
            if is_now:
                await _tell(connection, tell(key))
            return key, is_now

        return await self._writer.run(work)


async def _tell(connection: AsyncConnection, records: Sequence[AuditRecord]) -> None:
    if records:
        await audit.append(connection, records)


async def _lock(connection: AsyncConnection) -> None:
    """Let one change of accounts be made at a time: the last administrator must not go twice at once."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


async def _locked(connection: AsyncConnection, user_id: str) -> Account:
    """Return an account that nobody else changes until this transaction ends.

    Raises:
        UnknownSubjectError: there is no such account.

    """
    # SQLite ignores it: there, one transaction that writes is under way at a time.
    rows = await rows_of(connection, _of(users, user_id=user_id).with_for_update())
    if not rows:
        raise UnknownSubjectError(f"user {user_id!r} is not known")
    return _account(rows[0])


async def _write(connection: AsyncConnection, before: Account, after: Account) -> None:
    if after != before:
        row = {name: value for name, value in _row(after).items() if name in _CHANGING}
        await connection.execute(update(users).where(users.c.user_id == before.user_id).values(row))


async def _accounts(connection: AsyncConnection) -> tuple[Account, ...]:
    return tuple(_account(row) for row in await rows_of(connection, select(users).order_by(users.c.user_id)))


async def _session_of(
    connection: AsyncConnection, session_id: str, *, locked: bool = False
) -> tuple[Session, Account] | None:
    statement = _of(user_sessions, session_id=session_id)
    rows = await rows_of(connection, statement.with_for_update() if locked else statement)
    if not rows:
        return None
    session = Session(**rows[0])
    account = await rows_of(connection, _of(users, user_id=session.user_id))
    return session, _account(account[0])


async def _live(
    connection: AsyncConnection, *, user_id: str | None, session_id: str | None, at: datetime | None
) -> list[Session]:
    """Return what has not ended (nor, at a moment, expired), the newest first."""
    columns = user_sessions.c
    statement = select(user_sessions).where(columns.ended_at.is_(None))
    if user_id is not None:
        statement = statement.where(columns.user_id == user_id)
    if session_id is not None:
        statement = statement.where(columns.session_id == session_id)
    if at is not None:
        statement = statement.where(moment(columns.expires_at) > _at(at))
    statement = statement.order_by(moment(columns.started_at).desc(), columns.session_id).limit(LISTED_MAX)
    return [Session(**row) for row in await rows_of(connection, statement)]


async def _end(
    connection: AsyncConnection, sessions: list[Session], *, by: str, reason: str, at: datetime
) -> None:
    for each in sessions:
        await connection.execute(
            update(user_sessions)
            .where(user_sessions.c.session_id == each.session_id)
            .values(ended_at=at, ended_by=clean(by), end_reason=clean(reason))
        )


def _at(at: datetime) -> Any:
    return moment(literal(at, UtcDateTime()))


def _of(table: Any, **named: str) -> Any:
    statement = select(table)
    for name, value in named.items():
        statement = statement.where(table.c[name] == value)
    return statement


def _row(account: Account) -> dict[str, Any]:
    row = {name: getattr(account, name) for name in account.__struct_fields__}
    return {
        **row,
        "kind": account.kind.value,
        "role": account.role.value,
        "created_by": clean(account.created_by),
    }


def _account(row: Row) -> Account:
    return Account(**{**row, "kind": AccountKind(row["kind"]), "role": UserRole(row["role"])})


def _session_row(session: Session) -> dict[str, Any]:
    row = {name: getattr(session, name) for name in session.__struct_fields__}
    texts = ("source_address", "client", "ended_by", "end_reason")
    return {**row, **{name: clean(row[name]) for name in texts}}


def _readable(row: Row) -> ServiceKey | None:
    try:
        return _key(row)
    except (ValueError, TypeError):
        return None


def _key(row: Row) -> ServiceKey:
    listed = row["operations"]
    if isinstance(listed, str):
        listed = json.loads(listed)
    return ServiceKey(**{**row, "operations": tuple(Operation(each) for each in listed)})
