"""The real things behind the actors' ports: files below the data directory, the database, the protocol servers."""

# ruff: noqa: PLC0415  each process imports only what its own role needs

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from actors.access.requests import RequestStore
from actors.access.store import UserStore
from actors.runtime import Ports
from actors.start import WorkerStart
from actors.stores import (
    AuditNotary,
    AuditReader,
    DecisionKeeper,
    DecisionReader,
    EpochStore,
    FeedbackReader,
    HistoryReader,
    JoinedLatchStore,
    LimitsStore,
    ModeStore,
    PastReader,
    PlanReader,
    PointReader,
    RecordSpool,
    RecordWriter,
    TableReader,
    TimerStore,
    TopologyReader,
    TrendReader,
)
from actors.vocabulary import Role, Settings, SiteConfig
from actors.vocabulary.callers import roles_named
from actors.vocabulary.client_calls import PastPage, PastQuestion
from actors.vocabulary.settings import PortSettings, modbus_host
from protocols.endpoint import EndpointServer
from supervisors.process import SystemClock
from supervisors.tree import ports_of

if TYPE_CHECKING:
    from protocols.modbus.tls import TlsFiles
    from protocols.points import Point
    from protocols.sparkplug.endpoint import SparkplugEndpoint
    from storage.engine import Access, Database
    from storage.topology_file import TopologyFile

_NS_PER_S = 1_000_000_000


def _folder(start: WorkerStart) -> Path:
    return Path(start.settings.data_dir)


def _utc_second(ports: Ports) -> Callable[[], int]:
    return lambda: ports.clock.now().utc_ns // _NS_PER_S


def latches(ports: Ports, start: WorkerStart) -> JoinedLatchStore:
    """Return the folder of stops and clears, shared by every process of this machine."""
    from storage.latches import LatchFolder

    return LatchFolder(_folder(start) / "latches", utc_second=_utc_second(ports))


def modes(start: WorkerStart) -> ModeStore:
    """Return the folder of operator modes."""
    from storage.modes import ModeFolder

    return ModeFolder(_folder(start) / "modes")


def timers(start: WorkerStart) -> TimerStore:
    """Return the folder of starts, run and rest times."""
    from storage.timers import TimerFolder

    return TimerFolder(_folder(start) / "timers")


def epochs(ports: Ports, start: WorkerStart) -> EpochStore:
    """Return a site's epochs: written by its supervisor, read by its gates."""
    from storage.epochs import EpochFile

    assert start.site is not None, "epochs belong to a site"
    return EpochFile(_folder(start) / "epochs" / f"{start.site.site_id}.json", utc_second=_utc_second(ports))


def spool(start: WorkerStart) -> RecordSpool:
    """Return the storage actor's queue on disk."""
    from storage.spool import SpoolFile

    clock = SystemClock()
    return SpoolFile(
        _folder(start) / "spool",
        bytes_max=start.settings.database.spool_bytes_max,
        utc_second=lambda: clock.now().utc_ns // _NS_PER_S,
    )


def _database(ports: Ports, start: WorkerStart, access: Access, *, as_writer: bool = False) -> Database:
    from storage.engine import Access, Chance, Database
    from storage.urls import sqlite_url

    settings = start.settings.database
    url = settings.url or sqlite_url(_folder(start) / "calejo.db")
    if access is Access.READ and settings.reader_url and not as_writer:
        url = settings.reader_url
    chance = Chance(sleep=ports.clock.sleep, random=ports.clock.random)
    return Database(url, access, settings=settings, chance=chance)


def topology_reader(ports: Ports, start: WorkerStart) -> TopologyReader:
    """Return what discovery reads from."""
    from storage.engine import Access
    from storage.readers import DatabaseTopologyReader

    return DatabaseTopologyReader(_database(ports, start, Access.READ))


def topology_store(start: WorkerStart) -> TopologyFile:
    """Return the file of the last good topology."""
    from storage.topology_file import TopologyFile

    return TopologyFile(_folder(start) / "topology.json")


def plan_reader(ports: Ports, start: WorkerStart) -> PlanReader:
    """Return what a plan actor reads from."""
    from storage.engine import Access
    from storage.readers import DatabasePlanReader

    return DatabasePlanReader(_database(ports, start, Access.READ))


def feedback_reader(ports: Ports, start: WorkerStart) -> FeedbackReader:
    """Return what a station actor reads foreign feedback from."""
    from storage.engine import Access
    from storage.readers import DatabaseFeedbackReader

    return DatabaseFeedbackReader(_database(ports, start, Access.READ))


def writer(ports: Ports, start: WorkerStart) -> RecordWriter:
    """Return what the storage actor writes with."""
    from storage.engine import Access
    from storage.writer import DatabaseWriter

    return DatabaseWriter(_database(ports, start, Access.WRITE))


def history(ports: Ports, start: WorkerStart) -> HistoryReader:
    """Return what the storage actor reads back with: the writer's own role, but never writing."""
    from storage.engine import Access
    from storage.history import History

    return History(_database(ports, start, Access.READ, as_writer=True))


def notary(ports: Ports, start: WorkerStart) -> AuditNotary:
    """Return what signs the audit trail."""
    from storage.audit_reader import AuditBook
    from storage.checkpoints import Notary
    from storage.engine import Access

    wanted = start.settings.audit
    return Notary(
        _folder(start) / "audit",
        AuditBook(_database(ports, start, Access.READ, as_writer=True)),
        every_records=wanted.checkpoint_records,
        every_s=wanted.checkpoint_s,
        elsewhere=Path(wanted.checkpoint_dir) if wanted.checkpoint_dir else None,
    )


def audit_reader(ports: Ports, start: WorkerStart) -> AuditReader:
    """Return the trail as REST shows it."""
    from storage.audit_desk import AuditDesk
    from storage.audit_reader import AuditBook
    from storage.engine import Access

    book = AuditBook(_database(ports, start, Access.READ, as_writer=True))
    return AuditDesk(_folder(start) / "audit", book)


def room(start: WorkerStart) -> Callable[[], int]:
    """Return what tells how many bytes are free under the data directory."""
    from storage.files import free_bytes

    return lambda: free_bytes(_folder(start))


def decisions(ports: Ports, start: WorkerStart) -> DecisionReader:
    """Return the past of the pumps: read with the writer's role, never written."""
    from storage.decisions import Decisions
    from storage.engine import Access

    return Decisions(_database(ports, start, Access.READ, as_writer=True))


class _Past:
    """The past of an endpoint's points; its pool and its modules are made when somebody first looks back.

    Off the loop: an endpoint whose clients never ask pays nothing, and importing a database driver takes a while.
    """

    def __init__(self, make: Callable[[], PastReader]) -> None:
        self._make = make
        self._made: asyncio.Task[PastReader] | None = None

    async def read(self, question: PastQuestion) -> PastPage:
        """Return one page."""
        if self._made is None:
            self._made = asyncio.create_task(asyncio.to_thread(self._make))
        return await (await asyncio.shield(self._made)).read(question)


def past(ports: Ports, start: WorkerStart) -> PastReader | None:
    """Return the past of an endpoint's points, for protocols that can look back: the writer's role, never writing."""
    if start.role is not Role.OPCUA:
        return None

    def make() -> PastReader:
        from storage.engine import Access
        from storage.past import PastPoints

        return PastPoints(_database(ports, start, Access.READ, as_writer=True), endpoint=start.role.value)

    return _Past(make)


def points(ports: Ports, start: WorkerStart) -> PointReader:
    """Return the past of points as REST shows it: the writer's role, never writing."""
    from storage.engine import Access
    from storage.past import PastOfPoints

    return PastOfPoints(_database(ports, start, Access.READ, as_writer=True))


def trends(ports: Ports, start: WorkerStart) -> TrendReader:
    """Return what displays draw, by the reader's role."""
    from storage.engine import Access
    from storage.trends import Trends

    return Trends(_database(ports, start, Access.READ))


def retention(ports: Ports, start: WorkerStart) -> DecisionKeeper:
    """Return what forgets old decisions, by pools of its own: no batch of records waits for it."""
    from storage.engine import Access
    from storage.retention import DecisionRetention

    reader = _database(ports, start, Access.READ, as_writer=True)
    return DecisionRetention(reader, _database(ports, start, Access.WRITE))


def limits(ports: Ports, start: WorkerStart) -> LimitsStore:
    """Return limits with approval: read and changed with the writer's role, by two pools of its own."""
    from storage.engine import Access
    from storage.limits import DatabaseLimits

    reader = _database(ports, start, Access.READ, as_writer=True)
    return DatabaseLimits(reader, _database(ports, start, Access.WRITE))


def users(ports: Ports, start: WorkerStart) -> UserStore:
    """Return users, sessions and keys: the writer's role, by two pools of its own."""
    from storage.engine import Access
    from storage.users import DatabaseUsers

    reader = _database(ports, start, Access.READ, as_writer=True)
    return DatabaseUsers(reader, _database(ports, start, Access.WRITE))


def requests(ports: Ports, start: WorkerStart) -> RequestStore:
    """Return what REST remembers of requests: the writer's role, by two pools of its own."""
    from storage.engine import Access
    from storage.requests import DatabaseRequests

    reader = _database(ports, start, Access.READ, as_writer=True)
    return DatabaseRequests(reader, _database(ports, start, Access.WRITE))


def tables(ports: Ports, start: WorkerStart) -> TableReader:
    """Return rows of the past: neither role may see all of them."""
    from storage.engine import Access
    from storage.past_rows import PastRows

    appended = _database(ports, start, Access.READ, as_writer=True)
    return PastRows(appended, _database(ports, start, Access.READ))


def map_points(start: WorkerStart) -> Callable[[SiteConfig], Sequence[Point]]:
    """Return how an endpoint makes its points of the plant."""
    if start.role is Role.SPARKPLUG:
        from protocols.sparkplug.names import sparkplug_points

        return sparkplug_points
    if start.role is Role.MODBUS:
        from protocols.modbus.points import modbus_points

        return modbus_points
    if start.role is Role.OPCUA:
        from protocols.points import opcua_points

        return opcua_points
    from protocols.points import site_points

    return site_points


def sparkplug_node(ports: Ports, start: WorkerStart) -> SparkplugEndpoint:
    """Return a site's edge node, with its bdSeq and its backlog below the data directory."""
    from protocols.sparkplug.endpoint import SparkplugEndpoint
    from protocols.sparkplug.names import Node
    from storage.sparkplug import BacklogFile, BirthSequenceFile

    assert start.site is not None, "an endpoint belongs to a site"
    settings, site_id = start.settings.sparkplug, start.site.site_id
    folder = _folder(start) / "sparkplug"
    return SparkplugEndpoint(
        settings,
        Node(settings.group, site_id),
        births=BirthSequenceFile(folder / f"{site_id}.json"),
        history=BacklogFile(
            folder / f"{site_id}.db", bytes_max=settings.backfill_bytes_max, utc_second=_utc_second(ports)
        ),
        utc_ns=lambda: ports.clock.now().utc_ns,
        chance=ports.clock.random,
    )


def opcua_endpoint(actor_ports: Ports, start: WorkerStart, ports: PortSettings) -> EndpointServer:
    """Return a site's OPC UA server with its certificates, its users, and the way of its events to the audit trail."""
    from actors.outbox import Outbox
    from api.access.security_log import SecurityLog
    from api.access.wire_users import WireUsers
    from protocols.opcua.admission import Rules
    from protocols.opcua.server import OpcUaEndpoint
    from storage.opcua_pki import PkiFolder, folder_of, opcua_files

    settings = start.settings.opcua
    outbox = Outbox(actor_ports)
    return OpcUaEndpoint(
        settings.host or ports.host,
        ports.opcua,
        rules=Rules(
            allow_none=settings.allow_none,
            anonymous_roles=roles_named(settings.anonymous_roles),
            has_users=True,
            sessions_max=settings.sessions_max,
            sessions_per_address_max=settings.sessions_per_address_max,
        ),
        pki=PkiFolder(folder_of(_folder(start)), lambda: opcua_files(start.settings)),
        doorkeeper=WireUsers(
            users(actor_ports, start),
            log=SecurityLog(lambda records: outbox.put(*records), actor_ports.clock),
            clock=actor_ports.clock,
            wire="OPC UA",
        ),
    )


def modbus_tls_files(settings: Settings) -> TlsFiles | None:
    """Return the files of Modbus/TLS; None: it is off."""
    from protocols.modbus.tls import TlsFiles
    from storage.certificates import modbus_files

    if not settings.modbus.tls:
        return None
    certificate, private_key, client_ca = modbus_files(settings)
    crl = Path(settings.modbus.client_crl) if settings.modbus.client_crl else None
    return TlsFiles(certificate=certificate, private_key=private_key, client_ca=client_ca, client_crl=crl)


def _modbus_endpoint(settings: Settings, ports: PortSettings) -> EndpointServer:
    from protocols.modbus.clients import allow_list
    from protocols.modbus.limits import ModbusLimits
    from protocols.modbus.server import ModbusAccess, ModbusEndpoint

    modbus = settings.modbus
    limits = ModbusLimits(
        clients_max=modbus.clients_max,
        per_address_max=modbus.clients_per_address_max,
        requests_per_s=modbus.requests_per_s,
        requests_burst=max(2, round(2 * modbus.requests_per_s)),
        idle_s=modbus.idle_s,
    )
    access = ModbusAccess(
        allow=allow_list(modbus.allow),
        plain=modbus.plain,
        tls=modbus_tls_files(settings),
        tls_port=ports.modbus_tls,
    )
    return ModbusEndpoint(modbus_host(settings, ports), ports.modbus, limits, access)


def endpoint_server(actor_ports: Ports, start: WorkerStart) -> EndpointServer:
    """Return the protocol server of an endpoint's role, on its site's port or for its broker."""
    assert start.site is not None, "an endpoint belongs to a site"
    ports = ports_of(start.settings, start.site.site_id)
    match start.role:
        case Role.OPCUA:
            return opcua_endpoint(actor_ports, start, ports)
        case Role.MODBUS:
            return _modbus_endpoint(start.settings, ports)
        case Role.SPARKPLUG:
            return sparkplug_node(actor_ports, start)
        case (
            Role.SUPERVISOR
            | Role.SAFETY
            | Role.PLAN
            | Role.PUMP
            | Role.STATION
            | Role.STORAGE
            | Role.DISCOVERY
            | Role.WATCHDOG
            | Role.ALARM
            | Role.API
        ):
            raise AssertionError(f"{start.role} is no endpoint")
        case _:
            assert_never(start.role)
