"""Who fails to log in waits, longer each time; counted per account and per source address, bounded, pure (SEC-1)."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.vocabulary import Instant

WAIT_S_MAX: Final = 900.0
FORGET_AFTER_S: Final = 3_600.0
ENTRIES_MAX: Final = 10_000
ACCOUNT_FREE: Final = 5
# Many people may sit behind one address.
ADDRESS_FREE: Final = 20
assert FORGET_AFTER_S > WAIT_S_MAX, "a wait must not end by being forgotten"
_DOUBLINGS_MAX: Final = 20


class _Failures(msgspec.Struct, frozen=True):
    count: int
    last: Instant


class BackOff:
    """Failures by key. `free` failures cost nothing; then 1 s, doubling to 15 minutes; forgotten after an hour."""

    def __init__(self, *, free: int, entries_max: int = ENTRIES_MAX) -> None:
        self._free = free
        self._entries_max = entries_max
        self._failures: dict[str, _Failures] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def wait_s(self, key: str, now: Instant) -> float:
        """Return how long this key has to wait yet (s), 0: it need not."""
        known = self._known(key, now)
        if known is None or known.count < self._free:
            return 0.0
        return max(0.0, _delay_s(known.count - self._free) - now.seconds_since(known.last))

    def failed(self, key: str, now: Instant) -> float:
        """Count a failure; return the wait that it costs (s). A full book forgets whoever failed longest ago."""
        known = self._known(key, now)
        # Taken out and put in again: the oldest stand first.
        self._failures.pop(key, None)
        while len(self._failures) >= self._entries_max:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = _Failures(1 if known is None else known.count + 1, now)
        return self.wait_s(key, now)

    def count(self, key: str, now: Instant) -> int:
        """Return how often in a row a key has failed."""
        known = self._known(key, now)
        return 0 if known is None else known.count

    def remember(self, key: str, count: int, last: Instant) -> None:
        """Take over failures that were counted before a restart; what is known already counts more."""
        if key not in self._failures and len(self._failures) < self._entries_max:
            self._failures[key] = _Failures(count, last)

    def succeeded(self, key: str) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)

    def forgive(self, key: str, count: int, now: Instant) -> None:
        """Take so many of a key's failures back."""
        known = self._known(key, now)
        if known is None or known.count <= count:
            self._failures.pop(key, None)
        else:
            self._failures[key] = _Failures(known.count - count, known.last)

    def _known(self, key: str, now: Instant) -> _Failures | None:
        known = self._failures.get(key)
        if known is None or not 0.0 <= now.seconds_since(known.last) < FORGET_AFTER_S:
            return None
        return known


def _delay_s(over: int) -> float:
    return min(WAIT_S_MAX, 2.0 ** min(over, _DOUBLINGS_MAX))
