"""How an ask, its deadline and its answer cross from one process to another."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actors.vocabulary import CalejoError, Instant, UnansweredError, UnavailableError

_NS_PER_S: Final = 1_000_000_000


class Deadline(msgspec.Struct, frozen=True):
    """Until when an answer is of use: a boot-clock instant of the asker's machine, and the budget it gave."""

    boot_id: str
    boot_ns: int
    budget_s: float

    @staticmethod
    def after(now: Instant, budget_s: float) -> Deadline:
        """Return the deadline `budget_s` from `now`."""
        return Deadline(now.boot_id, now.boot_ns + round(budget_s * _NS_PER_S), budget_s)

    def here(self, arrived: Instant) -> int:
        """Return it as a boot-clock instant (ns) of the machine it arrived at.

        Between machines boot clocks do not compare: there the whole budget counts from the arrival.
        """
        if self.boot_id == arrived.boot_id:
            return self.boot_ns
        return arrived.boot_ns + round(self.budget_s * _NS_PER_S)


class Answer(msgspec.Struct, frozen=True):
    """An answer as data: a typed error stays itself on the way, where a raised one would be wrapped by the carrier."""

    value: Any = None
    error: CalejoError | None = None

    def unwrap(self) -> Any:
        """Return the value.

        Raises:
            CalejoError: what the actor answered with.

        """
        if self.error is not None:
            raise self.error
        return self.value


def unanswered(address: str, why: str) -> UnavailableError:
    """Return the error of an ask that nobody answered."""
    return UnavailableError(f"{address}: {why}")


def unconfirmed(address: str, why: str) -> UnansweredError:
    """Return the error of an ask that went out and was not answered: it may have been carried out."""
    return UnansweredError(f"{address}: {why}")
