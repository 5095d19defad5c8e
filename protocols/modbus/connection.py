"""One Modbus TCP client: bytes to frames, frames answered one after the other, and when to hang up.

pymodbus owns the listener and the transport; its own handling of received bytes is replaced, because it
answers only one of two requests that arrive together, mixes up replies when an answer takes time, and stalls
on bytes that are not Modbus. Source of the frame: MODBUS Messaging on TCP/IP Implementation Guide V1.0b,
section 3.1.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

MBAP: Final = 7  # transaction, protocol, length, unit
_LENGTH_MIN: Final = 2  # unit and function
_LENGTH_MAX: Final = 254  # unit and the longest PDU of 253 bytes
_FRAME_MAX: Final = MBAP - 1 + _LENGTH_MAX
_YIELD_EVERY: Final = 8


class ModbusLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one endpoint: nobody who reads can lock out a controller or an emergency stop.

    Places: a full house has one for a newcomer all the same (`protocols.modbus.places`), so that a controller that
    reconnects gets in, and so does a coil that stops pumps. Who gives way: first whoever has been silent, then a
    client that only reads, last one that writes, the least recently writing first. All but the last
    `places_in_turn` places are kept by those who came first, the others go round.

    Requests: reads and writes are counted apart. A connection has its own bound, and up to a share of it is
    sure of an answer whatever others ask; above their shares all connections together draw from one pool. What
    is above is answered 06 (busy). Writing coils is never limited: they stop pumps.
    """

    clients_max: int = 64
    places_in_turn: int = 8
    # A silent client goes after this long; only whole frames count as life.
    idle_s: float = 60.0
    # When the house is full: one that never asked anything may go after the first, any other after the
    # second.
    evict_unheard_s: float = 0.1
    evict_silent_s: float = 5.0
    # One connection, reads and writes each.
    requests_per_s: float = 1000.0
    requests_burst: int = 2000
    # Of these each connection is sure: a controller needs one or two per pump and second.
    share_per_s: float = 50.0
    share_burst: int = 100
    # All connections together above their shares, reads and writes each.
    pool_per_s: float = 2000.0
    pool_burst: int = 4000
    # Bytes of unanswered requests after which we stop reading from a client: its pipeline.
    pending_bytes_max: int = 16 * _FRAME_MAX
    # Bytes a client may leave unread before it is dropped.
    unread_bytes_max: int = 65_536
    news_per_s: float = 20.0
    news_burst: int = 200
    close_s: float = 2.0


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


class Bucket:
    """A token bucket: `burst` at once, `per_s` in the long run; time (s, any origin) is an argument."""

    def __init__(self, per_s: float, burst: int) -> None:
        """Start full."""
        self._per_s, self._burst = per_s, float(burst)
        self._tokens, self._at_s = float(burst), 0.0

    def take(self, now_s: float) -> bool:
        """Take one token; False: there is none."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Budget:
    """What one connection may ask: its own bound, and within it a sure share or what the common pool has."""

    def __init__(self, limits: ModbusLimits, pool: Bucket) -> None:
        """Start full; `pool` belongs to all."""
        self._own = Bucket(limits.requests_per_s, limits.requests_burst)
        self._share = Bucket(limits.share_per_s, limits.share_burst)
        self._pool = pool

    def take(self, now_s: float) -> bool:
        """Take one request; False: it is one too many."""
        return self._own.take(now_s) and (self._share.take(now_s) or self._pool.take(now_s))


class House(Protocol):
    """What a connection needs of its endpoint."""

    @property
    def limits(self) -> ModbusLimits:
        """The bounds."""
        ...

    def welcome(self, connection: Connection) -> str:
        """Take the connection in; a non-empty answer says why not."""
        ...

    def farewell(self, connection: Connection, detail: str) -> None:
        """Forget the connection; called once for each that was welcome."""
        ...

    async def answer(self, connection: Connection, unit_id: int, pdu: bytes) -> bytes:
        """Return the answering PDU."""
        ...


class Connection(ServerRequestHandler):
    """A client. One task answers in order, each reply with its request's own transaction and unit id.

    A request that arrived whole is carried out even if its client has gone meanwhile: it may be a stop.
    """

    def __init__(self, listener: Listener, house: House) -> None:
        """Wait for asyncio to hand over the transport."""
        super().__init__(listener, None, None, None)  # type: ignore[no-untyped-call] # untyped in pymodbus
        self._house = house
        self._buffer = bytearray()
        self._woken = asyncio.Event()
        self._ended = False
        self._admitted = False
        self._paused = False
        self._farewell = ""
        self.peer = "unknown"
        self.host = "unknown"
        self.limited = False
        self.requests = 0
        self.came_s = 0.0
        self.heard_s = 0.0
        # When it last wrote what was accepted; None: it only reads.
        self.wrote_s: float | None = None
        self.answering: asyncio.Task[None] | None = None

    def callback_connected(self) -> None:
        """Take the client in, or hang up at once."""
        if address := self.transport.get_extra_info("peername"):
            self.host, self.peer = address[0], f"{address[0]}:{address[1]}"
        self.came_s = self.heard_s = self.loop.time()
        if self._house.welcome(self):
            self.transport.abort()  # type: ignore[attr-defined] # TCP only
            return
        self._admitted = True
        self.answering = self.loop.create_task(self._answer_in_order(), name=f"modbus {self.peer}")

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
        """Answer what has arrived before hanging up on a client that says no more."""
        self._ended = True
        self._woken.set()
        return True

    def drop(self, reason: str) -> None:
        """Hang up at once; what was not carried out yet never will be."""
        self._farewell = self._farewell or reason
        self._buffer.clear()
        self._ended = True
        self._woken.set()
        if tcp := self._tcp():
            tcp.abort()

    def retire(self, reason: str, *, within_s: float) -> None:
        """Take nothing more, carry out and answer what has arrived whole, then hang up."""
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
            pdu = await self._house.answer(self, frame[6], frame[MBAP:])
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

    def __init__(self, house: House, host: str, port: int) -> None:
        """Prepare; `bind` does the rest."""
        unused = SimDevice(1, simdata=[SimData(0, values=0, datatype=DataType.REGISTERS)])
        super().__init__(unused, address=(host, port))
        self._house = house

    def callback_new_connection(self) -> Connection:
        """Return the handler of one client."""
        return Connection(self, self._house)

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
