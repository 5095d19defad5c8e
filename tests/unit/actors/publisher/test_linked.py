"""An endpoint that connects outwards: what its publisher reports of it, and what a fault inside it means."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from actors.messages import AlarmAsserted, EndpointStatus, GetEndpoint, Tick
from actors.plan.conditions import ConditionBook
from actors.publisher.actor import PublisherActor
from actors.publisher.link_watch import LinkWatch
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


def test_nobody_sees_our_values_is_an_alarm_after_a_while() -> None:
    """SPB-1, ALM-1: half a minute without a session, whatever the reason; a session ends it at once."""
    clock, book = FakeClock(), ConditionBook()
    watch = LinkWatch(book, "sparkplug")

    def told(after_s: float, link: LinkStatus) -> list[tuple[str, str]]:
        now = clock.now().plus(after_s)
        watch.look(link, now=now)
        return [
            (each.condition, each.text if isinstance(each, AlarmAsserted) else "returned")
            for each in book.news(now)
        ]

    away = msgspec.structs.replace(LINK, last_error="refused")
    waiting = msgspec.structs.replace(LINK, connected=True, host_online=False)
    assert told(0.0, away) == told(29.9, away) == []
    (alarm,) = told(30.0, away)
    assert alarm == ("hosts_unserved", "no host sees our values: mqtt://127.0.0.1:1883: refused")
    (alarm,) = told(41.0, waiting)
    assert "primary host is away" in alarm[1]
    (alarm,) = told(52.0, msgspec.structs.replace(waiting, host_online=True))
    assert "no birth at" in alarm[1]
    served = msgspec.structs.replace(waiting, host_online=True, session=True)
    assert told(53.0, served) == [("hosts_unserved", "returned")]
    assert told(54.0, away) == []


def test_values_that_are_lost_are_an_alarm_for_a_while() -> None:
    """SPB-1: the loss of this life, not what was lost before it; shown for ten minutes."""
    clock, book = FakeClock(), ConditionBook()
    watch = LinkWatch(book, "sparkplug")

    def held(after_s: float, lost: int) -> bool:
        now = clock.now().plus(after_s)
        watch.look(msgspec.structs.replace(LINK, session=True, backfill_lost=lost), now=now)
        return any(isinstance(each, AlarmAsserted) for each in book.news(now))

    assert not held(0.0, 500)
    assert held(1.0, 700)
    assert held(600.0, 700)
    assert not held(602.0, 700)


def test_a_disk_that_refuses_is_an_alarm_while_it_does() -> None:
    """SPB-1: values in memory only, and numbers that may be used twice, are somebody's business."""
    clock, book = FakeClock(), ConditionBook()
    watch = LinkWatch(book, "sparkplug")

    def held(after_s: float, fault: str) -> list[str]:
        now = clock.now().plus(after_s)
        watch.look(msgspec.structs.replace(LINK, session=True, storage_fault=fault), now=now)
        return [each.text for each in book.news(now) if isinstance(each, AlarmAsserted)]

    assert held(0.0, "") == []
    assert held(1.0, "disk full") == ["what hosts have not seen is kept in memory only: disk full"]
    assert held(20.0, "") == []


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


class SecuredServer(FakeEndpointServer):
    """A server that knows certificates and users."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.warnings = ("policy None is switched on",)
        self.security = {("LOGIN", "refused"): 3, ("LOGIN", "success"): 1}

    def show_health(self, level: int) -> None:
        self.levels.append(level)


def test_a_secured_endpoint_is_counted_warned_of_and_told_its_health() -> None:
    """OPC-4, SEC-5: what is switched off is said when it binds; events reach the status; the level every second."""

    async def story() -> None:
        clock = FakeClock()
        ports = FakePorts(str(endpoint_address("north", "opcua")), clock)
        server = SecuredServer()
        start = WorkerStart(
            role=Role.OPCUA, address=ports.address, settings=Settings(data_dir="unused"), site=SITE
        )
        actor = PublisherActor(ports, start, server, FakeLatchStore(), FakeEpochStore(), sparkplug_points)
        await actor.start()
        for _ in range(70):
            await clock.advance(0.05)
        await actor.handle(Tick(what="status"))
        status = await actor.handle(GetEndpoint())
        assert isinstance(status, EndpointStatus)
        assert status.security == {"LOGIN:refused": 3, "LOGIN:success": 1}
        assert server.levels
        assert set(server.levels) == {1}  # nothing was ever decided for its pumps
        assert "endpoint_open_to_all" in {event for event, _ in ports.logged}
        await ports.end()

    asyncio.run(story())
