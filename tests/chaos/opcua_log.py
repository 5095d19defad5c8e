"""Samples the other wire: what an OPC UA client reads of every pump, at 25 Hz."""

from __future__ import annotations

import asyncio
import bisect
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from asyncua import Client, ua

from tests.chaos.wire_log import Place

RATE_HZ = 25.0
POINTS = ("remote_enabled", "run_inhibit", "setpoint", "reason")
SITE_ID = "demo"


@dataclass(frozen=True, slots=True)
class Seen:
    """One read of one pump; `t_s` on this process's monotonic clock."""

    t_s: float
    pump_id: str
    enabled: bool
    inhibit: bool
    setpoint_hz: float
    reason: int


@dataclass(slots=True)
class OpcUaLog:
    """Reads all pumps again and again on a thread of its own; an endpoint that is away is called again."""

    port: int
    places: Sequence[Place]
    _seen: dict[str, list[Seen]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._seen = {place.pump_id: [] for place in self.places}
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()), name="opcua-log", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(timeout=10)

    def of(self, pump_id: str, *, since_s: float = 0.0, to_s: float = float("inf")) -> list[Seen]:
        seen = self._seen[pump_id]
        begin = bisect.bisect_left(seen, since_s, key=lambda each: each.t_s)
        return seen[begin : bisect.bisect_right(seen, to_s, lo=begin, key=lambda each: each.t_s)]

    def latest(self, pump_id: str) -> Seen | None:
        seen = self._seen[pump_id]
        return seen[-1] if seen else None

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                async with Client(f"opc.tcp://127.0.0.1:{self.port}", timeout=2) as client:
                    await self._read(client)
            except (OSError, TimeoutError, ua.UaError, asyncio.CancelledError):
                await asyncio.sleep(0.2)

    async def _read(self, client: Client) -> None:
        index = await client.get_namespace_index("urn:calejo")
        nodes = [
            client.get_node(f"ns={index};s=/{SITE_ID}/{place.station_id}/{place.pump_id}/{point}")
            for place in self.places
            for point in POINTS
        ]
        due = time.monotonic()
        while not self._stop.is_set():
            values: list[Any] = [each.Value.Value for each in await client.read_attributes(nodes)]  # type: ignore[union-attr]
            now = time.monotonic()
            for number, place in enumerate(self.places):
                enabled, inhibit, setpoint, reason = values[number * len(POINTS) : (number + 1) * len(POINTS)]
                self._seen[place.pump_id].append(
                    Seen(now, place.pump_id, bool(enabled), bool(inhibit), float(setpoint), int(reason))
                )
            due = max(due + 1 / RATE_HZ, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
