"""The station pass as timelines: who answers a high level, how many run, start and draw power together."""

from __future__ import annotations

import msgspec

from actors.vocabulary import Reason
from tests.unit.actors.safety.timeline import Bench, limits, play, pump, station

FAST = limits(rate_hz_per_s=100.0, high_m=3.0, high_reset_m=2.5)


def test_maximum_running_refuses_a_start_and_keeps_what_runs() -> None:
    """CTL-6: with one permitted, the running pump keeps its place; the other starts when it has stood still."""
    play(
        station(pump("a", FAST), pump("b", FAST), max_pumps_running=1),
        """
        t_s  level_m  a.plan_hz  b.plan_hz  b.running | a.setpoint_hz  a.reason     b.setpoint_hz  b.reason
          0        1         35         40          - |          0.00  max_running          40.00  plan
          1        1         35          0          - |          0.00  max_running          20.00  ramp
          2        1         35          0          1 |          0.00  max_running           0.00  plan
          3        1         35          0          1 |          0.00  max_running           0.00  plan
          4        1         35          0          0 |         20.00  ramp                  0.00  plan
        """,
        start_hz={"a": 0.0, "b": 40.0},
    )


def test_maximum_running_binds_when_two_come_back_running() -> None:
    """CTL-6: two that local control ran come back to one: the later in wire order goes, by the ramp."""
    play(
        station(pump("a", FAST), pump("b", FAST), max_pumps_running=1),
        """
        t_s  level_m  a.plan_hz  b.plan_hz | a.setpoint_hz  b.setpoint_hz  b.reason
          0        1         35         35 |         35.00          35.00  max_running
          1        1         35         35 |         35.00          20.00  max_running
          2        1         35         35 |         35.00           0.00  max_running
        """,
        start_hz={"a": 35.0, "b": 35.0},
    )


def test_pumps_of_the_local_controller_count() -> None:
    """CTL-6, CTL-7: a pump that runs at its panel takes a place; one of which nobody knows refuses starts only."""
    both = station(pump("a", FAST), pump("b", FAST), max_pumps_running=1)
    play(
        both,
        """
        t_s  level_m  a.plan_hz  b.plan_hz  b.local  b.speed_hz | a.setpoint_hz  a.reason
          0        1         35          0        1          45 |          0.00  max_running
          1        1         35          0        1           0 |         20.00  ramp
          2        1         35          0        1          45 |          0.00  max_running
        """,
        start_hz=0,
    )
    play(
        both,
        """
        t_s  level_m  a.plan_hz  b.plan_hz  b.running | a.setpoint_hz  a.reason     b.reason
          0        1         35          0          - |         35.00  plan         plan
          1        1         35          0          7 |         35.00  plan         handed_back_feedback
          2        1          0          0          7 |         20.00  ramp         handed_back_feedback
          3        1          0          0          7 |          0.00  plan         handed_back_feedback
          4        1         35          0          7 |          0.00  max_running  handed_back_feedback
        """,
    )


def test_starts_are_staggered_also_after_our_own_start() -> None:
    """CTL-6: stagger_s between the starts of one station, and after a power-up or a restart."""
    play(
        station(pump("a", FAST), pump("b", FAST), stagger_s=5.0),
        """
        t_s  level_m  a.plan_hz  b.plan_hz | a.setpoint_hz  a.reason  b.setpoint_hz  b.reason
          0        1         35         35 |          0.00  stagger            0.00  stagger
          3        1         35         35 |          0.00  stagger            0.00  stagger
          4        1         35         35 |         20.00  ramp               0.00  stagger
          8        1         35         35 |         35.00  plan               0.00  stagger
          9        1         35         35 |         35.00  plan              20.00  ramp
        """,
        start_hz=0,
    )


def test_high_level_runs_the_permitted_number_running_ones_first() -> None:
    """SAF-2.4: the running pump first, then wire order; the others yield where places are bounded."""
    play(
        station(pump("a", FAST), pump("b", FAST), pump("c", FAST), max_pumps_running=2),
        """
        t_s  level_m  a.plan_hz  b.plan_hz  c.plan_hz | a.setpoint_hz  b.setpoint_hz  c.setpoint_hz  c.reason
          0        1          0          0         30 |          0.00           0.00          30.00  plan
          1        3          0          0         30 |         20.00           0.00          50.00  high_level
          2        3          0          0         30 |         50.00           0.00          50.00  high_level
        """,
        start_hz={"c": 30.0},
    )


def test_high_level_does_not_choose_what_cannot_run() -> None:
    """SAF-2.4: stopped, out-of-service and local pumps are not chosen; a faulted one comes last and yields."""
    play(
        station(pump("a", FAST), pump("b", FAST), pump("c", FAST), max_pumps_running=1),
        """
        t_s  level_m  a.plan_hz  a.stop  b.plan_hz  b.oos  c.plan_hz | a.setpoint_hz b.setpoint_hz c.setpoint_hz
          0        3          0       1          0      1          0 |          0.00          0.00         20.00
          1        3          0       1          0      1          0 |          0.00          0.00         50.00
        """,
    )
    play(
        station(pump("a", FAST), pump("b", FAST), max_pumps_running=1),
        """
        t_s  level_m  a.plan_hz  a.fault  a.running  b.plan_hz | a.setpoint_hz  b.setpoint_hz  b.reason
          0        1         30        0          -          0 |         30.00           0.00  plan
          1        3         30        9          0          0 |         20.00           0.00  max_running
          2        3         30        9          0          0 |          0.00           0.00  max_running
          3        3         30        9          0          0 |          0.00          20.00  high_level
        """,
    )


def test_a_dead_pump_loses_its_place_at_a_high_level() -> None:
    """SAF-2.4, CTL-5: isolated, without a fault code: when it is known not to follow, the healthy one gets the place,
    and keeps it, since standing at 0 is no proof that the first would run.
    """
    for of in (FAST, msgspec.structs.replace(FAST, min_rest_s=120.0)):
        play(
            station(pump("a", of), pump("b", of), max_pumps_running=1),
            """
            t_s  level_m  a.plan_hz  b.plan_hz  a.speed_hz | a.setpoint_hz  b.setpoint_hz  b.reason
              0        1          0          0           0 |          0.00           0.00  plan
              1        3          0          0           0 |         20.00           0.00  plan
             21        3          0          0           0 |         50.00           0.00  plan
             25        3          0          0           0 |          0.00          50.00  high_level
            300        3          0          0           0 |          0.00          50.00  high_level
            """,
        )


def test_a_pump_whose_drive_reports_late_keeps_its_place_at_a_high_level() -> None:
    """SAF-2.4: told to run, and `running` comes 2 s later: its own start must not make another be chosen."""
    late = limits(rate_hz_per_s=10.0, high_m=3.0, high_reset_m=2.5, min_rest_s=5.0)
    play(
        station(pump("a", late), pump("b", late), max_pumps_running=1, stagger_s=5.0),
        """
        t_s  level_m  a.plan_hz  b.plan_hz  a.running  a.speed_hz | a.setpoint_hz  b.setpoint_hz
          0        1          0          0          0           0 |          0.00           0.00
         10        3          0          0          0           0 |         20.00           0.00
         11        3          0          0          0           0 |         30.00           0.00
         12        3          0          0          1          20 |         40.00           0.00
         13        3          0          0          1          30 |         50.00           0.00
         60        3          0          0          1          50 |         50.00           0.00
        """,
    )


def test_station_power_serves_running_pumps_first() -> None:
    """SAF-2.7: the sum of estimated powers stays inside the station's; what is left below the minimum is 0."""
    rated = {"rated_power_kw": 12.5, "rated_speed_hz": 50.0}
    play(
        station(pump("a", FAST, **rated), pump("b", FAST, **rated), max_power_kw=15.0),
        """
        t_s  level_m  a.plan_hz  b.plan_hz | a.setpoint_hz  b.setpoint_hz  b.reason
          0        1         50         30 |         50.00          30.00  ramp
          1        1         50         30 |         50.00          29.24  limited
          2        1         40         30 |         40.00          30.00  plan
        """,
        start_hz={"a": 50.0, "b": 30.0},
    )
    play(
        station(pump("a", FAST, **rated), pump("b", FAST, **rated), max_power_kw=13.0),
        """
        t_s  level_m  a.plan_hz  b.plan_hz  a.local  a.speed_hz  a.power_kw | b.setpoint_hz  b.because
          0        1          0         50        1          50        12.5 |          0.00  station_power
          1        1          0         50        1          50           5 |         20.00  start_step
        """,
        start_hz=0,
    )


def test_station_power_counts_what_others_run_first() -> None:
    """SAF-2.7: a pump at its panel draws before ours are served: later in wire order, stopped or not commissioned."""
    rated = {"rated_power_kw": 12.5, "rated_speed_hz": 50.0}
    for of, stop in ((FAST, 0), (FAST, 1), (None, 0)):
        play(
            station(pump("a", FAST, **rated), pump("b", of, **rated), max_power_kw=17.5),
            f"""
            t_s  level_m  a.plan_hz  b.plan_hz  b.local  b.speed_hz  b.power_kw  b.stop | a.setpoint_hz
              0        1         50          0        0           0           0       0 |         50.00
              1        1         50          0        1          50        12.5  {stop} |         36.84
            """,
            start_hz={"a": 50.0},
        )


def test_station_power_without_rated_values_allows_the_minimum_only() -> None:
    """SAF-2.7: a power that cannot be judged is not unconstrained."""
    play(
        station(pump("a", FAST), max_power_kw=15.0),
        """
        t_s  level_m  plan_hz | setpoint_hz  because
          0        1       40 |       40.00  rate
          1        1       40 |       20.00  station_power
        """,
    )


def test_the_image_is_decided_for_the_whole_station() -> None:
    """SAF-9: what gates show when the lease runs out: default setpoints, maximum running, latch, dry run."""
    bounded = limits(dry_run_m=0.4, dry_run_reset_m=0.6)
    play(
        station(
            pump("a", bounded, default_setpoint_hz=33.0),
            pump("b", bounded, default_setpoint_hz=60.0),
            pump("c", bounded),
            max_pumps_running=1,
        ),
        """
        t_s  level_m  c.stop | a.image_hz  a.image_reason  b.image_hz  b.image_reason  c.image_hz  c.image_reason
          0        1       0 |    33.00   lease_expired         0.00  lease_expired         0.00  max_running
          1        1       1 |    33.00   lease_expired         0.00  lease_expired         0.00  emergency_stop
          2      0.4       0 |     0.00   dry_run               0.00  dry_run               0.00  dry_run
        """,
    )


def test_a_round_of_one_pump_does_not_stop_the_station() -> None:
    """CTL-6: pumps that are decided in different rounds count each other, and no two stop for one place."""
    bench = Bench(station(pump("a", FAST), pump("b", FAST), max_pumps_running=1), start_hz={"a": 30, "b": 30})
    wish = {"a": {"plan_hz": 30.0, "level_m": 1.0}, "b": {"plan_hz": 30.0, "level_m": 1.0}}
    shown = [
        [bench.tick(wish, period_s=0.5, deciding=frozenset({pump_id}))[pump_id] for pump_id in ("a", "b")]
        for _ in range(5)
    ]
    first, second = shown[-1]
    assert first.setpoint_hz == 30.0
    assert (second.setpoint_hz, second.reason) == (0.0, Reason.MAX_RUNNING)


def test_the_only_swap_lets_the_high_level_run_a_pump_at_its_dry_run_level() -> None:
    """SAF-2: 3 against 4 swapped: of two sensors that disagree the high one wins for every permitted pump."""
    both = limits(rate_hz_per_s=100.0, high_m=3.0, high_reset_m=2.5, dry_run_m=0.4, dry_run_reset_m=0.6)
    table = """
        t_s  a.level_m  b.level_m  a.plan_hz  b.plan_hz | a.setpoint_hz  b.setpoint_hz
          0        1.0        1.0         35          0 |         35.00           0.00
          1        0.2        3.2         35          0 |  {a_hz}          20.00
          2        0.2        3.2         35          0 |  {a_hz}          50.00
    """
    pumps = (pump("a", both), pump("b", both))
    play(station(*pumps), table.format(a_hz=" 0.00"))
    play(station(*pumps, dry_run_outranks_high_level=False), table.format(a_hz="50.00"))
