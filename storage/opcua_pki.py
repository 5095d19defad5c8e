"""The OPC UA part of the certificates' folder: who is trusted, as whom, and what was rejected (OPC-4, SEC-4).

    certs/opcua.pem, opcua-key.pem      what the server shows, or while there is none:
    certs/opcua/own.pem, own-key.pem    what it made for itself at its first start
    certs/opcua/trusted/NAME.pem        programs that may connect (PEM or DER), each pinned by itself
    certs/opcua/users/ROLE/NAME.pem     users who show a certificate: the folder is their role, the file their name
    certs/opcua/rejected/HASH.pem       what was shown to us and not trusted, with the reason above it

Pinned means: the file's very certificate and no other, whoever signed it. Taking the file away takes the trust away.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from actors.vocabulary import DeviceError, InvalidValueError, RefusedError, Settings, UnknownSubjectError
from actors.vocabulary.access import UserRole
from actors.vocabulary.pki import CERTIFICATE_BYTES_MAX, OwnCertificate, Trust, UserCertificate
from storage.certificates import FOLDER, CertificateFiles, Server, files_of
from storage.files import ensure_folder, refused, write_whole

OPCUA: Final = "opcua"
OWN: Final = "own"
TRUSTED: Final = "trusted"
USERS: Final = "users"
REJECTED: Final = "rejected"
FILES_MAX: Final = 1_000
REJECTED_MAX: Final = 50
SHOWN_DIGITS: Final = 16
_PEM_BYTES_MAX: Final = 4 * CERTIFICATE_BYTES_MAX
_ENDINGS: Final = (".pem", ".der", ".crt", ".cer")
_TRIAL: Final = b"does this key fit its certificate"
_DAMAGED: Final = (ValueError, TypeError)


def opcua_files(settings: Settings) -> CertificateFiles:
    """Return the files of the OPC UA server's certificate and private key.

    As configured; else those of the certificates' folder; else what it makes for itself.
    """
    given = settings.opcua
    if given.certificate and given.private_key:
        return CertificateFiles(certificate=Path(given.certificate), private_key=Path(given.private_key))
    files = files_of(Path(settings.data_dir) / FOLDER, Server.OPCUA)
    return files if files.certificate.exists() else self_made_files(Path(settings.data_dir))


def self_made_files(data_dir: Path) -> CertificateFiles:
    """Return where the certificate stands that signed itself."""
    return files_of(folder_of(data_dir), OWN)


def folder_of(data_dir: Path) -> Path:
    """Return where OPC UA's trust is kept."""
    return data_dir / FOLDER / OPCUA


class _UnreadableError(DeviceError):
    """The disk did not give a file that is there: this says nothing about who is trusted."""


class PkiFolder:
    """The folder, as endpoint and commands see it."""

    def __init__(self, folder: Path, own: Callable[[], CertificateFiles]) -> None:
        """Take the folder (`certs/opcua`) and what tells where the server's own certificate stands."""
        self._folder = folder
        self._own = own
        # What was read, by the state of its file: looking every two seconds must cost next to nothing.
        self._owned: tuple[object, OwnCertificate] | None = None
        self._read: dict[Path, tuple[object, bytes]] = {}

    def own(self) -> OwnCertificate:
        """Return what the server shall show.

        Raises:
            DeviceError: it cannot be read, is not RSA, or the two files do not fit.

        """
        files = self._own()
        state = files, _state(files.certificate), _state(files.private_key)
        if self._owned is None or self._owned[0] != state:
            self._owned = state, self._own_pair(files)
        return self._owned[1]

    def _own_pair(self, files: CertificateFiles) -> OwnCertificate:
        certificate = _one(files.certificate)
        try:
            pem = files.private_key.read_bytes()
        except OSError as error:
            raise refused(files.private_key, error) from error
        try:
            key = serialization.load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
        except _DAMAGED as error:
            raise DeviceError(f"{files.private_key}: holds no unencrypted private key in PEM form") from error
        if not isinstance(key, rsa.RSAPrivateKey):
            raise DeviceError(f"{files.private_key}: OPC UA's policies need an RSA key")
        _fits(certificate, key, files)
        plain = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return OwnCertificate(certificate=_der(certificate), private_key=plain)

    def trust(self) -> Trust:
        """Return who is trusted now.

        Raises:
            DeviceError: a folder cannot be read.

        """
        known, self._read = self._read, {}
        applications = frozenset(der for _, der in self._pinned(self._folder / TRUSTED, known))
        users: dict[bytes, UserCertificate | None] = {}
        for role in UserRole:
            for path, der in self._pinned(self._folder / USERS / role.value, known):
                # Of two roles for one certificate neither counts: nobody meant that.
                users[der] = None if der in users else UserCertificate(name=path.stem, role=role)
        return Trust(
            applications=applications, users={der: user for der, user in users.items() if user is not None}
        )

    def _pinned(self, folder: Path, known: dict[Path, tuple[object, bytes]]) -> Iterator[tuple[Path, bytes]]:
        """Yield what of a folder is a certificate, reading only what changed; b'' stands for what is none."""
        for path in _named(folder):
            state = _state(path)
            before = known.get(path)
            if before is not None and before[0] == state:
                der = before[1]
            else:
                try:
                    der = _der(_one(path))
                except _UnreadableError:
                    # The disk's fault, not the file's: who was trusted stays so, and the next look reads again.
                    der, state = b"" if before is None else before[1], None
                except DeviceError:
                    der = b""  # no certificate: it trusts nobody
            self._read[path] = state, der
            if der:
                yield path, der

    def keep_rejected(self, certificate: bytes, why: str) -> None:
        """Keep what was not trusted; at most 50, the oldest go.

        Raises:
            DeviceError: the disk refused.

        """
        if len(certificate) > CERTIFICATE_BYTES_MAX:
            return
        try:
            read = x509.load_der_x509_certificate(certificate)
        except _DAMAGED:
            return  # no certificate: nobody could trust it later
        folder = self._folder / REJECTED
        path = folder / f"{hashlib.sha256(certificate).hexdigest()[:SHOWN_DIGITS]}.pem"
        if path.exists():
            return
        note = f"not trusted: {_plain(why)}\n".encode()
        write_whole(path, note + read.public_bytes(serialization.Encoding.PEM))
        try:
            kept = sorted(folder.glob("*.pem"), key=lambda each: each.stat().st_mtime_ns)
            for old in kept[:-REJECTED_MAX]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise refused(folder, error) from error

    # ------------------------------------------------------------------ for people

    def listed(self) -> list[dict[str, str]]:
        """Return every certificate of the folder: where it stands, its name, hash, subject and end.

        Raises:
            DeviceError: a folder cannot be read.

        """
        places = [(TRUSTED, "", self._folder / TRUSTED)]
        places += [(USERS, role.value, self._folder / USERS / role.value) for role in UserRole]
        places.append((REJECTED, "", self._folder / REJECTED))
        return [_row(place, role, path, der) for place, role, at in places for path, der in _certificates(at)]

    def add_application(self, name: str, der: bytes) -> Path:
        """Trust a program's certificate.

        Raises:
            InvalidValueError: this cannot be a name.
            RefusedError: the name is taken by another certificate.
            DeviceError: the disk refused.

        """
        return _pin(self._folder / TRUSTED, name, der)

    def add_user(self, name: str, role: UserRole, der: bytes) -> Path:
        """Let whoever shows this certificate in as `name` with a role; another role of its is taken away.

        Raises:
            InvalidValueError: this cannot be a name.
            RefusedError: the name is taken by another certificate.
            DeviceError: the disk refused.

        """
        for path, known in self._users():
            if known == der:
                _remove(path)
        return _pin(self._folder / USERS / role.value, name, der)

    def found(self, which: str) -> tuple[str, bytes]:
        """Return name and DER of a certificate: a file, or one of the folder by name or the beginning of its hash.

        Raises:
            UnknownSubjectError: there is none.
            DeviceError: it cannot be read.

        """
        path = Path(which)
        if os.path.isfile(which):  # noqa: PTH113  (False also for what cannot be a path)
            return path.stem, _der(_one(path))
        matching = {der: path for path, der in self._everything() if _is(which, path, der)}
        if len(matching) != 1:
            raise UnknownSubjectError(f"certificate {which[:80]!r}: {len(matching)} found, expected one")
        der, path = next(iter(matching.items()))
        return path.stem, der

    def forget_rejected(self, der: bytes) -> None:
        """Take a certificate out of the rejected ones.

        Raises:
            DeviceError: the disk refused.

        """
        for path, known in _certificates(self._folder / REJECTED):
            if known == der:
                _remove(path)

    def distrust(self, der: bytes) -> list[Path]:
        """Take every trust in a certificate away; return the files that went.

        Raises:
            DeviceError: the disk refused.

        """
        gone = []
        for path, known in (*_certificates(self._folder / TRUSTED), *self._users()):
            if known == der:
                _remove(path)
                gone.append(path)
        return gone

    def _users(self) -> Iterator[tuple[Path, bytes]]:
        for role in UserRole:
            yield from _certificates(self._folder / USERS / role.value)

    def _everything(self) -> Iterator[tuple[Path, bytes]]:
        yield from _certificates(self._folder / TRUSTED)
        yield from self._users()
        yield from _certificates(self._folder / REJECTED)


def _certificates(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield what of a folder is a certificate, in the order of names."""
    for path in _named(folder):
        try:
            yield path, _der(_one(path))
        except DeviceError:
            continue  # no certificate, or gone meanwhile: it trusts nobody


def _fits(certificate: x509.Certificate, key: rsa.RSAPrivateKey, files: CertificateFiles) -> None:
    """Return if the key signs what the certificate verifies.

    The library's own check of an RSA key takes 0.3 s and lets nobody else in the process run meanwhile; this one does
    not, and a key that is no good does not pass it either.

    Raises:
        DeviceError: it does not.

    """
    public = certificate.public_key()
    try:
        signed = key.sign(_TRIAL, padding.PKCS1v15(), hashes.SHA256())
        if not isinstance(public, rsa.RSAPublicKey):
            raise InvalidSignature
        public.verify(signed, _TRIAL, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, *_DAMAGED) as error:
        raise DeviceError(f"{files.certificate}: {files.private_key} is not the key to it") from error


def _named(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if _names_a_certificate(each))[:FILES_MAX]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise refused(folder, error) from error


def _state(path: Path) -> object:
    """Return what differs when a file was written again; None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    # With ctime: a file of the same size that was given its old mtime back (cp -p, rsync) is another one all the same.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _names_a_certificate(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS and not path.name.startswith(".")  # a dot: being written


def _one(path: Path) -> x509.Certificate:
    try:
        with path.open("rb") as file:
            content = file.read(_PEM_BYTES_MAX)
    except FileNotFoundError as error:
        raise refused(path, error) from error
    except OSError as error:
        raise _UnreadableError(str(refused(path, error))) from error
    try:
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificates(content[content.index(b"-----BEGIN") :])[0]
        return x509.load_der_x509_certificate(content)
    except _DAMAGED as error:
        raise DeviceError(f"{path}: holds no certificate in PEM or DER form") from error


def _pin(folder: Path, name: str, der: bytes) -> Path:
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    if not plain.isascii() or not plain.isalnum() or name.startswith(".") or len(name) > 64:  # noqa: PLR2004
        raise InvalidValueError(f"name: {name[:64]!r}, expected up to 64 letters, digits, -, _ and .")
    path = folder / f"{name}.pem"
    pem = x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)
    if not write_whole(path, pem, replace=False) and _der(_one(path)) != der:
        raise RefusedError(f"{path}: another certificate has this name")
    return path


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise refused(path, error) from error


def _is(which: str, path: Path, der: bytes) -> bool:
    digits = which.lower().replace(":", "")
    by_hash = len(digits) >= 8 and hashlib.sha256(der).hexdigest().startswith(digits)  # noqa: PLR2004
    return path.stem == which or by_hash


def _row(place: str, role: str, path: Path, der: bytes) -> dict[str, str]:
    certificate = x509.load_der_x509_certificate(der)
    return {
        "list": place,
        "name": path.stem,
        "role": role,
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        # Whoever made the certificate chose it.
        "subject": _plain(certificate.subject.rfc4514_string()),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "file": str(path),
    }


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)[:200]


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def make_folders(folder: Path) -> None:
    """Make the folders, so that people find where to put what.

    Raises:
        DeviceError: the disk refused.

    """
    for name in (TRUSTED, REJECTED, *(f"{USERS}/{role.value}" for role in UserRole)):
        ensure_folder(folder / name)
