"""The messages of a broker that wait to be read: bounded, nothing dropped uncounted, and what stops pumps goes first.

aiomqtt drops what finds its queue full, whatever it is. Here a primary host's STATE and commands that stop never stand
behind a flood of other messages, and have room of their own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

import aiomqtt

INCOMING_MAX: Final = 1_000
"""Messages that may wait; of more the newest are dropped, as quality of service 0 has it, and counted."""
URGENT_MAX: Final = 1_000
# So many are read in the order of their arrival without a look at what they say: they wait for a moment only.
_IN_ORDER: Final = 32

Judge: TypeAlias = Callable[[aiomqtt.Message], bool]


class Incoming(asyncio.Queue[aiomqtt.Message]):
    """A queue that never refuses: `is_state` goes to the front lane always, `is_stop` when others wait already.

    All of STATE is in one lane, so its order is kept: a host's birth and death bear the same timestamp.
    """

    def __init__(
        self, maxsize: int = INCOMING_MAX, *, is_state: Judge, is_stop: Judge, dropped: Callable[[], None]
    ) -> None:
        self._lane: deque[aiomqtt.Message] = deque()
        self._front: deque[aiomqtt.Message] = deque()
        self._is_state, self._is_stop, self._dropped = is_state, is_stop, dropped
        super().__init__(maxsize)

    def qsize(self) -> int:
        """Return how many wait."""
        return len(self._front) + len(self._lane)

    def empty(self) -> bool:
        """Whether none waits."""
        return not self._front and not self._lane

    def full(self) -> bool:
        """Return False: what finds no room is counted here and raises nothing."""
        return False

    def _put(self, item: aiomqtt.Message) -> None:
        waiting = len(self._lane)
        if self._is_state(item) or (waiting >= _IN_ORDER and self._is_stop(item)):
            lane, room = self._front, URGENT_MAX
        else:
            lane, room = self._lane, self.maxsize
        if len(lane) < room:
            lane.append(item)
        else:
            self._dropped()

    def _get(self) -> aiomqtt.Message:
        return (self._front or self._lane).popleft()
