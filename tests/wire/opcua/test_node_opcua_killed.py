"""SIGKILL with node-opcua connected: it comes back by itself, and its subscription goes on (issue 5: SUP-8, OPC-1)."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from storage.opcua_pki import folder_of, make_folders, self_made_files
from tests.wire.opcua.papers import CLIENT_URI, paper, server_paper
from tests.wire.opcua.served import PUMP, NodeClient, node_client
from tests.wire.opcua.test_node_opcua_secure import filed

pytestmark = [pytest.mark.wire, pytest.mark.services]

ROOT = Path(__file__).resolve().parents[3]
NODES = [f"ns=2;s={PUMP}/setpoint", f"ns=2;s={PUMP}/mode"]
BACK_S_MAX = 30.0
# How a client that is meant to stay connected is set up: again and again, soon, then every second.
STAYS = {"maxRetry": -1, "initialDelay": 100, "maxDelay": 1_000}
# Ten new values a second, counted from a number that says which life of the server they are of.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from actors.vocabulary import Quality
from actors.vocabulary.access import UserRole
from protocols.opcua import OpcUaEndpoint
from protocols.opcua.admission import Rules
from protocols.points import PointValue, opcua_points
from storage.opcua_pki import PkiFolder, folder_of, self_made_files
from tests.unit.protocols.plants import north
from tests.wire.opcua.papers import SAFE, Users

port, first, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
OPEN = Rules(allow_none=True, anonymous_roles=frozenset({UserRole.READ_ONLY}))

async def guard(writes, all_or_nothing):
    return [None] * len(writes)

async def main():
    given = {"rules": OPEN}
    if store:
        data = Path(store)
        pki = PkiFolder(folder_of(data), lambda: self_made_files(data))
        given = {"rules": SAFE, "pki": pki, "doorkeeper": Users()}
    endpoint = OpcUaEndpoint("127.0.0.1", port, **given)
    await endpoint.configure(opcua_points(north()))
    await endpoint.open(guard=guard, refresh=lambda: None, news=lambda *_: None)
    print("open", flush=True)
    for number in range(first, first + 6_000):
        shown = {"/north/s1/p1/setpoint": float(number), "/north/s1/p1/mode": 1}
        endpoint.publish({path: PointValue(value=value, quality=Quality.GOOD, utc_ns=10**18 + number)
                          for path, value in shown.items()})
        await asyncio.sleep(0.1)

asyncio.run(main())
"""


@asynccontextmanager
async def life(port: int, first: int, store: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One life of the server, whose values count from `first`; its end is SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(port), str(first), store, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60.0):
            assert await process.stdout.readline() == b"open\n"
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def seen_from(client: NodeClient, first: float, found: list[Any]) -> int:
    """Wait until a value of a life is seen; return how often the client has come back."""
    end_s = time.monotonic() + BACK_S_MAX
    while time.monotonic() < end_s:
        answer = await client.ask("watched")
        found += answer["changes"]
        if any(one["node"] == NODES[0] and (one["value"] or 0.0) >= first for one in found):
            return int(answer["reconnections"])
        await asyncio.sleep(0.05)
    raise AssertionError(f"no value from {first} on within {BACK_S_MAX} s: {found[-3:]}")


def stored(data: Path) -> dict[str, str]:
    """Make the server's store: its certificate and the client's, pinned; return the client's files."""
    make_folders(folder_of(data))
    files, own = self_made_files(data), server_paper()
    files.certificate.write_bytes(own.certificate.public_bytes(serialization.Encoding.PEM))
    files.private_key.write_bytes(own.key_pem)
    (folder_of(data) / "trusted" / "client.der").write_bytes(paper("client").der)
    return filed(data, "client", paper("client"))


@pytest.mark.parametrize("secure", [False, True], ids=["None", "Basic256Sha256"])
def test_killed_with_a_client_connected_its_subscription_goes_on_by_itself(
    node_opcua: Path, tmp_path: Path, secure: bool
) -> None:
    """SUP-8, OPC-1, OPC-4: a successor on the same port and store; the client is told nothing and asked for nothing."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options: dict[str, Any] = {"strategy": STAYS}
    store = ""
    if secure:
        store = str(tmp_path / "data")
        Path(store).mkdir()
        own = stored(Path(store))
        options["secure"] = {
            **own, "folder": str(tmp_path / "pki"), "uri": CLIENT_URI, "policy": "Basic256Sha256",
            "mode": "SignAndEncrypt", "user": "anna", "password": "correct horse",
        }  # fmt: skip

    async def story() -> None:
        async with AsyncExitStack() as lives:
            first = await lives.enter_async_context(life(port, 1_000, store))
            async with node_client(node_opcua, f"opc.tcp://127.0.0.1:{port}", options) as client:
                assert await client.ask("watch", nodes=NODES, interval=100) == ["Good", "Good"]
                assert await seen_from(client, 1_001.0, []) == 0
                tree = await client.ask("browse", node=f"ns=2;s={PUMP}")
                first.send_signal(signal.SIGKILL)
                await first.wait()
                # The client's clock is this machine's, too.
                killed_s, killed_at_s = time.monotonic(), time.time()  # noqa: TID251 - beside node's own
                await lives.enter_async_context(life(port, 2_000, store))
                served_s = time.monotonic() - killed_s
                after: list[Any] = []
                assert await seen_from(client, 2_001.0, after) == 1
                values = [one for one in after if one["node"] == NODES[0] and one["value"] >= 2_000.0]
                back_s = values[0]["at"] / 1_000.0 - killed_at_s
                print(
                    f"served again after {served_s:.2f} s, the first notification {back_s:.2f} s after SIGKILL"
                )
                numbers = [one["value"] for one in values]
                assert numbers == sorted(set(numbers)), "each value once and in order"
                assert {one["node"] for one in after} == set(NODES)
                assert {one["status"] for one in values} == {"Good"}
                assert {one["value"] for one in after if one["node"] == NODES[1]} == {1}
                assert await client.ask("browse", node=f"ns=2;s={PUMP}") == tree, "the same node ids"
                (read,) = await client.ask("read", nodes=NODES[:1])
                assert read["value"] >= values[-1]["value"]

    asyncio.run(story())
