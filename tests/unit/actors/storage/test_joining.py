"""Two copies of one set of stops: goal: nothing is lost on either side, nothing is kept that nobody needs."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.safety.latch import LatchSet
from actors.storage.joining import KEPT_FOR, KEPT_MAX, Joined, answer, join, needed
from actors.vocabulary import Scope
from actors.vocabulary.records import StopEventRecord

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - KEPT_FOR - timedelta(seconds=1)


def stop(
    stop_id: str,
    *,
    scope: Scope = Scope.PUMP,
    scope_id: str = "p1",
    stamp: int = 10,
    kind: str = "emergency_stop",
) -> StopEventRecord:
    return StopEventRecord(
        record_id=stop_id,
        scope=scope,
        scope_id=scope_id,
        reason="t",
        set_by="anna",
        set_at=LONG_AGO,
        set_stamp=stamp,
        kind=kind,
    )


def cleared(record: StopEventRecord, *, release: int | None = 20, at: datetime = LONG_AGO) -> StopEventRecord:
    return msgspec.structs.replace(
        record, cleared_by="bert", cleared_at=at, clear_reason="ok", release=release
    )


def joined(
    folder: list[StopEventRecord], database: list[StopEventRecord], before: Joined | None = None
) -> Joined:
    missing = before.missing if before is not None else frozenset()
    return join(folder, database, missing_before=missing, now=NOW)


def ids(records: object) -> list[str]:
    assert isinstance(records, tuple)
    return [record.record_id for record in records]


def test_the_folder_gets_the_databases_stops_and_clears() -> None:
    """EST-2: an unknown stop, and a clear that was made elsewhere; what both hold costs nothing."""
    both, here = stop("both"), stop("here")
    outcome = joined([both, here], [both, cleared(here), stop("there")])
    assert ids(outcome.to_folder) == ["here", "there"]
    assert outcome.to_folder[0].cleared_by == "bert"
    assert (outcome.to_database, outcome.to_drop) == ((), ())


def test_the_database_gets_what_only_the_folder_knows_and_has_not_sent_yet() -> None:
    """EST-2: set or cleared while nobody was there to record it; one look's patience for what is on its way."""
    here, late = stop("here"), stop("late")
    first = joined([here, cleared(late)], [late])
    assert first.to_database == ()
    second = joined([here, cleared(late), stop("new")], [late], first)
    assert ids(second.to_database) == ["here", "late"]
    arrived = joined([here, cleared(late), stop("new")], [here, cleared(late), stop("new")], second)
    assert arrived.to_database == ()


def test_a_clear_that_nobody_needs_is_dropped_only_when_the_database_has_it() -> None:
    """EST-2: not while a copy lacks the clear, not within a week, never an uncleared one."""
    old, newer = cleared(stop("old"), release=20), cleared(stop("newer"), release=30)
    assert joined([old, newer], [old, newer]).to_drop == ("old",)
    assert joined([old, newer], [stop("old"), newer]).to_drop == ()
    assert joined([old, newer], [newer]).to_drop == ()
    young = cleared(stop("old"), release=20, at=NOW - KEPT_FOR)
    assert joined([young, newer], [young, newer]).to_drop == ()
    assert joined([stop("old"), newer], [stop("old"), newer]).to_drop == ()


def test_what_was_dropped_does_not_come_back_from_the_database() -> None:
    """EST-2: or the folder would be filled and emptied every ten seconds."""
    old, newer = cleared(stop("old"), release=20), cleared(stop("newer"), release=30)
    assert joined([newer], [old, newer]).to_folder == ()


def test_a_new_folder_gets_what_its_release_numbers_come_from() -> None:
    """EST-6: the highest release of each scope, so that a release given here is above all that were ever given."""
    rows = [cleared(stop(f"a{n}"), release=n) for n in range(1, 5)]
    rows.append(cleared(stop("b", scope=Scope.STATION, scope_id="s1"), release=2))
    assert ids(joined([], rows).to_folder) == ["a4", "b"]


def test_who_still_holds_a_dropped_stop_is_told_of_its_clear() -> None:
    """EST-2: a gate that slept through the week asks for the ids that it holds."""
    old, newer = cleared(stop("old"), release=20), cleared(stop("newer"), release=30)
    outcome = joined([newer], [old, newer])
    assert ids(answer(outcome, [])) == ["newer"]
    assert answer(outcome, ["old", "nobody's"]) == LatchSet.of([old, newer]).records


def test_the_clear_of_an_unreadable_file_is_not_dropped() -> None:
    """EST-2: the file is still there: without the clear it would count as a stop again."""
    names = [cleared(stop("unreadable:x.json", scope=Scope.SYSTEM), release=n) for n in (20, 30)]
    other = cleared(stop("other", scope=Scope.SYSTEM), release=40)
    assert joined([names[0], other], [names[0], other]).to_drop == ()


def test_recent_clears_are_bounded() -> None:
    """SUP-6: a thousand clears of the last week, the newest; everything uncleared whatever its number."""
    many = [
        cleared(stop(f"c{n:04}"), release=n, at=NOW - timedelta(seconds=n)) for n in range(1, KEPT_MAX + 6)
    ]
    kept = needed(LatchSet.of([*many, *(stop(f"s{n}", stamp=0) for n in range(2_000))]), now=NOW)
    assert len(kept.active()) == 2_000
    # One more: the highest release of the scope.
    assert len(kept.records) == 2_000 + KEPT_MAX + 1
    assert "c0001" in kept.by_id


def test_a_clear_without_an_offset_is_no_stumbling_block() -> None:
    """EST-2: a file that somebody else wrote."""
    naive = cleared(stop("n"), at=NOW.replace(tzinfo=None))
    assert joined([naive], []).needed.by_id["n"].cleared_by == "bert"


records = st.builds(
    lambda number, scope, stamp, release, kind: (
        stop(f"i{number}", scope=scope[0], scope_id=scope[1], stamp=stamp, kind=kind)
        if release is None
        else cleared(
            stop(f"i{number}", scope=scope[0], scope_id=scope[1], stamp=stamp, kind=kind),
            release=release or None,
        )
    ),
    st.integers(0, 40),
    st.sampled_from(
        [
            (Scope.PUMP, "p1"),
            (Scope.PUMP, "p2"),
            (Scope.STATION, "s1"),
            (Scope.SITE, "north"),
            (Scope.SYSTEM, ""),
        ]
    ),
    st.integers(0, 12),
    st.one_of(st.none(), st.integers(0, 12)),
    st.sampled_from(["emergency_stop", "out_of_service"]),
)


@given(held=st.lists(records, max_size=25), later=st.lists(records, max_size=3))
def test_no_pump_shows_anything_else_without_what_was_dropped(
    held: list[StopEventRecord], later: list[StopEventRecord]
) -> None:
    """EST-6: run_inhibit and release_id of every pump, now and after any of the stops is cleared."""
    whole = LatchSet.of(held)
    less = needed(whole, now=NOW)
    more = [record for record in later if record.record_id in less.by_id and record.cleared_by is not None]
    clears = [
        cleared(less.by_id[record.record_id], release=record.release)
        for record in more
        if less.by_id[record.record_id].cleared_by is None
    ]
    for one, other in ((whole, less), (whole.merge(clears), less.merge(clears))):
        for pump_id in ("p1", "p2"):
            where = ("north", "s1", pump_id)
            assert one.covering(*where) == other.covering(*where)
            assert one.release_id(*where) == other.release_id(*where)
