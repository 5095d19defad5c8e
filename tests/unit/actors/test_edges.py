"""Branches of the law that no story of an actor comes past: refusals, full books, disks that refuse, other boots."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import pytest

from actors.messages import FeedbackReceived, Sample, StopsChanged, Tick, coalescing_key
from actors.plan.conditions import CONDITIONS_MAX, ConditionBook
from actors.plan.validation import needed_columns
from actors.publisher import feedback_board
from actors.publisher.refusals import PEERS_MAX, Refusals, refused
from actors.publisher.stop_desk import StopDesk
from actors.safety.latch import LatchSet
from actors.storage.draining import DrainState, alarms
from actors.vocabulary import (
    ControlType,
    DeviceError,
    Instant,
    InvalidValueError,
    Scope,
    Severity,
    WriteRefusal,
)
from actors.vocabulary.ids import checked_id, site_address
from actors.vocabulary.records import StopEventRecord
from tests.simulation.fakes import FakeLatchStore

NOW = Instant("boot", 1_000 * 10**9, 1_800_000_000 * 10**9)
STOP = StopEventRecord(
    record_id="s", scope=Scope.PUMP, scope_id="p", reason="t", set_by="t", set_at=NOW.utc, set_stamp=20
)


def test_ids_are_lower_case_and_checked() -> None:
    """DAT-4: an id is `[a-z0-9][a-z0-9_-]{0,39}` after lower-casing; another is refused with its place."""
    assert checked_id("North-1", place="sites") == "north-1"
    assert site_address("north-1") == "/sites/north-1"
    with pytest.raises(InvalidValueError, match="sites"):
        checked_id("-north", place="sites")


def test_an_age_across_two_boots_is_old() -> None:
    """SAF-9: the clocks of two boots say nothing about an age, so it counts as infinite."""
    assert math.isinf(NOW.seconds_since(Instant("another", 999 * 10**9, NOW.utc_ns)))


def test_equal_latches_hash_alike() -> None:
    """EST-2: the set can be a key; equal sets are one key."""
    assert {LatchSet.of([STOP]): 1}[LatchSet.of([STOP, STOP])] == 1


def test_a_book_that_is_full_takes_no_more_and_counts() -> None:
    """ALM-1: alarms are bounded: what does not fit is counted, what is held stays and may be renewed."""
    book = ConditionBook()
    for number in range(CONDITIONS_MAX + 2):
        book.hold("condition", str(number), Severity.LOW, "text")
    assert book.dropped == 2
    book.hold("condition", "0", Severity.HIGH, "renewed")
    assert book.dropped == 2


def test_refusals_are_bounded_by_peer() -> None:
    """MOD-4: a thousand addresses that write nonsense do not fill the memory: the oldest one is forgotten."""
    state = Refusals()
    for number in range(PEERS_MAX + 1):
        state, _ = refused(
            state,
            peer=f"host-{number}:1",
            path="/p",
            value=1,
            why=WriteRefusal.READ_ONLY,
            record_id=str(number),
            now=NOW.plus(number / 1000.0),
        )
    assert len(state.peers) == PEERS_MAX
    assert "host-0" not in state.peers
    assert state.total == PEERS_MAX + 1


def test_power_control_needs_a_power() -> None:
    """CTL-1: each control type names the columns of a plan that must not be NULL."""
    assert needed_columns(ControlType.POWER_CONTROLLED) == ("target_power_kw",)


class RefusingFolder:
    """A latch folder that was never joined, and whose disk refuses from a certain moment on."""

    def __init__(self) -> None:
        self.refuses = False

    def _ask(self) -> None:
        if self.refuses:
            raise DeviceError("the disk refuses")

    def load(self) -> tuple[StopEventRecord, ...]:
        self._ask()
        return ()

    def merge(self, records: Sequence[StopEventRecord], *, wanted: Callable[[], bool] = lambda: True) -> None:
        self._ask()

    def next_stamp(self) -> int:
        self._ask()
        return 1

    def fingerprint(self) -> object:
        self._ask()
        return object()

    def is_new(self) -> bool:
        self._ask()
        return True

    def drop(self, record_ids: object) -> None:
        self._ask()

    def mark_joined(self) -> None:
        self._ask()


def test_a_folder_that_cannot_be_marked_or_read_is_alarmed() -> None:
    """EST-2: the stops that are known go on counting; that the disk refuses is an alarm."""
    folder, book = RefusingFolder(), ConditionBook()
    desk = StopDesk(folder, book, "gate")
    desk.load()
    relied_on = [desk.whole]
    folder.refuses = True
    desk.joined()
    relied_on.append(desk.whole)
    assert relied_on == [False, True]
    assert desk.poll() == ()
    held = {condition for condition, _ in book._held}
    assert held == {"latch_not_durable", "latch_unreadable"}


def test_another_endpoints_scada_heartbeat_is_taken() -> None:
    """WDG-1: whichever endpoint the client writes to, its heartbeat counts at both."""
    news = FeedbackReceived(
        station_id="s1", pumps=(), source="modbus", scada_heartbeat=Sample(value=7.0, at=NOW)
    )
    board = feedback_board.merged(feedback_board.Board(), news, now=NOW)
    beat = feedback_board.scada_beat(board, "s1")
    assert beat is not None
    later = msgspec.structs.replace(news, scada_heartbeat=Sample(value=8.0, at=NOW.plus(1.0)))
    moved = feedback_board.scada_beat(feedback_board.merged(board, later, now=NOW.plus(1.0)), "s1")
    assert moved is not None
    assert moved.moved_at == NOW.plus(1.0)


def test_what_may_overtake_itself_is_named() -> None:
    """SUP-6: setpoints and proposals coalesce by what they are about, commands never do."""
    news = FeedbackReceived(station_id="s1", pumps=(), source="modbus")
    assert coalescing_key(Tick(what="x")) != coalescing_key(Tick(what="y"))
    assert coalescing_key(StopsChanged(stops=(STOP,))) is None
    assert coalescing_key(news) == coalescing_key(msgspec.structs.replace(news))


def test_a_damaged_spool_is_told() -> None:
    """AUD-4: what was set aside is named."""
    held = alarms(
        DrainState(),
        spooled_bytes=0,
        bytes_max=1,
        damaged_files=("spool.1",),
        was=frozenset(),
        unreachable_after_s=60.0,
        now=NOW,
    )
    assert [text for text in held.values() if "spool.1" in text]


def test_a_store_that_knows_no_database_is_relied_on_as_it_is() -> None:
    """EST-2: where nothing can be joined, nothing is waited for and nothing marked."""
    desk = StopDesk(FakeLatchStore(), ConditionBook(), "gate")
    desk.joined()
    assert desk.whole
