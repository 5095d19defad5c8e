"""The Modbus TCP endpoint: its ports, its map, its values, and its certificates; how it answers is `desk`."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

import msgspec

from actors.vocabulary import DeviceError
from actors.vocabulary.client_calls import ShownAlarms
from protocols.endpoint import CallDesk, ClientNews, PastReader, Refresh, WriteGuard
from protocols.modbus import news
from protocols.modbus.alarms import alarm_bits
from protocols.modbus.clients import AllowList
from protocols.modbus.connection import Listener
from protocols.modbus.desk import RequestDesk
from protocols.modbus.door import Door
from protocols.modbus.limits import ModbusLimits, is_loopback
from protocols.modbus.news import News
from protocols.modbus.points import ALARM_ACTIVE, ALARM_UNACKNOWLEDGED, Shows, state_bits, with_states
from protocols.modbus.tls import Change, ModbusTls, TlsFiles
from protocols.points import Point, PointValue

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
        *,
        utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Prepare to serve on `host`:`port` (0: any free one); by default for this machine alone.

        `utc_ns` is the wall clock that certificates end by.
        """
        self._host, self._port = host, port
        self._access = access or ModbusAccess()
        assert self._access.plain or self._access.tls is not None, "one way in at least"
        self.limits = limits or ModbusLimits()
        self._utc_ns = utc_ns
        self._states: Mapping[str, tuple[tuple[str, Shows], ...]] = {}
        self._news = News(self.limits)
        self._door = Door(self.limits, self._access.allow, self._news)
        self._desk = RequestDesk(self._door, self._news)
        self._listeners: list[Listener] = []
        self._bound = self._bound_tls = ""
        self._following: list[asyncio.Task[None]] = []
        self._alarm_paths: tuple[str, ...] = ()

    async def configure(self, points: Sequence[Point]) -> None:
        """Serve exactly these points from now on; clients stay connected, points that stay keep their values.

        Raises:
            InvalidValueError: two points share an address; the old map stays.

        """
        self._desk.image = self._desk.image.reshaped(points)
        self._states = state_bits(points)
        self._alarm_paths = tuple(
            point.path for point in points if point.point in (ALARM_ACTIVE, ALARM_UNACKNOWLEDGED)
        )

    def publish(self, values: Mapping[str, PointValue]) -> None:
        """Show new values by path, all in one piece.

        Raises:
            ValueError: an unknown path, or a value of ours that its registers cannot say; nothing was
            changed.

        """
        for fault in self._desk.image.take(with_states(values, self._states)):
            self._news.tell(news.UNSOUND, "", fault)

    def operate(self, *, call: CallDesk, past: PastReader) -> None:
        """Take what carries out acknowledgements; Modbus has no way to ask for the past."""
        self._desk.call = call

    def show_alarms(self, alarms: ShownAlarms) -> None:
        """Show the site's alarms as they are now, whole."""
        self._desk.alarms = alarms
        self._desk.image.take(alarm_bits(alarms, self._alarm_paths))

    async def open(self, *, guard: WriteGuard, refresh: Refresh, news: ClientNews) -> None:
        """Bind the port, or both, and serve; without usable certificates the plain one, if it is served at all.

        Raises:
            DeviceError: a port is taken, the address may not be bound, or certificates cannot be used and there is
                no way in without them.

        """
        assert not self._listeners, "already open"
        host = bindable(self._host, self._access)
        self._desk.guard, self._desk.refresh, self._news.listener = guard, refresh, news
        self._door.is_open = True
        files, tls, why = self._access.tls, None, ""
        try:
            if self._access.plain:
                self._bound = await self._listen(host, self._port, None)
            if files is not None:
                tls, why = await self._open_tls(files, host)
        except DeviceError:
            await self.close()
            raise
        loop = asyncio.get_running_loop()
        self._following.append(loop.create_task(self._sweep(), name="modbus sweep"))
        if files is not None:
            following = self._follow_certificates(files, host, tls, why)
            self._following.append(loop.create_task(following, name="modbus certificates"))

    async def _open_tls(self, files: TlsFiles, host: str) -> tuple[ModbusTls | None, str]:
        """Serve TLS; without usable certificates return why not: controllers must not lose their plain wire for it.

        Raises:
            DeviceError: the port is taken, or there is no other way in.

        """
        try:
            tls = await asyncio.to_thread(ModbusTls, files)
        except DeviceError as error:
            if not self._access.plain:
                raise
            return None, str(error)
        self._bound_tls = await self._listen(host, self._access.tls_port, tls)
        return tls, ""

    async def _listen(self, host: str, port: int, tls: ModbusTls | None) -> str:
        context = None if tls is None else lambda: tls.context
        listener = Listener(self._door, self._desk.answer, host, port, tls=context)
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
        await self._desk.close()

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

    # --- Keeping house
    # -----------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_SWEEP_S, self.limits.idle_s / 4))
            self._door.sweep(now_s=loop.time(), utc_s=self._utc_ns() / 1e9)

    async def _follow_certificates(
        self, files: TlsFiles, host: str, tls: ModbusTls | None, told: str
    ) -> None:
        """Take up what was replaced on disk, in a thread: a disk that hangs holds up nobody's answer.

        `tls` None: they could not be used yet, which is what `told` says.
        """
        if told:
            self._news.tell(news.CERTIFICATE_UNUSABLE, "", told)
        while True:
            await asyncio.sleep(CERTIFICATES_LOOK_S)
            try:
                if tls is None:
                    tls, fault = await self._open_tls(files, host)
                    if tls is None:
                        raise DeviceError(fault)
                    change = Change.CERTIFICATE
                else:
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
