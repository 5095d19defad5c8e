"""Rule 6 as timelines, and the law of starts, run and rest beneath it (SAF-2.6, SAF-7)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from actors.safety.timers import HOUR_S, STARTS_KEPT, advance, guarded, ordered, run_s, start_refusal
from actors.safety.types import PumpState
from actors.vocabulary import Instant, PumpConfig, Reason, Rule
from actors.vocabulary.durable import MotorTimers
from tests.unit.actors.safety.timeline import START, Bench, limits, play, pump, station

LEASE_S: Final = 10.0


def known(*, turning: bool, s_ago: float = 7200.0, starts_s_ago: tuple[float, ...] = ()) -> MotorTimers:
    """Timers that have been known without a gap until now."""
    return MotorTimers(
        turning=turning,
        since=START.plus(-s_ago),
        known_at=START,
        starts=tuple(START.plus(-ago) for ago in starts_s_ago),
        confirmed=turning,
    )


def follow(
    timers: MotorTimers | None, running: bool | None, *, at_s: float, told: bool = False
) -> MotorTimers:
    found = advance(timers, running=running, told=told, now=START.plus(at_s), gap_s_max=LEASE_S)
    assert found is not None
    return found


# ----------------------------------------------------------------- the timers themselves


def test_nothing_known_is_just_started_and_just_stopped() -> None:
    """SAF-7: unknown timers count as just started and just stopped."""
    standing = advance(None, running=False, told=False, now=START, gap_s_max=LEASE_S)
    assert standing is not None
    assert (standing.turning, standing.since, standing.starts) == (False, START, (START,))
    turning = advance(None, running=True, told=False, now=START, gap_s_max=LEASE_S)
    assert turning is not None
    assert (turning.turning, turning.since, turning.starts) == (True, START, (START,))
    assert advance(None, running=None, told=False, now=START, gap_s_max=LEASE_S) is None


def test_a_gap_as_long_as_a_lease_is_bridged_and_a_longer_one_is_unknown() -> None:
    """SAF-7: while gates hold our value nobody else starts the pump; after that anything may have happened."""
    rested = known(turning=False)
    assert follow(rested, False, at_s=LEASE_S) == msgspec.structs.replace(
        rested, known_at=START.plus(LEASE_S)
    )
    unknown = follow(rested, False, at_s=LEASE_S + 0.1)
    assert (unknown.since, len(unknown.starts)) == (START.plus(LEASE_S + 0.1), 1)
    silent = advance(rested, running=None, told=False, now=START.plus(5.0), gap_s_max=LEASE_S)
    assert silent is rested
    assert follow(silent, False, at_s=20.0).since == START.plus(20.0)


def test_a_clock_that_runs_backwards_makes_the_timers_unknown() -> None:
    """SAF-7: what was known in the future was not known."""
    assert follow(known(turning=False), False, at_s=-1.0).since == START.plus(-1.0)


def test_an_ordered_start_counts_once_until_it_is_seen() -> None:
    """SAF-7: counted before it is published; the drive's own delay is neither a stop nor a second start."""
    timers = ordered(known(turning=False), now=START)
    for at_s in (1.0, 2.0, 3.0):
        timers = follow(timers, False, at_s=at_s, told=True)
    assert (timers.turning, timers.confirmed) == (True, False)
    timers = follow(timers, True, at_s=4.0, told=True)
    assert (timers.turning, timers.confirmed, timers.starts) == (True, True, (START,))
    assert run_s(timers, now=START.plus(4.0)) == 4.0


def test_a_start_that_nobody_ordered_counts_too() -> None:
    """SAF-7: the panel, the local controller, a drive that restarts by itself after a trip."""
    assert len(follow(known(turning=False), True, at_s=1.0).starts) == 1
    running = follow(known(turning=True, starts_s_ago=(60.0,)), True, at_s=1.0, told=True)
    tripped = follow(running, False, at_s=2.0, told=True)
    assert (tripped.turning, tripped.since) == (False, START.plus(2.0))
    again = follow(tripped, True, at_s=3.0, told=True)
    assert (again.turning, len(again.starts)) == (True, 2)


def test_rest_begins_when_the_pump_is_seen_to_stand() -> None:
    """SAF-2.6: running down is not resting; a start that was never seen ends with its order."""
    down = follow(known(turning=True), True, at_s=1.0)
    assert down.turning
    assert follow(down, False, at_s=2.0).since == START.plus(2.0)
    never_seen = follow(ordered(known(turning=False), now=START), False, at_s=1.0, told=False)
    assert (never_seen.turning, never_seen.since) == (False, START.plus(1.0))


def test_starts_are_forgotten_after_an_hour_and_bounded() -> None:
    """SAF-2.6: the last hour counts, and nothing grows without end."""
    timers = known(turning=False, starts_s_ago=(3599.5, 10.0))
    assert len(follow(timers, False, at_s=0.4).starts) == 2
    assert len(follow(timers, False, at_s=0.5).starts) == 1
    for number in range(STARTS_KEPT + 50):
        timers = ordered(timers, now=START.plus(number * 0.1))
    assert len(timers.starts) == STARTS_KEPT


def test_what_forbids_a_start_is_named() -> None:
    """SAF-2.6: minimum rest, starts per hour, a run that was too long; without such limits nothing does."""
    now, free = START, limits()
    assert not guarded(free)
    assert start_refusal(None, free, now=now) == ""
    assert "not known" in start_refusal(None, limits(min_run_s=5.0), now=now)
    rest = limits(min_rest_s=60.0)
    assert "rested 59 s" in start_refusal(known(turning=False, s_ago=59.0), rest, now=now)
    assert start_refusal(known(turning=False, s_ago=60.0), rest, now=now) == ""
    assert "still turning" in start_refusal(known(turning=True), rest, now=now)
    often = limits(max_starts_per_hour=2)
    assert "the next in 2600 s" in start_refusal(known(turning=False, starts_s_ago=(1000, 5)), often, now=now)
    assert start_refusal(known(turning=False, starts_s_ago=(HOUR_S, 5)), often, now=now) == ""
    long = limits(max_run_s=100.0)
    assert "maximum run" in start_refusal(known(turning=True, s_ago=100.0), long, now=now)
    assert start_refusal(known(turning=True, s_ago=99.0), long, now=now) == ""


def test_a_limit_beyond_what_is_remembered_still_binds() -> None:
    """SAF-2.6: more starts per hour than are kept cannot be allowed."""
    timers = known(turning=False, starts_s_ago=tuple(float(at) for at in range(STARTS_KEPT, 0, -1)))
    assert start_refusal(timers, limits(max_starts_per_hour=STARTS_KEPT + 10), now=START) != ""


# ----------------------------------------------------------------- the rule as timelines


def bench_of(*pumps: PumpConfig, **more: Any) -> Bench:
    return Bench(station(*pumps, **more))


def with_timers(bench: Bench, **timers: MotorTimers) -> Bench:
    """Let a bench remember these timers, as a restarted safety would."""
    bench.state = msgspec.structs.replace(
        bench.state, pumps={name: PumpState(timers=one) for name, one in timers.items()}
    )
    return bench


def test_minimum_rest_refuses_a_start() -> None:
    """SAF-2.6: no start before the pump has rested; unknown counts as just stopped, also at our own start."""
    play(
        limits(min_rest_s=30.0),
        """
        t_s  plan_hz | setpoint_hz  reason            because
          0       35 |        0.00  protection_timer  protection_timers
         29       35 |        0.00  protection_timer  protection_timers
         30       35 |       20.00  ramp              start_step
         45        0 |       33.00  ramp              rate
         58        0 |       20.00  ramp              rate
         59        0 |        0.00  plan              plan
         60       35 |        0.00  protection_timer  protection_timers
         89       35 |        0.00  protection_timer  protection_timers
         90       35 |       20.00  ramp              start_step
        """,
        start_hz=0,
    )


def test_minimum_run_keeps_a_pump_at_its_minimum() -> None:
    """SAF-2.6: a pump that has just started runs on at its minimum, whoever wants it stopped: plan, cap on flow."""
    play(
        limits(min_run_s=30.0, rate_hz_per_s=100.0),
        """
        t_s  plan_hz | setpoint_hz  reason            because
          0        0 |        0.00  plan              plan
          1       35 |       20.00  ramp              start_step
          2       35 |       35.00  plan              plan
          3        0 |       20.00  protection_timer  protection_timers
         10       10 |       20.00  protection_timer  protection_timers
         11       16 |       20.00  limited           speed_band
         12       30 |       30.00  plan              plan
         30        0 |       20.00  protection_timer  protection_timers
         31        0 |        0.00  plan              plan
        """,
    )
    play(
        station(
            pump(
                of=limits(min_run_s=30.0, max_flow_m3h=10.0, rate_hz_per_s=100.0),
                rated_flow_m3h=100.0,
                rated_speed_hz=50.0,
            )
        ),
        """
        t_s  plan_hz | setpoint_hz  reason
          0       20 |       20.00  limited
          1       35 |       20.00  limited
         29       35 |       20.00  limited
         30       35 |        0.00  limited
        """,
    )


def test_minimum_run_holds_against_failsafe_and_an_operators_zero() -> None:
    """SAF-2.6: rule 5 goes through it, and a MANUAL 0 is a normal stop."""
    play(
        station(pump(of=limits(min_run_s=30.0, rate_hz_per_s=100.0), default_setpoint_hz=0.0)),
        """
        t_s  plan_hz  mode    failsafe           | setpoint_hz  reason
          0       35  AUTO    -                  |       35.00  plan
          1        -  AUTO    FAILSAFE_DATABASE  |       20.00  protection_timer
          2        0  MANUAL  -                  |       20.00  protection_timer
         30        0  MANUAL  -                  |        0.00  manual
        """,
    )


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [("stop", "1", "emergency_stop"), ("oos", "1", "out_of_service"), ("level_m", "0.4", "dry_run")],
)
def test_rule_6_never_holds_a_pump_against_1_to_3(column: str, value: str, reason: str) -> None:
    """SAF-2: 4, 6 and soft_stop may hold a pump running, never against 1 to 3."""
    config = station(
        pump(of=limits(min_run_s=600.0, dry_run_m=0.5, dry_run_reset_m=0.6)), soft_stop_hz_per_s=0.1
    )
    good = "1.0" if column == "level_m" else "0"
    header = f"t_s  plan_hz  {column}" + ("" if column == "level_m" else "  level_m")
    level = "" if column == "level_m" else "  1.0"
    play(
        config,
        f"""
        {header} | setpoint_hz  reason
          0  35  {good}{level}  |  35.00  plan
          1   0  {value}{level} |   0.00  {reason}
        """,
    )


def test_minimum_run_yields_to_motor_power_and_to_the_stations_bounds() -> None:
    """SAF-2.4, 2.6: motor power and maximum running bind rule 4, which stands above 6."""
    rated = {"rated_power_kw": 10.0, "rated_speed_hz": 50.0}
    play(
        station(pump(of=limits(min_run_s=600.0, max_power_kw=0.5, rate_hz_per_s=100.0), **rated)),
        """
        t_s  plan_hz | setpoint_hz  because
          0       22 |       22.00  rate
          1       22 |       20.00  rate
          2       22 |        0.00  power_cap
        """,
    )
    play(
        station(
            pump("a", of=limits(min_run_s=600.0, rate_hz_per_s=100.0)),
            pump("b", of=limits(min_run_s=600.0, rate_hz_per_s=100.0)),
            max_pumps_running=1,
        ),
        """
        t_s  a.plan_hz  b.plan_hz | a.setpoint_hz  b.setpoint_hz  b.reason
          0         20         20 |         20.00           0.00  max_running
        """,
    )


def test_maximum_run_stops_a_pump_that_nobody_can_replace() -> None:
    """SAF-2.6: it stops by the ramp, rests, and may start again."""
    play(
        limits(max_run_s=100.0, min_rest_s=30.0, rate_hz_per_s=10.0),
        """
        t_s  plan_hz | setpoint_hz  reason            because
          0       35 |       35.00  plan              plan
         99       35 |       35.00  plan              plan
        100       35 |       25.00  protection_timer  rate
        101       35 |       20.00  protection_timer  rate
        102       35 |        0.00  protection_timer  protection_timers
        103       35 |        0.00  protection_timer  protection_timers
        132       35 |        0.00  protection_timer  protection_timers
        133       35 |       20.00  ramp              start_step
        """,
    )


def test_starts_per_hour_refuse_the_next_start() -> None:
    """SAF-2.6: with two in the last hour the third waits until the first is an hour old."""
    bench = bench_of(pump(of=limits(max_starts_per_hour=2, rate_hz_per_s=100.0)))
    with_timers(bench, a=known(turning=False, starts_s_ago=(3000.0,)))
    assert bench.tick({"a": {"plan_hz": 35.0}})["a"].setpoint_hz == 20.0
    bench.tick({"a": {"plan_hz": 0.0}}, period_s=1.0)
    refused = bench.tick({"a": {"plan_hz": 35.0}}, period_s=1.0)["a"]
    assert (refused.setpoint_hz, refused.reason) == (0.0, Reason.PROTECTION_TIMER)
    assert "2 starts in the last hour, at most 2" in refused.trail[-1].why
    # Ticks as far apart as a lease allows, so that nothing becomes unknown.
    for _ in range(59):
        refused = bench.tick({"a": {"plan_hz": 35.0}}, period_s=10.0)["a"]
        assert refused.setpoint_hz == 0.0
    assert bench.tick({"a": {"plan_hz": 35.0}}, period_s=8.0)["a"].setpoint_hz == 20.0


@pytest.mark.parametrize(
    "timers",
    [
        known(turning=False, starts_s_ago=(5.0, 4.0, 3.0)),
        known(turning=False, s_ago=1.0),
        None,
    ],
)
def test_a_start_at_high_level_is_never_refused(timers: MotorTimers | None) -> None:
    """SAF-2.4, 2.6: whatever the counters say, known or not."""
    bench = bench_of(
        pump(
            of=limits(high_m=3.0, max_starts_per_hour=2, min_rest_s=600.0, max_run_s=3.0, rate_hz_per_s=100.0)
        )
    )
    if timers is not None:
        with_timers(bench, a=timers)
    assert bench.tick({"a": {"plan_hz": 35.0, "level_m": 2.0}})["a"].setpoint_hz == 0.0
    started = bench.tick({"a": {"plan_hz": 35.0, "level_m": 3.0}}, period_s=1.0)["a"]
    assert (started.setpoint_hz, started.reason) == (20.0, Reason.HIGH_LEVEL)
    for _ in range(10):
        running = bench.tick({"a": {"plan_hz": 0.0, "level_m": 3.0}}, period_s=1.0)["a"]
        # The maximum run does not stop it either.
        assert running.setpoint_hz == 50.0


def test_high_level_prefers_a_rested_pump() -> None:
    """SAF-2.4, 2.6: of those that stand, one that may start comes before one that may not."""
    of = limits(high_m=3.0, max_starts_per_hour=2, rate_hz_per_s=100.0)
    bench = bench_of(pump("a", of), pump("b", of), max_pumps_running=1)
    with_timers(bench, a=known(turning=False, starts_s_ago=(9.0, 8.0)), b=known(turning=False))
    told = {"plan_hz": 0.0, "level_m": 3.0}
    shown = bench.tick({"a": told, "b": told})
    assert (shown["a"].setpoint_hz, shown["b"].setpoint_hz) == (0.0, 20.0)


def test_a_start_is_counted_before_it_is_published_and_shown_in_the_state() -> None:
    """SAF-7: the state that the round leaves behind has the start in it."""
    bench = bench_of(pump(of=limits(max_starts_per_hour=2)))
    with_timers(bench, a=known(turning=False))
    assert bench.tick({"a": {"plan_hz": 35.0}})["a"].setpoint_hz == 20.0
    timers = bench.state.pumps["a"].timers
    assert timers is not None
    assert timers.starts == (bench.now,)


def test_a_refused_start_is_none() -> None:
    """SAF-7: what stagger or maximum running refuse is not counted."""
    of = limits(max_starts_per_hour=2)
    bench = bench_of(pump("a", of), pump("b", of), stagger_s=60.0)
    with_timers(bench, a=known(turning=False), b=known(turning=False))
    shown = bench.tick({"a": {"plan_hz": 35.0}, "b": {"plan_hz": 35.0}}, period_s=1.0)
    assert {one.reason for one in shown.values()} == {Reason.STAGGER}
    assert [one.timers.starts for one in bench.state.pumps.values() if one.timers is not None] == [(), ()]


def test_after_a_lapse_nothing_starts_before_the_gates_let_it_through() -> None:
    """SAF-9, SAF-7: three fresh ticks re-enable; a start before that would be counted and never seen."""
    bench = Bench(station(pump(of=limits(max_starts_per_hour=2))))
    with_timers(bench, a=known(turning=False))
    bench.tick({"a": {"plan_hz": 0.0}})
    for _ in range(11):
        bench.tick({"a": {}}, period_s=1.0, deciding=frozenset())
    shown = [bench.tick({"a": {"plan_hz": 35.0}}, period_s=1.0)["a"] for _ in range(4)]
    assert [one.setpoint_hz for one in shown] == [0.0, 0.0, 20.0, 21.0]
    timers = bench.state.pumps["a"].timers
    assert timers is not None
    assert len(timers.starts) == 1


def test_the_trail_names_the_rule() -> None:
    """SAF-4: explain shows the figure that refused the start."""
    bench = play(
        limits(min_rest_s=30.0),
        """
        t_s  plan_hz | setpoint_hz
          0       35 |        0.00
         10       35 |        0.00
        """,
        start_hz=0,
    )
    [step] = bench.decisions["a"].trail
    assert (step.rule, step.before_hz, step.after_hz) == (Rule.PROTECTION_TIMERS, 35.0, 0.0)
    assert step.why == "rested 10 s, at least 30 s"


def test_timers_of_a_pump_of_which_nothing_arrives_stay_unknown() -> None:
    """SAF-7: without `running` nothing is known, and nothing is started."""
    bench = Bench(station(pump(of=limits(min_rest_s=30.0))))
    bench.tick({"a": {"plan_hz": 35.0, "without": "running"}}, period_s=1.0)
    assert bench.state.pumps["a"].timers is None


def test_instants_of_another_boot_are_too_long_ago_to_go_on_from() -> None:
    """SAF-7: ages across boots are told by nobody but the wall clock, which the memory's law asks."""
    other = Instant("other", START.boot_ns, START.utc_ns)
    timers = msgspec.structs.replace(known(turning=False), known_at=other)
    assert follow(timers, False, at_s=0.0).since == START


def test_a_pump_that_the_disk_cost_us_is_not_taken_back_before_the_disk_is_well() -> None:
    """SAF-7, CTL-7: its own controller may have started it long ago: taken back and stopped it would be lost again."""
    bench = bench_of(pump(of=limits(min_rest_s=5.0)))
    with_timers(bench, a=known(turning=False))
    bench.tick({"a": {"plan_hz": 0.0}}, durable=False)
    assert bench.decisions["a"].remote_enabled, "who wishes for nothing loses nothing"
    for second in range(200):
        speed_hz = 30.0 if second > 3 else 0.0
        told = {"a": {"plan_hz": 35.0, "speed_hz": speed_hz}}
        decided = bench.tick(told, period_s=1.0, durable=False)["a"]
        assert (decided.remote_enabled, decided.reason) == (False, Reason.HANDED_BACK_STORAGE)
    shown = [
        bench.tick({"a": {"plan_hz": 35.0, "speed_hz": 30.0}}, period_s=1.0)["a"].remote_enabled
        for _ in range(61)
    ]
    assert shown == [False] * 60 + [True]
