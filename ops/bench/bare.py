"""The same work by bare Ray: plain async actors without mailbox, law or supervision of ours, for comparison."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any, Final

import ray
from ray.exceptions import ActorAlreadyExistsError, RayActorError

_NS_PER_S: Final = 1_000_000_000
_NAME_RETRY_S: Final = 0.005
_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 1.0


def boot_ns() -> int:
    """Return the boot clock, the one that setpoints' ages are judged by."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Plain:
    """One actor of the comparison: source, relay, sink or idle bystander, as it is told."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Ray awaits it
        self._targets: list[Any] = []
        self._took_ns: list[int] = []

    async def ping(self) -> int:
        """Answer with the pid."""
        return os.getpid()

    async def joined(self) -> None:
        """Never return: the call fails when the process dies."""
        await asyncio.Event().wait()

    async def aim(self, targets: list[Any]) -> None:
        """Be told whom to tell."""
        self._targets = targets

    async def feed(self, hz: float, seconds: float, phase_s: float) -> None:
        """Tell the relay the time, `hz` times a second."""
        loop = asyncio.get_running_loop()
        began = loop.time() + phase_s
        for tick in range(round(hz * seconds)):
            await asyncio.sleep(max(0.0, began + tick / hz - loop.time()))
            for target in self._targets:
                target.relay.remote(boot_ns())

    @ray.method(num_returns=0)
    async def relay(self, origin_ns: int) -> None:
        """Tell every sink."""
        for target in self._targets:
            target.sink.remote(origin_ns)

    @ray.method(num_returns=0)
    async def sink(self, origin_ns: int) -> None:
        """Note how long it took."""
        self._took_ns.append(boot_ns() - origin_ns)

    async def drain(self) -> list[int]:
        """Return what was noted (ns) and forget it."""
        taken, self._took_ns = self._took_ns, []
        return taken


def create(name: str) -> Any:
    """Start one, with the options that Calejo's own workers have. Blocks some ms; ValueError: the name is taken."""
    options: dict[str, Any] = {
        "name": name,
        "lifetime": "detached",
        "num_cpus": 0,
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": 1000,
        "enable_task_events": False,
    }
    return ray.remote(**options)(Plain).remote()


class Crowd:
    """As many bare actors as the tree has processes; those that the chain does not need stand by idle."""

    def __init__(self, count: int) -> None:
        self._handles: list[Any] = []
        self._count = count
        self.pids: list[int] = []

    async def start(self) -> float:
        """Start all at once; return the time (s) until each has answered."""
        began_s = time.monotonic()
        self._handles = [create(f"bare-{index}") for index in range(self._count)]
        async with asyncio.timeout(_PATIENCE_S):
            self.pids = list(await asyncio.gather(*(handle.ping.remote() for handle in self._handles)))
        return time.monotonic() - began_s

    async def chain(
        self, pumps_of_stations: list[int], *, sinks: int, hz: float, seconds: float
    ) -> list[int]:
        """Run sources → one relay a station → sinks, as pumps, safety and endpoints are; return what it took (ns).

        Sources of one station tick together, stations apart, as Calejo's do.
        """
        free = iter(self._handles)
        ends = [next(free) for _ in range(sinks)]
        feeds = []
        for station, pumps in enumerate(pumps_of_stations):
            relay = next(free)
            await relay.aim.remote(ends)
            phase_s = station / len(pumps_of_stations) / hz
            for _ in range(pumps):
                source = next(free)
                await source.aim.remote([relay])
                feeds.append((source, phase_s))
        for end in ends:
            await end.drain.remote()
        async with asyncio.timeout(seconds + _PATIENCE_S):
            await asyncio.gather(*(source.feed.remote(hz, seconds, phase_s) for source, phase_s in feeds))
            await asyncio.sleep(_PAUSE_S)  # what is under way arrives
            drained = await asyncio.gather(*(end.drain.remote() for end in ends))
        return [took for each in drained for took in each]

    async def recoveries(self, times: int) -> list[float]:
        """Kill an actor, create it again at the notice of its death; return the times (s) until it answers again."""
        name = "bare-mortal"
        handle = create(name)
        took = []
        async with asyncio.timeout(times * _PATIENCE_S):
            for _ in range(times):
                pid = await handle.ping.remote()
                notice = handle.joined.remote()
                await asyncio.sleep(_PAUSE_S)  # as long as nothing is measured
                killed_ns = boot_ns()
                os.kill(pid, signal.SIGKILL)
                try:
                    await notice
                except RayActorError:
                    handle = await _create_again(name)
                await handle.ping.remote()
                took.append((boot_ns() - killed_ns) / _NS_PER_S)
        return took


async def _create_again(name: str) -> Any:
    while True:
        try:
            return create(name)
        except (ValueError, ActorAlreadyExistsError):  # the dead one's name is free after some ms
            await asyncio.sleep(_NAME_RETRY_S)
