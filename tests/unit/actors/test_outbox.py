"""A sender's outbox: never in the way, never unbounded, and what matters goes last."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Stored, StoreRecords
from actors.outbox import BACKOFF_S_MAX, BATCH_MAX, IMPORTANCE, Backlog, Outbox
from actors.vocabulary import InvalidValueError, Scope, UnavailableError
from actors.vocabulary.ids import STORAGE
from actors.vocabulary.records import FeedbackRow, Record, StopEventRecord
from tests.unit.actors.storage.ports import START, FakePorts

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def feedback(number: int) -> Record:
    return FeedbackRow(
        record_id=f"f{number}", pump_id="p1", measured_at=NOON, source="calejo:modbus", quality="GOOD"
    )


def stop(number: int) -> Record:
    return StopEventRecord(
        record_id=f"s{number}", scope=Scope.PUMP, scope_id="p1", reason="", set_by="anna", set_at=NOON
    )


def test_records_stay_until_acknowledged() -> None:
    """DAT-3: a batch that failed is sent again, later each time, in the old order."""
    backlog = Backlog()
    backlog.add([feedback(1), stop(1)])
    batch = backlog.batch(START)
    assert [record.record_id for _, record in batch] == ["f1", "s1"]
    now, waits = START, []
    for _ in range(12):
        backlog.failed(now, chance=0.99)
        waits.append(backlog.wait_s(now))
        assert backlog.batch(now) == ()
        now = now.plus(waits[-1])
        assert backlog.batch(now) == batch
    assert waits == sorted(waits)
    assert 0.1 < waits[0] < 0.25
    assert BACKOFF_S_MAX / 2 < waits[-1] <= BACKOFF_S_MAX
    backlog.acknowledged(batch)
    assert (len(backlog), backlog.batch(now), backlog.wait_s(now)) == (0, [], 0.0)


@given(kinds=st.lists(st.booleans(), max_size=40), records_max=st.integers(1, 10))
def test_full_it_drops_by_importance_then_age(kinds: list[bool], records_max: int) -> None:
    """DAT-3: bounded; a stop goes only when nothing less important is left; what goes is counted."""
    backlog = Backlog(records_max)
    offered = [stop(number) if matters else feedback(number) for number, matters in enumerate(kinds)]
    for record in offered:
        backlog.add([record])
    kept = [record for _, record in backlog.batch(START)]
    stops = [record for record in offered if isinstance(record, StopEventRecord)]
    assert [record for record in kept if record in stops] == stops[-records_max:]
    assert len(kept) == min(records_max, len(offered))
    assert backlog.dropped_total == len(offered) - len(kept)
    assert kept == sorted(kept, key=offered.index)


def test_every_kind_of_record_has_an_importance() -> None:
    """DAT-3: a new kind of record cannot be forgotten here."""
    assert set(IMPORTANCE) == set(Record.__args__)


def run(story: Any) -> None:
    async def inside() -> None:
        ports = FakePorts()
        try:
            await story(ports, ports.directory.ref(STORAGE), Outbox(ports))
        finally:
            await ports.tasks.end()

    asyncio.run(inside())


def test_putting_returns_at_once_and_delivers_in_the_background() -> None:
    """DAT-3: with storage away nothing is lost and nobody waits; when it is back everything arrives once."""

    async def story(ports: FakePorts, storage: Any, outbox: Outbox) -> None:
        received: list[str] = []
        tries = 0

        def answer(message: StoreRecords) -> Stored:
            nonlocal tries
            tries += 1
            if tries < 6:
                raise UnavailableError("/storage: no answer")
            received.extend(record.record_id for record in message.records)
            return Stored(count=len(message.records))

        storage.answer = answer
        count = BATCH_MAX * 2 + 1
        for number in range(count):
            outbox.put(feedback(number))
        assert (outbox.waiting, tries) == (count, 0)
        await ports.tasks.settle(lambda: outbox.waiting == 0)
        assert received == [f"f{number}" for number in range(count)]
        assert ports.clock.now().seconds_since(START) > 1.0
        outbox.put(stop(1))
        await ports.tasks.settle(lambda: outbox.waiting == 0)
        assert received[-1] == "s1"

    run(story)


def test_a_batch_that_storage_will_never_take_does_not_block_the_others() -> None:
    """DAT-3: refused is not away: sent again it would be refused again."""

    async def story(ports: FakePorts, storage: Any, outbox: Outbox) -> None:
        def refuse(_: object) -> None:
            raise InvalidValueError("what is this")

        storage.answer = refuse
        outbox.put(feedback(1))
        await ports.tasks.settle(lambda: outbox.waiting == 0)
        assert ("records_refused", {"count": 1, "error": "what is this"}) in ports.log.events

    run(story)


def test_one_record_that_storage_will_never_take_costs_no_other() -> None:
    """DAT-3, AUD-4: a refused batch is sent again one by one; only what is refused alone is dropped, and counted."""

    async def story(ports: FakePorts, storage: Any, outbox: Outbox) -> None:
        kept: list[str] = []

        def take(message: StoreRecords) -> Stored:
            ids = [record.record_id for record in message.records]
            if "s3" in ids:
                raise InvalidValueError("s3: what is this")
            kept.extend(ids)
            return Stored(count=len(ids))

        storage.answer = take
        outbox.put(*(stop(number) for number in range(1, 8)))
        await ports.tasks.settle(lambda: outbox.waiting == 0)
        assert kept == ["s1", "s2", "s4", "s5", "s6", "s7"]
        refused = [fields for event, fields in ports.log.events if event == "records_refused"]
        assert refused == [{"count": 1, "error": "s3: what is this"}]
        outbox.put(*(stop(number) for number in range(8, 12)))
        await ports.tasks.settle(lambda: outbox.waiting == 0)
        assert kept[-4:] == ["s8", "s9", "s10", "s11"]

    run(story)


def test_a_sleep_that_ends_early_is_slept_again() -> None:
    """DAT-3: nothing is sent before its time, and nothing is lost by a timer that is early."""

    async def story(ports: FakePorts, storage: Any, outbox: Outbox) -> None:
        tries: list[float] = []
        true_sleep = ports.clock.sleep
        naps = 0

        async def hasty(seconds: float) -> None:
            nonlocal naps
            naps += 1
            await true_sleep(seconds / 2 if naps == 1 else seconds)

        def answer(message: StoreRecords) -> Stored:
            tries.append(ports.clock.now().seconds_since(START))
            if len(tries) == 1:
                raise UnavailableError("/storage: no answer")
            return Stored(count=len(message.records))

        ports.clock.sleep = hasty  # type: ignore[method-assign]
        storage.answer = answer
        outbox.put(feedback(1))
        await ports.tasks.settle(lambda: outbox.waiting == 0)
        assert (len(tries), naps) == (2, 2)

    run(story)


def test_what_has_no_room_is_counted() -> None:
    """DAT-3: what was dropped for lack of room can be seen."""

    async def inside() -> None:
        ports = FakePorts()
        outbox = Outbox(ports, records_max=1)
        outbox.put(feedback(1), feedback(2), feedback(3))
        assert (outbox.waiting, outbox.dropped_total) == (1, 2)
        await ports.tasks.end()

    asyncio.run(inside())
