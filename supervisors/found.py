"""Who lives already when a supervisor begins: its own to adopt, and those who have no place any more (SUP-4)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, TypeAlias

from actors.vocabulary import Address, Role
from actors.vocabulary.ids import ROOT
from supervisors.runtime import HostStats, Life, Runtime
from supervisors.spec import ChildSpec
from supervisors.tree import SITES

_DEADLINE_S: Final = 1.5
# All at once, each would answer too late on a machine that is busy with just that.
_AT_A_TIME: Final = 64

Found: TypeAlias = tuple[Life, HostStats] | None


async def find(runtime: Runtime, specs: Mapping[Address, ChildSpec]) -> list[tuple[ChildSpec, Found]]:
    """Ask the children whose names are taken, in start order; None for one that does not answer as started.

    Raises:
        UnavailableError: the runtime cannot say who lives; nobody is to be taken for dead then.

    """
    names = frozenset(await runtime.living())
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def asked(spec: ChildSpec) -> tuple[ChildSpec, Found]:
        async with slots:
            return spec, await runtime.adopt(spec.address, deadline_s=_DEADLINE_S)

    return await asyncio.gather(*(asked(spec) for spec in specs.values() if spec.address in names))


def is_orphan(
    address: Address, *, below: Address, specs: Mapping[Address, ChildSpec], sites_known: bool
) -> bool:
    """Whether who lives at `address` is the supervisor `below`'s matter and has no place in its tree.

    Below a site supervisor of its own it is that one's matter; without a topology nobody of any site is ours to end.
    """
    if not address.startswith(below.rstrip("/") + "/") or address in specs or address == below:
        return False
    if below == ROOT and not sites_known and address.startswith(f"{SITES}/"):
        return False
    supervisors = [spec.address for spec in specs.values() if spec.role is Role.SUPERVISOR]
    return not any(address.startswith(f"{each}/") for each in supervisors)
