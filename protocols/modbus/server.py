"""The Modbus TCP endpoint: serves the register image, checks every write whole, survives any client.

How a refusal reads on the wire: unknown unit 0B; unknown function 01; an address that is missing, reserved or
read-only 02; a count, length or value that cannot be, or half of a 32-bit value, 03; something behind us
failed 04; a client asking too often 06; not permitted or not in this state 01 (the standard's own wording for
a server in the wrong state, and that of Modbus/TCP Security for a role that may not). A write request is carried out
whole or not at all. What was accepted shows when the publisher publishes it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

import msgspec

from actors.vocabulary import CallerError, DeviceError, Quality, WriteRefusal
from actors.vocabulary.access import Operation
from protocols.endpoint import ClientNews, ClientWrite, Refresh, WriteGuard
from protocols.modbus import news
from protocols.modbus.clients import OPERATIONS, AllowList
from protocols.modbus.connection import Connection, Listener
from protocols.modbus.door import Door
from protocols.modbus.image import IllegalAddress, IllegalValue, RegisterImage
from protocols.modbus.limits import ModbusLimits, is_loopback
from protocols.modbus.news import News
from protocols.modbus.points import COMMANDS, REQUEST_POINTS, Shows, state_bits, with_states
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
from protocols.modbus.tls import Change, ModbusTls, TlsFiles
from protocols.points import Point, PointValue, path_of

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
_WRITES: Final = (*_COIL_WRITES, 6, 16, 22, 23)
_STOP: Final = "emergency_stop"
_SWEEP_S: Final = 0.5
CERTIFICATES_LOOK_S: Final = 2.0


class ModbusAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How clients come in: `allow` says who may without TLS, `tls` makes a second port for those with certificates."""

    allow: AllowList = AllowList()
    plain: bool = True
    tls: TlsFiles | None = None
    tls_port: int = 0


def bindable(host: str, access: ModbusAccess) -> str:
    """Return the address to bind: loopback, or any other when it is said who is let in from there.

    'localhost' is 127.0.0.1, whatever a hosts file makes of it.

    Raises:
        DeviceError: it is no address, or everybody could come.

    """
    if host == "localhost":
        return "127.0.0.1"
    if is_loopback(host):
        return host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise DeviceError(f"modbus: {host!r} may not be bound: expected an IP address") from None
    if access.plain and not access.allow.networks:
        raise DeviceError(
            f"modbus: {host!r} may not be bound: beyond loopback (127.0.0.1) only with a list of who is let in"
            " (modbus.allow), or with TLS alone (modbus.tls without modbus.plain)"
        )
    return host


class ModbusEndpoint:
    """A Modbus TCP server behind the port `EndpointServer`; one unit per station."""

    def __init__(
        self,
        host: str,
        port: int,
        limits: ModbusLimits | None = None,
        access: ModbusAccess | None = None,
    ) -> None:
        """Prepare to serve on `host`:`port` (0: any free one); by default for this machine alone."""
        self._host, self._port = host, port
        self._access = access or ModbusAccess()
        assert self._access.plain or self._access.tls is not None, "one way in at least"
        self.limits = limits or ModbusLimits()
        self._image = RegisterImage()
        self._states: Mapping[str, tuple[tuple[str, Shows], ...]] = {}
        self._news = News(self.limits)
        self._door = Door(self.limits, self._access.allow, self._news)
        self._listeners: list[Listener] = []
        self._bound = self._bound_tls = ""
        self._following: list[asyncio.Task[None]] = []
        self._guard: WriteGuard | None = None
        self._refresh: Refresh | None = None

    async def configure(self, points: Sequence[Point]) -> None:
        """Serve exactly these points from now on; clients stay connected, points that stay keep their values.

        Raises:
            InvalidValueError: two points share an address; the old map stays.

        """
        self._image = self._image.reshaped(points)
        self._states = state_bits(points)

    def publish(self, values: Mapping[str, PointValue]) -> None:
        """Show new values by path, all in one piece.

        Raises:
            ValueError: an unknown path, or a value of ours that its registers cannot say; nothing was
            changed.

        """
        for fault in self._image.take(with_states(values, self._states)):
            self._news.tell(news.UNSOUND, "", fault)

    async def open(self, *, guard: WriteGuard, refresh: Refresh, news: ClientNews) -> None:
        """Bind the port, or both, and serve.

        Raises:
            DeviceError: a port is taken, the address may not be bound, or certificates cannot be used.

        """
        assert not self._listeners, "already open"
        host = bindable(self._host, self._access)
        self._guard, self._refresh, self._news.listener = guard, refresh, news
        tls = None if self._access.tls is None else await asyncio.to_thread(ModbusTls, self._access.tls)
        self._door.is_open = True
        try:
            if self._access.plain:
                self._bound = await self._listen(host, self._port, None)
            if tls is not None:
                self._bound_tls = await self._listen(host, self._access.tls_port, tls)
        except DeviceError:
            await self.close()
            raise
        loop = asyncio.get_running_loop()
        self._following.append(loop.create_task(self._sweep(), name="modbus sweep"))
        if tls is not None:
            self._following.append(
                loop.create_task(self._follow_certificates(tls), name="modbus certificates")
            )

    async def _listen(self, host: str, port: int, tls: ModbusTls | None) -> str:
        context = None if tls is None else lambda: tls.context
        listener = Listener(self._door, self._answer, host, port, tls=context)
        self._listeners.append(listener)
        try:
            bound_host, bound_port = await listener.bind()
        except OSError as error:
            raise DeviceError(f"modbus: {self._host}:{port} cannot be bound: {error}") from error
        where = f"{bound_host}:{bound_port}"
        self._news.tell(news.LISTENING, where, "plain" if tls is None else "TLS")
        return where

    async def close(self) -> None:
        """Stop serving, drop every client, free the port; a write under way may end first
        (`limits.close_s`).
        """
        listeners, self._listeners = self._listeners, []
        following, self._following = self._following, []
        self._bound = self._bound_tls = ""
        for task in following:
            task.cancel()
        self._door.shut()
        for listener in listeners:
            listener.release()
        await self._door.settle()

    @property
    def bound(self) -> str:
        """Where it listens (`host:port`), '' while it does not; with TLS alone, where that does."""
        return self._bound or self._bound_tls

    @property
    def bound_tls(self) -> str:
        """Where it listens for TLS, '' where it does not."""
        return self._bound_tls

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._door.connections)

    @property
    def told(self) -> Mapping[str, int]:
        """How often what happened with clients since the start, by event and by exception code."""
        return self._news.counts

    # --- One request
    # -------------------------------------------------------------------------------------------

    async def _answer(self, connection: Connection, unit_id: int, pdu: bytes) -> bytes:
        """Answer one request; every fault becomes an exception code."""
        function = pdu[0]
        try:
            return await self._judged(connection, unit_id, pdu)
        except Refusal as refusal:
            code, path, why = refusal.code, "", refusal.why
        except IllegalAddress as error:
            code, path = ExceptionCode.ILLEGAL_ADDRESS, error.path
            why = WriteRefusal.READ_ONLY if path else WriteRefusal.UNKNOWN_POINT
        except IllegalValue as error:
            code, path, why = ExceptionCode.ILLEGAL_VALUE, error.path, WriteRefusal.OUT_OF_RANGE
        except CallerError as error:
            self._news.tell(news.REFUSED, connection.peer, str(error))
            code, path, why = ExceptionCode.ILLEGAL_VALUE, "", None
        except Exception as error:  # noqa: BLE001 - told; this client hears 04
            self._news.tell(news.FAILED, connection.peer, repr(error))
            code, path, why = ExceptionCode.DEVICE_FAILURE, "", None
        self._news.count(f"exception_{code:02X}")
        if why is not None and function in _WRITES:
            await self._note_refused(connection, path or f"/modbus/{unit_id}/{function}", pdu, why)
        return refusal_pdu(function, code)

    async def _judged(self, connection: Connection, unit_id: int, pdu: bytes) -> bytes:
        """Answer one request.

        Raises:
            Refusal, IllegalAddress, IllegalValue: it is refused.

        """
        malformed: Refusal | None = None
        request: Request | None = None
        try:
            request = parse(pdu)
        except Refusal as refusal:
            malformed = refusal
        if request is None or not self._presses_stop(connection, unit_id, request):
            self._limit_rate(connection, pdu[0])
        if unit_id not in self._image:
            raise Refusal(ExceptionCode.NO_SUCH_UNIT, f"no unit {unit_id}", WriteRefusal.UNKNOWN_POINT)
        if request is None:
            assert malformed is not None, "what is no request has a fault"
            raise malformed
        return await self._perform(connection, unit_id, request)

    async def _perform(self, connection: Connection, unit_id: int, request: Request) -> bytes:
        match request:
            case Read():
                self._must_read(connection)
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
                self._must_read(connection)
                # Seen before anything is written, or a refused reading would leave a write behind.
                self._image.check(unit_id, "holding", request.read_address, request.read_count)
                await self._write(connection, unit_id, "holding", request.write_address, request.values)
                values = self._fresh(unit_id, "holding", request.read_address, request.read_count)
                return registers_pdu(request.function, values)
            case _:
                assert_never(request)

    def _must_read(self, connection: Connection) -> None:
        if connection.caller.may(Operation.READ_POINTS):
            return
        if not connection.denied:
            connection.denied = True
            self._news.tell(news.REFUSED, connection.peer, "it has no role that may read")
        raise Refusal(ExceptionCode.ILLEGAL_FUNCTION, "may not read", WriteRefusal.NOT_PERMITTED)

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
        writes = self._wanted(connection, unit_id, table, address, raw)
        if not writes:
            # Zeros to commands alone: nothing is asked for.
            return
        verdicts = await self._guard(writes, True)
        for write, verdict in zip(writes, verdicts, strict=True):
            if verdict is not None:
                told = f"{write.path} = {write.value}: {verdict.value}"
                self._news.tell(news.WRITE_REFUSED, connection.peer, told)
                raise Refusal(_CODES[verdict], verdict.value)
        connection.wrote_s = connection.heard_s
        # What an operator asked for reads back as asked; what came of it shows in the handshake block.
        asked = {
            write.path: PointValue(value=write.value, quality=Quality.GOOD)
            for write in writes
            if (point := self._image.point(write.path)) is not None and point.point in REQUEST_POINTS
        }
        self._image.take(asked)

    def _wanted(
        self, connection: Connection, unit_id: int, table: str, address: int, raw: Sequence[int]
    ) -> list[ClientWrite]:
        """Return the points of a write, commands as the requests that they stand for, each with its refusal if any."""
        writes = []
        for write in self._image.decode_write(unit_id, table, address, raw):
            point = self._image.point(write.path)
            assert point is not None, "the image decodes its own points"
            path, value = write.path, write.value
            permitted = connection.caller.may(OPERATIONS[point.point])
            if point.point in COMMANDS:
                if permitted and not value:
                    continue
                target, value = COMMANDS[point.point]
                path = path_of(point.site_id, point.station_id, point.pump_id, target)
            refusal = None if permitted else WriteRefusal.NOT_PERMITTED
            writes.append(
                ClientWrite(
                    path=path, value=value, peer=connection.peer, refusal=refusal, caller=connection.shown
                )
            )
        return writes

    async def _note_refused(self, connection: Connection, path: str, pdu: bytes, why: WriteRefusal) -> None:
        """Have a write counted and audited that was refused before the publisher saw it; its answer stands anyway."""
        assert self._guard is not None
        address = int.from_bytes(pdu[1:3], "big")
        refused = ClientWrite(
            path=path, value=address, peer=connection.peer, refusal=why, caller=connection.shown
        )
        try:
            await self._guard((refused,), True)
        except Exception as error:  # noqa: BLE001 - told; the connection goes on
            self._news.tell(news.FAILED, connection.peer, repr(error))

    def _presses_stop(self, connection: Connection, unit_id: int, request: Request) -> bool:
        """Whether this stops pumps, as far as its client may: such a request is never limited (EST-4)."""
        return (
            isinstance(request, Write)
            and request.table == "coil"
            and connection.caller.may(Operation.SET_STOP)
            and self._image.sets(unit_id, "coil", request.address, request.values, _STOP)
        )

    def _limit_rate(self, connection: Connection, function: int) -> None:
        budgets = self._door.budgets(connection)  # one that has left may still ask for what had arrived
        budget = None if budgets is None else budgets.writes if function in _WRITES else budgets.reads
        if budget is None or budget.take(connection.heard_s):
            connection.limited = False
            return
        if not connection.limited:
            connection.limited = True
            limits = self.limits
            what = f"more than {limits.requests_per_s:g} requests per second, or all together more than"
            self._news.tell(news.LIMITED, connection.peer, f"{what} {limits.pool_per_s:g} above their shares")
        raise Refusal(ExceptionCode.BUSY, "too many requests")

    # --- Keeping house
    # -----------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_SWEEP_S, self.limits.idle_s / 4))
            self._door.sweep(now_s=loop.time())

    async def _follow_certificates(self, tls: ModbusTls) -> None:
        """Take up what was replaced on disk, in a thread: a disk that hangs holds up nobody's answer."""
        told = ""
        while True:
            await asyncio.sleep(CERTIFICATES_LOOK_S)
            try:
                change = await asyncio.to_thread(tls.look)
            except DeviceError as error:
                if str(error) != told:
                    told = str(error)
                    self._news.tell(news.CERTIFICATE_UNUSABLE, "", told)
                continue
            repaired, told = told != "", ""
            match change:
                case Change.NOTHING:
                    if repaired:
                        self._news.tell(news.CERTIFICATE_REPLACED, "", "the files are as they were")
                case Change.CERTIFICATE:
                    self._news.tell(news.CERTIFICATE_REPLACED, "", "a new certificate is shown")
                case Change.TRUST:
                    self._news.tell(news.CERTIFICATE_REPLACED, "", "clients are trusted anew")
                    self._door.distrust()
                case _:
                    assert_never(change)
