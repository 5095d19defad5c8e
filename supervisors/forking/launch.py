"""The launcher's work: stands where the interpreter stood in the raylet's worker command, and has the worker forked.

Imports nothing but built-in modules and `protocol`: 6 ms. Whatever is not as it should be, it becomes the interpreter
that it stands for: a cold start. It is never the forked process: that one speaks to it over the connection first (HERE)
and goes on only when told (GO), so no worker is started twice or forgotten.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C part of signal, without its enums
import _socket
import os
import sys

from supervisors.forking.protocol import (
    FIRST_WORD_WITHIN_S,
    FORK,
    GO,
    HERE,
    HERE_MARK,
    LAUNCH_WITHIN_S,
    WAIT_MARK,
    Request,
    encode,
    framed,
    mask_of,
)

_WORKER = "/default_worker.py"
_STANDARD = (0, 1, 2)


def launch(*, interpreter: str, socket_path: str, token: bytes) -> None:
    """Return when the worker has been forked and told to go; otherwise this process becomes the cold worker."""
    arguments = sys.argv[1:]
    if arguments == ["--check"]:
        sys.stdout.write("ready\n")
        return
    # With a runtime environment Ray puts setup_worker.py first: what it prepares a fork cannot have.
    if arguments and arguments[0].endswith(_WORKER):
        try:
            if _forked(arguments, socket_path, token):
                return
        except Exception:  # noqa: BLE001, S110  whatever it is
            pass  # the host tells why, where it knows; here is nobody to tell, and the cold start below is the answer
    os.execv(interpreter, [interpreter, *arguments])  # noqa: S606  the raylet's own command


def _forked(arguments: list[str], socket_path: str, token: bytes) -> bool:
    request = Request(
        argv=[os.fsencode(each) for each in arguments],
        cwd=os.getcwdb(),  # noqa: PTH109  pathlib costs 5 ms
        environment=dict(os.environb),
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        oom_score_adj=_oom_score_adj(),
        umask=_umask(),
        own_group=os.getpgid(0) == os.getpid(),
        signal_mask=mask_of(_signal.pthread_sigmask(_signal.SIG_BLOCK, ())),
    )
    frame = framed(token, FORK, encode(request))
    host = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)  # closed on exec, as every socket of Python's
    host.settimeout(FIRST_WORD_WITHIN_S)
    host.connect(socket_path)
    if _owner(host) != os.getuid():
        return False  # it would be told our environment, which holds secrets
    descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in _STANDARD)
    sent = host.sendmsg([frame], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
    while sent < len(frame):
        sent += host.send(frame[sent:])
    mark = _mark(host)
    if mark == WAIT_MARK:
        host.settimeout(LAUNCH_WITHIN_S)
        mark = _mark(host)
    if mark != HERE_MARK:
        return False
    host.send(GO)
    return True


def _mark(host: _socket.socket) -> bytes:
    """Return what was said; b'' when the host let go."""
    said = b""
    while len(said) < HERE.size:
        more = host.recv(HERE.size - len(said))
        if not more:
            return b""
        said += more
    return said[:1]


def _owner(host: _socket.socket) -> int:
    """Return who listens there, as the kernel knows it (unix(7), SO_PEERCRED): pid, user and group."""
    raw = host.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(raw[4:8], sys.byteorder)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _oom_score_adj() -> int:
    with open("/proc/self/oom_score_adj", "rb") as file:  # noqa: PTH123  pathlib costs 5 ms
        return int(file.read())
