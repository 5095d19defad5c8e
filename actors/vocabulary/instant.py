"""Time as it travels between actors: the boot clock judges ages, UTC is for people and rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

_NS_PER_S: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Instant(msgspec.Struct, frozen=True):
    """One moment on one machine: `boot_ns` is CLOCK_BOOTTIME of the boot `boot_id`, `utc_ns` the wall clock (ns)."""

    boot_id: str
    boot_ns: int
    utc_ns: int

    @property
    def utc(self) -> datetime:
        """The wall clock as an aware UTC datetime (microsecond resolution)."""
        return _EPOCH + timedelta(microseconds=self.utc_ns // 1000)

    def plus(self, seconds: float) -> Instant:
        """The moment `seconds` later on both clocks."""
        step_ns = round(seconds * _NS_PER_S)
        return Instant(self.boot_id, self.boot_ns + step_ns, self.utc_ns + step_ns)

    def unstepped(self, now: Instant) -> Instant:
        """Return `now` with the wall clock that was right here, moved on by the boot clock alone.

        Whoever sets the wall clock in between changes nothing here; of two boots nothing is known but `now` itself.
        """
        if self.boot_id != now.boot_id:
            return now
        return Instant(now.boot_id, now.boot_ns, self.utc_ns + now.boot_ns - self.boot_ns)

    def seconds_since(self, earlier: Instant) -> float:
        """Seconds from `earlier` to here by the boot clock; infinite when the boots differ (an unknown age is old)."""
        if self.boot_id != earlier.boot_id:
            return float("inf")
        return (self.boot_ns - earlier.boot_ns) / _NS_PER_S
