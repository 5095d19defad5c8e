"""What the supervision scenarios of this folder share: quiet actors, a small plant, and waiting in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from actors.messages import GetTree, Message, TopologyDiscovered, TreeNode, TreeView
from actors.runtime import Actor, Ports
from actors.start import WorkerStart
from actors.vocabulary import Address, Role, Settings, SiteConfig, Topology
from actors.vocabulary.ids import ROOT, pump_address, site_address
from supervisors.memory import Remembered
from supervisors.runtime import Runtime, StartOrder
from supervisors.simulated.runtime import SimRuntime
from tests.ray import tree_for_tests
from tests.ray.tree_for_tests import make_supervisor, pump, site

SETTINGS = Settings(data_dir="/nowhere")
PLANT = site(pump(1), pump(2))
SITE = site_address("north")
PUMP_1 = pump_address("north", "s1", "p1")
PUMP_2 = pump_address("north", "s1", "p2")


class Quiet:
    """Remembers what it was started with and what it is told."""

    def __init__(self, start: WorkerStart) -> None:
        self.started_with = start
        self.got: list[Message] = []

    async def handle(self, message: Message) -> None:
        self.got.append(message)


def make(ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
    return make_supervisor(ports, start, runtime) if start.role is Role.SUPERVISOR else Quiet(start)


def forget(sites: tuple[SiteConfig, ...] | None = None) -> None:
    """Let the next root begin with this memory."""
    tree_for_tests.MEMORY.content = Remembered(sites=sites, port_holder=sites[0].site_id if sites else None)


async def begin(world: SimRuntime, settings: Settings = SETTINGS) -> None:
    start = WorkerStart(role=Role.SUPERVISOR, address=ROOT, settings=settings)
    await world.start(StartOrder(start=start, immortal=True, mailbox_bound=4096), deadline_s=20.0)


def discover(world: SimRuntime, *sites: SiteConfig) -> None:
    topology = Topology(revision="1", sites=sites)
    world.directory.ref(ROOT).tell(TopologyDiscovered(topology=topology))


async def until(world: SimRuntime, holds: Callable[[], Awaitable[bool]], *, within_s: float) -> None:
    until_s = world.elapsed_s + within_s
    while not await holds():
        assert world.elapsed_s < until_s, "\n".join(list(world.tail)[-40:])
        await asyncio.sleep(0.01)


async def tree(world: SimRuntime) -> dict[str, TreeNode]:
    view: TreeView = await world.directory.ref(ROOT).ask(GetTree(), deadline_s=3.0)
    return {node.address: node for node in view.nodes}


async def grown(world: SimRuntime, *sites: SiteConfig) -> None:
    """Begin, discover the sites (the plant if none is named), and wait until all runs."""
    await begin(world)
    discover(world, *(sites or (PLANT,)))

    async def all_running() -> bool:
        nodes = await tree(world)
        return str(PUMP_1) in nodes and all(node.state == "running" for node in nodes.values())

    await until(world, all_running, within_s=30.0)


async def below(world: SimRuntime, address: Address) -> list[Address]:
    return [each for each in await world.living() if each.startswith(f"{address}/")]


def logged(world: SimRuntime, event: str) -> list[str]:
    return [line for line in world.tail if line.split()[3:4] == [event]]
