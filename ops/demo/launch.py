"""Starting and ending the demo's processes: a plant that lives already is taken up again, not doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from actors.vocabulary import DeviceError
from ops.demo.files import TARGET, Target, holder, replace
from ops.demo.optimiser import PLANT_LOCK

FOLDER: Final = "demo"
OPTIMISER_LOCK: Final = "optimiser.lock"
LOCKS: Final = {"optimiser": OPTIMISER_LOCK, "plant": PLANT_LOCK}
_START_S: Final = 15.0
_STOP_S: Final = 5.0
_LOOK_S: Final = 0.05
_ROOT: Final = Path(__file__).resolve().parents[2]
# A handle that is forgotten while its process lives is a warning; these outlive us on purpose.
_started: Final[dict[Path, subprocess.Popen[bytes]]] = {}


def folder_of(data_dir: Path) -> Path:
    """Return the demo's folder in a data directory."""
    return data_dir / FOLDER


def start_demo(
    data_dir: Path, *, modbus_host: str, modbus_port: int, database_url: str, environment: Mapping[str, str]
) -> dict[str, int]:
    """See that plant and optimiser run and know where Calejo is; return their process ids.

    Call it before or after Calejo listens: the plant keeps calling. Blocking, up to 15 s.

    Raises:
        DeviceError: a process does not start, or the disk refuses.

    """
    folder = folder_of(data_dir.resolve())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"{folder}: {error.strerror}") from error
    replace(folder / TARGET, Target(host=modbus_host, port=modbus_port), durable=False)
    # Through the environment: a command line is everybody's to read, and a URL may hold a password.
    told = {**environment, "CALEJODEMO_DATABASE_URL": database_url}
    # Both first, then the waiting: each needs a moment to import what it works with.
    for kind, variables in (("plant", environment), ("optimiser", told)):
        _launch(folder, kind, variables)
    return {kind: _awaited(folder, kind) for kind in ("plant", "optimiser")}


def stop_demo(data_dir: Path) -> None:
    """End plant and optimiser, if they run; what does not end in 5 s is killed. Blocking."""
    folder = folder_of(data_dir.resolve())
    found = {folder / lock: holder(folder / lock) for lock in LOCKS.values()}
    left = {lock: pid for lock, pid in found.items() if pid is not None}
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in left.values():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        _wait(lambda told=tuple(left): all(holder(lock) is None for lock in told), _STOP_S)
        left = {lock: pid for lock, pid in left.items() if holder(lock) is not None}
    for lock in found:
        if process := _started.pop(lock, None):
            process.wait(_STOP_S)


def _launch(folder: Path, kind: str, environment: Mapping[str, str]) -> None:
    """Start a process, unless one of its kind lives."""
    lock = folder / LOCKS[kind]
    if holder(lock) is not None:
        return
    if before := _started.pop(lock, None):
        before.wait(_STOP_S)
    with (folder / f"{kind}.log").open("wb") as log:
        _started[lock] = subprocess.Popen(
            [sys.executable, "-m", "ops.demo", kind, "--data-dir", str(folder.parent)],
            cwd=_ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Not the terminal's Ctrl-C, nor Calejo's death, may stop the plant.
            start_new_session=True,
        )


def _awaited(folder: Path, kind: str) -> int:
    """Return the process of a kind once it lives.

    Raises:
        DeviceError: it does not; with what it said last.

    """
    lock = folder / LOCKS[kind]
    process = _started.get(lock)
    _wait(lambda: holder(lock) is not None or process is None or process.poll() is not None, _START_S)
    started = holder(lock)
    if started is None:
        if process := _started.pop(lock, None):
            process.kill()
            process.wait()
        said = (folder / f"{kind}.log").read_text(errors="replace").strip().splitlines()
        raise DeviceError(f"demo {kind} did not start: {said[-1] if said else 'it said nothing'}")
    return started


def _wait(condition: object, seconds: float) -> bool:
    assert callable(condition)
    end_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(_LOOK_S)
    return True
