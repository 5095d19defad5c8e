"""From an emergency stop's request to both wires: real clients against the running demo, by REST and by coil (EST-1).

The request goes out on a connection that is open already; two other clients, one on each wire, ask for the run inhibit
of every pump again and again. The clock stops at an endpoint when all of them show it. Then the stop is cleared, and
both wires must show that before the next one.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from pymodbus.client import AsyncModbusTcpClient

from actors.publisher.latency import summary_of
from actors.vocabulary import DeviceError
from ops.bench.report import StopTime
from ops.cli.client import call
from ops.kit.clients import ModbusWire, OpcUaWire, Shown
from ops.kit.tags import Place, Tag, tags_of
from ops.rundir import RunFile

WAYS: Final = ("REST", "Modbus coil")
SHOWN_WITHIN_S: Final = 5.0
# A clear is durable before it is told to anybody, and a slow disk is no part of what is measured.
CLEARED_WITHIN_S: Final = 30.0
# Seven pumps are seven requests a look: more often, and the server would say that we ask too often.
LOOK_S: Final = 0.01
_ANSWER_S: Final = 10.0

Reader = Callable[[Sequence[Tag]], Awaitable[dict[str, Shown]]]


class Watch:
    """One wire seen by a client of its own: since when every pump shows the inhibit, since when none does."""

    def __init__(self, wire: str, read: Reader, inhibits: Sequence[Tag]) -> None:
        self.wire = wire
        self._read = read
        self._inhibits = inhibits
        self._all: bool | None = None
        self._since_ns = 0
        self._looked = asyncio.Condition()

    async def look(self) -> None:
        """Look again and again until cancelled; the moment of a look is that of its answer.

        Raises:
            DeviceError: the endpoint does not answer.

        """
        while True:
            shown = [bool(each.value) for each in (await self._read(self._inhibits)).values()]
            now_ns = time.monotonic_ns()
            seen = True if all(shown) else (None if any(shown) else False)
            async with self._looked:
                if seen != self._all:
                    self._all, self._since_ns = seen, now_ns
                self._looked.notify_all()
            await asyncio.sleep(LOOK_S)

    async def until(self, inhibited: bool, *, within_s: float) -> int:
        """Return when all (or none) showed the inhibit (ns, monotonic).

        Raises:
            TimeoutError: not in time.

        """
        async with asyncio.timeout(within_s), self._looked:
            await self._looked.wait_for(lambda: self._all is inhibited)
            return self._since_ns


class Rest:
    """One open connection to the API; requests run in a thread, as they block."""

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        """Take where it listens, and what says who asks."""
        self._base = base
        self._headers = {"Content-Type": "application/json", **headers}
        where = urlsplit(base)
        self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=_ANSWER_S)

    def stop(self, site_id: str) -> tuple[int, int]:
        """Stop a site; return when the request went out and when its answer was whole (ns, monotonic).

        Raises:
            DeviceError: refused, or no answer.

        """
        body = {"scope": "SITE", "scope_id": site_id, "reason": "bench", "by": "bench"}
        try:
            self._connection.connect()
            began_ns = time.monotonic_ns()
            self._connection.request("POST", "/api/v1/emergency-stops", json.dumps(body), self._headers)
            response = self._connection.getresponse()
            answer = response.read()
            ended_ns = time.monotonic_ns()
        except (OSError, http.client.HTTPException) as error:
            raise DeviceError(f"{self._base}: no answer to a stop ({error})") from error
        finally:
            self._connection.close()
        if response.status != http.client.CREATED:
            raise DeviceError(f"{self._base}: a stop was answered {response.status}: {answer[:200]!r}")
        return began_ns, ended_ns

    def clear(self) -> None:
        """Clear every emergency stop that holds."""
        held: list[dict[str, Any]] = call(
            self._base, "GET", "/api/v1/emergency-stops", timeout_s=_ANSWER_S, headers=self._headers
        )
        ids = [each["stop_id"] for each in held if each["kind"] == "emergency_stop"]
        if ids:
            body = {"stop_ids": ids, "reason": "bench", "by": "bench"}
            call(
                self._base,
                "POST",
                "/api/v1/emergency-stops/clear",
                body=body,
                timeout_s=_ANSWER_S,
                headers=self._headers,
            )


async def measure(
    run: RunFile, rows: Sequence[dict[str, Any]], *, count: int, headers: Mapping[str, str]
) -> tuple[StopTime, ...]:
    """Stop a whole site `count` times by each way; `rows` are those of `/api/v1/tags`. `headers`: who asks.

    Raises:
        DeviceError: an endpoint or the API does not answer, or a stop was not on a wire in time.

    """
    tags = tags_of(rows)
    inhibits = [tag for tag in tags if tag.point == "run_inhibit"]
    coil = next(tag for tag in tags if tag.point == "emergency_stop" and tag.station_id is None)
    host, _, port = run.modbus.rpartition(":")
    took: dict[tuple[str, str], list[int]] = {}
    async with _watching(run, host.strip("[]"), int(port), inhibits) as watches:
        rest = Rest(run.rest, headers)
        writer = AsyncModbusTcpClient(host.strip("[]"), port=int(port), timeout=_ANSWER_S)
        try:
            if not await writer.connect():
                raise DeviceError(f"modbus {run.modbus}: no connection")
            for _ in range(count):
                for way in WAYS:
                    await _cleared(rest, watches)
                    if way == WAYS[0]:
                        began_ns, ended_ns = await asyncio.to_thread(rest.stop, coil.site_id)
                    else:
                        began_ns, ended_ns = await _write(writer, coil.places[0])
                    took.setdefault((way, "answer"), []).append(ended_ns - began_ns)
                    for watch in watches:
                        shown_ns = await _shown(watch, way)
                        took.setdefault((way, watch.wire), []).append(shown_ns - began_ns)
            await _cleared(rest, watches)
        finally:
            writer.close()
    return tuple(
        StopTime(way=way, wire=wire, pumps=len(inhibits), summary=summary_of(samples))
        for (way, wire), samples in sorted(took.items())
    )


@asynccontextmanager
async def _watching(
    run: RunFile, host: str, port: int, inhibits: Sequence[Tag]
) -> AsyncIterator[tuple[Watch, ...]]:
    modbus, opcua = ModbusWire(host, port), OpcUaWire(run.opcua)
    await modbus.open()
    try:
        await opcua.open()
        watches = (Watch("Modbus", modbus.read, inhibits), Watch("OPC UA", opcua.read, inhibits))
        looking = [asyncio.create_task(watch.look()) for watch in watches]
        try:
            yield watches
        finally:
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)
    finally:
        await opcua.close()
        modbus.close()


async def _cleared(rest: Rest, watches: Sequence[Watch]) -> None:
    await asyncio.to_thread(rest.clear)
    for watch in watches:
        try:
            await watch.until(False, within_s=CLEARED_WITHIN_S)
        except TimeoutError:
            raise DeviceError(f"{watch.wire}: a clear was not shown within {CLEARED_WITHIN_S:g} s") from None


async def _shown(watch: Watch, way: str) -> int:
    try:
        return await watch.until(True, within_s=SHOWN_WITHIN_S)
    except TimeoutError:
        raise DeviceError(
            f"{watch.wire}: a stop by {way} was not shown within {SHOWN_WITHIN_S:g} s"
        ) from None


async def _write(writer: AsyncModbusTcpClient, place: Place) -> tuple[int, int]:
    began_ns = time.monotonic_ns()
    answer = await writer.write_coil(place.address, True, device_id=place.unit_id)
    ended_ns = time.monotonic_ns()
    if answer.isError():
        raise DeviceError(f"modbus: coil {place.address} of unit {place.unit_id}: {answer}")
    return began_ns, ended_ns
