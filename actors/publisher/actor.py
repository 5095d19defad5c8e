"""The publisher: the only writer of one protocol endpoint, behind the last gate (SAF-8, SAF-9, SAF-11, EST, WDG-4).

If this process dies, its wire falls silent and the controller goes back to its own levels; whatever it had shown of
a stop is retained there. So all that matters here is what is shown while it lives, and that is computed anew from
gate, latch and clock every 100 ms and before each read.

A stop goes to the wire first, to the other actors second and to the disk third; only then is it confirmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias, assert_never
from uuid import NAMESPACE_URL, uuid5

import msgspec

from actors.messages import (
    LATENCY_WINDOW_S,
    Configure,
    EndpointStatus,
    FeedbackReceived,
    GetEndpoint,
    PublishedPump,
    PublisherInbox,
    SetpointsDecided,
    StopsChanged,
    Tick,
)
from actors.outbox import Outbox
from actors.plan.conditions import ConditionBook
from actors.publisher import feedback_board as feedback
from actors.publisher import first_writes, operators, receipts, stops
from actors.publisher.binding import Hearing
from actors.publisher.calls import CallDesk
from actors.publisher.display import Display
from actors.publisher.gate import Refusal, StationGate, offer
from actors.publisher.health import service_level
from actors.publisher.judging import FeedbackJudge
from actors.publisher.latency import LatencyBook, noted, summary
from actors.publisher.link_watch import LinkWatch
from actors.publisher.operators import OPERATOR_POINTS, OperatorDesk, Wanted
from actors.publisher.refusals import (
    AUDITED,
    CERTIFICATE_REPLACED,
    CERTIFICATE_UNUSABLE,
    Refusals,
    client_refused,
    refused,
)
from actors.publisher.stop_desk import StopDesk
from actors.publisher.stop_traffic import StopTraffic
from actors.runtime import Ports
from actors.safety.latch import EMERGENCY_STOP, OUT_OF_SERVICE
from actors.start import WorkerStart
from actors.stores import EpochStore, LatchStore, PastReader
from actors.vocabulary import CalejoError, DeviceError, Instant, Scope, Severity, SiteConfig, WriteRefusal
from actors.vocabulary.client_calls import PastPage, PastQuestion, named
from actors.vocabulary.ids import watchdog_address
from actors.vocabulary.records import StopEventRecord
from actors.vocabulary.settings import protocols_of
from protocols.endpoint import ClientWrite, Counting, EndpointServer, Linked, Operated, Secured
from protocols.points import Point, PointValue

REFRESH: Final = "refresh"
LATCHES: Final = "latches"
FLUSH: Final = "flush"
STATUS: Final = "status"
STATUS_PERIOD_S: Final = 1.0
BIND_POLL_S: Final = 0.05
# A read within this time of the last image sees that image, unless a lease ends in between.
IMAGE_AGE_NS_MAX: Final = 50_000_000
CERTIFICATE_ALARM: Final = "certificate_not_taken_up"

MapPoints: TypeAlias = Callable[[SiteConfig], Sequence[Point]]


class PublisherActor:
    """One endpoint of a site: takes setpoints, feedback and stops, and keeps the server's values true."""

    def __init__(
        self,
        ports: Ports,
        start: WorkerStart,
        server: EndpointServer,
        latches: LatchStore,
        epochs: EpochStore,
        map_points: MapPoints,
        *,
        past: PastReader | None = None,
    ) -> None:
        assert start.site is not None, "an endpoint belongs to a site"
        self._ports = ports
        self._control = start.settings.control
        self._protocol = start.role.value
        self._incarnation = start.incarnation
        self._site = start.site
        self._server = server
        self._linked = server if isinstance(server, Linked) else None
        self._epoch_store = epochs
        self._map_points = map_points
        self._outbox = Outbox(ports)
        self._desk = StopDesk(latches, ConditionBook(), str(ports.address))
        self._link_watch = LinkWatch(self._desk.conditions, str(ports.address))
        self._protocols = protocols_of(start.settings)
        self._traffic = StopTraffic(
            ports,
            self._desk,
            self._outbox,
            start.site,
            show=self._show_stops,
            protocols=self._protocols,
        )
        self._operators = OperatorDesk(
            ports,
            site_id=start.site.site_id,
            protocol=self._protocol,
            next_id=lambda: self._next_id(ports.clock.now()),
        )
        self._past = past
        self._calls = CallDesk(
            ports,
            self._outbox,
            self._desk,
            self._traffic,
            protocol=self._protocol,
            site=lambda: self._site,
            next_id=lambda: self._next_id(ports.clock.now()),
        )
        self._gates: dict[str, StationGate] = {}
        self._judge = FeedbackJudge(self._control)
        self._display = Display(start.site, self._judge)
        self._board = feedback.Board()
        self._points: dict[str, Point] = {}
        self._serving = False
        self._refusals = Refusals()
        self._refused_clients = Refusals()
        self._first_writes = first_writes.FirstWrites()
        self._latencies = LatencyBook()
        self._receipts = receipts.ReceiptBook()
        self._image_stale_at_ns = 0
        # Pumps (None: the station itself) written to since they were last shown, by station.
        self._unread: dict[str, set[str | None]] = {}
        self._hearing = Hearing(ports.clock.now())
        self._ids = 0

    # ----------------------------------------------------------------- life

    async def start(self) -> None:
        """Load latches and epochs, fill the server, then bind behind the first fresh setpoint.

        Raises:
            DeviceError: latches or epochs cannot be read. A gate that does not know them shows nothing at all:
                a silent wire leaves the controller to its own levels and to the stop that it retained.

        """
        self._desk.load()
        await self._configure(self._site)
        timers = self._ports.timers
        timers.every(self._control.publish_refresh_s, Tick(what=REFRESH))
        timers.every(self._control.latch_poll_s, Tick(what=LATCHES))
        timers.every(feedback.FLUSH_PERIOD_S, Tick(what=FLUSH))
        timers.every(STATUS_PERIOD_S, Tick(what=STATUS))
        self._hearing = Hearing(self._ports.clock.now())
        # A port that is taken ends this task and with it the actor: the supervisor tries again and shows why.
        self._ports.tasks.spawn(self._bind_when_due(), name="bind")
        self._ports.tasks.spawn(self._traffic.follow_database(), name="database")

    async def stop(self) -> None:
        """Free the port; the controllers notice by the silence."""
        await self._server.close()

    async def _bind_when_due(self) -> None:
        while not self._hearing.may_bind(self._site, self._control, self._ports.clock.now()):
            await self._ports.clock.sleep(BIND_POLL_S)
        self._publish(self._ports.clock.now())
        if isinstance(self._server, Operated):
            self._server.operate(call=self._calls.carry_out, past=self._past_of)
            server = self._server
            follow = self._calls.follow_alarms(server.show_alarms, clients=lambda: self._server.clients)
            self._ports.tasks.spawn(follow, name="alarms")
        await self._server.open(guard=self._guard, refresh=self._refresh, news=self._client_news)
        self._ports.log.info("endpoint_bound", protocol=self._protocol, bound=self._server.bound)
        if isinstance(self._server, Secured):
            for warning in self._server.warnings:
                self._ports.log.warning("endpoint_open_to_all", protocol=self._protocol, what=warning)
        if self._linked is not None:
            await self._linked.ended()

    async def handle(self, message: PublisherInbox) -> object:
        """Take one message."""
        match message:
            case Tick():
                self._tick(message.what)
            case Configure():
                if message.site.site_id == self._site.site_id:
                    await self._configure(message.site)
            case SetpointsDecided():
                self._take(message)
            case FeedbackReceived():
                if message.source != self._protocol and message.station_id in self._gates:
                    self._board = feedback.merged(self._board, message, now=self._ports.clock.now())
            case StopsChanged():
                return self._traffic.take(message, published=self._server.bound != "")
            case GetEndpoint():
                now = self._ports.clock.now()
                self._publish(now)
                shown = tuple(self._all_shown(now).values())
                return self._status(now, shown, latency_window_s=message.latency_window_s)
            case _:
                assert_never(message)
        return None

    def _tick(self, what: str) -> None:
        if what == LATCHES:
            self._traffic.look()
        elif what == FLUSH:
            self._flush()
        elif what == STATUS:
            self._beat()
        else:
            self._publish(self._ports.clock.now())

    async def _configure(self, site: SiteConfig) -> None:
        points = {point.path: point for point in self._map_points(site)}
        # Until the server serves the new points, a read must not make us publish paths that it does not know. Writes,
        # a stop above all, are judged meanwhile by the points that were served till now.
        self._serving = False
        try:
            await self._server.configure(tuple(points.values()))
        except CalejoError:
            # The server keeps what it served: a wire that stands still would show neither a lapse nor a stop.
            self._serving = bool(self._points)
            raise
        self._points, self._serving = points, True
        self._site = self._traffic.site = site
        self._gates = {
            station.station_id: (
                self._gates.get(station.station_id)
                or StationGate(floor=self._epoch_store.last(station.station_id))
            ).of(pump.pump_id for pump in station.pumps)
            for station in site.stations
        }
        self._board = feedback.restricted(self._board, site)
        self._judge.configure(site)
        self._display = Display(site, self._judge)
        self._publish(self._ports.clock.now())

    # ----------------------------------------------------------------- setpoints

    def _take(self, message: SetpointsDecided) -> None:
        gate = self._gates.get(message.station_id)
        # With latches that may lack a stop nothing passes: handed back, under the stop that the controller retained.
        if gate is None or not self._desk.whole:
            return
        now = self._ports.clock.now()
        self._gates[message.station_id], turned_away = offer(
            gate, message.setpoints, now=now, lease_s_max=self._control.setpoint_lease_s
        )
        if len(turned_away) < len(message.setpoints):
            self._hearing.note(message.station_id, now)
        for pump_id, why in turned_away.items():
            self._log_refusal(message.station_id, pump_id, why)
        self._publish(now, only=message.station_id)
        after, shown_at = self._gates[message.station_id], self._ports.clock.now()
        self._latencies = noted(self._latencies, before=gate, after=after, now=shown_at)
        self._receipts = receipts.noted(
            self._receipts,
            message.station_id,
            before=gate,
            after=after,
            picture=lambda pump_id: self._shown(message.station_id, pump_id, now),
        )

    def _log_refusal(self, station_id: str, pump_id: str, why: Refusal) -> None:
        """Log the first, second, fourth ... refusal of its kind: a fenced writer may go on for hours."""
        pump = self._gates[station_id].pumps.get(pump_id)
        count = 1 if pump is None else pump.refused[why.value]
        if count & (count - 1) == 0:
            log = self._ports.log
            log.warning("setpoint_refused", station=station_id, pump=pump_id, why=why.value, count=count)

    def _refresh(self) -> None:
        now = self._ports.clock.now()
        if now.boot_ns >= self._image_stale_at_ns:
            self._publish(now)
        # Whoever reads next reads what was written: a read-modify-write of an older image would undo it.
        if self._serving and self._unread:
            unread, self._unread = self._unread, {}
            for station_id, pump_ids in unread.items():
                self._serve(self._display.written(station_id, pump_ids, self._board, now=now))

    def _show_stops(self) -> None:
        self._publish(self._ports.clock.now())

    def _publish(self, now: Instant, *, only: str | None = None) -> None:
        """Show everything, or one station, as it is now; only what changed goes to the server, all of it at once."""
        if not self._serving:
            return
        self._gates, changed = self._display.update(
            self._gates,
            self._desk.latches,
            self._board,
            whole=self._desk.whole,
            now=now,
            only=only,
        )
        self._board = feedback.shown_clean(self._board, only=only)
        if only is None:
            self._image_stale_at_ns = now.boot_ns + IMAGE_AGE_NS_MAX
            self._unread.clear()
        if self._display.lease_end_ns is not None:
            self._image_stale_at_ns = min(self._image_stale_at_ns, self._display.lease_end_ns)
        self._serve(changed)

    def _serve(self, changed: Mapping[str, feedback.Shown]) -> None:
        if changed:
            self._server.publish(
                {
                    path: PointValue(value=shown.value, quality=shown.quality, utc_ns=shown.utc_ns)
                    for path, shown in changed.items()
                }
            )

    # ----------------------------------------------------------------- stops

    def _set_stop(self, point: Point, write: ClientWrite) -> None:
        """A client wrote 1 to an emergency stop (EST-1, EST-5)."""
        scope, scope_id = stops.scope_of(self._site.site_id, point.station_id, point.pump_id)

        def made() -> StopEventRecord:
            stop = self._new_stop(scope, scope_id, write.peer)
            return msgspec.structs.replace(stop, set_by=self._by(write))

        self._traffic.press(scope, scope_id, peer=write.peer, make=made)

    def _by(self, write: ClientWrite) -> str:
        return named(write.caller, protocol=self._protocol, peer=write.peer)

    async def _past_of(self, question: PastQuestion) -> PastPage:
        if self._past is None:
            raise DeviceError(f"{self._protocol}: no past is kept here")
        return await self._past.read(question)

    def _new_stop(self, scope: Scope, scope_id: str, peer: str) -> StopEventRecord:
        now = self._ports.clock.now()
        return stops.stop_from_wire(
            scope,
            scope_id,
            record_id=self._next_id(now),
            peer=peer,
            protocol=self._protocol,
            # No number from the disk: a stop must not wait for one that hangs.
            stamp=stops.stamp_without_disk(self._desk.latches, now),
            at=now,
        )

    # ----------------------------------------------------------------- clients

    async def _guard(
        self, writes: Sequence[ClientWrite], all_or_nothing: bool
    ) -> Sequence[WriteRefusal | None]:
        """Judge and take writes: what the PLC writes, the SCADA heartbeat, stops, and what operators ask for."""
        now = self._ports.clock.now()
        verdicts = [write.refusal or self._verdict(write, writes, now) for write in writes]
        if not (all_or_nothing and any(verdicts)):
            wanted: dict[int, Wanted] = {}
            for index, (write, why) in enumerate(zip(writes, verdicts, strict=True)):
                if why is None and (asked := self._wanted(write)) is not None:
                    wanted[index] = asked
                elif why is None:
                    self._take_write(self._points[write.path], write, now)
            if wanted:
                for index, answer in (await self._ask_pumps(wanted)).items():
                    verdicts[index] = answer
        for write, why in zip(writes, verdicts, strict=True):
            if why is not None:
                self._count_refusal(write, why, now)
        return verdicts

    async def _ask_pumps(self, wanted: Mapping[int, Wanted]) -> dict[int, WriteRefusal | None]:
        """Put requests before their pumps, all at once: one that does not answer costs the others' items nothing."""
        by_pump: dict[tuple[str, str], dict[int, Wanted]] = {}
        for index, each in wanted.items():
            by_pump.setdefault((each.station_id, each.pump_id), {})[index] = each
        groups = list(by_pump.values())
        told = await asyncio.gather(*(self._operators.carry_out(tuple(group.values())) for group in groups))
        return {
            index: answer
            for group, answers in zip(groups, told, strict=True)
            for index, answer in zip(group, answers, strict=True)
        }

    def _wanted(self, write: ClientWrite) -> Wanted | None:
        """Return an operator's request; None: the write is none."""
        point = self._points.get(write.path)
        if point is None or point.point not in OPERATOR_POINTS:
            return None
        assert point.station_id is not None, "what an operator asks for is a pump's"
        assert point.pump_id is not None, "what an operator asks for is a pump's"
        return Wanted(
            station_id=point.station_id,
            pump_id=point.pump_id,
            point=point.point,
            value=write.value,
            peer=write.peer,
            by="" if write.caller is None else self._by(write),
        )

    def _verdict(self, write: ClientWrite, among: Sequence[ClientWrite], now: Instant) -> WriteRefusal | None:
        point = self._points.get(write.path)
        if point is None:
            return WriteRefusal.UNKNOWN_POINT
        if (wanted := self._wanted(write)) is not None:
            together = (self._wanted(each) for each in among if each.refusal is None)
            return operators.refusal_of(
                wanted,
                self._gates[wanted.station_id].pumps[wanted.pump_id],
                out_of_service=bool(
                    self._desk.latches.covering(
                        self._site.site_id, wanted.station_id, wanted.pump_id, OUT_OF_SERVICE
                    )
                ),
                with_manual=any(
                    each is not None and each.pump_id == wanted.pump_id and operators.asks_manual(each)
                    for each in together
                ),
                now=now,
            )
        if point.point == stops.STOP_POINT:
            return None if write.value in (0, 1) else WriteRefusal.BAD_TYPE
        return feedback.refusal_of(point.point, write.value)

    def _take_write(self, point: Point, write: ClientWrite, now: Instant) -> None:
        if point.point == stops.STOP_POINT:
            if write.value:
                self._set_stop(point, write)
            return
        assert point.station_id is not None, "every writable point but a stop belongs to a station"
        self._note_writer(point.station_id, write, now)
        self._board = feedback.written(
            self._board,
            point.station_id,
            point.pump_id,
            point.point,
            write.value,
            at=now,
            source=self._protocol,
        )
        self._unread.setdefault(point.station_id, set()).add(point.pump_id)

    def _note_writer(self, station_id: str, write: ClientWrite, now: Instant) -> None:
        if write.caller is None:
            return
        self._first_writes, record = first_writes.noted(
            self._first_writes,
            by=self._by(write),
            peer=write.peer,
            station_id=station_id,
            path=write.path,
            record_id=self._next_id(now),
            now=now,
        )
        if record is not None:
            self._outbox.put(record)

    def _count_refusal(self, write: ClientWrite, why: WriteRefusal, now: Instant) -> None:
        self._refusals, record = refused(
            self._refusals,
            peer=write.peer,
            path=write.path,
            value=write.value,
            why=why,
            record_id=self._next_id(now),
            now=now,
            by="" if write.caller is None else self._by(write),
        )
        if record is not None:
            self._outbox.put(record)

    def _client_news(self, event: str, peer: str, detail: str) -> None:
        self._ports.log.info("client", protocol=self._protocol, what=event, peer=peer, detail=detail)
        if event == CERTIFICATE_UNUSABLE:
            subject = str(self._ports.address)
            self._desk.conditions.hold(CERTIFICATE_ALARM, subject, Severity.HIGH, detail)
        elif event == CERTIFICATE_REPLACED:
            self._desk.conditions.clear(CERTIFICATE_ALARM, str(self._ports.address))
        if event not in AUDITED:
            return
        now = self._ports.clock.now()
        self._refused_clients, record = client_refused(
            self._refused_clients,
            peer=peer,
            protocol=self._protocol,
            why=detail,
            record_id=self._next_id(now),
            now=now,
            event=event,
        )
        if record is not None:
            self._outbox.put(record)

    # ----------------------------------------------------------------- reports

    def _flush(self) -> None:
        self._board, news = feedback.flush(self._board, source=self._protocol)
        for told in news:
            for address in feedback.receivers(
                self._site, told.station_id, own=self._ports.address, protocols=self._protocols
            ):
                self._ports.directory.ref(address).tell(told)

    def _beat(self) -> None:
        now = self._ports.clock.now()
        # Ages: what nobody writes any longer turns BAD without anybody's doing.
        self._board = feedback.restricted(self._board, self._site)
        self._publish(now)
        self._desk.make_durable()
        if self._linked is not None:
            self._link_watch.look(self._linked.link, now=now)
        self._traffic.tell_alarms()
        if isinstance(self._server, Secured):
            self._server.show_health(service_level(self._gates, whole=self._desk.whole, now=now))
        shown = self._all_shown(now)
        self._receipts, rows = receipts.due(
            self._receipts, self._gates, shown, endpoint=self._protocol, now=now
        )
        self._outbox.put(*rows)
        status = self._status(now, tuple(shown.values()))
        self._ports.directory.ref(watchdog_address(self._site.site_id)).tell(status)

    def _status(
        self, now: Instant, pumps: tuple[PublishedPump, ...], *, latency_window_s: float = LATENCY_WINDOW_S
    ) -> EndpointStatus:
        beats = {station_id: feedback.scada_beat(self._board, station_id) for station_id in self._gates}
        return EndpointStatus(
            protocol=self._protocol,
            bound=self._server.bound,
            clients=self._server.clients,
            pumps=pumps,
            writes_refused=self._refusals.total,
            stops_active=tuple(stop.record_id for stop in self._desk.latches.active(EMERGENCY_STOP)),
            sent_at=now,
            scada_moved_at={key: beat.moved_at for key, beat in beats.items() if beat is not None},
            proposal_to_wire=summary(self._latencies, now=now, within_s=latency_window_s),
            link=None if self._linked is None else self._linked.link,
            clients_refused=self._refused_clients.total,
            security={
                f"{event}:{outcome}": count for (event, outcome), count in self._server.security.items()
            }
            if isinstance(self._server, Secured)
            else {},
            told=dict(self._server.told) if isinstance(self._server, Counting) else {},
        )

    def _shown(self, station_id: str, pump_id: str, now: Instant) -> PublishedPump:
        pump = self._gates[station_id].pumps[pump_id]
        return self._display.pump(station_id, pump_id, pump, self._board, now=now)

    def _all_shown(self, now: Instant) -> dict[tuple[str, str], PublishedPump]:
        return {
            (station_id, pump_id): self._shown(station_id, pump_id, now)
            for station_id, gate in self._gates.items()
            for pump_id in gate.pumps
        }

    def _next_id(self, now: Instant) -> str:
        """Return a record id that nobody else makes: who, when, the how-manieth, and chance."""
        self._ids += 1
        parts = (self._ports.address, self._incarnation, now.boot_id, now.boot_ns, self._ids)
        return str(uuid5(NAMESPACE_URL, f"calejo:{parts}:{self._ports.clock.random()}"))
