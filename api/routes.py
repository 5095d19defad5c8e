"""`/api/v1`: the tree, modes, alarms, discovery; each handler asks the tree, none computes a setpoint."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import JSONBody, PathParameter, QueryParameter

from actors.alarm.lifecycle import AlarmState
from actors.vocabulary import Role, Severity
from actors.vocabulary.access import Operation
from api.access.guarding import by_of, needs, public
from api.choices import choices, words
from api.handling import ACTOR_MAX as _ACTOR_MAX
from api.handling import SUBJECT_MAX as _SUBJECT_MAX
from api.handling import peer_of as _peer
from api.handling import service_of as _service
from api.handling import strictly as _strictly
from api.keys import id_by_key, keyed
from api.mode_commands import ModeCommand, command_mode
from api.paging import LIMIT_MAX, Cursor, Limit, paged
from api.plant_views import AlarmShown, DiscoveryView, NodeView, alarm_view, discovery_view, node_view
from api.views import ModeView

PumpId = Annotated[str, PathParameter(description="pump_id", max_length=40)]


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
    return await command_mode(
        _service(state),
        pump_id,
        data,
        by=by_of(request, data.by),
        peer=_peer(request),
        command_id=data.command_id or id_by_key(request),
    )


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


@get(
    "/discovery",
    summary="How the last look at the database went, and what was skipped",
    opt=needs(Operation.READ_PLANT),
)
async def discovery(state: State) -> DiscoveryView:
    """Show what is known of the plant's configuration: its revision, the invalid rows with their reasons (DAT-4)."""
    return discovery_view(await _service(state).sources.discovery())


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


HANDLERS: Final = [
    alive,
    tree,
    retry,
    set_mode,
    alarms,
    discovery,
    discover,
]
