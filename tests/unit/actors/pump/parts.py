"""What pump tests are made of: moments, plans, feedback that was judged, and a small wet well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.messages import JudgedValue
from actors.vocabulary import (
    ControlSettings,
    ControlType,
    FailsafeStrategy,
    Instant,
    PumpConfig,
    Quality,
    SafetyLimits,
)
from actors.vocabulary.records import PlanRow
from tests.unit.actors.plan.plans import MIDNIGHT, at, plan

CONTROL = ControlSettings()
MIDNIGHT_NS = int(MIDNIGHT.timestamp()) * 1_000_000_000
BOOTED_NS = 1_000_000_000_000


def instant(seconds: float) -> Instant:
    """`seconds` after midnight, on a machine that had been up for 1000 s then."""
    return Instant("boot-a", BOOTED_NS, MIDNIGHT_NS).plus(seconds)


def pump(control_type: ControlType = ControlType.DIRECT_SPEED, **changes: Any) -> PumpConfig:
    values: dict[str, Any] = {
        "pump_id": "p-1",
        "station_id": "st-1",
        "name": "Pump 1",
        "control_type": control_type,
        "default_setpoint_hz": 30.0,
        "failsafe_strategy": FailsafeStrategy.DEFAULT_SETPOINT,
        "wire_slot": 0,
        "rated_power_kw": 15.0,
        "rated_flow_m3h": 200.0,
        "rated_speed_hz": 50.0,
        "limits": SafetyLimits(
            version=1, hard_min_speed_hz=20.0, hard_max_speed_hz=50.0, max_rate_hz_per_s=1.0
        ),
    }
    return PumpConfig(**{**values, **changes})


def level_plan(target_m: float, speed_hz: float = 35.0) -> PlanRow:
    return plan(7, 0, 86_400, suggested_speed_hz=speed_hz, target_level_m=target_m)


def power_plan(target_kw: float) -> PlanRow:
    return plan(8, 0, 86_400, suggested_speed_hz=None, target_power_kw=target_kw)


def good(value: float) -> JudgedValue:
    return JudgedValue(value=value, quality=Quality.GOOD, age_s=0.1)


def bad(value: float | None = None) -> JudgedValue:
    return JudgedValue(value=value, quality=Quality.BAD, age_s=None, why="stale")


@dataclass
class WetWell:
    """20 m2 of well; the pump moves flow in proportion to its speed (m3/h)."""

    level_m: float
    inflow_m3h: float
    area_m2: float = 20.0
    rated_flow_m3h: float = 200.0

    def run(self, speed_hz: float, seconds: float) -> None:
        outflow_m3h = self.rated_flow_m3h * speed_hz / 50.0
        self.level_m += (self.inflow_m3h - outflow_m3h) / 3600.0 * seconds / self.area_m2


__all__ = ["CONTROL", "WetWell", "at", "bad", "good", "instant", "level_plan", "plan", "power_plan", "pump"]
