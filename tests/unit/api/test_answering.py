"""What every answer has in common: problems, tags, codings, pages, counts; over real HTTP."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.answering import _shares
from api.etags import matches
from api.paging import sealed
from tests.unit.api.served import Served, served, walked

PUMPS = "/api/v1/pumps"
STOPS = "/api/v1/emergency-stops"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("api")) as running:
        yield running


def raw(api: Served, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, return status, headers and body."""
    with socket.create_connection(("127.0.0.1", api.rest), timeout=20) as client:
        client.sendall(request)
        answer = b""
        while chunk := client.recv(65_536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


# --------------------------------------------------------------------------- problems


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/api/v1/nowhere", {}, 404),
        ("GET", "/api/v1/schema/nowhere", {}, 404),
        ("GET", "/api/v1/schema/assets/%2e%2e%2fpage.py", {}, 404),
        ("GET", "/api/v1/schema/assets/..%2f..%2factor.py", {}, 404),
        ("GET", "/api/v1/pumps/%2e%2e", {}, 400),
        ("DELETE", PUMPS, {}, 405),
        ("POST", PUMPS, {}, 405),
        ("TRACE", PUMPS, {}, 405),
        ("GET", PUMPS, {"Accept": "text/html"}, 406),
        ("GET", PUMPS, {"Accept": "application/json;q=0, text/*"}, 406),
        ("POST", STOPS, {"Accept": "text/html"}, 406),
        ("POST", STOPS, {"Content-Type": "text/plain"}, 415),
        ("GET", f"{PUMPS}?limit=0", {}, 400),
        ("GET", f"{PUMPS}?limit=1001", {}, 400),
        ("GET", f"{PUMPS}?limit=x", {}, 400),
        ("GET", f"{PUMPS}?cursor=rubbish", {}, 400),
        ("GET", "/api/v1/violations?cursor=rubbish", {}, 400),
        ("GET", "/api/v1/violations?pump_id=%27%20OR%201=1", {}, 400),
    ],
)
def test_every_error_is_a_problem(
    api: Served, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """API-1: RFC 9457 for whatever is asked wrongly, wherever it is noticed."""
    body = {"scope": "SYSTEM", "reason": "r"} if method == "POST" else None
    answer = api.call(method, path, body, headers=headers, token=api.token())
    assert answer.problem(status)
    assert api.latches.held.active() == ()
    if status == 405:
        assert "GET" in answer.headers["allow"]


def test_what_is_no_http_is_a_problem_too(api: Served) -> None:
    """API-1: also what never reaches a handler."""
    status, headers, body = raw(api, b"GET /\x00 HTTP/9.9\r\n\r\n")
    assert status == 400
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == 400


# --------------------------------------------------------------------------- tags and codings


def test_what_did_not_change_is_not_sent_again(api: Served) -> None:
    """API-2: ETag, If-None-Match and 304; whoever is logged in is not kept by anybody else's cache."""
    first = api.get("/api/v1/tags")
    tag = first.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
    assert first.headers["cache-control"] == "private, no-cache"
    assert "Authorization" in first.headers["vary"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = api.get("/api/v1/tags", headers={"If-None-Match": given})
        assert (again.status, again.raw, again.headers["etag"]) == (304, b"", tag)
    assert api.get("/api/v1/tags", headers={"If-None-Match": '"other"'}).status == 200
    assert api.get("/api/v1/tags", headers={"If-None-Match": tag}, token="").problem(401)


@pytest.mark.parametrize(
    "path", ["/api/v1/users", "/api/v1/account", "/api/v1/sessions", "/api/v1/audit/events"]
)
def test_what_names_people_is_not_kept(api: Served, path: str) -> None:
    """SEC-1, API-2: no-store, and no tag to ask by."""
    answer = api.get(path)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


def test_a_long_answer_is_pressed_for_who_takes_it(api: Served) -> None:
    """API-2: gzip; its tag is another one that names the same content."""
    plain = api.get("/api/v1/tags")
    pressed = api.get("/api/v1/tags", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert pressed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(pressed.raw) == plain.raw
    assert len(pressed.raw) < len(plain.raw) / 4
    assert pressed.headers["etag"] == plain.headers["etag"][:-1] + '-gzip"'
    again = api.get("/api/v1/tags", headers={"If-None-Match": pressed.headers["etag"]})
    assert again.status == 304
    for refused in ("gzip;q=0", "identity", "*;q=0"):
        assert "content-encoding" not in api.get("/api/v1/tags", headers={"Accept-Encoding": refused}).headers


def test_tags_and_shares_are_read_to_the_letter() -> None:
    """API-2: weak and pressed tags, lists and stars; a share that is no number is none."""
    assert matches('W/"a-gzip"', '"a"')
    assert not matches("", '"a"')
    assert not matches('"ab"', '"a"')
    assert list(_shares("a;q=x, B;Q=0.5,,c")) == [("a", 0.0), ("b", 0.5), ("c", 1.0)]


# --------------------------------------------------------------------------- pages


def rows_of(api: Served, path: str, limit: int) -> list[Any]:
    """Return every row of a list, page by page."""
    pages = [page.json() for page in walked(api, f"{path}{'&' if '?' in path else '?'}limit={limit}")]
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages[-1]) <= limit
    return [row for page in pages for row in page]


@pytest.mark.parametrize(
    "path",
    [PUMPS, f"{PUMPS}?station_id=s1", "/api/v1/stations", "/api/v1/tags", "/api/v1/tree", "/api/v1/alarms",
     "/api/v1/users", "/api/v1/sessions", "/api/v1/limit-proposals"],
)  # fmt: skip
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_list_is_walked_page_by_page(api: Served, path: str, limit: int) -> None:
    """API-2: the pages together are the list, in its order, each row once."""
    whole = api.get(path).json()
    if path == "/api/v1/alarms":  # the tree of the tests makes their times anew each time
        assert [row["alarm_id"] for row in rows_of(api, path, limit)] == [row["alarm_id"] for row in whole]
        return
    volatile = {"published", "setpoint", "level", "seen_at", "plan"}

    def lasting(rows: list[Any]) -> list[Any]:
        return [{name: value for name, value in row.items() if name not in volatile} for row in rows]

    assert lasting(rows_of(api, path, limit)) == lasting(whole)


def test_a_page_goes_on_though_its_row_is_gone(api: Served) -> None:
    """API-2: the place of a row that was removed meanwhile is where the next page begins."""
    whole = [row["pump_id"] for row in api.get(PUMPS).json()]
    gone = sealed('[1,"a pump that was removed"]')
    assert [row["pump_id"] for row in api.get(f"{PUMPS}?cursor={gone}").json()] == whole[1:]
    beyond = sealed('[10000,"nothing"]')
    assert api.get(f"{PUMPS}?cursor={beyond}").json() == []
    negative = base64.urlsafe_b64encode(b'[-1,"x"]').decode()
    assert "cursor" in api.get(f"{PUMPS}?cursor={negative}").problem(400)


# --------------------------------------------------------------------------- counts


def test_answers_are_counted_by_status(api: Served) -> None:
    """SEC-5: refusals can be counted in metrics without reading the audit."""
    for _ in range(3):
        api.get(PUMPS, token="")
    text = api.get("/metrics", port=api.health, token="").raw.decode()
    found = dict(re.findall(r'calejo_rest_answers_total\{status="(\d+)"\} ([0-9.]+)', text))
    assert float(found["401"]) >= 3
    assert float(found["200"]) >= 1
    assert "calejo_rest_streams 0.0" in text


# --------------------------------------------------------------------------- pages elsewhere


def test_no_page_elsewhere_may_ask_unless_it_is_named(api: Served, tmp_path: Path) -> None:
    """API-2: CORS is off; switched on it is for the named origins, without what a browser keeps for us."""
    theirs = {"Origin": "https://scada.example"}
    assert api.get("/api/v1/alive", headers=theirs).problem(403)
    with served(tmp_path, settings={"cors_origins": "https://scada.example"}) as open_one:
        answer = open_one.get("/api/v1/alive", headers=theirs)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "https://scada.example"
        assert "access-control-allow-credentials" not in answer.headers
        asked = {**theirs, "Access-Control-Request-Method": "POST"}
        before = open_one.call("OPTIONS", STOPS, headers=asked, token="")
        assert before.status in {200, 204}
        assert "POST" in before.headers["access-control-allow-methods"]
        for origin in ("https://evil.example", "null", "https://scada.example.evil.example"):
            assert open_one.get("/api/v1/alive", headers={"Origin": origin}).problem(403)
