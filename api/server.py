"""One uvicorn server on one port: bounded, without signal handlers, rid of clients that send nothing."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Generator
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import h11
import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from actors.vocabulary import DeviceError, RefusedError
from actors.vocabulary.settings import ApiSettings, is_loopback
from actors.vocabulary.sources import is_same, source_of
from api.handshakes import Porch
from api.problems import PROBLEM, problem

if TYPE_CHECKING:
    from litestar.types import ASGIApp

CONNECTIONS_MAX: Final = 200
# One address cannot take them all; this machine's own, and the proxy behind which everybody has one, may.
CONNECTIONS_PER_ADDRESS_MAX: Final = 50
BACKLOG: Final = 128
KEEP_ALIVE_S: Final = 15
# From connecting, or from the last answer, until the next request's head is complete.
REQUEST_HEAD_S: Final = 20.0
# What a client does not take in this time, it does not want.
STALLED_S: Final = 20.0
# A client of a stream has nothing to say; one that vanished is noticed by a ping that nobody answers.
SOCKET_MESSAGE_BYTES_MAX: Final = 4_096
PING_S: Final = 20.0
# Running requests may end for so long once the server is told to stop.
GRACE_S: Final = 1
_START_POLL_S: Final = 0.01
# How often uvicorn wants to be ticked; it counts ten ticks a second (the Date header is renewed at every tenth).
_ROUNDS_TO_END: Final = 5
_TICK_S: Final = 0.1
_IPV6: Final = 6


class _Stall:
    """Ends a connection whose client takes nothing of what it asked for: uvicorn waits for ever."""

    def __init__(self, protocol: H11Protocol | WSProtocol) -> None:
        self._protocol = protocol
        self._ending: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """What was sent is not taken."""
        self.end()
        self._ending = self._protocol.loop.call_later(STALLED_S, self._protocol.transport.abort)

    def end(self) -> None:
        """It is taken, or the client is gone."""
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None


class PatientSocket(WSProtocol):
    """WebSocket that closes when its client takes nothing for a while, and lets none send while it takes nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._stall = _Stall(self)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """Wait for the client; what it sends (pings, which are answered) waits as well."""
        super().pause_writing()
        self._stall.begin()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._stall.end()
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stall.end()
        super().connection_lost(exc)


class PatientProtocol(H11Protocol):
    """HTTP/1.1 connection that closes when no whole request head has come in time: uvicorn waits for ever.

    So it does when a client does not take its answer. Where there is no room for one more, who has sent no whole
    request for longest gives way: whoever opens connections and says nothing keeps nobody out (EST-4).
    """

    exempt: str = ""
    told: Callable[[str, str, str], None] = staticmethod(lambda _event, _peer, _why: None)
    """Told of each connection that is cut off for want of room, and of what is no HTTP: event, whose, why."""
    _patience: asyncio.TimerHandle | None = None
    _has_left: bool = False
    source: str = ""
    since_s: float = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request, if there is room."""
        self._stall = _Stall(self)
        super().connection_made(transport)
        if self.client is not None:
            self.source = source_of(self.client[0])
        self._wait()
        self._make_room()

    @property
    def peer(self) -> str:
        """Who it is, as address and port."""
        return "" if self.client is None else f"{self.client[0]}:{self.client[1]}"

    @property
    def is_at_work(self) -> bool:
        """Whether a whole request is being answered."""
        return self._has_request and not self.cycle.more_body

    @property
    def _has_request(self) -> bool:
        cycle: Any = self.cycle  # None until the first request, whatever its type says
        return cycle is not None and not cycle.response_complete

    def give_way(self, why: str) -> None:
        """End at once."""
        self._stop_waiting()
        # Its place is free now, not when the loop comes to tell of the end.
        self.connections.discard(self)
        self.transport.abort()
        self.told("RATE_LIMITED", self.peer, why)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a new request ends the wait, part of one does not."""
        super().data_received(data)
        if self._has_request:
            self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as a problem (RFC 9457)."""
        self.told("REQUEST_REFUSED", self.peer, msg)
        body = msgspec.json.encode(problem(HTTPStatus.BAD_REQUEST, msg, instance=""))
        headers = [
            (b"content-type", PROBLEM.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        answer = h11.Response(status_code=HTTPStatus.BAD_REQUEST, headers=headers, reason=b"Bad Request")
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection to a WebSocket, which has its own patience."""
        self._has_left = True
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        """Wait for the client to take its answer, but not for ever."""
        super().pause_writing()
        self._stall.begin()

    def resume_writing(self) -> None:
        """Go on."""
        self._stall.end()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it came together with the last one (pipelining)."""
        super().on_response_complete()
        if self._has_request or self._has_left or self.transport.is_closing():
            self._stop_waiting()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        self._stall.end()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        others = [each for each in self.connections if each is not self]
        if self.client is not None and not is_trusted(self.client[0], self.exempt):
            own = [each for each in others if _source_of(each) == self.source]
            if len(own) >= CONNECTIONS_PER_ADDRESS_MAX:
                (_idlest(own) or self).give_way("too many connections of one address")
                return
        if len(others) >= CONNECTIONS_MAX:
            (_idlest(others) or self).give_way(f"all {CONNECTIONS_MAX} connections are taken")

    def _wait(self) -> None:
        self._stop_waiting()
        self.since_s = self.loop.time()
        self._patience = self.loop.call_later(REQUEST_HEAD_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def _source_of(connection: object) -> str:
    client = getattr(connection, "client", None)
    return "" if client is None else source_of(client[0])


def _idlest(connections: list[Any]) -> PatientProtocol | None:
    """Return who has sent no whole request for longest, of the address that has most such; None: all are at work."""
    idle = [each for each in connections if isinstance(each, PatientProtocol) and not each.is_at_work]
    held = Counter(each.source for each in idle)
    return min(idle, key=lambda each: (-held[each.source], each.since_s), default=None)


class HttpServer(uvicorn.Server):
    """Serves an ASGI application on an already bound socket; signals belong to the host of this process."""

    def __init__(
        self,
        application: ASGIApp,
        listening: socket.socket,
        tls: Callable[[], ssl.SSLContext] | None = None,
        *,
        proxy: str = "",
        sockets: bool = False,
        told: Callable[[str, str, str], None] = lambda _event, _peer, _why: None,
    ) -> None:
        """`tls`: gives the context of the next handshake. `told`: of whoever is cut off, and of what is no HTTP.

        What it is told is event, peer and why.
        """
        own = {"exempt": proxy, "told": staticmethod(told)}
        http: Any = type("Protocol", (PatientProtocol,), own)
        self._porch: Porch | None = None
        if tls is not None:
            # uvicorn sees connections that have shaken hands; until then they are not its business.
            trusted = partial(is_trusted, proxy=proxy)
            http = self._porch = Porch(tls, http, trusted=trusted, told=partial(told, "RATE_LIMITED"))
        super().__init__(
            uvicorn.Config(
                application,
                http=http,
                ws=PatientSocket if sockets else "none",
                ws_max_size=SOCKET_MESSAGE_BYTES_MAX,
                ws_ping_interval=PING_S,
                ws_ping_timeout=PING_S,
                # Our applications have no lifespan, and uvicorn would end the process over one that fails.
                lifespan="off",
                log_config=None,
                access_log=False,
                # The guard knows which proxy may say whom a request came from; from others it is the client's own word.
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            ),
        )
        self._listening = listening
        self._port: int = listening.getsockname()[1]
        self._told_to_stop = asyncio.Event()
        self.ended = asyncio.Event()

    @property
    def port(self) -> int:
        """The TCP port."""
        return self._port

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield

    async def main_loop(self) -> None:
        """Tick as uvicorn does, but end at once when told to instead of at the next tick."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._told_to_stop.wait()

    async def run_until_stopped(self) -> None:
        """Serve until `stop` is called, then free the port."""
        try:
            await self.serve(sockets=[self._listening])
        finally:
            self._listening.close()
            await self._cut_off()
            self.ended.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what runs as uvicorn does; a handshake that is under way is waited for by nobody."""
        if self._porch is not None:
            self._porch.close()
        await super().shutdown(sockets)

    async def _cut_off(self) -> None:
        """End the connections that have not ended by themselves: uvicorn leaves them to the end of the process."""
        for _ in range(_ROUNDS_TO_END):  # one that was accepted just now is a connection in the next round
            if self._porch is not None:
                self._porch.close()
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)

    async def wait_started(self, *, deadline_s: float) -> None:
        """Return when requests are taken.

        Raises:
            DeviceError: that did not happen in time.

        """
        try:
            async with asyncio.timeout(deadline_s):
                while not self.started:  # noqa: ASYNC110  (uvicorn has a flag, no event)
                    await asyncio.sleep(_START_POLL_S)
        except TimeoutError as error:
            text = f"the HTTP server did not start within {deadline_s:g} s on port {self._port}"
            raise DeviceError(text) from error

    async def stop(self, *, deadline_s: float) -> None:
        """Let running requests end, cut off what does not, and free the port."""
        self.should_exit = True
        self._told_to_stop.set()
        with contextlib.suppress(TimeoutError):  # the process ends next, and the port with it
            async with asyncio.timeout(deadline_s):
                await self.ended.wait()


def is_trusted(address: str, proxy: str) -> bool:
    """Say whether connections from here are not counted by address."""
    return is_same(address, proxy) or is_loopback(address)


def bind_rest(api: ApiSettings) -> socket.socket:
    """Return REST's listening socket: beyond loopback only with TLS, or behind the proxy that has it (SEC-4).

    Raises:
        RefusedError: the address is not loopback, and neither is configured.
        DeviceError: the port is taken or may not be bound.

    """
    if api.tls or api.trusted_proxy:
        return _bound(_address(api.host, "api.rest"), api.rest, what="api.rest")
    return bind_loopback(api.host, api.rest, what="api.rest")


def bind_loopback(host: str, port: int, *, what: str) -> socket.socket:
    """Return a listening TCP socket.

    Raises:
        RefusedError: `host` is not a loopback address.
        DeviceError: the port is taken or may not be bound.

    """
    address = _address(host, what)
    if not address.is_loopback:
        text = f"{what}: host {host} refused: beyond loopback only with users and TLS"
        raise RefusedError(text)
    return _bound(address, port, what=what)


def bind_secured(host: str, port: int, *, what: str) -> socket.socket:
    """Return a listening TCP socket of a server that has its own users and certificates, on any address.

    Raises:
        RefusedError: `host` is no IP address.
        DeviceError: the port is taken or may not be bound.

    """
    return _bound(_address(host, what), port, what=what)


def _address(host: str, what: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        text = f"{what}: host {host!r} is not an IP address"
        raise RefusedError(text) from error


def _bound(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, *, what: str) -> socket.socket:
    family = socket.AF_INET6 if address.version == _IPV6 else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((str(address), port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        text = f"{what}: port {port} on {address} cannot be bound ({error.strerror})"
        raise DeviceError(text) from error
    listening.setblocking(False)
    return listening
