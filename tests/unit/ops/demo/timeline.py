"""A demo station run through hours in seconds, with or without Calejo's blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ops.demo.catalogue import DemoStation
from ops.demo.plant import (
    Sensor,
    StationTruth,
    Storm,
    fresh_station,
    high_float_closed,
    inflow_m3h,
    measured_level_m,
    step,
)
from ops.demo.plc import Block, Memory, PumpPanel, fresh_memory, receive, scan

DAY_S = 1_764_000_000.0 - 1_764_000_000.0 % 86_400


class Story:
    """One station; `blocks` says what is read for a pump at a second, None: nothing is."""

    def __init__(
        self,
        station: DemoStation,
        *,
        level_m: float | None = None,
        sensor: Sensor | None = None,
        start_s: float = DAY_S,
        seed: int = 7,
    ) -> None:
        self.station, self.start_s, self.seed = station, start_s, seed
        self.truth: StationTruth = fresh_station(station, level_m=level_m)
        self.memory: Memory = fresh_memory(station)
        self.sensor = sensor or Sensor()
        self.panels: dict[str, PumpPanel] = {}
        self.t_s = 0.0
        self.level_max_m = self.truth.level_m
        self.level_min_m = self.truth.level_m

    def hear(self, index: int, block: Block) -> None:
        pump = receive(self.memory.pumps[index], block, now_s=self.t_s)
        pumps = list(self.memory.pumps)
        pumps[index] = pump
        self.memory = msgspec.structs.replace(self.memory, pumps=tuple(pumps))

    def go(
        self,
        seconds: float,
        *,
        inflow: float | None = None,
        storm: Storm | None = None,
        blocks: Callable[[int, float], Block | None] = lambda index, t_s: None,
        dt_s: float = 1.0,
    ) -> Story:
        end_s = self.t_s + seconds
        while self.t_s < end_s:
            self.t_s += dt_s
            for index in range(len(self.station.pumps)):
                block = blocks(index, self.t_s)
                if block is not None:
                    self.hear(index, block)
            self.memory = scan(
                self.station,
                self.memory,
                level_m=measured_level_m(self.sensor, self.truth.level_m, now_s=self.t_s),
                high_float=high_float_closed(self.station, self.truth.level_m),
                speeds_hz=[pump.speed_hz for pump in self.truth.pumps],
                panels=self.panels,
                now_s=self.t_s,
            )
            came = inflow
            if came is None:
                came = inflow_m3h(
                    self.station,
                    self.start_s + self.t_s,
                    seed=self.seed,
                    storm=storm or Storm(),
                    origin_s=self.start_s,
                )
            commands = [pump.command_hz for pump in self.memory.pumps]
            self.truth = step(self.station, self.truth, commands, inflow=came, dt_s=dt_s)
            self.level_max_m = max(self.level_max_m, self.truth.level_m)
            self.level_min_m = min(self.level_min_m, self.truth.level_m)
        return self

    @property
    def speeds_hz(self) -> list[float]:
        return [pump.speed_hz for pump in self.truth.pumps]

    @property
    def sources(self) -> list[str]:
        return [pump.source.value for pump in self.memory.pumps]


def fresh(setpoint_hz: float, t_s: float, *, every_s: int = 1, epoch: int = 5, **more: Any) -> Block:
    """A block as a living Calejo shows it: the heartbeat moves each second."""
    beat = int(t_s) // every_s % 65536
    block = Block(
        sequence=beat, sequence_end=beat, remote_enabled=True, setpoint_hz=setpoint_hz, setpoint_quality=2,
        heartbeat=beat, epoch=epoch, release_id=100,
    )  # fmt: skip
    return msgspec.structs.replace(block, **more)
