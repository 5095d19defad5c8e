"""Seeded fuzz of the OPC UA binary protocol: whatever comes, a good client is answered and memory stays bounded."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from actors.vocabulary.access import UserRole
from protocols.opcua import limits
from protocols.opcua.admission import Rules
from tests.wire.opcua.papers import client_of, guarded, paper
from tests.wire.opcua.served import PUMP, Publisher, Raw, hello, node_id

LASTS_S: Final = float(os.environ.get("CALEJO_FUZZ_S", "6"))
GROWTH_MIB_MAX: Final = 40.0
ANSWER_S_MAX: Final = 5.0
OPEN = Rules(allow_none=True, anonymous_roles=frozenset({UserRole.FIELD}), has_users=True)
_REQUESTS: Final = (
    ua.ReadRequest, ua.WriteRequest, ua.BrowseRequest, ua.CreateSubscriptionRequest, ua.PublishRequest,
    ua.CreateMonitoredItemsRequest, ua.CreateSessionRequest, ua.ActivateSessionRequest, ua.CallRequest,
    ua.TranslateBrowsePathsToNodeIdsRequest, ua.GetEndpointsRequest, ua.RegisterServerRequest,
)  # fmt: skip


def rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def damaged(chance: random.Random, data: bytes) -> bytes:
    """Flip, cut, repeat or overwrite with extreme numbers."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(made) + 1) if made else 0
        match chance.randrange(5):
            case 0 if made:
                made[at % len(made)] ^= 1 << chance.randrange(8)
            case 1:
                made[at:at] = chance.randbytes(chance.randint(1, 40))
            case 2:
                del made[at : at + chance.randint(1, 20)]
            case 3:
                made[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 65_536)))
            case _:
                made += made[:at]
                del made[200_000:]
    return bytes(made)


def valid(chance: random.Random) -> bytes:
    request = chance.choice(_REQUESTS)()
    if isinstance(request, ua.ReadRequest):
        for _ in range(chance.randint(1, 30)):
            request.Parameters.NodesToRead.append(
                ua.ReadValueId(NodeId=node_id(f"{PUMP}/setpoint"), AttributeId=ua.AttributeIds.Value)
            )
    return struct_to_binary(request)


def secure_open(chance: random.Random) -> bytes:
    """An OpenSecureChannel of a secure policy with somebody's certificate and nonsense behind it."""
    uri = chance.choice(
        (
            b"http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256",
            b"http://opcfoundation.org/UA/SecurityPolicy#Aes256_Sha256_RsaPss",
        )
    )
    shown = chance.choice((paper("client").der, paper("stranger").der, b"", chance.randbytes(900)))
    thumb = chance.randbytes(20)
    body = struct.pack("<I", 0)
    for part in (uri, shown, thumb):
        body += struct.pack("<i", len(part)) + part
    body += chance.randbytes(chance.choice((0, 16, 256, 512, 5_000)))
    return b"OPNF" + struct.pack("<I", len(body) + 8) + body


async def attack(chance: random.Random, publisher: Publisher) -> None:
    """One bad client's visit."""
    kind = chance.randrange(6)
    if kind == 0:
        one = await Raw.connect(publisher)
        one.writer.write(chance.randbytes(chance.randint(1, 4_000)))
    elif kind == 1:
        one = await Raw.connect(publisher)
        one.writer.write(damaged(chance, hello()))
    elif kind == 2:
        one = await Raw.connect(publisher)
        one.writer.write(hello())
        await one.message()
        sent = secure_open(chance)
        one.writer.write(sent if chance.random() < 0.5 else damaged(chance, sent))
    else:
        one = await (Raw.channel_to(publisher) if kind == 3 else Raw.session_to(publisher))
        for _ in range(chance.randint(1, 5)):
            body = valid(chance)
            body = body if chance.random() < 0.3 else damaged(chance, body)
            await one.send_bytes(body, chunk=chance.choice((b"F", b"F", b"F", b"C", b"A")))
            if chance.random() < 0.1:
                one._token_id = chance.randrange(3)
    with suppress(TimeoutError, ConnectionError, asyncio.IncompleteReadError):
        async with asyncio.timeout(0.05):
            await one.reader.read(4_096)
    await one.close()
    publisher.raws.remove(one)


async def bad_client(seed: int, publisher: Publisher, goes_on: Callable[[], bool]) -> int:
    chance, visits = random.Random(seed), 0
    while goes_on():
        with suppress(
            ConnectionError, asyncio.IncompleteReadError, TimeoutError, AssertionError, LookupError
        ):
            # An AssertionError here is the tests' own client, which met an error message instead of its answer.
            await attack(chance, publisher)
        visits += 1
    return visits


def test_whatever_comes_a_good_client_is_answered_and_memory_is_bounded() -> None:
    """OPC-5: seeded, for a bounded time (CALEJO_FUZZ_S); no fault of ours, no request of the good client unanswered."""
    seed = int(os.environ.get("CALEJO_FUZZ_SEED", "20261121"))
    print(f"replay with CALEJO_FUZZ_SEED={seed}")

    async def story() -> None:
        faults: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(str(context)))
        async with guarded(rules=OPEN) as one:
            publisher = one.publisher
            publisher.show({f"{PUMP}/setpoint": 20.0})
            async with await client_of(one, user="anna", password="correct horse") as good:
                node = good.get_node(node_id(f"{PUMP}/setpoint"))
                await node.read_value()
                start_s, before_mib, slowest_s, answers = loop.time(), rss_mib(), 0.0, 0
                ends_s = start_s + LASTS_S

                def goes_on() -> bool:
                    return loop.time() < ends_s

                attackers = [
                    loop.create_task(bad_client(seed + number, publisher, goes_on)) for number in range(6)
                ]
                while goes_on():
                    asked_s = loop.time()
                    async with asyncio.timeout(ANSWER_S_MAX):
                        assert await node.read_value() == 20.0
                    slowest_s, answers = max(slowest_s, loop.time() - asked_s), answers + 1
                    await asyncio.sleep(0.01)
                visits = sum(await asyncio.gather(*attackers))
            grown_mib = rss_mib() - before_mib
            print(f"{visits} visits, {answers} answers, slowest {slowest_s:.3f} s, {grown_mib:+.1f} MiB")
            assert visits > 20, "the attackers did nothing"
            assert answers > 5
            assert grown_mib < GROWTH_MIB_MAX
            assert publisher.offered == [], "a damaged write reached the publisher"
            assert not faults, faults[:3]
            assert publisher.events("failed") == []
            listener = publisher.endpoint._listener
            assert listener is not None
            assert len(listener.connections) <= limits.CONNECTIONS_MAX
            assert len(one.cabinet.rejected) <= 64

    asyncio.run(story())
