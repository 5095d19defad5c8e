"""The latch's union law: goal: no order, repetition or partition of copies loses a stop or a clear."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.safety import latch
from actors.safety.latch import EMERGENCY_STOP, OUT_OF_SERVICE, LatchSet, cleared, covers, is_cleared
from actors.vocabulary import Scope
from actors.vocabulary.records import StopEventRecord

T0 = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
PUMP = ("north", "s1", "p1")


def stop(
    record_id: str,
    scope: Scope = Scope.PUMP,
    scope_id: str = "p1",
    *,
    stamp: int = 100,
    kind: str = EMERGENCY_STOP,
) -> StopEventRecord:
    return StopEventRecord(
        record_id=record_id,
        scope=scope,
        scope_id=scope_id,
        reason="test",
        set_by="op",
        set_at=T0,
        kind=kind,
        set_stamp=stamp,
    )


def clear(record: StopEventRecord, *, release: int, by: str = "op2") -> StopEventRecord:
    return cleared(record, by=by, at=T0 + timedelta(seconds=release), reason="checked", release=release)


@st.composite
def records(draw: st.DrawFn) -> StopEventRecord:
    """Any record, contradicting copies of the same id and half clears among them."""
    scope = draw(st.sampled_from(Scope))
    done = draw(st.booleans())
    return StopEventRecord(
        record_id=draw(st.sampled_from(["a", "b", "c"])),
        scope=scope,
        scope_id=draw(st.sampled_from(["north", "s1", "p1", "p2", "P1"])),
        reason=draw(st.sampled_from(["x", "y"])),
        set_by=draw(st.sampled_from(["op", "plc"])),
        set_at=draw(st.sampled_from([T0, T0 + timedelta(seconds=1), T0.replace(tzinfo=None)])),
        kind=draw(st.sampled_from([EMERGENCY_STOP, OUT_OF_SERVICE, "novel"])),
        set_stamp=draw(st.integers(0, 5)),
        cleared_by=draw(st.sampled_from([None, "op2", "op3"])) if done else None,
        cleared_at=draw(st.sampled_from([None, T0, T0 + timedelta(seconds=2)])) if done else None,
        clear_reason="done" if done else None,
        release=draw(st.one_of(st.none(), st.integers(0, 9))) if done else None,
    )


lists = st.lists(records(), max_size=6)


@given(lists, lists)
def test_union_is_commutative(left: list[StopEventRecord], right: list[StopEventRecord]) -> None:
    """EST-2: it does not matter which copy is merged into which."""
    assert LatchSet.of(left).merge(right) == LatchSet.of(right).merge(left)


@given(lists, lists, lists)
def test_union_is_associative(
    one: list[StopEventRecord], two: list[StopEventRecord], three: list[StopEventRecord]
) -> None:
    """EST-2: it does not matter which copies met before."""
    assert LatchSet.of(one).merge(two).merge(three) == LatchSet.of(one).merge(
        LatchSet.of(two).merge(three).records
    )


@given(lists, st.randoms(use_true_random=False))
def test_union_is_idempotent_and_free_of_order(given_: list[StopEventRecord], shuffle: st.DataObject) -> None:
    """EST-2: repeated and reordered messages change nothing."""
    once = LatchSet.of(given_)
    again = [*given_, *given_]
    shuffle.shuffle(again)  # type: ignore[attr-defined]
    assert LatchSet.of(again) == once
    assert once.merge(again) is once


@given(lists, lists)
def test_neither_stop_nor_clear_is_ever_lost(held: list[StopEventRecord], met: list[StopEventRecord]) -> None:
    """EST-2: after a merge every id is there, every clear stays, and what is active was cleared by nobody."""
    before = LatchSet.of(held)
    after = before.merge(met)
    assert set(after.by_id) == {record.record_id for record in [*held, *met]}
    for record in [*held, *met]:
        if is_cleared(record):
            assert is_cleared(after.by_id[record.record_id])
    for record in after.active():
        assert not any(is_cleared(old) for old in [*held, *met] if old.record_id == record.record_id)


@given(lists, st.sampled_from(["p1", "p2"]))
def test_an_uncleared_stop_covers_what_any_copy_of_it_covered(
    given_: list[StopEventRecord], pump_id: str
) -> None:
    """EST-2: copies that contradict each other about the scope widen it, never narrow it."""
    latches = LatchSet.of(given_)
    active = {record.record_id for record in latches.active()}
    for record in given_:
        if record.record_id in active and covers(record, "north", "s1", pump_id):
            assert record.record_id in {found.record_id for found in latches.covering("north", "s1", pump_id)}
            assert latches.inhibited("north", "s1", pump_id)


def test_a_clear_that_arrives_first_waits_for_its_stop() -> None:
    """EST-2: the clear overtakes the stop on the way; the stop that follows does not come back to life."""
    bare = stop("a")
    latches = LatchSet.of([clear(bare, release=150)]).merge([bare])
    assert latches.active() == ()
    assert not latches.inhibited(*PUMP)


def test_half_a_clear_clears_nothing() -> None:
    """EST-2: only a person clears; a record with a release but no author is still a stop."""
    half = msgspec.structs.replace(stop("a"), release=500, clear_reason="?")
    latches = LatchSet.of([half])
    assert latches.inhibited(*PUMP)
    assert latches.release_id(*PUMP) == 0


def test_a_second_clear_changes_nothing_that_matters() -> None:
    """EST-5: two people clear at once; both copies end with the same one clear."""
    one, two = clear(stop("a"), release=150), clear(stop("a"), release=160, by="op3")
    assert LatchSet.of([one, two]) == LatchSet.of([two, one])
    assert LatchSet.of([two, one]).release_id(*PUMP) == 150
    assert cleared(one, by="op9", at=T0, reason="again", release=999) is one


@pytest.mark.parametrize(
    ("scope", "scope_id", "covered"),
    [
        (Scope.SYSTEM, "", True),
        (Scope.SYSTEM, "whatever", True),
        (Scope.SITE, "north", True),
        (Scope.SITE, "south", False),
        (Scope.STATION, "s1", True),
        (Scope.STATION, "S1", True),
        (Scope.STATION, "s2", False),
        (Scope.PUMP, "p1", True),
        (Scope.PUMP, "p2", False),
        (Scope.PUMP, "s1", False),
    ],
)
def test_coverage(scope: Scope, scope_id: str, covered: bool) -> None:
    """EST-1: each scope covers what it names and nothing beside it."""
    latches = LatchSet.of([stop("a", scope, scope_id)])
    assert latches.inhibited(*PUMP) is covered
    assert bool(latches.covering(*PUMP, EMERGENCY_STOP)) is covered
    assert latches.covering(*PUMP, OUT_OF_SERVICE) == ()


def test_kinds_are_told_apart_and_an_unknown_one_stops() -> None:
    """EST-6: out of service inhibits without being an emergency stop; a kind of a later version stops."""
    out = LatchSet.of([stop("a", kind=OUT_OF_SERVICE)])
    assert out.inhibited(*PUMP)
    assert out.covering(*PUMP, EMERGENCY_STOP) == ()
    assert out.stops_of_scope(Scope.PUMP, "p1") == ()
    assert LatchSet.of([stop("a", kind="novel")]).covering(*PUMP, EMERGENCY_STOP) != ()


def test_the_coil_of_a_scope_finds_its_own_stop_only() -> None:
    """EST-5: a coil written again while its stop is uncleared is that stop; a wider stop is another one."""
    latches = LatchSet.of([stop("a", Scope.STATION, "s1"), clear(stop("b"), release=150)])
    assert [record.record_id for record in latches.stops_of_scope(Scope.STATION, "s1")] == ["a"]
    assert latches.stops_of_scope(Scope.PUMP, "p1") == ()


def test_release_rises_only_with_the_last_clear() -> None:
    """EST-6: of two overlapping stops the first clear releases nothing, the second does."""
    one, two = stop("a", stamp=100), stop("b", Scope.STATION, "s1", stamp=110)
    latches = LatchSet.of([one])
    assert latches.release_id(*PUMP) == 0
    latches = latches.merge([two])
    latches = latches.merge([clear(one, release=120)])
    assert latches.inhibited(*PUMP)
    assert latches.release_id(*PUMP) == 0
    latches = latches.merge([clear(two, release=130)])
    assert not latches.inhibited(*PUMP)
    assert latches.release_id(*PUMP) == 130


def test_release_of_an_earlier_life_stays_while_a_new_stop_holds() -> None:
    """EST-6: a new stop does not take back the number that the controller has already seen."""
    latches = LatchSet.of([clear(stop("a", stamp=100), release=120), stop("b", stamp=125)])
    assert latches.release_id(*PUMP) == 120
    assert latches.release_id("north", "s1", "p2") == 0


@given(st.lists(st.sampled_from(["set", "clear"]), max_size=12))
def test_release_never_falls_and_rises_only_at_the_end_of_the_inhibit(story: list[str]) -> None:
    """EST-6: over any story of overlapping stops and clears in their own order."""
    latches, stamp, release_id = LatchSet(), 100, 0
    for number, event in enumerate(story):
        stamp += 1
        inhibited_before = latches.inhibited(*PUMP)
        active = latches.active()
        if event == "set":
            latches = latches.merge([stop(f"r{number:02}", stamp=stamp)])
        elif active:
            latches = latches.merge([clear(active[-1], release=stamp)])
        new = latches.release_id(*PUMP)
        assert new >= release_id
        rose = new > release_id
        assert rose is (inhibited_before and not latches.inhibited(*PUMP))
        release_id = new


def test_travels_between_processes() -> None:
    """SUP-6: a latch set survives pickling."""
    latches = LatchSet.of([stop("a"), clear(stop("b"), release=150)])
    assert pickle.loads(pickle.dumps(latches)) == latches


def test_what_was_asked_is_kept_for_so_many_pumps_and_answered_alike_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """BYD-4, EST-6: the answers that are kept are bounded, and none of them depends on what was forgotten."""
    monkeypatch.setattr(latch, "_KEPT_MAX", 2)
    known = LatchSet.of((stop("e1", Scope.STATION, "s1"),))
    for _ in range(2):
        for number in range(5):
            pump_id = f"p{number}"
            assert known.inhibited("north", "s1", pump_id)
            assert not known.inhibited("north", "s2", pump_id)
            assert known.release_id("north", "s1", pump_id) == 0
            assert len(known._covering) <= 2
            assert len(known._releases) <= 2
