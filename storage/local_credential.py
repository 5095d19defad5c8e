"""The credential of a run for commands on its own machine; light, because `calejo estop` must start in a moment."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from storage.files import write_whole

FOLDER: Final = "access"
FILE: Final = "local-credential"
_BYTES: Final = 32
_READ_MAX: Final = 200


class LocalCredential:
    """What lets commands on this machine act without a login: who may read the data directory is trusted with it."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FOLDER / FILE

    def renew(self) -> None:
        """Write a new one, for its owner only.

        Raises:
            DeviceError: the disk refused.

        """
        write_whole(self.path, secrets.token_hex(_BYTES).encode())

    def read(self) -> str:
        """Return it, '' if there is none that this user may read."""
        try:
            with self.path.open("rb") as file:
                return file.read(_READ_MAX).decode("ascii", "replace").strip()
        except OSError:
            return ""
