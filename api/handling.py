"""What every handler needs: the service behind it, a body read to the letter, whom it came from, an answer or why."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State

from actors.vocabulary import DeviceError, InvalidValueError
from api.guard import BODY_KEY
from api.service import Service

FORMS: Final = "forms"
"""In the `opt` of a handler: kinds of content that it answers beside JSON."""

# What a refused request claimed goes into the trail, but not all of it.
ACTOR_MAX: Final = 200
SUBJECT_MAX: Final = 400

_Answer = TypeVar("_Answer")


def service_of(state: State) -> Service:
    """Return the application's service."""
    service = state["service"]
    assert isinstance(service, Service)
    return service


def strictly(request: Request[Any, Any, State], kind: type[msgspec.Struct]) -> None:
    """Refuse a body that Litestar only understood by guessing, such as a speed sent as text or as `true`.

    Raises:
        InvalidValueError: a value has another type than the documented one.

    """
    scope: Any = request.scope
    try:
        msgspec.json.decode(scope[BODY_KEY], type=kind)
    except msgspec.ValidationError as error:
        expectation, _, where = str(error).partition(" - at `$")
        raise InvalidValueError(f"{where.strip('`.') or 'body'}: {expectation}") from None


def peer_of(request: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return who sent a request, as address and port."""
    return "" if request.client is None else f"{request.client.host}:{request.client.port}"


async def or_why(question: Awaitable[_Answer]) -> _Answer | str:
    """Return the answer, or as text why there is none."""
    try:
        return await question
    except DeviceError as error:
        return str(error)
