"""A gate and the stops of the database: goal: a lost latch folder frees no pump, a present one waits for nobody."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from actors.messages import AlarmAsserted, GetStops, KnownStops, StopsChanged
from actors.vocabulary import UnavailableError
from actors.vocabulary.ids import ALARM, STORAGE, station_part_address
from actors.vocabulary.records import StopEventRecord
from tests.simulation.fakes import FakeLatchStore
from tests.unit.actors.publisher.test_actor import Bench, play, stop_record

STAMP = 1_800_000_000
SAFETY = str(station_part_address("north", "s1", "safety"))


class JoinedLatches(FakeLatchStore):
    """A fake folder that knows whether it was ever marked as joined."""

    def __init__(self, *, new: bool = True) -> None:
        super().__init__(stamp=STAMP)
        self.new = new

    def is_new(self) -> bool:
        return self.new

    def mark_joined(self) -> None:
        self._refuse()
        self.new = False

    def drop(self, record_ids: Collection[str]) -> None:
        raise AssertionError("no gate forgets anything")


class Database:
    """What storage answers; `stops` None: it has not read the database yet."""

    def __init__(self) -> None:
        self.stops: tuple[StopEventRecord, ...] | None = None
        self.asked: list[GetStops] = []
        self.away = False

    def __call__(self, message: object) -> object:
        assert isinstance(message, GetStops)
        self.asked.append(message)
        if self.away:
            raise UnavailableError("storage: no such actor")
        return KnownStops(stops=self.stops or (), database_answered=self.stops is not None)


async def begun(bench: Bench, *, new: bool = True) -> tuple[JoinedLatches, Database]:
    bench.latches = latches = JoinedLatches(new=new)
    await bench.start()
    bench.ports.answers[str(STORAGE)] = database = Database()
    return latches, database


def alarms(bench: Bench) -> list[str]:
    return [news.condition for news in bench.ports.told_to(str(ALARM), AlarmAsserted)]


async def seconds(bench: Bench, count: float, sequence: int = 0) -> None:
    """Let time pass, with a setpoint each second."""
    for step in range(round(count * 20)):
        if step % 20 == 0:
            await bench.decide(sequence + step // 20 + 1)
        await bench.clock.advance(0.05)


def test_a_gate_without_any_file_claims_nothing_until_the_database_has_answered() -> None:
    """EST-2, EST-6: bound after 3 s, so that stops can be set; no setpoint passes, no retained stop is released."""

    async def story(bench: Bench) -> None:
        latches, database = await begun(bench)
        await seconds(bench, 5)
        assert bench.show("setpoint", "remote_enabled", "release_id") == [0.0, False, 0]
        await bench.tick("status")
        assert "latches_incomplete" in alarms(bench)
        assert latches.is_new()

        database.stops = (stop_record("a", scope_id="p1"),)
        await seconds(bench, 1, 5)
        assert bench.show("run_inhibit", "release_id") == [True, 0]
        assert bench.show("run_inhibit", "release_id", of="/north/s1/p2") == [False, 0]
        assert [stop.record_id for stop in latches.load()] == ["a"]
        assert not latches.is_new()
        assert [
            stop.record_id for told in bench.ports.told_to(SAFETY, StopsChanged) for stop in told.stops
        ] == ["a"]
        await seconds(bench, 1, 6)
        # p1 is stopped, the chain is heard again.
        assert bench.show("setpoint", "remote_enabled") == [0.0, True]

    play(story)


def test_a_fresh_start_with_a_database_loses_no_time() -> None:
    """SAF-9: bound with the first fresh setpoints, as ever."""

    async def story(bench: Bench) -> None:
        latches, database = await begun(bench)
        database.stops = ()
        await bench.clock.advance(0.05)
        assert not latches.is_new()
        await seconds(bench, 2)
        assert bench.show("setpoint", "remote_enabled", "release_id") == [35.0, True, 0]

    play(story)


def test_a_gate_with_files_waits_for_nobody() -> None:
    """EST-2, DAT-3: the database is away, or storage is dead: its own folder is enough."""

    async def story(bench: Bench) -> None:
        _, database = await begun(bench, new=False)
        database.away = True
        await seconds(bench, 2)
        assert bench.show("setpoint", "remote_enabled", "release_id") == [35.0, True, 0]
        assert "latches_incomplete" not in alarms(bench)

    play(story)


def test_a_folder_that_storage_has_joined_is_whole_without_a_word() -> None:
    """EST-2: the folder is what all processes of the machine share."""

    async def story(bench: Bench) -> None:
        latches, _ = await begun(bench)
        await seconds(bench, 1)
        latches.merge([stop_record("a", scope_id="p2")])
        latches.mark_joined()
        await bench.tick("latches")
        await seconds(bench, 2, 1)
        assert bench.show("setpoint", "remote_enabled", "release_id") == [35.0, True, 0]
        assert bench.show("run_inhibit", of="/north/s1/p2") == [True]

    play(story)


def test_what_the_database_learns_later_reaches_the_wire_and_the_disk() -> None:
    """EST-2: a stop, and the clear of one that only we still hold; the ids that we hold are asked for."""

    async def story(bench: Bench) -> None:
        latches, database = await begun(bench, new=False)
        held = stop_record("held", scope_id="p1")
        latches.merge([held])
        await bench.tick("latches")
        assert bench.actor._desk.latches.active() == (held,)
        database.stops = (
            stop_record("there", scope_id="p2"),
            msgspec.structs.replace(
                held, cleared_by="b", cleared_at=held.set_at, clear_reason="ok", release=STAMP + 9
            ),
        )
        await seconds(bench, 22)
        assert database.asked[-1].held == ("there",)
        assert ("held",) in [asked.held for asked in database.asked]
        assert bench.show("run_inhibit", "release_id") == [False, STAMP + 9]
        assert bench.show("run_inhibit", of="/north/s1/p2") == [True]
        assert [(stop.record_id, stop.cleared_by) for stop in latches.load()] == [
            ("held", "b"),
            ("there", None),
        ]

    play(story)


def test_a_refusing_disk_does_not_mark_the_folder_whole() -> None:
    """EST-2, EST-6: the stops hold on the wire; after a restart the database is waited for once more."""

    async def story(bench: Bench) -> None:
        latches, database = await begun(bench)
        latches.refuses = True
        database.stops = (stop_record("a", scope_id="p1"),)
        await seconds(bench, 4)
        assert bench.show("run_inhibit", "release_id") == [True, 0]
        assert bench.show("run_inhibit", "release_id", of="/north/s1/p2") == [False, 0]
        assert latches.is_new()
        latches.refuses = False
        await bench.tick("status")
        await seconds(bench, 11, 4)
        assert not latches.is_new()

    play(story)
