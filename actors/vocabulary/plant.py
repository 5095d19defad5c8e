"""The plant as configured: sites, stations, pumps and their approved limits, as discovery hands them to the actors."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from actors.vocabulary.codes import ControlType, FailsafeStrategy, HighLevelResponse
from actors.vocabulary.duties import StationDuties


class SafetyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Approved limits of one pump, one version (a row of `pump_safety_limits`). None: this limit is not set."""

    version: int
    hard_min_speed_hz: float
    hard_max_speed_hz: float
    max_rate_hz_per_s: float
    level_min_m: float | None = None
    level_max_m: float | None = None
    level_emergency_high_m: float | None = None
    level_emergency_high_reset_m: float | None = None
    level_dry_run_m: float | None = None
    level_dry_run_reset_m: float | None = None
    max_power_kw: float | None = None
    max_flow_m3h: float | None = None
    min_flow_m3h: float | None = None
    max_starts_per_hour: int | None = None
    min_run_s: float | None = None
    max_run_s: float | None = None
    min_rest_s: float | None = None
    set_by: str = ""
    approved_by: str = ""
    approved_at: datetime | None = None


class PumpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One pump. `limits` None means: never driven (DAT-5). `wire_slot` is its place in the station's map, for ever."""

    pump_id: str
    station_id: str
    name: str
    control_type: ControlType
    default_setpoint_hz: float
    failsafe_strategy: FailsafeStrategy
    wire_slot: int
    emergency_stop_setpoint_hz: float = 0.0
    control_parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    rated_power_kw: float | None = None
    rated_flow_m3h: float | None = None
    rated_speed_hz: float | None = None
    limits: SafetyLimits | None = None


class StationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One station and its active pumps, ordered by `wire_slot`."""

    station_id: str
    site_id: str
    name: str
    timezone: str
    modbus_unit_id: int
    max_pumps_running: int | None = None
    max_power_kw: float | None = None
    level_datum: str = ""
    has_high_float: bool = False
    protective_level_age_s: float = 5.0
    stagger_s: float = 5.0
    float_response_max_s: float = 600.0
    high_level_response: HighLevelResponse = HighLevelResponse.RUN_PERMITTED
    dry_run_outranks_high_level: bool = True
    soft_stop_hz_per_s: float | None = None
    duties: StationDuties = StationDuties()
    pumps: tuple[PumpConfig, ...] = ()

    def pump(self, pump_id: str) -> PumpConfig | None:
        """Return the pump of that id, or None."""
        return next((pump for pump in self.pumps if pump.pump_id == pump_id), None)


class SiteConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One site and its active stations, ordered by id."""

    site_id: str
    name: str
    timezone: str
    stations: tuple[StationConfig, ...] = ()

    def station(self, station_id: str) -> StationConfig | None:
        """Return the station of that id, or None."""
        return next((station for station in self.stations if station.station_id == station_id), None)

    def only(self, station_id: str) -> SiteConfig:
        """Return this site with no station but `station_id`: what a station's own actors are given."""
        kept = tuple(station for station in self.stations if station.station_id == station_id)
        return msgspec.structs.replace(self, stations=kept)


class InvalidRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that discovery skipped: where it is and what was wrong (DAT-4)."""

    table: str
    key: str
    column: str
    reason: str


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """All that discovery found in one pass. `revision` changes exactly when the content does."""

    revision: str
    sites: tuple[SiteConfig, ...] = ()
    invalid: tuple[InvalidRow, ...] = ()
