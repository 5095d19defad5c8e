"""The demo's database on a real SQLite file with the real schema, read back by discovery's own reader."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, func, select

from actors.vocabulary.settings import DatabaseSettings
from ops.demo.catalogue import demo_site
from ops.demo.seed import DemoDatabase
from protocols.points import site_points
from storage.engine import Access, Database, real_chance
from storage.models import optimiser_status, pump_plans
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


def test_a_day_of_hourly_plans_stays_bounded_and_covers_what_comes(tmp_path: Path) -> None:
    """OPS-4: the optimiser keeps writing; the table does not keep growing."""
    path = tmp_path / "calejo.db"
    upgrade(sqlite_url(path))
    demo = DemoDatabase(sqlite_url(path))
    demo.seed(now=NOW)
    sizes, versions = [], []
    for hour in range(1, 73):
        versions.append(demo.plan(now=NOW + timedelta(hours=hour)))
        sizes.append(count(path))
    assert versions == sorted(set(versions))
    assert sizes[-1] <= sizes[-20] * 1.02
    assert max(sizes) < 12_000
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        newest = select(func.max(pump_plans.c.interval_end)).where(pump_plans.c.plan_version == versions[-1])
        assert connection.scalar(newest) >= NOW + timedelta(hours=72 + 48)
        assert set(connection.scalars(select(optimiser_status.c.plan_version))) == {versions[-1]}
        beats = connection.scalars(select(optimiser_status.c.heartbeat_at)).all()
        assert beats == [NOW + timedelta(hours=72)] * 3
    engine.dispose()
