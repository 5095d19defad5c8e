"""A real host with a template of the test's own: no Ray, so that every case takes milliseconds."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from supervisors.forking.host import Host
from supervisors.forking.protocol import FORK, HERE, RELOAD, STATUS, WAIT_MARK, Request, encode, framed

ROOT = Path(__file__).parents[4]
SCRIPT = "/ray/_private/workers/default_worker.py"
TEMPLATE = f"""
import os, sys, json, time
sys.path.insert(0, {str(ROOT)!r})
import socket
from supervisors.forking import linux
from supervisors.forking.wire import Wire, ClosedError
from supervisors.forking.protocol import HERE, HERE_MARK
linux.die_with_parent(int(sys.argv[2]))
wire = Wire(socket.socket(fileno=int(sys.argv[1])))
how = os.environ.get("HOW", "")
if how == "fails":
    wire.send({{"why": "told to fail"}}, within_s=1.0)
    sys.exit(1)
if how == "dies":
    sys.exit("its last words")
if how == "slow":
    time.sleep(0.5)
wire.send({{"threads": 1}}, within_s=1.0)
while True:
    try:
        message, body, descriptors = wire.receive_all(within_s=None)
    except ClosedError:
        os._exit(0)
    if how == "hangs":
        time.sleep(600)
    if message["do"] == "fork" and how == "full":
        for each in descriptors:
            os.close(each)
        wire.send({{"cold": "fork: Cannot allocate memory"}}, within_s=1.0)
        continue
    if message["do"] == "fork":
        launcher = socket.socket(fileno=descriptors[3])
        launcher.send(HERE.pack(HERE_MARK, os.getpid()))
        for each in descriptors[:3]:
            os.close(each)
        launcher.close()
    wire.send({{"pid": os.getpid()}}, within_s=1.0)
"""


class Served:
    """One host in a thread of the test's process."""

    def __init__(self, folder: Path, how: str = "", *, again: bool = False) -> None:
        self.folder = folder
        self.path = folder / "host"
        self.token = secrets.token_bytes(32)
        self.environment = {"PATH": os.environ["PATH"], "RAY_X": "1", "HOW": how}
        self.events: list[dict[str, Any]] = []
        template = folder.parent / "template_for_test.py"
        template.write_text(TEMPLATE)
        folder.mkdir(mode=0o700)
        self.control, theirs = socket.socketpair()
        told = {
            "folder": str(folder),
            "socket": str(self.path),
            "token": self.token.hex(),
            "template": [sys.executable, str(template)],
            "worker_script": SCRIPT,
            "again": again,
        }
        self.host = Host(theirs, told)
        self._theirs = theirs
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._listener.start()

    def _run(self) -> None:
        with self._theirs:
            self.host.run()
            self.host.close()
            self.host.remove_folder()

    def _listen(self) -> None:
        with self.control.makefile("rb") as lines:
            self.events.extend(json.loads(line) for line in lines)

    def node(self, raylet_pid: int | None = None) -> None:
        told = {"raylet_pid": raylet_pid or os.getpid(), "environment": self.environment}
        self.control.sendall(json.dumps(told).encode() + b"\n")

    def end(self) -> None:
        self.control.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.join(10)
        self.control.close()
        assert not self._thread.is_alive()

    def ended(self) -> bool:
        self._thread.join(10)
        return not self._thread.is_alive()

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10)
        connection.connect(str(self.path))
        return connection

    def request(self, **changes: bytes) -> bytes:
        environment = {os.fsencode(name): os.fsencode(value) for name, value in self.environment.items()}
        environment |= {name.encode(): value for name, value in changes.items()}
        return encode(Request(argv=[SCRIPT.encode(), b"--worker-id=1"], cwd=b"/", environment=environment))

    def ask(self, frame: bytes, *, descriptors: int = 3) -> bytes:
        """Send with so many descriptors and return what came back; b'' when the host let go."""
        with self.connect() as connection, Path(os.devnull).open("rb") as null:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(connection, [frame], [null.fileno()] * descriptors)
            try:
                said = connection.recv(HERE.size)
                return connection.recv(HERE.size) if said[:1] == WAIT_MARK else said
            except ConnectionResetError:
                return b""

    def fork(self, **changes: bytes) -> bytes:
        return self.ask(framed(self.token, FORK, self.request(**changes)))

    def status(self) -> dict[str, Any]:
        return self._asked(STATUS)

    def reload(self) -> dict[str, Any]:
        return self._asked(RELOAD)

    def _asked(self, kind: int) -> dict[str, Any]:
        with self.connect() as connection:
            connection.sendall(framed(self.token, kind))
            answer: dict[str, Any] = json.loads(connection.makefile("rb").read())
            return answer

    def until(self, holds: Callable[[], object], *, within_s: float = 10.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline_s, (self.events, self.host._status())
            time.sleep(0.01)

    def event(self, name: str) -> dict[str, Any] | None:
        return next((each for each in list(self.events) if each["event"] == name), None)


@contextlib.contextmanager
def served(folder: Path, how: str = "", *, node: bool = True, again: bool = False) -> Iterator[Served]:
    host = Served(folder / "f", how, again=again)
    try:
        if node:
            host.node()
        yield host
    finally:
        if not host._thread.is_alive():
            host.control.close()
        else:
            host.end()
