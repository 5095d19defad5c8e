"""Every error as the client is told it: status, title and text (RFC 9457), the same on HTTP and before a WebSocket."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar.exceptions import HTTPException

from actors.vocabulary import (
    CallerError,
    DeviceError,
    InvalidValueError,
    NotRememberedError,
    UnknownSubjectError,
)
from api.access.desk import CHALLENGE
from api.access.errors import (
    ChangedMeanwhileError,
    ForbiddenError,
    KeyReusedError,
    TooManyError,
    UnauthenticatedError,
)

if TYPE_CHECKING:
    from litestar.types import Send

PROBLEM: Final = "application/problem+json"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is told of an error."""

    status: HTTPStatus
    detail: str
    title: str = ""
    headers: dict[str, str] = {}


def problem(status: HTTPStatus, detail: str, *, instance: str, title: str = "") -> dict[str, Any]:
    """Return problem details (RFC 9457)."""
    return {
        "type": "about:blank",
        "title": title or status.phrase,
        "status": int(status),
        "detail": detail,
        "instance": instance,
    }


def refusal_of(error: Exception) -> Refusal:
    """Return what is told of an error; one that is no refusal is a bug of ours, of which nothing is told."""
    text = str(error)
    match error:
        case UnauthenticatedError():
            return Refusal(
                status=HTTPStatus.UNAUTHORIZED, detail=text, headers={"WWW-Authenticate": CHALLENGE}
            )
        case ForbiddenError():
            return Refusal(status=HTTPStatus.FORBIDDEN, detail=text)
        case TooManyError(retry_after_s=after_s):
            return Refusal(
                status=HTTPStatus.TOO_MANY_REQUESTS,
                detail=text,
                headers={"Retry-After": str(math.ceil(after_s))},
            )
        case InvalidValueError():
            return Refusal(status=HTTPStatus.BAD_REQUEST, detail=text, title="Invalid value")
        # What was known once is a kind of what is not known.
        case NotRememberedError():
            return Refusal(status=HTTPStatus.GONE, detail=text, title="No longer kept")
        case UnknownSubjectError():
            return Refusal(status=HTTPStatus.NOT_FOUND, detail=text, title="Not known")
        case ChangedMeanwhileError():
            return Refusal(status=HTTPStatus.PRECONDITION_FAILED, detail=text)
        case KeyReusedError():
            return Refusal(status=HTTPStatus.UNPROCESSABLE_ENTITY, detail=text)
        case CallerError():
            return Refusal(status=HTTPStatus.CONFLICT, detail=text, title="Refused")
        case DeviceError():
            return Refusal(
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                detail=text,
                title="Not available",
                headers={"Retry-After": "1"},
            )
        case HTTPException():
            return Refusal(
                status=HTTPStatus(error.status_code), detail=error.detail, headers=dict(error.headers or {})
            )
        case _:
            return Refusal(status=HTTPStatus.INTERNAL_SERVER_ERROR, detail="an error of ours; the log has it")


async def deny(scope: Any, send: Send, refusal: Refusal) -> None:
    """Refuse to open a WebSocket, as an HTTP answer."""
    content = problem(refusal.status, refusal.detail, instance=scope["path"], title=refusal.title)
    body = msgspec.json.encode(content)
    headers = {
        "content-type": PROBLEM,
        "content-length": str(len(body)),
        "connection": "close",
        **refusal.headers,
    }
    start: Any = {
        "type": "websocket.http.response.start",
        "status": int(refusal.status),
        "headers": [
            (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()
        ],
    }
    end: Any = {"type": "websocket.http.response.body", "body": body, "more_body": False}
    await send(start)
    await send(end)
