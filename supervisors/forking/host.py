"""The host: one small process of a node that takes launchers' requests and has the template fork.

It alone listens; it checks who asks before it reads, bounds what it reads, and hands whole requests to the template
together with the launcher's connection. It starts the template, replaces one that died or hangs, and swaps it for
one with new code on request. It ends with whoever started it (`control` closes) and with its node (the raylet ends);
the template ends with it. Imports the standard library only, so that it costs some 8 MiB and nothing while idle.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from supervisors.forking import linux
from supervisors.forking.loaded import Template
from supervisors.forking.peer import STANDARD, Peer
from supervisors.forking.protocol import (
    COLD_MARK,
    FORK,
    FORK_WITHIN_S,
    HEAD,
    HERE,
    PEERS_MAX,
    RELOAD,
    REQUEST_WITHIN_S,
    WAIT_MARK,
    WARM_WAIT_S,
    MalformedError,
    Request,
    decode,
    encode,
    head_of,
    unfit,
)
from supervisors.forking.wire import ClosedError

_CHUNK: Final = 65_536
_HEALTH_PERIOD_S: Final = 5.0
# So often its owner hears from a host that does not hang.
ALIVE_PERIOD_S: Final = 5.0
_LOAD_WITHIN_S: Final = 60.0
# A template that fails again and again is tried more and more rarely; one that lived so long starts afresh.
_RETRY_S: Final = 0.2
_RETRY_S_MAX: Final = 60.0
_PROVEN_S: Final = 60.0
_REASONS_MAX: Final = 32
# Launchers that may wait for the first template. The raylet starts as many at a time as it has actors to start.
_PARKED_MAX: Final = 448
_DESCRIPTORS_WANTED: Final = 4096
assert _DESCRIPTORS_WANTED >= 2 * (_PARKED_MAX + PEERS_MAX) * (STANDARD + 1), (
    "each brings its own and a connection"
)
_LEAVES_WITHIN_S: Final = 1.0


def retry_s(failures: int) -> float:
    """Return how long to wait before the next template after so many that failed in a row (s)."""
    return min(_RETRY_S_MAX, _RETRY_S * 2.0 ** min(failures, 16))


class Host:
    """Everything of one node's host."""

    def __init__(self, control: socket.socket, told: dict[str, Any], *, heard: bytes = b"") -> None:
        self._control = control
        self._control_data = heard
        self._told = told
        self._folder = Path(told["folder"])
        self._token = bytes.fromhex(told["token"])
        self._uid = os.getuid()
        self._listener = self._listen(Path(told["socket"]))
        self._peers: dict[int, Peer] = {}
        self._parked: list[tuple[Request, Peer, float]] = []
        self._raylet: int | None = None
        self._said_s = time.monotonic()
        self._environment: dict[str, str] = {}
        self._template: Template | None = None
        self._loading: Template | None = None
        self._asked_reload: list[socket.socket] = []
        # Once they ran, nobody waits for a template: what is to be started now is a process that is missing.
        self._was_ready = bool(told.get("again"))
        self._failures = 0
        self._next_s = 0.0
        self._checked_s = 0.0
        self._off = ""
        self._forked = 0
        self._refused = 0
        self._reloads = 0
        self._templates_lost = 0
        self._cold: dict[str, int] = {}

    @staticmethod
    def _listen(path: Path) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)  # of a host that was killed
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(4 * PEERS_MAX)  # a full queue would mean a cold start
        listener.setblocking(False)
        return listener

    # ------------------------------------------------------------------ the loop

    def run(self, told_to_end: socket.socket | None = None) -> bool:
        """Serve; return True when owner or node have gone, False when there was something to read at `told_to_end`."""
        stop = None if told_to_end is None else told_to_end.fileno()
        self._say("listening")
        self._obey()
        while True:
            poll = select.poll()
            for descriptor in (*self._watched(), *([] if stop is None else [stop])):
                poll.register(descriptor, select.POLLIN)
            now_s = time.monotonic()
            wait_s = max(0.0, min(self._wake_s(), now_s + _HEALTH_PERIOD_S) - now_s)
            happened = {descriptor for descriptor, _ in poll.poll(wait_s * 1000.0)}
            if self._raylet in happened or (self._control.fileno() in happened and not self._heard_control()):
                return True
            if stop in happened:
                return self._owner_leaves()
            self._serve(happened)
            self._tend()

    def _owner_leaves(self) -> bool:
        """Return whether the signal came with its owner's death: the connection closes a moment before or after."""
        poll = select.poll()
        poll.register(self._control.fileno(), select.POLLIN)
        return bool(poll.poll(_LEAVES_WITHIN_S * 1000.0)) and not self._heard_control()

    def _watched(self) -> list[int]:
        watched = [self._control.fileno(), self._listener.fileno(), *self._peers]
        watched += [each.wire.fileno() for each in (self._template, self._loading) if each is not None]
        return watched if self._raylet is None else [*watched, self._raylet]

    def _wake_s(self) -> float:
        times = [peer.until_s for peer in self._peers.values()] + [until for _, _, until in self._parked]
        if self._loading is not None:
            times.append(self._loading.began_s + _LOAD_WITHIN_S)
        elif self._template is None and self._environment and not self._off:
            times.append(self._next_s)
        return min(times, default=float("inf"))

    def _serve(self, happened: set[int]) -> None:
        for template in (self._template, self._loading):
            if template is not None and template.wire.fileno() in happened:
                self._heard_template(template)
        for descriptor in [each for each in happened if each in self._peers]:
            self._read(self._peers[descriptor])
        if self._listener.fileno() in happened:
            self._accept()

    def close(self) -> None:
        """End the template and let go of everybody."""
        self._listener.close()
        for template in (self._template, self._loading):
            if template is not None:
                template.end()
        for peer in (*self._peers.values(), *(each for _, each, _ in self._parked)):
            peer.close()
        for connection in self._asked_reload:
            connection.close()
        if self._raylet is not None:
            os.close(self._raylet)

    def remove_folder(self) -> None:
        """Leave nothing behind. Only without owner or node: a raylet without its launcher starts no worker at all."""
        with contextlib.suppress(OSError):  # the owner may be at the same work
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)
            self._folder.rmdir()

    # ------------------------------------------------------------------ who started us

    def _say(self, event: str, **fields: object) -> None:
        """Tell the owner, who may be stopped in its terminal: nobody waits for it, what it has no room for is lost."""
        line = json.dumps({"event": event, **fields}) + "\n"
        with contextlib.suppress(OSError):  # or it has gone: the next look at the connection ends us
            self._control.send(line.encode(), socket.MSG_DONTWAIT)

    def _say_alive(self, now_s: float) -> None:
        """Have the owner know that this process does not hang."""
        if now_s >= self._said_s + ALIVE_PERIOD_S:
            self._said_s = now_s
            self._say("alive")

    def _heard_control(self) -> bool:
        try:
            data = self._control.recv(_CHUNK)
        except ConnectionResetError:
            return False
        self._control_data += data
        self._obey()
        return bool(data)

    def _obey(self) -> None:
        *lines, self._control_data = self._control_data.split(b"\n")
        for line in lines:
            self._node(json.loads(line))

    def _node(self, told: dict[str, Any]) -> None:
        """Learn which raylet we serve, and load the template with the environment of its workers."""
        try:
            self._raylet = os.pidfd_open(told["raylet_pid"])
        except OSError as error:
            ended = isinstance(error, ProcessLookupError)
            self._off = "the raylet has ended" if ended else f"the raylet cannot be watched: {error.strerror}"
            self._say("off", why=self._off)
            return
        self._environment = told["environment"]
        self._load()

    # ------------------------------------------------------------------ the template

    def _load(self) -> None:
        assert self._loading is None, "one at a time"
        try:
            self._loading = Template(
                command=self._told["template"],
                environment=self._environment,
                log=self._folder / "template.log",
            )
        except OSError as error:  # no memory, no room on the disk, the interpreter is being replaced
            self._not_loaded(f"not started: {error}")

    def _heard_template(self, template: Template) -> None:
        try:
            said = template.wire.receive(within_s=FORK_WITHIN_S)
        except (ClosedError, TimeoutError):
            self._lost(template, "died")
            return
        if "why" in said:
            self._lost(template, said["why"])
        elif template is self._loading:
            self._is_ready(template, said)

    def _is_ready(self, template: Template, said: dict[str, Any]) -> None:
        template.ready = said
        former, self._template, self._loading = self._template, template, None
        self._was_ready = True
        self._checked_s = time.monotonic()
        took_s = round(self._checked_s - template.began_s, 3)
        self._say("template_ready", template=template.process.pid, took_s=took_s, **said)
        if former is not None:
            former.end()
        if self._asked_reload:
            self._reloads += 1
            self._answer_reload("")
        parked, self._parked = self._parked, []
        for request, peer, _ in parked:
            self._fork(request, peer)

    def _lost(self, template: Template, why: str) -> None:
        """Let go of a template; start another after a while."""
        lived_s = time.monotonic() - template.began_s
        template.end()
        if template is self._loading:
            self._loading = None
        else:
            self._template = None
        proven = template.ready is not None and lived_s > _PROVEN_S
        self._not_loaded(why, template=template.process.pid, proven=proven, reload=self._loading is None)

    def _not_loaded(
        self, why: str, *, template: int | None = None, proven: bool = False, reload: bool = True
    ) -> None:
        self._templates_lost += 1
        self._failures = 0 if proven else self._failures + 1
        self._next_s = time.monotonic() + retry_s(max(0, self._failures - 1))
        self._say("template_lost", template=template, why=why, log=self._last_words())
        if reload:
            self._answer_reload(why)
        if not self._was_ready:
            parked, self._parked = self._parked, []
            for _, peer, _ in parked:
                self._start_cold(peer, f"there is no template: {why}")

    def _last_words(self) -> str:
        try:
            lines = (self._folder / "template.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][:300] if lines else ""

    def _tend(self) -> None:
        """Do what is due: peers that are late, a template that loads too long, is to be checked or started."""
        now_s = time.monotonic()
        self._say_alive(now_s)
        for peer in [peer for peer in self._peers.values() if peer.until_s <= now_s]:
            self._refuse(peer, "too slow")
        for entry in [entry for entry in self._parked if entry[2] <= now_s]:
            self._parked.remove(entry)
            self._start_cold(entry[1], "the template still loads")
        if self._loading is not None and now_s > self._loading.began_s + _LOAD_WITHIN_S:
            self._lost(self._loading, f"not loaded within {_LOAD_WITHIN_S:g} s")
        idle = self._template is None and self._loading is None and self._environment and not self._off
        if idle and now_s >= self._next_s:
            self._load()
        if self._template is not None and now_s >= self._checked_s + _HEALTH_PERIOD_S:
            self._checked_s = now_s
            self._ask(self._template, {"do": "health"}, ())

    def _ask(
        self, template: Template, message: dict[str, Any], descriptors: tuple[int, ...], body: bytes = b""
    ) -> dict[str, Any] | None:
        """Ask the template and return its answer; one that does not answer is replaced."""
        try:
            template.wire.send(message, body=body, descriptors=descriptors, within_s=FORK_WITHIN_S)
            said = template.wire.receive(within_s=FORK_WITHIN_S)
        except TimeoutError:
            self._lost(template, f"no answer within {FORK_WITHIN_S:g} s")
        except ClosedError:
            self._lost(template, "died")
        else:
            if "why" not in said:
                return said
            self._lost(template, said["why"])
        return None

    # ------------------------------------------------------------------ who asks

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                peer = Peer(connection, until_s=time.monotonic() + REQUEST_WITHIN_S)
                pid, uid = linux.peer(connection)
                if uid != self._uid:
                    self._refuse(peer, f"process {pid} belongs to user {uid}")
                elif len(self._peers) >= PEERS_MAX:
                    self._refuse(peer, "too many at once")
                else:
                    self._peers[connection.fileno()] = peer
                    self._read(peer)

    def _refuse(self, peer: Peer, why: str) -> None:
        self._peers.pop(peer.connection.fileno(), None)
        self._refused += 1
        if self._refused <= _REASONS_MAX:
            self._say("refused", why=why)
        peer.close()

    def _read(self, peer: Peer) -> None:
        try:
            while peer.read():
                if len(peer.data) < HEAD.size:
                    continue
                kind, size = head_of(peer.data, self._token)
                if len(peer.data) > HEAD.size + size:
                    raise MalformedError("more than was announced")
                if len(peer.data) == HEAD.size + size:
                    del self._peers[peer.connection.fileno()]
                    self._whole(kind, peer)
                    return
            raise MalformedError("ended early")
        except BlockingIOError:
            return
        except (MalformedError, OSError) as error:
            self._refuse(peer, str(error))

    def _whole(self, kind: int, peer: Peer) -> None:
        if kind == FORK:
            try:
                if len(peer.descriptors) != STANDARD:
                    raise MalformedError("not three descriptors")
                request = decode(peer.data[HEAD.size :])
            except MalformedError as error:
                self._refuse(peer, str(error))
                return
            self._fork(request, peer)
            return
        peer.connection.settimeout(REQUEST_WITHIN_S)
        if kind == RELOAD and self._may_reload():
            self._asked_reload.append(peer.connection)
            if (
                self._loading is not None
            ):  # begun before it was asked for: what it has read may be the former code
                self._loading.end()
                self._loading = None
            self._load()
            return
        why = {"why": self._off or "it serves no node yet, or is asked by too many"} if kind == RELOAD else {}
        with peer.connection as connection, contextlib.suppress(OSError):
            connection.sendall(json.dumps({**self._status(), **why}).encode())

    def _may_reload(self) -> bool:
        return not self._off and bool(self._environment) and len(self._asked_reload) < PEERS_MAX

    def _answer_reload(self, why: str) -> None:
        asked, self._asked_reload = self._asked_reload, []
        for connection in asked:
            with connection, contextlib.suppress(OSError):
                connection.sendall(json.dumps({**self._status(), "why": why}).encode())

    def _status(self) -> dict[str, Any]:
        template = self._template
        return {
            "pid": os.getpid(),
            "template": None if template is None else template.process.pid,
            "ready": None if template is None else template.ready,
            "off": self._off,
            "forked": self._forked,
            "cold": self._cold,
            "refused": self._refused,
            "reloads": self._reloads,
            "templates_lost": self._templates_lost,
        }

    def _fork(self, request: Request, peer: Peer) -> None:
        why = self._off or (self._unfit(request) if self._environment else "")
        if why:
            self._start_cold(peer, why)
            return
        if self._template is None:
            if self._was_ready or self._failures:
                self._start_cold(peer, "there is no template at the moment")
            elif len(self._parked) >= _PARKED_MAX:
                self._start_cold(peer, "too many wait for the template")
            else:
                with contextlib.suppress(OSError):  # gone: the fork will find nobody
                    peer.connection.send(HERE.pack(WAIT_MARK, 0))
                self._parked.append((request, peer, time.monotonic() + WARM_WAIT_S))
            return
        descriptors = (*peer.descriptors, peer.connection.fileno())
        said = self._ask(self._template, {"do": "fork"}, descriptors, encode(request))
        if said is None:
            self._count_cold("the template did not fork")
        elif "cold" in said:
            self._count_cold(said["cold"])
        else:
            self._forked += 1
        # The forked process has its own copies. Without one, the launcher reads the end and starts cold.
        peer.close()

    def _unfit(self, request: Request) -> str:
        return unfit(
            request,
            worker_script=os.fsencode(self._told["worker_script"]),
            template_environment={
                os.fsencode(name): os.fsencode(value) for name, value in self._environment.items()
            },
        )

    def _start_cold(self, peer: Peer, why: str) -> None:
        self._count_cold(why)
        with contextlib.suppress(OSError):
            peer.connection.send(HERE.pack(COLD_MARK, 0))
        peer.close()

    def _count_cold(self, why: str) -> None:
        key = why if why in self._cold or len(self._cold) < _REASONS_MAX else "other"
        self._cold[key] = self._cold.get(key, 0) + 1
        if self._cold[key] == 1:
            self._say("cold_start", why=why)


def main() -> None:
    """Run as `python -IS -c … CONTROL-DESCRIPTOR PARENT-PID`, told the rest over the control connection.

    Exits with 0 when owner or node have gone, else with 1: its owner starts another.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    parent = int(sys.argv[2])
    # Whoever dies closes the connection and has the kernel send a signal a moment later: a handler that raised would
    # break off the end that is under way.
    told_to_end, handler = socket.socketpair()
    handler.setblocking(False)
    signal.set_wakeup_fd(handler.fileno())
    signal.signal(signal.SIGTERM, _noted)
    linux.die_with_parent(parent, signal.SIGTERM)
    linux.adopt_orphans()
    linux.many_descriptors(_DESCRIPTORS_WANTED)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its owner, and in order
    data = b""
    while b"\n" not in data:
        more = control.recv(_CHUNK)
        if not more:
            return
        data += more
    told, _, rest = data.partition(b"\n")
    try:
        host = Host(control, json.loads(told), heard=rest)
        over = False
        try:
            over = host.run(told_to_end)
        finally:
            host.close()
            if over:
                host.remove_folder()
    except Exception as error:
        with contextlib.suppress(OSError):  # nobody reads what an uncaught error prints
            said = {"event": "failed", "why": f"{type(error).__name__}: {error}"[:500]}
            control.send(json.dumps(said).encode() + b"\n", socket.MSG_DONTWAIT)
        raise
    sys.exit(0 if over else 1)


def _noted(*_: object) -> None:
    """Let the loop see it."""
