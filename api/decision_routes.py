"""`/api/v1/decisions`: the past of a pump, one moment whole or a span row by row (SAF-4, BYD-1)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import PathParameter, QueryParameter

from actors.vocabulary import InvalidValueError
from actors.vocabulary.access import Operation
from api.access.guarding import needs
from api.decision_views import DecidedView, PastView
from api.decisions import PAGE, PAGE_MAX
from api.handling import service_of
from api.paging import Cursor, link_headers

PumpId = Annotated[str, PathParameter(description="pump_id", max_length=40)]
_Moment = "ISO 8601 with a zone, such as 2026-11-21T10:05:00Z"


@get(
    "/decisions/{pump_id:str}",
    summary="What held for a pump at a moment and why, or its decisions in a span",
    opt=needs(Operation.READ_PLANT),
)
async def decisions(
    request: Request[Any, Any, State],
    state: State,
    pump_id: PumpId,
    *,
    at: Annotated[
        str | None, QueryParameter(description=f"explain this moment: {_Moment}", max_length=60)
    ] = None,
    start: Annotated[
        str | None,
        QueryParameter(
            name="from", description=f"list from here (default: 24 h before `to`): {_Moment}", max_length=60
        ),
    ] = None,
    end: Annotated[
        str | None,
        QueryParameter(name="to", description=f"until here (default: now): {_Moment}", max_length=60),
    ] = None,
    cursor: Cursor = "",
    limit: Annotated[int, QueryParameter(description="rows of a page", ge=1, le=PAGE_MAX)] = PAGE,
    trail: Annotated[bool, QueryParameter(description="with everything recorded of each decision")] = False,
) -> Response[PastView | list[DecidedView]]:
    """Explain one moment (`at`), or list what was decided, the newest first."""
    past = service_of(state).decisions
    if at is not None:
        if start is not None or end is not None or cursor:
            raise InvalidValueError(
                f"at: {at[:60]!r}, expected either `at` or a span (`from`, `to`), not both"
            )
        return Response(await past.at(pump_id, at))
    page = await past.page(pump_id, start=start, end=end, cursor=cursor, count=limit, trail=trail)
    # The next page is of the same span, also when that began and ended with the moment of asking.
    span = {"from": page.start.isoformat(), "to": page.end.isoformat()}
    return Response(page.rows, headers=link_headers(request, page.following, **span))


DECISION_HANDLERS: Final = [decisions]
