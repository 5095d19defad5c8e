"""The few things of Linux that Python's standard library has no call for. Cheap to import."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_M_ARENA_MAX = -8
_UCRED = struct.Struct("iII")

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def die_with_parent(parent: int) -> None:
    """Be killed when the parent's thread that started this process ends; exit at once when it has already.

    A killed or stopped process cannot prevent it, unlike reading the end of a pipe. A fork of this process is not
    bound by it (prctl(2)).
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent dies, and have the kernel reap every dead child."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return pid and uid of whoever connected, as the kernel knows them (unix(7), SO_PEERCRED)."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(raw)
    return pid, uid


def few_arenas(count: int) -> None:
    """Let glibc's malloc share `count` arenas between all threads, also in forks: each one costs memory."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_ARENA_MAX, count)


def trim() -> None:
    """Give free heap back to the kernel, so that forks do not share what nobody uses."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


def threads() -> int:
    """Return how many threads this process has."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208  names are enough


def kill(pidfd: int) -> None:
    """End the very process that the descriptor was opened for; one that has ended already is fine."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
