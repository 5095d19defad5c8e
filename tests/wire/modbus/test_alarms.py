"""Alarms by Modbus: bits that show them at every object, coils that acknowledge them."""

from __future__ import annotations

import asyncio

import pytest

from actors.vocabulary import Severity, WriteRefusal
from actors.vocabulary.client_calls import CallAnswer, ClientCall, SeeAlarm, ShownAlarm, ShownAlarms
from protocols.modbus.alarms import ACKNOWLEDGED_MAX, unacknowledged
from protocols.modbus.desk import ACKNOWLEDGE_S, ACKNOWLEDGING_MAX
from protocols.modbus.limits import ModbusLimits
from tests.wire.modbus.served import Publisher, Raw, frame, pdu, served, until

STATION, SITE, P1, P2 = 2, 3, 2002, 2006


def alarm(alarm_id: str, source: str, *, active: bool = True, acknowledged: bool = False) -> ShownAlarm:
    return ShownAlarm(
        alarm_id=alarm_id, condition="dry", subject="", source=source, severity=Severity.HIGH, text="", active=active,
        acknowledged=acknowledged, occurrences=1, raised_utc_ns=1,
    )  # fmt: skip


ALARMS = ShownAlarms(
    alarms=(
        alarm("a", "/north/s1/p1"), alarm("b", "/north/s1/p1", active=False), alarm("c", "/north/s1"),
        alarm("d", "/north/s2/p3", acknowledged=True), alarm("e", "/north"),
    ),
    whole=True,
)  # fmt: skip


async def bits(client: Raw, *, unit: int = 1) -> tuple[bytes, ...]:
    """Station and site (active, unacknowledged each), then the first two pumps'."""
    head = (await client.ask(pdu(2, 2, 4), unit=unit))[2:]
    pumps = [(await client.ask(pdu(2, 10_014 + 32 * slot, 2), unit=unit))[2:] for slot in (0, 1)[: 3 - unit]]
    return (head, *pumps)


def called(publisher: Publisher) -> list[str]:
    found = [call.command.alarm_id for call in publisher.calls if isinstance(call.command, SeeAlarm)]
    publisher.calls.clear()
    return found


def test_an_alarm_shows_at_its_object_and_above_it() -> None:
    """ALM-1, MOD-2: active and unacknowledged apart; a list that is not whole clears nothing."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            assert await bits(client) == (b"\0", b"\0", b"\0")
            publisher.endpoint.show_alarms(ALARMS)
            assert await bits(client) == (b"\x0f", b"\x03", b"\0")
            assert await bits(client, unit=2) == (b"\x0d", b"\x01")
            publisher.endpoint.show_alarms(ShownAlarms(alarms=(), whole=False))
            assert await bits(client) == (b"\x0f", b"\x03", b"\0")
            publisher.endpoint.show_alarms(ShownAlarms(alarms=(), whole=True))
            assert await bits(client) == (b"\0", b"\0", b"\0")
            await client.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("unit", "coil", "ids"),
    [
        (1, P1, ["a", "b"]),
        (1, P2, []),
        (1, STATION, ["a", "b", "c"]),
        (2, SITE, ["a", "b", "c", "e"]),
        (2, P1, []),
    ],
)
def test_a_coil_acknowledges_what_nobody_has_of_its_object_and_below(
    unit: int, coil: int, ids: list[str]
) -> None:
    """ALM-1, MOD-2: writing 1 acknowledges, 0 nothing; what somebody else was quicker with is no fault."""

    async def story() -> None:
        async with served() as publisher:
            publisher.endpoint.operate(call=publisher.carry_out, past=publisher.no_past)
            publisher.endpoint.show_alarms(ALARMS)
            publisher.answers = {"b": WriteRefusal.INVALID_STATE, "e": WriteRefusal.UNKNOWN_POINT}
            client = await Raw.connect(publisher)
            assert await client.ask(pdu(5, coil, 0), unit=unit) == pdu(5, coil, 0)
            assert called(publisher) == []
            assert await client.ask(pdu(5, coil, 0xFF00), unit=unit) == pdu(5, coil, 0xFF00)
            assert called(publisher) == ids
            assert publisher.requests == []
            assert await client.ask(pdu(1, coil, 1), unit=unit) == b"\x01\x01\0"
            await client.close()

    asyncio.run(story())


def test_alarms_that_nobody_can_reach_are_04_and_a_refused_stop_acknowledges_nothing() -> None:
    """ALM-1, MOD-3: no silent success; of one request either all is asked for or nothing."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            assert await client.ask(pdu(5, STATION, 0xFF00)) == b"\x85\x04"
            publisher.endpoint.operate(call=publisher.carry_out, past=publisher.no_past)
            publisher.endpoint.show_alarms(ALARMS)
            publisher.answers = {"a": WriteRefusal.DEVICE_FAILURE}
            assert await client.ask(pdu(5, STATION, 0xFF00)) == b"\x85\x04"
            assert called(publisher) == ["a"]
            publisher.refusals = {"/north/s1/emergency_stop": WriteRefusal.INVALID_STATE}
            assert await client.ask(pdu(15, 0, 3, data=b"\x05")) == b"\x8f\x01"
            assert called(publisher) == []
            await client.close()

    asyncio.run(story())


def test_a_stop_is_answered_as_set_whatever_becomes_of_acknowledgements_beside_it() -> None:
    """EST-1, ALM-1: one FC15 with both: a SCADA that hears 04 would believe that nothing was stopped."""

    async def story() -> None:
        async with served() as publisher:
            publisher.endpoint.show_alarms(ALARMS)
            client = await Raw.connect(publisher)
            both = pdu(15, 0, 3, data=b"\x05")
            assert await client.ask(both) == pdu(15, 0, 3), "nobody can acknowledge yet"
            publisher.endpoint.operate(call=publisher.carry_out, past=publisher.no_past)
            publisher.answers = {"a": WriteRefusal.DEVICE_FAILURE}
            assert await client.ask(both) == pdu(15, 0, 3)
            stops = [write.path for each in publisher.requests for write in each if write.value]
            assert stops == ["/north/s1/emergency_stop"] * 2
            assert len(publisher.events("failed")) == 2
            assert all("not acknowledged" in each for each in publisher.events("failed"))
            await client.close()

    asyncio.run(story())


def test_a_stop_does_not_wait_behind_acknowledgements_that_take_their_time() -> None:
    """EST-1, EST-4: pipelined on one connection; the acknowledgement goes on behind, and is told of if it fails."""

    async def story() -> None:
        async with served(ModbusLimits(idle_s=0.4, close_s=0.4)) as publisher:
            may_end = asyncio.Event()

            async def slow(call: ClientCall) -> CallAnswer:
                await may_end.wait()
                return await publisher.carry_out(call)

            publisher.endpoint.operate(call=slow, past=publisher.no_past)
            publisher.endpoint.show_alarms(ALARMS)
            publisher.answers = {"b": WriteRefusal.DEVICE_FAILURE}
            client = await Raw.connect(publisher)
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            client.writer.write(frame(1, 1, pdu(5, P1, 0xFF00)) + frame(2, 1, pdu(5, 0, 0xFF00)))
            # Longer than the idle time-out: who waits for an answer is not silent.
            assert await client.answer() == (1, 1, b"\x85\x04")
            assert await client.answer() == (2, 1, pdu(5, 0, 0xFF00))
            assert loop.time() - began_s < ACKNOWLEDGE_S + 5.0
            assert [write.path for each in publisher.requests for write in each] == [
                "/north/s1/emergency_stop"
            ]
            assert called(publisher) == []
            may_end.set()
            await until(lambda: publisher.events("failed"), what="the late failure is told")
            assert called(publisher) == ["a", "b"]
            await client.close()

    asyncio.run(story())


def test_acknowledgements_that_wait_are_bounded_and_end_with_the_endpoint() -> None:
    """MOD-4: eight behind clients that were answered; the next is told to come again."""

    async def story() -> None:
        ended: list[str] = []
        async with served() as publisher:

            async def never(call: ClientCall) -> CallAnswer:
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append(call.peer)
                raise AssertionError

            publisher.endpoint.operate(call=never, past=publisher.no_past)
            publisher.endpoint.show_alarms(ALARMS)
            clients = [await Raw.connect(publisher) for _ in range(ACKNOWLEDGING_MAX + 1)]
            answers = await asyncio.gather(*(each.ask(pdu(5, P1, 0xFF00)) for each in clients))
            assert sorted(answers) == [b"\x85\x04"] * ACKNOWLEDGING_MAX + [b"\x85\x06"]
            for each in clients:
                await each.close()
        assert len(ended) == ACKNOWLEDGING_MAX

    asyncio.run(story())


def test_one_writing_acknowledges_so_many_and_no_more() -> None:
    """MOD-4: a flood of alarms does not hold an endpoint up."""
    flood = ShownAlarms(
        alarms=tuple(alarm(str(number), "/north/s1/p1") for number in range(1000)), whole=True
    )
    assert len(unacknowledged(flood, "/north")) == ACKNOWLEDGED_MAX
    assert unacknowledged(flood, "/nor") == unacknowledged(flood, "/north/s1/p") == ()
