"""A Modbus endpoint whose process is killed outright."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.modbus.served import Raw, pdu, port_of, served

pytestmark = pytest.mark.chaos

CHILD = """
import asyncio
from protocols.modbus.server import ModbusEndpoint
from protocols.points import site_points
from tests.unit.protocols.plants import north

async def serve():
    endpoint = ModbusEndpoint("127.0.0.1", 0)
    await endpoint.configure(site_points(north()))
    await endpoint.open(guard=None, refresh=lambda: None, news=lambda *_: None)
    print(endpoint.bound, flush=True)
    await asyncio.Event().wait()

asyncio.run(serve())
"""


def test_the_port_is_served_again_at_once_after_sigkill() -> None:
    """SUP-8, MOD-1: clients were connected when it died; its successor binds the same port without waiting."""
    root = Path(__file__).resolve().parents[3]
    child = subprocess.Popen([sys.executable, "-c", CHILD], cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline().rpartition(":")[2])

        async def story() -> None:
            clients = [Raw(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(3)]
            for client in clients:
                assert await client.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
            child.kill()
            child.wait(10)
            async with served(port=port) as publisher:
                assert port_of(publisher) == port
                again = await Raw.connect(publisher)
                assert await again.ask(pdu(3, 0, 1)) == b"\x03\x02\0\0"
                await again.close()
            for client in clients:
                await client.close()

        asyncio.run(story())
    finally:
        child.kill()
        child.wait(10)
        if child.stdout is not None:
            child.stdout.close()
