"""Goal: certificates for development are made once, sound, private, and told of before they expire."""

from __future__ import annotations

import json
import ssl
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.verification import PolicyBuilder, Store

from actors.vocabulary import InvalidValueError, RefusedError, Settings, Severity
from actors.vocabulary.access import UserRole
from actors.vocabulary.settings import ModbusSettings
from ops.certificates import APPLICATION_URI, MODBUS_ROLE, client, init, renew
from ops.cli.access_parser import ROLES, SERVERS
from ops.cli.main import main
from protocols.opcua import certificates as opcua_certificates
from storage.certificates import FOLDER, Server, configured, judged, read, shown, view

NOW = datetime.fromtimestamp(time.clock_gettime(time.CLOCK_REALTIME), UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    init(folder / FOLDER, hosts=["calejo.example", "192.0.2.7"], now=NOW)
    return folder / FOLDER


def test_private_keys_are_for_their_owner_only(made: Path) -> None:
    """SEC-4: private keys 0600, and each server has its own."""
    keys = sorted(made.glob("*-key.pem"))
    assert [path.name for path in keys] == ["ca-key.pem", "modbus-key.pem", "opcua-key.pem", "rest-key.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert len({path.read_bytes() for path in keys}) == len(keys)


@pytest.mark.parametrize("server", Server)
@pytest.mark.parametrize("name", ["localhost", "calejo.example"])
def test_a_server_proves_its_name_by_the_authority(made: Path, server: Server, name: str) -> None:
    """SEC-4: a foreign verifier accepts the chain for this machine's names, and for the further ones."""
    policy = PolicyBuilder().store(Store([read(made / "ca.pem")])).time(NOW)
    policy.build_server_verifier(x509.DNSName(name)).verify(read(made / f"{server}.pem"), [])


@pytest.mark.parametrize("server", Server)
def test_openssl_takes_key_and_certificate(made: Path, server: Server) -> None:
    """SEC-4: what is made can be served."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / f"{server}.pem", made / f"{server}-key.pem")


def test_opcua_has_what_its_policies_ask_for(made: Path) -> None:
    """OPC-4: an RSA key of at least 2048 bits, and the application's URI as the server tells it."""
    certificate = read(made / "opcua.pem")
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size >= 2048
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [APPLICATION_URI]
    assert opcua_certificates.APPLICATION_URI == APPLICATION_URI


def test_nothing_is_overwritten(made: Path) -> None:
    """SEC-4: a second init is refused and changes nothing, also when only one file is left."""
    before = {path: path.read_bytes() for path in made.iterdir()}
    with pytest.raises(RefusedError, match="exists already"):
        init(made, hosts=[], now=NOW)
    assert {path: path.read_bytes() for path in made.iterdir()} == before


def test_one_left_over_file_refuses_all(tmp_path: Path) -> None:
    """SEC-4: no half of a set is made beside what somebody else put there."""
    (tmp_path / "modbus-key.pem").write_text("precious")
    with pytest.raises(RefusedError):
        init(tmp_path, hosts=[], now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["modbus-key.pem"]


def test_a_renewed_certificate_keeps_its_names_and_has_a_new_key(tmp_path: Path) -> None:
    """SEC-4: rotation."""
    init(tmp_path, hosts=["calejo.example"], now=NOW)
    old, key = read(tmp_path / "rest.pem"), (tmp_path / "rest-key.pem").read_bytes()
    renew(tmp_path, Server.REST, hosts=[], now=NOW + timedelta(days=300))
    new = read(tmp_path / "rest.pem")
    assert new.not_valid_after_utc - old.not_valid_after_utc == timedelta(days=300)
    assert (tmp_path / "rest-key.pem").read_bytes() != key
    san = x509.SubjectAlternativeName
    assert new.extensions.get_extension_for_class(san) == old.extensions.get_extension_for_class(san)


def test_a_clients_certificate_carries_its_role(tmp_path: Path) -> None:
    """MOD-1, SEC-2: the role stands in the extension that Modbus/TCP Security names, as UTF-8 text."""
    init(tmp_path, hosts=[], now=NOW)
    client(tmp_path, "plc-1", UserRole.FIELD, now=NOW)
    extension = read(tmp_path / "client-plc-1.pem").extensions.get_extension_for_oid(MODBUS_ROLE)
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert extension.value.value == b"\x0c\x05FIELD"
    with pytest.raises(RefusedError):
        client(tmp_path, "plc-1", UserRole.OPERATOR, now=NOW)
    with pytest.raises(InvalidValueError):
        client(tmp_path, "../ca", UserRole.OPERATOR, now=NOW)


@pytest.mark.parametrize("host", ["", "a b", "x/y", "über.example", "-", "a..b"])
def test_a_host_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, host: str) -> None:
    """SEC-4: a name that no certificate can carry."""
    with pytest.raises(InvalidValueError, match="host"):
        init(tmp_path, hosts=[host], now=NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("days", "expected"),
    [(-300, None), (-29, Severity.MEDIUM), (-6, Severity.HIGH), (1, Severity.CRITICAL)],
)
def test_expiry_is_judged_by_what_is_left(made: Path, days: int, expected: Severity | None) -> None:
    """SEC-4: 30 days before, urgently from 7 days on, and once it has expired."""
    end = read(made / "rest.pem").not_valid_after_utc
    verdict = judged(view(made / "rest.pem", now=end + timedelta(days=days)))
    assert (verdict and verdict[0]) == expected


def test_the_first_to_expire_stands_on_top_and_what_is_broken_is_named(tmp_path: Path) -> None:
    """SEC-4: `calejo certs show`."""
    init(tmp_path, hosts=[], now=NOW)
    renew(tmp_path, Server.OPCUA, hosts=[], now=NOW - timedelta(days=100))
    (tmp_path / "odd.pem").write_text("no certificate")
    views, broken = shown(tmp_path, now=NOW)
    assert (views[0].name, views[-1].name) == ("opcua", "ca")
    assert list(broken) == ["odd"]
    assert {each.key_file_mode for each in views} == {"0600"}


def test_what_stands_elsewhere_is_watched_too(made: Path) -> None:
    """SEC-4: a certificate that the settings name expires like one of the folder: it is looked at."""
    modbus = ModbusSettings(
        tls=True, certificate="/etc/a.pem", private_key="/etc/k.pem", client_ca="/etc/ca.pem"
    )
    named = [each for each in configured(Settings(data_dir="d", modbus=modbus)) if each]
    assert named == ["/etc/a.pem", "/etc/ca.pem"]
    elsewhere = made / "moved"
    elsewhere.mkdir()
    (made / "modbus.pem").rename(elsewhere / "plant.pem")
    views, broken = shown(made, now=NOW, also=[elsewhere / "plant.pem"])
    assert "plant" in {each.name for each in views}
    assert broken == {}
    (elsewhere / "plant.pem").rename(made / "modbus.pem")


def test_the_command_makes_shows_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SEC-4: one command makes them; a second is refused with 4; show knows none of the keys."""
    where = ["--data-dir", str(tmp_path)]
    assert main(["certs", "show", *where]) == 1
    assert main(["certs", "init", *where, "--host", "calejo.example"]) == 0
    assert main(["certs", "init", *where]) == 4
    capsys.readouterr()
    assert main(["certs", "show", *where, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["name"] for row in rows) == ["ca", "modbus", "opcua", "rest"]
    assert main(["certs", "renew", "rest", *where]) == 0
    assert main(["certs", "renew", "rest", *where, "--host", "a b"]) == 2


def test_the_parser_names_every_server_and_role() -> None:
    """SEC-2: spelled out there, so that a command starts in a moment."""
    assert tuple(Server) == SERVERS
    assert tuple(UserRole) == ROLES
