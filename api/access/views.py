"""What REST says about users, sessions and keys: never a hash, never a secret but the one time it is made."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from actors.vocabulary.users import Account, ServiceKey, Session


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account."""

    user: str
    kind: str
    role: str
    enabled: bool
    second_factor: bool
    must_change_password: bool
    password_at: str | None
    created_at: str
    created_by: str


class NewPasswordView(msgspec.Struct, frozen=True, kw_only=True):
    """An account with the password that was generated for it: shown this once, to be changed at the first login."""

    account: AccountView
    password: str


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A session that lives. `is_this`: the one that asks."""

    session_id: str
    user: str
    started_at: str
    seen_at: str
    expires_at: str
    source_address: str
    client: str
    is_this: bool


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a service account; no `operations`: all that its role may."""

    key_id: str
    user: str
    label: str
    operations: list[str]
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    revoked_by: str


class NewKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A new key, with what its program sends as Bearer: shown this once."""

    key: KeyView
    secret: str


class FactorView(msgspec.Struct, frozen=True, kw_only=True):
    """The secret of a second factor, as text and as an URI for an authenticator; it counts once a code was given."""

    secret: str
    uri: str


def account_view(account: Account) -> AccountView:
    """Return an account as REST shows it."""
    return AccountView(
        user=account.user_id,
        kind=account.kind.value,
        role=account.role.value,
        enabled=account.enabled,
        second_factor=bool(account.totp),
        must_change_password=account.must_change,
        password_at=_when(account.password_at),
        created_at=_at(account.created_at),
        created_by=account.created_by,
    )


def session_view(session: Session, *, own: str) -> SessionView:
    """Return a session as REST shows it; `own` is the id of the one that asks."""
    return SessionView(
        session_id=session.session_id,
        user=session.user_id,
        started_at=_at(session.started_at),
        seen_at=_at(session.seen_at),
        expires_at=_at(session.expires_at),
        source_address=session.source_address,
        client=session.client,
        is_this=session.session_id == own,
    )


def key_view(key: ServiceKey) -> KeyView:
    """Return a key as REST shows it."""
    return KeyView(
        key_id=key.key_id,
        user=key.user_id,
        label=key.label,
        operations=[each.value for each in key.operations],
        created_at=_at(key.created_at),
        created_by=key.created_by,
        expires_at=_when(key.expires_at),
        revoked_at=_when(key.revoked_at),
        revoked_by=key.revoked_by,
    )


def _at(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _when(moment: datetime | None) -> str | None:
    return None if moment is None else _at(moment)
