"""An endpoint on a free loopback port with a small publisher behind it, and a raw client without any
library.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from actors.vocabulary import Quality, WriteRefusal
from actors.vocabulary.client_calls import CallAnswer, ClientCall, PastPage, PastQuestion, SeeAlarm
from protocols.endpoint import ClientWrite
from protocols.modbus.limits import ModbusLimits
from protocols.modbus.points import modbus_points
from protocols.modbus.server import ModbusAccess, ModbusEndpoint
from protocols.points import PointValue
from tests.unit.protocols.plants import north

DEADLINE_S = 10.0


class Publisher:
    """Accepts what the PLC writes and shows it; a stop, once set, stays set."""

    def __init__(self, endpoint: ModbusEndpoint) -> None:
        self.endpoint = endpoint
        self.news: list[tuple[str, str, str]] = []
        self.requests: list[list[ClientWrite]] = []
        # Refused by the endpoint itself, and brought to be counted and audited.
        self.refused: list[ClientWrite] = []
        self.calls: list[ClientCall] = []
        self.answers: dict[str, WriteRefusal] = {}
        self.refreshed = 0
        self.refusals: dict[str, WriteRefusal] = {}
        self.hold: asyncio.Event | None = None
        self.error: Exception | None = None
        self.finished = 0

    async def guard(self, writes: Sequence[ClientWrite], all_or_nothing: bool) -> list[WriteRefusal | None]:
        assert all_or_nothing
        if any(write.refusal for write in writes):
            self.refused += writes
            return [write.refusal for write in writes]
        if self.error:
            raise self.error
        if self.hold:
            await self.hold.wait()
        self.requests.append(list(writes))
        verdicts = [self.refusals.get(write.path) for write in writes]
        if not any(verdicts):
            self.show({write.path: write.value for write in writes if is_shown(write)})
        self.finished += 1
        return verdicts

    async def carry_out(self, call: ClientCall) -> CallAnswer:
        self.calls.append(call)
        assert isinstance(call.command, SeeAlarm)
        return CallAnswer(refusal=self.answers.get(call.command.alarm_id))

    async def no_past(self, question: PastQuestion) -> PastPage:
        raise AssertionError("Modbus cannot ask for the past")

    def refresh(self) -> None:
        self.refreshed += 1

    def tell(self, event: str, peer: str, detail: str) -> None:
        self.news.append((event, peer, detail))

    def show(self, values: dict[str, float]) -> None:
        self.endpoint.publish(
            {path: PointValue(value=value, quality=Quality.GOOD) for path, value in values.items()}
        )

    def events(self, event: str) -> list[str]:
        return [detail for name, _, detail in self.news if name == event]


def is_shown(write: ClientWrite) -> bool:
    """Say whether the publisher shows it as written: a stop once set stays, requests go to the pump."""
    if write.path.endswith("/emergency_stop"):
        return bool(write.value)
    return not write.path.endswith("_request")


@asynccontextmanager
async def served(
    limits: ModbusLimits | None = None,
    *,
    port: int = 0,
    access: ModbusAccess | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Publisher]:
    endpoint = ModbusEndpoint(host, port, limits, access)
    publisher = Publisher(endpoint)
    await endpoint.configure(modbus_points(north()))
    await endpoint.open(guard=publisher.guard, refresh=publisher.refresh, news=publisher.tell)
    try:
        yield publisher
    finally:
        await endpoint.close()
        assert endpoint.clients == 0


def port_of(publisher: Publisher) -> int:
    return int(publisher.endpoint.bound.rpartition(":")[2])


def frame(tid: int, unit: int, pdu: bytes, *, protocol: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">HHHB", tid, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


def pdu(function: int, *words: int, data: bytes | None = None) -> bytes:
    head = struct.pack(f">B{len(words)}H", function, *words)
    return head if data is None else head + bytes([len(data)]) + data


class Raw:
    """A client that sends any bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, publisher: Publisher, *, source: str | None = None) -> Raw:
        """Connect, from another address of this machine if `source` names one."""
        local = None if source is None else (source, 0)
        port = port_of(publisher)
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=local))

    @classmethod
    async def connect_tls(
        cls, publisher: Publisher, context: ssl.SSLContext, *, source: str | None = None
    ) -> Raw:
        """Connect to the other port."""
        local = None if source is None else (source, 0)
        port = int(publisher.endpoint.bound_tls.rpartition(":")[2])
        opened = asyncio.open_connection(
            "127.0.0.1", port, local_addr=local, ssl=context, server_hostname="localhost"
        )
        return cls(*await asyncio.wait_for(opened, DEADLINE_S))

    async def answer(self) -> tuple[int, int, bytes]:
        """Return (transaction, unit, PDU) of the next answer."""
        async with asyncio.timeout(DEADLINE_S):
            tid, protocol, length, unit = struct.unpack(">HHHB", await self.reader.readexactly(7))
            assert protocol == 0
            return tid, unit, await self.reader.readexactly(length - 1)

    async def ask(self, request: bytes, *, unit: int = 1, tid: int = 1) -> bytes:
        self.writer.write(frame(tid, unit, request))
        answered_tid, answered_unit, answer = await self.answer()
        assert (answered_tid, answered_unit) == (tid, unit)
        return answer

    async def ended(self) -> bytes:
        """Wait until the server hangs up; return what it still sent."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


async def until(condition: object, *, what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait for a callable to become true."""
    assert callable(condition)
    loop = asyncio.get_running_loop()
    end_s = loop.time() + deadline_s
    while not condition():
        assert loop.time() < end_s, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.005)
