"""Which class plays which role, with real adapters: the composition root of every worker process.

Imports are lazy: a pump's process must not pay for an OPC UA server.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from actors.runtime import Actor, Ports
from actors.start import WorkerStart
from actors.vocabulary import Role, Settings, SiteConfig
from actors.vocabulary.ids import ROOT
from supervisors.runtime import Runtime
from supervisors.spec import GroupSpec


def memory_path(settings: Settings) -> Path:
    """Return the file of the root's memory."""
    return Path(settings.data_dir) / "supervisors" / "root.json"


def _supervisor(ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
    from supervisors import adapters
    from supervisors.memory import MemoryFile, NoMemory
    from supervisors.supervisor import Supervisor
    from supervisors.tree import root_tree, site_tree

    settings = start.settings

    def shape(sites: Sequence[SiteConfig], holder: str | None) -> GroupSpec:
        if start.address == ROOT:
            return root_tree(settings, sites, holder=holder)
        return site_tree(settings, sites[0])

    if start.address == ROOT:
        return Supervisor(
            ports, start, runtime, shape=shape, epochs=None, memory=MemoryFile(memory_path(settings))
        )
    epochs = adapters.epochs(ports, start)
    return Supervisor(ports, start, runtime, shape=shape, epochs=epochs, memory=NoMemory())


def _safety(ports: Ports, start: WorkerStart, _: Runtime) -> Actor:
    from actors.safety.actor import SafetyActor
    from supervisors import adapters

    return SafetyActor(ports, start, adapters.latches(ports, start), adapters.timers(start))


def _pump(ports: Ports, start: WorkerStart, _: Runtime) -> Actor:
    from actors.pump.actor import PumpActor
    from supervisors import adapters

    return PumpActor(ports, start, adapters.modes(start))


def _plan(ports: Ports, start: WorkerStart, _: Runtime) -> Actor:
    from actors.plan.actor import PlanActor
    from supervisors import adapters

    return PlanActor(ports, start, adapters.plan_reader(ports, start))


def _station(ports: Ports, start: WorkerStart, _: Runtime) -> Actor:
    from actors.station.actor import StationActor
    from supervisors import adapters

    return StationActor(ports, start, adapters.feedback_reader(ports, start))


def _endpoint(ports: Ports, start: WorkerStart, _: Runtime) -> Actor:
    from actors.publisher.actor import PublisherActor
    from supervisors import adapters

    return PublisherActor(
        ports,
        start,
        adapters.endpoint_server(ports, start),
        adapters.latches(ports, start),
        adapters.epochs(ports, start),
        adapters.map_points(start),
        past=adapters.past(ports, start),
    )


def _watchdog(ports: Ports, start: WorkerStart, _: Runtime) -> Actor:
    from actors.watchdog.actor import WatchdogActor

    return WatchdogActor(ports, start)


def _alarm(ports: Ports, start: WorkerStart, _: Runtime) -> Actor:
    from actors.alarm.actor import AlarmActor

    return AlarmActor(ports, start)


def _storage(ports: Ports, start: WorkerStart, _: Runtime) -> Actor:
    from actors.storage.actor import StorageActor
    from supervisors import adapters

    return StorageActor(
        ports,
        start,
        adapters.spool(start),
        adapters.writer(ports, start),
        adapters.history(ports, start),
        adapters.latches(ports, start),
        keeper=adapters.retention(ports, start),
        notary=adapters.notary(ports, start),
        room=adapters.room(start),
    )


def _discovery(ports: Ports, start: WorkerStart, _: Runtime) -> Actor:
    from actors.discovery.actor import DiscoveryActor
    from supervisors import adapters

    return DiscoveryActor(
        ports, start, adapters.topology_reader(ports, start), adapters.topology_store(start)
    )


def _api(ports: Ports, start: WorkerStart, _: Runtime) -> Actor:
    from api.actor import ApiActor
    from supervisors import adapters

    return ApiActor(
        ports,
        start,
        adapters.latches(ports, start),
        limits=adapters.limits(ports, start),
        decisions=adapters.decisions(ports, start),
        audit=adapters.audit_reader(ports, start),
        users=adapters.users(ports, start),
        requests=adapters.requests(ports, start),
        tables=adapters.tables(ports, start),
        trends=adapters.trends(ports, start),
        points=adapters.points(ports, start),
    )


FACTORIES: Final[Mapping[Role, Callable[[Ports, WorkerStart, Runtime], Actor]]] = {
    Role.SUPERVISOR: _supervisor,
    Role.SAFETY: _safety,
    Role.PLAN: _plan,
    Role.PUMP: _pump,
    Role.STATION: _station,
    Role.OPCUA: _endpoint,
    Role.MODBUS: _endpoint,
    Role.SPARKPLUG: _endpoint,
    Role.STORAGE: _storage,
    Role.DISCOVERY: _discovery,
    Role.WATCHDOG: _watchdog,
    Role.ALARM: _alarm,
    Role.API: _api,
}
assert set(FACTORIES) == set(Role), "every role has a factory"


def make(ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
    """Make the actor of `start.role`: what a worker is told to become."""
    return FACTORIES[start.role](ports, start, runtime)
