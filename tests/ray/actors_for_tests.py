"""Plain actors for the contract suite and for supervision tests; importable in Ray workers and in the simulation."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from actors.messages import GetPump, GetStorage, Message, PlansWritten, RoundDue, StopsChanged, Tick
from actors.runtime import Actor, Ports
from actors.start import WorkerStart
from actors.vocabulary import Address, InvalidValueError, RefusedError, Role
from supervisors.runtime import Runtime


class Echo(Message, frozen=True, kw_only=True):
    text: str


class Sleep(Message, frozen=True, kw_only=True):
    """Keeps the actor busy."""

    seconds: float


class Refuse(Message, frozen=True, kw_only=True):
    kind: str = "refused"


class Bug(Message, frozen=True, kw_only=True):
    """Raises what nobody expects."""


class BackgroundBug(Message, frozen=True, kw_only=True):
    """Lets a background task raise."""


class Seen(Message, frozen=True, kw_only=True):
    """Asks for the log of everything handled so far."""


class TellOther(Message, frozen=True, kw_only=True):
    address: str
    text: str


class AskOther(Message, frozen=True, kw_only=True):
    address: str
    deadline_s: float


class Beat(Message, frozen=True, kw_only=True):
    """Starts a timer."""

    period_s: float


class Recorder:
    """Remembers what it handled, in order."""

    def __init__(self, ports: Ports, start: WorkerStart) -> None:
        self._ports = ports
        self._start = start
        self._seen: list[str] = []

    async def start(self) -> None:
        if self._start.station_id == "fails-to-start":
            raise InvalidValueError("told not to start")

    async def handle(self, message: object) -> Any:
        name = type(message).__name__
        match message:
            case Echo(text=text):
                self._seen.append(text)
                return f"echo {text}"
            case Sleep(seconds=seconds):
                self._seen.append(name)
                await self._ports.clock.sleep(seconds)
                return "slept"
            case Refuse(kind=kind):
                raise RefusedError("not now", kind)
            case Bug():
                raise ZeroDivisionError("a bug")
            case BackgroundBug():
                self._ports.tasks.spawn(self._fail(), name="failing")
                return "spawned"
            case Seen():
                return tuple(self._seen)
            case TellOther(address=address, text=text):
                self._ports.directory.ref(Address(address)).tell(Echo(text=text))
                return "told"
            case AskOther(address=address, deadline_s=deadline_s):
                return await self._ports.directory.ref(Address(address)).ask(Seen(), deadline_s=deadline_s)
            case Beat(period_s=period_s):
                self._ports.timers.every(period_s, Tick(what="beat"))
                self._ports.timers.after(period_s, Echo(text="once"))
                return "beating"
            case Tick() | RoundDue() | PlansWritten() | StopsChanged() | GetPump() | GetStorage():
                self._seen.append(name)
                return name
            case _:
                self._seen.append(name)
                return None

    async def stop(self) -> None:
        await asyncio.sleep(0)

    async def _fail(self) -> None:
        await self._ports.clock.sleep(0.01)
        raise ZeroDivisionError("a bug in the background")


def make(ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
    if start.role is Role.SUPERVISOR:
        from tests.ray.tree_for_tests import make_supervisor

        return make_supervisor(ports, start, runtime)
    return Recorder(ports, start)


class Ignored(msgspec.Struct):
    """Nothing of ours: an unknown message."""
