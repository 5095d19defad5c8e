"""How stops and clears come to an endpoint and go on: to the wire first, then the other actors, then the disk (EST)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from actors.messages import GetStops, KnownStops, StopConfirmed, StopsChanged
from actors.outbox import Outbox
from actors.publisher import stops
from actors.publisher.stop_desk import StopDesk
from actors.runtime import Ports
from actors.safety.latch import EMERGENCY_STOP, is_cleared
from actors.vocabulary import CalejoError, Scope, SiteConfig
from actors.vocabulary.ids import ALARM, STORAGE
from actors.vocabulary.records import StopEventRecord
from actors.vocabulary.settings import PORT_PROTOCOLS

# The database's stops are asked for through storage: until they are there, then again and again (another machine's).
DATABASE_DEADLINE_S: Final = 1.0
DATABASE_RETRY_S: Final = 0.2
DATABASE_PERIOD_S: Final = 10.0
# A clear takes up to `latch_poll_s` to come here, and another machine's clock may be some way off.
CLEAR_RACE_S: Final = 0.5
# On a fresh machine storage comes up beside its gates: that is no alarm yet.
DATABASE_ALARM_S: Final = 5.0


class StopTraffic:
    """Brings stops to the wire by `show`, and on to whoever does not know them yet. `site` is the one as configured."""

    def __init__(
        self,
        ports: Ports,
        desk: StopDesk,
        outbox: Outbox,
        site: SiteConfig,
        *,
        show: Callable[[], None],
        protocols: tuple[str, ...] = PORT_PROTOCOLS,
    ) -> None:
        self._ports = ports
        self._desk = desk
        self._outbox = outbox
        self._show = show
        self._protocols = protocols
        # Who wrote 1 last while a stop of the scope held, when (UTC), and the stop that would be theirs.
        self._repeated: dict[tuple[Scope, str], tuple[str, datetime, Callable[[], StopEventRecord]]] = {}
        self._began = ports.clock.now()
        self.site = site

    def press(
        self,
        scope: Scope,
        scope_id: str,
        *,
        peer: str,
        make: Callable[[], StopEventRecord],
    ) -> None:
        """A client wrote 1 to a scope's stop (EST-1); while a stop of it is uncleared it is that one (EST-5).

        That stop may have been cleared a moment ago, and the clear be on its way to us: then it is a new stop, which
        must not be lost with the old one. The folder knows before it is confirmed; a clear that comes from elsewhere
        is held against the time of the press (`apply`). `make`: the record of it, should it be one.
        """
        if self._desk.latches.stops_of_scope(scope, scope_id):
            self._repeated[scope, scope_id] = (peer, self._ports.clock.now().utc, make)
            self.look()
            return
        self._repeated.pop((scope, scope_id), None)
        self.apply((make(),), announce=True, record=True, source=peer)

    def look(self) -> None:
        """Take what another process wrote into the folder: it may have reached nobody else, so bear witness.

        The ids make repeats harmless.
        """
        self.apply(self._desk.poll(), announce=False, record=True, source="latch folder", on_disk=True)

    def _pressed_after_clear(self, news: Sequence[StopEventRecord]) -> list[tuple[str, StopEventRecord]]:
        """Return new stops, each with its peer, for whoever pressed again when the clear had been made already."""
        again = []
        for change in news:
            key = (change.scope, change.scope_id)
            if change.kind != EMERGENCY_STOP or change.cleared_at is None or key not in self._repeated:
                continue
            if self._desk.latches.stops_of_scope(*key):
                continue
            peer, at, make = self._repeated.pop(key)
            if change.cleared_at <= at + timedelta(seconds=CLEAR_RACE_S):
                again.append((peer, make()))
        return again

    def take(self, message: StopsChanged, *, published: bool) -> StopConfirmed:
        """Merge stops and clears from elsewhere.

        Raises:
            RefusedError: we are the first to hear of a clear and cannot make it durable (EST-2).

        """
        first = message.origin == ""
        if first and any(is_cleared(record) for record in message.stops):
            self._desk.keep_first(message.stops)
        source = str(self._ports.address) if first else message.origin
        self.apply(message.stops, announce=first, record=first, source=source)
        stop_ids = tuple(record.record_id for record in message.stops)
        return StopConfirmed(
            endpoint=str(self._ports.address),
            published=published,
            durable=self._desk.is_durable(stop_ids),
            stop_ids=stop_ids,
        )

    def apply(
        self,
        records: Sequence[StopEventRecord],
        *,
        announce: bool,
        record: bool,
        source: str,
        on_disk: bool = False,
    ) -> None:
        """Bring stops and clears to the wire, then to the other actors, then to the disk, in this order.

        `announce`: the other endpoints do not know yet; `record`: neither do safety and storage.
        """
        news = self._desk.merge(records, on_disk=on_disk)
        if not news:
            return
        again = [
            (peer, self._desk.merge((stop,), on_disk=False)) for peer, stop in self._pressed_after_clear(news)
        ]
        self._show()
        self._spread(news, announce=announce, record=record, source=source)
        for peer, stop in again:
            self._spread(stop, announce=True, record=True, source=peer)

    def _spread(
        self, news: tuple[StopEventRecord, ...], *, announce: bool, record: bool, source: str
    ) -> None:
        addresses = stops.concerned_safeties(self.site, news) if record else ()
        if announce:
            addresses += stops.other_endpoints(self.site.site_id, self._ports.address, self._protocols)
        told = StopsChanged(stops=news, origin=str(self._ports.address))
        for address in addresses:
            self._ports.directory.ref(address).tell(told)
        self._desk.make_durable()
        if record:
            self._outbox.put(*news, *(stops.audit_of(change, source_address=source) for change in news))
        self.tell_alarms()
        self._ports.log.warning("stops_changed", ids=[change.record_id for change in news], source=source)

    def tell_alarms(self) -> None:
        """Tell the alarms that hold, and those that hold no longer."""
        now = self._ports.clock.now()
        self._desk.hold_alarms(answer_due=now.seconds_since(self._began) >= DATABASE_ALARM_S)
        alarm = self._ports.directory.ref(ALARM)
        for news in self._desk.conditions.news(now):
            alarm.tell(news)

    async def follow_database(self) -> None:
        """Merge the database's stops: at once when it answers, else as soon as it does, for ever (EST-2).

        On this machine they come by the latch folder as well; this is what a gate without any file waits for, and how
        one on another machine than storage's hears of them.
        """
        storage = self._ports.directory.ref(STORAGE)
        while True:
            held = tuple(stop.record_id for stop in self._desk.latches.active())
            pause_s = DATABASE_PERIOD_S if self._desk.whole else DATABASE_RETRY_S
            try:
                answer = await storage.ask(GetStops(held=held), deadline_s=DATABASE_DEADLINE_S)
            except CalejoError:
                # Storage is away: its supervisor says so, and while it matters here an alarm of ours does.
                answer = None
            if isinstance(answer, KnownStops) and answer.database_answered:
                self.apply(answer.stops, announce=False, record=True, source="database")
                self._desk.joined()
                pause_s = DATABASE_PERIOD_S
            await self._ports.clock.sleep(pause_s)
