"""Who sent a request: the one place where that is found out, for REST, server-sent events and WebSocket alike."""

from __future__ import annotations

from typing import Any, Final

from litestar.connection import ASGIConnection

from actors.vocabulary.access import Operation
from actors.vocabulary.users import Principal
from api.access.desk import AccessDesk

NAMED_HEADER: Final = "calejo-by"


async def identified(
    desk: AccessDesk, connection: ASGIConnection[Any, Any, Any, Any], operation: Operation, *, peer: str
) -> Principal:
    """Return who asks for `operation`, and only if they may.

    Raises:
        UnauthenticatedError, ForbiddenError, DeviceError: as `AccessDesk.authenticate`.

    """
    return await desk.authenticate(
        connection.headers.getall("authorization", []),
        operation,
        peer=peer,
        named=connection.headers.get(NAMED_HEADER, ""),
    )
