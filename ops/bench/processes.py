"""What /proc says of the measured processes: memory, processor time, and who is still there afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ops.rundir import start_ticks
from supervisors.process import descendants

_KIB_PER_MIB: Final = 1024.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_LOOK_S: Final = 0.05


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """One process: resident, and of it what no other process shares (MiB)."""

    private_mib: float
    rss_mib: float


def memory(pid: int) -> Memory | None:
    """Return a process's memory from `smaps_rollup`, None when it is gone (proc(5))."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    kib: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        amount = rest.split()
        if len(amount) == 2 and amount[1] == "kB":  # noqa: PLR2004  (a number and its unit)
            kib[name] = int(amount[0])
    if "Rss" not in kib:
        return None
    private = kib.get("Private_Clean", 0) + kib.get("Private_Dirty", 0)
    return Memory(private_mib=private / _KIB_PER_MIB, rss_mib=kib["Rss"] / _KIB_PER_MIB)


def command_line(pid: int) -> str:
    """Return the command line, '' when the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def processor_s(pid: int) -> float:
    """Return the processor time (s, user and system) that the process has used, 0 when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


class Family:
    """All processes ever seen below one; known by pid and start time, so that a pid used again is not mistaken."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._seen: dict[int, int] = {}

    def look(self) -> list[int]:
        """Return who lives below now, and remember them."""
        living = descendants(self.pid)
        for pid in (self.pid, *living):
            if (ticks := start_ticks(pid)) is not None:
                self._seen[pid] = ticks
        return living

    def left(self) -> list[int]:
        """Return those of all ever seen that still live."""
        return [pid for pid, ticks in self._seen.items() if start_ticks(pid) == ticks]

    def wait_gone(self, within_s: float) -> list[int]:
        """Wait until nobody is left; return who is after `within_s`."""
        deadline = time.monotonic() + within_s
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return left

    def kill(self) -> None:
        """End by force who is left."""
        for pid in self.left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def used_s(before: Mapping[int, float], pids: Iterable[int]) -> float:
    """Return the processor time (s) used since `before` by those who lived then and live now."""
    return sum(max(0.0, processor_s(pid) - before[pid]) for pid in pids if pid in before)
