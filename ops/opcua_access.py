"""What a start does for OPC UA's security: makes the certificate, says what is switched off, opens the demo (OPC-4)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from actors.vocabulary import Settings
from actors.vocabulary.access import UserRole
from actors.vocabulary.settings import OpcUaSettings, is_loopback
from ops.certificates import self_made_opcua
from ops.kit.papers import Papers
from storage.certificates import files_of, view
from storage.opcua_pki import PkiFolder, folder_of, make_folders, opcua_files, self_made_files

WIRE: Final = "wire"
WIRE_NAME: Final = "calejo-wire"
WIRE_URI: Final = "urn:calejo:wire"
WIRE_DAYS_LEFT_MIN: Final = 30.0
DEMO: Final = OpcUaSettings(allow_none=True, anonymous_roles="READ_ONLY")


def demo_settings(settings: Settings) -> Settings:
    """Return the settings of a demo: on loopback, and unless something is said of OPC UA, anybody may look.

    So that any OPC UA client sees the demo plant at once; it may not write.
    """
    if settings.opcua != OpcUaSettings() or not is_loopback(settings.ports.host):
        return settings
    return msgspec.structs.replace(settings, opcua=DEMO)


def prepare(settings: Settings, *, now: datetime) -> Iterator[str]:
    """Make the server's certificate if there is none, and the folders of trust; yield what to tell people.

    Raises:
        DeviceError: the disk refused, or a certificate that is configured cannot be read.

    """
    data_dir = Path(settings.data_dir)
    make_folders(folder_of(data_dir))
    _prepare_wire(data_dir, now=now)
    files = opcua_files(settings)
    if files == self_made_files(data_dir) and self_made_opcua(files, now=now):
        made = view(files.certificate, now=now)
        yield f"OPC UA certificate made, signed by itself: {made.file} (SHA-256 {made.sha256})"
    yield from warnings(settings)


def papers_of(data_dir: Path) -> Papers | None:
    """Return what `calejo wire` shows to our own endpoints; None: no run has made it, or it is not ours to read."""
    files = files_of(folder_of(data_dir), WIRE)
    if not (os.access(files.certificate, os.R_OK) and os.access(files.private_key, os.R_OK)):
        return None
    return Papers(certificate=str(files.certificate), private_key=str(files.private_key), uri=WIRE_URI)


def _prepare_wire(data_dir: Path, *, now: datetime) -> None:
    """Make what `calejo wire watch` and `check` show: a certificate that may read, for whoever owns this directory."""
    files = files_of(folder_of(data_dir), WIRE)
    pki = PkiFolder(folder_of(data_dir), lambda: self_made_files(data_dir))
    if files.certificate.exists():
        if view(files.certificate, now=now).days_left > WIRE_DAYS_LEFT_MIN:
            return
        pki.distrust(pki.found(str(files.certificate))[1])
        files.certificate.unlink()
    self_made_opcua(files, uri=WIRE_URI, now=now)
    _, der = pki.found(str(files.certificate))
    pki.add_application(WIRE_NAME, der)
    pki.add_user(WIRE_NAME, UserRole.READ_ONLY, der)


def warnings(settings: Settings) -> Iterator[str]:
    """Yield what of OPC UA's security is switched off."""
    opcua = settings.opcua
    if opcua.allow_none:
        yield "WARNING: OPC UA without security (policy None) is switched on: opcua.allow_none"
    if opcua.anonymous_roles:
        yield f"WARNING: OPC UA lets anonymous clients in as {opcua.anonymous_roles}: opcua.anonymous_roles"
