"""Who sent a request: the one place where that is found out, for REST, pages, streams and WebSockets alike."""

from __future__ import annotations

from typing import Any, Final

from litestar.connection import ASGIConnection

from actors.vocabulary.access import Operation
from actors.vocabulary.users import Principal
from api.access.desk import AccessDesk

NAMED_HEADER: Final = "calejo-by"
_LOOKS: Final = frozenset({"GET", "HEAD"})


def looks(scope: Any) -> bool:
    """Say whether a request changes nothing, whatever right it needs."""
    return scope.get("method") in _LOOKS


async def identified(
    desk: AccessDesk, connection: ASGIConnection[Any, Any, Any, Any], operation: Operation, *, peer: str
) -> Principal:
    """Return who asks for `operation`, and only if they may.

    Raises:
        UnauthenticatedError, ForbiddenError, DeviceError: as `AccessDesk.authenticate`.

    """
    credentials = connection.headers.getall("authorization", [])
    return await desk.authenticate(
        credentials,
        operation,
        peer=peer,
        named=connection.headers.get(NAMED_HEADER, ""),
        # Whoever names a credential means that one, whatever a browser adds.
        cookie=None if credentials else desk.cookies.shown(connection),
        looks=looks(connection.scope),
    )
