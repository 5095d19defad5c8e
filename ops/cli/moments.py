"""Moments as people type them: ISO 8601 with a zone, or words read in this machine's own time zone; pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

from actors.vocabulary import InvalidValueError

EXPECTED: Final = (
    "expected ISO 8601 with a zone (2026-11-21T10:05:00Z), or in this machine's time zone 10:05, 10:05:30,"
    " 'yesterday 10:05', '2026-11-21 10:05'; or '15m ago', 'now'"
)
_AGO: Final = re.compile(r"^(\d{1,9}(?:\.\d{1,3})?)\s*([smhd])\s+ago$", re.IGNORECASE)
_CLOCK: Final = re.compile(
    r"^(?:(today|yesterday|\d{4}-\d\d-\d\d)[ T])?(\d{1,2}:\d\d(?::\d\d)?)$", re.IGNORECASE
)
_UNIT_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def moment_of(text: str, *, now: datetime, zone: tzinfo | None = None, place: str = "--at") -> datetime:
    """Return the moment in UTC. `zone` None: this machine's own; a time of day alone is the last one that has been.

    Raises:
        InvalidValueError: it is none, or names two moments or none because clocks were put back or forward.

    """
    given = text.strip()
    try:
        if given.lower() == "now":
            return now
        if ago := _AGO.match(given):
            return now - timedelta(seconds=float(ago[1]) * _UNIT_S[ago[2].lower()])
        if clock := _CLOCK.match(given):
            return _local(clock[1], clock[2], now=now, zone=zone, place=place)
        found = datetime.fromisoformat(given)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidValueError(f"{place}: {text[:60]!r}, {EXPECTED}")


def _local(day: str | None, clock: str, *, now: datetime, zone: tzinfo | None, place: str) -> datetime:
    today = now.astimezone(zone).date()
    at = time.fromisoformat(clock if clock.index(":") > 1 else f"0{clock}")
    match (day or "").lower():
        case "" | "today":
            date = today
        case "yesterday":
            date = today - timedelta(days=1)
        case _:
            date = datetime.fromisoformat(str(day)).date()
    found = _utc(datetime.combine(date, at), zone=zone, place=place)
    if day is None and found > now:
        return _utc(datetime.combine(date - timedelta(days=1), at), zone=zone, place=place)
    return found


def _utc(naive: datetime, *, zone: tzinfo | None, place: str) -> datetime:
    """Return a local time in UTC.

    Raises:
        InvalidValueError: the clocks were put back or forward then, and it names two moments or none.

    """
    first, second = (_aware(naive.replace(fold=fold), zone) for fold in (0, 1))
    if first == second:
        return first
    if first.astimezone(zone).replace(tzinfo=None) != naive:
        raise InvalidValueError(f"{place}: {naive.isoformat()} never was: clocks were put forward then")
    text = f"{first.isoformat()} or {second.isoformat()}"
    raise InvalidValueError(f"{place}: {naive.isoformat()} was twice, say which: {text}")


def _aware(naive: datetime, zone: tzinfo | None) -> datetime:
    local = naive.astimezone() if zone is None else naive.replace(tzinfo=zone)
    return local.astimezone(UTC)
