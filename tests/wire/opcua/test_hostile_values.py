"""Values and requests meant to do harm to the OPC UA endpoint, and bytes that mean nothing."""

from __future__ import annotations

import asyncio
import random
import resource
import struct
import time
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from protocols.opcua import limits
from protocols.opcua.ids import standard, status
from tests.wire.opcua.served import (
    DEADLINE_S,
    PUMP,
    Fault,
    Publisher,
    Raw,
    alive,
    hello,
    item,
    node_id,
    served,
    until,
)

FUZZ_S = 4.0


LEVEL = f"{PUMP}/wet_well_level"


DOUBLE = ua.VariantType.Double


IMPROPER_WRITES = [
        (item(LEVEL, float("nan"), DOUBLE), "BadOutOfRange"),
        (item(LEVEL, float("inf"), DOUBLE), "BadOutOfRange"),
        (item(LEVEL, 1.0, ua.VariantType.Float), "BadTypeMismatch"),
        (item(LEVEL, 1, ua.VariantType.Int32), "BadTypeMismatch"),
        (item(LEVEL, "1", ua.VariantType.String), "BadTypeMismatch"),
        (item(LEVEL, [1.0], DOUBLE), "BadTypeMismatch"),
        (item(LEVEL, [], DOUBLE), "BadTypeMismatch"),
        (item(f"{PUMP}/running", 1, ua.VariantType.Byte), "BadTypeMismatch"),
        (item(LEVEL, 1.0, DOUBLE, StatusCode=status(ua.StatusCodes.BadSensorFailure)),
         "BadWriteNotSupported"),
        (item(LEVEL, 1.0, DOUBLE, StatusCode=status(ua.StatusCodes.UncertainLastUsableValue)),
         "BadWriteNotSupported"),
        (item(LEVEL, 1.0, DOUBLE, SourceTimestamp=ua.DateTime(2020, 1, 1)), "BadWriteNotSupported"),
        (item(LEVEL, 1.0, DOUBLE, ServerTimestamp=ua.DateTime(2020, 1, 1)), "BadWriteNotSupported"),
        (item(LEVEL, 3, ua.VariantType.Byte, ua.AttributeIds.AccessLevel), "BadNotWritable"),
        (item(LEVEL, "x", ua.VariantType.String, ua.AttributeIds.DisplayName), "BadNotWritable"),
        (item(LEVEL, True, ua.VariantType.Boolean, ua.AttributeIds.Executable), "BadAttributeIdInvalid"),
        (item(f"{PUMP}/setpoint", 20.0, DOUBLE), "BadNotWritable"),
        (item(f"{PUMP}/remote_enabled", True, ua.VariantType.Boolean), "BadNotWritable"),
        (item(f"{PUMP}/nothing", 20.0, DOUBLE), "BadNodeIdUnknown"),
        (item("types/PumpType/wet_well_level", 20.0, DOUBLE), "BadNotWritable"),
        (item("/north", 20.0, DOUBLE), "BadAttributeIdInvalid"),
]  # fmt: skip


def test_what_is_no_proper_write_is_never_taken() -> None:
    """OPC-2, OPC-5: NaN, arrays, wrong types, a client's own status or time, other attributes: refused as that."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            for write, code in IMPROPER_WRITES:
                assert await one.write(write) == [code], write
            assert publisher.offered == []
            assert await one.read(LEVEL, f"{PUMP}/setpoint") == [(0.0, "BadWaitingForInitialData")] * 2

    asyncio.run(story())


def test_ranges_and_the_standard_s_nodes_are_no_way_in() -> None:
    """OPC-5: an index range is refused, and nothing of the server's own nodes can be written."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            ranged = item(LEVEL, 1.0, DOUBLE)
            ranged.IndexRange = "0:1"
            namespaces = item(LEVEL, ["urn:mine"], ua.VariantType.String)
            namespaces.NodeId = standard(ua.ObjectIds.Server_NamespaceArray)
            assert await one.write(ranged, namespaces) == ["BadIndexRangeNoData", "BadNotWritable"]
            request = ua.ReadRequest()
            request.Parameters.NodesToRead = [
                ua.ReadValueId(node_id(LEVEL), ua.AttributeIds.Value, IndexRange="0:1")
            ]
            (value,) = (await one.ask(request, ua.ReadResponse)).Results
            assert value.StatusCode.name == "BadIndexRangeNoData"
            assert publisher.offered == []

    asyncio.run(story())


def test_a_guard_that_fails_or_hangs_is_answered_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-5: a fault of ours is answered and told, a hanging guard is not waited for; others are served."""
    monkeypatch.setattr(limits, "GUARD_DEADLINE_S", 0.3)

    async def story() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            publisher.error = RuntimeError("broken")
            with pytest.raises(Fault, match="BadInternalError"):
                await one.write(item(LEVEL, 1.0, DOUBLE))
            assert publisher.events("failed") == ["RuntimeError('broken')"]
            assert [context["exception"] for context in told] == [publisher.error]
            publisher.error, publisher.hold = None, asyncio.Event()
            waiting = asyncio.create_task(one.write(item(LEVEL, 1.0, DOUBLE)))
            await alive(publisher)
            assert await waiting == ["BadTimeout"]

    asyncio.run(story())


def variant_write(payload: bytes, token: ua.NodeId) -> bytes:
    """A write request whose one value is the raw bytes of a Variant."""
    request = ua.WriteRequest()
    request.RequestHeader.AuthenticationToken = token
    request.Parameters.NodesToWrite = [item(LEVEL, 0.5, DOUBLE)]
    body = struct_to_binary(request)
    good = b"\x0b" + struct.pack("<d", 0.5)
    assert body.count(good) == 1
    return body.replace(good, payload)


CLAIMS = [
    b"\x80" + struct.pack("<i", 0x7FFF_FFFF),  # an array of two thousand million Nulls in five bytes
    b"\x8b" + struct.pack("<i", 0x7FFF_FFFF),
    b"\x98" + struct.pack("<i", 0x7FFF_FFFF),
    b"\xcb" + struct.pack("<i", 0) + struct.pack("<iiii", 3, 999, 1000, 1),  # dimensions of nothing
    b"\x18" * 5_000,  # a Variant in a Variant in a Variant …
    b"\x98\x01\x00\x00\x00" * 5_000,
    b"\x0b",
    b"\x2a" + b"\xff" * 8,
    b"\xaf" + struct.pack("<i", 0x7FFF_FFFF),
    b"\x16\x01\x00\x0b\x02\x01" + struct.pack("<i", 0x7FFF_FFFF),
]


def test_a_value_that_claims_much_costs_nothing() -> None:
    """OPC-5: claimed lengths, dimensions and nesting are refused without memory or time."""

    async def story() -> None:
        async with served() as publisher:
            for claim in CLAIMS:
                one = await Raw.session_to(publisher)
                before_kib, start_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
                await one.send_bytes(variant_write(claim, one.token))
                try:
                    codes = [code.name for code in (await one.response(ua.WriteResponse)).Results]
                except Fault as fault:
                    codes = [str(fault)]
                assert codes in (["BadDecodingError"], ["BadTypeMismatch"]), claim
                assert time.monotonic() - start_s < 0.5, claim
                assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 16 * 1024, claim
            assert publisher.offered == []
            assert publisher.events("failed") == []
            await alive(publisher)

    asyncio.run(story())


def test_a_dictionary_cannot_be_asked_for_a_thousand_times() -> None:
    """OPC-5: no answer grows without bound."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            request = ua.ReadRequest()
            request.Parameters.NodesToRead = [
                ua.ReadValueId(standard(number), ua.AttributeIds.Value)
                for number in (ua.ObjectIds.OpcUa_BinarySchema, ua.ObjectIds.OpcUa_XmlSchema)
            ] * (limits.NODES_PER_READ_MAX // 2)
            await one.post(request)
            response = await one.response(ua.ReadResponse)
            assert sum(len(value.Value.Value or b"") for value in response.Results) < 1_000_000

    asyncio.run(story())


def test_fuzz() -> None:
    """OPC-5: whatever is sent for a few seconds, a good client is served throughout, and nothing of ours fails."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    noise = random.Random(seed)

    def spoil(data: bytes) -> bytes:
        spoiled = bytearray(data)
        for _ in range(noise.randint(1, 6)):
            place = noise.randrange(len(spoiled))
            match noise.randrange(4):
                case 0:
                    spoiled[place] = noise.randrange(256)
                case 1:
                    spoiled[place : place + 4] = noise.choice(
                        (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\0\0\0\x80")
                    )
                case 2:
                    del spoiled[place : place + noise.randint(1, 8)]
                    spoiled = spoiled or bytearray(b"\0")
                case _:
                    spoiled[place:place] = noise.randbytes(noise.randint(1, 8))
        return bytes(spoiled)

    def requests() -> list[Any]:
        subscribe, monitor = ua.CreateSubscriptionRequest(), ua.CreateMonitoredItemsRequest()
        subscribe.Parameters.RequestedPublishingInterval = 100.0
        one = ua.MonitoredItemCreateRequest()
        one.ItemToMonitor = ua.ReadValueId(node_id(LEVEL), ua.AttributeIds.Value)
        one.RequestedParameters.Filter = ua.DataChangeFilter()
        monitor.Parameters.ItemsToCreate = [one]
        read, write, browse = ua.ReadRequest(), ua.WriteRequest(), ua.BrowseRequest()
        read.Parameters.NodesToRead = [ua.ReadValueId(node_id(LEVEL), ua.AttributeIds.Value)] * 3
        write.Parameters.NodesToWrite = [
            item(LEVEL, 1.0, DOUBLE),
            item(f"{PUMP}/running", True, ua.VariantType.Boolean),
        ]
        browse.Parameters.NodesToBrowse = [ua.BrowseDescription(NodeId=node_id("/north"))]
        translate = ua.TranslateBrowsePathsToNodeIdsRequest()
        path = ua.BrowsePath(StartingNode=node_id("/north"))
        path.RelativePath.Elements = [ua.RelativePathElement(TargetName=ua.QualifiedName("s1", 2))]
        translate.Parameters.BrowsePaths = [path]
        return [
            subscribe, monitor, read, write, browse, translate, ua.PublishRequest(), ua.GetEndpointsRequest(),
            ua.FindServersRequest(), ua.CreateSessionRequest(), ua.ActivateSessionRequest(), ua.RepublishRequest(),
            ua.ModifyMonitoredItemsRequest(), ua.CallRequest(), ua.CloseSessionRequest(),
        ]  # fmt: skip

    async def attack(publisher: Publisher, end_s: float) -> int:
        count = 0
        while time.monotonic() < end_s:
            one = await (Raw.connect if noise.random() < 0.2 else Raw.session_to)(publisher)
            try:
                for request in noise.sample(requests(), 8):
                    request.RequestHeader.AuthenticationToken = one.token
                    if one.channel == 0:
                        one.writer.write(spoil(hello()))
                    else:
                        await one.send_bytes(spoil(struct_to_binary(request)))
                    count += 1
                    publisher.show({LEVEL: float(count)})
                await one.writer.drain()
                await asyncio.sleep(0)
            except ConnectionError:
                pass
            await one.close()
        return count

    async def story() -> None:
        async with served() as publisher:
            good = await Raw.session_to(publisher)
            publisher.refusals = {}
            end_s = time.monotonic() + FUZZ_S
            attacks = [asyncio.create_task(attack(publisher, end_s)) for _ in range(3)]
            slowest_s = 0.0
            while time.monotonic() < end_s:
                start_s = time.monotonic()
                assert (await good.read("/north/failsafe"))[0][1] == "BadWaitingForInitialData"
                slowest_s = max(slowest_s, time.monotonic() - start_s)
                await asyncio.sleep(0.01)
            counts = await asyncio.gather(*attacks)
            assert sum(counts) > 200
            assert publisher.events("failed") == []
            assert slowest_s < DEADLINE_S / 10
            await good.close()
            await until(lambda: publisher.endpoint.clients == 0, what="all are forgotten")
            await alive(publisher)

    asyncio.run(story())
