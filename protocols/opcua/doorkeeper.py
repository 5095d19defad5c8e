"""The port to users, and to whoever writes down who came and who was turned away (OPC-4, SEC-1, SEC-5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Protocol

from actors.vocabulary.callers import Caller


@unique
class Standing(StrEnum):
    """What somebody who was let in is worth now."""

    GOOD = "GOOD"
    OVER = "OVER"
    UNKNOWN = "UNKNOWN"


class Doorkeeper(Protocol):
    """Knows users by their passwords and keys. No method keeps the event loop waiting."""

    async def by_password(self, name: str, password: str, *, peer: str) -> Caller:
        """Return who this is; a refusal is counted, written down and makes the next try wait.

        Raises:
            CallerError: wrong, disabled, locked out or too many at once; the text is for the audit trail alone.
            DeviceError: nobody can say: the users' database is away, and this one was not here lately.

        """
        ...

    async def standing(self, caller: Caller) -> Standing:
        """Say whether somebody who came by password or key may stay; UNKNOWN: nobody can say now."""
        ...

    def tell(self, event: str, *, actor: str, peer: str, refused: str = "", subject: str = "") -> None:
        """Count a security event and write it down, of a flood only the first few; `refused`: why, '' if it was not."""
        ...

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """How often each event came since the start, by (event, 'success' or 'refused')."""
        ...


class NoUsers:
    """The doorkeeper of an endpoint without users: it counts, and knows nobody."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    async def by_password(self, name: str, password: str, *, peer: str) -> Caller:
        """Know nobody.

        Raises:
            AssertionError: names are not offered without users, thus never asked for; our bug.

        """
        raise AssertionError("an endpoint without users offers no names")

    async def standing(self, caller: Caller) -> Standing:
        """Nobody came by name."""
        return Standing.OVER

    def tell(self, event: str, *, actor: str, peer: str, refused: str = "", subject: str = "") -> None:
        """Count."""
        self._counts[event, "refused" if refused else "success"] += 1

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """As the port says."""
        return MappingProxyType(self._counts)
