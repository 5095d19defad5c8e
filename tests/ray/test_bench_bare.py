"""The bench's bare actors on real Ray: goal: what Calejo is compared with does the work that it is said to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import ray

from ops.bench.bare import Crowd
from supervisors.on_ray.session import RaySession
from supervisors.process import alive

pytestmark = pytest.mark.ray


@pytest.fixture
def crowd(ray_session: RaySession) -> Iterator[Crowd]:
    crowd = Crowd(6)
    try:
        yield crowd
    finally:
        for handle in crowd._handles:
            ray.kill(handle)
        if "bare-mortal" in ray.util.list_named_actors():
            ray.kill(ray.get_actor("bare-mortal"))


def test_the_chain_brings_every_tick_over_two_hops_to_every_sink(crowd: Crowd) -> None:
    """OPS-5: 2 stations with 1 and 1 pumps at 20 Hz for 0.5 s to 2 sinks: 2 × 10 × 2 samples, none negative."""

    async def story() -> None:
        await crowd.start()
        assert len(set(crowd.pids)) == 6
        assert all(map(alive, crowd.pids))
        for _ in range(2):  # a second rate does not count the first one's samples
            took_ns = await crowd.chain([1, 1], sinks=2, hz=20.0, seconds=0.5)
            assert len(took_ns) == 40
            assert all(0 < each < 5_000_000_000 for each in took_ns)

    asyncio.run(story())


def test_a_killed_bare_actor_is_created_again_at_the_notice(crowd: Crowd) -> None:
    """OPS-5: every recovery is a new process's answer, and takes longer than nothing."""

    async def story() -> None:
        took_s = await crowd.recoveries(2)
        assert len(took_s) == 2
        assert all(0.01 < each < 20 for each in took_s)

    asyncio.run(story())
