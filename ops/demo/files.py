"""The demo's folder: what the plant keeps, shows and is told; every file is replaced whole."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from actors.vocabulary import DeviceError, RefusedError
from ops.demo.plant import Sensor, SensorFault, StationTruth
from ops.demo.plc import PumpPanel, Retained

STATE: Final = "state.json"
RETAINED: Final = "retained.json"
CONTROL: Final = "control.json"
TARGET: Final = "target.json"
TRUTH: Final = "truth.jsonl"
TRUTH_BEFORE: Final = "truth.1.jsonl"

_LOCK_ATTEMPTS: Final = 10
_LOCK_RETRY_S: Final = 0.02

_T = TypeVar("_T")


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where Calejo's Modbus endpoint listens."""

    host: str
    port: int


class Control(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person does to the plant: sensor faults by station, hand operation (Hz) by pump; resets and
    reboots count.

    A reset of a pump's panel or a reboot of a station's controller happens when its number changes.
    """

    sensors: dict[str, SensorFault] = msgspec.field(default_factory=dict)
    hand_hz: dict[str, float] = msgspec.field(default_factory=dict)
    resets: dict[str, int] = msgspec.field(default_factory=dict)
    reboots: dict[str, int] = msgspec.field(default_factory=dict)

    def panels(self) -> dict[str, PumpPanel]:
        """The switches as the controllers see them."""
        return {pump_id: PumpPanel(hand_hz=hz) for pump_id, hz in self.hand_hz.items()}


class SavedStation(msgspec.Struct, frozen=True, kw_only=True):
    """A station between two lives of the plant's process."""

    truth: StationTruth
    sensor: Sensor


class SavedPlant(msgspec.Struct, frozen=True, kw_only=True):
    """The plant between two lives of its process; times in s since 1970."""

    origin_s: float
    stations: dict[str, SavedStation]


class RetainedMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What the controllers retain without power, by pump."""

    pumps: dict[str, Retained]


def read(path: Path, kind: type[_T]) -> _T | None:
    """Return what a file holds; None: there is none.

    Raises:
        DeviceError: it cannot be read, or does not hold a `kind`.

    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DeviceError(f"{path}: {error}") from error


def replace(path: Path, content: object, *, durable: bool) -> None:
    """Write a file whole or not at all; `durable`: it survives a power failure, too.

    Raises:
        DeviceError: the disk refused.

    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(content) + b"\n")
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise DeviceError(f"{path}: not written ({error.strerror})") from error


class TruthLog:
    """The ground truth as JSON lines, at most two files of half the bound each."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        """Append to what is there."""
        self._path, self._before, self._half = folder / TRUTH, folder / TRUTH_BEFORE, bytes_max // 2

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Append lines.

        Raises:
            DeviceError: the disk refused.

        """
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        try:
            if self._path.exists() and self._path.stat().st_size + len(data) > self._half:
                self._path.replace(self._before)
            with self._path.open("ab") as file:
                file.write(data)
        except OSError as error:
            raise DeviceError(f"{self._path}: not written ({error.strerror})") from error


class Lock:
    """One process of a kind per folder; the file names it."""

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            RefusedError: another process has it.

        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        # `holder` looks by taking the lock for an instant; that is nobody.
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if attempt + 1 == _LOCK_ATTEMPTS:
                    os.close(self._descriptor)
                    raise RefusedError(f"{path}: another process has it") from error
                time.sleep(_LOCK_RETRY_S)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go."""
        os.close(self._descriptor)


def holder(path: Path) -> int | None:
    """Return the process that holds the lock, None when nobody does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(descriptor, 32, 0).decode()
        return int(text) if text.strip().isdigit() else None
    else:
        return None
    finally:
        os.close(descriptor)
