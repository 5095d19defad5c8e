"""What the demo's optimiser asks of each pump, pure: a mass balance of each wet well in quarters of an hour.

Every interval takes the outflow that carries the forecast inflow and brings the level back to its target. What
is less than the slowest pump gives is pumped in turns, between the two ends of the band that the station's
local levels leave. Levels in m above the well's floor, flows in m3/h, times in s since 1970 (UTC).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ops.demo.catalogue import RATED_HZ, STATIONS, DemoPump, DemoStation
from ops.demo.observing import Seen
from ops.demo.plant import flows_m3h, forecast_inflow_m3h, power_kw

INTERVAL: Final = timedelta(minutes=15)
INTERVAL_S: Final = INTERVAL.total_seconds()
SPEED_HZ_MIN: Final = 25.0
SPEED_HZ_MAX: Final = 45.0
# The duty passes on after this long. No divisor of a day, so that not every breakfast is the same pump's.
DUTY_S: Final = 5 * 3_600.0
# A level that is off its target is brought back in about this time.
_BACK_S: Final = 1_800.0
# Inflow above the forecast (rain) is expected to fade like this.
_FADES_S: Final = 1_800.0
# A second pump that runs is given up only when one could carry this much more: or each replan might change it.
_ONE_IS_ENOUGH: Final = 0.9
# An interval that has begun is kept to, although the level leaves the band by this much before it ends.
_PATIENCE_M: Final = 0.05
_PARTS: Final = 3
_BISECTIONS: Final = 12
_HOUR_S: Final = 3_600.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_PER_VERSION: Final = 60
assert DUTY_S % INTERVAL_S == 0


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """One interval of one station: each pump's speed (Hz) in the catalogue's order, the level at its end.

    `middle_m` is the forecast level half-way, with which flows and powers are told.
    """

    start_s: float
    speeds_hz: tuple[float, ...]
    middle_m: float
    end_m: float


def version_at(now: datetime) -> int:
    """Return the plan version made at `now`: higher every minute, within 32 bits for ever that matters."""
    return int((now - _EPOCH).total_seconds()) // _SECONDS_PER_VERSION


def plan_rows(
    *, now: datetime, start: datetime, end: datetime, version: int, seen: Mapping[str, Seen]
) -> Iterator[dict[str, Any]]:
    """Yield rows of `pump_plans` for all pumps from `start` (brought down to the quarter of an hour) to `end`.

    `seen` is what feedback said at `now`, by station; a station that is missing is assumed at its target.
    """
    for station in STATIONS:
        intervals = plan(
            station,
            seen.get(station.station_id),
            now_s=_seconds(now),
            start_s=_seconds(start),
            end_s=_seconds(end),
        )
        for interval in intervals:
            begin = _EPOCH + timedelta(seconds=interval.start_s)
            for slot, pump in enumerate(station.pumps):
                yield {
                    "station_id": station.station_id,
                    "pump_id": pump.pump_id,
                    "interval_start": begin,
                    "interval_end": begin + INTERVAL,
                    "plan_version": version,
                    **wishes(station, interval)[slot],
                }


def plan(
    station: DemoStation, seen: Seen | None, *, now_s: float, start_s: float, end_s: float
) -> Iterator[Interval]:
    """Yield a station's intervals; the forecast begins at `now_s`, or at `start_s` if that is earlier."""
    begin_s = start_s - start_s % INTERVAL_S
    at_s = min(now_s, start_s) if seen is None else now_s
    level_m = station.plan_target_m if seen is None else seen.level_m
    # Who knows nothing of the pumps prefers that they run: a plan that rests could not be seen to work.
    before = 1 if seen is None or seen.running is None else len(seen.running)
    away = frozenset[str]() if seen is None else seen.away
    while begin_s < end_s:
        left_s = max(0.0, begin_s + INTERVAL_S - max(begin_s, at_s))
        middle_s = begin_s + INTERVAL_S - left_s / 2
        surplus = 0.0 if seen is None else seen.surplus_m3h * math.exp(-max(0.0, middle_s - now_s) / _FADES_S)
        inflow = max(0.0, forecast_inflow_m3h(station, middle_s) + surplus)
        speeds = _speeds(
            station,
            _order(station, begin_s, away),
            before=before,
            level_m=level_m,
            inflow=inflow,
            left_s=left_s,
        )
        middle_m = _level_after(station, speeds, level_m=level_m, inflow=inflow, seconds=left_s / 2)
        level_m = _level_after(station, speeds, level_m=middle_m, inflow=inflow, seconds=left_s / 2)
        before = sum(hz > 0.0 for hz in speeds)
        yield Interval(start_s=begin_s, speeds_hz=speeds, middle_m=middle_m, end_m=level_m)
        begin_s += INTERVAL_S


def wishes(station: DemoStation, interval: Interval) -> list[dict[str, float]]:
    """Return each pump's planned columns: speed (Hz), flow (m3/h), level (m) and power (kW).

    The target level is the forecast one, so that level control corrects what differs from the plan, not the plan.
    """
    level_m = min(max(interval.middle_m, station.plan_low_m), station.plan_high_m)
    flows = flows_m3h(station, interval.speeds_hz, level_m=interval.middle_m)
    return [
        {
            "suggested_speed_hz": speed_hz,
            "target_flow_m3h": round(flow, 2),
            "target_level_m": round(level_m, 3),
            "target_power_kw": round(power_kw(pump, speed_hz, flow), 2),
        }
        for pump, speed_hz, flow in zip(station.pumps, interval.speeds_hz, flows, strict=True)
    ]


def _seconds(at: datetime) -> float:
    return (at - _EPOCH).total_seconds()


def _order(station: DemoStation, at_s: float, away: frozenset[str]) -> list[int]:
    """Return the pumps in the order in which they start: the duty goes round with the clock, so that every
    replan finds the same; who is away (at its panel, in fault) passes.
    """
    count = len(station.pumps)
    first = int(at_s // DUTY_S) % count
    turns = ((first + turn) % count for turn in range(count))
    return [index for index in turns if station.pumps[index].pump_id not in away]


def _speeds(
    station: DemoStation,
    order: Sequence[int],
    *,
    before: int,
    level_m: float,
    inflow: float,
    left_s: float,
) -> tuple[float, ...]:
    """Decide one interval, `before` pumps running until now."""
    wanted = inflow + (level_m - station.plan_target_m) * station.area_m2 * _HOUR_S / _BACK_S
    most = min(station.max_pumps_running, len(order))
    if not most:
        return (0.0,) * len(station.pumps)
    if level_m < station.local_stop_m and not _fills_up(station, level_m, inflow, left_s):
        return _rest(station)
    slowest = _given(station, order[:1], SPEED_HZ_MIN)
    if wanted < _flow(station, slowest, level_m):
        return (
            slowest if _pumps_in_turn(station, slowest, before, level_m, inflow, left_s) else _rest(station)
        )
    for count in range(1, most):
        fastest = _flow(station, _given(station, order[:count], SPEED_HZ_MAX), level_m)
        if wanted <= fastest * (_ONE_IS_ENOUGH if before > count else 1.0):
            return _speed_for(station, order[:count], wanted, level_m)
    return _speed_for(station, order[:most], wanted, level_m)


def _pumps_in_turn(
    station: DemoStation,
    slowest: tuple[float, ...],
    before: int,
    level_m: float,
    inflow: float,
    left_s: float,
) -> bool:
    """Say whether to pump now what comes more slowly than a pump can: go on with running, or with resting, as
    long as the band lasts for the whole interval.
    """
    patience_m = _PATIENCE_M if left_s < INTERVAL_S else 0.0
    if before:
        end_m = _level_after(station, slowest, level_m=level_m, inflow=inflow, seconds=left_s)
        return end_m >= station.plan_low_m - patience_m
    return _fills_up(station, level_m, inflow, left_s, patience_m)


def _fills_up(
    station: DemoStation, level_m: float, inflow: float, left_s: float, patience_m: float = 0.0
) -> bool:
    """Say whether a rest would carry the level over the band's upper end."""
    end_m = _level_after(station, _rest(station), level_m=level_m, inflow=inflow, seconds=left_s)
    return end_m > station.plan_high_m + patience_m


def _rest(station: DemoStation) -> tuple[float, ...]:
    return (0.0,) * len(station.pumps)


def _given(station: DemoStation, active: Iterable[int], speed_hz: float) -> tuple[float, ...]:
    running = set(active)
    return tuple(speed_hz if index in running else 0.0 for index in range(len(station.pumps)))


def _flow(station: DemoStation, speeds_hz: Sequence[float], level_m: float) -> float:
    return sum(flows_m3h(station, speeds_hz, level_m=level_m))


def _speed_for(
    station: DemoStation, active: Sequence[int], wanted: float, level_m: float
) -> tuple[float, ...]:
    """Return the equal speeds with which these pumps together move `wanted`, as near as their band allows."""
    if len(active) == 1:
        speed_hz = _speed_alone(station, station.pumps[active[0]], wanted, level_m)
    else:
        low, high = SPEED_HZ_MIN, SPEED_HZ_MAX
        for _ in range(_BISECTIONS):
            speed_hz = (low + high) / 2
            too_slow = _flow(station, _given(station, active, speed_hz), level_m) < wanted
            low, high = (speed_hz, high) if too_slow else (low, speed_hz)
        speed_hz = high
    return _given(station, active, round(min(max(speed_hz, SPEED_HZ_MIN), SPEED_HZ_MAX), 2))


def _speed_alone(station: DemoStation, pump: DemoPump, wanted: float, level_m: float) -> float:
    head_m = station.static_lift_m - level_m + (pump.curve + station.pipe) * wanted**2
    return RATED_HZ * math.sqrt(max(head_m, 0.0) / pump.shutoff_head_m)


def _level_after(
    station: DemoStation, speeds_hz: Sequence[float], *, level_m: float, inflow: float, seconds: float
) -> float:
    """Forecast the level: a lower level lets the pumps give less, so the time is cut in parts."""
    hours = seconds / _HOUR_S / _PARTS
    for _ in range(_PARTS):
        net_m3 = (inflow - _flow(station, speeds_hz, level_m)) * hours
        level_m = min(max(level_m + net_m3 / station.area_m2, 0.0), station.crest_m)
    return level_m
