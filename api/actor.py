"""The API's actor: REST and health in its own process; it computes no setpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final, assert_never

from actors.access.backoff import FORGET_AFTER_S
from actors.access.requests import RequestStore
from actors.access.sessions import KEPT
from actors.access.store import UserStore
from actors.messages import ApiInbox, Done, GetApi, Tick
from actors.outbox import Outbox
from actors.plan.conditions import ConditionBook
from actors.runtime import Ports
from actors.start import WorkerStart
from actors.stores import (
    AuditReader,
    DecisionReader,
    LatchStore,
    LimitsStore,
    PointReader,
    TableReader,
    TrendReader,
)
from actors.vocabulary import CalejoError, DeviceError, Severity, UnavailableError
from actors.vocabulary.ids import ALARM
from actors.vocabulary.records import Record
from actors.vocabulary.requests import WINDOW
from actors.vocabulary.settings import health_host, protocols_of
from api.access.accounts import Accounts
from api.access.cookies import Cookies
from api.access.desk import AccessDesk
from api.access.failures import Failures
from api.access.logins import Logins
from api.access.rates import Rates
from api.access.security_log import SecurityLog
from api.app import health_application, rest_application
from api.decisions import Decisions
from api.disk import Disk
from api.expiry import CertificateWatch
from api.keys import Keys
from api.limits import Limits
from api.server import HttpServer, bind_loopback, bind_rest
from api.service import Access, Readers, Service
from api.sources import Sources, TopologyMemory
from api.stops import Stops
from api.stream.feed import Feed
from api.stream.watching import Watching
from api.tls import Tls
from storage.certificates import FOLDER, configured, rest_files
from storage.topology_file import TopologyFile

_RECORDS_MAX: Final = 2_000
_START_DEADLINE_S: Final = 10.0
_STOP_DEADLINE_S: Final = 3.0
_KEEP: Final = "keep"
_KEEP_PERIOD_S: Final = 1.0
_TOPOLOGY: Final = "topology"
_TOPOLOGY_PERIOD_S: Final = 5.0
_LIMITS: Final = "limits"
_LIMITS_PERIOD_S: Final = 60.0
_DISK_DEADLINE_S: Final = 5.0
_START_DISK_DEADLINE_S: Final = 1.0
_CERTIFICATES: Final = "certificates"
_CERTIFICATES_PERIOD_S: Final = 600.0


class ApiActor:
    """Serves REST and health; asks the tree for everything. `memory`: discovery's file unless given another.

    `limits` None: nothing of limits can be asked or changed here; `decisions` None: nothing of the past be asked;
    `audit` None: nothing of the trail be read; `users` None: nobody can log in; `requests` None: failed logins and keys
    of commands are forgotten with this process; `tables` None: no rows of the past; `trends` None: none can be drawn;
    `points` None: no point's past be asked.
    """

    def __init__(  # noqa: PLR0913  (a store each, by name)
        self,
        ports: Ports,
        start: WorkerStart,
        latches: LatchStore,
        memory: TopologyMemory | None = None,
        *,
        limits: LimitsStore | None = None,
        decisions: DecisionReader | None = None,
        audit: AuditReader | None = None,
        users: UserStore | None = None,
        requests: RequestStore | None = None,
        tables: TableReader | None = None,
        trends: TrendReader | None = None,
        points: PointReader | None = None,
    ) -> None:
        self._ports = ports
        self._settings = start.settings
        self._outbox = Outbox(ports, records_max=_RECORDS_MAX)
        self._conditions = ConditionBook()
        self._certificates = CertificateWatch(
            Path(start.settings.data_dir) / FOLDER,
            self._conditions,
            also=configured(start.settings),
        )
        self._sources = Sources(
            ports.directory,
            memory or TopologyFile(Path(start.settings.data_dir) / "topology.json"),
            protocols_of(start.settings),
        )
        self._stops = Stops(self._sources, latches, own_address=ports.address, record=self._record)
        self._security = SecurityLog(self._record, ports.clock)
        self._desk = AccessDesk(
            users,
            data_dir=Path(start.settings.data_dir),
            settings=start.settings.access,
            log=self._security,
            clock=ports.clock,
            cookies=Cookies.of(start.settings.api),
        )
        self._requests = requests
        logins = Logins(self._desk, Failures(requests, clock=ports.clock))
        self._feed = Feed(self._sources, self._stops, clock=ports.clock, log=ports.log, tasks=ports.tasks)
        self._service = Service(
            sources=self._sources,
            stops=self._stops,
            limits=Limits(self._sources, limits, clock=ports.clock),
            access=Access(
                self._desk,
                logins,
                Accounts(self._desk, logins),
                self._certificates,
                Rates(self._settings.api, clock=ports.clock, log=self._security),
            ),
            decisions=Decisions(self._sources, decisions, clock=ports.clock, settings=start.settings),
            watching=Watching(self._feed, clock=ports.clock, log=self._security),
            clock=ports.clock,
            record=self._record,
            readers=Readers(audit, tables, trends, points),
            settings=start.settings,
        )
        self._servers: list[tuple[str, HttpServer]] = []
        self._tls: Tls | None = None
        self._disk = Disk("certificates", calls_max=2)
        self._beside_now: set[str] = set()

    async def start(self) -> None:
        """Bind both ports and serve.

        Raises:
            RefusedError: the host is not loopback.
            DeviceError: a port is taken; the text names it.

        """
        api, log = self._settings.api, self._ports.log
        if api.tls:
            self._tls = Tls(*rest_files(self._settings))
        try:
            # A stop must know whom to tell from the first request on, whether or not discovery lives.
            await self._sources.recall()
        except DeviceError as error:
            log.warning("topology_not_recalled", error=str(error))
        try:
            await self._desk.look(deadline_s=_START_DISK_DEADLINE_S)
        except DeviceError as error:
            # Nobody is known until the disk answers; it is asked again every second.
            log.warning("access_not_ready", error=str(error))
        keys = Keys(self._requests, clock=self._ports.clock, log=log)
        rest = rest_application(self._service, keys, version=version("calejo"), log=log, api=api)
        health = health_application(self._service, log=log)
        # Both ports before either serves: half an API is none.
        with ExitStack() as taken:
            listening = bind_rest(api)
            taken.callback(listening.close)
            own = bind_loopback(health_host(api), api.health, what="api.health")
            taken.callback(own.close)
            context = None if self._tls is None else self._tls.current
            self._servers.append(
                (
                    "rest",
                    HttpServer(
                        rest,
                        listening,
                        context,
                        proxy=api.trusted_proxy,
                        sockets=True,
                        told=self._refused_at_the_door,
                    ),
                )
            )
            self._servers.append(("health", HttpServer(health, own)))
            taken.pop_all()
        for name, server in self._servers:
            self._ports.tasks.spawn(server.run_until_stopped(), name=f"serve-{name}")
            await server.wait_started(deadline_s=_START_DEADLINE_S)
            log.info("serving", what=name, port=server.port)
        self._ports.timers.every(_KEEP_PERIOD_S, Tick(what=_KEEP))
        self._ports.timers.every(_TOPOLOGY_PERIOD_S, Tick(what=_TOPOLOGY), first_after_s=0.0)
        self._ports.timers.every(_LIMITS_PERIOD_S, Tick(what=_LIMITS))
        self._ports.timers.every(_CERTIFICATES_PERIOD_S, Tick(what=_CERTIFICATES), first_after_s=1.0)

    async def stop(self) -> None:
        """Let running requests end, then free both ports."""
        self._feed.close()
        self._desk.stop()
        await asyncio.gather(*(server.stop(deadline_s=_STOP_DEADLINE_S) for _, server in self._servers))

    async def handle(self, message: ApiInbox) -> object:
        """Answer that the API serves; keep stops and the plant's picture up to date."""
        match message:
            case Tick(what=what):
                await self._tick(what)
                return Done()
            case GetApi():
                return Done()
            case _:
                assert_never(message)

    async def _tick(self, what: str) -> None:
        if what == _TOPOLOGY:
            try:
                await self._sources.fresh_topology()
            except UnavailableError as error:
                self._ports.log.info("topology_not_refreshed", error=str(error))
            return
        if what == _LIMITS:
            self._beside("limits", self._sweep_limits)
            return
        now, subject = self._ports.clock.now(), str(self._ports.address)
        if what == _CERTIFICATES:
            self._beside("certificates", self._look_at_certificates)
            return
        self._beside("access", self._look_at_access)
        self._beside("service-keys", self._keep_service_keys)
        why = await self._stops.keep(now)
        if why:
            self._conditions.hold("latch_not_durable", subject, Severity.CRITICAL, why)
        else:
            self._conditions.clear("latch_not_durable", subject)
        for news in self._conditions.news(now):
            self._ports.directory.ref(ALARM).tell(news)

    def _beside(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do it beside the mailbox, once at a time: a slow disk or database must not look like an API that hangs."""
        if name in self._beside_now:
            return
        self._beside_now.add(name)

        async def once() -> None:
            try:
                await work()
            finally:
                self._beside_now.discard(name)

        self._ports.tasks.spawn(once(), name=name)

    async def _look_at_certificates(self) -> None:
        if why := await self._certificates.look(self._ports.clock.now()):
            self._ports.log.warning("certificates_not_read", error=why)

    async def _look_at_access(self) -> None:
        subject = str(self._ports.address)
        if self._tls is not None:
            try:
                if await self._disk.call(
                    self._tls.look, deadline_s=_DISK_DEADLINE_S, late=self._certificate_looked_at
                ):
                    self._certificate_looked_at(True)
            except DeviceError as error:
                self._conditions.hold("certificate_not_taken_up", subject, Severity.HIGH, str(error))
            else:
                self._conditions.clear("certificate_not_taken_up", subject)
        try:
            await self._desk.look()
        except DeviceError as error:
            self._conditions.hold("access_keys_unreadable", subject, Severity.HIGH, str(error))
        else:
            self._conditions.clear("access_keys_unreadable", subject)

    def _certificate_looked_at(self, end: bool | BaseException) -> None:
        """Record that it was replaced, also when the disk was late to say so: it is shown from then on."""
        if end is True:
            self._security.done("CERTIFICATE_REPLACED", actor="calejo", peer="", subject="CERTIFICATE:rest")

    async def _keep_service_keys(self) -> None:
        try:
            await self._desk.programs.keep()
        except DeviceError as error:
            self._ports.log.info("service_keys_not_kept", error=str(error))

    async def _sweep_limits(self) -> None:
        try:
            if count := await self._service.limits.sweep():
                self._ports.log.info("limit_proposals_closed", count=count)
            now = self._ports.clock.now().utc
            if count := await self._desk.prune(before=now - KEPT):
                self._ports.log.info("old_sessions_forgotten", count=count)
            if self._requests is not None:
                forgotten = now - timedelta(seconds=FORGET_AFTER_S)
                await self._requests.prune(commands_before=now - WINDOW, failures_before=forgotten)
        except CalejoError as error:
            self._ports.log.info("limit_proposals_not_swept", error=str(error))

    def _refused_at_the_door(self, event: str, peer: str, why: str) -> None:
        self._security.refused(event, why, actor="", peer=peer, subject="CONNECTION")

    def _record(self, records: Iterable[Record]) -> None:
        self._outbox.put(*records)


__all__ = ["ApiActor", "bind_loopback"]
