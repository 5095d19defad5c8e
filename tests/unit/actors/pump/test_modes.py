"""AUTO, MANUAL and the held stop: the whole transition table, expiries, restarts, commands said twice."""

from __future__ import annotations

import itertools
import math
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import SetMode
from actors.pump.modes import (
    COMMANDS_REMEMBERED,
    EXPIRY_S_MAX,
    TRANSITIONS,
    Command,
    Event,
    ModeState,
    expire,
    expiry_record,
    from_store,
    order,
    to_store,
)
from actors.vocabulary import InvalidValueError, Mode, RefusedError
from actors.vocabulary.durable import StoredMode
from tests.unit.actors.pump.parts import at, instant

_numbers = itertools.count()


def command(
    mode: Mode, hz: float | None = None, for_s: float | None = None, command_id: str | None = None
) -> SetMode:
    return SetMode(
        pump_id="p-1",
        command_id=command_id or f"c-{next(_numbers)}",
        mode=mode,
        by="ada",
        setpoint_hz=hz,
        expires_after_s=for_s,
    )


def ordered(
    state: ModeState, message: SetMode, *, t_s: float = 0.0, applied_hz: float | None = 33.0
) -> ModeState:
    return order(state, message, now=instant(t_s), applied_hz=applied_hz, expiry_s=3600.0)


def test_an_operators_shift_as_a_timeline() -> None:
    """CTL-7: MANUAL expires to AUTO, MANUAL 0 to held-stopped, which only an operator ends."""
    timeline = """
        t_s  order   hz  for_s | command       setpoint_hz
          0  -        -      - | AUTO          -
         10  MANUAL  40    100 | MANUAL_RUN    40
        109  -        -      - | MANUAL_RUN    40
        110  -        -      - | AUTO          -
        200  MANUAL   0     60 | MANUAL_STOP   0
        259  -        -      - | MANUAL_STOP   0
        260  -        -      - | HELD_STOPPED  0
     999999  -        -      - | HELD_STOPPED  0
    1000000  MANUAL  30      - | MANUAL_RUN    30
    1003599  -        -      - | MANUAL_RUN    30
    1003600  -        -      - | AUTO          -
    1004000  MANUAL   0     60 | MANUAL_STOP   0
    1004001  AUTO     -      - | AUTO          -
    1004061  -        -      - | AUTO          -
    """
    state = ModeState()
    for line in timeline.strip().splitlines()[1:]:
        told, expected = line.split("|")
        t_s, mode, hz, for_s = told.split()
        state = expire(state, now=instant(float(t_s)))
        if mode != "-":
            message = command(
                Mode[mode], None if hz == "-" else float(hz), None if for_s == "-" else float(for_s)
            )
            state = ordered(state, message, t_s=float(t_s))
        wanted_command, wanted_hz = expected.split()
        assert state.command == wanted_command, line
        assert state.setpoint_hz == (None if wanted_hz == "-" else float(wanted_hz)), line
        assert state.held_stopped == (state.command is Command.HELD_STOPPED)


def test_the_table_is_whole_and_no_expiry_starts_a_stopped_pump() -> None:
    """CTL-7: every order is possible everywhere; nothing but an order leaves a stop that an operator made."""
    orders = {Event.ORDER_AUTO, Event.ORDER_RUN, Event.ORDER_STOP}
    assert {key for key in TRANSITIONS if key[1] in orders} == set(itertools.product(Command, orders))
    expiries = {key[0]: target for key, target in TRANSITIONS.items() if key[1] is Event.EXPIRED}
    assert expiries == {Command.MANUAL_RUN: Command.AUTO, Command.MANUAL_STOP: Command.HELD_STOPPED}


def test_manual_without_a_value_takes_over_what_is_applied() -> None:
    """CTL-7: AUTO to MANUAL bumpless; taking over a stopped pump is a MANUAL 0; nothing known, nothing taken over."""
    assert ordered(ModeState(), command(Mode.MANUAL), applied_hz=33.0).setpoint_hz == 33.0
    assert ordered(ModeState(), command(Mode.MANUAL), applied_hz=0.0).command is Command.MANUAL_STOP
    with pytest.raises(RefusedError, match="give setpoint_hz"):
        ordered(ModeState(), command(Mode.MANUAL), applied_hz=None)


@pytest.mark.parametrize("hz", [-0.1, 100.1, math.nan, math.inf, -math.inf])
def test_an_absurd_value_is_refused(hz: float) -> None:
    """CTL-7: MANUAL takes 0..100 Hz; the text names pump, value and expectation."""
    with pytest.raises(InvalidValueError, match=r"pump p-1: setpoint_hz is .*, expected 0\.\.100 Hz"):
        ordered(ModeState(), command(Mode.MANUAL, hz))


@pytest.mark.parametrize("hz", [0.01, 19.99])
def test_a_speed_below_the_minimum_is_refused(hz: float) -> None:
    """CTL-7: it would be a stop that expires into a start; 0 and the minimum itself are understood."""
    with pytest.raises(InvalidValueError, match=r"pump p-1: setpoint_hz is .*, expected 0 or 20\.\.100 Hz"):
        order(
            ModeState(), command(Mode.MANUAL, hz), now=instant(0), applied_hz=33.0, expiry_s=60.0, min_hz=20.0
        )


@pytest.mark.parametrize(
    ("hz", "applied_hz", "expected"),
    [
        (20.0, 33.0, Command.MANUAL_RUN),
        (0.0, 33.0, Command.MANUAL_STOP),
        (None, 20.0, Command.MANUAL_RUN),
        (None, 19.0, Command.MANUAL_STOP),
    ],
)
def test_what_a_speed_at_the_edge_of_the_band_means(
    hz: float | None, applied_hz: float, expected: Command
) -> None:
    """CTL-7: also what is taken over from a pump that is running down is a stop, never a start to come."""
    state = order(
        ModeState(),
        command(Mode.MANUAL, hz),
        now=instant(0),
        applied_hz=applied_hz,
        expiry_s=60.0,
        min_hz=20.0,
    )
    assert state.command is expected


@pytest.mark.parametrize("for_s", [0.0, -1.0, math.nan, math.inf, EXPIRY_S_MAX + 1])
def test_every_manual_ends(for_s: float) -> None:
    """CTL-7: an operator's value has an expiry, a sane one."""
    with pytest.raises(InvalidValueError, match="expires_after_s"):
        ordered(ModeState(), command(Mode.MANUAL, 30.0, for_s))


@pytest.mark.parametrize("mode", [Mode.LOCAL, Mode.OUT_OF_SERVICE])
def test_local_and_out_of_service_are_not_set_here(mode: Mode) -> None:
    """CTL-7: LOCAL comes from the panel, OUT_OF_SERVICE travels like a stop."""
    with pytest.raises(RefusedError):
        ordered(ModeState(), command(mode))


def test_a_command_said_twice_is_carried_out_once() -> None:
    """SUP-6: command ids are idempotent: the late echo of an old command changes nothing."""
    manual = command(Mode.MANUAL, 40.0, 60.0, command_id="c-a")
    first = ordered(ModeState(), manual)
    auto = ordered(first, command(Mode.AUTO, command_id="c-b"), t_s=5)
    assert ordered(auto, manual, t_s=6) is auto
    state = auto
    for _ in range(COMMANDS_REMEMBERED * 2):
        state = ordered(state, command(Mode.AUTO), t_s=7)
    assert len(state.commands) == COMMANDS_REMEMBERED


def test_what_is_stored_comes_back_with_the_time_that_is_left() -> None:
    """CTL-7: a restart keeps mode, value and end; the time of the restart counts."""
    state = ordered(ModeState(), command(Mode.MANUAL, 40.0, 100.0), t_s=0)
    back = from_store(to_store(state, "p-1"), now=instant(30))
    assert (back.command, back.setpoint_hz, back.by) == (Command.MANUAL_RUN, 40.0, "ada")
    assert back.expires_at is not None
    assert back.expires_at.seconds_since(instant(30)) == pytest.approx(70.0)
    assert to_store(back, "p-1") == to_store(state, "p-1")
    late = from_store(to_store(state, "p-1"), now=instant(500))
    assert expire(late, now=instant(500)).command is Command.AUTO


def test_a_stop_that_ran_out_while_we_were_down_is_held() -> None:
    """CTL-7: a MANUAL 0 never ends in a start, also not by way of a restart."""
    state = ordered(ModeState(), command(Mode.MANUAL, 0.0, 100.0), t_s=0)
    held = expire(from_store(to_store(state, "p-1"), now=instant(500)), now=instant(500))
    assert held.command is Command.HELD_STOPPED
    again = from_store(to_store(held, "p-1"), now=instant(9_999))
    assert expire(again, now=instant(9_999_999)).command is Command.HELD_STOPPED


def test_a_wall_clock_set_back_grants_no_extra_time() -> None:
    """CTL-7, WDG-1: after a clock step at most the time that was granted is left."""
    stored = to_store(ordered(ModeState(), command(Mode.MANUAL, 40.0, 100.0), t_s=0), "p-1")
    back = from_store(stored, now=instant(-86_400))
    assert back.expires_at is not None
    assert back.expires_at.seconds_since(instant(-86_400)) == pytest.approx(100.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"setpoint_hz": None},
        {"setpoint_hz": math.nan},
        {"setpoint_hz": 4000.0},
        {"expires_at": None},
        {"expires_at": datetime(2026, 11, 1)},  # noqa: DTZ001 (the point of the test)
        {"set_at": datetime(2026, 11, 1)},  # noqa: DTZ001
        {"mode": Mode.LOCAL},
    ],
)
def test_a_stored_mode_that_makes_no_sense_is_a_held_stop(changes: dict[str, object]) -> None:
    """CTL-7: what cannot be understood may have been a stop, so it never becomes a start."""
    sane = StoredMode(
        pump_id="p-1", mode=Mode.MANUAL, by="ada", setpoint_hz=30.0, set_at=at(0), expires_at=at(60)
    )
    assert from_store(sane, now=instant(1)).command is Command.MANUAL_RUN
    assert (
        from_store(msgspec.structs.replace(sane, **changes), now=instant(1)).command is Command.HELD_STOPPED
    )
    assert from_store(None, now=instant(1)).command is Command.AUTO


def test_an_expiry_is_audited_once() -> None:
    """AUD-2: who had which mode and what it became; the same expiry keeps its record id across restarts."""
    state = ordered(ModeState(), command(Mode.MANUAL, 0.0, 60.0))
    record = expiry_record("p-1", state, expire(state, now=instant(60)), now=instant(60), by="/pump")
    later = expiry_record("p-1", state, expire(state, now=instant(90)), now=instant(90), by="/pump")
    assert record.record_id == later.record_id
    assert record.before == {"mode": "MANUAL_STOP", "by": "ada", "setpoint_hz": 0.0}
    assert record.after == {"mode": "HELD_STOPPED", "setpoint_hz": 0.0}


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 5_000.0),
            st.sampled_from(["auto", "run", "stop", "wait", "restart"]),
            st.floats(1.0, 7_200.0),
        ),
        max_size=30,
    )
)
def test_after_a_stop_order_the_pump_stands_until_somebody_says_otherwise(
    story: list[tuple[float, str, float]],
) -> None:
    """CTL-7: in any story of orders, waiting and restarts a MANUAL 0 lasts until the next order."""
    now, state, stopped = instant(0), ModeState(), False
    for wait_s, what, for_s in story:
        now = now.plus(wait_s)
        state = expire(state, now=now)
        match what:
            case "auto":
                state, stopped = (
                    order(state, command(Mode.AUTO), now=now, applied_hz=None, expiry_s=1.0),
                    False,
                )
            case "run" | "stop":
                hz = 0.0 if what == "stop" else 30.0
                message = command(Mode.MANUAL, hz, for_s)
                state, stopped = order(state, message, now=now, applied_hz=None, expiry_s=1.0), what == "stop"
            case "restart":
                stored = to_store(state, "p-1") if state.set_at is not None else None
                now = now.plus(timedelta(hours=1).total_seconds())
                state = expire(from_store(stored, now=now), now=now)
            case _:
                pass
        standing = state.command in {Command.MANUAL_STOP, Command.HELD_STOPPED}
        assert standing == stopped
        assert not standing or state.setpoint_hz == 0.0


def test_a_speed_that_is_for_manual_does_not_bring_it_back() -> None:
    """CTL-7, SPB-1: MANUAL ended on the way: refused, whoever asked; in MANUAL it is an ordinary command."""
    speed = msgspec.structs.replace(command(Mode.MANUAL, 41.0), only_in=Mode.MANUAL)
    with pytest.raises(RefusedError, match="is in AUTO, not in MANUAL"):
        ordered(ModeState(), speed)
    manual = ordered(ModeState(), command(Mode.MANUAL, 30.0))
    assert ordered(manual, speed).setpoint_hz == 41.0
