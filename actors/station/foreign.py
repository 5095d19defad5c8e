"""Foreign rows of `pump_feedback` as samples: measured after our start they count as written (CTL-4). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from actors.feedback import (
    FAULT,
    FLOW,
    HIGH_FLOAT,
    LEVEL,
    LOCAL_OVERRIDE,
    POWER,
    RUNNING,
    SPEED,
    newest,
)
from actors.messages import PumpFeedback, Sample
from actors.vocabulary import Instant, Quality
from actors.vocabulary.records import FeedbackRow

SOURCE: Final = "database"
SKEW_S_MAX: Final = 5.0  # the skew that QUA-1 still lets pass
ROW_POINTS: Final = (SPEED, POWER, FLOW, LEVEL, RUNNING, LOCAL_OVERRIDE, HIGH_FLOAT, FAULT)
"""The points that `pump_feedback` has columns for; the columns have their names."""


class ForeignFeedback(msgspec.Struct, frozen=True, kw_only=True):
    """What foreign rows said last, by pump id; `taken` is the last row of each pump, `refused` why the last was not.

    `barred`: the last row that was measured in the future when it was seen. It was written before it was measured, so
    its time is no time, also once a wall clock that was set back has caught up with it.
    """

    held: dict[str, PumpFeedback] = msgspec.field(default_factory=dict)
    taken: dict[str, str] = msgspec.field(default_factory=dict)
    refused: dict[str, str] = msgspec.field(default_factory=dict)
    barred: dict[str, str] = msgspec.field(default_factory=dict)


def take(
    known: ForeignFeedback, rows: Iterable[FeedbackRow], *, pumps: Mapping[str, object], now: Instant
) -> tuple[ForeignFeedback, bool]:
    """Return what is known after `rows`, and whether there was news. Only ids in `pumps` are kept.

    A row counts once, by its record_id: read again it does not become younger. Its age is by the wall clock, as
    its writer's is; a moment up to SKEW_S_MAX ahead counts as now.
    """
    held = {pump_id: feedback for pump_id, feedback in known.held.items() if pump_id in pumps}
    taken = {pump_id: record_id for pump_id, record_id in known.taken.items() if pump_id in pumps}
    refused = {pump_id: why for pump_id, why in known.refused.items() if pump_id in pumps}
    barred = {pump_id: record_id for pump_id, record_id in known.barred.items() if pump_id in pumps}
    changed = False
    for row in rows:
        if row.pump_id not in pumps or taken.get(row.pump_id) == row.record_id:
            continue
        if _ahead_s(row, now) > SKEW_S_MAX:
            barred[row.pump_id] = row.record_id
        why = _refusal(row, now, barred=barred.get(row.pump_id) == row.record_id)
        if why:
            refused[row.pump_id] = why
            continue
        taken[row.pump_id] = row.record_id
        refused.pop(row.pump_id, None)
        held[row.pump_id] = newest(held.get(row.pump_id), _samples(row, now), now=now)
        changed = True
    return ForeignFeedback(held=held, taken=taken, refused=refused, barred=barred), changed


def _ahead_s(row: FeedbackRow, now: Instant) -> float:
    return 0.0 if row.measured_at.tzinfo is None else (row.measured_at - now.utc).total_seconds()


def _refusal(row: FeedbackRow, now: Instant, *, barred: bool) -> str:
    if row.measured_at.tzinfo is None:
        return "measured_at has no time zone"
    ahead_s = _ahead_s(row, now)
    if ahead_s > SKEW_S_MAX:
        return f"measured {ahead_s:.1f} s in the future"
    if barred:
        return "was seen before the moment at which it says it was measured"
    if row.quality.upper() != Quality.GOOD.name:
        return f"quality is {row.quality[:40]!r}, not GOOD"
    return ""


def _samples(row: FeedbackRow, now: Instant) -> PumpFeedback:
    age_s = max(0.0, (now.utc - row.measured_at).total_seconds())
    at = now.plus(-age_s)
    samples: dict[str, Sample] = {}
    for point in ROW_POINTS:
        value: float | None = getattr(row, point)
        if value is not None and math.isfinite(value):
            samples[point] = Sample(float(value), at, SOURCE)
    return PumpFeedback(pump_id=row.pump_id, **samples)
