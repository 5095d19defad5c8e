"""When a session lives, what a refresh token turns it into, how a browser's goes on; pure (SEC-1).

A refresh token carries the generation that it was made with; each counts once. An older one that comes again was
copied by somebody, nobody knows by whom: the whole family, which is the session, ends.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final, assert_never

import msgspec

from actors.vocabulary.users import Account, Session

LIVE_MAX: Final = 20
"""Sessions of one user at a time: one more ends the oldest."""

KEPT: Final = timedelta(days=30)
"""How long an ended session can still be listed."""


@unique
class SessionState(StrEnum):
    """What a session is worth at a moment."""

    LIVE = "LIVE"
    IDLE = "IDLE"
    EXPIRED = "EXPIRED"
    ENDED = "ENDED"
    DISABLED = "DISABLED"


REUSED: Final = "a refresh token came twice"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh did: the session as it is now, and why no token is given ('' if one is)."""

    session: Session
    refusal: str = ""


def state_of(session: Session, account: Account, *, now: datetime, idle_s: float) -> SessionState:
    """Return what a session is worth; of several ends the one that cannot be mended counts."""
    if not account.enabled:
        return SessionState.DISABLED
    if session.ended_at is not None:
        return SessionState.ENDED
    if now >= session.expires_at:
        return SessionState.EXPIRED
    if now - session.seen_at >= timedelta(seconds=idle_s):
        return SessionState.IDLE
    return SessionState.LIVE


def refreshed(session: Session, account: Account, *, generation: int, now: datetime, idle_s: float) -> Turn:
    """Turn a session by the refresh token of `generation`."""
    state = state_of(session, account, now=now, idle_s=idle_s)
    match state:
        case SessionState.DISABLED:
            return Turn(session=session, refusal="the account is disabled")
        case SessionState.ENDED:
            return Turn(session=session, refusal="the session has ended")
        case SessionState.EXPIRED | SessionState.IDLE:
            return Turn(session=session, refusal="the session has expired")
        case SessionState.LIVE:
            pass
        case _:
            assert_never(state)
    if generation != session.generation:
        return Turn(session=ended(session, by=session.user_id, reason=REUSED, at=now), refusal=REUSED)
    return Turn(session=msgspec.structs.replace(session, generation=generation + 1, seen_at=now))


def seen(session: Session, account: Account, *, now: datetime, idle_s: float) -> Session:
    """Return a browser's session as somebody was seen at it; what is over, or was idle too long, stays so."""
    if state_of(session, account, now=now, idle_s=idle_s) is not SessionState.LIVE:
        return session
    return msgspec.structs.replace(session, seen_at=max(session.seen_at, now))


def ended(session: Session, *, by: str, reason: str, at: datetime) -> Session:
    """Return a session that has ended; one that has keeps its end."""
    if session.ended_at is not None:
        return session
    return msgspec.structs.replace(session, ended_at=at, ended_by=by, end_reason=reason)
