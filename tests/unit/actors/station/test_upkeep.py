"""Exercise and flush as timelines: when they begin, what they wait for, how they end (CTL-6)."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from actors.safety.conditions import observe
from actors.safety.memory import memory_of, restored
from actors.safety.types import RoundInput, Work
from actors.station.sequencing import Turns
from actors.station.tasks import Well, assign
from actors.station.upkeep import exercised, floor_m
from actors.station.wear import stood_s, worn
from actors.vocabulary import Assist, Exercise, Flush, Reason, Rule, StationDuties
from actors.vocabulary.durable import Epoch, Task, Wear
from tests.unit.actors.safety.timeline import START, Bench, limits, pump, station

HOUR_S = 3600.0
OF = limits(
    rate_hz_per_s=100.0,
    dry_run_m=0.4,
    dry_run_reset_m=0.6,
    level_min_m=0.7,
    high_m=3.0,
    high_reset_m=2.6,
)
EXERCISE = StationDuties(exercise=Exercise(after_h=24.0, run_s=30.0, level_m=0.9))
FLUSH = StationDuties(flush=Flush(every_h=12.0, run_s=60.0, speed_hz=45.0, flow_m3h=90.0, level_m=1.5))
IDLE: dict[str, Any] = {"plan_hz": 0.0, "level_m": 1.0}


def of(
    *names: str, duties: StationDuties, stood_h: float = 0.0, flushed_h: float = 0.0, **more: Any
) -> Bench:
    """A bench of rated pumps that has settled, whose pumps and main have stood so long."""
    rated: dict[str, Any] = {"rated_flow_m3h": 100.0, "rated_speed_hz": 50.0}
    bench = Bench(station(*(pump(name, OF, **rated) for name in names), duties=duties, **more))
    run(bench, 12, **{name: {**IDLE, "level_m": 0.65} for name in names})
    pumps = {
        name: msgspec.structs.replace(
            state, wear=msgspec.structs.replace(state.wear, turned_at=bench.now.plus(-stood_h * HOUR_S))
        )
        for name, state in bench.state.pumps.items()
    }
    bench.state = msgspec.structs.replace(
        bench.state, pumps=pumps, flushed_at=bench.now.plus(-flushed_h * HOUR_S)
    )
    return bench


def run(bench: Bench, seconds: int, **told: dict[str, Any]) -> None:
    for _ in range(seconds):
        bench.tick(told, period_s=1.0)


def values(bench: Bench) -> dict[str, float]:
    return {name: decision.setpoint_hz for name, decision in bench.decisions.items()}


# --------------------------------------------------------------------------- wear


def test_wear_counts_what_is_measured_and_no_gaps() -> None:
    """CTL-6: seconds turned between two looks, starts seen; an unknown state and a long silence add nothing."""
    wear, now = Wear(), START
    for running, after_s in (
        (False, 1.0),
        (True, 1.0),
        (True, 1.0),
        (None, 1.0),
        (True, 1.0),
        (True, 60.0),
        (False, 1.0),
    ):
        now = now.plus(after_s)
        wear = worn(wear, running=running, now=now, gap_s_max=10.0)
    assert (wear.run_s, wear.starts, wear.turning) == (3.0, 1, False)
    assert stood_s(wear, now=now) == 1.0
    assert stood_s(Wear(), now=now) == 0.0
    assert worn(Wear(), running=True, now=now, gap_s_max=10.0).starts == 1


# --------------------------------------------------------------------------- exercise


def test_a_pump_that_stood_long_is_exercised_at_its_minimum_and_then_stands_again() -> None:
    """CTL-6: one at a time, the one that stood longest first, once per interval."""
    bench = of("a", "b", duties=EXERCISE, stood_h=25.0)
    older = msgspec.structs.replace(bench.state.pumps["b"].wear, turned_at=bench.now.plus(-30 * HOUR_S))
    bench.state.pumps["b"] = msgspec.structs.replace(bench.state.pumps["b"], wear=older)
    run(bench, 1, a=IDLE, b=IDLE)
    assert values(bench) == {"a": 0.0, "b": 20.0}
    decision = bench.decisions["b"]
    assert decision.reason is Reason.EXERCISE
    assert (decision.trail[0].rule, decision.trail[0].why) == (Rule.EXERCISE, "is exercised for 30 s")
    seen = []
    for _ in range(90):
        run(bench, 1, a=IDLE, b=IDLE)
        seen.append(tuple(name for name, hz in values(bench).items() if hz > 0.0))
    assert set(seen) == {("a",), ("b",), ()}
    assert seen.count(("b",)) == 29
    assert 29 <= seen.count(("a",)) <= 31
    assert bench.state.tasks == {}


@pytest.mark.parametrize(
    "told",
    [
        {"level_m": 0.89},
        {"level_m": None},
        {"level_m": 3.1},
        {"failsafe": "FAILSAFE_DATABASE", "plan_hz": None},
        {"oos": True},
        {"stop": True},
        {"local": 1.0, "speed_hz": 0.0},
        {"fault": 3.0},
        {"held": True},
    ],
)
def test_no_exercise_without_water_at_high_level_in_failsafe_or_for_a_pump_that_is_not_free(
    told: dict[str, Any],
) -> None:
    """CTL-6: it is for the pump's sake, so it waits for everything else."""
    bench = of("a", duties=EXERCISE, stood_h=25.0)
    run(bench, 5, a={**IDLE, **told})
    assert not any(task.rule is Rule.EXERCISE for task in bench.state.tasks.values())


def test_an_exercise_takes_no_place_that_a_plan_needs() -> None:
    """CTL-6: it ends when another pump wants to run."""
    bench = of("a", "b", duties=EXERCISE, stood_h=25.0, max_pumps_running=1)
    run(bench, 3, a=IDLE, b=IDLE)
    assert values(bench) == {"a": 20.0, "b": 0.0}
    run(bench, 3, a=IDLE, b={**IDLE, "plan_hz": 35.0})
    assert values(bench) == {"a": 0.0, "b": 35.0}
    # And none begins while the plan has the place.
    bench = of("a", "b", duties=EXERCISE, stood_h=25.0, max_pumps_running=1)
    run(bench, 40, a=IDLE, b={**IDLE, "plan_hz": 35.0})
    assert values(bench) == {"a": 0.0, "b": 35.0}


def test_an_exercise_ends_at_once_when_the_water_goes() -> None:
    """CTL-6: below the minimum level, long before dry run."""
    bench = of("a", duties=EXERCISE, stood_h=25.0)
    run(bench, 3, a=IDLE)
    assert values(bench) == {"a": 20.0}
    run(bench, 1, a={**IDLE, "level_m": 0.69})
    assert values(bench) == {"a": 0.0}


def test_a_pump_that_does_not_turn_is_not_exercised_for_ever() -> None:
    """CTL-6: bounded: it is tried again after another interval."""
    bench = of("a", duties=EXERCISE, stood_h=25.0)
    stuck = {**IDLE, "speed_hz": 0.0}
    run(bench, 3, a=stuck)
    assert bench.decisions["a"].setpoint_hz == 20.0
    run(bench, 200, a=stuck)
    assert (values(bench), bench.state.tasks) == ({"a": 0.0}, {})


# --------------------------------------------------------------------------- flush


def test_a_main_without_flow_is_flushed_by_the_pump_that_runs() -> None:
    """CTL-6: at the given speed for the given time, then the plan again."""
    bench = of("a", "b", duties=FLUSH, flushed_h=12.1)
    told = {**IDLE, "plan_hz": 30.0, "level_m": 1.6}
    run(bench, 1, a=told, b={**IDLE, "level_m": 1.6})
    run(bench, 3, a=told, b={**IDLE, "level_m": 1.6})
    assert values(bench) == {"a": 45.0, "b": 0.0}
    assert bench.decisions["a"].reason is Reason.FLUSH
    run(bench, 70, a=told, b={**IDLE, "level_m": 1.6})
    assert values(bench) == {"a": 30.0, "b": 0.0}
    assert bench.state.tasks == {}
    run(bench, 600, a=told, b={**IDLE, "level_m": 1.6})
    assert values(bench) == {"a": 30.0, "b": 0.0}


def test_enough_flow_is_as_good_as_a_flush() -> None:
    """CTL-6: by measured flow, else by the rated point, kept for the time of a flush."""
    told = {**IDLE, "plan_hz": 46.0, "level_m": 1.4}
    bench = of("a", duties=FLUSH, flushed_h=11.9)
    run(bench, 70, a=told)
    assert bench.state.flushed_at is not None
    assert bench.now.seconds_since(bench.state.flushed_at) <= 1.0
    # A clogged main shows in the measured flow.
    bench = of("a", duties=FLUSH, flushed_h=11.9)
    run(bench, 70, a={**told, "flow_m3h": 60.0})
    assert bench.state.flushed_at is not None
    assert bench.now.seconds_since(bench.state.flushed_at) > 11.0 * HOUR_S


def test_a_flush_waits_for_water_and_starts_a_pump_where_none_runs() -> None:
    """CTL-6: only with water enough; ended when it runs out, and tried again later."""
    bench = of("a", "b", duties=FLUSH, flushed_h=13.0)
    run(bench, 20, a={**IDLE, "level_m": 1.49}, b=IDLE)
    assert bench.state.tasks == {}
    run(bench, 3, a={**IDLE, "level_m": 1.5}, b={**IDLE, "level_m": 1.5})
    assert values(bench) == {"a": 45.0, "b": 0.0}
    run(bench, 3, a={**IDLE, "level_m": 0.69}, b={**IDLE, "level_m": 0.69})
    assert (values(bench), bench.state.tasks) == ({"a": 0.0, "b": 0.0}, {})
    run(bench, 500, a={**IDLE, "level_m": 1.6}, b={**IDLE, "level_m": 1.6})
    assert bench.state.tasks == {}
    run(bench, 120, a={**IDLE, "level_m": 1.6}, b={**IDLE, "level_m": 1.6})
    assert bench.decisions["a"].reason is Reason.FLUSH


@pytest.mark.parametrize(
    "told", [{"level_m": 3.1}, {"failsafe": "FAILSAFE_PLAN_EXPIRED", "plan_hz": None}, {"level_m": None}]
)
def test_no_flush_at_a_high_level_in_failsafe_or_at_an_unknown_level(told: dict[str, Any]) -> None:
    """CTL-6: a flush is a luxury."""
    bench = of("a", duties=FLUSH, flushed_h=13.0)
    run(bench, 5, a={**IDLE, "level_m": 1.6, **told})
    assert bench.state.tasks == {}


# --------------------------------------------------------------------------- memory


def test_upkeep_survives_a_restart_without_a_move() -> None:
    """SAF-7, SAF-10: how long pumps stood, when the main was flushed, and who flushes now."""
    bench = of("a", duties=FLUSH, flushed_h=12.1)
    run(bench, 5, a={**IDLE, "level_m": 1.6})
    stored = memory_of("s", bench.state, epoch=Epoch(0, 1), boot_id="boot")
    assert stored.tasks == {"a": Task(rule=Rule.FLUSH, since=bench.now.plus(-4.0))}
    bench.state = restored(stored, {}, now=bench.now, gap_s_max=10.0)
    run(bench, 1, a={**IDLE, "level_m": 1.6})
    assert values(bench) == {"a": 45.0}
    run(bench, 60, a={**IDLE, "level_m": 1.6})
    assert values(bench) == {"a": 0.0}
    assert bench.state.flushed_at is not None
    assert bench.now.seconds_since(bench.state.flushed_at) < 10.0


# --------------------------------------------------------------------------- tasks of pumps that are not as they were


def well_of(bench: Bench, works: dict[str, Work], **changed: dict[str, Any]) -> Well:
    """What tasks are judged by, with these pumps heard of and these facts changed."""
    seen: list[RoundInput] = []
    bench.tick(dict.fromkeys(bench.measured_hz, IDLE), period_s=1.0, spy=seen.append)
    facts, _ = observe(seen[0], bench.state, now=bench.now)
    facts = {name: msgspec.structs.replace(fact, **changed.get(name, {})) for name, fact in facts.items()}
    return Well(
        station=seen[0].station,
        works=works,
        facts=facts,
        performing=frozenset(),
        reserved=frozenset(),
        turns=Turns(order=tuple(facts)),
        now=bench.now,
    )


RESTS = Work(value_hz=0.0, reason=Reason.PLAN)


@pytest.mark.parametrize("settling", [True, False])
def test_a_task_waits_for_a_pump_that_is_not_heard_of_for_as_long_as_we_settle(settling: bool) -> None:
    """SAF-10, CTL-6: it neither ends nor is anybody given a value for it; afterwards it is over."""
    bench = of("a", "b", duties=FLUSH)
    task = Task(rule=Rule.FLUSH, since=bench.now)
    state = msgspec.structs.replace(bench.state, tasks={"a": task})
    works, after = assign(well_of(bench, {"b": RESTS}), state, settling=settling)
    assert works == {"b": RESTS}
    assert after.tasks == ({"a": task} if settling else {})


def test_a_task_of_a_pump_that_left_is_over_at_once() -> None:
    """CTL-6: what is not configured any more has nothing to go on with, settling or not."""
    bench = of("b", duties=FLUSH)
    state = msgspec.structs.replace(bench.state, tasks={"a": Task(rule=Rule.FLUSH, since=bench.now)})
    assert assign(well_of(bench, {"b": RESTS}), state, settling=True)[1].tasks == {}


def test_an_assist_goes_on_with_rule_4_and_gives_a_pump_without_limits_no_value() -> None:
    """CTL-6, SAF-1: without limits there is no speed for it."""
    assist = StationDuties(assist=Assist(pumps=1, reset_m=0.8, after_s=4.0))
    bench = of("a", duties=assist)
    task = Task(rule=Rule.ASSIST, since=bench.now)
    state = msgspec.structs.replace(bench.state, tasks={"a": task})
    high = msgspec.structs.replace(RESTS, high=True)
    works, after = assign(well_of(bench, {"a": high}, a={"limits": None}), state, settling=False)
    assert (works, after.tasks) == ({"a": high}, {"a": task})


def test_an_exercise_of_a_pump_that_nobody_knows_changes_nothing_and_no_limits_are_no_water() -> None:
    """CTL-6: a pump that left has no wear; below no limits nobody runs one for its own sake."""
    bench = of("a", duties=EXERCISE)
    assert exercised(bench.state, "z", now=bench.now) == bench.state
    assert exercised(bench.state, "a", now=bench.now).pumps["a"].wear.turned_at == bench.now
    fact = well_of(bench, {}).facts["a"]
    assert floor_m(fact) == 0.7
    assert floor_m(msgspec.structs.replace(fact, limits=None)) == math.inf
