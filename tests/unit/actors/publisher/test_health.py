"""How well an endpoint can say what its pumps shall do, as OPC UA's service level."""

from __future__ import annotations

import pytest

from actors.publisher.gate import StationGate, offer
from actors.publisher.health import DEGRADED_MAX, DEGRADED_MIN, HEALTHY, NO_DATA, service_level
from tests.unit.actors.publisher.test_gate import T0, setpoint


def gates(*, pumps: int, living: int) -> dict[str, StationGate]:
    """One station per pump, of which the first ones have a lease that runs."""
    made = {}
    for number in range(pumps):
        gate = StationGate().of(["p1"])
        if number < living:
            gate, refused = offer(gate, [setpoint(sequence=1, origin=T0)], now=T0, lease_s_max=10.0)
            assert not refused
        made[f"s{number}"] = gate
    return made


def test_the_level_follows_the_chains() -> None:
    """OPC-4: all speak, some do, none does; and a stop that may be missing is worse than silence."""
    level = {living: service_level(gates(pumps=4, living=living), whole=True, now=T0) for living in range(5)}
    assert level[4] == HEALTHY
    assert level[0] == NO_DATA
    assert DEGRADED_MIN <= level[1] < level[2] < level[3] <= DEGRADED_MAX
    assert service_level(gates(pumps=4, living=4), whole=False, now=T0) == NO_DATA
    assert service_level({}, whole=True, now=T0) == NO_DATA


@pytest.mark.parametrize(("after_s", "expected"), [(9.9, HEALTHY), (10.0, NO_DATA)])
def test_the_level_falls_when_the_lease_ends(after_s: float, expected: int) -> None:
    """OPC-4, SAF-9: with the lease, not with the next message."""
    assert service_level(gates(pumps=2, living=2), whole=True, now=T0.plus(after_s)) == expected
