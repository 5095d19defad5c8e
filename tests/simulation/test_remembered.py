"""What a whole site leaves for `explain`: the real actors in virtual time, a database that goes away in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from actors.vocabulary.records import DecisionRecord, Record, WireRecord
from supervisors.simulated.runtime import SimRuntime, simulate
from tests.simulation.stories import drawn

# A gate that was handed two decisions at once takes the newer one; so long apart they may have been.
AT_ONCE = timedelta(seconds=2)
# What was decided last still waits for its echo, its outbox and the spool.
PENDING = timedelta(seconds=15)


def remembered(seed: int) -> tuple[Record, ...]:
    """Let a site run three minutes, its database away for one of them; return the rows."""
    site, _ = drawn(seed)

    async def scenario(world: SimRuntime) -> tuple[Record, ...]:
        site.enter(world)
        site.write_plans()
        others = [asyncio.create_task(site.controllers.run()), asyncio.create_task(site.look())]
        try:
            await site.start()
            await asyncio.sleep(60.0)
            site.database.go(hangs=seed % 2 == 0)
            await asyncio.sleep(60.0)
            site.database.come_back()
            await asyncio.sleep(60.0)
            assert not site.inspector.findings
            return tuple(site.database.records.values())
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    return simulate(seed, site.make, scenario)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_decision_has_the_word_of_every_endpoint(seed: int) -> None:
    """SAF-4, DAT-3: taken and when, or overtaken by a later one; nothing of it is lost with the database away."""
    rows = remembered(seed)
    decisions = sorted(
        (row for row in rows if isinstance(row, DecisionRecord)), key=lambda row: (row.at, row.sequence)
    )
    wires = [row for row in rows if isinstance(row, WireRecord)]
    taken = {
        (row.endpoint, row.pump_id, row.epoch_counter, row.sequence): row
        for row in wires
        if row.detail["why"] == "taken"
    }
    settled = [row for row in decisions if row.at < decisions[-1].at - PENDING]
    assert len(settled) > 10
    exact = 0
    for row in settled:
        for endpoint in ("modbus", "opcua"):
            receipt = taken.get((endpoint, row.pump_id, row.epoch_counter, row.sequence))
            if receipt is None:
                later = [
                    each
                    for each in taken.values()
                    if (each.endpoint, each.pump_id) == (endpoint, row.pump_id)
                    and row.at <= each.at <= row.at + AT_ONCE
                ]
                assert later, (endpoint, row)
                continue
            exact += 1
            assert row.at <= receipt.at <= row.at + AT_ONCE
            assert receipt.setpoint_hz == row.setpoint_hz
    assert exact > len(settled), "nearly all are exact, at both endpoints"
    assert any(row.detail["echo_at"] is not None for row in wires)
    # Bounded: on change, and about once a minute; not a row a tick.
    minutes = (decisions[-1].at - decisions[0].at).total_seconds() / 60.0
    pumps = len({row.pump_id for row in decisions})
    assert len(wires) < pumps * 2 * minutes * 40
