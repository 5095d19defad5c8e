"""The plant at one look, shared by everybody who watches: the tree is asked once a second, not once per browser."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final, Generic, TypeVar

import msgspec

from actors.messages import AlarmView as Alarm
from actors.messages import EndpointStatus, PlanStatus, StationStatus
from actors.runtime import Clock
from actors.safety.latch import EMERGENCY_STOP, covers
from actors.vocabulary import (
    CalejoError,
    DeviceError,
    Instant,
    PumpConfig,
    Quality,
    Scope,
    Severity,
    SiteConfig,
    StationConfig,
    Topology,
)
from actors.vocabulary.records import StopEventRecord
from api.dashboard.abnormal import (
    Finding,
    Rank,
    endpoint_finding,
    of_alarms,
    pump_findings,
    station_findings,
    worst_first,
    worst_of,
)
from api.dashboard.alarms import WORST_FIRST, Place, by_object, in_order, placed, stands, waits
from api.service import Service
from api.views import JudgedView, PumpView, judged, pump_view

FRESH_S: Final = 0.8
"""How old a picture may be: a browser asks once a second."""
TREE_FRESH_S: Final = 0.8
# A small trend beside the number: an hour, a point at most every ten seconds.
_TREND_S: Final = 3600.0
_TREND_STEP_S: Final = 10.0

_Answer = TypeVar("_Answer")
_Held = TypeVar("_Held")


class PumpShown(msgspec.Struct, frozen=True, kw_only=True):
    """A pump with what is abnormal about it."""

    config: PumpConfig
    view: PumpView
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Rank:
        """The worst rank."""
        return worst_of(self.findings)


class StationShown(msgspec.Struct, frozen=True, kw_only=True):
    """A station with its pumps; `trend`: levels of the last hour as (age in s, m), oldest first."""

    config: StationConfig
    level: JudgedView | None
    plan: PlanStatus | None
    pumps: tuple[PumpShown, ...]
    findings: tuple[Finding, ...]
    trend: tuple[tuple[float, float], ...]

    @property
    def worst(self) -> Rank:
        """The worst rank of the station and its pumps."""
        return worst_of(self.findings, *(pump.findings for pump in self.pumps))


class EndpointShown(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint: `bound` None: it does not answer."""

    name: str
    bound: str | None
    clients: int
    why: str
    finding: Finding | None


class SiteShown(msgspec.Struct, frozen=True, kw_only=True):
    """A site, its endpoints, and its stations with the abnormal ones first."""

    config: SiteConfig
    endpoints: tuple[EndpointShown, ...]
    stations: tuple[StationShown, ...]
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Rank:
        """The worst rank of the site and all in it."""
        return max(
            [worst_of(self.findings), *(station.worst for station in self.stations)], default=Rank.NORMAL
        )


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `why`: the plant is not known; `alarms_why`: nor are alarms; `stops_why`: these may be incomplete.

    `places`: where alarms are, by their ids. `zone`: the plant's time zone where it has but one (`zone_is_one`), else
    UTC. Without `alarms_whole` the alarm actor has just begun: what its former life left open may be missing.
    """

    at: datetime
    sites: tuple[SiteShown, ...] = ()
    stops: tuple[StopEventRecord, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    places: Mapping[str, Place] = {}
    zone: str = "UTC"
    zone_is_one: bool = True
    why: str = ""
    alarms_why: str = ""
    alarms_whole: bool = True
    stops_why: str = ""

    @property
    def emergency_stops(self) -> tuple[StopEventRecord, ...]:
        """The emergency stops that hold."""
        return tuple(stop for stop in self.stops if stop.kind == EMERGENCY_STOP)

    @property
    def raised(self) -> dict[Severity, int]:
        """How many alarms stand, seen or not, by severity, the worst first."""
        return {
            severity: sum(each.severity is severity and stands(each) for each in self.alarms)
            for severity in WORST_FIRST
        }

    @property
    def unseen(self) -> int:
        """How many alarms nobody has acknowledged, those that have returned meanwhile included."""
        return sum(waits(each) for each in self.alarms)

    def zone_at(self, scope: str, scope_id: str) -> str:
        """Return the time zone of a pump, station or site, the plant's for what is none of them."""
        if self.zone_is_one:
            return self.zone
        match scope:
            case Scope.PUMP.value if (pump := self.pump(scope_id)) is not None:
                return pump[1].config.timezone
            case Scope.STATION.value if (station := self.station(scope_id)) is not None:
                return station[1].config.timezone
            case Scope.SITE.value:
                found = (site.config.timezone for site in self.sites if site.config.site_id == scope_id)
                return next(found, self.zone)
            case _:
                return self.zone

    def zone_of(self, alarm: Alarm) -> str:
        """Return the time zone of what an alarm is about, the plant's for what is of no one site."""
        place = self.places.get(alarm.alarm_id)
        if place is None:
            return self.zone
        if not place.within:
            return self.zone_at(Scope.SITE.value, place.site_id)
        return self.zone_at(Scope.STATION.value, place.within.partition("/")[0])

    def station(self, station_id: str) -> tuple[SiteShown, StationShown] | None:
        """Return a station and its site, None: there is none of that id."""
        return next(
            (
                (site, station)
                for site in self.sites
                for station in site.stations
                if station.config.station_id == station_id
            ),
            None,
        )

    def pump(self, pump_id: str) -> tuple[SiteShown, StationShown, PumpShown] | None:
        """Return a pump, where it stands, None: there is none of that id."""
        return next(
            (
                (site, station, pump)
                for site in self.sites
                for station in site.stations
                for pump in station.pumps
                if pump.config.pump_id == pump_id
            ),
            None,
        )


class Shared(Generic[_Answer]):
    """One question at a time, whoever asks; its answer, or why there was none, holds for everybody for a moment."""

    def __init__(self, ask: Callable[[], Awaitable[_Answer]], clock: Clock, *, fresh_s: float) -> None:
        self._ask = ask
        self._clock = clock
        self._fresh_s = fresh_s
        self._lock = asyncio.Lock()
        self._held: tuple[_Answer | CalejoError, Instant] | None = None

    async def get(self) -> _Answer:
        """Return the answer, at most as old as it may be.

        Raises:
            CalejoError: as the question raised it.

        """
        async with self._lock:
            held = self._held
            if held is None or not 0.0 <= self._clock.now().seconds_since(held[1]) < self._fresh_s:
                held = self._held = (await self._once(), self._clock.now())
        if isinstance(held[0], CalejoError):
            raise held[0].with_traceback(None)
        return held[0]

    async def _once(self) -> _Answer | CalejoError:
        try:
            return await self._ask()
        except CalejoError as error:
            return error


class Pictures:
    """Makes pictures, and keeps an hour of levels while somebody watches."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._levels: dict[str, list[tuple[Instant, float]]] = {}
        self._shared = Shared(self._made, service.clock, fresh_s=FRESH_S)

    async def now(self) -> Picture:
        """Return the picture of now; what does not answer is said to be silent, never left out."""
        return await self._shared.get()

    async def _made(self) -> Picture:
        sources, at = self._service.sources, self._service.clock.now()
        alarms, stops = await asyncio.gather(_or_why(sources.alarms()), self._stops())
        topology = await _or_why(sources.topology())
        known = Topology(revision="") if isinstance(topology, str) else topology
        listed = () if isinstance(alarms, str) else in_order(alarms.alarms)
        places = placed(listed, known.sites)
        sites = await asyncio.gather(
            *(self._site(site, stops, by_object(listed, places, site.site_id), at) for site in known.sites)
        )
        zones = {site.timezone for site in known.sites}
        zones |= {station.timezone for site in known.sites for station in site.stations}
        self._forget(known)
        return Picture(
            at=at.utc,
            why=topology if isinstance(topology, str) else "",
            sites=tuple(sorted(sites, key=lambda site: (-site.worst, site.config.site_id))),
            stops=stops[0],
            stops_why=stops[1],
            alarms=listed,
            places=places,
            zone=next(iter(zones)) if len(zones) == 1 else "UTC",
            zone_is_one=len(zones) <= 1,
            alarms_why=alarms if isinstance(alarms, str) else "",
            alarms_whole=isinstance(alarms, str) or alarms.whole,
        )

    async def _stops(self) -> tuple[tuple[StopEventRecord, ...], str]:
        stops, why = await self._service.stops.known(everything=False)
        return tuple(stops), why

    async def _site(
        self,
        site: SiteConfig,
        stops: tuple[tuple[StopEventRecord, ...], str],
        placed_here: Mapping[str, tuple[Alarm, ...]],
        at: Instant,
    ) -> SiteShown:
        sources = self._service.sources
        endpoints = await sources.endpoints(site)
        stations = await asyncio.gather(
            *(self._station(site, station, endpoints, stops, placed_here, at) for station in site.stations)
        )
        shown = tuple(_endpoint(name, status) for name, status in endpoints.items())
        found = [each.finding for each in shown if each.finding is not None]
        return SiteShown(
            config=site,
            endpoints=shown,
            stations=tuple(sorted(stations, key=lambda each: (-each.worst, each.config.station_id))),
            findings=worst_first([*found, *of_alarms(placed_here.get("", ()), found)]),
        )

    async def _station(
        self,
        site: SiteConfig,
        station: StationConfig,
        endpoints: dict[str, EndpointStatus | str],
        stops: tuple[tuple[StopEventRecord, ...], str],
        alarms: Mapping[str, tuple[Alarm, ...]],
        at: Instant,
    ) -> StationShown:
        sources = self._service.sources
        decisions, status, plan = await asyncio.gather(
            _or_why(sources.station_decisions(station)),
            _or_why(sources.station_status(station)),
            _or_why(sources.plan_status(station)),
        )
        held, why = stops
        emergency = [stop for stop in held if stop.kind == EMERGENCY_STOP]
        out = frozenset(stop.scope_id for stop in held if stop.kind != EMERGENCY_STOP)
        pumps = []
        for pump in station.pumps:
            view = pump_view(
                station, pump, decisions=decisions, endpoints=endpoints, out_of_service=(out, why)
            )
            covered = any(covers(stop, site.site_id, station.station_id, pump.pump_id) for stop in emergency)
            findings = pump_findings(
                view,
                stopped=covered,
                endpoints=len(endpoints),
                has_high_float=station.has_high_float,
                alarms=alarms.get(f"{station.station_id}/{pump.pump_id}", ()),
            )
            pumps.append(PumpShown(config=pump, view=view, findings=findings))
        silent = [
            f"{name}: {answer}"
            for name, answer in (("station", status), ("plan", plan))
            if isinstance(answer, str)
        ]
        self._follow(station.station_id, status, at)
        level = None if isinstance(status, str) else status.level
        return StationShown(
            config=station,
            level=None if level is None else judged({"level": level})["level"],
            plan=None if isinstance(plan, str) else plan,
            pumps=tuple(pumps),
            findings=station_findings(
                level,
                None if isinstance(plan, str) else plan,
                silent,
                [pump.limits for pump in station.pumps if pump.limits is not None],
                alarms.get(station.station_id, ()),
            ),
            trend=tuple((at.seconds_since(then), value) for then, value in self._kept(station.station_id)),
        )

    def _kept(self, station_id: str) -> list[tuple[Instant, float]]:
        return self._levels.get(station_id, [])

    def _follow(self, station_id: str, status: StationStatus | str, at: Instant) -> None:
        kept = self._levels.setdefault(station_id, [])
        while kept and at.seconds_since(kept[0][0]) > _TREND_S:
            kept.pop(0)
        if isinstance(status, str) or status.level.quality is not Quality.GOOD:
            return
        value = status.level.value
        if value is not None and (not kept or at.seconds_since(kept[-1][0]) >= _TREND_STEP_S):
            kept.append((at, value))

    def _forget(self, topology: Topology) -> None:
        known = {station.station_id for site in topology.sites for station in site.stations}
        for station_id in set(self._levels) - known:
            del self._levels[station_id]


def _endpoint(name: str, status: EndpointStatus | str) -> EndpointShown:
    bound = None if isinstance(status, str) else status.bound
    why = status if isinstance(status, str) else ""
    return EndpointShown(
        name=name.rpartition("/")[2],
        bound=bound,
        clients=0 if isinstance(status, str) else status.clients,
        why=why,
        finding=endpoint_finding(name, bound, why),
    )


async def _or_why(question: Awaitable[_Held]) -> _Held | str:
    """Return the answer, or as text why there is none."""
    try:
        return await question
    except DeviceError as error:
        return str(error)
