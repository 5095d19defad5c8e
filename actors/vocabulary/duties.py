"""Station duties as configured: who runs when, and what is done for pumps and rising main now and then (CTL-6).

Everything here is off unless configured; substitution, maximum running and stagger need no configuration.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final

import msgspec

DAY_MINUTES: Final = 1440


@unique
class Alternation(StrEnum):
    """How the duty goes round. OFF: each pump does its own plan; FIXED: the first of the order that may."""

    OFF = "OFF"
    FIXED = "FIXED"
    BY_START = "BY_START"
    BY_HOURS = "BY_HOURS"
    BY_STARTS = "BY_STARTS"


class Assist(msgspec.Struct, frozen=True, kw_only=True):
    """Assist pumps above level_max (SAF-2.8): how many, until which level (m), how far apart (s), how fast.

    `speed_hz` None: each at its own maximum.
    """

    pumps: int
    reset_m: float
    after_s: float
    speed_hz: float | None = None


class Exercise(msgspec.Struct, frozen=True, kw_only=True):
    """Anti-seize: after so many hours standing, so many seconds at the minimum speed, if the level (m) allows."""

    after_h: float
    run_s: float
    level_m: float


class Flush(msgspec.Struct, frozen=True, kw_only=True):
    """Rising main: if `flow_m3h` was not kept for `run_s` within `every_h`, a flush at `speed_hz` of `run_s`.

    It begins at or above `level_m`.
    """

    every_h: float
    run_s: float
    speed_hz: float
    flow_m3h: float
    level_m: float


class CleanOut(msgspec.Struct, frozen=True, kw_only=True):
    """Snoring, by a person's order only: down to `level_m`, at most `run_s` at `speed_hz`.

    `power_kw_min`: what a pump below its dry-run level must at least draw (measured), else it takes air.
    """

    level_m: float
    run_s: float
    speed_hz: float
    power_kw_min: float


class DutyProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Other settings at certain hours of the station's own time zone. None or empty: as without the profile.

    `weekdays`: ISO (1 is Monday), the day on which it begins. Minutes of the local day; `until_minute` not after
    `from_minute`: it ends on the next day. `speed_hz_min`, `speed_hz_max`: bounds of a plan's wish above 0.
    """

    name: str
    weekdays: tuple[int, ...]
    from_minute: int
    until_minute: int
    default_setpoint_hz: float | None = None
    speed_hz_min: float | None = None
    speed_hz_max: float | None = None
    max_pumps_running: int | None = None
    duty_order: tuple[str, ...] = ()

    @property
    def lasts(self) -> int:
        """How many minutes it lasts each time; one that ends when it begins lasts a whole day."""
        return (self.until_minute - self.from_minute) % DAY_MINUTES or DAY_MINUTES

    @property
    def minutes(self) -> frozenset[int]:
        """The minutes of a week (0: Monday, 00:00) in which it holds."""
        return frozenset(
            ((day - 1) * DAY_MINUTES + self.from_minute + minute) % (7 * DAY_MINUTES)
            for day in self.weekdays
            for minute in range(self.lasts)
        )


class StationDuties(msgspec.Struct, frozen=True, kw_only=True):
    """All duties of a station. `order`: pumps not named follow in wire order.

    `alternation_h`: a duty that runs on is handed over after so many hours; None: only its next start is another's.
    """

    alternation: Alternation = Alternation.OFF
    order: tuple[str, ...] = ()
    alternation_h: float | None = None
    assist: Assist | None = None
    exercise: Exercise | None = None
    flush: Flush | None = None
    clean_out: CleanOut | None = None
    profiles: tuple[DutyProfile, ...] = ()
