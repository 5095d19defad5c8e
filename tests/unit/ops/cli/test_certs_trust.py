"""`calejo certs list|trust|reject|client`: whom OPC UA trusts, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import create_engine, text

from actors.vocabulary import Settings
from actors.vocabulary.access import UserRole
from actors.vocabulary.pki import Trust, UserCertificate
from ops import database
from ops.cli.main import main
from ops.untold import Untold
from storage.opcua_pki import PkiFolder, folder_of, self_made_files
from tests.wire.opcua.papers import paper

Capsys = pytest.CaptureFixture[str]


def pki(data: Path) -> PkiFolder:
    return PkiFolder(folder_of(data), lambda: self_made_files(data))


def run(data: Path, *words: str) -> int:
    return main(["certs", *words, "--data-dir", str(data)])


def test_a_stranger_is_looked_at_trusted_and_sent_away(tmp_path: Path, capsys: Capsys) -> None:
    """OPC-4: from the rejected folder by its hash, as a program, then as a user with a role, then neither."""
    der = paper("client").der
    pki(tmp_path).keep_rejected(der, "not trusted")
    assert run(tmp_path, "list", "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["list"] == "rejected"
    assert run(tmp_path, "trust", row["sha256"][:12], "--name", "scada") == 0
    assert pki(tmp_path).trust() == Trust(applications=frozenset({der}))
    assert run(tmp_path, "trust", "scada", "--role", "operator", "--name", "anna") == 0
    assert pki(tmp_path).trust().users == {der: UserCertificate(name="anna", role=UserRole.OPERATOR)}
    capsys.readouterr()
    assert run(tmp_path, "list", "--format", "json") == 0
    listed = [(each["list"], each["name"], each["role"]) for each in json.loads(capsys.readouterr().out)]
    assert listed == [("trusted", "scada", ""), ("users", "anna", "OPERATOR")]
    assert run(tmp_path, "reject", "scada") == 0
    assert pki(tmp_path).trust() == Trust()


def test_what_commands_do_to_certificates_is_told_with_who_did_it(tmp_path: Path, capsys: Capsys) -> None:
    """AUD-2, SEC-5: also before there is a database: kept, and told with the next command that finds one."""
    assert run(tmp_path, "init") == 0
    assert run(tmp_path, "renew", "rest") == 0
    assert run(tmp_path, "client", "plc-7", "--role", "field") == 0
    kept = Untold(tmp_path).records()
    assert [(each.event_type, each.object_id) for each in kept] == [
        ("CERTIFICATE_MADE", "CERTIFICATE:all"),
        ("CERTIFICATE_MADE", "CERTIFICATE:rest"),
        ("CERTIFICATE_MADE", "CERTIFICATE:client-plc-7"),
        ("TRUST_CHANGED", "CERTIFICATE:plc-7"),
    ]
    assert not (tmp_path / "calejo.db").exists(), "a command about certificates makes no database"
    settings = Settings(data_dir=str(tmp_path))
    database.upgrade(settings)
    assert run(tmp_path, "reject", "plc-7") == 0
    assert Untold(tmp_path).records() == ()
    engine = create_engine(f"sqlite:///{tmp_path / 'calejo.db'}")
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT record_id, actor, after FROM audit_log ORDER BY sequence")
        ).all()
    engine.dispose()
    assert [row.record_id for row in rows[:4]] == [each.record_id for each in kept]
    assert all(row.actor.startswith("local:") for row in rows)
    assert json.loads(rows[4].after)["trusted"] is False
    capsys.readouterr()


def test_what_the_trail_does_not_take_waits_for_it(tmp_path: Path, capsys: Capsys) -> None:
    """AUD-4: a database that cannot be written is said, and the record is not lost; nor is what was done undone."""
    (tmp_path / "calejo.db").write_bytes(b"no database, but in its place")
    assert run(tmp_path, "init") == 0
    assert "not in the audit trail yet" in capsys.readouterr().err
    (record,) = Untold(tmp_path).records()
    assert record.event_type == "CERTIFICATE_MADE"


def test_what_cannot_be_trusted_is_refused(tmp_path: Path, capsys: Capsys) -> None:
    """OPC-4: no certificate, no such certificate, a name that is no name, a name that is taken."""
    at = tmp_path / "one.pem"
    at.write_bytes(paper("client").certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "none.pem").write_text("nothing")
    assert run(tmp_path, "trust", str(tmp_path / "none.pem")) == 1
    assert run(tmp_path, "trust", "abcdef012345") == 1
    assert run(tmp_path, "trust", str(at), "--name", "../x") == 2
    assert run(tmp_path, "trust", str(at)) == 0
    other = tmp_path / "two.pem"
    other.write_bytes(paper("other").certificate.public_bytes(serialization.Encoding.PEM))
    assert run(tmp_path, "trust", str(other), "--name", "one") == 4
    assert pki(tmp_path).trust() == Trust(applications=frozenset({paper("client").der}))
    capsys.readouterr()


def test_a_client_made_here_is_trusted_with_its_role(tmp_path: Path, capsys: Capsys) -> None:
    """OPC-4, SEC-2: as a program and as a user."""
    assert run(tmp_path, "init") == 0
    assert run(tmp_path, "client", "plc-7", "--role", "field") == 0
    trust = pki(tmp_path).trust()
    (der,) = trust.applications
    assert trust.users == {der: UserCertificate(name="plc-7", role=UserRole.FIELD)}
    capsys.readouterr()
