"""How often hosts may have the node born again: at once when one asks, more rarely when they ask on and on; pure."""

from __future__ import annotations

from typing import Final

BIRTH_S_MIN: Final = 1.0
"""Two births are never closer. Who asks sooner waits, and gets no data meanwhile, as the specification has it."""
BIRTH_S_MAX: Final = 30.0
"""A host in a loop gets a birth this often at last. It gets data in between: the others must not starve for it."""

# Two hosts that start together are no storm.
_TOLD_S: Final = 4.0


class RebirthPace:
    """The pace of one connection; times in s, any origin."""

    def __init__(self) -> None:
        self.asked = False
        """Whether a host waits for a birth."""
        self._interval_s = BIRTH_S_MIN
        self._born_s: float | None = None

    @property
    def interval_s(self) -> float:
        """How far apart births are now that hosts ask for."""
        return self._interval_s

    def grants(self, now_s: float) -> bool:
        """Whether a host's request is to be taken up: data stops until the birth."""
        if not self.asked:
            return False
        return self._interval_s <= BIRTH_S_MIN or self._since_s(now_s) >= self._interval_s

    def may_be_born(self, now_s: float) -> bool:
        """Whether the last birth is long enough ago for one that is due."""
        return self._since_s(now_s) >= BIRTH_S_MIN

    def born(self, now_s: float) -> str:
        """Note a birth; return what is worth telling: the first time that requests are slowed down, '' else.

        A request within twice the interval after the last birth doubles it; after a longer calm it begins anew.
        """
        told = ""
        if self.asked and self._born_s is not None:
            calm = self._since_s(now_s) >= 2.0 * self._interval_s
            before_s = self._interval_s
            self._interval_s = BIRTH_S_MIN if calm else min(2.0 * before_s, BIRTH_S_MAX)
            if before_s < _TOLD_S <= self._interval_s:
                told = f"hosts ask for births again and again: one in {BIRTH_S_MAX:g} s at last"
        self.asked = False
        self._born_s = now_s
        return told

    def _since_s(self, now_s: float) -> float:
        return float("inf") if self._born_s is None else now_s - self._born_s
