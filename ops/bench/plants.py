"""The plants that measured endpoints serve."""

from __future__ import annotations

from typing import Final

from actors.vocabulary import ControlType, FailsafeStrategy, PumpConfig, SiteConfig, StationConfig

PUMPS_PER_STATION: Final = 50


def plant(pumps: int) -> SiteConfig:
    """Return a site with so many pumps."""
    stations = []
    for first in range(0, pumps, PUMPS_PER_STATION):
        station_id = f"s{first // PUMPS_PER_STATION}"
        stations.append(
            StationConfig(
                station_id=station_id,
                site_id="bench",
                name=station_id,
                timezone="UTC",
                modbus_unit_id=1 + first // PUMPS_PER_STATION,
                pumps=tuple(
                    PumpConfig(
                        pump_id=f"p{number}",
                        station_id=station_id,
                        name=f"p{number}",
                        control_type=ControlType.DIRECT_SPEED,
                        default_setpoint_hz=0.0,
                        failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
                        wire_slot=number - first,
                    )
                    for number in range(first, min(first + PUMPS_PER_STATION, pumps))
                ),
            )
        )
    return SiteConfig(site_id="bench", name="bench", timezone="UTC", stations=tuple(stations))
