"""Both endpoints of one small site on free loopback ports, showing the same values; a pulse moves every heartbeat."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from actors.vocabulary import Settings
from actors.vocabulary.settings import ApiSettings, PortSettings
from ops.kit.tags import Tag, tags_of
from ops.kit.watch import Endpoint
from ops.rundir import DataDirectory
from protocols.modbus.points import modbus_points
from protocols.modbus.server import ModbusAccess
from protocols.tags import tags
from tests.unit.protocols.plants import north
from tests.wire.modbus import served as modbus
from tests.wire.opcua import served as opcua

TAGS = tags_of(tags(north()))
PUMPS = ("/north/s1/p1", "/north/s1/p2", "/north/s2/p3")
SETTLED = {
    "remote_enabled": 1, "setpoint": 35.25, "setpoint_quality": 2, "epoch": 1_800_000_001, "release_id": 70_000,
    "reason": 1, "mode": 1, "setpoint_echo": 35.25, "actual_speed": 35.2, "actual_power": 12.34, "actual_flow": -0.01,
    "wet_well_level": 1.234, "running": 1,
}  # fmt: skip


class Both:
    """What the two publishers show."""

    def __init__(self, one: modbus.Publisher, other: opcua.Publisher) -> None:
        self.modbus, self.opcua = one, other
        self.loop = asyncio.get_running_loop()
        self.heartbeat = 0
        self.settle()

    def settle(self) -> None:
        """Show what a plant at work shows, and forget what clients did."""
        self.beating = True
        for pump in PUMPS:
            self.show({f"{pump}/{point}": value for point, value in SETTLED.items()})
        self.modbus.requests.clear()
        self.opcua.requests.clear()

    def do(self, work: Callable[[Both], None]) -> None:
        """Have `work` done by the thread that serves, and wait for it."""

        async def done() -> None:
            work(self)

        asyncio.run_coroutine_threadsafe(done(), self.loop).result(30)

    def show(self, values: dict[str, float]) -> None:
        self.modbus.show(values)
        self.opcua.show(values)

    async def pulse(self) -> None:
        while True:
            if self.beating:
                self.heartbeat = (self.heartbeat + 1) % 65_536
                for pump in PUMPS:
                    for offset, publisher in ((0, self.modbus), (1_000, self.opcua)):
                        beat = {"heartbeat": (self.heartbeat + offset) % 65_536}
                        beat |= dict.fromkeys(("sequence", "sequence_end"), self.heartbeat)
                        publisher.show({f"{pump}/{point}": value for point, value in beat.items()})
            await asyncio.sleep(0.02)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(
            site_id="north",
            modbus_host="127.0.0.1",
            modbus_port=modbus.port_of(self.modbus),
            opcua_url=self.opcua.endpoint.bound,
        )


@asynccontextmanager
async def both(access: ModbusAccess | None = None) -> AsyncIterator[Both]:
    async with modbus.served(access=access) as one, opcua.served() as other:
        assert len(modbus_points(north())) == len(TAGS)
        pair = Both(one, other)
        pulse = asyncio.create_task(pair.pulse())
        try:
            yield pair
        finally:
            pulse.cancel()


@contextmanager
def both_in_a_thread() -> Iterator[Both]:
    """Serve from another thread, for a command in this one or in a process of its own."""
    ready, ended = threading.Event(), threading.Event()
    made: list[Both] = []

    async def serve() -> None:
        async with both() as pair:
            made.append(pair)
            ready.set()
            while not ended.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(30), "the endpoints did not start"
    try:
        yield made[0]
    finally:
        ended.set()
        thread.join(30)


def announce(data_dir: Path, *, rest: int, endpoint: Endpoint) -> DataDirectory:
    folder = DataDirectory(data_dir)
    folder.acquire()
    ports = PortSettings(modbus=endpoint.modbus_port, opcua=int(endpoint.opcua_url.rpartition(":")[2]))
    settings = Settings(data_dir=str(data_dir), api=ApiSettings(rest=rest), ports=ports)
    folder.announce(settings, started_at="2026-11-21T00:00:00+00:00", ray_address="", namespace="calejo")
    return folder


def tag(path: str) -> Tag:
    return next(each for each in TAGS if each.path == path)
