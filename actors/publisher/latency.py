"""How old a tick is when the gate shows what came of it: a bounded book of the newest samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from actors.messages import LatencySummary
from actors.publisher.gate import StationGate
from actors.vocabulary import Instant

SAMPLES_MAX: Final = 1_000
_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_PERCENT: Final = 100


class LatencyBook(msgspec.Struct, frozen=True):
    """Of the newest samples, oldest first: when each was taken and how long it took (ns of our own boot clock)."""

    samples: tuple[tuple[int, int], ...] = ()


def noted(book: LatencyBook, *, before: StationGate, after: StationGate, now: Instant) -> LatencyBook:
    """Return the book with one sample for each pump whose gate took a newer tick; `now`: the wire shows it.

    A newer decision about an old tick is none: it would tell how old the tick is, not how long its way was.
    """
    taken = tuple(
        (now.boot_ns, now.boot_ns - pump.newest_origin_ns)
        for pump_id, pump in after.pumps.items()
        if pump.newest_origin_ns is not None and pump.newest_origin_ns != _newest(before, pump_id)
    )
    return LatencyBook((*book.samples, *taken)[-SAMPLES_MAX:]) if taken else book


def _newest(gate: StationGate, pump_id: str) -> int | None:
    pump = gate.pumps.get(pump_id)
    return None if pump is None else pump.newest_origin_ns


def summary(book: LatencyBook, *, now: Instant, within_s: float) -> LatencySummary | None:
    """Return what the samples of the last `within_s` show; None when there are none."""
    since_ns = now.boot_ns - within_s * _NS_PER_S
    return summary_of([took_ns for at_ns, took_ns in book.samples if at_ns >= since_ns])


def summary_of(samples_ns: Sequence[int]) -> LatencySummary | None:
    """Return count, median, 99th percentile (nearest rank, so each is a sample that was seen) and maximum."""
    if not samples_ns:
        return None
    ordered = sorted(samples_ns)

    def percentile_ms(percent: int) -> float:
        return ordered[math.ceil(len(ordered) * percent / _PERCENT) - 1] / _NS_PER_MS

    return LatencySummary(
        count=len(ordered),
        p50_ms=percentile_ms(50),
        p99_ms=percentile_ms(99),
        max_ms=ordered[-1] / _NS_PER_MS,
    )
