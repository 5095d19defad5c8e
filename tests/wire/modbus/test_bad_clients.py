"""The Modbus endpoint against clients that are broken, greedy, silent or hostile."""

from __future__ import annotations

import asyncio
import random
import struct

import pytest

from protocols.modbus.connection import ModbusLimits
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
            listener = publisher.endpoint._listener
            assert listener is not None
            await until(lambda: not listener.active_connections, what="pymodbus holds none either")
            assert not publisher.endpoint._rates

    asyncio.run(story())


def test_a_full_house_of_working_clients_refuses_the_next() -> None:
    """MOD-4: connection limit; who works stays."""

    async def story() -> None:
        async with served(ModbusLimits(clients_max=3)) as publisher:
            clients = [await Raw.connect(publisher) for _ in range(3)]
            for client in clients:
                await client.ask(pdu(3, 0, 1))
            fourth = await Raw.connect(publisher)
            assert await fourth.ended() == b""
            assert publisher.events("refused") == ["3 clients are connected"]
            assert await clients[0].ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            await clients[1].close()
            await until(lambda: publisher.endpoint.clients == 2, what="one has left")
            fifth = await Raw.connect(publisher)
            assert await fifth.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
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
        async with served(ModbusLimits(requests_burst=10_000)) as publisher:
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
        async with served(ModbusLimits(requests_burst=1_000_000)) as publisher:
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
        async with served(ModbusLimits(requests_per_s=1e6, requests_burst=10**6)) as publisher:
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
