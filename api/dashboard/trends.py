"""Plan against actual over a day, as the browser draws it: equal steps, a gap where nothing is known; pure (HMI-2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from actors.vocabulary import StationConfig
from actors.vocabulary.records import PlanRow
from actors.vocabulary.trends import Piece

BACK_S: Final = 86_400.0
AHEAD_S: Final = 7_200.0
STEP_S: Final = 300.0
"""A point every five minutes: 288 for the day behind us, 24 for the two hours that the plan looks ahead."""


class PumpTrend(msgspec.Struct, frozen=True, kw_only=True):
    """A pump's speeds in Hz: what the plan said at each step, and what was measured."""

    pump_id: str
    name: str
    plan: list[float | None]
    actual: list[float | None]


class StationTrend(msgspec.Struct, frozen=True, kw_only=True):
    """`t`: seconds since 1970, one per step; every other list is as long. Levels in m above the station's datum."""

    station_id: str
    zone: str
    now: float
    t: list[float]
    level: list[float | None]
    target: list[float | None]
    pumps: list[PumpTrend]


def span(now: datetime) -> tuple[datetime, datetime]:
    """Return where a drawing begins and ends; it moves on by whole steps."""
    step = math.floor(now.timestamp() / STEP_S) * STEP_S + STEP_S
    end = datetime.fromtimestamp(step, UTC)
    return end - timedelta(seconds=BACK_S), end + timedelta(seconds=AHEAD_S)


def drawn(
    station: StationConfig,
    plans: Iterable[PlanRow],
    measured: Mapping[str, Sequence[Piece]],
    *,
    now: datetime,
) -> StationTrend:
    """Return a station's trend. Pumps of a well measure the same level: their mean is drawn."""
    start, end = span(now)
    count = round((end - start).total_seconds() / STEP_S)
    times = [start + timedelta(seconds=STEP_S * at) for at in range(count)]
    by_pump: dict[str, list[PlanRow]] = {}
    for row in plans:
        by_pump.setdefault(row.pump_id, []).append(row)
    in_force = {
        pump.pump_id: _in_force(by_pump.get(pump.pump_id, []), start, count) for pump in station.pumps
    }
    targets = [[None if row is None else row.target_level_m for row in rows] for rows in in_force.values()]
    levels = [_placed(measured.get(pump.pump_id, ()), start, count, "level_m") for pump in station.pumps]
    return StationTrend(
        station_id=station.station_id,
        zone=station.timezone,
        now=now.timestamp(),
        t=[each.timestamp() for each in times],
        level=_means(levels, count),
        target=_means(targets, count),
        pumps=[
            PumpTrend(
                pump_id=pump.pump_id,
                name=pump.name,
                plan=[
                    None if row is None else _rounded(row.suggested_speed_hz)
                    for row in in_force[pump.pump_id]
                ],
                actual=_placed(measured.get(pump.pump_id, ()), start, count, "speed_hz"),
            )
            for pump in station.pumps
        ],
    )


def _in_force(rows: Iterable[PlanRow], start: datetime, count: int) -> list[PlanRow | None]:
    """Return the plan that counts at the middle of each step: the highest version, then the newest (CTL-1)."""
    found: list[PlanRow | None] = [None] * count
    middle = timedelta(seconds=STEP_S / 2)
    for row in sorted(rows, key=lambda each: (each.plan_version, each.created_at, each.plan_id)):
        first = math.ceil((row.interval_start - start - middle).total_seconds() / STEP_S)
        behind = math.ceil((row.interval_end - start - middle).total_seconds() / STEP_S)
        # Each step is written by the rows that cover it alone, the one that counts last.
        for at in range(max(first, 0), min(behind, count)):
            found[at] = row
    return found


def _placed(pieces: Iterable[Piece], start: datetime, count: int, name: str) -> list[float | None]:
    values: list[float | None] = [None] * count
    for piece in pieces:
        at = round((piece.at - start).total_seconds() / STEP_S)
        if 0 <= at < count:
            values[at] = _rounded(getattr(piece, name))
    return values


def _means(series: Sequence[Sequence[Any]], count: int) -> list[float | None]:
    means: list[float | None] = []
    for at in range(count):
        known = [each[at] for each in series if each[at] is not None]
        means.append(_rounded(sum(known) / len(known)) if known else None)
    return means


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 3)
