"""What the outside world writes: sites, stations, pumps, limits, envelopes, plans and the optimiser's status."""

from __future__ import annotations

from itertools import combinations
from typing import Final

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, UniqueConstraint

from actors.vocabulary import ControlType, FailsafeStrategy, HighLevelResponse
from storage.models.base import (
    Id,
    RawJson,
    check,
    finite_checks,
    flag,
    flag_checks,
    id_checks,
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

WIRE_SLOT_MAX: Final = 1300
_REGISTERS: Final = 0x1_0000
# The block of slot s begins at register 100 + 50 s.
assert 100 + 50 * WIRE_SLOT_MAX + 50 <= _REGISTERS

sites: Final = Table(
    "sites",
    metadata,
    Column("site_id", Id, primary_key=True),
    text_column("name"),
    text_column("timezone", default="UTC"),
    *id_checks("site_id"),
)

pump_stations: Final = Table(
    "pump_stations",
    metadata,
    Column("station_id", Id, primary_key=True),
    Column("site_id", Id, ForeignKey("sites.site_id"), nullable=False, index=True),
    text_column("name"),
    number("latitude"),
    number("longitude"),
    text_column("timezone", default="UTC"),
    whole("modbus_unit_id", nullable=False),
    whole("max_pumps_running"),
    number("max_power_kw"),
    text_column("level_datum", default=""),
    flag("has_high_float", default=False),
    flag("active", default=True),
    time("updated_at", default=True),
    number("protective_level_age_s", nullable=False, default="5"),
    number("stagger_s", nullable=False, default="5"),
    number("float_response_max_s", nullable=False, default="600"),
    text_column("high_level_response", default=HighLevelResponse.RUN_PERMITTED.value),
    flag("dry_run_outranks_high_level", default=True),
    # The slot that the next pump gets; only a trigger counts it up, so that no slot is ever used twice.
    whole("next_wire_slot", nullable=False, default="0"),
    number("soft_stop_hz_per_s"),
    UniqueConstraint("site_id", "modbus_unit_id"),
    *id_checks("station_id", "site_id"),
    *time_checks("updated_at"),
    *flag_checks("has_high_float", "active", "dry_run_outranks_high_level"),
    *whole_checks("modbus_unit_id", "max_pumps_running", "next_wire_slot"),
    one_of("high_level_response", HighLevelResponse),
    check("latitude_in_range", "latitude >= -90 AND latitude <= 90"),
    check("longitude_in_range", "longitude >= -180 AND longitude <= 180"),
    check("modbus_unit_id_in_range", "modbus_unit_id >= 1 AND modbus_unit_id <= 247"),
    check("max_pumps_running_in_range", "max_pumps_running >= 1 AND max_pumps_running <= 1000"),
    check("max_power_kw_positive", "max_power_kw > 0 AND max_power_kw <= 1000000000"),
    check("protective_level_age_s_in_range", "protective_level_age_s > 0 AND protective_level_age_s <= 60"),
    check("stagger_s_in_range", "stagger_s >= 0 AND stagger_s <= 3600"),
    check("float_response_max_s_in_range", "float_response_max_s >= 0 AND float_response_max_s <= 86400"),
    check("soft_stop_hz_per_s_in_range", "soft_stop_hz_per_s >= 0.01 AND soft_stop_hz_per_s <= 100"),
)

pumps: Final = Table(
    "pumps",
    metadata,
    Column("pump_id", Id, primary_key=True),
    Column("station_id", Id, ForeignKey("pump_stations.station_id"), nullable=False, index=True),
    text_column("name"),
    text_column("control_type"),
    number("default_setpoint_hz", nullable=False),
    text_column("failsafe_strategy", default=FailsafeStrategy.DEFAULT_SETPOINT.value),
    number("emergency_stop_setpoint_hz", nullable=False, default="0"),
    Column("control_parameters", RawJson(), nullable=True, server_default="{}"),
    number("rated_power_kw"),
    number("rated_flow_m3h"),
    number("rated_speed_hz"),
    flag("active", default=True),
    time("updated_at", default=True),
    # Given by a trigger for ever; whatever an INSERT says here is ignored.
    Column("wire_slot", Integer(), nullable=True),
    *id_checks("pump_id", "station_id"),
    *time_checks("updated_at"),
    *flag_checks("active"),
    *finite_checks("default_setpoint_hz", "emergency_stop_setpoint_hz"),
    one_of("control_type", ControlType),
    one_of("failsafe_strategy", FailsafeStrategy),
    check("default_setpoint_hz_not_negative", "default_setpoint_hz >= 0"),
    check("emergency_stop_setpoint_hz_not_negative", "emergency_stop_setpoint_hz >= 0"),
    check("rated_power_kw_positive", "rated_power_kw > 0 AND rated_power_kw <= 1000000000"),
    check("rated_flow_m3h_positive", "rated_flow_m3h > 0 AND rated_flow_m3h <= 1000000000"),
    check("rated_speed_hz_positive", "rated_speed_hz > 0 AND rated_speed_hz <= 1000"),
    check("wire_slot_in_range", f"wire_slot >= 0 AND wire_slot <= {WIRE_SLOT_MAX}"),
    check("control_parameters_is_json", "json_valid(control_parameters)", dialect="sqlite"),
    check(
        "control_parameters_is_object", "jsonb_typeof(control_parameters) = 'object'", dialect="postgresql"
    ),
)

LIMIT_COLUMNS: Final = (
    "level_min_m",
    "level_max_m",
    "level_emergency_high_m",
    "level_emergency_high_reset_m",
    "level_dry_run_m",
    "level_dry_run_reset_m",
    "max_power_kw",
    "max_flow_m3h",
    "min_flow_m3h",
    "max_rate_hz_per_s",
    "max_starts_per_hour",
    "min_run_s",
    "max_run_s",
    "min_rest_s",
)
"""Every limit but the speed band, which the envelope names without `hard_`."""

_RISING_LEVELS: Final = ("level_dry_run_m", "level_min_m", "level_max_m", "level_emergency_high_m")

pump_safety_limits: Final = Table(
    "pump_safety_limits",
    metadata,
    Column("pump_id", Id, ForeignKey("pumps.pump_id"), primary_key=True),
    Column("version", Integer(), primary_key=True, autoincrement=False),
    number("hard_min_speed_hz", nullable=False),
    number("hard_max_speed_hz", nullable=False),
    *(number(name) for name in LIMIT_COLUMNS[:9]),
    number("max_rate_hz_per_s", nullable=False),
    whole("max_starts_per_hour"),
    *(number(name) for name in LIMIT_COLUMNS[11:]),
    text_column("set_by"),
    time("set_at", default=True),
    text_column("approved_by", nullable=True),
    time("approved_at", nullable=True),
    *id_checks("pump_id"),
    *time_checks("set_at", "approved_at"),
    *finite_checks("hard_min_speed_hz", "hard_max_speed_hz", *LIMIT_COLUMNS),
    *whole_checks("version", "max_starts_per_hour"),
    check("version_positive", "version >= 1"),
    check("speed_band", "hard_min_speed_hz > 0 AND hard_min_speed_hz < hard_max_speed_hz"),
    check("max_rate_hz_per_s_positive", "max_rate_hz_per_s > 0"),
    # Pair by pair, because a comparison with a limit that is not set (NULL) refuses nothing.
    *(
        check(f"{lower}_below_{upper.removeprefix('level_')}", f"{lower} < {upper}")
        for lower, upper in combinations(_RISING_LEVELS, 2)
    ),
    check("dry_run_has_reset", "(level_dry_run_m IS NULL) = (level_dry_run_reset_m IS NULL)"),
    check("dry_run_reset_above", "level_dry_run_reset_m > level_dry_run_m"),
    check("high_has_reset", "(level_emergency_high_m IS NULL) = (level_emergency_high_reset_m IS NULL)"),
    check("high_reset_below", "level_emergency_high_reset_m < level_emergency_high_m"),
    check("dry_run_reset_below_high", "level_dry_run_reset_m < level_emergency_high_m"),
    check("high_reset_above_dry_run", "level_emergency_high_reset_m > level_dry_run_m"),
    check("max_power_kw_positive", "max_power_kw > 0"),
    check("max_flow_m3h_positive", "max_flow_m3h > 0"),
    check("min_flow_m3h_not_negative", "min_flow_m3h >= 0"),
    check("flow_band", "min_flow_m3h < max_flow_m3h"),
    check("max_starts_per_hour_positive", "max_starts_per_hour >= 1"),
    check("min_run_s_not_negative", "min_run_s >= 0"),
    check("max_run_s_positive", "max_run_s > 0"),
    check("run_band", "min_run_s < max_run_s"),
    check("min_rest_s_not_negative", "min_rest_s >= 0"),
    check("set_by_named", "trim(set_by) <> ''"),
    check(
        "approved_by_another", "trim(approved_by) <> '' AND lower(trim(approved_by)) <> lower(trim(set_by))"
    ),
)

pump_commissioning_envelopes: Final = Table(
    "pump_commissioning_envelopes",
    metadata,
    Column("pump_id", Id, ForeignKey("pumps.pump_id"), primary_key=True),
    number("min_speed_hz", nullable=False),
    number("max_speed_hz", nullable=False),
    *(whole(name) if name == "max_starts_per_hour" else number(name) for name in LIMIT_COLUMNS),
    text_column("commissioned_by"),
    time("commissioned_at", default=True),
    *id_checks("pump_id"),
    *time_checks("commissioned_at"),
    *finite_checks("min_speed_hz", "max_speed_hz", *LIMIT_COLUMNS),
    check("speed_band", "min_speed_hz > 0 AND min_speed_hz < max_speed_hz"),
)

# Values and intervals of plans are let in as they are: the plan actor refuses a row with its reason, for the record
# (CTL-1). Only what could not even be read is refused here.
pump_plans: Final = Table(
    "pump_plans",
    metadata,
    serial_key("plan_id"),
    Column("station_id", Id, ForeignKey("pump_stations.station_id"), nullable=False),
    Column("pump_id", Id, ForeignKey("pumps.pump_id"), nullable=False, index=True),
    time("interval_start"),
    time("interval_end"),
    number("suggested_speed_hz"),
    number("target_flow_m3h"),
    number("target_level_m"),
    number("target_power_kw"),
    whole("plan_version", nullable=False),
    time("created_at", default=True),
    *time_checks("interval_start", "interval_end", "created_at"),
    *numeric_checks("suggested_speed_hz", "target_flow_m3h", "target_level_m", "target_power_kw"),
    *whole_checks("plan_version"),
    sqlite_autoincrement=True,
)
Index("ix_pump_plans_hot", pump_plans.c.station_id, moment(pump_plans.c.interval_end))
# Rows that end before they begin are refused with their reason; without this nobody would find them again.
BACKWARDS: Final = moment(pump_plans.c.interval_end) <= moment(pump_plans.c.interval_start)
Index(
    "ix_pump_plans_backwards",
    pump_plans.c.station_id,
    moment(pump_plans.c.interval_start),
    sqlite_where=BACKWARDS,
    postgresql_where=BACKWARDS,
)

optimiser_status: Final = Table(
    "optimiser_status",
    metadata,
    Column("station_id", Id, ForeignKey("pump_stations.station_id"), primary_key=True),
    time("heartbeat_at"),
    whole("plan_version"),
    *time_checks("heartbeat_at"),
    *whole_checks("plan_version"),
)
