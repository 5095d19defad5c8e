"""The storage actor's shell: to the spool at once, to the database when it can (DAT-3, AUD-4)."""

from __future__ import annotations

from typing import Final, Protocol, assert_never, runtime_checkable

from actors.messages import GetStorage, StorageInbox, StorageStatus, Stored, StoreRecords, Tick
from actors.runtime import Ports
from actors.start import WorkerStart
from actors.storage import draining
from actors.storage.draining import DrainState
from actors.stores import RecordSpool, RecordWriter
from actors.vocabulary import DeviceError
from actors.vocabulary.ids import ALARM

_ALARM_TICK: Final = "alarms"


@runtime_checkable
class _KeepsRefused(Protocol):
    def set_aside(self, position: int, reason: str) -> None: ...


@runtime_checkable
class _CountsLosses(Protocol):
    def dropped_total(self) -> int: ...

    def set_aside_files(self) -> tuple[str, ...]: ...


class StorageActor:
    """Answers as soon as records are durable in the spool; a task brings them to the database.

    The spool is a local file: one append is one fsync, done right here. A disk that hangs so long that the liveness
    deadline passes ends this actor and nobody else, and senders keep what was not acknowledged.
    """

    def __init__(self, ports: Ports, start: WorkerStart, spool: RecordSpool, writer: RecordWriter) -> None:
        self._ports = ports
        self._settings = start.settings
        self._spool = spool
        self._writer = writer
        self._state = DrainState()
        self._dropped = 0
        # All of them: what held when a former incarnation died must be returned by this one.
        self._alarms: frozenset[str] = frozenset(draining.CONDITIONS)

    async def start(self) -> None:
        """Begin to drain what is waiting."""
        self._ports.timers.every(draining.ASSERT_PERIOD_S, Tick(what=_ALARM_TICK), first_after_s=1.0)
        self._ports.tasks.spawn(self._drain(), name="drain")

    async def handle(self, message: StorageInbox) -> object:
        """Store records, tell the state, or look after the alarms.

        Raises:
            DeviceError: the disk refused; the sender keeps its records.

        """
        match message:
            case StoreRecords():
                self._dropped += self._spool.append(message.records)
                return Stored(count=len(message.records))
            case GetStorage():
                return self._status()
            case Tick():
                self._tell_alarms()
                return None
            case _:
                assert_never(message)

    def _status(self) -> StorageStatus:
        records, bytes_ = self._spool.size()
        return StorageStatus(
            database_ok=self._state.database_ok,
            last_error=self._state.last_error,
            spooled_records=records,
            spooled_bytes=bytes_,
            written_total=self._state.written_total,
            refused_total=self._state.refused_total,
            dropped_total=self._spool.dropped_total()
            if isinstance(self._spool, _CountsLosses)
            else self._dropped,
        )

    def _tell_alarms(self) -> None:
        try:
            _, bytes_ = self._spool.size()
        except DeviceError as error:
            self._ports.log.warning("spool_failed", error=str(error))
            bytes_ = self._settings.database.spool_bytes_max
        now = self._ports.clock.now()
        held = draining.alarms(
            self._state,
            spooled_bytes=bytes_,
            bytes_max=self._settings.database.spool_bytes_max,
            damaged_files=self._spool.set_aside_files() if isinstance(self._spool, _CountsLosses) else (),
            unreachable_after_s=self._settings.control.database_unreachable_s,
            was=self._alarms,
            now=now,
        )
        for news in draining.news(held, self._alarms, now):
            self._ports.directory.ref(ALARM).tell(news)
        self._alarms = frozenset(held)

    async def _drain(self) -> None:
        while True:
            more = await self._drain_once()
            pause_s = draining.pause_s(self._state, more=more, chance=self._ports.clock.random())
            # Even without a pause the loop is given up once, so that records can come in between two batches.
            await self._ports.clock.sleep(pause_s)

    async def _drain_once(self) -> bool:
        """Bring one batch to the database; return whether more is waiting."""
        try:
            batch = self._spool.peek(draining.BATCH_MAX)
            if not batch:
                return False
            refusals = await self._writer.write(batch)
            for position, reason in refusals.items():
                self._set_aside(position, reason)
            self._spool.remove([position for position, _ in batch])
        except DeviceError as error:
            was_ok = self._state.database_ok
            self._state = draining.failed(self._state, error=str(error), now=self._ports.clock.now())
            if was_ok:
                self._ports.log.warning("database_away", error=str(error))
            return False
        if not self._state.database_ok:
            self._ports.log.info("database_back", failures=self._state.failures)
        self._state = draining.wrote(
            self._state, count=len(batch), refusals=refusals, now=self._ports.clock.now()
        )
        return len(batch) == draining.BATCH_MAX

    def _set_aside(self, position: int, reason: str) -> None:
        self._ports.log.error("record_refused", position=position, reason=reason)
        if isinstance(self._spool, _KeepsRefused):
            self._spool.set_aside(position, reason)
