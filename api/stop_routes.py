"""`/api/v1/emergency-stops`: set, shown, cleared by name (EST)."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import JSONBody, PathParameter, QueryParameter

from actors.safety.latch import EMERGENCY_STOP, OUT_OF_SERVICE
from actors.vocabulary import Scope
from actors.vocabulary.access import Operation, clear_operation
from actors.vocabulary.ids import checked_id
from api.access.guarding import by_of, needs, principal_of
from api.choices import choices
from api.handling import ACTOR_MAX, SUBJECT_MAX, peer_of, service_of, strictly
from api.keys import Keyed, id_by_key, keyed
from api.paging import LIMIT_MAX, Cursor, Limit, paged
from api.plant_views import StopNowView, StopView, stop_now_view, stop_view
from api.stop_answers import ClearAnswer, StopAnswer

KINDS: Final = (EMERGENCY_STOP, OUT_OF_SERVICE)


class SetStop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An emergency stop. `stop_id` (a UUID) makes the request idempotent; absent, one is made."""

    scope: Scope
    reason: str
    by: str = ""
    scope_id: str = ""
    stop_id: str | None = None


class ClearStops(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Clear named stops."""

    stop_ids: Annotated[list[str], msgspec.Meta(max_length=1000)]
    reason: str
    by: str = ""


@get("/emergency-stops", summary="Stops and out-of-service marks that hold", opt=needs(Operation.READ_PLANT))
async def list_stops(
    request: Request[Any, Any, State],
    state: State,
    *,
    everything: Annotated[bool, QueryParameter(name="all", description="cleared ones too")] = False,
    kind: Annotated[
        str,
        QueryParameter(description="emergency_stop or out_of_service, by commas; empty: both", max_length=60),
    ] = "",
    of_scope: Annotated[
        str, QueryParameter(name="scope", description="comma-separated scopes; empty: all", max_length=60)
    ] = "",
    scope_id: Annotated[
        str, QueryParameter(description="of this pump, station or site itself only", max_length=40)
    ] = "",
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[StopView]]:
    """Show stops, oldest first."""
    kinds, scopes = choices(kind, KINDS, what="kind"), choices(of_scope, Scope, what="scope")
    wanted = checked_id(scope_id, place="scope_id") if scope_id else ""
    rows = [
        stop_view(stop)
        for stop in await service_of(state).stops.listed(everything=everything)
        if (not kinds or stop.kind in kinds)
        and (not scopes or stop.scope in scopes)
        and wanted in {"", stop.scope_id}
    ]
    return paged(request, rows, lambda row: row.stop_id, cursor=cursor, limit=limit)


@get(
    "/emergency-stops/{stop_id:str}",
    summary="One stop, and what the wires and controllers show of it",
    opt=needs(Operation.READ_PLANT),
)
async def one_stop(
    state: State, stop_id: Annotated[str, PathParameter(description="stop_id", max_length=300)]
) -> StopNowView:
    """Show a stop with each endpoint's and controller's present state (EST-1)."""
    stop, durable, endpoints, pumps = await service_of(state).stops.shown(stop_id)
    return stop_now_view(stop, durable=durable, endpoints=endpoints, pumps=pumps)


@post(
    "/emergency-stops",
    status_code=201,
    summary="Stop pumps now",
    opt=needs(Operation.SET_STOP) | keyed(Keyed.BY_ID),
)
async def set_stop(state: State, request: Request[Any, Any, State], data: JSONBody[SetStop]) -> StopAnswer:
    """Set an emergency stop (EST-1); the answer names each endpoint that confirmed."""
    strictly(request, SetStop)
    service, peer, by = service_of(state), peer_of(request), by_of(request, data.by)
    setting = service.stops.set(
        stop_id=data.stop_id or id_by_key(request),
        scope=data.scope,
        scope_id=data.scope_id,
        reason=data.reason,
        by=by,
        now=service.clock.now(),
        peer=peer,
    )
    subject = f"{data.scope.value}:{data.scope_id}"[:SUBJECT_MAX]
    return await service.noting.refusals(
        setting, "EMERGENCY_STOP_REFUSED", actor=by[:ACTOR_MAX], peer=peer, object_id=subject
    )


@post(
    "/emergency-stops/clear",
    status_code=200,
    summary="Clear named stops; pumps then ramp from 0",
    opt=needs(Operation.CLEAR_STOP) | keyed(),
)
async def clear_stops(
    state: State, request: Request[Any, Any, State], data: JSONBody[ClearStops]
) -> ClearAnswer:
    """Clear stops by id with a reason (EST-2)."""
    strictly(request, ClearStops)
    service, peer, by = service_of(state), peer_of(request), by_of(request, data.by)
    clearing = service.stops.clear(
        stop_ids=data.stop_ids,
        reason=data.reason,
        by=by,
        now=service.clock.now(),
        peer=peer,
        may_clear=lambda scope: principal_of(request).may(clear_operation(scope)),
    )
    return await service.noting.refusals(
        clearing,
        "EMERGENCY_STOP_CLEAR_REFUSED",
        actor=by[:ACTOR_MAX],
        peer=peer,
        object_id=",".join(data.stop_ids)[:SUBJECT_MAX],
    )


STOP_HANDLERS: Final = [list_stops, one_stop, set_stop, clear_stops]
