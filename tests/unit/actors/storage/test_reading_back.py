"""What the storage actor reads back: goal: both copies of the stops become one, and open alarms find their way home."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from actors.messages import (
    AlarmAsserted,
    GetStops,
    KnownStops,
    OpenAlarmsRead,
    OpenFailsafesRead,
    ReadOpenAlarms,
    ReadOpenFailsafes,
    StoreRecords,
    Tick,
)
from actors.start import WorkerStart
from actors.storage import joining
from actors.storage.actor import StorageActor
from actors.vocabulary import DeviceError, Role, Scope, Settings, Severity
from actors.vocabulary.ids import ALARM, STORAGE, watchdog_address
from actors.vocabulary.records import AlarmRecord, AuditRecord, FailsafeRecord, Record, StopEventRecord
from storage.latches import LatchFolder
from storage.spool import SpoolFile
from tests.unit.actors.storage.ports import START, FakePorts

NOON = START.utc
LONG_AGO = NOON - joining.KEPT_FOR - timedelta(days=1)


def stop(stop_id: str, *, at: datetime = NOON) -> StopEventRecord:
    return StopEventRecord(
        record_id=stop_id, scope=Scope.PUMP, scope_id="p1", reason="t", set_by="anna", set_at=at, set_stamp=1
    )


def cleared(record: StopEventRecord, *, release: int = 5, at: datetime = NOON) -> StopEventRecord:
    return msgspec.structs.replace(
        record, cleared_by="bert", cleared_at=at, clear_reason="ok", release=release
    )


class FakeDatabase:
    """The writer and the reader of one database in memory."""

    def __init__(self) -> None:
        self.away = False
        self.looks = 0
        self.rows: dict[str, StopEventRecord] = {}
        self.alarms: dict[str, AlarmRecord] = {}
        self.failsafes: dict[str, FailsafeRecord] = {}
        self.audits: dict[str, AuditRecord] = {}

    async def write(self, records: Sequence[tuple[int, Record]]) -> dict[int, str]:
        self._answer()
        for _, record in records:
            if isinstance(record, StopEventRecord):
                self.rows[record.record_id] = record
            elif isinstance(record, AlarmRecord):
                self.alarms[record.record_id] = record
            elif isinstance(record, FailsafeRecord):
                self.failsafes[record.record_id] = record
            elif isinstance(record, AuditRecord):
                self.audits.setdefault(record.record_id, record)
        return {}

    async def stops(self, *, also: Collection[str] = ()) -> Sequence[StopEventRecord]:
        self._answer()
        self.looks += 1
        return tuple(self.rows.values())

    async def open_alarms(self) -> Sequence[AlarmRecord]:
        self._answer()
        return tuple(record for record in self.alarms.values() if record.returned_at is None)

    async def open_failsafes(self) -> Sequence[FailsafeRecord]:
        self._answer()
        return tuple(record for record in self.failsafes.values() if record.ended_at is None)

    def _answer(self) -> None:
        if self.away:
            raise DeviceError("no route")


class Scene:
    def __init__(self, folder: Path) -> None:
        self.ports = FakePorts(STORAGE)
        self.database = FakeDatabase()
        self.latches = LatchFolder(folder / "latches", utc_second=lambda: 1_800_000_000)
        spool = SpoolFile(folder / "spool", bytes_max=1_000_000, utc_second=lambda: 1_800_000_000)
        start = WorkerStart(role=Role.STORAGE, address=STORAGE, settings=Settings(data_dir=str(folder)))
        self.spool = spool
        self.actor = StorageActor(self.ports, start, spool, self.database, self.database, self.latches)

    async def known(self, *held: str) -> KnownStops:
        answer = await self.actor.handle(GetStops(held=held))
        assert isinstance(answer, KnownStops)
        return answer

    async def looks(self, count: int) -> None:
        wanted = self.database.looks + count
        await self.ports.tasks.settle(lambda: self.database.looks >= wanted)

    def held(self) -> dict[str, str | None]:
        return {record.record_id: record.cleared_by for record in self.latches.load()}


def run(folder: Path, story: Any, prepare: Any = lambda _: None) -> None:
    async def inside() -> None:
        scene = Scene(folder)
        prepare(scene)
        await scene.actor.start()
        try:
            await story(scene)
        finally:
            await scene.ports.tasks.end()
            scene.spool.close()

    asyncio.run(inside())


def test_the_databases_stops_come_into_the_folder_at_the_start(tmp_path: Path) -> None:
    """EST-2: a lost or fresh folder gets them and only then counts as whole; a clear made elsewhere comes, too."""

    def prepare(scene: Scene) -> None:
        scene.latches.merge([stop("both")])
        scene.database.rows = {"both": cleared(stop("both")), "there": stop("there")}

    async def story(scene: Scene) -> None:
        assert scene.latches.is_new()
        assert await scene.known() == KnownStops(stops=(), database_answered=False)
        await scene.ports.tasks.settle(lambda: not scene.latches.is_new())
        assert scene.held() == {"both": "bert", "there": None}
        answer = await scene.known()
        assert answer.database_answered
        assert [record.record_id for record in answer.stops] == ["both", "there"]

    run(tmp_path, story, prepare)


def test_they_come_after_the_database_was_away_as_well(tmp_path: Path) -> None:
    """EST-2, DAT-3: tried until it answers; meanwhile the folder is not called whole, and people are told."""

    def prepare(scene: Scene) -> None:
        scene.database.away = True

    async def story(scene: Scene) -> None:
        async def alarmed() -> bool:
            told = scene.ports.directory.ref(ALARM).told
            told.clear()
            await scene.actor.handle(Tick(what="alarms"))
            return any(
                isinstance(news, AlarmAsserted) and news.condition == "stops_not_joined" for news in told
            )

        began = scene.ports.clock.now()
        await scene.ports.tasks.settle(lambda: scene.ports.clock.now().seconds_since(began) > 120.0)
        assert scene.latches.is_new()
        assert not (await scene.known()).database_answered
        assert await alarmed()
        scene.database.rows = {"there": stop("there")}
        scene.database.away = False
        await scene.ports.tasks.settle(lambda: not scene.latches.is_new())
        assert scene.held() == {"there": None}
        assert not await alarmed()

    run(tmp_path, story, prepare)


def test_a_stop_that_only_files_know_gets_to_the_database_with_its_audit(tmp_path: Path) -> None:
    """EST-2, EST-5: set and cleared by the command line while nothing ran."""

    def prepare(scene: Scene) -> None:
        scene.latches.merge([cleared(stop("a")), stop("b")])

    async def story(scene: Scene) -> None:
        await scene.ports.tasks.settle(lambda: len(scene.database.rows) == 2)
        await scene.ports.tasks.settle(lambda: len(scene.database.audits) == 3)
        assert scene.database.rows["a"].cleared_by == "bert"
        assert scene.database.rows["b"].cleared_by is None
        assert {key: audit.event_type for key, audit in scene.database.audits.items()} == {
            "a:set": "EMERGENCY_STOP_SET",
            "a:cleared": "EMERGENCY_STOP_CLEARED",
            "b:set": "EMERGENCY_STOP_SET",
        }
        await scene.looks(3)
        assert scene.spool.size()[0] == 0

    run(tmp_path, story, prepare)


def test_what_is_on_its_way_already_keeps_its_own_audit(tmp_path: Path) -> None:
    """EST-5: who set it and from where is known to the endpoint; the folder does not push in first."""

    async def story(scene: Scene) -> None:
        await scene.looks(2)
        scene.latches.merge([stop("a")])
        await scene.looks(1)
        told = AuditRecord(
            record_id="a:set",
            at=NOON,
            event_type="EMERGENCY_STOP_SET",
            actor="anna",
            source_address="10.0.0.9:1024",
            object_id="pump:p1",
            outcome="success",
            severity=Severity.CRITICAL,
        )
        await scene.actor.handle(StoreRecords(records=(stop("a"), told)))
        await scene.looks(4)
        assert scene.database.audits["a:set"].source_address == "10.0.0.9:1024"

    run(tmp_path, story)


def test_old_clears_leave_the_folder_and_stay_in_the_database(tmp_path: Path) -> None:
    """EST-2: the folder is bounded; who still holds such a stop uncleared is told of its clear."""
    rows = [cleared(stop(f"s{n}", at=LONG_AGO), release=n, at=LONG_AGO) for n in range(1, 30)]

    def prepare(scene: Scene) -> None:
        scene.latches.merge(rows)
        scene.latches.mark_joined()
        scene.database.rows = {record.record_id: record for record in rows}

    async def story(scene: Scene) -> None:
        await scene.ports.tasks.settle(lambda: len(scene.held()) < len(rows))
        assert scene.held() == {"s29": "bert"}
        await scene.looks(2)
        assert scene.held() == {"s29": "bert"}
        answer = await scene.known("s3")
        assert {record.record_id: record.cleared_by for record in answer.stops} == {
            "s29": "bert",
            "s3": "bert",
        }

    run(tmp_path, story, prepare)


def alarm(record_id: str) -> AlarmRecord:
    return AlarmRecord(
        record_id=record_id,
        condition="c",
        subject=record_id,
        severity=Severity.HIGH,
        text="t",
        raised_at=datetime(2026, 6, 1, tzinfo=UTC),
    )


def test_open_alarms_are_told_once_what_was_stored_before_is_in_the_database(tmp_path: Path) -> None:
    """ALM-1: also what the former alarm actor gave us last, and also after the database was away."""

    async def story(scene: Scene) -> None:
        scene.database.away = True
        await scene.actor.handle(StoreRecords(records=(alarm("a"), alarm("b"))))
        ended = msgspec.structs.replace(alarm("b"), returned_at=NOON)
        await scene.actor.handle(StoreRecords(records=(ended,)))
        await scene.actor.handle(ReadOpenAlarms())
        told = scene.ports.directory.ref(ALARM).told
        began = scene.ports.clock.now()
        await scene.ports.tasks.settle(lambda: scene.ports.clock.now().seconds_since(began) > 60.0)
        assert not [news for news in told if isinstance(news, OpenAlarmsRead)]
        scene.database.away = False
        await scene.ports.tasks.settle(lambda: any(isinstance(news, OpenAlarmsRead) for news in told))
        await scene.looks(2)
        assert [news for news in told if isinstance(news, OpenAlarmsRead)] == [
            OpenAlarmsRead(records=(alarm("a"),))
        ]

    run(tmp_path, story)


def test_open_failsafes_are_told_to_each_watchdog_that_asked(tmp_path: Path) -> None:
    """WDG-2: what a former watchdog began, once the spool is empty and the database answers."""
    begun = FailsafeRecord(
        record_id="f", scope=Scope.PUMP, scope_id="p", reason="LEASE_EXPIRED", started_at=NOON, detail=""
    )
    over = msgspec.structs.replace(begun, record_id="g", ended_at=NOON)

    async def story(scene: Scene) -> None:
        scene.database.away = True
        await scene.actor.handle(StoreRecords(records=(begun, over)))
        for site_id in ("north", "south"):
            await scene.actor.handle(ReadOpenFailsafes(site_id=site_id))
        watchdogs = [scene.ports.directory.ref(watchdog_address(each)) for each in ("north", "south")]
        began = scene.ports.clock.now()
        await scene.ports.tasks.settle(lambda: scene.ports.clock.now().seconds_since(began) > 60.0)
        assert not any(watchdog.told for watchdog in watchdogs)
        scene.database.away = False
        await scene.ports.tasks.settle(lambda: all(watchdog.told for watchdog in watchdogs))
        await scene.looks(2)
        assert [watchdog.told for watchdog in watchdogs] == [[OpenFailsafesRead(records=(begun,))]] * 2

    run(tmp_path, story)
