"""`/api/v1/plans`, `/plan-refusals`, `/violations`, `/failsafes`: rows of the past by pages, newest first (API-2)."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Final, NamedTuple

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import QueryParameter

from actors.vocabulary import UnavailableError
from actors.vocabulary.access import Operation
from actors.vocabulary.ids import checked_id
from actors.vocabulary.past import PastQuery, PastTable
from api.access.guarding import needs
from api.choices import Since, Until, moment
from api.handling import service_of
from api.paging import Cursor, Limit, Page, answer, number_of, numbered
from api.past_views import FailsafeView, PlanView, RefusalView, Row, ViolationView, row_view
from api.sources import find_station

PAGE: Final = 100
PumpFilter = Annotated[str, QueryParameter(description="of this pump only", max_length=40)]
StationFilter = Annotated[
    str, QueryParameter(description="of the pumps that stand in this station now", max_length=40)
]
ScopeFilter = Annotated[str, QueryParameter(description="of this pump, station or site only", max_length=40)]


@get("/plans", summary="Plans as the optimiser wrote them, newest first", opt=needs(Operation.READ_PLANT))
async def plans(
    request: Request[Any, Any, State],
    *,
    pump_id: PumpFilter = "",
    station_id: StationFilter = "",
    since: Since = "",
    until: Until = "",
    cursor: Cursor = "",
    limit: Limit = PAGE,
) -> Response[list[PlanView]]:
    """List rows of `pump_plans` whose interval touches the span; which a pump follows is in its explanation."""
    asked = _Asked(("pump_id", pump_id), station_id, since, until, cursor, limit)
    return await _page(request, PastTable.PLANS, PlanView, asked)


@get("/plan-refusals", summary="Plans that were refused, and why", opt=needs(Operation.READ_PLANT))
async def refusals(
    request: Request[Any, Any, State],
    *,
    pump_id: PumpFilter = "",
    station_id: StationFilter = "",
    since: Since = "",
    until: Until = "",
    cursor: Cursor = "",
    limit: Limit = PAGE,
) -> Response[list[RefusalView]]:
    """List refused plans, newest first (CTL-1)."""
    asked = _Asked(("pump_id", pump_id), station_id, since, until, cursor, limit)
    return await _page(request, PastTable.REFUSALS, RefusalView, asked)


@get("/violations", summary="Limits that had to act", opt=needs(Operation.READ_PLANT))
async def violations(
    request: Request[Any, Any, State],
    *,
    pump_id: PumpFilter = "",
    station_id: StationFilter = "",
    since: Since = "",
    until: Until = "",
    cursor: Cursor = "",
    limit: Limit = PAGE,
) -> Response[list[ViolationView]]:
    """List violations of limits, newest first; `suppressed` counts those between (SAF-5)."""
    asked = _Asked(("pump_id", pump_id), station_id, since, until, cursor, limit)
    return await _page(request, PastTable.VIOLATIONS, ViolationView, asked)


@get("/failsafes", summary="Failsafes of the past and those that hold", opt=needs(Operation.READ_PLANT))
async def failsafes(
    request: Request[Any, Any, State],
    *,
    scope_id: ScopeFilter = "",
    station_id: StationFilter = "",
    since: Since = "",
    until: Until = "",
    cursor: Cursor = "",
    limit: Limit = PAGE,
) -> Response[list[FailsafeView]]:
    """List failsafe periods that touch the span, newest first; one without `ended_at` holds (WDG-2)."""
    asked = _Asked(("scope_id", scope_id), station_id, since, until, cursor, limit)
    return await _page(request, PastTable.FAILSAFES, FailsafeView, asked)


class _Asked(NamedTuple):
    """The query of each list; `subject`: its name there, and its value."""

    subject: tuple[str, str]
    station_id: str
    since: str
    until: str
    cursor: str
    limit: int


async def _page(
    request: Request[Any, Any, State], table: PastTable, kind: type[Row], asked: _Asked
) -> Response[list[Row]]:
    service = service_of(request.app.state)
    if service.tables is None:
        raise UnavailableError(f"{table.value}: this API has no database")
    query = PastQuery(
        subjects=await _subjects(request, table, asked),
        since=moment(asked.since, what="since"),
        until=moment(asked.until, what="until"),
        before=number_of(asked.cursor),
        # One more tells whether there is a next page.
        count_max=asked.limit + 1,
    )
    tables = service.tables

    async def made() -> Page[Row]:
        rows = [row_view(kind, each) for each in await tables.page(table, query)]
        # The number of a row comes first in each.
        return numbered(rows, attrgetter(kind.__struct_fields__[0]), limit=asked.limit)

    return answer(request, await service.questions.ask((table, query), made))


async def _subjects(
    request: Request[Any, Any, State], table: PastTable, asked: _Asked
) -> tuple[str, ...] | None:
    place, given = asked.subject
    named = {checked_id(given, place=place)} if given else None
    if not asked.station_id:
        return None if named is None else tuple(named)
    topology = await service_of(request.app.state).sources.topology()
    _, station = find_station(topology, checked_id(asked.station_id, place="station_id"))
    standing = {pump.pump_id for pump in station.pumps}
    if table is PastTable.FAILSAFES:
        standing.add(station.station_id)
    return tuple(sorted(standing if named is None else standing & named))


PAST_HANDLERS: Final = [plans, refusals, violations, failsafes]
