"""How many may watch: so many of one user, so many in all; a place is free again when nobody holds its ticket."""

from __future__ import annotations

import weakref
from typing import Final

from api.access.errors import TooManyError

PER_USER_MAX: Final = 10
STREAMS_MAX: Final = 64
# Of the 200 connections that REST takes: a stop, a login and a look at the plant must find one whoever watches.
_RETRY_AFTER_S: Final = 10.0


class Ticket:
    """One place; whoever drops it has left, also if nobody said so."""

    __slots__ = ("__weakref__", "user_id")

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


class Places:
    """Gives tickets."""

    def __init__(self, *, per_user_max: int = PER_USER_MAX, streams_max: int = STREAMS_MAX) -> None:
        self._held: weakref.WeakSet[Ticket] = weakref.WeakSet()
        self._per_user_max = per_user_max
        self._streams_max = streams_max

    def __len__(self) -> int:
        return len(self._held)

    def take(self, user_id: str) -> Ticket:
        """Return a ticket.

        Raises:
            TooManyError: this user, or all together, watch as often as they may.

        """
        if sum(each.user_id == user_id for each in self._held) >= self._per_user_max:
            text = f"{user_id} watches {self._per_user_max} times already: close one"
            raise TooManyError(text, _RETRY_AFTER_S)
        if len(self._held) >= self._streams_max:
            raise TooManyError(f"{self._streams_max} watch already, which is as many as may", _RETRY_AFTER_S)
        ticket = Ticket(user_id)
        self._held.add(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give a ticket back; twice is once."""
        self._held.discard(ticket)
