"""The Sparkplug edge node as the publisher sees it: points in, commands out, the broker's absence inside.

It binds no port but connects outwards, so a broker that is away is no fault of ours: values are kept on disk and
handed in later, marked as historical. If this process dies the broker publishes the will, and every host marks all
that we showed as stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import aiomqtt

from actors.vocabulary import DeviceError, Quality
from actors.vocabulary.links import LinkStatus
from actors.vocabulary.settings import SparkplugSettings
from protocols.endpoint import ClientNews, Refresh, WriteGuard
from protocols.points import Point, PointValue
from protocols.sparkplug import link
from protocols.sparkplug.backfill import BirthCounter, HistoryStore
from protocols.sparkplug.commands import Commands
from protocols.sparkplug.desk import CommandDesk
from protocols.sparkplug.edge import EdgeNode, Outgoing, Sample
from protocols.sparkplug.host import HostWord, PrimaryHost
from protocols.sparkplug.incoming import Incoming
from protocols.sparkplug.keeper import HistoryKeeper
from protocols.sparkplug.names import (
    BACKFILL_LOST,
    BACKFILL_WAITING,
    NAMESPACE,
    NODE,
    Definition,
    Node,
    Verb,
    definitions,
    own_path,
)
from protocols.sparkplug.numbers import SessionNumbers
from protocols.sparkplug.pace import BIRTH_S_MIN, RebirthPace
from protocols.sparkplug.schema import DataType, Scalar

_NS_PER_MS: Final = 1_000_000
_LOOK_S: Final = 0.25
_BARRIER_S: Final = 1.0
_COUNTERS_S: Final = 1.0
# A backlog is handed in beside what happens now, never instead of it: at most 200 samples so often.
_BACKFILL_S: Final = 0.05
_YIELD_EVERY: Final = 8
_SETTLED_S: Final = 30.0


class _HostAway(Exception):
    """The primary host went: the session ends."""


class SparkplugEndpoint:
    """An edge node behind the port `EndpointServer`. Lives in its caller's event loop; not thread-safe."""

    def __init__(
        self,
        settings: SparkplugSettings,
        node: Node,
        *,
        births: BirthCounter,
        history: HistoryStore,
        utc_ns: Callable[[], int],
        chance: Callable[[], float],
    ) -> None:
        """Prepare; `utc_ns` is the wall clock, `chance` gives numbers in [0, 1) for the back-off."""
        self._settings = settings
        self._numbers = SessionNumbers(births, self._tell)
        self._utc_ns = utc_ns
        self._chance = chance
        self._edge = EdgeNode(node)
        self._host = PrimaryHost(settings.primary_host)
        commands = Commands(
            self._edge, operator_commands=settings.operator_commands, age_s_max=settings.command_age_s
        )
        self._desk = CommandDesk(
            self._edge,
            commands,
            peer=f"{settings.host}:{link.port_of(settings)}",
            now_ms=self._now_ms,
            show=self._show_answer,
            tell=self._tell,
        )
        self._keeper = HistoryKeeper(history)
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._news: ClientNews | None = None
        self._connected = False
        self._connects = self._births_made = 0
        self._last_error = ""
        self._pace = RebirthPace()
        self._dropped = 0
        self._dropped_told = 0

    # ----------------------------------------------------------------- the publisher's side

    async def configure(self, points: Sequence[Point]) -> None:
        """Show exactly these points from now on; only devices that came, went or changed are born or die."""
        self._edge.configure(definitions(points))
        self._desk.configured()
        self._wake.set()

    def publish(self, values: Mapping[str, PointValue]) -> None:
        """Take new values by path: sent at once within a session, kept for later outside of one.

        Raises:
            KeyError: an unknown path; our bug.

        """
        now_ms = self._now_ms()
        self._show([_sample(self._edge.definitions[path], each, now_ms) for path, each in values.items()])

    async def open(self, *, guard: WriteGuard, refresh: Refresh, news: ClientNews) -> None:
        """Begin to connect; a broker that does not answer is tried for ever."""
        assert not self._tasks, "already open"
        self._news = news
        self._desk.open(guard)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(work, name=f"sparkplug {name}")
            for name, work in (
                ("link", self._connecting()),
                ("backlog", self._keeper.run(self._tell)),
                ("orders", self._desk.obey()),
            )
        ]

    async def ended(self) -> None:
        """Wait as long as everything works; raise what of ours went wrong."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled():
                task.result()

    async def close(self) -> None:
        """Say goodbye to the broker, and put on disk what no host has seen."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._keeper.close()

    @property
    def bound(self) -> str:
        """Which broker and edge node, '' while hosts see nothing of us."""
        node = self._edge.node
        return f"{link.peer_of(self._settings)}/{node.group}/{node.node_id}" if self._edge.born else ""

    @property
    def clients(self) -> int:
        """One within a session: who listens behind the broker, only the broker knows."""
        return 1 if self._edge.born else 0

    @property
    def link(self) -> LinkStatus:
        """How the connection stands."""
        return LinkStatus(
            peer=link.peer_of(self._settings),
            connected=self._connected,
            host_online=self._host.online,
            session=self._edge.born,
            connects=self._connects,
            births=self._births_made,
            commands=self._desk.taken,
            commands_refused=self._desk.refused,
            backfill_waiting=self._keeper.waiting,
            backfill_lost=self._keeper.lost,
            last_error=self._last_error,
            incoming_dropped=self._dropped,
            storage_fault=self._numbers.fault or self._keeper.fault,
        )

    # ----------------------------------------------------------------- values

    def _show(self, samples: Sequence[Sample]) -> None:
        known = self._edge.definitions
        news = self._edge.take(samples)
        if not news:
            return
        self._wake.set()
        if self._news is not None:
            kept = [each for each in news if known[each.path].kept]
            self._keeper.take(kept, in_session=self._edge.born)
        self._desk.shown({known[each.path].device for each in news})

    def _show_answer(self, samples: Sequence[Sample]) -> None:
        self._edge.tell(samples)
        self._wake.set()

    # ----------------------------------------------------------------- one connection after the other

    async def _connecting(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            began_s = loop.time()
            try:
                await self._session()
            except (aiomqtt.MqttError, OSError, DeviceError, _HostAway) as error:
                self._lost(str(error) or type(error).__name__)
            if loop.time() - began_s >= _SETTLED_S:
                attempt = 0
            await asyncio.sleep(link.back_off_s(attempt, self._chance()))
            attempt += 1

    async def _session(self) -> None:
        """Connect, be born when the host is there, serve until something ends it."""
        bd_seq = await self._numbers.issue()
        node, newest = self._edge.node, self._settings.mqtt_version == link.MQTT_5
        will = self._edge.connect(bd_seq, now_ms=self._now_ms())
        self._host.connected()
        self._pace = RebirthPace()
        identifier = f"calejo-{node.group}-{node.node_id}"
        credentials = await asyncio.to_thread(link.credentials_of, self._settings)
        incoming = partial(
            Incoming, is_state=self._is_state, is_stop=self._is_stop, dropped=self._count_dropped
        )
        client = link.client_of(
            self._settings, credentials, identifier=identifier, will=will, incoming=incoming
        )
        async with link.connected(client):
            self._connected, self._connects = True, self._connects + 1
            try:
                topics = (node.topic(Verb.NCMD), node.topic(Verb.DCMD, "+"))
                states = (self._host.topic,) if self._host.topic else ()
                await link.subscribe(client, topics + states, newest=newest)
                self._tell("connected", f"bdSeq {bd_seq}")
                await _until_one_ends(self._read(client), self._write(client))
            finally:
                born, self._connected = self._edge.born, False
                self._edge.disconnected()
                self._keeper.session_ended()
                if born:
                    death = self._edge.death(now_ms=self._now_ms())
                    await link.goodbye(client, death, newest=newest)

    # ----------------------------------------------------------------- what we say

    async def _write(self, client: aiomqtt.Client) -> None:
        loop = asyncio.get_running_loop()
        node = self._edge.node
        nobody = f"{NAMESPACE}/{node.group}/NONE/{node.node_id}"
        barrier_s = counters_s = loop.time() - BIRTH_S_MIN
        while True:
            self._wake.clear()
            now_s = loop.time()
            if not self._host.online:
                if self._edge.born:
                    raise _HostAway("the primary host is offline")
            elif self._birth_due(now_s):
                await self._send_all(client, self._edge.births(now_ms=self._now_ms()))
                self._births_made += 1
                self._last_error = ""
                self._tell("born", f"birth {self._births_made}")
            if self._edge.born and not self._edge.rebirth_due:
                if now_s - counters_s >= _COUNTERS_S:
                    counters_s = now_s
                    self._show_counters()
                    self._desk.look()
                    self._tell_dropped()
                await self._numbers.save(now_s=now_s)
                sent, unconfirmed = self._keeper.mark(), self._keeper.unconfirmed
                await self._send_all(client, self._edge.changes(now_ms=self._now_ms()))
                if unconfirmed and now_s - barrier_s >= _BARRIER_S:
                    barrier_s = now_s
                    await link.barrier(client, nobody)
                    self._keeper.confirmed(sent)
                if await self._hand_in(client, nobody):
                    await asyncio.sleep(_BACKFILL_S)
                    continue
            await self._woken()

    def _birth_due(self, now_s: float) -> bool:
        """Whether to be born now: at first, when our own metrics changed, or because a host asked and may ask."""
        if not self._edge.born:
            self._pace.born(now_s)
            return True
        if self._pace.grants(now_s):
            self._edge.rebirth_due = True
        if not self._edge.rebirth_due or not self._pace.may_be_born(now_s):
            return False
        if told := self._pace.born(now_s):
            self._tell("rebirth_storm", told)
        return True

    async def _woken(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _send_all(self, client: aiomqtt.Client, messages: Iterable[Outgoing]) -> None:
        for count, message in enumerate(messages, start=1):
            if count % _YIELD_EVERY == 0:
                # A birth of a thousand pumps must not hold up a stop.
                await asyncio.sleep(0)
            await client.publish(
                message.topic,
                message.payload,
                qos=message.qos,
                retain=message.retain,
                timeout=link.PUBLISH_S,
            )

    async def _hand_in(self, client: aiomqtt.Client, nobody: str) -> bool:
        """Send the oldest chunk of the backlog, and forget it once the broker has it; False: there is none.

        Each wait may have changed everything: what a host that went meanwhile, or a device that was not born yet, may
        not have taken is handed in again.
        """
        found = await self._keeper.oldest()
        if found is None:
            return False
        begun = self._edge.generation
        if not self._may_hand_in(begun):
            return True
        position, samples = found
        await self._send_all(client, self._edge.history(samples, now_ms=self._now_ms()))
        await link.barrier(client, nobody)
        if self._may_hand_in(begun):
            await self._keeper.remove(position)
        return True

    def _may_hand_in(self, begun: int) -> bool:
        """Whether the host is there, and knows every device by the births of that generation."""
        return self._host.online and not self._edge.births_due and self._edge.generation == begun

    def _show_counters(self) -> None:
        now_ms = self._now_ms()
        counts = {BACKFILL_WAITING: self._keeper.waiting, BACKFILL_LOST: self._keeper.lost}
        self._show(
            [Sample(own_path(NODE, name), count, Quality.GOOD, now_ms) for name, count in counts.items()]
        )

    # ----------------------------------------------------------------- what we are told

    async def _read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            topic, content = message.topic.value, message.payload
            if topic == self._host.topic:
                if self._host.take(topic, content) is not HostWord.NOTHING:
                    self._wake.set()
                continue
            device = self._edge.node.commanded(topic)
            if device is not None:
                rebirth = await self._desk.take(device, content, retained=message.retain)
                if rebirth and self._edge.born:
                    self._pace.asked = True
                    self._wake.set()

    def _is_state(self, message: aiomqtt.Message) -> bool:
        return message.topic.value == self._host.topic

    def _is_stop(self, message: aiomqtt.Message) -> bool:
        device = self._edge.node.commanded(message.topic.value)
        return device is not None and self._desk.stops(device, message.payload)

    def _count_dropped(self) -> None:
        self._dropped += 1

    def _tell_dropped(self) -> None:
        if self._dropped > self._dropped_told:
            self._tell("flooded", f"{self._dropped - self._dropped_told} messages were dropped unread")
            self._dropped_told = self._dropped

    # ----------------------------------------------------------------- keeping house

    def _lost(self, why: str) -> None:
        if why != self._last_error:
            self._last_error = why[:200]
            self._tell("link_lost", self._last_error)

    def _tell(self, event: str, detail: str) -> None:
        if self._news is not None:
            self._news(event, link.peer_of(self._settings), detail)

    def _now_ms(self) -> int:
        return self._utc_ns() // _NS_PER_MS


async def _until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until the first ends, then end the others; raise what it raised."""
    tasks = [asyncio.get_running_loop().create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _sample(definition: Definition, given: PointValue, now_ms: int) -> Sample:
    """Return a point's value as its metric carries it; one that was never written is null, not 0."""
    at_ms = now_ms if given.utc_ns is None else given.utc_ns // _NS_PER_MS
    if given.utc_ns is None and given.quality is Quality.BAD:
        return Sample(definition.path, None, Quality.BAD, at_ms)
    value: Scalar
    match definition.datatype:
        case DataType.BOOLEAN:
            value = bool(given.value)
        case DataType.DOUBLE:
            value = float(given.value)
        case _:
            value = int(given.value)
    return Sample(definition.path, value, given.quality, at_ms)
