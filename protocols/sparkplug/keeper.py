"""Keeps values for later: from memory to disk while nobody listens, from disk to the wire when somebody does again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from actors.vocabulary import DeviceError, InvalidValueError
from protocols.sparkplug.backfill import Buffer, HistoryStore, chunks, samples_of
from protocols.sparkplug.edge import Sample

T = TypeVar("T")

WRITE_S: Final = 0.5
"""So much may be lost when the process dies outside of a session."""
PROBE_SAMPLES: Final = 200


class HistoryKeeper:
    """Two buffers in memory and the queue on disk; each disk call runs in a thread, one at a time.

    A thread cannot be cancelled: what was begun is carried to its end, whether or not somebody still waits for it.
    """

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._unheard = Buffer()
        self._unconfirmed = Buffer()
        self._disk = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._empty = False
        self._bug: BaseException | None = None
        self._lost_on_disk = 0
        # Lost, and not yet counted on disk.
        self._lost_unsaved = 0
        self.waiting = 0
        self.fault = ""
        """Why the disk does not take what is to be kept; '' while it does."""

    @property
    def lost(self) -> int:
        """How many values were ever lost; never less than it was."""
        return self._lost_on_disk + self._lost_unsaved

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
        self._unheard.put_back(self._unconfirmed.drain())

    async def run(self, tell: Callable[[str, str], None]) -> None:
        """Write to disk what nobody has heard, for ever; while a disk refuses, memory keeps what it can."""
        await self._count(tell)
        while True:
            await asyncio.sleep(WRITE_S)
            await self.write(tell)
            if self._bug is not None:
                raise self._bug

    async def write(self, tell: Callable[[str, str], None] | None = None) -> None:
        """Write what waits in memory, and tell what was lost."""
        await self._to_its_end(self._write(tell))

    async def _write(self, tell: Callable[[str, str], None] | None) -> None:
        lost_now = self._unheard.lost() + self._unconfirmed.lost()
        self._lost_unsaved += lost_now
        unsaved, samples = self._lost_unsaved, self._unheard.drain()
        if not samples and not unsaved:
            return
        if self.fault:
            # A disk that refuses is asked with little; the rest waits where it is.
            samples, rest = samples[:PROBE_SAMPLES], samples[PROBE_SAMPLES:]
            self._unheard.put_back(rest)
        rows = list(chunks(samples))

        def work() -> int:
            dropped = self._store.append(rows) if rows else 0
            if unsaved:
                self._store.note_lost(unsaved)
            return dropped

        dropped = 0
        try:
            dropped = await self._in_thread(work)
        except DeviceError as error:
            self._unheard.put_back(samples)
            if str(error) != self.fault and tell is not None:
                tell("backfill_refused", str(error))
            self.fault = str(error)
        else:
            self.fault = ""
            self._empty = self._empty and not rows
            self._lost_unsaved -= unsaved
            self._lost_on_disk += unsaved + dropped
            await self._count(tell)
        if lost_now + dropped and tell is not None:
            tell("backfill_lost", f"{lost_now + dropped} values: {self.fault or 'no room'}")

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
            self.waiting, self._lost_on_disk = await self._in_thread(self._store.totals)
        except DeviceError:
            self._empty = True  # until something is written again: not the same chunk in a loop

    async def close(self) -> None:
        """Put the last values on disk and free the file."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        self.session_ended()
        await self.write()
        await self._in_thread(self._store.close)

    async def _count(self, tell: Callable[[str, str], None] | None) -> None:
        try:
            self.waiting, self._lost_on_disk = await self._in_thread(self._store.totals)
        except DeviceError as error:
            if tell is not None:
                tell("backfill_unreadable", str(error))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        async def alone() -> T:
            async with self._disk:
                return await asyncio.to_thread(work)

        return await self._to_its_end(alone())

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry `work` out whatever becomes of its caller: a thread that nobody waits for goes on all the same, and
        neither its turn at the disk nor what it was handed may be given to another meanwhile.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, DeviceError):
            # Whoever waits hears it himself; of what was left behind `run` is to tell.
            self._bug = error
