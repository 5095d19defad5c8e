"""What every request passes before a handler sees it: its deadline, its size, whom it came for; no error escapes."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.runtime import Log

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Send

BODY_BYTES_MAX: Final = 65_536
BODY_KEY: Final = "calejo.body"
PROBLEM: Final = "application/problem+json"
_DEADLINE_S: Final = 10.0
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class GuardedError(Exception):
    """Ends a request before its handler: status and what to tell the client."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class Guard:
    """ASGI application around another one; `deadlines_s` names paths that may take longer or must be quicker."""

    def __init__(self, inner: ASGIApp, *, log: Log, deadlines_s: Mapping[str, float] | None = None) -> None:
        self._inner = inner
        self._log = log
        self._deadlines_s = deadlines_s or {}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request; always answers, never raises. `scope` is ASGI's, to which servers may add keys."""
        if scope["type"] != "http":
            return
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        deadline_s = self._deadlines_s.get(scope["path"], _DEADLINE_S)
        try:
            async with asyncio.timeout(deadline_s):
                _check_sender(scope)
                body = await _body(receive)
                scope[BODY_KEY] = body
                await self._inner(scope, _replay(body, receive), send_on)
                return
        except GuardedError as error:
            status, detail = error.status, error.detail
        except TimeoutError:
            self._log.warning("request_timed_out", path=scope["path"], deadline_s=deadline_s)
            status, detail = HTTPStatus.SERVICE_UNAVAILABLE, f"no answer within {deadline_s:g} s"
        except Exception as error:  # noqa: BLE001  (a bug in a handler costs its request, not the API)
            self._log.error("request_failed", path=scope["path"], error=repr(error))
            status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, "an error of ours; the log has it"
        if not started:
            await _answer(send_on, scope, status, detail)


def problem(status: HTTPStatus, detail: str, *, instance: str, title: str = "") -> dict[str, Any]:
    """Return problem details (RFC 9457)."""
    return {
        "type": "about:blank",
        "title": title or status.phrase,
        "status": int(status),
        "detail": detail,
        "instance": instance,
    }


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


def _check_sender(scope: Any) -> None:
    """Refuse what a web page elsewhere could make a browser on this machine send (there are no users yet).

    Raises:
        GuardedError: the host or origin is not this machine, or a command is no JSON.

    """
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"host", "")
    if not is_loopback_name(host):
        raise GuardedError(
            HTTPStatus.MISDIRECTED_REQUEST, f"Host: {host[:100]!r}, expected this machine's loopback name"
        )
    origin = headers.get(b"origin")
    if origin is not None and not is_loopback_name(origin.partition("://")[2]):
        raise GuardedError(HTTPStatus.FORBIDDEN, f"Origin: {origin[:100]!r}, expected none or this machine")
    if scope["method"] in _READS:
        return
    kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise GuardedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type: {kind[:100]!r}, expected application/json"
        )


def is_loopback_name(host: str) -> bool:
    """Say whether a Host header (with or without port) names the loopback of this machine."""
    name = host.removeprefix("[").partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


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
