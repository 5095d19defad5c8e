"""What a start does for clients of Modbus/TLS: makes the certificate that `calejo wire` shows to our own endpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from actors.vocabulary import Settings
from actors.vocabulary.access import UserRole
from ops.certificates import client
from ops.kit.papers import TlsPapers
from ops.opcua_access import WIRE_DAYS_LEFT_MIN, WIRE_NAME
from storage.certificates import CA, FOLDER, CertificateFiles, files_of, modbus_files, view

_CLIENT: Final = f"client-{WIRE_NAME}"


def wire_files(data_dir: Path) -> CertificateFiles:
    """Return where the certificate of `calejo wire` for Modbus/TLS stands."""
    return files_of(data_dir / FOLDER, _CLIENT)


def prepare(settings: Settings, *, now: datetime) -> Iterator[str]:
    """Make the certificate of `calejo wire` (READ_ONLY) where our own authority signs; yield what is missing else.

    Raises:
        DeviceError: the disk refused, or the authority's files cannot be read.

    """
    if not settings.modbus.tls:
        return
    data_dir = Path(settings.data_dir)
    files, authority = wire_files(data_dir), files_of(data_dir / FOLDER, CA)
    if files.certificate.exists() and view(files.certificate, now=now).days_left > WIRE_DAYS_LEFT_MIN:
        return
    ours = modbus_files(settings)[2] == authority.certificate
    if not (ours and authority.private_key.exists() and authority.certificate.exists()):
        yield (
            f"`calejo wire` cannot ask Modbus/TLS: {files.certificate} is for its certificate, with role"
            f" {UserRole.READ_ONLY}, by the authority of modbus.client_ca"
        )
        return
    files.certificate.unlink(missing_ok=True)
    files.private_key.unlink(missing_ok=True)
    client(data_dir / FOLDER, WIRE_NAME, UserRole.READ_ONLY, now=now)


def tls_papers_of(data_dir: Path, server_certificate: str) -> TlsPapers | None:
    """Return what `calejo wire` shows to Modbus/TLS, and whom it trusts; None: there is none, or not ours to read."""
    files = wire_files(data_dir)
    readable = (files.certificate, files.private_key, server_certificate)
    if not server_certificate or not all(os.access(each, os.R_OK) for each in readable):
        return None
    return TlsPapers(
        certificate=str(files.certificate), private_key=str(files.private_key), server=server_certificate
    )
