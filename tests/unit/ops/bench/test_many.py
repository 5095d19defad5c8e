"""`calejo bench --pumps`: what is started and how missed periods are counted, without starting it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from sqlalchemy import create_engine, func, select

from ops.bench.many import Many, RoleCost, missed_of, seed, shown, site_of
from protocols.points import site_points
from storage.models import pump_plans, pump_safety_limits, pumps


def test_the_site_has_as_many_pumps_as_asked_and_every_point_a_place() -> None:
    """OPS-5: ten pumps to a station, the last one what is left; no two points share a place."""
    for count in (1, 10, 25, 200):
        site = site_of(count)
        assert sum(len(station.pumps) for station in site.stations) == count
        assert site_points(site)


def test_missed_periods_are_those_without_a_newly_accepted_setpoint() -> None:
    """OPS-5: heartbeats wrap at 16 bits; more heartbeats than periods are no negative miss."""

    def pump(pump_id: str, heartbeat: int) -> SimpleNamespace:
        return SimpleNamespace(pump_id=pump_id, heartbeat=heartbeat)

    before = [pump("a", 10), pump("b", 65_530), pump("c", 5)]
    after = [pump("a", 108), pump("b", 94), pump("c", 106), pump("new", 1)]
    assert missed_of(before, after, periods=100) == [2, 0, 0]
    assert missed_of(before, [pump("a", 108), pump("b", 65_529)], periods=100) == [2, 100, 100], (
        "leapt, and gone"
    )


def test_the_database_holds_every_pump_with_limits_and_a_plan(tmp_path: Path) -> None:
    """OPS-5: written as an engineer and an optimiser would; the schema's own checks accept it."""
    seed(tmp_path, site_of(12), now=datetime(2026, 11, 1, tzinfo=UTC))
    engine = create_engine(f"sqlite:///{tmp_path / 'calejo.db'}")
    with engine.connect() as connection:
        for table in (pumps, pump_safety_limits, pump_plans):
            assert connection.scalar(select(func.count()).select_from(table)) == 12
    engine.dispose()


def test_all_of_it_is_shown() -> None:
    """OPS-5: periods missed, processor and memory by role, as they are."""
    role = RoleCost(
        what="pump", processes=200, private_begin_mib=17.2, private_end_mib=18.4, processor_percent=0.64
    )
    many = Many(
        pumps=200, seconds=600, forked=True, ready_s=70, settled_s=3, processes=246, cores_used=1.61,
        expected=120_000, missed=600, worst_pump_missed=12, enabled_at_the_end=200, lapses=0,
        proposal_to_wire=None, roles=(role,),
    )  # fmt: skip
    text = shown(many)
    for figure in (
        "200 pumps",
        "forked",
        "1.61",
        "600 of 120000 (0.50 %)",
        "worst pump 12",
        "17.2",
        "18.4",
        "0.64",
    ):
        assert figure in text
