"""How stops and clears come to an endpoint and go on: to the wire first, then the other actors, then the disk (EST)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from actors.messages import GetStops, KnownStops, StopConfirmed, StopsChanged
from actors.outbox import Outbox
from actors.publisher import stops
from actors.publisher.stop_desk import StopDesk
from actors.runtime import Ports
from actors.safety.latch import is_cleared
from actors.vocabulary import CalejoError, SiteConfig
from actors.vocabulary.ids import ALARM, STORAGE
from actors.vocabulary.records import StopEventRecord

# The database's stops are asked for through storage: until they are there, then again and again (another machine's).
DATABASE_DEADLINE_S: Final = 1.0
DATABASE_RETRY_S: Final = 0.2
DATABASE_PERIOD_S: Final = 10.0
# On a fresh machine storage comes up beside its gates: that is no alarm yet.
DATABASE_ALARM_S: Final = 5.0


class StopTraffic:
    """Brings stops to the wire by `show`, and on to whoever does not know them yet. `site` is the one as configured."""

    def __init__(
        self, ports: Ports, desk: StopDesk, outbox: Outbox, site: SiteConfig, *, show: Callable[[], None]
    ) -> None:
        self._ports = ports
        self._desk = desk
        self._outbox = outbox
        self._show = show
        self._began = ports.clock.now()
        self.site = site

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
        self._show()
        addresses = stops.concerned_safeties(self.site, news) if record else ()
        if announce:
            addresses += stops.other_endpoints(self.site.site_id, self._ports.address)
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
