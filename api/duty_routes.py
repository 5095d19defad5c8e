"""`/api/v1/pumps/PUMP/clean-out`: a person begins and ends the one supervised exception to dry run (CTL-6)."""

from __future__ import annotations

import math
import uuid
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, post
from litestar.datastructures import State
from litestar.params import JSONBody, PathParameter

from actors.messages import StartCleanOut, StopCleanOut
from actors.vocabulary import InvalidValueError, StationConfig
from actors.vocabulary.access import Operation
from actors.vocabulary.ids import checked_id
from api.access.guarding import by_of, needs
from api.handling import peer_of, service_of, strictly
from api.keys import id_by_key, keyed
from api.service import Service
from api.sources import find_pump
from api.stop_answers import checked_text

PumpId = Annotated[str, PathParameter(description="pump_id", max_length=40)]


class BeginCleanOut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A clean-out of one pump. `lasts_s`: at most so long; absent: as long as is configured.

    `command_id` (a UUID) makes the request idempotent; absent, one is made.
    """

    reason: str
    by: str = ""
    lasts_s: float | None = None
    command_id: str | None = None


class EndCleanOut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a clean-out: by whom, and why."""

    reason: str
    by: str = ""


class CleanOutView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order."""

    pump_id: str
    command_id: str
    by: str
    note: str


@post(
    "/pumps/{pump_id:str}/clean-out",
    status_code=200,
    summary="Run one pump down below its dry-run level, supervised",
    opt=needs(Operation.SET_MODE) | keyed(),
)
async def begin(
    state: State, request: Request[Any, Any, State], pump_id: PumpId, data: JSONBody[BeginCleanOut]
) -> CleanOutView:
    """Order a clean-out; what would end it at once is refused with the reason, 409."""
    strictly(request, BeginCleanOut)
    if data.lasts_s is not None and not (math.isfinite(data.lasts_s) and data.lasts_s > 0.0):
        raise InvalidValueError(f"lasts_s: {data.lasts_s!r}, expected a finite number above 0")
    service, station, pump = await _of(state, pump_id)
    order = StartCleanOut(
        pump_id=pump,
        command_id=_command_id(data.command_id or id_by_key(request)),
        by=by_of(request, data.by),
        reason=checked_text("reason", data.reason),
        lasts_s=data.lasts_s,
        source_address=peer_of(request),
    )
    done = await service.sources.clean_out(station, order)
    return CleanOutView(pump_id=pump, command_id=order.command_id, by=order.by, note=done.note)


@post(
    "/pumps/{pump_id:str}/clean-out/end",
    status_code=200,
    summary="End a clean-out now",
    opt=needs(Operation.SET_MODE) | keyed(),
)
async def end(
    state: State, request: Request[Any, Any, State], pump_id: PumpId, data: JSONBody[EndCleanOut]
) -> CleanOutView:
    """End a clean-out; without one under way nothing happens."""
    strictly(request, EndCleanOut)
    service, station, pump = await _of(state, pump_id)
    order = StopCleanOut(
        pump_id=pump,
        command_id=id_by_key(request),
        by=by_of(request, data.by),
        reason=checked_text("reason", data.reason),
        source_address=peer_of(request),
    )
    done = await service.sources.clean_out(station, order)
    return CleanOutView(pump_id=pump, command_id=order.command_id, by=order.by, note=done.note)


async def _of(state: State, pump_id: str) -> tuple[Service, StationConfig, str]:
    service = service_of(state)
    topology = await service.sources.topology()
    _, station, pump = find_pump(topology, checked_id(pump_id, place="pump_id"))
    return service, station, pump.pump_id


def _command_id(given: str) -> str:
    try:
        return str(uuid.UUID(given))
    except ValueError:
        raise InvalidValueError(f"command_id: {given[:60]!r}, expected a UUID") from None


DUTY_HANDLERS: Final = [begin, end]
