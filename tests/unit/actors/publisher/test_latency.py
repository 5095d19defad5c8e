"""Latency book: goal: a true, bounded picture of how long ticks take to the wire, free of old or repeated samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.publisher.gate import PumpGate, StationGate
from actors.publisher.latency import SAMPLES_MAX, LatencyBook, noted, summary, summary_of
from actors.vocabulary import Instant

MS = 1_000_000
S = 1_000 * MS


def at(boot_ns: int) -> Instant:
    return Instant("boot-a", boot_ns, 0)


def gate(**newest_origin_ns: int | None) -> StationGate:
    return StationGate(
        pumps={key: PumpGate(newest_origin_ns=value) for key, value in newest_origin_ns.items()}
    )


def test_each_newer_tick_is_one_sample_and_nothing_else_is() -> None:
    """OPS-2: p1 ticked, p2 was only decided anew about an old tick, p3 was refused; one sample, of p1."""
    before = gate(p1=1 * S, p2=2 * S, p3=None)
    after = gate(p1=3 * S, p2=2 * S, p3=None)
    book = noted(LatencyBook(), before=before, after=after, now=at(3 * S + 12 * MS))
    assert book.samples == ((3 * S + 12 * MS, 12 * MS),)
    assert noted(book, before=after, after=after, now=at(4 * S)) is book


def test_a_pump_that_is_new_to_the_gate_counts_from_its_first_tick() -> None:
    """OPS-2: the first tick has no predecessor and is a sample all the same."""
    book = noted(LatencyBook(), before=gate(), after=gate(p1=5 * S), now=at(5 * S + MS))
    assert book.samples == ((5 * S + MS, MS),)


def test_the_book_is_bounded_and_keeps_the_newest() -> None:
    """OPS-2: a process that runs for years remembers 1,000 samples, the newest."""
    book = LatencyBook()
    for tick in range(1, SAMPLES_MAX + 51):
        book = noted(book, before=gate(p1=tick - 1), after=gate(p1=tick), now=at(2 * tick))
    assert len(book.samples) == SAMPLES_MAX
    assert book.samples[0] == (2 * 51, 51)
    assert book.samples[-1][1] == SAMPLES_MAX + 50


def test_a_summary_covers_its_window_only() -> None:
    """OPS-2: what happened before the window, such as the start, does not colour the present."""
    book = LatencyBook(((1 * S, 900 * MS), (50 * S, 10 * MS), (60 * S, 20 * MS)))
    shown = summary(book, now=at(60 * S), within_s=10.0)
    assert shown is not None
    assert (shown.count, shown.p50_ms, shown.max_ms) == (2, 10.0, 20.0)
    assert summary(book, now=at(100 * S), within_s=10.0) is None


def test_percentiles_are_nearest_rank() -> None:
    """OPS-2: 1..100 ms: the median is the 50th sample, p99 the 99th, as the nearest-rank definition says."""
    shown = summary_of([ms * MS for ms in range(100, 0, -1)])
    assert shown is not None
    assert (shown.count, shown.p50_ms, shown.p99_ms, shown.max_ms) == (100, 50.0, 99.0, 100.0)


@given(st.lists(st.integers(min_value=0, max_value=10 * S), max_size=300))
def test_every_figure_is_a_sample_that_was_seen(samples_ns: list[int]) -> None:
    """OPS-2: no interpolation, no invention; p50 ≤ p99 ≤ max, and at least the said share lies at or below each."""
    shown = summary_of(samples_ns)
    if shown is None:
        assert not samples_ns
        return
    seen = [each / MS for each in samples_ns]
    assert {shown.p50_ms, shown.p99_ms, shown.max_ms} <= set(seen)
    assert shown.p50_ms <= shown.p99_ms <= shown.max_ms == max(seen)
    for share, figure in ((0.5, shown.p50_ms), (0.99, shown.p99_ms)):
        assert sum(each <= figure for each in seen) >= share * len(seen) - 1e-9
        assert sum(each < figure for each in seen) < share * len(seen) + 1e-9


def test_no_samples_have_no_figures() -> None:
    """OPS-2: absence is absence, not a latency of zero."""
    assert summary_of([]) is None
    assert summary(LatencyBook(), now=at(0), within_s=60.0) is None


def test_only_whole_numbers_of_milliseconds_are_not_assumed() -> None:
    """OPS-2: a quarter of a millisecond stays a quarter."""
    shown = summary_of([MS // 4])
    assert shown is not None
    assert shown.p50_ms == pytest.approx(0.25)
