"""Owns the last good topology on disk: what discovery starts from while the database is away (DAT-3, DAT-5)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from actors.vocabulary import Topology
from storage.files import read_struct, write_whole


class TopologyFile:
    """One `<data-dir>/topology.json`, written by discovery only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Topology | None:
        """Return what was saved last; None: nothing was, or the file is damaged (the database has the truth).

        Raises:
            DeviceError: the disk refused.

        """
        return read_struct(self._path, Topology)

    def save(self, topology: Topology) -> None:
        """Make it durable.

        Raises:
            DeviceError: the disk refused; the former one stays.

        """
        write_whole(self._path, msgspec.json.encode(topology) + b"\n")
