"""`/api/v1/plans`, `/plan-refusals`, `/violations`, `/failsafes`: rows of the past by pages, newest first (API-2)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Final

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import QueryParameter

from actors.vocabulary import InvalidValueError, UnavailableError
from actors.vocabulary.access import Operation
from actors.vocabulary.ids import checked_id
from actors.vocabulary.past import PastTable
from api.access.guarding import needs
from api.handling import service_of
from api.paging import Cursor, Limit, link_to

PAGE: Final = 100
_DIGITS_MAX: Final = 18
_KEYS: Final = {
    PastTable.VIOLATIONS: "violation_id",
    PastTable.FAILSAFES: "event_id",
    PastTable.REFUSALS: "refusal_id",
    PastTable.PLANS: "plan_id",
}
PumpFilter = Annotated[str, QueryParameter(description="of this pump only", max_length=40)]
ScopeFilter = Annotated[str, QueryParameter(description="of this pump, station or site only", max_length=40)]
Rows = Response[list[dict[str, Any]]]


@get("/plans", summary="Plans as the optimiser wrote them, newest first", opt=needs(Operation.READ_PLANT))
async def plans(
    request: Request[Any, Any, State], pump_id: PumpFilter = "", cursor: Cursor = "", limit: Limit = PAGE
) -> Rows:
    """List rows of `pump_plans`; which of them a pump follows is in its explanation."""
    return await _page(request, PastTable.PLANS, ("pump_id", pump_id), cursor, limit)


@get("/plan-refusals", summary="Plans that were refused, and why", opt=needs(Operation.READ_PLANT))
async def refusals(
    request: Request[Any, Any, State], pump_id: PumpFilter = "", cursor: Cursor = "", limit: Limit = PAGE
) -> Rows:
    """List refused plans, newest first (CTL-1)."""
    return await _page(request, PastTable.REFUSALS, ("pump_id", pump_id), cursor, limit)


@get("/violations", summary="Limits that had to act", opt=needs(Operation.READ_PLANT))
async def violations(
    request: Request[Any, Any, State], pump_id: PumpFilter = "", cursor: Cursor = "", limit: Limit = PAGE
) -> Rows:
    """List violations of limits, newest first; `suppressed` counts those between (SAF-5)."""
    return await _page(request, PastTable.VIOLATIONS, ("pump_id", pump_id), cursor, limit)


@get("/failsafes", summary="Failsafes of the past and those that hold", opt=needs(Operation.READ_PLANT))
async def failsafes(
    request: Request[Any, Any, State], scope_id: ScopeFilter = "", cursor: Cursor = "", limit: Limit = PAGE
) -> Rows:
    """List failsafe periods, newest first; one without `ended_at` holds (WDG-2)."""
    return await _page(request, PastTable.FAILSAFES, ("scope_id", scope_id), cursor, limit)


async def _page(
    request: Request[Any, Any, State], table: PastTable, subject: tuple[str, str], cursor: str, limit: int
) -> Rows:
    reader = service_of(request.app.state).tables
    if reader is None:
        raise UnavailableError(f"{table.value}: this API has no database")
    place, given = subject
    rows = await reader.page(
        table,
        subject=checked_id(given, place=place) if given else None,
        before=_before(cursor) if cursor else None,
        # One more tells whether there is a next page.
        count_max=limit + 1,
    )
    page, headers = rows[:limit], {}
    if len(rows) > limit:
        headers["Link"] = link_to(request, cursor=_cursor(page[-1][_KEYS[table]]))
    return Response([_row(each) for each in page], headers=headers)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _shown(value) for name, value in row.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    return value.value if isinstance(value, Enum) else value


def _cursor(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).rstrip(b"=").decode()


def _before(cursor: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except (ValueError, binascii.Error):
        text = ""
    if not text.isdigit() or len(text) > _DIGITS_MAX:
        raise InvalidValueError(f"cursor: {cursor[:40]!r}, expected one from a Link header")
    return int(text)


PAST_HANDLERS: Final = [plans, refusals, violations, failsafes]
