"""SimRuntime: the whole tree in one process, in virtual time, with every fault on call and a seed that replays it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from actors.runtime import Clock, Directory
from actors.vocabulary import Address, CalejoError, Instant
from supervisors.envelope import Answer, unanswered, unconfirmed
from supervisors.host import Host, Surroundings
from supervisors.runtime import HostStats, Life, MakeActor, Runtime, StartOrder
from supervisors.simulated.network import NetworkFaults, SimNetwork
from supervisors.simulated.ports import SimClock, SimDirectory, SimLog, SimProcess, SimRuntimeView
from supervisors.simulated.virtual_loop import VirtualLoop

R = TypeVar("R")

_NS_PER_S: Final = 1_000_000_000
# The simulated machine booted a day before the scenario begins, at a round moment.
_BOOT_NS_START: Final = 86_400 * _NS_PER_S
_UTC_NS_START: Final = 1_767_225_600 * _NS_PER_S  # 2026-01-01T00:00:00Z
# As measured on Ray: a death is noticed within some 10 ms, a worker starts in about half a second.
DEATH_NOTICE_S: Final = 0.010
START_S: Final = 0.45
_TRACE_TAIL: Final = 2000


class SimRuntime(Runtime):
    """One seeded world. `make` builds every actor; faults are methods. Use it inside `simulate`."""

    def __init__(
        self, seed: int, make: MakeActor, *, faults: NetworkFaults | None = None, start_s: float = START_S
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "SimRuntime lives inside simulate()"
        self._loop = loop
        self._seed = seed
        self._make = make
        self._start_s = start_s
        self.network = SimNetwork(seed, NetworkFaults() if faults is None else faults)
        self._names: dict[Address, SimProcess] = {}
        self._all: list[SimProcess] = []
        self._utc_step_ns = 0
        self._now_at_s = -1.0
        self._now = Instant("sim-boot", _BOOT_NS_START, _UTC_NS_START)
        self._hash = hashlib.sha256()
        self.tail: deque[str] = deque(maxlen=_TRACE_TAIL)
        self.errors: list[tuple[Address, str, dict[str, object]]] = []
        self._kill_suppressed: set[SimProcess] = set()
        self._starving: dict[SimProcess, Instant] = {}
        self._closed = False
        self._outside = Address("outside")
        self.clock: Clock = SimClock(self, f"outside:{seed}")

    # ------------------------------------------------------------------ time and trace

    def now(self) -> Instant:
        """Return the virtual moment."""
        elapsed_s = self._loop.time()
        if elapsed_s != self._now_at_s:  # many ask at one moment
            elapsed_ns = round(elapsed_s * _NS_PER_S)
            utc_ns = _UTC_NS_START + elapsed_ns + self._utc_step_ns
            self._now_at_s, self._now = elapsed_s, Instant("sim-boot", _BOOT_NS_START + elapsed_ns, utc_ns)
        return self._now

    @property
    def elapsed_s(self) -> float:
        """Return the virtual seconds since the world began."""
        return self._loop.time()

    def step_utc(self, seconds: float) -> None:
        """Step the wall clock; the boot clock does not notice."""
        self._utc_step_ns += round(seconds * _NS_PER_S)
        self._now_at_s = -1.0
        self.record("step_utc", self._outside, str(seconds), {})

    def record(self, kind: str, address: Address, what: str, fields: dict[str, object]) -> None:
        """Add one event to the trace that `trace_hash` proves."""
        told = repr(sorted(fields.items())) if fields else "[]"
        line = f"{self._loop.time():.9f} {kind} {address} {what} {told}"
        self._hash.update(line.encode())
        self.tail.append(line)

    def trace_hash(self) -> str:
        """Return the hash of every event so far: equal for equal seeds and scenarios."""
        return self._hash.hexdigest()

    # ------------------------------------------------------------------ messages

    @property
    def directory(self) -> Directory:
        """References for the scenario itself."""
        return SimDirectory(self, self._outside)

    def directory_as(self, address: Address) -> Directory:
        """References that send in the name of `address` (an outside client that partitions may cut off)."""
        return SimDirectory(self, address)

    def tell(self, source: SimProcess | Address, target: Address, message: object) -> None:
        """Carry a tell; what is lost is counted at the sender."""
        sender = source if isinstance(source, SimProcess) else None
        if sender is not None and sender.dead:
            return
        origin = source.address if isinstance(source, SimProcess) else source
        copies = 0 if self.network.cut(origin, target) else self.network.copies()
        self.record("tell", origin, f"{target} {type(message).__name__} x{copies}", {})
        if copies == 0 and sender is not None:
            sender.lost_tells += 1
        for _ in range(copies):
            delay_s = self.network.delay_s()
            self.network.arrives(origin, target, self._loop.time() + delay_s)
            self._loop.neutral(delay_s, self._deliver, sender, origin, target, message)

    def _deliver(self, sender: SimProcess | None, origin: Address, target: Address, message: object) -> None:
        process = self._names.get(target)
        if process is None or process.dead or process.host is None or self.network.cut(origin, target):
            if sender is not None:
                sender.lost_tells += 1
            return
        self._loop.call_soon(process.host.tell, message, context=process.cell.context)

    async def request(
        self,
        source: SimProcess | Address,
        target: Address | SimProcess,
        serve: Callable[[Host], Awaitable[object]],
        *,
        name: str,
        deadline_s: float,
    ) -> Any:
        """Carry a request and its answer.

        Raises:
            CalejoError: the answer, or `UnavailableError` when none came within `deadline_s`.

        """
        origin = source.address if isinstance(source, SimProcess) else source
        address = target.address if isinstance(target, SimProcess) else target
        self.record("ask", origin, f"{address} {name}", {})
        reply: asyncio.Future[Answer] = self._loop.create_future()
        self._loop.neutral(self.network.delay_s(), self._serve, origin, target, serve, reply)
        late: list[Answer] = []

        def give_up() -> None:
            # Also over an answer that has come, but not to its asker yet: whoever hung learns of both at once.
            late.append(Answer(error=unconfirmed(address, f"no answer to {name} within {deadline_s} s")))
            if not reply.done():
                reply.set_result(late[0])

        patience = self._loop.call_later(deadline_s, give_up)
        try:
            answer = await reply
        finally:
            patience.cancel()
        return (late[0] if late else answer).unwrap()

    def _serve(
        self,
        origin: Address,
        target: Address | SimProcess,
        serve: Callable[[Host], Awaitable[object]],
        reply: asyncio.Future[Answer],
    ) -> None:
        address = target.address if isinstance(target, SimProcess) else target
        if self.network.cut(origin, address):
            return
        process = target if isinstance(target, SimProcess) else self._names.get(target)
        if process is None or process.dead or process.host is None:
            self._settle(DEATH_NOTICE_S, reply, Answer(error=unanswered(address, "no such actor")))
            return
        process.pending.add(reply)
        self._loop.create_task(self._answer(origin, process, serve, reply), context=process.cell.context)

    async def _answer(
        self,
        origin: Address,
        process: SimProcess,
        serve: Callable[[Host], Awaitable[object]],
        reply: asyncio.Future[Answer],
    ) -> None:
        assert process.host is not None
        value = await serve(process.host)
        answer = value if isinstance(value, Answer) else Answer(value=value)
        process.pending.discard(reply)
        if not self.network.cut(origin, process.address):
            self._settle(self.network.delay_s(), reply, answer)

    def _settle(self, delay_s: float, reply: asyncio.Future[Answer], answer: Answer) -> None:
        self._loop.neutral(delay_s, lambda: None if reply.done() else reply.set_result(answer))

    # ------------------------------------------------------------------ faults

    def process(self, address: Address) -> SimProcess:
        """Return the present incarnation at `address` (a fault wants a victim).

        Raises:
            UnavailableError: nobody lives there.

        """
        process = self._names.get(address)
        if process is None or process.dead:
            raise unanswered(address, "no such actor")
        return process

    def crash(self, victim: Address | Life, reason: str = "killed", *, for_good: bool = False) -> None:
        """SIGKILL: gone at once, in the middle of whatever it did (`for_good`: also the root stays away)."""
        process = self._incarnation(victim)
        if for_good:
            process.immortal_order = None
        self._end(process, reason)

    def hang(self, address: Address) -> None:
        """SIGSTOP: runs nothing, still receives."""
        process = self.process(address)
        process.cell.frozen = True
        self.record("hang", address, str(process.incarnation), {})

    def starve(self, address: Address) -> None:
        """Give it no processor until `resume`: it runs nothing, and waits for one all the time."""
        process = self.process(address)
        process.cell.frozen = True
        self._starving[process] = self.now()
        self.record("starve", address, str(process.incarnation), {})

    def resume(self, victim: Address | Life) -> None:
        """SIGCONT: goes on where it was (a `Life` names a predecessor that was never killed)."""
        process = self._incarnation(victim)
        self._starving.pop(process, None)
        if not process.dead:
            self.record("resume", process.address, str(process.incarnation), {})
            process.cell.thaw(self._loop)

    def suppress_kill(self, victim: Address | Life) -> None:
        """Let kills of this incarnation free its name but not end it: its successor finds it living (SAF-11)."""
        self._kill_suppressed.add(self._incarnation(victim))

    def _incarnation(self, victim: Address | Life) -> SimProcess:
        if isinstance(victim, Life):
            process: SimProcess = victim.handle
            return process
        return self.process(victim)

    def life(self, address: Address) -> Life:
        """Return the present incarnation as supervisors know it."""
        process = self.process(address)
        return Life(address, process.incarnation, process)

    def is_alive(self, address: Address) -> bool:
        """Whether somebody lives there (hung or not)."""
        return (process := self._names.get(address)) is not None and not process.dead

    def is_running(self, address: Address) -> bool:
        """Whether somebody lives there, has started and is not hung."""
        if not self.is_alive(address):
            return False
        process = self._names[address]
        return not process.cell.frozen and process.host is not None and not process.host.starting

    def hosted(self, address: Address) -> Any:
        """Return the plain actor at `address`: a scenario may look inside."""
        host = self.process(address).host
        assert host is not None
        return host.hosted

    def _end(self, process: SimProcess, reason: str) -> None:
        if process.dead or self._closed:
            return
        self.record("end", process.address, f"{process.incarnation} {reason}", {})
        process.dead = True
        process.end_reason = reason
        process.cell.frozen = True
        if self._names.get(process.address) is process:
            del self._names[process.address]
        for watcher in process.watchers:
            self._loop.neutral(DEATH_NOTICE_S, _set, watcher, reason)
        for reply in tuple(process.pending):
            self._settle(DEATH_NOTICE_S, reply, Answer(error=unanswered(process.address, "died")))
        process.pending.clear()
        order = process.immortal_order
        if order is not None and reason:
            self._loop.neutral(self._start_s, self._start_again, order)

    def _start_again(self, order: StartOrder) -> None:
        if not self._closed and order.start.address not in self._names:
            process = self._spawn(order)
            self._loop.create_task(self._bring_up(process, None), context=process.cell.context)

    # ------------------------------------------------------------------ Runtime

    @property
    def run_id(self) -> str:
        """The seed names the run."""
        return f"sim-{self._seed}"

    def me(self) -> tuple[int | None, str | None, float | None]:
        """Return the identity of the scenario itself: none."""
        return None, "sim", None

    def _spawn(self, order: StartOrder) -> SimProcess:
        start = order.start
        process = SimProcess(start.address, start.incarnation, pid=1000 + len(self._all))
        process.immortal_order = order if order.immortal else None
        around = Surroundings(
            clock=SimClock(self, f"{self._seed}:{start.address}:{start.incarnation}:{process.pid}"),
            directory=SimDirectory(self, process),
            log=SimLog(self, start.address),
            me=lambda: (process.pid, "sim", 0.0),
            lost_tells=lambda: process.lost_tells,
            ended=lambda reason: self._end(process, reason),
        )
        view = SimRuntimeView(self, process)
        process.host = Host(order, lambda ports: self._make(ports, start, view), around)
        self._names[start.address] = process
        self._all.append(process)
        self.record("spawn", start.address, str(start.incarnation), {})
        return process

    async def _bring_up(self, process: SimProcess, done: asyncio.Future[str] | None) -> None:
        assert process.host is not None
        why = ""
        try:
            await process.host.start()
        except Exception as error:  # noqa: BLE001  a start may fail in any way; its supervisor is told
            why = repr(error)
        if done is not None:
            self._loop.neutral(0.0, _set, done, why)
        elif why:
            self._end(process, why)

    async def start(self, order: StartOrder, *, deadline_s: float) -> tuple[Life, HostStats]:
        """Start an actor after a worker's start-up time (see `Runtime.start`)."""
        address = order.start.address
        if self.is_alive(address):
            raise unanswered(address, "the name is taken")
        process = self._spawn(order)
        done: asyncio.Future[str] = self._loop.create_future()
        process.watchers.append(done)

        def begin() -> None:
            if not process.dead:
                self._loop.create_task(self._bring_up(process, done), context=process.cell.context)

        self._loop.neutral(self._start_s, begin)
        try:
            async with asyncio.timeout(deadline_s):
                why = await done
        except TimeoutError:
            why = f"not started within {deadline_s} s"
        if why or process.dead:
            process.immortal_order = None
            self._end(process, why or "killed")
            raise unanswered(address, f"start failed: {why or process.end_reason}")
        process.watchers.remove(done)
        assert process.host is not None
        return Life(address, process.incarnation, process), process.host.stats()

    async def adopt(self, address: Address, *, deadline_s: float) -> tuple[Life, HostStats] | None:
        """Return the living actor of that name if it answers as started."""
        return await self.adopt_from(self._outside, address, deadline_s=deadline_s)

    async def adopt_from(
        self, source: SimProcess | Address, address: Address, *, deadline_s: float
    ) -> tuple[Life, HostStats] | None:
        """Adopt in the name of `source`."""
        process = self._names.get(address)
        if process is None or process.dead:
            return None
        life = Life(address, process.incarnation, process)
        try:
            stats = await self.ping_from(source, life, deadline_s=deadline_s)
        except CalejoError:
            return None
        return (life, stats) if stats.started else None

    async def watch(self, life: Life) -> str:
        """Return when `life` has ended, about 10 ms later."""
        process: SimProcess = life.handle
        watcher: asyncio.Future[str] = self._loop.create_future()
        if process.dead:
            self._loop.neutral(DEATH_NOTICE_S, _set, watcher, process.end_reason)
        else:
            process.watchers.append(watcher)
        try:
            return await watcher
        finally:
            if watcher in process.watchers:
                process.watchers.remove(watcher)

    async def ping(self, life: Life, *, deadline_s: float) -> HostStats:
        """Ask for a sign of life."""
        return await self.ping_from(self._outside, life, deadline_s=deadline_s)

    async def ping_from(self, source: SimProcess | Address, life: Life, *, deadline_s: float) -> HostStats:
        """Ping in the name of `source`."""
        answer = await self.request(
            source, life.handle, lambda host: host.ping(), name="ping", deadline_s=deadline_s
        )
        assert isinstance(answer, HostStats)
        return answer

    def processor_wait_s(self, life: Life) -> float | None:
        """Return how long it has waited for a processor: 0 unless a scenario lets it starve."""
        since = self._starving.get(life.handle)
        return 0.0 if since is None else self.now().seconds_since(since)

    async def stop(self, life: Life, *, timeout_s: float) -> None:
        """End it in order, by force after `timeout_s`."""
        process: SimProcess = life.handle
        process.immortal_order = None
        try:
            await self.request(
                self._outside, process, lambda host: host.stop(), name="stop", deadline_s=timeout_s
            )
        except CalejoError:
            await self.kill(life)

    async def kill(self, life: Life) -> None:
        """End it by force, unless a scenario suppresses that."""
        process: SimProcess = life.handle
        if process in self._kill_suppressed:
            if self._names.get(process.address) is process:
                del self._names[process.address]
            self.record("kill_suppressed", process.address, str(process.incarnation), {})
            return
        self._end(process, "killed")

    async def living(self) -> Sequence[Address]:
        """Return the addresses of all actors alive."""
        return [address for address, process in self._names.items() if not process.dead]

    async def kill_address(self, address: Address) -> None:
        """End whoever lives there."""
        if self.is_alive(address):
            await self.kill(self.life(address))

    async def close(self) -> None:
        """End the world: every task of every process, dead ones included, is cancelled and awaited."""
        self._closed = True
        tasks = [task for process in self._all for task in process.cell.tasks]
        for process in self._all:
            process.dead = True
            process.cell.thaw(self._loop)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _set(future: asyncio.Future[str], value: str) -> None:
    if not future.done():
        future.set_result(value)


def simulate(
    seed: int,
    make: MakeActor,
    scenario: Callable[[SimRuntime], Coroutine[Any, Any, R]],
    *,
    faults: NetworkFaults | None = None,
    start_s: float = START_S,
) -> R:
    """Run `scenario` in a fresh world and end the world; takes no real time beyond the computing."""

    async def run() -> R:
        world = SimRuntime(seed, make, faults=faults, start_s=start_s)
        try:
            return await scenario(world)
        finally:
            await world.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())
