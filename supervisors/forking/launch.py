"""The launcher: stands where the interpreter stood in the raylet's worker command, and has the worker forked.

Runs as `python -IS launcher …` with nothing but built-in modules and `protocol`: 6 ms. Whatever is not as it should
be, it becomes the interpreter that it stands for: a cold start. It is never the forked process: that one speaks to
it over the connection first (HERE) and goes on only when told (GO), so no worker is started twice or forgotten.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C part of signal, without its enums
import _socket
import os
import sys

from supervisors.forking.protocol import (
    FORK,
    GO,
    HERE,
    HERE_MARK,
    LAUNCH_WITHIN_S,
    MalformedError,
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
        except (OSError, MalformedError, ValueError):
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
    host.settimeout(LAUNCH_WITHIN_S)
    host.connect(socket_path)
    descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in _STANDARD)
    sent = host.sendmsg([frame], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
    while sent < len(frame):
        sent += host.send(frame[sent:])
    said = b""
    while len(said) < HERE.size:
        more = host.recv(HERE.size - len(said))
        if not more:
            return False
        said += more
    mark, _pid = HERE.unpack(said)
    if mark != HERE_MARK:
        return False
    host.send(GO)
    return True


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _oom_score_adj() -> int:
    with open("/proc/self/oom_score_adj", "rb") as file:  # noqa: PTH123  pathlib costs 5 ms
        return int(file.read())
