"""A site supervisor that does not come back: goal: nobody works on unwatched for long; all see it."""

from __future__ import annotations

import asyncio

import pytest

from actors.messages import AlarmAsserted, AlarmReturned
from actors.runtime import Actor, Ports
from actors.start import WorkerStart
from actors.vocabulary import Address, Instant
from actors.vocabulary.ids import ALARM, ROOT
from supervisors.restart_types import Child, ChildState
from supervisors.runtime import Runtime
from supervisors.simulated.runtime import SimRuntime, simulate
from supervisors.spec import leaves
from supervisors.tree import root_tree, site_tree
from supervisors.unwatched import UNWATCHED_MAX_S, Unwatched
from tests.unit.supervisors import worlds
from tests.unit.supervisors.worlds import PLANT, PUMP_1, SETTINGS, SITE, below, grown, tree, until

GATE = Address(f"{SITE}/endpoints/modbus")
SPECS = leaves(root_tree(SETTINGS, (PLANT,)))


class Broken:
    """Whether site supervisors fail to start."""

    now = False


def make(ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
    if Broken.now and start.address == SITE:
        raise OSError("no memory")
    return worlds.make(ports, start, runtime)


def test_a_site_supervisor_that_never_starts_again_leaves_nobody_unwatched_and_comes_back_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SUP-4, SUP-5, SUP-8: a minute on their own, then local levels, alarm and tree; it comes back by itself."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world)
        others = {a: world.life(a).handle for a in await world.living() if not a.startswith("/sites/")}
        lives = {a: world.life(a).handle for a in await below(world, SITE)}
        monkeypatch.setattr(Broken, "now", True)
        world.crash(SITE)
        await asyncio.sleep(UNWATCHED_MAX_S - 5.0)
        assert {a: world.life(a).handle for a in lives} == lives, "until then they keep working (SUP-4)"

        async def nobody() -> bool:
            return not await below(world, SITE)

        await until(world, nobody, within_s=15.0)
        ends = [line.split()[2] for line in world.tail if line.split()[1] == "end"]
        assert ends.index(PUMP_1) < ends.index(GATE), "what decides first, the gates last"
        nodes = await tree(world)
        assert nodes[SITE].state in {"restarting", "starting"}
        assert "no memory" in nodes[SITE].last_error
        assert nodes[PUMP_1].state == nodes[GATE].state == "stopped"
        await asyncio.sleep(8.0)
        alarms = [m for m in world.hosted(ALARM).got if isinstance(m, AlarmAsserted)]
        said = [m for m in alarms if (m.condition, m.subject) == ("site_unwatched", SITE)]
        assert "local levels" in said[-1].text
        assert "no memory" in said[-1].text
        monkeypatch.setattr(Broken, "now", False)
        specs = leaves(site_tree(SETTINGS, PLANT))

        async def all_back() -> bool:
            return all(world.is_running(spec.address) for spec in specs)

        await until(world, all_back, within_s=45.0)
        back = {spec.address: world.life(spec.address).handle for spec in specs}
        await asyncio.sleep(30.0)
        assert {address: world.life(address).handle for address in back} == back
        assert {node.state for node in (await tree(world)).values()} == {"running"}
        returned = [m for m in world.hosted(ALARM).got if isinstance(m, AlarmReturned)]
        assert ("site_unwatched", SITE) in {(m.condition, m.subject) for m in returned}
        assert {a: world.life(a).handle for a in others} == others
        assert world.is_running(ROOT)

    simulate(61, make, scenario)


def at(seconds: float) -> Instant:
    return Instant("b", round(seconds * 1e9), 0)


def test_when_all_below_has_to_end() -> None:
    """SUP-5: quarantine at once; one that fails to come back after a minute; one that runs, or is only new, never."""
    unwatched = Unwatched()

    def look(child: Child | None, now_s: float) -> list[Address]:
        children = {} if child is None else {SITE: child}
        found = [spec.address for spec in unwatched.look(SPECS, children, at(now_s))]
        assert unwatched.ended == frozenset(found)
        return found

    away = Child(state=ChildState.RESTARTING, last_error="no memory")
    assert look(None, 0.0) == []
    assert look(Child(state=ChildState.STARTING), 500.0) == [], "its first start: nobody is below it"
    assert look(away, 1000.0) == []
    assert look(Child(state=ChildState.STARTING, last_error="no memory"), 1059.0) == []
    assert look(away, 1060.0) == [SITE]
    assert look(Child(state=ChildState.RUNNING, last_error="no memory"), 1065.0) == []
    assert look(away, 1070.0) == [], "counted anew"
    assert look(Child(state=ChildState.QUARANTINED, last_error="died"), 1071.0) == [SITE]
