"""Which alarm conditions an actor holds, and when to say so again: the same small book for plan, pump and station."""

from __future__ import annotations

from typing import Final

from actors.messages import AlarmAsserted, AlarmReturned
from actors.vocabulary import Instant, Severity

ASSERT_EVERY_S: Final = 10.0
# The alarm actor expects a condition again at least every 15 s; one lost beat of 1 s must not return it.
assert ASSERT_EVERY_S < 15.0 - 2.0

CONDITIONS_MAX: Final = 1_000


class ConditionBook:
    """Conditions by (name, subject); `hold` and `clear` say what holds, `news` what to tell the alarm actor. No I/O.

    At most CONDITIONS_MAX are held; what does not fit is dropped and counted in `dropped`.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], tuple[Severity, str]] = {}
        self._told_at: dict[tuple[str, str], Instant] = {}
        self.dropped = 0

    def hold(self, condition: str, subject: str, severity: Severity, text: str) -> None:
        """The condition holds (again); the newest text counts."""
        key = (condition, subject)
        if key not in self._held and len(self._held) >= CONDITIONS_MAX:
            self.dropped += 1
            return
        self._held[key] = (severity, text)

    def clear(self, condition: str, subject: str) -> None:
        """The condition does not hold (any longer)."""
        self._held.pop((condition, subject), None)

    def clear_all_but(self, condition: str, subjects: set[str]) -> None:
        """Of this condition only those `subjects` may still hold."""
        for name, subject in list(self._held):
            if name == condition and subject not in subjects:
                del self._held[name, subject]

    def news(self, now: Instant) -> tuple[AlarmAsserted | AlarmReturned, ...]:
        """Return what must be told now: new conditions, old ones every ASSERT_EVERY_S, and what has returned."""
        told: list[AlarmAsserted | AlarmReturned] = []
        for key in sorted(self._told_at.keys() - self._held.keys()):
            del self._told_at[key]
            told.append(AlarmReturned(condition=key[0], subject=key[1], at=now))
        for key, (severity, text) in self._held.items():
            before = self._told_at.get(key)
            if before is None or now.seconds_since(before) >= ASSERT_EVERY_S:
                self._told_at[key] = now
                told.append(
                    AlarmAsserted(condition=key[0], subject=key[1], severity=severity, text=text, at=now)
                )
        return tuple(told)
