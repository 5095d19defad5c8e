"""What a wire's client may command beside writing points, and look back at; and what it is answered.

Everything here crosses the wall between a protocol and its publisher: both import this leaf, neither the other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from actors.vocabulary.callers import Caller, Shown
from actors.vocabulary.codes import Quality, Scope, Severity, WriteRefusal

TEXT_MAX: Final = 400
"""Characters of a reason or a comment."""

STOP_IDS_MAX: Final = 64


class SetStop(msgspec.Struct, frozen=True, kw_only=True, tag="set_stop"):
    """Set an emergency stop; while one of just this scope is uncleared it is that one (EST-5)."""

    scope: Scope
    scope_id: str
    reason: str


class ClearStops(msgspec.Struct, frozen=True, kw_only=True, tag="clear_stops"):
    """Clear named stops, all of them within the scope at which it is asked (EST-2)."""

    scope: Scope
    scope_id: str
    stop_ids: tuple[str, ...]
    reason: str


class CommandMode(msgspec.Struct, frozen=True, kw_only=True, tag="command_mode"):
    """AUTO, MANUAL or OUT_OF_SERVICE by its code (CTL-7); None: the applied speed (Hz), the configured expiry (s)."""

    station_id: str
    pump_id: str
    mode: int
    setpoint_hz: float | None
    expires_after_s: float | None
    reason: str


class SeeAlarm(msgspec.Struct, frozen=True, kw_only=True, tag="see_alarm"):
    """Acknowledge an alarm (ALM-1)."""

    alarm_id: str
    comment: str


ClientCommand: TypeAlias = SetStop | ClearStops | CommandMode | SeeAlarm


class ClientCall(msgspec.Struct, frozen=True, kw_only=True):
    """A command with whoever gives it."""

    command: ClientCommand
    caller: Caller
    peer: str


class CallAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`refusal` None: carried out; `detail` says why not, or what is left to know; `ids` are the stops concerned."""

    refusal: WriteRefusal | None = None
    detail: str = ""
    ids: tuple[str, ...] = ()


def named(caller: Caller | None, *, protocol: str, peer: str) -> str:
    """Return what is written into `by`: a user's name, or the wire and the address of whoever showed none."""
    if caller is None or caller.how is Shown.NOTHING:
        return f"{protocol}:{peer}"
    return caller.name


# --------------------------------------------------------------------------- alarms as a wire shows them


class ShownAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm of a site. `source`: the path of what it is about (`/site[/station[/pump]]`); times in ns UTC."""

    alarm_id: str
    condition: str
    subject: str
    source: str
    severity: Severity
    text: str
    active: bool
    acknowledged: bool
    occurrences: int
    raised_utc_ns: int
    returned_utc_ns: int | None = None
    acknowledged_utc_ns: int | None = None
    acknowledged_by: str = ""
    comment: str = ""


class ShownAlarms(msgspec.Struct, frozen=True, kw_only=True):
    """A site's alarms. Without `whole` an absence means nothing; without `current` nobody could be asked just now."""

    alarms: tuple[ShownAlarm, ...]
    whole: bool
    current: bool = True


# --------------------------------------------------------------------------- the past of a point

PUBLISHED_POINTS: Final = ("setpoint", "remote_enabled", "run_inhibit", "setpoint_quality", "reason", "mode")
"""Points whose past stands in `wire_records`: what this endpoint showed."""

MEASURED_POINTS: Final = (
    "local_override", "actual_speed", "actual_power", "actual_flow", "wet_well_level", "high_float", "running",
    "fault_code",
)  # fmt: skip
"""Points whose past stands in `pump_feedback`."""

PAST_POINTS: Final = frozenset({*PUBLISHED_POINTS, *MEASURED_POINTS})


class PastValue(msgspec.Struct, frozen=True, kw_only=True):
    """What a point was from `at` on, in engineering units."""

    value: bool | int | float
    quality: Quality
    at: datetime


class PastQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The past of one pump's point in [start, end), oldest first; `backwards`: in (end, start], newest first.

    None: without a bound on that side. `following`: as the page before said. `bound`: only the one value that holds
    at `start` (the newest until then; backwards: the first from then on).
    """

    pump_id: str
    point: str
    start: datetime | None
    end: datetime | None
    count_max: int
    backwards: bool = False
    following: str = ""
    bound: bool = False


class PastPage(msgspec.Struct, frozen=True, kw_only=True):
    """At most as many values as were asked for; `following` '' : there are no more."""

    values: tuple[PastValue, ...]
    following: str = ""
