"""`calejo certs list|trust|reject|client`: whom OPC UA trusts, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from actors.vocabulary.access import UserRole
from actors.vocabulary.pki import Trust, UserCertificate
from ops.cli.main import main
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
