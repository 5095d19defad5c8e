"""The folder of OPC UA's trust: who is pinned as what, what was rejected, and what the server shows."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from actors.vocabulary import DeviceError, InvalidValueError, RefusedError, Settings, UnknownSubjectError
from actors.vocabulary.access import UserRole
from actors.vocabulary.pki import CERTIFICATE_BYTES_MAX, Trust, UserCertificate
from actors.vocabulary.settings import OpcUaSettings
from storage import opcua_pki
from storage.certificates import CertificateFiles
from storage.opcua_pki import PkiFolder, folder_of, make_folders, opcua_files, self_made_files
from tests.wire.opcua.papers import Paper, paper, server_paper


def pem(one: Paper) -> bytes:
    return one.certificate.public_bytes(serialization.Encoding.PEM)


def folder(tmp_path: Path) -> PkiFolder:
    return PkiFolder(folder_of(tmp_path), lambda: self_made_files(tmp_path))


def test_a_file_is_a_trust(tmp_path: Path) -> None:
    """OPC-4: PEM or DER, whatever it is called; the folder of a user is the role; what is none counts as absent."""
    at = folder_of(tmp_path)
    assert folder(tmp_path).trust() == Trust()
    make_folders(at)
    (at / "trusted" / "scada.pem").write_bytes(pem(paper("client")))
    (at / "trusted" / "other.DER").write_bytes(paper("other").der)
    (at / "trusted" / "half.pem").write_bytes(pem(paper("stranger"))[:200])
    (at / "trusted" / ".tmp-1-0-x.pem").write_bytes(pem(paper("stranger")))
    (at / "trusted" / "notes.txt").write_bytes(pem(paper("stranger")))
    (at / "users" / "FIELD" / "plc-7.crt").write_bytes(pem(paper("user")))
    assert folder(tmp_path).trust() == Trust(
        applications=frozenset({paper("client").der, paper("other").der}),
        users={paper("user").der: UserCertificate(name="plc-7", role=UserRole.FIELD)},
    )


def test_a_disk_that_fails_distrusts_nobody_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPC-4: a read error is not remembered as "no certificate": who was trusted stays, what is new comes later."""
    at, one = folder_of(tmp_path), folder(tmp_path)
    make_folders(at)
    known, fresh = at / "trusted" / "scada.pem", at / "trusted" / "new.pem"
    known.write_bytes(pem(paper("client")))
    assert one.trust().applications == {paper("client").der}
    fresh.write_bytes(pem(paper("other")))
    os.utime(known)
    opened, broken = Path.open, True

    def failing(path: Path, *given: Any, **named: Any) -> Any:
        if broken and path.suffix == ".pem":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *given, **named)

    monkeypatch.setattr(Path, "open", failing)
    for _ in range(2):
        assert one.trust().applications == {paper("client").der}
    broken = False
    assert one.trust().applications == {paper("client").der, paper("other").der}
    known.unlink()
    assert one.trust().applications == {paper("other").der}, "taken away is taken away"


def test_a_file_with_its_old_time_is_read_again(tmp_path: Path) -> None:
    """OPC-4: written over in place with the same size and the old mtime (rsync -t): the new content counts."""
    at, one = folder_of(tmp_path), folder(tmp_path)
    make_folders(at)
    path = at / "trusted" / "scada.pem"
    first, second = pem(paper("client")), pem(paper("other"))
    size = max(len(first), len(second))
    path.write_bytes(first.ljust(size, b"\n"))
    held = path.stat()
    assert one.trust().applications == {paper("client").der}
    deadline_s = time.monotonic() + 5.0
    while path.stat().st_ctime_ns == held.st_ctime_ns:
        assert time.monotonic() < deadline_s, "ctime does not move"
        with path.open("r+b") as file:
            file.write(second.ljust(size, b"\n"))
        os.utime(path, ns=(held.st_atime_ns, held.st_mtime_ns))
    after = path.stat()
    assert (after.st_mtime_ns, after.st_size, after.st_ino) == (held.st_mtime_ns, held.st_size, held.st_ino)
    assert one.trust().applications == {paper("other").der}


def test_one_certificate_in_two_roles_has_none(tmp_path: Path) -> None:
    """SEC-2: nobody meant that, and the weaker one is not ours to choose."""
    at = folder_of(tmp_path)
    make_folders(at)
    for role in ("FIELD", "ADMINISTRATOR"):
        (at / "users" / role / "x.pem").write_bytes(pem(paper("user")))
    assert folder(tmp_path).trust().users == {}


def test_trusting_and_taking_it_away(tmp_path: Path) -> None:
    """OPC-4: a rejected certificate is found by its hash, trusted by name, given a role, and distrusted again."""
    one, der = folder(tmp_path), paper("client").der
    one.keep_rejected(der, "not\ntrusted \x1b[31m")
    (row,) = one.listed()
    assert (row["list"], row["sha256"][:16]) == ("rejected", row["name"])
    assert b"\x1b" not in Path(row["file"]).read_bytes()
    name, found = one.found(row["sha256"][:10])
    assert (name, found) == (row["name"], der)
    one.add_application("scada", der)
    one.forget_rejected(der)
    one.add_user("anna", UserRole.READ_ONLY, der)
    one.add_user("anna", UserRole.OPERATOR, der)  # another role takes the place of the first
    assert one.trust() == Trust(
        applications=frozenset({der}), users={der: UserCertificate(name="anna", role=UserRole.OPERATOR)}
    )
    with pytest.raises(RefusedError, match="another certificate"):
        one.add_application("scada", paper("other").der)
    for bad in ("../x", ".hidden", "", "a/b", "x" * 65, "a\n"):
        with pytest.raises(InvalidValueError):
            one.add_application(bad, paper("other").der)
    assert len(one.distrust(der)) == 2
    assert one.trust() == Trust()
    for nobody in ("scada", "abcdef0123", "1"):
        with pytest.raises(UnknownSubjectError):
            one.found(nobody)


def test_rejected_ones_are_few_and_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-5: a flood of certificates fills no disk: the oldest go, the long and the senseless are not kept."""
    monkeypatch.setattr(opcua_pki, "REJECTED_MAX", 3)
    one = folder(tmp_path)
    for number in range(6):
        one.keep_rejected(paper("stranger", days=(-1.0, 10.0 + number)).der, "not trusted")
    one.keep_rejected(paper("stranger", days=(-1.0, 15.0)).der, "again")
    one.keep_rejected(bytes(CERTIFICATE_BYTES_MAX + 1), "long")
    one.keep_rejected(b"senseless", "none")
    rows = one.listed()
    assert len(rows) == 3
    ends = {row["not_after"] for row in rows}
    assert paper("stranger", days=(-1.0, 15.0)).certificate.not_valid_after_utc.isoformat() in ends


def test_what_the_server_shows_is_a_pair_that_fits(tmp_path: Path) -> None:
    """SEC-4: half replaced, elliptic or missing, it is refused with the file's name; whole, it is taken."""
    files = CertificateFiles(certificate=tmp_path / "c.pem", private_key=tmp_path / "k.pem")
    one = PkiFolder(tmp_path / "opcua", lambda: files)
    with pytest.raises(DeviceError, match=r"c\.pem"):
        one.own()
    files.certificate.write_bytes(pem(server_paper()))
    with pytest.raises(DeviceError, match=r"k\.pem"):
        one.own()
    files.private_key.write_bytes(paper("client").key_pem)
    with pytest.raises(DeviceError, match="not the key"):
        one.own()
    files.private_key.write_bytes(server_paper().key_pem)
    assert one.own() == server_paper().own
    assert "PRIVATE" not in repr(one.own())
    elliptic = paper("elliptic", bits=0)
    files.certificate.write_bytes(pem(elliptic))
    files.private_key.write_bytes(elliptic.key_pem)
    with pytest.raises(DeviceError, match="RSA"):
        one.own()


def test_where_the_server_s_certificate_stands(tmp_path: Path) -> None:
    """SEC-4: configured first, then that of the folder, then what it made for itself."""
    settings = Settings(data_dir=str(tmp_path))
    assert opcua_files(settings) == self_made_files(tmp_path)
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "opcua.pem").touch()
    assert opcua_files(settings).certificate == tmp_path / "certs" / "opcua.pem"
    given = Settings(data_dir=str(tmp_path), opcua=OpcUaSettings(certificate="/a.pem", private_key="/b.pem"))
    assert opcua_files(given) == CertificateFiles(certificate=Path("/a.pem"), private_key=Path("/b.pem"))


def test_looking_again_reads_nothing_that_did_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPC-6, SEC-4: an endpoint looks every two seconds; checking an RSA key each time would stop its clients."""
    files = CertificateFiles(certificate=tmp_path / "c.pem", private_key=tmp_path / "k.pem")
    one = PkiFolder(tmp_path / "opcua", lambda: files)
    make_folders(tmp_path / "opcua")
    files.certificate.write_bytes(pem(server_paper()))
    files.private_key.write_bytes(server_paper().key_pem)
    one.add_application("scada", paper("client").der)
    one.add_user("anna", UserRole.OPERATOR, paper("user").der)
    seen = one.own(), one.trust()
    read: list[Path] = []
    really = opcua_pki._one

    def noted(path: Path) -> object:
        read.append(path)
        return really(path)

    monkeypatch.setattr(opcua_pki, "_one", noted)
    assert (one.own(), one.trust()) == seen
    assert read == []
    (tmp_path / "opcua" / "trusted" / "scada.pem").unlink()
    one.add_application("other", paper("other").der)
    read.clear()
    assert one.trust().applications == {paper("other").der}
    assert [path.name for path in read] == ["other.pem"]
    files.certificate.write_bytes(pem(server_paper("server-2")))
    with pytest.raises(DeviceError, match="not the key"):
        one.own()
    files.private_key.write_bytes(server_paper("server-2").key_pem)
    assert one.own() == server_paper("server-2").own
