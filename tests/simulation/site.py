"""A whole site in one simulated world: the real tree of real actors over fake disks, a fake database, fake ports.

What is a `Fake...` here outlives every process; everything else dies with its process, as on a machine.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from actors.alarm.actor import AlarmActor
from actors.discovery.actor import DiscoveryActor
from actors.messages import (
    GetApi,
    GetTree,
    PumpDecision,
    PumpInbox,
    RoundDue,
    SafetyInbox,
    Tick,
    TreeNode,
    TreeView,
)
from actors.plan.actor import PlanActor
from actors.publisher.actor import PublisherActor
from actors.pump.actor import CONTROL, PumpActor
from actors.runtime import Actor, Ports
from actors.safety.actor import SafetyActor
from actors.safety.types import Decision
from actors.start import WorkerStart
from actors.station.actor import StationActor
from actors.storage.actor import StorageActor
from actors.vocabulary import (
    Address,
    CalejoError,
    FailsafeStrategy,
    Instant,
    Role,
    SafetyLimits,
    Settings,
    SiteConfig,
    StationConfig,
)
from actors.vocabulary.ids import ROOT, pump_address, site_address, station_part_address
from actors.watchdog.actor import WatchdogActor
from ops.demo.catalogue import STATIONS, demo_site
from protocols.points import site_points
from supervisors.memory import NoMemory, Remembered
from supervisors.runtime import Runtime, StartOrder
from supervisors.simulated.ports import SimRuntimeView
from supervisors.simulated.runtime import SimRuntime
from supervisors.spec import GroupSpec
from supervisors.supervisor import Supervisor
from supervisors.tree import root_tree, site_tree
from tests.simulation.controllers import Controllers
from tests.simulation.database import (
    FakeDatabase,
    FakeFeedbackReader,
    FakePlanReader,
    FakeSpool,
    FakeTopologyReader,
    FakeTopologyStore,
    FakeWriter,
    PlanKind,
)
from tests.simulation.fakes import FakeEpochStore, FakeLatchStore, FakeModeStore, FakeTimerStore
from tests.simulation.inspector import Inspector
from tests.simulation.wires import Port, WireServer

PROTOCOLS: Final = ("opcua", "modbus")
SETTINGS: Final = Settings(data_dir="/nowhere")
_LOOK_S: Final = 0.25


class RootMemory(NoMemory):
    """The root's file of what it must know without the database."""

    def __init__(self) -> None:
        self._remembered = Remembered()

    def load(self) -> Remembered:
        """Return what was saved last."""
        return self._remembered

    def save(self, remembered: Remembered) -> None:
        """Keep it."""
        self._remembered = remembered


class NoApi:
    """Stands in for the API: its servers are sockets, and it decides nothing."""

    async def handle(self, message: object) -> None:
        """Take what comes."""
        assert isinstance(message, GetApi | Tick)


class SimSite:
    """One site of the demo's stations (by number), everything that outlives its processes, and its inspector."""

    def __init__(self, seed: int, stations: Sequence[int]) -> None:
        self.dice = random.Random(f"site:{seed}")
        self.places = tuple(STATIONS[number] for number in stations)
        names = {place.station_id for place in self.places}
        whole = demo_site()
        stations_here = [station for station in whole.stations if station.station_id in names]
        self.config = msgspec.structs.replace(
            whole, stations=tuple(_settled(station, self.dice) for station in stations_here)
        )
        motors = random.Random(f"motors:{seed}")
        self.config = msgspec.structs.replace(
            self.config, stations=tuple(_guarded(station, motors) for station in self.config.stations)
        )
        self.latches = FakeLatchStore()
        self.epochs = FakeEpochStore()
        self.modes = FakeModeStore()
        self.timers = FakeTimerStore()
        self.memory = RootMemory()
        self.topology = FakeTopologyStore()
        self.spool = FakeSpool()

    def enter(self, world: SimRuntime) -> None:
        """Make what needs the running world: ports, database, controllers, inspector."""
        self.world = world
        self.inspector = Inspector(
            self.config, SETTINGS.control, now_s=lambda: world.elapsed_s, tail=lambda: world.tail
        )
        self.latches.witness = self.inspector.latched
        self.database = FakeDatabase(self.config, dice=self.dice)
        self.ports = {
            protocol: Port(protocol, self.config, now_s=lambda: world.elapsed_s, witness=self.inspector.see)
            for protocol in PROTOCOLS
        }
        self.controllers = Controllers(
            self.config.site_id,
            self.places,
            self.ports["modbus"],
            dice=self.dice,
            now=world.now,
            scanned=lambda station: self.inspector.scan(station, self.latches.held, self.controllers.panels),
        )

    # ----------------------------------------------------------------- who is made of what

    def make(self, ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
        """Make the actor of `start.role` over this site's fakes: the simulation's `supervisors.roles`."""
        return self._factories()[start.role](ports, start, runtime)

    def _factories(self) -> dict[Role, Callable[[Ports, WorkerStart, Runtime], Actor]]:
        return {
            Role.SUPERVISOR: self._supervisor,
            Role.SAFETY: lambda ports, start, _: self._safety(ports, start),
            Role.PUMP: lambda ports, start, _: self._pump(ports, start),
            Role.PLAN: lambda ports, start, _: PlanActor(
                ports, start, FakePlanReader(self.database, ports.clock)
            ),
            Role.STATION: lambda ports, start, _: StationActor(
                ports, start, FakeFeedbackReader(self.database)
            ),
            Role.OPCUA: self._endpoint,
            Role.MODBUS: self._endpoint,
            Role.WATCHDOG: lambda ports, start, _: WatchdogActor(ports, start),
            Role.ALARM: lambda ports, start, _: AlarmActor(ports, start),
            Role.STORAGE: lambda ports, start, _: StorageActor(
                ports, start, self.spool, FakeWriter(self.database)
            ),
            Role.DISCOVERY: lambda ports, start, _: DiscoveryActor(
                ports, start, FakeTopologyReader(self.database), self.topology
            ),
            Role.API: lambda ports, start, _: NoApi(),
        }

    def _supervisor(self, ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
        is_root = start.address == ROOT

        def shape(sites: Sequence[SiteConfig], holder: str | None) -> GroupSpec:
            if is_root:
                return root_tree(start.settings, sites, holder=holder)
            return site_tree(start.settings, sites[0])

        epochs = None if is_root else self.epochs
        memory = self.memory if is_root else NoMemory()
        return Supervisor(ports, start, runtime, shape=shape, epochs=epochs, memory=memory)

    def _endpoint(self, ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
        assert isinstance(runtime, SimRuntimeView)
        server = WireServer(self.ports[start.role.value], runtime._process)
        return PublisherActor(ports, start, server, self.latches, self.epochs, site_points)

    def _pump(self, ports: Ports, start: WorkerStart) -> Actor:
        inspector = self.inspector

        class Ticking(PumpActor):
            """Lets the inspector know each tick: no heartbeat may move without one."""

            async def handle(self, message: PumpInbox) -> object:
                if isinstance(message, Tick) and message.what == CONTROL:
                    inspector.tick(start.pump_id or "")
                return await super().handle(message)

        return Ticking(ports, start, self.modes)

    def _safety(self, ports: Ports, start: WorkerStart) -> Actor:
        inspector = self.inspector
        fresh_left: dict[str, int] = {}

        class Deciding(SafetyActor):
            """Lets the inspector know each round and decision: no heartbeat may move without one either."""

            async def handle(self, message: SafetyInbox) -> object:
                if isinstance(message, RoundDue):
                    inspector.round(start.station_id or "")
                return await super().handle(message)

            def _issue(self, decision: Decision, now: Instant) -> PumpDecision:
                issued = super()._issue(decision, now)
                left = self._kernel.pumps[decision.pump_id].fresh_left
                inspector.decide(issued.setpoint, follows=max(left, fresh_left.get(decision.pump_id, 0)) > 0)
                fresh_left[decision.pump_id] = left
                return issued

        return Deciding(ports, start, self.latches, self.timers)

    # ----------------------------------------------------------------- its life

    async def start(self) -> None:
        """Start the root, and with it everything."""
        start = WorkerStart(role=Role.SUPERVISOR, address=ROOT, settings=SETTINGS)
        await self.world.start(StartOrder(start=start, immortal=True, mailbox_bound=4096), deadline_s=10.0)

    async def look(self) -> None:
        """Read both ports now and then as SCADA would, and let the inspector ask what time should have done."""
        while True:
            for port in self.ports.values():
                server = port.look()
                self.inspector.look(
                    port.protocol,
                    gate=None if server is None else server.gate,
                    latches=self.latches.held,
                )
            await asyncio.sleep(_LOOK_S)

    def write_plans(self, kind: PlanKind = PlanKind.GOOD) -> None:
        """Let the optimiser write."""
        self.database.write_plans(kind, now=self.world.now().utc)

    async def tree(self) -> tuple[TreeNode, ...]:
        """Return the tree as it can be seen now; nothing while the root does not answer."""
        try:
            view = await self.world.directory.ref(ROOT).ask(GetTree(), deadline_s=3.0)
        except CalejoError:
            return ()
        assert isinstance(view, TreeView)
        return view.nodes

    def pump_ids(self) -> tuple[str, ...]:
        """Return every pump."""
        return tuple(pump.pump_id for station in self.config.stations for pump in station.pumps)

    def addresses(self) -> tuple[Address, ...]:
        """Return everybody who can be killed, in tree order."""
        site_id = self.config.site_id
        here = site_address(site_id)
        found = [ROOT, Address("/storage"), Address("/platform/discovery"), Address("/platform/alarm"), here]
        found += [Address(f"{here}/endpoints/{protocol}") for protocol in PROTOCOLS]
        found.append(Address(f"{here}/watchdog"))
        for station in self.config.stations:
            found += [
                station_part_address(site_id, station.station_id, part)
                for part in ("safety", "plan", "station")
            ]
            found += [pump_address(site_id, station.station_id, pump.pump_id) for pump in station.pumps]
        return tuple(found)


def _settled(station: StationConfig, dice: random.Random) -> StationConfig:
    """Return the demo's station with settings that others may choose: emergency setpoints and failsafe strategies."""
    return msgspec.structs.replace(
        station,
        pumps=tuple(
            msgspec.structs.replace(
                pump,
                emergency_stop_setpoint_hz=dice.choice((0.0, 0.0, 0.0, 22.0)),
                failsafe_strategy=dice.choice(
                    (pump.failsafe_strategy, pump.failsafe_strategy, *FailsafeStrategy)
                ),
            )
            for pump in station.pumps
        ),
    )


def _guarded(station: StationConfig, dice: random.Random) -> StationConfig:
    """Return the station with motors that may not start and stop as they like (rule 6), in every second world."""
    if dice.random() < 0.5:
        return station
    return msgspec.structs.replace(
        station,
        soft_stop_hz_per_s=dice.choice((None, 1.0)),
        pumps=tuple(
            msgspec.structs.replace(pump, limits=_with_times(pump.limits, dice)) for pump in station.pumps
        ),
    )


def _with_times(limits: SafetyLimits | None, dice: random.Random) -> SafetyLimits | None:
    if limits is None:
        return None
    return msgspec.structs.replace(
        limits,
        max_starts_per_hour=dice.choice((None, 2, 3, 6)),
        min_rest_s=dice.choice((None, 10.0, 30.0)),
        min_run_s=dice.choice((None, 5.0, 20.0)),
        max_run_s=dice.choice((None, 40.0, 90.0)),
    )
