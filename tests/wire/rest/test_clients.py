"""REST and metrics as clients of somebody else's make see them: httpx with kept connections, curl, 50 at once."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.unit.api.served import Served, served

pytestmark = [pytest.mark.wire, pytest.mark.system("api.rest")]

CLIENTS = 50
REQUESTS_EACH = 10


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def bearer(api: Served) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.token()}"}


def test_httpx_keeps_its_connection(api: Served) -> None:
    """API-1: one connection, many requests, answers and problems alike."""
    with httpx.Client(base_url=f"http://127.0.0.1:{api.rest}", headers=bearer(api)) as client:
        assert client.get("/api/v1/pumps").json()[0]["pump_id"] == "p1"
        assert client.get("/api/v1/pumps/nobody").headers["content-type"] == "application/problem+json"
        body = {"scope": "PUMP", "scope_id": "p1", "reason": "httpx", "by": "anna"}
        assert client.post("/api/v1/emergency-stops", json=body).status_code == 201
        assert client.post("/api/v1/emergency-stops", data={"scope": "SYSTEM"}).status_code == 415


def test_fifty_clients(api: Served) -> None:
    """API-4: 50 clients are all answered, each within the client's own 20 s; how soon is `ops.bench.rest`'s matter."""
    took: list[float] = []

    async def one(client: httpx.AsyncClient) -> None:
        for _ in range(REQUESTS_EACH):
            began = time.perf_counter()
            answer = await client.get("/api/v1/pumps/p1")
            took.append(time.perf_counter() - began)
            assert answer.status_code == 200

    async def everybody() -> None:
        limits = httpx.Limits(max_connections=CLIENTS)
        where, own = f"http://127.0.0.1:{api.rest}", bearer(api)
        async with httpx.AsyncClient(base_url=where, limits=limits, timeout=20, headers=own) as client:
            await asyncio.gather(*(one(client) for _ in range(CLIENTS)))

    asyncio.run(everybody())
    took.sort()
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    print(f"{len(took)} requests of {CLIENTS} clients: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms")
    assert len(took) == CLIENTS * REQUESTS_EACH


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_stops_a_pump(api: Served) -> None:
    """EST-1: what an operator types into a terminal."""
    body = '{"scope": "SYSTEM", "reason": "curl", "by": "anna"}'
    where = f"http://localhost:{api.rest}/api/v1/emergency-stops"
    command = [
        "curl",
        "-sS",
        "--max-time",
        "10",
        "-w",
        "%{http_code}",
        "-H",
        "Content-Type: application/json",
        "-H",
        f"Authorization: Bearer {api.token()}",
    ]
    ran = subprocess.run(
        [*command, "-d", body, where], capture_output=True, text=True, timeout=20, check=True
    )
    assert ran.stdout.endswith("201")
    assert len(api.latches.held.active()) == 1
