"""When an endpoint writes down what it took and what came back: goal: exact, and bounded whatever happens."""

from __future__ import annotations

import msgspec
import pytest

from actors.messages import PublishedPump
from actors.publisher.gate import PumpGate, StationGate
from actors.publisher.receipts import ECHO_WAIT_S, PERIOD_S, TAKEN_MAX, WAITING_MAX, ReceiptBook, due, noted
from actors.vocabulary import Instant, Mode, Quality, Reason
from actors.vocabulary.records import WireRecord
from tests.unit.actors.publisher.test_actor import setpoint

NOW = Instant("boot", 1_000 * 10**9, 1_780_315_200 * 10**9)
PICTURE = PublishedPump(
    pump_id="p1",
    setpoint_hz=35.0,
    remote_enabled=True,
    run_inhibit=False,
    quality=Quality.GOOD,
    reason=Reason.PLAN,
    heartbeat=1,
    sequence=1,
    epoch_counter=7,
    release_id=5,
    mode=Mode.AUTO,
    accepted_at=NOW,
    lease_left_s=9.5,
    lapses=0,
    refused={"stale": 2},
    echo_hz=None,
    measured_hz=None,
)


class Desk:
    """One endpoint's receipts for one pump, on a clock that the test moves."""

    def __init__(self) -> None:
        self.book = ReceiptBook()
        self.now = NOW
        self.gate = StationGate(pumps={"p1": PumpGate()})
        self.shown = PICTURE
        # The first look of an endpoint's life writes what it shows.
        assert [row.detail["why"] for row in self.look()] == ["changed"]

    def take(self, sequence: int, *, recorded: bool = True, hz: float = 35.0) -> None:
        """Let the gate take a setpoint and show it."""
        taken = msgspec.structs.replace(setpoint(sequence, self.now, hz=hz), recorded=recorded)
        after = StationGate(pumps={"p1": PumpGate(last=taken, accepted_at=self.now)})
        self.show(setpoint_hz=hz, accepted_at=self.now)
        self.book = noted(self.book, "s1", before=self.gate, after=after, picture=lambda _: self.shown)
        self.gate = after

    def show(self, **changes: object) -> None:
        self.shown = msgspec.structs.replace(self.shown, **changes)

    def look(self, *, after_s: float = 0.0) -> tuple[WireRecord, ...]:
        self.now = self.now.plus(after_s)
        self.book, rows = due(
            self.book, {"s1": self.gate}, {("s1", "p1"): self.shown}, endpoint="modbus", now=self.now
        )
        for row in rows:
            msgspec.json.encode(row)
        return rows


def test_a_recorded_decision_is_written_with_its_echo() -> None:
    """SAF-4: epoch, sequence and the moment of acceptance; the echo that came after it, not one from before."""
    desk = Desk()
    desk.show(echo_hz=35.0, echo_at=NOW, measured_hz=30.0, measured_at=NOW)
    desk.now = NOW.plus(1.0)
    desk.take(4)
    assert desk.look(after_s=0.5) == ()
    echoed = desk.now.plus(0.3)
    desk.show(echo_hz=35.01, echo_at=echoed, measured_hz=34.8, measured_at=echoed)
    [row] = desk.look(after_s=0.5)
    assert (row.at, row.accepted_at) == (NOW.plus(1.0).utc, NOW.plus(1.0).utc)
    assert (row.epoch_counter, row.sequence, row.setpoint_hz, row.reason) == (7, 4, 35.0, "PLAN")
    assert row.detail["why"] == "taken"
    assert (row.detail["echo_hz"], row.detail["echo_at"]) == (35.01, echoed.utc.isoformat())
    assert (row.detail["measured_hz"], row.detail["refused"]) == (34.8, {"stale": 2})
    assert desk.look(after_s=1.0) == ()


def test_a_decision_before_the_first_look_is_its_first_row() -> None:
    """SAF-4: nothing was written yet and nothing changed: the receipt waits for its echo like any other."""
    desk = Desk()
    desk.book = ReceiptBook()
    desk.take(1)
    assert desk.look(after_s=1.0) == ()
    assert [row.detail["why"] for row in desk.look(after_s=ECHO_WAIT_S)] == ["taken"]


def test_a_controller_that_says_nothing_or_something_else_is_told_of_as_it_is() -> None:
    """SAF-4: after its time the row is written all the same, with what came back (here: another value)."""
    desk = Desk()
    desk.take(1)
    desk.show(echo_hz=20.0, echo_at=desk.now.plus(1.0))
    assert desk.look(after_s=ECHO_WAIT_S - 0.1) == ()
    [row] = desk.look(after_s=0.2)
    assert (row.detail["why"], row.detail["echo_hz"]) == ("taken", 20.0)


def test_what_nobody_recorded_leaves_no_row_and_the_same_twice_one() -> None:
    """SAF-4: a ramp's ticks and a repeated batch are not rows."""
    desk = Desk()
    desk.take(1, recorded=False, hz=35.2)
    assert desk.look(after_s=ECHO_WAIT_S + 1) == ()
    desk.take(2)
    before = desk.gate
    desk.book = noted(desk.book, "s1", before=before, after=before, picture=lambda _: desk.shown)
    assert len(desk.look(after_s=ECHO_WAIT_S + 1)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"remote_enabled": False, "reason": Reason.LEASE_EXPIRED, "quality": Quality.BAD},
        {"run_inhibit": True},
        {"setpoint_hz": 34.0},
        {"setpoint_hz": 0.0},
        {"mode": None},
        {"lapses": 1},
        {"release_id": 6},
    ],
    ids=str,
)
def test_the_endpoints_own_change_is_written_when_it_is_seen(change: dict[str, object]) -> None:
    """SAF-4, SAF-9: a lapse or a stop that no decision tells of; receipts that wait go first, without their echo."""
    desk = Desk()
    desk.take(1)
    desk.show(**change)
    rows = desk.look(after_s=1.0)
    assert [(row.detail["why"], row.sequence) for row in rows] == [("taken", 1), ("changed", 1)]
    assert rows[1].at == desk.now.utc
    assert desk.look(after_s=1.0) == ()


def test_a_silent_chain_leaves_a_row_now_and_then() -> None:
    """SAF-4: bounded volume: two hours of nothing are 80 rows, not 7,200."""
    desk = Desk()
    rows = [row for _ in range(7_200) for row in desk.look(after_s=1.0)]
    assert len(rows) == 7_200 / PERIOD_S
    assert {row.detail["why"] for row in rows} == {"periodic"}
    assert len({row.record_id for row in rows}) == len(rows)


def test_a_flood_of_recorded_decisions_waits_for_no_echo() -> None:
    """SAF-4: of eight a second each has its row; of a hundred between two looks the newest, and no more wait."""
    desk = Desk()
    numbers = []
    for number in range(1, 41):
        desk.now = desk.now.plus(0.1)
        desk.take(number, hz=35.0 + number % 2 * 0.3)
        if number % 8 == 0:
            numbers += [row.sequence for row in desk.look()]
            assert len(desk.book.waiting["s1", "p1"]) <= WAITING_MAX
    numbers += [row.sequence for row in desk.look(after_s=ECHO_WAIT_S + 1)]
    assert numbers == list(range(1, 41))
    for number in range(100, 200):
        desk.take(number, hz=35.0)
    assert len(desk.book.waiting["s1", "p1"]) == TAKEN_MAX
    assert [row.sequence for row in desk.look(after_s=ECHO_WAIT_S + 1)] == list(range(200 - TAKEN_MAX, 200))


def test_a_pump_that_is_gone_is_forgotten() -> None:
    """DAT-4: nothing is kept of it."""
    desk = Desk()
    desk.take(1)
    book, rows = due(desk.book, {}, {}, endpoint="modbus", now=desk.now)
    assert (book, rows) == (ReceiptBook(), ())
