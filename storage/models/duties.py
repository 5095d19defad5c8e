"""Station duties and profiles as the outside world writes them (CTL-6). No row: every duty is off."""

from __future__ import annotations

from typing import Final

from sqlalchemy import CheckConstraint, Column, ForeignKey, Table, Text

from actors.vocabulary import Alternation
from storage.models.base import (
    Id,
    check,
    finite_checks,
    id_checks,
    metadata,
    number,
    one_of,
    text_column,
    whole,
    whole_checks,
)

LEVELS: Final = ("assist_reset_m", "exercise_level_m", "flush_level_m", "clean_out_level_m")
HOURS: Final = ("alternation_h", "exercise_after_h", "flush_every_h")
SPEEDS: Final = ("assist_speed_hz", "flush_speed_hz", "clean_out_speed_hz")
SECONDS: Final = {
    "assist_after_s": (1, 86_400),
    "exercise_run_s": (1, 3_600),
    "flush_run_s": (10, 7_200),
    "clean_out_run_s": (10, 1_800),
}
HOURS_MAX: Final = 8_760
PROFILES_MAX: Final = 50

station_duties: Final = Table(
    "station_duties",
    metadata,
    Column("station_id", Id, ForeignKey("pump_stations.station_id"), primary_key=True),
    text_column("alternation", default=Alternation.OFF.value),
    text_column("duty_order", default=""),
    number("alternation_h"),
    whole("assist_pumps", nullable=False, default="0"),
    number("assist_reset_m"),
    number("assist_after_s", nullable=False, default="60"),
    number("assist_speed_hz"),
    number("exercise_after_h"),
    number("exercise_run_s"),
    number("exercise_level_m"),
    number("flush_every_h"),
    number("flush_run_s"),
    number("flush_speed_hz"),
    number("flush_flow_m3h"),
    number("flush_level_m"),
    number("clean_out_level_m"),
    number("clean_out_run_s"),
    number("clean_out_speed_hz"),
    number("clean_out_power_kw_min"),
    *id_checks("station_id"),
    *whole_checks("assist_pumps"),
    *finite_checks(*LEVELS),
    one_of("alternation", Alternation),
    check("assist_pumps_in_range", "assist_pumps >= 0 AND assist_pumps <= 100"),
    check("assist_has_reset", "assist_pumps = 0 OR assist_reset_m IS NOT NULL"),
    *(
        check(f"{name}_in_range", f"{name} >= {low} AND {name} <= {high}")
        for name, (low, high) in SECONDS.items()
    ),
    *(check(f"{name}_in_range", f"{name} >= 0.01 AND {name} <= {HOURS_MAX}") for name in HOURS),
    *(check(f"{name}_in_range", f"{name} > 0 AND {name} <= 1000") for name in SPEEDS),
    check("flush_flow_m3h_positive", "flush_flow_m3h > 0 AND flush_flow_m3h <= 1000000000"),
    check(
        "clean_out_power_kw_min_positive",
        "clean_out_power_kw_min > 0 AND clean_out_power_kw_min <= 1000000000",
    ),
    check(
        "exercise_is_whole",
        "(exercise_after_h IS NULL) = (exercise_run_s IS NULL)"
        " AND (exercise_after_h IS NULL) = (exercise_level_m IS NULL)",
    ),
    check(
        "flush_is_whole",
        "(flush_every_h IS NULL) = (flush_run_s IS NULL) AND (flush_every_h IS NULL) = (flush_speed_hz IS NULL)"
        " AND (flush_every_h IS NULL) = (flush_flow_m3h IS NULL) AND (flush_every_h IS NULL) = (flush_level_m IS NULL)",
    ),
    check(
        "clean_out_is_whole",
        "(clean_out_level_m IS NULL) = (clean_out_run_s IS NULL)"
        " AND (clean_out_level_m IS NULL) = (clean_out_speed_hz IS NULL)"
        " AND (clean_out_level_m IS NULL) = (clean_out_power_kw_min IS NULL)",
    ),
)


def _minute_checks(*columns: str) -> list[CheckConstraint]:
    """Refuse what is no time of day like 06:30."""
    glob = "[0-2][0-9]:[0-5][0-9]"
    pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
    return [
        constraint
        for column in columns
        for constraint in (
            check(f"{column}_is_time", f"{column} GLOB '{glob}' AND {column} < '24'", dialect="sqlite"),
            check(f"{column}_is_time", f"{column} ~ '{pattern}'", dialect="postgresql"),
        )
    ]


station_profiles: Final = Table(
    "station_profiles",
    metadata,
    Column("station_id", Id, ForeignKey("pump_stations.station_id"), primary_key=True),
    Column("name", Text(), primary_key=True),
    text_column("weekdays", default="1234567"),
    text_column("starts_at"),
    text_column("ends_at"),
    number("default_setpoint_hz"),
    number("speed_hz_min"),
    number("speed_hz_max"),
    whole("max_pumps_running"),
    text_column("duty_order", default=""),
    *id_checks("station_id"),
    *whole_checks("max_pumps_running"),
    *finite_checks("default_setpoint_hz", "speed_hz_min", "speed_hz_max"),
    *_minute_checks("starts_at", "ends_at"),
    check("name_named", "trim(name) <> '' AND length(name) <= 40"),
    check("weekdays_are_days", "weekdays GLOB '[1-7]*' AND weekdays NOT GLOB '*[^1-7]*'", dialect="sqlite"),
    check("weekdays_are_days", "weekdays ~ '^[1-7]+$'", dialect="postgresql"),
    check("default_setpoint_hz_not_negative", "default_setpoint_hz >= 0"),
    check("speed_hz_min_positive", "speed_hz_min > 0"),
    check("speed_hz_max_positive", "speed_hz_max > 0"),
    check("speed_band", "speed_hz_min <= speed_hz_max"),
    check("max_pumps_running_in_range", "max_pumps_running >= 1 AND max_pumps_running <= 1000"),
)
