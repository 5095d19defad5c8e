"""RayRuntime beside a control store that is slow or away: goal: nobody is left behind, nobody is taken for dead."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ray.exceptions import RayError

from actors.start import WorkerStart
from actors.vocabulary import Address, Role, Settings, UnavailableError
from supervisors.on_ray import runtime as on_ray
from supervisors.on_ray.directory import RayDirectory
from supervisors.on_ray.runtime import RayRuntime
from supervisors.process import SystemClock
from supervisors.runtime import HostStats, Life, StartOrder

ONE = Address("/one")


class Call:
    """A method of a handle."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    async def remote(self) -> object:
        return self._answer


def stats(name: Address) -> HostStats:
    return HostStats(
        address=name, incarnation=1, started=True, pid=4711, node_id="n1", rss_mib=1.0, mailbox_depth=0,
        refused=0, expired=0, coalesced=0, handled=0, lost_tells=0,
    )  # fmt: skip


class Handle:
    """An actor: answers at once."""

    def __init__(self, name: Address) -> None:
        self.name = name
        self.start = self.ping = Call(stats(name))


class ControlStore:
    """Who has which name; calls take `delay_s`, and fail while it is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.holders: dict[Address, Handle] = {}
        self.killed: list[Handle] = []
        self.delay_s = 0.0
        self.away = False
        self.go_on = threading.Event()
        self.go_on.set()
        monkeypatch.setattr(on_ray, "_kill_for_good", self.kill)
        monkeypatch.setattr(on_ray, "died", lambda handle: handle in self.killed)
        monkeypatch.setattr("ray.get_actor", self.get_actor)

    def runtime(self) -> RayRuntime:
        runtime = RayRuntime.__new__(RayRuntime)  # without a Ray to ask for this node's id
        runtime._setup = None  # type: ignore[assignment]
        runtime._create = self.create
        runtime._directory = RayDirectory("tests", SystemClock())
        runtime._threads = ThreadPoolExecutor(4)
        runtime._node_id = "n1"
        return runtime

    def create(self, _: object, order: StartOrder) -> Handle:
        name = order.start.address
        if name in self.holders:
            raise ValueError(f"The name {name} is already taken")
        handle = self.holders[name] = Handle(name)
        self.go_on.wait(10.0)  # registered; its answer is late
        return handle

    def kill(self, handle: Handle) -> None:
        if self.away:
            raise RayError("away")
        self.killed.append(handle)
        if self.holders.get(handle.name) is handle:
            del self.holders[handle.name]

    def get_actor(self, name: Address, *, namespace: str) -> Handle:
        time.sleep(self.delay_s)
        if self.away:
            raise RayError("away")
        if name not in self.holders:
            raise ValueError("no such actor")
        return self.holders[name]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> ControlStore:
    return ControlStore(monkeypatch)


def order(address: Address = ONE) -> StartOrder:
    settings = Settings(data_dir="/nowhere")
    return StartOrder(start=WorkerStart(role=Role.PUMP, address=address, settings=settings))


async def until_killed(store: ControlStore, count: int) -> None:
    async with asyncio.timeout(5.0):
        while len(store.killed) < count:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("how", ["deadline", "cancelled"])
def test_who_is_created_after_nobody_waits_any_more_is_killed(store: ControlStore, how: str) -> None:
    """SUP-2: a failed start leaves nothing behind, also when the control store answers late."""

    async def story() -> None:
        runtime = store.runtime()
        store.go_on.clear()
        starting = asyncio.create_task(runtime.start(order(), deadline_s=0.1 if how == "deadline" else 30.0))
        if how == "deadline":
            with pytest.raises(UnavailableError, match=r"not started within 0\.1 s"):
                await starting
        else:
            await asyncio.sleep(0.1)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
        assert list(store.holders) == [ONE]
        assert not store.killed
        store.go_on.set()
        await until_killed(store, 1)
        assert not store.holders
        life, _ = await runtime.start(order(), deadline_s=5.0)
        assert store.holders[ONE] is life.handle

    asyncio.run(story())


def test_a_start_that_is_cancelled_while_its_actor_starts_ends_it(
    store: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SUP-2: a supervisor that stops in the middle of a start leaves nobody."""

    async def story() -> None:
        runtime = store.runtime()
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        class Slow(Call):
            async def remote(self) -> object:
                return await never

        real = store.create

        def create(setup: object, order: StartOrder) -> Handle:
            handle = real(setup, order)
            handle.start = Slow("")
            return handle

        monkeypatch.setattr(runtime, "_create", create)
        starting = asyncio.create_task(runtime.start(order(), deadline_s=30.0))
        async with asyncio.timeout(5.0):
            while not store.holders:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await until_killed(store, 1)

    asyncio.run(story())


def test_whoever_still_has_the_name_makes_room(store: ControlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-2, SUP-8: an actor that nobody knows of does not keep a pump from ever starting again."""
    monkeypatch.setattr(on_ray, "_NAME_PATIENCE_S", 0.1)
    nobodys = store.holders[ONE] = Handle(ONE)

    async def story() -> None:
        life, _ = await store.runtime().start(order(), deadline_s=5.0)
        assert store.killed == [nobodys]
        assert store.holders[ONE] is life.handle

    asyncio.run(story())


def test_one_that_cannot_be_ended_is_said(store: ControlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-3: after the second patience the start fails with the reason; it is not tried within itself for ever."""
    monkeypatch.setattr(on_ray, "_NAME_PATIENCE_S", 0.1)
    monkeypatch.setattr(on_ray, "_kill_for_good", lambda handle: None)
    store.holders[ONE] = Handle(ONE)

    async def story() -> None:
        with pytest.raises(UnavailableError, match="already taken"):
            await store.runtime().start(order(), deadline_s=5.0)

    asyncio.run(story())


def test_waiting_for_the_name_server_is_no_sign_of_death(store: ControlStore) -> None:
    """SUP-4: the deadline counts from when the child is found; a hundred at once are all adopted."""
    addresses = [Address(f"/p{number}") for number in range(100)]
    store.holders = {address: Handle(address) for address in addresses}
    store.delay_s = 0.01

    async def story() -> None:
        runtime = store.runtime()
        found = await asyncio.gather(*(runtime.adopt(address, deadline_s=0.2) for address in addresses))
        assert [each[0].address for each in found if each is not None] == addresses

    asyncio.run(story())


def test_a_name_server_that_is_away_says_nothing_about_who_lives(store: ControlStore) -> None:
    """SUP-4, SUP-8: nobody is killed for it: adopting, looking up for a kill and the kill itself are refused."""
    handle = store.holders[ONE] = Handle(ONE)
    store.away = True

    async def story() -> None:
        runtime = store.runtime()
        with pytest.raises(UnavailableError, match="/one: cannot be looked up"):
            await runtime.adopt(ONE, deadline_s=1.0)
        with pytest.raises(UnavailableError, match="/one: cannot be looked up"):
            await runtime.kill_address(ONE)
        with pytest.raises(UnavailableError, match="does not end an actor"):
            await runtime.kill(Life(ONE, 1, handle))
        assert await runtime._directory.handle_of(ONE) is None, "an ask only hears that nobody is there"
        store.away = False
        await runtime.kill_address(ONE)
        assert store.killed == [handle]
        assert await runtime.adopt(ONE, deadline_s=1.0) is None

    asyncio.run(story())
