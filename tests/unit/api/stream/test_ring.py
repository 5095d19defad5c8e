"""The ring of the last events, topics and their filters: pure."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.vocabulary import Instant, InvalidValueError
from actors.vocabulary.access import UserRole
from actors.vocabulary.users import Principal
from api.stream.ring import Ring
from api.stream.topics import ALWAYS, Change, Filter, Item, Place, Topic, change_of, not_allowed, topics_of

AT = Instant("boot", 0, 0)
MARK = "0badcafe"


def change(size: int = 10, key: str = "k") -> Change:
    return Change(Topic.SETPOINTS, {key: Item(Place(), b"x" * size)}, {})


@given(st.lists(st.integers(0, 60), max_size=60), st.integers(1, 12), st.integers(1, 200))
def test_the_ring_is_bounded_and_what_it_gives_is_whole(
    sizes: list[int], events_max: int, bytes_max: int
) -> None:
    """API-2: bounded by number and bytes; behind a number every event comes, or none with a word."""
    ring = Ring("a" * 16, events_max=events_max, bytes_max=bytes_max)
    for size in sizes:
        ring.append(change(size), AT)
        assert ring.newest - ring.oldest + 1 <= events_max
        assert ring.size_bytes <= bytes_max or ring.newest == ring.oldest
    assert ring.newest == len(sizes)
    for number in range(-1, ring.newest + 2):
        behind = ring.after(number)
        if number < ring.oldest - 1 or number > ring.newest:
            assert behind is None
            continue
        assert behind is not None
        numbers = [number, *(each.number for each in behind)]
        assert numbers[-1] == ring.newest
        assert all(one + 1 == two for one, two in pairwise(numbers))


@pytest.mark.parametrize(
    "event_id",
    ["", "1", f"{'b' * 16}-1-{MARK}", f"{'a' * 16}-1-ffffffff", f"{'a' * 16}-x-{MARK}", "a-1-" * 9],
)
def test_an_id_of_elsewhere_is_none(event_id: str) -> None:
    """API-2: an id of another life, another question or nobody resumes nothing."""
    assert Ring("a" * 16).number_of(event_id, MARK) is None


def test_an_id_of_ours_is_read_back() -> None:
    """API-2: what we sent, we know."""
    ring = Ring("a" * 16)
    assert ring.number_of(ring.id_of(7, MARK), MARK) == 7


def test_a_change_is_what_is_new_other_or_gone() -> None:
    """API-2: nothing is told of what stayed as it was."""
    place = Place("north", "s1", "p1")
    before = {"same": Item(place, b"1"), "other": Item(place, b"1"), "gone": Item(place, b"1")}
    after = {"same": Item(place, b"1"), "other": Item(place, b"2"), "new": Item(place, b"1")}
    found = change_of(Topic.SETPOINTS, before, after)
    assert found is not None
    assert set(found.changed) == {"other", "new"}
    assert found.removed == {"gone": place}
    assert change_of(Topic.SETPOINTS, after, dict(after)) is None


def test_a_narrowed_stream_still_tells_every_stop() -> None:
    """API-2, EST-1: station and pump narrow pumps and levels, never stops, alarms or the tree."""
    wanted = Filter(topics=frozenset(Topic), station_id="s1", pump_id="p1")
    here, beside, elsewhere = Place("n", "s1", "p1"), Place("n", "s1", "p2"), Place("n", "s2", "p9")
    assert wanted.takes(Topic.SETPOINTS, here)
    assert not wanted.takes(Topic.SETPOINTS, beside)
    assert not wanted.takes(Topic.FEEDBACK, elsewhere)
    assert wanted.takes(Topic.STATIONS, Place("n", "s1"))
    assert not wanted.takes(Topic.STATIONS, Place("n", "s2"))
    for topic in (Topic.STOPS, Topic.ALARMS, Topic.FAILSAFES, Topic.TREE):
        assert wanted.takes(topic, Place())
    assert not Filter(topics=frozenset({Topic.STOPS})).takes(Topic.ALARMS, Place())
    assert Filter(topics=frozenset(Topic), site_id="n").takes(Topic.MODES, here)
    assert not Filter(topics=frozenset(Topic), site_id="m").takes(Topic.MODES, here)


def test_topics_follow_the_permission_table() -> None:
    """SEC-2: without words everybody gets what they may; a word that names none is refused."""
    reader = Principal(user_id="r", role=UserRole.READ_ONLY)
    field = Principal(user_id="f", role=UserRole.FIELD)
    assert topics_of("", reader) == frozenset(Topic)
    assert Topic.STOPS not in topics_of("", field)
    assert Topic.SETPOINTS in topics_of("", field)
    assert topics_of(" Stops , tree", reader) == {Topic.STOPS, Topic.TREE} | ALWAYS
    assert not_allowed(topics_of("stops,setpoints", field), field) == "stops"
    with pytest.raises(InvalidValueError, match="topics: 'weather'"):
        topics_of("weather", reader)


def test_another_question_has_another_mark() -> None:
    """API-2: resuming a narrower stream into a wider one would leave holes."""
    marks = {
        Filter(topics=frozenset({Topic.STOPS})).mark,
        Filter(topics=frozenset({Topic.TREE})).mark,
        Filter(topics=frozenset({Topic.STOPS}), site_id="n").mark,
        Filter(topics=frozenset({Topic.STOPS}), station_id="n").mark,
    }
    assert len(marks) == 4
    assert all(len(mark) == 8 for mark in marks)
