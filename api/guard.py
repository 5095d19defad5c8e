"""What every request passes before a handler sees it: its deadline, its size, whom it came for; no error escapes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar.utils.path import normalize_path

from actors.runtime import Log
from api.counting import Counted
from api.problems import PROBLEM, Refusal, deny, problem
from api.senders import GuardedError, Senders

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Send

BODY_BYTES_MAX: Final = 65_536
BODY_KEY: Final = "calejo.body"
_DEADLINE_S: Final = 10.0
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class Guard:
    """ASGI application around another one; `deadlines_s` names paths that may take longer or must be quicker.

    `endless`: paths whose answer goes on once it has begun. `sockets`: what serves WebSockets; None: nothing does.
    `refused` is told why a request was refused here, with its scope; `answered` how each was answered.
    """

    def __init__(
        self,
        inner: ASGIApp,
        *,
        log: Log,
        deadlines_s: Mapping[str, float] | None = None,
        senders: Senders | None = None,
        endless: frozenset[str] = frozenset(),
        sockets: ASGIApp | None = None,
        counted: Counted | None = None,
        refused: Callable[[str, Any], None] | None = None,
        answered: Callable[[int, Any], None] | None = None,
    ) -> None:
        self._refused = refused or (lambda _why, _scope: None)
        self._answered = answered or (lambda _status, _scope: None)
        self._counted = counted or Counted()
        self._endless = endless
        self._sockets = sockets
        self._senders = senders or Senders()
        self._inner = inner
        self._log = log
        self._deadlines_s = deadlines_s or {}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request; always answers, never raises. `scope` is ASGI's, to which servers may add keys."""
        if scope["type"] not in {"http", "websocket"}:
            return
        # As Litestar will read it, and by the same function: what is judged by its path here and in between must
        # not be served as another one (`//api/v1/...`, `/api/v1/stream/`).
        scope["path"] = normalize_path(scope["path"])
        await (self._socket if scope["type"] == "websocket" else self._request)(scope, receive, send)

    async def _request(self, scope: Any, receive: Receive, send: Send) -> None:
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if scope["path"] in self._endless:
                    limit.reschedule(None)
                message["headers"] = [*message["headers"], *self._added(message["headers"])]
                self._counted.answered(int(message["status"]))
                self._answered(int(message["status"]), scope)
            await send(message)

        deadline_s = self._deadlines_s.get(scope["path"], _DEADLINE_S)
        try:
            async with asyncio.timeout(deadline_s) as limit:
                body = await self._admitted(scope, receive)
                scope[BODY_KEY] = body
                await self._inner(scope, _replay(body, receive), send_on)
                return
        except GuardedError as error:
            status, detail = error.status, error.detail
            self._refused(detail, scope)
        except TimeoutError:
            self._log.warning("request_timed_out", path=scope["path"], deadline_s=deadline_s)
            if BODY_KEY not in scope:
                status, detail = HTTPStatus.REQUEST_TIMEOUT, f"body: not whole within {deadline_s:g} s"
                self._refused(detail, scope)
            else:
                status, detail = HTTPStatus.SERVICE_UNAVAILABLE, f"no answer within {deadline_s:g} s"
        except Exception as error:  # noqa: BLE001  (a bug in a handler costs its request, not the API)
            self._log.error("request_failed", path=scope["path"], error=repr(error))
            status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, "an error of ours; the log has it"
        if not started:
            await _answer(send_on, scope, status, detail)

    async def _admitted(self, scope: Any, receive: Receive) -> bytes:
        """Return the body of a request that may pass; of one that may not it is read as well, and forgotten.

        A connection that is closed over what nobody read is reset, and the client never sees why it was refused.

        Raises:
            GuardedError: it may not, or its body may not.

        """
        try:
            self._senders.admit(scope)
        except GuardedError:
            with suppress(GuardedError):  # what is wrong with the rest of it is told to nobody
                await _body(receive)
            raise
        return await _body(receive)

    def _added(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return what an answer does not say itself: a page needs its own scripts, a file of ours may be kept."""
        own = {name.lower() for name, _ in headers}
        return [*(each for each in _HEADERS if each[0] not in own), *self._senders.headers]

    async def _socket(self, scope: Any, receive: Receive, send: Send) -> None:
        try:
            self._senders.admit(scope)
        except GuardedError as error:
            self._refused(error.detail, scope)
            await deny(scope, send, Refusal(status=error.status, detail=error.detail))
            return
        if self._sockets is None:
            await deny(scope, send, Refusal(status=HTTPStatus.NOT_FOUND, detail="no WebSocket here"))
            return
        try:
            await self._sockets(scope, receive, send)
        except OSError:
            return  # the client went away in the middle of a message
        except Exception as error:  # noqa: BLE001  (a bug costs its stream, not the API)
            self._log.error("socket_failed", path=scope["path"], error=repr(error))


async def _answer(send: Send, scope: Any, status: HTTPStatus, detail: str) -> None:
    body = msgspec.json.encode(problem(status, detail, instance=scope["path"]))
    headers = [
        (b"content-type", PROBLEM.encode()),
        (b"content-length", str(len(body)).encode()),
        # What is left of the request is not read: the connection cannot be used again.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _body(receive: Receive) -> bytes:
    """Read the whole body.

    Raises:
        GuardedError: it is larger than it may be, or the client went away.

    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise GuardedError(HTTPStatus.BAD_REQUEST, "the client went away")
        size += len(message["body"])
        if size > BODY_BYTES_MAX:
            raise GuardedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"body: larger than {BODY_BYTES_MAX} bytes"
            )
        chunks.append(message["body"])
        if not message["more_body"]:
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
