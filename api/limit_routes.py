"""`/api/v1/limits` and `/api/v1/limit-proposals`: what is in force, who wants it changed, who approved (SAF-6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, PathParameter, QueryParameter

from actors.vocabulary.access import Operation
from actors.vocabulary.limits import ProposalState
from api.access.guarding import by_of, needs
from api.choices import choices
from api.etags import unchanged
from api.handling import peer_of, service_of, strictly
from api.keys import id_by_key, keyed
from api.limit_views import DiffView, LimitsView, ProposalView, ProposedView, VersionView
from api.limits import Limits
from api.paging import LIMIT_MAX, Cursor, Limit, answer, number_of, numbered, paged

VERSIONS: Final = 500
PumpId = Annotated[str, PathParameter(description="pump_id", max_length=40)]
ProposalId = Annotated[str, PathParameter(description="proposal_id (a UUID)", max_length=60)]
StateFilter = Annotated[
    str, QueryParameter(name="state", description="comma-separated states; empty: all", max_length=200)
]


class ProposeLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a pump's limits: the changed keys only. `base_version`: what its author saw in force (0: nothing).

    `proposal_id` (a UUID) makes the request idempotent; absent, one is made.
    """

    changes: Annotated[dict[str, Any], msgspec.Meta(max_length=100)]
    base_version: Annotated[int, msgspec.Meta(ge=0)]
    reason: str
    by: str = ""
    expires_after_s: float | None = None
    proposal_id: str | None = None


class CloseProposal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Approve, reject or withdraw: by whom, and why."""

    reason: str
    by: str = ""


@get(
    "/limits/{pump_id:str}",
    summary="Limits in force, envelope and open proposals",
    opt=needs(Operation.READ_PLANT),
)
async def show(state: State, pump_id: PumpId) -> LimitsView:
    """Show a pump's limits."""
    return await service_of(state).limits.shown(pump_id)


@get(
    "/limits/{pump_id:str}/history",
    summary="Every version that ever stood, newest first",
    opt=needs(Operation.READ_PLANT),
)
async def history(
    request: Request[Any, Any, State],
    state: State,
    pump_id: PumpId,
    cursor: Cursor = "",
    limit: Limit = VERSIONS,
) -> Response[list[VersionView]]:
    """Show what the database kept of a pump's limits, whoever wrote them."""
    # One more tells whether there is a next page.
    before = number_of(cursor)
    rows = await service_of(state).limits.history(pump_id, before=before, count_max=limit + 1)
    return answer(request, numbered(rows, lambda row: row.history_id, limit=limit))


@get(
    "/limits/{pump_id:str}/diff", summary="What differs between two versions", opt=needs(Operation.READ_PLANT)
)
async def diff(
    state: State,
    pump_id: PumpId,
    before: Annotated[int, QueryParameter(description="version; 0: nothing", ge=0)],
    after: Annotated[int | None, QueryParameter(description="version; absent: in force", ge=0)] = None,
) -> DiffView:
    """Compare two versions."""
    return await service_of(state).limits.diff(pump_id, before=before, after=after)


@get(
    "/limits/{pump_id:str}/proposals",
    summary="Proposals of a pump, newest first",
    opt=needs(Operation.READ_PLANT),
)
async def of_pump(
    request: Request[Any, Any, State],
    state: State,
    pump_id: PumpId,
    of_state: StateFilter = "",
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[ProposalView]]:
    """List a pump's proposals."""
    rows = await service_of(state).limits.listed(
        pump_id=pump_id, states=choices(of_state, ProposalState, what="state")
    )
    return paged(request, rows, lambda row: row.proposal_id, cursor=cursor, limit=limit)


@get("/limit-proposals", summary="Proposals of all pumps, newest first", opt=needs(Operation.READ_PLANT))
async def of_all(
    request: Request[Any, Any, State],
    state: State,
    of_state: StateFilter = "",
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[ProposalView]]:
    """List proposals."""
    rows = await service_of(state).limits.listed(states=choices(of_state, ProposalState, what="state"))
    return paged(request, rows, lambda row: row.proposal_id, cursor=cursor, limit=limit)


@get(
    "/limits/{pump_id:str}/proposals/{proposal_id:str}",
    summary="One proposal and what it changes",
    opt=needs(Operation.READ_PLANT),
)
async def one(state: State, pump_id: PumpId, proposal_id: ProposalId) -> ProposedView:
    """Show a proposal."""
    return await service_of(state).limits.one(pump_id, proposal_id)


@post(
    "/limits/{pump_id:str}/proposals",
    status_code=201,
    summary="Propose a change of limits",
    opt=needs(Operation.PROPOSE_LIMITS) | keyed(),
)
async def propose(
    state: State, request: Request[Any, Any, State], pump_id: PumpId, data: JSONBody[ProposeLimits]
) -> ProposedView:
    """Open a proposal: nothing changes before a second person approves it."""
    strictly(request, ProposeLimits)
    limits = service_of(state).limits
    await unchanged(request, partial(limits.shown, pump_id))
    return await limits.propose(
        pump_id,
        changes=data.changes,
        base_version=data.base_version,
        reason=data.reason,
        by=by_of(request, data.by),
        peer=peer_of(request),
        proposal_id=data.proposal_id or id_by_key(request),
        expires_after_s=data.expires_after_s,
    )


def _closing(verb: str, summary: str, operation: Operation) -> HTTPRouteHandler:
    """Return the route of what closes a proposal."""
    path = "/limits/{pump_id:str}/proposals/{proposal_id:str}/" + verb
    return post(path, status_code=200, summary=summary, opt=needs(operation) | keyed())


@_closing("approve", "Bring a proposal into force, as a second person", Operation.APPROVE_LIMITS)
async def approve(
    state: State,
    request: Request[Any, Any, State],
    pump_id: PumpId,
    proposal_id: ProposalId,
    data: JSONBody[CloseProposal],
) -> ProposedView:
    """Approve somebody else's proposal."""
    return await _closed(state, request, (pump_id, proposal_id), data, Limits.approve)


@_closing("reject", "Close a proposal of somebody else", Operation.APPROVE_LIMITS)
async def reject(
    state: State,
    request: Request[Any, Any, State],
    pump_id: PumpId,
    proposal_id: ProposalId,
    data: JSONBody[CloseProposal],
) -> ProposedView:
    """Reject somebody else's proposal."""
    return await _closed(state, request, (pump_id, proposal_id), data, Limits.reject)


@_closing("withdraw", "Take one's own proposal back", Operation.PROPOSE_LIMITS)
async def withdraw(
    state: State,
    request: Request[Any, Any, State],
    pump_id: PumpId,
    proposal_id: ProposalId,
    data: JSONBody[CloseProposal],
) -> ProposedView:
    """Withdraw one's own proposal."""
    return await _closed(state, request, (pump_id, proposal_id), data, Limits.withdraw)


async def _closed(
    state: State,
    request: Request[Any, Any, State],
    which: tuple[str, str],
    data: CloseProposal,
    close: Callable[..., Awaitable[ProposedView]],
) -> ProposedView:
    strictly(request, CloseProposal)
    limits = service_of(state).limits
    await unchanged(request, partial(limits.one, *which))
    return await close(limits, *which, reason=data.reason, by=by_of(request, data.by), peer=peer_of(request))


LIMIT_HANDLERS: Final = [
    show,
    history,
    diff,
    of_pump,
    of_all,
    one,
    propose,
    approve,
    reject,
    withdraw,
]
