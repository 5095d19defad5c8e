"""What REST shows of rows of the past: plans, their refusals, violations of limits, failsafes (API-2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar

import msgspec

Row = TypeVar("Row", bound=msgspec.Struct)


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `pump_plans` as the optimiser wrote it; Hz, m3/h, m above the datum, kW."""

    plan_id: int
    station_id: str
    pump_id: str
    interval_start: str
    interval_end: str
    suggested_speed_hz: float | None
    target_flow_m3h: float | None
    target_level_m: float | None
    target_power_kw: float | None
    plan_version: int
    created_at: str


class RefusalView(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that was refused, and the value that it was refused for."""

    refusal_id: int
    plan_id: int
    pump_id: str
    at: str
    reason: str
    value: str | None


class ViolationView(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that had to act. `proposed` null: it was no number; `suppressed`: how many before were not recorded."""

    violation_id: int
    pump_id: str
    at: str
    limit: str
    proposed: float | None
    applied: float
    detail: str
    suppressed: int


class FailsafeView(msgspec.Struct, frozen=True, kw_only=True):
    """A period of failsafe; `ended_at` null: it holds."""

    event_id: int
    scope: str
    scope_id: str
    reason: str
    started_at: str
    ended_at: str | None
    detail: str


def row_view(kind: type[Row], row: Mapping[str, Any]) -> Row:
    """Return a row of the database as shown."""
    return kind(**{name: _shown(row[name]) for name in kind.__struct_fields__})


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    return value.value if isinstance(value, Enum) else value
