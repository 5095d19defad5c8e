"""The stations' controllers and the plant behind them: the demo's own laws, talking to the simulated Modbus port.

They live outside every process of Calejo, as controllers do: each scan reads the handshake blocks, runs the
controller's law and the physics; each second the feedback is written.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Final

from actors.vocabulary import Instant
from ops.demo.catalogue import DemoStation
from ops.demo.files import SavedStation
from ops.demo.machine import Station
from ops.demo.plant import Sensor, SensorFault, Storm, fresh_station, inflow_m3h
from ops.demo.plc import PumpPanel
from protocols.points import path_of
from tests.simulation.wires import Port

SCAN_S: Final = 0.25
WRITE_EVERY: Final = 4  # scans
_NS: Final = 1e9
_DAY_S: Final = 86_400.0
_STORM: Final = Storm(first_s=30.0, every_s=600.0, lasts_s=300.0)


class Controllers:
    """Every station of a site. `scanned` is called after each scan of a station."""

    def __init__(
        self,
        site_id: str,
        stations: tuple[DemoStation, ...],
        modbus: Port,
        *,
        dice: random.Random,
        now: Callable[[], Instant],
        scanned: Callable[[Station], None],
    ) -> None:
        self._site_id = site_id
        self._modbus = modbus
        self._now = now
        self._scanned = scanned
        self._seed = dice.randrange(1_000)
        self._day_s = dice.uniform(0.0, _DAY_S)
        self.panels: dict[str, PumpPanel] = {}
        self.stations = {station.station_id: _station(station, dice) for station in stations}

    async def run(self) -> None:
        """Scan for ever; the stations one after the other, so that a seed replays."""
        scans = 0
        while True:
            for station in self.stations.values():
                await self._scan(station, writes=scans % WRITE_EVERY == 0)
                self._scanned(station)
            scans += 1
            await asyncio.sleep(SCAN_S)

    def reboot(self, station_id: str, seconds: float) -> None:
        """Lose the controller for a while; it comes back with what it retained."""
        self.stations[station_id].reboot(self._now_s() + seconds)

    def sense(self, station_id: str, fault: SensorFault) -> None:
        """Break or mend a station's level sensor."""
        station = self.stations[station_id]
        level_m = station.truth.level_m
        station.sensor = station.sensor.with_fault(fault, level_m=level_m, now_s=self._now_s())

    def _now_s(self) -> float:
        return self._now().boot_ns / _NS

    async def _scan(self, station: Station, *, writes: bool) -> None:
        now_s, place = self._now_s(), station.station
        if station.up(now_s):
            for index, pump in enumerate(place.pumps):
                block = self._modbus.block(place.station_id, pump.pump_id)
                if block is not None:
                    station.receive(index, block, now_s=now_s)
        inflow = inflow_m3h(
            place,
            self._day_s + now_s,
            seed=self._seed,
            storm=_STORM,
            origin_s=self._day_s + now_s // 600 * 600,
        )
        station.pass_time(inflow=inflow, now_s=now_s, day_s=now_s, dt_s=SCAN_S, panels=self.panels)
        if writes and station.up(now_s):
            station.beat()
            for index, pump in enumerate(place.pumps):
                values = self._paths(place, pump.pump_id, station.feedback(index, self.panels))
                await self._modbus.write(values, peer=f"10.0.0.{index + 1}:502")

    def _paths(self, place: DemoStation, pump_id: str, values: Mapping[str, float]) -> dict[str, float]:
        return {
            path_of(self._site_id, place.station_id, pump_id, point): value for point, value in values.items()
        }


def _station(place: DemoStation, dice: random.Random) -> Station:
    """Return a station at rest with its well somewhere between dry and high."""
    truth = fresh_station(place, level_m=dice.uniform(0.7, 2.6))
    return Station(place, SavedStation(truth=truth, sensor=Sensor()), {})
