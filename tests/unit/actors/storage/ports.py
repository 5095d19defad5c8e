"""Ports in real asyncio with a clock that only moves when somebody sleeps: for one actor at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from actors.vocabulary import Address, Instant

START = Instant("boot", 1_000_000_000_000, 1_780_315_200_000_000_000)


class FakeClock:
    """Sleeping is what moves time."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> Instant:
        return self.at

    async def sleep(self, seconds: float) -> None:
        until = self.at.plus(seconds)
        await asyncio.sleep(0)
        if until.boot_ns > self.at.boot_ns:
            self.at = until

    def random(self) -> float:
        return 0.5


class FakeRef:
    """Keeps what it is told; answers an ask by a function that the test sets."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.told: list[Any] = []
        self.answer: Callable[[Any], Any] = lambda _: None

    async def ask(self, message: object, *, deadline_s: float) -> Any:
        await asyncio.sleep(0)
        return self.answer(message)

    def tell(self, message: object) -> None:
        self.told.append(message)


class FakeDirectory:
    def __init__(self) -> None:
        self.refs: dict[Address, FakeRef] = {}

    def ref(self, address: Address) -> FakeRef:
        return self.refs.setdefault(address, FakeRef(address))


class FakeTimers:
    """Remembers what was ordered; the test delivers."""

    def __init__(self) -> None:
        self.ordered: list[tuple[float, Any]] = []

    def every(self, period_s: float, message: object, *, first_after_s: float | None = None) -> None:
        self.ordered.append((period_s, message))

    def after(self, delay_s: float, message: object) -> None:
        self.ordered.append((delay_s, message))

    def deliver(self, message: object) -> None:
        self.ordered.append((0.0, message))


class FakeLog:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    warning = info
    error = info


class FakeTasks:
    """Runs coroutines as tasks; `settle` raises what one of them raised."""

    def __init__(self) -> None:
        self.running: list[asyncio.Task[None]] = []

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Callable[[], None]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.running.append(task)

        def cancel() -> None:
            task.cancel()

        return cancel

    async def settle(self, until: Callable[[], bool], *, steps_max: int = 10_000) -> None:
        for _ in range(steps_max):
            for task in self.running:
                if task.done() and not task.cancelled() and (error := task.exception()):
                    raise error
            if until():
                return
            await asyncio.sleep(0)
        raise AssertionError("it never came to that")

    async def end(self) -> None:
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)


class FakePorts:
    def __init__(self, address: str = "/test") -> None:
        self.address = Address(address)
        self.clock = FakeClock()
        self.directory = FakeDirectory()
        self.timers = FakeTimers()
        self.log = FakeLog()
        self.tasks = FakeTasks()
