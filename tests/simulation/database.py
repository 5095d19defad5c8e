"""The database in memory: plans and topology as the outside world writes them, records as Calejo appends them.

It can be away in both ways that databases are: refusing at once, or not answering at all.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum, unique

from actors.runtime import Clock
from actors.vocabulary import DeviceError, InvalidRow, PumpConfig, SiteConfig, Topology
from actors.vocabulary.records import FeedbackRow, OptimiserStatus, PlanRow, Record

# An interval is shorter than a scenario, so that every scenario crosses boundaries.
_INTERVAL_S = (15.0, 60.0)
_COVERED_S = 900.0


@unique
class PlanKind(StrEnum):
    """What an optimiser may write; all but the first must be refused (CTL-1)."""

    GOOD = "good"
    TOO_FAST = "too_fast"
    NOT_A_NUMBER = "not_a_number"
    OVERLAPPING = "overlapping"
    BACKWARDS = "backwards"
    EMPTY = "empty"


class FakeDatabase:
    """What outlives every process; hand it to all readers and writers of a scenario."""

    def __init__(self, site: SiteConfig, *, dice: random.Random) -> None:
        self.site = site
        self.plans: list[PlanRow] = []
        self.withdrawn = False
        self.optimiser_age_s = 0.0
        self.records: dict[str, Record] = {}
        self._dice = dice
        self._version = 0
        self._plan_id = 0
        self._away = False
        self._hangs = False
        self._back = asyncio.Event()
        self.refused = 0

    # ----------------------------------------------------------------- being away

    def go(self, *, hangs: bool) -> None:
        """Be away from now on."""
        self._away, self._hangs = True, hangs
        self._back.clear()

    def come_back(self) -> None:
        """Answer again; who waited for an answer is told that the connection is gone."""
        self._away = False
        self._back.set()

    async def answer(self) -> None:
        """Take a query's time.

        Raises:
            DeviceError: the database is away.

        """
        await asyncio.sleep(0.002)
        self.refused += self._away
        if self._away and self._hangs:
            await self._back.wait()
            raise DeviceError("database: server closed the connection unexpectedly")
        if self._away:
            raise DeviceError("database: connection refused")

    # ----------------------------------------------------------------- plans

    def write_plans(self, kind: PlanKind, *, now: datetime) -> None:
        """Write a new version for every pump, or rows that must be refused."""
        self._version += 1
        for station in self.site.stations:
            for pump in station.pumps:
                self._write(kind, pump, now)

    def _write(self, kind: PlanKind, pump: PumpConfig, now: datetime) -> None:
        begin, end = now - timedelta(seconds=1.0), now + timedelta(seconds=_COVERED_S)
        match kind:
            case PlanKind.GOOD:
                while begin < end:
                    stop = begin + timedelta(seconds=self._dice.uniform(*_INTERVAL_S))
                    self._row(pump, begin, stop, now)
                    begin = stop
            case PlanKind.TOO_FAST:
                self._row(pump, begin, end, now, speed_hz=60.0)
            case PlanKind.NOT_A_NUMBER:
                self._row(pump, begin, end, now, speed_hz=math.nan, level_m=math.nan, power_kw=math.nan)
            case PlanKind.OVERLAPPING:
                self._row(pump, begin, end, now, speed_hz=30.0)
                self._row(pump, begin + timedelta(seconds=5.0), end, now, speed_hz=45.0)
            case PlanKind.BACKWARDS:
                self._row(pump, end, begin, now)
            case PlanKind.EMPTY:
                self._row(pump, begin, end, now, speed_hz=None, level_m=None, power_kw=None)

    def _row(
        self,
        pump: PumpConfig,
        begin: datetime,
        end: datetime,
        now: datetime,
        **values: float | None,
    ) -> None:
        dice = self._dice
        rated_kw = pump.rated_power_kw or 0.0
        wished: dict[str, float | None] = {
            "speed_hz": dice.choice((0.0, dice.uniform(25.0, 45.0), dice.uniform(25.0, 45.0))),
            "level_m": dice.uniform(1.0, 2.0),
            "power_kw": dice.uniform(0.2, 0.9) * rated_kw,
        }
        wished.update(values)
        self._plan_id += 1
        self.plans.append(
            PlanRow(
                plan_id=self._plan_id,
                station_id=pump.station_id,
                pump_id=pump.pump_id,
                interval_start=begin,
                interval_end=end,
                plan_version=self._version,
                created_at=now,
                suggested_speed_hz=wished["speed_hz"],
                target_level_m=wished["level_m"],
                target_power_kw=wished["power_kw"],
            )
        )


class FakePlanReader:
    """Reads plans; never notifies (SQLite does not either)."""

    def __init__(self, database: FakeDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def plans(self, station_id: str, *, start: datetime, end: datetime) -> Sequence[PlanRow]:
        """Return the rows that touch [start, end)."""
        await self._database.answer()
        if self._database.withdrawn:
            return ()
        return [row for row in self._database.plans if row.station_id == station_id]

    async def optimiser_status(self, station_id: str) -> OptimiserStatus | None:
        """Return an optimiser that lives, or one that has been silent for some time."""
        await self._database.answer()
        heartbeat_at = self._clock.now().plus(-self._database.optimiser_age_s).utc
        return OptimiserStatus(station_id=station_id, heartbeat_at=heartbeat_at)

    async def wait_for_change(self, *, at_most_s: float) -> bool:
        """Wait."""
        await asyncio.sleep(at_most_s)
        return False


class FakeFeedbackReader:
    """There is no foreign feedback: the controllers write to the endpoints."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database

    async def foreign_feedback(self, station_id: str, *, since: datetime) -> Sequence[FeedbackRow]:
        """Return nothing, if the database answers at all."""
        await self._database.answer()
        return ()


class FakeTopologyReader:
    """Reads the one site."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database

    async def read(self) -> tuple[tuple[SiteConfig, ...], tuple[InvalidRow, ...]]:
        """Return the site."""
        await self._database.answer()
        return (self._database.site,), ()


class FakeTopologyStore:
    """Discovery's file of the last good topology."""

    def __init__(self) -> None:
        self._topology: Topology | None = None

    def load(self) -> Topology | None:
        """Return what was saved last."""
        return self._topology

    def save(self, topology: Topology) -> None:
        """Keep it."""
        self._topology = topology


class FakeSpool:
    """The storage actor's queue on disk."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Record]] = deque()
        self._position = 0

    def append(self, records: Sequence[Record]) -> int:
        """Keep these; there is always room."""
        for record in records:
            self._position += 1
            self._waiting.append((self._position, record))
        return 0

    def peek(self, count_max: int) -> Sequence[tuple[int, Record]]:
        """Return the oldest."""
        return [self._waiting[index] for index in range(min(count_max, len(self._waiting)))]

    def remove(self, positions: Sequence[int]) -> None:
        """Forget these."""
        gone = set(positions)
        self._waiting = deque(entry for entry in self._waiting if entry[0] not in gone)

    def positions(self) -> frozenset[int]:
        """Return the positions of what waits."""
        return frozenset(position for position, _ in self._waiting)

    def size(self) -> tuple[int, int]:
        """Return how many wait, and a byte for each."""
        return len(self._waiting), len(self._waiting)


class FakeWriter:
    """Appends records; the same record twice is there once."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database

    async def write(self, records: Sequence[tuple[int, Record]]) -> dict[int, str]:
        """Append these in one go."""
        await self._database.answer()
        self._database.records.update({record.record_id: record for _, record in records})
        return {}
