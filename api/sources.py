"""What the API may ask of the tree: every question has a deadline; a part that is down leaves the rest answerable."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol, TypeVar

from actors.messages import (
    AcknowledgeAlarm,
    Alarms,
    DiscoverNow,
    DiscoveryStatus,
    Done,
    EndpointStatus,
    GetAlarms,
    GetEndpoint,
    GetPlanStatus,
    GetPump,
    GetStation,
    GetStationDecisions,
    GetStorage,
    GetTopology,
    GetTree,
    GetWatchdog,
    Message,
    PlanStatus,
    PumpStatus,
    RetryChild,
    SetMode,
    StartCleanOut,
    StationDecisions,
    StationStatus,
    StopCleanOut,
    StorageStatus,
    TreeNode,
    TreeView,
    WatchdogStatus,
)
from actors.runtime import Directory
from actors.vocabulary import (
    Address,
    CalejoError,
    InvalidValueError,
    PumpConfig,
    SiteConfig,
    StationConfig,
    Topology,
    UnansweredError,
    UnavailableError,
    UnknownSubjectError,
)
from actors.vocabulary.ids import (
    ALARM,
    DISCOVERY,
    ROOT,
    STORAGE,
    endpoint_address,
    pump_address,
    station_part_address,
    watchdog_address,
)
from actors.vocabulary.settings import PORT_PROTOCOLS
from api.access.errors import OutcomeUnknownError
from api.disk import Disk
from api.questions import Questions

_DEADLINE_S: Final = 1.0
# Discovery keeps the plant in memory: one that lives answers at once, one that hangs must not slow every page.
_TOPOLOGY_DEADLINE_S: Final = 0.5
_RECALL_DEADLINE_S: Final = 1.0
# The tree asks site supervisors in turn, each with its own deadline.
_TREE_DEADLINE_S: Final = 4.0
_DISCOVERY_DEADLINE_S: Final = 20.0
_ADDRESS_MAX: Final = 250
# What changes nothing may be asked once for all who ask it at the same time.
_SHARED: Final = frozenset(
    {
        GetAlarms, GetEndpoint, GetPlanStatus, GetPump, GetStation, GetStationDecisions, GetStorage, GetTopology,
        GetTree, GetWatchdog,
    }
)  # fmt: skip

_Answer = TypeVar("_Answer")


class TopologyMemory(Protocol):
    """Where discovery keeps the last good topology (a local file)."""

    def load(self) -> Topology | None:
        """Return it, None when there is none.

        Raises:
            DeviceError: the disk refused.

        """
        ...


class Sources:
    """Asks actors by address. Keeps the last topology that discovery told, so that its death silences nothing."""

    def __init__(
        self, directory: Directory, memory: TopologyMemory, protocols: tuple[str, ...] = PORT_PROTOCOLS
    ) -> None:
        self._directory = directory
        self._memory = memory
        self.protocols = tuple(sorted(protocols))
        self._disk = Disk("topology file")
        self._topology: Topology | None = None
        self._questions = Questions()

    @property
    def remembered(self) -> Topology | None:
        """The plant as last heard of, without asking anybody: a stop has no time for that."""
        return self._topology

    async def recall(self) -> None:
        """Take the plant from discovery's file if nothing better is known yet (an API that has just started).

        Raises:
            DeviceError: the disk refused, or did not answer.

        """
        if self._topology is None:
            remembered = await self._disk.call(self._memory.load, deadline_s=_RECALL_DEADLINE_S)
            if self._topology is None:
                self._topology = remembered

    async def fresh_topology(self) -> Topology:
        """Return the plant as discovery knows it now.

        Raises:
            UnavailableError: discovery does not answer, or has found nothing yet.

        """
        status = await self.discovery()
        if status.topology is None:
            text = f"no plant discovered yet: {status.last_error or 'the first look is under way'}"
            raise UnavailableError(text)
        return self._know(status.topology)

    async def topology(self) -> Topology:
        """Return the plant as discovered now, or else as last heard of.

        Raises:
            UnavailableError: discovery does not answer, and nothing was ever discovered.

        """
        try:
            return await self.fresh_topology()
        except UnavailableError:
            if self._topology is None:
                raise
            return self._topology

    async def discovery(self) -> DiscoveryStatus:
        """Return how discovery's last look at the database went, without having it look again.

        Raises:
            UnavailableError: discovery does not answer.

        """
        return await self._ask(DISCOVERY, GetTopology(), DiscoveryStatus, deadline_s=_TOPOLOGY_DEADLINE_S)

    async def discover(self) -> DiscoveryStatus:
        """Have the database looked at now.

        Raises:
            UnavailableError: discovery does not answer.

        """
        status = await self._ask(DISCOVERY, DiscoverNow(), DiscoveryStatus, deadline_s=_DISCOVERY_DEADLINE_S)
        if status.topology is not None:
            self._know(status.topology)
        return status

    async def tree(self) -> tuple[TreeNode, ...]:
        """Return every actor, in start order.

        Raises:
            UnavailableError: the root does not answer.

        """
        return (await self._ask(ROOT, GetTree(), TreeView, deadline_s=_TREE_DEADLINE_S)).nodes

    async def retry(self, address: str) -> None:
        """Take a child out of quarantine: told to the supervisor process it lives under.

        Raises:
            InvalidValueError: this is no address.
            UnavailableError: that supervisor was not reached.
            OutcomeUnknownError: it does not answer, and may have done it.
            CallerError: there is no such child, or it is not in quarantine.

        """
        if not address.startswith("/") or len(address) > _ADDRESS_MAX or not address.isprintable():
            text = f"address: {address[:60]!r}, expected one as `calejo tree` shows it, such as /sites/north/watchdog"
            raise InvalidValueError(text)
        parts = address.split("/")
        in_site = len(parts) > 3 and parts[1] == "sites"  # noqa: PLR2004  ("", "sites", SITE, something below)
        supervisor = Address("/".join(parts[:3])) if in_site else ROOT
        await self._order(supervisor, RetryChild(child=address), object, deadline_s=_TREE_DEADLINE_S)

    async def station_decisions(self, station: StationConfig) -> StationDecisions:
        """Return safety's current decisions of a station.

        Raises:
            UnavailableError: its safety actor does not answer.

        """
        address = station_part_address(station.site_id, station.station_id, "safety")
        return await self._ask(address, GetStationDecisions(), StationDecisions)

    async def station_status(self, station: StationConfig) -> StationStatus:
        """Return the wet well and feedback of a station.

        Raises:
            UnavailableError: its station actor does not answer.

        """
        address = station_part_address(station.site_id, station.station_id, "station")
        return await self._ask(address, GetStation(), StationStatus)

    async def plan_status(self, station: StationConfig) -> PlanStatus:
        """Return plan coverage of a station.

        Raises:
            UnavailableError: its plan actor does not answer.

        """
        address = station_part_address(station.site_id, station.station_id, "plan")
        return await self._ask(address, GetPlanStatus(), PlanStatus)

    async def pump_status(self, station: StationConfig, pump: PumpConfig) -> PumpStatus:
        """Return a pump as its own actor sees it.

        Raises:
            UnavailableError: it does not answer.

        """
        address = pump_address(station.site_id, station.station_id, pump.pump_id)
        return await self._ask(address, GetPump(), PumpStatus)

    async def set_mode(self, station: StationConfig, command: SetMode) -> Done:
        """Give a pump's actor a mode command; the answer says when it took a repeated one first.

        Raises:
            UnavailableError: the command did not reach it.
            OutcomeUnknownError: it does not answer, and may have taken it.
            CallerError: it refused.

        """
        return await self._order(
            pump_address(station.site_id, station.station_id, command.pump_id), command, Done
        )

    async def clean_out(self, station: StationConfig, command: StartCleanOut | StopCleanOut) -> Done:
        """Give a station's safety an order to clean out, or to end it.

        Raises:
            UnavailableError: the order did not reach it.
            OutcomeUnknownError: it does not answer, and may have begun.
            CallerError: it refused.

        """
        address = station_part_address(station.site_id, station.station_id, "safety")
        return await self._order(address, command, Done)

    async def endpoints(self, site: SiteConfig) -> dict[str, EndpointStatus | str]:
        """Return what each endpoint of a site shows, or why it does not answer."""
        addresses = {endpoint_address(site.site_id, protocol): GetEndpoint() for protocol in self.protocols}
        return {str(key): value for key, value in (await self.gather(addresses, EndpointStatus)).items()}

    async def alarms(self) -> Alarms:
        """Return raised and lately returned alarms.

        Raises:
            UnavailableError: the alarm actor does not answer.

        """
        return await self._ask(ALARM, GetAlarms(), Alarms)

    async def acknowledge(self, alarm_id: str, *, by: str, comment: str) -> None:
        """Have an alarm acknowledged.

        Raises:
            UnavailableError: the alarm actor does not answer: perhaps it has noted it all the same.
            CallerError: no alarm of the list has that id, or it was acknowledged before.

        """
        await self._ask(ALARM, AcknowledgeAlarm(alarm_id=alarm_id, by=by, comment=comment), Done)

    async def storage(self) -> StorageStatus:
        """Return the state of spool and database.

        Raises:
            UnavailableError: the storage actor does not answer.

        """
        return await self._ask(STORAGE, GetStorage(), StorageStatus)

    async def watchdog(self, site_id: str) -> WatchdogStatus:
        """Return the timers of a site.

        Raises:
            UnavailableError: its watchdog does not answer.

        """
        return await self._ask(watchdog_address(site_id), GetWatchdog(), WatchdogStatus)

    async def gather(
        self, questions: Mapping[Address, Message], kind: type[_Answer], *, deadline_s: float = _DEADLINE_S
    ) -> dict[Address, _Answer | str]:
        """Ask many at once; one that does not answer leaves its reason as text."""

        async def one(address: Address, question: Message) -> _Answer | str:
            try:
                return await self._ask(address, question, kind, deadline_s=deadline_s)
            except CalejoError as error:
                return str(error)
            except Exception as error:  # noqa: BLE001  (a carrier's own error must not hide what the others said)
                return f"{address}: {type(error).__name__}: {error}"

        answers = await asyncio.gather(*(one(address, question) for address, question in questions.items()))
        return dict(zip(questions, answers, strict=True))

    def _know(self, topology: Topology) -> Topology:
        """Remember a plant; the same plant stays the same object, so that what is made of it is made once."""
        if self._topology is None or self._topology.revision != topology.revision:
            self._topology = topology
        return self._topology

    def tell(self, address: Address, message: Message) -> None:
        """Send news without an answer."""
        self._directory.ref(address).tell(message)

    async def _order(
        self, address: Address, command: Message, kind: type[_Answer], *, deadline_s: float = _DEADLINE_S
    ) -> _Answer:
        """Ask for something to be done: unlike a question, one that is not answered may have been carried out."""
        try:
            return await self._ask(address, command, kind, deadline_s=deadline_s)
        except UnansweredError as error:
            raise OutcomeUnknownError(f"{error}; whether it was carried out is not known") from error

    async def _ask(
        self, address: Address, message: Message, kind: type[_Answer], *, deadline_s: float = _DEADLINE_S
    ) -> _Answer:
        if type(message) in _SHARED:
            return await self._questions.ask(
                (address, message, deadline_s), lambda: self._answer(address, message, kind, deadline_s)
            )
        return await self._answer(address, message, kind, deadline_s)

    async def _answer(
        self, address: Address, message: Message, kind: type[_Answer], deadline_s: float
    ) -> _Answer:
        answer = await self._directory.ref(address).ask(message, deadline_s=deadline_s)
        if not isinstance(answer, kind):
            # Another version's actor, say. Its part is as good as away; the rest goes on.
            text = f"{address} answered {type(answer).__name__} to {type(message).__name__}, expected {kind.__name__}"
            raise UnavailableError(text)
        return answer


def find_pump(topology: Topology, pump_id: str) -> tuple[SiteConfig, StationConfig, PumpConfig]:
    """Return the pump and where it stands.

    Raises:
        UnknownSubjectError: there is no such pump.

    """
    for site in topology.sites:
        for station in site.stations:
            if (pump := station.pump(pump_id)) is not None:
                return site, station, pump
    text = f"pump {pump_id!r} is not known (see /api/v1/pumps)"
    raise UnknownSubjectError(text)


def find_site(topology: Topology, site_id: str) -> SiteConfig:
    """Return the site.

    Raises:
        UnknownSubjectError: there is no such site.

    """
    found = next((site for site in topology.sites if site.site_id == site_id), None)
    if found is None:
        known = ", ".join(site.site_id for site in topology.sites)
        text = f"site {site_id!r} is not known, expected one of {known[:_ADDRESS_MAX]}"
        raise UnknownSubjectError(text)
    return found


def find_station(topology: Topology, station_id: str) -> tuple[SiteConfig, StationConfig]:
    """Return the station and its site.

    Raises:
        UnknownSubjectError: there is no such station.

    """
    for site in topology.sites:
        if (station := site.station(station_id)) is not None:
            return site, station
    text = f"station {station_id!r} is not known (see /api/v1/stations)"
    raise UnknownSubjectError(text)
