"""The ordered end of a supervisor's children: reverse order, side by side where nobody needs the other (SUP-2)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from actors.runtime import Ports
from actors.vocabulary import Instant
from supervisors.lives import Lives
from supervisors.spec import ChildSpec

# With no time left there is still so much for ending what is left by force.
_LEAST_S: Final = 1.0


async def stop_in_reverse(specs: Sequence[ChildSpec], lives: Lives, ports: Ports, *, until: Instant) -> None:
    """End `specs`, given in start order; stations do not need each other, so they end at the same time."""
    for _, block in groupby(reversed(specs), key=lambda spec: spec.start.station_id is not None):
        chains: dict[str | None, list[ChildSpec]] = {}
        for spec in block:
            chains.setdefault(spec.start.station_id, []).append(spec)
        await asyncio.gather(*(_stop_chain(chain, lives, ports, until=until) for chain in chains.values()))


async def _stop_chain(chain: Sequence[ChildSpec], lives: Lives, ports: Ports, *, until: Instant) -> None:
    """End these in their order; neighbours of one role (the pumps of a station) at the same time."""
    for role, together in groupby(chain, key=lambda spec: spec.role):
        began = ports.clock.now()
        left_s = until.seconds_since(began)
        stops = [lives.stopped(spec.address, at_most_s=left_s) for spec in together]
        try:
            async with asyncio.timeout(max(left_s, _LEAST_S)):
                await asyncio.gather(*stops)
        except TimeoutError:
            ports.log.warning("stop_took_too_long", what=role.value, left_s=round(left_s, 3))
        took_s = ports.clock.now().seconds_since(began)
        ports.log.info("stopped", what=role.value, first=chain[0].address, took_s=round(took_s, 3))
