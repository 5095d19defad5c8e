"""`/api/v1`: one handler per resource; each asks the tree, none computes a setpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import JSONBody, PathParameter, QueryParameter

from actors.messages import EndpointStatus, StationDecisions
from actors.safety.priorities import Priorities, priorities
from actors.vocabulary import (
    DeviceError,
    PumpConfig,
    Scope,
    SiteConfig,
    StationConfig,
)
from actors.vocabulary.access import Operation, clear_operation
from actors.vocabulary.ids import checked_id
from api.access.guarding import by_of, needs, principal_of, public
from api.handling import peer_of as _peer
from api.handling import service_of as _service
from api.handling import strictly as _strictly
from api.keys import Keyed, id_by_key, keyed
from api.mode_commands import ModeCommand, command_mode
from api.paging import LIMIT_MAX, Cursor, Limit, paged
from api.service import Service
from api.sources import find_pump, find_station
from api.stop_answers import ClearAnswer, EndpointAnswer, StopAnswer, StoppedPump
from api.views import (
    ModeView,
    PumpView,
    alarm_view,
    explain_view,
    judged,
    plan_view,
    pump_view,
    stop_view,
    tree_view,
    when,
)
from protocols.tags import tags as point_tags

# What a refused request claimed goes into the trail, but not all of it.
_ACTOR_MAX: Final = 200
_SUBJECT_MAX: Final = 400

_Answer = TypeVar("_Answer")

PumpId = Annotated[str, PathParameter(description="pump_id", max_length=40)]
StationId = Annotated[str, PathParameter(description="station_id", max_length=40)]


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
    request: Request[Any, Any, State], state: State, cursor: Cursor = "", limit: Limit = LIMIT_MAX
) -> Response[list[dict[str, Any]]]:
    """Show the process tree (SUP-7)."""
    rows = [tree_view(node) for node in await _service(state).sources.tree()]
    return paged(request, rows, _key("address"), cursor=cursor, limit=limit)


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


@get("/tags", summary="Every point on Modbus and OPC UA", opt=needs(Operation.READ_POINTS))
async def tags(
    request: Request[Any, Any, State], state: State, cursor: Cursor = "", limit: Limit = LIMIT_MAX
) -> Response[list[dict[str, Any]]]:
    """Show the map that an integrator needs (MOD-2)."""
    topology = await _service(state).sources.topology()
    rows = [row for site in topology.sites for row in point_tags(site)]
    return paged(request, rows, _tag_key, cursor=cursor, limit=limit)


@get("/stations", summary="Stations with level and pumps", opt=needs(Operation.READ_POINTS))
async def stations(
    request: Request[Any, Any, State], state: State, cursor: Cursor = "", limit: Limit = LIMIT_MAX
) -> Response[list[dict[str, Any]]]:
    """Show every station."""
    service = _service(state)
    topology = await service.sources.topology()
    # All at once: a hundred silent stations must not take a hundred deadlines.
    found = [(site, station) for site in topology.sites for station in site.stations]
    rows = await asyncio.gather(*(_station(service, site, station) for site, station in found))
    return paged(request, rows, _key("station_id"), cursor=cursor, limit=limit)


@get("/stations/{station_id:str}", summary="One station", opt=needs(Operation.READ_POINTS))
async def station(state: State, station_id: StationId) -> dict[str, Any]:
    """Show one station."""
    service = _service(state)
    return await _station(
        service, *find_station(await service.sources.topology(), checked_id(station_id, place="station_id"))
    )


@get(
    "/stations/{station_id:str}/priorities",
    summary="The order of the safety rules, with the station's values",
    opt=needs(Operation.READ_PLANT),
)
async def station_priorities(state: State, station_id: StationId) -> Priorities:
    """Show which rule stands above which, and what each works with here (SAF-2)."""
    topology = await _service(state).sources.topology()
    return priorities(find_station(topology, checked_id(station_id, place="station_id"))[1])


async def _station(service: Service, site: SiteConfig, station: StationConfig) -> dict[str, Any]:
    status, plan = await asyncio.gather(
        _or_why(service.sources.station_status(station)), _or_why(service.sources.plan_status(station))
    )
    return {
        "station_id": station.station_id,
        "site_id": site.site_id,
        "name": station.name,
        "timezone": station.timezone,
        "modbus_unit_id": station.modbus_unit_id,
        "max_pumps_running": station.max_pumps_running,
        "pumps": [pump.pump_id for pump in station.pumps],
        "level": None if isinstance(status, str) else judged({"level": status.level})["level"],
        "plan": None if isinstance(plan, str) else plan_view(plan),
        "unavailable": [
            f"{part}: {answer}"
            for part, answer in (("station", status), ("plan", plan))
            if isinstance(answer, str)
        ],
    }


async def _or_why(question: Awaitable[_Answer]) -> _Answer | str:
    """Return the answer, or as text why there is none."""
    try:
        return await question
    except DeviceError as error:
        return str(error)


@get("/pumps", summary="Pumps with current setpoint and its trail", opt=needs(Operation.READ_POINTS))
async def pumps(
    request: Request[Any, Any, State],
    state: State,
    station_id: Annotated[
        str | None, QueryParameter(description="those of this station only", max_length=40)
    ] = None,
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[PumpView]]:
    """Show every pump, or those of one station."""
    service = _service(state)
    topology = await service.sources.topology()
    if station_id is not None:
        site, only = find_station(topology, checked_id(station_id, place="station_id"))
        views = await _pumps(service, site, (only,))
    else:
        sites = await asyncio.gather(*(_pumps(service, site, site.stations) for site in topology.sites))
        views = [view for site in sites for view in site]
    return paged(request, views, lambda view: view.pump_id, cursor=cursor, limit=limit)


async def _pumps(service: Service, site: SiteConfig, chosen: tuple[StationConfig, ...]) -> list[PumpView]:
    endpoints, out, decisions = await asyncio.gather(
        service.sources.endpoints(site),
        service.stops.out_of_service(),
        asyncio.gather(*(_or_why(service.sources.station_decisions(station)) for station in chosen)),
    )
    return [
        pump_view(station, pump, decisions=decided, endpoints=endpoints, out_of_service=out)
        for station, decided in zip(chosen, decisions, strict=True)
        for pump in station.pumps
    ]


@get("/pumps/{pump_id:str}", summary="One pump", opt=needs(Operation.READ_POINTS))
async def pump(state: State, pump_id: PumpId) -> PumpView:
    """Show one pump."""
    service, site, station, chosen = await _found(state, pump_id)
    views = await _pumps(service, site, (msgspec.structs.replace(station, pumps=(chosen,)),))
    return views[0]


@get(
    "/pumps/{pump_id:str}/explain", summary="Why the setpoint is what it is", opt=needs(Operation.READ_PLANT)
)
async def explain(state: State, pump_id: PumpId) -> dict[str, Any]:
    """Show the chain from plan row to readback (SAF-4)."""
    service, site, station, chosen = await _found(state, pump_id)
    endpoints, decisions = await _around(service, site, station)
    status = await _or_why(service.sources.pump_status(station, chosen))
    return explain_view(station, chosen, status=status, decisions=decisions, endpoints=endpoints)


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
    request: Request[Any, Any, State], state: State, cursor: Cursor = "", limit: Limit = LIMIT_MAX
) -> Response[list[dict[str, Any]]]:
    """Show alarms, newest first."""
    listed = (await _service(state).sources.alarms()).alarms
    rows = [alarm_view(alarm) for alarm in sorted(listed, key=lambda each: -each.raised_at.utc_ns)]
    return paged(request, rows, _key("alarm_id"), cursor=cursor, limit=limit)


@get("/emergency-stops", summary="Stops and out-of-service marks that hold", opt=needs(Operation.READ_PLANT))
async def list_stops(
    request: Request[Any, Any, State],
    state: State,
    everything: Annotated[bool, QueryParameter(name="all", description="cleared ones too")] = False,
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[dict[str, Any]]]:
    """Show stops, oldest first."""
    rows = [stop_view(stop) for stop in await _service(state).stops.listed(everything=everything)]
    return paged(request, rows, _key("stop_id"), cursor=cursor, limit=limit)


@get(
    "/emergency-stops/{stop_id:str}",
    summary="One stop, and what the wires and controllers show of it",
    opt=needs(Operation.READ_PLANT),
)
async def one_stop(
    state: State, stop_id: Annotated[str, PathParameter(description="stop_id", max_length=300)]
) -> dict[str, Any]:
    """Show a stop with each endpoint's and controller's present state (EST-1)."""
    stop, durable, endpoints, pumps = await _service(state).stops.shown(stop_id)
    now: dict[str, list[EndpointAnswer] | list[StoppedPump]] = {"endpoints": endpoints, "pumps": pumps}
    return {**stop_view(stop), "durable": durable, **now}


@post(
    "/emergency-stops",
    status_code=201,
    summary="Stop pumps now",
    opt=needs(Operation.SET_STOP) | keyed(Keyed.BY_ID),
)
async def set_stop(state: State, request: Request[Any, Any, State], data: JSONBody[SetStop]) -> StopAnswer:
    """Set an emergency stop (EST-1); the answer names each endpoint that confirmed."""
    _strictly(request, SetStop)
    service, peer, by = _service(state), _peer(request), by_of(request, data.by)
    setting = service.stops.set(
        stop_id=data.stop_id or id_by_key(request),
        scope=data.scope,
        scope_id=data.scope_id,
        reason=data.reason,
        by=by,
        now=service.clock.now(),
        peer=peer,
    )
    subject = f"{data.scope.value}:{data.scope_id}"[:_SUBJECT_MAX]
    return await service.noting.refusals(
        setting, "EMERGENCY_STOP_REFUSED", actor=by[:_ACTOR_MAX], peer=peer, object_id=subject
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
    _strictly(request, ClearStops)
    service, peer, by = _service(state), _peer(request), by_of(request, data.by)
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
        actor=by[:_ACTOR_MAX],
        peer=peer,
        object_id=",".join(data.stop_ids)[:_SUBJECT_MAX],
    )


@post(
    "/discovery", status_code=200, summary="Look at the database now", opt=needs(Operation.DISCOVER) | keyed()
)
async def discover(state: State, request: Request[Any, Any, State]) -> dict[str, Any]:
    """Have configuration read at once (DAT-4)."""
    service = _service(state)
    status = await service.sources.discover()
    service.noting.note(
        "DISCOVERY_REQUESTED",
        actor=by_of(request, "")[:_ACTOR_MAX],
        peer=_peer(request),
        object_id="topology",
    )
    topology = status.topology
    return {
        "looked_at": when(status.looked_at),
        "last_error": status.last_error,
        "revision": None if topology is None else topology.revision,
        "stations": 0 if topology is None else sum(len(site.stations) for site in topology.sites),
        "pumps": 0
        if topology is None
        else sum(len(each.pumps) for site in topology.sites for each in site.stations),
        "invalid": [] if topology is None else [msgspec.to_builtins(row) for row in topology.invalid],
    }


def _key(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: str(row[name])


def _tag_key(row: dict[str, Any]) -> str:
    return " ".join(str(row.get(part)) for part in ("protocol", "path", "unit_id", "table", "address"))


async def _found(state: State, pump_id: str) -> tuple[Service, SiteConfig, StationConfig, PumpConfig]:
    service = _service(state)
    return service, *find_pump(await service.sources.topology(), checked_id(pump_id, place="pump_id"))


async def _around(
    service: Service, site: SiteConfig, station: StationConfig
) -> tuple[dict[str, EndpointStatus | str], StationDecisions | str]:
    return await asyncio.gather(
        service.sources.endpoints(site), _or_why(service.sources.station_decisions(station))
    )


HANDLERS: Final = [
    alive,
    tree,
    retry,
    tags,
    stations,
    station,
    station_priorities,
    pumps,
    pump,
    explain,
    set_mode,
    alarms,
    list_stops,
    one_stop,
    set_stop,
    clear_stops,
    discover,
]
