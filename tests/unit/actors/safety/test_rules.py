"""Each rule of SAF-2 as a timeline."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from actors.safety import rules
from actors.safety.conditions import observe
from actors.safety.types import Facts, RoundInput, Work
from actors.vocabulary import FailsafeStrategy, HighLevelResponse, Reason, Rule
from tests.unit.actors.safety.timeline import Bench, limits, play, pump, station


def test_the_order_is_the_specifications() -> None:
    """SAF-2: the order is data, and 3 against 4 is the only swap."""
    assert [row.rule for row in rules.RULES] == [
        Rule.EMERGENCY_STOP,
        Rule.OUT_OF_SERVICE,
        Rule.LOCAL,
        Rule.DRY_RUN,
        Rule.HIGH_LEVEL,
        Rule.FAILSAFE,
        Rule.PROTECTION_TIMERS,
        Rule.ROTATION,
        Rule.FLOW_FLOOR,
        Rule.POWER_CAP,
        Rule.FLOW_CAP,
        Rule.LEVEL_BAND,
        Rule.SPEED_BAND,
        Rule.MAX_RUNNING,
        Rule.STATION_POWER,
        Rule.STAGGER,
        Rule.RATE,
        Rule.FINAL_CHECK,
    ]
    swapped = rules.order_for(station(dry_run_outranks_high_level=False))
    moved = [
        (old.rule, new.rule) for old, new in zip(rules.RULES, swapped, strict=True) if old.rule != new.rule
    ]
    assert moved == [(Rule.DRY_RUN, Rule.HIGH_LEVEL), (Rule.HIGH_LEVEL, Rule.DRY_RUN)]


def test_emergency_stop_stops_at_once_and_clearing_ramps_from_the_minimum() -> None:
    """SAF-2.1, EST-2: 0 without a ramp whatever is wished; cleared, 0 -> minimum -> ramp."""
    play(
        limits(),
        """
        t_s  plan_hz  stop | setpoint_hz  because         inhibit  enabled  reason
          0       35     0 |       35.00  plan                  0        1  plan
          1       35     1 |        0.00  emergency_stop        1        1  emergency_stop
          9       50     1 |        0.00  emergency_stop        1        1  emergency_stop
         10       50     0 |       20.00  start_step            0        1  ramp
         11       50     0 |       21.00  rate                  0        1  ramp
        """,
    )


def test_emergency_setpoint_is_never_above_the_last_value_and_starts_nothing() -> None:
    """SAF-2.1: min(last applied, emergency_stop_setpoint_hz), never a start; a stopped pump stays stopped."""
    of_pump = pump(of=limits(), emergency_stop_setpoint_hz=25.0)
    play(
        station(of_pump),
        """
        t_s  plan_hz  stop | setpoint_hz  reason
          0       35     0 |       35.00  plan
          1       35     1 |       25.00  emergency_stop
          2       50     1 |       25.00  emergency_stop
          3       35     0 |       26.00  ramp
        """,
    )
    play(
        station(of_pump),
        """
        t_s  plan_hz  stop | setpoint_hz  reason
          0       22     0 |       22.00  plan
          1       22     1 |       22.00  emergency_stop
        """,
    )
    play(
        station(of_pump),
        """
        t_s  plan_hz  stop | setpoint_hz  reason
          0        0     0 |        0.00  plan
          1       50     1 |        0.00  emergency_stop
          5       50     1 |        0.00  emergency_stop
        """,
    )


def test_emergency_setpoint_outside_the_band_counts_as_0() -> None:
    """DAT-1, SAF-2.1: an emergency setpoint below the minimum is 0, never the minimum."""
    play(
        station(pump(of=limits(), emergency_stop_setpoint_hz=12.0)),
        """
        t_s  plan_hz  stop | setpoint_hz
          0       35     0 |       35.00
          1       35     1 |        0.00
        """,
    )


def test_rules_2_and_3_force_0_below_an_emergency_setpoint() -> None:
    """SAF-2.1: 2 and 3 still force 0 below it, and the stop stays the reason."""
    play(
        station(pump(of=limits(dry_run_m=0.4, dry_run_reset_m=0.6), emergency_stop_setpoint_hz=25.0)),
        """
        t_s  level_m  plan_hz  stop  oos | setpoint_hz  because        reason
          0      1.0       35     0    0 |       35.00  plan           plan
          1      1.0       35     1    0 |       25.00  emergency_stop emergency_stop
          2      0.4       35     1    0 |        0.00  dry_run        emergency_stop
          3      1.0       35     1    0 |        0.00  emergency_stop emergency_stop
          4      1.0       35     0    1 |        0.00  out_of_service out_of_service
        """,
    )


def test_emergency_value_under_a_cap_falls_to_0_and_not_to_the_minimum() -> None:
    """SAF-2.1: while 1-3 hold, a cap that lands below the minimum is 0, and so is rule 9."""
    play(
        station(
            pump(
                of=limits(max_power_kw=0.5),
                emergency_stop_setpoint_hz=25.0,
                rated_power_kw=10.0,
                rated_speed_hz=50.0,
            )
        ),
        """
        t_s  plan_hz  stop | setpoint_hz  reason
          0       22     1 |        0.00  emergency_stop
        """,
        start_hz=22,
    )


def test_a_pump_without_a_known_run_is_not_kept_running_by_an_emergency_setpoint() -> None:
    """SAF-2.1: never starting a pump: commanded but not turning counts as standing."""
    play(
        station(pump(of=limits(), emergency_stop_setpoint_hz=25.0)),
        """
        t_s  plan_hz  stop  running | setpoint_hz
          0       35     0        1 |       35.00
          1       35     1        0 |        0.00
        """,
    )


def test_out_of_service_is_0_with_its_mode() -> None:
    """SAF-2.2, CTL-7, EST-6: out of service is 0 and inhibits; it returns by the normal rules."""
    play(
        limits(),
        """
        t_s  plan_hz  oos | setpoint_hz  because         inhibit  mode
          0       35    0 |       35.00  plan                  0  AUTO
          1       35    1 |        0.00  out_of_service        1  OUT_OF_SERVICE
          2       35    0 |       20.00  start_step            0  AUTO
        """,
    )


def test_local_tracks_and_returns_without_a_bump() -> None:
    """CTL-7, SAF-2.2: at the panel nothing is claimed; our output follows the pump and returns from there."""
    play(
        limits(),
        """
        t_s  plan_hz  local  speed_hz | setpoint_hz  reason  enabled  quality  mode   tracking_hz
          0       35      0         - |       35.00  plan          1  GOOD     AUTO             -
          1       35      1        44 |       44.00  local         0  BAD      LOCAL        44.00
          2       35      1        12 |       20.00  local         0  BAD      LOCAL        20.00
          3       35      1         0 |        0.00  local         0  BAD      LOCAL         0.00
          4       35      1        60 |       50.00  local         0  BAD      LOCAL        50.00
          5       35      0         - |       49.00  ramp          1  GOOD     AUTO             -
        """,
    )


def test_a_stop_outranks_local() -> None:
    """SAF-2.1: under a stop a pump at the panel shows 0, inhibited and unclaimed."""
    play(
        station(pump(of=limits(), emergency_stop_setpoint_hz=25.0)),
        """
        t_s  plan_hz  local  stop  speed_hz | setpoint_hz  reason          enabled  inhibit
          0       35      0     0         - |       35.00  plan                  1        0
          1       35      1     1        44 |        0.00  emergency_stop        0        1
        """,
    )


def test_dry_run_stops_and_returns_with_hysteresis() -> None:
    """SAF-2.3: stop at the dry-run level, run again only above its reset level."""
    play(
        limits(dry_run_m=0.40, dry_run_reset_m=0.60, band_hz=(20, 50)),
        """
        t_s  level_m  plan_hz | setpoint_hz  because
          0     0.80       35 |       35.00  plan
          1     0.40       35 |        0.00  dry_run
         60     0.55       35 |        0.00  dry_run
         61     0.61       35 |       20.00  start_step
        """,
    )


def test_dry_run_is_remembered_across_a_restart_by_a_standing_pump() -> None:
    """SAF-10, SAF-2.3: between dry run and reset a pump that stands stays; one that runs goes on."""
    of = limits(dry_run_m=0.40, dry_run_reset_m=0.60)
    play(
        of,
        """
        t_s  level_m  plan_hz | setpoint_hz  because
          0     0.50       35 |        0.00  dry_run
          1     0.61       35 |       20.00  start_step
        """,
        start_hz=0,
    )
    play(
        of,
        """
        t_s  level_m  plan_hz | setpoint_hz  because
          0     0.50       35 |       35.00  plan
        """,
    )


def test_high_level_runs_at_maximum_until_its_reset() -> None:
    """SAF-2.4: at the emergency high level the pump runs at its maximum, by the ramp, until below the reset."""
    play(
        limits(high_m=3.0, high_reset_m=2.5, rate_hz_per_s=10.0),
        """
        t_s  level_m  plan_hz | setpoint_hz  reason
          0     2.90        0 |        0.00  plan
          1     3.00        0 |       20.00  high_level
          2     2.60        0 |       30.00  high_level
          4     2.50        0 |       50.00  high_level
          5     2.49        0 |       40.00  ramp
          8     2.49        0 |        0.00  plan
        """,
    )


def test_high_level_yields_to_stops_and_motor_power_but_not_to_flow() -> None:
    """SAF-2.4: not above rules 1 to 3 nor motor power; the flow cap does not hold it."""
    play(
        station(
            pump(
                of=limits(high_m=3.0, max_power_kw=5.12, max_flow_m3h=10.0, rate_hz_per_s=100.0),
                rated_power_kw=10.0,
                rated_flow_m3h=100.0,
                rated_speed_hz=50.0,
            )
        ),
        """
        t_s  level_m  plan_hz  stop | setpoint_hz  reason
          0     3.10        0     0 |       20.00  high_level
          1     3.10        0     0 |       40.00  high_level
          2     3.10        0     1 |        0.00  emergency_stop
        """,
    )


def test_high_level_may_hand_back_instead() -> None:
    """SAF-2.4: where the station says so, the emergency high level hands back to local control."""
    play(
        station(
            pump(of=limits(high_m=3.0, high_reset_m=2.5)),
            high_level_response=HighLevelResponse.HAND_BACK,
        ),
        """
        t_s  level_m  plan_hz  speed_hz | setpoint_hz  reason      enabled
          0     2.90       35         - |       35.00  plan              1
          1     3.00       35        50 |       50.00  high_level        0
          2     2.49       35         - |       49.00  ramp              1
        """,
    )


def test_failsafe_uses_the_default_and_leaves_after_the_hold() -> None:
    """WDG-2, WDG-3: enabled and UNCERTAIN at the default setpoint, by the ramp; back after 60 s of good data."""
    play(
        limits(),
        """
        t_s  plan_hz  failsafe               | setpoint_hz  reason                 quality    enabled
          0       35  -                      |       35.00  plan                   GOOD             1
          1        -  FAILSAFE_PLAN_EXPIRED  |       34.00  failsafe_plan_expired  UNCERTAIN        1
         10        -  FAILSAFE_PLAN_EXPIRED  |       30.00  failsafe_plan_expired  UNCERTAIN        1
         11       35  -                      |       30.00  failsafe_plan_expired  UNCERTAIN        1
         70       35  -                      |       30.00  failsafe_plan_expired  UNCERTAIN        1
         71       35  -                      |       31.00  ramp                   GOOD             1
        """,
    )


def test_manual_leaves_a_plans_failsafe_at_once() -> None:
    """WDG-2: stale plans put AUTO pumps into failsafe, not MANUAL ones."""
    play(
        limits(),
        """
        t_s  plan_hz  mode    failsafe               | setpoint_hz  reason                 mode
          0        -  AUTO    FAILSAFE_PLAN_EXPIRED  |       30.00  failsafe_plan_expired  AUTO
          1       31  MANUAL  -                      |       31.00  manual                 MANUAL
          2        -  AUTO    FAILSAFE_CHILD_QUARANTINED | 30.00    failsafe_child_quarantined AUTO
          3       31  MANUAL  -                      |       30.00  failsafe_child_quarantined MANUAL
        """,
        start_hz=30,
    )


def test_hand_back_strategy_gives_the_pump_to_local_control() -> None:
    """WDG-3: HAND_BACK: remote_enabled 0 and BAD while in failsafe, bumpless afterwards, image 0."""
    play(
        station(pump(of=limits(), failsafe_strategy=FailsafeStrategy.HAND_BACK)),
        """
        t_s  plan_hz  speed_hz  failsafe           | setpoint_hz  reason                quality  image_hz
          0       35         -  -                  |       35.00  plan                  GOOD            0
          1        -        40  FAILSAFE_DATABASE  |       40.00  handed_back_strategy  BAD             0
          2       35        45  -                  |       45.00  handed_back_strategy  BAD             0
         62       35        45  -                  |       44.00  ramp                  GOOD            0
        """,
    )


def test_held_stopped_is_never_started_by_failsafe() -> None:
    """CTL-7: an expired MANUAL 0 holds the pump stopped, in failsafe too; only the high level may run it."""
    play(
        limits(high_m=3.0),
        """
        t_s  level_m  plan_hz  held  failsafe           | setpoint_hz  reason        image_hz
          0      1.0        0     1  -                  |        0.00  held_stopped         0
          1      1.0        -     1  FAILSAFE_DATABASE  |        0.00  held_stopped         0
          2      3.0        0     1  -                  |       20.00  high_level          50
        """,
    )


def test_bad_proposals_keep_the_last_safe_value_for_3_ticks() -> None:
    """SAF-3: not finite, negative or absurd: last safe value for 3 ticks, then failsafe; recorded in the trail."""
    play(
        limits(),
        """
        t_s  plan_hz | setpoint_hz  reason                     because
          0       40 |       40.00  plan                       plan
          1      nan |       40.00  limited                    invalid_proposal
          2      inf |       40.00  limited                    invalid_proposal
          3       -5 |       40.00  limited                    invalid_proposal
          4     1000 |       39.00  failsafe_invalid_proposal  rate
          5       40 |       38.00  failsafe_invalid_proposal  rate
         64       40 |       30.00  failsafe_invalid_proposal  failsafe
         65       40 |       31.00  ramp                       rate
        """,
    )


def test_a_missing_wish_without_a_reason_is_a_bad_proposal_and_good_ones_reset_the_count() -> None:
    """SAF-3: 3 bad ones, a good one, 3 bad ones never reach failsafe."""
    play(
        limits(),
        """
        t_s  plan_hz | setpoint_hz  reason
          0       40 |       40.00  plan
          1        - |       40.00  limited
          3        - |       40.00  limited
          4       40 |       40.00  plan
          5        - |       40.00  limited
          7        - |       40.00  limited
        """,
    )


def test_power_cap_by_measured_then_rated_power() -> None:
    """SAF-2.7: P ~ n^3 from the measured pair while it runs, else from the rated one."""
    play(
        station(
            pump(
                of=limits(max_power_kw=10.0, rate_hz_per_s=100.0),
                rated_power_kw=20.0,
                rated_speed_hz=50.0,
            )
        ),
        """
        t_s  plan_hz  power_kw | setpoint_hz  because
          0       30         - |       30.00  plan
          1       50         - |       39.69  power_cap
          2       50        20 |       31.50  power_cap
          3       30         8 |       30.00  plan
        """,
    )


def test_a_cap_below_the_minimum_stops_and_holds_off_the_next_start() -> None:
    """SAF-2.7, 2.9: a cap that lands below the minimum becomes 0, and the pump is not started again at once."""
    play(
        station(pump(of=limits(max_power_kw=1.0), rated_power_kw=1.0, rated_speed_hz=50.0)),
        """
        t_s  plan_hz  power_kw | setpoint_hz  because
          0       22       0.9 |       22.00  plan
          1       22         3 |       21.00  rate
          2       22         3 |       20.00  rate
          3       22         3 |        0.00  power_cap
          9       22         0 |        0.00  power_cap
         62       22         0 |        0.00  power_cap
         63       22         0 |       20.00  start_step
        """,
    )


def test_a_cap_that_cannot_be_judged_allows_the_minimum() -> None:
    """SAF-2.7: without measured or rated values the pump is not unconstrained."""
    play(
        limits(max_power_kw=10.0, max_flow_m3h=10.0),
        """
        t_s  plan_hz | setpoint_hz  because
          0       35 |       35.00  rate
          1       35 |       34.00  rate
         20       35 |       20.00  power_cap
        """,
    )


def test_flow_cap() -> None:
    """SAF-2.7: Q ~ n."""
    play(
        station(pump(of=limits(max_flow_m3h=60.0), rated_flow_m3h=100.0, rated_speed_hz=50.0)),
        """
        t_s  plan_hz  flow_m3h | setpoint_hz  because
          0       30         - |       30.00  plan
          1       31         - |       30.00  flow_cap
          2       31        75 |       29.00  rate
        """,
    )


def test_no_start_below_the_minimum_level_but_running_goes_on() -> None:
    """SAF-2.8: below level_min no start; a running pump goes on until dry run."""
    play(
        limits(level_min_m=0.8, dry_run_m=0.4, dry_run_reset_m=0.5),
        """
        t_s  level_m  plan_hz | setpoint_hz  because
          0     0.90       35 |       35.00  plan
          1     0.70       35 |       35.00  plan
          2     0.40       35 |        0.00  dry_run
          3     0.70       35 |        0.00  level_band
          4     0.80       35 |       20.00  start_step
        """,
    )


def test_speed_band_with_start_hysteresis() -> None:
    """SAF-2.9: a wish in (0, min) is 0 or min: started near the minimum, stopped well below it."""
    play(
        limits(),
        """
        t_s  plan_hz | setpoint_hz  because
          0       17 |        0.00  speed_band
          1       18 |       20.00  speed_band
          2       15 |       20.00  speed_band
          3       13 |        0.00  speed_band
          4       17 |        0.00  speed_band
          5       60 |       20.00  start_step
         60       60 |       50.00  speed_band
        """,
        start_hz=0,
    )


def test_rate_holds_inside_the_band_only_and_a_stop_steps_from_the_minimum() -> None:
    """SAF-2.10: a start steps 0 -> min, a stop min -> 0, between them the rate."""
    play(
        limits(rate_hz_per_s=4.0),
        """
        t_s  plan_hz | setpoint_hz  because
          0        0 |        0.00  plan
          1       30 |       20.00  start_step
          2       30 |       24.00  rate
          4       30 |       30.00  plan
          5        0 |       26.00  rate
          6        0 |       22.00  rate
          7        0 |       20.00  rate
          8        0 |        0.00  plan
        """,
    )


def test_a_late_tick_moves_no_further_than_one_tick() -> None:
    """SAF-2.10: for at most one tick's time, however long nothing was decided (within the lease)."""
    bench = play(
        limits(rate_hz_per_s=2.0),
        """
        t_s  plan_hz | setpoint_hz
          0       30 |       30.00
        """,
    )
    decided = bench.tick({"a": {"plan_hz": 50.0}}, period_s=8.0)
    assert decided["a"].setpoint_hz == pytest.approx(32.0)


def test_a_narrowed_band_outranks_the_rate() -> None:
    """SAF-2.9, DAT-4: new limits hold at once."""
    bench = play(
        limits(),
        """
        t_s  plan_hz | setpoint_hz
          0       48 |       48.00
        """,
    )
    bench.config = station(pump(of=limits(band_hz=(20.0, 40.0), version=8)))
    decided = bench.tick({"a": {"plan_hz": 48.0}}, period_s=1.0)["a"]
    assert (decided.setpoint_hz, decided.limits_version) == (40.0, 8)


def test_resolution_stays_inside_the_band() -> None:
    """SAF-2.11: 0.01 Hz, rounded into the band and never out of it."""
    play(
        limits(band_hz=(20.005, 49.995), rate_hz_per_s=100.0),
        """
        t_s  plan_hz  | setpoint_hz
          0   30      |       30.00
          1   19.999  |       20.01
          2   33.337  |       33.34
          3   60      |       49.99
        """,
    )


def test_without_valid_limits_a_pump_is_never_driven() -> None:
    """DAT-5: 0, not enabled, flagged; whether limits are absent or contradict each other."""
    table = """
        t_s  plan_hz  speed_hz | setpoint_hz  reason            because           enabled  quality  image_hz
          0       35        40 |        0.00  not_commissioned  not_commissioned        0  BAD             0
    """
    play(station(pump(of=None)), table)
    play(limits(band_hz=(50.0, 20.0)), table)
    play(limits(dry_run_m=float("nan")), table)


def facts_of(bench: Bench, **changes: Any) -> Facts:
    """Return the facts of pump `a` after the last tick of a bench."""
    seen: list[RoundInput] = []
    bench.tick({"a": {"plan_hz": 30.0}}, period_s=1.0, spy=seen.append)
    facts, _ = observe(seen[0], bench.state, now=bench.now)
    return msgspec.structs.replace(facts["a"], **changes)


@pytest.mark.parametrize("wrong_hz", [float("nan"), float("inf"), -1.0, 12.0, 51.0])
def test_what_fails_the_final_validation_becomes_the_failsafe_output(wrong_hz: float) -> None:
    """SAF-2.11: our own bug does not reach the wire: the default while it runs, 0 under 1 to 3 or at rest."""
    bench = Bench(station(pump(of=limits(), default_setpoint_hz=33.0)), start_hz={"a": 30.0})
    fact = facts_of(bench)
    work = Work(value_hz=wrong_hz, reason=Reason.PLAN)
    failed = rules.final(work, fact)
    assert (failed.value_hz, failed.reason, failed.failed_check) == (33.0, Reason.FINAL_CHECK, True)
    under_stop = msgspec.structs.replace(work, stopped_by=Rule.DRY_RUN)
    assert rules.final(under_stop, fact).value_hz == 0.0
    standing = msgspec.structs.replace(fact, state=msgspec.structs.replace(fact.state, output_hz=0.0))
    assert rules.final(work, standing).value_hz == 0.0


def test_under_a_stop_rule_9_falls_to_0() -> None:
    """SAF-2.1: while 1 to 3 hold, rule 9 falls to 0 and never to the minimum."""
    fact = facts_of(Bench(station(pump(of=limits())), start_hz={"a": 30.0}))
    stopped = Work(value_hz=19.0, reason=Reason.EMERGENCY_STOP, stopped_by=Rule.EMERGENCY_STOP)
    assert rules.speed_band(stopped, fact).value_hz == 0.0
    free = msgspec.structs.replace(stopped, stopped_by=None)
    assert rules.speed_band(free, fact).value_hz == 20.0


def test_a_pump_without_limits_is_touched_by_no_rule_that_needs_them() -> None:
    """DAT-5: rules that read limits leave a pump alone that has none."""
    fact = facts_of(Bench(station(pump(of=None))))
    work = Work(value_hz=0.0, reason=Reason.NOT_COMMISSIONED)
    for row in rules.RULES:
        if row.apply is not None:
            assert row.apply(work, fact).value_hz == 0.0


def test_a_pump_that_runs_moves_its_minimum_flow() -> None:
    """SAF-2.7: raised to the speed that moves it by the rated point, never started by it, never above a cap."""
    rated = {"rated_flow_m3h": 100.0, "rated_power_kw": 10.0, "rated_speed_hz": 50.0}
    play(
        station(pump(of=limits(min_flow_m3h=60.0, rate_hz_per_s=100.0), **rated)),
        """
        t_s  plan_hz  flow_m3h | setpoint_hz  because
          0       35        50 |       35.00  plan
          1       25        50 |       30.00  flow_floor
          2       25         1 |       30.00  flow_floor
          3       14         - |       30.00  flow_floor
          4       13         - |       20.00  rate
          5       13         - |        0.00  speed_band
          6       17         - |        0.00  speed_band
          7       18         - |       20.00  start_step
          8       18         - |       30.00  flow_floor
          9       40         - |       40.00  plan
        """,
    )
    play(
        station(pump(of=limits(min_flow_m3h=60.0, max_power_kw=1.25, rate_hz_per_s=100.0), **rated)),
        """
        t_s  plan_hz | setpoint_hz  because
          0       22 |       22.00  rate
          1       22 |       25.00  power_cap
        """,
    )
    play(
        station(pump(of=limits(min_flow_m3h=60.0))),
        """
        t_s  plan_hz | setpoint_hz  because
          0       22 |       22.00  plan
        """,
    )


@pytest.mark.parametrize("plan_hz", [17.0, 20.0])
def test_a_cap_below_the_minimum_stops_what_the_band_would_lift_to_the_minimum(plan_hz: float) -> None:
    """SAF-2.7, 2.9: 12 kW at 20 Hz where 8 are allowed: at most 17.5 Hz, so neither 17 nor the minimum."""
    bench = Bench(station(pump(of=limits(max_power_kw=8.0))), start_hz={"a": 20.0})
    decided = bench.tick({"a": {"plan_hz": plan_hz, "power_kw": 12.0}}, period_s=1.0)["a"]
    assert (decided.setpoint_hz, decided.trail[-1].rule) == (0.0, Rule.POWER_CAP)


def test_a_soft_stop_comes_down_slowly_and_steps_from_the_minimum() -> None:
    """SAF-2.10: a rising main's water slows down with the pump; less speed without a stop goes by the rate."""
    play(
        station(pump(of=limits(rate_hz_per_s=4.0)), soft_stop_hz_per_s=0.5),
        """
        t_s  plan_hz | setpoint_hz  because    reason
          0       30 |       30.00  plan       plan
          1       26 |       26.00  plan       plan
          2        0 |       25.50  soft_stop  ramp
          3        0 |       25.00  soft_stop  ramp
          4       30 |       29.00  rate       ramp
          5        0 |       28.50  soft_stop  ramp
         22        0 |       20.00  soft_stop  ramp
         23        0 |        0.00  plan       plan
        """,
    )


def test_no_soft_stop_delays_rules_1_to_3() -> None:
    """SAF-2.10: never an emergency stop, nor out of service or dry run."""
    of = limits(dry_run_m=0.4, dry_run_reset_m=0.5)
    for column, value in (("stop", 1), ("oos", 1), ("level_m", 0.3)):
        bench = Bench(station(pump(of=of), soft_stop_hz_per_s=0.01), start_hz={"a": 45.0})
        bench.tick({"a": {"plan_hz": 45.0, "level_m": 1.0}}, period_s=1.0)
        told = {"plan_hz": 0.0, "level_m": 1.0} | {column: value}
        assert bench.tick({"a": told}, period_s=1.0)["a"].setpoint_hz == 0.0


def test_a_soft_stop_spares_no_motor_and_keeps_no_place_at_high_level() -> None:
    """SAF-2.7, 2.4: a stop by power goes by the rate, and so does one that makes room for a high level."""
    play(
        station(pump(of=limits(max_power_kw=1.0, rate_hz_per_s=4.0)), soft_stop_hz_per_s=0.01),
        """
        t_s  plan_hz  power_kw | setpoint_hz  because
          0       30       0.9 |       30.00  plan
          1       30        20 |       26.00  rate
        """,
    )
    of = limits(high_m=3.0, rate_hz_per_s=4.0)
    play(
        station(pump("a", of), pump("b", of), max_pumps_running=1, soft_stop_hz_per_s=0.01),
        """
        t_s  level_m  a.plan_hz  a.fault  a.running  b.plan_hz | a.setpoint_hz
          0        1         30        0          -          0 |         30.00
          1        3         30        9          0          0 |         26.00
        """,
    )


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), 100.0])
def test_a_soft_stop_that_is_no_rate_is_none(rate: float) -> None:
    """SAF-2.10, SAF-3: whatever stands there, a stop ends."""
    bench = Bench(station(pump(of=limits(rate_hz_per_s=4.0)), soft_stop_hz_per_s=rate), start_hz={"a": 24.0})
    bench.tick({"a": {"plan_hz": 24.0}}, period_s=1.0)
    shown = [bench.tick({"a": {"plan_hz": 0.0}}, period_s=1.0)["a"].setpoint_hz for _ in range(2)]
    assert shown == [20.0, 0.0]


HIGH_AND_DRY = limits(dry_run_m=0.4, dry_run_reset_m=0.6, high_m=3.0, high_reset_m=2.5, rate_hz_per_s=100.0)


@pytest.mark.parametrize(
    ("swapped", "dry_hz", "reason"), [(False, 0.0, "dry_run"), (True, 20.0, "high_level")]
)
def test_dry_run_against_high_level_by_two_sensors(swapped: bool, dry_hz: float, reason: str) -> None:
    """SAF-2.3, 2.4: one sensor dry, the other high, no float: 3 stands above 4 unless the station swaps them."""
    config = station(
        pump("a", HIGH_AND_DRY), pump("b", HIGH_AND_DRY), dry_run_outranks_high_level=not swapped
    )
    play(
        config,
        f"""
        t_s  a.level_m  b.level_m  a.plan_hz  b.plan_hz | a.setpoint_hz  a.reason   b.setpoint_hz  b.reason
          0        0.3        3.1          0          0 |       {dry_hz}  {reason}          20.00  high_level
        """,
    )


@pytest.mark.parametrize("swapped", [False, True])
def test_a_closed_float_wins_over_a_dry_level_in_either_order(swapped: bool) -> None:
    """SAF-2: then high wins over a dry analogue value, whichever of the two rules stands above the other."""
    play(
        station(
            pump(of=HIGH_AND_DRY),
            has_high_float=True,
            float_response_max_s=20.0,
            dry_run_outranks_high_level=not swapped,
        ),
        """
        t_s  level_m  float  plan_hz | setpoint_hz  reason             enabled
          0      0.3      0       35 |        0.00  dry_run                  1
          1      0.3      1       35 |       20.00  high_level               1
         20      0.3      1       35 |       50.00  high_level               1
         21      0.3      1       35 |       50.00  handed_back_level        0
        """,
        start_hz=0,
    )


@pytest.mark.parametrize("swapped", [False, True])
def test_a_level_that_is_not_good_hands_back_in_either_order(swapped: bool) -> None:
    """SAF-2: neither rule guesses at a level; only a declared, closed float speaks for it, and a dry run is kept."""
    config = station(pump(of=HIGH_AND_DRY), has_high_float=True, dry_run_outranks_high_level=not swapped)
    play(
        config,
        """
        t_s  level_m  float  plan_hz | setpoint_hz  reason             enabled
          0      1.0      0       35 |       35.00  plan                     1
          1      -40      0       35 |       35.00  handed_back_level        0
        """,
    )
    play(
        config,
        """
        t_s  level_m  float  plan_hz | setpoint_hz  reason             enabled
          0      0.3      0       35 |        0.00  dry_run                  1
          1      -40      0       35 |        0.00  handed_back_level        0
        """,
        start_hz=0,
    )
    play(
        config,
        """
        t_s  level_m  float  plan_hz | setpoint_hz  reason             enabled
          0      1.0      0       35 |       35.00  plan                     1
          1      -40      1       35 |       50.00  high_level               1
        """,
    )


def test_a_stop_keeps_no_pump_running_that_is_to_stop() -> None:
    """SAF-2.1: only 4, 6 and soft_stop may hold a pump running: under a stop, too, a wish of 0 is 0."""
    table = """
        t_s  plan_hz  mode    stop | setpoint_hz  reason
          0       35  AUTO       0 |       35.00  plan
          1       35  AUTO       1 |       25.00  emergency_stop
          2        0  {mode:6}     1 |        0.00  emergency_stop
          3       35  AUTO       1 |        0.00  emergency_stop
    """
    for mode in ("AUTO", "MANUAL"):
        play(station(pump(of=limits(), emergency_stop_setpoint_hz=25.0)), table.format(mode=mode))


def test_an_operators_0_is_never_started_by_failsafe() -> None:
    """CTL-7, WDG-2: a failed plan actor or the hold after bad proposals starts no pump that an operator stopped."""
    play(
        limits(high_m=3.0),
        """
        t_s  level_m  plan_hz  mode    failsafe                   | setpoint_hz  reason      image_hz
          0      1.0        0  MANUAL  -                          |        0.00  manual             0
          1      1.0        0  MANUAL  FAILSAFE_CHILD_QUARANTINED |        0.00  manual             0
         90      1.0        0  MANUAL  FAILSAFE_CHILD_QUARANTINED |        0.00  manual             0
         91      3.0        0  MANUAL  FAILSAFE_CHILD_QUARANTINED |       20.00  high_level        50
        """,
    )
    bench = Bench(station(pump(of=limits())), start_hz={"a": 22.0})
    for _ in range(6):
        bench.tick({"a": {"plan_hz": math.nan}}, period_s=1.0)
    assert bench.decisions["a"].reason is Reason.FAILSAFE_INVALID_PROPOSAL
    for _ in range(20):
        bench.tick({"a": {"plan_hz": 0.0, "mode": "MANUAL"}}, period_s=1.0)
    decided = bench.decisions["a"]
    assert (decided.setpoint_hz, decided.reason) == (0.0, Reason.MANUAL)


def test_a_held_pump_is_not_started_by_a_bad_wish() -> None:
    """CTL-7, SAF-3: held stopped stays stopped, also where the wish beside it is absurd and failsafe begins."""
    play(
        station(pump(of=limits(), default_setpoint_hz=30.0)),
        """
        t_s  plan_hz  held  failsafe              | setpoint_hz
          0        0     1  -                     |        0.00
          1      101     1  FAILSAFE_DATABASE     |        0.00
          9      101     1  FAILSAFE_DATABASE     |        0.00
        """,
    )
