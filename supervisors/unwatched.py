"""Which site supervisors have been away for so long that all below them has to end: nobody watches it. Pure (SUP-5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from actors.vocabulary import Address, Instant, Role
from supervisors.restart_types import Child, ChildState
from supervisors.spec import ChildSpec

# A supervisor that dies is back in a second, one that hangs in eight; on a machine with no time left in some more.
UNWATCHED_MAX_S: Final = 60.0


class Unwatched:
    """Looks at the supervisors among the children from time to time."""

    def __init__(self) -> None:
        self._away_since: dict[Address, Instant] = {}
        self.ended: frozenset[Address] = frozenset()

    def look(
        self, specs: Sequence[ChildSpec], children: Mapping[Address, Child], now: Instant
    ) -> tuple[ChildSpec, ...]:
        """Return those below whom all has to end now: the quarantined, and those that fail to come back in time.

        `ended` then holds their addresses.
        """
        supervisors = {spec.address: spec for spec in specs if spec.role is Role.SUPERVISOR}
        away = {
            address: child
            for address in supervisors
            if (child := children.get(address, Child())).state is not ChildState.RUNNING and child.last_error
        }
        self._away_since = {address: self._away_since.get(address, now) for address in away}
        found = tuple(
            spec
            for address, spec in supervisors.items()
            if address in away
            and (
                away[address].state is ChildState.QUARANTINED
                or now.seconds_since(self._away_since[address]) >= UNWATCHED_MAX_S
            )
        )
        self.ended = frozenset(spec.address for spec in found)
        return found
