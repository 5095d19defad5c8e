"""The OPC UA endpoint against connections that are broken, idle, deaf or greedy."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from protocols.opcua import limits
from tests.wire.opcua.served import (
    PUMP,
    Raw,
    alive,
    hello,
    node_id,
    served,
    until,
)

GARBAGE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 64,
    b"HELF\x00\x00\x00\x00",
    b"HELF\x08\x00\x00\x00",
    b"HELF\xff\xff\xff\xff",
    b"HELX\x40\x00\x00\x00",
    b"ACKF\x1c\x00\x00\x00" + b"\x00" * 20,
    b"MSGF\x20\x00\x00\x00" + b"\x00" * 24,
    b"OPNF\x20\x00\x00\x00" + b"\x00" * 24,
    hello() + hello(),
    hello() + b"MSGF\xff\xff\xff\x7f",
    hello() + b"OPNF\x20\x00\x00\x00" + b"\xff" * 24,
    hello(receive=16),
    hello(send=0),
]


def test_garbage_is_answered_with_an_error_and_an_end() -> None:
    """OPC-5: bytes that are no OPC UA end the connection; they are neither waited for nor kept."""

    async def story() -> None:
        async with served() as publisher:
            for garbage in GARBAGE:
                one = await Raw.connect(publisher)
                one.writer.write(garbage)
                async with asyncio.timeout(limits.IDLE_CONNECTION_S / 2):  # at once, not for being idle
                    assert b"ERRF" in await one.ended(), garbage
                await until(lambda: publisher.endpoint.clients == 0, what="the connection is forgotten")
            assert publisher.events("failed") == []
            await alive(publisher)

    asyncio.run(story())


def test_a_stream_out_of_step_is_closed() -> None:
    """OPC-5: a wrong sequence number, channel or token ends the connection; asyncua went on."""

    async def story() -> None:
        async with served() as publisher:
            for spoil in ("sequence", "channel", "_token_id"):
                one = await Raw.session_to(publisher)
                setattr(one, spoil, getattr(one, spoil) + 5)
                await one.post(ua.ReadRequest())
                assert b"ERRF" in await one.ended(), spoil
            await alive(publisher)

    asyncio.run(story())


def test_what_is_cut_into_bytes_is_put_together() -> None:
    """OPC-5: a slow or split stream is no fault."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.connect(publisher)
            for byte in hello():
                one.writer.write(bytes([byte]))
                await one.writer.drain()
            assert (await one.message())[0] == b"ACK"
            await one.open_channel()
            await one.create_session()
            await one.activate()
            request = ua.ReadRequest()
            request.RequestHeader.AuthenticationToken = one.token
            request.Parameters.NodesToRead = [
                ua.ReadValueId(node_id("/north/failsafe"), ua.AttributeIds.Value)
            ]
            body = struct_to_binary(request)
            # Both chunks carry the same request id.
            await one.send_bytes(body[:20], chunk=b"C")
            one.sequence += 1
            data = (
                struct.pack("<IIII", one.channel, one._token_id, one.sequence, one.sequence - 1) + body[20:]
            )
            one.writer.write(b"MSGF" + struct.pack("<I", len(data) + 8) + data)
            response = await one.response(ua.ReadResponse)
            assert response.Results[0].StatusCode.name == "BadWaitingForInitialData"

    asyncio.run(story())


def test_a_message_of_endless_chunks_is_refused() -> None:
    """OPC-5: chunks may not add up to more than a request may have."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            one.sequence += 1
            first = one.sequence
            sent = 0
            try:
                while sent < 4 * limits.REQUEST_BYTES_MAX:
                    data = (
                        struct.pack("<IIII", one.channel, one._token_id, one.sequence, first) + b"\0" * 50_000
                    )
                    one.writer.write(b"MSGC" + struct.pack("<I", len(data) + 8) + data)
                    await one.writer.drain()
                    one.sequence += 1
                    sent += 50_000
            except ConnectionError:
                pass
            await one.ended()
            await until(lambda: publisher.endpoint.clients == 0, what="the connection is forgotten")
            await alive(publisher)

    asyncio.run(story())


def test_half_open_connections_lose_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-5: connections without a session are few, short-lived, and make room for those who come with one."""
    monkeypatch.setattr(limits, "IDLE_CONNECTION_S", 1.0)
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 8)

    async def story() -> None:
        async with served() as publisher:
            worker = await Raw.session_to(publisher)
            idle = [await Raw.connect(publisher) for _ in range(20)]
            await until(lambda: publisher.endpoint.clients <= 8, what="places are bounded")
            await alive(publisher)
            half = await Raw.channel_to(publisher)
            await until(lambda: publisher.endpoint.clients == 1, what="idle connections are swept away")
            assert await worker.read("/north/failsafe") == [(False, "BadWaitingForInitialData")]
            for one in (*idle, half):
                await one.close()

    asyncio.run(story())


def test_places_taken_by_sessions_are_not_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-5: when all places have a session, a newcomer is refused, and told so to the publisher."""
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 3)

    async def story() -> None:
        async with served() as publisher:
            workers = [await Raw.session_to(publisher) for _ in range(3)]
            late = await Raw.connect(publisher)
            assert await late.ended() == b""
            assert "3 connections" in publisher.events("refused")
            for worker in workers:
                assert await worker.read("/north/failsafe") == [(False, "BadWaitingForInitialData")]
                await worker.close()
            await until(lambda: publisher.endpoint.clients == 0, what="all gone")
            await alive(publisher)

    asyncio.run(story())


def test_who_never_reads_is_dropped_and_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-5: answers to a client that does not read are bounded; the others do not feel it."""
    monkeypatch.setattr(limits, "STALLED_WRITE_S", 1.0)

    async def story() -> None:
        async with served() as publisher:
            deaf = await Raw.session_to(publisher)
            assert deaf.writer.transport is not None
            sock: socket.socket = deaf.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            assert isinstance(deaf.writer.transport, asyncio.Transport)
            deaf.writer.transport.pause_reading()
            request = ua.ReadRequest()
            request.RequestHeader.AuthenticationToken = deaf.token
            request.Parameters.NodesToRead = [
                ua.ReadValueId(node_id(f"{PUMP}/setpoint"), ua.AttributeIds.Description)
            ] * limits.NODES_PER_READ_MAX
            before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

            async def flood() -> None:
                while True:
                    await deaf.post(request)

            flooding = asyncio.create_task(flood())
            await alive(publisher)
            await until(
                lambda: "does not read its answers" in publisher.events("refused"),
                what="the deaf one is dropped",
            )
            flooding.cancel()
            await asyncio.wait([flooding])
            await until(lambda: publisher.endpoint.clients == 0, what="it is forgotten")
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024
            await deaf.close()

    asyncio.run(story())


def test_a_flood_of_requests_does_not_starve_others() -> None:
    """OPC-5: a client with thousands of requests in the pipe takes turns with the others, and loses none."""
    count = 5_000

    async def story() -> None:
        async with served() as publisher:
            greedy = await Raw.session_to(publisher)
            request = ua.ReadRequest()
            request.Parameters.NodesToRead = [
                ua.ReadValueId(node_id(f"{PUMP}/setpoint"), ua.AttributeIds.Value)
            ]
            # All in one go: what one turn of the loop receives are thousands of requests.
            greedy.writer.transport.set_write_buffer_limits(high=1 << 24)
            turns = 0

            async def other() -> None:
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            async def flood() -> None:
                for _ in range(count):
                    await greedy.post(request)

            await flood()
            others = asyncio.create_task(other())
            for _ in range(count):
                assert (await greedy.message())[0] == b"MSG"
            others.cancel()
            await asyncio.wait([others])
            assert turns >= count  # at least one turn for the others between two answers

    asyncio.run(story())
