"""Rows that cross the storage boundary: what is read (plans, feedback) and what is appended (everything else).

Every appended record has a `record_id` made by its author, so that storing it twice stores it once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from actors.vocabulary.codes import Scope, Severity


class PlanRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `pump_plans` as read; speeds in Hz, level in m above datum, power in kW, flow in m3/h."""

    plan_id: int
    station_id: str
    pump_id: str
    interval_start: datetime
    interval_end: datetime
    plan_version: int
    created_at: datetime
    suggested_speed_hz: float | None = None
    target_flow_m3h: float | None = None
    target_level_m: float | None = None
    target_power_kw: float | None = None


class OptimiserStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `optimiser_status`."""

    station_id: str
    heartbeat_at: datetime
    plan_version: int | None = None


class FeedbackRow(msgspec.Struct, frozen=True, kw_only=True, tag="feedback"):
    """A row of `pump_feedback`, read (foreign) or appended (source 'calejo:<protocol>')."""

    record_id: str
    pump_id: str
    measured_at: datetime
    source: str
    quality: str
    actual_speed_hz: float | None = None
    actual_power_kw: float | None = None
    actual_flow_m3h: float | None = None
    wet_well_level_m: float | None = None
    running: bool | None = None
    local_override: bool | None = None
    high_float: bool | None = None
    fault_code: int | None = None


class PlanRefusalRecord(msgspec.Struct, frozen=True, kw_only=True, tag="plan_refusal"):
    """A plan that was refused, for `plan_refusals`; `value` is the offending value as text."""

    record_id: str
    plan_id: int
    pump_id: str
    at: datetime
    reason: str
    value: str


class ViolationRecord(msgspec.Struct, frozen=True, kw_only=True, tag="violation"):
    """A limit that had to act, for `safety_limit_violations`; `suppressed` counts those not written since the last."""

    record_id: str
    pump_id: str
    at: datetime
    limit: str
    proposed: float | None
    applied: float
    detail: str
    suppressed: int = 0


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True, tag="decision"):
    """A kernel decision with its trail, for `decisions` (written on change and once a minute)."""

    record_id: str
    pump_id: str
    station_id: str
    at: datetime
    plan_id: int | None
    epoch_term: int
    epoch_counter: int
    sequence: int
    limits_version: int | None
    setpoint_hz: float
    remote_enabled: bool
    reason: str
    trail: dict[str, Any]


class WireRecord(msgspec.Struct, frozen=True, kw_only=True, tag="wire"):
    """What one endpoint showed for one pump, and what its controller had written back, for `wire_records`.

    `at` is the moment it tells of: the acceptance of a decision of which a row was written, or when the endpoint saw
    its own picture change. Epoch and sequence are those of the setpoint taken last; None: none ever was.
    """

    record_id: str
    pump_id: str
    station_id: str
    endpoint: str
    at: datetime
    accepted_at: datetime | None
    epoch_term: int | None
    epoch_counter: int | None
    sequence: int | None
    setpoint_hz: float
    remote_enabled: bool
    reason: str
    detail: dict[str, Any]


class FailsafeRecord(msgspec.Struct, frozen=True, kw_only=True, tag="failsafe"):
    """A failsafe period, for `failsafe_events`; the same record_id with `ended_at` closes it."""

    record_id: str
    scope: Scope
    scope_id: str
    reason: str
    started_at: datetime
    detail: str
    ended_at: datetime | None = None


class StopEventRecord(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """A stop or its clear, for `emergency_stop_events`; record_id is the stop's UUID; merged by union."""

    record_id: str
    scope: Scope
    scope_id: str
    reason: str
    set_by: str
    set_at: datetime
    kind: str = "emergency_stop"
    cleared_by: str | None = None
    cleared_at: datetime | None = None
    clear_reason: str | None = None
    set_stamp: int = 0
    release: int | None = None


class AlarmRecord(msgspec.Struct, frozen=True, kw_only=True, tag="alarm"):
    """One life of an alarm, for `alarms`; the same record_id with `returned_at` closes it, with `acknowledged_at`
    tells who has seen it. Both are written once.
    """

    record_id: str
    condition: str
    subject: str
    severity: Severity
    text: str
    raised_at: datetime
    returned_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledge_comment: str | None = None


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, tag="audit"):
    """One event for the hash-chained `audit_log`."""

    record_id: str
    at: datetime
    event_type: str
    actor: str
    source_address: str
    object_id: str
    outcome: str
    severity: Severity
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    correlation_id: str = ""


Record: TypeAlias = (
    FeedbackRow
    | PlanRefusalRecord
    | ViolationRecord
    | DecisionRecord
    | WireRecord
    | FailsafeRecord
    | StopEventRecord
    | AlarmRecord
    | AuditRecord
)
