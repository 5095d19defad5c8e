"""A small file is whole or absent, and a refusal leaves what was there, wherever the disk gives up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from actors.vocabulary import DeviceError, Instant, Mode, Scope
from actors.vocabulary.durable import Epoch, MotorTimers, PumpMemory, StationMemory, StoredMode
from actors.vocabulary.records import StopEventRecord
from storage import files, latches
from storage.files import write_whole
from storage.latches import LatchFolder
from storage.modes import ModeFolder
from storage.timers import TimerFolder

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = 1_790_000_000
STOP = StopEventRecord(
    record_id="s", scope=Scope.PUMP, scope_id="p1", reason="test", set_by="anna", set_at=NOON, set_stamp=1
)
CLEAR = msgspec.structs.replace(
    STOP, cleared_by="bert", cleared_at=NOON + timedelta(seconds=9), clear_reason="mended", release=5
)


class Disk:
    """Syncs folders but for the `refused`-th time from now on (0: each time)."""

    def __init__(self) -> None:
        self.refused: int | None = None
        self.synced = 0

    def sync_folder(self, folder: Path) -> None:
        self.synced += 1
        if self.refused is not None and self.refused in {0, self.synced}:
            raise OSError(5, "Input/output error")

    def refuse(self, time: int) -> None:
        self.synced, self.refused = 0, time

    def mend(self) -> None:
        self.refused = None


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    found = Disk()
    monkeypatch.setattr(files, "sync_folder", found.sync_folder)
    monkeypatch.setattr(latches, "sync_folder", found.sync_folder)
    yield found
    found.mend()


def folder(path: Path) -> LatchFolder:
    return LatchFolder(path / "latches", utc_second=lambda: SECOND)


def names(path: Path) -> set[str]:
    return {each.name for each in path.iterdir()}


@pytest.mark.parametrize("time", [0, 1, 2, 3, 4])
def test_a_clear_that_was_refused_is_in_force_nowhere(tmp_path: Path, disk: Disk, time: int) -> None:
    """EST-2: a clear that cannot be made durable is refused, whichever sync of the folder is the one that fails."""
    folder(tmp_path).merge([STOP])
    before = set((tmp_path / "latches").glob("*.json"))
    disk.refuse(time)
    try:
        folder(tmp_path).merge([CLEAR])
    except DeviceError:
        assert folder(tmp_path).load() == (STOP,)
        assert set((tmp_path / "latches").glob("*.json")) == before
    else:
        assert disk.synced < time, "it was not asked so often"
        assert folder(tmp_path).load() == (CLEAR,)
    disk.mend()
    folder(tmp_path).merge([CLEAR])
    assert folder(tmp_path).load() == (CLEAR,)


@pytest.mark.parametrize("time", [1, 2, 3])
def test_of_two_clears_none_is_in_force_when_one_is_refused(tmp_path: Path, disk: Disk, time: int) -> None:
    """EST-2: one answer for all that a person names."""
    stops = (STOP, msgspec.structs.replace(STOP, record_id="t"))
    clears = (CLEAR, msgspec.structs.replace(CLEAR, record_id="t"))
    folder(tmp_path).merge(stops)
    disk.refuse(time)
    with pytest.raises(DeviceError):
        folder(tmp_path).merge(clears)
    assert folder(tmp_path).load() == stops


def test_a_clear_has_no_name_before_the_disk_was_asked(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EST-2: gates read the folder every 200 ms and forget no clear: while a sync that fails takes its time, none."""
    folder(tmp_path).merge([STOP])
    shown: list[tuple[StopEventRecord, ...]] = []

    def slow_sync(where: Path) -> None:
        shown.append(folder(tmp_path).load())
        disk.sync_folder(where)

    monkeypatch.setattr(files, "sync_folder", slow_sync)
    monkeypatch.setattr(latches, "sync_folder", slow_sync)
    disk.refuse(0)
    with pytest.raises(DeviceError):
        folder(tmp_path).merge([CLEAR])
    assert shown == [(STOP,)]


def test_a_clear_that_nobody_waits_for_any_more_never_comes_into_force(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EST-2: asked when all that may take a disk its time is behind it; a stop is not asked about."""
    fresh = msgspec.structs.replace(STOP, record_id="u")
    stops = (STOP, msgspec.structs.replace(STOP, record_id="t"))
    clears = (CLEAR, msgspec.structs.replace(CLEAR, record_id="t"))
    folder(tmp_path).merge(stops)
    slow: list[str] = []
    really = files._write_synced

    def written(path: Path, content: bytes) -> None:
        slow.append("file")
        really(path, content)

    monkeypatch.setattr(files, "_write_synced", written)
    monkeypatch.setattr(latches, "sync_folder", lambda where: slow.append("folder"))

    def unwanted() -> bool:
        slow.append("asked")
        return False

    with pytest.raises(DeviceError, match="nobody waits"):
        folder(tmp_path).merge((fresh, *clears), wanted=unwanted)
    assert slow[-4:] == ["folder", "file", "file", "asked"]
    assert slow.count("asked") == 1
    assert folder(tmp_path).load() == (stops[0], stops[1], fresh)
    assert not [name for name in names(tmp_path / "latches") if name.startswith(".tmp")]
    folder(tmp_path).merge(clears, wanted=lambda: True)
    assert folder(tmp_path).load() == (*clears, fresh)


def test_a_stop_that_was_not_durable_is_shown_all_the_same(tmp_path: Path, disk: Disk) -> None:
    """EST-2: where the disk refuses, the stop is kept as far as it goes; the caller alarms that it may not last."""
    folder(tmp_path).merge([])
    disk.refuse(0)
    with pytest.raises(DeviceError, match="Input/output error"):
        folder(tmp_path).merge([STOP])
    assert folder(tmp_path).load() == (STOP,)


def test_a_stop_counts_as_durable_only_after_its_folder_was_synced(tmp_path: Path, disk: Disk) -> None:
    """EST-2: neither for who asks again after a refusal, nor for another process that finds the file there."""
    mine, other = folder(tmp_path), folder(tmp_path)
    mine.merge([])
    disk.refuse(0)
    for who in (mine, mine, other):
        with pytest.raises(DeviceError):
            who.merge([STOP])
    disk.mend()
    for who in (mine, other):
        who.merge([STOP])
    disk.refuse(0)
    for who in (mine, other):
        who.merge([STOP])
    assert disk.synced == 0, "what this process has seen become durable need not be asked for again"


MODE = StoredMode(pump_id="p1", mode=Mode.MANUAL, by="anna", setpoint_hz=0.0, set_at=NOON, expires_at=NOON)


def test_a_mode_that_was_refused_is_not_in_the_file(tmp_path: Path, disk: Disk) -> None:
    """CTL-7: "nothing has changed" holds after the next restart of the pump's actor, too."""
    modes = ModeFolder(tmp_path / "modes")
    (tmp_path / "modes").mkdir()
    disk.refuse(1)
    with pytest.raises(DeviceError):
        modes.store(msgspec.structs.replace(MODE, setpoint_hz=40.0))
    assert modes.load("p1") is None
    assert names(tmp_path / "modes") == set()
    modes.store(MODE)
    disk.refuse(1)
    with pytest.raises(DeviceError):
        modes.store(msgspec.structs.replace(MODE, setpoint_hz=40.0))
    assert modes.load("p1") == MODE
    assert names(tmp_path / "modes") == {"p1.json"}


def test_a_start_that_was_not_stored_is_not_in_the_file(tmp_path: Path, disk: Disk) -> None:
    """SAF-7: `store` that raises has stored nothing: a start that is decided again without a disk is not counted."""
    at = Instant("boot", 5_000_000_000, SECOND * 10**9)
    memory = StationMemory(
        station_id="s1",
        epoch=Epoch(0, 7),
        boot_id="boot",
        pumps={"p1": PumpMemory(timers=MotorTimers(turning=True, since=at, known_at=at, starts=(at,)))},
    )
    store = TimerFolder(tmp_path / "timers")
    store.store(memory)
    disk.refuse(1)
    with pytest.raises(DeviceError):
        store.store(msgspec.structs.replace(memory, turn="p1"))
    assert store.load("s1")[0] == memory


def test_a_new_file_that_was_refused_is_gone(tmp_path: Path, disk: Disk) -> None:
    """SAF-7: also where it may not replace another."""
    disk.refuse(1)
    with pytest.raises(DeviceError):
        write_whole(tmp_path / "key", b"secret", replace=False)
    assert names(tmp_path) == set()
    assert write_whole(tmp_path / "key", b"secret", replace=False)
    assert not write_whole(tmp_path / "key", b"other", replace=False)
    assert (names(tmp_path), (tmp_path / "key").read_bytes()) == ({"key"}, b"secret")


@pytest.mark.parametrize("former", [None, b"former"])
def test_what_cannot_be_taken_back_is_said(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, former: bytes | None
) -> None:
    """EST-2, CTL-7: a disk that takes the name and neither the sync nor its end: nobody is told "nothing changed"."""
    path = tmp_path / "p1.json"
    if former is not None:
        write_whole(path, former)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    def sync_folder(_: Path) -> None:
        monkeypatch.setattr(Path, "replace", refuse)
        monkeypatch.setattr(Path, "unlink", refuse)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "sync_folder", sync_folder)
    with pytest.raises(DeviceError, match=r"Input/output error, .*in force here \(Read-only file system\)"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"new"
