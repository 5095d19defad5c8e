"""The plan actor on the bench: what pumps, watchdog, alarms and records hear, with a database that comes and goes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import pytest

from actors.messages import (
    AlarmAsserted,
    AlarmReturned,
    Configure,
    GetPlanIntervals,
    GetPlanStatus,
    PlanIntervals,
    PlanStatus,
    Stored,
    StoreRecords,
)
from actors.plan.actor import ROWS_MAX, PlanActor
from actors.vocabulary import ControlType, DeviceError, Role, SiteConfig, UnknownSubjectError
from actors.vocabulary.records import OptimiserStatus, PlanRefusalRecord, PlanRow
from tests.unit.actors.plan.plans import at, plan
from tests.unit.actors.pump.bench import Bench, station_of, worker_start
from tests.unit.actors.pump.parts import pump

STATION = station_of(pump(), pump(ControlType.LEVEL_CONTROLLED, pump_id="p-2", wire_slot=1))


class FakePlans:
    """A database of plans that can be away, hang, notify, and be asked what it was asked."""

    def __init__(self, *rows: PlanRow) -> None:
        self.rows = list(rows)
        self.optimiser: OptimiserStatus | None = None
        self.away = False
        self.hanging = False
        self.changed = asyncio.Event()
        self.windows: list[tuple[datetime, datetime]] = []

    async def plans(self, station_id: str, *, start: datetime, end: datetime) -> Sequence[PlanRow]:
        self.windows.append((start, end))
        if self.hanging:
            await asyncio.Event().wait()
        if self.away:
            raise DeviceError("connection refused")
        found = [row for row in self.rows if row.interval_start < end and row.interval_end > start]
        return sorted(found, key=lambda row: row.interval_start)[:ROWS_MAX]

    async def optimiser_status(self, station_id: str) -> OptimiserStatus | None:
        return self.optimiser

    async def wait_for_change(self, *, at_most_s: float) -> bool:
        await self.changed.wait()
        self.changed.clear()
        return True


def played(story: Callable[[Bench, FakePlans], Awaitable[None]], *rows: PlanRow) -> None:
    async def run() -> None:
        bench, plans = Bench(), FakePlans(*rows)
        bench.answers["/storage"] = lambda message: Stored(count=len(message.records))
        actor = PlanActor(bench, worker_start(Role.PLAN, STATION), plans)
        try:
            await bench.run(actor)
            await story(bench, plans)
        finally:
            bench.close()

    asyncio.run(run())


def last(bench: Bench, pump_id: str = "p-1") -> PlanIntervals:
    found = bench.heard(PlanIntervals, to=f"/sites/north/stations/st-1/pumps/{pump_id}")
    assert found, "the pump was told nothing"
    news: PlanIntervals = found[-1]
    return news


def ids(news: PlanIntervals) -> tuple[int | None, int | None]:
    return (
        None if news.current is None else news.current.plan_id,
        None if news.following is None else news.following.plan_id,
    )


def test_a_new_row_reaches_its_pump_within_a_poll() -> None:
    """CTL-1: polled every 5 s; each pump is handed its current and next interval."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        assert ids(last(bench)) == (1, 2)
        assert ids(last(bench, "p-2")) == (None, None)
        plans.rows.append(plan(3, 0, 600, plan_version=2, suggested_speed_hz=40.0))
        await bench.until(5.0)
        assert ids(last(bench)) == (3, None)

    played(story, plan(1, 0, 100), plan(2, 100, 200))


def test_a_notification_wakes_it_at_once() -> None:
    """CTL-1: on PostgreSQL it does not wait for the next poll."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        await bench.until(1.0)
        plans.rows.append(plan(3, 0, 600, plan_version=2))
        plans.changed.set()
        await bench.until(1.0)
        assert ids(last(bench)) == (3, None)

    played(story, plan(1, 0, 100))


def test_the_pump_is_told_exactly_when_its_interval_changes() -> None:
    """CTL-1: not at the next poll but at the boundary, also when the database is away by then."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        await bench.until(2.0)
        plans.away = True
        await bench.until(11.3)
        assert ids(last(bench)) == (1, 2)
        await bench.until(11.4)
        assert ids(last(bench)) == (2, None)
        assert last(bench).sent_at.utc == at(11.4)
        await bench.until(20.0)
        assert ids(last(bench)) == (None, None)

    played(story, plan(1, 0, 11.4), plan(2, 11.4, 20))


def test_a_refused_plan_is_recorded_once_and_the_good_one_stays() -> None:
    """CTL-1: 60 Hz is refused with its reason, once however often it is read; it alarms until it is over."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        plans.rows.append(plan(2, 0, 50, plan_version=2, suggested_speed_hz=60.0))
        await bench.until(30.0)
        assert ids(last(bench)) == (1, None)
        records = [
            record
            for message in bench.heard(StoreRecords)
            for record in message.records
            if isinstance(record, PlanRefusalRecord)
        ]
        assert {record.plan_id for record in records} == {2}
        assert len({record.record_id for record in records}) == 1
        assert records[0].reason == "suggested_speed_hz is neither 0 nor inside 25..45 Hz"
        status = await bench.give(GetPlanStatus())
        assert status.refused_total == 1
        assert "plan 2: suggested_speed_hz" in status.last_refusals["p-1"]
        asserted = [alarm for alarm in bench.heard(AlarmAsserted) if alarm.condition == "plan_refused"]
        assert [alarm.subject for alarm in asserted] == ["p-1"] * len(asserted)
        assert 2 <= len(asserted) <= 4
        await bench.until(60.0)
        assert [alarm.condition for alarm in bench.heard(AlarmReturned)] == ["plan_refused"]

    played(story, plan(1, 0, 1000))


def test_without_its_database_it_answers_alarms_and_comes_back() -> None:
    """CTL-1, DAT-3: known plans go on, silence is told every 5 s, the alarm is asserted again, and returns."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        plans.optimiser = OptimiserStatus(station_id="st-1", heartbeat_at=at(-3))
        await bench.until(5.0)
        plans.away = True
        await bench.until(65.0)
        answer = await bench.give(GetPlanIntervals(pump_id="p-1"))
        assert ids(answer) == (1, None)
        assert answer.database_answered_at.utc == at(5)
        assert answer.optimiser_heartbeat_age_s == 8.0, "the database's silence is not the optimiser's"
        told_s = [t_s for t_s, _, message in bench.told if isinstance(message, PlanStatus)]
        assert all(later - earlier <= 5.0 for earlier, later in itertools.pairwise(told_s))
        assert bench.heard(PlanStatus)[-1].database_answered_at.utc == at(5)
        asserted_s = [
            t_s
            for t_s, _, message in bench.told
            if isinstance(message, AlarmAsserted) and message.condition == "plan_database_unreachable"
        ]
        assert 5.0 <= asserted_s[0] <= 12.0
        assert all(later - earlier <= 15.0 for earlier, later in itertools.pairwise(asserted_s))
        plans.away = False
        await bench.until(72.0)
        assert "plan_database_unreachable" in {alarm.condition for alarm in bench.heard(AlarmReturned)}
        assert last(bench).database_answered_at is not None
        assert bench.heard(PlanStatus)[-1].database_answered_at.utc >= at(70)

    played(story, plan(1, 0, 1000))


def test_a_read_that_hangs_keeps_nobody_waiting() -> None:
    """CTL-1, DAT-3: answers come while a read hangs; it is given up in time and another one succeeds."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        plans.hanging = True
        await bench.until(10.0)
        assert ids(await bench.give(GetPlanIntervals(pump_id="p-1"))) == (1, None)
        reads = len(plans.windows)
        await bench.until(22.0)
        assert len(plans.windows) - reads <= 1, "one read at a time"
        plans.hanging = False
        await bench.until(50.0)
        assert bench.heard(PlanStatus)[-1].database_answered_at.utc >= at(25)

    played(story, plan(1, 0, 1000))


def test_until_the_first_answer_it_claims_no_plan() -> None:
    """SUP-8: restarted without a database it tells pumps nothing that could take their plan away."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        assert bench.heard(PlanIntervals) == []
        answer = await bench.give(GetPlanIntervals(pump_id="p-1"))
        assert answer.database_answered_at is None

    async def run() -> None:
        bench, plans = Bench(), FakePlans()
        plans.away = True
        try:
            await bench.run(PlanActor(bench, worker_start(Role.PLAN, STATION), plans))
            await story(bench, plans)
        finally:
            bench.close()

    asyncio.run(run())


def test_more_rows_than_a_read_returns_do_not_hide_the_present() -> None:
    """CTL-1: reads come oldest first and are bounded; the window narrows until the present is inside."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        assert ids(last(bench)) == (20_000, None)
        assert len(plans.windows) == 2

    old = [plan(number, -80_000 + number, -79_999 + number) for number in range(ROWS_MAX + 1)]
    played(story, *old, plan(20_000, 0, 100))


def test_an_optimisers_heartbeat_from_the_future_is_no_young_one() -> None:
    """WDG-1: a heartbeat an hour ahead must not hide a dead optimiser for an hour and twenty minutes."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        plans.optimiser = OptimiserStatus(station_id="st-1", heartbeat_at=at(3605))
        await bench.until(5.0)
        assert last(bench).optimiser_heartbeat_age_s == 3600.0

    played(story, plan(1, 0, 1000))


def test_a_new_pump_is_judged_and_told_without_another_read() -> None:
    """DAT-4: Configure brings a pump; its rows were read already. A pump that is not ours is refused."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        with pytest.raises(UnknownSubjectError, match="'p-9'"):
            await bench.give(GetPlanIntervals(pump_id="p-9"))
        added = msgspec.structs.replace(STATION, pumps=(*STATION.pumps, pump(pump_id="p-9", wire_slot=2)))
        site = SiteConfig(site_id="north", name="North", timezone="UTC", stations=(added,))
        reads = len(plans.windows)
        await bench.give(Configure(site=site))
        assert ids(last(bench, "p-9")) == (4, None)
        assert len(plans.windows) == reads
        status: Any = await bench.give(GetPlanStatus())
        assert status.covered == {"p-1": True, "p-2": False, "p-9": True}

    played(story, plan(1, 0, 1000), plan(4, 0, 1000, pump_id="p-9"))
