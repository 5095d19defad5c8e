"""An edge node under test: a real endpoint with real files, a real broker, and a recorder of bytes between them."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiomqtt
import msgspec

from actors.vocabulary import Quality, SiteConfig, WriteRefusal
from actors.vocabulary.settings import SparkplugSettings
from protocols.endpoint import ClientWrite
from protocols.points import PointValue
from protocols.sparkplug.endpoint import SparkplugEndpoint
from protocols.sparkplug.names import Node, sparkplug_points
from protocols.sparkplug.schema import DataType, Metric, Payload, Scalar, decode, encode
from storage.sparkplug import BacklogFile, BirthSequenceFile
from tests.unit.protocols.plants import north

DEADLINE_S: Final = 20.0
PUMP: Final = "/north/s1/p1"
METRICS_MAX: Final = 10_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def until(condition: Callable[[], object], *, within_s: float = DEADLINE_S, what: str = "") -> None:
    """Wait for a condition, with a deadline."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what or condition}") from None


class Served:
    """One edge node of the small plant, with a publisher that takes every write unless told otherwise."""

    def __init__(self, folder: Path, port: int, site: SiteConfig | None = None, **settings: Any) -> None:
        self.site = site or north()
        self.settings = SparkplugSettings(host="127.0.0.1", port=port, **settings)
        self.writes: list[ClientWrite] = []
        self.verdict: Callable[[ClientWrite], WriteRefusal | None] = lambda write: None
        self.news: list[tuple[str, str]] = []
        self.endpoint = SparkplugEndpoint(
            self.settings,
            Node("calejo", self.site.site_id),
            births=BirthSequenceFile(folder / "north.json"),
            history=BacklogFile(
                folder / "north.db",
                bytes_max=self.settings.backfill_bytes_max,
                utc_second=lambda: time.time_ns() // 10**9,
            ),
            utc_ns=time.time_ns,
            chance=random.random,
        )

    async def open(self) -> None:
        await self.configure(self.site)
        await self.endpoint.open(
            guard=self._guard,
            refresh=lambda: None,
            news=lambda event, _, detail: self.news.append((event, detail)),
        )

    async def configure(self, site: SiteConfig) -> None:
        await self.endpoint.configure(sparkplug_points(site))

    async def _guard(self, writes: Sequence[ClientWrite], all_or_nothing: bool) -> list[WriteRefusal | None]:
        verdicts = [write.refusal or self.verdict(write) for write in writes]
        self.writes += [write for write, why in zip(writes, verdicts, strict=True) if why is None]
        return verdicts

    def show(self, values: Mapping[str, bool | float], *, quality: Quality = Quality.GOOD) -> None:
        self.endpoint.publish(
            {
                path: PointValue(value=value, quality=quality, utc_ns=time.time_ns())
                for path, value in values.items()
            }
        )

    async def born(self, times: int = 1) -> None:
        await until(lambda: self.endpoint.link.births >= times and self.endpoint.bound, what="a birth")


@asynccontextmanager
async def served(folder: Path, port: int, **settings: Any) -> AsyncIterator[Served]:
    node = Served(folder, port, **settings)
    await node.open()
    try:
        yield node
    finally:
        await node.endpoint.close()


# --------------------------------------------------------------------------- a host in a few lines


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A message as a subscriber got it."""

    verb: str
    device: str
    payload: Payload
    at_s: float


class Listener:
    """Hears everything of Sparkplug at a broker, and says what a test wants said."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.heard: list[Heard] = []
        self._names: dict[int, tuple[str, str]] = {}

    async def listen(self) -> None:
        async for message in self.client.messages:
            parts = message.topic.value.split("/")
            if len(parts) < 4 or parts[2].endswith("CMD"):
                continue
            assert isinstance(message.payload, bytes)
            payload = decode(message.payload, metrics_max=METRICS_MAX)
            device = parts[4] if len(parts) > 4 else ""
            if parts[2].endswith("BIRTH"):
                self._names |= {
                    each.alias: (device, each.name or "") for each in payload.metrics if each.alias
                }
            self.heard.append(Heard(verb=parts[2], device=device, payload=payload, at_s=time.monotonic()))

    def of(self, *verbs: str) -> list[Heard]:
        return [each for each in self.heard if each.verb in verbs]

    def values(self, device: str, name: str, *, historical: bool = False) -> list[Scalar | None]:
        """Return every value of a metric in the order heard, births included (they are never historical)."""
        found = []
        for each in self.of("NBIRTH", "NDATA", "DBIRTH", "DDATA"):
            for metric in each.payload.metrics:
                known = (each.device, metric.name) if metric.name else self._names.get(metric.alias or 0)
                if known == (device, name) and metric.is_historical is historical:
                    found.append(metric.value)
        return found

    def last(self, device: str, name: str) -> Scalar | None:
        values = self.values(device, name)
        return values[-1] if values else None

    async def say(
        self,
        topic: str,
        *metrics: tuple[str, DataType, Scalar],
        at_ms: int | None = None,
        retain: bool = False,
    ) -> None:
        sent = Payload(
            timestamp_ms=now_ms() if at_ms is None else at_ms,
            metrics=tuple(Metric(name=name, datatype=kind, value=value) for name, kind, value in metrics),
        )
        await self.client.publish(topic, encode(sent), qos=0, retain=retain)

    async def state(self, online: bool, at: int, host: str = "scada") -> None:
        content = f'{{"online": {str(online).lower()}, "timestamp": {at}}}'
        await self.client.publish(f"spBv1.0/STATE/{host}", content, qos=1, retain=True)


@asynccontextmanager
async def listener(port: int, **more: Any) -> AsyncIterator[Listener]:
    async with aiomqtt.Client("127.0.0.1", port, **more) as client:
        one = Listener(client)
        await client.subscribe("spBv1.0/#", qos=1)
        task = asyncio.create_task(one.listen())
        try:
            yield one
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await task


# --------------------------------------------------------------------------- the bytes between node and broker


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """One MQTT packet: which connection, whose (`sent`: the node's), its type and flags, and its body."""

    connection: int
    sent: bool
    kind: str
    flags: int
    body: bytes


_KINDS: Final = (
    "", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK",
    "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
)  # fmt: skip


def packets_of(buffer: bytearray) -> Iterator[tuple[str, int, bytes]]:
    """Take whole packets out of a buffer (MQTT 3.1.1, chapter 2: fixed header, remaining length)."""
    while len(buffer) >= 2:
        length = shift = 0
        for used in itertools.count(1):
            if used >= len(buffer):
                return
            length |= (buffer[used] & 0x7F) << shift
            shift += 7
            if not buffer[used] & 0x80:
                break
        start = used + 1
        if len(buffer) < start + length:
            return
        yield _KINDS[buffer[0] >> 4], buffer[0] & 0x0F, bytes(buffer[start : start + length])
        del buffer[: start + length]


class Recorder:
    """A relay between node and broker that keeps every packet in the order in which it passed."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self.packets: list[Packet] = []
        self.connections = 0
        self.open = 0
        self.open_max = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        there, back = await asyncio.open_connection("127.0.0.1", self._broker_port)
        try:
            ways = [
                asyncio.create_task(self._pass(number, reader, back, sent=True)),
                asyncio.create_task(self._pass(number, there, writer, sent=False)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self.open -= 1
            for each in (writer, back):
                each.close()

    async def _pass(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, sent: bool
    ) -> None:
        buffer = bytearray()
        while content := await reader.read(65_536):
            buffer += content
            for kind, flags, body in packets_of(buffer):
                self.packets.append(Packet(connection=number, sent=sent, kind=kind, flags=flags, body=body))
            writer.write(content)
            await writer.drain()


@asynccontextmanager
async def recorder(broker_port: int) -> AsyncIterator[tuple[Recorder, int]]:
    record = Recorder(broker_port)
    server = await asyncio.start_server(record.connected, "127.0.0.1", 0)
    try:
        yield record, server.sockets[0].getsockname()[1]
    finally:
        server.close()
