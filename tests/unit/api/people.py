"""Users in memory, and how a test is somebody: the one way in which tests of the API are logged in."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from actors.access.sessions import ended
from actors.vocabulary import DeviceError, RefusedError, UnknownSubjectError
from actors.vocabulary.access import UserRole
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
from api.access.desk import AccessDesk
from api.access.tokens import Use, issued

LIFE_S = 600.0


class Users:
    """The port in memory, each change whole. `away`: the database is. `silent`: it takes no audit record."""

    def __init__(self) -> None:
        self.by_id: dict[str, Account] = {}
        self.all: dict[str, Session] = {}
        self.keys_by_id: dict[str, ServiceKey] = {}
        self.audits: list[Any] = []
        self.away = False
        self.silent = False
        self.asked = 0

    async def accounts(self) -> tuple[Account, ...]:
        self._there()
        return tuple(self.by_id[name] for name in sorted(self.by_id))

    async def account(self, user_id: str) -> Account | None:
        self._there()
        return self.by_id.get(user_id)

    async def add(self, account: Account, *, records: Sequence[AuditRecord] = ()) -> None:
        self._there()
        if account.user_id in self.by_id:
            raise RefusedError(f"user {account.user_id!r} exists already")
        self._told(records)
        self.by_id[account.user_id] = account

    async def change(
        self,
        user_id: str,
        decide: Callable[[Account, tuple[Account, ...]], Account],
        *,
        ending: Ending | None = None,
        tell: Telling = nothing,
    ) -> Account:
        self._there()
        if user_id not in self.by_id:
            raise UnknownSubjectError(f"user {user_id!r} is not known")
        others = tuple(each for name, each in self.by_id.items() if name != user_id)
        before = self.by_id[user_id]
        after = decide(before, others)
        gone = []
        if ending is not None:
            gone = [
                each
                for each in self.all.values()
                if each.user_id == user_id and not each.ended_at and each.session_id != ending.but
            ]
        self._told(tell(before, after, tuple(gone)))
        self.by_id[user_id] = after
        if ending is not None:
            for each in gone:
                self.all[each.session_id] = ended(each, by=ending.by, reason=ending.reason, at=ending.at)
        return after

    async def begin(
        self,
        session: Session,
        *,
        live_max: int,
        decide: Callable[[Account], Account],
        tell: Telling = nothing,
    ) -> tuple[Account, tuple[str, ...]]:
        self._there()
        if session.user_id not in self.by_id:
            raise UnknownSubjectError(f"user {session.user_id!r} is not known")
        before = self.by_id[session.user_id]
        after = decide(before)
        live = self._live(session.user_id, session.started_at)
        crowded = live[max(0, live_max - 1) :]
        self._told(tell(before, after, tuple(crowded)))
        self.by_id[session.user_id] = after
        for each in crowded:
            self.all[each.session_id] = ended(
                each, by=session.user_id, reason="too many sessions", at=session.started_at
            )
        self.all[session.session_id] = session
        return after, tuple(each.session_id for each in crowded)

    async def session(self, session_id: str) -> tuple[Session, Account] | None:
        self._there()
        found = self.all.get(session_id)
        return None if found is None else (found, self.by_id[found.user_id])

    async def sessions(self, *, user_id: str | None, live_at: datetime | None) -> tuple[Session, ...]:
        self._there()
        if live_at is not None:
            return tuple(self._live(user_id, live_at))
        found = [each for each in self.all.values() if user_id in {None, each.user_id}]
        return tuple(sorted(found, key=lambda each: each.started_at, reverse=True))

    async def turn(
        self, session_id: str, decide: Callable[[Session, Account], Session]
    ) -> tuple[Session, Account] | None:
        self._there()
        found = self.all.get(session_id)
        if found is None:
            return None
        self.all[session_id] = decide(found, self.by_id[found.user_id])
        return self.all[session_id], self.by_id[found.user_id]

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
        self._there()
        live = [
            each
            for each in self.all.values()
            if not each.ended_at and user_id in {None, each.user_id} and session_id in {None, each.session_id}
        ]
        self._told(tell(tuple(live)))
        for each in live:
            self.all[each.session_id] = ended(each, by=by, reason=reason, at=at)
        return tuple(live)

    async def prune(self, *, before: datetime) -> int:
        self._there()
        gone = [
            each
            for each in self.all.values()
            if each.expires_at < before or (each.ended_at is not None and each.ended_at < before)
        ]
        for each in gone:
            del self.all[each.session_id]
        return len(gone)

    async def add_key(self, key: ServiceKey, *, records: Sequence[AuditRecord] = ()) -> None:
        self._there()
        self._told(records)
        self.keys_by_id[key.key_id] = key

    async def key(self, key_id: str) -> tuple[ServiceKey, Account] | None:
        self._there()
        found = self.keys_by_id.get(key_id)
        return None if found is None else (found, self.by_id[found.user_id])

    async def live_keys(self) -> tuple[tuple[ServiceKey, Account], ...]:
        self._there()
        pairs = [(key, self.by_id[key.user_id]) for _, key in sorted(self.keys_by_id.items())]
        return tuple((key, owner) for key, owner in pairs if key.revoked_at is None and owner.enabled)

    async def keys(self, user_id: str) -> tuple[ServiceKey, ...]:
        self._there()
        return tuple(each for each in self.keys_by_id.values() if each.user_id == user_id)

    async def revoke_key(
        self,
        key_id: str,
        *,
        by: str,
        at: datetime,
        tell: Callable[[ServiceKey], Sequence[AuditRecord]] = nothing_revoked,
    ) -> tuple[ServiceKey, bool] | None:
        self._there()
        found = self.keys_by_id.get(key_id)
        if found is None or found.revoked_at is not None:
            return None if found is None else (found, False)
        revoked = msgspec.structs.replace(found, revoked_at=at, revoked_by=by)
        self._told(tell(revoked))
        self.keys_by_id[key_id] = revoked
        return revoked, True

    def _live(self, user_id: str | None, at: datetime) -> list[Session]:
        found = [
            each
            for each in self.all.values()
            if user_id in {None, each.user_id} and not each.ended_at and each.expires_at > at
        ]
        return sorted(found, key=lambda each: each.started_at, reverse=True)

    def _told(self, records: Sequence[AuditRecord]) -> None:
        if records and self.silent:
            raise DeviceError("audit_log: no space left on device")
        self.audits += records

    def _there(self) -> None:
        self.asked += 1
        if self.away:
            raise DeviceError("postgresql://db: connection refused")


def person(user_id: str, role: UserRole, at: datetime, **changed: object) -> Account:
    made = Account(user_id=user_id, kind=AccountKind.PERSON, role=role, created_at=at, created_by="test")
    return msgspec.structs.replace(made, **changed)


def logged_in(
    users: Users,
    desk: AccessDesk,
    user_id: str,
    role: UserRole,
    *,
    ago_s: float = 0.0,
    life_s: float = LIFE_S,
) -> str:
    """Return an access token of a session that began `ago_s` ago, without the cost of a password."""
    now = desk.clock.now().utc - timedelta(seconds=ago_s)
    account = users.by_id.setdefault(user_id, person(user_id, role, now))
    session = Session(
        session_id=str(uuid.uuid4()),
        user_id=user_id,
        started_at=now,
        seen_at=now,
        expires_at=now + timedelta(hours=12),
        source_address="127.0.0.1:1",
    )
    users.all[session.session_id] = session
    return issued(
        desk.ring, Use.ACCESS, session, account, now=now, expires_at=now + timedelta(seconds=life_s)
    )
