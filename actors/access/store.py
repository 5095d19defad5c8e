"""The port to users, sessions and keys; `storage.users` holds the real one (SEC-1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from actors.vocabulary.records import AuditRecord
from actors.vocabulary.users import (
    Account,
    Ending,
    ServiceKey,
    Session,
    Telling,
    nothing,
    nothing_ended,
    nothing_revoked,
)


class UserStore(Protocol):
    """Every method may raise DeviceError (the database is away or slow); a change is committed when it returns."""

    async def accounts(self) -> tuple[Account, ...]:
        """Return every account, by name."""
        ...

    async def account(self, user_id: str) -> Account | None:
        """Return one account, None: there is none."""
        ...

    async def add(self, account: Account, *, records: Sequence[AuditRecord] = ()) -> None:
        """Add an account, and tell the audit log of it: both, or nothing. So with `records` and `tell` below.

        Raises:
            RefusedError: the name is taken, now or ever before.

        """
        ...

    async def change(
        self,
        user_id: str,
        decide: Callable[[Account, tuple[Account, ...]], Account],
        *,
        ending: Ending | None = None,
        tell: Telling = nothing,
    ) -> Account:
        """Have `decide` (pure: it may be asked again) return the account as it shall be; it also sees all others.

        Account, the end of its sessions and what the audit log is told of it: all of it, or nothing.

        Raises:
            UnknownSubjectError: there is no such account.
            CallerError: as `decide` raises; nothing is written then.

        """
        ...

    async def begin(
        self,
        session: Session,
        *,
        live_max: int,
        decide: Callable[[Account], Account],
        tell: Telling = nothing,
    ) -> tuple[Account, tuple[str, ...]]:
        """Store a new session; of one user at most `live_max` live on.

        `decide` (pure) sees the account as it is in this very moment, which no other change passes by, and returns it
        as it shall be. Return it, and the ids of the sessions that ended for the new one.

        Raises:
            UnknownSubjectError: there is no such account.
            CallerError: as `decide` raises; nothing is written then.

        """
        ...

    async def session(self, session_id: str) -> tuple[Session, Account] | None:
        """Return a session with its account, None: there is none."""
        ...

    async def sessions(self, *, user_id: str | None, live_at: datetime | None) -> tuple[Session, ...]:
        """Return sessions, the newest first, at most 1,000; of one user, and only those that live at a moment."""
        ...

    async def turn(
        self, session_id: str, decide: Callable[[Session, Account], Session]
    ) -> tuple[Session, Account] | None:
        """Have `decide` (pure) return the session as it shall be, in one transaction; None: there is none."""
        ...

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
        ...

    async def prune(self, *, before: datetime) -> int:
        """Forget sessions that ended or expired before a moment; return how many."""
        ...

    async def add_key(self, key: ServiceKey, *, records: Sequence[AuditRecord] = ()) -> None:
        """Store a key of a service account."""
        ...

    async def key(self, key_id: str) -> tuple[ServiceKey, Account] | None:
        """Return a key with its account, None: there is none."""
        ...

    async def live_keys(self) -> tuple[tuple[ServiceKey, Account], ...]:
        """Return every key that is not revoked, of every account that is enabled."""
        ...

    async def keys(self, user_id: str) -> tuple[ServiceKey, ...]:
        """Return the keys of an account, the newest first, revoked ones too."""
        ...

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
        ...
