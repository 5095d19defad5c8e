"""Whether a child that gives no sign of life hangs, or only does not get a processor (SUP-3).

On a machine with too much to do, healthy processes answer late. Killing them for that would add their restarts to the
load, until nothing but restarts is left. Linux counts for every thread how long it stood ready and waited for a
processor (/proc/PID/task/TID/schedstat, second figure, ns; proc(5)). A stopped or blocked process waits for none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_NS_PER_S: Final = 1e9
# Of the time looked at: less is what any busy machine shows.
SHARE: Final = 0.5
# So many liveness deadlines may pass while it starves: with 3 s it ends before a setpoint's lease of 10 s does.
DEADLINES_MAX: Final = 3


def processor_wait_s(pid: int, *, proc: Path = _PROC) -> float | None:
    """Return how long the threads of a process of this machine have waited for a processor, None if unknown."""
    waited_ns, known = 0, False
    try:
        threads = list((proc / str(pid) / "task").iterdir())
    except OSError:  # ended, another's, or not Linux
        return None
    for thread in threads:
        try:
            figures = (thread / "schedstat").read_text(encoding="ascii").split()
            waited_ns += int(figures[1])
        except (OSError, ValueError, IndexError):  # that thread has just ended, or the kernel counts nothing
            continue
        known = True
    return waited_ns / _NS_PER_S if known else None


def starved(before_s: float | None, after_s: float | None, *, within_s: float) -> bool:
    """Whether it spent a good part of `within_s` waiting for a processor; unknown figures excuse nobody."""
    if before_s is None or after_s is None or within_s <= 0.0:
        return False
    return after_s - before_s >= SHARE * within_s
