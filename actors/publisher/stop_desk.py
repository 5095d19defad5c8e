"""One endpoint's copy of the latch: merged in memory first, on the disk as soon as it takes it (EST-2).

The latch files are written on the caller's loop, not in a thread: they are small, seldom and local, and whoever
confirms a stop has to wait for them anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from actors.plan.conditions import ConditionBook
from actors.publisher.stops import STOP_POINT, changes, stamp_without_disk, subject_of
from actors.safety.latch import EMERGENCY_STOP, LatchSet
from actors.stores import LatchStore
from actors.vocabulary import DeviceError, Instant, RefusedError, Severity
from actors.vocabulary.records import StopEventRecord


class StopDesk:
    """Holds the latches, what of them the disk does not hold yet, and the alarms that follow."""

    def __init__(self, store: LatchStore, conditions: ConditionBook, subject: str) -> None:
        self._store = store
        self._conditions = conditions
        self._subject = subject
        self._fingerprint: object = None
        self._undurable: frozenset[str] = frozenset()
        self.latches = LatchSet()
        self.release_floor = 0

    def load(self) -> None:
        """Read everything before anything is shown.

        Raises:
            DeviceError: the folder cannot be read.

        """
        # The fingerprint first: what is written in between is then read once more, never missed.
        self._fingerprint = self._store.fingerprint()
        self.latches = self.latches.merge(self._store.load())
        self.release_floor = self._store.release_floor()

    def merge(self, records: Iterable[StopEventRecord], *, on_disk: bool) -> tuple[StopEventRecord, ...]:
        """Merge in memory only; return what is new. Unless `on_disk`, it waits for `make_durable`."""
        before = self.latches
        self.latches = before.merge(records)
        news = changes(before, self.latches)
        if not on_disk:
            self._undurable |= {record.record_id for record in news}
        return news

    def make_durable(self) -> None:
        """Write what the disk does not hold yet; a disk that refuses is alarmed and asked again."""
        waiting = tuple(self.latches.by_id[stop_id] for stop_id in sorted(self._undurable))
        if not waiting:
            return
        try:
            self._store.merge(waiting)
        except DeviceError as error:
            text = f"{len(waiting)} stop(s) or clear(s) are on the wire but not on the disk: {error}"
            self._conditions.hold("latch_not_durable", self._subject, Severity.CRITICAL, text)
        else:
            self._undurable = frozenset()
            self._conditions.clear("latch_not_durable", self._subject)

    def is_durable(self, stop_ids: Iterable[str]) -> bool:
        """Whether the disk holds all of these."""
        return self._undurable.isdisjoint(stop_ids)

    def keep_first(self, records: Sequence[StopEventRecord]) -> None:
        """Make clears durable before they count.

        Raises:
            RefusedError: the disk refused.

        """
        try:
            self._store.merge(records)
        except DeviceError as error:
            raise RefusedError(f"the clear cannot be made durable: {error}") from error

    def poll(self) -> tuple[StopEventRecord, ...]:
        """Return everything in the folder if another process (the CLI, say) changed it, else nothing."""
        try:
            fingerprint = self._store.fingerprint()
            if fingerprint == self._fingerprint:
                self._conditions.clear("latch_unreadable", self._subject)
                return ()
            records = self._store.load()
            self.release_floor = max(self.release_floor, self._store.release_floor())
        except DeviceError as error:
            self._conditions.hold("latch_unreadable", self._subject, Severity.CRITICAL, str(error))
            return ()
        self._fingerprint = fingerprint
        return records

    def next_stamp(self, now: Instant) -> int:
        """Return the stamp of a new stop, whatever the disk says: the merge meets the same disk and alarms."""
        try:
            return self._store.next_stamp()
        except DeviceError:
            return stamp_without_disk(self.latches, now)

    def hold_alarms(self) -> None:
        """Hold an alarm for each active emergency stop, and none beside them."""
        active = self.latches.active(EMERGENCY_STOP)
        for stop in active:
            subject = subject_of(stop)
            text = f"Emergency stop of {subject} by {stop.set_by}: {stop.reason}"
            self._conditions.hold(STOP_POINT, subject, Severity.CRITICAL, text)
        self._conditions.clear_all_but(STOP_POINT, {subject_of(stop) for stop in active})
