"""Pages of a list: `limit` and `cursor` in, rows and a `Link` to the next page out, the same for every list (API-2).

The body stays the plain list. A cursor says behind which row the next page begins; should that row be gone meanwhile,
the page begins at its place, so that a list that changes is still walked to its end. What a cursor is made of is
nobody's business but ours.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.params import QueryParameter

from actors.vocabulary import InvalidValueError

LIMIT_MAX: Final = 1_000
CURSOR_MAX: Final = 600
_KEY_MAX: Final = 300
_DIGITS_MAX: Final = 18

Row = TypeVar("Row")
Limit = Annotated[int, QueryParameter(description="rows in a page", ge=1, le=LIMIT_MAX)]
Cursor = Annotated[
    str, QueryParameter(description="from the `Link` of the page before", max_length=CURSOR_MAX)
]


class Page(NamedTuple, Generic[Row]):
    """Rows of one page; `following`: the cursor of the next, '': this was the last."""

    rows: list[Row]
    following: str = ""


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    place: int
    key: str


def cut(rows: Sequence[Row], key: Callable[[Row], str], *, cursor: str, limit: int) -> Page[Row]:
    """Return one page of a list that is in hand.

    Raises:
        InvalidValueError: this is no cursor.

    """
    begin = 0
    if cursor:
        behind = _read(cursor)
        begin = behind.place
        # Mostly nothing has changed since the page before; else the row is looked for, and without it the place counts.
        if not 0 < begin <= len(rows) or _short(key(rows[begin - 1])) != behind.key:
            found = next((at for at, row in enumerate(rows) if _short(key(row)) == behind.key), None)
            begin = min(behind.place, len(rows)) if found is None else found + 1
    page = list(rows[begin : begin + limit])
    if begin + limit >= len(rows):
        return Page(page)
    following = _Cursor(begin + limit, _short(key(page[-1])))
    return Page(page, sealed(msgspec.json.encode(following).decode()))


def numbered(rows: Sequence[Row], number: Callable[[Row], int], *, limit: int) -> Page[Row]:
    """Return one page of rows that have numbers, of which one more than `limit` was read if there is one more."""
    page = list(rows[:limit])
    return Page(page, sealed(str(number(page[-1]))) if len(rows) > limit else "")


def answer(request: Request[Any, Any, State], page: Page[Row]) -> Response[list[Row]]:
    """Return a page as it is answered."""
    return Response(page.rows, headers=link_headers(request, page.following))


def paged(
    request: Request[Any, Any, State],
    rows: Sequence[Row],
    key: Callable[[Row], str],
    *,
    cursor: str,
    limit: int,
) -> Response[list[Row]]:
    """Answer one page of a list that is already in hand.

    Raises:
        InvalidValueError: this is no cursor.

    """
    return answer(request, cut(rows, key, cursor=cursor, limit=limit))


def link_headers(request: Request[Any, Any, State], following: str, **also: str) -> dict[str, str]:
    """Return the headers that name the next page: the same question with another cursor (RFC 8288).

    `also`: parameters that hold for every page, given or not.
    """
    if not following:
        return {}
    own = {**also, "cursor": following}
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in own]
    return {"Link": f'<{request.url.path}?{urlencode([*kept, *own.items()])}>; rel="next"'}


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
        raise _no_cursor(cursor) from error


def number_of(cursor: str) -> int | None:
    """Return the number of the row that the page before ended with, None without a cursor.

    Raises:
        InvalidValueError: this is no cursor.

    """
    if not cursor:
        return None
    text = unsealed(cursor)
    if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS_MAX:
        raise _no_cursor(cursor)
    return int(text)


def _short(key: str) -> str:
    return key[:_KEY_MAX]


def _read(cursor: str) -> _Cursor:
    try:
        found = msgspec.json.decode(unsealed(cursor), type=_Cursor)
    except msgspec.MsgspecError as error:
        raise _no_cursor(cursor) from error
    if found.place < 0:
        raise _no_cursor(cursor)
    return found


def _no_cursor(cursor: str) -> InvalidValueError:
    return InvalidValueError(f"cursor: {cursor[:40]!r}, expected one from a Link header")
