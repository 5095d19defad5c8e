"""A person's mode for a pump (CTL-7): AUTO and MANUAL by the pump's own actor, OUT_OF_SERVICE as a latch.

What a pump takes it records itself (AUD-2); here is recorded what was refused, and what nobody could tell.
"""

from __future__ import annotations

import math
import uuid
from typing import Final

import msgspec

from actors.messages import Done, SetMode
from actors.vocabulary import DeviceError, InvalidValueError, Mode, PumpConfig, RefusedError, StationConfig
from actors.vocabulary.ids import checked_id
from api.access.errors import OutcomeUnknownError
from api.service import Service
from api.sources import find_pump
from api.stop_answers import checked_text
from api.views import ModeView, when

_MODES: Final = {"AUTO": Mode.AUTO, "MANUAL": Mode.MANUAL, "OUT_OF_SERVICE": Mode.OUT_OF_SERVICE}
# What a refused request claimed goes into the trail, but not all of it.
_ACTOR_MAX: Final = 200


class ModeCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mode for a pump: AUTO, MANUAL with `setpoint_hz`, or OUT_OF_SERVICE. LOCAL comes from the panel only."""

    mode: str
    by: str = ""
    setpoint_hz: float | None = None
    expires_after_s: float | None = None
    reason: str = ""
    command_id: str | None = None


class _Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A command that its pump has taken."""

    station: StationConfig
    pump: PumpConfig
    command: SetMode
    done: Done


async def command_mode(
    service: Service, pump_id: str, asked: ModeCommand, *, by: str, peer: str, command_id: str
) -> ModeView:
    """Carry a command out and return what the pump is in now.

    Raises:
        InvalidValueError: no such mode, or a value that does not go with it; nothing was commanded.
        UnknownSubjectError: there is no such pump.
        RefusedError: the pump is out of service, or refuses.
        DeviceError: the pump cannot be reached; or it took AUTO and cannot be returned to service: the text says which.
        OutcomeUnknownError: the pump was told and did not answer, or the disk hung over lifting its mark. The same
            command_id may come again: it is taken once.

    """
    noting = service.noting
    object_id = f"PUMP:{pump_id.lower()}"
    taken = await noting.refusals(
        _taken(service, pump_id, asked, by=by, peer=peer, command_id=command_id),
        "MODE_REFUSED",
        actor=by[:_ACTOR_MAX],
        peer=peer,
        object_id=object_id,
    )
    if isinstance(taken, ModeView):
        return taken
    if taken.command.mode is Mode.AUTO:
        # The pump obeys already: what fails from here on is no refusal of the mode.
        await noting.refusals(
            _return_to_service(service, taken),
            "EMERGENCY_STOP_CLEAR_REFUSED",
            actor=by[:_ACTOR_MAX],
            peer=peer,
            object_id=object_id,
        )
    return await _shown(service, taken)


async def _taken(
    service: Service, pump_id: str, asked: ModeCommand, *, by: str, peer: str, command_id: str
) -> _Taken | ModeView:
    topology = await service.sources.topology()
    _, station, pump = find_pump(topology, checked_id(pump_id, place="pump_id"))
    # All that a later step would refuse is refused before the pump is told.
    mode, by = _checked_mode(asked), checked_text("by", by)
    reason = checked_text("reason", asked.reason) if asked.reason.strip() else ""
    if mode is Mode.OUT_OF_SERVICE:
        answer = await service.stops.withdraw(
            pump_id=pump.pump_id, mark_id=command_id, reason=reason, by=by, now=service.clock.now(), peer=peer
        )
        note = "durable" if answer.durable else f"NOT durable: {answer.detail}"
        return ModeView(pump_id=pump.pump_id, mode=asked.mode, by=by, note=note)
    if mode is Mode.MANUAL and pump.pump_id in (await service.stops.out_of_service())[0]:
        raise RefusedError(f"pump {pump.pump_id}: out of service, AUTO returns it to service first")
    command = SetMode(
        pump_id=pump.pump_id,
        command_id=command_id,
        mode=mode,
        by=by,
        setpoint_hz=asked.setpoint_hz,
        expires_after_s=asked.expires_after_s,
        reason=reason,
        source_address=peer,
    )
    # The pump's own mode first: a return to service must find the mode that the operator asked for.
    try:
        done = await service.sources.set_mode(station, command)
    except OutcomeUnknownError as error:
        raise OutcomeUnknownError(
            f"{error}; sent again as command_id {command_id} it is taken once"
        ) from error
    return _Taken(station=station, pump=pump, command=command, done=done)


async def _return_to_service(service: Service, taken: _Taken) -> None:
    """Lift the marks of a pump that took AUTO.

    Also when that is repeated: the first time may have ended half way. But its late copy must not lift a mark that
    somebody set after it.
    """
    command = taken.command
    took = f"pump {command.pump_id} took AUTO"
    try:
        await service.stops.return_to_service(
            pump_id=command.pump_id,
            reason=command.reason,
            by=command.by,
            now=service.clock.now(),
            peer=command.source_address,
            set_until=taken.done.repeat_of,
        )
    except OutcomeUnknownError as error:
        raise OutcomeUnknownError(f"{took}; of its out-of-service mark: {error}") from error
    except DeviceError as error:
        raise DeviceError(f"{took}, but stays out of service: {error}") from error


async def _shown(service: Service, taken: _Taken) -> ModeView:
    """Return the mode as the pump tells it now; if it does not, as it was taken."""
    command = taken.command
    note = "carried out before" if taken.done.repeat_of is not None else ""
    try:
        status = await service.sources.pump_status(taken.station, taken.pump)
    except DeviceError as error:
        # It was carried out, and an error would say that it was not.
        return ModeView(
            pump_id=command.pump_id,
            mode=command.mode.name,
            manual_hz=command.setpoint_hz,
            by=command.by,
            note=f"{note or 'taken'}; the pump did not tell its present mode: {error}",
        )
    return ModeView(
        pump_id=command.pump_id,
        mode=status.mode.name,
        manual_hz=status.manual_hz,
        mode_expires_at=when(status.mode_expires_at),
        by=status.mode_by,
        note=note,
    )


def _checked_mode(asked: ModeCommand) -> Mode:
    if (mode := _MODES.get(asked.mode)) is None:
        raise InvalidValueError(
            f"mode: {asked.mode[:60]!r}, expected AUTO, MANUAL or OUT_OF_SERVICE (LOCAL comes from the station's panel)"
        )
    for key, value in (("setpoint_hz", asked.setpoint_hz), ("expires_after_s", asked.expires_after_s)):
        if value is None:
            continue
        if mode is not Mode.MANUAL:
            raise InvalidValueError(f"{key}: {value!r}, expected none: it goes with MANUAL only")
        if not math.isfinite(value) or value < 0.0:
            raise InvalidValueError(f"{key}: {value!r}, expected a finite number from 0")
    if asked.command_id is not None and not _is_uuid(asked.command_id):
        raise InvalidValueError(f"command_id: {asked.command_id[:60]!r}, expected a UUID")
    return mode


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
