"""Modbus requests per second and their times beside pymodbus's own server, and how soon a publish is seen (MOD-5).

Both servers run at the same time, each in a process of its own; clients ask one server, then the other, in turns, so
that whatever else the machine does meets both. A client asks for 100 registers, and again when the answer is whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import msgspec

from actors.publisher.latency import summary_of
from actors.vocabulary import DeviceError
from ops.bench.modbus_servers import STAMP_ADDRESS, age_ms
from ops.bench.started import Started, at_most
from protocols.points import PUMP_BASE
from supervisors.process import rss_mib

CLIENTS: Final = (1, 10, 50)
ROUNDS: Final = 4
READ_REGISTERS: Final = 100
PUMPS: Final = 7
PUMPS_LARGE: Final = 1_000
OURS, BARE = "Calejo", "pymodbus, fixed"
_WHICH: Final = {OURS: "ours", BARE: "bare"}
_MBAP: Final = 7
_ANSWER_S: Final = 10.0
_START_S: Final = 30.0
_LOOK_S: Final = 0.001
_MS_PER_NS: Final = 1e-6


class ModbusRate(msgspec.Struct, frozen=True, kw_only=True):
    """One server under so many clients; `ratio`: ours beside the bare one's requests per second."""

    server: str
    clients: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    ratio: float | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """From a publish to the client that looks every ms."""

    server: str
    count: int
    p50_ms: float
    p99_ms: float


class ModbusFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All that is measured of Modbus."""

    rates: tuple[ModbusRate, ...]
    seen: tuple[Seen, ...]
    large: Started


class _Served(msgspec.Struct, frozen=True, kw_only=True):
    """A server that listens, and after how many seconds."""

    port: int
    pid: int
    start_s: float


class Asker(asyncio.Protocol):
    """Asks the same again and again; notes how long each answer took (ns)."""

    def __init__(self, address: int, count: int) -> None:
        self._request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, address, count)
        self._whole = _MBAP + 2 + 2 * count
        self._waiting: asyncio.Future[bytes] | None = None
        self._answer = b""
        self._transport: asyncio.Transport | None = None
        self._asked_s = 0.0
        self._until_s = 0.0
        self._loop = asyncio.get_running_loop()
        self.took_ns: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(DeviceError(f"the measured server hung up ({exc})"))

    async def ask_until(self, until_s: float) -> bytes:
        """Ask until then (the loop's time); return the last answer.

        Raises:
            DeviceError: no answer, or an exception code.

        """
        self._waiting = self._loop.create_future()
        self._until_s = until_s
        self._ask()
        try:
            return await asyncio.wait_for(self._waiting, max(0.0, until_s - self._loop.time()) + _ANSWER_S)
        except TimeoutError:
            raise DeviceError("the measured server did not answer") from None

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _ask(self) -> None:
        assert self._transport is not None, "asked after it was connected"
        self._asked_s = self._loop.time()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take an answer, and ask again."""
        self._answer += data
        if self._waiting is None or self._waiting.done():
            return
        if len(self._answer) > _MBAP and self._answer[_MBAP] & 0x80:
            self._waiting.set_exception(DeviceError(f"answered {self._answer.hex()}"))
            return
        if len(self._answer) < self._whole:
            return
        now_s = self._loop.time()
        self.took_ns.append(round((now_s - self._asked_s) * 1e9))
        whole, self._answer = self._answer, b""
        if now_s >= self._until_s:
            self._waiting.set_result(whole)
        else:
            self._ask()


def measure(*, seconds: float) -> ModbusFigures:
    """Measure `seconds` for each server and number of clients, and as long for what a publish takes.

    Raises:
        DeviceError: a server does not start or answer.

    """
    with _served(OURS) as ours, _served(BARE) as bare:
        rates, seen = asyncio.run(_measured({OURS: ours.port, BARE: bare.port}, seconds=seconds))
    with _served(OURS, pumps=PUMPS_LARGE) as large:
        started = Started(pumps=PUMPS_LARGE, start_s=large.start_s, rss_mib=rss_mib(large.pid) or 0.0)
    return ModbusFigures(rates=rates, seen=seen, large=started)


async def _measured(
    ports: dict[str, int], *, seconds: float
) -> tuple[tuple[ModbusRate, ...], tuple[Seen, ...]]:
    rates: list[ModbusRate] = []
    for clients in CLIENTS:
        took: dict[str, list[int]] = {name: [] for name in ports}
        for turn in range(ROUNDS):
            # Who goes first changes, too.
            for name in list(ports)[:: 1 if turn % 2 else -1]:
                took[name] += await _crowd(ports[name], clients, seconds / ROUNDS)
        per_s = {name: len(samples) / seconds for name, samples in took.items()}
        for name, samples in took.items():
            summary = summary_of(samples)
            assert summary is not None, "every client was answered once at least"
            rates.append(
                ModbusRate(
                    server=name,
                    clients=clients,
                    requests_per_s=per_s[name],
                    p50_ms=summary.p50_ms,
                    p99_ms=summary.p99_ms,
                    ratio=per_s[OURS] / per_s[BARE] if name == OURS else None,
                )
            )
    seen = [await _seen(name, port, seconds) for name, port in ports.items()]
    return tuple(rates), tuple(seen)


async def _connected(port: int, address: int, count: int) -> Asker:
    loop = asyncio.get_running_loop()
    _, asker = await loop.create_connection(lambda: Asker(address, count), "127.0.0.1", port)
    return asker


async def _crowd(port: int, clients: int, seconds: float) -> list[int]:
    askers = [await _connected(port, PUMP_BASE, READ_REGISTERS) for _ in range(clients)]
    try:
        until_s = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(asker.ask_until(until_s) for asker in askers))
    finally:
        for asker in askers:
            asker.close()
    return [took for asker in askers for took in asker.took_ns]


async def _seen(name: str, port: int, seconds: float) -> Seen:
    loop = asyncio.get_running_loop()
    asker = await _connected(port, STAMP_ADDRESS, 2)
    ages_ns: list[int] = []
    shown: int | None = None
    try:
        end_s = loop.time() + seconds
        while loop.time() < end_s or not ages_ns:
            answer = await asker.ask_until(0.0)
            (stamped,) = struct.unpack(">I", answer[-4:])
            if stamped != shown and shown is not None:
                ages_ns.append(round(age_ms(stamped) / _MS_PER_NS))
            shown = stamped
            await asyncio.sleep(_LOOK_S)
    finally:
        asker.close()
    summary = summary_of(ages_ns)
    assert summary is not None, "one publish was seen at least"
    return Seen(server=name, count=len(ages_ns), p50_ms=summary.p50_ms, p99_ms=summary.p99_ms)


@contextlib.contextmanager
def _served(name: str, *, pumps: int = PUMPS) -> Iterator[_Served]:
    """Start one server; yield where it is.

    Raises:
        DeviceError: it does not start.

    """
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.bench.modbus_servers", _WHICH[name], str(pumps)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        with at_most(_START_S, process.kill):
            bound, _, start_s = process.stdout.readline().strip().partition(" ")
        if not start_s:
            raise DeviceError(f"bench: {name} did not start within {_START_S:g} s")
        yield _Served(port=int(bound.rpartition(":")[2]), pid=process.pid, start_s=float(start_s))
    finally:
        process.stdin.close()
        try:
            process.wait(_START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
