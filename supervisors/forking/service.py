"""Forking as the Ray runtime uses it: prepare before the raylet starts, route its worker command, keep the host alive.

Whatever goes wrong here ends in cold starts and one line in the log, never in an error of the caller's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from supervisors.forking import guard
from supervisors.forking.host import ALIVE_PERIOD_S, retry_s
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
# A host that has not said within this that it lives has hung. Its longest work, a template that hangs, takes 4 s.
_SILENT_S: Final = 20.0
_NODE_ENDED: Final = "its node has ended"
_CHUNK: Final = 65_536
assert _SILENT_S > 2.0 * ALIVE_PERIOD_S
# The kernel's bound for a socket's path.
_SOCKET_PATH_MAX: Final = 104
_LAUNCHER: Final = str(Path(__file__).with_name("launcher.py"))
# Ray's own name for "no job": JobID.nil() as the raylet writes it.
NO_JOB: Final = "ffffffff"
_TEMPLATE: Final = str(Path(__file__).with_name("template.py"))
# A little more than the host gives a template to load: the answer then says that it was too slow.
RELOAD_WITHIN_S: Final = 65.0
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

    def __post_init__(self) -> None:
        """Refuse what is no token.

        Raises:
            ValueError: it is not in hexadecimal digits.

        """
        self.secret()

    def secret(self) -> bytes:
        """Return the token's bytes."""
        return bytes.fromhex(self.token)


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
        self._token_path = folder / "token"
        self._command = [sys.executable, "-IS", _LAUNCHER, str(folder)]
        self._state_file: Path | None = None
        self._folder_lock: int | None = None
        self._node: bytes | None = None
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._host: subprocess.Popen[bytes] | None = None
        self._template: int | None = None
        self._template_was_ready = False
        self._last_words = ""
        self._listening = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="forked workers", daemon=True)

    # ------------------------------------------------------------------ begin

    def prepare(self) -> None:
        """Make the folder, prove that the launcher runs, start the host.

        Raises:
            UnfitError: workers will not be forked; nothing is left behind.

        """
        reason = guard.reason_against() or self._reason_of_paths()
        if reason:
            raise UnfitError(reason)
        try:
            self._make_folder()
            checked = subprocess.run(
                [*self._command, "--check"],
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
        if len(os.fsencode(self._socket_path)) > _SOCKET_PATH_MAX:
            return f"the path of a socket would be too long: {self._socket_path}"
        for path in self._command:
            if any(each in "'\"\\" for each in path):
                return f"a path cannot stand in the raylet's command: {path}"
        return ""

    def _make_folder(self) -> None:
        """Make it, owner-only, with the token in it; what is whole already stays.

        The folder above it has to be ours: whoever could rename there could put another folder in this one's place.

        Raises:
            OSError: it cannot be made, or is not what we made.

        """
        _ours_alone(self._folder.parent)
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
            self._guard_folder()
        _ours_alone(self._folder)
        token = self._token.hex().encode()
        if _bytes_of(self._token_path) != token:  # none, or cut short by a full disk
            self._token_path.unlink(missing_ok=True)
            _write_private(self._token_path, token)

    def _guard_folder(self) -> None:
        """Hold a lock on it: whoever cleans up old files in /tmp leaves locked folders alone (tmpfiles.d(5))."""
        if self._folder_lock is not None:
            os.close(self._folder_lock)
        self._folder_lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        fcntl.flock(self._folder_lock, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def announce(self, data_dir: Path, name: str) -> None:
        """Let `calejo node reload` find the host (`name`: RUN_STATE or NODE_STATE).

        Raises:
            OSError: the disk refused.

        """
        self._state_file = data_dir / name
        temporary = data_dir / f"{name}.{os.getpid()}"
        try:
            temporary.unlink(missing_ok=True)
            _write_private(temporary, msgspec.json.encode(self._state()))
            temporary.replace(self._state_file)
        finally:
            temporary.unlink(missing_ok=True)

    def _state(self) -> State:
        return State(socket=str(self._socket_path), token=self._token.hex())

    # ------------------------------------------------------------------ the raylet

    def routed(self, command: Sequence[str]) -> list[str]:
        """Return the command of a raylet with our launcher in its worker command; any other command as it is."""
        theirs = _OPTION + subprocess.list2cmdline([sys.executable]) + " "
        ours = _OPTION + subprocess.list2cmdline(self._command) + " "
        routed = [ours + each.removeprefix(theirs) if each.startswith(theirs) else each for each in command]
        if routed == list(command):
            self._log.warning("forked_workers_off", why="the raylet's command is another; workers start cold")
        return routed

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
            try:
                why = self._one_host()
            except Exception as error:  # noqa: BLE001  whatever it is, the next host may do better
                why = f"{type(error).__name__}: {error}"
            if self._stopping.is_set() or why == _NODE_ENDED:
                return
            failures = 0 if time.monotonic() - began_s > _PROVEN_S else failures + 1
            self._log.warning("forking_host_lost", why=why)
            self._stopping.wait(retry_s(max(0, failures - 1)))

    def _one_host(self) -> str:
        """Return why it ended."""
        self._make_folder()
        self._last_words = ""
        ours, theirs = socket.socketpair()
        with theirs:
            process = self._started(theirs)
        why = "an error of its owner's"
        try:
            why = self._served(process, ours)
        finally:
            with self._lock:
                self._control = self._template = None
            ours.close()  # it ends by this, if it can
            if why:
                process.kill()
            status = process.wait()
            with self._lock:
                self._host = None
        return why or (_NODE_ENDED if status == 0 else self._last_words or f"it ended with {status}")

    def _served(self, process: subprocess.Popen[bytes], control: socket.socket) -> str:
        """Return '' when the host has closed the connection, or why it is to be ended."""
        told = {
            "folder": str(self._folder),
            "socket": str(self._socket_path),
            "token": self._token.hex(),
            "template": [sys.executable, _TEMPLATE],
            "worker_script": str(WORKER_SCRIPT),
            "again": self._template_was_ready,
        }
        control.settimeout(_SILENT_S / 2.0)
        try:
            with self._lock:
                self._control, self._host = control, process
                control.sendall(json.dumps(told).encode() + b"\n" + (self._node or b""))
            return self._hear(control)
        except TimeoutError:
            return "it does not listen to its owner"
        except OSError:  # it died before it had read everything
            return ""

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

    def _hear(self, control: socket.socket) -> str:
        data = b""
        silent = False
        while True:
            try:
                more = control.recv(_CHUNK)
            except TimeoutError:
                if silent:
                    return f"it has said nothing for {_SILENT_S:g} s"
                silent = True  # not yet: after a pause of the whole machine both begin at the same moment
                continue
            if not more:
                return ""
            silent = False
            *lines, data = (data + more).split(b"\n")
            for line in lines:
                self._heard(json.loads(line))
            if lines and not (self._socket_path.exists() and self._token_path.exists()):
                return f"somebody has emptied {self._folder}"

    def _heard(self, said: dict[str, Any]) -> None:
        match said.pop("event"):
            case "listening":
                self._listening.set()
            case "alive":
                pass
            case "failed":
                self._last_words = said["why"]
            case "template_ready":
                self._template = said["template"]
                self._template_was_ready = True
                self._log.info("forking_template_ready", **said)
            case event:
                self._log.warning(f"forking_{event}", **said)

    # ------------------------------------------------------------------ people

    def status(self) -> dict[str, Any]:
        """Return what the host says of itself (see `ask`)."""
        return ask(self._state(), STATUS)

    def reload(self) -> dict[str, Any]:
        """Replace the template by one with the code that is on disk now (see `ask`)."""
        return ask(self._state(), RELOAD)

    def workers(self) -> list[int]:
        """Return the pids of the workers that host and templates forked: children of Ray's that it does not see."""
        with self._lock:
            host, template = self._host, self._template
        return [] if host is None else [pid for pid in descendants(host.pid) if pid != template]

    def stop(self) -> None:
        """End host and template. Workers that they forked are not touched: end those first."""
        self._stopping.set()
        with self._lock:
            if self._control is not None:
                with contextlib.suppress(OSError):
                    self._control.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(_STOP_WITHIN_S)
            with self._lock:
                if self._host is not None:  # it hangs; its template ends with it
                    self._host.kill()
            self._thread.join(_STOP_WITHIN_S)
        if self._state_file is not None and _state_in(self._state_file) == self._state():  # not a later one's
            self._state_file.unlink(missing_ok=True)
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder_lock is not None:
            os.close(self._folder_lock)
            self._folder_lock = None
        with contextlib.suppress(OSError):  # the host may be at the same work, or it is not ours
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)
            self._folder.rmdir()


def _ours_alone(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "is no folder of this user's alone", str(path))


def _write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read; never through a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123  (a descriptor with its mode)
        file.write(data)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _state_in(path: Path) -> State | None:
    try:
        return msgspec.json.decode(_bytes_of(path), type=State)
    except msgspec.DecodeError:
        return None


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
    found = {name: _state_in(data_dir / name) for name in (RUN_STATE, NODE_STATE)}
    return {name: state for name, state in found.items() if state is not None}


def ask(state: State, kind: int) -> dict[str, Any]:
    """Ask a host for its STATUS or a RELOAD. Blocks, a reload for some seconds.

    Raises:
        OSError: nobody answers there, or not in whole sentences.

    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(RELOAD_WITHIN_S)
        connection.connect(state.socket)
        connection.sendall(framed(state.secret(), kind))
        data = b""
        while len(data) < _ANSWER_BYTES_MAX and (more := connection.recv(_ANSWER_BYTES_MAX)):
            data += more
    if not data:
        raise ConnectionError("the host refused")
    try:
        answer: dict[str, Any] = json.loads(data)
    except ValueError as error:
        raise ConnectionError("the host ended while it answered") from error
    return answer
