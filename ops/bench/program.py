"""One `calejo run --demo` as a user starts it: a child with its own data folder and free ports, ended cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar

from ops.bench.processes import Family
from ops.cli.client import call, credentials
from ops.cli.exits import FAILED, ExitError
from ops.ports import free_ports
from ops.rundir import RunFile, find_run

T = TypeVar("T")

READY_WITHIN_S: Final = 120.0
SETTLED_WITHIN_S: Final = 90.0
_SETTLED_LOOK_S: Final = 0.5
_STOP_WITHIN_S: Final = 25.0
_GONE_WITHIN_S: Final = 5.0
_LOOK_S: Final = 0.05
_LINES_SHOWN: Final = 12


class Program:
    """The running demo. Blocking; use `running` to start one."""

    def __init__(self, process: subprocess.Popen[str], data_dir: Path, base: str, began_s: float) -> None:
        self.process = process
        self.data_dir = data_dir
        self.family = Family(process.pid)
        self.ready_s: float | None = None
        self.modbus_port = 0
        self._base = base
        self._began_s = began_s
        self._lines: list[str] = []
        self._listener = threading.Thread(target=self._listen, name="output", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("ready after ") and self.ready_s is None:
                self.ready_s = time.monotonic() - self._began_s
            self._lines = [*self._lines[-_LINES_SHOWN:], line.rstrip()]

    def get(self, path: str) -> Any:
        """Ask its REST API.

        Raises:
            ConnectionError: nobody answered.
            ExitError: it answered with an error.

        """
        return call(self._base, "GET", path, headers=credentials(self.data_dir))

    def run_file(self) -> RunFile:
        """Return what it says of itself.

        Raises:
            ExitError: (1) it does not run.

        """
        run = find_run(self.data_dir)
        if run is None:
            raise self.failed("it does not run any more")
        return run

    def wait_ready(self) -> float:
        """Wait for its ready line; return the time from its start (s).

        Raises:
            ExitError: (1) it ended, or is not ready in time.

        """
        return self.until(lambda: self.ready_s, within_s=READY_WITHIN_S, what="ready")

    def is_settled(self) -> bool:
        """Return whether every actor runs and every endpoint claims every pump."""
        try:
            nodes, pumps = self.get("/api/v1/tree"), self.get("/api/v1/pumps")
        except (ConnectionError, ExitError):
            return False
        shown = [endpoint for pump in pumps for endpoint in pump["published"]]
        claimed = bool(shown) and all(endpoint.get("remote_enabled") for endpoint in shown)
        return claimed and all(node["state"] == "running" for node in nodes)

    async def wait_settled(self) -> None:
        """Wait until `is_settled`; a Ctrl-C ends it at once.

        Raises:
            ExitError: (1) not in time.

        """
        try:
            async with asyncio.timeout(SETTLED_WITHIN_S):
                while not await asyncio.to_thread(self.is_settled):  # noqa: ASYNC110  (REST sends no event)
                    await asyncio.sleep(_SETTLED_LOOK_S)
        except TimeoutError:
            raise self.failed(f"not in control of every pump within {SETTLED_WITHIN_S:g} s") from None

    def until(self, condition: Callable[[], T | None], *, within_s: float, what: str) -> T:
        """Return the condition's first true value.

        Raises:
            ExitError: (1) the program ended, or time did.

        """
        deadline = time.monotonic() + within_s
        while True:
            value = condition()
            if value:
                return value
            if self.process.poll() is not None:
                raise self.failed(f"it ended with {self.process.returncode} before it was {what}")
            if time.monotonic() > deadline:
                raise self.failed(f"not {what} within {within_s:g} s")
            time.sleep(_LOOK_S)

    def failed(self, why: str) -> ExitError:
        """Return the error that ends the bench, with what the program said last."""
        said = "\n  ".join(self._lines)
        return ExitError(FAILED, f"the demo that is measured failed: {why}. It said last:\n  {said}")

    def stop(self) -> list[str]:
        """End it and all its processes; return the command lines of those it left behind (killed by now)."""
        self.family.look()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_WITHIN_S)
        left = self.family.wait_gone(_GONE_WITHIN_S)
        told = [f"{pid} {_name_of(pid)}" for pid in left]
        self.family.kill()
        self.process.wait()
        self._listener.join(_GONE_WITHIN_S)
        if not self._listener.is_alive() and self.process.stdout is not None:
            self.process.stdout.close()
        return told


def _name_of(pid: int) -> str:
    from ops.bench.processes import command_line

    return command_line(pid)[:80].strip()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for what must not be left half done.

    Raises:
        KeyboardInterrupt: at the end, when one of them came.

    """
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    former = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def running(
    data_dir: Path,
    *,
    config: Path | None,
    environment: Mapping[str, str],
    left_behind: list[str],
    demo: bool = True,
) -> Iterator[Program]:
    """Start `calejo run` (`--demo`) and end it, whatever happens; who did not end is added to `left_behind`."""
    opcua, modbus, rest, health = free_ports(4)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("CALEJO_")}
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    began_s = time.monotonic()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "ops.cli.main", "run", *(("--demo",) if demo else ()), "--data-dir", str(data_dir),
            *(() if config is None else ("--config", str(config.resolve()))),
            "--opcua-port", str(opcua), "--modbus-port", str(modbus),
            "--rest-port", str(rest), "--health-port", str(health),
        ],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**inherited, **environment},
        start_new_session=True,  # our Ctrl-C is not its: it is told to stop below
    )  # fmt: skip
    program = Program(process, data_dir, f"http://127.0.0.1:{rest}", began_s)
    program.modbus_port = modbus
    try:
        yield program
    finally:
        with undisturbed():  # it takes some seconds and ends by itself
            left_behind += program.stop()
