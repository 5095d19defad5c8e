"""Owns what must survive of each station's motors: starts, run and rest, level latches, moved duties (SAF-7)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from actors.vocabulary import DeviceError, Instant
from actors.vocabulary.durable import Epoch, PumpSeen, StationMemory
from actors.vocabulary.ids import checked_id
from storage.files import FILE_MODE, ensure_folder, read_struct, refused, write_whole


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    epoch: Epoch
    pumps: dict[str, PumpSeen]


class _SeenBefore(msgspec.Struct, frozen=True, kw_only=True):
    """The same of earlier versions, which noted only until when each pump was known."""

    epoch: Epoch
    pumps: dict[str, Instant]


class TimerFolder:
    """One `<data-dir>/timers/`; each station's two files have one writer, its safety actor.

    `<station>.json` is durable. `<station>.seen` beside it says until when that was still known to hold, and what else
    was seen last; it is written each second, in place and not synced: a lost or torn one makes timers unknown, which is
    the cautious reading.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, station_id: str) -> tuple[StationMemory | None, Mapping[str, PumpSeen]]:
        """Return what was stored last (None: nothing was, or it is damaged), and what was noted of each pump since.

        Raises:
            DeviceError: the disk refused.
            InvalidValueError: `station_id` is no id.

        """
        memory = read_struct(self._path(station_id, "json"), StationMemory)
        if memory is None or memory.station_id != station_id:
            return None, {}
        return memory, self._seen(station_id, memory.epoch)

    def store(self, memory: StationMemory) -> None:
        """Make it durable before a start is published.

        Raises:
            DeviceError: the disk refused, or somebody of a newer epoch wrote since the machine started; what was
                stored before stays.
            InvalidValueError: the station's id is none.

        """
        path = self._path(memory.station_id, "json")
        known = read_struct(path, StationMemory)
        if known is not None and known.boot_id == memory.boot_id and known.epoch > memory.epoch:
            raise DeviceError(f"{path}: epoch {known.epoch.counter} wrote after {memory.epoch.counter}")
        write_whole(path, msgspec.json.encode(memory) + b"\n")

    def seen(self, station_id: str, epoch: Epoch, pumps: Mapping[str, PumpSeen]) -> None:
        """Note, not durably, what `epoch` saw last beside what it stored.

        Raises:
            DeviceError: the disk refused.
            InvalidValueError: `station_id` is no id.

        """
        path = self._path(station_id, "seen")
        content = msgspec.json.encode(_Seen(epoch=epoch, pumps=dict(pumps))) + b"\n"
        ensure_folder(self._folder)
        try:
            # In place: a rename or a truncation to nothing would make the file system write it out each second.
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                os.pwrite(handle, content, 0)
                os.ftruncate(handle, len(content))
            finally:
                os.close(handle)
        except OSError as error:
            raise refused(path, error) from error

    def _seen(self, station_id: str, epoch: Epoch) -> Mapping[str, PumpSeen]:
        """Return what `epoch` noted: what another saw says nothing about what this one stored."""
        path = self._path(station_id, "seen")
        seen = read_struct(path, _Seen)
        if seen is None:
            before = read_struct(path, _SeenBefore)
            if before is None:
                return {}
            pumps = {pump_id: PumpSeen(known_at=known_at) for pump_id, known_at in before.pumps.items()}
            seen = _Seen(epoch=before.epoch, pumps=pumps)
        return seen.pumps if seen.epoch == epoch else {}

    def _path(self, station_id: str, ending: str) -> Path:
        return self._folder / f"{checked_id(station_id, place='station_id')}.{ending}"
