"""What the API knows of stops: the latch folder as last read, joined with what it has just set or cleared itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from actors.safety.latch import LatchSet, cleared
from actors.stores import LatchStore
from actors.vocabulary import DeviceError, Instant
from actors.vocabulary.records import StopEventRecord
from api.disk import Disk

_DISK_DEADLINE_S: Final = 1.0
# What a stop may wait for the disk before it goes to the wire: long for a good disk, nothing for a person.
_LOOK_DEADLINE_S: Final = 0.2
_CLEAR_DEADLINE_S: Final = 2.0
# Own writes are remembered so long, whatever a look that began before them says.
_RECENT_S: Final = 60.0
_RECENT_MAX: Final = 1_000


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
        self, held: Sequence[StopEventRecord], *, by: str, reason: str, now: Instant
    ) -> tuple[StopEventRecord, ...]:
        """Make clears of `held` durable and return the cleared records.

        Raises:
            DeviceError: the disk refused or did not answer in time: nothing is cleared.

        """
        given_up = False

        def clear_on_disk() -> tuple[StopEventRecord, ...]:
            done = tuple(
                cleared(stop, by=by, at=now.utc, reason=reason, release=self._latches.next_stamp())
                for stop in held
            )
            if given_up:
                # The person was told that nothing is cleared; the pump must not come free minutes later.
                raise DeviceError("latch folder: the disk answered too late")
            self._latches.merge(done)
            return done

        try:
            done = await self._disk.call(clear_on_disk, deadline_s=_CLEAR_DEADLINE_S)
        except DeviceError as error:
            given_up = True
            raise DeviceError(f"not cleared, because it cannot be made durable: {error}") from error
        for record in done:
            self._undurable.pop(record.record_id, None)
        self._remember(done, now)
        return done

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
