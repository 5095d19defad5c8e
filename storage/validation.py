"""Which configuration rows count, and what is wrong with the others (DAT-4, DAT-5); pure.

The tables' own checks refuse most of it, but somebody may have written past them, and rules across tables can only
be judged here. A row that is wrong is named with its column; what does not depend on it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from actors.vocabulary import (
    ControlType,
    FailsafeStrategy,
    HighLevelResponse,
    InvalidRow,
    PumpConfig,
    SafetyLimits,
    SiteConfig,
    StationConfig,
)
from actors.vocabulary.limits import LIMIT_KEYS, NEEDED_LIMITS, Tighter
from storage.cells import (
    BadCellError,
    Row,
    flag,
    identifier,
    member,
    needed,
    number,
    shown,
    text,
    timezone_name,
    whole,
)
from storage.duties import Plant, duties_of, profiles_of
from storage.models.configuration import LIMIT_COLUMNS

UNIT_ID_MAX: Final = 247

NEEDED_RATINGS: Final[Mapping[ControlType, tuple[str, ...]]] = {
    ControlType.DIRECT_SPEED: (),
    ControlType.LEVEL_CONTROLLED: (),
    # The affinity law starts from a known point (CTL-2).
    ControlType.POWER_CONTROLLED: ("rated_power_kw", "rated_speed_hz"),
}
assert set(LIMIT_KEYS) == {"hard_min_speed_hz", "hard_max_speed_hz", *LIMIT_COLUMNS}


def build(
    *,
    sites: Iterable[Row],
    stations: Iterable[Row],
    pumps: Iterable[Row],
    limits: Iterable[Row],
    envelopes: Iterable[Row],
    duties: Iterable[Row] = (),
    profiles: Iterable[Row] = (),
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
        except BadCellError as bad:
            invalid.append(_note("pumps", row["pump_id"], bad))
            continue
        invalid += notes
        pumps_of.setdefault(config.station_id, []).append(config)

    duties_row = {str(row["station_id"]).lower(): row for row in duties}
    profile_rows: dict[str, list[Row]] = {}
    for row in profiles:
        profile_rows.setdefault(str(row["station_id"]).lower(), []).append(row)
    stations_of: dict[str, list[StationConfig]] = {}
    for row in _by_key(stations, "station_id"):
        try:
            station = _station(row, pumps_of)
        except BadCellError as bad:
            invalid.append(_note("pump_stations", row["station_id"], bad))
            continue
        station = _with_duties(
            station,
            duties_row.get(station.station_id),
            profile_rows.get(station.station_id, []),
            envelope_of,
            invalid,
        )
        stations_of.setdefault(station.site_id, []).append(station)

    found = []
    for row in _by_key(sites, "site_id"):
        try:
            site_id = identifier(row, "site_id")
            site = SiteConfig(
                site_id=site_id,
                name=text(row, "name"),
                timezone=timezone_name(row),
                stations=_distinct_units(stations_of.get(site_id, []), invalid),
            )
        except BadCellError as bad:
            invalid.append(_note("sites", row["site_id"], bad))
            continue
        found.append(site)
    return tuple(found), tuple(sorted(invalid, key=lambda row: (row.table, row.key, row.column)))


def _with_duties(
    station: StationConfig,
    row: Row | None,
    profiles: Sequence[Row],
    envelope_of: Mapping[str, Row],
    invalid: list[InvalidRow],
) -> StationConfig:
    """Return the station with the duties that count; note what does not (CTL-6)."""
    bounds = {pump.pump_id: envelope_of.get(pump.pump_id) for pump in station.pumps}
    plant = Plant(
        pumps=station.pumps,
        max_pumps_running=station.max_pumps_running,
        dry_run_bounds_m={
            pump_id: None if envelope is None else envelope["level_dry_run_m"]
            for pump_id, envelope in bounds.items()
        },
    )
    duties, notes = duties_of(row, plant)
    kept, refused = profiles_of(profiles, plant)
    invalid += [
        InvalidRow(table="station_duties", key=station.station_id, column=column, reason=reason)
        for column, reason in notes
    ]
    invalid += [
        InvalidRow(
            table="station_profiles", key=f"{station.station_id}/{shown(name)}", column=column, reason=reason
        )
        for name, (column, reason) in refused
    ]
    return msgspec.structs.replace(station, duties=msgspec.structs.replace(duties, profiles=kept))


def _by_key(rows: Iterable[Row], key: str) -> Sequence[Row]:
    return sorted(rows, key=lambda row: str(row[key]).lower())


def _note(table: str, key: object, bad: BadCellError) -> InvalidRow:
    return InvalidRow(table=table, key=shown(key).lower(), column=bad.column, reason=bad.reason)


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
            bad = BadCellError("modbus_unit_id", reason)
            invalid.append(_note("pump_stations", station.station_id, bad))
    return tuple(kept)


def _station(row: Row, pumps_of: Mapping[str, list[PumpConfig]]) -> StationConfig:
    station_id = identifier(row, "station_id")
    unit_id = whole(row, "modbus_unit_id", low=1, high=UNIT_ID_MAX)
    assert unit_id is not None
    pumps = sorted(pumps_of.get(station_id, []), key=lambda pump: pump.wire_slot)
    if len({pump.wire_slot for pump in pumps}) != len(pumps):
        raise BadCellError("pumps.wire_slot", "two pumps of the station have the same slot")
    return StationConfig(
        station_id=station_id,
        site_id=identifier(row, "site_id"),
        name=text(row, "name"),
        timezone=timezone_name(row),
        modbus_unit_id=unit_id,
        max_pumps_running=whole(row, "max_pumps_running", low=1, optional=True),
        max_power_kw=number(row, "max_power_kw", above=0.0, optional=True),
        level_datum=text(row, "level_datum"),
        has_high_float=flag(row, "has_high_float"),
        protective_level_age_s=needed(row, "protective_level_age_s", above=0.0),
        stagger_s=needed(row, "stagger_s"),
        float_response_max_s=needed(row, "float_response_max_s"),
        high_level_response=member(row, "high_level_response", HighLevelResponse),
        dry_run_outranks_high_level=flag(row, "dry_run_outranks_high_level"),
        soft_stop_hz_per_s=number(row, "soft_stop_hz_per_s", above=0.0, optional=True),
        pumps=tuple(pumps),
    )


def _pump(
    row: Row, limits_of: Mapping[str, list[Row]], envelope_of: Mapping[str, Row]
) -> tuple[PumpConfig, list[InvalidRow]]:
    pump_id = identifier(row, "pump_id")
    control_type = member(row, "control_type", ControlType)
    for column in NEEDED_RATINGS[control_type]:
        if row[column] is None:
            raise BadCellError(column, f"{control_type} needs a value")
    slot = whole(row, "wire_slot", low=0)
    assert slot is not None
    limits, notes = in_force(pump_id, control_type, limits_of.get(pump_id, []), envelope_of.get(pump_id))
    config = PumpConfig(
        pump_id=pump_id,
        station_id=identifier(row, "station_id"),
        name=text(row, "name"),
        control_type=control_type,
        default_setpoint_hz=_in_band(row, "default_setpoint_hz", limits, notes),
        failsafe_strategy=member(row, "failsafe_strategy", FailsafeStrategy),
        wire_slot=slot,
        emergency_stop_setpoint_hz=_in_band(row, "emergency_stop_setpoint_hz", limits, notes),
        control_parameters=_parameters(row),
        rated_power_kw=number(row, "rated_power_kw", above=0.0, optional=True),
        rated_flow_m3h=number(row, "rated_flow_m3h", above=0.0, optional=True),
        rated_speed_hz=number(row, "rated_speed_hz", above=0.0, optional=True),
        limits=limits,
    )
    return config, notes


def in_force(
    pump_id: str, control_type: ControlType, rows: Sequence[Row], envelope: Row | None
) -> tuple[SafetyLimits | None, list[InvalidRow]]:
    """Return the limits in force: the highest version that is approved and valid; and a note where there is none."""
    notes: list[InvalidRow] = []
    if not any(row["approved_by"] is not None for row in rows):
        reason = "no approved row: the pump is never driven"
        return None, [_note("pump_safety_limits", pump_id, BadCellError("approved_by", reason))]
    if envelope is None:
        reason = "not commissioned (no row): its limits count for nothing, the pump is never driven"
        return None, [_note("pump_commissioning_envelopes", pump_id, BadCellError("pump_id", reason))]
    for row in sorted(rows, key=lambda row: int(row["version"]), reverse=True):
        if row["approved_by"] is None:
            continue  # waits for its second person: nothing is wrong with it
        try:
            return _limits(row, control_type, envelope), notes
        except BadCellError as bad:
            notes.append(
                InvalidRow(
                    table="pump_safety_limits",
                    key=f"{pump_id}/{shown(row['version'])}",
                    column=bad.column,
                    reason=bad.reason,
                )
            )
    return None, notes


def _limits(row: Row, control_type: ControlType, envelope: Row) -> SafetyLimits:
    set_by, approved_by = text(row, "set_by").strip(), text(row, "approved_by").strip()
    if not approved_by or approved_by.lower() == set_by.lower():
        raise BadCellError("approved_by", "a limit is approved by another person than the one who set it")
    for column in NEEDED_LIMITS[control_type]:
        if row[column] is None:
            raise BadCellError(column, f"{control_type} needs a value")
    values: dict[str, float | None] = {column: number(row, column, optional=True) for column in LIMIT_COLUMNS}
    low, high = needed(row, "hard_min_speed_hz", above=0.0), needed(row, "hard_max_speed_hz", above=0.0)
    rate = needed(row, "max_rate_hz_per_s", above=0.0)
    if not low < high:
        raise BadCellError("hard_min_speed_hz", f"{low:g} Hz is not below hard_max_speed_hz {high:g} Hz")
    _ordered(values)
    speeds: dict[str, float | None] = {"hard_min_speed_hz": low, "hard_max_speed_hz": high}
    for column, value in {**speeds, **values}.items():
        key = LIMIT_KEYS[column]
        _inside(column, value, key.bound, envelope, wider_when_above=key.tighter is Tighter.LOWER)
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
            raise BadCellError(lower, f"{low:g} is not below {upper} {high:g}")
    for column, other in _TOGETHER:
        if (values[column] is None) != (values[other] is None):
            missing, present = (column, other) if values[column] is None else (other, column)
            raise BadCellError(missing, f"no value, although {present} has one")


def _inside(
    column: str, value: float | None, bound_column: str, envelope: Row, *, wider_when_above: bool
) -> None:
    bound = envelope[bound_column]
    if bound is None:
        return
    if value is None:
        raise BadCellError(column, f"no limit, while the commissioning envelope says {float(bound):g}")
    if (value > bound) if wider_when_above else (value < bound):
        raise BadCellError(column, f"{value:g} is outside the commissioning envelope ({float(bound):g})")


def _in_band(row: Row, column: str, limits: SafetyLimits | None, notes: list[InvalidRow]) -> float:
    """Return a setpoint that is 0 or inside the band; another counts as 0, with a note (DAT-1)."""
    value = needed(row, column)
    if value == 0.0 or limits is None or limits.hard_min_speed_hz <= value <= limits.hard_max_speed_hz:
        return value
    band = f"{limits.hard_min_speed_hz:g} to {limits.hard_max_speed_hz:g} Hz"
    bad = BadCellError(column, f"{value:g} Hz is neither 0 nor inside {band}: counts as 0")
    notes.append(_note("pumps", row["pump_id"], bad))
    return 0.0


def _parameters(row: Row) -> dict[str, Any]:
    value = row["control_parameters"]
    if isinstance(value, str):
        try:
            value = json.loads(text(row, "control_parameters"), parse_constant=_no_constant)
        except ValueError as error:
            raise BadCellError("control_parameters", f"not JSON: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadCellError("control_parameters", "expected a JSON object")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
