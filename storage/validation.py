"""Which configuration rows count, and what is wrong with the others (DAT-4, DAT-5); pure.

The tables' own checks refuse most of it, but somebody may have written past them, and rules across tables can only
be judged here. A row that is wrong is named with its column; what does not depend on it goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar
from zoneinfo import available_timezones

from actors.vocabulary import (
    ControlType,
    FailsafeStrategy,
    HighLevelResponse,
    InvalidRow,
    InvalidValueError,
    PumpConfig,
    SafetyLimits,
    SiteConfig,
    StationConfig,
)
from actors.vocabulary.ids import checked_id
from storage.models.configuration import LIMIT_COLUMNS

Row = Mapping[str, Any]
E = TypeVar("E", bound=StrEnum)

UNIT_ID_MAX: Final = 247

NEEDED_RATINGS: Final[Mapping[ControlType, tuple[str, ...]]] = {
    ControlType.DIRECT_SPEED: (),
    ControlType.LEVEL_CONTROLLED: (),
    # The affinity law starts from a known point (CTL-2).
    ControlType.POWER_CONTROLLED: ("rated_power_kw", "rated_speed_hz"),
}
NEEDED_LIMITS: Final[Mapping[ControlType, tuple[str, ...]]] = {
    ControlType.DIRECT_SPEED: (),
    # SQLite stores NaN as NULL: without these, a level that was meant to be a limit would silently be none.
    ControlType.LEVEL_CONTROLLED: (
        "level_min_m",
        "level_max_m",
        "level_dry_run_m",
        "level_dry_run_reset_m",
        "level_emergency_high_m",
        "level_emergency_high_reset_m",
    ),
    ControlType.POWER_CONTROLLED: ("max_power_kw",),
}

# In which direction a limit becomes wider than its envelope.
_NOT_ABOVE: Final = (
    "level_max_m",
    "level_emergency_high_m",
    "level_emergency_high_reset_m",
    "max_power_kw",
    "max_flow_m3h",
    "max_rate_hz_per_s",
    "max_starts_per_hour",
    "max_run_s",
)
_NOT_BELOW: Final = (
    "level_min_m",
    "level_dry_run_m",
    "level_dry_run_reset_m",
    "min_flow_m3h",
    "min_run_s",
    "min_rest_s",
)
assert set(_NOT_ABOVE) | set(_NOT_BELOW) == set(LIMIT_COLUMNS)


class _BadCellError(Exception):
    def __init__(self, column: str, reason: str) -> None:
        super().__init__(column, reason)
        self.column = column
        self.reason = reason


def build(
    *,
    sites: Iterable[Row],
    stations: Iterable[Row],
    pumps: Iterable[Row],
    limits: Iterable[Row],
    envelopes: Iterable[Row],
) -> tuple[tuple[SiteConfig, ...], tuple[InvalidRow, ...]]:
    """Return every valid active site with its stations and pumps, and what was skipped, in a stable order."""
    invalid: list[InvalidRow] = []
    limits_of: dict[str, list[Row]] = {}
    for row in limits:
        limits_of.setdefault(str(row["pump_id"]).lower(), []).append(row)
    envelope_of = {str(row["pump_id"]).lower(): row for row in envelopes}

    pumps_of: dict[str, list[PumpConfig]] = {}
    for row in _by_key(pumps, "pump_id"):
        try:
            config, notes = _pump(row, limits_of, envelope_of)
        except _BadCellError as bad:
            invalid.append(_note("pumps", row["pump_id"], bad))
            continue
        invalid += notes
        pumps_of.setdefault(config.station_id, []).append(config)

    stations_of: dict[str, list[StationConfig]] = {}
    for row in _by_key(stations, "station_id"):
        try:
            station = _station(row, pumps_of)
        except _BadCellError as bad:
            invalid.append(_note("pump_stations", row["station_id"], bad))
            continue
        stations_of.setdefault(station.site_id, []).append(station)

    found = []
    for row in _by_key(sites, "site_id"):
        try:
            site_id = _id(row, "site_id")
            site = SiteConfig(
                site_id=site_id,
                name=str(row["name"]),
                timezone=_timezone(row),
                stations=_distinct_units(stations_of.get(site_id, []), invalid),
            )
        except _BadCellError as bad:
            invalid.append(_note("sites", row["site_id"], bad))
            continue
        found.append(site)
    return tuple(found), tuple(sorted(invalid, key=lambda row: (row.table, row.key, row.column)))


def _by_key(rows: Iterable[Row], key: str) -> Sequence[Row]:
    return sorted(rows, key=lambda row: str(row[key]).lower())


def _note(table: str, key: object, bad: _BadCellError) -> InvalidRow:
    return InvalidRow(table=table, key=str(key).lower(), column=bad.column, reason=bad.reason)


def _distinct_units(
    stations: Sequence[StationConfig], invalid: list[InvalidRow]
) -> tuple[StationConfig, ...]:
    """Keep the first station of each unit id: two cannot share one unit of one server."""
    first: dict[int, str] = {}
    kept = []
    for station in stations:
        holder = first.setdefault(station.modbus_unit_id, station.station_id)
        if holder == station.station_id:
            kept.append(station)
        else:
            reason = f"{station.modbus_unit_id} is taken by {holder}"
            bad = _BadCellError("modbus_unit_id", reason)
            invalid.append(_note("pump_stations", station.station_id, bad))
    return tuple(kept)


def _station(row: Row, pumps_of: Mapping[str, list[PumpConfig]]) -> StationConfig:
    station_id = _id(row, "station_id")
    unit_id = _whole(row, "modbus_unit_id", low=1, high=UNIT_ID_MAX)
    assert unit_id is not None
    pumps = sorted(pumps_of.get(station_id, []), key=lambda pump: pump.wire_slot)
    if len({pump.wire_slot for pump in pumps}) != len(pumps):
        raise _BadCellError("pumps.wire_slot", "two pumps of the station have the same slot")
    return StationConfig(
        station_id=station_id,
        site_id=_id(row, "site_id"),
        name=str(row["name"]),
        timezone=_timezone(row),
        modbus_unit_id=unit_id,
        max_pumps_running=_whole(row, "max_pumps_running", low=1, optional=True),
        max_power_kw=_number(row, "max_power_kw", above=0.0, optional=True),
        level_datum=str(row["level_datum"] or ""),
        has_high_float=_flag(row, "has_high_float"),
        protective_level_age_s=_needed(row, "protective_level_age_s", above=0.0),
        stagger_s=_needed(row, "stagger_s"),
        float_response_max_s=_needed(row, "float_response_max_s"),
        high_level_response=_member(row, "high_level_response", HighLevelResponse),
        dry_run_outranks_high_level=_flag(row, "dry_run_outranks_high_level"),
        pumps=tuple(pumps),
    )


def _pump(
    row: Row, limits_of: Mapping[str, list[Row]], envelope_of: Mapping[str, Row]
) -> tuple[PumpConfig, list[InvalidRow]]:
    pump_id = _id(row, "pump_id")
    control_type = _member(row, "control_type", ControlType)
    for column in NEEDED_RATINGS[control_type]:
        if row[column] is None:
            raise _BadCellError(column, f"{control_type} needs a value")
    slot = _whole(row, "wire_slot", low=0)
    assert slot is not None
    limits, notes = _applied(pump_id, control_type, limits_of.get(pump_id, []), envelope_of.get(pump_id))
    config = PumpConfig(
        pump_id=pump_id,
        station_id=_id(row, "station_id"),
        name=str(row["name"]),
        control_type=control_type,
        default_setpoint_hz=_in_band(row, "default_setpoint_hz", limits, notes),
        failsafe_strategy=_member(row, "failsafe_strategy", FailsafeStrategy),
        wire_slot=slot,
        emergency_stop_setpoint_hz=_in_band(row, "emergency_stop_setpoint_hz", limits, notes),
        control_parameters=_parameters(row),
        rated_power_kw=_number(row, "rated_power_kw", above=0.0, optional=True),
        rated_flow_m3h=_number(row, "rated_flow_m3h", above=0.0, optional=True),
        rated_speed_hz=_number(row, "rated_speed_hz", above=0.0, optional=True),
        limits=limits,
    )
    return config, notes


def _applied(
    pump_id: str, control_type: ControlType, rows: Sequence[Row], envelope: Row | None
) -> tuple[SafetyLimits | None, list[InvalidRow]]:
    """Return the limits in force: the highest version that is approved and valid; and a note where there is none."""
    notes: list[InvalidRow] = []
    if not any(row["approved_by"] is not None for row in rows):
        reason = "no approved row: the pump is never driven"
        return None, [_note("pump_safety_limits", pump_id, _BadCellError("approved_by", reason))]
    if envelope is None:
        reason = "not commissioned (no row): its limits count for nothing, the pump is never driven"
        return None, [_note("pump_commissioning_envelopes", pump_id, _BadCellError("pump_id", reason))]
    for row in sorted(rows, key=lambda row: int(row["version"]), reverse=True):
        if row["approved_by"] is None:
            continue  # waits for its second person: nothing is wrong with it
        try:
            return _limits(row, control_type, envelope), notes
        except _BadCellError as bad:
            notes.append(
                InvalidRow(
                    table="pump_safety_limits",
                    key=f"{pump_id}/{row['version']}",
                    column=bad.column,
                    reason=bad.reason,
                )
            )
    return None, notes


def _limits(row: Row, control_type: ControlType, envelope: Row) -> SafetyLimits:
    set_by, approved_by = str(row["set_by"]).strip(), str(row["approved_by"]).strip()
    if not approved_by or approved_by.lower() == set_by.lower():
        raise _BadCellError("approved_by", "a limit is approved by another person than the one who set it")
    for column in NEEDED_LIMITS[control_type]:
        if row[column] is None:
            raise _BadCellError(column, f"{control_type} needs a value")
    values: dict[str, float | None] = {
        column: _number(row, column, optional=True) for column in LIMIT_COLUMNS
    }
    low, high = _needed(row, "hard_min_speed_hz", above=0.0), _needed(row, "hard_max_speed_hz", above=0.0)
    rate = _needed(row, "max_rate_hz_per_s", above=0.0)
    if not low < high:
        raise _BadCellError("hard_min_speed_hz", f"{low:g} Hz is not below hard_max_speed_hz {high:g} Hz")
    _ordered(values)
    _inside("hard_min_speed_hz", low, "min_speed_hz", envelope, wider_when_above=False)
    _inside("hard_max_speed_hz", high, "max_speed_hz", envelope, wider_when_above=True)
    for column in _NOT_ABOVE:
        _inside(column, values[column], column, envelope, wider_when_above=True)
    for column in _NOT_BELOW:
        _inside(column, values[column], column, envelope, wider_when_above=False)
    starts = values.pop("max_starts_per_hour")
    del values["max_rate_hz_per_s"]
    return SafetyLimits(
        version=int(row["version"]),
        hard_min_speed_hz=low,
        hard_max_speed_hz=high,
        max_rate_hz_per_s=rate,
        max_starts_per_hour=None if starts is None else int(starts),
        set_by=set_by,
        approved_by=approved_by,
        approved_at=row["approved_at"],
        **values,
    )


_ORDER: Final = (
    ("level_dry_run_m", "level_dry_run_reset_m"),
    ("level_dry_run_m", "level_min_m"),
    ("level_dry_run_m", "level_max_m"),
    ("level_dry_run_m", "level_emergency_high_m"),
    ("level_dry_run_m", "level_emergency_high_reset_m"),
    ("level_dry_run_reset_m", "level_emergency_high_m"),
    ("level_min_m", "level_max_m"),
    ("level_min_m", "level_emergency_high_m"),
    ("level_max_m", "level_emergency_high_m"),
    ("level_emergency_high_reset_m", "level_emergency_high_m"),
    ("min_flow_m3h", "max_flow_m3h"),
    ("min_run_s", "max_run_s"),
)
_TOGETHER: Final = (
    ("level_dry_run_m", "level_dry_run_reset_m"),
    ("level_emergency_high_m", "level_emergency_high_reset_m"),
)


def _ordered(values: Mapping[str, float | None]) -> None:
    for lower, upper in _ORDER:
        low, high = values[lower], values[upper]
        if low is not None and high is not None and not low < high:
            raise _BadCellError(lower, f"{low:g} is not below {upper} {high:g}")
    for column, other in _TOGETHER:
        if (values[column] is None) != (values[other] is None):
            missing, present = (column, other) if values[column] is None else (other, column)
            raise _BadCellError(missing, f"no value, although {present} has one")


def _inside(
    column: str, value: float | None, bound_column: str, envelope: Row, *, wider_when_above: bool
) -> None:
    bound = envelope[bound_column]
    if bound is None:
        return
    if value is None:
        raise _BadCellError(column, f"no limit, while the commissioning envelope says {float(bound):g}")
    if (value > bound) if wider_when_above else (value < bound):
        raise _BadCellError(column, f"{value:g} is outside the commissioning envelope ({float(bound):g})")


def _in_band(row: Row, column: str, limits: SafetyLimits | None, notes: list[InvalidRow]) -> float:
    """Return a setpoint that is 0 or inside the band; another counts as 0, with a note (DAT-1)."""
    value = _needed(row, column)
    if value == 0.0 or limits is None or limits.hard_min_speed_hz <= value <= limits.hard_max_speed_hz:
        return value
    band = f"{limits.hard_min_speed_hz:g} to {limits.hard_max_speed_hz:g} Hz"
    bad = _BadCellError(column, f"{value:g} Hz is neither 0 nor inside {band}: counts as 0")
    notes.append(_note("pumps", row["pump_id"], bad))
    return 0.0


def _parameters(row: Row) -> dict[str, Any]:
    value = row["control_parameters"]
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_no_constant)
        except ValueError as error:
            raise _BadCellError("control_parameters", f"not JSON: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _BadCellError("control_parameters", "expected a JSON object")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _id(row: Row, column: str) -> str:
    try:
        return checked_id(str(row[column]), place=column)
    except InvalidValueError as error:
        raise _BadCellError(column, str(error)) from error


def _member(row: Row, column: str, vocabulary: type[E]) -> E:
    try:
        return vocabulary(row[column])
    except ValueError as error:
        expected = ", ".join(vocabulary)
        raise _BadCellError(column, f"{row[column]!r} is unknown, expected one of {expected}") from error


def _flag(row: Row, column: str) -> bool:
    value = row[column]
    if value not in {0, 1}:
        raise _BadCellError(column, f"{value!r} is neither true nor false")
    return bool(value)


def _number(row: Row, column: str, *, above: float | None = None, optional: bool = False) -> float | None:
    value = row[column]
    if value is None:
        if optional:
            return None
        raise _BadCellError(column, "no value (a NaN is stored as none)")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _BadCellError(column, f"{value!r} is not a finite number")
    if above is not None and not value > above:
        raise _BadCellError(column, f"{value:g} is not above {above:g}")
    return float(value)


def _needed(row: Row, column: str, *, above: float | None = None) -> float:
    value = _number(row, column, above=above)
    assert value is not None
    if value < 0.0:
        raise _BadCellError(column, f"{value:g} is negative")
    return value


def _whole(row: Row, column: str, *, low: int, high: int | None = None, optional: bool = False) -> int | None:
    value = row[column]
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _BadCellError(column, f"{value!r} is not a whole number")
    if value < low or (high is not None and value > high):
        raise _BadCellError(column, f"{value} is outside {low} to {'any' if high is None else high}")
    return value


_ZONES: Final = available_timezones()


def _timezone(row: Row) -> str:
    name = str(row["timezone"])
    # A machine without a zone database knows none; times are kept in UTC anyway.
    if _ZONES and name not in _ZONES:
        raise _BadCellError("timezone", f"{name!r} is not a time zone like Europe/Berlin")
    return name
