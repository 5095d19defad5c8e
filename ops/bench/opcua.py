"""Measures the OPC UA endpoint beside bare asyncua with the same data, in one run (OPC-5, OPC-6).

N pumps on each server; reads by one client, changes to ten subscribers, fifty sessions at once without security and
signed and encrypted, and 2,000 CreateSessions from a bad client while a good one reads. Last, ours starts with a
thousand pumps. Clients are asyncua's, in this process.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyAes256Sha256RsaPss

import protocols.opcua.decoding  # noqa: F401 - silences asyncua's logger
from actors.vocabulary import DeviceError
from ops.bench.opcua_servers import CLIENT_URI, changing, papers
from ops.bench.plants import plant
from ops.bench.started import Started, at_most
from protocols.opcua.ids import own
from protocols.points import opcua_points
from supervisors.process import rss_mib

PUMPS_MAX: Final = 1_000
PUMPS_DEFAULT: Final = 50
KINDS: Final = {"calejo": "ours", "bare asyncua": "bare"}
SUBSCRIBERS: Final = 10
CHANGES_PER_S: Final = 1_000
SESSIONS: Final = 50
BATCH: Final = 100
FLOOD: Final = 2_000
_FLOOD_AT_ONCE: Final = 8
_START_S: Final = 120.0
_MS: Final = 1_000.0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One server; times in ms, `lag` from publication to the subscriber, `flood`: a good client's reads meanwhile."""

    server: str
    start_s: float
    rss_mib: float
    single_per_s: float
    single_p50_ms: float
    single_p99_ms: float
    batched_values_per_s: float
    lag_p50_ms: float
    lag_p99_ms: float
    changes_received: float
    sessions_p50_ms: float
    sessions_p99_ms: float
    secure_sessions_p50_ms: float
    secure_sessions_p99_ms: float
    flood_seconds: float
    flood_sessions_made: int
    flood_p99_ms: float


class OpcUaFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All that is measured of OPC UA."""

    pumps: int
    seconds: float
    servers: tuple[Measured, ...]
    large: Started


def measure(work_dir: Path, *, pumps: int, seconds: float) -> OpcUaFigures:
    """Measure both servers one after the other, `seconds` for each figure.

    Raises:
        DeviceError: a server did not start.

    """
    count = min(max(pumps, 1), PUMPS_MAX)
    found = [asyncio.run(_measured(work_dir, name, kind, count, seconds)) for name, kind in KINDS.items()]
    # Ours alone: asyncua's own way of making nodes one by one takes minutes for so many.
    large = _started(work_dir, PUMPS_MAX)
    return OpcUaFigures(pumps=count, seconds=seconds, servers=tuple(found), large=large)


def shown(figures: OpcUaFigures) -> str:
    """Return the figures as a table, ours beside the bare server's."""
    lines = [f"OPC UA, {figures.pumps} pumps, {figures.seconds:g} s for each figure"]
    names = [name for name in Measured.__struct_fields__ if name != "server"]
    lines.append(f"{'':<24}" + "".join(f"{each.server:>16}" for each in figures.servers) + f"{'ratio':>8}")
    for name in names:
        values = [float(getattr(each, name)) for each in figures.servers]
        ratio = f"{values[0] / values[1]:8.2f}" if values[1] else f"{'':>8}"
        lines.append(f"{name:<24}" + "".join(f"{value:>16.2f}" for value in values) + ratio)
    lines.append(f"Calejo, {figures.large}")
    return "\n".join(lines)


def _started(work_dir: Path, pumps: int) -> Started:
    server = Server(work_dir / "large", "ours", pumps, 0)
    try:
        return Started(pumps=pumps, start_s=server.start_s, rss_mib=server.rss_mib())
    finally:
        server.close()


class Server:
    """A measured server's process; its folder has the client's papers."""

    def __init__(self, folder: Path, kind: str, pumps: int, changes_per_s: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "ops.bench.opcua_servers",
                kind,
                str(pumps),
                str(changes_per_s),
                str(folder),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        # Its line is waited for without a deadline of its own; whoever is not up by then is ended, and there is none.
        with at_most(_START_S, self._process.kill):
            words = self._process.stdout.readline().split()
        if len(words) != 2:  # noqa: PLR2004 - port and seconds
            self.close()
            raise DeviceError(f"bench: the {kind} OPC UA server did not start")
        self.url, self.start_s = f"opc.tcp://127.0.0.1:{words[0]}", float(words[1])

    def rss_mib(self) -> float:
        """Resident memory."""
        return rss_mib(self._process.pid) or 0.0

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


async def _measured(work_dir: Path, name: str, kind: str, pumps: int, seconds: float) -> Measured:
    points = opcua_points(plant(pumps))
    every, moving = [own(point.path) for point in points], [own(path) for path in changing(points)]
    quiet = await asyncio.to_thread(Server, work_dir / f"{kind}-quiet", kind, pumps, 0)
    try:
        async with Client(quiet.url) as client:
            single = await _timed(seconds, lambda: _read(client, every[:1]))
            batched = await _timed(seconds, lambda: _read(client, every[:BATCH]))
        many = await _many(quiet.url, every, seconds)
        secure = await _many(quiet.url, every, seconds, folder=quiet.folder)
        flood_s, made, meanwhile = await _flood(quiet.url, every)
        rss_mib = quiet.rss_mib()
    finally:
        await asyncio.to_thread(quiet.close)
    busy = await asyncio.to_thread(Server, work_dir / f"{kind}-busy", kind, pumps, CHANGES_PER_S)
    try:
        lags_s = await _subscribed(busy.url, moving, seconds)
    finally:
        await asyncio.to_thread(busy.close)
    return Measured(
        server=name,
        start_s=quiet.start_s,
        rss_mib=rss_mib,
        single_per_s=len(single) / sum(single),
        single_p50_ms=_at(single, 0.5),
        single_p99_ms=_at(single, 0.99),
        batched_values_per_s=min(BATCH, len(every)) * len(batched) / sum(batched),
        lag_p50_ms=_at(lags_s, 0.5),
        lag_p99_ms=_at(lags_s, 0.99),
        changes_received=len(lags_s) / (SUBSCRIBERS * CHANGES_PER_S * seconds),
        sessions_p50_ms=_at(many, 0.5),
        sessions_p99_ms=_at(many, 0.99),
        secure_sessions_p50_ms=_at(secure, 0.5),
        secure_sessions_p99_ms=_at(secure, 0.99),
        flood_seconds=flood_s,
        flood_sessions_made=made,
        flood_p99_ms=_at(meanwhile, 0.99),
    )


def _at(times_s: Sequence[float], share: float) -> float:
    if not times_s:
        return float("nan")
    if len(times_s) == 1:
        return times_s[0] * _MS
    return statistics.quantiles(times_s, n=1_000, method="inclusive")[round(share * 1_000) - 1] * _MS


async def _read(client: Client, nodes: Sequence[ua.NodeId]) -> None:
    params = ua.ReadParameters()
    params.NodesToRead = [ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value) for node in nodes]
    await client.uaclient.read(params)


async def _timed(seconds: float, work: Callable[[], Awaitable[None]]) -> list[float]:
    """Do `work` again and again; return how long each took (s)."""
    took: list[float] = []
    ends_s = time.perf_counter() + seconds
    while (start_s := time.perf_counter()) < ends_s or not took:
        await work()
        took.append(time.perf_counter() - start_s)
    return took


@asynccontextmanager
async def _clients(url: str, count: int, *, folder: Path | None = None) -> AsyncIterator[list[Client]]:
    """Connect so many; with `folder` signed and encrypted, by the papers there."""
    clients: list[Client] = []
    try:
        for _ in range(count):
            client = Client(url, timeout=30)
            if folder is not None:
                own, mine = papers(folder)
                client.application_uri = CLIENT_URI
                await client.set_security(
                    SecurityPolicyAes256Sha256RsaPss,
                    mine.certificate,
                    mine.private_key,
                    server_certificate=str(own.certificate),
                )
            await client.connect()
            clients.append(client)
        yield clients
    finally:
        for client in clients:
            await client.disconnect()


async def _many(
    url: str, nodes: Sequence[ua.NodeId], seconds: float, *, folder: Path | None = None
) -> list[float]:
    """Fifty sessions, each reading ten values ten times a second."""

    async def one(client: Client, offset: int) -> list[float]:
        await asyncio.sleep(offset / SESSIONS / 10)

        async def work() -> None:
            await _read(client, nodes[:10])

        took, ends_s = [], time.perf_counter() + seconds
        while (start_s := time.perf_counter()) < ends_s:
            await work()
            took.append(time.perf_counter() - start_s)
            await asyncio.sleep(max(0.0, 0.1 - took[-1]))
        return took

    async with _clients(url, SESSIONS, folder=folder) as clients:
        found = await asyncio.gather(*(one(client, number) for number, client in enumerate(clients)))
    return [each for took in found for each in took]


async def _flood(url: str, nodes: Sequence[ua.NodeId]) -> tuple[float, int, list[float]]:
    """Ask for 2,000 sessions over eight connections; return seconds, how many were made, a good client's reads."""
    made, over = 0, asyncio.Event()

    async def bad(share: int) -> None:
        nonlocal made
        client = Client(url, timeout=30)
        await client.connect_socket()
        await client.send_hello()
        await client.open_secure_channel()
        for _ in range(share):
            try:
                await client.uaclient.create_session(
                    ua.CreateSessionParameters(RequestedSessionTimeout=60_000.0)
                )
                made += 1
            except ua.UaStatusCodeError:
                continue  # refused, as it should be
            except (ConnectionError, TimeoutError):
                break
        client.disconnect_socket()

    async def good(client: Client) -> list[float]:
        took: list[float] = []
        while not over.is_set():
            start_s = time.perf_counter()
            await _read(client, nodes[:10])
            took.append(time.perf_counter() - start_s)
            await asyncio.sleep(0.01)
        return took

    async with Client(url, timeout=30) as client:
        reading = asyncio.create_task(good(client))
        start_s = time.perf_counter()
        await asyncio.gather(*(bad(FLOOD // _FLOOD_AT_ONCE) for _ in range(_FLOOD_AT_ONCE)))
        took_s = time.perf_counter() - start_s
        over.set()
        return took_s, made, await reading


class _Lags:
    """Takes changes as they come; a change's value is the moment of its publication."""

    def __init__(self) -> None:
        self.found_s: list[float] = []
        self.counts = False

    def datachange_notification(self, node: Any, value: float, data: Any) -> None:
        """Note how old the value is."""
        if self.counts:
            self.found_s.append(time.monotonic() - value)


async def _subscribed(url: str, nodes: Sequence[ua.NodeId], seconds: float) -> list[float]:
    lags = _Lags()
    async with _clients(url, SUBSCRIBERS) as clients:
        for client in clients:
            subscription = await client.create_subscription(100, lags)
            await subscription.subscribe_data_change([client.get_node(node) for node in nodes])
        lags.counts = True
        await asyncio.sleep(seconds)
        lags.counts = False
    return lags.found_s
