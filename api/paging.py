"""Pages of a list: `limit` and `cursor` in, rows and a `Link` to the next page out, the same for every list (API-2).

The body stays the plain list. A cursor says behind which row the next page begins; should that row be gone meanwhile,
the page begins at its place, so that a list that changes is still walked to its end.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.params import QueryParameter

from actors.vocabulary import InvalidValueError

LIMIT_MAX: Final = 1_000
_CURSOR_MAX: Final = 600
_KEY_MAX: Final = 300

Row = TypeVar("Row")
Limit = Annotated[int, QueryParameter(description="rows in a page", ge=1, le=LIMIT_MAX)]
Cursor = Annotated[
    str, QueryParameter(description="from the `Link` of the page before", max_length=_CURSOR_MAX)
]


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    place: int
    key: str


def paged(
    request: Request[Any, Any, State],
    rows: Sequence[Row],
    key: Callable[[Row], str],
    *,
    cursor: str,
    limit: int,
) -> Response[list[Row]]:
    """Return one page of a list that is already in hand.

    Raises:
        InvalidValueError: this is no cursor.

    """
    begin = 0
    if cursor:
        behind = _read(cursor)
        found = next((at for at, row in enumerate(rows) if _short(key(row)) == behind.key), None)
        begin = min(behind.place, len(rows)) if found is None else found + 1
    page = list(rows[begin : begin + limit])
    headers = {}
    if begin + limit < len(rows):
        following = _Cursor(begin + limit, _short(key(page[-1])))
        headers["Link"] = link_to(request, cursor=_written(following))
    return Response(page, headers=headers)


def link_to(request: Request[Any, Any, State], **named: str) -> str:
    """Return the `Link` header to the next page: the same question with other parameters (RFC 8288)."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in named]
    return f'<{request.url.path}?{urlencode([*kept, *named.items()])}>; rel="next"'


def sealed(text: str) -> str:
    """Return a place in a list as a cursor."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def unsealed(cursor: str) -> str:
    """Return the place that a cursor names.

    Raises:
        InvalidValueError: this is no cursor.

    """
    try:
        return base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error) as error:
        raise InvalidValueError(f"cursor: {cursor[:40]!r}, expected one from a Link header") from error


def _short(key: str) -> str:
    return key[:_KEY_MAX]


def _written(cursor: _Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()


def _read(text: str) -> _Cursor:
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        found = msgspec.json.decode(raw, type=_Cursor)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise InvalidValueError(f"cursor: {text[:40]!r}, expected one from a Link header") from error
    if found.place < 0:
        raise InvalidValueError(f"cursor: {text[:40]!r}, expected one from a Link header")
    return found
