"""One endpoint's copy of the latch: merged in memory first, on the disk as soon as it takes it (EST-2).

The latch files are written on the caller's loop, not in a thread: they are small, seldom and local, and whoever
confirms a stop has to wait for them anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from actors.plan.conditions import ConditionBook
from actors.publisher.stops import STOP_POINT, changes, subject_of
from actors.safety.latch import EMERGENCY_STOP, LatchSet, cleared
from actors.stores import JoinedLatchStore, LatchStore
from actors.vocabulary import DeviceError, Instant, RefusedError, Severity
from actors.vocabulary.records import StopEventRecord


class StopDesk:
    """Holds the latches, what of them the disk does not hold yet, and the alarms that follow.

    `whole`: these latches may be relied on. A folder that was never joined with the database is new, or is all that is
    left of a lost one: until the database has answered, nobody can say which pumps are stopped.
    """

    def __init__(self, store: LatchStore, conditions: ConditionBook, subject: str) -> None:
        self._store = store
        # Asked ten times a second, and whether a class has such methods takes long to find out.
        self._joined = store if isinstance(store, JoinedLatchStore) else None
        self.conditions = conditions
        self._subject = subject
        self._fingerprint: object = None
        self._undurable: frozenset[str] = frozenset()
        self.latches = LatchSet()
        self.whole = False
        self._marked = False

    def load(self) -> None:
        """Read everything before anything is shown.

        Raises:
            DeviceError: the folder cannot be read.

        """
        # Both first: what is written in between is then read once more, never missed.
        new = self._is_new()
        self._fingerprint = self._store.fingerprint()
        self.latches = self.latches.merge(self._store.load())
        self._became_whole(not new)

    def _is_new(self) -> bool:
        return self._joined is not None and self._joined.is_new()

    def _became_whole(self, whole: bool) -> None:
        """Note it for good: whoever joined the folder has marked it."""
        if whole:
            self.whole = self._marked = True

    def joined(self) -> None:
        """The database's stops are merged here: rely on the latches, and mark the folder once it holds them, too."""
        self.whole = True
        if self._marked or self._undurable:
            return
        try:
            if self._joined is not None:
                self._joined.mark_joined()
            self._marked = True
        except DeviceError as error:
            self.conditions.hold("latch_not_durable", self._subject, Severity.CRITICAL, str(error))

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
            self.conditions.hold("latch_not_durable", self._subject, Severity.CRITICAL, text)
        else:
            self._undurable = frozenset()
            self.conditions.clear("latch_not_durable", self._subject)

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

    def clear(
        self, held: Sequence[StopEventRecord], *, by: str, reason: str, at: Instant
    ) -> tuple[StopEventRecord, ...]:
        """Make clears of these durable and return them; nothing of it counts here yet (EST-2).

        Raises:
            DeviceError: the disk refused: nothing is cleared.

        """
        done = tuple(
            cleared(stop, by=by, at=at.utc, reason=reason, release=self._store.next_stamp()) for stop in held
        )
        self._store.merge(done)
        return done

    def poll(self) -> tuple[StopEventRecord, ...]:
        """Return everything in the folder if another process (the CLI, say) changed it, else nothing."""
        try:
            new = self._is_new()
            fingerprint = self._store.fingerprint()
            if fingerprint == self._fingerprint and (self.whole or new):
                self.conditions.clear("latch_unreadable", self._subject)
                return ()
            records = self._store.load()
            self._became_whole(not new)
        except DeviceError as error:
            self.conditions.hold("latch_unreadable", self._subject, Severity.CRITICAL, str(error))
            return ()
        self._fingerprint = fingerprint
        return records

    def hold_alarms(self, *, answer_due: bool) -> None:
        """Hold an alarm for each active emergency stop and none beside them, and one for latches that may lack some.

        `answer_due`: the database has had its time to answer.
        """
        if self.whole:
            self.conditions.clear("latches_incomplete", self._subject)
        elif answer_due:
            text = "the latch folder is new and the database has not answered: no setpoint is passed on"
            self.conditions.hold("latches_incomplete", self._subject, Severity.HIGH, text)
        active = self.latches.active(EMERGENCY_STOP)
        for stop in active:
            subject = subject_of(stop)
            text = f"Emergency stop of {subject} by {stop.set_by}: {stop.reason}"
            self.conditions.hold(STOP_POINT, subject, Severity.CRITICAL, text)
        self.conditions.clear_all_but(STOP_POINT, {subject_of(stop) for stop in active})
