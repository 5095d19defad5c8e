"""The bench of OPC UA: its servers serve the same points, and its table names every figure."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import msgspec
import pytest
from asyncua import Client, ua

from ops.bench.opcua import Measured, OpcUaFigures, Server, _at, _clients, shown
from ops.bench.opcua_servers import CHANGING_MAX, changing
from ops.bench.plants import plant
from ops.bench.started import Started
from protocols.opcua.ids import own
from protocols.points import opcua_points


def test_a_plant_of_any_size_has_a_map() -> None:
    """OPS-5: a thousand pumps in stations of fifty, a thousand numbers that change."""
    points = opcua_points(plant(1_000))
    assert len({point.pump_id for point in points if point.pump_id}) == 1_000
    assert len(changing(points)) == CHANGING_MAX


def test_quantiles_of_few_and_many() -> None:
    """OPS-5: in milliseconds; of nothing there is none."""
    assert math.isnan(_at([], 0.5))
    assert _at([0.002], 0.99) == 2.0
    assert _at([number / 1_000 for number in range(1, 101)], 0.5) == pytest.approx(50.5, abs=0.2)


def test_the_table_shows_every_figure_beside_the_bare_server() -> None:
    """OPS-5: with the ratio of both."""
    numbers = {
        name: 2.0 for name in Measured.__struct_fields__ if name not in {"server", "flood_sessions_made"}
    }
    ours = msgspec.convert({"server": "calejo", "flood_sessions_made": 8, **numbers}, Measured)
    bare = msgspec.convert({"server": "bare", "flood_sessions_made": 2_000, **numbers}, Measured)
    large = Started(pumps=1_000, start_s=2.5, rss_mib=221.4)
    table = shown(OpcUaFigures(pumps=2, seconds=1.0, servers=(ours, bare), large=large))
    assert "Calejo, 1000 pumps: listens after 2.50 s, 221 MiB" in table
    assert all(name in table for name in Measured.__struct_fields__ if name != "server")
    assert "1.00" in table


@pytest.mark.wire
@pytest.mark.parametrize("kind", ["ours", "bare"])
def test_each_server_serves_changes_and_ends(kind: str, tmp_path: Path) -> None:
    """OPS-5, OPC-6: the measured programs start, change what they serve, and leave nothing behind."""
    server = Server(tmp_path, kind, 2, 100)
    try:

        async def story() -> None:
            points = opcua_points(plant(2))
            async with Client(server.url, timeout=10) as client:
                node = client.get_node(own(changing(points)[0]))
                first = await node.read_value()
                async with asyncio.timeout(20):
                    while await node.read_value() == first:
                        await asyncio.sleep(0.02)
                for point in points:
                    data = await client.get_node(own(point.path)).read_data_value(False)
                    assert data.StatusCode != ua.StatusCode(ua.UInt32(ua.StatusCodes.BadNodeIdUnknown))

        async def signed_and_encrypted() -> None:
            async with _clients(server.url, 2, folder=tmp_path) as clients:
                for client in clients:
                    assert client.security_policy.Mode is ua.MessageSecurityMode.SignAndEncrypt
                    await client.get_node(own(changing(opcua_points(plant(2)))[0])).read_value()

        asyncio.run(story())
        asyncio.run(signed_and_encrypted())
        assert server.rss_mib() > 10
    finally:
        server.close()
    assert server._process.returncode == 0
