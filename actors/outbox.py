"""A sender's bounded outbox: records wait here until storage has them, and never hold up whoever made them (DAT-3).

`Backlog` is the law; `Outbox` is what a shell holds: `put` returns at once, a background task delivers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from actors.messages import Stored, StoreRecords
from actors.runtime import Ports
from actors.vocabulary import CallerError, DeviceError, Instant
from actors.vocabulary.ids import STORAGE
from actors.vocabulary.records import (
    AlarmRecord,
    AuditRecord,
    DecisionRecord,
    FailsafeRecord,
    FeedbackRow,
    PlanRefusalRecord,
    Record,
    StopEventRecord,
    ViolationRecord,
    WireRecord,
)

RECORDS_MAX: Final = 5_000
BATCH_MAX: Final = 200
DEADLINE_S: Final = 5.0
BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 15.0
assert BATCH_MAX <= RECORDS_MAX
assert BACKOFF_S_MIN < BACKOFF_S_MAX

IMPORTANCE: Final[dict[type[Record], int]] = {
    FeedbackRow: 0,
    DecisionRecord: 1,
    WireRecord: 1,
    PlanRefusalRecord: 2,
    ViolationRecord: 3,
    FailsafeRecord: 4,
    AlarmRecord: 5,
    AuditRecord: 6,
    StopEventRecord: 7,
}
"""What goes first when there is no room is the lowest; within one importance the oldest."""


class Backlog:
    """Records in the order in which they came, until acknowledged; full, the least important one goes."""

    def __init__(self, records_max: int = RECORDS_MAX) -> None:
        self._records_max = records_max
        self._number = 0
        self._waiting: dict[int, Record] = {}
        self._failures = 0
        self._not_before: Instant | None = None
        # Up to this number each is sent alone: among them is one that storage refuses.
        self._alone_to = 0
        self.dropped_total = 0
        self.refused_total = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, records: Iterable[Record]) -> None:
        """Take these; what no longer fits is dropped by importance, then age, and counted."""
        for record in records:
            self._number += 1
            self._waiting[self._number] = record
        excess = len(self._waiting) - self._records_max
        if excess > 0:
            doomed = sorted(
                self._waiting, key=lambda number: (IMPORTANCE[type(self._waiting[number])], number)
            )
            for number in doomed[:excess]:
                del self._waiting[number]
            self.dropped_total += excess

    def batch(self, now: Instant) -> Sequence[tuple[int, Record]]:
        """Return what to send now, oldest first: nothing while it is empty or after a failure."""
        if self.wait_s(now) > 0.0:
            return ()
        numbers = list(islice(self._waiting, BATCH_MAX))
        if numbers and numbers[0] <= self._alone_to:
            del numbers[1:]
        return [(number, self._waiting[number]) for number in numbers]

    def wait_s(self, now: Instant) -> float:
        """Return how long to wait before the next try (s)."""
        if self._not_before is None:
            return 0.0
        left_s = self._not_before.seconds_since(now)
        # Another boot's clock says nothing: try at once.
        return left_s if 0.0 < left_s < BACKOFF_S_MAX * 2 else 0.0

    def acknowledged(self, batch: Sequence[tuple[int, Record]]) -> None:
        """Forget a batch: storage has it."""
        self._failures, self._not_before = 0, None
        for number, _ in batch:
            self._waiting.pop(number, None)

    def refused(self, batch: Sequence[tuple[int, Record]]) -> bool:
        """Forget a record that storage will never take, and count it; of more than one each is first tried alone.

        Returns whether it was forgotten.
        """
        if len(batch) > 1:
            self._alone_to = batch[-1][0]
            return False
        self.acknowledged(batch)
        self.refused_total += len(batch)
        return True

    def failed(self, now: Instant, *, chance: float) -> None:
        """Keep everything and wait, longer each time; `chance` in [0, 1) spreads the senders."""
        self._failures += 1
        delay_s = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** min(self._failures - 1, 10))
        self._not_before = now.plus(delay_s * (0.5 + chance / 2))


class Outbox:
    """An actor's way to storage: `put` and forget; delivered in the background until acknowledged."""

    def __init__(self, ports: Ports, *, records_max: int = RECORDS_MAX) -> None:
        self._ports = ports
        self._backlog = Backlog(records_max)
        self._storage = ports.directory.ref(STORAGE)
        self._sending = False

    def put(self, *records: Record) -> None:
        """Take these and return at once."""
        self._backlog.add(records)
        if self._sending or not records:
            return
        # Set here, not in the task: it may begin only after the next `put`.
        self._sending = True
        self._ports.tasks.spawn(self._deliver(), name="records-to-storage")

    @property
    def waiting(self) -> int:
        """How many records storage has not acknowledged yet."""
        return len(self._backlog)

    @property
    def dropped_total(self) -> int:
        """How many were dropped here for lack of room."""
        return self._backlog.dropped_total

    async def _deliver(self) -> None:
        try:
            while len(self._backlog):
                wait_s = self._backlog.wait_s(self._ports.clock.now())
                if wait_s > 0.0:
                    await self._ports.clock.sleep(wait_s)
                await self._send_once()
        finally:
            self._sending = False

    async def _send_once(self) -> None:
        batch = self._backlog.batch(self._ports.clock.now())
        if not batch:
            return
        message = StoreRecords(records=tuple(record for _, record in batch))
        try:
            answer = await self._storage.ask(message, deadline_s=DEADLINE_S)
        except CallerError as error:
            # Sent again it would be refused again, and everything behind it would wait for ever.
            if self._backlog.refused(batch):
                self._ports.log.warning("records_refused", count=len(batch), error=str(error))
        except DeviceError as error:
            self._backlog.failed(self._ports.clock.now(), chance=self._ports.clock.random())
            self._ports.log.warning("records_wait", waiting=len(self._backlog), error=str(error))
        else:
            assert isinstance(answer, Stored)
            self._backlog.acknowledged(batch)
