"""What an optimiser learns from reported feedback, pure: where a well stands, what runs, what comes in.

The inflow of a wet well is not measured; it is what was pumped and what the level gained. Levels in m, flows in
m3/h, times in s since 1970 (UTC).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from ops.demo.catalogue import DemoStation
from ops.demo.plant import forecast_inflow_m3h

WINDOW_S: Final = 300.0
# Feedback that does not change is stored once a minute.
_FRESH_S: Final = 90.0
# The surface ripples: a level is the mean of this long.
_CALM_S: Final = 15.0
_SPAN_S_MIN: Final = 120.0
# More than this many base inflows above or below the forecast is a sensor's story.
_SURPLUS_MAX: Final = 3.0
_HOUR_S: Final = 3_600.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One row of feedback of one pump; None: not reported."""

    pump_id: str
    at_s: float
    level_m: float | None = None
    flow_m3h: float | None = None
    running: bool | None = None
    away: bool = False


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A station as feedback shows it.

    `running` and `away` (at the panel or in fault) name pumps, None: not known. `surplus_m3h` is how much more
    comes in than the forecast says.
    """

    level_m: float
    running: frozenset[str] | None = None
    away: frozenset[str] = frozenset()
    surplus_m3h: float = 0.0


def observe(station: DemoStation, reports: Sequence[Report], *, now_s: float) -> Seen | None:
    """Return what the last minutes' reports of a station's pumps say; None: no level is fresh."""
    by_pump: dict[str, list[Report]] = defaultdict(list)
    for report in sorted(reports, key=lambda one: one.at_s):
        if now_s - WINDOW_S <= report.at_s <= now_s:
            by_pump[report.pump_id].append(report)
    levels = sorted(
        (report.at_s, report.level_m)
        for own in by_pump.values()
        for report in own
        if report.level_m is not None
    )
    if not levels or now_s - levels[-1][0] > _FRESH_S:
        return None
    last = {pump_id: own[-1] for pump_id, own in by_pump.items() if now_s - own[-1].at_s <= _FRESH_S}
    known = {pump_id for pump_id, report in last.items() if report.running is not None}
    return Seen(
        level_m=_mean([level_m for at_s, level_m in levels if at_s >= levels[-1][0] - _CALM_S]),
        running=frozenset(pump_id for pump_id in known if last[pump_id].running) if known else None,
        away=frozenset(pump_id for pump_id, report in last.items() if report.away),
        surplus_m3h=_surplus_m3h(station, levels, by_pump),
    )


def _surplus_m3h(
    station: DemoStation, levels: Sequence[tuple[float, float]], by_pump: dict[str, list[Report]]
) -> float:
    first_s, last_s = levels[0][0], levels[-1][0]
    flows = [_mean_flow_m3h(by_pump.get(pump.pump_id, [])) for pump in station.pumps]
    if last_s - first_s < _SPAN_S_MIN or None in flows:
        return 0.0
    early = [(at_s, level_m) for at_s, level_m in levels if at_s <= first_s + _CALM_S]
    late = [(at_s, level_m) for at_s, level_m in levels if at_s >= last_s - _CALM_S]
    hours = (_mean([at_s for at_s, _ in late]) - _mean([at_s for at_s, _ in early])) / _HOUR_S
    risen_m = _mean([level_m for _, level_m in late]) - _mean([level_m for _, level_m in early])
    came = risen_m * station.area_m2 / hours + sum(flow for flow in flows if flow is not None)
    surplus = came - forecast_inflow_m3h(station, (first_s + last_s) / 2)
    most = _SURPLUS_MAX * station.base_inflow_m3h
    return min(max(surplus, -most), most)


def _mean_flow_m3h(reports: Sequence[Report]) -> float | None:
    """Return the mean over time, each report holding until the next; None: the pump reported no flow."""
    told = [(report.at_s, report.flow_m3h) for report in reports if report.flow_m3h is not None]
    if not told:
        return None
    span_s = told[-1][0] - told[0][0]
    if span_s <= 0.0:
        return told[-1][1]
    return sum(flow * (later_s - at_s) for (at_s, flow), (later_s, _) in pairwise(told)) / span_s


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
