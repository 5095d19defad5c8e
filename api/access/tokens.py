"""Tokens: what they say, how they are signed, and every way in which one is refused (SEC-1).

Made and read with PyJWT, as Litestar does. Litestar's own `Token` cannot hold one that has expired, and such a token
must still be able to stop pumps (EST-4); nor does it look at the key's id and at what a token is for.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum, unique
from typing import Any, Final

import jwt
import msgspec

from actors.vocabulary.access import UserRole
from actors.vocabulary.users import Account, Session
from api.access.errors import UnauthenticatedError
from storage.keyring import KeyRing

ALGORITHM: Final = "HS256"
ISSUER: Final = "calejo"
TOKEN_CHARACTERS_MAX: Final = 2_048
# A clock that was set back a little must not refuse what was signed a moment ago.
NOT_BEFORE_LEEWAY_S: Final = 30
_REQUIRED: Final = ("iss", "aud", "sub", "sid", "exp", "nbf", "iat", "jti", "use")


@unique
class Use(StrEnum):
    """What a token is for; each has an audience of its own."""

    ACCESS = "access"
    REFRESH = "refresh"
    BROWSER = "browser"


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token that we signed says. `is_expired`: it was valid once."""

    user_id: str
    session_id: str
    role: UserRole
    generation: int
    is_expired: bool


def issued(
    ring: KeyRing, use: Use, session: Session, account: Account, *, now: datetime, expires_at: datetime
) -> str:
    """Return a signed token of a session."""
    key_id, secret = ring.signing
    claims = {
        "iss": ISSUER,
        "aud": _audience(use),
        "sub": account.user_id,
        "sid": session.session_id,
        "use": use.value,
        "role": account.role.value,
        "gen": session.generation,
        "jti": secrets.token_hex(8),
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers={"kid": key_id})


def read(ring: KeyRing, token: str, use: Use, *, now: datetime) -> Claims:
    """Return what a token says if we signed it for this use; whether it has expired is the caller's business.

    Raises:
        UnauthenticatedError: anything is not as it should be. The text does not say what: that goes to the audit.

    """
    try:
        return _read(ring, token, use, now)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, KeyError) as error:
        raise UnauthenticatedError(f"the token is not valid ({_kind(error)})") from error


def _read(ring: KeyRing, token: str, use: Use, now: datetime) -> Claims:
    if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
        raise jwt.DecodeError("too long, or not ASCII")
    header = jwt.get_unverified_header(token)
    key_id = header.get("kid")
    secret = ring.secret(key_id) if isinstance(key_id, str) else None
    if secret is None:
        raise jwt.InvalidKeyError("signed with a key that is not ours")
    payload: dict[str, Any] = jwt.decode(
        token,
        secret,
        # A list of one: the token's own word on its algorithm counts for nothing.
        algorithms=[ALGORITHM],
        audience=_audience(use),
        issuer=ISSUER,
        # Times are judged below, by the clock that everything else here uses.
        options={
            "require": list(_REQUIRED),
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "strict_aud": True,
        },
    )
    if payload["use"] != use.value:
        raise jwt.InvalidTokenError("for another use")
    if _moment(payload["nbf"]) > now + timedelta(seconds=NOT_BEFORE_LEEWAY_S):
        raise jwt.ImmatureSignatureError("not valid yet")
    texts = [payload["sub"], payload["sid"]]
    if not all(isinstance(each, str) and each for each in texts) or type(payload["gen"]) is not int:
        raise jwt.InvalidTokenError("claims of another type")
    return Claims(
        user_id=payload["sub"],
        session_id=payload["sid"],
        role=UserRole(payload["role"]),
        generation=payload["gen"],
        is_expired=_moment(payload["exp"]) <= now,
    )


def _audience(use: Use) -> str:
    return f"calejo-{use}"


def _moment(seconds: object) -> datetime:
    if type(seconds) is not int:
        raise jwt.DecodeError("a time that is no whole number")
    return datetime.fromtimestamp(seconds, UTC)


def _kind(error: BaseException) -> str:
    """Name what was wrong, for the audit; the client is told the same, and it helps nobody to forge one."""
    return type(error).__name__.removesuffix("Error")
