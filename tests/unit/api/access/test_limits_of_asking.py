"""Rates, lock-outs that outlive a restart, masses of sessions: who asks too often waits, a stop never does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.vocabulary.access import UserRole
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.requests import Failing
from actors.vocabulary.settings import ApiSettings
from api.access.rates import Rates
from api.access.security_log import SecurityLog
from storage.local_credential import LocalCredential
from tests.unit.api.access.test_login import GOOD, HASH, login
from tests.unit.api.people import logged_in, person
from tests.unit.api.remembered import Requests
from tests.unit.api.served import Served, moment, served, until

STOPS = "/api/v1/emergency-stops"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, settings={"user_requests_per_s": 5.0}) as running:
        yield running


def exhaust(api: Served, token: str) -> int:
    """Ask until refused; return how often it was answered."""
    for count in range(200):
        answer = api.get("/api/v1/tags", token=token)
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert "asks too often" in answer.problem(429)
            return count
    raise AssertionError("nobody was ever refused")


def test_a_user_who_asks_too_often_waits_and_may_still_stop(api: Served) -> None:
    """API-2, EST-4: 429 with Retry-After, audited and counted; an emergency stop is never refused for it."""
    token = logged_in(api.users, api.desk, "olga", UserRole.OPERATOR)
    assert exhaust(api, token) >= 15
    for number in range(20):
        body = {"scope": "PUMP", "scope_id": "p1", "reason": f"stop {number}"}
        assert api.post(STOPS, body, token=token).status == 201
    looked = [api.get("/stop-scopes", token=token).status for _ in range(20)]
    assert 429 in looked, "whoever looks at what could be stopped asks like everybody"
    other = logged_in(api.users, api.desk, "bert", UserRole.OPERATOR)
    assert api.get("/api/v1/tags", token=other).status == 200, "others are not made to wait"
    until(
        lambda: [
            each
            for each in api.tree.records
            if isinstance(each, AuditRecord) and each.event_type == "RATE_LIMITED" and each.actor == "olga"
        ]
    )
    text = api.get("/metrics", port=api.health, token="").raw.decode()
    assert re.search(r'calejo_security_events_total\{event="RATE_LIMITED",outcome="refused"\} [1-9]', text)
    assert re.search(r'calejo_rest_answers_total\{status="429"\} [1-9]', text)


def test_the_machines_own_user_is_not_limited(api: Served) -> None:
    """API-2: whoever can read the local credential can stop the process as well."""
    secret = LocalCredential(Path(api.settings.data_dir)).read()
    headers = {"Authorization": f"Calejo-Local {secret}"}
    statuses = {api.get("/api/v1/tags", token="", headers=headers).status for _ in range(60)}
    assert statuses == {200}


def test_an_address_is_limited_before_anybody_is_known() -> None:
    """SEC-5: by address, this machine's own excepted, a stop excepted."""
    from actors.vocabulary.access import Operation
    from api.access.errors import TooManyError

    class Clock:
        now = staticmethod(moment)

    clock: object = Clock()
    settings = ApiSettings(address_requests_per_s=1.0)
    rates = Rates(settings, clock=clock, log=SecurityLog(lambda _: None, clock))  # type: ignore[arg-type]
    for _ in range(3):
        rates.check_address("192.0.2.7", None, peer="192.0.2.7:1")
    with pytest.raises(TooManyError, match=r"192\.0\.2\.7 asks too often"):
        rates.check_address("192.0.2.7", Operation.READ_PLANT, peer="192.0.2.7:2")
    for number in range(3):
        rates.check_address(f"2001:db8::{number}", None, peer=f"2001:db8::{number}:1")
    with pytest.raises(TooManyError):
        rates.check_address("2001:db8::ffff:1", None, peer="2001:db8::ffff:1:1")
    for address in ("192.0.2.8", "127.0.0.1", "::1", "::ffff:127.0.0.1", "2001:db8:0:1::1"):
        rates.check_address(address, None, peer=f"{address}:1")
    for _ in range(50):
        rates.check_address("192.0.2.7", Operation.SET_STOP, peer="192.0.2.7:3")
        rates.check_address("127.0.0.1", None, peer="127.0.0.1:3")


def test_a_lock_out_outlives_the_api(tmp_path: Path) -> None:
    """SEC-1: a restart, or a kill, is no way to get more guesses."""
    requests = Requests()
    with served(tmp_path, requests=requests) as api:
        api.token("anna")
        api.users.by_id["olga"] = person(
            "olga", UserRole.OPERATOR, api.desk.clock.now().utc, password_hash=HASH
        )
        for _ in range(8):
            if login(api, password="wrong, all of it").status == 429:
                break
        assert login(api).problem(429)
        known = dict(api.users.by_id)
    with served(tmp_path, requests=requests) as api:
        api.users.by_id.update(known)
        assert login(api).problem(429), "the right password as well: who guesses must not learn which it is"
        requests.failing.clear()
    with served(tmp_path, requests=requests) as api:
        api.users.by_id.update(known)
        assert login(api).status == 200
        assert login(api, password=GOOD).status == 200


def test_nobody_tries_a_password_before_it_is_known_who_has_to_wait(tmp_path: Path) -> None:
    """SEC-1: with the database away a login is refused, not let through."""
    requests = Requests()
    requests.away = True
    with served(tmp_path, requests=requests) as api:
        api.users.by_id["olga"] = person(
            "olga", UserRole.OPERATOR, api.desk.clock.now().utc, password_hash=HASH
        )
        assert login(api).problem(503)
        requests.away = False
        assert login(api).status == 200
        # Counted here while it is away, written with the next one.
        requests.away = True
        assert login(api, password="wrong, all of it").problem(401)
        requests.away = False
        assert login(api, password="wrong, all of it").problem(401)
        assert max(each.count for each in requests.failing.values()) == 2
        assert login(api).status == 200
        assert requests.failing == {}


def test_a_login_of_ones_own_forgives_no_guesses_at_others(tmp_path: Path) -> None:
    """SEC-1: whoever has an account cannot guess at others from the same address for ever by logging in between."""
    requests = Requests()
    with served(tmp_path, requests=requests) as api:
        now = api.desk.clock.now().utc
        api.token("anna")
        for user in ("olga", *(f"guessed{number}" for number in range(30))):
            api.users.by_id[user] = person(user, UserRole.OPERATOR, now, password_hash=HASH)
        statuses, own = [], login(api)
        for number in range(25):
            statuses.append(login(api, f"guessed{number}", "wrong, all of it").status)
            login(api, password="a slip of her own")
            if (own := login(api)).status == 429:
                break
        assert own.problem(429), "after twenty guesses the address waits"
        (address,) = [each for each in requests.failing.values() if each.kind is Failing.ADDRESS]
        assert address.count >= 20
        assert not [each for each in requests.failing.values() if each.name == "olga" and each.count > 1]


def test_a_mass_of_sessions_is_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    """SEC-1: a mass of sessions: one user holds twenty; each more ends the oldest."""
    with served(tmp_path) as api:
        api.token("anna")
        api.users.by_id["olga"] = person(
            "olga", UserRole.OPERATOR, api.desk.clock.now().utc, password_hash=HASH
        )
        tokens = [login(api).json()["access_token"] for _ in range(22)]
        live = [each for each in api.users.all.values() if each.user_id == "olga" and not each.ended_at]
        assert len(live) == 20
        assert api.get("/api/v1/account", token=tokens[0]).problem(401)
        assert api.get("/api/v1/account", token=tokens[-1]).status == 200
