"""What one simulated process has: its cell, its clock, its log, its references, its view of the runtime."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from actors.runtime import Clock, Directory, Log, Ref
from actors.vocabulary import Address, Instant
from supervisors.envelope import Answer, Deadline
from supervisors.host import Host
from supervisors.runtime import HostStats, Life, Runtime, StartOrder
from supervisors.simulated.virtual_loop import Cell

if TYPE_CHECKING:
    from supervisors.simulated.runtime import SimRuntime


class SimProcess:
    """One incarnation of one actor in its cell."""

    def __init__(self, address: Address, incarnation: int, pid: int) -> None:
        self.address = address
        self.incarnation = incarnation
        self.pid = pid
        self.cell = Cell(address)
        self.host: Host | None = None
        self.dead = False
        self.end_reason = ""
        self.lost_tells = 0
        self.immortal_order: StartOrder | None = None
        self.watchers: list[asyncio.Future[str]] = []
        self.pending: set[asyncio.Future[Answer]] = set()


class SimClock(Clock):
    """Virtual time; UTC can be stepped, the boot clock cannot."""

    def __init__(self, simulation: SimRuntime, stream: str) -> None:
        self._simulation = simulation
        self._random = random.Random(stream)  # noqa: S311  repeatable on purpose

    def now(self) -> Instant:
        """Return the virtual moment."""
        return self._simulation.now()

    async def sleep(self, seconds: float) -> None:
        """Let virtual seconds pass."""
        await asyncio.sleep(max(0.0, seconds))

    def random(self) -> float:
        """Return the next of this actor's own seeded stream."""
        return self._random.random()


class SimLog(Log):
    """Writes an actor's log into the trace."""

    def __init__(self, simulation: SimRuntime, address: Address) -> None:
        self._simulation = simulation
        self._address = address

    def info(self, event: str, **fields: object) -> None:
        """Something a person may want to know."""
        self._simulation.record("info", self._address, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something that is not as it should be."""
        self._simulation.record("warning", self._address, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something that somebody must look at (its traceback holds paths, so it stays out of the trace)."""
        kept = {name: value for name, value in fields.items() if name != "traceback"}
        self._simulation.record("error", self._address, event, kept)
        self._simulation.errors.append((self._address, event, dict(fields)))


class SimRef(Ref):
    """Another actor as seen from `source`; a process that is no longer alive sends nothing."""

    def __init__(self, simulation: SimRuntime, source: SimProcess | Address, target: Address) -> None:
        self._simulation = simulation
        self._source = source
        self._target = target

    @property
    def address(self) -> Address:
        """Where it lives."""
        return self._target

    async def ask(self, message: object, *, deadline_s: float) -> Any:
        """Send and wait for the answer (see `actors.runtime.Ref`)."""
        deadline = Deadline.after(self._simulation.now(), deadline_s)
        return await self._simulation.request(
            self._source,
            self._target,
            lambda host: host.ask(message, deadline),
            name=type(message).__name__,
            deadline_s=deadline_s,
        )

    def tell(self, message: object) -> None:
        """Send and forget."""
        self._simulation.tell(self._source, self._target, message)


class SimDirectory(Directory):
    """Hands out references that send in the name of `source`."""

    def __init__(self, simulation: SimRuntime, source: SimProcess | Address) -> None:
        self._simulation = simulation
        self._source = source

    def ref(self, address: Address) -> Ref:
        """Return the reference for `address`; the actor need not exist yet."""
        return SimRef(self._simulation, self._source, address)


class SimRuntimeView(Runtime):
    """The runtime as one simulated process sees it: what it sends, partitions may cut."""

    def __init__(self, simulation: SimRuntime, process: SimProcess) -> None:
        self._simulation = simulation
        self._process = process
        self._directory = SimDirectory(simulation, process)

    @property
    def directory(self) -> Directory:
        """Finds actors by address."""
        return self._directory

    @property
    def run_id(self) -> str:
        """The seed names the run."""
        return self._simulation.run_id

    def me(self) -> tuple[int | None, str | None, float | None]:
        """Return this process's identity."""
        return self._process.pid, "sim", 0.0

    async def start(self, order: StartOrder, *, deadline_s: float) -> tuple[Life, HostStats]:
        """Start an actor."""
        return await self._simulation.start(order, deadline_s=deadline_s)

    async def adopt(self, address: Address, *, deadline_s: float) -> tuple[Life, HostStats] | None:
        """Return the living actor of that name if it answers as started."""
        return await self._simulation.adopt_from(self._process, address, deadline_s=deadline_s)

    async def watch(self, life: Life) -> str:
        """Return when `life` has ended."""
        return await self._simulation.watch(life)

    async def ping(self, life: Life, *, deadline_s: float) -> HostStats:
        """Ask for a sign of life."""
        return await self._simulation.ping_from(self._process, life, deadline_s=deadline_s)

    def processor_wait_s(self, life: Life) -> float | None:
        """Return how long it has waited for a processor."""
        return self._simulation.processor_wait_s(life)

    async def stop(self, life: Life, *, timeout_s: float) -> None:
        """End it in order."""
        await self._simulation.stop(life, timeout_s=timeout_s)

    async def kill(self, life: Life) -> None:
        """End it by force."""
        await self._simulation.kill(life)

    async def living(self) -> Sequence[Address]:
        """Return the addresses of all actors alive."""
        return await self._simulation.living()

    async def kill_address(self, address: Address) -> None:
        """End whoever lives there by force."""
        await self._simulation.kill_address(address)
