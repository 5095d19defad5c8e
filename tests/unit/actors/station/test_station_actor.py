"""The station actor on the bench: what it merges, forwards, records and answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from actors.messages import (
    AlarmAsserted,
    AlarmReturned,
    Configure,
    FeedbackReceived,
    GetStation,
    PumpFeedback,
    Sample,
    Stored,
    StoreRecords,
)
from actors.station.actor import StationActor
from actors.vocabulary import DeviceError, Quality, Role, SiteConfig
from actors.vocabulary.records import FeedbackRow
from tests.unit.actors.pump.bench import Bench, station_of, worker_start
from tests.unit.actors.pump.parts import at, instant, pump

STATION = station_of(pump(), pump(pump_id="p-2", wire_slot=1))


class FakeFeedback:
    """Foreign rows of a database that can be away or hang."""

    def __init__(self) -> None:
        self.rows: list[FeedbackRow] = []
        self.away = False
        self.hanging = False
        self.reads = 0

    async def foreign_feedback(self, station_id: str, *, since: datetime) -> Sequence[FeedbackRow]:
        self.reads += 1
        if self.hanging:
            await asyncio.Event().wait()
        if self.away:
            raise DeviceError("connection refused")
        newest = {
            row.pump_id: row for row in self.rows if row.measured_at.tzinfo is None or row.measured_at > since
        }
        return list(newest.values())


def foreign(record_id: str, measured_s: float, **values: Any) -> FeedbackRow:
    told: dict[str, Any] = {"pump_id": "p-1", "source": "scada", "quality": "GOOD", **values}
    return FeedbackRow(record_id=record_id, measured_at=at(measured_s), **told)


def written(t_s: float, pump_id: str = "p-1", source: str = "modbus", **points: float) -> FeedbackReceived:
    samples = {point: Sample(value, instant(t_s), source) for point, value in points.items()}
    return FeedbackReceived(
        station_id="st-1", source=source, pumps=(PumpFeedback(pump_id=pump_id, **samples),)
    )


def play(story: Callable[[Bench, FakeFeedback], Awaitable[None]]) -> None:
    async def run() -> None:
        bench, feedback = Bench(), FakeFeedback()
        bench.answers["/storage"] = lambda message: Stored(count=len(message.records))
        try:
            await bench.run(StationActor(bench, worker_start(Role.STATION, STATION), feedback))
            await story(bench, feedback)
        finally:
            bench.close()

    asyncio.run(run())


def recorded(bench: Bench) -> list[FeedbackRow]:
    """Return each row that was handed over, once."""
    rows = {row.record_id: row for message in bench.heard(StoreRecords) for row in message.records}
    return list(rows.values())


def test_what_controllers_write_is_merged_and_shown() -> None:
    """CTL-4: the newest sample of each point, judged; a point never written is BAD, not 0."""

    async def story(bench: Bench, feedback: FakeFeedback) -> None:
        await bench.until(10.0)
        await bench.give(written(9.0, wet_well_level_m=1.5, running=1.0))
        await bench.give(written(9.5, source="opcua", wet_well_level_m=1.6))
        await bench.give(written(8.0, wet_well_level_m=9.9))
        status = await bench.give(GetStation())
        assert (status.level.value, status.level.quality) == (1.6, Quality.GOOD)
        assert status.running == {"p-1": True, "p-2": None}
        assert status.feedback["p-2"]["actual_speed_hz"].quality is Quality.BAD
        assert status.feedback["p-2"]["actual_speed_hz"].value is None
        assert set(status.feedback_sources) == {"modbus", "opcua"}

    play(story)


def test_foreign_rows_count_as_written_and_are_forwarded_to_all() -> None:
    """CTL-4: rows measured after our start reach safety, pumps and endpoints within about a second, once."""

    async def story(bench: Bench, feedback: FakeFeedback) -> None:
        await bench.until(5.0)
        feedback.rows.append(foreign("r-1", 4.5, actual_speed_hz=30.0, running=True))
        await bench.until(9.0)
        base = "/sites/north/stations/st-1"
        told = [
            (address, message) for _, address, message in bench.told if isinstance(message, FeedbackReceived)
        ]
        assert sorted(address for address, _ in told) == sorted(
            [
                f"{base}/safety",
                f"{base}/pumps/p-1",
                f"{base}/pumps/p-2",
                "/sites/north/endpoints/opcua",
                "/sites/north/endpoints/modbus",
            ]
        )
        (held,) = told[0][1].pumps
        assert held.actual_speed_hz == Sample(30.0, instant(4.5), "database")
        assert held.running == Sample(1.0, instant(4.5), "database")
        assert held.wet_well_level_m is None
        assert recorded(bench) == [], "what came from the table is not written to it again"

    play(story)


def test_foreign_rows_that_cannot_be_trusted_are_left_alone() -> None:
    """CTL-4: measured before our start, of another quality, from the future, not a number, or without a zone."""

    async def story(bench: Bench, feedback: FakeFeedback) -> None:
        await bench.until(5.0)
        for number, row in enumerate(
            [
                foreign("r-1", -1.0, actual_speed_hz=30.0),
                foreign("r-2", 4.5, actual_speed_hz=30.0, quality="UNCERTAIN"),
                foreign("r-3", 60.0, actual_speed_hz=30.0),
                foreign("r-4", 4.5, actual_speed_hz=30.0, pump_id="p-9"),
                FeedbackRow(
                    record_id="r-5",
                    pump_id="p-1",
                    measured_at=datetime(2026, 11, 1),  # noqa: DTZ001 (the point of the test)
                    source="scada",
                    quality="GOOD",
                ),
            ]
        ):
            feedback.rows = [row]
            await bench.until(6.0 + number)
        assert bench.heard(FeedbackReceived) == []
        feedback.rows = [foreign("r-6", 10.0, actual_speed_hz=math.inf, wet_well_level_m=1.5)]
        await bench.until(12.0)
        (held,) = bench.heard(FeedbackReceived, to="/safety")[-1].pumps
        assert (held.actual_speed_hz, held.wet_well_level_m.value) == (None, 1.5)

    play(story)


def test_recording_as_a_timeline() -> None:
    """CTL-4: a row on change, at most one a second and pump; one a minute while samples arrive; none in silence."""

    async def story(bench: Bench, feedback: FakeFeedback) -> None:
        for tenth in range(50):  # 5 s of a level that changes ten times a second
            await bench.until(tenth / 10)
            await bench.give(written(tenth / 10, wet_well_level_m=1.0 + tenth / 100))
        await bench.until(6.0)
        assert 5 <= len(recorded(bench)) <= 6
        assert recorded(bench)[-1].wet_well_level_m == 1.49
        before = len(recorded(bench))
        for second in range(6, 186):  # three minutes of a value that is written but stands still
            await bench.until(float(second))
            await bench.give(written(float(second), wet_well_level_m=1.49))
        assert 2 <= len(recorded(bench)) - before <= 3
        before = len(recorded(bench))
        await bench.until(600.0)  # silence
        assert len(recorded(bench)) - before <= 1
        assert bench.heard(StoreRecords, since_s=300.0) == []
        row = recorded(bench)[0]
        assert (row.source, row.pump_id, row.quality) == ("calejo:modbus", "p-1", "GOOD")
        assert row.running is None

    play(story)


def test_recording_is_bounded_while_storage_is_away() -> None:
    """DAT-3: an hour without storage costs no memory without end, and blocks nothing."""

    async def story(bench: Bench, feedback: FakeFeedback) -> None:
        del bench.answers["/storage"]
        for second in range(3600):
            await bench.until(float(second))
            await bench.give(written(float(second), wet_well_level_m=1.0 + second / 10_000))
        assert max(len(message.records) for message in bench.heard(StoreRecords)) < 5_000
        assert (await bench.give(GetStation())).level.quality is Quality.GOOD

    play(story)


def test_a_database_that_is_away_or_hangs_keeps_nobody_waiting() -> None:
    """DAT-3: an alarm, one read at a time, and it returns by itself."""

    async def story(bench: Bench, feedback: FakeFeedback) -> None:
        feedback.away = True
        await bench.until(5.0)
        assert {alarm.condition for alarm in bench.heard(AlarmAsserted)} == {"feedback_database_unreachable"}
        feedback.away, feedback.hanging = False, True
        await bench.until(15.0)
        reads = feedback.reads
        await bench.until(18.0)
        assert feedback.reads - reads <= 1
        assert (await bench.give(GetStation())).level.quality is Quality.BAD
        feedback.hanging = False
        await bench.until(40.0)
        assert {alarm.condition for alarm in bench.heard(AlarmReturned)} == {"feedback_database_unreachable"}

    play(story)


def test_levels_that_disagree_are_alarmed() -> None:
    """CTL-4: two transmitters of one well that differ are somebody's work."""

    async def story(bench: Bench, feedback: FakeFeedback) -> None:
        await bench.until(1.0)
        await bench.give(written(1.0, wet_well_level_m=1.5))
        await bench.give(written(0.9, "p-2", wet_well_level_m=2.5))
        await bench.until(3.0)
        (alarm,) = bench.heard(AlarmAsserted)
        assert alarm.condition == "levels_disagree"
        assert alarm.text == "st-1: controllers disagree: p-1 1.500 m, p-2 2.500 m"

    play(story)


def test_a_pump_that_is_gone_is_forgotten() -> None:
    """DAT-4: Configure takes its feedback away with it."""

    async def story(bench: Bench, feedback: FakeFeedback) -> None:
        await bench.until(1.0)
        await bench.give(written(1.0, "p-2", wet_well_level_m=1.5))
        left = SiteConfig(site_id="north", name="North", timezone="UTC", stations=(station_of(pump()),))
        await bench.give(Configure(site=left))
        status = await bench.give(GetStation())
        assert set(status.feedback) == {"p-1"}
        assert status.level.value is None

    play(story)
