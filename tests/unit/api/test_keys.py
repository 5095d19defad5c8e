"""`Idempotency-Key` and `If-Match`: a command that is repeated, also to an API that was restarted meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.messages import DiscoverNow, SetMode, StartCleanOut
from actors.vocabulary.access import UserRole
from actors.vocabulary.ids import DISCOVERY
from api import keys
from tests.unit.api.people import logged_in
from tests.unit.api.remembered import Requests
from tests.unit.api.served import PUMP_1, SAFETY_1, Answer, Served, served, until

STOPS = "/api/v1/emergency-stops"
MODE = "/api/v1/pumps/p1/mode"
MANUAL = {"mode": "MANUAL", "setpoint_hz": 30.0}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def asked(api: Served, path: str, body: dict[str, Any], key: str, **named: Any) -> Answer:
    return api.post(path, body, headers={"Idempotency-Key": key}, token=named.get("token", api.token()))


def modes(api: Served) -> list[SetMode]:
    return [message for to, message in api.tree.asked if to == PUMP_1 and isinstance(message, SetMode)]


def test_a_repeat_is_answered_and_not_carried_out_again(api: Served) -> None:
    """API-2: the same key and the same command: the same answer, one effect; the key may be quoted (RFC 8941)."""
    first = asked(api, MODE, MANUAL, "k-1")
    assert first.status == 200
    assert "idempotency-replayed" not in first.headers
    again = asked(api, MODE, MANUAL, '"k-1"')
    assert (again.status, again.raw) == (first.status, first.raw)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert len(modes(api)) == 1
    assert asked(api, MODE, MANUAL, "k-2").status == 200
    assert len(modes(api)) == 2


@pytest.mark.parametrize("path", [f"/{MODE}", f"{MODE}/", f"//{MODE}//"])
def test_a_key_is_settled_however_the_path_is_spelled(api: Served, path: str) -> None:
    """API-2: `//api/v1/...` is served as the resource; its key must not be shut for a day by a claim nobody settles."""
    first = asked(api, path, MANUAL, "k-1")
    assert first.status == 200
    for again in (asked(api, path, MANUAL, "k-1"), asked(api, MODE, MANUAL, "k-1")):
        assert (again.status, again.raw) == (200, first.raw)
        assert again.headers["idempotency-replayed"] == "true"
    assert len(modes(api)) == 1


def test_a_repeat_after_a_restart_is_answered_the_same(tmp_path: Path) -> None:
    """API-2: what was answered is in the database, not in the process."""
    requests = Requests()
    with served(tmp_path, requests=requests) as api:
        first = asked(api, MODE, MANUAL, "k-1")
        stop = asked(api, STOPS, {"scope": "PUMP", "scope_id": "p1", "reason": "leak"}, "k-1").json()
    with served(tmp_path, requests=requests) as api:
        again = asked(api, MODE, MANUAL, "k-1")
        assert (again.status, again.raw) == (first.status, first.raw)
        assert modes(api) == []
        body = {"scope": "PUMP", "scope_id": "p1", "reason": "leak"}
        assert asked(api, STOPS, body, "k-1").json()["stop_id"] == stop["stop_id"]


def test_a_key_of_another_command_is_422(api: Served) -> None:
    """API-2: the same key with another body, or for another resource, is a mistake of the client's."""
    assert asked(api, MODE, MANUAL, "k-1").status == 200
    assert asked(api, MODE, {**MANUAL, "setpoint_hz": 31.0}, "k-1").problem(422)
    assert asked(api, "/api/v1/pumps/p2/mode", MANUAL, "k-1").problem(422)
    other = logged_in(api.users, api.desk, "bert", UserRole.OPERATOR)
    assert asked(api, "/api/v1/pumps/p2/mode", MANUAL, "k-1", token=other).status == 200


def test_what_was_refused_may_be_asked_again(api: Served) -> None:
    """API-2: a refusal changed nothing, so its key is free; so is that of what nobody answered."""
    assert asked(api, MODE, {"mode": "SIDEWAYS"}, "k-1").problem(400)
    assert asked(api, MODE, MANUAL, "k-1").status == 200
    api.tree.dead.add(PUMP_1)
    assert asked(api, MODE, {"mode": "AUTO"}, "k-2").problem(503)
    api.tree.dead.clear()
    assert asked(api, MODE, {"mode": "AUTO"}, "k-2").status == 200
    ids = {message.command_id for message in modes(api) if message.mode.name == "AUTO"}
    assert len(ids) == 1, "the pump sees one command, however often it was tried"


def test_one_that_is_under_way_is_409_and_so_is_one_whose_end_nobody_knows(tmp_path: Path) -> None:
    """API-2: never twice, rather once too few, and the truth about it."""
    requests = Requests()
    with served(tmp_path, requests=requests) as api:
        token = api.token()
        api.tree.deaf.add(DISCOVERY)
        found: list[Answer] = []
        first = threading.Thread(
            target=lambda: found.append(asked(api, "/api/v1/discovery", {}, "k-1", token=token))
        )
        first.start()
        until(lambda: [1 for _, message in api.tree.asked if isinstance(message, DiscoverNow)])
        assert "under way" in asked(api, "/api/v1/discovery", {}, "k-1", token=token).problem(409)
        held = requests.commands["anna", "k-1"]
        api.tree.deaf.clear()
        first.join(30)
        assert found[0].status == 503
        requests.commands["anna", "k-1"] = held  # as a process leaves it that dies over the command
    with served(tmp_path, requests=requests) as api:
        assert "nobody knows" in asked(api, "/api/v1/discovery", {}, "k-1").problem(409)


def test_a_stop_waits_for_no_database(api: Served) -> None:
    """EST-3, API-2: its key makes its id; the same key is the same stop, with the database away too."""
    api.requests.away = True
    body = {"scope": "PUMP", "scope_id": "p1", "reason": "leak"}
    began = time.monotonic()
    first, again = asked(api, STOPS, body, "panic"), asked(api, STOPS, body, "panic")
    assert (first.status, again.status) == (201, 201)
    assert first.json()["stop_id"] == again.json()["stop_id"]
    assert time.monotonic() - began < 5.0
    assert len(api.latches.held.active()) == 1
    assert asked(api, STOPS, {**body, "scope_id": "p2"}, "panic").problem(409)
    other = logged_in(api.users, api.desk, "bert", UserRole.OPERATOR)
    assert asked(api, STOPS, body, "panic", token=other).json()["stop_id"] != first.json()["stop_id"]
    assert asked(api, MODE, MANUAL, "k-1").problem(503)
    assert modes(api) == [], "what cannot be remembered is not done under a key"
    assert api.post(MODE, MANUAL).status == 200


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(api: Served) -> None:
    """API-2: the database went between the command and its answer; a repeat is told that nobody knows."""

    async def gone(command: object) -> None:
        api.requests.away = True
        api.requests._there()

    api.requests.answered = gone  # type: ignore[method-assign]
    assert asked(api, MODE, MANUAL, "k-1").status == 200
    api.requests.away = False
    assert asked(api, MODE, MANUAL, "k-1").problem(409)
    assert len(modes(api)) == 1
    assert any(event == "answer_not_kept" for event, _ in api.ports.logged)


@pytest.mark.parametrize("key", ["", " ", "a b", 'a"b', "ü", "x" * 201])
def test_what_is_no_key_is_400(api: Served, key: str) -> None:
    """API-2: 1 to 200 visible characters."""
    answer = api.post(MODE, MANUAL, headers={"Idempotency-Key": key.encode("utf-8").decode("latin-1")})
    assert "Idempotency-Key" in answer.problem(400)
    assert modes(api) == []


def test_answers_with_secrets_take_no_key(api: Served) -> None:
    """SEC-3: no generated password and no token is kept for a repeat."""
    for path, body in (
        ("/api/v1/users", {"user": "carl", "role": "OPERATOR"}),
        ("/api/v1/auth/login", {"user": "anna", "password": "x"}),
    ):
        assert "takes none" in asked(api, path, body, "k-1").problem(400)
    assert api.requests.commands == {}


def test_an_answer_too_long_to_keep_is_said_to_be_done(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """API-2: what is kept is bounded."""
    monkeypatch.setattr(keys, "ANSWER_BYTES_MAX", 10)
    assert asked(api, MODE, MANUAL, "k-1").json()["pump_id"] == "p1"
    assert "too long" in asked(api, MODE, MANUAL, "k-1").json()["note"]
    assert len(modes(api)) == 1


def test_every_kind_of_command_takes_a_key(api: Served) -> None:
    """API-2: clean-out, clear, discovery, quarantine, limits: carried out once."""
    begin = {"reason": "grease"}
    assert asked(api, "/api/v1/pumps/p1/clean-out", begin, "c-1").status == 200
    assert asked(api, "/api/v1/pumps/p1/clean-out", begin, "c-1").status == 200
    started = [m for to, m in api.tree.asked if to == SAFETY_1 and isinstance(m, StartCleanOut)]
    assert len(started) == 1
    for path, body in (
        ("/api/v1/discovery", {}),
        ("/api/v1/tree/retry", {"address": "/sites/north/watchdog"}),
        (
            "/api/v1/limits/p1/proposals",
            {"changes": {"hard_max_speed_hz": 45}, "base_version": 3, "reason": "bearing"},
        ),
    ):
        first, again = asked(api, path, body, "d-1" + path[-5:]), asked(api, path, body, "d-1" + path[-5:])
        assert first.status in {200, 201}, first.raw
        assert (again.status, again.raw) == (first.status, first.raw)
        assert again.headers["idempotency-replayed"] == "true"


def test_limits_that_changed_meanwhile_are_412(api: Served) -> None:
    """API-2, SAF-6: If-Match holds a proposal and an approval to what was seen."""
    seen = api.get("/api/v1/limits/p1").headers["etag"]
    body = {"changes": {"hard_max_speed_hz": 45}, "base_version": 3, "reason": "bearing"}
    path = "/api/v1/limits/p1/proposals"
    assert api.post(path, body, headers={"If-Match": '"other"'}).problem(412)
    made = api.post(path, body, headers={"If-Match": seen})
    assert made.status == 201, made.raw
    assert "read it again" in api.post(path, body, headers={"If-Match": seen}).problem(412)
    assert api.post(path, body, headers={"If-Match": "*"}).status == 201
    proposal = made.json()["proposal"]["proposal_id"]
    one = api.get(f"{path}/{proposal}").headers["etag"]
    bert = logged_in(api.users, api.desk, "bert", UserRole.ENGINEER)
    close = {"reason": "reviewed"}
    refused = api.post(f"{path}/{proposal}/reject", close, headers={"If-Match": '"x"'}, token=bert)
    assert refused.problem(412)
    done = api.post(f"{path}/{proposal}/reject", close, headers={"If-Match": one}, token=bert)
    assert done.status == 200, done.raw
