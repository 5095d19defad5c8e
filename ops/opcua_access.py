"""What a start does for OPC UA's security: makes the certificate, says what is switched off, opens the demo (OPC-4)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from actors.vocabulary import Settings
from actors.vocabulary.settings import OpcUaSettings, is_loopback
from ops.certificates import self_made_opcua
from storage.certificates import view
from storage.opcua_pki import folder_of, make_folders, opcua_files, self_made_files

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
    files = opcua_files(settings)
    if files == self_made_files(data_dir) and self_made_opcua(files, now=now):
        made = view(files.certificate, now=now)
        yield f"OPC UA certificate made, signed by itself: {made.file} (SHA-256 {made.sha256})"
    yield from warnings(settings)


def warnings(settings: Settings) -> Iterator[str]:
    """Yield what of OPC UA's security is switched off."""
    opcua = settings.opcua
    if opcua.allow_none:
        yield "WARNING: OPC UA without security (policy None) is switched on: opcua.allow_none"
    if opcua.anonymous_roles:
        yield f"WARNING: OPC UA lets anonymous clients in as {opcua.anonymous_roles}: opcua.anonymous_roles"
