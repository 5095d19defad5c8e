"""Configurations: goal: whatever is under way when a topology changes, in the end everybody has the newest one."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from actors.messages import Configure
from supervisors.simulated.runtime import SimRuntime, simulate
from tests.ray.tree_for_tests import pump, site
from tests.unit.supervisors.worlds import (
    PUMP_1,
    PUMP_2,
    SITE,
    Quiet,
    begin,
    below,
    discover,
    forget,
    grown,
    make,
    until,
)

OLD = site(*(pump(number) for number in range(1, 13)))
NEW = msgspec.structs.replace(OLD, name="New")


def known_name(actor: Quiet) -> str:
    """Return the site's name as this actor knows it."""
    told = [message.site for message in actor.got if isinstance(message, Configure)]
    known = told[-1] if told else actor.started_with.site
    assert known is not None
    return known.name


@pytest.mark.parametrize(("start_s", "changed_after_s"), [(3.0, 1.0), (3.0, 5.0), (0.45, 0.2), (0.45, 1.3)])
def test_who_is_still_starting_when_the_topology_changes(start_s: float, changed_after_s: float) -> None:
    """CFG, SUP-2: who waits for its turn starts with the newest; who was being started is told when it runs."""
    forget((OLD,))

    async def scenario(world: SimRuntime) -> None:
        await begin(world)
        await asyncio.sleep(changed_after_s)
        discover(world, NEW)

        async def all_know() -> bool:
            here = await below(world, SITE)
            running = [each for each in here if world.is_running(each)]
            return len(running) == 2 + 1 + 3 + 12 and all(
                known_name(world.hosted(each)) == "New" for each in running
            )

        await until(world, all_know, within_s=60.0)

    simulate(41, make, scenario, start_s=start_s)


def test_who_has_the_newest_configuration_already_is_not_told_again() -> None:
    """SUP-2: a pump that starts after the change was made with it; each Configure costs a decision."""
    forget((OLD,))

    async def scenario(world: SimRuntime) -> None:
        await begin(world)
        discover(world, NEW)
        await asyncio.sleep(30.0)
        assert not world.hosted(PUMP_1).got
        assert known_name(world.hosted(PUMP_1)) == "New"

    simulate(42, make, scenario)


def test_a_change_is_told_three_times_and_then_no_more() -> None:
    """SUP-3: one tell may be lost; what was told on three beats is not told for ever."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world, OLD)
        discover(world, NEW)
        await asyncio.sleep(20.0)
        told = [message for message in world.hosted(PUMP_1).got if isinstance(message, Configure)]
        assert len(told) == 4, "at once and on three beats"
        # The change meets a pump that is down: its successor starts with it and is told nothing.
        world.crash(PUMP_2)
        discover(world, OLD)
        await asyncio.sleep(20.0)
        assert known_name(world.hosted(PUMP_2)) == OLD.name

    simulate(43, make, scenario)
