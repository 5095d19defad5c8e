"""Starts, ends and the store that may be away: goal: no supervisor dies of it, and nothing is left undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from actors.messages import RetryChild, StopTree
from actors.vocabulary import Address, RefusedError, UnavailableError
from actors.vocabulary.ids import ROOT, site_address
from supervisors.runtime import HostStats, Life
from supervisors.simulated.runtime import SimRuntime, simulate
from tests.ray.tree_for_tests import pump, site
from tests.unit.supervisors.worlds import (
    PLANT,
    PUMP_1,
    PUMP_2,
    SITE,
    begin,
    below,
    discover,
    forget,
    grown,
    logged,
    make,
    tree,
    until,
)

SOUTH = site(pump(3), site_id="south")


class Store:
    """The control store of a simulated world, and whether it is away."""

    def __init__(self, world: SimRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        for name in ("living", "kill", "kill_address"):
            monkeypatch.setattr(world, name, self._unless_away(getattr(world, name)))

    def _unless_away(self, real: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        async def call(*arguments: Life | Address) -> Sequence[Address] | None:
            if self.away:
                raise UnavailableError("Ray: the control store is away")
            result: Sequence[Address] | None = await real(*arguments)
            return result

        return call


def test_a_child_put_back_while_its_predecessor_starts_is_not_killed_for_it() -> None:
    """SUP-2: incarnations go on over a removal, so late news of the one does not end the other."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1)))
        discover(world, PLANT)
        await asyncio.sleep(0.3)
        discover(world, site(pump(1)))
        await asyncio.sleep(0.05)
        discover(world, PLANT)
        await asyncio.sleep(30.0)
        spawned = [line.split()[3] for line in world.tail if line.split()[1:3] == ["spawn", str(PUMP_2)]]
        assert spawned == ["1", "2"], "nobody else was started in its place"
        node = (await tree(world))[PUMP_2]
        assert (node.state, node.restarts, node.last_error) == ("running", 0, "")

    simulate(51, make, scenario)


def test_who_runs_has_a_process_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-7: nobody is shown running without a pid because its first ping is not answered yet."""

    async def scenario(world: SimRuntime) -> None:
        real = world.ping_from

        async def slow(*arguments: Any, **options: Any) -> HostStats:
            await asyncio.sleep(0.5)
            return await real(*arguments, **options)

        monkeypatch.setattr(world, "ping_from", slow)
        await grown(world, PLANT)
        nodes = (await tree(world)).values()
        assert [node.address for node in nodes if node.kind == "process" and node.pid is None] == []

    simulate(58, make, scenario)


def test_who_left_the_tree_before_its_turn_is_not_started_at_all() -> None:
    """SUP-2: a cold start costs half a second of processor; nobody waits for this one."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, site(pump(1)))
        discover(world, site(*(pump(number) for number in range(1, 21))))
        await asyncio.sleep(0.2)
        discover(world, site(pump(1)))
        await asyncio.sleep(20.0)
        late = [line for line in world.tail if line.split()[1] == "spawn" and "/pumps/p" in line]
        assert len(late) == 1 + 4, "p1, and the four whose start was under way"
        assert [each for each in await below(world, SITE) if "/pumps/" in each] == [PUMP_1]

    simulate(52, make, scenario)


def test_the_end_of_a_site_is_made_up_for_when_the_store_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-2, SUP-8: the root lives on when nobody can be ended, and ends them at a later look."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, PLANT)
        # The south site has no ports of its own, so it takes the north's place.
        here, root = [SITE, *await below(world, SITE)], world.life(ROOT).handle
        store = Store(world, monkeypatch)
        for address in here[1:]:
            world.hang(address)
        store.away = True
        discover(world, SOUTH)
        await asyncio.sleep(20.0)
        assert logged(world, "not_ended")
        assert world.life(ROOT).handle is root, "the root did not die of it"
        assert any(map(world.is_alive, here))
        store.away = False

        async def gone() -> bool:
            return not any(map(world.is_alive, here))

        await until(world, gone, within_s=8.0)
        await until(world, lambda: runs(world, site_address("south")), within_s=40.0)

    simulate(53, make, scenario)


async def runs(world: SimRuntime, address: Address) -> bool:
    return world.is_running(address)


def test_a_hung_child_that_could_not_be_killed_is_killed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-3: the kill is owed, not forgotten; until then its name is taken and no successor starts."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, PLANT)
        store, supervisor, victim = Store(world, monkeypatch), world.life(SITE).handle, world.life(PUMP_1)
        store.away = True
        world.hang(PUMP_1)
        await asyncio.sleep(15.0)
        assert not victim.handle.dead
        assert world.life(SITE).handle is supervisor
        store.away = False

        async def replaced() -> bool:
            return victim.handle.dead and world.is_running(PUMP_1)

        await until(world, replaced, within_s=20.0)
        assert world.life(SITE).handle is supervisor

    simulate(54, make, scenario)


def test_a_child_that_waits_for_a_processor_is_not_taken_for_hung() -> None:
    """SUP-3: a machine that is busy for 7 s costs no process its life, and a restart would only add to the load."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, PLANT)
        busy = world.life(PUMP_1).handle
        world.starve(PUMP_1)
        await asyncio.sleep(7.0)
        world.resume(PUMP_1)
        await asyncio.sleep(5.0)
        assert world.life(PUMP_1).handle is busy
        assert logged(world, "child_starves")
        assert (await tree(world))[PUMP_1].restarts == 0

    simulate(58, make, scenario)


def test_a_child_that_never_gets_a_processor_is_replaced_before_its_lease_ends() -> None:
    """SUP-3, SAF-9: patience ends after three deadlines, 9 s, whatever the reason of the silence."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, PLANT)
        busy = world.life(PUMP_1).handle
        world.starve(PUMP_1)
        await asyncio.sleep(8.0)
        assert not busy.dead
        await asyncio.sleep(3.0)
        assert busy.dead
        await asyncio.sleep(1.0)
        assert world.is_running(PUMP_1)

    simulate(59, make, scenario)


def test_a_supervisor_that_is_held_up_again_and_again_still_replaces_who_hangs() -> None:
    """SUP-3: its own delays excuse a child for a while, not for as long as the machine is busy."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, PLANT)
        victim, supervisor = world.life(PUMP_1).handle, world.life(SITE).handle
        world.hang(PUMP_1)
        for _ in range(8):
            await asyncio.sleep(1.6)
            world.hang(SITE)
            await asyncio.sleep(1.6)
            world.resume(SITE)
        assert victim.dead
        assert world.is_running(PUMP_1)
        assert world.life(SITE).handle is supervisor

    simulate(60, make, scenario)


def test_a_supervisor_that_was_held_up_takes_nobody_living_for_dead() -> None:
    """SUP-3: children that answered while it could not listen live on, however often that happens."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, PLANT)
        lives = {address: world.life(address).handle for address in await world.living()}
        for _ in range(20):
            await asyncio.sleep(1.6)
            world.hang(SITE)
            await asyncio.sleep(1.6)
            world.resume(SITE)
        assert {address: world.life(address).handle for address in await world.living()} == lives

    simulate(61, make, scenario)


def test_a_child_that_hangs_has_one_deadline() -> None:
    """SUP-3: who does not wait for a processor is replaced after 3 s, not after 9."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, PLANT)
        stuck = world.life(PUMP_1).handle
        world.hang(PUMP_1)
        await asyncio.sleep(2.5)
        assert not stuck.dead
        await asyncio.sleep(2.0)
        assert stuck.dead

    simulate(60, make, scenario)


def test_orphans_of_the_first_topology_wait_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-4: a topology that comes while the store is away is taken, and who has no place is ended later."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, PLANT)
        world.crash(ROOT)
        forget()  # the new root knows of no site: it ends nobody before the first topology
        await until(world, lambda: runs(world, ROOT), within_s=5.0)
        store = Store(world, monkeypatch)
        store.away = True
        discover(world, SOUTH)
        await asyncio.sleep(12.0)
        assert logged(world, "orphans_not_ended")
        assert world.is_alive(PUMP_1)
        store.away = False

        async def ended() -> bool:
            return not world.is_alive(SITE) and not await below(world, SITE)

        await until(world, ended, within_s=8.0)

    simulate(55, make, scenario)


def test_a_stop_says_when_it_cannot_be_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-2: the tree is not said to be gone while nobody can say who lives."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, PLANT)
        store = Store(world, monkeypatch)
        store.away = True
        with pytest.raises(UnavailableError, match="control store is away"):
            await world.directory.ref(ROOT).ask(StopTree(budget_s=3.0), deadline_s=6.0)

    simulate(56, make, scenario)


def test_a_retry_of_what_is_not_in_quarantine_is_refused_with_the_reason() -> None:
    """SUP-5, API-1: an operator is not told that something starts when nothing does."""

    async def scenario(world: SimRuntime) -> None:
        await begin(world)
        discover(world, PLANT, SOUTH)
        await asyncio.sleep(30.0)
        root = world.directory.ref(ROOT)
        for address in ("/storage", "/platform", "/"):
            with pytest.raises(RefusedError, match=r"in quarantine|needs sites\.south\.ports"):
                await root.ask(RetryChild(child=address), deadline_s=3.0)
        with pytest.raises(
            RefusedError, match=r"/sites/south: port 4840 serves site north.*sites\.south\.ports"
        ):
            await root.ask(RetryChild(child="/sites/south"), deadline_s=3.0)
        assert (await tree(world))["/storage"].restarts == 0

    simulate(57, make, scenario)
