"""The storage actor's shell: to the spool at once, to the database when it can (DAT-3, AUD-4); and it joins the stops
of the database with those of the latch folder, both ways (EST-2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, assert_never, runtime_checkable

from actors.messages import (
    GetStops,
    GetStorage,
    KnownStops,
    OpenAlarmsRead,
    OpenFailsafesRead,
    ReadOpenAlarms,
    ReadOpenFailsafes,
    StorageInbox,
    StorageStatus,
    Stored,
    StoreRecords,
    Tick,
)
from actors.publisher.stops import audits_of
from actors.runtime import Ports
from actors.start import WorkerStart
from actors.storage import deriving, draining, guarding, joining, retention
from actors.storage.draining import DrainState
from actors.storage.guarding import TrailState
from actors.storage.joining import Joined, Piece
from actors.stores import (
    AuditNotary,
    DecisionKeeper,
    HistoryReader,
    JoinedLatchStore,
    RecordSpool,
    RecordWriter,
)
from actors.vocabulary import CalejoError, DeviceError, Instant
from actors.vocabulary.ids import ALARM, watchdog_address

_ALARM_TICK: Final = "alarms"
_FOLDER: Final = "latch folder"
# More sites than one run can have.
_SITES_MAX: Final = 1_000
# After a failed read of the open alarms or failsafes.
_READ_AGAIN_S: Final = 2.0


@runtime_checkable
class _KeepsRefused(Protocol):
    def set_aside(self, position: int, reason: str) -> None: ...


@runtime_checkable
class _CountsLosses(Protocol):
    def dropped_total(self) -> int: ...

    def set_aside_files(self) -> tuple[str, ...]: ...


class StorageActor:
    """Answers as soon as records are durable in the spool; a task brings them to the database.

    With `history` and `latches` another task joins the stops of both (gates and safety actors watch the folder); with
    `keeper` a third forgets decisions that are older than what is kept.
    With `notary` a fourth one has the audit chain signed; `room` returns the bytes that are free on this disk (AUD-4).

    The spool is a local file: one append is one fsync, done right here. A disk that hangs so long that the liveness
    deadline passes ends this actor and nobody else, and senders keep what was not acknowledged.
    """

    def __init__(
        self,
        ports: Ports,
        start: WorkerStart,
        spool: RecordSpool,
        writer: RecordWriter,
        history: HistoryReader | None = None,
        latches: JoinedLatchStore | None = None,
        *,
        keeper: DecisionKeeper | None = None,
        notary: AuditNotary | None = None,
        room: Callable[[], int] | None = None,
    ) -> None:
        self._ports = ports
        self._settings = start.settings
        self._spool = spool
        self._writer = writer
        self._state = DrainState()
        self._dropped = 0
        # All of them: what held when a former incarnation died must be returned by this one.
        self._alarms: frozenset[str] = frozenset(draining.CONDITIONS)
        self._notary = notary
        self._room = room
        self._trail = TrailState()
        self._history = history
        self._latches = latches
        self._keeper = keeper
        self._joined: Joined | None = None
        self._missing: frozenset[Piece] = frozenset()
        self._alarms_asked = False
        self._failsafes_asked: set[str] = set()
        self._read_not_before: Instant | None = None

    async def start(self) -> None:
        """Begin to drain what is waiting, and to join the stops."""
        self._ports.timers.every(draining.ASSERT_PERIOD_S, Tick(what=_ALARM_TICK), first_after_s=1.0)
        self._ports.tasks.spawn(self._drain(), name="drain")
        if self._history is not None and self._latches is not None:
            self._ports.tasks.spawn(self._join(self._history, self._latches), name="join")
        if self._notary is not None:
            self._ports.tasks.spawn(self._sign(self._notary), name="sign")
        if self._keeper is not None:
            self._ports.tasks.spawn(self._retain(self._keeper), name="retention")

    async def handle(self, message: StorageInbox) -> object:
        """Store records, tell the state, or look after the alarms.

        Raises:
            DeviceError: the disk refused; the sender keeps its records.

        """
        match message:
            case StoreRecords():
                self._dropped += self._spool.append((*message.records, *deriving.derived(message.records)))
                return Stored(count=len(message.records))
            case GetStorage():
                return self._status()
            case GetStops():
                if self._joined is None:
                    return KnownStops(stops=(), database_answered=False)
                return KnownStops(stops=joining.answer(self._joined, message.held), database_answered=True)
            case ReadOpenAlarms():
                self._alarms_asked = True
                return None
            case ReadOpenFailsafes():
                if len(self._failsafes_asked) < _SITES_MAX:
                    self._failsafes_asked.add(message.site_id)
                return None
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
        failed = ""
        try:
            _, bytes_ = self._spool.size()
        except DeviceError as error:
            failed = str(error)
            self._ports.log.warning("spool_failed", error=failed)
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
        held |= guarding.alarms(
            self._trail,
            spool_error=failed,
            free_bytes=self._free_bytes(),
            free_bytes_min=self._settings.audit.disk_free_mib_min * guarding.MIB,
            unsigned_after_s=self._settings.control.database_unreachable_s,
            retention_days=self._settings.audit.retention_days,
            was=self._alarms,
            now=now,
        )
        for news in draining.news(held, self._alarms, now):
            self._ports.directory.ref(ALARM).tell(news)
        self._alarms = frozenset(held)

    async def _drain(self) -> None:
        while True:
            # Asked before this pass: what the asker's predecessor had us store is then in the database.
            alarms, sites = self._alarms_asked, tuple(self._failsafes_asked)
            more = await self._drain_once()
            if (alarms or sites) and not more and self._state.database_ok and self._history is not None:
                await self._tell_what_is_open(self._history, sites, alarms=alarms)
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

    def _free_bytes(self) -> int | None:
        try:
            return None if self._room is None else self._room()
        except DeviceError as error:
            self._ports.log.warning("room_unknown", error=str(error))
            return 0

    async def _sign(self, notary: AuditNotary) -> None:
        while True:
            await self._ports.clock.sleep(guarding.LOOK_PERIOD_S)
            try:
                look = await notary.look(now=self._ports.clock.now().utc)
                self._trail, records = guarding.looked(self._trail, look, now=self._ports.clock.now())
                if records:
                    self._dropped += self._spool.append(records)
            except DeviceError as error:
                self._ports.log.info("audit_not_signed", error=str(error))
                self._trail = guarding.not_looked(self._trail, error=str(error), now=self._ports.clock.now())
                continue
            if look.signed is not None:
                self._ports.log.info("audit_signed", count=look.signed.count, number=look.signed.number)
            if look.broken:
                self._ports.log.error("audit_chain_broken", reason=look.broken)

    # ------------------------------------------------------------------ reading back

    async def _tell_what_is_open(
        self, history: HistoryReader, sites: tuple[str, ...], *, alarms: bool
    ) -> None:
        now = self._ports.clock.now()
        if self._read_not_before is not None and self._read_not_before.seconds_since(now) > 0.0:
            return
        try:
            if alarms:
                found = OpenAlarmsRead(records=tuple(await history.open_alarms()))
                self._alarms_asked = False
                self._ports.directory.ref(ALARM).tell(found)
            if sites:
                periods = OpenFailsafesRead(records=tuple(await history.open_failsafes()))
                self._failsafes_asked -= set(sites)
                for site_id in sites:
                    self._ports.directory.ref(watchdog_address(site_id)).tell(periods)
        except DeviceError as error:
            self._read_not_before = self._ports.clock.now().plus(_READ_AGAIN_S)
            self._ports.log.warning("open_records_not_read", error=str(error))

    async def _retain(self, keeper: DecisionKeeper) -> None:
        """Forget old decisions for ever, a small batch at a time: records that come in go between two of them."""
        await self._ports.clock.sleep(retention.FIRST_AFTER_S)
        while True:
            before = retention.horizon(self._ports.clock.now(), self._settings.history)
            try:
                gone = 0
                for pump_id in await keeper.due(before=before):
                    while count := await keeper.forget(pump_id, before=before, count_max=retention.BATCH_MAX):
                        gone += count
                        await self._ports.clock.sleep(retention.PAUSE_S)
                if gone:
                    self._ports.log.info("decisions_forgotten", rows=gone, before=before.isoformat())
            except CalejoError as error:
                # Nothing is lost by it but room: what is left is forgotten at the next look.
                self._ports.log.warning("decisions_not_forgotten", error=str(error))
            await self._ports.clock.sleep(retention.PERIOD_S)

    async def _join(self, history: HistoryReader, latches: JoinedLatchStore) -> None:
        while True:
            try:
                await self._join_once(history, latches)
            except DeviceError as error:
                if self._state.unjoined_since is None:
                    self._ports.log.warning("stops_not_joined", error=str(error))
                now = self._ports.clock.now()
                self._state = draining.not_joined(self._state, error=str(error), now=now)
                pause_s = joining.JOIN_RETRY_S * (0.5 + self._ports.clock.random())
            else:
                self._state = draining.joined(self._state)
                pause_s = joining.JOIN_PERIOD_S
            await self._ports.clock.sleep(pause_s)

    async def _join_once(self, history: HistoryReader, latches: JoinedLatchStore) -> None:
        """Join both copies once, each step durable before the next; repeating any of them does no harm.

        Raises:
            DeviceError: the database or the disk refused.

        """
        folder = latches.load()
        rows = await history.stops(also=[record.record_id for record in folder])
        now = self._ports.clock.now().utc
        joined = joining.join(folder, rows, missing_before=self._missing, now=now)
        # Known from here on, also if our disk refuses: a gate that asks has a disk of its own.
        self._joined, self._missing = joined, joined.missing
        if joined.to_folder:
            latches.merge(joined.to_folder)
        # Only now the folder is whole: this is what marks it so.
        if latches.is_new():
            self._ports.log.warning("latch_folder_begins_anew", stops_from_database=len(rows))
            latches.mark_joined()
        if joined.to_drop:
            latches.drop(joined.to_drop)
        audits = [
            audit for record in joined.to_database for audit in audits_of(record, source_address=_FOLDER)
        ]
        if joined.to_database:
            self._dropped += self._spool.append((*joined.to_database, *audits))
        if joined.to_folder or joined.to_database or joined.to_drop:
            self._ports.log.info(
                "stops_joined",
                to_folder=[record.record_id for record in joined.to_folder],
                to_database=[record.record_id for record in joined.to_database],
                dropped=len(joined.to_drop),
            )
