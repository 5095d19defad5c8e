"""Plan rows for tests: times in seconds after a fixed midnight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.plan.validation import PlanRules
from actors.vocabulary import ControlType
from actors.vocabulary.records import PlanRow

MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)
RULES = PlanRules(
    station_id="st-1",
    control_types={
        "p-1": ControlType.DIRECT_SPEED,
        "p-2": ControlType.LEVEL_CONTROLLED,
        "p-3": ControlType.POWER_CONTROLLED,
    },
    speed_hz_min=25.0,
    speed_hz_max=45.0,
)


def at(seconds: float) -> datetime:
    return MIDNIGHT + timedelta(seconds=seconds)


def plan(plan_id: int, start_s: float, end_s: float, **changes: Any) -> PlanRow:
    """A valid row of p-1 at 30 Hz, written in the order of its plan_id, with `changes`."""
    row = PlanRow(
        plan_id=plan_id,
        station_id="st-1",
        pump_id="p-1",
        interval_start=at(start_s),
        interval_end=at(end_s),
        plan_version=1,
        created_at=at(plan_id),
        suggested_speed_hz=30.0,
    )
    return msgspec.structs.replace(row, **changes)
