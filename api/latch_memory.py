"""What the API knows of stops: the latch folder as last read, joined with what it has just set or cleared itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Final

from actors.safety.latch import LatchSet, cleared
from actors.stores import LatchStore
from actors.vocabulary import DeviceError, Instant
from actors.vocabulary.records import StopEventRecord
from api.access.errors import OutcomeUnknownError
from api.disk import Disk, DiskLateError

_DISK_DEADLINE_S: Final = 1.0
# What a stop may wait for the disk before it goes to the wire: long for a good disk, nothing for a person.
_LOOK_DEADLINE_S: Final = 0.2
_CLEAR_DEADLINE_S: Final = 2.0
# Own writes are remembered so long, whatever a look that began before them says.
_RECENT_S: Final = 60.0
_RECENT_MAX: Final = 1_000


ClearedLate = Callable[[tuple[StopEventRecord, ...], str], None]
"""Told of clears that were answered "not known": what is cleared after all, or why nothing is."""


class _Waited:
    """Whether somebody still waits for a clear: asked by the disk's thread, ended by the loop, decided once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given_up = False
        self._begun = False

    def wanted(self) -> bool:
        """Begin, unless it was given up; from here on it counts as begun."""
        with self._lock:
            self._begun = not self._given_up
            return self._begun

    def give_up(self) -> bool:
        """Have it never begin; return whether it has begun."""
        with self._lock:
            self._given_up = True
            return self._begun


class LatchMemory:
    """Reads and writes the latch folder beside the loop; a disk that hangs leaves what was known."""

    def __init__(self, latches: LatchStore) -> None:
        self._latches = latches
        self._disk = Disk("latch folder")
        self._look: asyncio.Task[LatchSet] | None = None
        self._recent: dict[str, tuple[StopEventRecord, Instant]] = {}
        self._undurable: dict[str, StopEventRecord] = {}
        self.known = LatchSet()

    @property
    def undurable(self) -> tuple[StopEventRecord, ...]:
        """Stops that were told to the gates and that our disk does not hold yet."""
        return tuple(self._undurable.values())

    def is_durable(self, record_id: str) -> bool:
        """Say whether our disk holds it, as far as we know."""
        return record_id not in self._undurable

    def remember_undurable(self, stop: StopEventRecord, now: Instant) -> None:
        """Know a stop from this moment on, whatever the disk will say."""
        self._remember((stop,), now)
        while len(self._undurable) >= _RECENT_MAX:
            del self._undurable[next(iter(self._undurable))]
        self._undurable[stop.record_id] = stop

    def forget_old(self, now: Instant) -> None:
        """Leave to the folder what it has held for a while."""
        for record_id, (_, since) in list(self._recent.items()):
            if record_id not in self._undurable and now.seconds_since(since) > _RECENT_S:
                del self._recent[record_id]

    async def store(self, records: tuple[StopEventRecord, ...]) -> str:
        """Store; return '' or why it is not durable. A stop is never held back for a disk."""
        try:
            await self._disk.call(lambda: self._latches.merge(records), deadline_s=_DISK_DEADLINE_S)
        except DeviceError as error:
            return str(error)
        for record in records:
            self._undurable.pop(record.record_id, None)
        return ""

    async def clear(
        self, held: Sequence[StopEventRecord], *, by: str, reason: str, now: Instant, late: ClearedLate
    ) -> tuple[StopEventRecord, ...]:
        """Make clears of `held` durable and return the cleared records.

        Raises:
            DeviceError: the disk refused, or did not answer in time: nothing is cleared, and nothing will be.
            OutcomeUnknownError: the disk hung over the last step: they come into force, or the disk refuses them;
                `late` is told which, as soon as the disk answers.

        """
        waited = _Waited()

        def clear_on_disk() -> tuple[StopEventRecord, ...]:
            done = tuple(
                cleared(stop, by=by, at=now.utc, reason=reason, release=self._latches.next_stamp())
                for stop in held
            )
            # Whoever was told that nothing is cleared must find it so: the pump must not come free minutes later.
            self._latches.merge(done, wanted=waited.wanted)
            return done

        def ended_late(end: tuple[StopEventRecord, ...] | BaseException) -> None:
            if not waited.give_up():
                return
            if isinstance(end, BaseException):
                late((), str(end))
                return
            self._keep_cleared(end, now)
            late(end, "")

        try:
            done = await self._disk.call(clear_on_disk, deadline_s=_CLEAR_DEADLINE_S, late=ended_late)
        except DiskLateError as error:
            if waited.give_up():
                raise OutcomeUnknownError(
                    f"whether it is cleared is not known yet: {error}, and the clear was being put into force: look"
                    " at the stops before you rely on them"
                ) from error
            raise DeviceError(f"not cleared, because it cannot be made durable: {error}") from error
        except DeviceError as error:
            raise DeviceError(f"not cleared, because it cannot be made durable: {error}") from error
        except asyncio.CancelledError:
            # Nobody hears the answer; what has begun is told by `late`.
            waited.give_up()
            raise
        self._keep_cleared(done, now)
        return done

    def _keep_cleared(self, done: Sequence[StopEventRecord], now: Instant) -> None:
        for record in done:
            self._undurable.pop(record.record_id, None)
        self._remember(done, now)

    async def looked(self) -> str:
        """Look at the folder for a moment; return '' or why it could not be read. What is known stays known."""
        try:
            await self.refresh(deadline_s=_LOOK_DEADLINE_S)
        except DeviceError as error:
            return str(error)
        return ""

    async def refresh(self, *, deadline_s: float = _DISK_DEADLINE_S) -> None:
        """Look at the folder; those who ask while a look is under way share it.

        Raises:
            DeviceError: the disk refused, or did not answer within `deadline_s`.

        """
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._load())
            # One that nobody waits for any more (all gave up) has told its error to nobody: that is fine.
            self._look.add_done_callback(lambda look: look.cancelled() or look.exception())
        try:
            async with asyncio.timeout(deadline_s):
                loaded = await asyncio.shield(self._look)
        except TimeoutError as error:
            raise DeviceError(f"latch folder: the disk did not answer within {deadline_s:g} s") from error
        self.known = loaded.merge(record for record, _ in self._recent.values())

    async def _load(self) -> LatchSet:
        return LatchSet.of(await self._disk.call(self._latches.load, deadline_s=_CLEAR_DEADLINE_S))

    def _remember(self, records: Sequence[StopEventRecord], now: Instant) -> None:
        for record in records:
            self._recent.pop(record.record_id, None)
            self._recent[record.record_id] = (record, now)
        while len(self._recent) > _RECENT_MAX:
            del self._recent[next(iter(self._recent))]
        self.known = self.known.merge(records)
