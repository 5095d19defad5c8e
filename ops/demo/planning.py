"""What the demo's optimiser asks of each pump, pure: quarters of an hour of speed, flow, level and power."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from ops.demo.catalogue import STATIONS, DemoPump, DemoStation
from ops.demo.plant import flows_m3h, forecast_inflow_m3h, power_kw

INTERVAL: Final = timedelta(minutes=15)
SPEED_HZ_MIN: Final = 25.0
SPEED_HZ_MAX: Final = 45.0
# A pump whose share is less than this part of its slowest flow stays off: it would empty the well and cycle.
_WORTH_RUNNING: Final = 0.8
_BISECTIONS: Final = 30
_DAY_S: Final = 86_400.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_PER_VERSION: Final = 60


def version_at(now: datetime) -> int:
    """Return the plan version made at `now`: higher every minute, within 32 bits for ever that matters."""
    return int((now - _EPOCH).total_seconds()) // _SECONDS_PER_VERSION


def plan_rows(*, start: datetime, end: datetime, version: int) -> Iterator[dict[str, Any]]:
    """Yield rows of `pump_plans` for all pumps from `start` (brought down to the quarter of an hour) to
    `end`.
    """
    begin = start - timedelta(seconds=(start - _EPOCH).total_seconds() % INTERVAL.total_seconds())
    while begin < end:
        middle_s = (begin + INTERVAL / 2 - _EPOCH).total_seconds() % _DAY_S
        for place, station in enumerate(STATIONS):
            for slot, pump in enumerate(station.pumps):
                yield {
                    "station_id": station.station_id,
                    "pump_id": pump.pump_id,
                    "interval_start": begin,
                    "interval_end": begin + INTERVAL,
                    "plan_version": version,
                    **_wish_at(place, slot, middle_s),
                }
        begin += INTERVAL


@lru_cache(maxsize=1_024)
def _wish_at(place: int, slot: int, day_s: float) -> dict[str, float]:
    """Return what is wished at a time of day (s): every day has the same 96 quarters of an hour."""
    station = STATIONS[place]
    pump = station.pumps[slot]
    return wish(station, pump, pump.plan_share * forecast_inflow_m3h(station, day_s))


def wish(station: DemoStation, pump: DemoPump, share_m3h: float) -> dict[str, float]:
    """Return speed (Hz), flow (m3/h), level (m) and power (kW) with which `pump` alone moves its share."""
    slowest = _flow(station, pump, SPEED_HZ_MIN)
    worth_it = share_m3h > 0.0 and share_m3h >= _WORTH_RUNNING * slowest
    speed_hz = _speed_for(station, pump, share_m3h) if worth_it else 0.0
    flow = _flow(station, pump, speed_hz)
    return {
        "suggested_speed_hz": round(speed_hz, 2),
        "target_flow_m3h": round(flow, 2),
        "target_level_m": station.target_level_m,
        "target_power_kw": round(power_kw(pump, speed_hz, flow), 2),
    }


def _flow(station: DemoStation, pump: DemoPump, speed_hz: float) -> float:
    speeds = [speed_hz if other is pump else 0.0 for other in station.pumps]
    return sum(flows_m3h(station, speeds, level_m=station.target_level_m))


def _speed_for(station: DemoStation, pump: DemoPump, flow_m3h: float) -> float:
    low, high = SPEED_HZ_MIN, SPEED_HZ_MAX
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _flow(station, pump, middle) < flow_m3h else (low, middle)
    return (low + high) / 2
