"""`/api/v1/users`, `/api/v1/sessions`, `/api/v1/service-keys`: what an administrator does with accounts."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import JSONBody, PathParameter

from actors.vocabulary import UnknownSubjectError
from actors.vocabulary.access import PERMISSIONS, Operation, UserRole
from actors.vocabulary.users import AccountKind
from api.access.accounts import Accounts
from api.access.guarding import needs, principal_of
from api.access.views import (
    AccountView,
    KeyView,
    NewKeyView,
    NewPasswordView,
    SessionView,
    account_view,
    key_view,
    session_view,
)
from api.handling import peer_of, service_of, strictly
from api.paging import LIMIT_MAX, Cursor, Limit, paged

UserId = Annotated[str, PathParameter(description="the user's name", max_length=60)]
SessionId = Annotated[str, PathParameter(description="session_id", max_length=60)]
KeyId = Annotated[str, PathParameter(description="key_id", max_length=60)]


class AddUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new account: a PERSON gets a generated password, a SERVICE gets keys later."""

    user: str
    role: UserRole
    kind: AccountKind = AccountKind.PERSON


class SetRole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another role."""

    role: UserRole


class AddKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key for a service account. `operations` narrows what its role may; empty: all of it. `days`: how long."""

    label: str = ""
    operations: Annotated[list[Operation], msgspec.Meta(max_length=len(Operation))] = []
    days: float | None = None


@get("/permissions", summary="Which role may do what", opt=needs(Operation.OWN_ACCOUNT), sync_to_thread=False)
def permissions() -> dict[str, list[str]]:
    """Show the permission table (SEC-2)."""
    return {operation.value: sorted(row.roles) for operation, row in PERMISSIONS.items()}


@get("/users", summary="Every account", opt=needs(Operation.MANAGE_USERS))
async def users(
    request: Request[Any, Any, State], state: State, cursor: Cursor = "", limit: Limit = LIMIT_MAX
) -> Response[list[AccountView]]:
    """List accounts."""
    rows = [account_view(each) for each in await _accounts(state).listed()]
    return paged(request, rows, lambda row: row.user, cursor=cursor, limit=limit)


@post("/users", status_code=201, summary="Add an account", opt=needs(Operation.MANAGE_USERS))
async def add_user(
    request: Request[Any, Any, State], state: State, data: JSONBody[AddUser]
) -> NewPasswordView:
    """Add an account; the generated password is shown this once."""
    strictly(request, AddUser)
    account, generated = await _accounts(state).add(
        data.user, data.role, data.kind, by=principal_of(request), peer=peer_of(request)
    )
    return NewPasswordView(account=account_view(account), password=generated)


@get("/users/{user_id:str}", summary="One account", opt=needs(Operation.MANAGE_USERS))
async def one_user(state: State, user_id: UserId) -> AccountView:
    """Show an account."""
    return account_view(await _accounts(state).one(user_id))


@post("/users/{user_id:str}/disable", status_code=200, summary="Disable", opt=needs(Operation.MANAGE_USERS))
async def disable(request: Request[Any, Any, State], state: State, user_id: UserId) -> AccountView:
    """Disable an account: its sessions and keys are worth nothing from now on."""
    return account_view(
        await _accounts(state).set_enabled(
            user_id, enabled=False, by=principal_of(request), peer=peer_of(request)
        )
    )


@post("/users/{user_id:str}/enable", status_code=200, summary="Enable", opt=needs(Operation.MANAGE_USERS))
async def enable(request: Request[Any, Any, State], state: State, user_id: UserId) -> AccountView:
    """Enable an account that was disabled."""
    return account_view(
        await _accounts(state).set_enabled(
            user_id, enabled=True, by=principal_of(request), peer=peer_of(request)
        )
    )


@post("/users/{user_id:str}/role", status_code=200, summary="Another role", opt=needs(Operation.MANAGE_USERS))
async def set_role(
    request: Request[Any, Any, State], state: State, user_id: UserId, data: JSONBody[SetRole]
) -> AccountView:
    """Give an account another role; it counts from its next request on."""
    strictly(request, SetRole)
    return account_view(
        await _accounts(state).set_role(user_id, data.role, by=principal_of(request), peer=peer_of(request))
    )


@post(
    "/users/{user_id:str}/reset", status_code=200, summary="A new password", opt=needs(Operation.MANAGE_USERS)
)
async def reset(request: Request[Any, Any, State], state: State, user_id: UserId) -> NewPasswordView:
    """Generate a new password, shown this once; sessions end, a second factor is taken away."""
    account, generated = await _accounts(state).reset(
        user_id, by=principal_of(request), peer=peer_of(request)
    )
    return NewPasswordView(account=account_view(account), password=generated)


@get("/sessions", summary="Everybody's sessions", opt=needs(Operation.MANAGE_USERS))
async def sessions(
    request: Request[Any, Any, State], state: State, cursor: Cursor = "", limit: Limit = LIMIT_MAX
) -> Response[list[SessionView]]:
    """List the sessions that live."""
    own = principal_of(request).session_id
    rows = [session_view(each, own=own) for each in await _accounts(state).sessions(None)]
    return paged(request, rows, lambda row: row.session_id, cursor=cursor, limit=limit)


@get("/users/{user_id:str}/sessions", summary="A user's sessions", opt=needs(Operation.MANAGE_USERS))
async def sessions_of(
    request: Request[Any, Any, State],
    state: State,
    user_id: UserId,
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[SessionView]]:
    """List a user's sessions that live."""
    own, account = principal_of(request).session_id, await _accounts(state).one(user_id)
    rows = [session_view(each, own=own) for each in await _accounts(state).sessions(account.user_id)]
    return paged(request, rows, lambda row: row.session_id, cursor=cursor, limit=limit)


@post(
    "/users/{user_id:str}/sessions/end",
    status_code=200,
    summary="End all sessions of a user",
    opt=needs(Operation.MANAGE_USERS),
)
async def end_sessions(request: Request[Any, Any, State], state: State, user_id: UserId) -> dict[str, int]:
    """End all sessions of a user."""
    count = await _accounts(state).end_sessions(user_id, by=principal_of(request), peer=peer_of(request))
    return {"ended": count}


@post(
    "/sessions/{session_id:str}/end",
    status_code=200,
    summary="End anybody's session",
    opt=needs(Operation.MANAGE_USERS),
)
async def end_session(
    request: Request[Any, Any, State], state: State, session_id: SessionId
) -> dict[str, bool]:
    """End a session."""
    ended = await service_of(state).access.desk.end_session(
        session_id, by=principal_of(request), peer=peer_of(request), reason="ended by an administrator"
    )
    if not ended:
        raise UnknownSubjectError(f"no session {session_id!r} lives")
    return {"ended": ended}


@get("/users/{user_id:str}/keys", summary="Keys of a service account", opt=needs(Operation.MANAGE_USERS))
async def keys(
    request: Request[Any, Any, State],
    state: State,
    user_id: UserId,
    cursor: Cursor = "",
    limit: Limit = LIMIT_MAX,
) -> Response[list[KeyView]]:
    """List keys, revoked ones too; no secret is kept."""
    rows = [key_view(each) for each in await _accounts(state).keys(user_id)]
    return paged(request, rows, lambda row: row.key_id, cursor=cursor, limit=limit)


@post(
    "/users/{user_id:str}/keys",
    status_code=201,
    summary="A key for a service account",
    opt=needs(Operation.MANAGE_USERS),
)
async def add_key(
    request: Request[Any, Any, State], state: State, user_id: UserId, data: JSONBody[AddKey]
) -> NewKeyView:
    """Make a key; what its program sends is shown this once."""
    strictly(request, AddKey)
    key, secret = await _accounts(state).add_key(
        user_id,
        label=data.label,
        operations=data.operations,
        days=data.days,
        by=principal_of(request),
        peer=peer_of(request),
    )
    return NewKeyView(key=key_view(key), secret=secret)


@post(
    "/service-keys/{key_id:str}/revoke",
    status_code=200,
    summary="Revoke a key",
    opt=needs(Operation.MANAGE_USERS),
)
async def revoke_key(request: Request[Any, Any, State], state: State, key_id: KeyId) -> KeyView:
    """Revoke a key."""
    return key_view(
        await _accounts(state).revoke_key(key_id, by=principal_of(request), peer=peer_of(request))
    )


def _accounts(state: State) -> Accounts:
    return service_of(state).access.accounts


USER_HANDLERS: Final = [
    permissions,
    users,
    add_user,
    one_user,
    disable,
    enable,
    set_role,
    reset,
    sessions,
    sessions_of,
    end_sessions,
    end_session,
    keys,
    add_key,
    revoke_key,
]
