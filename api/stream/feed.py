"""The one look at the plant for everybody who watches: asks the tree once a second, keeps what changed (API-2).

Nobody watches: nobody is asked. A minute after the last one went the feed forgets, and begins a new life with the next.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from actors.messages import (
    GetStation,
    GetStationDecisions,
    GetWatchdog,
    StationDecisions,
    StationStatus,
    WatchdogStatus,
)
from actors.runtime import Clock, Log, Tasks
from actors.vocabulary import DeviceError, Instant, SiteConfig
from actors.vocabulary.ids import station_part_address, watchdog_address
from api.sources import Sources
from api.stops import Stops
from api.stream.picture import (
    Plant,
    Table,
    alarms_table,
    failsafes_table,
    plant_tables,
    silence,
    stops_table,
    tree_table,
)
from api.stream.ring import Ring
from api.stream.topics import Topic, change_of

PERIOD_S: Final = 1.0
# A plant that takes long to ask is asked less often: looking may take a fourth of the time, no more.
_REST_SHARE: Final = 3.0
# After a command of this API one looks at once; a flood of commands does not make a flood of looks.
_PERIOD_S_MIN: Final = 0.1
IDLE_S: Final = 60.0
FIRST_LOOK_S: Final = 3.0
_IDLE_POLL_S: Final = 1.0

_Look = Callable[[], Awaitable[None]]
_Answer = TypeVar("_Answer")


class Feed:
    """What everybody watches. `watched` begins it; it ends by itself."""

    def __init__(self, sources: Sources, stops: Stops, *, clock: Clock, log: Log, tasks: Tasks) -> None:
        self._sources = sources
        self._stops = stops
        self._clock = clock
        self._log = log
        self._tasks = tasks
        self._watchers = 0
        self._left_at = clock.now()
        self._running: list[Callable[[], None]] = []
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self.ring = Ring(secrets.token_hex(8))
        self._tables: dict[Topic, Table] = {}
        self._silent: dict[str, Table] = {}
        self._looked_at: dict[str, Instant] = {}
        self._news = asyncio.Event()
        self._pokes: dict[str, asyncio.Event] = {}

    # ------------------------------------------------------------------ for those who watch

    @property
    def is_closed(self) -> bool:
        """Whether the API is ending."""
        return self._closed

    @property
    def tables(self) -> Mapping[Topic, Table]:
        """Every topic as last seen, as of the ring's newest event."""
        return self._tables

    def looked_at(self) -> Instant | None:
        """Return when the plant was last asked whole, None: not yet."""
        return self._looked_at.get("plant")

    def enter(self) -> None:
        """Begin to watch."""
        self._watchers += 1
        if self._running or self._closed:
            return
        self._begin()
        looks: dict[str, _Look] = {
            "plant": self._look_plant,
            "events": self._look_events,
            "tree": self._look_tree,
        }
        for name, look in looks.items():
            self._pokes[name] = asyncio.Event()
            self._running.append(self._tasks.spawn(self._watch(name, look), name=f"stream-{name}"))
        self._running.append(self._tasks.spawn(self._sleep_when_alone(), name="stream-idle"))

    def leave(self) -> None:
        """End to watch."""
        self._watchers -= 1
        self._left_at = self._clock.now()

    async def first_look(self) -> None:
        """Return once every part was looked at, or after a while without: what is there is shown then."""
        parts = {"plant", "events", "tree"}
        try:
            async with asyncio.timeout(FIRST_LOOK_S):
                while not parts <= self._looked_at.keys() and not self._closed:
                    await self.changed()
        except TimeoutError:
            return

    async def changed(self) -> None:
        """Return when something was looked at again, whether or not it changed."""
        await self._news.wait()

    def poke(self) -> None:
        """Look at once: a command was carried out."""
        for each in self._pokes.values():
            each.set()

    def close(self) -> None:
        """End: everybody who watches is told."""
        self._closed = True
        self._stop()
        self._tell()

    # ------------------------------------------------------------------ inside

    def _stop(self) -> None:
        for end in self._running:
            end()
        self._running.clear()

    async def _sleep_when_alone(self) -> None:
        while self._watchers > 0 or self._clock.now().seconds_since(self._left_at) < IDLE_S:
            await self._clock.sleep(_IDLE_POLL_S)
        self._stop()

    async def _watch(self, name: str, look: _Look) -> None:
        poke = self._pokes[name]
        while True:
            began = self._clock.now()
            try:
                await look()
            except Exception as error:  # noqa: BLE001  (a bug here costs a look, and shows as its age; not the API)
                self._log.error("stream_look_failed", part=name, error=repr(error))
            else:
                self._looked_at[name] = began
            self._tell()
            took_s = self._clock.now().seconds_since(began)
            await asyncio.sleep(_PERIOD_S_MIN)
            poke_within_s = max(PERIOD_S, took_s * _REST_SHARE) - _PERIOD_S_MIN
            try:
                async with asyncio.timeout(poke_within_s):
                    await poke.wait()
            except TimeoutError:
                continue
            finally:
                poke.clear()

    async def _look_plant(self) -> None:
        topology = self._sources.remembered
        if topology is None:
            try:
                topology = await self._sources.topology()
            except DeviceError as error:
                self._put({}, "plant", {"discovery": str(error)})
                return
        out, why = await self._stops.out_of_service()
        plants = await asyncio.gather(*(self._plant(site, out) for site in topology.sites))
        tables = plant_tables(plants, why)
        self._silent["plant"] = tables.pop(Topic.UNAVAILABLE)
        self._put(tables, "plant", None)

    async def _plant(self, site: SiteConfig, out: frozenset[str]) -> Plant:
        safeties = {
            station_part_address(site.site_id, each.station_id, "safety"): each.station_id
            for each in site.stations
        }
        stations = {
            station_part_address(site.site_id, each.station_id, "station"): each.station_id
            for each in site.stations
        }
        endpoints, decided, statuses = await asyncio.gather(
            self._sources.endpoints(site),
            self._sources.gather(dict.fromkeys(safeties, GetStationDecisions()), StationDecisions),
            self._sources.gather(dict.fromkeys(stations, GetStation()), StationStatus),
        )
        return Plant(
            site=site,
            endpoints=endpoints,
            decisions={safeties[address]: answer for address, answer in decided.items()},
            stations={stations[address]: answer for address, answer in statuses.items()},
            out_of_service=out,
        )

    async def _look_events(self) -> None:
        topology = self._sources.remembered
        sites = () if topology is None else topology.sites
        watchdogs = {watchdog_address(site.site_id): site.site_id for site in sites}
        stops, alarms, answers = await asyncio.gather(
            _or_why(self._stops.listed(everything=False)),
            _or_why(self._sources.alarms()),
            self._sources.gather(dict.fromkeys(watchdogs, GetWatchdog()), WatchdogStatus),
        )
        tables: dict[Topic, Table] = {}
        silent = {str(address): answer for address, answer in answers.items() if isinstance(answer, str)}
        heard = {
            watchdogs[address]: answer for address, answer in answers.items() if not isinstance(answer, str)
        }
        if isinstance(stops, str):
            silent["stops"] = stops
        else:
            tables[Topic.STOPS] = stops_table(stops)
        if isinstance(alarms, str):
            silent["alarms"] = alarms
        else:
            tables[Topic.ALARMS] = alarms_table(alarms)
        # A watchdog that is silent for a moment ends no failsafe.
        kept = {
            key: row
            for key, row in self._tables.get(Topic.FAILSAFES, {}).items()
            if row.place.site_id not in heard and row.place.site_id in watchdogs.values()
        }
        tables[Topic.FAILSAFES] = {**kept, **failsafes_table(heard)}
        self._put(tables, "events", silent)

    async def _look_tree(self) -> None:
        try:
            nodes = await self._sources.tree()
        except DeviceError as error:
            self._put({}, "tree", {"tree": str(error)})
            return
        self._put({Topic.TREE: tree_table(nodes)}, "tree", {})

    def _put(self, tables: Mapping[Topic, Table], part: str, silent: Mapping[str, str] | None) -> None:
        """Take what one part saw: what was not heard of stays as it was, and is named as silent."""
        if silent is not None:
            self._silent[part] = silence(silent)
        merged = {key: row for each in self._silent.values() for key, row in each.items()}
        now = self._clock.now()
        for topic, table in {**tables, Topic.UNAVAILABLE: merged}.items():
            change = change_of(topic, self._tables.get(topic, {}), table)
            self._tables[topic] = table
            if change is not None:
                self.ring.append(change, now)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


async def _or_why(question: Awaitable[_Answer]) -> _Answer | str:
    try:
        return await question
    except DeviceError as error:
        return str(error)
