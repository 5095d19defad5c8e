"""The plant's physics, pure: inflow, wet well, pumps on a common rising main, drives, sensors; the ground
truth.

Pumps follow H = n2 H0 - a Q2 with n = f / 50 Hz (affinity laws), the main H = static + k Q2; check valves let
nothing back. Flows are m3/h, levels m above the well's floor, power kW, time s.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from enum import StrEnum, unique
from functools import lru_cache
from itertools import pairwise
from typing import Final, assert_never

import msgspec

from ops.demo.catalogue import (
    DRIVE_MAX_HZ,
    DRIVE_MIN_HZ,
    DRIVE_RAMP_HZ_PER_S,
    RATED_HZ,
    DemoPump,
    DemoStation,
)

_DAY_S: Final = 86_400.0
_HOUR_S: Final = 3_600.0
# Two humps, at breakfast and in the evening, and a low at night: hour of day, share of the daily mean.
_DIURNAL: Final = (
    (0.0, 0.60), (3.0, 0.40), (5.0, 0.55), (7.5, 1.55), (10.0, 1.20), (14.0, 0.95), (17.0, 1.10), (19.5, 1.50),
    (22.0, 1.00), (24.0, 0.60),
)  # fmt: skip
_LEGS: Final = tuple(pairwise(_DIURNAL))
_NOISE_PERIODS_S: Final = (47.0, 131.0, 389.0, 1_021.0)
_NOISE_SHARE: Final = 0.08
_NO_LOAD_SHARE: Final = 0.35
_BISECTIONS: Final = 32
_RIPPLE_M: Final = 0.004
_RIPPLE_PERIOD_S: Final = 7.3
_DRIFT_M_PER_S: Final = 0.001
_FAILING_S: Final = 60.0


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """A storm that comes again and again: it begins at `first_s`, every `every_s`; rises and falls in
    `lasts_s`.
    """

    first_s: float = 1_800.0
    every_s: float = 21_600.0
    lasts_s: float = 3_600.0


class PumpTruth(msgspec.Struct, frozen=True, kw_only=True):
    """What one pump really does and did."""

    speed_hz: float = 0.0
    flow_m3h: float = 0.0
    power_kw: float = 0.0
    starts: int = 0
    run_s: float = 0.0
    dry_run_s: float = 0.0
    energy_kwh: float = 0.0


class StationTruth(msgspec.Struct, frozen=True, kw_only=True):
    """What one station really holds, took in, pumped and lost; `passed_s` is the time that it has lived."""

    level_m: float
    pumps: tuple[PumpTruth, ...]
    passed_s: float = 0.0
    inflow_m3h: float = 0.0
    inflow_m3: float = 0.0
    pumped_m3: float = 0.0
    spilled_m3: float = 0.0


@unique
class SensorFault(StrEnum):
    """What is wrong with a level sensor."""

    NONE = "none"
    STUCK = "stuck"
    DRIFTING = "drifting"
    FAILING_LOW = "failing_low"


class Sensor(msgspec.Struct, frozen=True, kw_only=True):
    """A level sensor: its fault, since when (s), and the level at that moment."""

    fault: SensorFault = SensorFault.NONE
    since_s: float = 0.0
    level_then_m: float = 0.0

    def with_fault(self, fault: SensorFault, *, level_m: float, now_s: float) -> Sensor:
        """Return the sensor with another fault beginning now; the same fault goes on."""
        if fault is self.fault:
            return self
        return Sensor(fault=fault, since_s=now_s, level_then_m=level_m)


def fresh_station(station: DemoStation, *, level_m: float | None = None) -> StationTruth:
    """Return a station at rest, its well half-way between the local stop and start levels."""
    if level_m is None:
        level_m = (station.local_stop_m + station.local_start_m[0]) / 2
    return StationTruth(level_m=level_m, pumps=tuple(PumpTruth() for _ in station.pumps))


def forecast_inflow_m3h(station: DemoStation, t_s: float) -> float:
    """Return the mean inflow of this hour of the day (UTC): what an optimiser could know."""
    hour = t_s % _DAY_S / _HOUR_S
    before, after = next(leg for leg in _LEGS if hour < leg[1][0])
    part = (hour - before[0]) / (after[0] - before[0])
    return station.base_inflow_m3h * (before[1] + part * (after[1] - before[1]))


def inflow_m3h(station: DemoStation, t_s: float, *, seed: int, storm: Storm, origin_s: float) -> float:
    """Return the inflow at `t_s` (s since 1970): day, storm, and noise that the seed repeats.

    Storms count from `origin_s`, when the plant was first started, so that a demo sees one soon.
    """
    phases = zip(_NOISE_PERIODS_S, _phases(seed, station.station_id), strict=True)
    noise = sum(math.sin(2 * math.pi * (t_s / period_s + phase)) for period_s, phase in phases)
    since_s = (
        (t_s - origin_s - storm.first_s) % storm.every_s if t_s >= origin_s + storm.first_s else storm.every_s
    )
    raining = math.sin(math.pi * since_s / storm.lasts_s) ** 2 if since_s < storm.lasts_s else 0.0
    calm = forecast_inflow_m3h(station, t_s) * (1.0 + _NOISE_SHARE * noise / 2)
    return max(0.0, calm + station.base_inflow_m3h * (station.storm_factor - 1.0) * raining)


@lru_cache(maxsize=64)
def _phases(seed: int, station_id: str) -> tuple[float, ...]:
    dice = random.Random(f"{seed}/{station_id}")
    return tuple(dice.random() for _ in _NOISE_PERIODS_S)


def flows_m3h(station: DemoStation, speeds_hz: Sequence[float], *, level_m: float) -> list[float]:
    """Return each pump's flow: the point where the pumps together meet the main's curve; for more than one
    found by bisection.
    """
    static_m = station.static_lift_m - level_m

    def each(total_m3h: float) -> list[float]:
        head_m = static_m + station.pipe * total_m3h**2
        return [_flow_at_head(pump, hz, head_m) for pump, hz in zip(station.pumps, speeds_hz, strict=True)]

    if level_m <= station.air_m or not any(speeds_hz):
        return [0.0] * len(station.pumps)
    if sum(hz > 0.0 for hz in speeds_hz) == 1:
        return [
            _flow_alone(station, pump, hz, static_m)
            for pump, hz in zip(station.pumps, speeds_hz, strict=True)
        ]
    low, high = 0.0, sum(each(0.0))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(each(middle)) > middle else (low, middle)
    return each((low + high) / 2)


def _flow_alone(station: DemoStation, pump: DemoPump, speed_hz: float, static_m: float) -> float:
    spare_m = (speed_hz / RATED_HZ) ** 2 * pump.shutoff_head_m - static_m
    return math.sqrt(spare_m / (pump.curve + station.pipe)) if speed_hz > 0.0 and spare_m > 0.0 else 0.0


def _flow_at_head(pump: DemoPump, speed_hz: float, head_m: float) -> float:
    spare_m = (speed_hz / RATED_HZ) ** 2 * pump.shutoff_head_m - head_m
    return math.sqrt(spare_m / pump.curve) if speed_hz > 0.0 and spare_m > 0.0 else 0.0


def power_kw(pump: DemoPump, speed_hz: float, flow: float) -> float:
    """Return the electrical power: cubic in speed, a no-load part and a part that grows with flow (m3/h)."""
    ratio = speed_hz / RATED_HZ
    if ratio <= 0.0:
        return 0.0
    load = _NO_LOAD_SHARE + (1.0 - _NO_LOAD_SHARE) * flow / (ratio * pump.rated_flow_m3h)
    return pump.rated_power_kw * ratio**3 * load


def drive_hz(speed_hz: float, command_hz: float, *, dt_s: float) -> float:
    """Return the drive's next frequency: 0 or 15 to 55 Hz, on its own ramp; it steps between 0 and its
    minimum.
    """
    wanted_hz = 0.0 if command_hz <= 0.0 else min(max(command_hz, DRIVE_MIN_HZ), DRIVE_MAX_HZ)
    step_hz = DRIVE_RAMP_HZ_PER_S * dt_s
    if speed_hz <= 0.0:
        return DRIVE_MIN_HZ if wanted_hz > 0.0 else 0.0
    next_hz = min(max(wanted_hz, speed_hz - step_hz), speed_hz + step_hz)
    return next_hz if next_hz >= DRIVE_MIN_HZ else 0.0


def step(
    station: DemoStation, truth: StationTruth, commands_hz: Sequence[float], *, inflow: float, dt_s: float
) -> StationTruth:
    """Let `dt_s` pass: drives move, pumps pump, the well fills or empties; above the crest everything is
    lost.
    """
    speeds = [
        drive_hz(pump.speed_hz, command, dt_s=dt_s)
        for pump, command in zip(truth.pumps, commands_hz, strict=True)
    ]
    flows = flows_m3h(station, speeds, level_m=truth.level_m)
    hours = dt_s / _HOUR_S
    pumped_m3 = sum(flows) * hours
    level_m = max(0.0, truth.level_m + (inflow * hours - pumped_m3) / station.area_m2)
    spilled_m3 = max(0.0, level_m - station.crest_m) * station.area_m2
    dry = truth.level_m <= station.air_m
    return StationTruth(
        level_m=min(level_m, station.crest_m),
        pumps=tuple(
            _run(station.pumps[index], before, speeds[index], flows[index], dry=dry, dt_s=dt_s)
            for index, before in enumerate(truth.pumps)
        ),
        passed_s=truth.passed_s + dt_s,
        inflow_m3h=inflow,
        inflow_m3=truth.inflow_m3 + inflow * hours,
        pumped_m3=truth.pumped_m3 + pumped_m3,
        spilled_m3=truth.spilled_m3 + spilled_m3,
    )


def _run(
    pump: DemoPump, before: PumpTruth, speed_hz: float, flow: float, *, dry: bool, dt_s: float
) -> PumpTruth:
    running = speed_hz > 0.0
    power = power_kw(pump, speed_hz, flow)
    return PumpTruth(
        speed_hz=speed_hz,
        flow_m3h=flow,
        power_kw=power,
        starts=before.starts + (running and before.speed_hz <= 0.0),
        run_s=before.run_s + dt_s * running,
        dry_run_s=before.dry_run_s + dt_s * (running and dry),
        energy_kwh=before.energy_kwh + power * dt_s / _HOUR_S,
    )


def measured_level_m(sensor: Sensor, level_m: float, *, now_s: float) -> float:
    """Return what the level sensor says: the surface's ripple, to the millimetre, and its fault."""
    ripple_m = _RIPPLE_M * math.sin(2 * math.pi * now_s / _RIPPLE_PERIOD_S)
    age_s = max(0.0, now_s - sensor.since_s)
    match sensor.fault:
        case SensorFault.NONE:
            shown_m = level_m + ripple_m
        case SensorFault.STUCK:
            shown_m = sensor.level_then_m
        case SensorFault.DRIFTING:
            shown_m = level_m + ripple_m + _DRIFT_M_PER_S * age_s
        case SensorFault.FAILING_LOW:
            shown_m = (level_m + ripple_m) * max(0.0, 1.0 - age_s / _FAILING_S)
        case _:
            assert_never(sensor.fault)
    return max(0.0, round(shown_m, 3))


def high_float_closed(station: DemoStation, level_m: float) -> bool:
    """Say whether the float has tipped; it knows nothing of the sensor."""
    return level_m >= station.high_float_m
