"""One question at a time for all who ask the same; nobody is answered by one that began before they asked (API-4).

Who asks while the same question is under way does not join it: what it will tell may be older than the command that
the asker has just given. They wait for it, and share the next one. So the answer is as fresh as if everybody had asked
alone, at the price of two questions however many ask. Nothing is kept: neither an answer nor an error outlives those
who waited for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, TypeVar

PATIENCE_S: Final = 0.1
"""How long the next question waits for the one under way: an actor that hangs must not cost two deadlines."""

_Answer = TypeVar("_Answer")


class _Line:
    """Those who ask one question: `running` was begun last, `next_one` is joined until it begins."""

    __slots__ = ("next_one", "running")

    def __init__(self) -> None:
        self.running: asyncio.Task[Any] | None = None
        self.next_one: asyncio.Task[Any] | None = None


class Questions:
    """Shares questions by their key. Holds one line for each key that is asked right now, and no other."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._lines: dict[Hashable, _Line] = {}

    @property
    def under_way(self) -> int:
        """How many different questions are asked right now."""
        return len(self._lines)

    async def ask(self, key: Hashable, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Return the answer of a question that begins now or later; equal keys must mean the same question.

        Who is cancelled takes the answer from nobody else.

        Raises:
            Exception: as the question raised it, to everybody who shared it.

        """
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        if line.next_one is None:
            line.next_one = asyncio.create_task(self._next(key, line, question))
            # Those who gave up have told nobody of its error: that is fine.
            line.next_one.add_done_callback(lambda done: done.cancelled() or done.exception())
        answer: _Answer = await asyncio.shield(line.next_one)
        return answer

    async def _next(self, key: Hashable, line: _Line, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        own = asyncio.current_task()
        try:
            if line.running is not None:
                await asyncio.wait((line.running,), timeout=self._patience_s)
        finally:
            # From here on nobody joins it.
            line.running, line.next_one = own, None
        try:
            return await question()
        finally:
            if line.running is own:
                line.running = None
                if line.next_one is None:
                    del self._lines[key]
