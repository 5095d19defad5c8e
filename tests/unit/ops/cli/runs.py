"""A data directory that looks as if this test process were a running Calejo, and commands run against it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.vocabulary import Settings, Topology
from actors.vocabulary.settings import ApiSettings, PortSettings
from ops.cli.main import main
from ops.rundir import DataDirectory
from storage.latches import LatchFolder
from storage.local_credential import LocalCredential
from storage.topology_file import TopologyFile
from tests.unit.protocols.plants import north

CALEJO = (sys.executable, "-m", "ops.cli.main")


def announce(data_dir: Path, *, rest: int, modbus: int = 1) -> DataDirectory:
    folder = DataDirectory(data_dir)
    folder.acquire()
    settings = Settings(data_dir=str(data_dir), api=ApiSettings(rest=rest), ports=PortSettings(modbus=modbus))
    folder.announce(settings, started_at="2026-11-21T00:00:00+00:00", ray_address="", namespace="calejo")
    return folder


def trust(data_dir: Path, served_from: Path) -> None:
    """Give commands on `data_dir` the credential of the API that serves from another folder."""
    credential = LocalCredential(data_dir)
    credential.path.parent.mkdir(parents=True, exist_ok=True)
    credential.path.write_text(LocalCredential(served_from).read())


def save_plant(data_dir: Path) -> None:
    TopologyFile(data_dir / "topology.json").save(Topology(revision="r1", sites=(north(),)))


def latches(data_dir: Path) -> LatchFolder:
    return LatchFolder(data_dir / "latches", utc_second=lambda: time.time_ns() // 10**9)


def spoil_latches(data_dir: Path) -> None:
    """Put a file where the folder belongs: nobody, not even root, can write into it."""
    (data_dir / "latches").write_text("not a folder")


@contextmanager
def silent_server() -> Iterator[int]:
    """A port whose process is stopped: the kernel takes connections, nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@contextmanager
def coil_server(*, exception: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """A Modbus server that echoes Write Single Coil, or answers exception 04."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                try:
                    client, _ = listening.accept()
                except TimeoutError:
                    continue
                with client:
                    request = client.recv(260)
                    requests.append(request)
                    refused = request[:5] + b"\x03" + request[6:7] + b"\x85\x04"
                    client.sendall(refused if exception else request)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1], requests
        finally:
            done.set()
            thread.join(5)


class Ran:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str, seconds: float) -> None:
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def json(self) -> Any:
        return msgspec.json.decode(self.out)

    def line(self, code: int) -> str:
        """Return the one line on standard error, having checked the exit code."""
        assert self.code == code, (self.code, self.out, self.err)
        assert self.err.startswith("calejo: ")
        assert self.err.count("\n") == 1, "one clear line"
        return self.err


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ran:
    """Run a command in this process."""
    began = time.monotonic()
    capsys.readouterr()
    try:
        code = main([str(each) for each in arguments])
    except SystemExit as ended:
        code = int(str(ended.code))
    out, err = capsys.readouterr()
    return Ran(code, out, err, time.monotonic() - began)


def run_process(*arguments: object, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command, or `code` with the arguments, in a process of its own."""
    command = (sys.executable, "-c", code) if code else CALEJO
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False
    )
