"""A wet well to scale: where its level and limits lie in a drawing, labels apart from each other; pure (HMI-2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from actors.vocabulary import SafetyLimits

WIDTH: Final = 380
HEIGHT: Final = 420
TOP: Final = 16
BOTTOM: Final = 400
LEFT: Final = 52
RIGHT: Final = 196
"""The well stands between `LEFT` and `RIGHT`: the scale left of it, the limits' names to its right."""

_LABEL_APART: Final = 17.0
_STEPS: Final = (1.0, 2.0, 2.5, 5.0)
_TICKS_ABOUT: Final = 8
_ROOM: Final = 0.12
_SPAN_MIN_M: Final = 0.5

LINES: Final = (
    ("level_emergency_high_m", "alarm"),
    ("level_emergency_high_reset_m", "reset"),
    ("level_max_m", "band"),
    ("level_min_m", "band"),
    ("level_dry_run_reset_m", "reset"),
    ("level_dry_run_m", "alarm"),
)
"""The limits that are levels, from above, and how each is drawn."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A limit: its height `y`, where its name is written, and for which pumps it holds ('' for all)."""

    key: str
    kind: str
    value_m: float
    y: float
    label_y: float
    pumps: str


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A mark of the scale."""

    value: str
    y: float


class Well(msgspec.Struct, frozen=True, kw_only=True):
    """The drawing. `level_y` None: the level is not known; `crossed`: the alarm limits that it is beyond."""

    level_y: float | None
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    crossed: tuple[str, ...]


def well(limits: Sequence[tuple[str, SafetyLimits | None]], level_m: float | None) -> Well | None:
    """Return the drawing of a well with the limits of its pumps (by id) and its level; None: nothing is known."""
    found = _limits(limits)
    known = [value for _, _, value, _ in found] + ([] if level_m is None else [level_m])
    if not known:
        return None
    low, high = min(known), max(known)
    room = max(high - low, _SPAN_MIN_M) * _ROOM
    # A well has a floor: where the lowest limit is a little above the datum, the datum is shown.
    bottom_m = 0.0 if 0.0 <= low < max(high, _SPAN_MIN_M) else low - room
    top_m = max(high, bottom_m + _SPAN_MIN_M) + room

    def height(value: float) -> float:
        share = (value - bottom_m) / (top_m - bottom_m)
        return round(BOTTOM - share * (BOTTOM - TOP), 1)

    places = _apart([height(value) for _, _, value, _ in found])
    lines = tuple(
        Line(key=key, kind=kind, value_m=value, y=height(value), label_y=place, pumps=pumps)
        for (key, kind, value, pumps), place in zip(found, places, strict=True)
    )
    return Well(
        level_y=None if level_m is None else height(level_m),
        lines=lines,
        ticks=_ticks(bottom_m, top_m, height),
        crossed=() if level_m is None else _crossed(found, level_m),
    )


def _limits(limits: Sequence[tuple[str, SafetyLimits | None]]) -> list[tuple[str, str, float, str]]:
    """Return each level that is a limit once, the highest first, with the pumps that it holds for."""
    found: list[tuple[str, str, float, str]] = []
    for key, kind in LINES:
        by_value: dict[float, list[str]] = {}
        for pump_id, each in limits:
            value = None if each is None else getattr(each, key)
            if value is not None:
                by_value.setdefault(float(value), []).append(pump_id)
        for value, pumps in by_value.items():
            found.append((key, kind, value, "" if len(by_value) == 1 else ", ".join(pumps)))
    return sorted(found, key=lambda each: -each[2])


def _crossed(found: Iterable[tuple[str, str, float, str]], level_m: float) -> tuple[str, ...]:
    beyond = {
        key
        for key, _, value, _ in found
        if (key == "level_emergency_high_m" and level_m >= value)
        or (key == "level_dry_run_m" and level_m <= value)
    }
    return tuple(sorted(beyond))


def _apart(heights: Sequence[float]) -> list[float]:
    """Return where labels are written, from above: as near to their lines as leaves room for each."""
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + _LABEL_APART) if places else max(height, TOP))
    # Those that would fall out below move up again.
    floor = float(BOTTOM)
    for at in range(len(places) - 1, -1, -1):
        places[at] = min(places[at], floor)
        floor = places[at] - _LABEL_APART
    return [round(place, 1) for place in places]


def _ticks(bottom_m: float, top_m: float, height: object) -> tuple[Tick, ...]:
    assert callable(height)
    raw = (top_m - bottom_m) / _TICKS_ABOUT
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((power * each for each in _STEPS if power * each >= raw), power * 10.0)
    decimals = max(0, -math.floor(math.log10(step)) + (1 if step / power == _STEPS[2] else 0))
    first = math.ceil(bottom_m / step)
    last = math.floor(top_m / step)
    return tuple(
        Tick(value=f"{at * step:.{decimals}f}", y=height(at * step)) for at in range(first, last + 1)
    )


def sparkline(points: Sequence[tuple[float, float]], *, width: int, height: int, span_s: float) -> str:
    """Return a small trend as the points of an SVG polyline; '' while it would be no line yet.

    `points`: (age in s, value), oldest first; the right edge is now.
    """
    if not points or points[0][0] - points[-1][0] < span_s / 60:
        return ""
    values = [value for _, value in points]
    low, high = min(values), max(values)
    # A calm level is a straight line, not noise blown up to full height.
    middle, span = (low + high) / 2, max(high - low, 0.1)
    return " ".join(
        f"{width * (1.0 - min(max(age, 0.0), span_s) / span_s):.1f},"
        f"{height * (0.5 - (value - middle) / span * 0.84):.1f}"
        for age, value in points
    )
