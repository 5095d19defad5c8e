"""`calejo users`: by REST while Calejo runs, on the database itself while it does not; passwords are shown once."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.vocabulary.access import UserRole
from ops.cli.main import main
from ops.settings import load
from ops.users import first_administrator, prepare_files, told
from storage import schema
from storage.keyring import KeyFile
from storage.urls import sqlite_url
from tests.unit.api.people import person
from tests.unit.api.served import Served, served
from tests.unit.ops.cli.runs import Ran, announce, run, trust

Capsys = pytest.CaptureFixture[str]
PASSWORD = "a lamp over the weir 1974"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def api(data: Path, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        folder = announce(data, rest=running.rest)
        trust(data, tmp_path)
        yield running
        folder.release()


def users(capsys: Capsys, data: Path, *words: object) -> Ran:
    return run(capsys, "users", *words, "--data-dir", data)


def test_a_user_from_the_first_day_to_the_last(api: Served, data: Path, capsys: Capsys) -> None:
    """SEC-1: add, list, role, sessions, reset, disable, enable, by the running API, as local:NAME."""
    added = users(capsys, data, "add", "Olga", "--role", "operator")
    assert "password, shown this once: " in added.out
    first = added.out.split("shown this once: ")[1].split()[0]
    assert api.users.by_id["olga"].created_by.startswith("local:")
    assert "exists already" in users(capsys, data, "add", "olga", "--role", "OPERATOR").line(4)
    assert "olga  PERSON  OPERATOR" in users(capsys, data, "list").out
    assert first not in users(capsys, data, "list", "--format", "json").out
    assert users(capsys, data, "role", "olga", "engineer").code == 0
    assert users(capsys, data, "sessions").code == 0
    assert "0" in users(capsys, data, "sessions", "olga", "--end").out
    reset = users(capsys, data, "reset", "olga", "--format", "json").json()
    assert reset["password"] != first
    assert users(capsys, data, "disable", "olga").code == 0
    assert api.users.by_id["olga"].enabled is False
    assert users(capsys, data, "enable", "olga").code == 0
    assert "not known" in users(capsys, data, "disable", "nobody").line(4)
    assert "NAME" in users(capsys, data, "sessions", "--end").line(2)


def test_a_command_as_a_user_logs_in_and_out(
    api: Served, data: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-1: `--user` with the password from the environment; the session ends with the command."""
    from api.access.hashing import hash_now

    api.users.by_id["olga"] = person(
        "olga", UserRole.OPERATOR, api.desk.clock.now().utc, password_hash=hash_now(PASSWORD)
    )
    monkeypatch.setenv("CALEJO_PASSWORD", PASSWORD)
    as_olga = ("--user", "olga", "--data-dir", data)
    assert run(capsys, "tree", *as_olga).code == 0
    assert "403" in run(capsys, "users", "list", *as_olga).line(4)
    mode = run(capsys, "mode", "set", "p1", "AUTO", *as_olga)
    assert mode.code == 0, mode.err
    assert api.tree.modes["p1"].by == "olga"
    assert all(each.end_reason == "logged out" for each in api.users.all.values() if each.user_id == "olga")
    monkeypatch.setenv("CALEJO_NEW_PASSWORD", "eleven herons, one eel")
    assert run(capsys, "users", "password", *as_olga).code == 0
    monkeypatch.setenv("CALEJO_PASSWORD", PASSWORD)
    assert "401" in run(capsys, "tree", *as_olga).line(4)


def test_without_a_password_there_is_no_login_but_a_stop(api: Served, data: Path, capsys: Capsys) -> None:
    """SEC-1, EST-4: nobody is asked where nobody sits; a stop never asks."""
    assert "CALEJO_PASSWORD" in run(capsys, "tree", "--user", "olga", "--data-dir", data).line(2)
    stop = (
        "estop",
        "set",
        "--scope",
        "pump",
        "--id",
        "p1",
        "--reason",
        "x",
        "--user",
        "olga",
        "--data-dir",
        data,
    )
    assert run(capsys, *stop).code == 0
    assert len(api.latches.held.active()) == 1


def test_who_has_no_credential_is_told_what_to_do(api: Served, data: Path, capsys: Capsys) -> None:
    """SEC-1: another user of this machine cannot read the credential; the stop still goes by the files."""
    (data / "access" / "local-credential").unlink()
    assert "--user NAME" in run(capsys, "tree", "--data-dir", data).line(4)
    stop = ("estop", "set", "--scope", "system", "--reason", "x", "--data-dir", data)
    assert run(capsys, *stop).code == 0
    assert len(list((data / "latches").glob("*"))) >= 1


def test_keys_of_a_service_account(
    api: Served, data: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-1: made, shown once, used by CALEJO_TOKEN, revoked."""
    assert users(capsys, data, "add", "scada", "--role", "OPERATOR", "--service").code == 0
    made = users(capsys, data, "keys", "scada", "--add", "--only", "READ_POINTS", "--format", "json").json()
    assert "shown this once" in users(capsys, data, "keys", "scada", "--add").out
    monkeypatch.setenv("CALEJO_TOKEN", made["secret"])
    assert run(capsys, "tags", "--data-dir", data).code == 0
    assert "403" in run(capsys, "tree", "--data-dir", data).line(4)
    monkeypatch.delenv("CALEJO_TOKEN")
    assert users(capsys, data, "keys", "scada", "--revoke", made["key"]["key_id"]).code == 0
    listed = users(capsys, data, "keys", "scada", "--format", "json").json()
    assert sorted(each["revoked_at"] is None for each in listed) == [False, True]


def test_while_nothing_runs_it_is_done_on_the_database(data: Path, capsys: Capsys) -> None:
    """SEC-1: the same law and the same audit, without an API."""
    assert "db upgrade" in users(capsys, data, "list").line(1)
    schema.upgrade(sqlite_url(data / "calejo.db"))
    assert "shown this once" in users(capsys, data, "add", "anna", "--role", "ADMINISTRATOR").out
    assert "last administrator" in users(capsys, data, "disable", "anna").line(4)
    assert "expected" in users(capsys, data, "add", "no name", "--role", "OPERATOR").line(2)
    assert users(capsys, data, "reset", "anna").code == 0
    assert [row["user"] for row in users(capsys, data, "list", "--format", "json").json()] == ["anna"]
    assert "not running" in users(capsys, data, "list", "--user", "anna").line(2)
    events = run_sql(data, "SELECT event_type, actor FROM audit_log ORDER BY sequence")
    assert [event for event, _ in events] == ["USER_ADDED", "USER_PASSWORD_RESET"]
    assert all(actor.startswith("local:") for _, actor in events)


def run_sql(data: Path, statement: str) -> list[tuple[str, ...]]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(data / "calejo.db")) as connection:
        return connection.execute(statement).fetchall()


def test_the_first_start_makes_one_administrator(data: Path) -> None:
    """SEC-3: no default credentials: a generated password, shown once: on a terminal, or in a file of its owner."""
    import asyncio

    schema.upgrade(sqlite_url(data / "calejo.db"))
    settings = load(file=None, environment={}, options={"data_dir": str(data)}).settings
    prepare_files(settings)
    first = asyncio.run(first_administrator(settings))
    assert (first.user, len(first.password)) == ("admin", 23)
    assert first.password in told(settings, first, on_terminal=True)
    line = told(settings, first, on_terminal=False)
    assert first.password not in line
    file = data / "access" / "first-password"
    assert str(file) in line
    assert file.read_text().strip() == first.password
    assert {stat.S_IMODE(each.stat().st_mode) for each in (data / "access").iterdir()} == {0o600}
    again = asyncio.run(first_administrator(settings))
    assert again.password == ""
    assert told(settings, again, on_terminal=True) == ""
    assert len(run_sql(data, "SELECT user_id FROM users")) == 1
    dump = str(run_sql(data, "SELECT * FROM users")) + str(run_sql(data, "SELECT * FROM audit_log"))
    assert first.password not in dump


def test_signing_keys_are_rotated(data: Path, capsys: Capsys) -> None:
    """SEC-1: the former one verifies on, or nothing of it with --at-once."""
    assert users(capsys, data, "rotate-signing-key").code == 1
    settings = load(file=None, environment={}, options={"data_dir": str(data)}).settings
    ring = KeyFile(data)
    from datetime import UTC, datetime

    ring.ensure(now=datetime(2026, 11, 21, tzinfo=UTC))
    before = ring.ring().signing[0]
    schema.upgrade(sqlite_url(data / "calejo.db"))
    assert users(capsys, data, "rotate-signing-key").code == 0
    assert ring.ring().signing[0] != before
    assert ring.ring().secret(before) is not None
    assert users(capsys, data, "rotate-signing-key", "--at-once").code == 0
    assert ring.ring().secret(before) is None
    assert settings.access.session_s == 43_200.0
    told = run_sql(
        data, "SELECT actor, object_id, after FROM audit_log WHERE event_type = 'SIGNING_KEY_ROTATED'"
    )
    assert [json.loads(row[2])["at_once"] for row in told] == [False, True], "what was refused is not told"
    assert all(row[0].startswith("local:") for row in told)
    assert told[1][1] == f"SIGNING_KEY:{ring.ring().signing[0]}"
    assert main(["users", "permissions"]) == 0
