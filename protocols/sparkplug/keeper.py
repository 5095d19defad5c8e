"""Keeps values for later: from memory to disk while nobody listens, from disk to the wire when somebody does again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from actors.vocabulary import DeviceError, InvalidValueError
from protocols.sparkplug.backfill import Buffer, HistoryStore, chunks, samples_of
from protocols.sparkplug.edge import Sample

T = TypeVar("T")

WRITE_S: Final = 0.5
"""So much may be lost when the process dies outside of a session."""


class HistoryKeeper:
    """Two buffers in memory and the queue on disk; each disk call runs in a thread, one at a time."""

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._unheard = Buffer()
        self._unconfirmed = Buffer()
        self._disk = asyncio.Lock()
        self._empty = False
        self.waiting = 0
        self.lost = 0

    @property
    def unconfirmed(self) -> int:
        """How many values were published in this session without the broker's word that it has them."""
        return len(self._unconfirmed)

    def take(self, samples: Sequence[Sample], *, in_session: bool) -> None:
        """Take new values; those of a session are let go when the broker has them."""
        (self._unconfirmed if in_session else self._unheard).add(samples)

    def mark(self) -> int:
        """Return a place behind all that this session has taken so far."""
        return self._unconfirmed.mark()

    def confirmed(self, mark: int) -> None:
        """Let go what came before a place: the broker has it."""
        self._unconfirmed.drop_to(mark)

    def session_ended(self) -> None:
        """Keep what the broker may not have got: a host may see it twice, but never not at all."""
        later = self._unheard.drain()
        self._unheard.add(self._unconfirmed.drain())
        self._unheard.add(later)

    async def run(self, tell: Callable[[str, str], None]) -> None:
        """Write to disk what nobody has heard, for ever; a disk that refuses loses values, and that is told."""
        await self._count(tell)
        while True:
            await asyncio.sleep(WRITE_S)
            await self.write(tell)

    async def write(self, tell: Callable[[str, str], None] | None = None) -> None:
        """Write what waits in memory, and tell what was lost."""
        lost = self._unheard.lost() + self._unconfirmed.lost()
        samples = self._unheard.drain()
        if not samples and not lost:
            return
        rows = list(chunks(samples))

        def work() -> int:
            if lost:
                self._store.note_lost(lost)
            return self._store.append(rows) if rows else 0

        try:
            dropped = await self._in_thread(work)
        except DeviceError as error:
            self.lost += lost + len(samples)
            if tell is not None:
                tell("backfill_lost", f"{lost + len(samples)} values: {error}")
            return
        self._empty = self._empty and not rows
        if lost + dropped and tell is not None:
            tell("backfill_lost", f"{lost + dropped} values: no room")
        await self._count(tell)

    async def oldest(self) -> tuple[int, list[Sample]] | None:
        """Return the oldest chunk on disk; None: there is none, or the disk does not say."""
        if self._empty:
            return None
        try:
            found = await self._in_thread(self._store.oldest)
        except DeviceError:
            # Whoever writes tells of it; what is there stays there.
            return None
        if found is None:
            self._empty = True
            self.waiting = 0
            return None
        position, body = found
        try:
            return position, samples_of(body)
        except InvalidValueError:
            # Another version's: nobody can read it any more, so it only holds up the others.
            return position, []

    async def remove(self, position: int) -> None:
        """Forget a chunk that the broker has; a disk that refuses hands it in once more."""
        try:
            await self._in_thread(lambda: self._store.remove(position))
            self.waiting, self.lost = await self._in_thread(self._store.totals)
        except DeviceError:
            self._empty = True  # until something is written again: not the same chunk in a loop

    async def close(self) -> None:
        """Put the last values on disk and free the file."""
        self.session_ended()
        await self.write()
        await self._in_thread(self._store.close)

    async def _count(self, tell: Callable[[str, str], None] | None) -> None:
        try:
            self.waiting, self.lost = await self._in_thread(self._store.totals)
        except DeviceError as error:
            if tell is not None:
                tell("backfill_unreadable", str(error))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        async with self._disk:
            return await asyncio.to_thread(work)
