"""`calejo estop` by every way: REST, latch files, coils; and what it says when each is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from actors.vocabulary import Scope, Settings, SiteConfig, Topology
from ops.cli.coils import write_coils
from ops.rundir import RunFile, SitePorts
from storage.topology_file import TopologyFile
from supervisors.memory import MemoryFile, Remembered
from supervisors.roles import memory_path
from tests.unit.api.served import MODBUS, OPCUA, Served, served, until
from tests.unit.ops.cli.runs import (
    announce,
    coil_server,
    latches,
    run,
    run_process,
    save_plant,
    silent_server,
    spoil_latches,
    trust,
)
from tests.unit.protocols.plants import north, station

Capsys = pytest.CaptureFixture[str]
SET = ("estop", "set", "--scope", "pump", "--id", "p1", "--reason", "burst", "--by", "anna")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def api(data: Path, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        folder = announce(data, rest=running.rest)
        trust(data, tmp_path)
        save_plant(data)
        yield running
        folder.release()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for an API that will not answer, where that wait is not what is proved."""
    monkeypatch.setattr("ops.cli.estop._LATE_ANSWER_S", 0.1)


def test_rest_comes_first_and_names_every_endpoint_and_pump(api: Served, data: Path, capsys: Capsys) -> None:
    """EST-1: by REST, with what each endpoint published and each controller echoed."""
    ran = run(capsys, *SET, "--data-dir", data)
    assert ran.code == 0
    assert f"{MODBUS}: published" in ran.out
    assert f"{OPCUA} pump p1: 0.00 Hz published, echoed by its controller, measured stopped" in ran.out
    assert len(api.latches.held.active()) == 1
    assert not (data / "latches").exists()
    answer = run(capsys, *SET, "--format", "json", "--data-dir", data).json()
    assert (answer["durable"], len(answer["endpoints"]), len(answer["pumps"])) == (True, 2, 2)


def test_an_endpoint_that_does_not_confirm_is_named(api: Served, data: Path, capsys: Capsys) -> None:
    """EST-1: NOT confirmed stands there; the file is there after 300 ms although the API waits for the deaf one."""
    api.tree.deaf.add(OPCUA)
    ran = run(capsys, *SET, "--data-dir", data)
    assert ran.code == 0
    assert f"{OPCUA}: NOT confirmed" in ran.out
    assert len(latches(data).load()) == 1
    assert ran.seconds < 2.5


def test_what_rest_does_not_know_is_refused(api: Served, data: Path, capsys: Capsys) -> None:
    """Issue 2 names: 4 refused; nothing is stopped and nothing is stored."""
    ran = run(capsys, "estop", "set", "--scope", "pump", "--id", "p9", "--reason", "x", "--data-dir", data)
    assert "p9" in ran.line(4)
    assert api.latches.held.records == ()
    assert not (data / "latches").exists()


def test_list_and_clear_by_id_and_by_scope(api: Served, data: Path, capsys: Capsys) -> None:
    """EST-2: cleared by named ids, with a reason; with a scope the ids are those that it lists."""
    first = run(capsys, *SET, "--format", "json", "--data-dir", data).json()["stop_id"]
    run(capsys, "estop", "set", "--scope", "site", "--id", "NORTH", "--reason", "storm", "--data-dir", data)
    listed = run(capsys, "estop", "list", "--format", "json", "--data-dir", data).json()
    assert [(row["scope"], row["scope_id"]) for row in listed] == [("PUMP", "p1"), ("SITE", "north")]
    assert first in run(capsys, "estop", "list", "--data-dir", data).out
    cleared = run(
        capsys, "estop", "clear", "--stop", first, "--reason", "fixed", "--by", "bert", "--data-dir", data
    )
    assert (cleared.code, f"cleared {first}" in cleared.out) == (0, True)
    by_scope = ("estop", "clear", "--scope", "site", "--id", "north", "--reason", "calm", "--data-dir", data)
    assert run(capsys, *by_scope).code == 0
    assert "no stop" in run(capsys, *by_scope).line(4)
    assert run(capsys, "estop", "list", "--format", "json", "--data-dir", data).json() == []
    rows = run(capsys, "estop", "list", "--all", "--format", "json", "--data-dir", data).json()
    assert {row["cleared_by"] for row in rows} >= {"local:bert"}
    unknown = ("estop", "clear", "--stop", "nope", "--reason", "x", "--data-dir", data)
    assert "nope" in run(capsys, *unknown).line(4)


def test_a_clear_that_cannot_be_durable_fails(api: Served, data: Path, capsys: Capsys) -> None:
    """EST-2: refused by the running system, told in one line; 1 failed."""
    stop_id = run(capsys, *SET, "--format", "json", "--data-dir", data).json()["stop_id"]
    api.latches.refuses = True
    assert "durable" in run(
        capsys, "estop", "clear", "--stop", stop_id, "--reason", "x", "--data-dir", data
    ).line(1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("estop", "set", "--scope", "pump", "--reason", "x"),
        ("estop", "set", "--scope", "system", "--id", "p1", "--reason", "x"),
        ("estop", "set", "--scope", "pump", "--id", "no id", "--reason", "x"),
        ("estop", "set", "--scope", "pump", "--id", "p1", "--reason", " "),
        ("estop", "set", "--scope", "pump", "--id", "p1", "--reason", "x", "--by", "a\nb"),
        ("estop", "set", "--scope", "planet", "--reason", "x"),
        ("estop", "set", "--scope", "system"),
        ("estop", "clear", "--reason", "x"),
        ("estop", "clear", "--stop", "a", "--scope", "system", "--reason", "x"),
        ("estop", "clear", "--stop", "a", "--id", "p1", "--reason", "x"),
        ("estop",),
        (),
    ],
)
def test_what_is_not_understood_is_usage(data: Path, capsys: Capsys, arguments: tuple[str, ...]) -> None:
    """Issue 2 names: 2 usage; nothing was stored."""
    tail = ("--data-dir", data) if len(arguments) > 1 else ()
    assert run(capsys, *arguments, *tail).code == 2
    assert not (data / "latches").exists()


# --------------------------------------------------------------------------- without the API


def test_a_silent_api_costs_300_ms_then_the_file_stops(data: Path, capsys: Capsys) -> None:
    """EST-1, issue 2 names: REST first, after 300 ms the latch files."""
    save_plant(data)
    with silent_server() as port:
        folder = announce(data, rest=port)
        ran = run(capsys, *SET, "--format", "json", "--data-dir", data)
        folder.release()
    assert ran.code == 0
    answer = ran.json()
    assert (answer["durable"], answer["coils"]) == (True, [])
    (stop,) = latches(data).load()
    assert (stop.record_id, stop.scope, stop.scope_id, stop.set_by) == (
        answer["stop_id"],
        Scope.PUMP,
        "p1",
        "local:anna",
    )
    assert stop.set_stamp > 0
    assert ran.seconds < 3.0


_HTTP_SERVER = """
import http.server
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_with_the_api_stopped_the_stop_is_in_the_folder_within_a_second(data: Path) -> None:
    """EST-1: a process under SIGSTOP answers nobody; the file that gates watch is there soon after 300 ms."""
    server = subprocess.Popen(
        [sys.executable, "-c", _HTTP_SERVER],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    port = int(server.stdout.readline())
    os.kill(server.pid, signal.SIGSTOP)
    try:
        folder = announce(data, rest=port)
        began = time.monotonic()
        command = subprocess.Popen(
            [sys.executable, "-m", "ops.cli.main", *SET, "--data-dir", str(data)],
            stdout=subprocess.PIPE,
            text=True,
        )
        until(lambda: (data / "latches").is_dir() and len(latches(data).load()) == 1, within_s=10)
        stored_after_s = time.monotonic() - began
        output, _ = command.communicate(timeout=20)
        folder.release()
        assert command.returncode == 0
        assert "durable" in output
        assert stored_after_s > 0.3, "REST is asked first"
        assert stored_after_s < 5.0, "a loaded machine may take its time, a hung API may not"
        print(f"stored {stored_after_s * 1000:.0f} ms after the process was started")
    finally:
        os.kill(server.pid, signal.SIGKILL)
        server.wait(10)
        server.stdout.close()


def test_a_dead_api_of_a_living_run_is_no_obstacle(data: Path, capsys: Capsys) -> None:
    """EST-1: nobody listens: the file at once."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    folder = announce(data, rest=port)
    ran = run(capsys, *SET, "--data-dir", data)
    folder.release()
    assert (ran.code, len(latches(data).load())) == (0, 1)
    assert ran.seconds < 1.5


def test_an_api_that_fails_is_no_obstacle(api: Served, data: Path, capsys: Capsys) -> None:
    """EST-1: 503 from REST (neither its disk nor its gates) leads to the files."""
    api.latches.refuses = True
    api.tree.dead |= {MODBUS, OPCUA}
    ran = run(capsys, *SET, "--format", "json", "--data-dir", data)
    assert (ran.code, ran.json()["durable"]) == (0, True)
    assert "no endpoint" in ran.json()["rest"]
    assert len(latches(data).load()) == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("scope", "coils"),
    [
        (("--scope", "pump", "--id", "p2"), [(1, 101)]),
        (("--scope", "station", "--id", "s2"), [(2, 0)]),
        (("--scope", "site", "--id", "north"), [(1, 1)]),
        (("--scope", "system"), [(1, 1)]),
    ],
)
def test_without_api_and_disk_the_coils_are_written(
    data: Path, capsys: Capsys, scope: tuple[str, ...], coils: list[tuple[int, int]]
) -> None:
    """EST-1, issue 2 names: the Modbus coils if the latch files fail."""
    save_plant(data)
    spoil_latches(data)
    with silent_server() as rest, coil_server() as (modbus, requests):
        folder = announce(data, rest=rest, modbus=modbus)
        ran = run(capsys, "estop", "set", *scope, "--reason", "x", "--format", "json", "--data-dir", data)
        folder.release()
    assert ran.code == 0
    answer = ran.json()
    assert answer["durable"] is False
    assert [coil["result"] for coil in answer["coils"]] == ["set"] * len(coils)
    written = [struct.unpack(">HHHBBHH", request) for request in requests]
    assert [(unit, address) for *_, unit, _, address, _ in written] == coils
    assert all((code, value) == (5, 0xFF00) for *_, code, _, value in written)


def two_sites(data: Path, *, holder: str | None) -> None:
    """North and south look alike on the wire: each has a unit 1 with a pump in slot 0."""
    south = SiteConfig(
        site_id="south",
        name="South",
        timezone="UTC",
        stations=(msgspec.structs.replace(station("sx", 1, {"px": 0}), site_id="south"),),
    )
    TopologyFile(data / "topology.json").save(Topology(revision="r1", sites=(north(), south)))
    if holder is not None:
        MemoryFile(memory_path(Settings(data_dir=str(data)))).save(Remembered(port_holder=holder))
    spoil_latches(data)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("holder", "pump", "served"),
    [
        ("north", "p1", True),
        ("north", "px", False),
        ("south", "px", True),
        ("south", "p1", False),
        ("gone", "p1", False),
        (None, "p1", False),
        (None, "px", False),
    ],
)
def test_a_coil_is_written_only_to_the_site_that_has_the_ports(
    data: Path, capsys: Capsys, holder: str | None, pump: str, served: bool
) -> None:
    """EST-1: unit 1 coil 100 is another pump at another site: no wrong pump is stopped and called stopped."""
    two_sites(data, holder=holder)
    with silent_server() as rest, coil_server() as (modbus, requests):
        folder = announce(data, rest=rest, modbus=modbus)
        ran = run(
            capsys, "estop", "set", "--scope", "pump", "--id", pump, "--reason", "x", "--data-dir", data
        )
        folder.release()
    assert len(requests) == served
    if served:
        assert ran.code == 0
    else:
        assert "NOT STOPPED" in ran.line(1)
        assert "not served by any endpoint" in ran.line(1)


@pytest.mark.usefixtures("impatient")
def test_a_system_stop_that_reaches_one_site_only_fails(data: Path, capsys: Capsys) -> None:
    """EST-1: what no endpoint serves was not stopped, and exit 0 would say that it was."""
    two_sites(data, holder="south")
    with silent_server() as rest, coil_server() as (modbus, requests):
        folder = announce(data, rest=rest, modbus=modbus)
        ran = run(capsys, "estop", "set", "--scope", "system", "--reason", "x", "--data-dir", data)
        folder.release()
    assert "STOPPED ONLY IN PART" in ran.line(1)
    assert "/north/emergency_stop: not served by any endpoint" in ran.err
    assert len(requests) == 1


def test_a_site_with_its_own_ports_is_written_there(data: Path) -> None:
    """EST-1: its own ports are nobody else's, whoever holds the common ones."""
    two_sites(data, holder="north")
    topology = msgspec.json.decode((data / "topology.json").read_bytes(), type=Topology)
    with coil_server() as (own, at_own), coil_server() as (common, at_common):
        run_file = RunFile(
            pid=1, started_at="", process_start_ticks=0, rest="", health="", opcua="opc.tcp://127.0.0.1:4840",
            modbus=f"127.0.0.1:{common}", ray_address="", namespace="",
            site_ports={"south": SitePorts(host="127.0.0.1", opcua=4841, modbus=own)},
        )  # fmt: skip
        for holder in ("north", None):
            lines = write_coils(topology, run_file, Scope.SYSTEM, "", holder=holder)
            assert [line["result"] for line in lines] == ["set", "set"]
    assert (len(at_own), len(at_common)) == (2, 2)


@pytest.mark.usefixtures("impatient")
def test_a_coil_that_refuses_is_said_and_fails(data: Path, capsys: Capsys) -> None:
    """EST-1: nothing worked: NOT STOPPED, exit 1."""
    save_plant(data)
    spoil_latches(data)
    with silent_server() as rest, coil_server(exception=True) as (modbus, _):
        folder = announce(data, rest=rest, modbus=modbus)
        ran = run(capsys, *SET, "--data-dir", data)
        folder.release()
    line = ran.line(1)
    assert "NOT STOPPED" in line
    assert "refused" in line


@pytest.mark.usefixtures("impatient")
def test_no_way_at_all_fails_loudly(data: Path, capsys: Capsys) -> None:
    """EST-1: neither API, nor disk, nor a map of the coils."""
    spoil_latches(data)
    with silent_server() as rest:
        folder = announce(data, rest=rest)
        ran = run(capsys, *SET, "--data-dir", data)
        folder.release()
    line = ran.line(1)
    assert "NOT STOPPED" in line
    assert "topology.json" in line


def test_a_mistyped_pump_is_refused_without_the_api(data: Path, capsys: Capsys) -> None:
    """Issue 2 names: whoever mistypes must not believe that something stopped; the known ones are named."""
    save_plant(data)
    ran = run(capsys, "estop", "set", "--scope", "pump", "--id", "p9", "--reason", "x", "--data-dir", data)
    assert "p1, p2, p3" in ran.line(4)
    assert not (data / "latches").exists()


def test_when_nothing_runs_the_stop_is_stored_for_the_next_start(data: Path, capsys: Capsys) -> None:
    """EST-2: exit 3, and the next start finds it; the list works too."""
    ran = run(capsys, *SET, "--data-dir", data)
    assert "stored" in ran.line(3)
    assert len(latches(data).load()) == 1
    listed = run(capsys, "estop", "list", "--format", "json", "--data-dir", data)
    assert (listed.code, [row["reason"] for row in listed.json()]) == (0, ["burst"])
    assert "not running" in run(
        capsys, "estop", "clear", "--scope", "system", "--reason", "x", "--data-dir", data
    ).line(3)


def test_where_there_is_no_calejo_nothing_is_pretended(tmp_path: Path, capsys: Capsys) -> None:
    """Issue 2 names: a wrong data directory is said, and none is made."""
    nowhere = tmp_path / "nowhere"
    assert "nothing was stopped" in run(capsys, *SET, "--data-dir", nowhere).line(3)
    assert "not running" in run(capsys, "estop", "list", "--data-dir", nowhere).line(3)
    assert not nowhere.exists()


def test_a_killed_run_counts_as_not_running(data: Path, capsys: Capsys) -> None:
    """Issue 2 names: a run.json left by kill -9 points to nobody."""
    announce(data, rest=1).release()
    (data / "run.json").write_text(
        json.dumps({"pid": 2**22 - 1, "started_at": "", "process_start_ticks": 1, "rest": "http://127.0.0.1:1",
                    "health": "", "opcua": "", "modbus": "", "ray_address": "", "namespace": ""})
    )  # fmt: skip
    assert run(capsys, *SET, "--data-dir", data).code == 3


# --------------------------------------------------------------------------- how it starts

_LOADED = """
import sys
from ops.cli.main import main
code = main(sys.argv[1:])
heavy = {"ray", "sqlalchemy", "litestar", "uvicorn", "asyncua", "pymodbus", "alembic", "asyncio"} & set(sys.modules)
print("loaded:", sorted(heavy), "code:", code)
"""


@pytest.mark.parametrize("way", ["not running", "files", "coils", "config"])
def test_estop_never_imports_what_is_heavy(data: Path, way: str, tmp_path: Path) -> None:
    """Issue 2 names: `estop` starts in a moment: never ray, nor SQLAlchemy, nor Litestar, on none of its ways."""
    save_plant(data)
    arguments = [*SET, "--data-dir", str(data)]
    if way == "config":
        config = tmp_path / "c.yaml"
        config.write_text(f"data_dir: {data}\ndatabase: {{url: nonsense}}\n")
        arguments = [*SET, "--config", str(config)]
    if way == "coils":
        spoil_latches(data)
    with silent_server() as rest, coil_server() as (modbus, _):
        folder = None if way == "not running" else announce(data, rest=rest, modbus=modbus)
        ran = run_process(*arguments, code=_LOADED)
        if folder is not None:
            folder.release()
    code = 3 if way == "not running" else 0
    assert f"loaded: [] code: {code}" in ran.stdout, ran.stdout + ran.stderr
