"""What clients see of the endpoints: one port per protocol, who holds it, and every image it ever showed.

A killed process frees its port, a stopped one keeps it and answers nobody; so does a predecessor that nobody could
kill. Every change of an image is handed to a witness at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from actors.vocabulary import DeviceError, Quality, Reason, SiteConfig, WriteRefusal
from ops.demo.plc import Block
from protocols.endpoint import ClientNews, Refresh, WriteGuard
from protocols.points import PointValue, path_of
from supervisors.simulated.ports import SimProcess
from tests.simulation.fakes import FakeEndpointServer

_ANSWER_S: Final = 1.0
_BLOCK: Final = (
    "sequence",
    "sequence_end",
    "remote_enabled",
    "run_inhibit",
    "setpoint",
    "setpoint_quality",
    "heartbeat",
    "epoch",
    "release_id",
    "reason",
)
# The same as the demo's `Block` names them.
_FIELDS: Final = tuple("setpoint_hz" if point == "setpoint" else point for point in _BLOCK)


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A pump as one endpoint shows it from `at_s` on. `gate` counts the processes that held the port.

    `stopped`: the endpoint's own emergency stop of the pump, its station or its site reads 1.
    """

    at_s: float
    protocol: str
    gate: int
    station_id: str
    pump_id: str
    block: Block
    stopped: bool

    @property
    def enabled(self) -> bool:
        """Whether the controller may obey."""
        return self.block.remote_enabled

    @property
    def hz(self) -> float:
        """The setpoint."""
        return self.block.setpoint_hz

    def __str__(self) -> str:
        block = self.block
        return (
            f"{self.protocol}#{self.gate} {self.pump_id} at {self.at_s:.3f} s: {self.hz:g} Hz"
            f"{' enabled' if self.enabled else ''}{' inhibit' if block.run_inhibit else ''}"
            f"{' stopped' if self.stopped else ''} {Reason(block.reason).name}"
            f" {Quality(block.setpoint_quality).name} beat {block.heartbeat} epoch {block.epoch}"
            f" sequence {block.sequence}"
        )


Witness = Callable[[Image], None]


class Port:
    """One protocol's port of the machine."""

    def __init__(
        self, protocol: str, site: SiteConfig, *, now_s: Callable[[], float], witness: Witness
    ) -> None:
        self.protocol = protocol
        self.site = site
        self.now_s = now_s
        self.witness = witness
        self.gates = 0
        self.holder: WireServer | None = None

    def taken(self) -> bool:
        """Whether a process that is not dead holds it."""
        return self.holder is not None and not self.holder.process.dead

    def answering(self) -> WireServer | None:
        """Return who would answer a client now."""
        holder = self.holder
        if holder is None or holder.process.dead or holder.process.cell.frozen:
            return None
        return holder

    def look(self) -> WireServer | None:
        """Read everything as a client would, in the server's own process; None: nobody answers."""
        server = self.answering()
        if server is not None:
            server.process.cell.context.run(server.refreshed)
        return server

    def block(self, station_id: str, pump_id: str) -> Block | None:
        """Read a pump's block in one request; None: nobody answers."""
        server = self.look()
        return None if server is None else server.block(station_id, pump_id)

    async def write(
        self, values: Mapping[str, bool | float], *, peer: str
    ) -> list[WriteRefusal | None] | None:
        """Write in one request; None: nobody answers."""
        server = self.answering()
        if server is None:
            return None
        loop = asyncio.get_running_loop()
        request = loop.create_task(server.write(values, peer=peer), context=server.process.cell.context)
        done, _ = await asyncio.wait({request}, timeout=_ANSWER_S)
        return request.result() if done else None


class WireServer(FakeEndpointServer):
    """The server of one endpoint process: a fake that knows its process and shows what it publishes."""

    def __init__(self, port: Port, process: SimProcess) -> None:
        super().__init__(bound=f"{port.protocol}:sim")
        self._port = port
        self.process = process
        port.gates += 1
        self.gate = port.gates
        self._shown: dict[str, Image] = {}
        self._places = {
            (station.station_id, pump.pump_id): _Place(port.site.site_id, station.station_id, pump.pump_id)
            for station in port.site.stations
            for pump in station.pumps
        }
        self._shown_by: dict[str, list[tuple[str, str]]] = {}
        for key, place in self._places.items():
            for path in (*place.block, *place.stops):
                self._shown_by.setdefault(path, []).append(key)

    async def open(self, *, guard: WriteGuard, refresh: Refresh, news: ClientNews) -> None:
        """Take the port, unless somebody has it."""
        if self._port.taken():
            raise DeviceError(f"{self._port.protocol}: the port is taken")
        await super().open(guard=guard, refresh=refresh, news=news)
        self._port.holder = self
        self._show(self.values)

    async def close(self) -> None:
        """Free the port."""
        await super().close()
        if self._port.holder is self:
            self._port.holder = None

    def publish(self, values: Mapping[str, PointValue]) -> None:
        """Take values; clients see them at once."""
        super().publish(values)
        if self._port.holder is self:
            self._show(values)

    def refreshed(self) -> None:
        """Let the publisher bring everything up to date, as before every read."""
        assert self._open is not None
        self._open[1]()

    def block(self, station_id: str, pump_id: str) -> Block:
        """Return the block as it stands."""
        values: dict[str, Any] = {
            field: self.values[path].value
            for field, path in zip(_FIELDS, self._places[station_id, pump_id].block, strict=True)
        }
        return Block(**values)

    def _show(self, changed: Mapping[str, PointValue]) -> None:
        """Hand every image that differs from the one before to the witness, in the order of the site."""
        touched = {key for path in changed for key in self._shown_by.get(path, ())}
        for key in self._places if touched else ():
            if key not in touched:
                continue
            station_id, pump_id = key
            block, stopped = self.block(station_id, pump_id), self._stopped(key)
            before = self._shown.get(pump_id)
            if before is not None and (before.block, before.stopped) == (block, stopped):
                continue
            self._shown[pump_id] = image = Image(
                at_s=self._port.now_s(),
                protocol=self._port.protocol,
                gate=self.gate,
                station_id=station_id,
                pump_id=pump_id,
                block=block,
                stopped=stopped,
            )
            self._port.witness(image)

    def _stopped(self, key: tuple[str, str]) -> bool:
        return any(bool(self.values[path].value) for path in self._places[key].stops)


class _Place:
    """The paths of one pump's block, and of the stops that cover it."""

    def __init__(self, site_id: str, station_id: str, pump_id: str) -> None:
        self.block = tuple(path_of(site_id, station_id, pump_id, point) for point in _BLOCK)
        scopes = ((None, None), (station_id, None), (station_id, pump_id))
        self.stops = tuple(path_of(site_id, station, pump, "emergency_stop") for station, pump in scopes)
