"""The last events of the stream with their numbers: who comes back in time misses nothing, who does not is told.

Pure: neither a loop nor a clock. An event's id is the life of the feed, its number in it and a mark of what was asked
for: a number of another process, of a feed that slept, or of a narrower question is never taken for one of this.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from actors.vocabulary import Instant
from api.stream.topics import Change

EVENTS_MAX: Final = 4_096
BYTES_MAX: Final = 8 * 1024 * 1024
_ID: Final = re.compile(r"([0-9a-f]{8,32})-([0-9]{1,15})-([0-9a-f]{8})\Z")


class Event(msgspec.Struct, frozen=True):
    """What changed in one topic at one look."""

    number: int
    at: Instant
    change: Change


class Ring:
    """The newest events, bounded by number and by bytes. `life`: hexadecimal, another for each feed that begins."""

    def __init__(self, life: str, *, events_max: int = EVENTS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self.life = life
        self._events: deque[Event] = deque()
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._newest = 0

    @property
    def newest(self) -> int:
        """The number of the newest event, 0: there was none yet."""
        return self._newest

    @property
    def oldest(self) -> int:
        """The number of the oldest event that is held; one above `newest` when none is."""
        return self._newest - len(self._events) + 1

    @property
    def size_bytes(self) -> int:
        """What the events weigh."""
        return self._bytes

    def append(self, change: Change, at: Instant) -> Event:
        """Take an event; the oldest ones go, but never the newest."""
        self._newest += 1
        event = Event(self._newest, at, change)
        self._events.append(event)
        self._bytes += change.size_bytes
        while len(self._events) > 1 and (
            len(self._events) > self._events_max or self._bytes > self._bytes_max
        ):
            self._bytes -= self._events.popleft().change.size_bytes
        return event

    def after(self, number: int) -> Iterator[Event] | None:
        """Return the events behind `number`, oldest first; None: some of them are gone, or it never was."""
        if not self.oldest - 1 <= number <= self._newest:
            return None
        return islice(self._events, number - self.oldest + 1, None)

    def id_of(self, number: int, mark: str) -> str:
        """Return the id under which an event is sent; `mark`: what was asked for, eight hexadecimal digits."""
        return f"{self.life}-{number}-{mark}"

    def number_of(self, event_id: str, mark: str) -> int | None:
        """Return the number of an id, None: it is of another life or of another question, or none at all."""
        found = _ID.match(event_id)
        if found is None or found[1] != self.life or found[3] != mark:
            return None
        return int(found[2])
