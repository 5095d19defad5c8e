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
from actors.vocabulary.client_calls import ShownAlarms
from actors.vocabulary.pki import OwnCertificate, Pki
from protocols.endpoint import CallDesk, ClientNews, PastReader, Refresh, WriteGuard
from protocols.opcua import limits
from protocols.opcua.address_space import AddressSpace
from protocols.opcua.admission import Admission, Rules
from protocols.opcua.certificates import application_uri
from protocols.opcua.doorkeeper import Doorkeeper, NoUsers
from protocols.opcua.health import Health
from protocols.opcua.operations import EndpointOperations
from protocols.opcua.policies import descriptions, factories
from protocols.opcua.requests_shown import RequestsShown
from protocols.opcua.rights import Rights
from protocols.opcua.session import Sessions
from protocols.opcua.transport import Listener
from protocols.opcua.upkeep import Upkeep
from protocols.opcua.writes import NAME_SHOWN, Writes
from protocols.points import OPCUA_NAMESPACE_INDEX, Point, PointValue

_UNKNOWN_DATE: Final = datetime(1601, 1, 1, tzinfo=UTC)  # OPC 10000-6, 5.2.2.5: the wire's zero


def check_loopback(host: str) -> str:
    """Return `host` if it is a loopback address.

    Raises:
        RefusedError: it is not; an endpoint without certificates is for this machine only.

    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass  # a name: where it leads may change, so it counts as outside
    raise RefusedError(
        f"OPC UA: will not listen on {host!r}: without certificates every client there could write;"
        " only a loopback address (127.0.0.1, ::1, localhost) is allowed"
    )


class OpcUaEndpoint:
    """Serves points over OPC UA (OPC-1, OPC-4, OPC-5), signed and encrypted; without security where rules allow it.

    Lives in its caller's event loop and is not thread-safe.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        rules: Rules,
        pki: Pki | None = None,
        doorkeeper: Doorkeeper | None = None,
    ) -> None:
        """Say where to listen; port 0 takes a free one. Without `pki` there is no policy but None.

        Raises:
            RefusedError: without certificates `host` is not loopback.

        """
        self._host: Final = check_loopback(host) if pki is None else host
        self._port: Final = port
        self._writes: Final = Writes()
        self._admission: Final = Admission(rules, doorkeeper or NoUsers())
        self._upkeep: Final = Upkeep(self._admission, pki, renewed=self._renew, fault=self._fault)
        self._space: AddressSpace | None = None
        self._operations: EndpointOperations | None = None
        self._desks: tuple[CallDesk, PastReader] | None = None
        self._requests: Final = RequestsShown()
        self._sessions: Sessions | None = None
        self._server: Server | None = None
        self._health: Health | None = None
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
        assert self._health is not None
        news = self._admission.refusals.counting(news)
        self._refresh, self._news = refresh, news
        self._writes.open(guard, news)
        assert self._operations is not None
        self._operations.open(self._admission.refusals)
        await self._upkeep.load()
        if self._admission.own is None and not self._admission.rules.allow_none:
            raise DeviceError(
                "OPC UA: without a certificate and with policy None switched off nobody could connect"
            )
        listener = Listener(self._sessions, [], news=news, fault=self._fault)
        self._listener = listener
        await self._server.set_application_uri(application_uri(self._admission.own))
        self._offer(self._admission.own)
        try:
            host, port = await listener.listen(self._host, self._port)
        except OSError as error:
            self._listener = None
            await listener.close()
            text = f"OPC UA: cannot listen on {self._host} port {self._port}: {error.strerror or error}"
            raise DeviceError(text) from error
        await self._sessions.begin()
        self._health.forget()
        await self._health.show()
        self._upkeep.begin(listener, self._health)
        self._bound = f"opc.tcp://{f'[{host}]' if ':' in host else host}:{port}"

    async def close(self) -> None:
        """Stop serving, drop every client, free the port. The points stay, so it can be opened again."""
        await self._upkeep.end()
        listener, self._listener, self._bound = self._listener, None, ""
        if listener is not None:
            await listener.close()
        if self._sessions is not None:
            await self._sessions.end()
            gc.unfreeze()  # see address_space.no_collections: what is dropped now can be freed again

    # --- Security and health --------------------------------------------------------------------------------------

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the security is switched off, to be said at every start."""
        rules, said = self._admission.rules, []
        if rules.allow_none:
            said.append("policy None is switched on: who is on the network reads and changes what is sent")
        if rules.anonymous_roles:
            roles = ", ".join(sorted(rules.anonymous_roles))
            said.append(f"anonymous clients are let in as {roles}: nobody knows who they are")
        return tuple(said)

    @property
    def security(self) -> Mapping[tuple[str, str], int]:
        """How often each security event came since the start, by (event, outcome)."""
        return self._admission.doorkeeper.counts

    @property
    def told(self) -> Mapping[str, int]:
        """How often since the start, by event: connected, refused, limited, certificate_rejected, fault and so on."""
        return self._admission.refusals.counts

    def show_health(self, level: int) -> None:
        """Take the service level (0 to 255) that clients shall see from now on."""
        if self._health is not None:
            self._health.level = level

    async def _renew(self, own: OwnCertificate) -> None:
        """Show a new certificate, and the application URI that it names, to clients from now on."""
        assert self._server is not None
        await self._server.set_application_uri(application_uri(own))
        self._offer(own)

    def _offer(self, own: OwnCertificate | None) -> None:
        """Offer this certificate to clients from now on; those connected go on with the one they know."""
        assert self._server is not None
        assert self._sessions is not None
        assert self._listener is not None
        self._listener.policies[:] = factories(own)
        description = ua.ApplicationDescription()
        description.ApplicationName = ua.LocalizedText(self._server.name)
        description.ApplicationUri = application_uri(own)
        description.ApplicationType = ua.ApplicationType.Server
        description.ProductUri = self._server.product_uri
        url = self._server.endpoint.geturl()
        description.DiscoveryUrls = [url]
        self._sessions.endpoints[:] = descriptions(
            url,
            description,
            own,
            allow_none=self._admission.rules.allow_none,
            tokens=self._admission.tokens(),
        )

    @property
    def bound(self) -> str:
        """Where it listens (`opc.tcp://host:port`), '' while it does not."""
        return self._bound

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return 0 if self._listener is None else len(self._listener.connections)

    async def _build(self) -> AddressSpace:
        sessions = Sessions(before_read=self._before_read, write_items=self._write, admission=self._admission)
        server = Server(iserver=sessions)
        server.name = "Calejo"
        server.manufacturer_name = "Calejo"
        server.product_uri = "urn:calejo"
        server.application_type = ua.ApplicationType.Server
        server.set_endpoint(f"opc.tcp://{self._host}:{self._port}")
        space = AddressSpace(server, sessions)
        await space.load()
        try:
            release = version("calejo")
        except PackageNotFoundError:
            release = "unknown"
        await server.set_build_info(
            server.product_uri, server.manufacturer_name, server.name, release, release, _UNKNOWN_DATE
        )
        sessions.rights = Rights(space)
        sessions.bounded_subscriptions.on_filter_failed = self._filter_failed
        sessions.operations = self._operations = EndpointOperations(sessions, space)
        if self._desks is not None:
            self._operations.operate(call=self._desks[0], past=self._desks[1])
        self._server, self._sessions, self._space = server, sessions, space
        self._health = Health(sessions)
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

    def _filter_failed(self, error: Exception) -> None:
        """Tell of a client's filter that could not be evaluated; it costs that client its item, and us nothing."""
        if self._news is not None:
            self._news("failed", "an event filter", repr(error)[:NAME_SHOWN])

    async def _write(self, items: Sequence[ua.WriteValue], peer: str) -> list[ua.StatusCode]:
        space = self._space
        assert space is not None
        codes = await self._writes.write(items, peer, space)
        space.publish(self._requests.taken(items, codes, space))
        return codes
