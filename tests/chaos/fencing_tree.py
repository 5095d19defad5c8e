"""The real tree of one site, in which the kill of one hung safety actor is suppressed and its successor renamed.

So two safety actors of one station live at the same time, as behind a partition: `SIGCONT` brings back the old one
under its own name, with everything still being told to it. Nothing of the product knows of this: the supervisor gets
another runtime, and the others another directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from actors.runtime import Actor, Clock, Directory, Log, Ports, Ref, Tasks, Timers
from actors.start import WorkerStart
from actors.vocabulary import Address, Role, UnavailableError
from actors.vocabulary.ids import station_part_address
from supervisors import roles
from supervisors.runtime import HostStats, Life, Runtime, StartOrder

SITE_ID: Final = "demo"
STATION_ID: Final = "mill"
VICTIM: Final = station_part_address(SITE_ID, STATION_ID, Role.SAFETY.value)
SUCCESSOR: Final = Address(f"{VICTIM}-successor")


class SparingRuntime(Runtime):
    """Leaves the first incarnation of the victim alive, and starts the next ones under another name."""

    def __init__(self, real: Runtime) -> None:
        self._real = real

    @property
    def directory(self) -> Directory:
        return self._real.directory

    @property
    def run_id(self) -> str:
        return self._real.run_id

    def me(self) -> tuple[int | None, str | None, float | None]:
        return self._real.me()

    async def start(self, order: StartOrder, *, deadline_s: float) -> tuple[Life, HostStats]:
        if order.start.address != VICTIM or order.start.incarnation == 1:
            return await self._real.start(order, deadline_s=deadline_s)
        renamed = msgspec.structs.replace(
            order, start=msgspec.structs.replace(order.start, address=SUCCESSOR)
        )
        life, stats = await self._real.start(renamed, deadline_s=deadline_s)
        return Life(VICTIM, life.incarnation, life.handle, life.pid), stats

    async def adopt(self, address: Address, *, deadline_s: float) -> tuple[Life, HostStats] | None:
        return await self._real.adopt(address, deadline_s=deadline_s)

    async def watch(self, life: Life) -> str:
        return await self._real.watch(life)

    async def ping(self, life: Life, *, deadline_s: float) -> HostStats:
        return await self._real.ping(life, deadline_s=deadline_s)

    def processor_wait_s(self, life: Life) -> float | None:
        return self._real.processor_wait_s(life)

    async def stop(self, life: Life, *, timeout_s: float) -> None:
        await self._real.stop(life, timeout_s=timeout_s)

    async def kill(self, life: Life) -> None:
        if life.address != VICTIM or life.incarnation != 1:
            await self._real.kill(life)

    async def living(self) -> Sequence[Address]:
        return await self._real.living()

    async def kill_address(self, address: Address) -> None:
        await self._real.kill_address(address)


class _Both(Ref):
    """Tells the victim and its successor alike; asks the successor as soon as there is one."""

    def __init__(self, directory: Directory) -> None:
        self._old, self._new = directory.ref(VICTIM), directory.ref(SUCCESSOR)

    @property
    def address(self) -> Address:
        return VICTIM

    async def ask(self, message: object, *, deadline_s: float) -> Any:
        try:
            return await self._new.ask(message, deadline_s=deadline_s / 2)
        except UnavailableError:
            return await self._old.ask(message, deadline_s=deadline_s / 2)

    def tell(self, message: object) -> None:
        self._old.tell(message)
        self._new.tell(message)


class _BothDirectory(Directory):
    def __init__(self, real: Directory) -> None:
        self._real, self._both = real, _Both(real)

    def ref(self, address: Address) -> Ref:
        return self._both if address == VICTIM else self._real.ref(address)


class _PortsWith(Ports):
    """An actor's ports, with another directory."""

    def __init__(self, real: Ports, directory: Directory) -> None:
        self._real, self._directory = real, directory

    @property
    def address(self) -> Address:
        return self._real.address

    @property
    def clock(self) -> Clock:
        return self._real.clock

    @property
    def directory(self) -> Directory:
        return self._directory

    @property
    def timers(self) -> Timers:
        return self._real.timers

    @property
    def log(self) -> Log:
        return self._real.log

    @property
    def tasks(self) -> Tasks:
        return self._real.tasks


def make(ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
    """Make the real actor of a role in these surroundings."""
    if start.role is Role.SUPERVISOR:
        return roles.make(ports, start, SparingRuntime(runtime))
    return roles.make(_PortsWith(ports, _BothDirectory(ports.directory)), start, runtime)
