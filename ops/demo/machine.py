"""The plant as one thing that time passes over: physics, sensors and controllers of all stations, without any
I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ops.demo.catalogue import STATIONS, DemoStation
from ops.demo.files import Control, SavedPlant, SavedStation
from ops.demo.plant import (
    Sensor,
    SensorFault,
    StationTruth,
    Storm,
    fresh_station,
    high_float_closed,
    inflow_m3h,
    measured_level_m,
    step,
)
from ops.demo.plc import (
    Block,
    Memory,
    PumpMemory,
    PumpPanel,
    Retained,
    fresh_memory,
    receive,
    reset_at_panel,
    scan,
)

_WORD: Final = 0x1_0000
_STEP_S_MAX: Final = 1.0
# After a longer pause (a suspended machine) the plant does not catch up: nobody watched it meanwhile.
_CATCH_UP_S: Final = 60.0


class Station:
    """One station: truth, sensor, controller. Times: `now_s` is monotonic, `day_s` is s since 1970."""

    def __init__(
        self, station: DemoStation, saved: SavedStation | None, retained: Mapping[str, Retained]
    ) -> None:
        """Begin at rest, or where it was left; the controller starts with what it retained."""
        self.station = station
        self.truth: StationTruth = saved.truth if saved else fresh_station(station)
        self.sensor: Sensor = saved.sensor if saved else Sensor()
        kept = tuple(retained.get(pump.pump_id, Retained()) for pump in station.pumps)
        self.memory: Memory = fresh_memory(station, kept)
        self.heartbeat = 0
        self.down_until_s: float | None = None
        self.controlling = True
        self.measured_m = 0.0

    def up(self, now_s: float) -> bool:
        """Say whether the controller runs; it does not while it reboots."""
        return self.down_until_s is None or now_s >= self.down_until_s

    def reboot(self, until_s: float) -> None:
        """Lose everything that is not retained, and the outputs with it."""
        self.memory = fresh_memory(self.station, self.retained())
        self.heartbeat = 0
        self.down_until_s = until_s

    def retained(self) -> tuple[Retained, ...]:
        """What the controller keeps without power."""
        return tuple(pump.retained for pump in self.memory.pumps)

    def receive(self, index: int, block: Block, *, now_s: float) -> None:
        """Take a block that was read for a pump."""
        if self.up(now_s):
            self._replace(index, receive(self.memory.pumps[index], block, now_s=now_s))

    def reset(self, index: int) -> None:
        """Somebody pressed reset at the pump's panel."""
        self._replace(index, reset_at_panel(self.memory.pumps[index]))

    def _replace(self, index: int, pump: PumpMemory) -> None:
        pumps = (*self.memory.pumps[:index], pump, *self.memory.pumps[index + 1 :])
        self.memory = msgspec.structs.replace(self.memory, pumps=pumps)

    def pass_time(
        self, *, inflow: float, now_s: float, day_s: float, dt_s: float, panels: Mapping[str, PumpPanel]
    ) -> None:
        """Run one scan and let the physics follow."""
        self.measured_m = measured_level_m(self.sensor, self.truth.level_m, now_s=day_s)
        commands = [0.0] * len(self.station.pumps)
        self.controlling = self.up(now_s)
        if self.controlling:
            self.memory = scan(
                self.station,
                self.memory,
                level_m=self.measured_m,
                high_float=high_float_closed(self.station, self.truth.level_m),
                speeds_hz=[pump.speed_hz for pump in self.truth.pumps],
                panels=panels,
                now_s=now_s,
            )
            commands = [pump.command_hz for pump in self.memory.pumps]
        self.truth = step(self.station, self.truth, commands, inflow=inflow, dt_s=dt_s)

    def beat(self) -> None:
        """Count the controller's heartbeat up; once per round of writing."""
        self.heartbeat = (self.heartbeat + 1) % _WORD

    def feedback(self, index: int, panels: Mapping[str, PumpPanel]) -> dict[str, float]:
        """Return what the controller reports of a pump, by point."""
        pump, memory = self.truth.pumps[index], self.memory.pumps[index]
        panel = panels.get(self.station.pumps[index].pump_id, PumpPanel())
        return {
            "local_override": panel.hand_hz is not None,
            "plc_heartbeat": self.heartbeat,
            "setpoint_echo": memory.echo_hz,
            "actual_speed": round(pump.speed_hz, 2),
            "actual_power": round(pump.power_kw, 2),
            "actual_flow": round(pump.flow_m3h, 2),
            "wet_well_level": self.measured_m,
            "high_float": high_float_closed(self.station, self.truth.level_m),
            "running": pump.speed_hz > 0.0,
            "fault_code": 0,
        }

    def line(self) -> dict[str, Any]:
        """Return the ground truth, for the log and for `state.json`."""
        truth = self.truth
        return {
            "station": self.station.station_id,
            "passed_s": round(truth.passed_s, 3),
            "controller_up": self.controlling,
            "level_m": round(truth.level_m, 4),
            "measured_level_m": self.measured_m,
            "sensor": self.sensor.fault.value,
            "high_float": high_float_closed(self.station, truth.level_m),
            "inflow_m3h": round(truth.inflow_m3h, 2),
            "outflow_m3h": round(sum(pump.flow_m3h for pump in truth.pumps), 2),
            "inflow_m3": round(truth.inflow_m3, 3),
            "pumped_m3": round(truth.pumped_m3, 3),
            "spilled_m3": round(truth.spilled_m3, 4),
            "pumps": [self._pump_line(index) for index in range(len(truth.pumps))],
        }

    def _pump_line(self, index: int) -> dict[str, Any]:
        pump, memory = self.truth.pumps[index], self.memory.pumps[index]
        return {
            "pump": self.station.pumps[index].pump_id,
            "command_hz": round(memory.command_hz, 2),
            "speed_hz": round(pump.speed_hz, 2),
            "running": pump.speed_hz > 0.0,
            "flow_m3h": round(pump.flow_m3h, 2),
            "power_kw": round(pump.power_kw, 3),
            "source": memory.source.value,
            "inhibited": memory.retained.inhibited,
            "epoch": memory.retained.epoch,
            "torn": memory.torn,
            "old_epochs": memory.old_epochs,
            "starts": pump.starts,
            "run_s": round(pump.run_s, 1),
            "dry_run_s": round(pump.dry_run_s, 1),
            "energy_kwh": round(pump.energy_kwh, 4),
        }


class Machine:
    """All stations of the demo."""

    def __init__(
        self,
        *,
        saved: SavedPlant | None,
        retained: Mapping[str, Retained],
        seed: int,
        storm: Storm,
        day_s: float,
        reboot_s: float,
    ) -> None:
        """Begin afresh or go on; `day_s` is the time now (s since 1970)."""
        self.origin_s = saved.origin_s if saved else day_s
        self._seed, self._storm, self._reboot_s = seed, storm, reboot_s
        self._control = Control()
        self._panels: dict[str, PumpPanel] = {}
        kept = saved.stations if saved else {}
        self.stations = {
            station.station_id: Station(station, kept.get(station.station_id), retained)
            for station in STATIONS
        }

    @property
    def panels(self) -> Mapping[str, PumpPanel]:
        """The switches as they stand."""
        return self._panels

    def tick(self, *, now_s: float, day_s: float, dt_s: float) -> None:
        """Let `dt_s` pass up to now; a long gap is passed in steps."""
        left_s = min(dt_s, _CATCH_UP_S)
        while left_s > 0.0:
            part_s = min(left_s, _STEP_S_MAX)
            left_s -= part_s
            for station in self.stations.values():
                inflow = inflow_m3h(
                    station.station,
                    day_s - left_s,
                    seed=self._seed,
                    storm=self._storm,
                    origin_s=self.origin_s,
                )
                station.pass_time(
                    inflow=inflow,
                    now_s=now_s - left_s,
                    day_s=day_s - left_s,
                    dt_s=part_s,
                    panels=self._panels,
                )

    def obey(self, control: Control, *, now_s: float, day_s: float) -> None:
        """Do what a person asks: sensor faults, hand operation, resets, reboots."""
        before, self._control = self._control, control
        self._panels = control.panels()
        for name, station in self.stations.items():
            fault = control.sensors.get(name, SensorFault.NONE)
            station.sensor = station.sensor.with_fault(fault, level_m=station.truth.level_m, now_s=day_s)
            if control.reboots.get(name, 0) != before.reboots.get(name, 0):
                station.reboot(now_s + self._reboot_s)
            for index, pump in enumerate(station.station.pumps):
                if control.resets.get(pump.pump_id, 0) != before.resets.get(pump.pump_id, 0):
                    station.reset(index)

    def know(self, control: Control) -> None:
        """Take the present counts as done: a plant that is started anew repeats no reset and no reboot."""
        self._control = control

    def retained(self) -> dict[str, Retained]:
        """What all controllers keep without power, by pump."""
        return {
            pump.pump_id: retained
            for station in self.stations.values()
            for pump, retained in zip(station.station.pumps, station.retained(), strict=True)
        }

    def saved(self) -> SavedPlant:
        """What another process needs to go on."""
        return SavedPlant(
            origin_s=self.origin_s,
            stations={
                name: SavedStation(truth=station.truth, sensor=station.sensor)
                for name, station in self.stations.items()
            },
        )
