"""The guard before every route: the operation it names, who asks for it, and whether they may (SEC-2)."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from actors.vocabulary import InvalidValueError
from actors.vocabulary.access import Operation
from actors.vocabulary.users import LOCAL_PREFIX, Principal, without_local
from api.access.identity import identified, looks
from api.handling import peer_of, service_of
from api.stop_answers import checked_text

OPERATION: Final = "operation"
PUBLIC: Final = "public"
PRINCIPAL: Final = "calejo.principal"


def needs(operation: Operation) -> dict[str, Any]:
    """Return the `opt` of a route that needs a permission."""
    return {OPERATION: operation}


def public(why: str) -> dict[str, Any]:
    """Return the `opt` of a route that everybody may call, with the reason for that."""
    return {OPERATION: PUBLIC, "why": why}


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request through to its handler only if whoever asks may; a route that names no operation is nobody's.

    Raises:
        UnauthenticatedError, ForbiddenError, DeviceError: as `AccessDesk.authenticate`.

    """
    operation = handler.opt.get(OPERATION)
    access, peer = service_of(connection.app.state).access, peer_of(connection)
    scope: Any = connection.scope
    named = operation if isinstance(operation, Operation) else None
    if named is Operation.SET_STOP and looks(scope):
        named = Operation.READ_PLANT  # who asks what could be stopped is counted like whoever looks
    access.rates.check_address("" if connection.client is None else connection.client.host, named, peer=peer)
    if operation == PUBLIC or getattr(handler, "http_methods", None) == {"OPTIONS"}:
        # Litestar's own answer to OPTIONS names the methods of a path, and nothing else.
        return
    # Our own mistake, which a test finds: refused by crashing.
    assert isinstance(operation, Operation), f"{handler} names no operation"
    principal = scope[PRINCIPAL] = await identified(access.desk, connection, operation, peer=peer)
    access.rates.check_user(principal, named or operation, peer=peer)


def principal_of(request: Request[Any, Any, State]) -> Principal:
    """Return who asks, as the guard found out."""
    scope: Any = request.scope
    principal = scope[PRINCIPAL]
    assert isinstance(principal, Principal)
    return principal


def by_of(request: Request[Any, Any, State], given: str) -> str:
    """Return who is written into `by`: whoever is logged in, or on this machine's own word `local:NAME`.

    Raises:
        InvalidValueError: the body names somebody else than is logged in.

    """
    principal = principal_of(request)
    if principal.is_local:
        name = without_local(given)
        return f"{LOCAL_PREFIX}{checked_text('by', name)}" if name else principal.user_id
    if given and given.strip().lower() != principal.user_id:
        raise InvalidValueError(
            f"by: {given[:60]!r}, expected {principal.user_id!r}, who is logged in, or nothing"
        )
    return principal.user_id
