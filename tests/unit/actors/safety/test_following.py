"""Goal: a pump that does not do as it is told is named, and none that is on its way (CTL-5).

Method: the law second by second, arbitrary drives, and timelines of the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from actors.safety.following import NEARER_HZ, UNJUDGED, Following, advance
from actors.safety.types import Decision
from tests.unit.actors.safety.timeline import START, Bench, limits, play, pump, station

TOLERANCE_HZ, TIME_S = 2.0, 20.0


def judged(seconds: Iterable[tuple[float | None, float]], was: Following = UNJUDGED) -> list[Following]:
    """Judge a second after the other: (told, measured)."""
    found = []
    for at_s, (told_hz, measured_hz) in enumerate(seconds):
        was = advance(
            was,
            told_hz=told_hz,
            measured_hz=measured_hz,
            tolerance_hz=TOLERANCE_HZ,
            time_s=TIME_S,
            now=START.plus(at_s),
        )
        found.append(was)
    return found


def failed(seconds: Iterable[tuple[float | None, float]], was: Following = UNJUDGED) -> list[bool]:
    return [one.failed_since is not None for one in judged(seconds, was)]


def test_off_for_its_time_and_not_a_second_sooner() -> None:
    """CTL-5: 20 s beyond 2 Hz by default."""
    assert failed([(35.0, 30.0)] * 22) == [False] * 20 + [True] * 2
    assert not any(failed([(35.0, 33.0)] * 100)), "within the tolerance"


def test_a_failure_is_counted_from_its_beginning() -> None:
    """CTL-5: `failed_since` is when it was first named, and what it did not do then stays named."""
    found = judged([(35.0, 30.0)] * 40)
    assert {one.failed_since for one in found[20:]} == {START.plus(20.0)}
    found = judged([(35.0, 30.0)] * 22 + [(20.0, 30.0)] * 30)
    assert (found[-1].failed_since, found[-1].failed_to_run) == (START.plus(20.0), True)


def test_what_comes_nearer_is_on_its_way() -> None:
    """CTL-5: a start, a ramp and a run-down in course are not NOT_FOLLOWING, however slow."""
    start = [(20.0, 0.0)] * 15 + [(20.0, second * 0.1) for second in range(200)]
    assert not any(failed(start))
    ramp = [(20.0 + second, 12.0 + second) for second in range(30)] + [(50.0, 50.0)] * 5
    assert not any(failed(ramp)), "8 Hz behind a ramp, all the way"
    down = [(0.0, max(0.0, 50.0 - second)) for second in range(60)]
    assert not any(failed(down))


def test_a_speed_that_hunts_around_the_same_figure_does_not_come_nearer() -> None:
    """CTL-5: nearer than ever counts, not nearer than a second ago."""
    hunting = [(45.0, 30.0 + 4.0 * (second % 2)) for second in range(40)]
    assert failed(hunting)[-1]


def test_a_pump_that_overshoots_begins_its_time_anew() -> None:
    """CTL-5: too slow, then too fast: it moves, and has the whole time on either side."""
    assert not any(failed([(35.0, 30.0)] * 20 + [(35.0, 40.0)] * 20))
    assert failed([(35.0, 30.0)] * 20 + [(35.0, 40.0)] * 21)[-1]


def test_a_pump_that_does_not_stop_is_named_until_it_stands() -> None:
    """CTL-5: told 0 and running; standing for the time ends it."""
    running = [(0.0, 30.0)] * 21
    assert failed(running)[-1]
    standing = failed([*running, *[(0.0, 0.0)] * 25])
    assert standing[21:] == [True] * 20 + [False] * 5


def test_standing_still_is_no_proof_that_a_pump_would_run() -> None:
    """CTL-5: what would not run is not cured by being told to stand; running within the tolerance ends it."""
    dead = [(35.0, 0.0)] * 21
    assert all(failed([*dead, *[(0.0, 0.0)] * 500])[20:])
    again = failed([*dead, *[(0.0, 0.0)] * 50, *[(20.0, 20.0)] * 25])
    assert again[71:] == [True] * 20 + [False] * 5


def test_a_relapse_within_the_time_begins_it_anew() -> None:
    """CTL-5: hysteresis on return."""
    chatter = [(35.0, 0.0)] * 21 + ([(35.0, 35.0)] * 15 + [(35.0, 30.0)]) * 5
    assert all(failed(chatter)[20:])


def test_what_is_not_told_is_not_judged() -> None:
    """CTL-5: LOCAL or handed back forgets: somebody was at the pump."""
    assert judged([(35.0, 0.0)] * 30 + [(None, 0.0)])[-1] == UNJUDGED


@given(
    st.floats(0.0, 60.0),
    st.lists(st.floats(0.0, 60.0), min_size=1, max_size=60),
)
def test_only_a_pump_that_was_off_for_the_time_without_coming_nearer_is_named(
    told_hz: float, speeds_hz: list[float]
) -> None:
    """CTL-5: for any course of speeds, judged by a witness that looks at the whole of it."""
    for at_s, one in enumerate(judged([(told_hz, speed_hz) for speed_hz in speeds_hz])):
        if one.failed_since is None:
            continue
        named_s = round(one.failed_since.seconds_since(START))
        window = speeds_hz[named_s - int(TIME_S) : named_s + 1]
        assert named_s <= at_s
        assert len(window) == TIME_S + 1
        assert all(abs(told_hz - speed_hz) > TOLERANCE_HZ for speed_hz in window)
        nearer = min(abs(told_hz - speed_hz) for speed_hz in window)
        assert abs(told_hz - window[0]) - nearer < NEARER_HZ or any(
            (speed_hz < told_hz) is not (window[0] < told_hz) for speed_hz in window
        )
        break


# --------------------------------------------------------------------------- in the kernel


def named(decision: Decision) -> bool:
    assert (decision.not_following_since is not None) is decision.conditions.not_following
    return decision.conditions.not_following


def last(bench: Bench) -> bool:
    return named(bench.decisions["a"])


def test_a_pump_that_does_not_turn_is_named_and_its_setpoint_stays() -> None:
    """CTL-5: it is told and alarmed; no rule changes anything because of it."""
    rows = """
        t_s  plan_hz  speed_hz | setpoint_hz  enabled
          0       35        35 |       35.00        1
          1       35         0 |       35.00        1
    """
    assert not last(play(station(pump(of=limits())), rows + "20  35  0 | 35.00  1\n"))
    assert last(play(station(pump(of=limits())), rows + "21  35  0 | 35.00  1\n"))


def test_tolerance_and_time_are_the_pumps_own() -> None:
    """CTL-5: following_tolerance_hz and following_time_s of control_parameters."""
    own = {"following_tolerance_hz": 5.0, "following_time_s": 5.0}
    config = station(pump(of=limits(), control_parameters=own))
    table = """
        t_s  plan_hz  speed_hz | setpoint_hz
          0       35        35 |       35.00
          1       35  {speed} |       35.00
          6       35  {speed} |       35.00
    """
    assert last(play(config, table.format(speed=29)))
    assert not last(play(config, table.format(speed=30)))


def test_an_obedient_pump_is_never_named() -> None:
    """CTL-5: start, ramp, stop and an emergency stop, in seconds."""
    bench = Bench(station(pump(of=limits())))
    for second in range(300):
        wish_hz = 45.0 if second % 100 < 60 else 0.0
        stopped = 150 <= second < 200
        decisions = bench.tick({"a": {"plan_hz": wish_hz, "stop": stopped}}, period_s=1.0)
        assert not named(decisions["a"]), second


def test_local_and_out_of_service_are_not_judged() -> None:
    """CTL-5, CTL-7: at the panel's pump, and at one that is out of service, nobody asks; and it begins anew."""
    for column in ("local", "oos"):
        bench = play(
            station(pump(of=limits())),
            f"""
            t_s  plan_hz  speed_hz  {column} | setpoint_hz
              0       35        35  -        |       35.00
              1       35         0  -        |       35.00
             30       35         0  -        |       35.00
            """,
        )
        assert last(bench)
        bench.tick({"a": {"plan_hz": 35.0, "speed_hz": 0.0, column: 1.0}}, period_s=1.0)
        assert not last(bench)


def test_not_following_is_a_fact_that_the_station_can_use() -> None:
    """CTL-5, CTL-6: `Facts.not_following` names the pump to whoever substitutes it."""
    from actors.safety.conditions import observe
    from actors.safety.types import RoundInput

    bench = Bench(station(pump(of=limits())), start_hz={"a": 35.0})
    given_rounds: list[RoundInput] = []
    for _ in range(25):
        bench.tick({"a": {"plan_hz": 35.0, "speed_hz": 10.0}}, period_s=1.0, spy=given_rounds.append)
    facts, _ = observe(given_rounds[-1], bench.state, now=bench.now)
    assert facts["a"].not_following
