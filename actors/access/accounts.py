"""What may become of an account; pure (SEC-1). Somebody must stay who can let others in."""

from __future__ import annotations

from datetime import datetime

import msgspec

from actors.vocabulary import InvalidValueError, RefusedError
from actors.vocabulary.access import UserRole
from actors.vocabulary.users import Account, AccountKind


def set_enabled(account: Account, others: tuple[Account, ...], *, enabled: bool) -> Account:
    """Enable or disable an account.

    Raises:
        RefusedError: it is the last administrator who can log in.

    """
    after = msgspec.structs.replace(account, enabled=enabled)
    _keep_an_administrator(account, after, others)
    return after


def set_role(account: Account, others: tuple[Account, ...], *, role: UserRole) -> Account:
    """Give an account another role.

    Raises:
        RefusedError: it is the last administrator who can log in.

    """
    after = msgspec.structs.replace(account, role=role)
    _keep_an_administrator(account, after, others)
    return after


def set_password(account: Account, *, password_hash: str, at: datetime, must_change: bool) -> Account:
    """Give a person a new password; `must_change`: somebody else knows it.

    Raises:
        InvalidValueError: a service account has keys, no password.

    """
    if account.kind is not AccountKind.PERSON:
        raise InvalidValueError(f"user {account.user_id}: a service account has keys, no password")
    return msgspec.structs.replace(
        account, password_hash=password_hash, password_at=at, must_change=must_change
    )


def without_factor(account: Account) -> Account:
    """Take a second factor away. The last step stays: an old code must not count with the next secret."""
    return msgspec.structs.replace(account, totp="", totp_wanted="")


def _keep_an_administrator(before: Account, after: Account, others: tuple[Account, ...]) -> None:
    if _administers(before) and not _administers(after) and not any(map(_administers, others)):
        raise RefusedError(f"user {before.user_id}: the last administrator; make another one first")


def _administers(account: Account) -> bool:
    return account.enabled and account.kind is AccountKind.PERSON and account.role is UserRole.ADMINISTRATOR
