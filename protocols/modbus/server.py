"""The Modbus TCP endpoint: serves the register image, checks every write whole, survives any client.

How a refusal reads on the wire: unknown unit 0B; unknown function 01; an address that is missing, reserved or
read-only 02; a count, length or value that cannot be, or half of a 32-bit value, 03; something behind us
failed 04; a client asking too often 06; not permitted or not in this state 01 (the standard's own wording for
a server in the wrong state). A write request is carried out whole or not at all. What was accepted shows when
the publisher publishes it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from actors.vocabulary import CallerError, DeviceError, WriteRefusal
from protocols.endpoint import ClientNews, ClientWrite, Refresh, WriteGuard
from protocols.modbus.connection import Bucket, Budget, Connection, Listener, ModbusLimits
from protocols.modbus.image import IllegalAddress, IllegalValue, RegisterImage
from protocols.modbus.places import who_gives_way
from protocols.modbus.requests import (
    ExceptionCode,
    MaskWrite,
    Read,
    ReadWrite,
    Refusal,
    Request,
    Write,
    bits_pdu,
    parse,
    refusal_pdu,
    registers_pdu,
)
from protocols.points import Point, PointValue

_CODES: Final[Mapping[WriteRefusal, ExceptionCode]] = {
    WriteRefusal.READ_ONLY: ExceptionCode.ILLEGAL_ADDRESS,
    WriteRefusal.UNKNOWN_POINT: ExceptionCode.ILLEGAL_ADDRESS,
    WriteRefusal.OUT_OF_RANGE: ExceptionCode.ILLEGAL_VALUE,
    WriteRefusal.BAD_TYPE: ExceptionCode.ILLEGAL_VALUE,
    WriteRefusal.NOT_PERMITTED: ExceptionCode.ILLEGAL_FUNCTION,
    WriteRefusal.INVALID_STATE: ExceptionCode.ILLEGAL_FUNCTION,
    WriteRefusal.DEVICE_FAILURE: ExceptionCode.DEVICE_FAILURE,
    # No Modbus request can be stale: it carries no time.
    WriteRefusal.STALE: ExceptionCode.ILLEGAL_FUNCTION,
}
assert set(_CODES) == set(WriteRefusal)

_COIL_WRITES: Final = (5, 15)
_REGISTER_WRITES: Final = (6, 16, 22, 23)
_SWEEP_S: Final = 0.5


def check_loopback(host: str) -> str:
    """Return the address to bind, which nobody outside this machine can reach: there is no authentication yet.

    'localhost' is 127.0.0.1, whatever a hosts file makes of it.

    Raises:
        DeviceError: it is not a loopback address.

    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise DeviceError(
            f"modbus: {host!r} may not be bound: loopback only until clients can be authenticated"
        )
    return host


class ModbusEndpoint:
    """A Modbus TCP server behind the port `EndpointServer`; one unit per station."""

    def __init__(self, host: str, port: int, limits: ModbusLimits | None = None) -> None:
        """Prepare to serve on `host`:`port` (0: any free one)."""
        self._host, self._port = host, port
        self.limits = limits or ModbusLimits()
        self._image = RegisterImage()
        self._listener: Listener | None = None
        self._bound = ""
        self._connections: set[Connection] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._retiring: set[Connection] = set()
        self._read_pool = Bucket(self.limits.pool_per_s, self.limits.pool_burst)
        self._write_pool = Bucket(self.limits.pool_per_s, self.limits.pool_burst)
        self._reads: dict[Connection, Budget] = {}
        self._writes: dict[Connection, Budget] = {}
        self._news_rate = Bucket(self.limits.news_per_s, self.limits.news_burst)
        self._news_suppressed = 0
        self._sweeping: asyncio.Task[None] | None = None
        self._guard: WriteGuard | None = None
        self._refresh: Refresh | None = None
        self._news: ClientNews | None = None

    async def configure(self, points: Sequence[Point]) -> None:
        """Serve exactly these points from now on; clients stay connected, points that stay keep their values.

        Raises:
            InvalidValueError: two points share an address; the old map stays.

        """
        self._image = self._image.reshaped(points)

    def publish(self, values: Mapping[str, PointValue]) -> None:
        """Show new values by path, all in one piece.

        Raises:
            ValueError: an unknown path, or a value of ours that its registers cannot say; nothing was
            changed.

        """
        for fault in self._image.take(values):
            self._tell("unsound", "", fault)

    async def open(self, *, guard: WriteGuard, refresh: Refresh, news: ClientNews) -> None:
        """Bind the port and serve.

        Raises:
            DeviceError: the port is taken, or the address may not be bound.

        """
        assert self._listener is None, "already open"
        address = check_loopback(self._host)
        self._guard, self._refresh, self._news = guard, refresh, news
        listener = Listener(self, address, self._port)
        try:
            host, port = await listener.bind()
        except OSError as error:
            listener.release()
            raise DeviceError(f"modbus: {self._host}:{self._port} cannot be bound: {error}") from error
        self._listener, self._bound = listener, f"{host}:{port}"
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep(), name="modbus sweep")

    async def close(self) -> None:
        """Stop serving, drop every client, free the port; a write under way may end first
        (`limits.close_s`).
        """
        if self._listener is None:
            return
        listener, self._listener, self._bound = self._listener, None, ""
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            sweeping.cancel()
        for connection in (*self._connections, *self._retiring):
            connection.drop("endpoint closed")
        listener.release()
        if self._answering:
            await asyncio.wait(self._answering, timeout=self.limits.close_s)
        for task in self._answering:
            task.cancel()
        # One turn of the loop lets the aborted transports close their sockets.
        await asyncio.sleep(0)

    @property
    def bound(self) -> str:
        """Where it listens (`host:port`), '' while it does not."""
        return self._bound

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    # --- What a connection asks of its house
    # -------------------------------------------------------------------

    def welcome(self, connection: Connection) -> str:
        """Take a client in; in a full house another gives way (`protocols.modbus.places`)."""
        if self._listener is None:
            return "closed"
        if len(self._connections) >= self.limits.clients_max and not self._make_room():
            self._tell("refused", connection.peer, f"{self.limits.clients_max} clients are connected")
            return "full"
        self._connections.add(connection)
        self._reads[connection] = Budget(self.limits, self._read_pool)
        self._writes[connection] = Budget(self.limits, self._write_pool)
        self._tell("connected", connection.peer, "")
        return ""

    def farewell(self, connection: Connection, detail: str) -> None:
        """Forget a client; its last request may still be under way."""
        self._connections.discard(connection)
        self._retiring.discard(connection)
        del self._reads[connection], self._writes[connection]
        if connection.answering is not None and not connection.answering.done():
            self._answering.add(connection.answering)
            connection.answering.add_done_callback(self._answering.discard)
        self._tell("disconnected", connection.peer, detail)

    async def answer(self, connection: Connection, unit_id: int, pdu: bytes) -> bytes:
        """Answer one request; every fault becomes an exception code."""
        function = pdu[0]
        try:
            if unit_id not in self._image:
                raise Refusal(ExceptionCode.NO_SUCH_UNIT, f"no unit {unit_id}")
            self._limit_rate(connection, function)
            return await self._perform(connection, unit_id, parse(pdu))
        except Refusal as refusal:
            return refusal_pdu(function, refusal.code)
        except IllegalAddress:
            return refusal_pdu(function, ExceptionCode.ILLEGAL_ADDRESS)
        except IllegalValue:
            return refusal_pdu(function, ExceptionCode.ILLEGAL_VALUE)
        except CallerError as error:
            self._tell("refused", connection.peer, str(error))
            return refusal_pdu(function, ExceptionCode.ILLEGAL_VALUE)
        except Exception as error:  # noqa: BLE001 - told; this client hears 04
            self._tell("failed", connection.peer, repr(error))
            return refusal_pdu(function, ExceptionCode.DEVICE_FAILURE)

    # --- One request
    # -------------------------------------------------------------------------------------------

    async def _perform(self, connection: Connection, unit_id: int, request: Request) -> bytes:
        match request:
            case Read():
                values = self._fresh(unit_id, request.table, request.address, request.count)
                if request.table in ("coil", "discrete"):
                    return bits_pdu(request.function, values)
                return registers_pdu(request.function, values)
            case Write():
                await self._write(connection, unit_id, request.table, request.address, request.values)
                return request.echo
            case MaskWrite():
                (held,) = self._fresh(unit_id, "holding", request.address, 1)
                masked = held & request.and_mask | request.or_mask & ~request.and_mask
                await self._write(connection, unit_id, "holding", request.address, (masked,))
                return request.echo
            case ReadWrite():
                # Seen before anything is written, or a refused reading would leave a write behind.
                self._image.check(unit_id, "holding", request.read_address, request.read_count)
                await self._write(connection, unit_id, "holding", request.write_address, request.values)
                values = self._fresh(unit_id, "holding", request.read_address, request.read_count)
                return registers_pdu(request.function, values)
            case _:
                assert_never(request)

    def _fresh(self, unit_id: int, table: str, address: int, count: int) -> list[int]:
        """Let the publisher judge ages first, so that nothing is served that outlived its lease."""
        assert self._refresh is not None
        self._refresh()
        if unit_id not in self._image:
            raise Refusal(ExceptionCode.NO_SUCH_UNIT, f"unit {unit_id} has gone")
        return self._image.read(unit_id, table, address, count)

    async def _write(
        self, connection: Connection, unit_id: int, table: str, address: int, raw: Sequence[int]
    ) -> None:
        assert self._guard is not None
        decoded = self._image.decode_write(unit_id, table, address, raw)
        writes = [ClientWrite(path=write.path, value=write.value, peer=connection.peer) for write in decoded]
        verdicts = await self._guard(writes, True)
        for write, verdict in zip(writes, verdicts, strict=True):
            if verdict is not None:
                self._tell("refused", connection.peer, f"{write.path} = {write.value}: {verdict.value}")
                raise Refusal(_CODES[verdict], verdict.value)
        connection.wrote_s = connection.heard_s

    def _limit_rate(self, connection: Connection, function: int) -> None:
        if function in _COIL_WRITES:
            return
        budgets = self._writes if function in _REGISTER_WRITES else self._reads
        budget = budgets.get(connection)  # one that has left may still ask for what had arrived
        if budget is None or budget.take(connection.heard_s):
            connection.limited = False
            return
        if not connection.limited:
            connection.limited = True
            limits = self.limits
            what = f"more than {limits.requests_per_s:g} requests per second, or all together more than"
            self._tell("limited", connection.peer, f"{what} {limits.pool_per_s:g} above their shares")
        raise Refusal(ExceptionCode.BUSY, "too many requests")

    # --- Keeping house
    # -----------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        leaving = who_gives_way(self._connections, self.limits, now_s=now_s)
        if leaving is None:
            return False
        self._connections.discard(leaving)
        self._retiring.add(leaving)
        # What it had asked for may be a stop: it is carried out.
        leaving.retire("gave its place to a newcomer", within_s=self.limits.close_s)
        return True

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_SWEEP_S, self.limits.idle_s / 4))
            now_s = loop.time()
            for connection in tuple(self._connections):
                if now_s - connection.heard_s > self.limits.idle_s:
                    connection.drop(f"silent for {self.limits.idle_s:g} s")

    def _tell(self, event: str, peer: str, detail: str) -> None:
        """Pass news on, but never faster than somebody can use; what was left out is counted in the next."""
        if self._news is None:
            return
        if not self._news_rate.take(asyncio.get_running_loop().time()):
            self._news_suppressed += 1
            return
        if self._news_suppressed:
            detail = f"{detail} ({self._news_suppressed} news before this were suppressed)".lstrip()
            self._news_suppressed = 0
        self._news(event, peer, detail)
