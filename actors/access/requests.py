"""The port to what REST remembers of requests across its restarts; `storage.requests` holds the real one (API-2)."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from actors.vocabulary.requests import Command, Failing, LoginFailures


class RequestStore(Protocol):
    """Every method may raise DeviceError (the database is away or slow); what is written is committed on return."""

    async def claim(self, command: Command) -> Command | None:
        """Write a command down; None: it is new. Else return the one that has its key.

        Raises:
            RefusedError: this user holds as many keys as one may.

        """
        ...

    async def answered(self, command: Command) -> None:
        """Write down what a command was answered."""
        ...

    async def release(self, user_id: str, key: str) -> None:
        """Forget a command that was not carried out: the same key may ask again."""
        ...

    async def failures(self, *, since: datetime) -> tuple[LoginFailures, ...]:
        """Return who has failed since a moment, whoever failed longest ago first, at most 10,000."""
        ...

    async def failed(self, failures: tuple[LoginFailures, ...]) -> None:
        """Write down failures; what stood under their names before is replaced."""
        ...

    async def forgive(self, kind: Failing, name: str) -> None:
        """Forget the failures of one name."""
        ...

    async def prune(self, *, commands_before: datetime, failures_before: datetime) -> int:
        """Forget commands that were asked for, and failures that happened, before a moment; return how many."""
        ...
