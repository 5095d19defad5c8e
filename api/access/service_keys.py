"""What a service account's key looks like, and what is kept of it; the same on every way in (SEC-1)."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import Final

from actors.vocabulary.access import Operation
from actors.vocabulary.users import Account, AccountKind, ServiceKey

SERVICE_KEY_PREFIX: Final = "calejo_"
# A program is no person: whatever its role, it is never the second one (SAF-6).
NO_PERSON: Final = frozenset(Operation) - {Operation.APPROVE_LIMITS}


def secret_hash(secret: str) -> str:
    """Return what is kept of a service key's secret: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def parts_of(credential: str) -> tuple[str, str]:
    """Return id and secret of what a program sends as its key."""
    key_id, _, secret = credential.removeprefix(SERVICE_KEY_PREFIX).partition("_")
    return key_id, secret


def refusal_of(found: tuple[ServiceKey, Account] | None, secret: str, *, now: datetime) -> str:
    """Return why a key is worth nothing, '' if it is worth something; takes as long for one that is not known."""
    own = "" if found is None else found[0].secret_hash
    if not hmac.compare_digest(own, secret_hash(secret)) or found is None:
        return "the key is not known"
    return worth_nothing(*found, now=now)


def worth_nothing(key: ServiceKey, account: Account, *, now: datetime) -> str:
    """Return why a key that was good is so no longer, '' if it is."""
    if key.revoked_at is not None or not account.enabled or account.kind is not AccountKind.SERVICE:
        return "the key is revoked, or its account is disabled"
    if key.expires_at is not None and now >= key.expires_at:
        return "the key has expired"
    return ""


def operations_of_key(key: ServiceKey) -> frozenset[Operation]:
    """Return what of its role a key may be used for."""
    return (frozenset(key.operations) or NO_PERSON) & NO_PERSON
