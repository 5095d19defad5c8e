"""What was asked of the store a moment ago: a request a second costs no query, and a store that is away costs no view.

What this API changes itself counts at once; what somebody changed behind its back, within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

from actors.runtime import Clock
from actors.vocabulary import DeviceError, Instant
from actors.vocabulary.users import Account

FRESH_S: Final = 1.0
# While the store is away, what was last known holds so long: less than anybody's working day, more than a restart.
STALE_S: Final = 600.0
ENTRIES_MAX: Final = 5_000
# What nobody has: kept apart, so that whoever asks for inventions pushes out nothing but inventions.
NOBODYS_MAX: Final = 500

_Kind = TypeVar("_Kind")


class _Flight(Generic[_Kind]):
    """One question to the store, for all who want its answer; with the last of them it ends."""

    def __init__(
        self, asking: asyncio.Future[tuple[_Kind, Account] | None], *, changes: int, at: Instant
    ) -> None:
        self.asking = asking
        self.changes = changes
        self.at = at
        self.waiting = 0


class _Held(msgspec.Struct, Generic[_Kind]):
    answer: tuple[_Kind, Account]
    at: Instant
    doubted: bool = False


class Known(Generic[_Kind]):
    """Answers of the store by key, the oldest forgotten first. An answer is something with its account."""

    def __init__(self, ask: Callable[[str], Awaitable[tuple[_Kind, Account] | None]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._held: dict[str, _Held[_Kind]] = {}
        self._nobodys: dict[str, Instant] = {}
        self._flights: dict[str, _Flight[_Kind]] = {}
        self._changes = 0

    def __contains__(self, key: str) -> bool:
        """Whether the store has known this key of late."""
        return key in self._held

    async def get(self, key: str, *, deadline_s: float) -> tuple[_Kind, Account] | None:
        """Return what the store says of `key`, None: it knows none.

        Raises:
            DeviceError: it does not answer within `deadline_s`, and has not for a while.

        """
        now = self._clock.now()
        held, nobodys = self._held.get(key), self._nobodys.get(key)
        if held is not None and not held.doubted and _is_within(FRESH_S, held.at, now):
            return held.answer
        if nobodys is not None and _is_within(FRESH_S, nobodys, now):
            return None
        began = self._changes
        try:
            async with asyncio.timeout(deadline_s):
                answer = await self._asked_once(key, now)
        except (DeviceError, TimeoutError) as error:
            # Looked up again: it may have been forgotten while we asked.
            held = self._held.get(key)
            if held is not None and _is_within(STALE_S, held.at, now):
                return held.answer
            raise DeviceError(f"users: the database does not answer ({str(error) or 'too late'})") from error
        # Else something changed while we asked: the answer may be the former one.
        if began == self._changes:
            self._put(key, answer, now)
        return answer

    def learn(self, key: str, answer: tuple[_Kind, Account]) -> None:
        """Know what the store has just written."""
        self._changes += 1
        self._put(key, answer, self._clock.now())

    def forget(self, *, key: str | None = None, user_id: str | None = None) -> None:
        """Ask anew for one key, or for all of a user's; what was known of it counts no more."""
        self._changes += 1
        for each in self._named(key, user_id):
            del self._held[each]
        self._nobodys.clear()

    def doubt(self, *, user_id: str | None = None) -> None:
        """Ask first for all of a user's, or for everything; what was known holds while no answer comes."""
        self._changes += 1
        for each in self._named(None, user_id) if user_id is not None else self._held:
            self._held[each].doubted = True
        self._nobodys.clear()

    async def _asked_once(self, key: str, now: Instant) -> tuple[_Kind, Account] | None:
        """Return the store's answer; those who ask the same at the same time share a question.

        Not one that began before the last change, nor one that a slow store has had for long.
        """
        flight = self._flights.get(key)
        if flight is None or flight.changes != self._changes or not _is_within(FRESH_S, flight.at, now):
            flight = _Flight(asyncio.ensure_future(self._ask(key)), changes=self._changes, at=now)
            flight.asking.add_done_callback(_looked_at)
            self._flights[key] = flight
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.asking)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                flight.asking.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]

    def _named(self, key: str | None, user_id: str | None) -> list[str]:
        if key is not None:
            return [key] if key in self._held else []
        return [each for each, held in self._held.items() if held.answer[1].user_id == user_id]

    def _put(self, key: str, answer: tuple[_Kind, Account] | None, now: Instant) -> None:
        self._held.pop(key, None)
        self._nobodys.pop(key, None)
        if answer is None:
            while len(self._nobodys) >= NOBODYS_MAX:
                del self._nobodys[next(iter(self._nobodys))]
            self._nobodys[key] = now
            return
        while len(self._held) >= ENTRIES_MAX:
            del self._held[next(iter(self._held))]
        self._held[key] = _Held(answer, now)


def _looked_at(asking: asyncio.Future[Any]) -> None:
    """See how it ended also when nobody waits for it any more: else that is an error of its own."""
    if not asking.cancelled():
        asking.exception()


def _is_within(seconds: float, then: Instant, now: Instant) -> bool:
    return 0.0 <= now.seconds_since(then) < seconds
