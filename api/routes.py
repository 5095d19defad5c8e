"""`/api/v1`: the tree, modes, alarms, discovery; each handler asks the tree, none computes a setpoint."""

from __future__ import annotations

import math
import uuid
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import JSONBody, PathParameter, QueryParameter

from actors.alarm.lifecycle import AlarmState
from actors.messages import SetMode
from actors.vocabulary import (
    InvalidValueError,
    Mode,
    PumpConfig,
    RefusedError,
    Role,
    Severity,
    SiteConfig,
    StationConfig,
)
from actors.vocabulary.access import Operation
from actors.vocabulary.ids import checked_id
from api.access.guarding import by_of, needs, public
from api.choices import choices, words
from api.handling import ACTOR_MAX as _ACTOR_MAX
from api.handling import SUBJECT_MAX as _SUBJECT_MAX
from api.handling import peer_of as _peer
from api.handling import service_of as _service
from api.handling import strictly as _strictly
from api.keys import id_by_key, keyed
from api.paging import LIMIT_MAX, Cursor, Limit, paged
from api.plant_views import AlarmShown, DiscoveryView, NodeView, alarm_view, discovery_view, node_view
from api.service import Service
from api.sources import find_pump
from api.views import ModeView, when

_MODES: Final = {"AUTO": Mode.AUTO, "MANUAL": Mode.MANUAL, "OUT_OF_SERVICE": Mode.OUT_OF_SERVICE}


PumpId = Annotated[str, PathParameter(description="pump_id", max_length=40)]


class ModeCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mode for a pump: AUTO, MANUAL with `setpoint_hz`, or OUT_OF_SERVICE. LOCAL comes from the panel only."""

    mode: str
    by: str = ""
    setpoint_hz: float | None = None
    expires_after_s: float | None = None
    reason: str = ""
    command_id: str | None = None


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a child out of quarantine."""

    address: str


@get(
    "/alive",
    sync_to_thread=False,
    summary="Answers at once while the API lives",
    opt=public("says nothing but that the API lives"),
)
def alive() -> dict[str, bool]:
    """Answer without asking anybody."""
    return {"alive": True}


@get(
    "/tree",
    summary="Every actor with state, process, restarts, last error, mailbox, memory",
    opt=needs(Operation.READ_PLANT),
)
async def tree(
    request: Request[Any, Any, State],
    state: State,
    *,
    role: Annotated[
        str, QueryParameter(description="comma-separated roles; empty: all", max_length=200)
    ] = "",
    of_state: Annotated[
        str, QueryParameter(name="state", description="comma-separated states; empty: all", max_length=200)
    ] = "",
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[NodeView]]:
    """Show the process tree (SUP-7)."""
    roles, states = choices(role, Role, what="role"), words(of_state, what="state")
    rows = [
        node_view(node)
        for node in await _service(state).sources.tree()
        if (not roles or node.role in roles) and (not states or node.state in states)
    ]
    return paged(request, rows, lambda row: row.address, cursor=cursor, limit=limit)


@post(
    "/tree/retry",
    status_code=200,
    summary="Take a child out of quarantine",
    opt=needs(Operation.RETRY_ACTOR) | keyed(),
)
async def retry(state: State, request: Request[Any, Any, State], data: JSONBody[Retry]) -> dict[str, str]:
    """Have a supervisor try a quarantined child again (SUP-5)."""
    _strictly(request, Retry)
    service, peer, by = _service(state), _peer(request), by_of(request, "")[:_ACTOR_MAX]
    subject = data.address[:_SUBJECT_MAX]
    await service.noting.refusals(
        service.sources.retry(data.address), "QUARANTINE_RETRIED", actor=by, peer=peer, object_id=subject
    )
    service.noting.note("QUARANTINE_RETRIED", actor=by, peer=peer, object_id=subject)
    return {"address": data.address, "note": "being started"}


@post(
    "/pumps/{pump_id:str}/mode",
    status_code=200,
    summary="AUTO, MANUAL or OUT_OF_SERVICE",
    opt=needs(Operation.SET_MODE) | keyed(),
)
async def set_mode(
    state: State, request: Request[Any, Any, State], pump_id: PumpId, data: JSONBody[ModeCommand]
) -> ModeView:
    """Command a mode (CTL-7); MANUAL goes through the same safety layer as a plan.

    Only AUTO returns a pump to service: a speed meant for a pump that runs must not lift the mark of another hand.
    """
    _strictly(request, ModeCommand)
    noting, peer, by = _service(state).noting, _peer(request), by_of(request, data.by)
    return await noting.refusals(
        _set_mode(state, peer, pump_id, data, by=by, command_id=data.command_id or id_by_key(request)),
        "MODE_REFUSED",
        actor=by[:_ACTOR_MAX],
        peer=peer,
        object_id=f"PUMP:{pump_id.lower()}",
    )


async def _set_mode(
    state: State, peer: str, pump_id: str, data: ModeCommand, *, by: str, command_id: str
) -> ModeView:
    service, _, station, chosen = await _found(state, pump_id)
    mode = _checked_mode(data)
    now = service.clock.now()
    if mode is Mode.OUT_OF_SERVICE:
        answer = await service.stops.withdraw(
            pump_id=chosen.pump_id, mark_id=command_id, reason=data.reason, by=by, now=now, peer=peer
        )
        note = "durable" if answer.durable else f"NOT durable: {answer.detail}"
        return ModeView(pump_id=chosen.pump_id, mode=data.mode, by=by, note=note)
    if mode is Mode.MANUAL and chosen.pump_id in (await service.stops.out_of_service())[0]:
        raise RefusedError(f"pump {chosen.pump_id}: out of service, AUTO returns it to service first")
    command = SetMode(
        pump_id=chosen.pump_id,
        command_id=command_id,
        mode=mode,
        by=by,
        setpoint_hz=data.setpoint_hz,
        expires_after_s=data.expires_after_s,
    )
    # The pump's own mode first: a return to service must find the mode that the operator asked for.
    status, repeat_of = await service.sources.set_mode(station, command)
    if mode is Mode.AUTO:
        # Also when it is repeated: the first time may have ended half way. But its late copy must not lift a mark
        # that somebody set after it.
        await service.stops.return_to_service(
            pump_id=chosen.pump_id, reason=data.reason, by=by, now=now, peer=peer, set_until=repeat_of
        )
    service.mode_done(command, peer=peer, now=now)
    return ModeView(
        pump_id=chosen.pump_id,
        mode=status.mode.name,
        manual_hz=status.manual_hz,
        mode_expires_at=when(status.mode_expires_at),
        by=status.mode_by,
        note="carried out before" if repeat_of is not None else "",
    )


def _checked_mode(data: ModeCommand) -> Mode:
    if (mode := _MODES.get(data.mode)) is None:
        raise InvalidValueError(
            f"mode: {data.mode[:60]!r}, expected AUTO, MANUAL or OUT_OF_SERVICE (LOCAL comes from the station's panel)"
        )
    for key, value in (("setpoint_hz", data.setpoint_hz), ("expires_after_s", data.expires_after_s)):
        if value is None:
            continue
        if mode is not Mode.MANUAL:
            raise InvalidValueError(f"{key}: {value!r}, expected none: it goes with MANUAL only")
        if not math.isfinite(value) or value < 0.0:
            raise InvalidValueError(f"{key}: {value!r}, expected a finite number from 0")
    if data.command_id is not None and not _is_uuid(data.command_id):
        raise InvalidValueError(f"command_id: {data.command_id[:60]!r}, expected a UUID")
    return mode


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


@get("/alarms", summary="Alarms raised and returned", opt=needs(Operation.READ_PLANT))
async def alarms(
    request: Request[Any, Any, State],
    state: State,
    *,
    severity: Annotated[
        str, QueryParameter(description="comma-separated severities; empty: all", max_length=100)
    ] = "",
    of_state: Annotated[
        str, QueryParameter(name="state", description="comma-separated states; empty: all", max_length=60)
    ] = "",
    subject: Annotated[
        str, QueryParameter(description="of this subject only, whole, such as p1", max_length=300)
    ] = "",
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[AlarmShown]]:
    """Show alarms, newest first."""
    severities = choices(severity, Severity, what="severity")
    states = choices(of_state, AlarmState, what="state")
    listed = (await _service(state).sources.alarms()).alarms
    rows = [
        alarm_view(alarm)
        for alarm in sorted(listed, key=lambda each: -each.raised_at.utc_ns)
        if (not severities or alarm.severity in severities)
        and (not states or alarm.state in states)
        and subject in {"", alarm.subject}
    ]
    return paged(request, rows, lambda row: row.alarm_id, cursor=cursor, limit=limit)


@post(
    "/discovery", status_code=200, summary="Look at the database now", opt=needs(Operation.DISCOVER) | keyed()
)
async def discover(state: State, request: Request[Any, Any, State]) -> DiscoveryView:
    """Have configuration read at once (DAT-4)."""
    service = _service(state)
    status = await service.sources.discover()
    service.noting.note(
        "DISCOVERY_REQUESTED",
        actor=by_of(request, "")[:_ACTOR_MAX],
        peer=_peer(request),
        object_id="topology",
    )
    return discovery_view(status)


async def _found(state: State, pump_id: str) -> tuple[Service, SiteConfig, StationConfig, PumpConfig]:
    service = _service(state)
    return service, *find_pump(await service.sources.topology(), checked_id(pump_id, place="pump_id"))


HANDLERS: Final = [
    alive,
    tree,
    retry,
    set_mode,
    alarms,
    discover,
]
