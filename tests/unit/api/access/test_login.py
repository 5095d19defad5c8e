"""Goal: logging in, refreshing, locking out, second factors and keys, with real hashes over real HTTP.

Where the cost of a hash is what a test is about, or the way from a password to its hash and back, it is the real one;
the others take argon2id's least.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import bcrypt
import msgspec
import pyotp
import pytest

from actors.vocabulary import DeviceError, Severity
from actors.vocabulary.access import UserRole
from actors.vocabulary.records import AuditRecord
from api.access.hashing import GUESSES_LOG10_MIN, Hashing, generated, hash_now, judge
from api.access.logins import TOTP_STEP_S
from storage.keyring import KeyFile
from tests.unit.api.people import logged_in, person
from tests.unit.api.served import Answer, Served, served, until

GOOD = "a lamp over the weir 1974"
OTHER = "eleven herons, one eel"
LEAST_KIB, LEAST_PASSES = 8, 1
HASH = hash_now(GOOD, memory_kib=LEAST_KIB, passes=LEAST_PASSES)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        hashing(running, Hashing(memory_kib=LEAST_KIB, passes=LEAST_PASSES))
        running.token("anna")
        running.users.by_id["olga"] = person(
            "olga", UserRole.OPERATOR, running.desk.clock.now().utc, password_hash=HASH
        )
        yield running


def hashing(api: Served, other: Hashing) -> None:
    api.desk.hashing.close()
    api.desk.hashing = other


def at_full_cost(api: Served) -> None:
    """Hash as it is done in operation, olga's password too."""
    hashing(api, Hashing())
    api.users.by_id["olga"] = msgspec.structs.replace(api.users.by_id["olga"], password_hash=hash_now(GOOD))


def login(api: Served, user: str = "olga", password: str = GOOD, **more: str) -> Answer:
    return api.post("/api/v1/auth/login", {"user": user, "password": password, **more}, token="")


def entered(api: Served, **named: str) -> dict[str, Any]:
    answer = login(api, **named)
    assert answer.status == 200, answer.raw
    found: dict[str, Any] = answer.json()
    return found


def events(api: Served, event: str) -> list[AuditRecord]:
    return [each for each in api.tree.records if isinstance(each, AuditRecord) and each.event_type == event]


def test_from_login_to_logout(api: Served) -> None:
    """SEC-1: tokens for a password; they are somebody's; refreshed they go on, logged out they end."""
    at_full_cost(api)
    tokens = entered(api, user=" OLGA ")
    assert (tokens["user"], tokens["role"], tokens["token_type"]) == ("olga", "OPERATOR", "Bearer")
    assert tokens["expires_in_s"] == 600.0
    own = api.get("/api/v1/account", token=tokens["access_token"]).json()
    assert (own["user"], own["account"]["second_factor"]) == ("olga", False)
    assert "SET_STOP" in own["operations"]
    later = api.post("/api/v1/auth/refresh", {"refresh_token": tokens["refresh_token"]}, token="").json()
    assert later["access_token"] != tokens["access_token"]
    sessions = api.get("/api/v1/account/sessions", token=later["access_token"]).json()
    assert [each["is_this"] for each in sessions] == [True]
    assert api.post("/api/v1/auth/logout", {}, token=later["access_token"]).json() == {"ended": True}
    assert api.get("/api/v1/account", token=later["access_token"]).problem(401)
    until(lambda: events(api, "LOGIN") and events(api, "SESSION_ENDED"))
    (record,) = events(api, "LOGIN")
    (session,) = [each for each in api.users.all.values() if each.user_id == "olga"]
    # SEC-5: a session that ends by time is no record of its own.
    assert (record.after or {})["ends_at"] == session.expires_at.isoformat()


def test_a_refresh_token_that_comes_twice_ends_its_family(api: Served) -> None:
    """SEC-1: rotation and reuse: the thief and the owner are both out, and it is written down."""
    first = entered(api)
    second = api.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}, token="").json()
    again = api.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}, token="")
    assert "twice" in again.problem(401)
    assert api.get("/api/v1/account", token=second["access_token"]).problem(401)
    assert api.post("/api/v1/auth/refresh", {"refresh_token": second["refresh_token"]}, token="").problem(401)
    until(lambda: any("twice" in each.outcome for each in events(api, "TOKEN_REFRESH")))


def test_a_stolen_refresh_token_is_never_lost_in_a_flood(api: Served) -> None:
    """SEC-5: ten junk tokens fill the window of their address; that a session ended, and why, is written."""
    first = entered(api)
    body = {"refresh_token": first["refresh_token"]}
    assert api.post("/api/v1/auth/refresh", body, token="").status == 200
    for _ in range(12):
        assert api.post("/api/v1/auth/refresh", {"refresh_token": "junk"}, token="").problem(401)
    assert api.post("/api/v1/auth/refresh", body, token="").problem(401)
    until(lambda: events(api, "SESSION_ENDED"))
    (ended,) = events(api, "SESSION_ENDED")
    assert (ended.actor, ended.severity) == ("olga", Severity.HIGH)
    assert ended.after == {"user": "olga", "reason": "a refresh token came twice"}
    assert any("twice" in each.outcome for each in events(api, "TOKEN_REFRESH")), "in a window of its own"
    assert sum(each.outcome == "success" for each in events(api, "TOKEN_REFRESH")) == 1


def test_who_refreshes_in_a_loop_is_told_to_wait_and_writes_little(api: Served) -> None:
    """SEC-5: a turn is a write: one user has so many; each is counted, one a minute written down."""
    token, answers = entered(api)["refresh_token"], 0
    while True:
        turned = api.post("/api/v1/auth/refresh", {"refresh_token": token}, token="")
        if turned.status == 429:
            break
        assert turned.status == 200
        token, answers = turned.json()["refresh_token"], answers + 1
        assert answers < 100, "nobody was ever refused"
    assert "refreshes too often" in turned.problem(429)
    assert answers >= 25
    assert api.desk.log.counts["TOKEN_REFRESH", "success"] == answers
    until(lambda: events(api, "RATE_LIMITED"))
    assert len(events(api, "TOKEN_REFRESH")) == 1
    assert events(api, "RATE_LIMITED")[0].actor == "olga"
    assert api.desk.log.counts["RATE_LIMITED", "refused"] == 1, "the token was not used up by the refusal"


def test_nothing_is_done_that_the_log_does_not_take(api: Served) -> None:
    """SEC-1, SEC-5: no account, key or session without its record, and no end of one either."""
    assert api.post("/api/v1/users", {"user": "scada", "role": "OPERATOR", "kind": "SERVICE"}).status == 201
    key = api.post("/api/v1/users/scada/keys", {}).json()
    token = entered(api)["access_token"]
    api.users.silent = True
    try:
        assert api.post("/api/v1/users", {"user": "nina", "role": "ENGINEER"}).problem(503)
        assert api.post("/api/v1/users/scada/keys", {}).problem(503)
        assert api.post(f"/api/v1/service-keys/{key['key']['key_id']}/revoke", {}).problem(503)
        assert login(api).problem(503)
        assert api.post("/api/v1/auth/logout", {}, token=token).problem(503)
        assert api.post("/api/v1/users/olga/sessions/end", {}).problem(503)
    finally:
        api.users.silent = False
    assert "nina" not in api.users.by_id
    assert len(api.users.keys_by_id) == 1
    assert api.get("/api/v1/pumps", token=key["secret"]).status == 200
    assert api.get("/api/v1/pumps", token=token).status == 200
    revoke = f"/api/v1/service-keys/{key['key']['key_id']}/revoke"
    assert api.post(revoke, {}).status == 200
    assert api.post(revoke, {}).status == 200, "twice is no error"
    (record,) = events(api, "SERVICE_KEY_REVOKED")
    assert (record.object_id, record.actor) == ("USER:scada", "anna")
    assert api.desk.log.counts["SERVICE_KEY_REVOKED", "success"] == 1


def test_guesses_at_one_account_are_not_hidden_by_names_that_nobody_has(api: Served) -> None:
    """SEC-5: what concerns a name that exists is written down, whatever a stranger has filled the log with before."""
    api.users.by_id["bert"] = person("bert", UserRole.OPERATOR, api.desk.clock.now().utc, password_hash=HASH)
    for number in range(12):
        assert login(api, f"guest{number}", "wrong password").problem(401)
    assert login(api, "bert", "wrong password").problem(401)
    until(lambda: [each for each in events(api, "LOGIN") if each.actor == "bert"])


@pytest.mark.parametrize("what", ["reset", "change", "factor", "disable"])
def test_a_login_in_flight_meets_the_account_as_it_is(
    api: Served, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-1: while a password is compared it is changed: no session, no old hash brought back, no factor either."""
    weak = bcrypt.hashpw(GOOD.encode(), bcrypt.gensalt(4)).decode()
    secret = pyotp.random_base32()
    changed = {"password_hash": weak, "totp": api.desk.ring.seal(secret)}
    api.users.by_id["olga"] = msgspec.structs.replace(api.users.by_id["olga"], **changed)
    token = logged_in(api.users, api.desk, "olga", UserRole.OPERATOR)
    real, compared, go_on = api.desk.hashing.verified, threading.Event(), threading.Event()

    async def paused(password: str, known: str) -> tuple[bool, str]:
        answer = await real(password, known)
        if not compared.is_set():
            compared.set()
            await asyncio.to_thread(go_on.wait, 20)
        return answer

    monkeypatch.setattr(api.desk.hashing, "verified", paused)
    code = pyotp.TOTP(secret).generate_otp(int(time.time_ns() // 10**9 // TOTP_STEP_S))
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(login(api, code=code)))
    thread.start()
    try:
        assert compared.wait(20)
        match what:
            case "reset":
                done = api.post("/api/v1/users/olga/reset", {})
            case "change":
                body = {"current": GOOD, "new": OTHER}
                done = api.post("/api/v1/account/password", body, token=token)
            case "factor":
                done = api.post("/api/v1/account/second-factor/remove", {"password": GOOD}, token=token)
            case _:
                done = api.post("/api/v1/users/olga/disable", {})
        assert done.status == 200, done.raw
        before = api.users.by_id["olga"]
    finally:
        go_on.set()
        thread.join(30)
    assert answers[0].problem(401) == "wrong name, password or code"
    assert api.users.by_id["olga"] == before, "nothing of the former account came back"
    live = [each for each in api.users.all.values() if each.user_id == "olga" and not each.ended_at]
    assert len(live) == (1 if what in {"change", "factor"} else 0), "those who were there before"
    until(lambda: any("meanwhile" in each.outcome for each in events(api, "LOGIN")))


@pytest.mark.parametrize("path", ["/api/v1/account/password", "/api/v1/account/second-factor/remove"])
def test_a_change_in_flight_does_not_undo_a_reset(
    api: Served, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-1: whoever knows the old password cannot set one over a reset that came in between."""
    token = entered(api)["access_token"]
    real, compared, go_on = api.desk.hashing.verified, threading.Event(), threading.Event()

    async def paused(password: str, known: str) -> tuple[bool, str]:
        answer = await real(password, known)
        compared.set()
        await asyncio.to_thread(go_on.wait, 20)
        return answer

    monkeypatch.setattr(api.desk.hashing, "verified", paused)
    body = {"current": GOOD, "new": OTHER} if path.endswith("password") else {"password": GOOD}
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(api.post(path, body, token=token)))
    thread.start()
    try:
        assert compared.wait(20)
        assert api.post("/api/v1/users/olga/reset", {}).status == 200
        before = api.users.by_id["olga"]
    finally:
        go_on.set()
        thread.join(30)
    assert "meanwhile" in answers[0].problem(409)
    assert api.users.by_id["olga"] == before


def test_ending_sessions_is_part_of_the_change(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-1, SEC-5: disable, reset and change need no second step that may fail and leave sessions alive."""

    async def broken(**_: object) -> None:
        raise DeviceError("the database went away in between")

    monkeypatch.setattr(api.users, "end", broken)
    own = entered(api)["access_token"]
    other = entered(api)["access_token"]
    body = {"current": GOOD, "new": OTHER}
    assert api.post("/api/v1/account/password", body, token=own).status == 200
    assert api.get("/api/v1/pumps", token=own).status == 200
    assert api.get("/api/v1/pumps", token=other).problem(401)
    assert api.post("/api/v1/users/olga/reset", {}).status == 200
    assert api.get("/api/v1/pumps", token=own).problem(401)
    token = logged_in(api.users, api.desk, "olga", UserRole.OPERATOR)
    assert api.post("/api/v1/users/olga/disable", {}).status == 200
    assert api.get("/api/v1/pumps", token=token).problem(401)
    for event in ("PASSWORD_CHANGED", "USER_PASSWORD_RESET", "USER_DISABLED"):
        (record,) = events(api, event)
        assert record.object_id == "USER:olga"
        assert len((record.after or {})["sessions_ended"]) == 1
        assert api.desk.log.counts[event, "success"] == 1


def test_an_access_token_refreshes_nothing(api: Served) -> None:
    """SEC-1: token type is checked both ways."""
    body = {"refresh_token": entered(api)["access_token"]}
    assert api.post("/api/v1/auth/refresh", body, token="").problem(401)


def test_wrong_name_and_wrong_password_look_alike(api: Served) -> None:
    """SEC-1: nobody learns which names exist; nor from a disabled account."""
    api.users.by_id["gone"] = msgspec.structs.replace(api.users.by_id["olga"], user_id="gone", enabled=False)
    answers = [
        login(api, "olga", "wrong password"), login(api, "nobody", GOOD), login(api, "gone", GOOD),
        login(api, "olga", "x" * 1_024),
    ]  # fmt: skip
    assert {answer.problem(401) for answer in answers} == {"wrong name, password or code"}


def test_too_many_failures_wait_whatever_comes_then(api: Served) -> None:
    """SEC-1, SEC-5: after five failures 429 with Retry-After, also for the right password; audited; a stop goes on."""
    for _ in range(5):
        login(api, password="wrong")
    locked = login(api)
    assert "try again" in locked.problem(429)
    assert int(locked.headers["retry-after"]) >= 1
    until(lambda: events(api, "ACCOUNT_LOCKED"))
    stop = {"scope": "PUMP", "scope_id": "p1", "reason": "leak"}
    assert api.post("/api/v1/emergency-stops", stop).status == 201
    api.ports.ahead_s = float(locked.headers["retry-after"])
    assert login(api).status == 200, "waited out, the right password counts"


def test_a_flood_of_logins_is_limited_and_a_stop_goes_through_it(api: Served) -> None:
    """SEC-1, EST-1, EST-4: of many logins at once some are 429 at once; a stop meanwhile is answered in its time."""
    at_full_cost(api)
    statuses: list[int] = []

    def flood() -> None:
        statuses.extend(login(api, f"guest{number}", "wrong password").status for number in range(4))

    threads = [threading.Thread(target=flood) for _ in range(24)]
    for thread in threads:
        thread.start()
    until(lambda: statuses)
    stop = api.post("/api/v1/emergency-stops", {"scope": "PUMP", "scope_id": "p1", "reason": "leak"})
    for thread in threads:
        thread.join(60)
    assert stop.status == 201
    assert stop.seconds < 1.0, "EST-1"
    assert set(statuses) == {401, 429}
    until(lambda: any("too many logins" in each.outcome for each in events(api, "RATE_LIMITED")))
    assert api.desk.hashing._waiting == 0


def test_a_bcrypt_hash_is_taken_over(api: Served) -> None:
    """SEC-1: bcrypt hashes are accepted, and replaced by argon2id at the login."""
    at_full_cost(api)
    old = bcrypt.hashpw(GOOD.encode(), bcrypt.gensalt(4)).decode()
    api.users.by_id["olga"] = msgspec.structs.replace(api.users.by_id["olga"], password_hash=old)
    entered(api)
    assert api.users.by_id["olga"].password_hash.startswith("$argon2id$v=19$m=47104,t=2,p=1$")
    entered(api)


def test_a_new_account_changes_its_password_first(api: Served) -> None:
    """SEC-1, SEC-3: generated, shown once, good for nothing but changing it (and for a stop)."""
    made = api.post("/api/v1/users", {"user": "Nina", "role": "ENGINEER"}).json()
    assert len(made["password"]) == 23
    assert made["password"] not in str(api.users.by_id["nina"])
    tokens = entered(api, user="nina", password=made["password"])
    assert tokens["must_change_password"] is True
    token = tokens["access_token"]
    assert api.get("/api/v1/pumps", token=token).problem(403)
    change = {"current": made["password"], "new": OTHER}
    assert api.post("/api/v1/account/password", change | {"current": "wrong"}, token=token).problem(403)
    assert api.post("/api/v1/account/password", change, token=token).json() == {"changed": True}
    assert api.get("/api/v1/pumps", token=token).status == 200
    assert login(api, "nina", made["password"]).problem(401)
    assert entered(api, user="nina", password=OTHER)["must_change_password"] is False
    told = [str(each) for each in [*api.tree.records, *api.ports.logged]]
    assert not any(word in text for text in told for word in (made["password"], OTHER)), "never in a log"


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ("short", "5 characters"),
        ("x" * 129, "129 characters"),
        ("password1234", "common"),
        ("qwertyuiop1234", "common"),
        ("olgaolgaolga", "repeats"),
        ("calejocalejo", "repeats"),
        ("123456789012", "common"),
        ("pump.station", "first guesses"),
        (GOOD, "same"),
    ],
)
def test_a_password_that_is_guessed_first_is_refused(api: Served, new: str, why: str) -> None:
    """SEC-1: length and commonness are all that counts; the refusal never shows the password."""
    token = entered(api)["access_token"]
    answer = api.post("/api/v1/account/password", {"current": GOOD, "new": new}, token=token)
    detail = answer.problem(400)
    assert why in detail
    assert new not in detail


def test_a_body_of_secrets_is_never_repeated(api: Served) -> None:
    """SEC-3: a wrong type is named without its value."""
    answer = api.post("/api/v1/auth/login", {"user": "olga", "password": ["hunter2hunter2"]}, token="")
    assert "password" in answer.problem(400)
    assert b"hunter2" not in answer.raw


def test_a_second_factor_counts_once_per_code(api: Served) -> None:
    """SEC-1: RFC 6238; begun, confirmed, asked for, its replay refused; reset takes it away."""
    token = entered(api)["access_token"]
    begun = api.post("/api/v1/account/second-factor", {"password": GOOD}, token=token).json()
    assert begun["uri"].startswith("otpauth://totp/Calejo:olga?")
    assert begun["secret"] not in str(api.users.by_id["olga"]), "sealed where it is kept"
    assert entered(api)["access_token"], "not asked for before its first code was given"
    assert api.post("/api/v1/account/second-factor/confirm", {"code": "000000"}, token=token).problem(400)
    totp, step = pyotp.TOTP(begun["secret"]), int(time.time_ns() // 10**9 // TOTP_STEP_S)
    confirm = {"code": totp.generate_otp(step - 1)}
    assert api.post("/api/v1/account/second-factor/confirm", confirm, token=token).status == 200
    assert "code" in login(api).problem(401)
    until(lambda: any("code missing" in each.outcome for each in events(api, "LOGIN")))
    assert login(api, code=confirm["code"]).problem(401), "the code of the confirmation was used"
    code = totp.generate_otp(int(time.time_ns() // 10**9 // TOTP_STEP_S))
    assert entered(api, code=code)["user"] == "olga"
    assert login(api, code=code).problem(401), "the replay of a code is refused"
    until(lambda: any("used before" in each.outcome for each in events(api, "LOGIN")))
    reset = api.post("/api/v1/users/olga/reset", {}).json()
    assert entered(api, password=reset["password"])["must_change_password"] is True


def test_a_service_account_has_keys_within_its_role(api: Served) -> None:
    """SEC-1: scoped keys; shown once, narrowed, revoked; no password, and no session."""
    assert (
        api.post("/api/v1/users", {"user": "scada", "role": "OPERATOR", "kind": "SERVICE"}).json()["password"]
        == ""
    )
    wide = api.post("/api/v1/users/scada/keys", {"operations": ["MANAGE_USERS"]})
    assert "may not MANAGE_USERS" in wide.problem(400)
    assert api.post("/api/v1/users/scada/role", {"role": "ENGINEER"}).status == 200
    for operation in ("APPROVE_LIMITS", "PROPOSE_LIMITS"):
        second = api.post("/api/v1/users/scada/keys", {"operations": [operation]})
        assert "two persons" in second.problem(400)
    made = api.post("/api/v1/users/scada/keys", {"operations": ["READ_POINTS"], "label": "reader"}).json()
    key = made["secret"]
    assert key.rpartition("_")[2] not in str(api.users.keys_by_id)
    assert api.get("/api/v1/pumps", token=key).status == 200
    assert api.get("/api/v1/tree", token=key).problem(403)
    assert api.post("/api/v1/emergency-stops", {"scope": "SYSTEM", "reason": "x"}, token=key).problem(403)
    assert api.get("/api/v1/pumps", token=key[:-1] + "0").status in {401, 200 if key[-1] == "0" else 401}
    assert api.get("/api/v1/account/sessions", token=key).problem(403)
    whole = api.post("/api/v1/users/scada/keys", {}).json()["secret"]
    stop = api.post(
        "/api/v1/emergency-stops", {"scope": "PUMP", "scope_id": "p1", "reason": "x"}, token=whole
    )
    assert api.latches.held.by_id[stop.json()["stop_id"]].set_by == "scada"
    approve = api.post("/api/v1/limits/p1/proposals/x/approve", {"reason": "r"}, token=whole)
    assert "may not APPROVE_LIMITS" in approve.problem(403), "a program is no second person"
    change = {"changes": {"hard_max_speed_hz": 45}, "base_version": 3, "reason": "r"}
    propose = api.post("/api/v1/limits/p1/proposals", change, token=whole)
    assert "may not PROPOSE_LIMITS" in propose.problem(403), "and no first one"
    assert api.post(f"/api/v1/service-keys/{made['key']['key_id']}/revoke", {}).status == 200
    assert api.get("/api/v1/pumps", token=key).problem(401)
    assert api.post("/api/v1/users/scada/disable", {}).status == 200
    assert api.get("/api/v1/pumps", token=whole).problem(401)


def test_the_21st_session_ends_the_first(api: Served) -> None:
    """SEC-1: a mass of sessions is bounded."""
    first = entered(api)["access_token"]
    assert api.get("/api/v1/pumps", token=first).status == 200
    for _ in range(20):
        entered(api)
    assert api.get("/api/v1/pumps", token=first).problem(401)
    until(lambda: events(api, "SESSION_ENDED"))
    (ended,) = events(api, "SESSION_ENDED")
    assert ended.after == {"user": "olga", "reason": "too many sessions"}


def test_sessions_are_ended_by_their_user_and_by_an_administrator(api: Served) -> None:
    """SEC-1: list and end one's own; nobody else's; an administrator ends any."""
    one, two = entered(api)["access_token"], entered(api)["access_token"]
    listed = api.get("/api/v1/account/sessions", token=one).json()
    other = next(each["session_id"] for each in listed if not each["is_this"])
    annas = next(each["session_id"] for each in api.get("/api/v1/sessions").json() if each["user"] == "anna")
    assert api.post(f"/api/v1/account/sessions/{annas}/end", {}, token=one).problem(404)
    assert api.post(f"/api/v1/account/sessions/{other}/end", {}, token=one).status == 200
    assert api.get("/api/v1/pumps", token=two).problem(401)
    assert api.post("/api/v1/users/olga/sessions/end", {}).json() == {"ended": 1}
    assert api.get("/api/v1/pumps", token=one).problem(401)


def test_keys_that_sign_are_rotated_without_a_logout(api: Served) -> None:
    """SEC-1: the former key verifies on; rotated at once it does not."""
    token = entered(api)["access_token"]
    ring, now = KeyFile(Path(api.settings.data_dir)), api.desk.clock.now().utc
    ring.rotate(now=now, verify_for_s=3_600.0)
    api.on_loop(api.desk.look())
    assert api.get("/api/v1/pumps", token=token).status == 200
    fresh = entered(api)["access_token"]
    ring.rotate(now=now + timedelta(seconds=1), verify_for_s=0.0)
    api.on_loop(api.desk.look())
    for old in (token, fresh):
        assert api.get("/api/v1/pumps", token=old).problem(401)


def test_a_flood_is_told_once_with_its_count(api: Served) -> None:
    """SEC-5: each is counted, of many the first ten are written down."""
    for _ in range(25):
        api.get("/api/v1/pumps", token="rubbish")
    until(lambda: len(events(api, "ACCESS_REFUSED")) >= 10)
    assert api.desk.log.counts["ACCESS_REFUSED", "refused"] == 25
    assert len(events(api, "ACCESS_REFUSED")) == 10
    metrics = api.get("/metrics", port=api.health, token="").raw.decode()
    assert 'calejo_security_events_total{event="ACCESS_REFUSED",outcome="refused"} 25.0' in metrics


def test_what_is_generated_is_not_guessed() -> None:
    """SEC-3: a generated password passes its own judge, and no two are alike."""
    made = {generated() for _ in range(50)}
    assert len(made) == 50
    assert not any(judge(each, ["anna", "calejo"]) for each in made)
    assert GUESSES_LOG10_MIN >= 8.0
