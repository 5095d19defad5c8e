"""Certificates by REST: who sees them, what they say, and that nothing of a key is among it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from actors.vocabulary.access import PERMISSIONS, UserRole
from ops.certificates import init
from storage.certificates import FOLDER
from tests.unit.api.people import logged_in
from tests.unit.api.served import moment, served

CERTIFICATES = "/api/v1/certificates"
ROOT = Path(__file__).parents[3]


def test_an_administrator_sees_what_expires_and_nobody_else_does(tmp_path: Path) -> None:
    """SEC-2, SEC-4: MANAGE_CERTIFICATES is enforced; first to expire on top, what is unreadable by name, no key."""
    init(tmp_path / FOLDER, hosts=[], now=moment().utc - timedelta(days=390))
    (tmp_path / FOLDER / "modbus.pem").write_text("torn")
    with served(tmp_path) as api:
        answer = api.get(CERTIFICATES)
        assert answer.status == 200, answer.raw
        listed = answer.json()["certificates"]
        assert {each["name"] for each in listed} == {"ca", "rest", "opcua"}
        assert [each["not_after"] for each in listed] == sorted(each["not_after"] for each in listed)
        assert listed[0]["state"] == "HIGH"
        assert listed[-1]["state"] == "good"
        assert 6 <= listed[0]["days_left"] <= 7.1
        assert list(answer.json()["unreadable"]) == ["modbus"]
        assert b"PRIVATE KEY" not in answer.raw
        for role in set(UserRole) - {UserRole.ADMINISTRATOR}:
            token = logged_in(api.users, api.desk, f"someone-{role.value.lower()}", role)
            assert api.get(CERTIFICATES, token=token).problem(403)
        assert api.get(CERTIFICATES, token="").problem(401)


def test_every_right_of_the_table_is_asked_for_somewhere() -> None:
    """SEC-2: what the table promises to a role is enforced by a route, a method or a register."""
    text = "\n".join(
        path.read_text("utf-8")
        for folder in ("api", "protocols", "actors")
        for path in (ROOT / folder).rglob("*.py")
    )
    # Once is the table's own row.
    assert [each for each in PERMISSIONS if text.count(f"Operation.{each.name}") < 2] == []
