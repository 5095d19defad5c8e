"""Real processes under real supervisors: killed, stopped, adopted, and gone at the end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.messages import GetTree, StopTree, TopologyDiscovered, TreeNode, TreeView
from actors.start import WorkerStart
from actors.vocabulary import CalejoError, Role, Settings, Topology
from actors.vocabulary.ids import ROOT, STORAGE, pump_address, site_address, station_part_address
from supervisors.on_ray.runtime import RayRuntime
from supervisors.on_ray.session import RaySession
from supervisors.process import SystemClock, alive
from supervisors.root_keeper import RootKeeper
from tests.ray.tree_for_tests import pump, site

pytestmark = [pytest.mark.ray, pytest.mark.chaos]

SITE = site_address("north")
SAFETY = station_part_address("north", "s1", "safety")
PUMP_1 = pump_address("north", "s1", "p1")
_CLOCK = SystemClock()


class Tree:
    """A living tree and what a test asks of it."""

    def __init__(self, runtime: RayRuntime) -> None:
        self.runtime = runtime

    async def nodes(self) -> dict[str, TreeNode]:
        view: TreeView = await self.runtime.directory.ref(ROOT).ask(GetTree(), deadline_s=3.0)
        return {node.address: node for node in view.nodes}

    async def until(self, holds: Callable[[dict[str, TreeNode]], bool], *, within_s: float) -> float:
        began = _CLOCK.now()
        last: object = "nothing"
        while (waited_s := _CLOCK.now().seconds_since(began)) < within_s:
            try:
                nodes = await self.nodes()
            except CalejoError as error:
                last = error
            else:
                if holds(nodes):
                    return waited_s
                last = {node.address: (node.state, node.pid, node.last_error) for node in nodes.values()}
            await asyncio.sleep(0.02)
        raise AssertionError(f"did not hold within {within_s} s: {last}")

    async def hit(self, address: str, number: signal.Signals, *, within_s: float) -> float:
        """Send the signal, wait for another process in its place; return how long that took (s)."""
        before = await self.nodes()
        pid = before[address].pid
        assert pid is not None
        os.kill(pid, number)
        took_s = await self.until(
            lambda nodes: (
                address in nodes
                and nodes[address].state == "running"
                and nodes[address].pid not in {pid, None}
            ),
            within_s=within_s,
        )
        await self.until(lambda nodes: not alive(pid), within_s=5.0)
        after = await self.nodes()
        others = {a: n.pid for a, n in before.items() if a != address}
        assert {a: n.pid for a, n in after.items() if a != address} == others, "nobody else is touched"
        return took_s


def test_every_kind_of_death(ray_session: RaySession, ray_settings: Settings, data_dir: Path) -> None:
    """SUP-2, SUP-3, SUP-4, SUP-8: SIGKILL and SIGSTOP of child, supervisor and root; service returns alone."""

    async def story() -> dict[str, float]:
        runtime = ray_session.runtime()
        tree = Tree(runtime)
        keeper = RootKeeper(runtime, WorkerStart(role=Role.SUPERVISOR, address=ROOT, settings=ray_settings))
        await keeper.start(deadline_s=30.0)
        keeping = asyncio.create_task(keeper.keep())
        took_s: dict[str, float] = {}
        try:
            sites = (site(pump(1), pump(2)),)
            runtime.directory.ref(ROOT).tell(TopologyDiscovered(topology=Topology(revision="1", sites=sites)))
            took_s["tree of 14"] = await tree.until(
                lambda nodes: (
                    PUMP_1 in nodes
                    and all(node.state == "running" for node in nodes.values())
                    and all(node.pid for node in nodes.values() if node.kind == "process")
                ),
                within_s=40.0,
            )
            for address in (PUMP_1, SAFETY, STORAGE, SITE, ROOT):
                took_s[f"SIGKILL {address}"] = await tree.hit(address, signal.SIGKILL, within_s=10.0)
            for address in (PUMP_1, SITE, ROOT):
                took_s[f"SIGSTOP {address}"] = await tree.hit(address, signal.SIGSTOP, within_s=15.0)
            nodes = await tree.nodes()
            assert nodes[PUMP_1].restarts == 2, "adopted with its count"
            assert nodes[ROOT].restarts == 2
            assert nodes[SITE].restarts == 2
            pids = [node.pid for node in nodes.values() if node.pid is not None and node.address != ROOT]
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            before = _CLOCK.now()
            await runtime.directory.ref(ROOT).ask(StopTree(budget_s=8.0), deadline_s=10.0)
            took_s["stop"] = _CLOCK.now().seconds_since(before)
            assert list(await runtime.living()) == [ROOT]
            while any(map(alive, pids)):
                assert _CLOCK.now().seconds_since(before) < 15.0
                await asyncio.sleep(0.02)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            for address in await runtime.living():
                await runtime.kill_address(address)
        return took_s

    took_s = asyncio.run(story())
    print({what: round(s, 3) for what, s in took_s.items()})
    assert all(s < 5.0 for what, s in took_s.items() if what.startswith("SIGKILL"))
    # Noticed after at most period + deadline = 4 s, then a start; the root also waits for Ray's own restart.
    assert all(s < 8.0 for what, s in took_s.items() if what.startswith("SIGSTOP"))
    logs = {path.name for path in (data_dir / "logs").iterdir()}
    assert {"root.jsonl", "storage.jsonl", "sites.north.stations.s1.pumps.p1.jsonl"} <= logs
