"""What this operating system says about processes and time: pids, memory, the boot clock."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from pathlib import Path
from typing import Final

from actors.runtime import Clock
from actors.vocabulary import Instant

_RANDOM_BITS: Final = 53
_MIB: Final = 1024 * 1024
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def rss_mib(pid: int | str = "self") -> float | None:
    """Return the resident memory of a process in MiB, None when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return round(pages * _PAGE_BYTES / _MIB, 1)


def _parent(pid: int) -> int | None:
    """Return the parent's pid; None when the process is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]
    return None if state in {"Z", "X"} else int(parent)


def alive(pid: int) -> bool:
    """Whether the process runs (or is stopped); one that waits to be reaped does not."""
    return _parent(pid) is not None


def descendants(pid: int) -> list[int]:
    """Return the pids of all living processes below `pid`."""
    parents = {
        int(entry.name): _parent(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()
    }
    found: list[int] = []
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found.extend(sorted(frontier))
    return found


class SystemClock(Clock):
    """This machine's clocks: CLOCK_BOOTTIME for ages (it counts suspend), UTC for people."""

    def __init__(self) -> None:
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def now(self) -> Instant:
        """Return this moment."""
        return Instant(self._boot_id, time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        await asyncio.sleep(max(0.0, seconds))

    def random(self) -> float:
        """Return a float in [0, 1)."""
        return float(secrets.randbits(_RANDOM_BITS)) / float(1 << _RANDOM_BITS)
