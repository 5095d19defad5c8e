"""What every whole answer passes on its way out: its tag (304), its key, its coding, how long it may be kept (API-2).

Between the guard and the handlers, on plain ASGI. A stream does not come this way.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Litestar

from actors.vocabulary.requests import Command
from api.etags import GZIP, matches, tag_of
from api.keys import CLAIM, SETTLES, Keys
from api.problems import PROBLEM, problem

if TYPE_CHECKING:
    from litestar.types import Message, Receive, Send

Headers = list[tuple[bytes, bytes]]

_GZIP_BYTES_MIN: Final = 1_024
# More than this is pressed together beside the loop: a stop must not wait for somebody's export.
_BESIDE_BYTES_MIN: Final = 65_536
_GZIP_LEVEL: Final = 1
_SAME_FOR_ALL: Final = ("/api/v1/schema", "/api/v1/tags")
_KEPT_MAX: Final = 8
_REST: Final = "/api/v1/"
_JSON: Final = "application/json"
# What names people, or what they did, and how this machine is set up: no browser keeps it.
_SENSITIVE: Final = (
    "/api/v1/account", "/api/v1/audit", "/api/v1/auth", "/api/v1/configuration", "/api/v1/reports",
    "/api/v1/service-keys", "/api/v1/sessions", "/api/v1/users",
)  # fmt: skip
# An answer that is not the asker's alone, or that changes its coding, is told apart by these.
_VARY: Final = (b"vary", b"Accept, Accept-Encoding, Authorization, Cookie")
_KEPT: Final = (b"cache-control", b"private, no-cache")


class Answering:
    """ASGI application around the handlers. `endless`: paths whose answers are streams."""

    def __init__(self, inner: Litestar, keys: Keys, *, endless: frozenset[str]) -> None:
        self.inner = inner
        self._methods: dict[str, set[str]] = {}
        for route in inner.routes:
            # A WebSocket's route has none.
            self._methods.setdefault(route.path_format, set()).update(getattr(route, "methods", ()))
        self._keys = keys
        self._endless = endless
        self._kept: dict[str, bytes] = {}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] in self._endless or not scope["path"].startswith(_REST):
            # A page holds what proves that it is ours: pressed, its length would tell of it.
            await self.inner(scope, receive, send)
            return
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if scope["method"] == "POST" and not _accepts(asked, _JSON):
            await _out(send, *_not_acceptable(scope, _JSON))
            return
        scope[SETTLES] = True
        start: dict[str, Any] = {}
        chunks: list[bytes] = []

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            if message["type"] == "http.response.body":
                chunks.append(message.get("body", b""))

        try:
            await self.inner(scope, receive, collect)
        finally:
            claim = scope.get(CLAIM)
            if claim is not None and not start:
                self._keys.ended(claim)
        assert start, "whatever happens in a handler is answered"
        await self._answered(scope, asked, start, b"".join(chunks), send)

    async def _answered(
        self, scope: Any, asked: dict[bytes, str], start: dict[str, Any], body: bytes, send: Send
    ) -> None:
        status, headers = int(start["status"]), list(start["headers"])
        kind = _value(headers, b"content-type").decode("latin-1").partition(";")[0]
        if scope["method"] == "OPTIONS" and (allowed := self._methods.get(scope.get("path_template", ""))):
            # Litestar names those of one handler only.
            headers = [*_without(headers, b"allow"), (b"allow", ", ".join(sorted(allowed)).encode())]
        claim = scope.get(CLAIM)
        if isinstance(claim, Command):
            await self._keys.after(claim, status, kind, body)
        if scope["method"] != "GET" or status != HTTPStatus.OK:
            await _out(send, status, headers, body)
            return
        if kind and not _accepts(asked, kind):
            await _out(send, *_not_acceptable(scope, kind))
            return
        headers.append(_VARY)
        tag = ""
        if not scope["path"].startswith(_SENSITIVE):
            # What is sent again and again as it was made has its tag from there.
            tag = _value(headers, b"etag").decode("latin-1") or tag_of(body)
            headers = _without(headers, b"etag")
            if not _value(headers, b"cache-control"):
                headers.append(_KEPT)
            if matches(asked.get(b"if-none-match", ""), tag):
                kept = [*_without(headers, b"content-type"), (b"etag", tag.encode())]
                await _out(send, HTTPStatus.NOT_MODIFIED, kept, b"")
                return
        if len(body) >= _GZIP_BYTES_MIN and _takes_gzip(asked) and not _value(headers, b"content-encoding"):
            body = await self._pressed(scope["path"], tag, body)
            headers.append((b"content-encoding", b"gzip"))
            tag = tag and tag[:-1] + f'{GZIP}"'
        if tag:
            headers.append((b"etag", tag.encode()))
        await _out(send, status, headers, body)

    async def _pressed(self, path: str, tag: str, body: bytes) -> bytes:
        """Return a body pressed; what everybody may ask for is pressed once, or asking would cost us more than them."""
        if not path.startswith(_SAME_FOR_ALL):
            return await _pressed(body)
        if tag not in self._kept:
            while len(self._kept) >= _KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[tag] = await _pressed(body)
        return self._kept[tag]


async def _out(send: Send, status: int, headers: Headers, body: bytes) -> None:
    headers = _without(headers, b"content-length")
    if status != HTTPStatus.NOT_MODIFIED:
        headers.append((b"content-length", str(len(body)).encode()))
    start: Any = {"type": "http.response.start", "status": int(status), "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _value(headers: Headers, name: bytes) -> bytes:
    return next((value for key, value in headers if key == name), b"")


def _without(headers: Headers, name: bytes) -> Headers:
    return [(key, value) for key, value in headers if key != name]


async def _pressed(body: bytes) -> bytes:
    if len(body) < _BESIDE_BYTES_MIN:
        return gzip.compress(body, _GZIP_LEVEL, mtime=0)
    return await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL, mtime=0)


def _not_acceptable(scope: Any, kind: str) -> tuple[int, Headers, bytes]:
    status = HTTPStatus.NOT_ACCEPTABLE
    content = problem(status, f"Accept: expected {kind} to be among it", instance=scope["path"])
    return status, [(b"content-type", PROBLEM.encode())], msgspec.json.encode(content)


def _accepts(asked: dict[bytes, str], kind: str) -> bool:
    """Say whether an Accept header takes a kind of content; one that nobody can read takes everything."""
    header = asked.get(b"accept", "").strip()
    if not header:
        return True
    group = kind.partition("/")[0]
    return any(wanted in {"*/*", f"{group}/*", kind} and share > 0.0 for wanted, share in _shares(header))


def _takes_gzip(asked: dict[bytes, str]) -> bool:
    shares = dict(_shares(asked.get(b"accept-encoding", "")))
    return shares.get("gzip", shares.get("*", 0.0)) > 0.0


def _shares(header: str) -> Iterable[tuple[str, float]]:
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if not name:
            continue
        share = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    share = float(value)
                except ValueError:
                    share = 0.0
        yield name, share
