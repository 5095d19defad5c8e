"""Small plants for tests of the map and the wire."""

from __future__ import annotations

from actors.vocabulary import ControlType, FailsafeStrategy, PumpConfig, SiteConfig, StationConfig


def pump(pump_id: str, station_id: str, slot: int) -> PumpConfig:
    return PumpConfig(
        pump_id=pump_id,
        station_id=station_id,
        name=pump_id,
        control_type=ControlType.DIRECT_SPEED,
        default_setpoint_hz=0.0,
        failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
        wire_slot=slot,
    )


def station(station_id: str, unit: int, slots: dict[str, int]) -> StationConfig:
    return StationConfig(
        station_id=station_id,
        site_id="north",
        name=station_id,
        timezone="UTC",
        modbus_unit_id=unit,
        pumps=tuple(pump(pump_id, station_id, slot) for pump_id, slot in slots.items()),
    )


def site(*stations: StationConfig) -> SiteConfig:
    return SiteConfig(site_id="north", name="North", timezone="UTC", stations=stations)


def north() -> SiteConfig:
    return site(station("s1", 1, {"p1": 0, "p2": 1}), station("s2", 2, {"p3": 0}))
