"""The ports an actor sees; two runtimes (Ray, simulation) stand behind them, and no actor knows which.

An actor is a plain class:

- `async def handle(self, message) -> object`: one message at a time, one `match` closed by `assert_never`; no
  `await` between reading and replacing state. A `CallerError`/`DeviceError` raised here goes back to an asker;
  anything else is a bug: the host ends the process and the supervisor acts.
- optional `async def start(self)` before the first message and `async def stop(self)` at an ordered end.

The host handles liveness, mailbox bounds, the urgent lane and coalescing (`actors.messages` holds those tables).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, runtime_checkable

from actors.vocabulary import Address, Instant


class Clock(Protocol):
    """Time and randomness as an actor may have them."""

    def now(self) -> Instant:
        """Return this moment on this machine's boot clock and in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass (virtual in simulation)."""
        ...

    def random(self) -> float:
        """Return a float in [0, 1) (seeded in simulation)."""
        ...


class Ref(Protocol):
    """Another actor, by address; resolved anew after its death, so it may be kept for ever."""

    @property
    def address(self) -> Address:
        """Where it lives."""
        ...

    async def ask(self, message: object, *, deadline_s: float) -> Any:
        """Send and wait for the answer.

        Raises:
            UnavailableError: no such actor now, its mailbox is full, or the deadline passed before its turn.
            UnansweredError: it was sent, and no answer came within `deadline_s`: it may have been carried out.
            CallerError: the actor refused; the text says why.
            DeviceError: something outside failed at the actor.

        """
        ...

    def tell(self, message: object) -> None:
        """Send and forget: never blocks, never raises; what is lost or refused is counted at both ends (SUP-3)."""
        ...


class Directory(Protocol):
    """Finds actors by address."""

    def ref(self, address: Address) -> Ref:
        """Return the reference for `address`; the actor need not exist yet."""
        ...


class Timers(Protocol):
    """Messages to oneself, through one's own mailbox."""

    def every(self, period_s: float, message: object, *, first_after_s: float | None = None) -> None:
        """Deliver `message` every `period_s`; a beat that finds its predecessor still waiting coalesces with it."""
        ...

    def after(self, delay_s: float, message: object) -> None:
        """Deliver `message` once."""
        ...

    def deliver(self, message: object) -> None:
        """Deliver `message` now, behind what already waits (thread-unsafe: only from this actor's own loop)."""
        ...


class Log(Protocol):
    """Structured log: a constant event name and fields. Never a secret in a field."""

    def info(self, event: str, **fields: object) -> None:
        """Something a person may want to know."""
        ...

    def warning(self, event: str, **fields: object) -> None:
        """Something that is not as it should be."""
        ...

    def error(self, event: str, **fields: object) -> None:
        """Something that somebody must look at."""
        ...


class Tasks(Protocol):
    """Background coroutines an actor's shell owns (servers, followers); one that raises ends the actor."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Callable[[], None]:
        """Run it until it ends or the actor stops; return a function that cancels it."""
        ...


class Ports(Protocol):
    """All that the runtime gives an actor, handed to its constructor."""

    @property
    def address(self) -> Address:
        """The actor's own address."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def directory(self) -> Directory:
        """Other actors."""
        ...

    @property
    def timers(self) -> Timers:
        """Messages to itself."""
        ...

    @property
    def log(self) -> Log:
        """Its log."""
        ...

    @property
    def tasks(self) -> Tasks:
        """Its background work."""
        ...


@runtime_checkable
class Actor(Protocol):
    """What every role's class looks like to its host. Optional: `async start()`, `async stop()`."""

    async def handle(self, message: Any) -> Any:
        """Take one message of the role's inbox union; the return value answers an ask."""
        ...
