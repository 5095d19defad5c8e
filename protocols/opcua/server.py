"""The OPC UA endpoint as the publisher sees it: points in, client writes out, every bound inside."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from asyncua import Server, ua

import protocols.opcua.decoding  # noqa: F401 - bounds the decoder and silences asyncua's logger
from actors.vocabulary import DeviceError, RefusedError
from actors.vocabulary.access import UserRole
from actors.vocabulary.client_calls import ShownAlarms
from protocols.endpoint import CallDesk, ClientNews, PastReader, Refresh, WriteGuard
from protocols.opcua import limits
from protocols.opcua.address_space import AddressSpace
from protocols.opcua.operations import EndpointOperations
from protocols.opcua.requests_shown import RequestsShown
from protocols.opcua.rights import Rights
from protocols.opcua.session import Sessions
from protocols.opcua.transport import Listener
from protocols.opcua.writes import NAME_SHOWN, Writes
from protocols.points import OPCUA_NAMESPACE_INDEX, Point, PointValue

_APPLICATION_URI: Final = "urn:calejo:opcua:server"
WITHOUT_USERS: Final = frozenset({UserRole.FIELD, UserRole.OPERATOR})
"""What a controller and an operator's screen need; on loopback only, as long as nobody shows who they are."""
_UNKNOWN_DATE: Final = datetime(1601, 1, 1, tzinfo=UTC)  # OPC 10000-6, 5.2.2.5: the wire's zero


def check_loopback(host: str) -> str:
    """Return `host` if it is a loopback address.

    Raises:
        RefusedError: it is not; policy None and anonymous clients are for this machine only.

    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass  # a name: where it leads may change, so it counts as outside
    raise RefusedError(
        f"OPC UA: will not listen on {host!r}: without certificates and users every client there could write;"
        " only a loopback address (127.0.0.1, ::1, localhost) is allowed until both exist"
    )


class OpcUaEndpoint:
    """Serves points over OPC UA (OPC-1, OPC-5): policy None and anonymous clients, on loopback only.

    Lives in its caller's event loop and is not thread-safe.
    """

    def __init__(self, host: str, port: int, *, anonymous_roles: frozenset[UserRole] = WITHOUT_USERS) -> None:
        """Say where to listen; port 0 takes a free one. `anonymous_roles`: what clients may that show nothing.

        Raises:
            RefusedError: `host` is not loopback.

        """
        self._host: Final = check_loopback(host)
        self._port: Final = port
        self._anonymous_roles: Final = anonymous_roles
        self._writes: Final = Writes()
        self._space: AddressSpace | None = None
        self._operations: EndpointOperations | None = None
        self._desks: tuple[CallDesk, PastReader] | None = None
        self._requests: Final = RequestsShown()
        self._sessions: Sessions | None = None
        self._server: Server | None = None
        self._listener: Listener | None = None
        self._refresh: Refresh | None = None
        self._news: ClientNews | None = None
        self._next_refresh_s = 0.0
        self._bound = ""
        # While points change, the publisher may already speak of some that have no node yet.
        self._configuring = False
        self._early: Final[dict[str, PointValue]] = {}

    async def configure(self, points: Sequence[Point]) -> None:
        """Serve exactly these points from now on; those that stay keep node id, value and subscriptions.

        The first call builds the standard address space (about half a second), so that `open` is quick.
        """
        self._configuring = True
        try:
            space = self._space if self._space is not None else await self._build()
            await space.configure(points)
            known = {path: value for path, value in self._early.items() if path in space.slots}
            self._requests.keep(space.slots)
            space.publish(known)
        finally:
            self._configuring = False
            self._early.clear()

    def publish(self, values: Mapping[str, PointValue]) -> None:
        """Take new values by path, all visible to a client at once (no torn block).

        Raises:
            KeyError: an unknown path; our bug.
            ValueError: a number that does not fit its point; our bug.

        """
        space = self._space
        values = {**values, **self._requests.outdated(values)}
        if self._configuring:
            slots = {} if space is None else space.slots
            self._early.update({path: value for path, value in values.items() if path not in slots})
            values = {path: value for path, value in values.items() if path in slots}
        if space is not None:
            space.publish(values)
        elif values:
            raise KeyError(f"{next(iter(values))}: nothing is configured yet")

    def operate(self, *, call: CallDesk, past: PastReader) -> None:
        """Take what answers methods and looks back; without it both are refused."""
        self._desks = (call, past)
        if self._operations is not None:
            self._operations.operate(call=call, past=past)

    def show_alarms(self, alarms: ShownAlarms) -> None:
        """Show the site's alarms as conditions; before the first `configure` there is nowhere to show them."""
        if self._operations is not None and not self._configuring:
            self._operations.show_alarms(alarms)

    async def open(self, *, guard: WriteGuard, refresh: Refresh, news: ClientNews) -> None:
        """Bind the port and serve.

        Raises:
            DeviceError: the port is taken or may not be bound.

        """
        assert self._listener is None, "the endpoint is open already"
        if self._space is None:
            await self._build()
        assert self._sessions is not None
        assert self._server is not None
        self._refresh, self._news = refresh, news
        self._writes.open(guard, news)
        assert self._operations is not None
        self._operations.open(news)
        listener = Listener(self._sessions, self._server._policies, news=news, fault=self._fault)
        try:
            host, port = await listener.listen(self._host, self._port)
        except OSError as error:
            await listener.close()
            text = f"OPC UA: cannot listen on {self._host} port {self._port}: {error.strerror or error}"
            raise DeviceError(text) from error
        await self._sessions.begin()
        self._listener = listener
        self._bound = f"opc.tcp://{f'[{host}]' if ':' in host else host}:{port}"

    async def close(self) -> None:
        """Stop serving, drop every client, free the port. The points stay, so it can be opened again."""
        listener, self._listener, self._bound = self._listener, None, ""
        if listener is not None:
            await listener.close()
        if self._sessions is not None:
            await self._sessions.end()
            gc.unfreeze()  # see address_space.no_collections: what is dropped now can be freed again

    @property
    def bound(self) -> str:
        """Where it listens (`opc.tcp://host:port`), '' while it does not."""
        return self._bound

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return 0 if self._listener is None else len(self._listener.connections)

    async def _build(self) -> AddressSpace:
        sessions = Sessions(
            before_read=self._before_read, write_items=self._write, anonymous_roles=self._anonymous_roles
        )
        server = Server(iserver=sessions)
        server.name = "Calejo"
        server.manufacturer_name = "Calejo"
        server.product_uri = "urn:calejo"
        server.application_type = ua.ApplicationType.Server
        server._application_uri = _APPLICATION_URI
        server.set_endpoint(f"opc.tcp://{self._host}:{self._port}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        space = AddressSpace(server, sessions)
        await space.load()
        try:
            release = version("calejo")
        except PackageNotFoundError:
            release = "unknown"
        await server.set_build_info(
            server.product_uri, server.manufacturer_name, server.name, release, release, _UNKNOWN_DATE
        )
        await server._setup_server_nodes()
        sessions.rights = Rights(space)
        sessions.operations = self._operations = EndpointOperations(sessions, space)
        if self._desks is not None:
            self._operations.operate(call=self._desks[0], past=self._desks[1])
        self._server, self._sessions, self._space = server, sessions, space
        return space

    def _before_read(self, items: Sequence[ua.ReadValueId]) -> None:
        """Have the points recomputed, at most so often that it takes a tenth of the processor."""
        if self._refresh is None or self._configuring:
            return
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        if start_s < self._next_refresh_s:
            return
        if not any(item.NodeId.NamespaceIndex == OPCUA_NAMESPACE_INDEX for item in items):
            return
        self._refresh()
        took_s = loop.time() - start_s
        self._next_refresh_s = start_s + min(took_s / limits.REFRESH_SHARE_MAX, limits.REFRESH_INTERVAL_S_MAX)

    def _fault(self, error: Exception, peer: str) -> None:
        """Tell of a fault of our own; the event loop's owner decides what becomes of the process."""
        assert self._news is not None
        self._news("failed", peer, repr(error)[:NAME_SHOWN])
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"OPC UA: a request of {peer} met a fault of ours", "exception": error}
        )

    async def _write(self, items: Sequence[ua.WriteValue], peer: str) -> list[ua.StatusCode]:
        space = self._space
        assert space is not None
        codes = await self._writes.write(items, peer, space)
        space.publish(self._requests.taken(items, codes, space))
        return codes
