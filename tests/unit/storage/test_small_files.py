"""Modes, epochs and the last topology: small files that must be whole, or say what is safe."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from actors.vocabulary import DeviceError, Instant, InvalidValueError, Mode, SiteConfig, Topology
from actors.vocabulary.durable import (
    Epoch,
    HeldPoint,
    MotorTimers,
    PumpMemory,
    PumpSeen,
    StationMemory,
    StoredMode,
)
from storage.epochs import EpochFile
from storage.modes import UNREADABLE, ModeFolder
from storage.timers import TimerFolder
from storage.topology_file import TopologyFile

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = 1_790_000_000


def test_a_mode_survives(tmp_path: Path) -> None:
    """CTL-7: an operator's mode is durable per pump; one that was never set is None."""
    modes = ModeFolder(tmp_path / "modes")
    assert modes.load("p1") is None
    mode = StoredMode(
        pump_id="p1", mode=Mode.MANUAL, by="anna", setpoint_hz=0.0, set_at=NOON, expires_at=NOON
    )
    modes.store(mode)
    modes.store(msgspec.structs.replace(mode, held_stopped=True))
    assert ModeFolder(tmp_path / "modes").load("p1") == msgspec.structs.replace(mode, held_stopped=True)
    assert modes.load("p2") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'{"pump_id":"p2"}'])
def test_a_damaged_mode_never_starts_a_pump(tmp_path: Path, damage: bytes) -> None:
    """CTL-7: it may have been a MANUAL 0: held stopped until an operator says otherwise."""
    modes = ModeFolder(tmp_path)
    (tmp_path / "p1.json").write_bytes(damage)
    mode = modes.load("p1")
    assert mode is not None
    assert (mode.mode, mode.setpoint_hz, mode.held_stopped, mode.by) == (Mode.MANUAL, 0.0, True, UNREADABLE)


def test_a_pump_id_is_no_path(tmp_path: Path) -> None:
    """CTL-7: a name from outside cannot leave the folder."""
    with pytest.raises(InvalidValueError):
        ModeFolder(tmp_path / "modes").load("../p1")


def test_epochs_count_up_over_restarts(tmp_path: Path) -> None:
    """SAF-11: a missing file starts at the UTC second; afterwards every incarnation is one higher, per station."""
    path = tmp_path / "epochs" / "north.json"
    assert EpochFile(path, utc_second=lambda: SECOND).last("s1") is None
    assert EpochFile(path, utc_second=lambda: SECOND).issue("s1") == Epoch(0, SECOND)
    again = EpochFile(path, utc_second=lambda: SECOND - 500)
    assert (again.issue("s1"), again.issue("s1")) == (Epoch(0, SECOND + 1), Epoch(0, SECOND + 2))
    assert again.last("s1") == Epoch(0, SECOND + 2)
    assert EpochFile(path, utc_second=lambda: SECOND + 7).issue("s2") == Epoch(0, SECOND + 7)
    assert EpochFile(path, utc_second=lambda: 0, term=3).issue("s1") == Epoch(3, SECOND + 3)
    assert EpochFile(path, utc_second=lambda: 0).issue("s1") == Epoch(3, SECOND + 4)


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'{"term":0,"counters":{"s1":4294967296}}'])
def test_a_damaged_epoch_file_starts_at_the_second(tmp_path: Path, damage: bytes) -> None:
    """SAF-11: like a missing one: never below the current UTC second."""
    path = tmp_path / "north.json"
    path.write_bytes(damage)
    assert EpochFile(path, utc_second=lambda: SECOND + 100).issue("s1") == Epoch(0, SECOND + 100)


def test_an_epoch_fits_the_wire(tmp_path: Path) -> None:
    """SAF-11: 32 bits on the wire; beyond, the clock is wrong, and nothing is issued."""
    with pytest.raises(DeviceError, match="32 bits"):
        EpochFile(tmp_path / "north.json", utc_second=lambda: 2**32).issue("s1")
    assert not (tmp_path / "north.json").exists()


def test_the_last_topology_survives(tmp_path: Path) -> None:
    """DAT-3: a start without the database has the last configuration; a damaged file has none."""
    store = TopologyFile(tmp_path / "topology.json")
    assert store.load() is None
    topology = Topology(revision="r", sites=(SiteConfig(site_id="north", name="N", timezone="UTC"),))
    store.save(topology)
    assert TopologyFile(tmp_path / "topology.json").load() == topology
    (tmp_path / "topology.json").write_bytes(b"{")
    assert store.load() is None


AT = Instant("boot", 5_000_000_000, SECOND * 10**9)
MEMORY = StationMemory(
    station_id="s1",
    epoch=Epoch(0, 7),
    boot_id="boot",
    pumps={
        "p1": PumpMemory(timers=MotorTimers(turning=True, since=AT, known_at=AT, starts=(AT,)), dry_run=False)
    },
    duties={"p1": "p2"},
)


def test_a_motors_timers_survive(tmp_path: Path) -> None:
    """SAF-7: what was stored is there for the next process, with until when it was known to hold."""
    store = TimerFolder(tmp_path / "timers")
    assert store.load("s1") == (None, {})
    store.store(MEMORY)
    assert TimerFolder(tmp_path / "timers").load("s1") == (MEMORY, {})
    for later_s in (1000.0, 2.0):
        marks = {
            "p1": PumpSeen(
                known_at=AT.plus(later_s),
                origin=AT,
                fresh_left=2,
                fresh_since=AT,
                held={"wet_well_level_m": HeldPoint(value=1.5, held_s=later_s)},
                echo_hz=(30.0, 31.0),
            ),
            "p2": PumpSeen(known_at=AT),
        }
        store.seen("s1", Epoch(0, 7), marks)
        assert store.load("s1") == (MEMORY, marks)
    store.seen("s1", Epoch(0, 7), {})
    assert store.load("s1") == (MEMORY, {})
    assert store.load("s2") == (None, {})
    store.seen("s1", Epoch(0, 6), {"p1": PumpSeen(known_at=AT)})
    assert store.load("s1") == (MEMORY, {})
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "timers").iterdir()}
    assert modes == {"s1.json": 0o600, "s1.seen": 0o600}


def test_files_of_the_version_before_are_read(tmp_path: Path) -> None:
    """SAF-7: an upgrade is a restart: starts and rests go on counting, what was not noted then is not known."""
    store = TimerFolder(tmp_path)
    moment = f'{{"boot_id":"boot","boot_ns":5000000000,"utc_ns":{SECOND * 10**9}}}'
    (tmp_path / "s1.json").write_text(
        '{"station_id":"s1","epoch":{"term":0,"counter":7},"boot_id":"boot","pumps":{"p1":{"timers":{"turning":true,'
        f'"since":{moment},"known_at":{moment},"starts":[{moment}],"confirmed":false}},"dry_run":false,"high":false,'
        '"held_since":null,"failsafe_reason":null,"failsafe_since":null,"wear":{"run_s":0.0,"starts":0,"turning":false,'
        '"turned_at":null,"seen_at":null}}},"duties":{"p1":"p2"},"turn":"","tasks":{},"flushed_at":null}\n'
    )
    (tmp_path / "s1.seen").write_text(f'{{"epoch":{{"term":0,"counter":7}},"pumps":{{"p1":{moment}}}}}\n')
    assert store.load("s1") == (MEMORY, {"p1": PumpSeen(known_at=AT)})


def test_who_was_replaced_overwrites_nothing(tmp_path: Path) -> None:
    """SAF-7, SAF-11: a safety that hung, was declared dead and goes on cannot take back its successor's starts."""
    store = TimerFolder(tmp_path)
    newer = msgspec.structs.replace(MEMORY, epoch=Epoch(0, 8))
    store.store(MEMORY)
    store.store(newer)
    with pytest.raises(DeviceError, match="epoch 8 wrote after 7"):
        store.store(MEMORY)
    assert store.load("s1") == (newer, {})
    # After a reboot none of them lives any more; a lost epoch file must not keep a station from its counters.
    rebooted = msgspec.structs.replace(MEMORY, boot_id="next")
    store.store(rebooted)
    assert store.load("s1") == (rebooted, {})


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff", b'{"station_id":"s2"}', b'{"station_id":"s1","pumps":{"p1":{}}}']
)
def test_damaged_timers_are_unknown(tmp_path: Path, damage: bytes) -> None:
    """SAF-7: unknown counts as just started and just stopped; a torn mark only makes the last moments unknown."""
    store = TimerFolder(tmp_path)
    store.store(MEMORY)
    store.seen("s1", Epoch(0, 7), {"p1": PumpSeen(known_at=AT)})
    (tmp_path / "s1.seen").write_bytes(damage)
    assert store.load("s1") == (MEMORY, {})
    (tmp_path / "s1.json").write_bytes(damage)
    assert store.load("s1") == (None, {})


def test_a_disk_that_refuses_timers_says_so(tmp_path: Path) -> None:
    """SAF-7: the actor decides what a refusal costs; what was stored stays."""
    store = TimerFolder(tmp_path / "timers")
    store.store(MEMORY)
    (tmp_path / "file").write_bytes(b"")
    blocked = TimerFolder(tmp_path / "file" / "timers")
    with pytest.raises(DeviceError):
        blocked.store(MEMORY)
    with pytest.raises(DeviceError):
        blocked.seen("s1", Epoch(0, 7), {})
    with pytest.raises(DeviceError):
        blocked.load("s1")
    with pytest.raises(InvalidValueError):
        store.load("../s1")
    assert store.load("s1") == (MEMORY, {})
