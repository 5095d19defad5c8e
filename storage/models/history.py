"""What Calejo appends: feedback, refusals, violations, failsafes, stops, decisions, alarms, the audit log and its
archived segments.

But for feedback (which foreign clients write too) no foreign keys: history outlives what it is about, and a record
must not be lost because its pump was removed meanwhile. `record_id` makes storing twice the same as storing once.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text, text

from actors.vocabulary import Scope, Severity
from storage.models.base import (
    Id,
    RawJson,
    Serial,
    check,
    flag,
    flag_checks,
    metadata,
    moment,
    number,
    numeric_checks,
    one_of,
    serial_key,
    text_column,
    time,
    time_checks,
    whole,
    whole_checks,
)

FOREIGN_ROW: Final = "substr(source, 1, 7) <> 'calejo:'"
"""What tells rows that others wrote into `pump_feedback`; the partial index stands on exactly this text."""


def _record_id() -> Column[str]:
    return Column("record_id", Text(), nullable=False, unique=True)


pump_feedback: Final = Table(
    "pump_feedback",
    metadata,
    serial_key("feedback_id"),
    Column("pump_id", Id, ForeignKey("pumps.pump_id"), nullable=False),
    time("measured_at"),
    number("actual_speed_hz"),
    number("actual_power_kw"),
    number("actual_flow_m3h"),
    number("wet_well_level_m"),
    flag("running", nullable=True),
    flag("local_override", nullable=True),
    flag("high_float", nullable=True),
    whole("fault_code"),
    text_column("quality", default="GOOD"),
    text_column("source", default="foreign"),
    Column("record_id", Text(), nullable=True, unique=True),
    *time_checks("measured_at"),
    *numeric_checks("actual_speed_hz", "actual_power_kw", "actual_flow_m3h", "wet_well_level_m"),
    *flag_checks("running", "local_override", "high_float"),
    *whole_checks("fault_code"),
    sqlite_autoincrement=True,
)
Index("ix_pump_feedback_hot", pump_feedback.c.pump_id, moment(pump_feedback.c.measured_at))
Index(
    "ix_pump_feedback_foreign",
    pump_feedback.c.pump_id,
    moment(pump_feedback.c.measured_at),
    sqlite_where=text(FOREIGN_ROW),
    postgresql_where=text(FOREIGN_ROW),
)

plan_refusals: Final = Table(
    "plan_refusals",
    metadata,
    serial_key("refusal_id"),
    Column("plan_id", Serial, nullable=False, index=True),
    Column("pump_id", Id, nullable=False),
    time("at"),
    text_column("reason"),
    text_column("value", nullable=True),
    _record_id(),
    *time_checks("at"),
    sqlite_autoincrement=True,
)
Index("ix_plan_refusals_hot", plan_refusals.c.pump_id, moment(plan_refusals.c.at))

safety_limit_violations: Final = Table(
    "safety_limit_violations",
    metadata,
    serial_key("violation_id"),
    Column("pump_id", Id, nullable=False),
    time("at"),
    text_column("limit"),
    number("proposed"),
    number("applied", nullable=False),
    text_column("detail"),
    whole("suppressed", nullable=False, default="0"),
    _record_id(),
    *time_checks("at"),
    sqlite_autoincrement=True,
)
Index(
    "ix_safety_limit_violations_hot", safety_limit_violations.c.pump_id, moment(safety_limit_violations.c.at)
)

failsafe_events: Final = Table(
    "failsafe_events",
    metadata,
    serial_key("event_id"),
    text_column("scope"),
    Column("scope_id", Id, nullable=False),
    text_column("reason"),
    time("started_at"),
    time("ended_at", nullable=True),
    text_column("detail"),
    _record_id(),
    *time_checks("started_at", "ended_at"),
    one_of("scope", Scope),
    sqlite_autoincrement=True,
)
Index("ix_failsafe_events_hot", failsafe_events.c.scope_id, moment(failsafe_events.c.started_at))

emergency_stop_events: Final = Table(
    "emergency_stop_events",
    metadata,
    Column("stop_id", Text(), primary_key=True),
    text_column("scope"),
    Column("scope_id", Id, nullable=False),
    text_column("reason"),
    text_column("set_by"),
    time("set_at"),
    text_column("cleared_by", nullable=True),
    time("cleared_at", nullable=True),
    text_column("clear_reason", nullable=True),
    text_column("kind", default="emergency_stop"),
    Column("set_stamp", BigInteger(), nullable=False, server_default="0"),
    Column("release", BigInteger(), nullable=True),
    *time_checks("set_at", "cleared_at"),
    one_of("scope", Scope),
    one_of("kind", ("emergency_stop", "out_of_service")),
    check("clear_is_whole", "(cleared_by IS NULL) = (cleared_at IS NULL)"),
)
Index("ix_emergency_stop_events_hot", moment(emergency_stop_events.c.set_at))

decisions: Final = Table(
    "decisions",
    metadata,
    serial_key("decision_id"),
    Column("pump_id", Id, nullable=False),
    Column("station_id", Id, nullable=False),
    time("at"),
    Column("plan_id", Serial, nullable=True),
    Column("epoch_term", BigInteger(), nullable=False),
    Column("epoch_counter", BigInteger(), nullable=False),
    Column("sequence", BigInteger(), nullable=False),
    whole("limits_version"),
    number("setpoint_hz", nullable=False),
    flag("remote_enabled"),
    text_column("reason"),
    Column("trail", RawJson(), nullable=False),
    _record_id(),
    *time_checks("at"),
    *flag_checks("remote_enabled"),
    sqlite_autoincrement=True,
)
Index("ix_decisions_hot", decisions.c.pump_id, moment(decisions.c.at))

wire_records: Final = Table(
    "wire_records",
    metadata,
    serial_key("wire_id"),
    Column("pump_id", Id, nullable=False),
    Column("station_id", Id, nullable=False),
    text_column("endpoint"),
    time("at"),
    time("accepted_at", nullable=True),
    Column("epoch_term", BigInteger(), nullable=True),
    Column("epoch_counter", BigInteger(), nullable=True),
    Column("sequence", BigInteger(), nullable=True),
    number("setpoint_hz", nullable=False),
    flag("remote_enabled"),
    text_column("reason"),
    Column("detail", RawJson(), nullable=False),
    _record_id(),
    *time_checks("at", "accepted_at"),
    *flag_checks("remote_enabled"),
    sqlite_autoincrement=True,
)
Index("ix_wire_records_hot", wire_records.c.pump_id, moment(wire_records.c.at))

alarms: Final = Table(
    "alarms",
    metadata,
    serial_key("alarm_id"),
    text_column("condition"),
    text_column("subject"),
    text_column("severity"),
    text_column("text"),
    time("raised_at"),
    time("returned_at", nullable=True),
    _record_id(),
    time("acknowledged_at", nullable=True),
    text_column("acknowledged_by", nullable=True),
    text_column("acknowledge_comment", nullable=True),
    *time_checks("raised_at", "returned_at", "acknowledged_at"),
    one_of("severity", Severity),
    sqlite_autoincrement=True,
)
Index("ix_alarms_hot", moment(alarms.c.raised_at))
Index(
    "ix_alarms_unseen",
    moment(alarms.c.raised_at),
    sqlite_where=text("acknowledged_at IS NULL"),
    postgresql_where=text("acknowledged_at IS NULL"),
)

# `before` and `after` are canonical JSON as text: the chain's hash is over exactly these characters. `format` says how
# a record is hashed; those of before 0008 have format 1 and no clauses.
audit_log: Final = Table(
    "audit_log",
    metadata,
    Column("sequence", Serial, primary_key=True, autoincrement=False),
    time("at"),
    text_column("event_type"),
    text_column("actor"),
    text_column("source_address"),
    text_column("object_id"),
    text_column("outcome"),
    text_column("severity"),
    text_column("before", nullable=True),
    text_column("after", nullable=True),
    text_column("correlation_id", default=""),
    _record_id(),
    text_column("previous_hash"),
    Column("hash", Text(), nullable=False, unique=True),
    text_column("clauses", default=""),
    Column("format", Integer(), nullable=False, server_default="1"),
    *time_checks("at"),
    one_of("severity", Severity),
    check("sequence_positive", "sequence >= 1"),
    check("format_positive", "format >= 1"),
)
Index("ix_audit_log_hot", moment(audit_log.c.at))
Index("ix_audit_log_event_type", audit_log.c.event_type)

# Which records stand in an archived segment: only those may ever be deleted, by the database's owner (AUD-3).
audit_segments: Final = Table(
    "audit_segments",
    metadata,
    Column("last_sequence", Serial, primary_key=True, autoincrement=False),
    Column("first_sequence", Serial, nullable=False),
    text_column("last_hash"),
    text_column("name"),
    text_column("sha256"),
    text_column("archived_by"),
    time("archived_at"),
    *time_checks("archived_at"),
    check("in_order", "first_sequence >= 1 AND first_sequence <= last_sequence"),
)
