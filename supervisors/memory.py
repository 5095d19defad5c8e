"""What the root remembers across its own death: the last topology, who has the common ports, how often it began."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from actors.vocabulary import DeviceError, SiteConfig
from storage.files import write_whole


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """`sites` None: no topology was ever seen. `starts` counts this run's starts of the root."""

    sites: tuple[SiteConfig, ...] | None = None
    port_holder: str | None = None
    run_id: str = ""
    starts: int = 0


class Memory(Protocol):
    """Where a supervisor keeps what it must know when the database is away."""

    def load(self) -> Remembered:
        """Return what was saved last, or nothing remembered."""
        ...

    def save(self, remembered: Remembered) -> None:
        """Make it durable.

        Raises:
            DeviceError: the disk refused.

        """
        ...


class MemoryFile(Memory):
    """One small file, written whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Remembered:
        """Return what was saved last; a missing or damaged file is an empty memory (discovery fills it again).

        Raises:
            DeviceError: the disk refused.

        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Remembered)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return Remembered()
        except OSError as error:
            raise DeviceError(f"{self._path}: {error.strerror}") from error

    def save(self, remembered: Remembered) -> None:
        """Make it durable."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, msgspec.json.encode(remembered) + b"\n")


class NoMemory(Memory):
    """For supervisors whose parent tells them everything."""

    def load(self) -> Remembered:
        """Return nothing remembered."""
        return Remembered()

    def save(self, remembered: Remembered) -> None:
        """Forget it."""
