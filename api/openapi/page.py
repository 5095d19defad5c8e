"""`/api/v1/schema`: the document, and a page that shows it, without a byte from anywhere else (API-1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.datastructures import State
from litestar.params import PathParameter

from actors.vocabulary import UnknownSubjectError
from api.access.guarding import public

DOCUMENT: Final = "openapi_document"
_ASSETS: Final = Path(__file__).parent / "assets"
_KINDS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
}
# Swagger UI writes styles into its elements; scripts come from here and nowhere else.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = b"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Calejo: REST</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/api/v1/schema/assets/swagger-ui.css">
<script src="/api/v1/schema/assets/swagger-ui-bundle.js"></script>
<script src="/api/v1/schema/assets/start.js"></script>
</head>
<body><div id="document"><noscript>This page needs JavaScript; the document itself is
<a href="/api/v1/schema/openapi.json">openapi.json</a>.</noscript></div></body>
</html>
"""


class Document:
    """Made once, when first asked for, beside the loop: reading sixty handlers takes a while."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make
        self._made: asyncio.Task[bytes] | None = None

    async def encoded(self) -> bytes:
        """Return the document as JSON."""
        if self._made is None or (self._made.done() and (self._made.cancelled() or self._made.exception())):
            self._made = asyncio.create_task(asyncio.to_thread(self._encode))
        return await asyncio.shield(self._made)

    def _encode(self) -> bytes:
        return msgspec.json.encode(self._make())


@get(
    "/schema",
    media_type="text/html",
    summary="A page that shows this document",
    opt=public("it says what could be asked, and nothing of the plant"),
    include_in_schema=False,
    sync_to_thread=False,
)
def page() -> Response[bytes]:
    """Show the page."""
    return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@get(
    "/schema/openapi.json",
    media_type="application/vnd.oai.openapi+json",
    summary="This document",
    opt=public("it says what could be asked, and nothing of the plant"),
    include_in_schema=False,
)
async def schema(state: State) -> Response[bytes]:
    """Show the document."""
    document = state[DOCUMENT]
    assert isinstance(document, Document)
    return Response(await document.encoded(), media_type="application/vnd.oai.openapi+json")


@get(
    "/schema/assets/{name:str}",
    summary="What the page is made of",
    opt=public("published software"),
    include_in_schema=False,
    sync_to_thread=False,
)
def asset(
    name: Annotated[str, PathParameter(description="a file's name", max_length=60)],
) -> Response[bytes]:
    """Send a file of the page. Only names of the table are files: no path of a request ever is one."""
    kind = _KINDS.get(name)
    if kind is None:
        raise UnknownSubjectError(f"{name[:60]!r}: no such file")
    return Response(_content(name), media_type=kind)


@cache
def _content(name: str) -> bytes:
    return (_ASSETS / name).read_bytes()


PAGE_HANDLERS: Final = [page, schema, asset]
