"""What the demo optimiser makes of feedback: level, who runs, and the inflow that nobody measures."""

from __future__ import annotations

import pytest

from ops.demo.catalogue import STATIONS
from ops.demo.observing import Report, observe
from ops.demo.plant import forecast_inflow_m3h
from tests.unit.ops.demo.timeline import DAY_S

HILL = next(station for station in STATIONS if station.station_id == "hill")
NOW_S = DAY_S + 10 * 3_600
FORECAST = forecast_inflow_m3h(HILL, NOW_S - 150)


def minutes(
    *, rising_m_per_h: float = 0.0, flow_m3h: float = 0.0, every_s: int = 1, last_s: float = 0.0
) -> list[Report]:
    """Five minutes until `last_s` ago, the level at 1.30 m at their end; hill-1 pumps, hill-2 stands."""
    return [
        Report(
            pump_id=pump.pump_id,
            at_s=NOW_S - ago_s,
            level_m=1.30 - rising_m_per_h * (ago_s - last_s) / 3_600,
            flow_m3h=flow_m3h if index == 0 else 0.0,
            running=index == 0,
        )
        for ago_s in range(300, int(last_s) - 1, -every_s)
        for index, pump in enumerate(HILL.pumps)
    ]


def test_level_and_running_pumps_are_the_newest() -> None:
    """OPS-4: an optimiser sees what was reported."""
    seen = observe(HILL, minutes(flow_m3h=FORECAST), now_s=NOW_S)
    assert seen is not None
    assert seen.level_m == pytest.approx(1.30)
    assert seen.running == frozenset({"hill-1"})
    assert seen.surplus_m3h == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("every_s", [1, 60], ids=["each second", "each minute"])
def test_inflow_is_what_was_pumped_and_what_the_level_gained(every_s: int) -> None:
    """OPS-4: 80 m3/h pumped and 0.5 m/h on 24 m2 gained: 92 m3/h came."""
    seen = observe(HILL, minutes(rising_m_per_h=0.5, flow_m3h=80.0, every_s=every_s), now_s=NOW_S)
    assert seen is not None
    assert FORECAST + seen.surplus_m3h == pytest.approx(92.0, abs=0.1)


def test_a_flow_that_changed_counts_for_as_long_as_it_lasted() -> None:
    """OPS-4: reports are irregular: each holds until the next."""
    told = [(300, 100.0), (240, 100.0), (60, 0.0), (0, 0.0)]
    reports = [
        Report(pump_id=pump.pump_id, at_s=NOW_S - ago_s, level_m=1.3, flow_m3h=flow / 2, running=flow > 0)
        for ago_s, flow in told
        for pump in HILL.pumps
    ]
    seen = observe(HILL, reports, now_s=NOW_S)
    assert seen is not None
    assert FORECAST + seen.surplus_m3h == pytest.approx(100.0 * 240 / 300, abs=0.1)
    assert seen.running == frozenset()


def test_what_is_old_or_missing_is_not_guessed() -> None:
    """OPS-4: no fresh level, no observation; a minute of feedback, or a pump that is silent, no inflow."""
    assert observe(HILL, [], now_s=NOW_S) is None
    assert observe(HILL, minutes(last_s=120), now_s=NOW_S) is None
    silent = [report for report in minutes(flow_m3h=500.0) if report.pump_id == "hill-1"]
    for reports in (silent, [one for one in minutes(flow_m3h=500.0) if one.at_s > NOW_S - 60]):
        seen = observe(HILL, reports, now_s=NOW_S)
        assert seen is not None
        assert seen.surplus_m3h == 0.0


def test_a_sensor_that_jumps_makes_no_flood() -> None:
    """OPS-4: an inflow that no sewer could bring is bounded."""
    seen = observe(HILL, minutes(rising_m_per_h=90.0), now_s=NOW_S)
    assert seen is not None
    assert seen.surplus_m3h == 3 * HILL.base_inflow_m3h


def test_a_pump_at_its_panel_is_away() -> None:
    """OPS-4: the newest report says so."""
    away = Report(pump_id="hill-2", at_s=NOW_S, level_m=1.3, flow_m3h=0.0, running=False, away=True)
    seen = observe(HILL, [*minutes(), away], now_s=NOW_S)
    assert seen is not None
    assert seen.away == frozenset({"hill-2"})
