"""Goal: a browser's session is as safe as a program's, and what a page elsewhere makes a browser send does nothing.

Method: a real uvicorn, real HTTP, cookies handled by hand as an attacker would.
"""

from __future__ import annotations

import http.cookies
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from actors.vocabulary.access import UserRole
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.settings import ApiSettings
from actors.vocabulary.users import AccountKind
from api.access.cookies import PROOF_HEADER, Cookies, proof_of
from api.access.desk import SEEN_S
from api.dashboard.app import own_path
from tests.browser.plant import Plant
from tests.browser.watching import Watched
from tests.unit.api.people import person
from tests.unit.api.served import Answer, until

PASSWORD = "a walk along the weir at dawn"
STOP = {"scope": "PUMP", "scope_id": "p1", "reason": "test"}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with Watched(Plant(), tmp_path_factory.mktemp("api")) as running:
        api = running.api
        now = api.desk.clock.now().utc
        hashed = api.on_loop(api.desk.hashing.hashed(PASSWORD))
        for name, role, must in (("olga", UserRole.OPERATOR, False), ("new", UserRole.OPERATOR, True)):
            running.users.by_id[name] = person(
                name, role, now, password_hash=hashed, password_at=now, must_change=must, kind=AccountKind.PERSON
            )  # fmt: skip
        yield running


def log_in(watched: Watched, user: str = "olga", password: str = PASSWORD) -> Answer:
    body = {"user": user, "password": password, "code": ""}
    return watched.api.post("/login", body, token="", headers={"User-Agent": "a browser"})


def cookie_of(answer: Answer) -> http.cookies.Morsel[str]:
    found = http.cookies.SimpleCookie(answer.headers["set-cookie"])
    return next(iter(found.values()))


def ask(
    watched: Watched,
    method: str,
    path: str,
    cookie: str,
    body: Any = None,
    *,
    proof: str = "",
    **headers: str,
) -> Answer:
    name = Cookies.of(watched.api.settings.api).name
    sent = {"Cookie": f"{name}={cookie}", **{key.replace("_", "-"): value for key, value in headers.items()}}
    if proof:
        sent[PROOF_HEADER] = proof
    return watched.api.call(method, path, body, token="", headers=sent)


def fresh(
    watched: Watched, user: str = "anna", role: UserRole = UserRole.ADMINISTRATOR, **changed: Any
) -> str:
    return watched.token(watched.session(user, role, **changed))


def test_a_login_gives_a_cookie_that_no_script_reads(watched: Watched) -> None:
    """SEC-1: HttpOnly, SameSite=Strict, for this host and the browser's life; the body holds no token."""
    answer = log_in(watched)
    assert answer.status == 200, answer.raw
    assert answer.json() == {"user": "olga", "must_change_password": False}
    cookie = cookie_of(answer)
    assert cookie["httponly"] is True
    assert cookie["samesite"].lower() == "strict"
    assert cookie["path"] == "/"
    assert cookie["domain"] == ""
    assert cookie["max-age"] == ""
    assert cookie.value not in answer.raw.decode()
    assert ask(watched, "GET", "/api/v1/account", cookie.value).json()["user"] == "olga"


def test_behind_tls_the_cookie_leaves_over_tls_only() -> None:
    """SEC-4: Secure, and a name that only this host may set, under TLS of our own or a proxy's."""
    for api in (ApiSettings(tls=True), ApiSettings(trusted_proxy="10.0.0.1")):
        cookies = Cookies.of(api)
        assert cookies.name.startswith("__Host-")
        assert "Secure" in cookies.given("x").to_header()
    assert "Secure" not in Cookies.of(ApiSettings()).given("x").to_header()
    assert Cookies.of(ApiSettings(rest=1)).name != Cookies.of(ApiSettings(rest=2)).name


def test_a_wrong_password_gives_no_cookie(watched: Watched) -> None:
    """SEC-1: the same refusal as a program gets."""
    answer = log_in(watched, password="not this one, I think")
    assert answer.problem(401) == "wrong name, password or code"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("proof", ["", "0" * 64, "é"])
def test_a_command_without_the_pages_proof_is_refused(watched: Watched, proof: str) -> None:
    """SEC-1: cross-site request forgery: a cookie alone commands nothing, and the refusal is audited."""
    cookie = fresh(watched)
    before = len(watched.latches.held.records)
    answer = ask(
        watched, "POST", "/api/v1/emergency-stops", cookie, STOP, proof=proof.encode().decode("latin-1")
    )
    assert "proof" in answer.problem(403)
    assert len(watched.latches.held.records) == before
    until(
        lambda: any(
            isinstance(each, AuditRecord) and "proof" in each.outcome for each in watched.plant.records
        )
    )


def test_a_command_with_the_pages_proof_is_done(watched: Watched) -> None:
    """SEC-1: what our page sends is done, in the user's name."""
    cookie = fresh(watched)
    answer = ask(watched, "POST", "/api/v1/emergency-stops", cookie, STOP, proof=proof_of(cookie))
    assert answer.status == 201
    stop = watched.latches.held.by_id[answer.json()["stop_id"]]
    assert stop.set_by == "anna"


def test_another_sessions_proof_is_none(watched: Watched) -> None:
    """SEC-1: the proof is of this very cookie."""
    mine, other = fresh(watched), fresh(watched, "eve", UserRole.OPERATOR)
    answer = ask(watched, "POST", "/api/v1/emergency-stops", mine, STOP, proof=proof_of(other))
    answer.problem(403)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_another_site_has_a_browser_send_is_refused(watched: Watched, site: str, method: str) -> None:
    """SEC-1: another port of this host is the same site to SameSite; a browser tells it apart, and so do we."""
    cookie = fresh(watched)
    body = STOP if method == "POST" else None
    answer = ask(
        watched, method, "/api/v1/emergency-stops", cookie, body, proof=proof_of(cookie), Sec_Fetch_Site=site
    )
    answer.problem(403)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
def test_a_form_of_another_page_is_refused(watched: Watched, kind: str) -> None:
    """SEC-1: what a page can send without asking is no JSON."""
    cookie = fresh(watched)
    name = Cookies.of(watched.api.settings.api).name
    answer = watched.api.call(
        "POST", "/login", raw=b"user=olga&password=x", token="",
        headers={"Cookie": f"{name}={cookie}", "Content-Type": kind},
    )  # fmt: skip
    assert answer.status == 415


def test_the_cookies_token_is_no_bearer_and_no_refresh_token_and_neither_is_it(watched: Watched) -> None:
    """SEC-1: each token is good for one use."""
    cookie, bearer = fresh(watched), watched.api.token("anna")
    watched.api.get("/api/v1/account", token=cookie).problem(401)
    watched.api.post("/api/v1/auth/refresh", {"refresh_token": cookie}, token="").problem(401)
    ask(watched, "GET", "/api/v1/account", bearer).problem(401)


def test_after_logout_the_cookie_is_worth_nothing(watched: Watched) -> None:
    """SEC-1: a replayed cookie is refused, and the browser is told to forget it."""
    cookie = cookie_of(log_in(watched)).value
    answer = ask(watched, "POST", "/logout", cookie, {}, proof=proof_of(cookie))
    assert answer.json() == {"ended": True}
    assert cookie_of(answer)["max-age"] == "0"
    ask(watched, "GET", "/api/v1/account", cookie).problem(401)
    ask(watched, "POST", "/api/v1/emergency-stops", cookie, STOP, proof=proof_of(cookie)).problem(401)


def test_a_disabled_users_cookie_is_worth_nothing_at_once(watched: Watched) -> None:
    """SEC-1: disabling an account ends its browsers' sessions."""
    cookie = fresh(watched, "dora", UserRole.OPERATOR)
    assert ask(watched, "GET", "/", cookie).status == 200
    watched.api.post("/api/v1/users/dora/disable", {}).json()
    ask(watched, "GET", "/", cookie).problem(401)


def test_who_must_change_their_password_sees_nothing_before(watched: Watched) -> None:
    """SEC-1: their own account, and a stop; no view."""
    answer = log_in(watched, "new")
    assert answer.json()["must_change_password"] is True
    cookie = cookie_of(answer).value
    ask(watched, "GET", "/", cookie).problem(403)
    assert ask(watched, "GET", "/account", cookie).status == 200
    assert ask(watched, "POST", "/api/v1/emergency-stops", cookie, STOP, proof=proof_of(cookie)).status == 201


def test_an_idle_session_sees_nothing_stops_and_never_clears(watched: Watched) -> None:
    """EST-4: expired by standing still, it stops; it neither clears nor looks."""
    long_ago = watched.api.desk.clock.now().utc - timedelta(seconds=watched.api.desk.settings.idle_s + 1)
    cookie = fresh(watched, "idle", UserRole.OPERATOR, seen_at=long_ago, started_at=long_ago)
    ask(watched, "GET", "/", cookie).problem(401)
    answer = ask(watched, "POST", "/api/v1/emergency-stops", cookie, STOP, proof=proof_of(cookie))
    assert answer.status == 201
    clear = {"stop_ids": [answer.json()["stop_id"]], "reason": "test"}
    ask(watched, "POST", "/api/v1/emergency-stops/clear", cookie, clear, proof=proof_of(cookie)).problem(401)


@pytest.mark.parametrize(
    ("role", "headers", "kept"),
    [
        (UserRole.OPERATOR, {"HX-Request": "true"}, False),
        (UserRole.OPERATOR, {"HX-Request": "true", "Calejo-Active": "1"}, True),
        (UserRole.OPERATOR, {}, True),
        (UserRole.READ_ONLY, {"HX-Request": "true"}, True),
    ],
    ids=["renewed by itself", "touched", "opened", "a display that may only read"],
)
def test_presence_keeps_a_session_and_a_page_alone_does_not(
    watched: Watched, role: UserRole, headers: dict[str, str], kept: bool
) -> None:
    """SEC-1: idle means that nobody was there, except where nothing can be done."""
    before = watched.api.desk.clock.now().utc - timedelta(seconds=SEEN_S + 5)
    session = watched.session(f"user-{role.value.lower()}", role, seen_at=before, started_at=before)
    assert ask(watched, "GET", "/", watched.token(session), **headers).status == 200
    assert (watched.users.all[session.session_id].seen_at > before) is kept


def test_a_dead_session_is_not_revived_by_presence(watched: Watched) -> None:
    """SEC-1: what has ended between the look and the write stays ended."""
    now = watched.api.desk.clock.now().utc
    session = watched.session("gone", UserRole.OPERATOR, seen_at=now - timedelta(seconds=SEEN_S + 5))
    cookie = watched.token(session)
    assert ask(watched, "GET", "/", cookie, HX_Request="true").status == 200
    ended = msgspec.structs.replace(session, ended_at=now)
    watched.users.all[session.session_id] = ended
    ask(watched, "GET", "/", cookie)
    assert watched.users.all[session.session_id] == ended


def test_a_browser_that_is_nobody_is_led_to_the_login(watched: Watched) -> None:
    """SEC-1: a page leads to the login and back; a script is told 401."""
    answer = watched.api.get("/pumps/p1?x=1", token="", headers={"Accept": "text/html"})
    assert answer.status == 303
    assert answer.headers["location"] == "/login?following=%2Fpumps%2Fp1%3Fx%3D1"
    watched.api.get("/pumps/p1", token="", headers={"Accept": "text/html", "HX-Request": "true"}).problem(401)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("/pumps/p1?x=1", "/pumps/p1?x=1"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\nb", "/"),
        ("", "/"),
    ],
)
def test_the_login_leads_to_this_machine_only(given: str, taken: str) -> None:
    """SEC-1: no open redirect."""
    assert own_path(given) == taken


@pytest.mark.parametrize(
    "path",
    [
        "/static/{digest}/../../desk.py",
        "/static/{digest}/%2e%2e/%2e%2e/app.py",
        "/static/{digest}/..%2fapp.py",
        "/static/{digest}//etc/passwd",
        "/static/{digest}/vendor/../../app.py",
        "/static/0000000000000000/calejo.css",
        "/static/{digest}/templates/login.html",
    ],
)
def test_only_our_files_are_served(watched: Watched, path: str) -> None:
    """SEC-1: path traversal in static files finds nothing."""
    page = watched.api.get("/login", token="").raw.decode()
    digest = re.search(r"/static/([0-9a-f]{16})/calejo.css", page)
    assert digest is not None
    answer = watched.api.get(path.format(digest=digest[1]), token="")
    assert answer.status == 404, answer.raw


def test_files_may_be_kept_and_pages_may_not(watched: Watched) -> None:
    """SEC-1: a page holds what its user may see; a file's name changes with its content."""
    page = watched.api.get("/login", token="")
    assert page.headers["cache-control"] == "no-store"
    style = re.search(r'href="(/static/[^"]+calejo\.css)"', page.raw.decode())
    assert style is not None
    file = watched.api.get(style[1], token="")
    assert file.status == 200
    assert file.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in file.headers["cache-control"]
    assert file.headers["x-content-type-options"] == "nosniff"


def test_the_policy_lets_nothing_run_but_our_files(watched: Watched) -> None:
    """HMI-1: no inline script, no outside asset; REST's own answers may load nothing at all."""
    policy = watched.api.get("/login", token="").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    rest = watched.api.get("/api/v1/alive", token="").headers["content-security-policy"]
    assert rest == "default-src 'none'; frame-ancestors 'none'"
