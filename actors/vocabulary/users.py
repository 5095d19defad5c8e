"""Users, their sessions and the keys of service accounts, as they cross the storage boundary (SEC-1).

A `user_id` is the name somebody logs in with, in lower case: given once, never changed, never given again. So every
`set_by` and `approved_by` names one account for ever; accounts are disabled, not deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum, unique
from typing import Final, TypeAlias

import msgspec

from actors.vocabulary.access import Operation, UserRole, may
from actors.vocabulary.errors import InvalidValueError
from actors.vocabulary.records import AuditRecord

USER_ID_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}\Z")
LOCAL_PREFIX: Final = "local:"
"""Whoever commands from this machine with the run's own credential is `local:NAME`: no user is ever named so."""

RESERVED: Final = frozenset({"calejo", "local", "system", "anonymous"})


@unique
class AccountKind(StrEnum):
    """Who logs in: a person with a password, or a program with keys."""

    PERSON = "PERSON"
    SERVICE = "SERVICE"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user. `password_hash` '' means: cannot log in by password. `totp`: the sealed second factor, '' none.

    `totp_step`: the last time step whose code was taken, so that no code counts twice. `totp_wanted`: a secret that
    was shown and waits for its first code. `must_change`: the password is known to whoever set it.
    """

    user_id: str
    kind: AccountKind
    role: UserRole
    created_at: datetime
    created_by: str
    enabled: bool = True
    password_hash: str = ""
    password_at: datetime | None = None
    must_change: bool = False
    totp: str = ""
    totp_wanted: str = ""
    totp_step: int = 0


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One login. `generation` counts refreshes; `seen_at` is the last one; `expires_at` ends it whatever happens."""

    session_id: str
    user_id: str
    started_at: datetime
    seen_at: datetime
    expires_at: datetime
    source_address: str
    client: str = ""
    generation: int = 0
    ended_at: datetime | None = None
    ended_by: str = ""
    end_reason: str = ""


class ServiceKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a service account; of the secret only its hash is kept. `operations` narrows the role; empty: all."""

    key_id: str
    user_id: str
    secret_hash: str
    created_at: datetime
    created_by: str
    label: str = ""
    operations: tuple[Operation, ...] = ()
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str = ""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """That all live sessions of a user end, but for the one that `but` names."""

    by: str
    reason: str
    at: datetime
    but: str = ""


Telling: TypeAlias = Callable[[Account, Account, tuple[Session, ...]], Sequence[AuditRecord]]
"""What the audit log is told of a change: the account before and after, and the sessions that ended (pure)."""


def nothing(_before: Account, _after: Account, _ended: tuple[Session, ...]) -> Sequence[AuditRecord]:
    """Tell nothing: a change that is no event."""
    return ()


def nothing_ended(_ended: tuple[Session, ...]) -> Sequence[AuditRecord]:
    """Tell nothing of sessions that ended."""
    return ()


def nothing_revoked(_key: ServiceKey) -> Sequence[AuditRecord]:
    """Tell nothing of a key that was revoked."""
    return ()


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, once that is known: what is written into `by`, and what they may."""

    user_id: str
    role: UserRole
    session_id: str = ""
    key_id: str = ""
    operations: frozenset[Operation] | None = None
    is_local: bool = False
    is_expired: bool = False

    def may(self, operation: Operation) -> bool:
        """Say whether this principal is allowed an operation."""
        return may(self.role, operation) and (self.operations is None or operation in self.operations)


def without_local(name: str) -> str:
    """Return a name without any `local:` before it, however often somebody wrote it."""
    name = name.strip()
    while name.lower().startswith(LOCAL_PREFIX):
        name = name[len(LOCAL_PREFIX) :].strip()
    return name


def checked_user_id(value: str) -> str:
    """Lower-case a name and return it if it can be a user's.

    Raises:
        InvalidValueError: it cannot.

    """
    lowered = value.strip().lower()
    if USER_ID_PATTERN.match(lowered) is None:
        raise InvalidValueError(
            f"user: {value[:60]!r}, expected [a-z0-9][a-z0-9._-]{{0,39}} after lower-casing"
        )
    if lowered in RESERVED:
        raise InvalidValueError(f"user: {lowered!r} is Calejo's own name")
    return lowered
