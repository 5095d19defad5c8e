"""Goal: each failsafe strategy does what its name says, with hysteresis, within its time, and without a bump (WDG-3).

Method: timelines of the kernel with an obedient plant; what cannot be carried out one mistake at a time; arbitrary
levels against what is left to say of a switch.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.safety.conditions import observe
from actors.safety.memory import memory_of, restored
from actors.safety.priorities import priorities
from actors.safety.strategies import OnOff, advance, on_off, switched, unusable
from actors.safety.types import CleanOutOrder, RoundInput, StrategyMemory
from actors.vocabulary import (
    Assist,
    CleanOut,
    ControlType,
    Exercise,
    FailsafeStrategy,
    Flush,
    PumpConfig,
    Reason,
    Rule,
    SafetyLimits,
    StationDuties,
)
from actors.vocabulary.durable import Epoch, Task
from tests.unit.actors.safety.timeline import Bench, limits, play, pump, station

WELL = limits(
    dry_run_m=0.4, dry_run_reset_m=0.6, level_min_m=0.7, level_max_m=2.0, high_m=3.0, high_reset_m=2.8
)
EXPIRED = {"failsafe": "FAILSAFE_PLAN_EXPIRED", "plan_hz": None}


def by_level(of: SafetyLimits = WELL, **more: Any) -> PumpConfig:
    return pump(of=of, failsafe_strategy=FailsafeStrategy.LEVEL_ON_OFF, **more)


def holding(hold_s: float | None = None, **more: Any) -> PumpConfig:
    parameters = {} if hold_s is None else {"failsafe_hold_s": hold_s}
    more.setdefault("of", limits())
    of = more.pop("of")
    return pump(of=of, failsafe_strategy=FailsafeStrategy.HOLD_LAST, control_parameters=parameters, **more)


# --------------------------------------------------------------------------- by level


def test_by_level_between_the_approved_levels_with_hysteresis() -> None:
    """WDG-3, SAF-2.5: LEVEL_ON_OFF starts at level_max, stops at level_min, and goes on between them as it was."""
    bench = play(
        station(by_level()),
        """
        t_s  plan_hz  level_m  failsafe               | setpoint_hz  reason                 enabled  quality
          0       35      1.5  -                      |       35.00  plan                         1  GOOD
          1        -      1.5  FAILSAFE_PLAN_EXPIRED  |       34.00  failsafe_plan_expired        1  UNCERTAIN
          5        -      1.0  FAILSAFE_PLAN_EXPIRED  |       30.00  failsafe_plan_expired        1  UNCERTAIN
          6        -      0.7  FAILSAFE_PLAN_EXPIRED  |       29.00  failsafe_plan_expired        1  UNCERTAIN
         16        -      0.7  FAILSAFE_PLAN_EXPIRED  |        0.00  failsafe_plan_expired        1  UNCERTAIN
         60        -      1.9  FAILSAFE_PLAN_EXPIRED  |        0.00  failsafe_plan_expired        1  UNCERTAIN
         61        -      2.0  FAILSAFE_PLAN_EXPIRED  |       20.00  failsafe_plan_expired        1  UNCERTAIN
         90        -      1.9  FAILSAFE_PLAN_EXPIRED  |       30.00  failsafe_plan_expired        1  UNCERTAIN
        """,
    )
    steps = [one for one in bench.decisions["a"].trail if one.rule is Rule.FAILSAFE]
    assert not steps, "the value is there already, nothing is changed"


def test_by_level_says_its_levels_in_the_trail() -> None:
    """SAF-4, WDG-3: the trail tells the level and both thresholds."""
    bench = play(
        station(by_level()),
        """
        t_s  plan_hz  level_m  failsafe               | setpoint_hz
          0       35      1.5  -                      |       35.00
          1        -      0.7  FAILSAFE_PLAN_EXPIRED  |       34.00
        """,
    )
    [step] = [one for one in bench.decisions["a"].trail if one.rule is Rule.FAILSAFE]
    assert step.why == "level 0.7 m, starts at 2 m, stops at 0.7 m"


def test_by_level_own_levels_and_speed_come_before_the_approved() -> None:
    """WDG-3: failsafe_start_level_m, failsafe_stop_level_m and failsafe_run_hz of control_parameters."""
    own = {"failsafe_start_level_m": 1.6, "failsafe_stop_level_m": 0.9, "failsafe_run_hz": 42.0}
    play(
        station(by_level(control_parameters=own)),
        """
        t_s  plan_hz  level_m  failsafe               | setpoint_hz
          0        0      1.5  -                      |        0.00
          1        -      1.5  FAILSAFE_PLAN_EXPIRED  |        0.00
          2        -      1.6  FAILSAFE_PLAN_EXPIRED  |       20.00
         40        -      1.0  FAILSAFE_PLAN_EXPIRED  |       42.00
         41        -      0.9  FAILSAFE_PLAN_EXPIRED  |       41.00
         80        -      1.5  FAILSAFE_PLAN_EXPIRED  |        0.00
        """,
    )


def test_by_level_is_left_without_a_bump_after_its_hold() -> None:
    """WDG-2, CTL-3: good again for failsafe_recovery_hold, then the plan, by the ramp; levels rule until then."""
    play(
        station(by_level()),
        """
        t_s  plan_hz  level_m  failsafe               | setpoint_hz  reason                 quality
          0       35      2.1  -                      |       35.00  plan                   GOOD
          1        -      2.1  FAILSAFE_PLAN_EXPIRED  |       34.00  failsafe_plan_expired  UNCERTAIN
         20       40      2.1  -                      |       30.00  failsafe_plan_expired  UNCERTAIN
         79       40      2.1  -                      |       30.00  failsafe_plan_expired  UNCERTAIN
         80       40      2.1  -                      |       31.00  ramp                   GOOD
         81       40      2.1  -                      |       32.00  ramp                   GOOD
        """,
    )


def test_by_level_hands_back_when_its_level_is_lost_and_returns_bumpless() -> None:
    """WDG-3, CTL-7: without a GOOD level nothing is claimed; back, it goes on as the pump is by then."""
    config = station(by_level(of=limits(level_min_m=0.7, level_max_m=2.0)))
    play(
        config,
        """
        t_s  plan_hz  level_m  speed_hz  without           failsafe           | setpoint_hz  reason             enabled
          0       35      1.5         -  -                 -                  |       35.00  plan                     1
          1        -      1.5         -  -                 FAILSAFE_DATABASE  |       34.00  failsafe_database    1
         10        -      1.5         -  -                 FAILSAFE_DATABASE  |       30.00  failsafe_database    1
         50        -      1.5        28  wet_well_level_m  FAILSAFE_DATABASE  |       30.00  failsafe_database    1
         90        -      1.5        28  wet_well_level_m  FAILSAFE_DATABASE  |       28.00  handed_back_level        0
        100        -      1.5         0  -                 FAILSAFE_DATABASE  |        0.00  recovering               0
        159        -      1.5         0  -                 FAILSAFE_DATABASE  |        0.00  recovering               0
        161        -      1.5         -  -                 FAILSAFE_DATABASE  |        0.00  failsafe_database    1
        """,
    )


def test_by_level_a_restart_between_the_levels_moves_nothing() -> None:
    """SAF-10, WDG-3: what was running runs on and what stood stands, by `running` measured after the restart."""
    for start_hz, shown in ((30.0, 30.0), (0.0, 0.0)):
        play(
            station(by_level()),
            f"""
            t_s  plan_hz  level_m  failsafe               | setpoint_hz
              0        -      1.5  FAILSAFE_PLAN_EXPIRED  | {shown:.2f}
             30        -      1.5  FAILSAFE_PLAN_EXPIRED  | {shown:.2f}
            """,
            start_hz=start_hz,
        )


def test_by_level_stands_below_the_rules_above_and_beneath() -> None:
    """SAF-2.5: dry run, a stop, the maximum running and minimum rest bind it like any other value."""
    rested = msgspec.structs.replace(WELL, min_rest_s=100.0)
    play(
        station(by_level(of=rested)),
        """
        t_s  plan_hz  level_m  stop  failsafe               | setpoint_hz  reason
          0       20      1.5  -     -                      |       20.00  plan
          1        -      0.7  -     FAILSAFE_PLAN_EXPIRED  |        0.00  failsafe_plan_expired
         50        -      2.1  -     FAILSAFE_PLAN_EXPIRED  |        0.00  protection_timer
        110        -      2.1  -     FAILSAFE_PLAN_EXPIRED  |       28.00  failsafe_plan_expired
        111        -      2.1  1     FAILSAFE_PLAN_EXPIRED  |        0.00  emergency_stop
        112        -      0.4  -     FAILSAFE_PLAN_EXPIRED  |        0.00  dry_run
        """,
    )
    pair = station(
        by_level(),
        msgspec.structs.replace(by_level(), pump_id="b", name="b", wire_slot=1),
        max_pumps_running=1,
    )
    play(
        pair,
        """
        t_s  a.plan_hz  b.plan_hz  level_m  a.failsafe             b.failsafe             | a.setpoint_hz  b.setpoint_hz
          0         0         0      1.5  -                      -                      |          0.00           0.00
          1         -         -      2.1  FAILSAFE_PLAN_EXPIRED  FAILSAFE_PLAN_EXPIRED  |         20.00           0.00
         30         -         -      2.1  FAILSAFE_PLAN_EXPIRED  FAILSAFE_PLAN_EXPIRED  |         30.00           0.00
        """,
    )


def test_by_level_with_a_closed_float_and_no_level_the_default_stands_in() -> None:
    """WDG-3, SAF-2.4: the float keeps the claim; which pump answers it, rule 4 says, and the others have no level."""
    pair = station(
        by_level(),
        msgspec.structs.replace(by_level(), pump_id="b", name="b", wire_slot=1),
        max_pumps_running=1,
        has_high_float=True,
    )
    bench = play(
        pair,
        """
        t_s  a.plan_hz  b.plan_hz  level_m  float  a.without         b.without         a.failsafe         b.failsafe         | a.setpoint_hz  b.setpoint_hz
          0        30         0      1.5    0      -                 -                 -                  -                  |         30.00           0.00
          1         -         -      1.5    1      wet_well_level_m  wet_well_level_m  FAILSAFE_DATABASE  FAILSAFE_DATABASE  |         31.00           0.00
         20         -         -      1.5    1      wet_well_level_m  wet_well_level_m  FAILSAFE_DATABASE  FAILSAFE_DATABASE  |         50.00           0.00
        """,  # noqa: E501  (a row of a timeline is one line)
    )
    steps = bench.decisions["b"].trail
    assert [step.why for step in steps if step.rule is Rule.FAILSAFE] == [
        "level unknown: default setpoint 30 Hz"
    ]
    assert steps[-1].rule is Rule.LEVEL_BAND, "at a level nobody knows nothing starts but what rule 4 chose"


def test_an_operators_stop_is_never_turned_into_a_start_by_a_level() -> None:
    """CTL-7: held stopped, a failsafe by level starts nothing."""
    play(
        station(by_level()),
        """
        t_s  plan_hz  level_m  held  failsafe               | setpoint_hz  reason
          0        0      1.5  -     -                      |        0.00  plan
          1        0      2.2  1     FAILSAFE_CHILD_QUARANTINED | 0.00     held_stopped
        """,
    )


@pytest.mark.parametrize(
    ("changed", "own", "named"),
    [
        ({}, {}, ""),
        ({"level_max_m": None}, {}, "no start and stop level"),
        ({"level_min_m": None}, {}, "no start and stop level"),
        ({"level_max_m": None}, {"failsafe_start_level_m": 1.5, "failsafe_stop_level_m": 0.8}, ""),
        (
            {},
            {"failsafe_start_level_m": 1.5, "failsafe_stop_level_m": 0.4},
            "0.4 m is not above the dry-run level 0.4 m",
        ),
        ({}, {"failsafe_start_level_m": 1.5, "failsafe_stop_level_m": 0.41}, ""),
        (
            {},
            {"failsafe_start_level_m": 3.0, "failsafe_stop_level_m": 0.8},
            "3 m is not below the emergency high level 3 m",
        ),
        ({}, {"failsafe_start_level_m": 2.99, "failsafe_stop_level_m": 0.8}, ""),
        (
            {},
            {"failsafe_start_level_m": 0.69, "failsafe_stop_level_m": 0.5},
            "start level 0.69 m is below the minimum level 0.7 m",
        ),
        ({}, {"failsafe_start_level_m": 0.7, "failsafe_stop_level_m": 0.5}, ""),
        # A set with one bad value is refused whole: the approved levels hold.
        ({}, {"failsafe_start_level_m": 1.5, "failsafe_stop_level_m": "low"}, ""),
        ({"level_max_m": None}, {"failsafe_start_level_m": 1.5}, "no start and stop level"),
        ({"hard_max_speed_hz": 10.0}, {}, "no approved, valid limits"),
    ],
)
def test_levels_that_cannot_be_carried_out_are_told(
    changed: dict[str, Any], own: dict[str, Any], named: str
) -> None:
    """WDG-3: rules 3 and 4 own the levels beyond theirs; the default setpoint stands in, and somebody is told."""
    config = by_level(msgspec.structs.replace(WELL, **changed), control_parameters=own)
    why = unusable(config)
    assert named in why
    assert bool(why) is bool(named)


def test_levels_of_a_pump_without_limits_or_of_another_strategy() -> None:
    """WDG-3: nothing is told of a strategy that is not configured."""
    assert unusable(msgspec.structs.replace(by_level(), limits=None)) == "no approved, valid limits"
    assert unusable(holding()) == ""


def test_a_strategy_that_cannot_be_carried_out_falls_to_the_default() -> None:
    """WDG-3: the trail says that the default setpoint stands in, and why."""
    bench = play(
        station(by_level(of=limits())),
        """
        t_s  plan_hz  level_m  failsafe           | setpoint_hz  reason
          0       35      1.5  -                  |       35.00  plan
          1        -      1.5  FAILSAFE_DATABASE  |       34.00  failsafe_database
        """,
    )
    [step] = [one for one in bench.decisions["a"].trail if one.rule is Rule.FAILSAFE]
    assert (step.after_hz, step.why) == (30.0, "no start and stop level: default setpoint 30 Hz")


@pytest.mark.parametrize(
    ("default_hz", "own", "run_hz"),
    [
        (30.0, {}, 30.0),
        (0.0, {}, 50.0),
        (12.0, {}, 50.0),
        (30.0, {"failsafe_run_hz": 45.0}, 45.0),
        (30.0, {"failsafe_run_hz": 60.0}, 30.0),
    ],
)
def test_by_level_the_speed_while_it_runs(default_hz: float, own: dict[str, Any], run_hz: float) -> None:
    """WDG-3: its own, else the default setpoint, else the maximum: a pump that is on pumps."""
    found = on_off(by_level(default_setpoint_hz=default_hz, control_parameters=own))
    assert isinstance(found, OnOff)
    assert found.run_hz == run_hz


def test_by_level_a_pump_that_fills_starts_at_the_lower_level() -> None:
    """WDG-3: FILLING: its own levels only, start below stop."""
    own = {"direction": "FILLING", "failsafe_start_level_m": 1.0, "failsafe_stop_level_m": 2.0}
    config = by_level(control_type=ControlType.LEVEL_CONTROLLED, control_parameters=own)
    play(
        station(config),
        """
        t_s  plan_hz  level_m  failsafe               | setpoint_hz
          0        0      1.5  -                      |        0.00
          1        -      1.5  FAILSAFE_PLAN_EXPIRED  |        0.00
          2        -      1.0  FAILSAFE_PLAN_EXPIRED  |       20.00
         30        -      1.5  FAILSAFE_PLAN_EXPIRED  |       30.00
         31        -      2.0  FAILSAFE_PLAN_EXPIRED  |       29.00
        """,
    )
    without = {"direction": "FILLING"}
    bare = by_level(control_type=ControlType.LEVEL_CONTROLLED, control_parameters=without)
    assert unusable(bare) == "no start and stop level"


@given(
    st.floats(-10.0, 10.0),
    st.floats(0.001, 5.0),
    st.booleans(),
    st.booleans(),
    st.lists(st.floats(-20.0, 20.0), max_size=30),
)
def test_a_switch_has_hysteresis_at_any_levels(
    low_m: float, width_m: float, filling: bool, was_on: bool, levels_m: list[float]
) -> None:
    """WDG-3: beyond either level it is decided, strictly between them nothing changes."""
    high_m = low_m + width_m
    start_m, stop_m = (low_m, high_m) if filling else (high_m, low_m)
    levels = OnOff(start_m=start_m, stop_m=stop_m, run_hz=30.0, filling=filling)
    for level_m in levels_m:
        on = switched(levels, was_on=was_on, level_m=level_m)
        if low_m < level_m < high_m:
            assert on is was_on
        else:
            assert on is ((level_m >= high_m) is not filling)
        was_on = on


# --------------------------------------------------------------------------- hold last


def test_a_last_value_is_held_for_its_time_and_then_the_default() -> None:
    """WDG-3, SAF-2.5: HOLD_LAST holds what was applied, for failsafe_hold_s, then ramps to the default."""
    play(
        station(holding(120.0)),
        """
        t_s  plan_hz  failsafe               | setpoint_hz  reason                 enabled  quality
          0       41  -                      |       41.00  plan                         1  GOOD
          1        -  FAILSAFE_PLAN_EXPIRED  |       41.00  failsafe_plan_expired        1  UNCERTAIN
        120        -  FAILSAFE_PLAN_EXPIRED  |       41.00  failsafe_plan_expired        1  UNCERTAIN
        121        -  FAILSAFE_PLAN_EXPIRED  |       40.00  failsafe_plan_expired        1  UNCERTAIN
        140        -  FAILSAFE_PLAN_EXPIRED  |       30.00  failsafe_plan_expired        1  UNCERTAIN
        """,
    )


def test_a_ramp_is_held_where_it_is() -> None:
    """WDG-2, WDG-3: entered in the middle of a ramp, what was applied is held, not where it was going."""
    play(
        station(holding()),
        """
        t_s  plan_hz  failsafe               | setpoint_hz  reason
          0       45  -                      |       29.00  ramp
          2       45  -                      |       31.00  ramp
          3        -  FAILSAFE_PLAN_EXPIRED  |       31.00  failsafe_plan_expired
        600        -  FAILSAFE_PLAN_EXPIRED  |       31.00  failsafe_plan_expired
        """,
        start_hz=29,
    )


def test_a_pump_that_stood_is_held_standing() -> None:
    """WDG-3: 0 is a last value too; after its time the default starts it."""
    play(
        station(holding(60.0)),
        """
        t_s  plan_hz  failsafe               | setpoint_hz
          0        0  -                      |        0.00
          1        -  FAILSAFE_PLAN_EXPIRED  |        0.00
         60        -  FAILSAFE_PLAN_EXPIRED  |        0.00
         61        -  FAILSAFE_PLAN_EXPIRED  |       20.00
        """,
    )


def test_a_hold_is_left_bumpless_and_the_next_begins_anew() -> None:
    """WDG-2: a new failsafe after a recovery holds its own value for its own time."""
    play(
        station(holding(30.0)),
        """
        t_s  plan_hz  failsafe               | setpoint_hz  reason
          0       40  -                      |       40.00  plan
          1        -  FAILSAFE_PLAN_EXPIRED  |       40.00  failsafe_plan_expired
         10       36  -                      |       40.00  failsafe_plan_expired
         40       36  -                      |       30.00  failsafe_plan_expired
         70       36  -                      |       31.00  ramp
        100       36  -                      |       36.00  plan
        101        -  FAILSAFE_DATABASE      |       36.00  failsafe_database
        130        -  FAILSAFE_DATABASE      |       36.00  failsafe_database
        131        -  FAILSAFE_DATABASE      |       35.00  failsafe_database
        """,
    )


HIGH = limits(rate_hz_per_s=10.0, high_m=3.0, high_reset_m=2.5)


def test_what_a_high_level_drove_is_not_held() -> None:
    """WDG-3, SAF-2.4: the plan goes stale while rule 4 runs the pump; after the reset its own last value is held."""
    for plan_hz, held_hz in ((0, 0.0), (35, 35.0)):
        play(
            station(holding(of=HIGH)),
            f"""
            t_s  plan_hz    level_m  failsafe               | setpoint_hz
              0  {plan_hz}      1.0  -                      | {held_hz}
              1  {plan_hz}      3.1  -                      | {20.0 if plan_hz == 0 else 45.0}
              9  {plan_hz}      3.1  -                      |       50.00
             10        -        3.1  FAILSAFE_PLAN_EXPIRED  |       50.00
             60        -        2.4  FAILSAFE_PLAN_EXPIRED  |       40.00
             70        -        2.0  FAILSAFE_PLAN_EXPIRED  | {held_hz}
            900        -        2.0  FAILSAFE_PLAN_EXPIRED  | {held_hz}
            """,
        )


def test_a_hold_says_its_value_and_what_is_left_of_it() -> None:
    """SAF-4, WDG-3: the trail tells the value that is held, and for how much longer."""
    bench = play(
        station(holding(120.0, of=HIGH)),
        """
        t_s  plan_hz  level_m  failsafe               | setpoint_hz
          0       35      1.0  -                      |       35.00
          9       35      3.1  -                      |       45.00
         10        -      3.1  FAILSAFE_PLAN_EXPIRED  |       50.00
         60        -      2.4  FAILSAFE_PLAN_EXPIRED  |       40.00
        """,
    )
    [step] = [one for one in bench.decisions["a"].trail if one.rule is Rule.FAILSAFE]
    assert (step.after_hz, step.why) == (35.0, "holds 35 Hz for 70 s more")


def test_the_way_back_from_a_high_level_is_not_held() -> None:
    """WDG-3: stale in the middle of the way down: where the plan goes is held, not where rule 4 left the pump."""
    play(
        station(holding(of=HIGH)),
        """
        t_s  plan_hz  level_m  failsafe               | setpoint_hz
          0        0      1.0  -                      |        0.00
          1        0      3.1  -                      |       20.00
          9        0      3.1  -                      |       50.00
         10        0      2.4  -                      |       40.00
         11        -      2.4  FAILSAFE_PLAN_EXPIRED  |       30.00
         20        -      2.4  FAILSAFE_PLAN_EXPIRED  |        0.00
        """,
    )


def test_no_restart_makes_of_a_high_level_what_is_held() -> None:
    """WDG-3, SAF-10: seeded at the speed that rule 4 ordered, nobody knows what the plan's was: none."""
    for level_m in (3.1, 2.8, 2.4):
        bench = Bench(station(holding(of=HIGH)))
        for _ in range(9):
            bench.tick({"a": {"plan_hz": 0.0, "level_m": 3.1}}, period_s=1.0)
        memory = memory_of("s", bench.state, epoch=Epoch(0, 1), boot_id=bench.now.boot_id)
        bench.state = restored(memory, {}, now=bench.now, gap_s_max=10.0)
        bench.held.clear()
        bench.tick({"a": {**EXPIRED, "level_m": level_m}}, period_s=1.0)
        for _ in range(20):
            bench.tick({"a": {**EXPIRED, "level_m": 2.4}}, period_s=1.0)
        assert bench.decisions["a"].setpoint_hz == 0.0


@pytest.mark.parametrize("rule", [Rule.ASSIST, Rule.FLUSH, Rule.EXERCISE])
def test_what_a_task_of_the_station_drove_is_not_held(rule: Rule) -> None:
    """WDG-3, CTL-6: the plan wants 0, a task runs the pump, and the optimiser goes stale meanwhile."""
    duties = StationDuties(
        assist=Assist(pumps=1, reset_m=1.0, after_s=0.0),
        exercise=Exercise(after_h=1.0, run_s=600.0, level_m=0.5),
        flush=Flush(every_h=1.0, run_s=600.0, speed_hz=45.0, flow_m3h=90.0, level_m=0.5),
    )
    of = limits(rate_hz_per_s=10.0, level_max_m=2.0)
    bench = Bench(station(holding(of=of), duties=duties))
    row = {"plan_hz": 0.0, "level_m": 2.2 if rule is Rule.ASSIST else 1.5}
    for _ in range(15):
        bench.tick({"a": row}, period_s=1.0)
    if rule is not Rule.ASSIST:
        task = Task(rule=rule, since=bench.now)
        bench.state = msgspec.structs.replace(bench.state, tasks={"a": task})
    for _ in range(5):
        bench.tick({"a": row}, period_s=1.0)
    assert bench.decisions["a"].setpoint_hz > 0.0, "it runs for its task"
    for _ in range(10):
        bench.tick({"a": {**row, **EXPIRED}}, period_s=1.0)
    assert bench.decisions["a"].setpoint_hz == 0.0


def test_what_a_clean_out_drove_is_not_held() -> None:
    """WDG-3, CTL-6: a person's order is no duty either."""
    duties = StationDuties(clean_out=CleanOut(level_m=0.25, run_s=300.0, speed_hz=25.0, power_kw_min=3.0))
    of = limits(rate_hz_per_s=10.0, dry_run_m=0.4, dry_run_reset_m=0.6)
    bench = Bench(station(holding(of=of), duties=duties))
    row = {"plan_hz": 0.0, "level_m": 1.0, "power_kw": 4.0}
    bench.tick({"a": row}, period_s=1.0)
    order = CleanOutOrder(
        order_id="o", pump_id="a", by="anna", reason="grit", since=bench.now, until=bench.now.plus(300.0)
    )
    bench.state = msgspec.structs.replace(bench.state, clean_out=order)
    for _ in range(5):
        bench.tick({"a": row}, period_s=1.0)
    assert bench.decisions["a"].reason is Reason.CLEAN_OUT
    for _ in range(10):
        bench.tick({"a": {**row, **EXPIRED}}, period_s=1.0)
    assert bench.decisions["a"].setpoint_hz == 0.0


def test_a_stop_makes_no_more_of_what_is_held() -> None:
    """WDG-3, SAF-2.1: an emergency setpoint is nobody's duty; below what was asked it is what is left of it."""
    for task_hz, held_hz in ((None, 25.0), (45.0, 0.0)):
        bench = Bench(
            station(
                holding(of=limits(rate_hz_per_s=100.0), emergency_stop_setpoint_hz=25.0),
            ),
            start_hz={"a": 40.0},
        )
        bench.tick({"a": {"plan_hz": 40.0}}, period_s=1.0)
        if task_hz is not None:
            state = msgspec.structs.replace(bench.state.pumps["a"], duty_hz=0.0)
            bench.state = msgspec.structs.replace(bench.state, pumps={"a": state})
        bench.tick({"a": {"plan_hz": 40.0, "stop": 1}}, period_s=1.0)
        assert bench.decisions["a"].setpoint_hz == 25.0
        assert bench.state.pumps["a"].duty_hz == held_hz


def test_a_hold_after_a_hand_back_goes_on_from_the_measured_speed_within_its_time() -> None:
    """SAF-10, CTL-7, WDG-3: taken over again it holds what the local controller left, until the same moment."""
    play(
        station(holding(200.0)),
        """
        t_s  plan_hz  speed_hz  local  failsafe               | setpoint_hz  reason                 enabled
          0       40         -  0      -                      |       40.00  plan                         1
          1        -         -  0      FAILSAFE_PLAN_EXPIRED  |       40.00  failsafe_plan_expired        1
         10        -        25  1      FAILSAFE_PLAN_EXPIRED  |       25.00  local                        0
         20        -        25  0      FAILSAFE_PLAN_EXPIRED  |       25.00  failsafe_plan_expired        1
        200        -         -  0      FAILSAFE_PLAN_EXPIRED  |       25.00  failsafe_plan_expired        1
        201        -         -  0      FAILSAFE_PLAN_EXPIRED  |       26.00  failsafe_plan_expired        1
        """,
    )


def test_a_hold_survives_a_restart_by_what_is_measured_and_no_restart_makes_it_longer() -> None:
    """SAF-10, SAF-7, WDG-3: the value comes from the plant, the moment it began from the disk."""
    bench = Bench(station(holding(100.0)), start_hz={"a": 41.0})
    bench.tick({"a": {"plan_hz": 41.0}})
    for second in range(1, 130):
        if second % 20 == 0:
            memory = memory_of("s", bench.state, epoch=Epoch(0, second), boot_id=bench.now.boot_id)
            assert memory.pumps["a"].held_since is not None
            bench.state = restored(memory, {}, now=bench.now, gap_s_max=10.0)
            bench.held.clear()
        decision = bench.tick({"a": EXPIRED}, period_s=1.0)["a"]
        want_hz = 41.0 if second <= 100 else max(30.0, 41.0 - (second - 100))
        assert abs(decision.setpoint_hz - want_hz) < 0.011, second
        assert decision.remote_enabled


def test_no_hold_is_remembered_of_a_failsafe_that_is_over() -> None:
    """WDG-3: what a restart finds on disk of an older failsafe ends with the first word that there is none."""
    bench = Bench(station(holding(100.0)), start_hz={"a": 41.0})
    bench.tick({"a": EXPIRED})
    memory = memory_of("s", bench.state, epoch=Epoch(0, 1), boot_id=bench.now.boot_id)
    bench.state = restored(memory, {}, now=bench.now.plus(50.0), gap_s_max=10.0)
    bench.now = bench.now.plus(50.0)
    bench.tick({"a": {"no_proposal": 1}}, period_s=1.0)
    assert bench.state.pumps["a"].strategy.held_since is not None, "nobody said anything yet"
    bench.tick({"a": {"plan_hz": 41.0}}, period_s=1.0)
    assert bench.state.pumps["a"].strategy.held_since is None


# --------------------------------------------------------------------------- image, table


@pytest.mark.parametrize(
    ("strategy", "image_hz"),
    [
        (FailsafeStrategy.DEFAULT_SETPOINT, 30.0),
        (FailsafeStrategy.LEVEL_ON_OFF, 30.0),
        (FailsafeStrategy.HOLD_LAST, 30.0),
        (FailsafeStrategy.HAND_BACK, 0.0),
    ],
)
def test_the_image_is_what_is_left_of_the_strategy_without_the_chain(
    strategy: FailsafeStrategy, image_hz: float
) -> None:
    """SAF-9: a gate watches neither level nor clock: the default stands in, 0 where the local controller decides."""
    config = station(pump(of=WELL, failsafe_strategy=strategy))
    for level_m in ("0.7", "1.5", "2.1"):
        for row in ("41  -", "-  FAILSAFE_PLAN_EXPIRED"):
            bench = play(
                config,
                f"""
                t_s  level_m  plan_hz  failsafe | image_hz  image_reason
                  0  {level_m}  {row} | {image_hz}  lease_expired
                """,
                start_hz=41.0,
            )
            assert bench.decisions["a"].failsafe_image_hz == image_hz


def test_the_table_tells_what_a_strategy_works_with() -> None:
    """SAF-2, WDG-3: `calejo priorities` shows the levels, or why there are none."""
    config = station(by_level())
    [row] = [one for one in priorities(config).rows if one.rule is Rule.FAILSAFE]
    assert row.pumps["a"]["failsafe_start_level_m"] == 2.0
    assert row.pumps["a"]["failsafe_stop_level_m"] == 0.7
    assert row.pumps["a"]["failsafe_run_hz"] == 30.0
    [row] = [one for one in priorities(station(by_level(of=limits()))).rows if one.rule is Rule.FAILSAFE]
    assert row.pumps["a"]["failsafe_levels"] == "no start and stop level"


@pytest.mark.parametrize("output_hz", [0.0, 35.0])
@pytest.mark.parametrize("on", [True, False, None])
def test_between_the_levels_what_it_was_counts_and_not_what_others_made_of_it(
    on: bool | None, output_hz: float
) -> None:
    """WDG-3: a pump that rule 6 or 9 kept from its start is still on, one that its run keeps going is off."""
    bench = Bench(station(by_level()), start_hz={"a": 35.0})
    seen: list[RoundInput] = []
    for _ in range(3):
        bench.tick({"a": {**EXPIRED, "level_m": 1.5}}, period_s=1.0, spy=seen.append)
    fact = observe(seen[-1], bench.state, now=bench.now)[0]["a"]
    fact = msgspec.structs.replace(fact, state=msgspec.structs.replace(fact.state, output_hz=output_hz))
    assert advance(StrategyMemory(on=on), fact, now=bench.now).on is (output_hz > 0.0 if on is None else on)
