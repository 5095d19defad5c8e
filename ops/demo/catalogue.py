"""The demo's stations and pumps as data: geometry, curves, levels, limits; what seed, plant and optimiser
share.

Levels are metres above the well's floor and rise in this order: where pumps draw air, the controller's dry
cut-out, Calejo's dry-run limit, the local stop level, the band that the optimiser plans for, the local start
levels, Calejo's emergency high, the float, the crest.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actors.vocabulary import (
    ControlType,
    FailsafeStrategy,
    PumpConfig,
    SafetyLimits,
    SiteConfig,
    StationConfig,
)

RATED_HZ: Final = 50.0
DRIVE_MIN_HZ: Final = 15.0
DRIVE_MAX_HZ: Final = 55.0
DRIVE_RAMP_HZ_PER_S: Final = 5.0


class DemoPump(msgspec.Struct, frozen=True, kw_only=True):
    """One pump: head (m) and flow (m3/h) at shut-off and at its rated point at 50 Hz; how it is controlled."""

    pump_id: str
    name: str
    control_type: ControlType
    shutoff_head_m: float
    rated_head_m: float
    rated_flow_m3h: float
    rated_power_kw: float
    control_parameters: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def curve(self) -> float:
        """Head lost per (m3/h)2 inside the pump, from its two known points."""
        return (self.shutoff_head_m - self.rated_head_m) / self.rated_flow_m3h**2


class DemoStation(msgspec.Struct, frozen=True, kw_only=True):
    """One station: well area (m2), static lift from floor level (m), base inflow (m3/h), levels (m), storm
    factor.
    """

    station_id: str
    name: str
    modbus_unit_id: int
    latitude: float
    longitude: float
    area_m2: float
    static_lift_m: float
    base_inflow_m3h: float
    storm_factor: float
    max_pumps_running: int
    pumps: tuple[DemoPump, ...]
    local_start_m: tuple[float, ...]
    local_stop_m: float = 0.90
    local_speed_hz: float = 45.0
    air_m: float = 0.25
    dry_cut_out_m: float = 0.40
    dry_reset_m: float = 0.55
    high_float_m: float = 3.00
    crest_m: float = 3.50
    # The optimiser keeps this far away from where the local controller would stop or start a pump.
    plan_margin_m: float = 0.15

    @property
    def pipe(self) -> float:
        """Head lost per (m3/h)2 in the rising main, so that the first pump alone meets its rated point."""
        first = self.pumps[0]
        return (first.rated_head_m - self.static_lift_m) / first.rated_flow_m3h**2

    @property
    def plan_low_m(self) -> float:
        """The lowest level that the optimiser plans for."""
        return self.local_stop_m + self.plan_margin_m

    @property
    def plan_high_m(self) -> float:
        """The highest level that the optimiser plans for."""
        return self.local_start_m[0] - self.plan_margin_m

    @property
    def plan_target_m(self) -> float:
        """The level to which the optimiser brings the well back."""
        return (self.plan_low_m + self.plan_high_m) / 2


_POWER_ROOM: Final = 1.2
# The plan says when a pump runs; these levels only keep one from a well that is emptier than any plan wants.
# Below 25 Hz a pump hardly meets its main's static head: it would churn.
_LEVEL_CONTROL: Final[dict[str, Any]] = {"start_level_m": 1.1, "stop_level_m": 0.95, "output_min_hz": 25.0}

LIMITS: Final = SafetyLimits(
    version=1,
    hard_min_speed_hz=20.0,
    hard_max_speed_hz=50.0,
    max_rate_hz_per_s=2.0,
    level_dry_run_m=0.50,
    level_dry_run_reset_m=0.70,
    level_min_m=0.80,
    level_max_m=2.40,
    level_emergency_high_reset_m=2.60,
    level_emergency_high_m=2.90,
    set_by="demo-engineer",
    approved_by="demo-second",
)

_HARBOUR: Final = DemoStation(
    station_id="harbour",
    name="Harbour",
    modbus_unit_id=1,
    latitude=53.5461,
    longitude=9.9661,
    area_m2=30.0,
    static_lift_m=6.0,
    base_inflow_m3h=90.0,
    storm_factor=2.1,
    max_pumps_running=2,
    local_start_m=(1.60, 2.00),
    pumps=(
        DemoPump(
            pump_id="harbour-1",
            name="Harbour pump 1",
            control_type=ControlType.LEVEL_CONTROLLED,
            shutoff_head_m=20.0,
            rated_head_m=12.0,
            rated_flow_m3h=180.0,
            rated_power_kw=9.5,
            control_parameters=_LEVEL_CONTROL,
        ),
        DemoPump(
            pump_id="harbour-2",
            name="Harbour pump 2",
            control_type=ControlType.LEVEL_CONTROLLED,
            shutoff_head_m=20.0,
            rated_head_m=12.0,
            rated_flow_m3h=180.0,
            rated_power_kw=9.5,
            control_parameters=_LEVEL_CONTROL,
        ),
        DemoPump(
            pump_id="harbour-3",
            name="Harbour pump 3",
            control_type=ControlType.DIRECT_SPEED,
            shutoff_head_m=19.0,
            rated_head_m=11.5,
            rated_flow_m3h=160.0,
            rated_power_kw=8.5,
        ),
    ),
)

_MILL: Final = DemoStation(
    station_id="mill",
    name="Mill Lane",
    modbus_unit_id=2,
    latitude=53.5712,
    longitude=10.0233,
    area_m2=18.0,
    static_lift_m=4.9,
    base_inflow_m3h=45.0,
    storm_factor=2.1,
    max_pumps_running=2,
    local_start_m=(1.60, 2.00),
    pumps=(
        DemoPump(
            pump_id="mill-1",
            name="Mill Lane pump 1",
            control_type=ControlType.DIRECT_SPEED,
            shutoff_head_m=17.0,
            rated_head_m=10.0,
            rated_flow_m3h=90.0,
            rated_power_kw=4.2,
        ),
        DemoPump(
            pump_id="mill-2",
            name="Mill Lane pump 2",
            control_type=ControlType.LEVEL_CONTROLLED,
            shutoff_head_m=17.0,
            rated_head_m=10.0,
            rated_flow_m3h=90.0,
            rated_power_kw=4.2,
            control_parameters=_LEVEL_CONTROL,
        ),
    ),
)

_HILL: Final = DemoStation(
    station_id="hill",
    name="Hill Road",
    modbus_unit_id=3,
    latitude=53.5903,
    longitude=9.8890,
    area_m2=24.0,
    static_lift_m=7.2,
    base_inflow_m3h=70.0,
    storm_factor=2.0,
    max_pumps_running=2,
    local_start_m=(1.60, 2.00),
    pumps=(
        DemoPump(
            pump_id="hill-1",
            name="Hill Road pump 1",
            control_type=ControlType.POWER_CONTROLLED,
            control_parameters={"output_min_hz": 25.0, "deadband_kw": 0.02},
            shutoff_head_m=28.0,
            rated_head_m=17.0,
            rated_flow_m3h=140.0,
            rated_power_kw=10.5,
        ),
        DemoPump(
            pump_id="hill-2",
            name="Hill Road pump 2",
            control_type=ControlType.LEVEL_CONTROLLED,
            shutoff_head_m=28.0,
            rated_head_m=17.0,
            rated_flow_m3h=140.0,
            rated_power_kw=10.5,
            control_parameters=_LEVEL_CONTROL,
        ),
    ),
)

SITE_ID: Final = "demo"
SITE_NAME: Final = "Demo City"
TIMEZONE: Final = "Europe/Berlin"
STATIONS: Final = (_HARBOUR, _HILL, _MILL)


def limits_of(pump: DemoPump) -> SafetyLimits:
    """Return the approved limits of a pump: the common ones, and its motor's power with some room."""
    return msgspec.structs.replace(LIMITS, max_power_kw=round(_POWER_ROOM * pump.rated_power_kw, 1))


def demo_site() -> SiteConfig:
    """Return the demo as discovery will find it: pumps take their wire slots in the order they are
    inserted.
    """
    return SiteConfig(
        site_id=SITE_ID,
        name=SITE_NAME,
        timezone=TIMEZONE,
        stations=tuple(
            StationConfig(
                station_id=station.station_id,
                site_id=SITE_ID,
                name=station.name,
                timezone=TIMEZONE,
                modbus_unit_id=station.modbus_unit_id,
                max_pumps_running=station.max_pumps_running,
                level_datum="wet well floor",
                has_high_float=True,
                pumps=tuple(_config(station, pump, slot) for slot, pump in enumerate(station.pumps)),
            )
            for station in STATIONS
        ),
    )


def _config(station: DemoStation, pump: DemoPump, slot: int) -> PumpConfig:
    return PumpConfig(
        pump_id=pump.pump_id,
        station_id=station.station_id,
        name=pump.name,
        control_type=pump.control_type,
        # A plan that is lost leaves the first pump of each station working, the others stopped.
        default_setpoint_hz=30.0 if slot == 0 else 0.0,
        failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
        wire_slot=slot,
        control_parameters=pump.control_parameters,
        rated_power_kw=pump.rated_power_kw,
        rated_flow_m3h=pump.rated_flow_m3h,
        rated_speed_hz=RATED_HZ,
        limits=limits_of(pump),
    )
