"""An OPC UA endpoint on a free loopback port with a small publisher behind it, and the clients that talk to it."""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import os
import shutil
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary

from actors.vocabulary import DeviceError, InvalidValueError, Quality, Severity, SiteConfig, WriteRefusal
from actors.vocabulary.access import UserRole
from actors.vocabulary.client_calls import (
    CallAnswer,
    ClientCall,
    PastPage,
    PastQuestion,
    PastValue,
    ShownAlarm,
)
from actors.vocabulary.pki import Pki
from protocols.endpoint import ClientWrite
from protocols.opcua import OpcUaEndpoint
from protocols.opcua.admission import Rules
from protocols.opcua.doorkeeper import Doorkeeper
from protocols.opcua.ids import own
from protocols.points import PointValue, opcua_points
from tests.unit.protocols.plants import north
from tests.wire.opcua.standard_nodes import built_once

DEADLINE_S = 15.0
CHUNK_BYTES = 60_000
PUMP = "/north/s1/p1"


class Publisher:
    """Accepts what the PLC writes and shows it; a stop, once set, stays set."""

    def __init__(self, endpoint: OpcUaEndpoint) -> None:
        self.endpoint = endpoint
        self.news: list[tuple[str, str, str]] = []
        self.requests: list[list[ClientWrite]] = []
        self.refusals: dict[str, WriteRefusal] = {}
        self.hold: asyncio.Event | None = None
        self.error: Exception | None = None
        self.on_refresh: Callable[[], None] = lambda: None
        self.refreshed = 0
        self.raws: list[Raw] = []
        self.calls: list[ClientCall] = []
        self.answers: list[CallAnswer] = []
        self.past: dict[tuple[str, str], list[PastValue]] = {}
        self.questions: list[PastQuestion] = []
        self.database_away = False

    async def call(self, call: ClientCall) -> CallAnswer:
        if self.hold:
            await self.hold.wait()
        self.calls.append(call)
        return self.answers.pop(0) if self.answers else CallAnswer()

    async def look_back(self, question: PastQuestion) -> PastPage:
        """Answer as the contract of the real reader says; `following` is the place of the next value."""
        self.questions.append(question)
        if self.hold:
            await self.hold.wait()
        if self.database_away:
            raise DeviceError("database: away")
        held = self.past.get((question.pump_id, question.point), [])
        first, last = question.start, question.end
        if question.bound:
            assert first is not None
            found = [one for one in held if (one.at >= first if question.backwards else one.at <= first)]
            return PastPage(values=tuple(found[:1] if question.backwards else found[-1:]))
        if question.backwards:
            found = [
                one for one in reversed(held)
                if (first is None or one.at <= first) and (last is None or one.at > last)
            ]  # fmt: skip
        else:
            found = [
                one for one in held if (first is None or one.at >= first) and (last is None or one.at < last)
            ]
        if question.following and not question.following.isdecimal():
            raise InvalidValueError(f"following: {question.following!r}, expected what a page gave")
        begin = int(question.following or 0)
        page = tuple(found[begin : begin + question.count_max])
        more = begin + len(page) < len(found)
        return PastPage(values=page, following=str(begin + len(page)) if more else "")

    async def guard(self, writes: Sequence[ClientWrite], all_or_nothing: bool) -> list[WriteRefusal | None]:
        assert not all_or_nothing
        if self.error:
            raise self.error
        if self.hold:
            await self.hold.wait()
        self.requests.append(list(writes))
        verdicts = [write.refusal or self.refusals.get(write.path) for write in writes]
        self.show(
            {
                write.path: write.value
                for write, verdict in zip(writes, verdicts, strict=True)
                if verdict is None and (write.value or not write.path.endswith("/emergency_stop"))
            }
        )
        return verdicts

    def refresh(self) -> None:
        self.refreshed += 1
        self.on_refresh()

    def tell(self, event: str, peer: str, detail: str) -> None:
        self.news.append((event, peer, detail))

    def show(
        self, values: dict[str, float], quality: Quality = Quality.GOOD, utc_ns: int | None = 1_000_000_000
    ) -> None:
        self.endpoint.publish(
            {path: PointValue(value=value, quality=quality, utc_ns=utc_ns) for path, value in values.items()}
        )

    @property
    def offered(self) -> list[ClientWrite]:
        """Writes that were put before the guard to be taken, not only to be counted as refused."""
        return [write for request in self.requests for write in request if write.refusal is None]

    def events(self, event: str) -> list[str]:
        return [detail for name, _, detail in self.news if name == event]

    @property
    def port(self) -> int:
        return int(self.endpoint.bound.rpartition(":")[2])


EVERYTHING = frozenset({UserRole.FIELD, UserRole.OPERATOR})
OPEN = Rules(allow_none=True, anonymous_roles=EVERYTHING)


@asynccontextmanager
async def served(
    *,
    port: int = 0,
    roles: frozenset[UserRole] = EVERYTHING,
    site: SiteConfig | None = None,
    rules: Rules | None = None,
    pki: Pki | None = None,
    doorkeeper: Doorkeeper | None = None,
) -> AsyncIterator[Publisher]:
    rules = rules or msgspec.structs.replace(OPEN, anonymous_roles=roles)
    endpoint = OpcUaEndpoint("127.0.0.1", port, rules=rules, pki=pki, doorkeeper=doorkeeper)
    publisher = Publisher(endpoint)
    with built_once():
        await endpoint.configure(opcua_points(north() if site is None else site))
        endpoint.operate(call=publisher.call, past=publisher.look_back)
        await endpoint.open(guard=publisher.guard, refresh=publisher.refresh, news=publisher.tell)
    try:
        yield publisher
    finally:
        await endpoint.close()
        for one in publisher.raws:
            await one.close()
        assert endpoint.clients == 0
        assert endpoint.bound == ""


def alarm_shown(condition: str, subject: str, source: str, **fields: Any) -> ShownAlarm:
    """Return an active, unacknowledged alarm as the publisher shows it."""
    alarm = ShownAlarm(
        alarm_id=f"{condition}-{subject}-1",
        condition=condition,
        subject=subject,
        source=source,
        severity=Severity.HIGH,
        text="it holds",
        active=True,
        acknowledged=False,
        occurrences=1,
        raised_utc_ns=10**18,
    )
    return msgspec.structs.replace(alarm, **fields)


def node_id(path: str) -> ua.NodeId:
    return own(path)


def item(
    path: str, value: Any, kind: Any, attribute: Any = ua.AttributeIds.Value, **extra: Any
) -> ua.WriteValue:
    one = ua.WriteValue()
    one.NodeId, one.AttributeId = node_id(path), attribute
    one.Value = ua.DataValue(ua.Variant(value, kind), **extra)
    return one


def hello(*, receive: int = 65_535, send: int = 65_535, size: int | None = None) -> bytes:
    url = b"opc.tcp://127.0.0.1"
    body = struct.pack("<IIIII", 0, receive, send, 0, 0) + struct.pack("<i", len(url)) + url
    return b"HELF" + struct.pack("<I", len(body) + 8 if size is None else size) + body


class Fault(Exception):
    """The server answered with a service fault; the text is the status code's name."""


class Raw:
    """A client that sends any bytes, and knows just enough of the protocol to get somewhere first."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.channel = self.sequence = self._token_id = 0
        self.last_chunk = b""
        self.token = ua.NodeId()
        self.session_id = ua.NodeId()

    @classmethod
    async def connect(cls, publisher: Publisher) -> Raw:
        one = cls(*await asyncio.open_connection("127.0.0.1", publisher.port, limit=1 << 24))
        publisher.raws.append(one)
        return one

    @classmethod
    async def channel_to(cls, publisher: Publisher) -> Raw:
        """Connect and open a secure channel."""
        one = await cls.connect(publisher)
        one.writer.write(hello())
        assert (await one.message())[0] == b"ACK"
        await one.open_channel()
        return one

    @classmethod
    async def session_to(cls, publisher: Publisher) -> Raw:
        """Connect and activate a session."""
        one = await cls.channel_to(publisher)
        await one.create_session()
        await one.activate()
        return one

    async def open_channel(
        self, *, mode: Any = ua.MessageSecurityMode.None_, uri: bytes | None = None, lifetime: int = 60_000
    ) -> Any:
        request = ua.OpenSecureChannelRequest()
        request.Parameters.SecurityMode = mode
        request.Parameters.RequestedLifetime = lifetime
        policy = b"http://opcfoundation.org/UA/SecurityPolicy#None" if uri is None else uri
        security = struct.pack("<i", len(policy)) + policy + b"\xff" * 8
        await self.send(b"OPN", struct.pack("<I", 0) + security, struct_to_binary(request))
        response = await self.response(ua.OpenSecureChannelResponse)
        self.channel = response.Parameters.SecurityToken.ChannelId
        self._token_id = response.Parameters.SecurityToken.TokenId
        return response.Parameters

    async def create_session(self, **fields: Any) -> Any:
        request = ua.CreateSessionRequest()
        request.Parameters.RequestedSessionTimeout = 30_000.0
        for name, value in fields.items():
            setattr(request.Parameters, name, value)
        response = await self.ask(request, ua.CreateSessionResponse)
        self.token = response.Parameters.AuthenticationToken
        self.session_id = response.Parameters.SessionId
        return response.Parameters

    async def activate(self, identity: Any = None) -> Any:
        request = ua.ActivateSessionRequest()
        request.Parameters.UserIdentityToken = identity or ua.AnonymousIdentityToken(PolicyId="anonymous")
        return await self.ask(request, ua.ActivateSessionResponse)

    async def ask(self, request: Any, kind: Any) -> Any:
        """Send a request and return its response.

        Raises:
            Fault: the server refused it.

        """
        await self.post(request)
        return await self.response(kind)

    async def post(self, request: Any) -> None:
        request.RequestHeader.AuthenticationToken = self.token
        body = struct_to_binary(request)
        first = self.sequence + 1
        while len(body) > CHUNK_BYTES:
            part, body = body[:CHUNK_BYTES], body[CHUNK_BYTES:]
            await self.send_bytes(part, chunk=b"C", request_id=first)
        await self.send_bytes(body, request_id=first)

    async def send_bytes(self, body: bytes, *, chunk: bytes = b"F", request_id: int = 0) -> None:
        security = struct.pack("<II", self.channel, self._token_id)
        await self.send(b"MSG", security, body, chunk=chunk, request_id=request_id)

    async def send(
        self, kind: bytes, security: bytes, body: bytes, *, chunk: bytes = b"F", request_id: int = 0
    ) -> None:
        self.sequence += 1
        data = security + struct.pack("<II", self.sequence, request_id or self.sequence) + body
        self.writer.write(kind + chunk + struct.pack("<I", len(data) + 8) + data)
        await self.writer.drain()

    async def response(self, kind: Any) -> Any:
        body = b""
        while True:
            name, data = await self.message()
            assert name in {b"OPN", b"MSG"}, (name, data)
            # OPN: channel, policy uri, no certificates, sequence, request; MSG: channel, token, sequence, request
            start = 4 + 4 + int.from_bytes(data[4:8], "little") + 8 + 8 if name == b"OPN" else 16
            body += data[start:]
            if self.last_chunk == b"F":
                break
        type_id = nodeid_from_binary(Buffer(body))
        if type_id.Identifier == ua.ObjectIds.ServiceFault_Encoding_DefaultBinary:
            fault = struct_from_binary(ua.ServiceFault, Buffer(body))
            raise Fault(fault.ResponseHeader.ServiceResult.name)
        return struct_from_binary(kind, Buffer(body))

    async def message(self) -> tuple[bytes, bytes]:
        """Return (type, body) of the next message."""
        async with asyncio.timeout(DEADLINE_S):
            head = await self.reader.readexactly(8)
            self.last_chunk = head[3:4]
            return head[:3], await self.reader.readexactly(int.from_bytes(head[4:], "little") - 8)

    async def read(self, *paths: str) -> list[Any]:
        """Read points; return (value, status name) of each."""
        request = ua.ReadRequest()
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        for path in paths:
            request.Parameters.NodesToRead.append(
                ua.ReadValueId(NodeId=node_id(path), AttributeId=ua.AttributeIds.Value)
            )
        response = await self.ask(request, ua.ReadResponse)
        return [(one.Value.Value, one.StatusCode.name) for one in response.Results]

    async def write(self, *items: ua.WriteValue) -> list[str]:
        """Write items in one request; return the names of the status codes."""
        request = ua.WriteRequest()
        request.Parameters.NodesToWrite = list(items)
        return [code.name for code in (await self.ask(request, ua.WriteResponse)).Results]

    async def subscribe(self, **fields: Any) -> Any:
        request = ua.CreateSubscriptionRequest()
        for name, value in {
            "RequestedPublishingInterval": 100.0,
            "RequestedLifetimeCount": 1_000,
            "RequestedMaxKeepAliveCount": 10,
            **fields,
        }.items():
            setattr(request.Parameters, name, value)
        return (await self.ask(request, ua.CreateSubscriptionResponse)).Parameters

    async def monitor(self, subscription: int, *paths: str, **fields: Any) -> list[Any]:
        request = ua.CreateMonitoredItemsRequest()
        request.Parameters.SubscriptionId = subscription
        for handle, path in enumerate(paths):
            one = ua.MonitoredItemCreateRequest()
            one.ItemToMonitor = ua.ReadValueId(NodeId=node_id(path), AttributeId=ua.AttributeIds.Value)
            one.MonitoringMode = ua.MonitoringMode.Reporting
            one.RequestedParameters.ClientHandle = handle
            for name, value in fields.items():
                setattr(one.RequestedParameters, name, value)
            request.Parameters.ItemsToCreate.append(one)
        return list((await self.ask(request, ua.CreateMonitoredItemsResponse)).Results)

    async def publish(self) -> list[tuple[int, Any]]:
        """Ask for the next notification; return (client handle, value) of each item."""
        response = await self.ask(ua.PublishRequest(), ua.PublishResponse)
        changes = response.Parameters.NotificationMessage.NotificationData
        return [(one.ClientHandle, one.Value.Value.Value) for data in changes for one in data.MonitoredItems]

    async def ended(self) -> bytes:
        """Wait until the server hangs up; return what it still sent."""
        async with asyncio.timeout(DEADLINE_S + 5):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def close(self) -> None:
        self.writer.transport.abort()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


async def until(condition: Callable[[], bool], *, what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + deadline_s
    while not condition():
        assert loop.time() < end_s, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.005)


class NodeClient:
    """A story told to node-opcua, a client of somebody else's make: JSON commands in, JSON answers out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        async with asyncio.timeout(DEADLINE_S):
            line = await self._process.stdout.readline()
        answer = json.loads(line)
        assert "error" not in answer, f"{command}: {answer}"
        return answer["result"]


@functools.cache
def _configuration_folder() -> str:
    """Folder where node-opcua makes itself a certificate; one per test run."""
    folder = tempfile.mkdtemp(prefix="calejo-node-opcua-")
    atexit.register(shutil.rmtree, folder)
    return folder


@asynccontextmanager
async def node_client(
    peers: Path, publisher: Publisher | str, options: dict[str, Any] | None = None
) -> AsyncIterator[NodeClient]:
    """Start node-opcua's client for an endpoint or its address; `options`: how it connects (opcua/client.js)."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "opcua/client.js",
        publisher if isinstance(publisher, str) else publisher.endpoint.bound,
        json.dumps(options or {}),
        cwd=peers,
        env={**os.environ, "XDG_CONFIG_HOME": _configuration_folder()},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        one = NodeClient(process)
        assert await one.ask("hello") == "connected"
        yield one
        await one.ask("bye")
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def alive(publisher: Publisher) -> None:
    """A good client is served at once."""
    start_s = time.monotonic()
    one = await Raw.session_to(publisher)
    publisher.show({f"{PUMP}/setpoint": 33.0})
    assert await one.read(f"{PUMP}/setpoint") == [(33.0, "Good")]
    await one.close()
    assert time.monotonic() - start_s < 2.0
