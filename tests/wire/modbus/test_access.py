"""Who gets in by address, what each may, and what a crowd from one address costs the others."""

from __future__ import annotations

import asyncio
import struct

import pytest

from actors.vocabulary import WriteRefusal
from actors.vocabulary.access import Operation, UserRole, may
from actors.vocabulary.client_calls import ShownAlarms
from protocols.modbus.clients import allow_list
from protocols.modbus.limits import ModbusLimits
from protocols.modbus.server import ModbusAccess
from tests.wire.modbus.served import Publisher, Raw, frame, pdu, served, until

PLC, SCADA, PANEL, STRANGER = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.9"
ACCESS = ModbusAccess(allow=allow_list(f"{PLC}=FIELD, {SCADA}=OPERATOR, {PANEL}=READ_ONLY"))
FEEDBACK = pdu(16, 121, 2, data=struct.pack(">2H", 7, 3500))
COUNTED = {"loopback_exempt": False}


def test_a_stranger_is_hung_up_on_and_told_of() -> None:
    """MOD-4: an address that is not on the list gets not a byte; others are served."""

    async def story() -> None:
        async with served(access=ACCESS) as publisher:
            stranger = await Raw.connect(publisher, source=STRANGER)
            stranger.writer.write(frame(1, 1, pdu(5, 0, 0xFF00)))
            assert await stranger.ended() == b""
            assert publisher.events("refused") == ["its address is not on the allow list"]
            assert publisher.requests == []
            local = await Raw.connect(publisher)
            assert await local.ended() == b"", "with a list this machine has to stand there, too"
            plc = await Raw.connect(publisher, source=PLC)
            assert (await plc.ask(pdu(3, 100, 13)))[0] == 3
            assert publisher.endpoint.told["refused"] == 2
            for client in (stranger, local, plc):
                await client.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("request_pdu", "operation"),
    [
        (FEEDBACK, Operation.WRITE_FEEDBACK), (pdu(6, 0, 41), Operation.WRITE_HEARTBEAT),
        (pdu(5, 100, 0xFF00), Operation.SET_STOP), (pdu(5, 1, 0xFF00), Operation.SET_STOP),
        (pdu(6, 140, 2), Operation.SET_MODE), (pdu(6, 141, 3500), Operation.REQUEST_SETPOINT),
        (pdu(5, 2000, 0xFF00), Operation.SET_MODE), (pdu(5, 2001, 0xFF00), Operation.SET_MODE),
        (pdu(5, 2001, 0), Operation.SET_MODE), (pdu(5, 2, 0), Operation.ACKNOWLEDGE_ALARM),
        (pdu(5, 2002, 0xFF00), Operation.ACKNOWLEDGE_ALARM),
    ],
)  # fmt: skip
@pytest.mark.parametrize("role", UserRole)
def test_every_write_is_what_the_table_says_for_every_role(
    request_pdu: bytes, operation: Operation, role: UserRole
) -> None:
    """SEC-2, MOD-4: one permission table: a role that may is obeyed, another hears 01, nothing moved, audited."""

    async def story() -> None:
        async with served(access=ModbusAccess(allow=allow_list(f"127.0.0.1={role.value}"))) as publisher:
            publisher.endpoint.operate(call=publisher.carry_out, past=publisher.no_past)
            publisher.endpoint.show_alarms(ShownAlarms(alarms=(), whole=True))
            client = await Raw.connect(publisher)
            answer = await client.ask(request_pdu)
            if may(role, operation):
                assert answer == request_pdu[:5]
                assert publisher.refused == []
            else:
                assert answer == bytes([request_pdu[0] | 0x80, 1])
                assert publisher.requests == []
                assert {write.refusal for write in publisher.refused} == {WriteRefusal.NOT_PERMITTED}
            assert (await client.ask(pdu(3, 100, 50)))[0] == 3, "everybody on the list may read"
            await client.close()

    asyncio.run(story())


def test_a_request_that_may_only_half_be_written_is_not_written_at_all() -> None:
    """MOD-3, SEC-2: a controller that slips an operator's register into its report moves nothing."""

    async def story() -> None:
        access = ModbusAccess(allow=allow_list("127.0.0.1=OPERATOR"))
        async with served(access=access) as publisher:
            client = await Raw.connect(publisher)
            assert await client.ask(pdu(15, 0, 2, data=b"\x03")) == pdu(15, 0, 2)
            publisher.requests.clear()
            assert await client.ask(pdu(16, 121, 1, data=b"\0\7")) == b"\x90\x01"
            assert publisher.requests == []
            await client.close()

    asyncio.run(story())


def test_one_address_does_not_take_every_place_nor_lose_its_own() -> None:
    """MOD-4: connections per client: at its bound an address's own oldest reader gives way, nobody else's."""

    async def story() -> None:
        limits = ModbusLimits(per_address_max=3, places_in_turn=2, **COUNTED)
        async with served(limits, access=ACCESS) as publisher:
            scada = await Raw.connect(publisher, source=SCADA)
            await scada.ask(pdu(3, 100, 13))
            crowd = []
            for _ in range(8):
                crowd.append(await Raw.connect(publisher, source=PLC))
                await crowd[-1].ask(pdu(3, 100, 13))
                assert publisher.endpoint.clients <= 4
            assert await crowd[0].ask(pdu(3, 0, 1)) == b"\x03\x02\0\0", "who came first stays"
            assert await crowd[-1].ask(pdu(3, 0, 1)) == b"\x03\x02\0\0", "who came last is in"
            assert await scada.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            assert publisher.events("disconnected").count("gave its place to a newcomer") == 5
            for client in (scada, *crowd):
                await client.close()

    asyncio.run(story())


def test_a_client_that_calls_again_and_again_is_turned_away_for_a_while() -> None:
    """MOD-4: connecting has a rate, too; the others do not notice."""

    async def story() -> None:
        limits = ModbusLimits(connects_per_s=0.001, connects_burst=5, **COUNTED)
        async with served(limits, access=ACCESS) as publisher:
            for turn in range(9):
                client = await Raw.connect(publisher, source=PLC)
                if turn < 5:
                    await client.ask(pdu(3, 0, 1))
                else:
                    assert await client.ended() == b""
                await client.close()
            assert publisher.events("refused") == ["its address connects too often"] * 4
            scada = await Raw.connect(publisher, source=SCADA)
            assert await scada.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            await scada.close()

    asyncio.run(story())


def test_the_rate_is_an_address_s_and_a_new_connection_does_not_refill_it() -> None:
    """MOD-4: requests per second of a client, over all its connections; a stop goes through (EST-4)."""

    async def story() -> None:
        limits = ModbusLimits(requests_per_s=0.001, requests_burst=6, **COUNTED)
        async with served(limits, access=ACCESS) as publisher:
            answers = []
            for _ in range(5):
                client = await Raw.connect(publisher, source=SCADA)
                answers += [await client.ask(pdu(3, 0, 1)) for _ in range(2)]
                await client.close()
            assert answers == [b"\x03\x02\0\0"] * 6 + [b"\x83\x06"] * 4
            plc, scada = await Raw.connect(publisher, source=PLC), await Raw.connect(publisher, source=SCADA)
            assert await plc.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            assert [await scada.ask(pdu(5, 2000, 0xFF00)) for _ in range(8)].count(b"\x85\x06") == 2
            assert await scada.ask(pdu(5, 0, 0xFF00)) == pdu(5, 0, 0xFF00), "a stop is never limited"
            assert publisher.endpoint.told["limited"] >= 2
            await plc.close()
            await scada.close()

    asyncio.run(story())


def test_who_may_not_stop_cannot_use_the_coil_of_a_stop_to_flood() -> None:
    """EST-4, MOD-4: only a stop that would be obeyed is exempt from the rate."""

    async def story() -> None:
        limits = ModbusLimits(requests_per_s=0.001, requests_burst=3, **COUNTED)
        async with served(limits, access=ACCESS) as publisher:
            panel = await Raw.connect(publisher, source=PANEL)
            answers = [await panel.ask(pdu(5, 0, 0xFF00)) for _ in range(6)]
            assert answers == [b"\x85\x01"] * 3 + [b"\x85\x06"] * 3
            assert len(publisher.refused) == 3
            assert publisher.requests == []
            await panel.close()

    asyncio.run(story())


def test_what_happens_is_counted_also_where_it_is_no_longer_told() -> None:
    """SEC-5: the log is bounded, the counters are not."""

    async def story() -> None:
        async with served(ModbusLimits(news_per_s=0.001, news_burst=5), access=ACCESS) as publisher:
            for _ in range(20):
                stranger = await Raw.connect(publisher, source=STRANGER)
                await stranger.ended()
                await stranger.close()
            assert len(publisher.events("refused")) == 5
            assert publisher.endpoint.told["refused"] == 20
            plc = await Raw.connect(publisher, source=PLC)
            for _ in range(3):
                await plc.ask(pdu(3, 200, 1))
            assert publisher.endpoint.told["exception_02"] == 3
            await plc.close()

    asyncio.run(story())


def test_a_stranger_s_noise_hides_neither_a_client_nor_another_stranger() -> None:
    """SEC-5, MOD-4: what he does is counted; the log and the audit trail still see everybody else."""

    async def story() -> None:
        limits = ModbusLimits(news_per_s=0.001, news_burst=20, **COUNTED)
        async with served(limits, access=ACCESS) as publisher:
            for _ in range(40):
                stranger = await Raw.connect(publisher, source=STRANGER)
                await stranger.ended()
                await stranger.close()
            assert len(publisher.events("refused")) == 5, "a quarter of the strangers' lane"
            other = await Raw.connect(publisher, source="127.0.0.8")
            await other.ended()
            await other.close()
            (told,) = [each for each in publisher.news if each[1].startswith("127.0.0.8:")]
            assert "35 news before this were suppressed" in told[2]
            plc = await Raw.connect(publisher, source=PLC)
            await plc.ask(pdu(3, 0, 1))
            assert publisher.events("connected") == ["as FIELD"]
            assert publisher.endpoint.told["refused"] == 41
            await plc.close()

    asyncio.run(story())


def test_connections_and_their_ends_are_told_with_address_and_role() -> None:
    """MOD-4: connect and disconnect log."""

    async def story() -> None:
        async with served(access=ACCESS) as publisher:
            plc = await Raw.connect(publisher, source=PLC)
            await plc.ask(pdu(3, 0, 1))
            peer = "{}:{}".format(*plc.writer.get_extra_info("sockname"))
            await plc.close()
            await until(lambda: publisher.endpoint.clients == 0, what="it has left")
            assert [each for each in publisher.news if each[0] != "listening"] == [
                ("connected", peer, "as FIELD"), ("disconnected", peer, ""),
            ]  # fmt: skip

    asyncio.run(story())


def test_a_list_opens_every_address_and_still_keeps_strangers_out() -> None:
    """MOD-4: bound to all addresses, only who stands on the list is let in."""

    async def story(publisher: Publisher) -> None:
        plc = await Raw.connect(publisher, source=PLC)
        assert (await plc.ask(pdu(3, 100, 13)))[0] == 3
        stranger = await Raw.connect(publisher, source=STRANGER)
        assert await stranger.ended() == b""
        await plc.close()
        await stranger.close()

    async def everywhere() -> None:
        async with served(access=ACCESS, host="0.0.0.0") as publisher:
            assert publisher.endpoint.bound.startswith("0.0.0.0:")
            await story(publisher)

    asyncio.run(everywhere())
