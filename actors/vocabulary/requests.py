"""What REST remembers of requests across its restarts: commands by their key, and failed logins (API-2, SEC-1)."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final

import msgspec

WINDOW: Final = timedelta(hours=24)
"""How long the key of a command is remembered."""
KEYS_PER_USER_MAX: Final = 10_000
FAILURES_MAX: Final = 10_000


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was asked for under a key. `status` None: it is under way, or its process died over it."""

    user_id: str
    key: str
    request_hash: str
    asked_at: datetime
    status: int | None = None
    content_type: str = ""
    body: str = ""


@unique
class Failing(StrEnum):
    """What fails to log in."""

    ACCOUNT = "ACCOUNT"
    ADDRESS = "ADDRESS"


class LoginFailures(msgspec.Struct, frozen=True, kw_only=True):
    """How often in a row an account, or an address, failed to log in."""

    kind: Failing
    name: str
    count: int
    last_at: datetime
