"""The demo's physics: laws that must hold whatever happens, and a day on local levels alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.demo.catalogue import STATIONS, DemoStation, demo_site
from ops.demo.plant import (
    Sensor,
    SensorFault,
    Storm,
    drive_hz,
    flows_m3h,
    forecast_inflow_m3h,
    fresh_station,
    inflow_m3h,
    measured_level_m,
    power_kw,
    step,
)
from tests.unit.ops.demo.timeline import DAY_S, Story

HARBOUR = STATIONS[0]
by_station = pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.station_id)


@by_station
def test_on_its_own_levels_a_station_neither_spills_nor_runs_dry(station: DemoStation) -> None:
    """OPS-4: a day with four storms, no Calejo at all: the ground truth of the plant alone is clean."""
    story = Story(station).go(86_400, dt_s=4.0)
    assert story.truth.spilled_m3 == 0.0
    assert [pump.dry_run_s for pump in story.truth.pumps] == [0.0] * len(station.pumps)
    assert story.level_min_m > station.dry_cut_out_m
    assert story.level_max_m < station.high_float_m
    assert all(pump.starts > 3 for pump in story.truth.pumps), "the pumps alternate"
    assert all(pump.starts < 24 * 12 for pump in story.truth.pumps), "and do not chatter"


@by_station
def test_a_storm_fills_the_well_faster_than_one_pump_empties_it(station: DemoStation) -> None:
    """OPS-4: the storm is worth the name, and within what the station may pump."""
    storm, noon_s = Storm(first_s=0.0, every_s=86_400.0, lasts_s=3_600.0), DAY_S + 12 * 3_600
    peak = inflow_m3h(station, noon_s + 1_800, seed=7, storm=storm, origin_s=noon_s)
    assert peak > 1.5 * forecast_inflow_m3h(station, noon_s + 1_800)
    count = len(station.pumps)
    one = [station.local_speed_hz] + [0.0] * (count - 1)
    assert sum(flows_m3h(station, one, level_m=2.0)) < peak
    speeds = ([station.local_speed_hz] * station.max_pumps_running + [0.0] * count)[:count]
    assert sum(flows_m3h(station, speeds, level_m=2.0)) > peak


@given(st.lists(st.floats(0, 55), min_size=3, max_size=3), st.floats(0.3, 3.5))
def test_water_is_neither_made_nor_lost(speeds: list[float], level_m: float) -> None:
    """OPS-4: inflow = outflow + spill + what stays in the well, and no pump flows backwards."""
    truth = fresh_station(HARBOUR, level_m=level_m)
    for _ in range(60):
        truth = step(HARBOUR, truth, speeds, inflow=400.0, dt_s=1.0)
    stays_m3 = (truth.level_m - level_m) * HARBOUR.area_m2
    if truth.level_m > 0:
        assert truth.inflow_m3 == pytest.approx(truth.pumped_m3 + truth.spilled_m3 + stays_m3, abs=1e-6)
    assert all(pump.flow_m3h >= 0 for pump in truth.pumps)
    assert truth.level_m <= HARBOUR.crest_m


def test_the_first_pump_alone_meets_its_rated_point() -> None:
    """OPS-4: affinity laws on a system curve; twice the pumps give more, but not twice the flow."""
    one = sum(flows_m3h(HARBOUR, [50.0, 0.0, 0.0], level_m=0.26))
    two = sum(flows_m3h(HARBOUR, [50.0, 50.0, 0.0], level_m=0.26))
    assert one == pytest.approx(180.0, rel=0.02)
    assert one < two < 2 * one
    assert power_kw(HARBOUR.pumps[0], 50.0, 180.0) == pytest.approx(9.5)
    assert power_kw(HARBOUR.pumps[0], 25.0, 90.0) == pytest.approx(9.5 / 8)


def test_a_slow_pump_beside_a_fast_one_is_shut_by_its_check_valve() -> None:
    """OPS-4: nothing flows back through a pump that cannot reach the main's head."""
    fast, slow, _ = flows_m3h(HARBOUR, [50.0, 20.0, 0.0], level_m=1.0)
    assert fast > 100
    assert slow == 0.0


def test_a_drive_ramps_and_steps_only_between_standstill_and_its_minimum() -> None:
    """OPS-4: 15 to 55 Hz at 5 Hz/s."""
    seen, hz = [], 0.0
    for command in [60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 10, 0, 0, 0, 0, 0, 0, 0, 0]:
        hz = drive_hz(hz, command, dt_s=1.0)
        seen.append(hz)
    assert seen == [15, 20, 25, 30, 35, 40, 45, 50, 55, 55, 50, 45, 40, 35, 30, 25, 20, 15, 0]


def test_an_overfull_well_spills_and_a_drained_one_runs_dry() -> None:
    """OPS-4: the ground truth counts what must not happen."""
    flood = Story(HARBOUR, level_m=3.4).go(3_600, inflow=2_000.0)
    assert flood.truth.spilled_m3 > 100
    drained = fresh_station(HARBOUR, level_m=0.30)
    for _ in range(120):
        drained = step(HARBOUR, drained, [45.0, 0.0, 0.0], inflow=0.0, dt_s=1.0)
    assert 30 < drained.pumps[0].dry_run_s < 120
    assert drained.pumps[1].dry_run_s == 0


@pytest.mark.parametrize(
    ("fault", "shown_m"),
    [
        (SensorFault.NONE, 1.5),
        (SensorFault.STUCK, 1.0),
        (SensorFault.DRIFTING, 1.53),
        (SensorFault.FAILING_LOW, 0.75),
    ],
)
def test_a_sensor_fault_shows_as_its_name_says(fault: SensorFault, shown_m: float) -> None:
    """OPS-4: 30 s after the fault began at 1.0 m, the well stands at 1.5 m."""
    sensor = Sensor().with_fault(fault, level_m=1.0, now_s=1_000.0)
    assert measured_level_m(sensor, 1.5, now_s=1_030.0) == pytest.approx(shown_m, abs=0.005)


def test_inflow_repeats_with_its_seed_and_differs_with_another() -> None:
    """OPS-4: the same seed tells the same story."""

    def flow(seed: int) -> list[float]:
        return [
            inflow_m3h(HARBOUR, DAY_S + 60 * minute, seed=seed, storm=Storm(), origin_s=DAY_S)
            for minute in range(60)
        ]

    assert flow(1) == flow(1)
    assert flow(1) != flow(2)


def test_the_site_has_three_stations_seven_pumps_and_every_control_type() -> None:
    """OPS-4: what the issue promises."""
    pumps = [pump for station in demo_site().stations for pump in station.pumps]
    assert (len(demo_site().stations), len(pumps)) == (3, 7)
    assert len({pump.control_type for pump in pumps}) == 3
