"""The discovery actor's shell: looks at the database, tells the root what is in force (DAT-4)."""

from __future__ import annotations

from typing import Final, Protocol, assert_never, runtime_checkable

from actors.discovery import merging
from actors.discovery.changes import change_record
from actors.messages import (
    AlarmAsserted,
    AlarmReturned,
    DiscoverNow,
    DiscoveryInbox,
    DiscoveryStatus,
    GetTopology,
    Tick,
    TopologyDiscovered,
)
from actors.outbox import Outbox
from actors.runtime import Ports
from actors.start import WorkerStart
from actors.stores import TopologyReader
from actors.vocabulary import DeviceError, Instant, InvalidRow, Severity, Topology
from actors.vocabulary.ids import ALARM, ROOT
from protocols.points import check_station

_LOOK: Final = "look"
_ALARMS: Final = "alarms"
_ALARM_PERIOD_S: Final = 10.0
_RETRY_S: Final = 2.0
_ANSWER_WITHIN_S: Final = 2.0
_STEP_S: Final = 0.02
# Whoever asks for a look waits for it inside this actor's mailbox, and the liveness ping waits behind: 3 s.
assert _ANSWER_WITHIN_S + _STEP_S < 3.0  # noqa: PLR2004  (settings.LIVENESS_DEADLINE_S, less some room)


class TopologyStore(Protocol):
    """Remembers the last good topology on this machine."""

    def load(self) -> Topology | None:
        """Return what was saved last; None: nothing was."""
        ...

    def save(self, topology: Topology) -> None:
        """Make it durable."""
        ...


@runtime_checkable
class _NoticesChanges(Protocol):
    async def wait_for_change(self, *, at_most_s: float) -> bool: ...


class DiscoveryActor:
    """Looks at start, every `discovery_interval_s`, on `DiscoverNow` and when the database notifies."""

    def __init__(
        self, ports: Ports, start: WorkerStart, reader: TopologyReader, store: TopologyStore | None = None
    ) -> None:
        self._ports = ports
        self._interval_s = start.settings.control.discovery_interval_s
        self._reader = reader
        self._store = store
        self._outbox = Outbox(ports)
        self._topology: Topology | None = None
        self._looked_at: Instant | None = None
        self._last_error = ""
        self._looking = False
        self._look_again = False
        self._looks_begun = 0
        self._looks_done = 0
        self._retrying = False
        self._alarmed: tuple[InvalidRow, ...] = ()
        self._failure_alarmed = True  # what a former incarnation asserted is returned by this one

    async def start(self) -> None:
        """Put the last good topology in force, then look."""
        if self._store is not None:
            try:
                self._topology = self._store.load()
            except DeviceError as error:
                self._ports.log.warning("topology_file_failed", error=str(error))
        if self._topology is not None:
            # Its alarms may be standing: returned with the first look that finds the rows mended.
            self._alarmed = self._topology.invalid
            self._tell_root(self._topology)
        self._ports.timers.every(self._interval_s, Tick(what=_LOOK), first_after_s=0.0)
        self._ports.timers.every(_ALARM_PERIOD_S, Tick(what=_ALARMS))
        if isinstance(self._reader, _NoticesChanges):
            self._ports.tasks.spawn(self._notice(self._reader), name="notice")

    async def handle(self, message: DiscoveryInbox) -> object:
        """Look, or tell what the last look found. Looking goes on beside the mailbox; asking for it waits 2 s."""
        match message:
            case Tick():
                if message.what == _ALARMS:
                    self._tell_alarms()
                else:
                    self._look_soon()
                return None
            case DiscoverNow():
                wanted = self._looks_begun + 1
                self._look_soon()
                waited_s = 0.0
                while self._looks_done < wanted and waited_s < _ANSWER_WITHIN_S:
                    await self._ports.clock.sleep(_STEP_S)
                    waited_s += _STEP_S
                return self._status(late=self._looks_done < wanted)
            case GetTopology():
                return self._status()
            case _:
                assert_never(message)

    def _status(self, *, late: bool = False) -> DiscoveryStatus:
        error = self._last_error
        if late and not error:
            error = f"the look that was asked for has not ended after {_ANSWER_WITHIN_S:g} s"
        return DiscoveryStatus(topology=self._topology, looked_at=self._looked_at, last_error=error)

    def _look_soon(self) -> None:
        """Begin a look; one that is under way may have read too early, so it is followed by another."""
        if self._looking:
            self._look_again = True
            return
        self._looking = True
        self._ports.tasks.spawn(self._look(), name="look")

    async def _look(self) -> None:
        try:
            while True:
                self._look_again = False
                self._looks_begun += 1
                await self._look_once()
                self._looks_done = self._looks_begun
                if not self._look_again:
                    return
        finally:
            self._looking = False

    async def _look_once(self) -> None:
        try:
            sites, invalid = await self._reader.read()
        except DeviceError as error:
            if not self._last_error:
                self._ports.log.warning("discovery_failed", error=str(error))
            self._last_error = str(error)
            if self._topology is None and not self._retrying:
                # Nothing runs yet: do not wait a whole interval.
                self._retrying = True
                self._ports.tasks.spawn(self._retry(), name="retry")
            return
        now = self._ports.clock.now()
        topology = merging.merge(self._topology, sites, invalid, check_station=check_station)
        before, changed = (
            self._topology,
            self._topology is None or topology.revision != self._topology.revision,
        )
        self._topology, self._looked_at, self._last_error = topology, now, ""
        if changed:
            self._ports.log.info(
                "topology_changed",
                revision=topology.revision,
                sites=len(topology.sites),
                invalid=len(topology.invalid),
            )
            # Before it is saved: killed in between, the next life tells it once more rather than never.
            self._outbox.put(change_record(before, topology, now=now))
            self._save(topology)
        # Also unchanged: whoever lost the former message gets this one.
        self._tell_root(topology)
        self._tell_alarms()

    async def _retry(self) -> None:
        while self._topology is None:
            await self._ports.clock.sleep(_RETRY_S)
            self._look_soon()
        self._retrying = False

    async def _notice(self, reader: _NoticesChanges) -> None:
        while True:
            try:
                noticed = await reader.wait_for_change(at_most_s=self._interval_s)
            except DeviceError as error:
                self._ports.log.warning("discovery_deaf", error=str(error))
                noticed = False
                await self._ports.clock.sleep(_RETRY_S)
            if noticed:
                self._look_soon()

    def _save(self, topology: Topology) -> None:
        if self._store is None:
            return
        try:
            self._store.save(topology)
        except DeviceError as error:
            self._ports.log.warning("topology_file_failed", error=str(error))

    def _tell_root(self, topology: Topology) -> None:
        self._ports.directory.ref(ROOT).tell(TopologyDiscovered(topology=topology))

    def _tell_alarms(self) -> None:
        now = self._ports.clock.now()
        invalid = self._alarmed if self._topology is None else self._topology.invalid
        told: list[AlarmAsserted | AlarmReturned] = [*merging.news(self._alarmed, invalid, now)]
        self._alarmed = invalid
        if self._last_error:
            text = f"the configuration cannot be read: {self._last_error}"
            told.append(
                AlarmAsserted(
                    condition=merging.LOOK_FAILED,
                    subject=merging.SUBJECT,
                    severity=Severity.MEDIUM,
                    text=text,
                    at=now,
                )
            )
        elif self._failure_alarmed:
            told.append(AlarmReturned(condition=merging.LOOK_FAILED, subject=merging.SUBJECT, at=now))
        self._failure_alarmed = bool(self._last_error)
        alarm = self._ports.directory.ref(ALARM)
        for news in told:
            alarm.tell(news)
