"""Fakes behind the ports of actors: an endpoint server, the local stores, and quiet ports with a hand-moved clock.

They keep what they are told and can be made to refuse. The stores are what survives a crash of an actor: hand the
same one to its successor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from actors.messages import Epoch, Stored, StoreRecords
from actors.safety.latch import LatchSet, is_cleared
from actors.stores import StoredMode
from actors.vocabulary import Address, DeviceError, Instant, WriteRefusal
from actors.vocabulary.durable import PumpSeen, StationMemory
from actors.vocabulary.ids import STORAGE
from actors.vocabulary.records import StopEventRecord
from protocols.endpoint import ClientNews, ClientWrite, Refresh, WriteGuard
from protocols.points import Access, Point, PointValue


class FakeEndpointServer:
    """A protocol server in memory: `read` and `write` are the client's side; silent while not open."""

    def __init__(self, *, bound: str = "fake:0", port_taken: bool = False) -> None:
        self._name = bound
        self.port_taken = port_taken
        self.points: dict[str, Point] = {}
        self.values: dict[str, PointValue] = {}
        self.publications = 0
        self._open: tuple[WriteGuard, Refresh, ClientNews] | None = None

    async def configure(self, points: Sequence[Point]) -> None:
        """Serve these points; those that stay keep their values."""
        self.points = {point.path: point for point in points}
        self.values = {path: value for path, value in self.values.items() if path in self.points}

    def publish(self, values: Mapping[str, PointValue]) -> None:
        """Take values at once; an unknown path is a bug."""
        unknown = values.keys() - self.points.keys()
        assert not unknown, f"published but not configured: {sorted(unknown)}"
        self.values.update(values)
        self.publications += 1

    async def open(self, *, guard: WriteGuard, refresh: Refresh, news: ClientNews) -> None:
        """Listen, unless the port is taken."""
        if self.port_taken:
            raise DeviceError(f"{self._name}: the port is taken")
        self._open = (guard, refresh, news)

    async def close(self) -> None:
        """Fall silent."""
        self._open = None

    @property
    def bound(self) -> str:
        """Where it listens, '' while it does not."""
        return self._name if self._open is not None else ""

    @property
    def clients(self) -> int:
        """One as long as it is open: the test."""
        return 1 if self._open is not None else 0

    def read(self, *paths: str) -> list[PointValue] | None:
        """Read as a client would, all at once; None: nobody answers."""
        if self._open is None:
            return None
        self._open[1]()
        return [self.values[path] for path in paths]

    async def write(
        self, values: Mapping[str, bool | float], *, peer: str = "10.0.0.9:1024", all_or_nothing: bool = True
    ) -> list[WriteRefusal | None] | None:
        """Write as a client would; None: nobody answers."""
        if self._open is None:
            return None
        known = [path for path in values if path in self.points]
        readable = [path for path in known if self.points[path].access is Access.READ]
        assert not readable or not all_or_nothing, "a Modbus server refuses these before it asks the guard"
        writes = [ClientWrite(path=path, value=value, peer=peer) for path, value in values.items()]
        return list(await self._open[0](writes, all_or_nothing))


class FakeLatchStore:
    """The latch folder in memory, shared by everything that is handed it; `refuses` is a full disk."""

    def __init__(self, *, stamp: int = 1_800_000_000) -> None:
        self.held = LatchSet()
        self.refuses = False
        self.refusals = 0
        self.witness: Callable[[LatchSet], None] = lambda _: None
        self._stamp = stamp

    def load(self) -> tuple[StopEventRecord, ...]:
        """Return every stop."""
        return self.held.records

    def fingerprint(self) -> object:
        """Return what changes with the content."""
        return self.held.records

    def next_stamp(self) -> int:
        """Return the next number."""
        self._refuse()
        self._stamp += 1
        return self._stamp

    def merge(self, records: Sequence[StopEventRecord], *, wanted: Callable[[], bool] = lambda: True) -> None:
        """Keep these, or refuse like a disk."""
        self._refuse()
        if any(map(is_cleared, records)) and not wanted():
            raise DeviceError("latches: nobody waits for it any more")
        self.held = self.held.merge(records)
        self.witness(LatchSet.of(records))

    def _refuse(self) -> None:
        if self.refuses:
            self.refusals += 1
            raise DeviceError("latches: no space left on device")


class FakeEpochStore:
    """The epoch file in memory."""

    def __init__(self, *, first: int = 1_800_000_000) -> None:
        self._first = first
        self.issued: dict[str, Epoch] = {}

    def issue(self, station_id: str) -> Epoch:
        """Issue the next epoch."""
        last = self.issued.get(station_id)
        self.issued[station_id] = Epoch(0, self._first if last is None else last.counter + 1)
        return self.issued[station_id]

    def last(self, station_id: str) -> Epoch | None:
        """Return the last one issued."""
        return self.issued.get(station_id)


class FakeModeStore:
    """Operator modes in memory; `refuses` is a full disk."""

    def __init__(self) -> None:
        self.modes: dict[str, StoredMode] = {}
        self.refuses = False
        self.refusals = 0

    def load(self, pump_id: str) -> StoredMode | None:
        """Return what was stored last."""
        return self.modes.get(pump_id)

    def store(self, mode: StoredMode) -> None:
        """Keep it, or refuse like a disk."""
        if self.refuses:
            self.refusals += 1
            raise DeviceError("modes: no space left on device")
        self.modes[mode.pump_id] = mode


class FakeTimerStore:
    """Each station's motor timers in memory; `refuses` is a full disk."""

    def __init__(self) -> None:
        self.memories: dict[str, StationMemory] = {}
        self.marks: dict[str, dict[str, PumpSeen]] = {}
        self.refuses = False
        self.refusals = 0

    def load(self, station_id: str) -> tuple[StationMemory | None, Mapping[str, PumpSeen]]:
        """Return what was stored last."""
        return self.memories.get(station_id), self.marks.get(station_id, {})

    def store(self, memory: StationMemory) -> None:
        """Keep it, or refuse like a disk."""
        self.refusals += self.refuses
        known = self.memories.get(memory.station_id)
        if self.refuses or (
            known is not None and known.boot_id == memory.boot_id and known.epoch > memory.epoch
        ):
            raise DeviceError("timers: no space left on device, or a newer epoch")
        self.memories[memory.station_id] = memory

    def seen(self, station_id: str, epoch: Epoch, pumps: Mapping[str, PumpSeen]) -> None:
        """Keep the marks, or refuse like a disk."""
        self.refusals += self.refuses
        if self.refuses:
            raise DeviceError("timers: no space left on device")
        known = self.memories.get(station_id)
        self.marks[station_id] = dict(pumps) if known is not None and known.epoch == epoch else {}


class FakeClock:
    """A clock that stands until `advance`; sleepers wake when it passes them."""

    def __init__(self, now: Instant | None = None) -> None:
        self._now = now or Instant("boot-a", 1_000 * 10**9, 1_800_000_000 * 10**9)
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []
        self._draws = 0

    def now(self) -> Instant:
        """Return this moment."""
        return self._now

    def set_wall(self, by_s: float) -> None:
        """Set the wall clock, as a person does; the boot clock knows nothing of it."""
        self._now = Instant(self._now.boot_id, self._now.boot_ns, self._now.utc_ns + round(by_s * 10**9))

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved far enough."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now.plus(seconds).boot_ns, waiting))
        await waiting

    def random(self) -> float:
        """Return a float in [0, 1) that repeats with the test."""
        self._draws += 1
        return (self._draws * 0.618_033_988_749_895) % 1.0

    async def advance(self, seconds: float) -> None:
        """Let time pass and let those wake whose time has come."""
        self._now = self._now.plus(seconds)
        due = [waiting for at, waiting in self._sleepers if at <= self._now.boot_ns]
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self._now.boot_ns]
        for waiting in due:
            if not waiting.done():
                waiting.set_result(None)
        # Each woken task may take a few steps before it sleeps again.
        for _ in range(5):
            await asyncio.sleep(0)


class FakePorts:
    """Ports that keep what the actor says: `told` by address, `timed` beats, `tasks` it spawned."""

    def __init__(self, address: str, clock: FakeClock | None = None) -> None:
        self.address = Address(address)
        self.clock = clock or FakeClock()
        self.told: list[tuple[str, object]] = []
        self.timed: list[tuple[float, object]] = []
        self.spawned: dict[str, asyncio.Task[None]] = {}
        self._every_task: list[asyncio.Task[None]] = []
        self.logged: list[tuple[str, dict[str, object]]] = []
        self.answers: dict[str, Callable[[object], object]] = {}

    @property
    def directory(self) -> FakePorts:
        """Itself: one object plays every port."""
        return self

    @property
    def timers(self) -> FakePorts:
        """Itself."""
        return self

    @property
    def log(self) -> FakePorts:
        """Itself."""
        return self

    @property
    def tasks(self) -> FakePorts:
        """Itself."""
        return self

    def ref(self, address: Address) -> _FakeRef:
        """Return a reference that keeps what it is told."""
        return _FakeRef(self, address)

    def every(self, period_s: float, message: object, *, first_after_s: float | None = None) -> None:
        """Keep the beat; the test delivers it."""
        self.timed.append((period_s, message))

    def after(self, delay_s: float, message: object) -> None:
        """Keep it; the test delivers it."""
        self.timed.append((delay_s, message))

    def deliver(self, message: object) -> None:
        """Keep it; the test delivers it."""
        self.timed.append((0.0, message))

    def info(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self.logged.append((event, fields))

    warning = info
    error = info

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Callable[[], None]:
        """Run it on the test's loop."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.spawned[name] = task
        self._every_task.append(task)

        def cancel() -> None:
            task.cancel()

        return cancel

    async def stored(self, kind: type | tuple[type, ...] = object) -> list[Any]:
        """Let the outbox deliver; return what storage was given, of one type."""
        await self.clock.advance(0.0)
        batches = self.told_to(str(STORAGE), StoreRecords)
        return [record for batch in batches for record in batch.records if isinstance(record, kind)]

    async def end(self) -> None:
        """End what was spawned, so that a failed task does not go unseen."""
        for task in self._every_task:
            task.cancel()
        for outcome in await asyncio.gather(*self._every_task, return_exceptions=True):
            if isinstance(outcome, AssertionError):
                raise outcome

    def told_to(self, address: str, kind: type | tuple[type, ...] = object) -> list[Any]:
        """Return what one address was told, of one type."""
        return [message for to, message in self.told if to == address and isinstance(message, kind)]


class _FakeRef:
    def __init__(self, ports: FakePorts, address: Address) -> None:
        self._ports = ports
        self.address = address

    async def ask(self, message: object, *, deadline_s: float) -> Any:
        """Keep it and answer what the test prepared, else nothing; storage takes everything."""
        self._ports.told.append((str(self.address), message))
        if isinstance(message, StoreRecords) and self.address == STORAGE:
            return Stored(count=len(message.records))
        answer = self._ports.answers.get(str(self.address))
        return None if answer is None else answer(message)

    def tell(self, message: object) -> None:
        """Keep it, after the round trip every message has to survive."""
        if isinstance(message, msgspec.Struct):
            kind = type(message)
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=kind) == message
        self._ports.told.append((str(self.address), message))
