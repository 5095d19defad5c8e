"""The endpoint under load of every kind: values that move while they are read, garbage by the megabyte, idle crowds."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import threading
from pathlib import Path

from actors.vocabulary import Mode
from actors.vocabulary.client_calls import ShownAlarms
from protocols.modbus.limits import ModbusLimits
from protocols.modbus.points import modbus_points
from tests.unit.protocols.plants import site, station
from tests.wire.modbus.served import Publisher, Raw, frame, pdu, port_of, served, until

OPEN = ModbusLimits(requests_per_s=1e6, requests_burst=10**6, pool_per_s=1e6, pool_burst=10**6)
PAGE = os.sysconf("SC_PAGE_SIZE")
GARBAGE_BYTES = 30_000_000
GROWTH_BYTES_MAX = 24_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


class Hammer(threading.Thread):
    """A blocking client in a thread of its own: reads again and again, and keeps what was not of one moment."""

    def __init__(self, port: int, requests: list[bytes]) -> None:
        super().__init__(daemon=True)
        self._port, self._requests = port, requests
        self.ended = threading.Event()
        self.read = 0
        self.torn: list[tuple[bytes, bytes]] = []

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as client:
            answers = client.makefile("rb")
            while not self.ended.is_set():
                for request in self._requests:
                    client.sendall(frame(self.read & 0xFFFF, 1, request))
                    head = answers.read(7)
                    answer = answers.read(struct.unpack(">H", head[4:6])[0] - 1)
                    if moments(request, answer) != 1:
                        self.torn.append((request, answer))
                    self.read += 1


def moments(request: bytes, answer: bytes) -> int:
    """How many different moments the answer is made of: the publisher writes one number everywhere."""
    if request[0] == 2:
        bits = int.from_bytes(answer[2:], "little")
        return len({bits >> offset & 1 for offset in (0, 1, 3, 4)})
    registers = struct.unpack(f">{answer[1] // 2}H", answer[2:])
    if len(registers) == 2:
        return len(set(registers))
    picked = {0, 5, 6, 7, 8, 9, 11}
    if request[0] == 4:
        # Level in mm: the same number in both halves.
        picked |= {24, 25, 28, 29}
    return len({registers[index] for index in picked})


def test_no_32_bit_value_and_no_block_is_ever_torn() -> None:
    """MOD-2, WDG-4: while everything changes as fast as it can, and the map too, a read is of one moment."""

    def show(publisher: Publisher, moment: int) -> None:
        both = moment << 16 | moment
        publisher.show(
            {
                f"/north/s1/p1/{point}": value
                for point, value in {
                    "sequence": moment, "heartbeat": moment, "epoch": both, "release_id": both, "sequence_end": moment,
                    "actual_power": both / 100, "wet_well_level": both / 1000,
                    "remote_enabled": bool(moment & 1), "run_inhibit": bool(moment & 1), "running": bool(moment & 1),
                    "local_override": bool(moment & 1),
                }.items()
            }
        )  # fmt: skip

    async def story() -> None:
        async with served(OPEN) as publisher:
            show(publisher, 1)
            whole = [pdu(3, 100, 13), pdu(4, 100, 33), pdu(2, 10_000, 32), pdu(3, 106, 2), pdu(4, 128, 2)]
            hammers = [Hammer(port_of(publisher), [whole[n], *whole]) for n in range(4)]
            for hammer in hammers:
                hammer.start()
            small = site(station("s1", 1, {"p1": 0}))
            grown = site(station("s1", 1, {"p1": 0, "p2": 1, "p9": 30}))
            moment = 1
            end_s = asyncio.get_running_loop().time() + 3.0
            while asyncio.get_running_loop().time() < end_s or min(hammer.read for hammer in hammers) < 200:
                moment = moment % 0x7FFF + 1
                show(publisher, moment)
                if moment % 64 == 0:
                    await publisher.endpoint.configure(modbus_points(grown if moment % 128 else small))
                await asyncio.sleep(0)
            for hammer in hammers:
                hammer.ended.set()
            for hammer in hammers:
                await asyncio.to_thread(hammer.join, 30)
            assert [torn for hammer in hammers for torn in hammer.torn] == []
            assert moment > 100, "the values did move"

    asyncio.run(story())


async def neighbour(publisher: Publisher, done: asyncio.Event) -> float:
    """A good client all the while; return its longest wait for an answer (s)."""
    loop = asyncio.get_running_loop()
    client, longest_s = await Raw.connect(publisher), 0.0
    while not done.is_set():
        began_s = loop.time()
        assert (await client.ask(pdu(3, 100, 13)))[0] == 3
        longest_s = max(longest_s, loop.time() - began_s)
        await asyncio.sleep(0.01)
    await client.close()
    return longest_s


def test_30_megabytes_of_garbage_cost_no_memory_and_nobody_an_answer() -> None:
    """MOD-3, MOD-4: noise, frames full of noise, and half a frame for ever: bounded, counted, the others served."""
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    noise = dice.randbytes(1_000_000)

    def framed() -> bytes:
        """A megabyte in well-formed frames that ask for nothing that there is."""
        made = bytearray()
        while len(made) < len(noise):
            body = dice.randbytes(dice.randrange(1, 253))
            made += (
                struct.pack(">HHHB", dice.randrange(65536), 0, len(body) + 1, dice.choice([1, 2, 9])) + body
            )
        return bytes(made)

    async def pour(publisher: Publisher, megabyte: bytes) -> int:
        client = await Raw.connect(publisher)
        reading = asyncio.create_task(client.ended())
        sent = 0
        try:
            for start in range(0, len(megabyte), 65_536):
                part = megabyte[start : start + 65_536]
                client.writer.write(part)
                await asyncio.wait_for(client.writer.drain(), 30)
                sent += len(part)
            client.writer.write_eof()
        except (ConnectionError, OSError):
            pass
        await reading
        await client.close()
        return sent

    async def story() -> None:
        async with served(OPEN) as publisher:
            done = asyncio.Event()
            watching = asyncio.create_task(neighbour(publisher, done))
            await pour(publisher, framed())
            before = resident_bytes()
            poured = 0
            while poured < GARBAGE_BYTES:
                # Noise is hung up on at its first bytes: what was already on its way counts as poured.
                poured += await pour(publisher, framed())
                poured += max(65_536, await pour(publisher, noise))
                assert resident_bytes() - before < GROWTH_BYTES_MAX
            done.set()
            assert await watching < 2.0
            assert not publisher.events("failed")
            assert publisher.endpoint.told["exception_0B"] > 1000
            told = [detail for detail in publisher.events("disconnected") if "not Modbus" in detail]
            assert told
            await until(lambda: publisher.endpoint.clients == 0, what="all have gone")
            assert publisher.requests == [], "noise stopped or commanded something"

    # Noise may be a well-formed write: only to units that are there, which none of these frames needs to be.
    asyncio.run(story())


def test_noise_that_happens_to_be_a_write_is_judged_like_any_other() -> None:
    """MOD-3, SAF-1: whatever a fuzzer writes, only points that may be written are, each whole, and a stop only sets."""
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    writable = {
        "local_override", "plc_heartbeat", "setpoint_echo", "actual_speed", "actual_power", "actual_flow",
        "wet_well_level", "high_float", "running", "fault_code", "scada_heartbeat", "emergency_stop",
        "mode_request", "setpoint_request",
    }  # fmt: skip

    def attempt() -> bytes:
        address = dice.choice([dice.randrange(65536), dice.randrange(90, 155), dice.randrange(3), 2000, 2001])
        count = dice.randrange(1, 16)
        data = dice.randbytes(2 * count)
        return dice.choice(
            [
                pdu(5, address, dice.choice([0xFF00, 0, dice.randrange(65536)])),
                pdu(6, address, dice.randrange(65536)),
                pdu(15, address, count, data=data[: (count + 7) // 8]),
                pdu(16, address, count, data=data),
                pdu(22, address, dice.randrange(65536), dice.randrange(65536)),
                pdu(23, dice.randrange(90, 150), 2, address, count, data=data),
            ]
        )

    async def story() -> None:
        async with served(OPEN) as publisher:
            done = asyncio.Event()
            watching = asyncio.create_task(neighbour(publisher, done))
            client = await Raw.connect(publisher)
            publisher.endpoint.operate(call=publisher.carry_out, past=publisher.no_past)
            publisher.endpoint.show_alarms(ShownAlarms(alarms=(), whole=True))
            publisher.show({"/north/s1/p1/mode": Mode.AUTO, "/north/s1/p1/setpoint": 35.25})
            end_s = asyncio.get_running_loop().time() + 3.0
            tid = 0
            while asyncio.get_running_loop().time() < end_s:
                tid = (tid + 1) % 65536
                answer = await client.ask(attempt(), unit=dice.choice([1, 1, 1, 2, 3]), tid=tid)
                assert answer[0] < 0x80 or answer[1] in (1, 2, 3, 11)
                if tid % 100 == 0:
                    assert await client.ask(pdu(3, 103, 1)) == b"\x03\x02" + struct.pack(">H", 3525)
            done.set()
            assert await watching < 2.0
            written = {write.path.rpartition("/")[2] for request in publisher.requests for write in request}
            assert written <= writable
            assert publisher.refused, "no attempt was refused: the fuzzer is blind"
            assert not publisher.events("failed")
            await client.close()

    asyncio.run(story())


def test_500_idle_connections_from_many_addresses_leave_room_and_go() -> None:
    """MOD-4: idle crowds end at the time-out, by themselves; a controller works all the while."""

    async def story() -> None:
        limits = ModbusLimits(idle_s=1.0, evict_unheard_s=0.01, connects_burst=1000, loopback_exempt=False)
        async with served(limits) as publisher:
            done = asyncio.Event()
            watching = asyncio.create_task(neighbour(publisher, done))
            crowd = []
            for number in range(500):
                crowd.append(
                    await Raw.connect(publisher, source=f"127.0.{2 + number // 50}.{number % 50 + 1}")
                )
                assert publisher.endpoint.clients <= limits.clients_max
            await until(lambda: publisher.endpoint.clients == 1, what="the idle have gone")
            done.set()
            assert await watching < 2.0
            for client in crowd:
                await client.close()

    asyncio.run(story())
