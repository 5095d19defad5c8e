"""The demo optimiser's plans: what Calejo accepts, what the stations need, whatever the hour."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.plan.validation import PlanRules, validate
from actors.vocabulary import ControlSettings
from actors.vocabulary.records import PlanRow
from ops.demo.catalogue import STATIONS, DemoStation, demo_site, limits_of
from ops.demo.observing import Seen
from ops.demo.planning import (
    DUTY_S,
    INTERVAL,
    INTERVAL_S,
    SPEED_HZ_MAX,
    SPEED_HZ_MIN,
    Interval,
    plan,
    plan_rows,
    version_at,
)

NOW = datetime(2026, 11, 21, 10, 7, 31, tzinfo=UTC)
MIDNIGHT_S = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
by_station = pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.station_id)
HARBOUR = STATIONS[0]


def a_day(station: DemoStation, seen: Seen | None = None, *, now_s: float = MIDNIGHT_S) -> list[Interval]:
    return list(plan(station, seen, now_s=now_s, start_s=now_s, end_s=now_s + 86_400))


def test_calejos_own_validation_accepts_every_row_of_a_day_without_gap_or_overlap() -> None:
    """CTL-1: intervals, band and needed columns of every control type; nothing is refused, nothing missing."""
    rows = list(plan_rows(now=NOW, start=NOW, end=NOW + timedelta(days=1), version=3, seen={}))
    assert all(None not in row.values() for row in rows)
    control = ControlSettings()
    for station in demo_site().stations:
        rules = PlanRules(
            station_id=station.station_id,
            control_types={pump.pump_id: pump.control_type for pump in station.pumps},
            speed_hz_min=control.optimiser_speed_hz_min,
            speed_hz_max=control.optimiser_speed_hz_max,
        )
        own = [
            PlanRow(plan_id=number, created_at=NOW, **row)
            for number, row in enumerate(rows)
            if row["station_id"] == station.station_id
        ]
        verdict = validate(own, rules, remembered={})
        assert verdict.refused == ()
        assert set(verdict.accepted) == {pump.pump_id for pump in station.pumps}
        for accepted in verdict.accepted.values():
            assert accepted[0].interval_start == datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
            assert accepted[-1].interval_end >= NOW + timedelta(days=1)
            assert all(one.interval_end == two.interval_start for one, two in pairwise(accepted))
            assert all(row.interval_end - row.interval_start == INTERVAL for row in accepted)


def test_speeds_and_powers_stay_inside_the_optimisers_band_and_the_pumps_limits() -> None:
    """CTL-1, SAF-2.7: 0 or 25 to 45 Hz; never more power or more pumps than the station's limits allow."""
    limits = {pump.pump_id: limits_of(pump) for station in STATIONS for pump in station.pumps}
    most = {station.station_id: station.max_pumps_running for station in STATIONS}
    flood = {station.station_id: Seen(level_m=3.0, surplus_m3h=200.0) for station in STATIONS}
    running: dict[tuple[str, datetime], int] = defaultdict(int)
    for row in plan_rows(now=NOW, start=NOW, end=NOW + timedelta(hours=6), version=3, seen=flood):
        speed_hz = row["suggested_speed_hz"]
        assert speed_hz == 0 or SPEED_HZ_MIN <= speed_hz <= SPEED_HZ_MAX
        assert row["target_power_kw"] <= (limits[row["pump_id"]].max_power_kw or 0.0)
        assert (row["target_power_kw"] > 0) == (speed_hz > 0)
        running[row["station_id"], row["interval_start"]] += speed_hz > 0
    assert all(count <= most[station_id] for (station_id, _), count in running.items())
    assert set(most.values()) <= set(running.values()), "a flood takes every pump that may run"


@by_station
def test_at_every_quarter_of_the_day_a_station_that_starts_has_a_pump_planned(station: DemoStation) -> None:
    """OPS-4: whoever starts the demo, at whatever hour, sees it pump: the first interval already runs."""
    for quarter in range(96):
        now_s = MIDNIGHT_S + quarter * INTERVAL_S + 431
        first = next(iter(plan(station, None, now_s=now_s, start_s=now_s, end_s=now_s + INTERVAL_S)))
        assert any(first.speeds_hz), f"at {quarter / 4:.2f} h nothing runs"


@by_station
def test_over_a_week_the_forecast_level_stays_inside_the_band_of_the_local_levels(
    station: DemoStation,
) -> None:
    """OPS-4: what comes is what is pumped: no night fills the well, and the local levels are never met."""
    week = list(plan(station, None, now_s=MIDNIGHT_S, start_s=MIDNIGHT_S, end_s=MIDNIGHT_S + 7 * 86_400))
    ends = [interval.end_m for interval in week]
    assert station.plan_low_m <= min(ends)
    assert max(ends) <= station.plan_high_m
    assert station.local_stop_m < station.plan_low_m < station.plan_high_m < station.local_start_m[0]
    assert sum(any(interval.speeds_hz) for interval in week) > 0.9 * len(week), "slow rather than in turns"
    hours = [sum(row.speeds_hz[slot] > 0 for row in week) / 4 for slot in range(len(station.pumps))]
    assert max(hours) < 1.25 * min(hours), "the pumps alternate"
    at_breakfast = {row.speeds_hz.index(max(row.speeds_hz)) for row in week if row.start_s % 86_400 == 27_000}
    assert len(at_breakfast) == len(station.pumps), "and not one of them has every breakfast"


@given(
    st.sampled_from(STATIONS),
    st.floats(0.0, 3.5),
    st.floats(-50, 150),
    st.floats(0, 86_400),
    st.integers(0, 2),
)
def test_from_any_level_a_forecast_without_rain_comes_back_into_its_band(
    station: DemoStation, level_m: float, surplus: float, hour_s: float, running: int
) -> None:
    """OPS-4: an emptied or flooded well is back within 4 hours of forecast, and stays."""
    names = frozenset(pump.pump_id for pump in station.pumps[:running])
    seen = Seen(level_m=level_m, running=names, surplus_m3h=surplus)
    intervals = a_day(station, seen, now_s=MIDNIGHT_S + hour_s)
    for interval in intervals[16:]:
        assert station.plan_low_m - 0.01 <= interval.end_m <= station.plan_high_m + 0.01


def test_less_inflow_than_a_pump_gives_is_pumped_in_turns_of_whole_intervals() -> None:
    """OPS-4: runs down to the band's lower end, rests up to its upper end; no run and no rest is short."""
    night_s = MIDNIGHT_S + 3 * 3_600
    running = frozenset({"mill-1"})
    mill = next(station for station in STATIONS if station.station_id == "mill")
    seen = Seen(level_m=1.40, running=running, surplus_m3h=-14.0)
    first = a_day(mill, seen, now_s=night_s)
    assert any(first[0].speeds_hz), "runs on"
    low = a_day(mill, Seen(level_m=1.06, running=running, surplus_m3h=-14.0), now_s=night_s)
    assert not any(low[0].speeds_hz), "rests at the lower end"
    rests = Seen(level_m=1.20, running=frozenset(), surplus_m3h=-14.0)
    assert not any(a_day(mill, rests, now_s=night_s)[0].speeds_hz), "goes on resting"
    full = Seen(level_m=1.44, running=frozenset(), surplus_m3h=-6.0)
    assert any(a_day(mill, full, now_s=night_s)[0].speeds_hz), "until the upper end"


def test_a_replan_inside_an_interval_keeps_to_what_it_began() -> None:
    """OPS-4: five centimetres of patience: a forecast that was a little wrong restarts no pump."""
    night_s, inside_s = MIDNIGHT_S + 3 * 3_600, MIDNIGHT_S + 3 * 3_600 + 600
    mill = next(station for station in STATIONS if station.station_id == "mill")
    seen = Seen(level_m=1.08, running=frozenset({"mill-2"}), surplus_m3h=-14.0)
    assert not any(a_day(mill, seen, now_s=night_s)[0].speeds_hz)
    assert any(a_day(mill, seen, now_s=inside_s)[0].speeds_hz)


@by_station
def test_the_duty_passes_on_with_the_clock_so_that_every_replan_finds_the_same(station: DemoStation) -> None:
    """OPS-4: two plans of the same day, hours apart, name the same pumps."""
    early = {row.start_s: row.speeds_hz for row in a_day(station)}
    late_s = MIDNIGHT_S + 7 * 3_600
    late = {row.start_s: row.speeds_hz for row in a_day(station, now_s=late_s)}
    for start_s in early.keys() & late.keys():
        assert [hz > 0 for hz in early[start_s]] == [hz > 0 for hz in late[start_s]]
    changes = sum(
        [hz > 0 for hz in one] != [hz > 0 for hz in two] for one, two in pairwise(list(early.values()))
    )
    assert changes <= 86_400 / DUTY_S + 1


def test_a_pump_at_its_panel_or_in_fault_passes_its_turn() -> None:
    """OPS-4: the plan goes to those that can follow it; with nobody left it asks nobody."""
    duty = a_day(HARBOUR)[0].speeds_hz.index(max(a_day(HARBOUR)[0].speeds_hz))
    away = frozenset({HARBOUR.pumps[duty].pump_id})
    speeds = a_day(HARBOUR, Seen(level_m=1.25, away=away))[0].speeds_hz
    assert speeds[duty] == 0.0
    assert any(speeds)
    everybody = frozenset(pump.pump_id for pump in HARBOUR.pumps)
    assert not any(a_day(HARBOUR, Seen(level_m=2.0, away=everybody))[0].speeds_hz)


def test_a_later_plan_has_a_higher_version_that_fits_32_bits() -> None:
    """CTL-1: the highest plan_version wins."""
    assert version_at(NOW) < version_at(NOW + timedelta(minutes=1)) < 2**31
