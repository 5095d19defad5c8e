"""The few things of Linux that Python's standard library has no call for. Cheap to import."""

from __future__ import annotations

import ctypes
import os
import resource
import select
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


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Get the signal when the parent's thread that started this process ends; exit at once when it has already.

    A fork of this process is not bound by it (prctl(2)).
    """
    _prctl(_PR_SET_PDEATHSIG, number)
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


def as_limited_as(pid: int) -> None:
    """Take over another process's resource limits and processors: Ray raises limits after our host has started.

    Raises:
        OSError: it has gone, or is not ours; ValueError: its limits are above what this process may have.

    """
    names = {name for name in dir(resource) if name.startswith("RLIMIT_")}
    for limit in {getattr(resource, name) for name in names}:
        theirs = resource.prlimit(pid, limit)
        if theirs != resource.getrlimit(limit):
            resource.setrlimit(limit, theirs)
    processors = os.sched_getaffinity(pid)
    if processors != os.sched_getaffinity(0):
        os.sched_setaffinity(0, processors)


def many_descriptors(count: int) -> None:
    """Allow this process so many open descriptors, or as many as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def few_arenas(count: int) -> None:
    """Let glibc's malloc share `count` arenas between all threads, also in forks: each one costs memory."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_ARENA_MAX, count)


def trim() -> None:
    """Give free heap back to the kernel, so that forks do not share what nobody uses."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


class _Mallinfo(ctypes.Structure):
    """glibc's `struct mallinfo2` (mallinfo(3))."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_HOLES_MAX = 200_000


def fill_holes() -> int:
    """Take up every hole in malloc's main heap for good, and return how many bytes that was.

    An import leaves some thousand small holes all over the heap. A fork that allocates from them copies a page for
    each; with the holes gone it allocates from fresh pages, one after the other: 5 MiB less in every worker. Needs
    glibc 2.33 or later, else it does nothing.
    """
    if not hasattr(_libc, "mallinfo2") or not hasattr(_libc, "sbrk"):
        return 0
    malloc, free, sbrk, mallinfo = _libc.malloc, _libc.free, _libc.sbrk, _libc.mallinfo2
    malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    free.restype, free.argtypes = None, [ctypes.c_void_p]
    sbrk.restype, sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    mallinfo.restype = _Mallinfo
    filled = taken = 0
    size = 128 * 1024
    while size >= 24 and taken < _HOLES_MAX:  # noqa: PLR2004  malloc's smallest
        top = (sbrk(0) or 0) - mallinfo().keepcost
        block = malloc(size)
        if block is None or block >= top - _PAGE_BYTES or block < top - mallinfo().arena:
            free(block)  # from the end of the heap or from outside: no hole of this size is left
            size = size * 3 // 4 if size > 1024 else size - 16  # noqa: PLR2004
        else:
            filled += size
            taken += 1
    return filled


def threads() -> int:
    """Return how many threads this process has."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208  names are enough


def kill(pidfd: int) -> None:
    """End the very process that the descriptor was opened for; one that has ended already is fine."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return


def ended(pidfd: int, *, within_s: float) -> bool:
    """Wait for the process to end; return whether it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(within_s * 1000.0))
