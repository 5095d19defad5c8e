"""The folder of certificates and private keys: where each stands, who may read it, when it expires (SEC-4)."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum, unique
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from actors.vocabulary import DeviceError, Settings, Severity

FOLDER: Final = "certs"
CA: Final = "ca"
WARN_BEFORE: Final = timedelta(days=30)
URGENT_BEFORE: Final = timedelta(days=7)
_BYTES_MAX: Final = 1_048_576
_SHOWN_MAX: Final = 1_000


@unique
class Server(StrEnum):
    """Whose certificate it is; the file is named after it."""

    REST = "rest"
    OPCUA = "opcua"
    MODBUS = "modbus"


class CertificateFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where a certificate and its private key stand, both PEM."""

    certificate: Path
    private_key: Path


class CertificateView(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate as people ask about it; times are UTC, `days_left` is negative once it has expired."""

    name: str
    file: str
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    days_left: float
    sha256: str
    key_file_mode: str


def files_of(folder: Path, name: str) -> CertificateFiles:
    """Return where the certificate `name` ('rest', 'opcua', 'modbus', 'ca') stands in `folder`."""
    return CertificateFiles(certificate=folder / f"{name}.pem", private_key=folder / f"{name}-key.pem")


def rest_files(settings: Settings) -> tuple[Path, Path]:
    """Return the files of REST's certificate and its private key: as configured, else those of the data directory."""
    api = settings.api
    if api.certificate and api.private_key:
        return Path(api.certificate), Path(api.private_key)
    files = files_of(Path(settings.data_dir) / FOLDER, Server.REST)
    return files.certificate, files.private_key


def modbus_files(settings: Settings) -> tuple[Path, Path, Path]:
    """Return Modbus's certificate, its private key, and the authorities of clients: as configured, else our own."""
    modbus, folder = settings.modbus, Path(settings.data_dir) / FOLDER
    files = files_of(folder, Server.MODBUS)
    authority = Path(modbus.client_ca) if modbus.client_ca else files_of(folder, CA).certificate
    if modbus.certificate and modbus.private_key:
        return Path(modbus.certificate), Path(modbus.private_key), authority
    return files.certificate, files.private_key, authority


def configured(settings: Settings) -> tuple[str, ...]:
    """Return the certificates that the settings name beside the folder's, authorities of others too; '' none."""
    modbus, mqtt = settings.modbus, settings.sparkplug
    own = (settings.api.certificate, settings.opcua.certificate, modbus.certificate, mqtt.cert_file)
    return (*own, modbus.client_ca, mqtt.ca_file)


def shown(
    folder: Path, *, now: datetime, also: Sequence[Path] = ()
) -> tuple[list[CertificateView], dict[str, str]]:
    """Return every certificate of `folder`, the one that expires first at its head, and why others are unreadable.

    `also`: files that stand elsewhere. What the OPC UA server made for itself is among them while it has no other.

    Raises:
        DeviceError: the folder is there and cannot be read.

    """
    views, broken = [], {}
    try:
        paths = sorted(folder.glob("*.pem"))[:_SHOWN_MAX] if folder.is_dir() else []
        if not files_of(folder, Server.OPCUA).certificate.exists():
            paths += folder.glob("opcua/own.pem")
    except OSError as error:
        raise DeviceError(f"{folder}: {error.strerror}") from error
    seen: dict[str, Path] = {}
    for path in dict.fromkeys((*paths, *also)):
        if path.stem.endswith("-key"):
            continue
        # Two files of one name are two certificates: neither hides the other.
        name = path.stem if seen.setdefault(path.stem, path) == path else str(path)
        try:
            views.append(msgspec.structs.replace(view(path, now=now), name=name))
        except DeviceError as error:
            broken[name] = str(error)
    return sorted(views, key=lambda each: each.not_after), broken


def view(path: Path, *, now: datetime) -> CertificateView:
    """Return what a certificate's file says of its first certificate.

    Raises:
        DeviceError: it cannot be read, or is none.

    """
    certificate = read(path)
    left = certificate.not_valid_after_utc - now
    return CertificateView(
        name=path.stem,
        file=str(path),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc.astimezone(UTC),
        not_after=certificate.not_valid_after_utc.astimezone(UTC),
        days_left=round(left / timedelta(days=1), 1),
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        key_file_mode=_mode(path.with_name(f"{path.stem}-key.pem")),
    )


def read(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM file.

    Raises:
        DeviceError: it cannot be read, or is none.

    """
    try:
        with path.open("rb") as file:
            return x509.load_pem_x509_certificates(file.read(_BYTES_MAX))[0]
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DeviceError(f"{path}: holds no certificate in PEM form") from error


def judged(certificate: CertificateView) -> tuple[Severity, str] | None:
    """Return how urgent a certificate's expiry is and what to say of it; None: there is time."""
    left = timedelta(days=certificate.days_left)
    if left > WARN_BEFORE:
        return None
    when = f"{certificate.not_after:%Y-%m-%d %H:%M} UTC"
    if left <= timedelta(0):
        return Severity.CRITICAL, f"the certificate {certificate.file} has expired at {when}"
    severity = Severity.HIGH if left <= URGENT_BEFORE else Severity.MEDIUM
    return (
        severity,
        f"the certificate {certificate.file} expires in {certificate.days_left:.0f} days, at {when}",
    )


def _mode(key: Path) -> str:
    try:
        return f"{stat.S_IMODE(key.stat().st_mode):04o}"
    except OSError:
        return ""
