"""The storage actor: durable at once, in the database when it can, and loud when it cannot."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from actors.messages import AlarmAsserted, AlarmReturned, GetStorage, Stored, StoreRecords, Tick
from actors.start import WorkerStart
from actors.storage import draining, retention
from actors.storage.actor import StorageActor
from actors.storage.draining import DrainState
from actors.vocabulary import DeviceError, Role, Settings
from actors.vocabulary.ids import ALARM, STORAGE
from actors.vocabulary.records import FeedbackRow, Record
from actors.vocabulary.settings import ControlSettings, DatabaseSettings
from tests.unit.actors.storage.ports import START, FakePorts

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SETTINGS = Settings(
    data_dir="/nowhere",
    control=ControlSettings(database_unreachable_s=60.0),
    database=DatabaseSettings(spool_bytes_max=1_000),
)


def feedback(number: int) -> FeedbackRow:
    return FeedbackRow(
        record_id=f"f{number}", pump_id="p1", measured_at=NOON, source="calejo:modbus", quality="GOOD"
    )


class FakeSpool:
    def __init__(self) -> None:
        self.waiting: dict[int, Record] = {}
        self.next = 1
        self.refuses = False
        self.aside: list[tuple[str, str]] = []

    def append(self, records: Sequence[Record]) -> int:
        if self.refuses:
            raise DeviceError("disk full")
        for record in records:
            self.waiting[self.next] = record
            self.next += 1
        return 2

    def peek(self, count_max: int) -> Sequence[tuple[int, Record]]:
        return list(self.waiting.items())[:count_max]

    def remove(self, positions: Sequence[int]) -> None:
        for position in positions:
            self.waiting.pop(position, None)

    def set_aside(self, position: int, reason: str) -> None:
        self.aside.append((self.waiting.pop(position).record_id, reason))

    def size(self) -> tuple[int, int]:
        return len(self.waiting), 100 * len(self.waiting)


class FakeWriter:
    def __init__(self) -> None:
        self.away = False
        self.refused = ""
        self.batches: list[list[str]] = []

    async def write(self, records: Sequence[tuple[int, Record]]) -> dict[int, str]:
        if self.away:
            raise DeviceError("no route")
        self.batches.append([record.record_id for _, record in records])
        return {position: "no such pump" for position, record in records if record.record_id == self.refused}


class FakeKeeper:
    """Holds so many old rows of each pump; may be away."""

    def __init__(self, **rows: int) -> None:
        self.rows = rows
        self.away = 0
        self.batches: list[tuple[str, int]] = []
        self.before: list[datetime] = []

    async def due(self, *, before: datetime) -> Sequence[str]:
        self.before.append(before)
        if self.away:
            self.away -= 1
            raise DeviceError("no route")
        return [pump_id for pump_id, count in self.rows.items() if count]

    async def forget(self, pump_id: str, *, before: datetime, count_max: int) -> int:
        count = min(count_max, self.rows[pump_id])
        self.rows[pump_id] -= count
        self.batches.append((pump_id, count))
        return count


class Scene:
    def __init__(self, keeper: FakeKeeper | None = None) -> None:
        self.ports = FakePorts(STORAGE)
        self.spool = FakeSpool()
        self.writer = FakeWriter()
        start = WorkerStart(role=Role.STORAGE, address=STORAGE, settings=SETTINGS)
        self.actor = StorageActor(self.ports, start, self.spool, self.writer, keeper=keeper)

    async def tick(self) -> tuple[set[str], set[str]]:
        told = self.ports.directory.ref(ALARM).told
        told.clear()
        await self.actor.handle(Tick(what="alarms"))
        return (
            {news.condition for news in told if isinstance(news, AlarmAsserted)},
            {news.condition for news in told if isinstance(news, AlarmReturned)},
        )


def run(story: Any, *, keeper: FakeKeeper | None = None) -> None:
    async def inside() -> None:
        scene = Scene(keeper)
        await scene.actor.start()
        try:
            await story(scene)
        finally:
            await scene.ports.tasks.end()

    asyncio.run(inside())


def test_records_are_acknowledged_by_the_spool_and_written_behind() -> None:
    """DAT-3: the answer comes from the disk here; the database gets whole batches, in order."""

    async def story(scene: Scene) -> None:
        count = draining.BATCH_MAX + 3
        answer = await scene.actor.handle(StoreRecords(records=tuple(feedback(n) for n in range(count))))
        assert answer == Stored(count=count)
        assert scene.writer.batches == []
        await scene.ports.tasks.settle(lambda: not scene.spool.waiting)
        assert [len(batch) for batch in scene.writer.batches] == [draining.BATCH_MAX, 3]
        status: Any = await scene.actor.handle(GetStorage())
        assert (status.written_total, status.dropped_total, status.database_ok) == (count, 2, True)

    run(story)


def test_the_database_away_is_waited_for_with_an_alarm_and_nothing_is_lost() -> None:
    """DAT-3: records wait; after a minute an alarm says so; when it is back they go, and the alarm returns."""

    async def story(scene: Scene) -> None:
        assert (await scene.tick())[1] == set(draining.CONDITIONS)
        scene.writer.away = True
        await scene.actor.handle(StoreRecords(records=(feedback(1), feedback(2))))
        await scene.ports.tasks.settle(lambda: scene.ports.clock.now().seconds_since(START) > 30.0)
        assert await scene.tick() == (set(), set())
        await scene.ports.tasks.settle(lambda: scene.ports.clock.now().seconds_since(START) > 120.0)
        assert (await scene.tick())[0] == {draining.UNREACHABLE}
        status: Any = await scene.actor.handle(GetStorage())
        assert (status.database_ok, status.last_error, status.spooled_records) == (False, "no route", 2)
        await scene.actor.handle(StoreRecords(records=tuple(feedback(n) for n in range(3, 9))))
        assert (await scene.tick())[0] == {draining.UNREACHABLE, draining.FILLING}
        scene.writer.away = False
        await scene.ports.tasks.settle(lambda: not scene.spool.waiting)
        assert scene.writer.batches == [[f"f{n}" for n in range(1, 9)]]
        assert await scene.tick() == (set(), {draining.UNREACHABLE, draining.FILLING})

    run(story)


def test_a_refused_record_is_set_aside_and_told() -> None:
    """DAT-3: what the database refuses for good holds up nobody, and somebody hears of it."""

    async def story(scene: Scene) -> None:
        scene.writer.refused = "f2"
        await scene.actor.handle(StoreRecords(records=(feedback(1), feedback(2), feedback(3))))
        await scene.ports.tasks.settle(lambda: not scene.spool.waiting)
        assert scene.spool.aside == [("f2", "no such pump")]
        status: Any = await scene.actor.handle(GetStorage())
        assert (status.written_total, status.refused_total) == (2, 1)
        assert (await scene.tick())[0] == {draining.REFUSED}

    run(story)


def test_a_refusing_disk_leaves_the_records_with_their_sender() -> None:
    """AUD-4: no acknowledgement without durability."""

    async def story(scene: Scene) -> None:
        scene.spool.refuses = True
        with pytest.raises(DeviceError, match="disk full"):
            await scene.actor.handle(StoreRecords(records=(feedback(1),)))

    run(story)


def test_pauses_grow_with_failures_and_end_with_success() -> None:
    """DAT-3: bounded back-off with jitter; no pause while more is waiting."""
    state, pauses = DrainState(), []
    for _ in range(12):
        state = draining.failed(state, error="away", now=START)
        pauses.append(draining.pause_s(state, more=True, chance=0.999))
    assert pauses == sorted(pauses)
    assert draining.BACKOFF_S_MAX * 0.9 < pauses[-1] <= draining.BACKOFF_S_MAX
    assert draining.pause_s(state, more=True, chance=0.0) == pytest.approx(draining.BACKOFF_S_MAX / 2)
    state = draining.wrote(state, count=1, refusals={}, now=START)
    assert (
        draining.pause_s(state, more=True, chance=0.5),
        draining.pause_s(state, more=False, chance=0.5),
    ) == (
        0.0,
        draining.IDLE_S,
    )
    assert (state.failing_since, state.last_error, state.database_ok) == (None, "", True)


def test_the_filling_alarm_has_hysteresis() -> None:
    """AUD-4: a spool that hovers around its threshold does not chatter."""

    def held(bytes_: int, was: frozenset[str]) -> frozenset[str]:
        alarms = draining.alarms(
            DrainState(),
            spooled_bytes=bytes_,
            bytes_max=1000,
            damaged_files=(),
            unreachable_after_s=60,
            was=was,
            now=START,
        )
        return frozenset(alarms)

    was: frozenset[str] = frozenset()
    told = []
    for bytes_ in (490, 510, 490, 410, 390, 490):
        was = held(bytes_, was)
        told.append(draining.FILLING in was)
    assert told == [False, True, True, True, False, False]


def test_old_decisions_are_forgotten_in_small_batches_for_ever() -> None:
    """SAF-4: bounded batches with a pause between them; a database that is away costs a look, not the rest."""
    keeper = FakeKeeper(p1=1_200, p2=3)
    keeper.away = 1

    async def story(scene: Scene) -> None:
        await scene.ports.tasks.settle(lambda: len(keeper.before) >= 3, steps_max=200_000)
        assert [batch for batch in keeper.batches if batch[1]] == [
            ("p1", retention.BATCH_MAX), ("p1", retention.BATCH_MAX), ("p1", 200), ("p2", 3),
        ]  # fmt: skip
        looked_at = scene.ports.clock.at.utc
        kept_days = [(looked_at - before).total_seconds() / 86_400 for before in keeper.before]
        assert all(31.0 <= days < 31.1 for days in kept_days)
        logged = [event for event, _ in scene.ports.log.events]
        assert ("decisions_not_forgotten" in logged, "decisions_forgotten" in logged) == (True, True)

    run(story, keeper=keeper)
