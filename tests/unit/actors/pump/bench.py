"""A bench for one actor: virtual time, its mailbox, and everything it says to others written down."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from actors.messages import Message
from actors.runtime import Ref
from actors.start import WorkerStart
from actors.vocabulary import Address, Instant, Role, Settings, SiteConfig, StationConfig, UnavailableError
from tests.unit.actors.pump.parts import instant


class OnBench(Protocol):
    async def start(self) -> None: ...

    async def handle(self, message: Any) -> Any: ...


class Bench:
    """All ports in one. `told` holds (seconds, address, message); `answers` maps an address to who answers asks."""

    def __init__(self, address: str = "/bench") -> None:
        self.address = Address(address)
        self.t_s = 0.0
        self.told: list[tuple[float, str, Any]] = []
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.logged: list[str] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._mailbox: list[Any] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._actor: OnBench | None = None

    # -- the ports -----------------------------------------------------------------------------------------

    @property
    def clock(self) -> Bench:
        return self

    @property
    def directory(self) -> Bench:
        return self

    @property
    def timers(self) -> Bench:
        return self

    @property
    def tasks(self) -> Bench:
        return self

    @property
    def log(self) -> Bench:
        return self

    def now(self) -> Instant:
        return instant(self.t_s)

    def random(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._at(self.t_s + seconds, lambda: None if woken.done() else woken.set_result(None))
        await woken

    def ref(self, address: Address) -> Ref:
        return _BenchRef(self, address)

    def every(self, period_s: float, message: object, *, first_after_s: float | None = None) -> None:
        def beat() -> None:
            self.deliver(message)
            self._at(self.t_s + period_s, beat)

        self._at(self.t_s + (period_s if first_after_s is None else first_after_s), beat)

    def after(self, delay_s: float, message: object) -> None:
        self._at(self.t_s + delay_s, lambda: self.deliver(message))

    def deliver(self, message: object) -> None:
        self._mailbox.append(message)

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Callable[[], None]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)

        def cancel() -> None:
            task.cancel()

        return cancel

    def info(self, event: str, **fields: object) -> None:
        self.logged.append(event)

    def warning(self, event: str, **fields: object) -> None:
        self.logged.append(event)

    def error(self, event: str, **fields: object) -> None:
        self.logged.append(event)

    # -- what a test does ----------------------------------------------------------------------------------

    async def run(self, actor: OnBench) -> None:
        """Start the actor and let everything that is due now happen."""
        self._actor = actor
        await actor.start()
        await self.until(self.t_s)

    async def until(self, t_s: float) -> None:
        """Let time pass to `t_s`, event by event."""
        await self._settle()
        while self._events and self._events[0][0] <= t_s:
            self.t_s, _, event = heapq.heappop(self._events)
            event()
            await self._settle()
        self.t_s = t_s

    async def give(self, message: object) -> Any:
        """Hand the actor a message and return its answer."""
        assert self._actor is not None
        answer = await self._actor.handle(message)
        await self._settle()
        return answer

    def heard(self, kind: type[Message], *, to: str = "", since_s: float = -1.0) -> list[Any]:
        """Return every message of `kind` told since, to an address that ends with `to`."""
        return [
            message
            for t_s, address, message in self.told
            if isinstance(message, kind) and address.endswith(to) and t_s >= since_s
        ]

    def close(self) -> None:
        """End what still runs in the background."""
        for task in self._tasks:
            task.cancel()

    def _at(self, t_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (t_s, next(self._numbers), event))

    async def _settle(self) -> None:
        """Let tasks run and the mailbox empty itself; a task that raised fails the test."""
        for _ in range(20):
            await asyncio.sleep(0)
            while self._mailbox:
                assert self._actor is not None
                await self._actor.handle(self._mailbox.pop(0))
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            if not task.cancelled():
                task.result()


class _BenchRef:
    def __init__(self, bench: Bench, address: Address) -> None:
        self._bench = bench
        self.address = address

    def tell(self, message: object) -> None:
        self._bench.told.append((self._bench.t_s, self.address, message))

    async def ask(self, message: object, *, deadline_s: float) -> Any:
        self.tell(message)
        answer = self._bench.answers.get(self.address)
        if answer is None:
            raise UnavailableError(f"{self.address}: nobody there")
        return answer(message)


def worker_start(role: Role, station: StationConfig, *, pump_id: str | None = None) -> WorkerStart:
    """Start arguments of one of `station`'s actors at site `north`."""
    site = SiteConfig(site_id="north", name="North", timezone="UTC", stations=(station,))
    return WorkerStart(
        role=role,
        address=Address("/bench"),
        settings=Settings(data_dir="unused"),
        site=site,
        station_id=station.station_id,
        pump_id=pump_id,
    )


def station_of(*pumps: Any) -> StationConfig:
    return StationConfig(
        station_id="st-1", site_id="north", name="Station 1", timezone="UTC", modbus_unit_id=1, pumps=pumps
    )
