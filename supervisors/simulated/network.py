"""What the simulated network does to messages: delay, reorder, drop, duplicate, partition. Seeded."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from actors.vocabulary import Address


class NetworkFaults(msgspec.Struct, frozen=True, kw_only=True):
    """Delays in s, the rest as probabilities. Drop and duplicate strike tells only: asks travel on a connection."""

    delay_s_min: float = 0.0003
    delay_s_max: float = 0.003
    late: float = 0.0  # this share is delayed by up to `late_s_max` more, so it arrives out of order
    late_s_max: float = 0.2
    drop: float = 0.0
    duplicate: float = 0.0


class Partition(msgspec.Struct, frozen=True):
    """Nothing passes between the two sides; a side is a test on addresses."""

    left: Callable[[Address], bool]
    right: Callable[[Address], bool]

    def cuts(self, source: Address, target: Address) -> bool:
        """Whether a message from `source` to `target` would have to cross."""
        return (self.left(source) and self.right(target)) or (self.right(source) and self.left(target))


class SimNetwork:
    """Decides the fate of each message from one seeded stream."""

    def __init__(self, seed: int, faults: NetworkFaults) -> None:
        self._random = random.Random(f"network:{seed}")  # noqa: S311  repeatable on purpose
        self.faults = faults
        self._partitions: list[Partition] = []
        self._arrives_s: dict[tuple[Address, Address], float] = {}
        self.struck: Counter[str] = Counter()
        """How often each fault truly struck: a fault that never does would prove nothing."""

    def delay_s(self) -> float:
        """Return how long the next message travels."""
        faults = self.faults
        delay_s = self._random.uniform(faults.delay_s_min, faults.delay_s_max)
        if self._random.random() < faults.late:
            delay_s += self._random.uniform(0.0, faults.late_s_max)
            self.struck["late"] += 1
        return delay_s

    def arrives(self, source: Address, target: Address, at_s: float) -> None:
        """Note when a tell will arrive: before one that was sent earlier on the same way, it has overtaken it."""
        before_s = self._arrives_s.get((source, target), at_s)
        if at_s < before_s:
            self.struck["overtakes"] += 1
        else:
            self._arrives_s[source, target] = at_s

    def copies(self) -> int:
        """Return how many copies of a tell arrive: 0, 1 or 2."""
        if self._random.random() < self.faults.drop:
            self.struck["lost"] += 1
            return 0
        if self._random.random() < self.faults.duplicate:
            self.struck["doubled"] += 1
            return 2
        return 1

    def cut(self, source: Address, target: Address) -> bool:
        """Whether a partition lies between the two."""
        if not self._partitions:
            return False
        between = any(partition.cuts(source, target) for partition in self._partitions)
        self.struck["cut"] += between
        return between

    def partition(
        self,
        left: Iterable[Address] | Callable[[Address], bool],
        right: Iterable[Address] | Callable[[Address], bool],
    ) -> Callable[[], None]:
        """Cut every path between the two sides; return a function that heals it."""
        partition = Partition(_side(left), _side(right))
        self._partitions.append(partition)
        return lambda: self._partitions.remove(partition)


def _side(side: Iterable[Address] | Callable[[Address], bool]) -> Callable[[Address], bool]:
    if callable(side):
        return side
    members = frozenset(side)
    return lambda address: address in members
