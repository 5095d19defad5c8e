"""How often somebody may ask: so many a second, more for a moment; by key, bounded, pure (API-2, SEC-5)."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.vocabulary import Instant

ENTRIES_MAX: Final = 10_000
BURST_S: Final = 3.0
"""How long somebody who asked nothing may ask at once for."""


class _Bucket(msgspec.Struct):
    left: float
    at: Instant


class Buckets:
    """What is left to each key. `per_s` 0: nobody is limited."""

    def __init__(self, *, per_s: float, burst_s: float = BURST_S, entries_max: int = ENTRIES_MAX) -> None:
        self._per_s = per_s
        self._room = max(1.0, per_s * burst_s)
        self._entries_max = entries_max
        self._buckets: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: Instant) -> float:
        """Count one request; return how long to wait before it would be taken (s), 0: it is."""
        if self._per_s <= 0.0:
            return 0.0
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = _Bucket(self._room, now)
        else:
            # Of two boots nothing is known: an unknown age is long.
            passed_s = max(0.0, now.seconds_since(bucket.at))
            bucket = _Bucket(min(self._room, bucket.left + passed_s * self._per_s), now)
        # A full book forgets whoever asked longest ago: they have the most left anyway.
        while len(self._buckets) >= self._entries_max:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket
        if bucket.left < 1.0:
            return (1.0 - bucket.left) / self._per_s
        bucket.left -= 1.0
        return 0.0
