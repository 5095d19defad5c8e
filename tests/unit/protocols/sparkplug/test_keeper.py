"""The backlog: nothing is lost silently between memory, disk and broker, and nothing grows without bound."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from actors.vocabulary import DeviceError, Quality
from protocols.sparkplug.backfill import CHUNK_SAMPLES, Buffer, Chunk, chunks, samples_of
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


def test_a_disk_that_refuses_is_told_and_counted() -> None:
    """SPB-1: values are lost, and somebody hears how many; the next ones are kept again."""

    async def play() -> None:
        store, told = FakeStore(), list[tuple[str, str]]()
        keeper = HistoryKeeper(store)
        store.refuses = True
        keeper.take(samples(7), in_session=False)
        await keeper.write(lambda *news: told.append(news))
        assert told == [("backfill_lost", "7 values: disk full")]
        assert keeper.lost == 7
        assert await keeper.oldest() is None
        store.refuses = False
        keeper.take(samples(1, first=7), in_session=False)
        await keeper.write(lambda *news: told.append(news))
        found = await keeper.oldest()
        assert found is not None
        assert found[1] == samples(1, first=7)

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
