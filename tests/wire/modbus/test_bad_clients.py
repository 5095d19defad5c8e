"""The Modbus endpoint against clients that are broken, greedy, silent or hostile."""

from __future__ import annotations

import asyncio
import random
import struct

import pytest

from protocols.modbus.limits import ModbusLimits
from tests.wire.modbus.served import Publisher, Raw, frame, pdu, served, until

FUZZ_S = 3.0


@pytest.mark.parametrize(
    ("garbage", "complaint"),
    [
        (frame(1, 1, pdu(3, 0, 1), protocol=1), "protocol id 1"),
        (frame(1, 1, pdu(3, 0, 1), length=0), "length 0"),
        (frame(1, 1, pdu(3, 0, 1), length=1), "length 1"),
        (frame(1, 1, pdu(3, 0, 1), length=255), "length 255"),
        (b"GET / HTTP/1.1\r\n\r\n", "protocol id"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "protocol id"),
    ],
)
def test_bytes_that_are_not_modbus_end_the_connection(garbage: bytes, complaint: str) -> None:
    """MOD-3: no silent stall: what cannot be framed is hung up on, and told; requests before it were
    answered.
    """

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            assert await client.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            client.writer.write(garbage)
            assert await client.ended() == b""
            (detail,) = publisher.events("disconnected")
            assert "not Modbus" in detail
            assert complaint in detail
            await client.close()

    asyncio.run(story())


def test_half_a_frame_and_silence_end_at_the_idle_time_out() -> None:
    """MOD-4: only whole frames count as life; a client that works stays."""

    async def story() -> None:
        async with served(ModbusLimits(idle_s=0.4)) as publisher:
            slow, busy = await Raw.connect(publisher), await Raw.connect(publisher)
            half = frame(1, 1, pdu(3, 0, 1))
            slow.writer.write(half[:5])
            ended = asyncio.create_task(slow.ended())
            while not ended.done():
                assert await busy.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
                slow.writer.write(half[5:8] if publisher.refreshed == 3 else b"")
                await asyncio.sleep(0.05)
            assert publisher.events("disconnected") == ["silent for 0.4 s"]
            await slow.close()
            await busy.close()

    asyncio.run(story())


def test_500_idle_clients_lock_nobody_out_and_leave_nothing_behind() -> None:
    """MOD-4: a full house lets its silent ones go, never one that works; afterwards it is empty."""

    async def story() -> None:
        limits = ModbusLimits(clients_max=32, evict_unheard_s=0.05, evict_silent_s=30.0)
        async with served(limits) as publisher:
            plc = await Raw.connect(publisher)
            await plc.ask(pdu(3, 0, 1))
            idle = []
            for _ in range(500):
                idle.append(await Raw.connect(publisher))
                assert publisher.endpoint.clients <= 32
            assert publisher.events("refused"), "beyond the limit clients are refused"
            await asyncio.sleep(0.1)
            scada = await Raw.connect(publisher)
            assert await scada.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            assert await plc.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            for client in [*idle, plc, scada]:
                await client.close()
            await until(lambda: publisher.endpoint.clients == 0, what="every client is forgotten")
            (listener,) = publisher.endpoint._listeners
            await until(lambda: not listener.active_connections, what="pymodbus holds none either")
            assert not publisher.endpoint._door._budgets

    asyncio.run(story())


def test_a_crowd_of_polling_clients_locks_out_neither_a_stop_nor_a_controller() -> None:
    """EST-1, MOD-4: with every place taken by clients that read, a stop is set and a PLC that reconnects stays."""

    async def polls(client: Raw, publisher: Publisher) -> None:
        while True:
            try:
                while True:
                    await client.ask(pdu(3, 100, 13))
                    await asyncio.sleep(0.01)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                await client.close()
            await asyncio.sleep(0.01)
            client = await Raw.connect(publisher)  # as SCADA systems do

    async def story() -> None:
        limits = ModbusLimits(clients_max=16, places_in_turn=4)
        async with served(limits) as publisher:
            crowd = [asyncio.create_task(polls(await Raw.connect(publisher), publisher)) for _ in range(24)]
            await until(lambda: publisher.endpoint.clients == 16, what="the house is full")
            for _ in range(3):
                stop = await Raw.connect(publisher)
                assert await stop.ask(pdu(5, 0, 0xFF00)) == pdu(5, 0, 0xFF00)
                await stop.close()
            assert {write.path for request in publisher.requests for write in request} == {
                "/north/s1/emergency_stop"
            }
            plc = await Raw.connect(publisher)
            for second in range(30):
                assert await plc.ask(pdu(16, 121, 1, data=struct.pack(">H", second))) == pdu(16, 121, 1)
                await asyncio.sleep(0.02)
            assert publisher.endpoint.clients <= 16
            for task in crowd:
                task.cancel()
            await asyncio.gather(*crowd, return_exceptions=True)
            await plc.close()

    asyncio.run(story())


def test_who_gives_way_has_what_it_asked_for() -> None:
    """EST-1: a stop that had arrived from the client that must go is carried out and answered."""

    async def story() -> None:
        async with served(ModbusLimits(clients_max=1, evict_unheard_s=0.01)) as publisher:
            publisher.hold = asyncio.Event()
            first = await Raw.connect(publisher)
            first.writer.write(frame(1, 1, pdu(5, 0, 0xFF00)) + frame(2, 1, pdu(5, 100, 0xFF00)))
            await until(lambda: publisher.endpoint._door.connections and next(
                iter(publisher.endpoint._door.connections)).requests == 1, what="the first stop waits")  # fmt: skip
            second = await Raw.connect(publisher)
            assert publisher.endpoint.clients == 1
            publisher.hold.set()
            assert await first.ended() == frame(1, 1, pdu(5, 0, 0xFF00)) + frame(2, 1, pdu(5, 100, 0xFF00))
            assert len(publisher.requests) == 2
            assert await second.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            assert "gave its place to a newcomer" in publisher.events("disconnected")
            await first.close()
            await second.close()

    asyncio.run(story())


def test_a_client_that_must_go_and_never_reads_is_cut_off() -> None:
    """MOD-4: whoever gives way is gone after a moment, whatever it does; closing waits for nobody."""

    async def story() -> None:
        async with served(ModbusLimits(clients_max=1, evict_unheard_s=0.01, close_s=0.2)) as publisher:
            publisher.hold = asyncio.Event()
            first = await Raw.connect(publisher)
            first.writer.write(frame(1, 1, pdu(5, 0, 0xFF00)))
            await until(lambda: publisher.endpoint._door.connections and next(
                iter(publisher.endpoint._door.connections)).requests == 1, what="the stop waits")  # fmt: skip
            second = await Raw.connect(publisher)
            await until(lambda: publisher.events("disconnected"), what="the first is cut off")
            assert not publisher.endpoint._door.retiring
            publisher.hold.set()
            await until(lambda: publisher.finished == 1, what="its stop is carried out all the same")
            await first.close()
            await second.close()

    asyncio.run(story())


def test_a_greedy_reader_costs_no_controller_its_writes() -> None:
    """MOD-4: all clients are 127.0.0.1 today: a budget per connection, writes apart from reads, a sure share."""

    async def reads(client: Raw, until_set: asyncio.Event) -> list[bytes]:
        answers = []
        while not until_set.is_set():
            answers.append(await client.ask(pdu(3, 100, 13)))
        await client.close()
        return answers

    async def story() -> None:
        limits = ModbusLimits(
            requests_per_s=50.0, requests_burst=50, share_per_s=20.0, share_burst=20, pool_per_s=10.0, pool_burst=20
        )  # fmt: skip
        async with served(limits) as publisher:
            done = asyncio.Event()
            greedy = [asyncio.create_task(reads(await Raw.connect(publisher), done)) for _ in range(4)]
            await until(lambda: len(publisher.events("limited")) == 4, what="the greedy are limited")
            plc, scada = await Raw.connect(publisher), await Raw.connect(publisher)
            for turn in range(15):
                assert await plc.ask(pdu(16, 121, 1, data=struct.pack(">H", turn))) == pdu(16, 121, 1)
                assert (await scada.ask(pdu(3, 100, 13)))[0] == 3
            done.set()
            answers = [answer for task in greedy for answer in await task]
            assert b"\x83\x06" in answers
            for client in (plc, scada):
                await client.close()

    asyncio.run(story())


def test_all_together_have_a_bound_too() -> None:
    """MOD-4: many modest clients cannot take more than their shares and the pool."""

    async def story() -> None:
        limits = ModbusLimits(share_per_s=0.001, share_burst=2, pool_per_s=0.001, pool_burst=5)
        async with served(limits) as publisher:
            clients = [await Raw.connect(publisher) for _ in range(4)]
            answers = [await client.ask(pdu(3, 0, 1)) for client in clients for _ in range(10)]
            assert answers.count(b"\x03\x02\0\0") == 4 * 2 + 5
            writes = [await client.ask(pdu(6, 121, 7)) for client in clients for _ in range(10)]
            assert writes.count(pdu(6, 121, 7)) == 4 * 2 + 5
            assert await clients[-1].ask(pdu(5, 0, 0xFF00)) == pdu(5, 0, 0xFF00)
            for client in clients:
                await client.close()

    asyncio.run(story())


def test_a_full_house_of_working_clients_gives_the_next_one_place() -> None:
    """MOD-4: connection limit; who was there before stays but for one."""

    async def story() -> None:
        async with served(ModbusLimits(clients_max=3, places_in_turn=2)) as publisher:
            clients = [await Raw.connect(publisher) for _ in range(3)]
            for client in clients:
                await client.ask(pdu(3, 0, 1))
            fourth = await Raw.connect(publisher)
            assert await clients[1].ended() == b""
            assert await fourth.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            assert await clients[0].ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            assert publisher.endpoint.clients == 3
            await clients[2].close()
            await until(lambda: publisher.endpoint.clients == 2, what="one has left")
            fifth = await Raw.connect(publisher)
            assert await fifth.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            assert await clients[0].ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            assert await fourth.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            for client in [*clients, fourth, fifth]:
                await client.close()

    asyncio.run(story())


def test_a_greedy_client_is_told_busy_but_may_always_stop_pumps() -> None:
    """EST-4: rate limiting never impedes an emergency stop; MOD-4: rate limit per client, told once."""

    async def story() -> None:
        async with served(ModbusLimits(requests_per_s=0.001, requests_burst=5)) as publisher:
            client = await Raw.connect(publisher)
            answers = [await client.ask(pdu(3, 0, 1)) for _ in range(9)]
            assert answers == [b"\x03\x02\0\0"] * 5 + [b"\x83\x06"] * 4
            assert len(publisher.events("limited")) == 1
            assert await client.ask(pdu(5, 0, 0xFF00)) == pdu(5, 0, 0xFF00)
            assert publisher.requests[0][0].path == "/north/s1/emergency_stop"
            await client.close()

    asyncio.run(story())


def test_a_long_pipeline_is_answered_whole_within_bounded_memory() -> None:
    """MOD-4: reading pauses while too much waits; nothing is lost, nothing grows."""

    async def story() -> None:
        async with served(ModbusLimits(requests_burst=10_000, pool_burst=10_000)) as publisher:
            client = await Raw.connect(publisher)
            for tid in range(4000):
                client.writer.write(frame(tid, 1, pdu(3, 0, 1)))
            for tid in range(4000):
                assert await client.answer() == (tid, 1, b"\x03\x02\0\0")
            await client.close()

    asyncio.run(story())


def test_who_never_reads_its_answers_is_dropped() -> None:
    """MOD-4: answers nobody takes do not pile up."""

    async def story() -> None:
        async with served(ModbusLimits(requests_burst=10**6, pool_burst=10**6)) as publisher:
            client = await Raw.connect(publisher)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined] # a stream's transport can
            request = frame(1, 1, pdu(3, 100, 100)) * 100
            sent = 0
            while publisher.endpoint.clients and sent < 1000:
                client.writer.write(request)
                await asyncio.sleep(0.001)
                sent += 1
            assert publisher.events("disconnected") == ["does not read its answers"]
            await client.close()

    asyncio.run(story())


def test_a_client_that_says_no_more_still_gets_its_answers() -> None:
    """MOD-3: a half-closed connection is answered, then closed."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            client.writer.write(frame(1, 1, pdu(3, 0, 1)) + frame(2, 1, pdu(1, 0, 1)))
            client.writer.write_eof()
            assert await client.ended() == frame(1, 1, b"\x03\x02\0\0") + frame(2, 1, b"\x01\x01\0")
            await client.close()

    asyncio.run(story())


def test_random_bytes_and_damaged_requests_hurt_nobody() -> None:
    """MOD-3: a few seconds of fuzz: never an answer without a request, and the neighbour is served all the
    time.
    """
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)

    async def neighbour(publisher: Publisher, done: asyncio.Event) -> int:
        client, asked = await Raw.connect(publisher), 0
        while not done.is_set():
            assert await client.ask(pdu(3, 100, 50)) == b"\x03\x64" + bytes(100)
            asked += 1
            await asyncio.sleep(0.01)
        await client.close()
        return asked

    async def story() -> None:
        async with served(ModbusLimits(requests_burst=10**6, pool_burst=10**6)) as publisher:
            done = asyncio.Event()
            watching = asyncio.create_task(neighbour(publisher, done))
            end_s = asyncio.get_running_loop().time() + FUZZ_S
            while asyncio.get_running_loop().time() < end_s:
                client = await Raw.connect(publisher)
                for _ in range(dice.randrange(1, 20)):
                    client.writer.write(damaged(dice))
                client.writer.write_eof()
                answers = await client.ended()
                while answers:
                    _, protocol, length, _ = struct.unpack_from(">HHHB", answers)
                    assert protocol == 0
                    assert 3 <= length <= 254
                    answers = answers[6 + length :]
                await client.close()
            done.set()
            assert await watching > 50
            assert not publisher.events("failed")
            # Reads of the damaged kind never write, and what they wrote was well formed: nothing else moved.
            assert all(write.path for request in publisher.requests for write in request)

    asyncio.run(story())


def damaged(dice: random.Random) -> bytes:
    """A request to a place that only reads, with something wrong; or no request at all."""
    kind = dice.randrange(4)
    if kind == 0:
        return dice.randbytes(dice.randrange(1, 300))
    function = dice.choice([1, 2, 3, 4, 6, 16, 22, 23, 8, 17, 43, dice.randrange(256)])
    request = bytearray(pdu(function, dice.choice([99, 100, 103, 65535]), dice.randrange(200)))
    if kind == 1:
        request += dice.randbytes(dice.randrange(0, 240))
    raw = bytearray(frame(dice.randrange(65536), dice.choice([1, 2, 3]), bytes(request)))
    if kind == 2:
        raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
    return bytes(raw)
