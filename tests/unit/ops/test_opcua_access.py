"""What a start does for OPC UA: certificate, folders, the kit's identity, and what it says is switched off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from actors.vocabulary import Settings
from actors.vocabulary.access import UserRole
from actors.vocabulary.settings import OpcUaSettings, PortSettings
from ops import certificates
from ops.opcua_access import WIRE_URI, demo_settings, papers_of, prepare, warnings
from protocols.opcua.certificates import application_uri, judge_application, judge_user
from storage.certificates import shown
from storage.opcua_pki import PkiFolder, folder_of, opcua_files

NOW = datetime.now(UTC)  # noqa: TID251 - certificates are judged by the real clock


def settings(tmp_path: Path, **opcua: object) -> Settings:
    return Settings(data_dir=str(tmp_path), opcua=msgspec.convert(opcua, OpcUaSettings))


def pki_of(given: Settings) -> PkiFolder:
    return PkiFolder(folder_of(Path(given.data_dir)), lambda: opcua_files(given))


def test_the_first_start_makes_what_a_server_needs(tmp_path: Path) -> None:
    """OPC-4, SEC-4: a certificate with the application's URI, told once with its hash; its key is its owner's alone."""
    given = settings(tmp_path)
    (line,) = prepare(given, now=NOW)
    own = pki_of(given).own()
    certificate = x509.load_der_x509_certificate(own.certificate)
    assert certificate.fingerprint(hashes.SHA256()).hex() in line
    assert application_uri(own) == certificates.APPLICATION_URI
    assert (opcua_files(given).private_key.stat().st_mode & 0o777) == 0o600
    assert list(prepare(given, now=NOW)) == []
    assert pki_of(given).own() == own
    views, broken = shown(tmp_path / "certs", now=NOW)
    assert ([each.name for each in views], broken) == (["own"], {})  # its end is watched


def test_certs_init_takes_its_place(tmp_path: Path) -> None:
    """SEC-4: the development set comes later, and is what is shown and watched from then on."""
    given = settings(tmp_path)
    list(prepare(given, now=NOW))
    before = pki_of(given).own()
    certificates.init(tmp_path / "certs", hosts=[], now=NOW)
    after = pki_of(given).own()
    assert after != before
    assert application_uri(after) == certificates.APPLICATION_URI
    assert "own" not in {each.name for each in shown(tmp_path / "certs", now=NOW)[0]}


def test_the_kit_may_read_with_papers_of_its_own(tmp_path: Path) -> None:
    """OPC-4: `calejo wire` is a program and a user like any other: pinned, READ_ONLY, made anew before it ends."""
    given = settings(tmp_path)
    assert papers_of(tmp_path) is None
    list(prepare(given, now=NOW))
    papers = papers_of(tmp_path)
    assert papers is not None
    assert papers.uri == WIRE_URI
    _, der = pki_of(given).found(papers.certificate)
    trust = pki_of(given).trust()
    judge_application(der, trust, now=NOW)
    assert judge_user(der, trust, now=NOW)[1].role is UserRole.READ_ONLY
    later = NOW + timedelta(days=certificates.SERVER_DAYS - 20)
    list(prepare(given, now=later))
    _, renewed = pki_of(given).found(papers.certificate)
    trust = pki_of(given).trust()
    assert renewed != der
    assert (set(trust.applications), set(trust.users)) == ({renewed}, {renewed})


def test_what_is_switched_off_is_said_at_every_start(tmp_path: Path) -> None:
    """OPC-4: both switches, each by its key; a secure start says nothing."""
    given = settings(tmp_path, allow_none=True, anonymous_roles="FIELD")
    for _ in range(2):
        said = [line for line in prepare(given, now=NOW) if line.startswith("WARNING")]
        assert [each.rpartition(" ")[2] for each in said] == ["opcua.allow_none", "opcua.anonymous_roles"]
    assert list(warnings(settings(tmp_path))) == []


def test_a_demo_lets_look_on_loopback_alone_and_only_unless_something_is_set(tmp_path: Path) -> None:
    """OPC-4: two commands show the plant to any client; whoever configures OPC UA gets what they configured."""
    opened = demo_settings(settings(tmp_path)).opcua
    assert (opened.allow_none, opened.anonymous_roles) == (True, "READ_ONLY")
    configured = settings(tmp_path, sessions_max=10)
    assert demo_settings(configured) == configured
    beyond = msgspec.structs.replace(settings(tmp_path), ports=PortSettings(host="192.0.2.1"))
    assert demo_settings(beyond) == beyond
