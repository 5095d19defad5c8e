"""`/api/v1/auth` and `/api/v1/account`: logging in and out, and one's own password, second factor and sessions."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, PathParameter

from actors.vocabulary import UnknownSubjectError
from actors.vocabulary.access import Operation, operations_of
from api.access.accounts import Accounts
from api.access.desk import AccessDesk
from api.access.errors import ForbiddenError
from api.access.guarding import needs, principal_of, public
from api.access.logins import Tokens
from api.access.views import AccountView, FactorView, SessionView, account_view, session_view
from api.handling import peer_of, service_of, strictly
from api.paging import LIMIT_MAX, Cursor, Limit, paged

Text = Annotated[str, msgspec.Meta(max_length=1_024)]
SessionId = Annotated[str, PathParameter(description="session_id", max_length=60)]


class Login(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name and password, and the code of the second factor if there is one."""

    user: Text
    password: Text
    code: Text = ""

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


class Refresh(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A refresh token, which counts once."""

    refresh_token: Annotated[str, msgspec.Meta(max_length=4_096)]

    def __repr__(self) -> str:
        return "Refresh()"


class ChangePassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One's own password: the present one, and the new one of 12 to 128 characters."""

    current: Text
    new: Text

    def __repr__(self) -> str:
        return "ChangePassword()"


class Confirm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One's own password, asked again."""

    password: Text

    def __repr__(self) -> str:
        return "Confirm()"


class Code(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code of the second factor."""

    code: Annotated[str, msgspec.Meta(max_length=20)]


def _own_post(path: str, summary: str) -> HTTPRouteHandler:
    """Return the route of something that one does to one's own account."""
    return post(path, status_code=200, summary=summary, opt=needs(Operation.OWN_ACCOUNT))


class OwnView(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and what they may. `account` None: the run's own credential, which is no account."""

    user: str
    role: str
    operations: list[str]
    account: AccountView | None


@post("/auth/login", status_code=200, summary="Log in", opt=public("whoever logs in is nobody yet"))
async def login(request: Request[Any, Any, State], state: State, data: JSONBody[Login]) -> Tokens:
    """Give an access token, which is short, and a refresh token, which counts once."""
    strictly(request, Login)
    return await service_of(state).access.logins.login(
        user=data.user,
        password=data.password,
        code=data.code,
        peer=peer_of(request),
        client=request.headers.get("user-agent", ""),
    )


@post(
    "/auth/refresh",
    status_code=200,
    summary="New tokens for a refresh token",
    opt=public("the refresh token in the body is the credential"),
)
async def refresh(request: Request[Any, Any, State], state: State, data: JSONBody[Refresh]) -> Tokens:
    """Turn a session; a refresh token that comes a second time ends it."""
    strictly(request, Refresh)
    return await service_of(state).access.logins.refresh(data.refresh_token, peer=peer_of(request))


@_own_post("/auth/logout", "End this session")
async def logout(request: Request[Any, Any, State], state: State) -> dict[str, bool]:
    """End the session that asks: its tokens are worth nothing from now on."""
    principal = principal_of(request)
    ended = bool(principal.session_id) and await _desk(state).end_session(
        principal.session_id, by=principal, peer=peer_of(request), reason="logged out"
    )
    return {"ended": ended}


@get("/account", summary="Who asks, and what they may", opt=needs(Operation.OWN_ACCOUNT))
async def own(request: Request[Any, Any, State], state: State) -> OwnView:
    """Show one's own account."""
    principal = principal_of(request)
    account = None if principal.is_local else account_view(await _accounts(state).one(principal.user_id))
    return OwnView(
        user=principal.user_id,
        role=principal.role.value,
        operations=sorted(each.value for each in operations_of(principal.role) if principal.may(each)),
        account=account,
    )


@_own_post("/account/password", "Change one's own password")
async def password(
    request: Request[Any, Any, State], state: State, data: JSONBody[ChangePassword]
) -> dict[str, bool]:
    """Change the password; all other sessions of the account end."""
    strictly(request, ChangePassword)
    await _accounts(state).change_password(
        by=_person(request), current=data.current, new=data.new, peer=peer_of(request)
    )
    return {"changed": True}


@_own_post("/account/second-factor", "Begin a second factor")
async def begin_factor(
    request: Request[Any, Any, State], state: State, data: JSONBody[Confirm]
) -> FactorView:
    """Make a secret (RFC 6238); it counts once its first code was given."""
    strictly(request, Confirm)
    secret, uri = await _accounts(state).begin_factor(
        by=_person(request), password=data.password, peer=peer_of(request)
    )
    return FactorView(secret=secret, uri=uri)


@_own_post("/account/second-factor/confirm", "Give the first code")
async def confirm_factor(
    request: Request[Any, Any, State], state: State, data: JSONBody[Code]
) -> dict[str, bool]:
    """Let the second factor count from now on."""
    strictly(request, Code)
    await _accounts(state).confirm_factor(by=_person(request), code=data.code, peer=peer_of(request))
    return {"set": True}


@_own_post("/account/second-factor/remove", "Remove one's own second factor")
async def remove_factor(
    request: Request[Any, Any, State], state: State, data: JSONBody[Confirm]
) -> dict[str, bool]:
    """Take the second factor away."""
    strictly(request, Confirm)
    await _accounts(state).remove_factor(by=_person(request), password=data.password, peer=peer_of(request))
    return {"removed": True}


@get("/account/sessions", summary="One's own sessions", opt=needs(Operation.OWN_ACCOUNT))
async def own_sessions(
    request: Request[Any, Any, State], state: State, cursor: Cursor = "", limit: Limit = LIMIT_MAX
) -> Response[list[SessionView]]:
    """List the sessions of one's own that live."""
    principal = _person(request)
    found = await _accounts(state).sessions(principal.user_id)
    rows = [session_view(each, own=principal.session_id) for each in found]
    return paged(request, rows, lambda row: row.session_id, cursor=cursor, limit=limit)


@_own_post("/account/sessions/{session_id:str}/end", "End one of one's own sessions")
async def end_own_session(
    request: Request[Any, Any, State], state: State, session_id: SessionId
) -> dict[str, bool]:
    """End a session of one's own; somebody else's is not known here."""
    principal = _person(request)
    mine = {each.session_id for each in await _accounts(state).sessions(principal.user_id)}
    if session_id not in mine:
        raise UnknownSubjectError(f"session {session_id!r} is not one of yours")
    ended = await _desk(state).end_session(
        session_id, by=principal, peer=peer_of(request), reason="ended by its user"
    )
    return {"ended": ended}


def _desk(state: State) -> AccessDesk:
    return service_of(state).access.desk


def _accounts(state: State) -> Accounts:
    return service_of(state).access.accounts


def _person(request: Request[Any, Any, State]) -> Any:
    """Return who asks, if they are logged in.

    Raises:
        ForbiddenError: it is a program, or the run's own credential: neither has a password or a session.

    """
    principal = principal_of(request)
    if not principal.session_id:
        raise ForbiddenError(f"{principal.user_id} has no login, so neither password nor sessions")
    return principal


OWN_HANDLERS: Final = [
    login,
    refresh,
    logout,
    own,
    password,
    begin_factor,
    confirm_factor,
    remove_factor,
    own_sessions,
    end_own_session,
]
