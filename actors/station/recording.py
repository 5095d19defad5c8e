"""Which feedback is worth a row: on change at most once a look, and once a minute while samples arrive. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from actors.messages import JudgedValue, PumpFeedback, Sample
from actors.station.foreign import ROW_POINTS, SOURCE
from actors.vocabulary import Instant, Quality
from actors.vocabulary.records import FeedbackRow

EVERY_S: Final = 60.0
SOURCE_PREFIX: Final = "calejo:"


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What a pump's last row held, when it was made, and its youngest sample."""

    values: dict[str, float | None]
    at: Instant
    sampled_at: Instant


def next_row(
    feedback: PumpFeedback,
    judged: Mapping[str, JudgedValue],
    last: Recorded | None,
    *,
    now: Instant,
) -> tuple[FeedbackRow, Recorded] | None:
    """Return the row to append now and what to remember of it, or None.

    What came from foreign rows is in the table already and is left out. Values are as written, whatever their
    quality (a number that is none becomes NULL); the row is GOOD when every point in it is.
    """
    samples = _own_samples(feedback)
    if not samples:
        return None
    youngest = max(samples.values(), key=lambda sample: (sample.at.boot_id == now.boot_id, sample.at.boot_ns))
    values = {
        point: sample.value if math.isfinite(sample.value) else None for point, sample in samples.items()
    }
    if last is not None:
        if last.sampled_at == youngest.at:
            return None
        if last.values == values and now.seconds_since(last.at) < EVERY_S:
            return None
    good = all(point in judged and judged[point].quality is Quality.GOOD for point in samples)
    row = FeedbackRow(
        record_id=str(
            uuid5(
                NAMESPACE_URL,
                f"calejo:feedback:{feedback.pump_id}:{youngest.at.boot_id}:{youngest.at.boot_ns}",
            )
        ),
        pump_id=feedback.pump_id,
        measured_at=youngest.at.utc,
        source=f"{SOURCE_PREFIX}{youngest.source or 'endpoint'}",
        quality=(Quality.GOOD if good else Quality.BAD).name,
        actual_speed_hz=values.get("actual_speed_hz"),
        actual_power_kw=values.get("actual_power_kw"),
        actual_flow_m3h=values.get("actual_flow_m3h"),
        wet_well_level_m=values.get("wet_well_level_m"),
        running=_flag(values.get("running")),
        local_override=_flag(values.get("local_override")),
        high_float=_flag(values.get("high_float")),
        fault_code=_count(values.get("fault_code")),
    )
    return row, Recorded(values=values, at=now, sampled_at=youngest.at)


def _own_samples(feedback: PumpFeedback) -> dict[str, Sample]:
    samples: dict[str, Sample] = {}
    for point in ROW_POINTS:
        sample: Sample | None = getattr(feedback, point)
        if sample is not None and sample.source != SOURCE:
            samples[point] = sample
    return samples


def _flag(value: float | None) -> bool | None:
    return None if value is None else value != 0.0


def _count(value: float | None) -> int | None:
    return None if value is None else int(value)
