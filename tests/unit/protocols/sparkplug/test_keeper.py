"""The backlog: nothing is lost silently between memory, disk and broker, and nothing grows without bound."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from actors.vocabulary import DeviceError, Quality
from protocols.sparkplug.backfill import BUFFER_SAMPLES_MAX, CHUNK_SAMPLES, Buffer, Chunk, chunks, samples_of
from protocols.sparkplug.edge import Sample
from protocols.sparkplug.keeper import HistoryKeeper
from protocols.sparkplug.link import BACK_OFF_S_MAX, back_off_s


class FakeStore:
    """The disk's queue in memory; `refuses` is a disk that is full."""

    def __init__(self) -> None:
        self.rows: dict[int, Chunk] = {}
        self.lost = 0
        self.refuses = False
        self.closed = False
        self._next = 0

    def _work(self) -> None:
        if self.refuses:
            raise DeviceError("disk full")

    def append(self, chunks: Sequence[Chunk]) -> int:
        self._work()
        for chunk in chunks:
            self._next += 1
            self.rows[self._next] = chunk
        return 0

    def oldest(self) -> tuple[int, bytes] | None:
        self._work()
        return next(((position, chunk.body) for position, chunk in self.rows.items()), None)

    def remove(self, position: int) -> None:
        self._work()
        self.rows.pop(position, None)

    def note_lost(self, samples: int) -> None:
        self._work()
        self.lost += samples

    def totals(self) -> tuple[int, int]:
        self._work()
        return sum(chunk.samples for chunk in self.rows.values()), self.lost

    def close(self) -> None:
        self.closed = True


class SlowStore(FakeStore):
    """A disk on which each call waits for `may_end`, and which notices two at once."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.may_end = threading.Event(), threading.Event()
        self.bug: Exception | None = None
        self.together = self.together_max = 0

    def _work(self) -> None:
        self.together += 1
        self.together_max = max(self.together_max, self.together)
        self.began.set()
        self.may_end.wait(10)
        self.together -= 1
        bug, self.bug = self.bug, None
        if bug is not None:
            raise bug
        super()._work()


def kept(store: FakeStore) -> list[Sample]:
    return [sample for row in store.rows.values() for sample in samples_of(row.body)]


def samples(count: int, first: int = 0) -> list[Sample]:
    return [Sample("/north/s1/p1/setpoint", float(n), Quality.GOOD, n) for n in range(first, first + count)]


def test_chunks_give_back_what_was_put_in() -> None:
    """SPB-1: in order, whole, at most 200 to a row."""
    given = samples(CHUNK_SAMPLES * 2 + 1)
    rows = list(chunks(given))
    assert [row.samples for row in rows] == [CHUNK_SAMPLES, CHUNK_SAMPLES, 1]
    assert [sample for row in rows for sample in samples_of(row.body)] == given


def test_a_full_buffer_lets_the_oldest_go_and_counts_them() -> None:
    """SPB-1: bounded, with the loss told."""
    buffer = Buffer(10)
    buffer.add(samples(25))
    assert (len(buffer), buffer.lost(), buffer.lost()) == (10, 15, 0)
    assert buffer.drain() == samples(10, first=15)


def test_a_confirmation_lets_go_what_it_confirms_whatever_had_to_go_meanwhile() -> None:
    """SPB-1: a buffer that ran over while the broker was silent must not lose newer values for the older ones' word."""
    buffer = Buffer(10)
    buffer.add(samples(8))
    mark = buffer.mark()
    buffer.add(samples(6, first=8))
    buffer.drop_to(mark)
    assert buffer.drain() == samples(6, first=8)
    buffer.drop_to(mark)
    buffer.add(samples(1, first=14))
    assert len(buffer) == 1


def test_what_the_broker_did_not_confirm_is_kept() -> None:
    """SPB-1: values of a session that broke are handed in again, before what came after it."""

    async def play() -> None:
        store = FakeStore()
        keeper = HistoryKeeper(store)
        keeper.take(samples(3), in_session=True)
        mark = keeper.mark()
        keeper.take(samples(2, first=3), in_session=True)
        keeper.confirmed(mark)
        keeper.session_ended()
        keeper.take(samples(2, first=5), in_session=False)
        await keeper.write()
        found = await keeper.oldest()
        assert found is not None
        assert found[1] == samples(4, first=3)
        await keeper.remove(found[0])
        assert await keeper.oldest() is None
        assert keeper.waiting == 0

    asyncio.run(play())


def test_a_disk_that_refuses_for_a_moment_loses_nothing() -> None:
    """SPB-1: memory keeps what the disk did not take, in order; somebody hears of it, once."""

    async def play() -> None:
        store, told = FakeStore(), list[tuple[str, str]]()
        keeper = HistoryKeeper(store)
        store.refuses = True
        keeper.take(samples(300), in_session=False)
        for _ in range(3):
            await keeper.write(lambda *news: told.append(news))
        assert told == [("backfill_refused", "disk full")]
        assert (keeper.lost, keeper.fault) == (0, "disk full")
        assert await keeper.oldest() is None
        keeper.take(samples(1, first=300), in_session=False)
        store.refuses = False
        for _ in range(2):
            await keeper.write(lambda *news: told.append(news))
        assert kept(store) == samples(301)
        assert (keeper.lost, keeper.fault, keeper.waiting, len(told)) == (0, "", 301, 1)

    asyncio.run(play())


def test_what_memory_cannot_keep_either_is_counted_and_the_count_never_runs_back() -> None:
    """SPB-1: lost while the disk refused, counted at once, and once on disk when it takes something again."""

    async def play() -> None:
        store, told = FakeStore(), list[tuple[str, str]]()
        store.lost = 5
        keeper = HistoryKeeper(store)
        await keeper._count(None)
        store.refuses = True
        keeper.take(samples(BUFFER_SAMPLES_MAX + 7), in_session=False)
        figures = [keeper.lost]
        for _ in range(2):
            await keeper.write(lambda *news: told.append(news))
            figures.append(keeper.lost)
        store.refuses = False
        for _ in range(3):
            await keeper.write(lambda *news: told.append(news))
            figures.append(keeper.lost)
        assert figures == [5, 12, 12, 12, 12, 12]
        assert store.lost == 12
        assert ("backfill_lost", "7 values: disk full") in told
        assert kept(store) == samples(BUFFER_SAMPLES_MAX, first=7)

    asyncio.run(play())


def test_a_caller_that_is_cancelled_leaves_a_thread_that_nobody_disturbs() -> None:
    """SPB-1: an end of the process in the middle of a write: one disk call at a time, nothing lost, nothing twice."""

    async def play() -> None:
        store = SlowStore()
        keeper = HistoryKeeper(store)
        keeper.take(samples(3), in_session=False)
        writing = asyncio.create_task(keeper.write())
        await asyncio.to_thread(store.began.wait, 10)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        keeper.take(samples(2, first=3), in_session=False)
        asyncio.get_running_loop().call_later(0.05, store.may_end.set)
        await keeper.close()
        assert store.together_max == 1
        assert kept(store) == samples(5)
        assert store.closed

    asyncio.run(play())


def test_a_bug_behind_a_caller_that_left_is_not_lost() -> None:
    """SUP-3: what is no fault of the disk ends the task that keeps house, and with it the endpoint."""

    async def play() -> None:
        store = SlowStore()
        store.bug = RuntimeError("ours")
        keeper = HistoryKeeper(store)
        reading = asyncio.create_task(keeper.oldest())
        await asyncio.to_thread(store.began.wait, 10)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        store.may_end.set()
        with pytest.raises(RuntimeError, match="ours"):
            async with asyncio.timeout(10):
                await keeper.run(lambda *_: None)

    asyncio.run(play())


def test_an_end_in_order_puts_everything_on_disk() -> None:
    """SPB-1: a stop of the process is no reason to lose a value."""

    async def play() -> None:
        store = FakeStore()
        keeper = HistoryKeeper(store)
        keeper.take(samples(2), in_session=True)
        keeper.take(samples(2, first=2), in_session=False)
        await keeper.close()
        assert store.closed
        assert [sample for row in store.rows.values() for sample in samples_of(row.body)] == samples(4)

    asyncio.run(play())


def test_a_row_of_another_version_does_not_hold_up_the_others() -> None:
    """SPB-1, JRN-2: it cannot be read, so it is let go."""

    async def play() -> None:
        store = FakeStore()
        store.append([Chunk(1, b"\x93\x01")])
        keeper = HistoryKeeper(store)
        found = await keeper.oldest()
        assert found is not None
        assert found[1] == []
        await keeper.remove(found[0])
        assert await keeper.oldest() is None

    asyncio.run(play())


def test_the_back_off_doubles_to_a_bound_with_half_of_it_by_chance() -> None:
    """SPB-1: all sites of a utility must not come back in the same moment."""
    assert back_off_s(0, 0.0) == 0.25
    assert back_off_s(0, 1.0) == 0.5
    assert back_off_s(3, 0.0) == 2.0
    assert back_off_s(50, 0.999) <= BACK_OFF_S_MAX
    assert back_off_s(10_000, 0.0) == BACK_OFF_S_MAX / 2
