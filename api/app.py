"""The two Litestar applications, REST and health: routes, problem details (RFC 9457) and the guard around them."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Litestar, Request, Response, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException

from actors.runtime import Log
from actors.vocabulary import CallerError, DeviceError
from actors.vocabulary.settings import ApiSettings
from api.access.guarding import guard
from api.access.routes import OWN_HANDLERS
from api.access.user_routes import USER_HANDLERS
from api.alarm_routes import ALARM_HANDLERS
from api.answering import Answering
from api.audit_routes import AUDIT_HANDLERS
from api.certificate_routes import CERTIFICATE_HANDLERS
from api.configuration_routes import CONFIGURATION_HANDLERS
from api.dashboard.app import dashboard_router
from api.dashboard.desktop import DASHBOARD, Dashboard
from api.decision_routes import DECISION_HANDLERS
from api.duty_routes import DUTY_HANDLERS
from api.guard import BODY_BYTES_MAX, BODY_KEY, Guard
from api.handling import service_of
from api.health import HEALTH_HANDLERS
from api.history_routes import HISTORY_HANDLERS
from api.keys import Keys
from api.limit_routes import LIMIT_HANDLERS
from api.odd_requests import WHY, refused_request, told_of_answer
from api.openapi.document import document
from api.openapi.page import DOCUMENT, PAGE_HANDLERS, Document
from api.past_routes import PAST_HANDLERS
from api.plant_routes import PLANT_HANDLERS
from api.problems import PROBLEM, problem, refusal_of
from api.report_routes import DEADLINES_S as REPORT_DEADLINES_S
from api.report_routes import REPORT_HANDLERS
from api.routes import HANDLERS
from api.senders import Senders
from api.service import Service
from api.stop_routes import STOP_HANDLERS
from api.stream.routes import PATH as STREAM
from api.stream.routes import STREAM_HANDLERS
from api.stream.sockets import Sockets

if TYPE_CHECKING:
    from litestar.types import ExceptionHandlersMap

_DEADLINES_S: Final = {
    "/api/v1/discovery": 25.0,
    "/api/v1/emergency-stops": 4.0,
    # The database is asked more than once, and thousands of hashes are made.
    "/api/v1/audit": 20.0,
    "/api/v1/audit/verify": 30.0,
    "/api/v1/audit/export/records": 20.0,
    **REPORT_DEADLINES_S,
}
_SHOWN_MAX: Final = 60
_KEYS: Final = "keys"
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
SECRET_KEYS: Final = frozenset({"password", "current", "new", "code", "refresh_token", "body"})
"""Values that no error repeats; `body` is the whole of it."""

AnyRequest = Request[Any, Any, Any]

ROUTES: Final = [
    *HANDLERS,
    *PLANT_HANDLERS,
    *STOP_HANDLERS,
    *ALARM_HANDLERS,
    *DUTY_HANDLERS,
    *LIMIT_HANDLERS,
    *DECISION_HANDLERS,
    *AUDIT_HANDLERS,
    *OWN_HANDLERS,
    *USER_HANDLERS,
    *STREAM_HANDLERS,
    *PAST_HANDLERS,
    *HISTORY_HANDLERS,
    *CONFIGURATION_HANDLERS,
    *CERTIFICATE_HANDLERS,
    *REPORT_HANDLERS,
]
"""Every route of REST; each names the operation that it is (a test walks them)."""


def rest_application(service: Service, keys: Keys, *, version: str, log: Log, api: ApiSettings) -> Guard:
    """Return the REST application of `service`."""
    origins = [each for part in api.cors_origins.split(",") if (each := part.strip())]
    made = Document(lambda: document(ROUTES, version=version))
    application = Litestar(
        route_handlers=[
            Router(path="/api/v1", route_handlers=[*ROUTES, *PAGE_HANDLERS], guards=[guard]),
            dashboard_router(),
        ],
        # The document is made when somebody asks for it, by `api.openapi`.
        openapi_config=None,
        before_request=_before,
        after_response=_look_at_once,
        cors_config=_cors(origins) if origins else None,
        **_common(service, log, {DOCUMENT: made, DASHBOARD: Dashboard(service), _KEYS: keys}),
    )
    return Guard(
        Answering(application, keys, endless=frozenset({STREAM})),
        log=log,
        deadlines_s=_DEADLINES_S,
        senders=Senders.of(api),
        endless=frozenset({STREAM}),
        sockets=Sockets(service, log=log),
        counted=service.counted,
        refused=partial(refused_request, service.access.desk.log),
        answered=partial(told_of_answer, service.access.desk.log),
    )


def _cors(origins: list[str]) -> CORSConfig:
    return CORSConfig(
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=[
            "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID",
        ],
        expose_headers=["ETag", "Idempotency-Replayed", "Link", "Retry-After"],
        # A page elsewhere brings a token of its own; what a browser keeps for us is never sent for it.
        allow_credentials=False,
    )  # fmt: skip


def health_application(service: Service, *, log: Log) -> Guard:
    """Return the health application of `service` (API-3)."""
    return Guard(
        Litestar(route_handlers=HEALTH_HANDLERS, openapi_config=None, **_common(service, log, {})), log=log
    )


def _common(service: Service, log: Log, shared: dict[str, Any]) -> dict[str, Any]:
    return {
        "state": State({"service": service, **shared}),
        "exception_handlers": _exception_handlers(log),
        "request_max_body_size": BODY_BYTES_MAX,
        "debug": False,
        "logging_config": None,
    }


async def _before(request: AnyRequest) -> Response[Any] | None:
    """Answer a command that was given before under its key."""
    keys = request.app.state[_KEYS]
    assert isinstance(keys, Keys)
    return await keys.before(request)


async def _look_at_once(request: AnyRequest) -> None:
    """Let those who watch see what a command changed, without waiting for the next look."""
    if request.method not in _READS:
        service_of(request.app.state).watching.feed.poke()


def _problem(request: AnyRequest, status: HTTPStatus, detail: str, *, title: str = "") -> Response[Any]:
    scope: Any = request.scope
    scope[WHY] = detail
    content = problem(status, detail, instance=request.url.path, title=title)
    return Response(content, status_code=status, media_type=PROBLEM)


def _refused(request: AnyRequest, error: Exception) -> Response[Any]:
    refusal = refusal_of(error)
    response = _problem(request, refusal.status, refusal.detail, title=refusal.title)
    response.headers.update(refusal.headers)
    return response


def _not_valid(request: AnyRequest, error: ValidationException) -> Response[Any]:
    """Name each key with its value and what was expected; Litestar tells key and expectation only."""
    complaints = error.extra if isinstance(error.extra, list) else []
    told = [_complaint(request, each) for each in complaints if isinstance(each, dict)]
    return _problem(request, HTTPStatus.BAD_REQUEST, "; ".join(told) or error.detail, title="Invalid value")


def _complaint(request: AnyRequest, complaint: dict[str, Any]) -> str:
    key, expectation = str(complaint.get("key") or "body"), str(complaint.get("message", ""))
    if not SECRET_KEYS.isdisjoint(key.split(".")):
        return f"{key}: {expectation}"
    value = request.query_params.get(key)
    if complaint.get("source", "body") == "body":
        value = _body_value(request, key)
    return f"{key}: {expectation}" if value is None else f"{key}: {str(value)[:_SHOWN_MAX]!r}, {expectation}"


def _body_value(request: AnyRequest, key: str) -> Any:
    scope: Any = request.scope
    try:
        place = msgspec.json.decode(scope.get(BODY_KEY, b""))
    except (msgspec.DecodeError, RecursionError):
        return None
    for part in key.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place


def _is_nested_too_deeply(request: AnyRequest) -> bool:
    scope: Any = request.scope
    try:
        msgspec.json.decode(scope.get(BODY_KEY, b""))
    except RecursionError:
        return True
    except msgspec.DecodeError:
        pass
    return False


def _exception_handlers(log: Log) -> ExceptionHandlersMap:
    def bug(request: AnyRequest, error: Exception) -> Response[Any]:
        log.error("handler_failed", path=request.url.path, error=repr(error))
        return _problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "an error of ours; the log has it")

    def nested(request: AnyRequest, error: RecursionError) -> Response[Any]:
        if not _is_nested_too_deeply(request):
            return bug(request, error)
        return _problem(request, HTTPStatus.BAD_REQUEST, "body: nested too deeply", title="Invalid value")

    return {
        RecursionError: nested,
        CallerError: _refused,
        DeviceError: _refused,
        ValidationException: _not_valid,
        HTTPException: _refused,
        Exception: bug,
    }
