"""Every table that Calejo has, the same for SQLite and PostgreSQL (DAT-1); triggers and roles are in the migrations."""

from storage.models.base import metadata
from storage.models.configuration import (
    optimiser_status,
    pump_commissioning_envelopes,
    pump_plans,
    pump_safety_limits,
    pump_stations,
    pumps,
    sites,
)
from storage.models.duties import station_duties, station_profiles
from storage.models.history import (
    alarms,
    audit_log,
    audit_segments,
    decisions,
    emergency_stop_events,
    failsafe_events,
    plan_refusals,
    pump_feedback,
    safety_limit_violations,
    wire_records,
)
from storage.models.limits import pump_limit_proposals, pump_safety_limits_history
from storage.models.requests import login_failures, request_keys
from storage.models.users import service_keys, user_sessions, users

__all__ = [
    "alarms",
    "audit_log",
    "audit_segments",
    "decisions",
    "emergency_stop_events",
    "failsafe_events",
    "login_failures",
    "metadata",
    "optimiser_status",
    "plan_refusals",
    "pump_commissioning_envelopes",
    "pump_feedback",
    "pump_limit_proposals",
    "pump_plans",
    "pump_safety_limits",
    "pump_safety_limits_history",
    "pump_stations",
    "pumps",
    "request_keys",
    "safety_limit_violations",
    "service_keys",
    "sites",
    "station_duties",
    "station_profiles",
    "user_sessions",
    "users",
    "wire_records",
]
