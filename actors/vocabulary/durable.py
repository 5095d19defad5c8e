"""What local files remember across restarts: epochs, operator modes, what protects motors (SAF-11, CTL-7, SAF-7)."""

from __future__ import annotations

from datetime import datetime

import msgspec

from actors.vocabulary.codes import Mode, Reason
from actors.vocabulary.instant import Instant


class Epoch(msgspec.Struct, frozen=True, order=True):
    """Which incarnation of a station's safety chain speaks (SAF-11): site term, then counter."""

    term: int
    counter: int


class StoredMode(msgspec.Struct, frozen=True, kw_only=True):
    """A pump's operator mode as it survives restarts."""

    pump_id: str
    mode: Mode
    by: str
    setpoint_hz: float | None
    set_at: datetime
    expires_at: datetime | None
    held_stopped: bool = False


class MotorTimers(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a pump turns or has been told to, since when, and its starts of the last hour, oldest first.

    `confirmed`: it was seen to turn since it was told to. `known_at`: the last moment at which this was known.
    """

    turning: bool
    since: Instant
    known_at: Instant
    starts: tuple[Instant, ...] = ()
    confirmed: bool = False


class PumpMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What of one pump must survive every restart (SAF-7): its timers and its level latches (rules 3 and 4).

    `held_since`: since when its failsafe holds the last value (WDG-3): no number of restarts makes that longer.
    `failsafe_reason`, `failsafe_since`: the failsafe it is in (WDG-2): no restart makes its recovery hold shorter.
    """

    timers: MotorTimers
    dry_run: bool | None = None
    high: bool = False
    held_since: Instant | None = None
    failsafe_reason: Reason | None = None
    failsafe_since: Instant | None = None


class StationMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What of one station must survive every restart. `duties`: pump -> the pump that runs in its place.

    `epoch` and `boot_id` are those of the safety actor who wrote it: one that was replaced and goes on must not
    overwrite its successor. Of another boot nobody goes on.
    """

    station_id: str
    epoch: Epoch
    boot_id: str
    pumps: dict[str, PumpMemory] = msgspec.field(default_factory=dict)
    duties: dict[str, str] = msgspec.field(default_factory=dict)
