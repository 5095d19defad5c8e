"""One handler per view; each shows what the tree and the stores answered, and says what did not answer (HMI-2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from litestar import Response, get
from litestar.datastructures import State
from litestar.params import PathParameter, QueryParameter

from actors.safety.latch import EMERGENCY_STOP
from actors.safety.priorities import priorities
from actors.vocabulary import CalejoError, DeviceError, UnavailableError, UnknownSubjectError
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.ids import checked_id
from actors.vocabulary.limits import LIMIT_KEYS
from api.access.guarding import needs, principal_of
from api.access.programs import PERSONS_ONLY
from api.audit_routes import searched
from api.chain_views import explain_view
from api.dashboard.alarms import stands, waits
from api.dashboard.desktop import dashboard_of
from api.dashboard.page import AnyRequest, page
from api.dashboard.picture import Picture
from api.dashboard.settings_shown import sections
from api.dashboard.wells import sparkline, well
from api.handling import service_of
from api.stop_answers import StoppedPump

_Held = TypeVar("_Held")

StationId = Annotated[str, PathParameter(description="station_id", max_length=40)]
PumpId = Annotated[str, PathParameter(description="pump_id", max_length=40)]
StopId = Annotated[str, PathParameter(description="stop_id", max_length=300)]
SPARK: Final = {"width": 120, "height": 30, "span_s": 3600.0}
_STOPS_SHOWN: Final = 50
_ALARMS_SHOWN: Final = 300
_ROWS_SHOWN: Final = 200
_HISTORY_SHOWN: Final = 20
_AUDIT_PAGE: Final = 50


@get("/", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def overview(request: AnyRequest, state: State) -> Response[bytes]:
    """Show every site and station, the abnormal ones first."""
    picture = await dashboard_of(state).pictures.now()
    return await page(request, "overview.html", picture=picture, sparkline=sparkline, spark=SPARK)


@get("/stations/{station_id:str}", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def station(request: AnyRequest, state: State, station_id: StationId) -> Response[bytes]:
    """Show a station: its well to scale, its pumps, its day."""
    picture = await dashboard_of(state).pictures.now()
    found = picture.station(checked_id(station_id, place="station_id"))
    if found is None:
        raise _not_there(picture, f"station {station_id!r}")
    site, shown = found
    level_m = None if shown.level is None else shown.level.value
    return await page(
        request,
        "station.html",
        picture=picture,
        site=site,
        station=shown,
        well=well([(pump.config.pump_id, pump.config.limits) for pump in shown.pumps], level_m),
        zone=shown.config.timezone,
        context=("STATION", shown.config.station_id),
    )


@get("/pumps/{pump_id:str}", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def pump(request: AnyRequest, state: State, pump_id: PumpId) -> Response[bytes]:
    """Show a pump and why its setpoint is what it is, from the plan's row to what came back (SAF-4)."""
    service, picture = service_of(state), await dashboard_of(state).pictures.now()
    found = picture.pump(checked_id(pump_id, place="pump_id"))
    if found is None:
        raise _not_there(picture, f"pump {pump_id!r}")
    site, shown_station, shown = found
    sources = service.sources
    endpoints, decisions, status = await asyncio.gather(
        sources.endpoints(site.config),
        _or_why(sources.station_decisions(shown_station.config)),
        _or_why(sources.pump_status(shown_station.config, shown.config)),
    )
    chain = msgspec.to_builtins(
        explain_view(
            shown_station.config, shown.config, status=status, decisions=decisions, endpoints=endpoints
        )
    )
    steps = [] if chain["decision"] is None else chain["decision"]["trail"]
    return await page(
        request,
        "pump.html",
        picture=picture,
        site=site,
        station=shown_station,
        pump=shown,
        chain=chain,
        rules=priorities(shown_station.config).rows,
        acted={step["rule"] for step in steps},
        status=None if isinstance(status, str) else status,
        zone=shown_station.config.timezone,
        context=("PUMP", shown.config.pump_id),
    )


@get("/strip", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def strip(request: AnyRequest, state: State) -> Response[bytes]:
    """Show what all views show first: a piece of a page."""
    return await page(request, "strip.html", picture=await dashboard_of(state).pictures.now())


@get("/stop-scopes", opt=needs(Operation.SET_STOP), include_in_schema=False)
async def stop_scopes(
    request: AnyRequest,
    state: State,
    kind: Annotated[str, QueryParameter(max_length=10)] = "",
    scope_id: Annotated[str, QueryParameter(max_length=40)] = "",
) -> Response[bytes]:
    """Show what can be stopped now, what the view is about first: a piece of a page."""
    picture = await dashboard_of(state).pictures.now()
    return await page(request, "stop_scopes.html", picture=picture, context=(kind, scope_id))


@get("/stops", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def stops(request: AnyRequest, state: State) -> Response[bytes]:
    """Show the stops that hold, and the last ones that were cleared."""
    picture = await dashboard_of(state).pictures.now()
    every, _ = await service_of(state).stops.known(everything=True)
    past = [stop for stop in reversed(every) if stop.cleared_at is not None and stop.kind == EMERGENCY_STOP]
    return await page(
        request, "stops.html", picture=picture, past=past[:_STOPS_SHOWN], more=len(past) > _STOPS_SHOWN
    )


@get("/stops/{stop_id:str}/shown", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def stop_shown(request: AnyRequest, state: State, stop_id: StopId) -> Response[bytes]:
    """Show who has confirmed a stop, and what each covered pump does: a piece of a page."""
    stop, durable, endpoints, pumps = await service_of(state).stops.shown(stop_id)
    picture = await dashboard_of(state).pictures.now()
    return await page(
        request,
        "stop_shown.html",
        picture=picture,
        stop=stop,
        durable=durable,
        endpoints=endpoints,
        # Those that do not stand yet first: who looks here looks for them.
        pumps=sorted(pumps, key=_stands_least),
        pumps_max=_ROWS_SHOWN,
    )


@get("/alarms", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def alarms(request: AnyRequest, state: State) -> Response[bytes]:
    """Show alarms, raised ones first, and the failsafes that hold."""
    picture = await dashboard_of(state).pictures.now()
    sources = service_of(state).sources
    watchdogs = await asyncio.gather(
        *(_or_why(sources.watchdog(site.config.site_id)) for site in picture.sites)
    )
    failsafes = [each for one in watchdogs if not isinstance(one, str) for each in one.failsafes]
    timers = [each for one in watchdogs if not isinstance(one, str) for each in one.timers if each["lost"]]
    silent = [each for each in watchdogs if isinstance(each, str)]
    return await page(
        request,
        "alarms.html",
        picture=picture,
        failsafes=failsafes,
        timers=timers,
        silent=silent,
        stands=stands,
        waits=waits,
        alarms_max=_ALARMS_SHOWN,
    )


@get("/tree", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def tree(request: AnyRequest, state: State) -> Response[bytes]:
    """Show every process with its state and restarts (SUP-7)."""
    dashboard = dashboard_of(state)
    picture, nodes = await asyncio.gather(dashboard.pictures.now(), _or_why(dashboard.tree()))
    return await page(
        request,
        "tree.html",
        picture=picture,
        nodes=() if isinstance(nodes, str) else nodes,
        tree_why=nodes if isinstance(nodes, str) else "",
    )


@get("/limits", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def limits(request: AnyRequest, state: State) -> Response[bytes]:
    """Show every pump's limits in force, and all open proposals."""
    picture = await dashboard_of(state).pictures.now()
    proposals = await _or_why(service_of(state).limits.listed())
    return await page(
        request,
        "limits.html",
        picture=picture,
        slow=True,
        rows_max=_ROWS_SHOWN,
        proposals=[] if isinstance(proposals, str) else proposals,
        proposals_why=proposals if isinstance(proposals, str) else "",
    )


@get("/limits/{pump_id:str}", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def limits_of(request: AnyRequest, state: State, pump_id: PumpId) -> Response[bytes]:
    """Show a pump's limits: what is in force, what is proposed and what would change."""
    held, picture = service_of(state).limits, await dashboard_of(state).pictures.now()
    shown = await held.shown(pump_id)
    opened = [await held.one(shown.pump_id, each.proposal_id) for each in shown.proposals]
    history = await held.history(shown.pump_id)
    found = picture.pump(shown.pump_id)
    return await page(
        request,
        "limits_of.html",
        picture=picture,
        slow=True,
        shown=shown,
        proposed=opened,
        history=history,
        history_max=_HISTORY_SHOWN,
        whole={name for name, key in LIMIT_KEYS.items() if key.whole},
        zone=picture.zone if found is None else found[1].config.timezone,
        context=None if found is None else ("PUMP", found[2].config.pump_id),
    )


@get("/audit", opt=needs(Operation.READ_AUDIT), include_in_schema=False)
async def audit(  # noqa: PLR0917  (a filter each, by name in the query)
    request: AnyRequest,
    state: State,
    event_type: Annotated[str, QueryParameter(max_length=2000)] = "",
    severity: Annotated[str, QueryParameter(max_length=100)] = "",
    actor: Annotated[str, QueryParameter(max_length=200)] = "",
    object_id: Annotated[str, QueryParameter(max_length=400)] = "",
    text: Annotated[str, QueryParameter(max_length=200)] = "",
    since: Annotated[str, QueryParameter(max_length=40)] = "",
    until: Annotated[str, QueryParameter(max_length=40)] = "",
    before: Annotated[int | None, QueryParameter(ge=1, le=2**53)] = None,
) -> Response[bytes]:
    """Search the trail, and show whether the newest records hold against their chain and checkpoints (AUD-1)."""
    dashboard = dashboard_of(state)
    picture = await dashboard.pictures.now()
    wanted: dict[str, Any] = {
        "event_type": event_type.strip(),
        "severity": severity.strip(),
        "actor": actor.strip(),
        "object_id": object_id.strip(),
        "text": text.strip(),
        "since": since.strip(),
        "until": until.strip(),
    }
    why, entries = "", None
    try:
        entries = await searched(state, **wanted, before=before, limit=_AUDIT_PAGE)
    except CalejoError as error:
        why = str(error)
    window = await _or_why(dashboard.verified())
    return await page(
        request,
        "audit.html",
        picture=picture,
        slow=True,
        wanted=wanted,
        entries=entries,
        before=before,
        why=why,
        window=None if isinstance(window, str) else window,
        window_why=window if isinstance(window, str) else "",
    )


@get("/users", opt=needs(Operation.MANAGE_USERS), include_in_schema=False)
async def users(request: AnyRequest, state: State) -> Response[bytes]:
    """Show accounts, the sessions that live and the keys that count."""
    accounts = service_of(state).access.accounts
    picture = await dashboard_of(state).pictures.now()
    return await page(
        request,
        "users.html",
        picture=picture,
        slow=True,
        accounts=await accounts.listed(),
        sessions=await accounts.sessions(None),
        rows_max=_ROWS_SHOWN,
        keys=await accounts.live_keys(),
        roles=[role.value for role in UserRole],
        operations=[each.value for each in Operation if each not in PERSONS_ONLY],
    )


@get("/configuration", opt=needs(Operation.CONFIGURE), include_in_schema=False)
async def configuration(request: AnyRequest, state: State) -> Response[bytes]:
    """Show the settings in force, secrets masked; they are changed where they stand (CFG-1)."""
    return await page(
        request,
        "configuration.html",
        picture=await dashboard_of(state).pictures.now(),
        slow=True,
        sections=sections(service_of(state).configuration),
    )


@get("/account", opt=needs(Operation.OWN_ACCOUNT), include_in_schema=False)
async def account(request: AnyRequest, state: State) -> Response[bytes]:
    """Show one's own account: password, second factor, sessions."""
    accounts, principal = service_of(state).access.accounts, principal_of(request)
    own = None if principal.is_local or principal.key_id else await accounts.one(principal.user_id)
    sessions = () if own is None else await accounts.sessions(own.user_id)
    return await page(request, "account.html", picture=None, account=own, sessions=sessions)


@get("/trends/{station_id:str}", opt=needs(Operation.READ_PLANT), include_in_schema=False)
async def trends(state: State, station_id: StationId) -> Any:
    """Return a station's day for drawing."""
    return await dashboard_of(state).trend(checked_id(station_id, place="station_id"))


def _stands_least(pump: StoppedPump) -> tuple[bool, bool, bool]:
    """Order pumps of a stop: what the wire still lets run, what has not been read, what is not measured standing."""
    return (pump.run_inhibit and pump.published_hz <= 0.0, pump.stopped is True, pump.echoed is True)


def _not_there(picture: Picture, what: str) -> CalejoError:
    """Return why something cannot be shown: it is none, or nobody can say because the plant itself is not known."""
    if picture.why:
        return UnavailableError(f"{what} cannot be shown, because the plant is not known: {picture.why}")
    return UnknownSubjectError(f"{what} is not known")


async def _or_why(question: Awaitable[_Held]) -> _Held | str:
    """Return the answer, or as text why there is none."""
    try:
        return await question
    except DeviceError as error:
        return str(error)


PAGES: Final = [
    overview,
    station,
    pump,
    strip,
    stop_scopes,
    stops,
    stop_shown,
    alarms,
    tree,
    limits,
    limits_of,
    audit,
    users,
    configuration,
    account,
    trends,
]
