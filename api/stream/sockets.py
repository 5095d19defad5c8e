"""`/api/v1/stream` as WebSocket: the same events as server-sent ones, each a text message of `event`, `id` and `data`.

Before a WebSocket is open it is an HTTP request: what is refused then is refused as problem details with its status.
Nothing is ever taken from the client but its going: a message of its own ends the stream.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar.connection import ASGIConnection

from actors.runtime import Log
from actors.vocabulary import InvalidValueError, UnknownSubjectError
from actors.vocabulary.access import Operation
from api.access.identity import identified
from api.handling import peer_of
from api.problems import deny, refusal_of
from api.service import Service
from api.stream.routes import PATH, filter_of, subscribed
from api.stream.subscription import Kind, Subscription, Told

if TYPE_CHECKING:
    from litestar.types import Receive, Send

GOING_AWAY: Final = 1001
TAKES_NOTHING: Final = 1008
SESSION_OVER: Final = 4401
TOO_SLOW: Final = 4408
_FILTERS: Final = ("topics", "site_id", "station_id", "pump_id")
_LAST_EVENT_ID: Final = "last_event_id"
_VALUE_MAX: Final = 200


class Sockets:
    """ASGI application of WebSocket scopes; the guard around it has looked at host and origin."""

    def __init__(self, service: Service, *, log: Log) -> None:
        self._service = service
        self._log = log

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one WebSocket, or refuse it."""
        try:
            watching = await self._opened(scope)
        except Exception as error:  # noqa: BLE001  (a bug costs its request, not the API)
            refusal = refusal_of(error)
            if refusal.status is HTTPStatus.INTERNAL_SERVER_ERROR:
                self._log.error("handler_failed", path=scope["path"], error=repr(error))
            await deny(scope, send, refusal)
            return
        try:
            await receive()
            await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
            await self._serve(watching, receive, send)
        finally:
            watching.leave()

    async def _opened(self, scope: Any) -> Subscription:
        if scope["path"] != PATH:
            raise UnknownSubjectError(f"{scope['path'][:_VALUE_MAX]}: no WebSocket here, expected {PATH}")
        connection: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(scope)
        access, peer = self._service.access, peer_of(connection)
        address = "" if connection.client is None else connection.client.host
        access.rates.check_address(address, Operation.READ_POINTS, peer=peer)
        principal = await identified(access.desk, connection, Operation.READ_POINTS, peer=peer)
        access.rates.check_user(principal, Operation.READ_POINTS, peer=peer)
        asked = connection.query_params
        for name in asked:
            if name not in {*_FILTERS, _LAST_EVENT_ID}:
                expected = ", ".join((*_FILTERS, _LAST_EVENT_ID))
                raise InvalidValueError(f"{name[:40]!r}: not known, expected some of {expected}")
            if len(asked[name]) > _VALUE_MAX:
                raise InvalidValueError(f"{name}: longer than {_VALUE_MAX} characters")
        filters = {name: asked.get(name, "") for name in _FILTERS}
        wanted = await filter_of(self._service, principal, **filters)
        last = str(connection.headers.get("last-event-id") or asked.get(_LAST_EVENT_ID, ""))
        return subscribed(self._service, connection, principal, wanted, last)

    async def _serve(self, watching: Subscription, receive: Receive, send: Send) -> None:
        """Send until the stream or the client ends; whichever ends first ends the other."""
        tasks = {
            asyncio.create_task(self._tell(watching, send), name="stream-socket-tell"),
            asyncio.create_task(_gone(receive), name="stream-socket-gone"),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        code = next((code for task in done if (code := task.result())), 0)
        if code:
            await send({"type": "websocket.close", "code": code, "reason": ""})

    async def _tell(self, watching: Subscription, send: Send) -> int:
        """Send everything; return the code to close with."""
        code = GOING_AWAY
        async with aclosing(watching.told()) as told:
            async for each in told:
                await send({"type": "websocket.send", "bytes": None, "text": text_of(each)})
                if each.event == Kind.OVERRUN:
                    code = TOO_SLOW
                elif each.event == Kind.ENDED and not self._service.watching.feed.is_closed:
                    code = SESSION_OVER
        return code


def text_of(told: Told) -> str:
    """Return one message."""
    content = {"event": told.event, "id": told.event_id or None, "data": msgspec.Raw(told.data)}
    return msgspec.json.encode(content).decode()


async def _gone(receive: Receive) -> int:
    """Return once the client goes (0), or says something (the code to close with)."""
    message: Any = await receive()
    return 0 if message["type"] == "websocket.disconnect" else TAKES_NOTHING
