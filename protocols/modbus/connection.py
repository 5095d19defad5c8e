"""One Modbus TCP client: bytes to frames, frames answered one after the other, and when to hang up.

pymodbus owns the listener and the transport; its own handling of received bytes is replaced, because it
answers only one of two requests that arrive together, mixes up replies when an answer takes time, and stalls
on bytes that are not Modbus. Source of the frame: MODBUS Messaging on TCP/IP Implementation Guide V1.0b,
section 3.1.3.

TLS begins after the endpoint has looked at where a client comes from: asyncio's own TLS listener would shake hands with
anybody, as many at once as like to come, and would not know who they are until they have finished.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from actors.vocabulary.callers import Caller, Shown
from protocols.modbus.clients import NOBODY
from protocols.modbus.limits import FRAME_BYTES_MAX, ModbusLimits
from protocols.modbus.tls import caller_of, expires_utc_s

MBAP: Final = 7  # transaction, protocol, length, unit
_LENGTH_MIN: Final = 2  # unit and function
_LENGTH_MAX: Final = 254  # unit and the longest PDU of 253 bytes
assert MBAP - 1 + _LENGTH_MAX == FRAME_BYTES_MAX
_YIELD_EVERY: Final = 8


class NotModbusError(Exception):
    """These bytes are not Modbus TCP, and nothing says where the next frame begins."""


def next_frame(buffer: bytearray) -> bytes | None:
    """Take the first whole frame off the buffer; None: there is none yet.

    Raises:
        NotModbusError: the protocol id is not 0, or the length is impossible.

    """
    if len(buffer) >= MBAP - 1:
        length = buffer[4] << 8 | buffer[5]
        if buffer[2] or buffer[3]:
            raise NotModbusError(f"protocol id {buffer[2] << 8 | buffer[3]} is not 0")
        if not _LENGTH_MIN <= length <= _LENGTH_MAX:
            raise NotModbusError(f"length {length} is not in {_LENGTH_MIN}..{_LENGTH_MAX}")
        size = MBAP - 1 + length
        if len(buffer) >= size:
            frame = bytes(buffer[:size])
            del buffer[:size]
            return frame
    return None


class House(Protocol):
    """What a connection needs of its endpoint's door."""

    @property
    def limits(self) -> ModbusLimits:
        """The bounds."""
        ...

    def greet(self, connection: Connection) -> Caller | None:
        """Look at where it comes from; None: it is not let in. Over TLS who it is shows later."""
        ...

    def shaken(self, connection: Connection, *, fault: Exception | None, remark: str) -> None:
        """Note that a TLS handshake is over, and why it failed if it did; called once for each that began."""
        ...

    def welcome(self, connection: Connection) -> str:
        """Take the connection in; a non-empty answer says why not."""
        ...

    def farewell(self, connection: Connection, detail: str) -> None:
        """Forget the connection; called once for each that was welcome."""
        ...


# A connection, a unit id and a request's PDU give the answer's PDU.
Answer: TypeAlias = Callable[["Connection", int, bytes], Awaitable[bytes]]


class Connection(ServerRequestHandler):
    """A client. One task answers in order, each reply with its request's own transaction and unit id.

    A request that arrived whole is carried out even if its client has gone meanwhile: it may be a stop.
    """

    def __init__(
        self, listener: Listener, house: House, answer: Answer, tls: Callable[[], ssl.SSLContext] | None
    ) -> None:
        """Wait for asyncio to hand over the transport; `tls` gives the context of the handshake (None: plain)."""
        super().__init__(listener, None, None, None)  # type: ignore[no-untyped-call] # untyped in pymodbus
        self._house = house
        self._answer = answer
        self._tls = tls
        self._buffer = bytearray()
        self._woken = asyncio.Event()
        self._ended = False
        self._admitted = False
        self._paused = False
        self._farewell = ""
        self.peer = "unknown"
        self.host = "unknown"
        self.caller = NOBODY
        # Told once each, however often it happens.
        self.limited = False
        self.denied = False
        self.requests = 0
        self.came_s = 0.0
        self.heard_s = 0.0
        # Whether a request of it is being carried out: that is no silence.
        self.busy = False
        self.retired = False
        # When its certificate ends (s since 1970 UTC); None: it has shown none.
        self.expires_utc_s: float | None = None
        # When it last wrote what was accepted; None: it only reads.
        self.wrote_s: float | None = None
        self.answering: asyncio.Task[None] | None = None
        self.shaking: asyncio.Task[None] | None = None

    @property
    def shown(self) -> Caller | None:
        """Who it is, if it has shown a certificate; of an address alone nobody knows more than the address."""
        return None if self.caller.how is Shown.NOTHING else self.caller

    @property
    def secured(self) -> bool:
        """Whether it speaks TLS."""
        return self._tls is not None

    def callback_connected(self) -> None:
        """Take the client in, shake hands first, or hang up at once."""
        if address := self.transport.get_extra_info("peername"):
            self.host, self.peer = address[0], f"{address[0]}:{address[1]}"
        self.came_s = self.heard_s = self.loop.time()
        raw = self._tcp()
        assert raw is not None, "a connection that was made has a transport"
        caller = self._house.greet(self)
        if caller is None:
            raw.abort()
        elif self._tls is None:
            self.caller = caller
            self._admit(raw)
        else:
            raw.pause_reading()
            self.shaking = self.loop.create_task(
                self._shake_hands(raw, self._tls()), name=f"modbus tls {self.peer}"
            )

    def _admit(self, tcp: asyncio.Transport) -> None:
        if self._house.welcome(self):
            tcp.abort()
            return
        self._admitted = True
        self.answering = self.loop.create_task(self._answer_in_order(), name=f"modbus {self.peer}")

    async def _shake_hands(self, raw: asyncio.Transport, context: ssl.SSLContext) -> None:
        limits = self._house.limits
        fault: Exception | None = None
        secured: asyncio.Transport | None = None
        remark = ""
        try:
            secured = await self.loop.start_tls(
                raw,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=limits.handshake_s,
                ssl_shutdown_timeout=limits.close_s,
            )
            shown = None if secured is None else secured.get_extra_info("ssl_object").getpeercert(True)
            if secured is None or shown is None or self._ended:
                raise ConnectionAbortedError("hung up during the handshake")
            self.caller, remark = caller_of(shown)
            self.expires_utc_s = expires_utc_s(shown)
        except (OSError, ValueError) as error:
            fault = error
        except asyncio.CancelledError:
            # The oldest handshake gives way to a newcomer's, and all of them to the end of the endpoint.
            fault = TimeoutError("the handshake was not finished in time")
        self._house.shaken(self, fault=fault, remark=remark)
        if fault is not None or secured is None:
            raw.abort()
            self.close()
            return
        self.transport = secured
        self.came_s = self.heard_s = self.loop.time()
        self._admit(secured)

    def callback_disconnected(self, exc: Exception | None) -> None:
        """Let the answering task finish what had arrived, and forget the client."""
        self._ended = True
        self._woken.set()
        if self._admitted:
            self._admitted = False
            self._house.farewell(self, self._farewell or (str(exc) if exc else ""))

    def data_received(self, data: bytes) -> None:
        """Keep the bytes for the answering task; stop reading when too much waits."""
        self._buffer += data
        tcp = self._tcp()
        if tcp and not self._paused and len(self._buffer) > self._house.limits.pending_bytes_max:
            tcp.pause_reading()
            self._paused = True
        self._woken.set()

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio reads the answer, pymodbus gives none
        """Answer what has arrived before hanging up on a client that says no more; TLS knows no half-closed."""
        self._ended = True
        self._woken.set()
        return not self.secured

    def drop(self, reason: str) -> None:
        """Hang up at once; what was not carried out yet never will be."""
        self._farewell = self._farewell or reason
        self._buffer.clear()
        self._ended = True
        self._woken.set()
        if self.shaking is not None and not self.shaking.done():
            self.shaking.cancel()
        elif tcp := self._tcp():
            tcp.abort()

    def retire(self, reason: str, *, within_s: float) -> None:
        """Take nothing more, carry out and answer what has arrived whole, then hang up; asked again, it only waits."""
        if self.retired:
            return
        self.retired = True
        self._farewell = self._farewell or reason
        self._ended = True
        self._woken.set()
        if tcp := self._tcp():
            if not self._paused:
                tcp.pause_reading()
                self._paused = True
            self.loop.call_later(within_s, tcp.abort)

    async def _answer_in_order(self) -> None:
        while True:
            try:
                frame = next_frame(self._buffer)
            except NotModbusError as error:
                self.drop(f"not Modbus: {error}")
                return
            if frame is None:
                if self._ended:
                    break
                self._woken.clear()
                if self._paused and (tcp := self._tcp()):
                    tcp.resume_reading()
                    self._paused = False
                await self._woken.wait()
                continue
            self.heard_s = self.loop.time()
            self.requests += 1
            self.busy = True
            try:
                pdu = await self._answer(self, frame[6], frame[MBAP:])
            finally:
                self.busy = False
            self._reply(frame, pdu)
            if self.requests % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        if tcp := self._tcp():
            tcp.close()

    def _reply(self, frame: bytes, pdu: bytes) -> None:
        tcp = self._tcp()
        if tcp is None or tcp.is_closing():
            return
        tcp.write(frame[:4] + (len(pdu) + 1).to_bytes(2, "big") + frame[6:7] + pdu)
        if tcp.get_write_buffer_size() > self._house.limits.unread_bytes_max:
            self.drop("does not read its answers")

    def _tcp(self) -> asyncio.Transport | None:
        """Return the transport; pymodbus sets it to None when the connection is over."""
        transport = self.transport
        return transport if isinstance(transport, asyncio.Transport) else None


class Listener(ModbusTcpServer):
    """pymodbus's TCP listener; each connection is ours, its data store is not used."""

    def __init__(
        self,
        house: House,
        answer: Answer,
        host: str,
        port: int,
        *,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """Prepare; `bind` does the rest. `tls`: what the next client is shaken hands with by."""
        unused = SimDevice(1, simdata=[SimData(0, values=0, datatype=DataType.REGISTERS)])
        super().__init__(unused, address=(host, port))
        self._house = house
        self._answer = answer
        self._tls = tls

    def callback_new_connection(self) -> Connection:
        """Return the handler of one client."""
        return Connection(self, self._house, self._answer, self._tls)

    async def bind(self) -> tuple[str, int]:
        """Listen; return host and port (pymodbus's own `listen` hides why it failed).

        Raises:
            OSError: the port is taken or may not be bound.

        """
        self.is_listener = True
        create: Callable[[], Awaitable[asyncio.Server]] = self.call_create
        server = await create()
        self.transport = server  # type: ignore[assignment] # pymodbus keeps its server there, too
        host, port = server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    def release(self) -> None:
        """Free the port and every reference to us."""
        self.close()
        if ModbusTcpServer.active_server is self:
            ModbusTcpServer.active_server = None
