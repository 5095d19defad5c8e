"""The feedback board: goal: what is shown is what was written last, by anyone, and never more than is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feedback import POINTS
from actors.messages import FeedbackReceived, JudgedValue, PumpFeedback, Sample
from actors.publisher.feedback_board import (
    RULES,
    Board,
    Judged,
    flush,
    held,
    merged,
    refusal_of,
    scada_beat,
    shown_points,
    written,
)
from actors.vocabulary import Instant, Quality, WriteRefusal
from protocols.points import FEEDBACK_POINTS

T0 = Instant("boot-a", 1_000 * 10**9, 1_800_000_000 * 10**9)


def test_the_rules_are_those_of_the_map() -> None:
    """MOD-2: every point that a controller may write has its rule, and no other has one."""
    assert set(RULES) == {*FEEDBACK_POINTS, "scada_heartbeat"}


@pytest.mark.parametrize(
    ("point", "value", "refusal"),
    [
        ("actual_speed", 34.5, None),
        ("actual_speed", 34, None),
        ("actual_speed", -0.01, WriteRefusal.OUT_OF_RANGE),
        ("actual_speed", 655.36, WriteRefusal.OUT_OF_RANGE),
        ("actual_speed", math.nan, WriteRefusal.OUT_OF_RANGE),
        ("actual_speed", True, WriteRefusal.BAD_TYPE),
        ("actual_speed", "34", WriteRefusal.BAD_TYPE),
        ("wet_well_level", -3.2, None),
        ("wet_well_level", math.inf, WriteRefusal.OUT_OF_RANGE),
        ("running", True, None),
        ("running", 1, None),
        ("running", 2, WriteRefusal.OUT_OF_RANGE),
        ("running", 0.5, WriteRefusal.BAD_TYPE),
        ("fault_code", 65_535, None),
        ("fault_code", 65_536, WriteRefusal.OUT_OF_RANGE),
        ("fault_code", 1.5, WriteRefusal.BAD_TYPE),
        ("plc_heartbeat", -1, WriteRefusal.OUT_OF_RANGE),
        ("setpoint", 30.0, WriteRefusal.READ_ONLY),
        ("heartbeat", 1, WriteRefusal.READ_ONLY),
    ],
)
def test_what_may_be_written(point: str, value: object, refusal: WriteRefusal | None) -> None:
    """MOD-3: type, range and finiteness, each with its own refusal."""
    assert refusal_of(point, value) is refusal


writes = st.lists(st.tuples(st.sampled_from(["own", "heard"]), st.integers(0, 20)), min_size=1, max_size=10)


@given(writes)
def test_the_newest_write_is_shown_whoever_made_it(story: list[tuple[str, int]]) -> None:
    """CTL-4: by the moment of the write, not of its arrival; one endpoint's own clock never runs back."""
    board, own_at = Board(), 0
    now = T0.plus(100.0)
    newest = -1
    for who, drawn_s in story:
        at_s = max(drawn_s, own_at) if who == "own" else drawn_s
        at = T0.plus(float(at_s))
        if who == "own":
            own_at = at_s
            board = written(board, "s1", "p1", "actual_speed", float(at_s), at=at, source="modbus")
        else:
            news = PumpFeedback(pump_id="p1", actual_speed_hz=Sample(float(at_s), at, "opcua"))
            board = merged(board, FeedbackReceived(station_id="s1", source="opcua", pumps=(news,)), now=now)
        newest = max(newest, at_s)
    shown = held(board, "s1", "p1", now=now).actual_speed_hz
    assert shown is not None
    assert shown.value == float(newest)


def test_a_flush_tells_only_what_was_written_here_and_only_once() -> None:
    """CTL-4: what came from elsewhere makes no station dirty."""
    at = T0
    heard = PumpFeedback(pump_id="p1", running=Sample(1.0, at, "opcua"))
    board = merged(Board(), FeedbackReceived(station_id="s1", source="opcua", pumps=(heard,)), now=at)
    board, nothing = flush(board, source="modbus")
    assert nothing == ()
    board = written(board, "s1", "p1", "actual_speed", 30.0, at=at, source="modbus")
    board, (told,) = flush(board, source="modbus")
    (feedback,) = told.pumps
    assert (feedback.running, feedback.actual_speed_hz) == (None, Sample(30.0, at, "modbus"))
    assert flush(board, source="modbus")[1] == ()


def test_what_cannot_be_on_the_wire_is_shown_as_never_written() -> None:
    """CTL-4: a poller's NaN or a negative speed must not break an encoder."""
    for value in (math.nan, math.inf, -5.0, 1e9):
        heard = PumpFeedback(pump_id="p1", actual_speed_hz=Sample(value, T0, "database"))
        board = merged(Board(), FeedbackReceived(station_id="s1", source="database", pumps=(heard,)), now=T0)
        good = dict.fromkeys(POINTS, JudgedValue(value=value, quality=Quality.GOOD, age_s=0.0))
        points = shown_points(board, "s1", {"p1": Judged(heard, good)}, now=T0, stale_s=30.0)
        shown = {point: value for _, point, value in points}
        assert (shown["actual_speed"].value, shown["actual_speed"].quality) == (0.0, Quality.BAD)


def test_a_heartbeat_lives_by_moving() -> None:
    """WDG-1: the same number written again and again is a dead SCADA."""
    board = Board()
    for second, value in enumerate([7.0, 8.0, 8.0, 8.0]):
        board = written(board, "s1", None, "scada_heartbeat", value, at=T0.plus(second), source="modbus")
    beat = scada_beat(board, "s1")
    assert beat is not None
    assert beat.moved_at == T0.plus(1.0)
    assert beat.sample.at == T0.plus(3.0)
