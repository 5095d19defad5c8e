"""What local files remember across restarts: epochs, operator modes, what protects motors (SAF-11, CTL-7, SAF-7)."""

from __future__ import annotations

from datetime import datetime

import msgspec

from actors.vocabulary.codes import Mode, Reason, Rule
from actors.vocabulary.instant import Instant


class Epoch(msgspec.Struct, frozen=True, order=True):
    """Which incarnation of a station's safety chain speaks (SAF-11): site term, then counter."""

    term: int
    counter: int


class CarriedOut(msgspec.Struct, frozen=True, kw_only=True):
    """A command of a mode that a pump has taken, and when; `content` is a digest of what it ordered."""

    command_id: str
    content: str
    at: datetime


class StoredMode(msgspec.Struct, frozen=True, kw_only=True):
    """A pump's operator mode as it survives restarts, with the commands that were taken last."""

    pump_id: str
    mode: Mode
    by: str
    setpoint_hz: float | None
    set_at: datetime
    expires_at: datetime | None
    held_stopped: bool = False
    commands: tuple[CarriedOut, ...] = ()


class MotorTimers(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a pump turns or has been told to, since when, and its starts of the last hour, oldest first.

    `confirmed`: it was seen to turn since it was told to. `known_at`: the last moment at which this was known.
    """

    turning: bool
    since: Instant
    known_at: Instant
    starts: tuple[Instant, ...] = ()
    confirmed: bool = False


class Wear(msgspec.Struct, frozen=True, kw_only=True):
    """How much a pump has worked since we know it: seconds turned and starts seen, and when it was last seen to turn.

    `turned_at`: before it was ever seen to turn, when it was first looked at. `seen_at`: the last look, None: none
    since our start. The count of seconds is durable at each start and stop and every ten minutes between.
    """

    run_s: float = 0.0
    starts: int = 0
    turning: bool = False
    turned_at: Instant | None = None
    seen_at: Instant | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a station has a pump do beside its plan (CTL-6): `rule` is ASSIST, EXERCISE or FLUSH, since when."""

    rule: Rule
    since: Instant


class PumpMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What of one pump must survive every restart (SAF-7): its timers, its level latches (rules 3 and 4), its wear.

    `held_since`: since when its failsafe holds the last value (WDG-3): no number of restarts makes that longer.
    `failsafe_reason`, `failsafe_since`: the failsafe it is in (WDG-2): no restart makes its recovery hold shorter.
    `claimed`: it was ours, or had been. `handed_back_since`: since when that claim is lost (CTL-7): nor that one.
    `lapses`: when its last leases ran out; the gates remember them too (SAF-9).
    """

    timers: MotorTimers
    dry_run: bool | None = None
    high: bool = False
    held_since: Instant | None = None
    failsafe_reason: Reason | None = None
    failsafe_since: Instant | None = None
    claimed: bool = False
    handed_back_since: Instant | None = None
    lapses: tuple[Instant, ...] = ()
    wear: Wear = Wear()


class HeldPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A value that a point of feedback shows, and for how long it had been seen unmoved (s)."""

    value: float
    held_s: float


class PumpSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What was noted of one pump a moment ago, not durably: a successor within the same boot goes on from it.

    `known_at`: until when its timers were known. `origin`: the tick of the last decision, from which the gates' lease
    runs; `fresh_left`, `fresh_since`: so many fresh ones they still wait for after a lapse, and since when (SAF-9).
    `held`: the points that have not moved for a while; `echo_hz`: least and most of the setpoint echo since the
    measured speed changed last (CTL-4).
    """

    known_at: Instant
    origin: Instant | None = None
    fresh_left: int = 0
    fresh_since: Instant | None = None
    held: dict[str, HeldPoint] = msgspec.field(default_factory=dict)
    echo_hz: tuple[float, float] | None = None


class StationMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What of one station must survive every restart. `duties`: pump -> the pump that runs in its place.

    `turn`: who started last on duty; `tasks`: who assists, exercises or flushes; `flushed_at`: when the rising main
    last had its minimum flow for long enough.

    `epoch` and `boot_id` are those of the safety actor who wrote it: one that was replaced and goes on must not
    overwrite its successor. Of another boot nobody goes on.
    """

    station_id: str
    epoch: Epoch
    boot_id: str
    pumps: dict[str, PumpMemory] = msgspec.field(default_factory=dict)
    duties: dict[str, str] = msgspec.field(default_factory=dict)
    turn: str = ""
    tasks: dict[str, Task] = msgspec.field(default_factory=dict)
    flushed_at: Instant | None = None
