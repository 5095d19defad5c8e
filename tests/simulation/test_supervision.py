"""Supervisors of the real shape over trivial actors, in virtual time with faults on call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import ClassVar

import pytest

from actors.messages import (
    AlarmAsserted,
    Configure,
    Done,
    GetTree,
    Message,
    RetryChild,
    ScopeFailed,
    StopTree,
    TopologyDiscovered,
    TreeNode,
    TreeView,
)
from actors.runtime import Actor, Ports
from actors.start import WorkerStart
from actors.vocabulary import Address, Role, Settings, SiteConfig, Topology, UnavailableError
from actors.vocabulary.ids import ALARM, ROOT, STORAGE, pump_address, site_address, station_part_address
from actors.vocabulary.settings import PortSettings, SiteSettings
from supervisors.memory import Remembered
from supervisors.runtime import Runtime, StartOrder
from supervisors.simulated.network import NetworkFaults
from supervisors.simulated.runtime import SimRuntime, simulate
from tests.ray import tree_for_tests
from tests.ray.tree_for_tests import make_supervisor, pump, site

SAFETY = station_part_address("north", "s1", "safety")
PUMP_1 = pump_address("north", "s1", "p1")
SITE = site_address("north")
TEN_PROCESSES = (
    4 + 1 + 3 + 3 + 2
)  # platform and storage, site supervisor, endpoints and watchdog, station, pumps


class Quiet:
    """Remembers every message and its start; fails to start when it is told to."""

    refuse_start: ClassVar[set[Address]] = set()

    def __init__(self, start: WorkerStart) -> None:
        self.begun = start
        self.got: list[Message] = []

    async def start(self) -> None:
        if self.begun.address in self.refuse_start:
            raise OSError("no such device")

    async def handle(self, message: Message) -> None:
        self.got.append(message)


def make(ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
    return make_supervisor(ports, start, runtime) if start.role is Role.SUPERVISOR else Quiet(start)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    tree_for_tests.MEMORY.content = Remembered()
    Quiet.refuse_start = set()
    yield
    Quiet.refuse_start = set()


async def until(world: SimRuntime, holds: Callable[[], Awaitable[bool]], *, within_s: float) -> float:
    began = world.elapsed_s
    while world.elapsed_s - began < within_s:
        if await holds():
            return world.elapsed_s - began
        await asyncio.sleep(0.01)
    raise AssertionError(
        f"did not hold within {within_s} s; last events:\n" + "\n".join(list(world.tail)[-40:])
    )


async def tree(world: SimRuntime) -> dict[str, TreeNode]:
    view: TreeView = await world.directory.ref(ROOT).ask(GetTree(), deadline_s=3.0)
    return {node.address: node for node in view.nodes}


async def grown(world: SimRuntime, *sites: SiteConfig, settings: Settings | None = None) -> None:
    """A whole tree of the given sites, everything running."""
    settings = settings or Settings(data_dir="/nowhere")
    start = WorkerStart(role=Role.SUPERVISOR, address=ROOT, settings=settings)
    await world.start(StartOrder(start=start, immortal=True, mailbox_bound=4096), deadline_s=10.0)
    world.directory.ref(ROOT).tell(TopologyDiscovered(topology=Topology(revision="1", sites=sites)))

    async def all_running() -> bool:
        nodes = await tree(world)
        return str(PUMP_1) in nodes and all(node.state == "running" for node in nodes.values())

    await until(world, all_running, within_s=30.0)


def running_again(world: SimRuntime, address: Address, incarnation: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return world.is_running(address) and world.life(address).incarnation == incarnation

    return holds


def test_the_tree_starts_in_order_and_stops_in_reverse() -> None:
    """SUP-2, SUP-7: start order is tree order, the whole tree is visible, and stopping leaves nobody."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1), pump(2)))
        nodes = await tree(world)
        processes = [node for node in nodes.values() if node.kind == "process"]
        assert len(processes) == TEN_PROCESSES + 1
        assert all(node.pid is not None for node in processes)
        assert [node.state for node in nodes.values()] == ["running"] * len(nodes)
        assert nodes["/platform"].kind == "group"
        assert nodes["/platform"].pid is None
        order = list(nodes)
        assert order.index(f"{SITE}/endpoints/modbus") < order.index(SAFETY) < order.index(PUMP_1)
        stopped_from = len(world.tail)
        answer = await world.directory.ref(ROOT).ask(StopTree(budget_s=8.0), deadline_s=9.0)
        assert isinstance(answer, Done)
        assert await world.living() == [ROOT]
        ends = [line.split()[2] for line in list(world.tail)[stopped_from:] if line.split()[1] == "end"]
        assert (
            ends.index(PUMP_1)
            < ends.index(SAFETY)
            < ends.index(f"{SITE}/endpoints/modbus")
            < ends.index(STORAGE)
        )

    simulate(1, make, scenario)


@pytest.mark.parametrize("victim", [STORAGE, SAFETY, PUMP_1, Address(f"{SITE}/endpoints/modbus")])
def test_a_killed_child_comes_back_and_nobody_else_is_touched(victim: Address) -> None:
    """SUP-2, SUP-3: the first kill restarts at once, one for one."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1), pump(2)))
        before = {address: world.life(address) for address in await world.living()}
        world.crash(victim)
        took_s = await until(world, running_again(world, victim, 2), within_s=2.0)
        assert took_s < 0.6, "no back-off after a first kill"
        await asyncio.sleep(5.0)
        for address, life in before.items():
            assert (world.life(address).handle is life.handle) == (address != victim), address
        nodes = await tree(world)
        assert nodes[victim].restarts == 1
        assert "killed" in nodes[victim].last_error

    simulate(2, make, scenario)


def test_every_safety_incarnation_speaks_in_a_newer_epoch() -> None:
    """SAF-11: the site supervisor issues an epoch with each start of a station's safety actor."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1)))
        first = world.hosted(SAFETY).begun.epoch
        world.crash(SAFETY)
        await until(world, running_again(world, SAFETY, 2), within_s=2.0)
        assert world.hosted(SAFETY).begun.epoch > first
        assert world.hosted(PUMP_1).begun.epoch is None

    simulate(3, make, scenario)


@pytest.mark.parametrize("victim", [SAFETY, SITE, STORAGE])
def test_a_hung_child_is_replaced_within_the_liveness_deadline(victim: Address) -> None:
    """SUP-3: silence for period plus deadline leads to a kill and a restart."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1)))
        world.hang(victim)
        took_s = await until(world, running_again(world, victim, 2), within_s=10.0)
        assert 2.9 < took_s < 5.0
        nodes = await tree(world)
        assert "no sign of life within 3.0 s" in nodes[victim].last_error

    simulate(4, make, scenario)


def test_a_supervisor_that_dies_adopts_its_living_children() -> None:
    """SUP-4: a site supervisor's children work on, are adopted with their counts, and are watched again."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1), pump(2)))
        world.crash(PUMP_1)
        await until(world, running_again(world, PUMP_1, 2), within_s=2.0)
        children = {a: world.life(a).handle for a in await world.living() if a.startswith(f"{SITE}/")}
        world.crash(SITE)
        await until(world, running_again(world, SITE, 2), within_s=3.0)
        await asyncio.sleep(5.0)
        assert {a: world.life(a).handle for a in await world.living() if a.startswith(f"{SITE}/")} == children
        assert (await tree(world))[PUMP_1].restarts == 1
        world.crash(PUMP_1)
        await until(world, running_again(world, PUMP_1, 3), within_s=2.0)

    simulate(5, make, scenario)


def test_a_root_that_dies_knows_its_sites_without_the_database() -> None:
    """SUP-4: the root comes back with the last topology it saw and adopts everybody; a child dead meanwhile starts."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1)))
        lives = {a: world.life(a).handle for a in await world.living() if a not in {ROOT, STORAGE}}
        world.crash(ROOT)
        world.crash(STORAGE)

        async def back() -> bool:
            return world.is_running(ROOT) and world.is_running(STORAGE)

        await until(world, back, within_s=3.0)
        await asyncio.sleep(5.0)
        assert {a: world.life(a).handle for a in await world.living() if a not in {ROOT, STORAGE}} == lives
        nodes = await tree(world)
        assert nodes["/"].restarts == 1
        assert all(node.state == "running" for node in nodes.values())

    simulate(6, make, scenario)


def test_a_child_that_keeps_dying_is_quarantined_told_and_can_be_retried() -> None:
    """SUP-5: back-off, then quarantine: safety and alarm hear of it, the tree shows it, an operator retries it."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1), pump(2)))
        waits_s: list[float] = []
        for incarnation in range(2, 7):
            world.crash(PUMP_1)
            waits_s.append(await until(world, running_again(world, PUMP_1, incarnation), within_s=40.0))
        assert waits_s[0] < waits_s[2] < waits_s[4], f"back-off grows: {waits_s}"
        world.crash(PUMP_1)

        async def quarantined() -> bool:
            return (await tree(world))[PUMP_1].state == "quarantined"

        await until(world, quarantined, within_s=2.0)
        await asyncio.sleep(10.0)
        assert not world.is_alive(PUMP_1)
        told = [m for m in world.hosted(SAFETY).got if isinstance(m, ScopeFailed)]
        assert {(m.scope.value, m.scope_id, m.active) for m in told} == {("PUMP", "p1", True)}
        alarms = [m for m in world.hosted(ALARM).got if isinstance(m, AlarmAsserted)]
        assert ("child_quarantined", PUMP_1) in {(m.condition, m.subject) for m in alarms}
        world.crash(SAFETY)
        await until(world, running_again(world, SAFETY, 2), within_s=2.0)
        await asyncio.sleep(1.0)
        assert [m.active for m in world.hosted(SAFETY).got if isinstance(m, ScopeFailed)][:1] == [True]
        await world.directory.ref(SITE).ask(RetryChild(child=PUMP_1), deadline_s=2.0)
        await until(world, running_again(world, PUMP_1, 7), within_s=2.0)
        await asyncio.sleep(1.0)
        assert [m.active for m in world.hosted(SAFETY).got if isinstance(m, ScopeFailed)][-1] is False
        assert (await tree(world))[PUMP_1].state == "running"

    simulate(7, make, scenario)


def test_a_start_that_fails_backs_off_and_a_shutdown_overtakes_it() -> None:
    """SUP-2: failed starts come back through the mailbox, so stopping does not wait for them."""

    async def scenario(world: SimRuntime) -> None:
        Quiet.refuse_start = {PUMP_1}
        try:
            await grown(world, site(pump(1)))
        except AssertionError:
            pass
        else:
            raise AssertionError("the pump should not have started")
        node = (await tree(world))[PUMP_1]
        assert node.state in {"restarting", "starting"}
        assert "no such device" in node.last_error
        assert 5 <= node.restarts <= 9, "30 s of doubling back-off"
        began_s = world.elapsed_s
        await world.directory.ref(ROOT).ask(StopTree(budget_s=8.0), deadline_s=9.0)
        assert world.elapsed_s - began_s < 8.0
        await asyncio.sleep(60.0)
        assert await world.living() == [ROOT]

    simulate(8, make, scenario)


def test_a_topology_changes_only_what_it_names() -> None:
    """DAT-4: a new pump starts, a removed one stops, a changed station is told; the others are not touched."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1), pump(2)))
        before = {a: world.life(a).handle for a in await world.living()}
        gone, new = pump_address("north", "s1", "p2"), pump_address("north", "s1", "p3")
        changed = Topology(revision="2", sites=(site(pump(1), pump(3)),))
        world.directory.ref(ROOT).tell(TopologyDiscovered(topology=changed))

        async def done() -> bool:
            return world.is_running(new) and not world.is_alive(gone)

        await until(world, done, within_s=5.0)
        await asyncio.sleep(3.0)
        for address, handle in before.items():
            if address != gone:
                assert world.life(address).handle is handle
        for address in (SAFETY, PUMP_1, Address(f"{SITE}/endpoints/opcua"), Address(f"{SITE}/watchdog")):
            told = [m for m in world.hosted(address).got if isinstance(m, Configure)]
            assert [p.pump_id for p in told[-1].site.stations[0].pumps] == ["p1", "p3"], address
        world.directory.ref(ROOT).tell(TopologyDiscovered(topology=Topology(revision="3", sites=())))

        async def without_site() -> bool:
            return not [a for a in await world.living() if a.startswith("/sites/")]

        await until(world, without_site, within_s=15.0)

    simulate(9, make, scenario)


def test_a_second_site_without_its_own_ports_is_quarantined_with_that_reason() -> None:
    """SUP-5: one site per set of ports; who has them keeps them, even if a new site sorts earlier."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1)))
        two = (site(pump(1), site_id="a-new-one"), site(pump(1)))
        world.directory.ref(ROOT).tell(TopologyDiscovered(topology=Topology(revision="2", sites=two)))
        await asyncio.sleep(5.0)
        nodes = await tree(world)
        assert nodes["/sites/a-new-one"].state == "quarantined"
        assert "sites.a-new-one.ports" in nodes["/sites/a-new-one"].last_error
        assert nodes[SITE].state == "running"
        assert nodes[SITE].restarts == 0

    simulate(10, make, scenario)

    async def with_ports(world: SimRuntime) -> None:
        own = SiteSettings(ports=PortSettings(opcua=4841, modbus=5021))
        settings = Settings(data_dir="/nowhere", sites={"a-new-one": own})
        await grown(world, site(pump(1), site_id="a-new-one"), site(pump(1)), settings=settings)
        assert (await tree(world))["/sites/a-new-one"].state == "running"

    tree_for_tests.MEMORY.content = Remembered()
    simulate(11, make, with_ports)


def test_orphans_are_ended() -> None:
    """SUP-4: who lives without a place in the tree is ended when its supervisor comes back."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1)))
        orphan = pump_address("north", "s1", "left-over")
        start = WorkerStart(role=Role.PUMP, address=orphan, settings=Settings(data_dir="/nowhere"))
        await world.start(StartOrder(start=start), deadline_s=5.0)
        world.crash(SITE)
        await until(world, running_again(world, SITE, 2), within_s=3.0)
        assert not world.is_alive(orphan)

    simulate(12, make, scenario)


def test_a_predecessor_that_was_not_killed_speaks_again_under_its_old_incarnation() -> None:
    """SAF-11: with its kill suppressed a hung actor lives on beside its successor: what epochs are for."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1)))
        old = world.life(SAFETY)
        world.suppress_kill(SAFETY)
        world.hang(SAFETY)
        await until(world, running_again(world, SAFETY, 2), within_s=10.0)
        world.resume(old)
        stats = await world.ping(old, deadline_s=1.0)
        assert stats.incarnation == 1
        assert (await world.ping(world.life(SAFETY), deadline_s=1.0)).incarnation == 2
        # Only that incarnation is protected, and only from supervisors.
        world.hang(SAFETY)
        await until(world, running_again(world, SAFETY, 3), within_s=10.0)
        world.crash(old)
        with pytest.raises(UnavailableError):
            await world.ping(old, deadline_s=1.0)
        assert world.life(SAFETY).incarnation == 3

    simulate(13, make, scenario)


def _story(seed: int) -> str:
    async def scenario(world: SimRuntime) -> str:
        await grown(world, site(pump(1), pump(2)))
        world.crash(SAFETY)
        world.hang(STORAGE)
        world.step_utc(-3600.0)
        heal = world.network.partition({SITE}, {PUMP_1})
        await asyncio.sleep(10.0)
        heal()
        await asyncio.sleep(10.0)
        return world.trace_hash()

    tree_for_tests.MEMORY.content = Remembered()
    faults = NetworkFaults(late=0.1, drop=0.02, duplicate=0.05)
    return simulate(seed, make, scenario, faults=faults)


def test_the_same_seed_tells_the_same_story() -> None:
    """BYD-5: a seed replays every event; another seed tells another story."""
    assert _story(21) == _story(21)
    assert _story(21) != _story(22)


def test_utc_steps_leave_the_boot_clock_alone() -> None:
    """SAF-9: ages are judged by a clock that nobody sets."""

    async def scenario(world: SimRuntime) -> None:
        before = world.now()
        world.step_utc(7200.0)
        await asyncio.sleep(1.0)
        after = world.now()
        assert after.seconds_since(before) == pytest.approx(1.0)
        assert (after.utc_ns - before.utc_ns) / 1e9 == pytest.approx(7201.0)

    simulate(14, make, scenario)
