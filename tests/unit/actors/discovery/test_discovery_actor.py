"""The discovery actor: looks, remembers, tells the root, and is never stuck behind the database."""

import asyncio
from typing import Any

import msgspec
import pytest

from actors.discovery.actor import DiscoveryActor
from actors.messages import (
    AlarmAsserted,
    AlarmReturned,
    DiscoverNow,
    DiscoveryStatus,
    GetTopology,
    Stored,
    Tick,
    TopologyDiscovered,
)
from actors.start import WorkerStart
from actors.vocabulary import DeviceError, InvalidRow, Role, Settings, SiteConfig, StationConfig, Topology
from actors.vocabulary.ids import ALARM, DISCOVERY, ROOT, STORAGE
from protocols.points import site_points
from tests.unit.actors.storage.ports import START, FakePorts

NORTH = SiteConfig(site_id="north", name="North", timezone="UTC")
BROKEN = InvalidRow(table="pumps", key="p1", column="c", reason="wrong")


class FakeReader:
    def __init__(self) -> None:
        self.sites: tuple[SiteConfig, ...] = (NORTH,)
        self.invalid: tuple[InvalidRow, ...] = ()
        self.away = False
        self.reads = 0
        self.held: asyncio.Event | None = None

    async def read(self) -> tuple[tuple[SiteConfig, ...], tuple[InvalidRow, ...]]:
        self.reads += 1
        if self.held is not None:
            await self.held.wait()
        if self.away:
            raise DeviceError("no route")
        return self.sites, self.invalid


class NoticingReader(FakeReader):
    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()

    async def wait_for_change(self, *, at_most_s: float) -> bool:
        await self.changed.wait()
        self.changed.clear()
        return True


class FakeStore:
    def __init__(self, topology: Topology | None = None) -> None:
        self.topology = topology
        self.refuses = False

    def load(self) -> Topology | None:
        return self.topology

    def save(self, topology: Topology) -> None:
        if self.refuses:
            raise DeviceError("disk full")
        self.topology = topology


class Scene:
    def __init__(self, reader: FakeReader, store: FakeStore | None) -> None:
        self.ports = FakePorts(DISCOVERY)
        self.reader = reader
        self.stored: list[Any] = []
        self.ports.directory.ref(STORAGE).answer = self._store
        start = WorkerStart(role=Role.DISCOVERY, address=DISCOVERY, settings=Settings(data_dir="/nowhere"))
        self.actor = DiscoveryActor(self.ports, start, reader, store)

    def _store(self, message: Any) -> Stored:
        self.stored += message.records
        return Stored(count=len(message.records))

    @property
    def told_root(self) -> list[Any]:
        return self.ports.directory.ref(ROOT).told

    @property
    def told_alarm(self) -> list[Any]:
        return self.ports.directory.ref(ALARM).told

    async def look(self) -> DiscoveryStatus:
        status = await self.actor.handle(DiscoverNow())
        assert isinstance(status, DiscoveryStatus)
        return status


def run(story: Any, *, reader: type[FakeReader] = FakeReader, store: FakeStore | None = None) -> None:
    async def inside() -> None:
        scene = Scene(reader(), store)
        try:
            await story(scene)
        finally:
            await scene.ports.tasks.end()

    asyncio.run(inside())


def test_each_look_tells_the_root_the_whole_topology() -> None:
    """DAT-4: again at every look, also unchanged: who lost the message gets the next one."""
    store = FakeStore()

    async def story(scene: Scene) -> None:
        await scene.actor.start()
        assert (60.0, Tick(what="look")) in scene.ports.timers.ordered
        first, second = await scene.look(), await scene.look()
        assert first.topology is not None
        assert first.topology == second.topology == store.topology
        assert [type(news) for news in scene.told_root] == [TopologyDiscovered] * 2
        assert first.last_error == ""
        scene.reader.sites = ()
        third = await scene.look()
        assert third.topology is not None
        assert third.topology.revision != first.topology.revision
        assert await scene.actor.handle(GetTopology()) == third

    run(story, store=store)


def test_a_start_without_the_database_has_the_last_topology() -> None:
    """DAT-3: the plant is configured from the file, the error shown; the look that works takes over."""
    store = FakeStore(Topology(revision="old", sites=(NORTH,), invalid=(BROKEN,)))

    async def story(scene: Scene) -> None:
        scene.reader.away = True
        await scene.actor.start()
        assert store.topology is not None
        assert scene.told_root == [TopologyDiscovered(topology=store.topology)]
        status = await scene.look()
        assert (status.topology, status.last_error, status.looked_at) == (store.topology, "no route", None)
        await scene.actor.handle(Tick(what="alarms"))
        assert {
            (one.condition, one.subject) for one in scene.told_alarm if isinstance(one, AlarmAsserted)
        } == {
            ("invalid_row", "pumps/p1"),
            ("discovery_failed", "discovery"),
        }
        scene.told_alarm.clear()
        scene.reader.away = False
        assert (await scene.look()).last_error == ""
        assert {
            (one.condition, one.subject) for one in scene.told_alarm if isinstance(one, AlarmReturned)
        } == {
            ("invalid_row", "pumps/p1"),
            ("discovery_failed", "discovery"),
        }

    run(story, store=store)


def test_nothing_known_yet_is_looked_for_soon_again() -> None:
    """DAT-4: an empty system does not wait a whole interval for its database."""

    async def story(scene: Scene) -> None:
        scene.reader.away = True
        await scene.actor.start()
        assert (await scene.look()).topology is None
        await scene.ports.tasks.settle(lambda: scene.reader.reads >= 4)
        scene.reader.away = False
        await scene.ports.tasks.settle(lambda: bool(scene.told_root))
        assert scene.ports.clock.now().seconds_since(START) < 30.0

    run(story)


def test_a_slow_database_does_not_hold_the_mailbox() -> None:
    """SUP-3: the answer comes within the liveness deadline and says that the look goes on."""

    async def story(scene: Scene) -> None:
        scene.reader.held = asyncio.Event()
        status = await scene.look()
        assert "has not ended" in status.last_error
        assert scene.ports.clock.now().seconds_since(START) < 3.0
        assert scene.reader.reads == 1
        scene.reader.held.set()
        # The look that was asked for while another was under way is made afterwards.
        await scene.actor.handle(Tick(what="look"))
        await scene.ports.tasks.settle(lambda: len(scene.told_root) == 2)

    run(story)


def test_a_change_of_the_configuration_is_audited_once_and_with_what_changed() -> None:
    """AUD-2: parts that came, went or changed, each with its values before and after; no change, no record."""

    async def story(scene: Scene) -> None:
        await scene.look()
        await scene.look()
        scene.reader.sites = (msgspec.structs.replace(NORTH, name="Far north"),)
        await scene.look()
        await scene.ports.tasks.settle(lambda: len(scene.stored) == 2)
        first, second = scene.stored
        assert {first.event_type, second.event_type} == {"TOPOLOGY_CHANGED"}
        assert first.before is None
        assert first.after["SITE:north"]["name"] == "North"
        assert second.before == {"SITE:north": {"name": "North"}}
        assert second.after["SITE:north"] == {"name": "Far north"}
        assert second.after["parts_changed"] == 1

    run(story)


def test_a_notice_from_the_database_makes_it_look() -> None:
    """DAT-4: at once on NOTIFY."""

    async def story(scene: Scene) -> None:
        assert isinstance(scene.reader, NoticingReader)
        await scene.actor.start()
        await scene.look()
        scene.reader.changed.set()
        await scene.ports.tasks.settle(lambda: len(scene.told_root) == 2)

    run(story, reader=NoticingReader)


@pytest.mark.parametrize("refuses", [True, False])
def test_a_refusing_disk_costs_only_the_memory(refuses: bool) -> None:
    """DAT-3: the topology is in force all the same."""
    store = FakeStore()
    store.refuses = refuses

    async def story(scene: Scene) -> None:
        assert (await scene.look()).topology is not None
        assert (store.topology is None) is refuses
        assert len(scene.told_root) == 1

    run(story, store=store)


def test_a_station_named_like_a_point_does_not_darken_its_site() -> None:
    """MOD-2, DAT-4: the protocols' own rule about names, asked at discovery; an alarm names the row."""
    stations = tuple(
        StationConfig(station_id=name, site_id="north", name=name, timezone="UTC", modbus_unit_id=unit)
        for unit, name in enumerate(("emergency_stop", "s1"), start=1)
    )

    async def story(scene: Scene) -> None:
        scene.reader.sites = (msgspec.structs.replace(NORTH, stations=stations),)
        await scene.actor.start()
        topology = (await scene.look()).topology
        assert topology is not None
        assert [station.station_id for station in topology.sites[0].stations] == ["s1"]
        assert site_points(topology.sites[0])
        (alarm,) = [news for news in scene.told_alarm if isinstance(news, AlarmAsserted)]
        assert alarm.subject == "pump_stations/emergency_stop"
        assert "site point" in alarm.text

    run(story)
