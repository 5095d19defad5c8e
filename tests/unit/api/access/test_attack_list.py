"""Goal: each attack that issue 6 lists is refused with its code and written down, with whom it came from.

Method: a fresh API for each, so that the record that is found is the attack's own; real HTTP, by hand where need be.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from actors.vocabulary.access import UserRole
from actors.vocabulary.records import AuditRecord
from tests.unit.api.access.test_attacks import forged, none_token, now_s, refreshing
from tests.unit.api.access.test_login import HASH, login
from tests.unit.api.people import logged_in, person
from tests.unit.api.served import Served, served, until

STOPS = "/api/v1/emergency-stops"
STOP = {"scope": "SYSTEM", "reason": "attack"}
PUMPS = "/api/v1/pumps"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        running.token("anna")
        yield running


def by(token: str, api: Served) -> int:
    """Look at the pumps and stop them by a token; return the status of both, which is one."""
    statuses = {api.get(PUMPS, token=token).status, api.post(STOPS, STOP, token=token).status}
    assert len(statuses) == 1
    return statuses.pop()


def of_a_disabled_user(api: Served) -> int:
    token = logged_in(api.users, api.desk, "leaver", UserRole.OPERATOR)
    assert api.post("/api/v1/users/leaver/disable", {}).status == 200
    return by(token, api)


def expired(api: Served) -> int:
    return api.get(PUMPS, token=forged(api, exp=now_s(api) - 1)).status


def alg_none(api: Served) -> int:
    return by(none_token(api), api)


def wrong_audience(api: Served) -> int:
    return by(forged(api, aud="somebody-else"), api)


def refresh_as_access(api: Served) -> int:
    return by(refreshing(api), api)


def replayed_after_logout(api: Served) -> int:
    token = logged_in(api.users, api.desk, "carl", UserRole.OPERATOR)
    assert api.post("/api/v1/auth/logout", {}, token=token).status == 200
    return by(token, api)


def cross_site_post(api: Served) -> int:
    return api.post(STOPS, STOP, headers={"Origin": "https://evil.example"}).status


def path_traversal(api: Served) -> int:
    page = api.get("/login", token="").raw.decode()
    digest = re.search(r"/static/([0-9a-f]{16})/", page)
    assert digest is not None
    paths = [
        f"/static/{digest[1]}/..%2f..%2fapp.py", f"/static/{digest[1]}/templates/login.html",
        "/static/../../etc/passwd", "/api/v1/../../etc/passwd",
    ]  # fmt: skip
    statuses = {api.get(path, token="").status for path in paths}
    assert api.desk.log.counts["REQUEST_REFUSED", "refused"] == len(paths)
    assert len(statuses) == 1
    return statuses.pop()


def oversize_body(api: Served) -> int:
    return api.call("POST", "/api/v1/auth/login", raw=b"{" + b" " * 70_000, token="").status


def slow_body(api: Served) -> int:
    with socket.create_connection(("127.0.0.1", api.rest), timeout=20) as client:
        client.sendall(
            b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 40\r\n\r\n{"
        )
        return int(client.recv(4_096).split(b" ")[1])


def header_injection(api: Served) -> int:
    with socket.create_connection(("127.0.0.1", api.rest), timeout=20) as client:
        client.sendall(
            b"GET /api/v1/alive HTTP/1.1\r\nHost: localhost\r\nCalejo-By: anna\x00X-Admin: 1\r\n\r\n"
        )
        return int(client.recv(4_096).split(b" ")[1])


def sql_in_filters(api: Served) -> int:
    text = quote("x' OR '1'='1", safe="")
    paths = ("violations?pump_id=", "audit?limit=", "pumps/")
    statuses = {api.get(f"/api/v1/{path}{text}").status for path in paths}
    assert api.desk.log.counts["REQUEST_REFUSED", "refused"] == 3
    assert len(statuses) == 1
    return statuses.pop()


def mass_of_sessions(api: Served) -> int:
    now = api.desk.clock.now().utc
    api.users.by_id["olga"] = person("olga", UserRole.OPERATOR, now - timedelta(days=1), password_hash=HASH)
    tokens = [login(api).json()["access_token"] for _ in range(21)]
    return api.get(PUMPS, token=tokens[0]).status


# Attack, status, the event that tells of it, and whom it names where that is known.
ATTACKS: dict[str, tuple[Callable[[Served], int], int, str, str]] = {
    "token of a disabled user": (of_a_disabled_user, 401, "ACCESS_REFUSED", "leaver"),
    "expired": (expired, 401, "ACCESS_REFUSED", "anna"),
    "alg: none": (alg_none, 401, "ACCESS_REFUSED", ""),
    "wrong audience": (wrong_audience, 401, "ACCESS_REFUSED", ""),
    "refresh used as access": (refresh_as_access, 401, "ACCESS_REFUSED", ""),
    "replayed after logout": (replayed_after_logout, 401, "ACCESS_REFUSED", "carl"),
    "cross-site post": (cross_site_post, 403, "REQUEST_REFUSED", ""),
    "path traversal in static files": (path_traversal, 404, "REQUEST_REFUSED", ""),
    "oversize body": (oversize_body, 413, "REQUEST_REFUSED", ""),
    "slow body": (slow_body, 408, "REQUEST_REFUSED", ""),
    "header injection": (header_injection, 400, "REQUEST_REFUSED", ""),
    "SQL in filters": (sql_in_filters, 400, "REQUEST_REFUSED", "anna"),
    "a mass of sessions": (mass_of_sessions, 401, "SESSION_ENDED", "olga"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_is_refused_and_written_down(
    api: Served, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-1, SEC-5: the list of issue 6, each with its code and its own audit record; nothing was stopped by it."""
    attack, status, event, actor = ATTACKS[name]
    monkeypatch.setattr("api.guard._DEADLINE_S", 1.0)
    # What a fresh API has not refused cannot be somebody else's record.
    assert not [each for each in api.desk.log.counts if each[0] == event]
    assert attack(api) == status

    def told() -> list[AuditRecord]:
        found = [each for each in api.tree.records if isinstance(each, AuditRecord)]
        return [each for each in found if each.event_type == event]

    until(told)
    assert {each.actor for each in told()} == {actor}
    assert all(each.source_address.startswith("127.0.0.1:") for each in told())
    if event != "SESSION_ENDED":
        assert all(each.outcome.startswith("refused: ") for each in told())
        assert api.desk.log.counts[event, "refused"] >= len(told())
    assert api.latches.held.active() == ()


def test_what_is_merely_not_there_is_no_event(api: Served) -> None:
    """SEC-5: a pump that nobody has, or a page's icon, fills no trail."""
    for path in ("/api/v1/pumps/p77", "/favicon.ico", "/api/v1/nothing"):
        assert api.get(path).status == 404
    assert ("REQUEST_REFUSED", "refused") not in api.desk.log.counts
