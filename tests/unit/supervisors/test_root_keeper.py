"""Whose tree a run takes over: goal: its own at work, nobody else's, and none that is at its end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.messages import StopTree
from actors.start import WorkerStart
from actors.vocabulary import RefusedError, Role, Settings
from actors.vocabulary.ids import ROOT
from actors.vocabulary.settings import PortSettings
from supervisors.root_keeper import RootKeeper
from supervisors.runtime import settings_mark
from supervisors.simulated.runtime import SimRuntime, simulate
from tests.unit.supervisors.worlds import SETTINGS, grown, make


def keeper(world: SimRuntime, settings: Settings) -> RootKeeper:
    runtime: Any = world
    return RootKeeper(runtime, WorkerStart(role=Role.SUPERVISOR, address=ROOT, settings=settings))


def test_its_own_tree_at_work_is_taken_over() -> None:
    """SUP-4, HA-1: after the death of the foreground nothing is ended and nothing started."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world)
        before = {address: world.life(address).handle for address in await world.living()}
        mine = keeper(world, SETTINGS)
        assert await mine.adopt()
        life = await mine.start(deadline_s=10.0)
        assert life.handle is before[ROOT]
        assert {address: world.life(address).handle for address in await world.living()} == before

    simulate(71, make, scenario)


def test_another_directory_s_tree_is_refused_and_not_touched() -> None:
    """HA-1: neither taken over nor stopped; the line names both directories."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world)
        before = {address: world.life(address).handle for address in await world.living()}
        mine = keeper(world, Settings(data_dir="/elsewhere"))
        for attempt in (mine.adopt(), mine.start(deadline_s=10.0)):
            with pytest.raises(RefusedError, match="'/nowhere', not to '/elsewhere'"):
                await attempt
        assert {address: world.life(address).handle for address in await world.living()} == before

    simulate(72, make, scenario)


@pytest.mark.parametrize("why", ["other settings", "stopping"])
def test_a_tree_of_ours_that_does_not_do_our_work_is_ended_first(why: str) -> None:
    """SUP-2, HA-1: one with other settings, or left in the middle of its stop, is replaced by one that is at work."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world)
        before = world.life(ROOT).handle
        settings = SETTINGS
        if why == "stopping":
            await world.directory.ref(ROOT).ask(StopTree(budget_s=3.0), deadline_s=5.0)
        else:
            settings = msgspec.structs.replace(SETTINGS, ports=PortSettings(modbus=5999))
        mine = keeper(world, settings)
        assert not await mine.adopt()
        assert not await world.living(), "nobody holds a port any more"
        life = await mine.start(deadline_s=10.0)
        assert life.handle is not before
        assert world.is_running(ROOT)

    simulate(73, make, scenario)


def test_an_end_leaves_not_even_the_root() -> None:
    """HA-1: on a cluster joined nothing ends with Ray, so the run ends all itself; a dead root is said."""

    async def scenario(world: SimRuntime) -> None:
        await grown(world)
        mine = keeper(world, SETTINGS)
        assert await mine.stop(budget_s=5.0) == ""
        assert await world.living() == [ROOT]
        await mine.end_by_force()
        assert await world.living() == []
        assert "no such actor" in await mine.stop(budget_s=1.0)

    simulate(74, make, scenario)


def test_the_mark_of_settings_tells_them_apart_and_nothing_more() -> None:
    """SEC: a password in the settings does not stand in what every ping carries."""
    secret = Settings(data_dir="/nowhere")
    assert settings_mark(secret) == settings_mark(Settings(data_dir="/nowhere"))
    assert settings_mark(secret) != settings_mark(Settings(data_dir="/nowhere2"))
    assert "nowhere" not in settings_mark(secret)
