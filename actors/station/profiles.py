"""Which profile holds by the station's own clock, summer time included, and what it changes; pure (CTL-6)."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from actors.vocabulary import PumpConfig, StationConfig
from actors.vocabulary.duties import DAY_MINUTES, DutyProfile

_DAYS: Final = 7


def governing(station: StationConfig, utc: datetime) -> DutyProfile | None:
    """Return the profile that holds at `utc`; None: none does.

    What the clock on the station's wall shows counts: an hour that comes twice in autumn counts twice, one that is left
    out in spring not at all. Of several, which discovery refuses, the first by name.
    """
    if not station.duties.profiles:
        return None
    local = utc.astimezone(_zone(station.timezone))
    minute, day = local.hour * 60 + local.minute, local.isoweekday()
    yesterday = (day - 2) % _DAYS + 1
    return next(
        (
            profile
            for profile in station.duties.profiles
            if _covers(profile, day, minute) or _covers(profile, yesterday, minute + DAY_MINUTES)
        ),
        None,
    )


def in_force(station: StationConfig, profile: DutyProfile | None, *, high: bool) -> StationConfig:
    """Return the station with the profile's maximum running, which only tightens; at a high level its own holds."""
    if profile is None or profile.max_pumps_running is None or high:
        return station
    own = station.max_pumps_running
    most = profile.max_pumps_running if own is None else min(own, profile.max_pumps_running)
    return msgspec.structs.replace(station, max_pumps_running=most)


def pump_in_force(pump: PumpConfig, profile: DutyProfile | None) -> PumpConfig:
    """Return the pump with the profile's default setpoint."""
    if profile is None or profile.default_setpoint_hz is None:
        return pump
    return msgspec.structs.replace(pump, default_setpoint_hz=profile.default_setpoint_hz)


def _covers(profile: DutyProfile, day: int, minute: int) -> bool:
    """Whether it began on `day` and still holds at `minute` after that day's midnight."""
    return day in profile.weekdays and profile.from_minute <= minute < profile.from_minute + profile.lasts


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        # Discovery refuses an unknown zone; without any zone database all are.
        return ZoneInfo("UTC")
