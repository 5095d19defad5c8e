"""`/api/v1/stations`, `/pumps`, `/tags`: the plant as it stands; a page is cut first, and only that is asked for.

Who asks for the same page at the same time shares it (`api.questions`).
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import PathParameter, QueryParameter

from actors.safety.priorities import Priorities, priorities
from actors.vocabulary import PumpConfig, SiteConfig, StationConfig, Topology
from actors.vocabulary.access import Operation
from actors.vocabulary.ids import checked_id
from api.access.guarding import needs
from api.chain_views import ExplainView, explain_view
from api.handling import or_why, service_of
from api.paging import LIMIT_MAX, Cursor, Limit, Page, answer, cut
from api.plant_views import StationView, TagView, station_view
from api.service import Service
from api.sources import find_pump, find_site, find_station
from api.views import PumpView, pump_view

PumpId = Annotated[str, PathParameter(description="pump_id", max_length=40)]
StationId = Annotated[str, PathParameter(description="station_id", max_length=40)]
SiteFilter = Annotated[str, QueryParameter(description="those of this site only", max_length=40)]
StationFilter = Annotated[str, QueryParameter(description="those of this station only", max_length=40)]

_Placed = tuple[SiteConfig, StationConfig]
_PlacedPump = tuple[SiteConfig, StationConfig, PumpConfig]


@get("/tags", summary="Every point on Modbus and OPC UA", opt=needs(Operation.READ_POINTS))
async def tags(
    request: Request[Any, Any, State],
    state: State,
    *,
    site_id: SiteFilter = "",
    station_id: StationFilter = "",
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[TagView]]:
    """Show the map that an integrator needs (MOD-2)."""
    service = service_of(state)
    topology = await service.sources.topology()
    site, station = _narrowed(topology, site_id, station_id)
    page = await service.tags.page(topology, site_id=site, station_id=station, cursor=cursor, limit=limit)
    # Encoded when the plant changed, not whenever somebody asks; the type is for the document.
    made: Response[Any] = answer(request, Page([], page.following))
    made.content = page.body
    made.headers["ETag"] = page.tag
    return made


@get("/stations", summary="Stations with level and pumps", opt=needs(Operation.READ_POINTS))
async def stations(
    request: Request[Any, Any, State],
    state: State,
    *,
    site_id: SiteFilter = "",
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[StationView]]:
    """Show every station, or those of one site."""
    service = service_of(state)

    async def made() -> Page[StationView]:
        topology = await service.sources.topology()
        site, _ = _narrowed(topology, site_id, "")
        chosen = cut(
            [each for each in _stations(topology) if site in {"", each[0].site_id}],
            lambda each: each[1].station_id,
            cursor=cursor,
            limit=limit,
        )
        # All at once: a hundred silent stations must not take a hundred deadlines.
        rows = await asyncio.gather(*(_station(service, *each) for each in chosen.rows))
        return Page(rows, chosen.following)

    return answer(request, await service.questions.ask(("stations", site_id, cursor, limit), made))


@get("/stations/{station_id:str}", summary="One station", opt=needs(Operation.READ_POINTS))
async def station(state: State, station_id: StationId) -> StationView:
    """Show one station."""
    service = service_of(state)
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
    topology = await service_of(state).sources.topology()
    return priorities(find_station(topology, checked_id(station_id, place="station_id"))[1])


@get("/pumps", summary="Pumps with current setpoint and its trail", opt=needs(Operation.READ_POINTS))
async def pumps(
    request: Request[Any, Any, State],
    state: State,
    *,
    site_id: SiteFilter = "",
    station_id: StationFilter = "",
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[PumpView]]:
    """Show every pump, or those of one site or station."""
    service = service_of(state)

    async def made() -> Page[PumpView]:
        topology = await service.sources.topology()
        site, only = _narrowed(topology, site_id, station_id)
        found = [
            (*each, pump)
            for each in _stations(topology)
            if site in {"", each[0].site_id} and only in {"", each[1].station_id}
            for pump in each[1].pumps
        ]
        chosen = cut(found, lambda each: each[2].pump_id, cursor=cursor, limit=limit)
        return Page(await _pumps(service, chosen.rows), chosen.following)

    asked = ("pumps", site_id, station_id, cursor, limit)
    return answer(request, await service.questions.ask(asked, made))


@get("/pumps/{pump_id:str}", summary="One pump", opt=needs(Operation.READ_POINTS))
async def pump(state: State, pump_id: PumpId) -> PumpView:
    """Show one pump."""
    service, site, station, chosen = await _found(state, pump_id)
    [view] = await _pumps(service, [(site, station, chosen)])
    return view


@get(
    "/pumps/{pump_id:str}/explain", summary="Why the setpoint is what it is", opt=needs(Operation.READ_PLANT)
)
async def explain(state: State, pump_id: PumpId) -> ExplainView:
    """Show the chain from plan row to readback (SAF-4)."""
    service, site, station, chosen = await _found(state, pump_id)
    endpoints, decisions, status = await asyncio.gather(
        service.sources.endpoints(site),
        or_why(service.sources.station_decisions(station)),
        or_why(service.sources.pump_status(station, chosen)),
    )
    return explain_view(station, chosen, status=status, decisions=decisions, endpoints=endpoints)


async def _station(service: Service, site: SiteConfig, station: StationConfig) -> StationView:
    status, plan = await asyncio.gather(
        or_why(service.sources.station_status(station)), or_why(service.sources.plan_status(station))
    )
    return station_view(site.site_id, station, status=status, plan=plan)


async def _pumps(service: Service, chosen: list[_PlacedPump]) -> list[PumpView]:
    """Return pumps as shown; asks the sites and stations they stand in, each once."""
    sites = {site.site_id: site for site, _, _ in chosen}
    stations = {station.station_id: station for _, station, _ in chosen}
    endpoints, out, decisions = await asyncio.gather(
        asyncio.gather(*(service.sources.endpoints(site) for site in sites.values())),
        service.stops.out_of_service(),
        asyncio.gather(*(or_why(service.sources.station_decisions(each)) for each in stations.values())),
    )
    shown = dict(zip(sites, endpoints, strict=True))
    decided = dict(zip(stations, decisions, strict=True))
    return [
        pump_view(
            station,
            pump,
            decisions=decided[station.station_id],
            endpoints=shown[site.site_id],
            out_of_service=out,
        )
        for site, station, pump in chosen
    ]


def _stations(topology: Topology) -> list[_Placed]:
    return [(site, station) for site in topology.sites for station in site.stations]


def _narrowed(topology: Topology, site_id: str, station_id: str) -> tuple[str, str]:
    """Return the ids of the site and station that are wanted, '' each: any.

    Raises:
        InvalidValueError: this is no id.
        UnknownSubjectError: there is no such station, or no such site.

    """
    site = checked_id(site_id, place="site_id") if site_id else ""
    station = checked_id(station_id, place="station_id") if station_id else ""
    if site:
        find_site(topology, site)
    if station:
        find_station(topology, station)
    return site, station


async def _found(state: State, pump_id: str) -> tuple[Service, SiteConfig, StationConfig, PumpConfig]:
    service = service_of(state)
    return service, *find_pump(await service.sources.topology(), checked_id(pump_id, place="pump_id"))


PLANT_HANDLERS: Final = [
    tags,
    stations,
    station,
    station_priorities,
    pumps,
    pump,
    explain,
]
