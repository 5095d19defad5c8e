"""The order of the rules as it holds for one station, with the station's own values: what people are shown (SAF-2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias, assert_never

import msgspec

from actors.safety.limits import band_or_zero_hz, problems
from actors.safety.parameters import safety_parameters
from actors.safety.rules import order_for
from actors.safety.strategies import on_off
from actors.vocabulary import FailsafeStrategy, PumpConfig, Rule, SafetyLimits, StationConfig

Value: TypeAlias = float | int | str | bool | None

_STATION_VALUES: Final[Mapping[Rule, tuple[str, ...]]] = {
    Rule.DRY_RUN: ("protective_level_age_s",),
    Rule.HIGH_LEVEL: (
        "high_level_response",
        "has_high_float",
        "float_response_max_s",
        "protective_level_age_s",
        "max_pumps_running",
    ),
    Rule.MAX_RUNNING: ("max_pumps_running",),
    Rule.STATION_POWER: ("max_power_kw",),
    Rule.STAGGER: ("stagger_s",),
    Rule.RATE: ("soft_stop_hz_per_s",),
}
_LIMITS: Final[Mapping[Rule, tuple[str, ...]]] = {
    Rule.DRY_RUN: ("level_dry_run_m", "level_dry_run_reset_m"),
    Rule.HIGH_LEVEL: ("level_emergency_high_m", "level_emergency_high_reset_m", "hard_max_speed_hz"),
    Rule.PROTECTION_TIMERS: ("max_starts_per_hour", "min_rest_s", "min_run_s", "max_run_s"),
    Rule.FLOW_FLOOR: ("min_flow_m3h",),
    Rule.POWER_CAP: ("max_power_kw",),
    Rule.FLOW_CAP: ("max_flow_m3h",),
    Rule.LEVEL_BAND: ("level_min_m", "level_max_m"),
    Rule.SPEED_BAND: ("hard_min_speed_hz", "hard_max_speed_hz"),
    Rule.RATE: ("max_rate_hz_per_s",),
}
_RATINGS: Final[Mapping[Rule, tuple[str, ...]]] = {
    Rule.FLOW_FLOOR: ("rated_flow_m3h", "rated_speed_hz"),
    Rule.POWER_CAP: ("rated_power_kw", "rated_speed_hz"),
    Rule.FLOW_CAP: ("rated_flow_m3h", "rated_speed_hz"),
}


class PriorityRow(msgspec.Struct, frozen=True, kw_only=True):
    """One rule in its place. `number` is SAF-2's; `decided` says whether the pump or the station as a whole is judged.

    `station` and `pumps` (by pump) hold the configured values that it works with, each named with its unit; None: not
    set, so that part of the rule does nothing.
    """

    rank: int
    number: str
    rule: Rule
    decided: str
    effect: str
    station: dict[str, Value]
    pumps: dict[str, dict[str, Value]]


class Priorities(msgspec.Struct, frozen=True, kw_only=True):
    """The whole table of a station, highest first. `swapped`: here rule 4 stands above rule 3.

    `never_driven` names the pumps without approved, valid limits: whatever the table says, they get 0.
    """

    station_id: str
    swapped: bool
    never_driven: tuple[str, ...]
    rows: tuple[PriorityRow, ...]


def priorities(station: StationConfig) -> Priorities:
    """Return the table that the kernel works by for this station."""
    return Priorities(
        station_id=station.station_id,
        swapped=not station.dry_run_outranks_high_level,
        never_driven=tuple(pump.pump_id for pump in station.pumps if _usable(pump) is None),
        rows=tuple(
            PriorityRow(
                rank=rank,
                number=row.number,
                rule=row.rule,
                decided="station" if row.apply is None else "pump",
                effect=row.summary,
                station={name: getattr(station, name) for name in _STATION_VALUES.get(row.rule, ())},
                pumps=_of_pumps(row.rule, station),
            )
            for rank, row in enumerate(order_for(station), start=1)
        ),
    )


def _of_pumps(rule: Rule, station: StationConfig) -> dict[str, dict[str, Value]]:
    found = {pump.pump_id: _of_pump(rule, pump) for pump in station.pumps}
    return {pump_id: values for pump_id, values in found.items() if values}


def _of_pump(rule: Rule, pump: PumpConfig) -> dict[str, Value]:
    limits = _usable(pump)
    values: dict[str, Value] = {
        name: None if limits is None else getattr(limits, name) for name in _LIMITS.get(rule, ())
    }
    values |= {name: getattr(pump, name) for name in _RATINGS.get(rule, ())}
    # As the kernel takes them: outside the band they count as 0 (DAT-1).
    if rule is Rule.EMERGENCY_STOP:
        values["emergency_stop_setpoint_hz"] = _in_band(pump.emergency_stop_setpoint_hz, limits)
    if rule is Rule.FAILSAFE:
        values["failsafe_strategy"] = pump.failsafe_strategy.value
        values["default_setpoint_hz"] = _in_band(pump.default_setpoint_hz, limits)
        values |= _of_strategy(pump)
    return values


def _of_strategy(pump: PumpConfig) -> dict[str, Value]:
    """What the pump's strategy works with, as the kernel takes it (WDG-3)."""
    match pump.failsafe_strategy:
        case FailsafeStrategy.DEFAULT_SETPOINT | FailsafeStrategy.HAND_BACK:
            return {}
        case FailsafeStrategy.LEVEL_ON_OFF:
            levels = on_off(pump)
            if isinstance(levels, str):
                return {"failsafe_levels": levels}
            return {
                "failsafe_start_level_m": levels.start_m,
                "failsafe_stop_level_m": levels.stop_m,
                "failsafe_run_hz": levels.run_hz,
            }
        case FailsafeStrategy.HOLD_LAST:
            return {"failsafe_hold_s": safety_parameters(pump).failsafe_hold_s}
        case _:
            assert_never(pump.failsafe_strategy)


def _in_band(value_hz: float, limits: SafetyLimits | None) -> float:
    return 0.0 if limits is None else band_or_zero_hz(value_hz, limits)


def _usable(pump: PumpConfig) -> SafetyLimits | None:
    return None if pump.limits is None or problems(pump.limits) else pump.limits
