"""Who commands a pump, AUTO or an operator, as one transition table with an expiry (CTL-7). Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final, assert_never
from uuid import NAMESPACE_URL, uuid5

import msgspec

from actors.messages import SetMode
from actors.safety.limits import is_finite_number
from actors.vocabulary import Instant, InvalidValueError, Mode, RefusedError, Severity
from actors.vocabulary.durable import CarriedOut, StoredMode
from actors.vocabulary.records import AuditRecord

MANUAL_HZ_MAX: Final = 100.0  # sanity only: the safety layer brings it into the pump's band
EXPIRY_S_MAX: Final = 7 * 86_400.0  # an operator who wants longer says so again
COMMANDS_REMEMBERED: Final = 256


@unique
class Command(StrEnum):
    """Who or what commands the pump, apart from LOCAL and OUT_OF_SERVICE, which the safety layer knows."""

    AUTO = "AUTO"
    MANUAL_RUN = "MANUAL_RUN"
    MANUAL_STOP = "MANUAL_STOP"
    HELD_STOPPED = "HELD_STOPPED"


@unique
class Event(StrEnum):
    """What changes who commands."""

    ORDER_AUTO = "ORDER_AUTO"
    ORDER_RUN = "ORDER_RUN"
    ORDER_STOP = "ORDER_STOP"
    EXPIRED = "EXPIRED"


# What is absent is illegal: AUTO and HELD_STOPPED never expire, so nothing but an operator ends a held stop.
TRANSITIONS: Final[Mapping[tuple[Command, Event], Command]] = {
    (Command.AUTO, Event.ORDER_AUTO): Command.AUTO,
    (Command.AUTO, Event.ORDER_RUN): Command.MANUAL_RUN,
    (Command.AUTO, Event.ORDER_STOP): Command.MANUAL_STOP,
    (Command.MANUAL_RUN, Event.ORDER_AUTO): Command.AUTO,
    (Command.MANUAL_RUN, Event.ORDER_RUN): Command.MANUAL_RUN,
    (Command.MANUAL_RUN, Event.ORDER_STOP): Command.MANUAL_STOP,
    (Command.MANUAL_RUN, Event.EXPIRED): Command.AUTO,
    (Command.MANUAL_STOP, Event.ORDER_AUTO): Command.AUTO,
    (Command.MANUAL_STOP, Event.ORDER_RUN): Command.MANUAL_RUN,
    (Command.MANUAL_STOP, Event.ORDER_STOP): Command.MANUAL_STOP,
    (Command.MANUAL_STOP, Event.EXPIRED): Command.HELD_STOPPED,
    (Command.HELD_STOPPED, Event.ORDER_AUTO): Command.AUTO,
    (Command.HELD_STOPPED, Event.ORDER_RUN): Command.MANUAL_RUN,
    (Command.HELD_STOPPED, Event.ORDER_STOP): Command.MANUAL_STOP,
}


class ModeState(msgspec.Struct, frozen=True, kw_only=True):
    """Who commands the pump now; `setpoint_hz` is the operator's value, None in AUTO. `commands` were carried out."""

    command: Command = Command.AUTO
    by: str = ""
    setpoint_hz: float | None = None
    set_at: Instant | None = None
    expires_at: Instant | None = None
    commands: tuple[CarriedOut, ...] = ()

    @property
    def mode(self) -> Mode:
        """The mode on the wire: a pump held stopped is still in an operator's hand."""
        return Mode.AUTO if self.command is Command.AUTO else Mode.MANUAL

    @property
    def held_stopped(self) -> bool:
        """Whether a MANUAL 0 has run out and the pump waits for an operator."""
        return self.command is Command.HELD_STOPPED

    def expired(self, now: Instant) -> bool:
        """Say whether the operator's time is over."""
        return self.expires_at is not None and now.seconds_since(self.expires_at) >= 0.0


def order(
    state: ModeState,
    message: SetMode,
    *,
    now: Instant,
    applied_hz: float | None,
    expiry_s: float,
    min_hz: float = 0.0,
) -> ModeState:
    """Return the state after an operator's command; the same state object if the command was carried out before.

    MANUAL without a value takes over the applied speed, so that nothing moves. `expiry_s` holds when the command
    names none. Below the pump's `min_hz` it would stand still and yet be meant to run, so that the expiry of the
    command could start it: such a value is refused.

    Raises:
        InvalidValueError: the value is neither 0 nor `min_hz`..100 Hz, or the expiry not above 0 and at most 7 days.
        RefusedError: the mode is not the operator's to set, the pump is not in the mode that the command is for,
            there is no applied speed to take over, or the command's id was another command's.

    """
    content = _content(message)
    if (known := carried_out(state, message.command_id)) is not None:
        if known.content != content:
            text = f"command_id: {message.command_id} was another command of pump {message.pump_id}"
            raise RefusedError(f"{text}; a new command needs a new id")
        return state
    if message.only_in is not None and state.mode is not message.only_in:
        raise RefusedError(f"pump {message.pump_id}: is in {state.mode.name}, not in {message.only_in.name}")
    taken = CarriedOut(command_id=message.command_id, content=content, at=now.utc)
    commands = (*state.commands, taken)[-COMMANDS_REMEMBERED:]
    match message.mode:
        case Mode.AUTO:
            command = TRANSITIONS[state.command, Event.ORDER_AUTO]
            return ModeState(command=command, by=message.by, set_at=now, commands=commands)
        case Mode.MANUAL:
            hz = _checked_hz(message, applied_hz, min_hz)
            lasts_s = _checked_expiry(message, expiry_s)
            event = Event.ORDER_STOP if hz == 0.0 else Event.ORDER_RUN
            return ModeState(
                command=TRANSITIONS[state.command, event],
                by=message.by,
                setpoint_hz=hz,
                set_at=now,
                expires_at=now.plus(lasts_s),
                commands=commands,
            )
        case Mode.LOCAL:
            raise RefusedError(f"pump {message.pump_id}: LOCAL is chosen at the station's panel")
        case Mode.OUT_OF_SERVICE:
            raise RefusedError(f"pump {message.pump_id}: OUT_OF_SERVICE is set and cleared like a stop")
        case _:
            assert_never(message.mode)


def carried_out(state: ModeState, command_id: str) -> CarriedOut | None:
    """Return the command of this id that the pump has taken, None: it has not, as far as is remembered."""
    return next((each for each in state.commands if each.command_id == command_id), None)


def expire(state: ModeState, *, now: Instant) -> ModeState:
    """Return the state at `now`: a MANUAL speed ends in AUTO, a MANUAL 0 in a held stop, never in a start."""
    if not state.expired(now):
        return state
    command = TRANSITIONS[state.command, Event.EXPIRED]
    held = command is Command.HELD_STOPPED
    return ModeState(
        command=command,
        by=state.by,
        setpoint_hz=0.0 if held else None,
        set_at=now,
        commands=state.commands,
    )


def expiry_record(pump_id: str, before: ModeState, after: ModeState, *, now: Instant, by: str) -> AuditRecord:
    """Return the audit record of an expiry; the same expiry has the same id, also after a restart."""
    assert before.expires_at is not None, "only what has an end expires"
    return AuditRecord(
        record_id=str(uuid5(NAMESPACE_URL, f"calejo:mode-expired:{pump_id}:{before.expires_at.utc_ns}")),
        at=now.utc,
        event_type="MODE_EXPIRED",
        actor="calejo",
        source_address=by,
        object_id=pump_id,
        outcome="done",
        severity=Severity.MEDIUM,
        before={"mode": before.command.value, "by": before.by, "setpoint_hz": before.setpoint_hz},
        after={"mode": after.command.value, "setpoint_hz": after.setpoint_hz},
    )


def order_record(
    before: ModeState | None, message: SetMode, *, at: datetime, source_address: str
) -> AuditRecord:
    """Return the audit record of a command that was taken; the same command has the same id, however often it comes.

    `before` None: it is not known any more, because the command was taken before. An order of our own people comes
    without an address: then `source_address` stands for it.
    """
    given = msgspec.to_builtins(message)
    told = ("pump_id", "command_id", "by", "setpoint_hz", "expires_after_s", "reason")
    after = {"mode": message.mode.name, **{key: given[key] for key in told}}
    if message.only_in is not None:
        after["only_in"] = message.only_in.name
    return AuditRecord(
        record_id=f"{message.command_id}:{message.pump_id}:mode",
        at=at,
        event_type="MODE_SET",
        actor=message.by,
        source_address=message.source_address or source_address,
        object_id=f"PUMP:{message.pump_id}",
        outcome="success",
        severity=Severity.MEDIUM,
        before=None
        if before is None
        else {"mode": before.command.value, "by": before.by, "setpoint_hz": before.setpoint_hz},
        after=after,
        correlation_id=message.command_id,
    )


def to_store(state: ModeState, pump_id: str) -> StoredMode:
    """Return the durable form."""
    return StoredMode(
        pump_id=pump_id,
        mode=state.mode,
        by=state.by,
        setpoint_hz=state.setpoint_hz,
        set_at=_set_at(state).utc,
        expires_at=None if state.expires_at is None else state.expires_at.utc,
        held_stopped=state.held_stopped,
        commands=state.commands,
    )


def held_stopped(by: str, *, now: Instant, commands: tuple[CarriedOut, ...] = ()) -> ModeState:
    """Return the state that only an operator ends."""
    return ModeState(command=Command.HELD_STOPPED, by=by, setpoint_hz=0.0, set_at=now, commands=commands)


def from_store(stored: StoredMode | None, *, now: Instant) -> ModeState:
    """Rebuild the state after a restart.

    Time went on by the wall clock; if that was set back, the time left is what was granted, never more. What makes
    no sense (a MANUAL without a value or an end) becomes a held stop: only an operator can know what was meant.
    """
    if stored is None:
        return ModeState()
    if stored.mode is Mode.AUTO:
        return ModeState(by=stored.by, commands=stored.commands)
    hz = stored.setpoint_hz
    sane = stored.mode is Mode.MANUAL and hz is not None and math.isfinite(hz) and 0.0 <= hz <= MANUAL_HZ_MAX
    dated = (
        stored.expires_at is not None
        and stored.expires_at.tzinfo is not None
        and stored.set_at.tzinfo is not None
    )
    if stored.held_stopped or not sane or not dated or stored.expires_at is None:
        return held_stopped(stored.by, now=now, commands=stored.commands)
    granted = max(stored.expires_at - stored.set_at, timedelta(0))
    left = min(stored.expires_at - now.utc, granted)
    return ModeState(
        command=Command.MANUAL_STOP if hz == 0.0 else Command.MANUAL_RUN,
        by=stored.by,
        setpoint_hz=hz,
        set_at=now.plus((left - granted).total_seconds()),
        expires_at=now.plus(left.total_seconds()),
        commands=stored.commands,
    )


def _content(message: SetMode) -> str:
    """Return what tells two commands apart that came under one id."""
    ordered = (message.mode.name, message.setpoint_hz, message.expires_after_s, message.only_in, message.by)
    return hashlib.sha256(repr(ordered).encode("utf-8", "replace")).hexdigest()[:16]


def _set_at(state: ModeState) -> Instant:
    assert state.set_at is not None, "only a mode that was set is stored"
    return state.set_at


def _checked_hz(message: SetMode, applied_hz: float | None, min_hz: float) -> float:
    hz = message.setpoint_hz
    if hz is None:
        if applied_hz is None:
            raise RefusedError(
                f"pump {message.pump_id}: no applied speed is known to take over; give setpoint_hz"
            )
        return 0.0 if applied_hz < min_hz else min(max(applied_hz, 0.0), MANUAL_HZ_MAX)
    if not is_finite_number(hz) or not 0.0 <= hz <= MANUAL_HZ_MAX:
        text = f"pump {message.pump_id}: setpoint_hz is {hz!r}, expected 0..{MANUAL_HZ_MAX:g} Hz"
        raise InvalidValueError(text)
    if 0.0 < hz < min_hz:
        text = (
            f"pump {message.pump_id}: setpoint_hz is {hz!r}, expected 0 or {min_hz:g}..{MANUAL_HZ_MAX:g} Hz"
        )
        raise InvalidValueError(f"{text}: below its minimum the pump stands still")
    return hz


def _checked_expiry(message: SetMode, default_s: float) -> float:
    lasts_s = default_s if message.expires_after_s is None else message.expires_after_s
    if not is_finite_number(lasts_s) or not 0.0 < lasts_s <= EXPIRY_S_MAX:
        text = f"pump {message.pump_id}: expires_after_s is {lasts_s!r}, expected above 0, at most {EXPIRY_S_MAX:g} s"
        raise InvalidValueError(text)
    return lasts_s
