"""What a start does for clients of Modbus/TLS: makes the certificate that `calejo wire` shows to our own endpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from actors.vocabulary import DeviceError, Settings
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

    It is a tool's certificate: a plant starts without it.
    """
    if not settings.modbus.tls:
        return
    files = wire_files(Path(settings.data_dir))
    try:
        why = _made(settings, files, now=now)
    except (OSError, DeviceError) as error:
        why = str(error)
    if why:
        yield (
            f"`calejo wire` cannot ask Modbus/TLS ({why}): {files.certificate} is for its certificate, with role"
            f" {UserRole.READ_ONLY}, by the authority of modbus.client_ca"
        )


def _made(settings: Settings, files: CertificateFiles, *, now: datetime) -> str:
    """Make the certificate if there is none that lasts; return why it cannot be made ('': it is there).

    Raises:
        OSError, DeviceError: the disk refused, or a file is none of ours.

    """
    folder = Path(settings.data_dir) / FOLDER
    authority = files_of(folder, CA)
    if files.certificate.exists() and view(files.certificate, now=now).days_left > WIRE_DAYS_LEFT_MIN:
        return ""
    if modbus_files(settings)[2] != authority.certificate:
        return "another authority signs"
    # A key that is kept where this process cannot read it is well kept.
    if not all(os.access(each, os.R_OK) for each in (authority.private_key, authority.certificate)):
        return "the authority's key is not here"
    files.certificate.unlink(missing_ok=True)
    files.private_key.unlink(missing_ok=True)
    client(folder, WIRE_NAME, UserRole.READ_ONLY, now=now)
    return ""


def tls_papers_of(data_dir: Path, server_certificate: str) -> TlsPapers | None:
    """Return what `calejo wire` shows to Modbus/TLS, and whom it trusts; None: there is none, or not ours to read."""
    files = wire_files(data_dir)
    readable = (files.certificate, files.private_key, server_certificate)
    if not server_certificate or not all(os.access(each, os.R_OK) for each in readable):
        return None
    return TlsPapers(
        certificate=str(files.certificate), private_key=str(files.private_key), server=server_certificate
    )
