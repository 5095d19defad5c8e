"""The demo's database on a real SQLite file with the real schema, read back by discovery's own reader."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from sqlalchemy import create_engine, func, insert, select

from actors.vocabulary.settings import DatabaseSettings
from ops.demo.catalogue import STATIONS, demo_site
from ops.demo.plant import forecast_inflow_m3h
from ops.demo.seed import DemoDatabase
from protocols.points import site_points
from storage.engine import Access, Database, real_chance
from storage.models import optimiser_status, pump_feedback, pump_plans
from storage.readers import DatabaseTopologyReader
from storage.schema import upgrade
from storage.urls import sqlite_url

NOW = datetime(2026, 11, 21, 10, 7, tzinfo=UTC)


def count(path: Path) -> int:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        rows = connection.scalar(select(func.count()).select_from(pump_plans))
    engine.dispose()
    return int(rows or 0)


def test_discovery_finds_exactly_the_demo_that_the_plant_expects(tmp_path: Path) -> None:
    """OPS-4, DAT-5: no row is refused, and the registers are those that the simulated controllers use."""
    url = sqlite_url(tmp_path / "calejo.db")
    upgrade(url)
    demo = DemoDatabase(url)
    assert demo.seed(now=NOW)
    assert not demo.seed(now=NOW), "a second start finds it there"

    async def discovered() -> None:
        database = Database(url, Access.READ, settings=DatabaseSettings(), chance=real_chance())
        try:
            sites, invalid = await DatabaseTopologyReader(database).read()
        finally:
            await database.close()
        assert invalid == ()
        assert [place for point in site_points(sites[0]) for place in point.places] == [
            place for point in site_points(demo_site()) for place in point.places
        ]
        pumps = [pump for station in sites[0].stations for pump in station.pumps]
        assert all(pump.limits is not None for pump in pumps)

    asyncio.run(discovered())


def report(path: Path, *, until: datetime, level_m: float, running: bool, quality: str = "GOOD") -> None:
    """Five minutes of harbour's feedback, once a second, as Calejo's station actor records it: what comes is
    pumped.
    """
    engine = create_engine(f"sqlite:///{path}")
    harbour = next(station for station in STATIONS if station.station_id == "harbour")
    came_m3h = forecast_inflow_m3h(harbour, until.timestamp())
    with engine.begin() as connection:
        rows = [
            {
                "pump_id": pump.pump_id,
                "measured_at": until - timedelta(seconds=second),
                "wet_well_level_m": level_m,
                "actual_flow_m3h": 0.0 if slot else came_m3h,
                "running": running and slot == 0,
                "local_override": False,
                "quality": quality,
                "source": "calejo:modbus",
            }
            for second in range(300)
            for slot, pump in enumerate(harbour.pumps)
        ]
        connection.execute(insert(pump_feedback), rows)
    engine.dispose()


def harbour_hz(path: Path, version: int, *, at: datetime) -> list[float]:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        rows = connection.execute(
            select(pump_plans).where(
                pump_plans.c.station_id == "harbour", pump_plans.c.plan_version == version
            )
        ).all()
    engine.dispose()
    return [row.suggested_speed_hz for row in rows if row.interval_start <= at < row.interval_end]


def test_plans_follow_what_the_database_says_of_the_wells(tmp_path: Path) -> None:
    """OPS-4: blind at first; a full well gets two fast pumps, an empty one none, a row that is BAD says nothing."""
    path = tmp_path / "calejo.db"
    upgrade(sqlite_url(path))
    demo = DemoDatabase(sqlite_url(path))
    demo.seed(now=NOW)
    calm = demo.plan(now=NOW)
    assert calm.blind
    assert sum(hz > 0 for hz in harbour_hz(path, calm.version, at=NOW)) == 1
    stories = [(2.60, True, "GOOD", 2), (0.60, True, "GOOD", 0), (2.60, True, "BAD", 1)]
    for hour, (level_m, running, quality, pumps_running) in enumerate(stories, 1):
        now = NOW + timedelta(hours=hour)
        report(path, until=now, level_m=level_m, running=running, quality=quality)
        made = demo.plan(now=now)
        assert made.blind, "the other two stations are silent"
        speeds = harbour_hz(path, made.version, at=now)
        assert sum(hz > 0 for hz in speeds) == pumps_running, (level_m, quality, speeds)


def test_plans_every_five_minutes_stay_bounded_and_cover_what_comes(tmp_path: Path) -> None:
    """OPS-4: the optimiser keeps writing; the table does not keep growing, and a day ahead is planned."""
    path = tmp_path / "calejo.db"
    upgrade(sqlite_url(path))
    demo = DemoDatabase(sqlite_url(path))
    demo.seed(now=NOW)
    sizes, versions = [], []
    moments = [NOW + timedelta(minutes=5 * turn) for turn in range(1, 25)]
    for now in moments:
        versions.append(demo.plan(now=now).version)
        sizes.append(count(path))
    assert versions == sorted(set(versions))
    pumps = sum(len(station.pumps) for station in demo_site().stations)
    grown = [after - before for before, after in pairwise(sizes[3:])]
    assert max(grown) <= 3 * pumps, "of a plan that was replaced only what was in force is kept"
    demo.plan(now=NOW + timedelta(days=3))
    assert count(path) <= 3 * 98 * pumps, "and that for two days"
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        newest = select(func.max(pump_plans.c.interval_end)).where(pump_plans.c.plan_version == versions[-1])
        assert connection.scalar(newest) >= moments[-1] + timedelta(days=1)
        beats = connection.scalars(select(optimiser_status.c.heartbeat_at)).all()
        assert beats == [NOW + timedelta(days=3)] * 3
    engine.dispose()
