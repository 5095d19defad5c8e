"""Which duties of a station count, and what is wrong with the others (CTL-6, DAT-4); pure.

A duty whose row is wrong is off and named with its column; the station and its other duties go on: a slip in an
optional setting must not stop a station, and off is how every station begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from actors.vocabulary import (
    Alternation,
    Assist,
    CleanOut,
    DutyProfile,
    Exercise,
    Flush,
    PumpConfig,
    SafetyLimits,
    StationDuties,
)
from storage.cells import BadCellError, Row, member, needed, number, text, whole
from storage.models.duties import HOURS_MAX, PROFILES_MAX, SECONDS

T = TypeVar("T")
# (column, reason) of a duty that is off.
Note = tuple[str, str]
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAYS: Final = re.compile(r"[1-7]{1,7}")
_ASSISTS_MAX: Final = 100


class Plant(msgspec.Struct, frozen=True, kw_only=True):
    """What duties are judged against: a station's pumps, and the lowest dry-run level each may ever have (m)."""

    pumps: tuple[PumpConfig, ...]
    max_pumps_running: int | None
    dry_run_bounds_m: Mapping[str, float | None]

    def limits(self) -> list[tuple[str, SafetyLimits]]:
        """Return the pumps that can be driven, with their limits."""
        return [(pump.pump_id, pump.limits) for pump in self.pumps if pump.limits is not None]


def duties_of(row: Row | None, plant: Plant) -> tuple[StationDuties, list[Note]]:
    """Return the duties that a row of `station_duties` asks for (None: no row), and why others are off."""
    notes: list[Note] = []
    if row is None:
        return StationDuties(), notes

    def part(read: Callable[[Row, Plant], T], otherwise: T) -> T:
        try:
            return read(row, plant)
        except BadCellError as bad:
            notes.append((bad.column, f"{bad.reason}: this duty is off"))
            return otherwise

    off: tuple[Alternation, tuple[str, ...], float | None] = (Alternation.OFF, (), None)
    alternation, order, hours = part(_turns, off)
    duties = StationDuties(
        alternation=alternation,
        order=order,
        alternation_h=hours,
        assist=part(_assist, None),
        exercise=part(_exercise, None),
        flush=part(_flush, None),
        clean_out=part(_clean_out, None),
    )
    return duties, notes


def profiles_of(rows: Sequence[Row], plant: Plant) -> tuple[tuple[DutyProfile, ...], list[tuple[str, Note]]]:
    """Return the profiles that rows of `station_profiles` ask for, by name, and why others do not count.

    Of two that overlap the first by name counts.
    """
    kept: list[DutyProfile] = []
    notes: list[tuple[str, Note]] = []
    taken: dict[int, str] = {}
    for row in sorted(rows, key=lambda row: str(row["name"])):
        try:
            if len(kept) >= PROFILES_MAX:
                raise BadCellError("name", f"more than {PROFILES_MAX} profiles")
            profile = _profile(row, plant)
            minutes = profile.minutes
            holder = next((taken[minute] for minute in sorted(minutes) if minute in taken), None)
            if holder is not None:
                raise BadCellError("starts_at", f"overlaps profile {holder!r}")
        except BadCellError as bad:
            notes.append((str(row["name"]), (bad.column, bad.reason)))
            continue
        kept.append(profile)
        taken.update(dict.fromkeys(minutes, profile.name))
    return tuple(kept), notes


def _turns(row: Row, plant: Plant) -> tuple[Alternation, tuple[str, ...], float | None]:
    alternation = member(row, "alternation", Alternation)
    hours = _hours(row, "alternation_h", optional=True)
    if hours is not None and alternation is Alternation.OFF:
        raise BadCellError("alternation_h", "alternation is OFF")
    return alternation, _order(row, plant), hours


def _order(row: Row, plant: Plant) -> tuple[str, ...]:
    named = tuple(text(row, "duty_order").lower().replace(",", " ").split())
    known = {pump.pump_id for pump in plant.pumps}
    for pump_id in named:
        if pump_id not in known:
            raise BadCellError("duty_order", f"{pump_id[:40]!r} is no pump of this station")
    if len(set(named)) != len(named):
        raise BadCellError("duty_order", "a pump stands there twice")
    return named


def _assist(row: Row, plant: Plant) -> Assist | None:
    pumps = whole(row, "assist_pumps", low=0, high=_ASSISTS_MAX)
    if not pumps:
        return None
    reset_m = _level(row, "assist_reset_m")
    staged = [(pump_id, limits) for pump_id, limits in plant.limits() if limits.level_max_m is not None]
    if not staged:
        raise BadCellError("assist_pumps", "no pump of this station has level_max_m")
    for pump_id, limits in staged:
        if limits.level_max_m is not None and not reset_m < limits.level_max_m:
            reason = f"{reset_m:g} m is not below level_max_m {limits.level_max_m:g} m of {pump_id}"
            raise BadCellError("assist_reset_m", reason)
    _above_water_line("assist_reset_m", reset_m, plant)
    return Assist(
        pumps=pumps,
        reset_m=reset_m,
        after_s=_seconds(row, "assist_after_s"),
        speed_hz=None if row["assist_speed_hz"] is None else _speed(row, "assist_speed_hz", plant),
    )


def _exercise(row: Row, plant: Plant) -> Exercise | None:
    after_h = _hours(row, "exercise_after_h", optional=True)
    if after_h is None:
        return None
    level_m = _level(row, "exercise_level_m")
    _above_water_line("exercise_level_m", level_m, plant)
    return Exercise(after_h=after_h, run_s=_seconds(row, "exercise_run_s"), level_m=level_m)


def _flush(row: Row, plant: Plant) -> Flush | None:
    every_h = _hours(row, "flush_every_h", optional=True)
    if every_h is None:
        return None
    run_s, level_m = _seconds(row, "flush_run_s"), _level(row, "flush_level_m")
    if not run_s < every_h * 3600.0:
        raise BadCellError("flush_run_s", f"{run_s:g} s is not shorter than flush_every_h {every_h:g} h")
    _above_water_line("flush_level_m", level_m, plant)
    return Flush(
        every_h=every_h,
        run_s=run_s,
        speed_hz=_speed(row, "flush_speed_hz", plant),
        flow_m3h=needed(row, "flush_flow_m3h", above=0.0),
        level_m=level_m,
    )


def _clean_out(row: Row, plant: Plant) -> CleanOut | None:
    """Read the exception to rule 3: below the dry-run limit in force, never below the commissioned bound (SAF-6)."""
    level_m = number(row, "clean_out_level_m", optional=True)
    if level_m is None:
        return None
    for pump_id, limits in plant.limits():
        bound_m, dry_m = plant.dry_run_bounds_m.get(pump_id), limits.level_dry_run_m
        if dry_m is None or bound_m is None:
            reason = f"{pump_id} has no dry-run level, or its envelope has none"
            raise BadCellError("clean_out_level_m", reason)
        if not bound_m <= level_m < dry_m:
            reason = (
                f"{level_m:g} m is not from {bound_m:g} m (commissioning envelope of {pump_id})"
                f" to below its level_dry_run_m {dry_m:g} m"
            )
            raise BadCellError("clean_out_level_m", reason)
    if not plant.limits():
        raise BadCellError("clean_out_level_m", "no pump of this station has limits")
    return CleanOut(
        level_m=level_m,
        run_s=_seconds(row, "clean_out_run_s"),
        speed_hz=_speed(row, "clean_out_speed_hz", plant),
        power_kw_min=needed(row, "clean_out_power_kw_min", above=0.0),
    )


def _profile(row: Row, plant: Plant) -> DutyProfile:
    name = text(row, "name").strip()
    if not name:
        raise BadCellError("name", "no name")
    days = text(row, "weekdays")
    if not _DAYS.fullmatch(days):
        raise BadCellError("weekdays", f"{days[:20]!r}, expected days like 12345 (1 is Monday)")
    default_hz = number(row, "default_setpoint_hz", optional=True)
    low_hz, high_hz = number(row, "speed_hz_min", optional=True), number(row, "speed_hz_max", optional=True)
    if low_hz is not None and high_hz is not None and not low_hz <= high_hz:
        raise BadCellError("speed_hz_min", f"{low_hz:g} Hz is above speed_hz_max {high_hz:g} Hz")
    for column, hz in (
        ("default_setpoint_hz", default_hz),
        ("speed_hz_min", low_hz),
        ("speed_hz_max", high_hz),
    ):
        if hz is not None and not (column == "default_setpoint_hz" and hz == 0.0):
            _in_every_band(column, hz, plant)
    running = whole(row, "max_pumps_running", low=1, optional=True)
    if running is not None and plant.max_pumps_running is not None and running > plant.max_pumps_running:
        raise BadCellError("max_pumps_running", f"{running} is above the station's {plant.max_pumps_running}")
    return DutyProfile(
        name=name,
        weekdays=tuple(sorted({int(day) for day in days})),
        from_minute=_minute(row, "starts_at"),
        until_minute=_minute(row, "ends_at"),
        default_setpoint_hz=default_hz,
        speed_hz_min=low_hz,
        speed_hz_max=high_hz,
        max_pumps_running=running,
        duty_order=_order(row, plant),
    )


def _minute(row: Row, column: str) -> int:
    found = _TIME.fullmatch(text(row, column))
    if found is None:
        raise BadCellError(column, f"{text(row, column)[:20]!r}, expected a time of day like 06:30")
    return int(found[1]) * 60 + int(found[2])


def _level(row: Row, column: str) -> float:
    level_m = number(row, column)
    assert level_m is not None
    return level_m


def _hours(row: Row, column: str, *, optional: bool) -> float | None:
    hours = number(row, column, above=0.0, optional=optional)
    if hours is not None and hours > HOURS_MAX:
        raise BadCellError(column, f"{hours:g} h is above {HOURS_MAX} h")
    return hours


def _seconds(row: Row, column: str) -> float:
    low, high = SECONDS[column]
    seconds = needed(row, column)
    if not low <= seconds <= high:
        raise BadCellError(column, f"{seconds:g} s is outside {low} to {high} s")
    return seconds


def _speed(row: Row, column: str, plant: Plant) -> float:
    speed_hz = needed(row, column, above=0.0)
    _in_every_band(column, speed_hz, plant)
    return speed_hz


def _in_every_band(column: str, hz: float, plant: Plant) -> None:
    for pump_id, limits in plant.limits():
        if not limits.hard_min_speed_hz <= hz <= limits.hard_max_speed_hz:
            band = f"{limits.hard_min_speed_hz:g} to {limits.hard_max_speed_hz:g} Hz"
            raise BadCellError(column, f"{hz:g} Hz is outside the approved band of {pump_id}, {band}")


def _above_water_line(column: str, level_m: float, plant: Plant) -> None:
    """Refuse a level at which a pump must not start, or is stopped: nothing would come of it."""
    for pump_id, limits in plant.limits():
        for name in ("level_min_m", "level_dry_run_m", "level_dry_run_reset_m"):
            line_m = getattr(limits, name)
            if line_m is not None and not level_m > line_m:
                raise BadCellError(column, f"{level_m:g} m is not above {name} {line_m:g} m of {pump_id}")
