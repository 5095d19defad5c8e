"""How well an endpoint can say what its pumps shall do, as one number; pure (OPC-4; OPC 10000-4, 6.6.2.4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actors.publisher.gate import StationGate, alive
from actors.vocabulary import Instant

NO_DATA: Final = 1
DEGRADED_MIN: Final = 2
DEGRADED_MAX: Final = 199
HEALTHY: Final = 255


def service_level(gates: Mapping[str, StationGate], *, whole: bool, now: Instant) -> int:
    """Return the service level: 255 while every pump's chain speaks, 1 if none does or a stop may be missing.

    Between them it falls with the share of pumps whose lease has ended. `whole`: the latches could all be read.
    """
    pumps = [pump for gate in gates.values() for pump in gate.pumps.values()]
    living = sum(alive(pump, now=now) for pump in pumps)
    if not whole or not living:
        return NO_DATA
    if living == len(pumps):
        return HEALTHY
    return DEGRADED_MIN + (DEGRADED_MAX - DEGRADED_MIN) * living // len(pumps)
