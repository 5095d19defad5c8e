"""Duty, assist and standby by turns, substitution, stagger: timelines of whole stations (CTL-6, SAF-2.8)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from actors.safety.memory import memory_of, restored
from actors.safety.types import PumpState
from actors.vocabulary import Alternation, Assist, DutyProfile, Mode, Reason, Rule, StationDuties
from actors.vocabulary.durable import Epoch, MotorTimers, Wear
from tests.unit.actors.safety.timeline import START, Bench, limits, play, pump, station

FAST = limits(rate_hz_per_s=100.0, level_max_m=2.0, high_m=3.0, high_reset_m=2.6)
IDLE: dict[str, Any] = {"plan_hz": 0.0, "level_m": 1.0}
DUTY: dict[str, Any] = {"plan_hz": 35.0, "level_m": 1.0}


def of(*names: str, **more: Any) -> Bench:
    """A bench of these pumps that has settled."""
    bench = Bench(station(*(pump(name, FAST) for name in names), **more))
    run(bench, 12, **dict.fromkeys(names, IDLE))
    return bench


def run(bench: Bench, seconds: int, **told: dict[str, Any]) -> None:
    for _ in range(seconds):
        bench.tick(told, period_s=1.0)


def running(bench: Bench) -> list[str]:
    return [name for name, decision in bench.decisions.items() if decision.setpoint_hz > 0.0]


def substituted(bench: Bench) -> bool:
    return bench.decisions["a"].conditions.substituted


def worked(bench: Bench, **wear: Wear) -> None:
    """Let the pumps have worked so much."""
    pumps = {name: msgspec.structs.replace(bench.state.pumps[name], wear=one) for name, one in wear.items()}
    bench.state = msgspec.structs.replace(bench.state, pumps={**bench.state.pumps, **pumps})


def starts_of(bench: Bench, count: int) -> list[str]:
    """Let the plan of pump a begin and end so often; return who ran each time."""
    found = []
    rest = dict.fromkeys(bench.measured_hz, IDLE)
    for _ in range(count):
        run(bench, 3, **{**rest, "a": DUTY})
        found += running(bench)
        run(bench, 3, **rest)
        assert running(bench) == []
    return found


# --------------------------------------------------------------------------- order and alternation


def test_without_alternation_each_pump_does_its_own_plan() -> None:
    """CTL-6: off unless configured."""
    assert starts_of(of("a", "b", "c"), 3) == ["a", "a", "a"]


def test_alternation_by_start_goes_round() -> None:
    """CTL-6: each duty that begins goes to the pump after the one that started last."""
    bench = of("a", "b", "c", duties=StationDuties(alternation=Alternation.BY_START))
    assert starts_of(bench, 7) == ["a", "b", "c", "a", "b", "c", "a"]
    bench = of("a", "b", "c", duties=StationDuties(alternation=Alternation.BY_START, order=("c", "a")))
    assert starts_of(bench, 4) == ["c", "a", "b", "c"]


def test_a_fixed_order_gives_the_duty_to_its_first() -> None:
    """CTL-6: the plan says how many and how fast, the order who."""
    bench = of("a", "b", duties=StationDuties(alternation=Alternation.FIXED, order=("b",)))
    assert starts_of(bench, 2) == ["b", "b"]
    run(bench, 2, a=DUTY, b=IDLE)
    first, second = bench.decisions["a"], bench.decisions["b"]
    assert (first.reason, first.duty_hz) == (Reason.STANDBY, 35.0)
    assert [(step.rule, step.why) for step in first.trail] == [(Rule.ALTERNATION, "b runs in its place")]
    assert (second.reason, second.trail[0].rule) == (Reason.ROTATED, Rule.ALTERNATION)
    assert second.trail[0].why == "in the place of a"


def test_alternation_by_starts_and_by_hours_takes_who_worked_least() -> None:
    """CTL-6: by the durable counts of what was measured, whoever started the pump."""
    bench = of("a", "b", "c", duties=StationDuties(alternation=Alternation.BY_STARTS))
    worked(bench, a=Wear(starts=9), b=Wear(starts=8), c=Wear(starts=9))
    assert starts_of(bench, 4) == ["b", "a", "b", "c"]
    bench = of("a", "b", duties=StationDuties(alternation=Alternation.BY_HOURS))
    worked(bench, a=Wear(run_s=7200.0), b=Wear(run_s=3600.0))
    assert starts_of(bench, 2) == ["b", "b"]


def test_a_duty_that_never_ends_is_handed_over_by_hours() -> None:
    """CTL-6: after its hours, to one that worked less; one permitted pump runs at a time."""
    duties = StationDuties(alternation=Alternation.BY_HOURS, alternation_h=0.02)
    bench = of("a", "b", duties=duties, max_pumps_running=1)
    worked(bench, a=Wear(), b=Wear(run_s=30.0))
    seen = []
    for _ in range(400):
        run(bench, 1, a=DUTY, b=IDLE)
        assert len(running(bench)) <= 1
        seen += running(bench)
    changes = [seen[0], *(after for before, after in pairwise(seen) if after != before)]
    assert changes[:4] == ["a", "b", "a", "b"]
    # The well hardly notices: a stop and a start each.
    assert len(seen) > 380


def test_two_wishes_are_two_duties() -> None:
    """CTL-6: where both have something to do nothing is exchanged."""
    bench = of("a", "b", duties=StationDuties(alternation=Alternation.FIXED, order=("b",)))
    run(bench, 3, a=DUTY, b={"plan_hz": 30.0, "level_m": 1.0})
    assert {name: one.setpoint_hz for name, one in bench.decisions.items()} == {"a": 35.0, "b": 30.0}


def test_an_operators_value_does_not_go_round() -> None:
    """CTL-7: MANUAL is meant for that pump, and one in MANUAL is given no duty."""
    bench = of("a", "b", duties=StationDuties(alternation=Alternation.FIXED, order=("b",)))
    run(bench, 2, a={**DUTY, "mode": Mode.MANUAL}, b=IDLE)
    assert running(bench) == ["a"]
    run(bench, 2, a=IDLE, b=IDLE)
    run(bench, 2, a=DUTY, b={**IDLE, "mode": Mode.MANUAL})
    assert running(bench) == ["a"]


def test_whose_turn_it_is_survives_a_restart_of_any_kind() -> None:
    """CTL-6, SAF-7: turn and counts come back from the disk; who runs, runs on."""
    bench = of("a", "b", duties=StationDuties(alternation=Alternation.BY_START))
    assert starts_of(bench, 1) == ["a"]
    stored = memory_of("s", bench.state, epoch=Epoch(0, 1), boot_id="boot")
    assert (stored.turn, stored.pumps["a"].wear.starts) == ("a", 1)
    bench.state = restored(stored, {}, now=bench.now, gap_s_max=10.0)
    run(bench, 12, a=IDLE, b=IDLE)
    assert starts_of(bench, 2) == ["b", "a"]


# --------------------------------------------------------------------------- substitution


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        ({"fault": 3.0, "speed_hz": 0.0}, "fault"),
        ({"oos": True}, "out of service"),
        ({"stop": True}, "stopped"),
        ({"local": 1.0, "speed_hz": 0.0}, "at its panel"),
    ],
)
def test_a_pump_that_cannot_is_replaced_and_the_duty_stays(lost: dict[str, Any], why: str) -> None:
    """CTL-6: needs no configuration; the next in wire order, until the duty ends, whoever comes back."""
    bench = of("a", "b", "c")
    run(bench, 3, a=DUTY, b=IDLE, c=IDLE)
    run(bench, 3, a={**DUTY, **lost}, b=IDLE, c=IDLE)
    assert running(bench) == ["b"]
    assert bench.decisions["b"].setpoint_hz == 35.0
    assert bench.decisions["b"].trail[0].rule is Rule.SUBSTITUTION
    assert bench.decisions["b"].trail[0].why == f"in the place of a: {why}"
    assert substituted(bench)
    # The first comes back: the other goes on with the duty, and gives it back when the duty begins anew.
    back = {**DUTY, "speed_hz": 0.0} if "local" in lost else DUTY
    run(bench, 70, a=back, b=IDLE, c=IDLE)
    assert running(bench) == ["b"]
    assert not substituted(bench)
    run(bench, 3, a=IDLE, b=IDLE, c=IDLE)
    run(bench, 3, a=DUTY, b=IDLE, c=IDLE)
    assert running(bench) == ["a"]


@pytest.mark.parametrize(
    "turning",
    [{"fault": 3.0}, {"local": 1.0, "speed_hz": 40.0}, {"oos": True, "speed_hz": 35.0, "running": 1.0}],
)
def test_what_turns_does_its_duty(turning: dict[str, Any]) -> None:
    """CTL-6: a second pump beside one that turns, at its panel or with a fault, would do one duty twice."""
    bench = of("a", "b")
    run(bench, 3, a=DUTY, b=IDLE)
    run(bench, 5, a={**DUTY, **turning}, b=IDLE)
    assert "b" not in running(bench)


def test_a_hand_at_the_panel_takes_the_duty_and_gives_it_back_without_a_bump() -> None:
    """CTL-6, CTL-7: standing there it is replaced; run by hand it does its duty; back with us it goes on from there."""
    bench = of("a", "b")
    run(bench, 3, a=DUTY, b=IDLE)
    run(bench, 3, a={**DUTY, "local": 1.0, "speed_hz": 0.0}, b=IDLE)
    assert running(bench) == ["b"]
    run(bench, 3, a={**DUTY, "local": 1.0, "speed_hz": 42.0}, b=IDLE)
    first, second = bench.decisions["a"], bench.decisions["b"]
    assert (first.remote_enabled, first.tracking_hz, second.setpoint_hz) == (False, 42.0, 0.0)
    bench.config = msgspec.structs.replace(
        bench.config, pumps=tuple(pump(name, limits(rate_hz_per_s=1.0)) for name in "ab")
    )
    run(bench, 1, a=DUTY, b=IDLE)
    assert {name: one.setpoint_hz for name, one in bench.decisions.items()} == {"a": 41.0, "b": 0.0}


@pytest.mark.parametrize(
    "nothing",
    [
        {"oos": True, "plan_hz": 0.0},
        {"oos": True, "mode": Mode.MANUAL},
        {"oos": True, "held": True},
        {"local": 1.0, "speed_hz": 0.0, "running": 0.5},
    ],
)
def test_who_has_no_duty_is_replaced_by_nobody(nothing: dict[str, Any]) -> None:
    """CTL-6, CTL-7: no plan, an operator's value, held stopped, or nobody knows whether it turns."""
    bench = of("a", "b")
    run(bench, 5, a={**DUTY, **nothing}, b=IDLE)
    assert running(bench) == []


def test_a_substitute_starts_in_no_dry_well_and_beyond_no_place() -> None:
    """CTL-6, SAF-2.3: rules 1 to 3 and maximum running stand above every duty."""
    of_dry = limits(rate_hz_per_s=100.0, dry_run_m=0.4, dry_run_reset_m=0.6)
    bench = Bench(station(pump("a", of_dry), pump("b", of_dry)))
    run(bench, 12, a=IDLE, b=IDLE)
    run(bench, 5, a={**DUTY, "oos": True, "level_m": 0.3}, b={**IDLE, "level_m": 0.3})
    assert running(bench) == []
    bench = of("a", "b", "c", max_pumps_running=1)
    run(bench, 3, a=IDLE, b=IDLE, c=DUTY)
    run(bench, 5, a={**DUTY, "oos": True}, b=IDLE, c=DUTY)
    assert running(bench) == ["c"]
    assert bench.decisions["b"].reason is Reason.MAX_RUNNING


def test_a_tripped_pump_gives_up_its_place_before_the_next_starts() -> None:
    """CTL-6: with one permitted the well waits for the ramp, never for two pumps at once."""
    bench = of("a", "b", max_pumps_running=1)
    run(bench, 3, a=DUTY, b=IDLE)
    tripped = {**DUTY, "fault": 3.0, "speed_hz": 0.0}
    for _ in range(6):
        run(bench, 1, a=tripped, b=IDLE)
        assert len(running(bench)) <= 1
    assert running(bench) == ["b"]


# --------------------------------------------------------------------------- assist


def assisted(**more: Any) -> StationDuties:
    return StationDuties(assist=Assist(**{"pumps": 1, "reset_m": 1.5, "after_s": 30.0, **more}))


def test_an_assist_starts_above_level_max_and_stops_at_its_own_reset() -> None:
    """SAF-2.8, CTL-6: with hysteresis, at its maximum, through rate and places."""
    play(
        station(pump("a", FAST), pump("b", FAST), duties=assisted()),
        """
        t_s  level_m  a.plan_hz  b.plan_hz | a.setpoint_hz  b.setpoint_hz  b.reason  b.because
          0     1.00         35          0 |         35.00           0.00  plan      plan
         20     1.99         35          0 |         35.00           0.00  plan      plan
         21     2.00         35          0 |         35.00          20.00  assist    start_step
         22     1.99         35          0 |         35.00          50.00  assist    assist
         60     1.51         35          0 |         35.00          50.00  assist    assist
         62     1.50         35          0 |         35.00          20.00  ramp      rate
         63     1.50         35          0 |         35.00           0.00  plan      plan
         80     1.99         35          0 |         35.00           0.00  plan      plan
        """,
    )


def test_assists_are_bounded_and_come_one_after_the_other() -> None:
    """CTL-6: as many as configured, so far apart, never beyond the permitted number."""
    full = {"plan_hz": 0.0, "level_m": 2.2}
    bench = of("a", "b", "c", "d", duties=assisted(pumps=2, speed_hz=30.0), max_pumps_running=3)
    for second in range(200):
        run(bench, 1, a={**full, "plan_hz": 35.0}, b=full, c=full, d=full)
        assert len(running(bench)) <= 3
        if second == 20:
            assert running(bench) == ["a", "b"]
    assert running(bench) == ["a", "b", "c"]
    assert bench.decisions["b"].setpoint_hz == 30.0
    # The plan takes a place too: one assist less.
    bench = of("a", "b", "c", "d", duties=assisted(pumps=3, after_s=1.0), max_pumps_running=3)
    run(bench, 60, a={**full, "plan_hz": 35.0}, b=full, c=full, d={**full, "plan_hz": 35.0})
    assert running(bench) == ["a", "b", "d"]


@pytest.mark.parametrize(
    "busy",
    [
        {"stop": True},
        {"oos": True},
        {"local": 1.0, "speed_hz": 0.0},
        {"mode": Mode.MANUAL},
        {"held": True},
        {"failsafe": "FAILSAFE_DATABASE", "plan_hz": None},
        {"fault": 3.0},
        {"plan_hz": float("nan")},
    ],
)
def test_a_pump_that_is_not_free_assists_nobody(busy: dict[str, Any]) -> None:
    """CTL-6, CTL-7: an assist is for idle pumps in AUTO that are ours and well."""
    bench = of("a", "b", duties=assisted())
    full = {"plan_hz": 0.0, "level_m": 2.2}
    run(bench, 20, a={**full, "plan_hz": 35.0}, b=full | busy)
    assert bench.state.tasks == {}


def test_an_assist_ends_with_what_it_needs() -> None:
    """CTL-6: at a level nobody knows, at an operator's word, with a plan of its own."""
    full = {"plan_hz": 0.0, "level_m": 2.2}
    for change in ({"mode": Mode.MANUAL}, {"oos": True}, {"plan_hz": 30.0}):
        bench = of("a", "b", duties=assisted())
        run(bench, 5, a={**full, "plan_hz": 35.0}, b=full)
        assert bench.decisions["b"].reason is Reason.ASSIST
        run(bench, 2, a={**full, "plan_hz": 35.0}, b=full | change)
        assert bench.state.tasks == {}


def test_an_assist_survives_a_restart_and_begins_not_just_after_one() -> None:
    """SAF-10: a restart moves nothing: who assists goes on, who stands waits until all have been heard."""
    full = {"plan_hz": 0.0, "level_m": 2.2}
    bench = of("a", "b", duties=assisted())
    run(bench, 5, a={**full, "plan_hz": 35.0}, b=full)
    stored = memory_of("s", bench.state, epoch=Epoch(0, 1), boot_id="boot")
    bench.state = restored(stored, {}, now=bench.now, gap_s_max=10.0)
    run(bench, 1, a={**full, "plan_hz": 35.0}, b=full)
    assert bench.decisions["b"].setpoint_hz == 50.0
    bench = Bench(station(pump("a", FAST), pump("b", FAST), duties=assisted()))
    run(bench, 9, a={**full, "plan_hz": 35.0}, b=full)
    assert running(bench) == ["a"]
    run(bench, 4, a={**full, "plan_hz": 35.0}, b=full)
    assert running(bench) == ["a", "b"]


# --------------------------------------------------------------------------- stagger


def test_starts_are_staggered_after_a_power_up_and_after_the_recovery_of_many() -> None:
    """CTL-6: five pumps whose controllers come back at once start one by one, so do assists."""
    names = "abcde"
    bench = Bench(station(*(pump(name, FAST) for name in names), stagger_s=5.0))
    told = dict.fromkeys(names, DUTY)
    begins: dict[str, float] = {}
    for second in range(40):
        run(bench, 1, **told)
        begins.update({name: second for name in running(bench) if name not in begins})
    assert min(begins.values()) >= 3.0
    gaps = [late - early for early, late in pairwise(sorted(begins.values()))]
    assert len(begins) == 5
    assert min(gaps) >= 5.0
    # All controllers are rebooted: standing, silent, back together.
    run(bench, 40, **{name: {**DUTY, "silent": True} for name in names})
    again: dict[str, float] = {}
    for second in range(120):
        run(bench, 1, **{name: {**DUTY, "speed_hz": None if name in again else 0.0} for name in names})
        again.update({name: second for name in running(bench) if name not in again})
    assert len(again) == 5
    assert min(late - early for early, late in pairwise(sorted(again.values()))) >= 5.0


def test_an_assist_waits_for_its_stagger() -> None:
    """CTL-6: a duty and an assist that are due together do not start together."""
    bench = of("a", "b", duties=assisted(), stagger_s=8.0)
    full = {"plan_hz": 0.0, "level_m": 2.2}
    run(bench, 2, a={**full, "plan_hz": 35.0}, b=full)
    assert running(bench) == ["a"]
    assert bench.decisions["b"].reason is Reason.STAGGER
    run(bench, 8, a={**full, "plan_hz": 35.0}, b=full)
    assert running(bench) == ["a", "b"]


# --------------------------------------------------------------------------- profiles


def test_a_profile_changes_band_order_and_places_and_nothing_above() -> None:
    """CTL-6: at night one pump, slow, b first; an emergency high level knows no night."""
    night = DutyProfile(
        name="night",
        weekdays=(1,),
        from_minute=0,
        until_minute=0,
        speed_hz_min=25.0,
        speed_hz_max=30.0,
        max_pumps_running=1,
        duty_order=("b", "a"),
    )
    bench = of("a", "b", duties=StationDuties(alternation=Alternation.FIXED, order=("a", "b")))
    run(bench, 3, a=DUTY, b=DUTY)
    assert running(bench) == ["a", "b"]
    bench.profile = night
    run(bench, 3, a=DUTY, b=DUTY)
    assert len(running(bench)) == 1
    run(bench, 3, a=IDLE, b=IDLE)
    run(bench, 3, a=DUTY, b=IDLE)
    assert {name: one.setpoint_hz for name, one in bench.decisions.items()} == {"a": 0.0, "b": 30.0}
    assert bench.decisions["a"].trail[0].rule is Rule.PROFILE
    run(bench, 2, a={**DUTY, "plan_hz": 21.0}, b=IDLE)
    assert bench.decisions["b"].setpoint_hz == 25.0
    run(bench, 3, a={**DUTY, "level_m": 3.1}, b={**IDLE, "level_m": 3.1})
    assert {name: one.setpoint_hz for name, one in bench.decisions.items()} == {"a": 50.0, "b": 50.0}


def test_timers_of_before_know_no_wear() -> None:
    """SAF-7: memory that an older version stored is read, and counts begin at 0."""
    timers = MotorTimers(turning=False, since=START, known_at=START)
    state = PumpState(timers=timers)
    assert state.wear == Wear()
