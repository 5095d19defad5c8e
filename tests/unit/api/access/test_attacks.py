"""Goal: each way of getting in without a right is refused with its code, and written down.

Method: a real uvicorn, real HTTP; tokens are forged with the library that ours are made with, and by hand.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import msgspec
import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from actors.vocabulary.access import PERMISSIONS, Operation, UserRole
from actors.vocabulary.records import AuditRecord
from api.access.guarding import OPERATION, PUBLIC
from api.access.tokens import ALGORITHM, Use, issued
from api.answering import Answering
from api.app import ROUTES, rest_application
from api.keys import Keys
from tests.unit.api.people import logged_in
from tests.unit.api.served import Answer, Served, served, until

STOPS = "/api/v1/emergency-stops"
STOP = {"scope": "SYSTEM", "reason": "attack"}
PUBLIC_PATHS = {
    "/api/v1/alive", "/api/v1/auth/login", "/api/v1/auth/refresh",
    # The dashboard: whoever logs in is nobody yet, and scripts are the same for everybody.
    "/login", "/static/{digest:str}/{name:path}",
}  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("api")) as running:
        yield running


def audited(api: Served, event: str, actor: str | None = None) -> AuditRecord:
    """Return the newest audit record of an event, once there is one."""

    def found() -> list[AuditRecord]:
        return [
            each
            for each in api.tree.records
            if isinstance(each, AuditRecord) and each.event_type == event and actor in {None, each.actor}
        ]

    until(found)
    return found()[-1]


def refused_unread(api: Served) -> int:
    """Return how often a request was refused before anybody was asked: counted, and audited, a flood as one."""
    return api.desk.log.counts.get(("REQUEST_REFUSED", "refused"), 0)


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def forged(
    api: Served, *, secret: str | None = None, header: dict[str, Any] | None = None, **claims: Any
) -> str:
    """Return a token with our own key and some claims changed (None: taken out)."""
    key_id, own = api.desk.ring.signing
    content = {**claims_of(api.token("anna")), **claims}
    content = {name: value for name, value in content.items() if value is not None}
    return jwt.encode(content, secret or own, algorithm=ALGORITHM, headers={"kid": key_id} | (header or {}))


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def none_token(api: Served) -> str:
    claims = claims_of(api.token("anna"))
    return f"{part({'alg': 'none', 'typ': 'JWT', 'kid': api.desk.ring.signing[0]})}.{part(claims)}."


def now_s(api: Served) -> int:
    return int(api.desk.clock.now().utc.timestamp())


def refreshing(api: Served) -> str:
    token = logged_in(api.users, api.desk, "anna", UserRole.ADMINISTRATOR)
    session, account = api.users.all[claims_of(token)["sid"]], api.users.by_id["anna"]
    now = api.desk.clock.now().utc
    return issued(api.desk.ring, Use.REFRESH, session, account, now=now, expires_at=now + timedelta(600))


FORGERIES: dict[str, Callable[[Served], str]] = {
    "alg none": none_token,
    "alg none with our signature": lambda api: none_token(api) + forged(api).rpartition(".")[2],
    "another algorithm with our key": lambda api: jwt.encode(
        claims_of(api.token("anna")), api.desk.ring.signing[1] * 2, "HS512", {"kid": api.desk.ring.signing[0]}
    ),
    "another key under our id": lambda api: forged(api, secret="x" * 64),
    "a key id that we do not have": lambda api: forged(api, header={"kid": "other"}),
    "no key id": lambda api: jwt.encode(claims_of(api.token("anna")), api.desk.ring.signing[1], ALGORITHM),
    "a key id that is a path": lambda api: forged(api, header={"kid": "../../keys.json"}),
    "wrong audience": lambda api: forged(api, aud="somebody-else"),
    "our audience among others": lambda api: forged(api, aud=["calejo-access", "x"]),
    "wrong issuer": lambda api: forged(api, iss="somebody-else"),
    "not valid yet": lambda api: forged(api, nbf=now_s(api) + 3_600),
    "no end": lambda api: forged(api, exp=None),
    "an end that is text": lambda api: forged(api, exp=str(now_s(api) + 600)),
    "an end beyond time": lambda api: forged(api, exp=10**30),
    "no session": lambda api: forged(api, sid=None),
    "a session that nobody has": lambda api: forged(api, sid="x"),
    "somebody else's session": lambda api: forged(api, sub="bert"),
    "expired": lambda api: forged(api, exp=now_s(api) - 1),
    "refresh as access": refreshing,
    "refresh with the audience of access": lambda api: forged(api, use="refresh"),
    "a signature cut off": lambda api: api.token("anna").rpartition(".")[0] + ".",
    "rubbish": lambda _: "a.b.c",
    "nothing": lambda _: "",
    "very long": lambda _: "a" * 3_000,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_token_that_is_not_ours_is_401(api: Served, name: str) -> None:
    """SEC-1: algorithm allow-list, aud, exp, nbf and token type are checked; the refusal is audited."""
    headers = {"Authorization": f"Bearer {FORGERIES[name](api)}"}
    counted = api.desk.log.counts.get(("ACCESS_REFUSED", "refused"), 0)
    answer = api.get("/api/v1/pumps", token="", headers=headers)
    assert answer.problem(401)
    assert answer.headers["www-authenticate"] == "Bearer"
    # Of a flood the first ten are records; that each is one with a record is for test_attack_list.py.
    assert api.desk.log.counts["ACCESS_REFUSED", "refused"] == counted + 1
    if name != "expired":  # that one stops, as EST-4 asks
        assert api.post(STOPS, STOP, token="", headers=headers).status == 401
    assert api.get("/api/v1/pumps", token=api.token("anna")).status == 200, "the real one still counts"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic YW5uYTphbm5h"},
        {"Authorization": "Bearer"},
        {"Authorization": "Calejo-Local "},
        {"Authorization": "Calejo-Local 0000"},
        {"Authorization": "Bearer calejo_x_y"},
        {"Authorization": "Bearer calejo_"},
        {"Cookie": "session=anna"},
        {"X-User": "anna"},
    ],
)
def test_who_shows_nothing_is_nobody(api: Served, headers: dict[str, str]) -> None:
    """SEC-2: reading and stopping alike need to know who asks."""
    assert api.get("/api/v1/pumps", token="", headers=headers).problem(401)
    assert api.post(STOPS, STOP, token="", headers=headers).problem(401)
    assert api.latches.held.active() == ()


def test_two_authorizations_are_none(api: Served) -> None:
    """SEC-1: which of two headers counts is not left to chance."""
    with socket.create_connection(("127.0.0.1", api.rest), timeout=10) as client:
        token = api.token("anna").encode()
        line = b"Authorization: Bearer " + token + b"\r\n"
        client.sendall(b"GET /api/v1/pumps HTTP/1.1\r\nHost: localhost\r\n" + line + line + b"\r\n")
        assert b" 401 " in client.recv(4_096).partition(b"\r\n")[0] + b" "


@pytest.mark.parametrize("value", [b"anna\r\nX-Admin: 1", b"anna\nX-Admin: 1", b"anna\x00"])
def test_a_header_smuggled_in_is_400_or_nothing(api: Served, value: bytes) -> None:
    """SEC-1: header injection: a name cannot end its header, nor bring another."""
    from storage.local_credential import LocalCredential

    secret = LocalCredential(Path(api.settings.data_dir)).read().encode()
    with socket.create_connection(("127.0.0.1", api.rest), timeout=10) as client:
        client.sendall(
            b"GET /api/v1/account HTTP/1.1\r\nHost: localhost\r\nAuthorization: Calejo-Local " + secret
            + b"\r\nCalejo-By: " + value + b"\r\nConnection: close\r\n\r\n"
        )  # fmt: skip
        answer = b""
        while chunk := client.recv(4_096):
            answer += chunk
    status = int(answer.split(b" ")[1])
    # A line of its own is a header of its own, which means nothing here; anything else is no request.
    assert status == 400 or (status == 200 and b"X-Admin" not in answer and b'"local:anna"' in answer)


def test_a_name_that_would_break_a_line_is_refused(api: Served) -> None:
    """SEC-5: nobody writes lines of their own into the audit log."""
    from storage.local_credential import LocalCredential

    secret = LocalCredential(Path(api.settings.data_dir)).read()
    headers = {"Authorization": f"Calejo-Local {secret}", "Calejo-By": "anna%0D%0Aroot"}
    assert api.get("/api/v1/account", token="", headers=headers).problem(401)


def test_a_name_typed_at_a_shell_has_one_prefix_however_often_it_is_typed(api: Served) -> None:
    """SAF-6, SEC-5: `local:` says where somebody sat; written twice it must not make another person of them."""
    from storage.local_credential import LocalCredential

    headers = {"Authorization": f"Calejo-Local {LocalCredential(Path(api.settings.data_dir)).read()}"}
    stop = {"scope": "PUMP", "scope_id": "p1", "reason": "leak", "by": "local: LOCAL:carl"}
    answer = api.post(STOPS, stop, token="", headers=headers)
    assert api.latches.held.by_id[answer.json()["stop_id"]].set_by == "local:carl"
    clear_all(api)


def test_a_disabled_users_token_is_worth_nothing_at_once(api: Served) -> None:
    """SEC-1: disabling an account ends its sessions; also a stop is refused, for that is no expiry."""
    token = logged_in(api.users, api.desk, "leaver", UserRole.OPERATOR)
    assert api.get("/api/v1/pumps", token=token).status == 200
    assert api.post("/api/v1/users/leaver/disable", {}).status == 200
    assert api.get("/api/v1/pumps", token=token).problem(401)
    assert api.post(STOPS, STOP, token=token).problem(401)
    assert audited(api, "USER_DISABLED").object_id == "USER:leaver"
    assert api.post("/api/v1/users/leaver/enable", {}).status == 200
    assert api.get("/api/v1/pumps", token=token).problem(401), "its sessions stay ended"


def test_a_token_is_worth_nothing_after_logout(api: Served) -> None:
    """SEC-1: replayed after logout, for reading and for a stop."""
    token = logged_in(api.users, api.desk, "carl", UserRole.OPERATOR)
    assert api.post("/api/v1/auth/logout", {}, token=token).json() == {"ended": True}
    assert api.get("/api/v1/pumps", token=token).problem(401)
    assert api.post(STOPS, STOP, token=token).problem(401)
    assert audited(api, "SESSION_ENDED", "carl").after == {"user": "carl", "reason": "logged out"}


def test_a_right_that_is_taken_away_is_gone_with_the_next_request(api: Served) -> None:
    """SEC-2: the role of the account counts, not the one in the token."""
    token = logged_in(api.users, api.desk, "dora", UserRole.ADMINISTRATOR)
    assert api.get("/api/v1/users", token=token).status == 200
    assert api.post("/api/v1/users/dora/role", {"role": "READ_ONLY"}).status == 200
    assert api.get("/api/v1/users", token=token).problem(403)
    assert audited(api, "ACCESS_DENIED", "dora").object_id == "MANAGE_USERS"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"])
def test_a_page_elsewhere_cannot_post_even_with_a_token(api: Served, origin: str) -> None:
    """SEC-1: cross-site post."""
    headers, counted = {"Origin": origin}, refused_unread(api)
    assert api.post(STOPS, STOP, headers=headers).problem(403)
    form = {"Origin": origin, "Content-Type": "application/x-www-form-urlencoded"}
    assert api.call("POST", STOPS, raw=b"scope=SYSTEM", headers=form).status == 403
    assert api.call("POST", STOPS, raw=b"scope=SYSTEM", headers={"Content-Type": "text/plain"}).status == 415
    # Refused for where it comes from, whatever else is wrong with it; and the client reads why, all was taken from it.
    assert api.call("POST", STOPS, raw=b"x" * 70_000, headers={"Origin": origin}).problem(403)
    # A page cannot even end a session or revoke a key with an empty post: its origin comes with it.
    assert api.call("POST", "/api/v1/auth/logout", raw=b"", headers={"Origin": origin}).status == 403
    assert audited(api, "REQUEST_REFUSED").outcome.startswith(("refused: Origin", "refused: Content-Type"))
    assert refused_unread(api) >= counted + 4
    assert api.latches.held.active() == ()


SQL = ["' OR '1'='1", "x'; DROP TABLE audit_log; --", "1 UNION SELECT password_hash FROM users", "%", "\\"]


@pytest.mark.parametrize("text", SQL)
@pytest.mark.parametrize(
    "path",
    ["/violations?pump_id=", "/failsafes?scope_id=", "/plans?pump_id=", "/plan-refusals?cursor=", "/pumps?station_id=",
     "/limit-proposals?state=", "/pumps/", "/users/", "/emergency-stops/", "/limits/p1/diff?before=",
     "/decisions/p1?at=", "/audit?limit="],
)  # fmt: skip
def test_sql_in_a_filter_is_a_value_that_nothing_has(api: Served, path: str, text: str) -> None:
    """SEC-1: SQL in filters: refused by its form, or a name that nobody has; never more than was asked for.

    What reaches a database is a bound value there (tests/unit/storage, on both engines; tests/unit/api/test_audit.py).
    """
    answer = api.get(f"/api/v1{path}{quote(text, safe='')}")
    assert answer.status in {400, 404}, (answer.status, answer.raw[:200])
    assert answer.problem(answer.status)


def test_a_header_cannot_be_written_into_an_answer(api: Served) -> None:
    """SEC-1: header injection the other way: what a client sends never begins a line of the answer's head."""
    answer = api.get("/api/v1/pumps?limit=1&station_id=s1&x=%0d%0aX-Injected:%20yes")
    assert answer.status == 200
    assert "x-injected" not in answer.headers
    assert "\n" not in answer.headers["link"]
    assert "%0D%0A" in answer.headers["link"]
    key = {"Idempotency-Key": "a"}
    assert "x-injected" not in api.post("/api/v1/discovery%0d%0aX-Injected:1", {}, headers=key).headers


def test_an_oversize_body_is_413_for_everybody(api: Served) -> None:
    """SEC-1, API-1: before anybody is asked who they are."""
    counted = refused_unread(api)
    body = b'{"user": "' + b"a" * 70_000 + b'", "password": "x"}'
    assert api.call("POST", "/api/v1/auth/login", raw=body, token="").problem(413)
    assert refused_unread(api) == counted + 1


def test_a_slow_body_is_ended(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-1: who announces a body and sends none holds a connection for the deadline and no longer."""
    monkeypatch.setattr("api.guard._DEADLINE_S", 0.5)
    counted = refused_unread(api)
    with socket.create_connection(("127.0.0.1", api.rest), timeout=20) as client:
        client.sendall(
            b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 40\r\n\r\n{"
        )
        assert b" 408 " in client.recv(4_096)
    until(lambda: refused_unread(api) == counted + 1)


def test_an_expired_token_stops_and_never_clears(api: Served) -> None:
    """EST-4: valid but expired: it may still stop, never clear, nothing else; and that is audited."""
    token = logged_in(api.users, api.desk, "olga", UserRole.OPERATOR, ago_s=50_000.0)
    assert api.get("/api/v1/pumps", token=token).problem(401)
    set_stop = api.post(STOPS, {"scope": "PUMP", "scope_id": "p1", "reason": "leak"}, token=token)
    assert set_stop.status == 201, set_stop.raw
    stop_id = set_stop.json()["stop_id"]
    assert api.latches.held.by_id[stop_id].set_by == "olga"
    record = audited(api, "STOP_BY_EXPIRED_SESSION", "olga")
    assert record.outcome == "success"
    clear = {"stop_ids": [stop_id], "reason": "fixed"}
    assert api.post(f"{STOPS}/clear", clear, token=token).problem(401)
    assert api.post(f"{STOPS}/clear", clear).status == 200


def test_who_looks_what_could_be_stopped_has_stopped_nothing(api: Served) -> None:
    """EST-4, AUD-2: an expired session may look at it; that a stop was set by one is told only of a stop."""
    token = logged_in(api.users, api.desk, "ottilie", UserRole.OPERATOR, ago_s=50_000.0)
    counted = api.desk.log.counts.get(("STOP_BY_EXPIRED_SESSION", "success"), 0)
    assert api.get("/stop-scopes", token=token).status == 200
    assert api.desk.log.counts.get(("STOP_BY_EXPIRED_SESSION", "success"), 0) == counted
    stop = api.post(STOPS, {"scope": "PUMP", "scope_id": "p1", "reason": "leak"}, token=token)
    assert stop.status == 201
    assert api.desk.log.counts["STOP_BY_EXPIRED_SESSION", "success"] == counted + 1
    clear_all(api)


def test_an_expired_reader_does_not_stop(api: Served) -> None:
    """EST-4, SEC-2: an expired session gives no right that it never had."""
    token = logged_in(api.users, api.desk, "rita", UserRole.READ_ONLY, ago_s=50_000.0)
    assert api.post(STOPS, STOP, token=token).problem(403)


def test_a_stop_needs_no_database_of_users(api: Served) -> None:
    """EST-3, EST-4: a good token stops while nobody can be looked up; everything else says that it cannot."""
    token = logged_in(api.users, api.desk, "petra", UserRole.OPERATOR)
    api.users.away = True
    try:
        api.on_loop(forget(api))
        stop = api.post(STOPS, {"scope": "PUMP", "scope_id": "p2", "reason": "leak"}, token=token)
        assert stop.status == 201, stop.raw
        assert stop.seconds < 3.0
        assert api.get("/api/v1/pumps", token=token).problem(503)
        body = {"user": "petra", "password": "whatever it was"}
        assert api.post("/api/v1/auth/login", body, token="").problem(503)
    finally:
        api.users.away = False
    assert api.post(f"{STOPS}/clear", {"stop_ids": [stop.json()["stop_id"]], "reason": "ok"}).status == 200


def test_what_was_seen_a_moment_ago_holds_while_the_database_is_away(api: Served) -> None:
    """SEC-1, DAT-3: an operator who looks at the plant goes on to see it, whatever is tried or done with others."""
    token = logged_in(api.users, api.desk, "vera", UserRole.OPERATOR)
    other = refreshing(api)
    logged_in(api.users, api.desk, "walt", UserRole.OPERATOR)
    assert api.get("/api/v1/pumps", token=token).status == 200
    turned = api.post("/api/v1/auth/refresh", {"refresh_token": other}, token="")
    assert turned.status == 200, "anna's session goes on, which is no reason to forget vera's"
    assert api.post("/api/v1/users/walt/disable", {}).status == 200
    admin = turned.json()["access_token"]
    api.users.away = True
    try:
        asked = api.users.asked
        # Fresh answers are given without asking; once one is not, the store is asked, and is away.
        until(lambda: api.get("/api/v1/pumps", token=token).status == 200 and api.users.asked > asked)
        assert api.post("/api/v1/users/vera/role", {"role": "READ_ONLY"}, token=admin).problem(503)
        assert api.get("/api/v1/pumps", token=token).status == 200, "nobody knows of a change"
        assert api.get("/api/v1/pumps", token=admin).status == 200, "its refresh is known, not forgotten"
    finally:
        api.users.away = False
    assert api.post("/api/v1/users/vera/role", {"role": "FIELD"}).status == 200
    assert api.get("/api/v1/tree", token=token).problem(403), "one that is known counts at once"


async def forget(api: Served) -> None:
    """Let the API know as little as after a restart."""
    for user_id in api.users.by_id:
        api.desk.sessions_changed(user_id)
        api.desk.programs._known.forget(user_id=user_id)


# --------------------------------------------------------------------------- programs


def key_of(api: Served, user: str, role: str = "OPERATOR", **more: Any) -> str:
    """Return a service key of a new account, which the API has read and kept."""
    assert api.post("/api/v1/users", {"user": user, "role": role, "kind": "SERVICE"}).status == 201
    made: str = api.post(f"/api/v1/users/{user}/keys", more).json()["secret"]
    api.on_loop(api.desk.programs.keep())
    return made


def stop_with(api: Served, key: str) -> Answer:
    return api.post(STOPS, {"scope": "PUMP", "scope_id": "p2", "reason": "leak"}, token=key)


def clear_all(api: Served) -> None:
    ids = [stop.record_id for stop in api.latches.held.active()]
    assert api.post(f"{STOPS}/clear", {"stop_ids": ids, "reason": "ok"}).status == 200


@pytest.mark.parametrize("how", ["away", "slow"])
def test_a_service_key_stops_while_nobody_can_be_looked_up(
    api: Served, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EST-3, EST-4: a program stops like a person: its key is compared with what is kept; nothing else goes by it."""
    key, reader = key_of(api, f"scada-{how}"), key_of(api, f"reader-{how}", "READ_ONLY")
    narrow = key_of(api, f"narrow-{how}", operations=["READ_POINTS"])
    forged = key[:-1] + ("0" if key[-1] != "0" else "1")

    async def never(_: str) -> None:
        await asyncio.sleep(60.0)

    with monkeypatch.context() as patch:
        if how == "away":
            patch.setattr(api.users, "away", True)
        else:
            patch.setattr(api.users, "key", never)
        api.on_loop(forget(api))
        answer = stop_with(api, key)
        assert answer.status == 201, answer.raw
        assert answer.seconds < 3.0
        assert api.latches.held.by_id[answer.json()["stop_id"]].set_by == f"scada-{how}"
        assert stop_with(api, forged).problem(401)
        assert stop_with(api, reader).problem(403), "what it may not, it may not now either"
        assert stop_with(api, narrow).problem(403)
        assert api.get("/api/v1/pumps", token=key).problem(503)
    clear_all(api)


def test_a_service_key_stops_after_a_cold_start_without_a_database(tmp_path: Path) -> None:
    """EST-3: an API that begins while the database is away knows the keys of the run before, by their hashes."""
    with served(tmp_path) as api:
        key, gone = key_of(api, "scada"), key_of(api, "left")
        (left,) = [each.key_id for each in api.users.keys_by_id.values() if each.user_id == "left"]
        file = tmp_path / "access" / "service-keys.json"
        assert left in file.read_text()
        assert api.post(f"/api/v1/service-keys/{left}/revoke", {}).status == 200
        api.tick("keep")  # the beat of every second
        until(lambda: left not in file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key.rpartition("_")[2] not in file.read_text()
    with served(tmp_path) as api:
        api.users.away = True
        assert stop_with(api, key).status == 201
        assert stop_with(api, gone).problem(503), "revoked: nobody knows it"
        api.users.away = False


def test_an_expired_key_stops_and_does_nothing_else(api: Served) -> None:
    """EST-4: valid but expired: it stops, never clears, reads nothing; audited under its own name."""
    key = key_of(api, "old-hand", days=1)
    (own,) = [each for each in api.users.keys_by_id.values() if each.user_id == "old-hand"]
    past = own.created_at - timedelta(days=2)
    api.users.keys_by_id[own.key_id] = msgspec.structs.replace(own, expires_at=past)
    api.on_loop(forget(api))
    assert "expired" in api.get("/api/v1/pumps", token=key).problem(401)
    answer = stop_with(api, key)
    assert answer.status == 201, answer.raw
    record = audited(api, "STOP_BY_EXPIRED_SESSION", "old-hand")
    assert record.object_id == f"SERVICE_KEY:{own.key_id}"
    clear = {"stop_ids": [answer.json()["stop_id"]], "reason": "fixed"}
    assert api.post(f"{STOPS}/clear", clear, token=key).problem(401)
    assert api.post(f"/api/v1/service-keys/{own.key_id}/revoke", {}).status == 200
    assert stop_with(api, key).problem(401), "revoked is not expired"
    clear_all(api)


def test_invented_keys_cost_few_queries_and_push_out_nobody(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-1, SEC-5: who tries keys that nobody has is told to wait, and it is written down; who has one is served."""
    key = key_of(api, "steady")
    assert api.get("/api/v1/pumps", token=key).status == 200
    asked = api.users.asked
    monkeypatch.setattr("api.access.programs._UNKNOWN_PER_S", 1)
    statuses = [
        api.get("/api/v1/pumps", token=f"calejo_{number:016x}_{number:064x}").status for number in range(60)
    ]
    assert 429 in statuses
    assert set(statuses) <= {401, 429}
    assert api.users.asked - asked < 60
    until(lambda: api.get("/api/v1/pumps", token=f"calejo_{99:016x}_{99:064x}").status == 401)
    assert api.get("/api/v1/pumps", token="calejo_x_y").problem(401), "what is no key is not looked up"
    assert api.get("/api/v1/pumps", token=key).status == 200
    assert audited(api, "RATE_LIMITED").outcome.startswith("refused")
    # EST-4: a stop is never told to wait, and it costs no query either: the keys that count are kept here.
    asked, limited = api.users.asked, api.desk.log.counts["RATE_LIMITED", "refused"]
    statuses = [stop_with(api, f"calejo_{number:016x}_{number:064x}").status for number in range(40)]
    assert set(statuses) == {401}
    assert api.users.asked - asked < 40
    assert api.desk.log.counts["RATE_LIMITED", "refused"] > limited
    assert stop_with(api, key).status == 201
    clear_all(api)


@pytest.mark.parametrize("why", ["ended", "disabled", "revoked"])
def test_what_was_ours_and_is_over_is_written_down_with_its_owner(api: Served, why: str) -> None:
    """SEC-5: whoever shows a credential that we made and that counts no more is named: perhaps it was stolen."""
    user = f"gone-{why}"
    if why == "revoked":
        key = key_of(api, user)
        (own,) = [each for each in api.users.keys_by_id.values() if each.user_id == user]
        assert api.post(f"/api/v1/service-keys/{own.key_id}/revoke", {}).status == 200
        token, shown = key, f"SERVICE_KEY:{own.key_id}"
    else:
        token = logged_in(api.users, api.desk, user, UserRole.OPERATOR)
        shown = f"SESSION:{claims_of(token)['sid']}"
        verb = "sessions/end" if why == "ended" else "disable"
        assert api.post(f"/api/v1/users/{user}/{verb}", {}).status == 200
    for _ in range(12):
        # Ten of a stranger's fill the stranger's window, nobody else's.
        api.get("/api/v1/pumps", token="rubbish")
    # Within the second of a flood of inventions a revoked key is one more of them.
    until(lambda: api.get("/api/v1/pumps", token=token).status == 401)
    assert audited(api, "ACCESS_REFUSED", user).object_id == shown


def test_only_engineers_clear_a_system_stop(api: Served) -> None:
    """EST-2: OPERATOR and above clear; SYSTEM: ENGINEER and above; of several none is cleared then."""
    operator = logged_in(api.users, api.desk, "opal", UserRole.OPERATOR)
    engineer = logged_in(api.users, api.desk, "enid", UserRole.ENGINEER)
    one = api.post(STOPS, {"scope": "PUMP", "scope_id": "p1", "reason": "r"}, token=operator).json()[
        "stop_id"
    ]
    all_of_it = api.post(STOPS, {"scope": "SYSTEM", "reason": "r"}, token=operator).json()["stop_id"]
    both = {"stop_ids": [one, all_of_it], "reason": "over"}
    assert "SYSTEM" in api.post(f"{STOPS}/clear", both, token=operator).problem(403)
    assert len(api.latches.held.active()) == 2
    assert api.post(f"{STOPS}/clear", both, token=engineer).status == 200
    assert api.latches.held.active() == ()


# --------------------------------------------------------------------------- every route, every role


def routes(api: Served) -> list[tuple[str, str, Any]]:
    """Return (method, path, operation) of every route that REST really has."""
    guarded = rest_application(
        api.actor._service,
        Keys(None, clock=api.ports.clock, log=api.ports.log),
        version="0",
        log=api.ports.log,
        api=api.settings.api,
    )
    answering = guarded._inner
    assert isinstance(answering, Answering)
    application = answering.inner
    assert isinstance(application, Litestar)
    return [
        (method, route.path, handler.opt.get(OPERATION))
        for route in application.routes
        for handler in getattr(route, "route_handlers", [])
        if isinstance(handler, HTTPRouteHandler)
        for method in handler.http_methods
        if method not in {"OPTIONS", "HEAD"} and not route.path.startswith("/api/v1/schema")
    ]


def test_every_route_names_its_operation(api: Served) -> None:
    """SEC-2: a route without an entry in the permission table is found here; few are public, each with a reason."""
    found = routes(api)
    assert len(found) >= len(ROUTES)
    assert [
        (method, path) for method, path, operation in found if operation not in {*PERMISSIONS, PUBLIC}
    ] == []
    assert {path for _, path, operation in found if operation == PUBLIC} == PUBLIC_PATHS
    assert all(handler.opt.get("why") for handler in ROUTES if handler.opt[OPERATION] == PUBLIC)
    # Only what changes nothing is asked for with GET; of CONFIGURE, REST has the looking only.
    changing = {
        each
        for each in Operation
        if each
        not in {Operation.READ_POINTS, Operation.READ_PLANT, Operation.READ_AUDIT, Operation.OWN_ACCOUNT}
    }
    # Whoever changes these sees what nobody else does; who may stop sees the list of what can be stopped.
    seen = {Operation.MANAGE_USERS, Operation.CONFIGURE, Operation.MANAGE_CERTIFICATES}
    got = {
        (path, operation) for method, path, operation in found if method == "GET" and operation in changing
    }
    assert {(path, operation) for path, operation in got if operation not in seen} <= {
        ("/stop-scopes", Operation.SET_STOP)
    }


@pytest.mark.parametrize("role", UserRole)
def test_every_route_is_what_the_table_says_for_every_role(api: Served, role: UserRole) -> None:
    """SEC-2: 401 for nobody, 403 for whom the table does not name, and for the others anything but these."""
    token = logged_in(api.users, api.desk, f"walker-{role.value.lower()}", role)
    for method, template, operation in routes(api):
        path = re.sub(r"\{\w+(:str)?\}", "nobody", template)
        if operation == PUBLIC or path in {"/api/v1/auth/logout", "/logout"}:
            continue
        if path == "/api/v1/stream":
            path += "?topics=none"  # the stream itself would never end
        body: dict[str, str] | None = {} if method == "POST" else None
        assert api.call(method, path, body, token="").status == 401, (method, path)
        status = api.call(method, path, body, token=token).status
        allowed = role in PERMISSIONS[operation].roles
        assert (status not in {401, 403}) == allowed, (method, path, operation, status)
