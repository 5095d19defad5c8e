"""`calejo run` where it cannot run: one clear line, a code, and nothing half started."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from ops.ports import free_ports
from supervisors.process import descendants
from tests.program import CALEJO, until

_PATIENCE_S = 60.0


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("CALEJO_")}


def refused(*arguments: str, code: int = 1) -> str:
    """Run a command that must be refused; return its one line."""
    done = subprocess.run(
        [CALEJO, *arguments], capture_output=True, text=True, timeout=_PATIENCE_S, check=False, env=environment()
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, ""), done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr.rstrip("\n")


def ports_of_its_own() -> list[str]:
    opcua, modbus, rest, health = free_ports(4)
    return [
        "--opcua-port", str(opcua), "--modbus-port", str(modbus),
        "--rest-port", str(rest), "--health-port", str(health),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ports: {opcua: 99999}\n", "key 'ports.opcua', value 99999: expected a port from 1 to 65535"),
        ("portz: {opcua: 4840}\n", "key 'portz.opcua': no such setting (did you mean 'ports.opcua'?)"),
        ("ports: {opcua: 4840, modbus: 4840}\n", "4840"),
        ("ports: {opcua: \n", "not readable as yaml"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path: Path, text: str, said: str) -> None:
    """CFG-1: file, key, value and expectation in one line, before anything is made."""
    file, data = tmp_path / "calejo.yaml", tmp_path / "data"
    file.write_text(text)
    line = refused("run", "--demo", "--config", str(file), "--data-dir", str(data))
    assert str(file) in line
    assert said in line
    assert not data.exists()


@pytest.mark.parametrize("option", ["--opcua-port", "--modbus-port", "--rest-port", "--health-port"])
def test_a_taken_port_is_named(tmp_path: Path, option: str) -> None:
    """CFG-1, HA-1: which port and which key, and no database was made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        line = refused(
            "run", "--demo", "--data-dir", str(tmp_path / "data"), *ports_of_its_own(), option, str(number)
        )
    assert f"port {number} on 127.0.0.1 cannot be bound (Address already in use)" in line
    assert list((tmp_path / "data").iterdir()) == []


def test_a_missing_schema_is_not_made_by_itself(tmp_path: Path) -> None:
    """DAT-1: production's schema changes when someone says so; the line says how."""
    line = refused("run", "--data-dir", str(tmp_path), *ports_of_its_own())
    assert line.endswith("database schema is missing: run `calejo db upgrade`")
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_away_before_anything_is_known_is_named(tmp_path: Path) -> None:
    """DAT-3: without a plant there is nothing to show; with one remembered it starts (tests/chaos)."""
    (port,) = free_ports(1)
    (tmp_path / "calejo.toml").write_text(
        f'[database]\nurl = "postgresql+psycopg://calejo@127.0.0.1:{port}/plant"\n', encoding="utf-8"
    )
    config = str(tmp_path / "calejo.toml")
    line = refused("run", "--config", config, "--data-dir", str(tmp_path / "data"), *ports_of_its_own())
    assert f"PostgreSQL plant at 127.0.0.1:{port}" in line
    assert "refused" in line


@pytest.mark.parametrize("demo", [[], ["--demo"]])
def test_a_newer_schema_is_left_alone(tmp_path: Path, demo: list[str]) -> None:
    """DAT-1: an older Calejo does not touch what a newer one wrote."""
    subprocess.run(
        [CALEJO, "db", "upgrade", "--data-dir", str(tmp_path)],
        capture_output=True, timeout=_PATIENCE_S, check=True, env=environment(),
    )  # fmt: skip
    with sqlite3.connect(tmp_path / "calejo.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    done = subprocess.run(
        [CALEJO, "run", *demo, "--data-dir", str(tmp_path), *ports_of_its_own()],
        capture_output=True, text=True, timeout=_PATIENCE_S, check=False, env=environment(),
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "9999" in done.stderr
    assert "newer" in done.stderr
    assert not (tmp_path / "run.json").exists()


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """CFG-1: nothing can be kept there (a file is in its way: root may write everywhere else)."""
    (tmp_path / "file").write_text("")
    line = refused("run", "--demo", "--data-dir", str(tmp_path / "file" / "data"))
    assert f"data directory {tmp_path / 'file' / 'data'}: not writable" in line


def test_a_data_directory_in_use_is_refused(tmp_path: Path) -> None:
    """HA-1: one run per data directory."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = refused("run", "--demo", "--data-dir", str(tmp_path), code=4)
    assert f"data directory {tmp_path}: in use by another run" in line


def test_a_stop_while_ray_starts_leaves_nothing(tmp_path: Path) -> None:
    """HA-1: SIGTERM at the worst moment ends it in order: no process, no lock, no temporary folder."""
    with subprocess.Popen(
        [CALEJO, "run", "--demo", "--data-dir", str(tmp_path), *ports_of_its_own()],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("starting Ray"):
                break
        below = until(lambda: descendants(process.pid), within_s=30, what="Ray's first process")
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(timeout=20) == 0, rest
    assert "Traceback" not in rest
    assert "SIGTERM received" not in rest
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
    assert not (tmp_path / "lock").exists()
    assert not (tmp_path / "run.json").exists()
