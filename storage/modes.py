"""Owns the durable operator modes, one small file per pump (CTL-7)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from actors.vocabulary import Mode
from actors.vocabulary.durable import StoredMode
from actors.vocabulary.ids import checked_id
from storage.files import refused, write_whole

UNREADABLE = "unreadable-mode-file"
"""`by` of the mode that stands for a file that cannot be read."""


class ModeFolder:
    """One `<data-dir>/modes/`; each pump's file has one writer, its pump actor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, pump_id: str) -> StoredMode | None:
        """Return what was stored last; None: nothing was (AUTO).

        A damaged file may have held a pump at 0, and losing it must not start the pump: it answers held-stopped,
        until an operator sets a mode.

        Raises:
            DeviceError: the disk refused.
            InvalidValueError: `pump_id` is no id.

        """
        path = self._path(pump_id)
        try:
            content = path.read_bytes()
            written_s = path.stat().st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused(path, error) from error
        try:
            mode = msgspec.json.decode(content, type=StoredMode)
        except (msgspec.DecodeError, UnicodeDecodeError):
            mode = None
        if mode is None or mode.pump_id != pump_id:
            return StoredMode(
                pump_id=pump_id,
                mode=Mode.MANUAL,
                by=UNREADABLE,
                setpoint_hz=0.0,
                set_at=datetime.fromtimestamp(written_s, UTC),
                expires_at=None,
                held_stopped=True,
            )
        return mode

    def store(self, mode: StoredMode) -> None:
        """Make it durable before it matters.

        Raises:
            DeviceError: the disk refused; the former mode stays.
            InvalidValueError: the pump's id is none.

        """
        write_whole(self._path(mode.pump_id), msgspec.json.encode(mode) + b"\n")

    def _path(self, pump_id: str) -> Path:
        return self._folder / f"{checked_id(pump_id, place='pump_id')}.json"
