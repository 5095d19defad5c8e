"""Makes a story's faults happen in a running site, undoes each when it is over, and everything at the end."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, assert_never

from actors.messages import SetMode, StopsChanged, StopTree
from actors.safety.latch import cleared, is_cleared
from actors.vocabulary import Address, CalejoError, DeviceError, Mode, Scope
from actors.vocabulary.ids import API, ROOT, endpoint_address, station_part_address
from actors.vocabulary.records import StopEventRecord
from ops.demo.plant import SensorFault
from ops.demo.plc import PumpPanel
from protocols.points import path_of
from supervisors.runtime import Life
from supervisors.simulated.network import NetworkFaults
from tests.simulation import schedule as told
from tests.simulation.schedule import AnyFault, Way
from tests.simulation.site import PROTOCOLS, SimSite

Undo = Callable[[], Awaitable[None]]

_STOP_BUDGET_S: Final = 8.0
_GLANCE_S: Final = 1.0
_OPERATOR: Final = "operator"


class Performer:
    """Performs one story on one site."""

    def __init__(self, site: SimSite) -> None:
        self._site = site
        self._world = site.world
        self._ids = 0
        self._undead: list[Life] = []
        self._networks: list[NetworkFaults] = []
        self._databases_away = 0
        self._disks_full = 0
        self._plans_gone = 0
        self.struck: Counter[str] = Counter()
        """How often each kind of fault found its victim: a kill of the dead, say, is none."""

    async def perform(
        self, faults: Sequence[AnyFault], *, seconds: float, going_on: Callable[[], bool]
    ) -> None:
        """Let `seconds` pass with these faults, then end whatever still lasts."""
        world = self._world
        began_s = world.elapsed_s
        due: list[tuple[float, int, AnyFault | Undo]] = []
        for number, fault in enumerate(faults):
            heapq.heappush(due, (began_s + fault.at_s, number, fault))
        serial = len(due)
        undos: dict[int, Undo] = {}
        while due and due[0][0] <= began_s + seconds and going_on():
            at_s, number, what = heapq.heappop(due)
            await self._pass(at_s, going_on)
            if not isinstance(what, told.Fault):
                del undos[number]
                await what()
                continue
            world.record("fault", ROOT, repr(what), {})
            self.struck[type(what).__name__] += 1
            undo = await self._begin(what)
            if undo is not None:
                serial += 1
                undos[serial] = undo
                heapq.heappush(due, (world.elapsed_s + what.lasts_s, serial, undo))
        await self._pass(began_s + seconds, going_on)
        for undo in undos.values():
            await undo()

    async def _pass(self, until_s: float, going_on: Callable[[], bool]) -> None:
        """Let time pass; a story that has found something ends within a second."""
        while going_on() and (left_s := until_s - self._world.elapsed_s) > 0.0:
            await asyncio.sleep(min(left_s, _GLANCE_S))

    async def bring_order(self) -> None:
        """End what outlived its time, clear every stop, take every pump back into AUTO: what people do afterwards."""
        site = self._site
        for life in self._undead:
            self._world.resume(life)
            self._world.crash(life)
        self._undead.clear()
        for stop in site.latches.held.active():
            await self._clear(stop, Way.FOLDER)
        for address in site.addresses():
            if "/pumps/" in address:
                await self._set_mode(address, Mode.AUTO, None)
        site.write_plans()

    # ----------------------------------------------------------------- beginning

    async def _begin(self, fault: AnyFault) -> Undo | None:
        world, site = self._world, self._site
        match fault:
            case told.Kill(victim=victim):
                if world.is_alive(victim):
                    world.crash(victim)
                else:
                    self._missed(fault)
            case told.Hang(victim=victim) | told.Undead(victim=victim):
                if not world.is_alive(victim):
                    self._missed(fault)
                    return None
                return self._hang(victim) if isinstance(fault, told.Hang) else self._haunt(victim)
            case told.PowerCut():
                await self._end_all()
                return self._boot
            case told.Restart():
                await self._restart()
            case told.BadNetwork(network=network):
                return self._spoil(network)
            case told.Partition(cut_off=cut_off):
                inside = frozenset(cut_off)
                return _later(world.network.partition(inside, lambda address: address not in inside))
            case told.DatabaseAway(hangs=hangs):
                self._databases_away += 1
                site.database.go(hangs=hangs)
                return _later(self._database_back)
            case told.DiskFull():
                self._disks_full += 1
                site.latches.refuses = site.modes.refuses = site.timers.refuses = True
                return _later(self._disk_free)
            case told.Stop():
                undo = await self._stop(fault)
                if undo is None:
                    self._missed(fault)
                return undo
            case told.NewPlans(kind=kind):
                site.write_plans(kind)
            case told.PlansGone():
                self._plans_gone += 1
                site.database.withdrawn = True
                return _later(self._plans_back)
            case told.Manual(pump=pump, setpoint_hz=hz):
                if not await self._set_mode(pump, Mode.MANUAL, hz):
                    self._missed(fault)
                return lambda: self._give_back(pump)
            case told.Panel(pump_id=pump_id, hand_hz=hz):
                panels = site.controllers.panels
                panels[pump_id] = PumpPanel(hand_hz=hz)
                return _later(lambda: panels.pop(pump_id, None))
            case told.Reboot(station_id=station_id, lasts_s=lasts_s):
                site.controllers.reboot(station_id, lasts_s)
            case told.BadSensor(station_id=station_id, sensor=sensor):
                site.controllers.sense(station_id, sensor)
                return _later(lambda: site.controllers.sense(station_id, SensorFault.NONE))
            case told.ClockStep(step_s=step_s):
                world.step_utc(step_s)
            case _:
                assert_never(fault)
        return None

    # ----------------------------------------------------------------- processes

    def _missed(self, fault: AnyFault) -> None:
        self.struck[type(fault).__name__] -= 1

    def _hang(self, victim: Address) -> Undo:
        world = self._world
        life = world.life(victim)
        world.hang(victim)
        return _later(lambda: world.resume(life))

    def _haunt(self, victim: Address) -> Undo:
        """Hang somebody whom no kill ends; the successor that its supervisor starts is not protected."""
        world = self._world
        life = world.life(victim)
        world.suppress_kill(life)
        world.hang(victim)
        self._undead.append(life)
        return _later(lambda: world.resume(life))

    async def _end_all(self) -> None:
        world = self._world
        named = [world.life(address) for address in await world.living()]
        for life in (*self._undead, *named):
            world.crash(life, for_good=True)
        self._undead.clear()

    async def _boot(self) -> None:
        if not self._world.is_alive(ROOT):
            await self._site.start()

    async def _restart(self) -> None:
        world = self._world
        try:
            stop = StopTree(budget_s=_STOP_BUDGET_S)
            await world.directory.ref(ROOT).ask(stop, deadline_s=_STOP_BUDGET_S + 1.0)
        except CalejoError as error:
            world.record("not_stopped", ROOT, str(error), {})
        # `calejo run` ends what is left.
        await self._end_all()
        await self._boot()

    # ----------------------------------------------------------------- surroundings

    def _spoil(self, network: NetworkFaults) -> Undo:
        """Make the network bad; of two that overlap the later one rules until it ends."""
        self._networks.append(network)
        self._world.network.faults = network

        def mend() -> None:
            self._networks.remove(network)
            self._world.network.faults = self._networks[-1] if self._networks else NetworkFaults()

        return _later(mend)

    def _database_back(self) -> None:
        self._databases_away -= 1
        if not self._databases_away:
            self._site.database.come_back()

    def _disk_free(self) -> None:
        self._disks_full -= 1
        if not self._disks_full:
            self._site.latches.refuses = self._site.modes.refuses = self._site.timers.refuses = False

    def _plans_back(self) -> None:
        self._plans_gone -= 1
        if not self._plans_gone:
            self._site.database.withdrawn = False

    # ----------------------------------------------------------------- people

    async def _give_back(self, pump: Address) -> None:
        await self._set_mode(pump, Mode.AUTO, None)

    async def _set_mode(self, pump: Address, mode: Mode, hz: float | None) -> bool:
        """Return whether the pump's actor took it."""
        self._ids += 1
        message = SetMode(
            pump_id=pump.rsplit("/", 1)[1],
            command_id=f"command-{self._ids}",
            mode=mode,
            by=_OPERATOR,
            setpoint_hz=hz,
            expires_after_s=None if hz is None else 30.0,
        )
        try:
            await self._world.directory.ref(pump).ask(message, deadline_s=2.0)
        except CalejoError as error:
            self._world.record("mode_not_set", pump, str(error), {})
            return False
        return True

    async def _stop(self, fault: told.Stop) -> Undo | None:
        """Set a stop by one way only: all others have to hear of it through Calejo."""
        match fault.way:
            case Way.COIL | Way.NODE:
                protocol = "modbus" if fault.way is Way.COIL else "opcua"
                return await self._stop_on_the_wire(fault, protocol)
            case Way.ENDPOINT | Way.SAFETY:
                await self._tell_one(fault.way, (stop := self._record_of(fault),))
            case Way.FOLDER:
                stop = self._record_of(fault)
                self._keep(stop)
        return lambda: self._clear(stop, fault.way)

    async def _stop_on_the_wire(self, fault: told.Stop, protocol: str) -> Undo | None:
        site = self._site
        before = {stop.record_id for stop in site.latches.held.records}
        refused = site.latches.refuses
        path = path_of(site.config.site_id, *self._place(fault.scope, fault.scope_id), "emergency_stop")
        answer = await site.ports[protocol].write({path: True}, peer="10.0.0.200:40000")
        if answer is None:
            return None
        assert answer == [None], f"an emergency stop was refused: {answer}"
        active = site.latches.held.stops_of_scope(fault.scope, fault.scope_id)
        assert active or refused or site.latches.refuses, "EST-2: a stop was confirmed that no disk holds"
        new = [stop for stop in active if stop.record_id not in before]
        return (lambda: self._clear(new[0], Way.ENDPOINT)) if new else None

    def _place(self, scope: Scope, scope_id: str) -> tuple[str | None, str | None]:
        if scope is Scope.PUMP:
            station = next(each for each in self._site.config.stations if each.pump(scope_id) is not None)
            return station.station_id, scope_id
        return (scope_id, None) if scope is Scope.STATION else (None, None)

    def _record_of(self, fault: told.Stop) -> StopEventRecord:
        self._ids += 1
        latches = self._site.latches
        return StopEventRecord(
            record_id=f"stop-{self._ids}",
            scope=fault.scope,
            scope_id=fault.scope_id,
            reason="drawn",
            set_by=_OPERATOR,
            set_at=self._world.now().utc,
            kind=fault.kind,
            set_stamp=self._ids if latches.refuses else latches.next_stamp(),
        )

    async def _clear(self, stop: StopEventRecord, way: Way) -> None:
        """Clear a stop: first to the disk, then by one way to the tree; a disk that refuses leaves it standing."""
        latches = self._site.latches
        held = latches.held.by_id.get(stop.record_id, stop)
        if is_cleared(held) or latches.refuses:
            return
        release = latches.next_stamp()
        done = cleared(held, by=_OPERATOR, at=self._world.now().utc, reason="drawn", release=release)
        if way in {Way.ENDPOINT, Way.SAFETY}:
            await self._tell_one(way, (done,))
        else:
            self._keep(done)

    def _keep(self, stop: StopEventRecord) -> None:
        try:
            self._site.latches.merge((stop,))
        except DeviceError as error:
            self._world.record("not_kept", API, str(error), {})

    async def _tell_one(self, way: Way, stops: tuple[StopEventRecord, ...]) -> None:
        site = self._site
        site_id = site.config.site_id
        if way is Way.ENDPOINT:
            address = endpoint_address(site_id, site.dice.choice(PROTOCOLS))
        else:
            station = site.dice.choice(site.config.stations)
            address = station_part_address(site_id, station.station_id, "safety")
        try:
            await self._world.directory.ref(address).ask(StopsChanged(stops=stops), deadline_s=1.0)
        except CalejoError as error:
            self._world.record("stop_not_told", address, str(error), {})


def _later(undo: Callable[[], object]) -> Undo:
    async def run() -> None:
        undo()

    return run
