"""Days of plans against the ground truth: never worse than the plant alone, and calm in dry weather."""

from __future__ import annotations

import random

import msgspec
import pytest

from ops.demo.catalogue import STATIONS, DemoStation
from ops.demo.plant import StationTruth, Storm
from tests.unit.ops.demo.following import NO_STORM, Follower
from tests.unit.ops.demo.timeline import DAY_S, Story

TWO_DAYS_S = 2 * 86_400
HOUR_S = 3_600
by_station = pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.station_id)
_SHORT, _LONG = Storm(first_s=1_800.0), Storm(first_s=3 * HOUR_S, every_s=8 * HOUR_S, lasts_s=3 * HOUR_S)
# Station, seed, hour of the start, storm: an hour's as configured, or one of three hours; each comes again and again.
WEATHER = [
    ("harbour", 7, 0, _SHORT),
    ("harbour", 11, 14, _LONG),
    ("hill", 3, 6, _SHORT),
    ("hill", 5, 19, _LONG),
    ("mill", 13, 11, _SHORT),
    ("mill", 17, 3, _LONG),
]
BY_ID = {station.station_id: station for station in STATIONS}


def alone(station: DemoStation, seed: int, hour: int, storm: Storm) -> StationTruth:
    story = Story(station, start_s=DAY_S + hour * HOUR_S, seed=seed)
    return story.go(TWO_DAYS_S, storm=storm, dt_s=10.0).truth


def dry_run_s(truth: StationTruth) -> float:
    return sum(pump.dry_run_s for pump in truth.pumps)


@pytest.mark.parametrize(("name", "seed", "hour", "storm"), WEATHER)
def test_two_days_of_storms_on_plans_lose_nothing_that_the_plant_alone_keeps(
    name: str, seed: int, hour: int, storm: Storm
) -> None:
    """OPS-4, WDG-4: the same water, once on local levels, once on plans that nobody told of the storms."""
    station, start_s = BY_ID[name], DAY_S + hour * HOUR_S
    planned = Follower(station, start_s=start_s).go(TWO_DAYS_S, seed=seed, storm=storm, origin_s=start_s)
    local = alone(station, seed, hour, storm)
    assert planned.truth.inflow_m3 == pytest.approx(local.inflow_m3, rel=1e-6)
    assert planned.truth.spilled_m3 <= local.spilled_m3
    assert dry_run_s(planned.truth) <= dry_run_s(local)
    assert min(planned.levels_m) > station.local_stop_m
    assert max(planned.levels_m) < station.local_start_m[0], "each plan knows what the last minutes brought"


def test_a_flood_that_no_station_can_pump_spills_no_more_on_plans_than_alone() -> None:
    """OPS-4, WDG-4: four times the base inflow for an hour: both spill, and the plan not a drop more."""
    harbour = msgspec.structs.replace(STATIONS[0], storm_factor=5.0)
    storm, start_s = Storm(first_s=600.0), DAY_S + 8 * HOUR_S
    planned = Follower(harbour, start_s=start_s).go(2 * HOUR_S, seed=7, storm=storm, origin_s=start_s)
    local = Story(harbour, start_s=start_s, seed=7).go(2 * HOUR_S, storm=storm, dt_s=10.0).truth
    assert 0.0 < planned.truth.spilled_m3 <= local.spilled_m3


@by_station
def test_in_dry_weather_the_level_stays_in_the_planned_band_and_a_pump_runs(station: DemoStation) -> None:
    """OPS-4: two days without rain, nights included; and no more starts than local levels would make."""
    seed, start_s = 5, DAY_S + 22 * HOUR_S
    planned = Follower(station, start_s=start_s).go(TWO_DAYS_S, seed=seed, storm=NO_STORM, origin_s=start_s)
    assert station.plan_low_m <= min(planned.levels_m)
    assert max(planned.levels_m) <= station.plan_high_m
    assert sum(count > 0 for count in planned.running) > 0.9 * len(planned.running)
    assert all(pump.starts > 1 for pump in planned.truth.pumps), "every pump has its turn"
    local = alone(station, seed, 22, NO_STORM)
    starts, starts_alone = (sum(pump.starts for pump in truth.pumps) for truth in (planned.truth, local))
    assert starts < starts_alone / 2


@by_station
def test_a_wrong_start_level_is_corrected_by_the_next_plans(station: DemoStation) -> None:
    """OPS-4: the optimiser assumes a level before feedback arrives; wells that stand elsewhere come back."""
    dice = random.Random(station.station_id)
    for _ in range(4):
        level_m, hour, seed = dice.uniform(0.7, 2.8), dice.randrange(24), dice.randrange(1_000)
        start_s = DAY_S + hour * HOUR_S
        planned = Follower(station, start_s=start_s, level_m=level_m)
        planned.go(4 * HOUR_S, seed=seed, storm=NO_STORM, origin_s=start_s)
        told = f"level {level_m:.2f} m at {hour} h, seed {seed}"
        assert station.plan_low_m <= planned.levels_m[-1] <= station.plan_high_m, told
        assert min(planned.levels_m) > station.dry_cut_out_m, told
        assert planned.truth.spilled_m3 == 0.0, told
