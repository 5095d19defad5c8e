"""Goal: so many requests a second, more for a moment, and no more. Method: timelines, no clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.access.buckets import Buckets
from actors.vocabulary import Instant

START = Instant("boot", 0, 1_800_000_000 * 10**9)


def test_a_burst_then_the_rate() -> None:
    """API-2: three seconds' worth at once, then as they come, and the wait is told."""
    book = Buckets(per_s=10.0, burst_s=3.0)
    assert [book.take("anna", START) for _ in range(30)] == [0.0] * 30
    assert book.take("anna", START) == 0.1
    assert book.take("bert", START) == 0.0, "each has a bucket of their own"
    later = START.plus(0.5)
    assert [book.take("anna", later) > 0.0 for _ in range(6)] == [False] * 5 + [True]
    assert [book.take("anna", later.plus(3_600.0)) for _ in range(30)] == [0.0] * 30
    assert book.take("anna", later.plus(3_600.0)) > 0.0


def test_without_a_rate_nobody_waits() -> None:
    """API-2: 0 switches it off, and holds nothing."""
    book = Buckets(per_s=0.0)
    assert [book.take("anna", START) for _ in range(1_000)] == [0.0] * 1_000
    assert len(book) == 0


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.sampled_from("abcde")), max_size=200))
def test_never_more_than_the_burst_and_the_rate(asked: list[tuple[float, str]]) -> None:
    """API-2: in any span at most burst plus rate times span are taken; the book is bounded."""
    book, now, taken = Buckets(per_s=2.0, burst_s=2.0, entries_max=8), START, dict.fromkeys("abcde", 0)
    for passed_s, key in asked:
        now = now.plus(passed_s)
        taken[key] += book.take(key, now) == 0.0
        assert taken[key] <= 4.0 + 2.0 * now.seconds_since(START) + 1e-6
        assert len(book) <= 8


def test_a_book_that_is_full_forgets_who_asked_longest_ago() -> None:
    """API-2: bounded by a mass of names."""
    book = Buckets(per_s=1.0, burst_s=1.0, entries_max=3)
    for name in "abcd":
        book.take(name, START)
    assert len(book) == 3
    assert book.take("d", START) > 0.0
    assert book.take("a", START) == 0.0
