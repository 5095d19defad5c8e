"""The data directory of a run: one run at a time, writable, found by others, forgotten at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actors.vocabulary import DeviceError, RefusedError, Settings
from actors.vocabulary.settings import ApiSettings, ModbusSettings, PortSettings, SiteSettings
from ops.rundir import DataDirectory, find_run, start_ticks, urls_of


def announced(path: Path, **settings: object) -> DataDirectory:
    folder = DataDirectory(path)
    folder.acquire()
    chosen = Settings(data_dir=str(path), **settings)  # type: ignore[arg-type]
    folder.announce(chosen, started_at="2026-11-21T00:00:00+00:00", ray_address="r", namespace="calejo")
    return folder


def test_a_run_is_found_with_its_ports_until_it_ends(tmp_path: Path) -> None:
    """Issue 2 names: run.json says pid, ports and start time; the end leaves no lock behind."""
    path = tmp_path / "data"
    south = SiteSettings(ports=PortSettings(opcua=4850, modbus=5050))
    folder = announced(
        path, api=ApiSettings(host="::1", rest=8090), sites={"south": south, "north": SiteSettings()}
    )
    run = find_run(path)
    assert run is not None
    assert (run.pid, run.rest, run.modbus) == (os.getpid(), "http://[::1]:8090", "127.0.0.1:5020")
    assert {key: site.modbus for key, site in run.site_ports.items()} == {"south": 5050}
    folder.release()
    folder.release()
    assert find_run(path) is None
    assert list(path.iterdir()) == []


def test_modbus_of_its_own_address_is_told_where_it_is_reached_and_bound(tmp_path: Path) -> None:
    """MOD-4: bound to every address it is reached by loopback from here; OPC UA stays where it was."""
    south = SiteSettings(ports=PortSettings(opcua=4850, modbus=5050))
    modbus = ModbusSettings(host="0.0.0.0", allow="127.0.0.1=FIELD")
    folder = announced(tmp_path, modbus=modbus, sites={"south": south})
    run = find_run(tmp_path)
    assert run is not None
    assert (run.modbus, run.modbus_listens) == ("127.0.0.1:5020", "0.0.0.0")
    own = run.site_ports["south"]
    assert (own.host, own.modbus_host, own.modbus_listens) == ("127.0.0.1", "127.0.0.1", "0.0.0.0")
    folder.release()


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    """Issue 2: two runs on one folder would fight over the latches; the first one keeps its run.json."""
    folder = announced(tmp_path)
    with pytest.raises(RefusedError, match="in use by another run"):
        DataDirectory(tmp_path).acquire()
    assert find_run(tmp_path) is not None
    folder.release()
    DataDirectory(tmp_path).acquire()


def test_a_killed_run_leaves_nothing_that_counts(tmp_path: Path) -> None:
    """Issue 2: after kill -9 the lock is free and run.json points to nobody, even if its pid is used again."""
    code = (
        "import sys, os; sys.path.insert(0, os.getcwd())\n"
        "from tests.unit.ops.test_rundir import announced\nfrom pathlib import Path\n"
        "announced(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=30, check=False)
    assert (tmp_path / "run.json").exists()
    assert find_run(tmp_path) is None
    mine = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(mine.replace('"pid": ', f'"pid": {os.getpid()}, "was": '))
    assert find_run(tmp_path) is None
    announced(tmp_path).release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff"])
def test_a_damaged_file_is_no_run(tmp_path: Path, content: bytes) -> None:
    """Issue 2 names: what cannot be read is as good as absent."""
    (tmp_path / "run.json").write_bytes(content)
    assert find_run(tmp_path) is None


def test_an_unwritable_place_is_one_clear_line(tmp_path: Path) -> None:
    """Issue 2: an unwritable data directory."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DeviceError, match=r"data directory .*file.*: not writable") as raised:
            DataDirectory(path).acquire()
        assert "\n" not in str(raised.value)
    (tmp_path / "lock").mkdir()
    with pytest.raises(DeviceError, match="not writable"):
        DataDirectory(tmp_path).acquire()


def test_a_lock_whose_file_is_gone_guards_nothing(tmp_path: Path) -> None:
    """Issue 2: many starts and ends at once: never two runs at a time on one folder."""
    inside, worst = 0, 0
    count = threading.Lock()

    def run_once() -> None:
        nonlocal inside, worst
        for _ in range(100):
            folder = DataDirectory(tmp_path)
            try:
                folder.acquire()
            except RefusedError:
                continue
            with count:
                inside += 1
                worst = max(worst, inside)
            with count:
                inside -= 1
            folder.release()

    threads = [threading.Thread(target=run_once) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert worst == 1


def test_start_ticks() -> None:
    """Issue 2 names: a process is known by pid and start, so that a number used again is another one."""
    assert start_ticks(os.getpid()) == start_ticks(os.getpid())
    assert start_ticks(2**22 - 1) is None
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    while start_ticks(child.pid) is not None:
        os.sched_yield()
    assert child.poll() is None or child.returncode == 0
    child.wait(10)


def test_where_a_run_listens_can_be_called_with_ipv6_too() -> None:
    """API-1: an IPv6 host stands in brackets before its port, everywhere."""
    urls = urls_of(
        Settings(data_dir="/d", api=ApiSettings(host="::1"), ports=PortSettings(host="::1", modbus=5050))
    )
    assert (urls.rest, urls.health) == ("http://[::1]:8080", "http://[::1]:8081")
    assert (urls.opcua, urls.modbus) == ("opc.tcp://[::1]:4840", "[::1]:5050")


def test_a_directory_keeps_its_identity_and_no_two_have_the_same(tmp_path: Path) -> None:
    """HA-1: a tree on a cluster is found again by the directory it belongs to, also after the run was killed."""
    one, other = DataDirectory(tmp_path / "one"), DataDirectory(tmp_path / "other")
    for folder in (one, other):
        folder.acquire()
    first = one.identity()
    assert len(first) == 32
    assert other.identity() != first
    one.release()
    again = DataDirectory(tmp_path / "one")
    again.acquire()
    assert again.identity() == first
    (tmp_path / "one" / "identity").write_text("calejo")
    with pytest.raises(DeviceError, match=r"one/identity: 'calejo', expected 32 hexadecimal digits"):
        again.identity()
    again.release()
    other.release()
