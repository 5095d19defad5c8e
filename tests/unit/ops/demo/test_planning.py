"""The demo optimiser's plans: what Calejo accepts, and what the stations need."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from ops.demo.catalogue import STATIONS, demo_site
from ops.demo.planning import INTERVAL, SPEED_HZ_MAX, SPEED_HZ_MIN, plan_rows, version_at

NOW = datetime(2026, 11, 21, 10, 7, 31, tzinfo=UTC)


def test_plans_cover_every_pump_without_gap_or_overlap_inside_the_optimisers_band() -> None:
    """CTL-1: sane intervals, 0 or 25 to 45 Hz, every column that its control type needs."""
    rows = list(plan_rows(start=NOW, end=NOW + timedelta(days=1), version=3))
    by_pump = defaultdict(list)
    for row in rows:
        by_pump[row["pump_id"]].append(row)
        speed_hz = row["suggested_speed_hz"]
        assert speed_hz == 0 or SPEED_HZ_MIN <= speed_hz <= SPEED_HZ_MAX
        assert None not in row.values()
    assert set(by_pump) == {pump.pump_id for station in demo_site().stations for pump in station.pumps}
    for own in by_pump.values():
        assert own[0]["interval_start"] == datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
        assert own[-1]["interval_end"] >= NOW + timedelta(days=1)
        assert all(one["interval_end"] == two["interval_start"] for one, two in pairwise(own))
        assert all(row["interval_end"] - row["interval_start"] == INTERVAL for row in own)


def test_over_a_day_every_station_is_asked_to_run_and_at_night_some_pumps_rest() -> None:
    """OPS-4: plans that change are plans that can be seen to work."""
    rows = list(plan_rows(start=NOW, end=NOW + timedelta(days=1), version=3))
    for station in STATIONS:
        speeds = [row["suggested_speed_hz"] for row in rows if row["station_id"] == station.station_id]
        assert max(speeds) > SPEED_HZ_MIN
        assert min(speeds) == 0
        assert len(set(speeds)) > 5


def test_a_later_plan_has_a_higher_version_that_fits_32_bits() -> None:
    """CTL-1: the highest plan_version wins."""
    assert version_at(NOW) < version_at(NOW + timedelta(minutes=1)) < 2**31
