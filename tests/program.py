"""`calejo run --demo` as a user starts it: its own data folder and ports, found and asked like a user would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ops.ports import free_ports
from storage.local_credential import LocalCredential
from supervisors.process import alive, descendants

T = TypeVar("T")

CALEJO = str(Path(sys.executable).with_name("calejo"))
READY_WITHIN_S = 120.0
# The command line's own start on a loaded machine; not a figure that anything is judged by.
COMMAND_TIMEOUT_S = 30.0


def until(
    condition: Callable[[], T | None],
    *,
    within_s: float,
    what: str | Callable[[], str],
    every_s: float = 0.05,
) -> T:
    """Return the condition's first true value; fail with `what` (asked then, if callable) when the deadline passes."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(every_s)  # between two looks at a condition


def _clean_environment() -> dict[str, str]:
    """Return ours without what configures Calejo or keeps its processes from using compiled bytecode."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CALEJO_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept


def _is_demo(pid: int) -> bool:
    try:
        return b"ops.demo" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Program:
    """One run of Calejo in the foreground of a child process; `calejo` is how to call it, if not as installed."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        environment: dict[str, str] | None = None,
        calejo: Sequence[str] = (CALEJO,),
    ) -> None:
        self.data_dir = data_dir
        self.calejo = calejo
        self.opcua, self.modbus, self.rest, self.health = free_ports(4)
        self.arguments = arguments
        self.environment = environment or {}
        self.output: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.ready_after_s: float | None = None
        self._tokens: dict[str, str] = {}

    def start(self) -> Program:
        """Start it; after an end of whatever kind, start it again on the same folder and ports."""
        self.ready_after_s = None
        self.process = subprocess.Popen(
            [
                *self.calejo, "run", *self.arguments, "--data-dir", str(self.data_dir),
                "--opcua-port", str(self.opcua), "--modbus-port", str(self.modbus),
                "--rest-port", str(self.rest), "--health-port", str(self.health),
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            env=_clean_environment() | self.environment, start_new_session=True,
        )  # fmt: skip
        self._listener = threading.Thread(target=self._listen, args=(self.process,), daemon=True)
        self._listener.start()
        return self

    def _listen(self, process: subprocess.Popen[str]) -> None:
        began = time.monotonic()
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.output.append(line.rstrip("\n"))
                if line.startswith("ready"):
                    self.ready_after_s = time.monotonic() - began

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> Program:
        def ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError("ended early:\n" + "\n".join(self.output))
            return self.ready_after_s is not None

        try:
            until(ready, within_s=within_s, what="the ready line")
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(self.output[-40:])) from None
        return self

    def stop(self, *, within_s: float = 30.0) -> int:
        """Send SIGTERM and return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=within_s)
            # The end of its output: closed when the last process that holds it has gone.
            self._listener.join(timeout=10)
            return code
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(
                f"did not stop within {within_s:g} s:\n" + "\n".join(self.output[-40:])
            ) from None

    def kill(self) -> list[int]:
        """Send SIGKILL to `calejo run` and everything it started; return what was killed.

        The plant of a demo is no part of Calejo: it is left alone, as a power failure of a server leaves a plant.
        """
        assert self.process is not None
        plant = {pid for pid in descendants(self.process.pid) if _is_demo(pid)}
        killed = [self.process.pid, *(pid for pid in descendants(self.process.pid) if pid not in plant)]
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):  # some follow the death of another
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=10)
        until(
            lambda: not any(map(alive, killed)), within_s=10, what="the death of everything that was killed"
        )
        return killed

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run another `calejo` command against this data folder, in the environment of the run."""
        done = subprocess.run(
            [*self.calejo, *arguments, "--data-dir", str(self.data_dir)],
            capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
            env=_clean_environment() | self.environment,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"calejo {arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def get(self, path: str, *, port: int | None = None) -> Any:
        return self.request("GET", path, port=port)

    def request(
        self, method: str, path: str, body: Any = None, *, port: int | None = None, user: str = ""
    ) -> Any:
        """Ask it as commands on its machine do, or as `user`, who is made when first named."""
        local = f"Calejo-Local {LocalCredential(self.data_dir).read()}"
        shown = f"Bearer {self.token(user)}" if user else local
        request = urllib.request.Request(
            f"http://127.0.0.1:{port or self.rest}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": shown},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def token(self, user: str) -> str:
        """Return the access token of an engineer of that name, who is made, and logs in, when first named."""
        if user not in self._tokens:
            made = self.request("POST", "/api/v1/users", {"user": user, "role": "ENGINEER"})
            first, own = str(made["password"]), f"{user} walks along the weir at dawn"
            self._tokens[user] = self._login(user, first)
            self.request("POST", "/api/v1/account/password", {"current": first, "new": own}, user=user)
        return self._tokens[user]

    def _login(self, user: str, password: str) -> str:
        answer = self.request("POST", "/api/v1/auth/login", {"user": user, "password": password})
        return str(answer["access_token"])

    def tree(self) -> dict[str, dict[str, Any]]:
        """Return the tree by address; empty while the API is away."""
        try:
            return {node["address"]: node for node in self.get("/api/v1/tree")}
        except (urllib.error.URLError, OSError, ValueError):
            return {}

    def running(self, address: str, *, not_pid: int | None = None) -> dict[str, Any] | None:
        """Return the node when it runs (as another process than `not_pid`)."""
        node = self.tree().get(address)
        return node if node and node["state"] == "running" and node["pid"] not in {None, not_pid} else None
