"""What an endpoint leaves for `explain`, through the actor: rows off the setpoint's way, exact to the decision."""

from __future__ import annotations

import msgspec

from actors.messages import Epoch, FeedbackReceived, PumpFeedback, Sample, SetpointsDecided
from actors.vocabulary.records import WireRecord
from tests.unit.actors.publisher.test_actor import Bench, play, setpoint


async def decide(bench: Bench, sequence: int, *, recorded: bool, hz: float = 35.0) -> None:
    marked = msgspec.structs.replace(setpoint(sequence, bench.clock.now(), hz=hz), recorded=recorded)
    await bench.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(marked,)))


def test_the_gate_remembers_when_it_took_a_decision_and_what_came_back() -> None:
    """SAF-4: nothing is stored while a setpoint is on its way; the row comes with the controller's echo."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.tick("status")
        before = len(await bench.records(WireRecord))
        await decide(bench, 1, recorded=True)
        taken_at = bench.clock.now()
        assert len(await bench.records(WireRecord)) == before
        await bench.clock.advance(0.7)
        now = bench.clock.now()
        heard = PumpFeedback(
            pump_id="p1", setpoint_echo_hz=Sample(35.0, now), actual_speed_hz=Sample(34.5, now)
        )
        await bench.actor.handle(FeedbackReceived(station_id="s1", source="opcua", pumps=(heard,)))
        await bench.tick("status")
        row = (await bench.records(WireRecord))[-1]
        assert (row.pump_id, row.endpoint, row.at) == ("p1", "modbus", taken_at.utc)
        assert (row.epoch_counter, row.sequence, row.setpoint_hz, row.remote_enabled) == (7, 1, 35.0, True)
        assert (row.detail["why"], row.detail["echo_hz"], row.detail["measured_hz"]) == ("taken", 35.0, 34.5)

    play(story)


def test_a_lapse_is_remembered_though_no_decision_tells_of_it() -> None:
    """SAF-4, SAF-9: the chain died; what the wire showed from then on is in the rows all the same."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await decide(bench, 1, recorded=True)
        await bench.tick("status", after_s=6.0)
        await bench.tick("status", after_s=5.0)
        of_pump = [row for row in await bench.records(WireRecord) if row.pump_id == "p1"]
        assert [(row.detail["why"], row.reason) for row in of_pump[-2:]] == [
            ("taken", "PLAN"),
            ("changed", "LEASE_EXPIRED"),
        ]
        assert (of_pump[-1].remote_enabled, of_pump[-1].sequence) == (False, 1)

    play(story)


def test_ticks_that_change_nothing_leave_nothing() -> None:
    """SAF-4: bounded volume: a minute of unmarked setpoints is no row."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await decide(bench, 1, recorded=True)
        await bench.tick("status", after_s=6.0)
        before = [row for row in await bench.records(WireRecord) if row.pump_id == "p1"]
        for sequence in range(2, 62):
            await bench.clock.advance(1.0)
            await decide(bench, sequence, recorded=False, hz=35.0 + sequence % 2 * 0.4)
            await bench.tick("status")
        assert [row for row in await bench.records(WireRecord) if row.pump_id == "p1"] == before

    play(story)
