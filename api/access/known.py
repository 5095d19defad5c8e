"""What was asked of the store a moment ago: a request a second costs no query, and a store that is away costs no view.

What this API changes itself counts at once; what somebody changed behind its back, within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from actors.runtime import Clock
from actors.vocabulary import DeviceError, Instant
from actors.vocabulary.users import Account

FRESH_S: Final = 1.0
# While the store is away, what was last known holds so long: less than anybody's working day, more than a restart.
STALE_S: Final = 600.0
ENTRIES_MAX: Final = 5_000

_Kind = TypeVar("_Kind")


class Known(Generic[_Kind]):
    """Answers of the store by key, the oldest forgotten first. An answer is something with its account."""

    def __init__(self, ask: Callable[[str], Awaitable[tuple[_Kind, Account] | None]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._answers: dict[str, tuple[tuple[_Kind, Account] | None, Instant]] = {}
        self._forgotten = 0

    async def get(self, key: str, *, deadline_s: float) -> tuple[_Kind, Account] | None:
        """Return what the store says of `key`, None: it knows none.

        Raises:
            DeviceError: it does not answer within `deadline_s`, and has not for a while.

        """
        now = self._clock.now()
        held = self._answers.get(key)
        if held is not None and 0.0 <= now.seconds_since(held[1]) < FRESH_S:
            return held[0]
        began = self._forgotten
        try:
            async with asyncio.timeout(deadline_s):
                answer = await self._ask(key)
        except (DeviceError, TimeoutError) as error:
            if held is not None and 0.0 <= now.seconds_since(held[1]) < STALE_S:
                return held[0]
            raise DeviceError(f"users: the database does not answer ({str(error) or 'too late'})") from error
        if (
            began == self._forgotten
        ):  # else something changed while we asked: the answer may be the former one
            self._answers.pop(key, None)
            while len(self._answers) >= ENTRIES_MAX:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = (answer, now)
        return answer

    def forget(self) -> None:
        """Ask anew for everything."""
        self._forgotten += 1
        self._answers.clear()
