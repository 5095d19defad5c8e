"""Acknowledging by REST: who may, what becomes of the alarm, what the trail says, and what is refused (ALM-1)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.vocabulary.access import UserRole
from actors.vocabulary.ids import ALARM
from actors.vocabulary.records import AuditRecord
from tests.unit.api.served import Served, served, until

PATH = "/api/v1/alarms/a2/acknowledge"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def trail(api: Served, kind: str, *, count: int) -> list[AuditRecord]:
    """Return the records of a kind, once there are `count`."""

    def found() -> list[AuditRecord]:
        written = [each for each in api.tree.records if isinstance(each, AuditRecord)]
        return [each for each in written if each.event_type == kind]

    until(lambda: len(found()) >= count)
    return found()


def test_an_alarm_is_acknowledged_by_name_with_a_comment(api: Served) -> None:
    """ALM-1, AUD-2: who, when and what they said stand in the list and in the trail."""
    answer = api.post(PATH, {"comment": " sent the van "}, token=api.token("olga", UserRole.OPERATOR))
    assert answer.status == 200
    assert answer.json() == {"alarm_id": "a2", "by": "olga", "comment": "sent the van"}
    row = next(each for each in api.get("/api/v1/alarms").json() if each["alarm_id"] == "a2")
    assert (row["state"], row["acknowledged_by"], row["comment"]) == ("ACKNOWLEDGED", "olga", "sent the van")
    assert row["acknowledged_at"] is not None
    [written] = trail(api, "ALARM_ACKNOWLEDGED", count=1)
    assert (written.actor, written.object_id, written.outcome) == ("olga", "ALARM:a2", "success")
    assert written.after == {"comment": "sent the van"}
    assert written.source_address.startswith("127.0.0.1:")


def test_one_that_is_over_and_unseen_becomes_normal(api: Served) -> None:
    """ALM-1: acknowledged after its return: nothing waits any longer."""
    assert api.post("/api/v1/alarms/a1/acknowledge", {}).status == 200
    row = next(each for each in api.get("/api/v1/alarms").json() if each["alarm_id"] == "a1")
    assert row["state"] == "NORMAL"


def test_what_was_seen_or_is_gone_is_refused_and_noted(api: Served) -> None:
    """ALM-1, AUD-2: 409 with who has seen it, 404 for one that is none, each in the trail."""
    assert api.post(PATH, {}).status == 200
    assert "acknowledged by anna" in api.post(PATH, {}).problem(409)
    assert "not in the list" in api.post("/api/v1/alarms/none/acknowledge", {}).problem(404)
    refused = trail(api, "ALARM_ACKNOWLEDGE_REFUSED", count=2)
    assert [each.object_id for each in refused] == ["ALARM:a2", "ALARM:none"]
    assert all(each.outcome.startswith("refused: ") for each in refused)
    assert len(trail(api, "ALARM_ACKNOWLEDGED", count=1)) == 1


@pytest.mark.parametrize("role", [UserRole.READ_ONLY, UserRole.FIELD])
def test_who_may_not_acknowledge_is_refused(api: Served, role: UserRole) -> None:
    """SEC-2: the same table as on the other wires."""
    api.post(PATH, {}, token=api.token("rita", role)).problem(403)
    assert api.tree.alarms.alarms["feedback_stale", "p2"].acknowledged_at is None


@pytest.mark.parametrize(
    ("body", "named"),
    [({"comment": "x" * 301}, "comment"), ({"comment": "a\u0007b"}, "comment"), ({"reason": "x"}, "reason")],
)
def test_a_wrong_body_is_refused_by_name(api: Served, body: dict[str, str], named: str) -> None:
    """API-1: problem details, and nothing is acknowledged."""
    assert named in api.post(PATH, body).problem(400)
    assert api.tree.alarms.alarms["feedback_stale", "p2"].acknowledged_at is None


def test_a_repeat_under_its_key_is_one_acknowledgement(api: Served) -> None:
    """API-2: the answer again, not the refusal of a second one."""
    headers = {"Idempotency-Key": "van-7"}
    first = api.post(PATH, {"comment": "van"}, headers=headers)
    again = api.post(PATH, {"comment": "van"}, headers=headers)
    assert (first.status, again.status) == (200, 200)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(trail(api, "ALARM_ACKNOWLEDGED", count=1)) == 1


def test_without_the_alarm_actor_nothing_is_pretended(api: Served) -> None:
    """ALM-1: 503, and no acknowledgement in the trail."""
    api.tree.dead.add(str(ALARM))
    api.post(PATH, {}).problem(503)
    assert len(trail(api, "ALARM_ACKNOWLEDGE_REFUSED", count=1)) == 1
    assert trail(api, "ALARM_ACKNOWLEDGED", count=0) == []
