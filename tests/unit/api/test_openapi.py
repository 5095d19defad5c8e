"""The OpenAPI document: whole, valid, with examples that are real, and a page that loads nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # the stubs would be one more library
from referencing import Registry, Resource

from actors.vocabulary.access import PERMISSIONS, Operation
from api.access.guarding import OPERATION, PUBLIC
from api.app import ROUTES
from api.openapi.document import EXAMPLES, document
from tests.unit.api.examples import recorded
from tests.unit.api.served import Served, served

BASE = "/api/v1"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document(ROUTES, version="0")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("api")) as running:
        yield running


def operations(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_tells_rights_errors_and_an_example(made: dict[str, Any]) -> None:
    """API-1: security schemes, every error answer described, examples for each operation."""
    examples = json.loads(EXAMPLES.read_text("utf-8"))
    found = dict(operations(made))
    assert set(examples) == set(found), "an example each, and none of what is gone"
    assert made["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    public = {str(each.opt["why"]) for each in ROUTES if each.opt[OPERATION] == PUBLIC}
    assert public
    for name, operation in found.items():
        responses = operation["responses"]
        assert {"400", "403", "406", "429", "500", "503"} <= set(responses), name
        for status, response in responses.items():
            assert response["description"].strip(), (name, status)
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (name, status)
        assert operation["summary"], name
        if operation.get("security") != []:
            assert "401" in responses, name
            named = re.search(r"Needs (\w+) \(", operation["description"])
            assert named is not None, name
            assert Operation(named[1]) in PERMISSIONS, name
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert "example" in content, name


def test_examples_are_what_the_schemas_say(made: dict[str, Any]) -> None:
    """API-1: each example is valid under the schema beside it."""
    registry = Registry().with_resource("urn:made", Resource.opaque(made))
    for name, operation in operations(made):
        contents = list(operation.get("requestBody", {}).get("content", {}).values())
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                contents += response.get("content", {}).values()
        for content in contents:
            if "example" not in content or "schema" not in content:
                continue
            schema = json.loads(json.dumps(content["schema"]).replace('"#/', '"urn:made#/'))
            errors = list(Draft202012Validator(schema, registry=registry).iter_errors(content["example"]))
            assert errors == [], (name, errors[:2])


def test_examples_are_what_is_answered(tmp_path: Path) -> None:
    """API-1: recorded, not invented: each has the shape of what the API answers today."""
    kept = json.loads(EXAMPLES.read_text("utf-8"))
    now = json.loads(json.dumps(recorded(tmp_path)))
    assert set(kept) == set(now)
    for name, example in now.items():
        assert shape(kept[name].get("response")) == shape(example.get("response")), f"{name}: make them anew"
        assert shape(kept[name].get("request")) == shape(example.get("request")), name


def shape(value: Any) -> Any:
    """Return what a value is made of: keys all the way down, of a list its first row."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None


def test_the_document_is_served_and_the_page_loads_nothing_from_elsewhere(api: Served) -> None:
    """API-1: offline docs: every file from this server, no script in the page, a policy that says so."""
    answer = api.get(f"{BASE}/schema/openapi.json", token="")
    assert answer.status == 200
    assert answer.json()["openapi"].startswith("3.")
    page = api.get(f"{BASE}/schema", token="")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    text = page.raw.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(sources) >= 4
    for source in sources:
        assert source.startswith((f"{BASE}/schema/", "data:")), source
        if source.startswith(f"{BASE}/schema/assets/"):
            asset = api.get(source, token="")
            assert asset.status == 200
            assert len(asset.raw) > 100
    assert not re.search(r"<script>|\son\w+=", text)
    for name in ("swagger-ui.LICENSE.txt", "swagger-ui-bundle.js.LICENSE.txt"):
        assert (EXAMPLES.parent / "assets" / name).stat().st_size > 1_000


# What was recorded of a decision may be anything, of whatever version, and is told as it was recorded (SAF-3, SAF-4).
FREE = {
    "DecidedView.trail", "PastView.decision", "PastView.limits", "PastView.plan", "PastView.plant", "PastView.proposal",
    "PastView.rules", "PastView.stops", "WireView.shown", "WireView.took",
}  # fmt: skip


def test_every_answer_has_a_type(made: dict[str, Any]) -> None:
    """API-1: no answer is a mapping of anything, but for what was recorded: a wrong one can be seen to be wrong."""
    schemas = made["components"]["schemas"]

    def free(part: Any, place: str, seen: set[str]) -> Iterator[str]:
        if isinstance(part, list):
            for each in part:
                yield from free(each, place, seen)
            return
        if not isinstance(part, dict):
            return
        name = part.get("$ref", "").rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            yield from free(schemas[name], name, seen)
        if part.get("type") == "object" and "properties" not in part:
            values = part.get("additionalProperties")
            if values in (None, True, {}):
                yield place
            yield from free(values, place, seen)
        for key, each in part.get("properties", {}).items():
            yield from free(each, f"{place}.{key}", seen)
        for key in ("items", "anyOf", "allOf"):
            yield from free(part.get(key), place, seen)

    found: set[str] = set()
    for name, operation in operations(made):
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                for content in response.get("content", {}).values():
                    found |= set(free(content.get("schema"), name, set()))
    assert found == FREE
