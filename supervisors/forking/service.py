"""Forking as the Ray runtime uses it: prepare before the raylet starts, route its worker command, keep the host alive.

Whatever goes wrong here ends in cold starts and one line in the log, never in an error of the caller's.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from supervisors.forking import guard
from supervisors.forking.host import retry_s
from supervisors.forking.protocol import RELOAD, STATUS, TOKEN_BYTES, framed
from supervisors.forking.template import WORKER_SCRIPT
from supervisors.process import descendants

# In the data directory: of `calejo run`, which started its own Ray, and of `calejo node start`.
RUN_STATE: Final = "forking.json"
NODE_STATE: Final = "forking-node.json"
_OPTION: Final = "--python_worker_command="
_LISTENING_WITHIN_S: Final = 5.0
_CHECK_WITHIN_S: Final = 5.0
_STOP_WITHIN_S: Final = 5.0
_PROVEN_S: Final = 60.0
# The kernel's bounds for an interpreter line (older kernels: 127 bytes) and for a socket's path.
_INTERPRETER_LINE_MAX: Final = 120
_SOCKET_PATH_MAX: Final = 104
# Ray's own name for "no job": JobID.nil() as the raylet writes it.
NO_JOB: Final = "ffffffff"
_TEMPLATE: Final = str(Path(__file__).with_name("template.py"))
RELOAD_WITHIN_S: Final = 60.0
_ANSWER_BYTES_MAX: Final = 65_536


class Log(Protocol):
    """Where it tells what happens (see `actors.runtime.Log`)."""

    def info(self, event: str, **fields: object) -> None:
        """Something a person may want to know."""

    def warning(self, event: str, **fields: object) -> None:
        """Something that is not as it should be."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Where this machine's host listens: a file that only its owner can read."""

    socket: str
    token: str


class UnfitError(Exception):
    """Workers cannot be forked here; the text says why."""


class ForkedWorkers:
    """The host of one node, kept alive by a thread of this process until `stop`."""

    def __init__(self, folder: Path, *, code_path: str, log: Log) -> None:
        self._folder = folder
        self._code_path = code_path
        self._log = log
        self._token = secrets.token_bytes(TOKEN_BYTES)
        self._socket_path = folder / "host"
        self._launcher = folder / "launcher"
        self._state_file: Path | None = None
        self._folder_lock: int | None = None
        self._node: bytes | None = None
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._host: int | None = None
        self._listening = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="forked workers", daemon=True)

    # ------------------------------------------------------------------ begin

    def prepare(self) -> None:
        """Write the launcher, prove that it runs, start the host.

        Raises:
            UnfitError: workers will not be forked; nothing is left behind.

        """
        reason = guard.reason_against() or self._reason_of_paths()
        if reason:
            raise UnfitError(reason)
        try:
            self._folder.mkdir(mode=0o700)
            self._guard_folder()
            self._write_launcher()
            checked = subprocess.run(
                [self._launcher, "--check"],
                capture_output=True,
                text=True,
                timeout=_CHECK_WITHIN_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._remove_folder()
            raise UnfitError(f"the launcher cannot be started: {error}") from error
        if checked.stdout != "ready\n":
            self._remove_folder()
            raise UnfitError(f"the launcher does not work: {checked.stderr.strip()[-200:]}")
        self._thread.start()
        if not self._listening.wait(_LISTENING_WITHIN_S):
            self.stop()
            raise UnfitError(f"the host does not listen within {_LISTENING_WITHIN_S:g} s")

    def _reason_of_paths(self) -> str:
        line = f"#!{sys.executable} -IS"
        if len(os.fsencode(line)) > _INTERPRETER_LINE_MAX or any(each.isspace() for each in sys.executable):
            return f"the interpreter's path cannot stand in an interpreter line: {sys.executable}"
        if len(os.fsencode(self._socket_path)) > _SOCKET_PATH_MAX:
            return f"the path of a socket would be too long: {self._socket_path}"
        if any(each.isspace() or each in "'\"\\" for each in str(self._launcher)):
            return f"the launcher's path cannot stand in the raylet's command: {self._launcher}"
        return ""

    def _guard_folder(self) -> None:
        """Hold a lock on it: whoever cleans up old files in /tmp leaves locked folders alone (tmpfiles.d(5))."""
        self._folder_lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._folder_lock, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def _write_launcher(self) -> None:
        """Write it readable by nobody else: it holds the token."""
        text = (
            f"#!{sys.executable} -IS\n"
            "import sys\n"
            f"sys.path.append({self._code_path!r})\n"
            "from supervisors.forking.launch import launch\n"
            f"launch(interpreter={sys.executable!r}, socket_path={str(self._socket_path)!r},"
            f" token=bytes.fromhex({self._token.hex()!r}))\n"
        )
        descriptor = os.open(self._launcher, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  (a descriptor with its mode)
            file.write(text)

    def announce(self, data_dir: Path, name: str) -> None:
        """Let `calejo node reload` find the host (`name`: RUN_STATE or NODE_STATE).

        Raises:
            OSError: the disk refused.

        """
        self._state_file = data_dir / name
        state = State(socket=str(self._socket_path), token=self._token.hex())
        temporary = data_dir / f"{name}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123
            file.write(msgspec.json.encode(state))
        temporary.replace(self._state_file)

    # ------------------------------------------------------------------ the raylet

    def routed(self, command: Sequence[str]) -> list[str]:
        """Return the command of a raylet with our launcher in its worker command; any other command as it is."""
        return [
            _OPTION + str(self._launcher) + each.removeprefix(_OPTION + sys.executable)
            if each.startswith(f"{_OPTION}{sys.executable} ")
            else each
            for each in command
        ]

    def raylet_started(self, pid: int, environment: Mapping[str, str]) -> None:
        """Have the template loaded for the workers of that raylet."""
        worker = {
            **environment,
            "RAY_JOB_ID": NO_JOB,
            "RAY_RAYLET_PID": str(pid),
            # As the raylet itself adds to what it starts.
            "RAY_LD_PRELOAD_ON_WORKERS": environment.get("RAY_LD_PRELOAD_ON_WORKERS", "0"),
        }
        if worker["RAY_LD_PRELOAD_ON_WORKERS"] == "0":
            worker.pop("LD_PRELOAD", None)
        told = json.dumps({"raylet_pid": pid, "environment": worker}).encode() + b"\n"
        with self._lock:
            self._node = told
            control = self._control
        if control is not None:
            with contextlib.suppress(OSError):  # a host that died is told again when it is back
                control.sendall(told)

    # ------------------------------------------------------------------ the host

    def _keep(self) -> None:
        """Start the host, hear what it says, and start it again when it ends. The host dies with this thread."""
        failures = 0
        while not self._stopping.is_set():
            began_s = time.monotonic()
            why = self._one_host()
            if self._stopping.is_set() or why == "node ended":
                return
            failures = 0 if time.monotonic() - began_s > _PROVEN_S else failures + 1
            self._log.warning("forking_host_lost", why=why)
            self._stopping.wait(retry_s(max(0, failures - 1)))

    def _one_host(self) -> str:
        ours, theirs = socket.socketpair()
        try:
            process = self._started(theirs)
        except OSError as error:
            ours.close()
            return f"not started: {error}"
        finally:
            theirs.close()
        told = {
            "folder": str(self._folder),
            "socket": str(self._socket_path),
            "token": self._token.hex(),
            "template": [sys.executable, _TEMPLATE],
            "worker_script": str(WORKER_SCRIPT),
        }
        with ours:
            with contextlib.suppress(OSError):
                with self._lock:
                    self._control, self._host = ours, process.pid
                    ours.sendall(json.dumps(told).encode() + b"\n" + (self._node or b""))
                self._hear(ours)
            with self._lock:
                self._control = self._host = None
        status = process.wait()
        return "node ended" if status == 0 else f"it ended with {status}"

    def _started(self, control: socket.socket) -> subprocess.Popen[bytes]:
        start = f"import sys; sys.path.append({self._code_path!r}); from supervisors.forking.host import main; main()"
        return subprocess.Popen(
            [sys.executable, "-IS", "-c", start, str(control.fileno()), str(os.getpid())],
            pass_fds=[control.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            start_new_session=True,  # Ctrl-C is not for it: it ends after the workers that it forks
        )

    def _hear(self, control: socket.socket) -> None:
        with control.makefile("rb") as lines:
            for line in lines:
                said = json.loads(line)
                event = said.pop("event")
                if event == "listening":
                    self._listening.set()
                elif event == "template_ready":
                    self._log.info("forking_template_ready", **said)
                else:
                    self._log.warning(f"forking_{event}", **said)

    # ------------------------------------------------------------------ people

    def status(self) -> dict[str, Any]:
        """Return what the host says of itself (see `ask`)."""
        return ask(State(socket=str(self._socket_path), token=self._token.hex()), STATUS)

    def reload(self) -> dict[str, Any]:
        """Replace the template by one with the code that is on disk now (see `ask`)."""
        return ask(State(socket=str(self._socket_path), token=self._token.hex()), RELOAD)

    def workers(self) -> list[int]:
        """Return the pids of the workers that host and templates forked: children of Ray's that it does not see."""
        with self._lock:
            host = self._host
        if host is None:
            return []
        direct = descendants(host)
        return [pid for pid in direct if not _is_template(pid)]

    def stop(self) -> None:
        """End host and template. Workers that they forked are not touched: end those first."""
        self._stopping.set()
        with self._lock:
            if self._control is not None:
                with contextlib.suppress(OSError):
                    self._control.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(_STOP_WITHIN_S)
        if self._state_file is not None:
            self._state_file.unlink(missing_ok=True)
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder_lock is not None:
            os.close(self._folder_lock)
            self._folder_lock = None
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)
            self._folder.rmdir()


def _is_template(pid: int) -> bool:
    try:
        return _TEMPLATE.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def prepared(
    folder: Path, *, wanted: bool, code_path: str, data_dir: Path, state: str, log: Log
) -> ForkedWorkers | None:
    """Return forking, ready for a raylet to be started; None, told in one line of the log, where it cannot be."""
    if not wanted:
        log.info("forked_workers_off", why="runtime.forked_workers is false; workers start cold")
        return None
    forking = ForkedWorkers(folder, code_path=code_path, log=log)
    try:
        forking.prepare()
    except UnfitError as error:
        log.warning("forked_workers_off", why=f"{error}; workers start cold")
        return None
    try:
        forking.announce(data_dir, state)
    except OSError as error:
        log.warning("forking_not_announced", why=str(error))
    return forking


def states_of(data_dir: Path) -> dict[str, State]:
    """Return where the hosts of this data directory's run and node listen, by file name."""
    found = {}
    for name in (RUN_STATE, NODE_STATE):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found[name] = msgspec.json.decode((data_dir / name).read_bytes(), type=State)
    return found


def ask(state: State, kind: int) -> dict[str, Any]:
    """Ask a host for its STATUS or a RELOAD. Blocks, a reload for some seconds.

    Raises:
        OSError: nobody answers there.

    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(RELOAD_WITHIN_S)
        connection.connect(state.socket)
        connection.sendall(framed(bytes.fromhex(state.token), kind))
        data = b""
        while len(data) < _ANSWER_BYTES_MAX and (more := connection.recv(_ANSWER_BYTES_MAX)):
            data += more
    if not data:
        raise ConnectionError("the host refused")
    answer: dict[str, Any] = json.loads(data)
    return answer
