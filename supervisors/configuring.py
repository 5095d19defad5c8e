"""Sees to it that every living child has the newest configuration of its site, although tells may be lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actors.messages import Configure, TopologyDiscovered
from actors.runtime import Ports
from actors.vocabulary import Address, Role, Topology
from supervisors.lives import Lives
from supervisors.spec import ChildSpec

# It is told on so many beats: the first tell may have been lost.
_TIMES: Final = 3


class Configuring:
    """Who is still to be told. `spec_of` gives the spec in force, None for who left the tree."""

    def __init__(self, ports: Ports, lives: Lives, spec_of: Callable[[Address], ChildSpec | None]) -> None:
        self._ports = ports
        self._lives = lives
        self._spec_of = spec_of
        self._left: dict[Address, int] = {}

    def changed(self, address: Address) -> None:
        """Tell it now and on the next beats; who does not live yet is told when it does."""
        self._left[address] = _TIMES
        self._tell(address)

    def adopted(self, address: Address) -> None:
        """Tell one that was found living: nobody knows what it was told before."""
        self._left[address] = _TIMES

    def started(self, address: Address) -> None:
        """Tell one that runs now, if the configuration changed while it was being started."""
        child = self._lives.living.get(address)
        if child is None or child.spec == self._spec_of(address):
            self._left.pop(address, None)
        else:
            self.changed(address)

    def beat(self) -> None:
        """Tell those again who may not have heard."""
        for address, left in tuple(self._left.items()):
            spec = self._spec_of(address)
            if spec is None or spec.start.site is None:
                del self._left[address]
            elif self._tell(address):
                self._left[address] = left - 1
                if left <= 1:
                    del self._left[address]

    def _tell(self, address: Address) -> bool:
        spec = self._spec_of(address)
        if spec is None or spec.start.site is None or address not in self._lives.living:
            return False
        ref = self._ports.directory.ref(address)
        if spec.role is Role.SUPERVISOR:
            ref.tell(TopologyDiscovered(topology=Topology(revision="", sites=(spec.start.site,))))
        else:
            ref.tell(Configure(site=spec.start.site))
        return True
