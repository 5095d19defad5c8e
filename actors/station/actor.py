"""The station actor: merges and records what its controllers and foreign rows report (CTL-4)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, assert_never

from actors.feedback import (
    LEVEL,
    RUNNING,
    FeedbackMemory,
    good_value,
    judge,
    newest,
    pumping_since_of,
)
from actors.messages import (
    Configure,
    FeedbackReceived,
    ForeignFeedbackRead,
    GetStation,
    JudgedValue,
    PumpFeedback,
    StationInbox,
    StationStatus,
    Tick,
)
from actors.outbox import Outbox
from actors.plan.conditions import ConditionBook
from actors.runtime import Ports
from actors.start import WorkerStart
from actors.station.foreign import SOURCE, ForeignFeedback, take
from actors.station.recording import Recorded, next_row
from actors.station.wet_well import merged_level
from actors.stores import FeedbackReader
from actors.vocabulary import CalejoError, Instant, Quality, Severity, SiteConfig, StationConfig
from actors.vocabulary.ids import ALARM, endpoint_address, pump_address, station_part_address
from actors.vocabulary.settings import protocols_of

POLL: Final = "poll"
BEAT: Final = "beat"
POLL_S: Final = 1.0
BEAT_S: Final = 1.0  # also the closest two rows of one pump can come
READ_MARGIN_S: Final = 5.0
SOURCES_MAX: Final = 16


class StationActor:
    """Holds the newest sample of every point of the station. Commands nothing: duties come to it later."""

    def __init__(self, ports: Ports, start: WorkerStart, reader: FeedbackReader) -> None:
        assert start.site is not None, "a station belongs to a site"
        assert start.station_id is not None, "a station actor is one station's"
        self._ports = ports
        self._control = start.settings.control
        self._protocols = protocols_of(start.settings)
        database = start.settings.database
        self._read_deadline_s = database.connect_timeout_s + database.statement_timeout_s + READ_MARGIN_S
        self._reader = reader
        self._site_id = start.site.site_id
        self._station_id = start.station_id
        self._station: StationConfig | None = start.site.station(start.station_id)
        self._outbox = Outbox(ports)
        self._conditions = ConditionBook()
        self._started_at = ports.clock.now()
        self._asked_at: Instant | None = None
        self._cancel_read: Callable[[], None] | None = None
        self._feedback: dict[str, PumpFeedback] = {}
        self._memories: dict[str, FeedbackMemory] = {}
        self._foreign = ForeignFeedback()
        self._recorded: dict[str, Recorded] = {}
        self._sources: dict[str, Instant] = {}

    async def start(self) -> None:
        """Begin to look at foreign rows and to record."""
        self._started_at = self._ports.clock.now()
        self._ports.timers.every(POLL_S, Tick(what=POLL), first_after_s=0.0)
        self._ports.timers.every(BEAT_S, Tick(what=BEAT))

    async def handle(self, message: StationInbox) -> object:
        """Take one message."""
        now = self._ports.clock.now()
        match message:
            case Tick():
                if message.what == POLL:
                    self._read(now)
                else:
                    self._beat(now)
            case Configure():
                self._configure(message.site)
            case FeedbackReceived():
                if message.station_id == self._station_id:
                    self._merge(message.pumps, message.source, now)
            case ForeignFeedbackRead():
                self._take(message, now)
            case GetStation():
                return self._status(now)
            case _:
                assert_never(message)
        return None

    # ----------------------------------------------------------------- feedback

    def _configure(self, site: SiteConfig) -> None:
        if site.site_id != self._site_id:
            return
        self._station = site.station(self._station_id)
        pumps = self._pump_ids()
        for book in (self._feedback, self._memories, self._recorded):
            for pump_id in book.keys() - pumps:
                del book[pump_id]

    def _pump_ids(self) -> set[str]:
        return set() if self._station is None else {pump.pump_id for pump in self._station.pumps}

    def _merge(self, pumps: tuple[PumpFeedback, ...], source: str, now: Instant) -> None:
        known = self._pump_ids()
        for feedback in pumps:
            if feedback.pump_id in known:
                self._feedback[feedback.pump_id] = newest(
                    self._feedback.get(feedback.pump_id), feedback, now=now
                )
        if source in self._sources or len(self._sources) < SOURCES_MAX:
            self._sources[source] = now

    def _judge(self, now: Instant) -> dict[str, dict[str, JudgedValue]]:
        pumps = () if self._station is None else self._station.pumps
        pumping_since = pumping_since_of(self._memories.values())
        judged: dict[str, dict[str, JudgedValue]] = {}
        for pump in pumps:
            judged[pump.pump_id], self._memories[pump.pump_id] = judge(
                self._feedback.get(pump.pump_id, PumpFeedback(pump_id=pump.pump_id)),
                self._memories.get(pump.pump_id, FeedbackMemory()),
                now=now,
                since=self._started_at,
                control=self._control,
                pump=pump,
                pumping_since=pumping_since,
            )
        return judged

    def _status(self, now: Instant) -> StationStatus:
        judged = self._judge(now)
        running = {pump_id: good_value(points, RUNNING) for pump_id, points in judged.items()}
        return StationStatus(
            station_id=self._station_id,
            level=merged_level({pump_id: points[LEVEL] for pump_id, points in judged.items()}),
            running={pump_id: None if value is None else value == 1.0 for pump_id, value in running.items()},
            feedback=judged,
            feedback_sources=dict(self._sources),
        )

    # ----------------------------------------------------------------- foreign rows

    def _read(self, now: Instant) -> None:
        """Look for foreign rows in the background, one look at a time."""
        if self._asked_at is not None:
            if now.seconds_since(self._asked_at) < self._read_deadline_s:
                return
            self._unreachable("a read did not end in time")
            if self._cancel_read is not None:
                self._cancel_read()
        self._asked_at = now
        # Our own life by the boot clock: a wall clock that was set back must not hide what is written now.
        back_s = min(now.seconds_since(self._started_at), 2 * self._control.feedback_stale_s)
        read = self._read_rows(now, since=now.utc - timedelta(seconds=back_s))
        self._cancel_read = self._ports.tasks.spawn(read, name="foreign-feedback")

    async def _read_rows(self, asked_at: Instant, *, since: datetime) -> None:
        try:
            rows = await self._reader.foreign_feedback(self._station_id, since=since)
            read = ForeignFeedbackRead(asked_at=asked_at, rows=tuple(rows))
        except CalejoError as error:
            read = ForeignFeedbackRead(asked_at=asked_at, error=f"{type(error).__name__}: {error}")
        self._ports.timers.deliver(read)

    def _take(self, read: ForeignFeedbackRead, now: Instant) -> None:
        if read.asked_at != self._asked_at:
            return  # the answer of a read that was given up
        self._asked_at = None
        self._cancel_read = None
        if read.error:
            self._unreachable(read.error)
            return
        self._conditions.clear("feedback_database_unreachable", self._station_id)
        before = self._foreign.refused
        self._foreign, changed = take(
            self._foreign, read.rows, pumps=dict.fromkeys(self._pump_ids()), now=now
        )
        for pump_id, why in self._foreign.refused.items():
            if before.get(pump_id) != why and pump_id not in before:
                self._ports.log.warning("foreign_feedback_refused", pump=pump_id, why=why)
        if changed:
            held = tuple(self._foreign.held.values())
            self._merge(held, SOURCE, now)
            self._forward(FeedbackReceived(station_id=self._station_id, source=SOURCE, pumps=held))

    def _unreachable(self, error: str) -> None:
        text = f"foreign feedback of {self._station_id} cannot be read: {error}"
        self._conditions.hold("feedback_database_unreachable", self._station_id, Severity.MEDIUM, text)

    def _forward(self, message: FeedbackReceived) -> None:
        """Tell everybody whom an endpoint would tell, and the endpoints, which show it."""
        addresses = [station_part_address(self._site_id, self._station_id, "safety")]
        addresses += [
            pump_address(self._site_id, self._station_id, pump_id) for pump_id in sorted(self._pump_ids())
        ]
        addresses += [endpoint_address(self._site_id, protocol) for protocol in self._protocols]
        for address in addresses:
            self._ports.directory.ref(address).tell(message)

    # ----------------------------------------------------------------- recording

    def _beat(self, now: Instant) -> None:
        judged = self._judge(now)
        self._record(judged, now)
        level = merged_level({pump_id: points[LEVEL] for pump_id, points in judged.items()})
        if level.quality is Quality.UNCERTAIN:
            text = f"{self._station_id}: {level.why}"
            self._conditions.hold("levels_disagree", self._station_id, Severity.MEDIUM, text)
        else:
            self._conditions.clear("levels_disagree", self._station_id)
        alarm = self._ports.directory.ref(ALARM)
        for news in self._conditions.news(now):
            alarm.tell(news)

    def _record(self, judged: dict[str, dict[str, JudgedValue]], now: Instant) -> None:
        for pump_id, feedback in self._feedback.items():
            due = next_row(feedback, judged.get(pump_id, {}), self._recorded.get(pump_id), now=now)
            if due is not None:
                row, self._recorded[pump_id] = due
                self._outbox.put(row)
