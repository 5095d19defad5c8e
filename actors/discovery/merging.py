"""What of a look at the database comes into force, given what was in force before; pure (DAT-4, DAT-5).

A row that vanished or was deactivated is gone: that is how people remove things. But a row that was valid and is now
invalid stays in force as it was, and approved limits stay in force whatever becomes of their row: neither a slip of
the pen nor a deleted row may leave a running pump without its configuration. Each of these is noted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from actors.messages import AlarmAsserted, AlarmReturned
from actors.pump.parameters import check_parameters
from actors.vocabulary import (
    Instant,
    InvalidRow,
    InvalidValueError,
    PumpConfig,
    SafetyLimits,
    Severity,
    SiteConfig,
    StationConfig,
    Topology,
)

INVALID_ROW: Final = "invalid_row"
LOOK_FAILED: Final = "discovery_failed"
SUBJECT: Final = "discovery"
NOTES_MAX: Final = 1_000

# Raises InvalidValueError, with the reason, for a station that cannot be served.
StationCheck: TypeAlias = Callable[[StationConfig], None]

_LIMITS: Final = "pump_safety_limits"


def merge(
    previous: Topology | None,
    sites: Iterable[SiteConfig],
    invalid: Iterable[InvalidRow],
    *,
    check_station: StationCheck | None = None,
) -> Topology:
    """Return the topology in force after a look that found `sites` and skipped `invalid`.

    `check_station` raises InvalidValueError for a station without a place of its own on the wires; it is then skipped,
    or one pump of it if that alone is at fault, and everything else is served.
    """
    notes = list(invalid)
    sites = [_with_good_parameters(site, notes) for site in sites]
    if check_station is not None:
        sites = [_with_places(site, notes, check_station) for site in sites]
    before = _Before(previous)
    broken = {(row.table, row.key.lower()) for row in notes}
    found = {site.site_id: site for site in sites}
    # Where each station and pump is now: what moved must not be driven from its old place as well.
    stations_found = {station.station_id for site in found.values() for station in site.stations}
    pumps_found = {
        pump.pump_id for site in found.values() for station in site.stations for pump in station.pumps
    }
    for site in before.sites.values():
        if ("sites", site.site_id) in broken and site.site_id not in found:
            kept = [
                _without(station, pumps_found)
                for station in site.stations
                if station.station_id not in stations_found
            ]
            found[site.site_id] = msgspec.structs.replace(site, stations=tuple(kept))
            notes.append(_stays("sites", site.site_id))
    merged = []
    for site in found.values():
        stations = list(site.stations)
        for station in before.stations_of(site.site_id):
            if ("pump_stations", station.station_id) in broken and station.station_id not in stations_found:
                stations.append(_without(station, pumps_found))
                notes.append(_stays("pump_stations", station.station_id))
        whole = tuple(
            _station(station, before, broken, pumps_found, notes)
            for station in sorted(stations, key=lambda station: station.station_id)
        )
        merged.append(msgspec.structs.replace(site, stations=_distinct_units(whole, before, notes)))
    merged.sort(key=lambda site: site.site_id)
    kept_notes = tuple(sorted(set(notes), key=_note_order)[:NOTES_MAX])
    return Topology(revision=revision(merged, kept_notes), sites=tuple(merged), invalid=kept_notes)


def revision(sites: Sequence[SiteConfig], invalid: Sequence[InvalidRow]) -> str:
    """Return a name for the content: the same exactly when the content is."""
    content = msgspec.json.encode((sites, invalid), order="deterministic")
    return hashlib.sha256(content).hexdigest()[:16]


def news(
    before: Iterable[InvalidRow], after: Iterable[InvalidRow], now: Instant
) -> tuple[AlarmAsserted | AlarmReturned, ...]:
    """Return what the alarm actor is to hear: an alarm per invalid row, returned when the row is mended."""
    held: dict[str, list[str]] = {}
    for row in after:
        held.setdefault(subject(row), []).append(f"{row.column}: {row.reason}")
    asserted = [
        AlarmAsserted(
            condition=INVALID_ROW, subject=name, severity=Severity.MEDIUM, text="; ".join(reasons), at=now
        )
        for name, reasons in held.items()
    ]
    gone = sorted({subject(row) for row in before} - held.keys())
    returned = [AlarmReturned(condition=INVALID_ROW, subject=name, at=now) for name in gone]
    return (*asserted, *returned)


def subject(row: InvalidRow) -> str:
    """Name the row that an alarm is about."""
    return f"{row.table}/{row.key}"


def _with_places(site: SiteConfig, notes: list[InvalidRow], check: StationCheck) -> SiteConfig:
    """Leave out the pumps and stations that have no place on the wires."""
    stations = []
    for station in site.stations:
        bare = msgspec.structs.replace(station, pumps=())
        if (why := _fault(bare, check)) is not None:
            notes.append(_no_place("pump_stations", station.station_id, why))
            continue
        pumps = []
        for pump in station.pumps:
            if (why := _fault(msgspec.structs.replace(station, pumps=(pump,)), check)) is None:
                pumps.append(pump)
            else:
                notes.append(_no_place("pumps", pump.pump_id, why))
        kept = msgspec.structs.replace(station, pumps=tuple(pumps))
        if (why := _fault(kept, check)) is None:
            stations.append(kept)
        else:
            # Each pump has a place, but two have the same: nobody can say whose it is.
            notes.append(_no_place("pump_stations", station.station_id, why))
    return msgspec.structs.replace(site, stations=tuple(stations))


def _fault(station: StationConfig, check: StationCheck) -> str | None:
    try:
        check(station)
    except InvalidValueError as error:
        return str(error)
    return None


def _no_place(table: str, key: str, why: str) -> InvalidRow:
    return InvalidRow(table=table, key=key, column="wire", reason=f"no place on the wires: {why}")


def _with_good_parameters(site: SiteConfig, notes: list[InvalidRow]) -> SiteConfig:
    """Leave out the pumps whose control parameters their calculator would refuse."""
    stations = []
    for station in site.stations:
        pumps = []
        for pump in station.pumps:
            try:
                check_parameters(pump.control_type, pump.control_parameters, pump_id=pump.pump_id)
            except InvalidValueError as error:
                notes.append(
                    InvalidRow(
                        table="pumps", key=pump.pump_id, column="control_parameters", reason=str(error)
                    )
                )
            else:
                pumps.append(pump)
        stations.append(msgspec.structs.replace(station, pumps=tuple(pumps)))
    return msgspec.structs.replace(site, stations=tuple(stations))


class _Before:
    """What was in force, by id."""

    def __init__(self, previous: Topology | None) -> None:
        sites = () if previous is None else previous.sites
        self.sites: Mapping[str, SiteConfig] = {site.site_id: site for site in sites}
        self.stations: Mapping[str, StationConfig] = {
            station.station_id: station for site in sites for station in site.stations
        }
        self.pumps: Mapping[str, PumpConfig] = {
            pump.pump_id: pump for station in self.stations.values() for pump in station.pumps
        }

    def stations_of(self, site_id: str) -> Sequence[StationConfig]:
        site = self.sites.get(site_id)
        return () if site is None else site.stations

    def pumps_of(self, station_id: str) -> Sequence[PumpConfig]:
        station = self.stations.get(station_id)
        return () if station is None else station.pumps


def _without(station: StationConfig, elsewhere: set[str]) -> StationConfig:
    pumps = tuple(pump for pump in station.pumps if pump.pump_id not in elsewhere)
    return msgspec.structs.replace(station, pumps=pumps)


def _station(
    station: StationConfig,
    before: _Before,
    broken: set[tuple[str, str]],
    pumps_found: set[str],
    notes: list[InvalidRow],
) -> StationConfig:
    pumps = [_pump(pump, before.pumps.get(pump.pump_id), notes) for pump in station.pumps]
    present = {pump.pump_id for pump in pumps}
    for pump in before.pumps_of(station.station_id):
        gone = pump.pump_id not in present and pump.pump_id not in pumps_found
        if gone and ("pumps", pump.pump_id) in broken:
            pumps.append(pump)
            notes.append(_stays("pumps", pump.pump_id))
    pumps.sort(key=lambda pump: pump.wire_slot)
    return msgspec.structs.replace(station, pumps=tuple(pumps))


def _pump(pump: PumpConfig, previous: PumpConfig | None, notes: list[InvalidRow]) -> PumpConfig:
    """Keep the last approved limits if the look found none, or only an older version."""
    last = None if previous is None else previous.limits
    if last is None or (pump.limits is not None and pump.limits.version >= last.version):
        return pump
    notes.append(
        InvalidRow(
            table=_LIMITS,
            key=pump.pump_id,
            column="version",
            reason=f"version {last.version} vanished or is no longer valid: it stays in force",
        )
    )
    # The setpoints were judged against other limits than those that stay.
    return msgspec.structs.replace(
        pump,
        limits=last,
        default_setpoint_hz=_in_band(pump.default_setpoint_hz, last),
        emergency_stop_setpoint_hz=_in_band(pump.emergency_stop_setpoint_hz, last),
    )


def _in_band(setpoint_hz: float, limits: SafetyLimits) -> float:
    inside = limits.hard_min_speed_hz <= setpoint_hz <= limits.hard_max_speed_hz
    return setpoint_hz if inside else 0.0


def _distinct_units(
    stations: tuple[StationConfig, ...], before: _Before, notes: list[InvalidRow]
) -> tuple[StationConfig, ...]:
    """One unit id, one station: the one that had it before keeps it."""
    holders: dict[int, StationConfig] = {}
    for station in stations:
        holder = holders.setdefault(station.modbus_unit_id, station)
        former = before.stations.get(station.station_id)
        if former is not None and former.modbus_unit_id == station.modbus_unit_id and holder is not station:
            former_holder = before.stations.get(holder.station_id)
            if former_holder is None or former_holder.modbus_unit_id != station.modbus_unit_id:
                holders[station.modbus_unit_id] = station
    kept = []
    for station in stations:
        holder = holders[station.modbus_unit_id]
        if holder is station:
            kept.append(station)
            continue
        notes.append(
            InvalidRow(
                table="pump_stations",
                key=station.station_id,
                column="modbus_unit_id",
                reason=f"{station.modbus_unit_id} is taken by {holder.station_id}",
            )
        )
    return tuple(kept)


def _stays(table: str, key: str) -> InvalidRow:
    return InvalidRow(
        table=table, key=key, column="*", reason="the row is invalid: its last valid content stays in force"
    )


def _note_order(row: InvalidRow) -> tuple[str, str, str, str]:
    return (row.table, row.key, row.column, row.reason)
