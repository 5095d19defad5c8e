"""The Modbus endpoint as clients see it: reading, writing, refusing, many requests at once."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from actors.vocabulary import DeviceError, WriteRefusal
from protocols.modbus.limits import ModbusLimits
from protocols.modbus.server import ModbusEndpoint
from protocols.points import site_points
from tests.unit.protocols.plants import north, site, station
from tests.wire.modbus.served import Raw, frame, pdu, port_of, served, until


def test_a_block_is_read_in_one_piece_and_never_torn() -> None:
    """WDG-4: sequence and sequence_end of one read are equal while the publisher changes them all the
    time.
    """

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            for sequence in range(1, 200):
                publisher.show(
                    {"/north/s1/p1/sequence": sequence, "/north/s1/p1/setpoint": sequence / 100,
                     "/north/s1/p1/epoch": sequence << 16 | sequence, "/north/s1/p1/sequence_end": sequence}
                )  # fmt: skip
                answer = await client.ask(pdu(3, 100, 50), tid=sequence)
                registers = struct.unpack(">50H", answer[2:])
                assert {registers[n] for n in (0, 3, 6, 7, 11)} == {sequence}
            assert publisher.refreshed == 199
            await client.close()

    asyncio.run(story())


def test_pipelined_requests_are_answered_in_order_each_with_its_own_ids() -> None:
    """MOD-3: three frames in one segment, one of them a slow write, do not mix up their answers."""

    async def story() -> None:
        async with served() as publisher:
            publisher.hold = asyncio.Event()
            client = await Raw.connect(publisher)
            client.writer.write(
                frame(11, 1, pdu(6, 121, 7)) + frame(12, 2, pdu(3, 121, 1)) + frame(13, 9, pdu(3, 0, 1))
                + frame(14, 1, pdu(3, 121, 1))
            )  # fmt: skip
            other = await Raw.connect(publisher)
            assert await other.ask(pdu(3, 121, 1)) == b"\x03\x02\0\0", "a slow write holds up nobody else"
            publisher.hold.set()
            assert [await client.answer() for _ in range(4)] == [
                (11, 1, pdu(6, 121, 7)),
                (12, 2, b"\x03\x02\0\0"),
                (13, 9, b"\x83\x0b"),
                (14, 1, b"\x03\x02\0\x07"),
            ]
            await client.close()
            await other.close()

    asyncio.run(story())


def test_a_frame_may_arrive_byte_by_byte_and_two_frames_in_three_parts() -> None:
    """MOD-3: segments are not frames."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            for byte in frame(5, 1, pdu(3, 0, 1)):
                client.writer.write(bytes([byte]))
                await client.writer.drain()
                await asyncio.sleep(0.001)
            assert await client.answer() == (5, 1, b"\x03\x02\0\0")
            both = frame(6, 1, pdu(3, 0, 1)) + frame(7, 1, pdu(1, 0, 2))
            for part in (both[:3], both[3:17], both[17:]):
                client.writer.write(part)
                await client.writer.drain()
                await asyncio.sleep(0.01)
            assert [(await client.answer())[0] for _ in range(2)] == [6, 7]
            await client.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("unit", "request_pdu", "answer"),
    [
        (3, pdu(3, 100, 1), "83 0b"), (0, pdu(3, 100, 1), "83 0b"), (255, b"\x07", "87 0b"),
        (1, pdu(3, 100, 0), "83 03"), (1, pdu(3, 100, 126), "83 03"), (1, pdu(3, 200, 1), "83 02"),
        (1, pdu(3, 65535, 9), "83 02"), (1, pdu(4, 200, 1), "84 02"), (1, pdu(2, 0, 7), "82 02"),
        (1, pdu(8, 0, 0), "88 01"), (1, b"\x11", "91 01"), (1, b"\x2b\x0e\x01\x00", "ab 01"),
        (1, b"\x63", "e3 01"), (1, b"\x00", "80 01"), (1, b"\x90", "90 01"), (1, b"\x03", "83 03"),
        (1, pdu(6, 103, 9), "86 02"), (1, pdu(6, 133, 9), "86 02"), (1, pdu(6, 124, 9), "86 03"),
        (1, pdu(6, 120, 2), "86 03"), (1, pdu(5, 100, 1), "85 03"), (1, pdu(5, 4, 0xFF00), "85 02"),
        (1, pdu(16, 122, 3, data=bytes(6)), "90 03"), (1, pdu(16, 119, 2, data=bytes(4)), "90 02"),
        (1, pdu(16, 120, 14, data=bytes(28)), "90 02"), (1, pdu(16, 120, 2, data=bytes(2)), "90 03"),
        (1, pdu(22, 124, 0xFFFF, 1), "96 03"), (1, pdu(22, 105, 0xFFFF, 1), "96 02"),
        (1, pdu(23, 1, 1, 121, 1, data=b"\0\1"), "97 02"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_is_refused_and_changes_nothing(
    unit: int, request_pdu: bytes, answer: str
) -> None:
    """MOD-3: the right exception code, the guard not even asked, the connection alive."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            assert (await client.ask(request_pdu, unit=unit)).hex(" ") == answer
            assert publisher.requests == []
            written = request_pdu[0] in (5, 6, 15, 16, 22, 23)
            assert len(publisher.refused) == written, "a refused write is brought to be audited, once"
            assert await client.ask(pdu(3, 100, 50)) == b"\x03\x64" + bytes(100)
            await client.close()

    asyncio.run(story())


def test_every_way_of_writing_reaches_the_guard_whole_and_reads_back() -> None:
    """MOD-2: FC 5, 6, 15, 16, 22 and 23."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            assert await client.ask(pdu(6, 0, 41)) == pdu(6, 0, 41)
            feedback = pdu(16, 128, 2, data=struct.pack(">i", -1500))
            assert await client.ask(feedback) == pdu(16, 128, 2)
            assert await client.ask(pdu(22, 121, 0x00F0, 0x0005)) == pdu(22, 121, 0x00F0, 0x0005)
            assert await client.ask(pdu(23, 120, 2, 121, 1, data=b"\0\x09")) == b"\x17\x04\0\0\0\x09"
            assert await client.ask(pdu(5, 100, 0xFF00)) == pdu(5, 100, 0xFF00)
            assert await client.ask(pdu(15, 0, 2, data=b"\x02")) == pdu(15, 0, 2)
            written = [[(write.path, write.value) for write in request] for request in publisher.requests]
            assert written == [
                [("/north/s1/scada_heartbeat", 41)],
                [("/north/s1/p1/wet_well_level", -1.5)],
                [("/north/s1/p1/plc_heartbeat", 5)],
                [("/north/s1/p1/plc_heartbeat", 9)],
                [("/north/s1/p1/emergency_stop", True)],
                [("/north/s1/emergency_stop", False), ("/north/emergency_stop", True)],
            ]
            assert {write.peer for request in publisher.requests for write in request} == {
                "{}:{}".format(*client.writer.get_extra_info("sockname"))
            }
            assert await client.ask(pdu(1, 0, 2)) == b"\x01\x01\x02"
            assert await client.ask(pdu(1, 1, 1), unit=2) == b"\x01\x01\x01", (
                "a site point shows in every unit"
            )
            await client.close()

    asyncio.run(story())


def test_a_coil_written_0_is_accepted_and_clears_nothing() -> None:
    """EST-4: the coil sets only; what reads back is the latch."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            await client.ask(pdu(5, 101, 0xFF00))
            assert await client.ask(pdu(5, 101, 0)) == pdu(5, 101, 0)
            assert await client.ask(pdu(1, 101, 1)) == b"\x01\x01\x01"
            await client.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (WriteRefusal.READ_ONLY, 2), (WriteRefusal.UNKNOWN_POINT, 2), (WriteRefusal.OUT_OF_RANGE, 3),
        (WriteRefusal.BAD_TYPE, 3), (WriteRefusal.NOT_PERMITTED, 1), (WriteRefusal.INVALID_STATE, 1),
        (WriteRefusal.DEVICE_FAILURE, 4),
    ],
)  # fmt: skip
def test_what_the_guard_refuses_is_refused_whole(refusal: WriteRefusal, code: int) -> None:
    """MOD-3: one bad point refuses the request, and somebody is told."""

    async def story() -> None:
        async with served() as publisher:
            publisher.refusals = {"/north/s1/p1/setpoint_echo": refusal}
            client = await Raw.connect(publisher)
            assert await client.ask(pdu(16, 121, 2, data=b"\0\7\0\7")) == bytes([0x90, code])
            assert await client.ask(pdu(3, 121, 2)) == b"\x03\x04\0\0\0\0"
            told = [f"/north/s1/p1/setpoint_echo = 0.07: {refusal.value}"]
            assert publisher.events("write_refused") == told
            await client.close()

    asyncio.run(story())


def test_a_failure_behind_the_endpoint_is_04_and_told_and_others_are_served() -> None:
    """MOD-3: a disk that fails is not the client's fault."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            publisher.error = DeviceError("disk full")
            assert await client.ask(pdu(6, 0, 1)) == b"\x86\x04"
            assert publisher.events("failed") == ["DeviceError('disk full')"]
            publisher.error = None
            assert await client.ask(pdu(6, 0, 1)) == pdu(6, 0, 1)
            await client.close()

    asyncio.run(story())


def test_a_stop_counts_although_its_client_has_gone() -> None:
    """EST-1: write the coil and hang up: the stop is carried out."""

    async def story() -> None:
        async with served() as publisher:
            publisher.hold = asyncio.Event()
            client = await Raw.connect(publisher)
            client.writer.write(frame(1, 1, pdu(3, 0, 1)) + frame(2, 1, pdu(5, 0, 0xFF00)))
            await client.answer()
            tcp = client.writer.get_extra_info("socket")
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.transport.abort()  # with this option: a reset, not a farewell
            await until(lambda: publisher.endpoint.clients == 0, what="the client is gone")
            publisher.hold.set()
            await until(lambda: publisher.finished == 1, what="the stop is carried out")

    asyncio.run(story())


def test_a_new_map_keeps_clients_and_values() -> None:
    """DAT-4: a pump discovered while clients are connected disturbs none of them."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            publisher.show({"/north/s1/p1/heartbeat": 77})
            assert await client.ask(pdu(3, 200, 1)) == b"\x83\x02"
            grown = site(station("s1", 1, {"p1": 0, "p2": 1, "p4": 2}))
            await publisher.endpoint.configure(site_points(grown))
            assert await client.ask(pdu(3, 200, 1)) == b"\x03\x02\0\0"
            assert await client.ask(pdu(3, 105, 1)) == b"\x03\x02\0\x4d"
            assert await client.ask(pdu(3, 100, 1), unit=2) == b"\x83\x0b"
            assert publisher.endpoint.clients == 1
            await client.close()

    asyncio.run(story())


def test_localhost_is_this_machine_whatever_a_hosts_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """MOD-4: the address that was checked is the one that is bound; a name is never looked up."""

    async def story() -> None:
        asked = []

        async def elsewhere(host: str, port: int, **_: object) -> list[object]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("0.0.0.0", port))]

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", elsewhere)
        endpoint = ModbusEndpoint("localhost", 0)
        await endpoint.configure(site_points(north()))
        await endpoint.open(guard=lambda *_: None, refresh=lambda: None, news=lambda *_: None)  # type: ignore[arg-type]
        try:
            assert endpoint.bound.startswith("127.0.0.1:")
            assert "localhost" not in asked
        finally:
            await endpoint.close()

    asyncio.run(story())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_only_loopback_may_be_bound_without_an_allow_list(host: str) -> None:
    """MOD-4: no door to the network without a list of who may come; the address is named."""

    async def story() -> None:
        endpoint = ModbusEndpoint(host, 0)
        await endpoint.configure(site_points(north()))
        with pytest.raises(DeviceError, match="may not be bound") as refused:
            await endpoint.open(guard=lambda *_: None, refresh=lambda: None, news=lambda *_: None)  # type: ignore[arg-type]
        assert repr(host) in str(refused.value)
        assert endpoint.bound == ""

    asyncio.run(story())


def test_a_taken_port_says_so_and_a_freed_one_can_be_bound_at_once() -> None:
    """MOD-1: one clear error; after `close` the same port serves again."""

    async def story() -> None:
        async with served() as publisher:
            port = port_of(publisher)
            with pytest.raises(DeviceError, match=f"127.0.0.1:{port} cannot be bound"):
                async with served(port=port):
                    pytest.fail("two servers on one port")
            client = await Raw.connect(publisher)
            await client.ask(pdu(3, 0, 1))
        assert publisher.endpoint.bound == ""
        assert await client.ended() == b""
        async with served(ModbusLimits(), port=port) as again:
            assert port_of(again) == port
            second = await Raw.connect(again)
            assert await second.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            await second.close()
        await client.close()

    asyncio.run(story())
