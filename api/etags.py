"""Tags of answers (RFC 9110, 8.8.3): equal content has equal tags, whatever coding it was sent in."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import Request
from litestar.datastructures import State
from litestar.serialization import encode_json

from api.access.errors import ChangedMeanwhileError

_DIGITS: Final = 32
GZIP: Final = "-gzip"
"""What the tag of a pressed answer ends with: another coding is another representation."""


def tag_of(body: bytes) -> str:
    """Return the tag of an answer."""
    return f'"{hashlib.sha256(body).hexdigest()[:_DIGITS]}"'


def matches(header: str, tag: str) -> bool:
    """Say whether a list of tags (If-Match, If-None-Match) names this one; `*` names every one."""
    for part in header.split(","):
        given = part.strip().removeprefix("W/")
        if given == "*":
            return True
        if given.endswith(f'{GZIP}"'):
            given = given[: -len(GZIP) - 1] + '"'
        if given == tag:
            return True
    return False


async def unchanged(request: Request[Any, Any, State], show: Callable[[], Awaitable[Any]]) -> None:
    """Return if a resource is still what the client saw, by its `If-Match`; without one, always.

    `show` returns what GET of the resource answers.

    Raises:
        ChangedMeanwhileError: it is not.
        CallerError, DeviceError: as `show` raises them.

    """
    given = request.headers.getall("if-match", [])
    if not given:
        return
    tag = tag_of(encode_json(await show()))
    if not matches(",".join(given), tag):
        raise ChangedMeanwhileError("If-Match: it was changed meanwhile: read it again, and decide anew")
