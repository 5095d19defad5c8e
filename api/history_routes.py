"""`/api/v1/pumps/{pump_id}/history`: what one point of a pump was, as it was measured or shown on a wire (API-2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import PathParameter, QueryParameter

from actors.vocabulary import InvalidValueError, Quality, UnavailableError
from actors.vocabulary.access import Operation
from actors.vocabulary.client_calls import MEASURED_POINTS, PUBLISHED_POINTS, PastQuestion
from actors.vocabulary.ids import checked_id
from api.access.guarding import needs
from api.choices import moment
from api.handling import service_of
from api.paging import Cursor, Limit, link_headers, sealed, unsealed
from api.sources import find_pump

PAGE: Final = 100
SPAN: Final = timedelta(hours=24)
"""Without `from`, so far back."""
POINTS: Final = (*MEASURED_POINTS, *PUBLISHED_POINTS)
_MOMENT: Final = "ISO 8601, UTC unless it says otherwise"
_BEFORE: Final = "from here (default: 24 h before `to`)"


class PointValue(msgspec.Struct, frozen=True, kw_only=True):
    """What a point was from `at` on, in the unit that `/api/v1/tags` names. `quality` of that value, at that time."""

    at: datetime
    value: bool | int | float
    quality: str


@get(
    "/pumps/{pump_id:str}/history",
    summary="What one point of a pump was, newest first",
    opt=needs(Operation.READ_PLANT),
)
async def history(
    request: Request[Any, Any, State],
    pump_id: Annotated[str, PathParameter(description="pump_id", max_length=40)],
    *,
    point: Annotated[str, QueryParameter(description=f"one of {', '.join(POINTS)}", max_length=40)],
    begin: Annotated[
        str, QueryParameter(name="from", description=f"{_BEFORE}: {_MOMENT}", max_length=40)
    ] = "",
    end: Annotated[
        str, QueryParameter(name="to", description=f"until here (default: now): {_MOMENT}", max_length=40)
    ] = "",
    endpoint: Annotated[
        str,
        QueryParameter(
            description=f"whose picture of {', '.join(PUBLISHED_POINTS)}: opcua, modbus or sparkplug",
            max_length=20,
        ),
    ] = "opcua",
    cursor: Cursor = "",
    limit: Limit = PAGE,
) -> Response[list[PointValue]]:
    """List rows of feedback, or of what an endpoint showed: every change, after `from` up to and with `to`."""
    service = service_of(request.app.state)
    if point not in POINTS:
        raise InvalidValueError(f"point: {point[:60]!r}, expected one of {', '.join(POINTS)}")
    if endpoint not in service.sources.protocols:
        raise InvalidValueError(
            f"endpoint: {endpoint[:60]!r}, expected one of {', '.join(service.sources.protocols)}"
        )
    _, _, pump = find_pump(await service.sources.topology(), checked_id(pump_id, place="pump_id"))
    if service.points is None:
        raise UnavailableError("history: this API has no database")
    until = moment(end, what="to") or service.clock.now().utc
    since = moment(begin, what="from") or _before(until)
    if since >= until:
        raise InvalidValueError(f"from: {since.isoformat()}, expected before {until.isoformat()}")
    page = await service.points.read(
        PastQuestion(
            pump_id=pump.pump_id,
            point=point,
            start=until,
            end=since,
            count_max=limit,
            backwards=True,
            following=unsealed(cursor),
        ),
        endpoint=endpoint,
    )
    rows = [
        PointValue(at=value.at.astimezone(UTC), value=value.value, quality=Quality(value.quality).name)
        for value in page.values
    ]
    # `to` as it was understood first: the next page is one of the same list.
    return Response(rows, headers=link_headers(request, sealed(page.following), to=until.isoformat()))


def _before(until: datetime) -> datetime:
    try:
        return until - SPAN
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


HISTORY_HANDLERS: Final = [history]
