"""Whether somebody set the wall clock: its distance from the boot clock, which nobody can set (WDG-1); pure."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.vocabulary import Instant

_NS_PER_S: Final = 1_000_000_000


class ClockWatch(msgspec.Struct, frozen=True, kw_only=True):
    """How far the wall clock was from the boot clock at the last look, and the last step (s, forward positive)."""

    offset_ns: int
    step_s: float = 0.0


def look(known: ClockWatch | None, *, now: Instant, step_s_min: float) -> tuple[ClockWatch, bool]:
    """Return what is known after a look at `now`, and whether the wall clock was set since the last one.

    A clock that is slewed moves by less than a millisecond per second; what jumps by `step_s_min` was set.
    """
    offset_ns = now.utc_ns - now.boot_ns
    if known is None:
        return ClockWatch(offset_ns=offset_ns), False
    moved_s = (offset_ns - known.offset_ns) / _NS_PER_S
    if abs(moved_s) < step_s_min:
        return msgspec.structs.replace(known, offset_ns=offset_ns), False
    return ClockWatch(offset_ns=offset_ns, step_s=moved_s), True
