"""What waits for one actor: two bounded lanes, the newest of a kind replacing its elders. Pure, the same everywhere."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

import msgspec

BOUND_DEFAULT: Final = 256

A = TypeVar("A")


class Asker(msgspec.Struct, Generic[A], frozen=True):
    """Someone who waits for the answer, and until when by this machine's boot clock (ns)."""

    token: A
    expires_boot_ns: int


class Envelope(msgspec.Struct, Generic[A], frozen=True):
    """A message with those who wait for its answer. `told`: somebody sent it without waiting, so it never expires."""

    message: object
    askers: tuple[Asker[A], ...] = ()
    told: bool = True


class MailboxCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How the mailbox fared since its actor started."""

    waiting: int
    refused: int
    coalesced: int


class Mailbox(Generic[A]):
    """Bounded in each lane; the urgent lane is taken first.

    A message with a coalescing key takes the place in the queue of a waiting one with the same key. Whoever asked
    for the replaced one is answered with the newer one's answer, so that no asker is lost (bounded as the lanes are).
    """

    def __init__(self, bound: int = BOUND_DEFAULT) -> None:
        assert bound > 0
        self._bound = bound
        self._urgent: deque[Envelope[A]] = deque()
        self._ordinary: OrderedDict[str | int, Envelope[A]] = OrderedDict()
        self._serial = 0
        self._refused = 0
        self._coalesced = 0

    def put(self, envelope: Envelope[A], *, urgent: bool = False, key: str | None = None) -> bool:
        """Take `envelope`; return False (and count) when its lane is full."""
        if urgent:
            if len(self._urgent) >= self._bound:
                self._refused += 1
                return False
            self._urgent.append(envelope)
            return True
        waiting = self._ordinary.get(key) if key is not None else None
        if key is not None and waiting is not None:
            askers = waiting.askers + envelope.askers
            if len(askers) > self._bound:
                self._refused += 1
                return False
            self._ordinary[key] = Envelope(envelope.message, askers, envelope.told or waiting.told)
            self._coalesced += 1
            return True
        if len(self._ordinary) >= self._bound:
            self._refused += 1
            return False
        self._serial += 1
        self._ordinary[self._serial if key is None else key] = envelope
        return True

    def take(self) -> Envelope[A] | None:
        """Return the next envelope, urgent ones first, each lane in order of arrival; None when nothing waits."""
        if self._urgent:
            return self._urgent.popleft()
        if self._ordinary:
            return self._ordinary.popitem(last=False)[1]
        return None

    def __len__(self) -> int:
        return len(self._urgent) + len(self._ordinary)

    @property
    def counts(self) -> MailboxCounts:
        """How many wait, were refused for want of room, and were replaced by a newer one."""
        return MailboxCounts(waiting=len(self), refused=self._refused, coalesced=self._coalesced)
