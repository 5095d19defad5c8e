"""An endpoint that connects outwards: what its publisher reports of it, and what a fault inside it means."""

from __future__ import annotations

import asyncio

import pytest

from actors.messages import EndpointStatus, GetEndpoint
from actors.publisher.actor import PublisherActor
from actors.start import WorkerStart
from actors.vocabulary import Role, Settings
from actors.vocabulary.ids import endpoint_address
from actors.vocabulary.links import LinkStatus
from protocols.sparkplug.names import sparkplug_points
from tests.simulation.fakes import FakeClock, FakeEndpointServer, FakeEpochStore, FakeLatchStore, FakePorts
from tests.unit.actors.publisher.test_actor import SITE

LINK = LinkStatus(
    peer="mqtt://127.0.0.1:1883", connected=False, host_online=True, session=False, connects=0, births=0,
    commands=0, commands_refused=0, backfill_waiting=3, backfill_lost=0,
)  # fmt: skip


class LinkedServer(FakeEndpointServer):
    """A server whose own work can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def link(self) -> LinkStatus:
        return LINK

    async def ended(self) -> None:
        await self.fault


async def opened() -> tuple[PublisherActor, FakePorts, LinkedServer]:
    clock = FakeClock()
    ports = FakePorts(str(endpoint_address("north", "sparkplug")), clock)
    server = LinkedServer()
    start = WorkerStart(
        role=Role.SPARKPLUG, address=ports.address, settings=Settings(data_dir="unused"), site=SITE
    )
    actor = PublisherActor(ports, start, server, FakeLatchStore(), FakeEpochStore(), sparkplug_points)
    await actor.start()
    for _ in range(70):
        await clock.advance(0.05)
    return actor, ports, server


def test_the_link_is_reported() -> None:
    """SPB-1, OPS-2: health and metrics see how the connection stands; other endpoints have none."""

    async def story() -> None:
        actor, ports, server = await opened()
        status = await actor.handle(GetEndpoint())
        assert isinstance(status, EndpointStatus)
        assert status.link == LINK
        server.fault.cancel()
        await ports.end()

    asyncio.run(story())


def test_a_fault_inside_the_endpoint_ends_its_actor() -> None:
    """SUP-3: a task of ours that broke must not leave a node that nobody notices is gone."""

    async def story() -> None:
        _, ports, server = await opened()
        assert not ports.spawned["bind"].done()
        server.fault.set_exception(ValueError("our bug"))
        with pytest.raises(ValueError, match="our bug"):
            await ports.spawned["bind"]
        await ports.end()

    asyncio.run(story())
