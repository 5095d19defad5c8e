"""A site supervisor that is tried no more: goal: nobody below it works on unwatched, and everybody sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from actors.messages import (
    AlarmAsserted,
    GetTree,
    Message,
    RetryChild,
    TopologyDiscovered,
    TreeNode,
    TreeView,
)
from actors.runtime import Actor, Ports
from actors.start import WorkerStart
from actors.vocabulary import Address, Role, Settings, Topology
from actors.vocabulary.ids import ALARM, ROOT, pump_address, site_address, station_part_address
from supervisors.memory import Remembered
from supervisors.runtime import Runtime, StartOrder
from supervisors.simulated.runtime import SimRuntime, simulate
from supervisors.spec import ChildSpec, leaves
from supervisors.tree import root_tree, site_tree, stop_blocks, tree_below
from tests.ray import tree_for_tests
from tests.ray.tree_for_tests import make_supervisor, pump, site

SETTINGS = Settings(data_dir="/nowhere")
PLANT = site(pump(1), pump(2))
SITE = site_address("north")
SAFETY = station_part_address("north", "s1", "safety")
PUMP_1 = pump_address("north", "s1", "p1")
GATE = Address(f"{SITE}/endpoints/modbus")


class Quiet:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.got: list[Message] = []

    async def handle(self, message: Message) -> None:
        self.got.append(message)


def make(ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
    return make_supervisor(ports, start, runtime) if start.role is Role.SUPERVISOR else Quiet()


@pytest.fixture(autouse=True)
def forgets_the_last_test() -> Iterator[None]:
    tree_for_tests.MEMORY.content = Remembered()
    yield
    tree_for_tests.MEMORY.content = Remembered()


async def until(world: SimRuntime, holds: Callable[[], Awaitable[bool]], *, within_s: float) -> None:
    until_s = world.elapsed_s + within_s
    while not await holds():
        assert world.elapsed_s < until_s, "\n".join(list(world.tail)[-40:])
        await asyncio.sleep(0.01)


async def tree(world: SimRuntime) -> dict[str, TreeNode]:
    view: TreeView = await world.directory.ref(ROOT).ask(GetTree(), deadline_s=3.0)
    return {node.address: node for node in view.nodes}


async def grown(world: SimRuntime) -> None:
    start = WorkerStart(role=Role.SUPERVISOR, address=ROOT, settings=SETTINGS)
    await world.start(StartOrder(start=start, immortal=True, mailbox_bound=4096), deadline_s=10.0)
    world.directory.ref(ROOT).tell(TopologyDiscovered(topology=Topology(revision="1", sites=(PLANT,))))

    async def all_running() -> bool:
        nodes = await tree(world)
        return str(PUMP_1) in nodes and all(node.state == "running" for node in nodes.values())

    await until(world, all_running, within_s=30.0)


async def quarantined(world: SimRuntime) -> None:
    """Let the site supervisor die more often than its intensity allows."""

    def again(incarnation: int) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            return world.is_running(SITE) and world.life(SITE).incarnation == incarnation

        return holds

    for incarnation in range(2, 7):
        world.crash(SITE)
        await until(world, again(incarnation), within_s=40.0)
    world.crash(SITE)


async def below(world: SimRuntime) -> list[Address]:
    return [address for address in await world.living() if address.startswith(f"{SITE}/")]


def test_all_below_a_quarantined_site_supervisor_is_ended_gates_last_and_seen() -> None:
    """SUP-5, SUP-7: the leases run out and the wires fall silent; tree and alarm say why; the rest is untouched."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world)
        platform = {a: world.life(a).handle for a in await world.living() if not a.startswith("/sites/")}
        await quarantined(world)
        assert await below(world), "until the last failure they work on"

        async def nobody() -> bool:
            return not await below(world)

        await until(world, nobody, within_s=3.0)
        ends = [line.split()[2] for line in world.tail if line.split()[1] == "end"]
        assert ends.index(PUMP_1) < ends.index(GATE)
        assert ends.index(SAFETY) < ends.index(GATE)
        nodes = await tree(world)
        assert nodes[SITE].state == "quarantined"
        rows = {address: node for address, node in nodes.items() if address.startswith(f"{SITE}/")}
        assert {PUMP_1, SAFETY, GATE, f"{SITE}/stations/s1"} <= set(rows)
        assert {node.state for node in rows.values()} == {"stopped"}
        assert {node.last_error for node in rows.values()} == {f"{SITE} is quarantined"}
        await asyncio.sleep(1.0)
        alarms = [m for m in world.hosted(ALARM).got if isinstance(m, AlarmAsserted)]
        said = [m.text for m in alarms if (m.condition, m.subject) == ("child_quarantined", SITE)]
        assert "local levels" in said[-1]
        assert {a: world.life(a).handle for a in platform} == platform

    simulate(31, make, scenario)


def test_one_that_comes_up_late_is_ended_too_and_a_retry_brings_all_back() -> None:
    """SUP-5: a start that was under way when its supervisor died; after the retry nobody is ended any more."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world)
        await quarantined(world)

        async def nobody() -> bool:
            return not await below(world)

        await until(world, nobody, within_s=3.0)
        specs = leaves(site_tree(SETTINGS, PLANT))
        late = next(spec for spec in specs if spec.address == PUMP_1)
        await world.start(StartOrder(start=late.start), deadline_s=5.0)
        await until(world, nobody, within_s=7.0)
        await world.directory.ref(ROOT).ask(RetryChild(child=SITE), deadline_s=2.0)

        async def all_back() -> bool:
            return all(world.is_running(spec.address) for spec in specs)

        await until(world, all_back, within_s=15.0)
        lives = {spec.address: world.life(spec.address).handle for spec in specs}
        await asyncio.sleep(30.0)
        assert {address: world.life(address).handle for address in lives} == lives
        assert {node.state for node in (await tree(world)).values()} == {"running"}

    simulate(32, make, scenario)


def test_who_decides_ends_before_the_gates() -> None:
    """SUP-2: reverse order, as far as it matters to the wire; a stranger goes with the first."""
    spec = next(each for each in leaves(root_tree(SETTINGS, (PLANT,))) if each.address == SITE)
    stranger = Address(f"{SITE}/stations/gone/safety")
    assert stop_blocks(spec, [GATE, SAFETY, stranger]) == ((SAFETY, stranger), (GATE,))
    assert stop_blocks(spec, []) == ()


def test_only_a_site_supervisor_has_a_tree_of_its_own() -> None:
    """SUP-7: storage and the platform have nothing below them."""
    trees = {spec.address: tree_below(spec) for spec in leaves(root_tree(SETTINGS, (PLANT,)))}
    assert [address for address, found in trees.items() if found is not None] == [SITE]
    assert isinstance(leaves(root_tree(SETTINGS, (PLANT,)))[0], ChildSpec)
