"""The OpenAPI document: what Litestar reads off the handlers, with every error, right and example beside it (API-1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from actors.vocabulary.access import PERMISSIONS, Operation
from api.access.guarding import OPERATION, PUBLIC
from api.handling import FORMS
from api.keys import OPT, Keyed
from api.problems import PROBLEM

BASE: Final = "/api/v1"
EXAMPLES: Final = Path(__file__).parent / "examples.json"
_PROBLEM: Final = "Problem"
_METHODS: Final = ("get", "post")
_DESCRIPTION: Final = """\
Safe, explained, real-time setpoints for wastewater pump stations.

Every error is a problem (RFC 9457). Every list takes `limit` and `cursor` and names its next page in `Link`. A whole
answer to GET has an `ETag`; `If-None-Match` spares it. A command takes an `Idempotency-Key`. How often a user may ask
is limited (429, `Retry-After`), an emergency stop never is. `/api/v1/stream` speaks WebSocket too.
"""
_MEANINGS: Final = {
    400: "A value is not acceptable; the detail names it, the place, and what was expected",
    401: "Nobody knows who asks: log in",
    403: "It is known who asks, and they may not",
    404: "There is no such thing",
    406: "`Accept` leaves out what is answered here",
    408: "The body did not come in time",
    409: "Refused: it does not fit the state of things",
    410: "It is no longer kept",
    412: "`If-Match`: it was changed meanwhile",
    413: "The body is larger than 64 KiB",
    415: "The body is not announced as `application/json`",
    421: "`Host` is no name of ours",
    422: "The `Idempotency-Key` belongs to another command",
    429: "Too often, or too many at once: `Retry-After` says when",
    500: "An error of ours",
    503: "Something that is needed does not answer now",
}
_WITH_RETRY: Final = frozenset({429, 503})
_WITH_GONE: Final = "/decisions/"
_WITH_MATCH: Final = "/limits/"


def document(handlers: Sequence[Any], *, version: str) -> dict[str, Any]:
    """Return the document of these handlers."""
    config = OpenAPIConfig(
        title="Calejo",
        version=version,
        description=_DESCRIPTION,
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="An access token of POST /api/v1/auth/login, or a service account's key.",
                )
            }
        ),
        security=[{"bearer": []}],
    )
    application = Litestar(
        route_handlers=[Router(path=BASE, route_handlers=handlers)],
        openapi_config=config,
        logging_config=None,
    )
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(application.openapi_schema.to_schema()))
    made = _loosened(made)
    made["components"]["schemas"][_PROBLEM] = _problem_schema()
    examples = msgspec.json.decode(EXAMPLES.read_bytes())
    options = dict(_options(application))
    _close_bodies(made)
    for path, methods in made["paths"].items():
        for method in _METHODS:
            if method in methods:
                _complete(
                    methods[method],
                    path=path,
                    method=method,
                    options=options[method, path],
                    examples=examples.get(f"{method.upper()} {path}", {}),
                )
    return made


def _close_bodies(made: dict[str, Any]) -> None:
    """Say of every body that a field nobody knows is refused."""
    for methods in made["paths"].values():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
                if name:
                    made["components"]["schemas"][name]["additionalProperties"] = False


def _loosened(part: Any) -> Any:
    """Return a schema in which a value may fit more than one kind: 3 is an integer and a number, and means the same."""
    if isinstance(part, dict):
        return {"anyOf" if key == "oneOf" else key: _loosened(value) for key, value in part.items()}
    return [_loosened(each) for each in part] if isinstance(part, list) else part


def _options(application: Litestar) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for route in application.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler):
                for method in handler.http_methods:
                    yield (method.lower(), route.path_format), dict(handler.opt)


def _complete(
    operation: dict[str, Any], *, path: str, method: str, options: dict[str, Any], examples: dict[str, Any]
) -> None:
    is_public = options.get(OPERATION) == PUBLIC
    if is_public:
        operation["security"] = []
    named = options.get(OPERATION)
    if isinstance(named, Operation):
        roles = ", ".join(sorted(PERMISSIONS[named].roles))
        operation["description"] = (
            f"{operation.get('description', '')}\n\nNeeds {named.value} ({roles}).".strip()
        )
    responses = operation["responses"]
    # Litestar's own words on a failed validation are not what is answered.
    responses.pop("400", None)
    for status in _statuses(path, method, options, is_public=is_public, has_input=_has_input(operation)):
        responses[str(status)] = _problem_response(status)
    if options.get(OPT) is not None:
        operation.setdefault("parameters", []).append(_key_parameter(options[OPT]))
    if method == "post" and path.startswith(f"{BASE}{_WITH_MATCH}"):
        operation.setdefault("parameters", []).append(_match_parameter())
    _exemplify(operation, examples)
    for kind in options.get(FORMS, ()):
        responses["200"]["content"][kind] = {"schema": {"type": "string"}}


def _has_input(operation: dict[str, Any]) -> bool:
    return bool(operation.get("parameters")) or "requestBody" in operation


def _statuses(
    path: str, method: str, options: dict[str, Any], *, is_public: bool, has_input: bool
) -> Iterator[int]:
    # What the guard, the rates and the server answer anywhere.
    yield from (400, 406, 421, 429, 500, 503)
    if not is_public or path.startswith(f"{BASE}/auth"):
        yield 401
    yield 403
    if "{" in path or has_input:
        yield 404
    if path.startswith(f"{BASE}{_WITH_GONE}"):
        yield 410
    if method == "post":
        yield from (408, 409, 413, 415)
        if path.startswith(f"{BASE}{_WITH_MATCH}"):
            yield 412
    if options.get(OPT) is Keyed.KEPT:
        yield 422


def _problem_response(status: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}. {_MEANINGS[status]}.",
        "content": {PROBLEM: {"schema": {"$ref": f"#/components/schemas/{_PROBLEM}"}}},
    }
    if status in _WITH_RETRY:
        made["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "string"}}}
    if status == HTTPStatus.UNAUTHORIZED:
        made["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return made


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "title": _PROBLEM,
        "description": "Problem details (RFC 9457)",
        "required": ["type", "title", "status", "detail", "instance"],
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": text,
        },
        "additionalProperties": False,
    }


def _key_parameter(how: Keyed) -> dict[str, Any]:
    kept = "the answer is kept for 24 hours" if how is Keyed.KEPT else "the same key is the same stop"
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": f"A repeat under the same key is not carried out again: {kept}",
        "schema": {"type": "string", "pattern": r"^[!#-~]{1,200}$"},
    }


def _match_parameter() -> dict[str, Any]:
    return {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "description": "The `ETag` of what was seen: refused (412) if it was changed meanwhile",
        "schema": {"type": "string"},
    }


def _exemplify(operation: dict[str, Any], examples: dict[str, Any]) -> None:
    if "request" in examples:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            content["example"] = examples["request"]
    if "response" in examples:
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                for content in response.get("content", {}).values():
                    content["example"] = examples["response"]
    for parameter in operation.get("parameters", []):
        value = examples.get("parameters", {}).get(parameter["name"])
        if value is not None:
            parameter["example"] = value
