"""What every database must do for Calejo: the same tests run on SQLite and on a real PostgreSQL."""

import asyncio
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import msgspec
import pytest
from alembic import command
from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from actors.vocabulary import (
    Alternation,
    Assist,
    CleanOut,
    DeviceError,
    DutyProfile,
    Exercise,
    Flush,
    Scope,
    Severity,
    SiteConfig,
    StationDuties,
)
from actors.vocabulary.audit_trail import GENESIS, AuditQuery
from actors.vocabulary.records import (
    AlarmRecord,
    AuditRecord,
    DecisionRecord,
    FailsafeRecord,
    FeedbackRow,
    PlanRefusalRecord,
    Record,
    StopEventRecord,
    ViolationRecord,
    WireRecord,
)
from actors.vocabulary.settings import DatabaseSettings
from storage import audit, schema
from storage.audit_reader import AuditBook, TrailVerdict
from storage.engine import Access, Chance, Database, RowRefusedError
from storage.history import History
from storage.models import metadata
from storage.readers import DatabaseFeedbackReader, DatabasePlanReader, DatabaseTopologyReader
from storage.urls import parsed
from storage.writer import DatabaseWriter

T = TypeVar("T")

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Collect the SELECTs of every database while the block runs."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def moment(seconds: float) -> datetime:
    """Return noon plus `seconds`."""
    return NOON + timedelta(seconds=seconds)


class Place(ABC):
    """A database with Calejo's schema, and a foreign client that writes to it past Calejo."""

    admin_url: str
    reader_url: str
    writer_url: str
    refusal: ClassVar[tuple[type[Exception], ...]]

    @abstractmethod
    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement with `?` placeholders as the administrator, committed; return its rows."""

    @abstractmethod
    def empty_url(self) -> str:
        """Return the administrator's URL of a database beside this one that has no schema yet."""

    def database(self, access: Access) -> Database:
        """Open it as Calejo does."""
        url = self.reader_url if access is Access.READ else self.writer_url
        return Database(
            url, access, settings=DatabaseSettings(), chance=Chance(sleep=asyncio.sleep, random=lambda: 0.5)
        )

    def run(self, access: Access, work: Callable[[Database], Awaitable[T]]) -> T:
        """Open, do `work`, close."""

        async def inside() -> T:
            before = set(threading.enumerate())
            database = self.database(access)
            try:
                return await work(database)
            finally:
                await database.close()
                # A connection that could not be made ends its thread by itself, a moment later.
                async with asyncio.timeout(5.0):
                    while any(
                        "_connection_worker" in thread.name for thread in {*threading.enumerate()} - before
                    ):
                        await asyncio.sleep(0.01)

        return asyncio.run(inside())

    def write(self, *records: Record) -> dict[int, str]:
        """Write as the storage actor does."""
        return self.run(
            Access.WRITE, lambda database: DatabaseWriter(database).write(list(enumerate(records)))
        )

    def topology(self) -> tuple[tuple[SiteConfig, ...], dict[tuple[str, str, str], str]]:
        """Read as discovery does; invalid rows by (table, key, column)."""
        sites, invalid = self.run(Access.READ, lambda database: DatabaseTopologyReader(database).read())
        return sites, {(row.table, row.key, row.column): row.reason for row in invalid}

    def seed(self) -> None:
        """One site, one station, two pumps with approved limits."""
        self.execute("INSERT INTO sites (site_id, name) VALUES ('north', 'North')")
        self.execute(
            "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) VALUES ('s1', 'north', 'One', 1)"
        )
        for pump_id in ("p1", "p2"):
            self.pump(pump_id)
            self.envelope(pump_id)
            self.limits(pump_id)

    def pump(self, pump_id: str, **values: object) -> None:
        """Insert a pump."""
        row = {
            "station_id": "s1",
            "name": pump_id,
            "control_type": "DIRECT_SPEED",
            "default_setpoint_hz": 30.0,
            "pump_id": pump_id,
            **values,
        }
        self.insert("pumps", row)

    def envelope(self, pump_id: str, **values: object) -> None:
        """Insert a commissioning envelope."""
        row = {
            "min_speed_hz": 18.0,
            "max_speed_hz": 52.0,
            "commissioned_by": "anna",
            "pump_id": pump_id,
            **values,
        }
        self.insert("pump_commissioning_envelopes", row)

    def limits(self, pump_id: str, **values: object) -> None:
        """Insert approved limits."""
        row: dict[str, object] = {
            "version": 1,
            "hard_min_speed_hz": 20.0,
            "hard_max_speed_hz": 50.0,
            "max_rate_hz_per_s": 2.0,
            "set_by": "anna",
            "approved_by": "bert",
            "pump_id": pump_id,
            **values,
        }
        self.insert("pump_safety_limits", row)

    def insert(self, table: str, row: dict[str, object]) -> None:
        """Insert one row."""
        marks = ", ".join("?" for _ in row)
        self.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())


DUTIES_ROW: dict[str, object] = {
    "station_id": "s1",
    "alternation": "BY_HOURS",
    "duty_order": "P2, p1",
    "alternation_h": 12.0,
    "assist_pumps": 1,
    "assist_reset_m": 1.2,
    "exercise_after_h": 48.0,
    "exercise_run_s": 30.0,
    "exercise_level_m": 1.0,
    "flush_every_h": 24.0,
    "flush_run_s": 120.0,
    "flush_speed_hz": 45.0,
    "flush_flow_m3h": 90.0,
    "flush_level_m": 1.5,
    "clean_out_level_m": 0.25,
    "clean_out_run_s": 300.0,
    "clean_out_speed_hz": 25.0,
    "clean_out_power_kw_min": 2.0,
}
PROFILE_ROW: dict[str, object] = {
    "station_id": "s1",
    "name": "night",
    "starts_at": "22:00",
    "ends_at": "05:30",
    "default_setpoint_hz": 22.0,
    "speed_hz_min": 25.0,
    "speed_hz_max": 35.0,
    "max_pumps_running": 1,
    "duty_order": "p1",
}


def feedback(number: int, **values: Any) -> FeedbackRow:
    """Return a record of our own."""
    whole = {
        "pump_id": "p1",
        "measured_at": moment(number),
        "source": "calejo:modbus",
        "quality": "GOOD",
        **values,
    }
    return FeedbackRow(record_id=f"f{number}", **whole)


def audit_record(number: int, **values: Any) -> AuditRecord:
    """Return an audit record."""
    whole = {
        "at": moment(number + 0.25),
        "event_type": "MODE_SET",
        "actor": "anna",
        "source_address": "127.0.0.1",
        "object_id": "/north/s1/p1",
        "outcome": "done",
        "severity": Severity.LOW,
        "before": {"mode": "AUTO", "hz": 1.1},
        "after": {"mode": "MANUAL", "é": [1, None, True, 0.1]},
        **values,
    }
    return AuditRecord(record_id=f"a{number}", **whole)


def stop(stop_id: str, **values: Any) -> StopEventRecord:
    """Return a stop."""
    whole = {
        "scope": Scope.PUMP,
        "scope_id": "p1",
        "reason": "test",
        "set_by": "anna",
        "set_at": NOON,
        **values,
    }
    return StopEventRecord(record_id=stop_id, **whole)


EVERY_KIND: Sequence[Record] = (
    feedback(1, actual_speed_hz=31.5, running=True, fault_code=0),
    PlanRefusalRecord(record_id="r1", plan_id=7, pump_id="p1", at=NOON, reason="speed", value="60.0"),
    ViolationRecord(
        record_id="v1",
        pump_id="p1",
        at=NOON,
        limit="speed_band",
        proposed=60.0,
        applied=50.0,
        detail="d",
        suppressed=3,
    ),
    DecisionRecord(
        record_id="d1",
        pump_id="p1",
        station_id="s1",
        at=NOON,
        plan_id=7,
        epoch_term=0,
        epoch_counter=4_000_000_000,
        sequence=1,
        limits_version=1,
        setpoint_hz=35.0,
        remote_enabled=True,
        reason="PLAN",
        trail={"steps": [{"rule": "rate", "before_hz": 40.0}], "odd": 0.1},
    ),
    WireRecord(
        record_id="w1",
        pump_id="p1",
        station_id="s1",
        endpoint="modbus",
        at=NOON,
        accepted_at=NOON,
        epoch_term=0,
        epoch_counter=4_000_000_000,
        sequence=1,
        setpoint_hz=35.0,
        remote_enabled=True,
        reason="PLAN",
        detail={"why": "taken", "echo_hz": 35.0, "refused": {"stale": 2}},
    ),
    FailsafeRecord(
        record_id="e1", scope=Scope.PUMP, scope_id="p1", reason="plan", started_at=NOON, detail="begun"
    ),
    stop("00000000-0000-4000-8000-000000000001"),
    AlarmRecord(
        record_id="al1",
        condition="c",
        subject="s",
        severity=Severity.HIGH,
        text="t",
        raised_at=NOON,
        returned_at=None,
    ),
    audit_record(1),
)

TABLES = (
    "pump_feedback",
    "plan_refusals",
    "safety_limit_violations",
    "decisions",
    "wire_records",
    "failsafe_events",
    "emergency_stop_events",
    "alarms",
    "audit_log",
)


class RepositoryContract:
    """Runs on each engine; a subclass brings the fixture `place`."""

    definitions: ClassVar[str]
    """Asks the engine for texts in which every constraint and index that it has is named."""

    # ----------------------------------------------------------------- writing

    def test_every_kind_of_record_is_stored_once(self, place: Place) -> None:
        """DAT-3: what is written twice is there once, each kind in its table."""
        place.seed()
        assert place.write(*EVERY_KIND) == {}
        assert place.write(*EVERY_KIND, *EVERY_KIND) == {}
        assert [place.execute(f"SELECT count(*) FROM {table}") for table in TABLES] == [[(1,)]] * len(TABLES)

    def test_a_row_refused_for_good_is_named_and_the_others_are_written(self, place: Place) -> None:
        """DAT-3: a constraint error is not retried, isolates its row, and costs no other row its place."""
        place.seed()
        good = [feedback(number) for number in range(20)]
        records: list[Record] = [*good[:13], feedback(99, pump_id="nobody"), *good[13:], audit_record(1)]
        refused = place.write(*records)
        assert list(refused) == [13]
        assert "foreign key" in refused[13].lower()
        assert place.execute("SELECT count(*) FROM pump_feedback") == [(20,)]
        assert place.execute("SELECT count(*) FROM audit_log") == [(1,)]

    def test_a_time_without_offset_is_refused_for_good(self, place: Place) -> None:
        """DAT-1: all times are aware; one that is not is nobody's moment."""
        place.seed()
        refused = place.write(feedback(1, measured_at=datetime(2026, 6, 1, 12)), feedback(2))  # noqa: DTZ001
        assert list(refused) == [0]
        assert "offset" in refused[0]

    def test_what_closes_a_record_closes_it_in_any_order(self, place: Place) -> None:
        """DAT-1: the same record_id with an end closes an event; the first end stays, whoever comes first."""
        place.seed()
        opened = FailsafeRecord(
            record_id="e1", scope=Scope.PUMP, scope_id="p1", reason="plan", started_at=NOON, detail="begun"
        )
        closed = msgspec.structs.replace(opened, ended_at=moment(60), detail="ended")
        later = msgspec.structs.replace(opened, ended_at=moment(99), detail="again")
        other = msgspec.structs.replace(closed, record_id="e2")
        place.write(opened, closed, later, other)
        place.write(msgspec.structs.replace(opened, record_id="e2"))
        assert place.execute("SELECT record_id, detail FROM failsafe_events ORDER BY record_id") == [
            ("e1", "ended"),
            ("e2", "ended"),
        ]
        alarm = AlarmRecord(
            record_id="al1", condition="c", subject="s", severity=Severity.HIGH, text="t", raised_at=NOON
        )
        place.write(alarm)
        place.write(msgspec.structs.replace(alarm, returned_at=moment(5)))
        place.write(alarm)
        assert place.execute("SELECT count(*) FROM alarms WHERE returned_at IS NOT NULL") == [(1,)]

    def test_stops_merge_by_union(self, place: Place) -> None:
        """EST-2: a clear, once there, stays; of two clears the smaller release; a bare stop undoes nothing."""
        bare = stop("x", set_stamp=10)
        clear = msgspec.structs.replace(
            bare, cleared_by="bert", cleared_at=moment(9), clear_reason="ok", release=20
        )
        earlier = msgspec.structs.replace(clear, cleared_by="carl", release=15, set_stamp=8)
        for order in ([clear, bare, earlier], [earlier, clear, bare], [bare, earlier, clear]):
            named = [msgspec.structs.replace(record, record_id=str(id(order))) for record in order]
            place.write(*named)
        stops = place.run(Access.WRITE, lambda database: History(database).stops())
        assert {(one.cleared_by, one.release, one.set_stamp) for one in stops} == {("carl", 15, 8)}
        assert len(stops) == 3

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            ("UPDATE emergency_stop_events SET scope = 'PUMP', scope_id = 'p9'", "never changes"),
            ("UPDATE emergency_stop_events SET stop_id = stop_id || 'x'", "never changes"),
            ("UPDATE emergency_stop_events SET set_by = 'nobody'", "never changes"),
            ("UPDATE emergency_stop_events SET set_at = '2026-01-01T00:00:00+00:00'", "never changes"),
            ("UPDATE emergency_stop_events SET reason = ''", "never changes"),
            ("UPDATE emergency_stop_events SET kind = 'out_of_service'", "never changes"),
            ("UPDATE emergency_stop_events SET set_stamp = 11", "never changes"),
            (
                "UPDATE emergency_stop_events SET cleared_by = NULL, cleared_at = NULL WHERE stop_id = 'c'",
                "taken back",
            ),
            ("UPDATE emergency_stop_events SET cleared_by = 'nobody' WHERE stop_id = 'c'", "taken back"),
            (
                "UPDATE emergency_stop_events SET cleared_at = '2026-07-01T00:00:00+00:00' WHERE stop_id = 'c'",
                "taken back",
            ),
            ("UPDATE emergency_stop_events SET clear_reason = 'x' WHERE stop_id = 'c'", "taken back"),
            ("UPDATE emergency_stop_events SET release = 21 WHERE stop_id = 'c'", "taken back"),
            ("UPDATE emergency_stop_events SET release = NULL WHERE stop_id = 'c'", "taken back"),
            ("UPDATE failsafe_events SET ended_at = NULL", "written once"),
            ("UPDATE failsafe_events SET ended_at = '2026-07-01T00:00:00+00:00'", "written once"),
            ("UPDATE failsafe_events SET detail = ''", "written once"),
            ("UPDATE failsafe_events SET scope_id = 'p9'", "never changes"),
            ("UPDATE failsafe_events SET started_at = '2026-01-01T00:00:00+00:00'", "never changes"),
            ("UPDATE alarms SET returned_at = NULL", "written once"),
            ("UPDATE alarms SET text = ''", "never changes"),
            ("UPDATE alarms SET acknowledged_by = 'nobody'", "written once"),
            ("UPDATE alarms SET acknowledged_at = NULL, acknowledged_by = NULL", "written once"),
        ],
    )
    def test_history_is_closed_once_and_never_rewritten(self, place: Place, statement: str, why: str) -> None:
        """DAT-2, EST-2: whoever is asked to: no stop is retargeted, no clear taken back, no end removed."""
        ended = {"ended_at": moment(60)}
        place.write(
            stop("open", set_stamp=10),
            stop("c", set_stamp=10, cleared_by="bert", cleared_at=moment(9), clear_reason="ok", release=20),
            FailsafeRecord(
                record_id="e1", scope=Scope.PUMP, scope_id="p1", reason="r", started_at=NOON, detail="d", **ended
            ),
            AlarmRecord(
                record_id="al1", condition="c", subject="s", severity=Severity.HIGH, text="t", raised_at=NOON,
                returned_at=moment(5), acknowledged_at=moment(6), acknowledged_by="bert", acknowledge_comment="ok",
            ),
        )  # fmt: skip
        tables = ("emergency_stop_events", "failsafe_events", "alarms")
        before = [place.execute(f"SELECT * FROM {table}") for table in tables]
        with pytest.raises(place.refusal, match=why):
            place.execute(statement)
        assert [place.execute(f"SELECT * FROM {table}") for table in tables] == before

    def test_the_stops_that_matter_come_back_however_many_were_cleared(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """EST-2: every uncleared one, the newest cleared ones, and whichever is asked for by its id."""
        monkeypatch.setattr("storage.history.CLEARED_STOPS_MAX", 2)
        monkeypatch.setattr("storage.history._IDS_MAX", 1)
        clear = {"cleared_by": "bert", "cleared_at": moment(99), "clear_reason": "ok", "release": 20}
        for number in range(6):
            record = stop(f"c{number}", set_at=moment(number + 10))
            place.write(msgspec.structs.replace(record, **clear))
        place.write(stop("old", set_at=moment(0)), stop("new", set_at=moment(50)))

        def read(*also: str) -> list[str]:
            stops = place.run(Access.WRITE, lambda database: History(database).stops(also=also))
            return [one.record_id for one in stops]

        assert read() == ["old", "c4", "c5", "new"]
        assert read("c1", "c5", "c0", "unknown") == ["old", "c0", "c1", "c4", "c5", "new"]

    def test_alarms_without_an_end_come_back_newest_first(self, place: Place) -> None:
        """ALM-1: what a former life of the alarm actor left open, as it was written."""
        alarm = next(record for record in EVERY_KIND if isinstance(record, AlarmRecord))
        many = [
            msgspec.structs.replace(alarm, record_id=f"a{n}", raised_at=moment(n), returned_at=None)
            for n in range(4)
        ]
        returned = msgspec.structs.replace(many[2], returned_at=moment(9))
        place.write(*many, returned)
        found = place.run(Access.WRITE, lambda database: History(database).open_alarms())
        # What returned unseen waits for somebody all the same.
        assert found == (many[3], many[1], many[0], returned)

    def test_an_acknowledgement_is_kept_and_the_first_one_counts(self, place: Place) -> None:
        """ALM-1: seen and returned: nobody waits for it; seen and standing: it comes back as seen; in any order."""
        alarm = next(record for record in EVERY_KIND if isinstance(record, AlarmRecord))
        opened = msgspec.structs.replace(alarm, record_id="a", returned_at=None)
        seen = msgspec.structs.replace(
            opened, acknowledged_at=moment(3), acknowledged_by="anna", acknowledge_comment="on my way"
        )
        place.write(seen, opened, msgspec.structs.replace(seen, acknowledged_by="bert"))
        assert place.run(Access.WRITE, lambda database: History(database).open_alarms()) == (seen,)
        place.write(msgspec.structs.replace(opened, returned_at=moment(9)))
        assert place.run(Access.WRITE, lambda database: History(database).open_alarms()) == ()

    def test_failsafes_without_an_end_come_back_newest_first(self, place: Place) -> None:
        """WDG-2: what a former life of a watchdog left open, as it was written."""
        period = next(record for record in EVERY_KIND if isinstance(record, FailsafeRecord))
        many = [
            msgspec.structs.replace(period, record_id=f"f{n}", started_at=moment(n), ended_at=None)
            for n in range(4)
        ]
        place.write(*many, msgspec.structs.replace(many[2], ended_at=moment(9)))
        found = place.run(Access.WRITE, lambda database: History(database).open_failsafes())
        assert found == (many[3], many[1], many[0])

    def test_not_a_number_is_kept_as_text(self, place: Place) -> None:
        """SAF-3: a non-finite proposal is recorded, the same on both engines."""
        place.write(
            ViolationRecord(
                record_id="v",
                pump_id="p1",
                at=NOON,
                limit="l",
                proposed=float("nan"),
                applied=0.0,
                detail="why",
            )
        )
        assert place.execute("SELECT proposed, detail FROM safety_limit_violations") == [
            (None, "proposed nan; why")
        ]

    def test_a_decision_comes_back_as_it_was_at_a_moment(self, place: Place) -> None:
        """SAF-4: the decision in force at a time, with its trail, after any number of later ones."""
        decision = next(record for record in EVERY_KIND if isinstance(record, DecisionRecord))
        place.write(
            *(
                msgspec.structs.replace(decision, record_id=f"d{number}", at=moment(number), sequence=number)
                for number in range(20)
            )
        )
        found = place.run(Access.WRITE, lambda database: History(database).decision("p1", at=moment(7.5)))
        assert found == msgspec.structs.replace(decision, record_id="d7", at=moment(7), sequence=7)

    # ----------------------------------------------------------------- audit

    def test_a_chain_that_has_gone_on_costs_no_record(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """AUD-1, DAT-3: an end of the chain read too early is nobody's fault: the same records, once more."""
        place.write(*(audit_record(number) for number in range(3)))
        tail, looks = audit._tail, 0

        def early() -> Any:
            nonlocal looks
            looks += 1
            return tail().where(text("sequence = 1")) if looks == 1 else tail()

        monkeypatch.setattr(audit, "_tail", early)
        assert place.write(audit_record(7)) == {}
        assert looks == 2
        monkeypatch.setattr(audit, "_tail", lambda: tail().where(text("sequence = 1")))
        with pytest.raises(DeviceError, match="gone on"):
            place.write(audit_record(8))
        verdict = place.run(Access.WRITE, lambda database: History(database).verify_audit())
        assert (verdict.count, verdict.broken_at) == (4, None)

    def test_the_audit_chain_continues_over_writers(self, place: Place) -> None:
        """AUD-1: two writers at once cannot fork the chain, and verify walks it."""

        async def work(one: Database) -> None:
            other = place.database(Access.WRITE)
            try:
                batches = [
                    [(number, audit_record(100 * lane + number)) for number in range(30)] for lane in range(2)
                ]
                await asyncio.gather(
                    *(
                        DatabaseWriter(database).write(batch[start : start + 5])
                        for database, batch in zip((one, other), batches, strict=True)
                        for start in range(0, 30, 5)
                    )
                )
            finally:
                await other.close()

        place.run(Access.WRITE, work)
        verdict = place.run(Access.WRITE, lambda database: History(database).verify_audit())
        assert (verdict.count, verdict.broken_at) == (60, None)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit_log SET actor = 'nobody'",
            "DELETE FROM audit_log",
            "DELETE FROM audit_log WHERE sequence = 3",
            (
                "INSERT INTO audit_log SELECT 9, at, event_type, actor, source_address, object_id, outcome, severity,"
                " before, after, correlation_id, 'new', previous_hash, 'new', clauses, format FROM audit_log"
                " WHERE sequence = 3"
            ),
        ],
    )
    def test_the_database_refuses_to_change_the_audit_log(self, place: Place, statement: str) -> None:
        """AUD-1: UPDATE, DELETE and rows out of line are refused by the database itself, for its owner too."""
        place.write(*(audit_record(number) for number in range(3)))
        with pytest.raises(place.refusal, match="append-only"):
            place.execute(statement)
        assert place.execute("SELECT count(*) FROM audit_log") == [(3,)]

    def test_the_trail_is_searched_alike_on_both_engines(self, place: Place) -> None:
        """AUD-3: filters by each column, whatever case and whatever characters; pages meet."""
        place.write(
            *(audit_record(number) for number in range(6)),
            audit_record(
                6, actor="Ö'Neil", object_id="100%_sure", outcome="refused: no", severity=Severity.HIGH
            ),
        )

        def found(**wanted: Any) -> list[int]:
            query = AuditQuery(**wanted)
            page = place.run(Access.WRITE, lambda database: AuditBook(database).search(query))
            return [record["sequence"] for record in page.records]

        assert found() == [7, 6, 5, 4, 3, 2, 1]
        assert found(limit=2, before=5) == [4, 3]
        assert found(actor="Ö'Neil", severities=("HIGH",)) == [7]
        assert found(actor="ANNA", limit=1) == [6]
        assert found(text="0%_s") == [7]
        assert found(text="0_%s") == []
        assert found(outcome="refused") == [7]
        assert found(event_types=("MODE_SET",), source_address="127.") == [7, 6, 5, 4, 3, 2, 1]
        assert found(since=moment(2), until=moment(4)) == [4, 3]

    def test_the_trail_reads_back_as_it_was_hashed(self, place: Place) -> None:
        """AUD-1: on either engine the same record gives the same line of an export, its time with six digits."""
        place.write(audit_record(1, at=NOON), audit_record(2, actor="é\0x", after={"x": float("nan")}))

        async def work(database: Database) -> list[dict[str, Any]]:
            return [row async for rows in AuditBook(database).pages(page=1) for row in rows]

        one, two = place.run(Access.WRITE, work)
        assert one["at"] == "2026-06-01T12:00:00.000000Z"
        assert (two["actor"], two["after"], two["format"]) == ("é\ufffdx", '{"x":"nan"}', 2)
        assert one["hash"] == "83cc0f67ac91d4ae9c3498d126413f01924ac235262faf7b4dd1d1a40d4415d3"

    # ----------------------------------------------------------------- topology

    def test_the_plant_is_read_whole(self, place: Place) -> None:
        """DAT-4: active stations and pumps with approved limits, ordered by slot, defaults filled."""
        place.seed()
        sites, invalid = place.topology()
        assert invalid == {}
        (station,) = sites[0].stations
        assert [(pump.pump_id, pump.wire_slot) for pump in station.pumps] == [("p1", 0), ("p2", 1)]
        limits = station.pumps[0].limits
        assert limits is not None
        assert (limits.hard_min_speed_hz, limits.approved_by) == (20.0, "bert")
        assert (station.protective_level_age_s, station.timezone) == (5.0, "UTC")
        place.execute("UPDATE pumps SET active = ? WHERE pump_id = 'p2'", False)
        sites, _ = place.topology()
        assert [pump.pump_id for pump in sites[0].stations[0].pumps] == ["p1"]

    def test_ids_are_ids_in_any_case(self, place: Place) -> None:
        """DAT-1: an id is what it is after lower-casing, also in references and plans."""
        place.execute("INSERT INTO sites (site_id, name) VALUES ('NORTH', 'North')")
        place.execute(
            "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id)"
            " VALUES ('Station_1', 'North', 'One', 1)"
        )
        place.pump("PUMP_1", station_id="STATION_1")
        place.envelope("pump_1")
        place.limits("Pump_1")
        place.insert(
            "pump_plans",
            {
                "station_id": "STATION_1",
                "pump_id": "PUMP_1",
                "interval_start": "2026-06-01T12:00:00+00:00",
                "interval_end": "2026-06-01T13:00:00+00:00",
                "suggested_speed_hz": 35.0,
                "plan_version": 1,
            },
        )
        sites, invalid = place.topology()
        assert invalid == {}
        pump = sites[0].stations[0].pumps[0]
        assert (sites[0].site_id, pump.station_id, pump.pump_id) == ("north", "station_1", "pump_1")
        assert pump.limits is not None
        rows = place.run(
            Access.READ,
            lambda database: DatabasePlanReader(database).plans("station_1", start=NOON, end=moment(1)),
        )
        assert [(row.station_id, row.pump_id) for row in rows] == [("station_1", "pump_1")]
        assert place.write(feedback(1, pump_id="pump_1")) == {}

    def test_slots_are_given_once_and_for_ever(self, place: Place) -> None:
        """MOD-2: a slot is never reused, whatever an INSERT says, also when a pump moves or goes."""
        place.seed()
        place.execute(
            "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) VALUES ('s2', 'north', 'Two', 2)"
        )
        place.pump("p3", wire_slot=0)
        place.execute("DELETE FROM pumps WHERE pump_id = 'p3'")
        place.pump("p4", wire_slot=77)
        place.execute("UPDATE pumps SET station_id = 's2' WHERE pump_id = 'p4'")
        place.execute("UPDATE pumps SET station_id = 's1' WHERE pump_id = 'p4'")
        assert place.execute("SELECT pump_id, wire_slot FROM pumps ORDER BY pump_id") == [
            ("p1", 0),
            ("p2", 1),
            ("p4", 4),
        ]
        with pytest.raises(place.refusal, match="given by the database"):
            place.execute("UPDATE pumps SET wire_slot = 9 WHERE pump_id = 'p1'")
        with pytest.raises(place.refusal, match="counts up"):
            place.execute("UPDATE pump_stations SET next_wire_slot = 0 WHERE station_id = 's1'")

    def test_limits_that_are_not_approved_or_not_commissioned_count_for_nothing(self, place: Place) -> None:
        """DAT-5: only the highest approved version inside the commissioning envelope applies."""
        place.seed()
        place.limits("p1", version=2, hard_max_speed_hz=45.0)
        place.limits("p1", version=3, hard_max_speed_hz=40.0, approved_by=None)
        place.limits("p2", version=2, hard_max_speed_hz=53.0)
        place.pump("p3")
        place.limits("p3")
        place.pump("p4")
        place.envelope("p4")
        sites, invalid = place.topology()
        versions = {pump.pump_id: pump.limits and pump.limits.version for pump in sites[0].stations[0].pumps}
        assert versions == {"p1": 2, "p2": 1, "p3": None, "p4": None}
        assert set(invalid) == {
            ("pump_safety_limits", "p2/2", "hard_max_speed_hz"),
            ("pump_commissioning_envelopes", "p3", "pump_id"),
            ("pump_safety_limits", "p4", "approved_by"),
        }
        assert "envelope" in invalid["pump_safety_limits", "p2/2", "hard_max_speed_hz"]

    @pytest.mark.parametrize("approver", ["anna", "ANNA", " anna ", " "])
    def test_nobody_approves_their_own_limits(self, place: Place, approver: str) -> None:
        """SAF-6: the second person is another one, also for whoever writes the table directly."""
        place.seed()
        with pytest.raises(place.refusal, match="approved_by_another"):
            place.limits("p1", version=2, approved_by=approver)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"hard_min_speed_hz": 50.0},
            {"hard_min_speed_hz": 0.0},
            {"hard_max_speed_hz": float("nan")},
            {"hard_max_speed_hz": float("inf")},
            {"max_power_kw": float("inf")},
            {"max_rate_hz_per_s": 0.0},
            {"max_rate_hz_per_s": None},
            {"level_min_m": 1.0, "level_max_m": 1.0},
            {"level_dry_run_m": 1.0, "level_dry_run_reset_m": 1.2, "level_min_m": 0.9},
            {"level_dry_run_m": 1.0, "level_dry_run_reset_m": 0.9},
            {"level_dry_run_m": 1.0},
            {"level_emergency_high_m": 2.0, "level_emergency_high_reset_m": 2.1},
            {"level_emergency_high_m": 2.0},
            {"level_dry_run_m": 1.0, "level_dry_run_reset_m": 1.1, "level_emergency_high_m": 0.5,
             "level_emergency_high_reset_m": 0.4},
            {"min_flow_m3h": 5.0, "max_flow_m3h": 5.0},
            {"min_run_s": 60.0, "max_run_s": 30.0},
            {"max_starts_per_hour": 0},
            {"set_by": " "},
        ],
        ids=str,
    )  # fmt: skip
    def test_impossible_limits_are_refused_by_the_database(
        self, place: Place, wrong: dict[str, object]
    ) -> None:
        """DAT-1: order of levels, resets on the right side, finite and present values are part of the schema."""
        place.seed()
        with pytest.raises(place.refusal):
            place.limits("p1", **{"version": 2, **wrong})

    def test_a_soft_stop_is_a_rate_or_nothing(self, place: Place) -> None:
        """SAF-2.10, DAT-1: absent for every station of before; what is no rate is refused by name."""
        place.seed()
        assert [station.soft_stop_hz_per_s for station in place.topology()[0][0].stations] == [None]
        place.execute("UPDATE pump_stations SET soft_stop_hz_per_s = 0.5 WHERE station_id = 's1'")
        assert [station.soft_stop_hz_per_s for station in place.topology()[0][0].stations] == [0.5]
        for wrong in ("0", "-1", "1e300"):
            with pytest.raises(place.refusal, match="soft_stop_hz_per_s"):
                place.execute(
                    f"UPDATE pump_stations SET soft_stop_hz_per_s = {wrong} WHERE station_id = 's1'"
                )

    def staged(self, place: Place) -> None:
        """Let both pumps have levels, and a dry-run bound in their envelopes."""
        place.seed()
        for pump_id in ("p1", "p2"):
            place.execute(
                "UPDATE pump_commissioning_envelopes SET level_dry_run_m = 0.2 WHERE pump_id = ?", pump_id
            )
            place.limits(
                pump_id,
                version=2,
                level_dry_run_m=0.4,
                level_dry_run_reset_m=0.6,
                level_min_m=0.7,
                level_max_m=2.0,
            )

    def test_duties_and_profiles_are_read_whole(self, place: Place) -> None:
        """CTL-6: off without a row; every duty, and profiles by name, in the station's own units."""
        self.staged(place)
        assert place.topology()[0][0].stations[0].duties == StationDuties()
        place.insert("station_duties", DUTIES_ROW)
        place.insert("station_profiles", PROFILE_ROW)
        sites, invalid = place.topology()
        assert not [key for key in invalid if key[0].startswith("station_")]
        assert sites[0].stations[0].duties == StationDuties(
            alternation=Alternation.BY_HOURS,
            order=("p2", "p1"),
            alternation_h=12.0,
            assist=Assist(pumps=1, reset_m=1.2, after_s=60.0),
            exercise=Exercise(after_h=48.0, run_s=30.0, level_m=1.0),
            flush=Flush(every_h=24.0, run_s=120.0, speed_hz=45.0, flow_m3h=90.0, level_m=1.5),
            clean_out=CleanOut(level_m=0.25, run_s=300.0, speed_hz=25.0, power_kw_min=2.0),
            profiles=(
                DutyProfile(
                    name="night",
                    weekdays=(1, 2, 3, 4, 5, 6, 7),
                    from_minute=1320,
                    until_minute=330,
                    default_setpoint_hz=22.0,
                    speed_hz_min=25.0,
                    speed_hz_max=35.0,
                    max_pumps_running=1,
                    duty_order=("p1",),
                ),
            ),
        )

    @pytest.mark.parametrize(
        ("column", "value", "why"),
        [
            ("duty_order", "p1 p9", "'p9' is no pump"),
            ("duty_order", "p1, p1", "twice"),
            ("assist_reset_m", 2.0, "not below level_max_m 2 m of p1"),
            ("assist_reset_m", 0.7, "not above level_min_m"),
            ("assist_speed_hz", 55.0, "outside the approved band of p1"),
            ("exercise_level_m", 0.5, "not above level_min_m"),
            ("flush_level_m", 0.6, "not above level_min_m"),
            ("flush_speed_hz", 10.0, "outside the approved band"),
            ("flush_every_h", 0.03, "flush_run_s"),
            ("clean_out_level_m", 0.4, "to below its level_dry_run_m"),
            ("clean_out_level_m", 0.19, "commissioning envelope"),
            ("clean_out_speed_hz", 60.0, "outside the approved band"),
        ],
    )
    def test_a_wrong_duty_is_off_and_named_and_the_others_go_on(
        self, place: Place, column: str, value: object, why: str
    ) -> None:
        """CTL-6, DAT-4: rules across tables; the station keeps running with what is right."""
        self.staged(place)
        place.insert("station_duties", {**DUTIES_ROW, column: value})
        sites, invalid = place.topology()
        found = {key: reason for key, reason in invalid.items() if key[0] == "station_duties"}
        [((_, key, named), reason)] = found.items()
        assert key == "s1"
        assert named == ("flush_run_s" if column == "flush_every_h" else column)
        assert why in f"{named} {reason}"
        assert "off" in reason
        duties = sites[0].stations[0].duties
        parts = (duties.order, duties.assist, duties.exercise, duties.flush, duties.clean_out)
        assert sum(bool(part) for part in parts) == 4

    def test_a_clean_out_needs_a_commissioned_bound(self, place: Place) -> None:
        """CTL-6, SAF-6: how far below its limit a pump may ever be drawn is for whoever commissioned it to say."""
        self.staged(place)
        place.insert("station_duties", DUTIES_ROW)
        place.execute("UPDATE pump_commissioning_envelopes SET level_dry_run_m = NULL WHERE pump_id = 'p2'")
        sites, invalid = place.topology()
        assert sites[0].stations[0].duties.clean_out is None
        assert "p2" in invalid["station_duties", "s1", "clean_out_level_m"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"alternation": "SOMETIMES"},
            {"alternation_h": 0.0},
            {"assist_pumps": -1},
            {"assist_reset_m": None},
            {"assist_after_s": 0.0},
            {"exercise_run_s": None},
            {"exercise_run_s": 1e6},
            {"flush_flow_m3h": float("nan")},
            {"flush_speed_hz": float("inf")},
            {"clean_out_power_kw_min": None},
            {"clean_out_run_s": 3600.0},
        ],
        ids=str,
    )
    def test_impossible_duties_are_refused_by_the_database(
        self, place: Place, wrong: dict[str, object]
    ) -> None:
        """CTL-6, DAT-1: a duty is there whole or not at all, and within its bounds."""
        self.staged(place)
        with pytest.raises(place.refusal):
            place.insert("station_duties", {**DUTIES_ROW, **wrong})

    @pytest.mark.parametrize(
        ("wrong", "column"),
        [
            ({"default_setpoint_hz": 10.0}, "default_setpoint_hz"),
            ({"speed_hz_min": 15.0}, "speed_hz_min"),
            ({"speed_hz_max": 51.0}, "speed_hz_max"),
            ({"max_pumps_running": 3}, "max_pumps_running"),
            ({"duty_order": "p3"}, "duty_order"),
            ({"starts_at": "05:00", "ends_at": "06:00"}, "starts_at"),
        ],
        ids=str,
    )
    def test_a_wrong_profile_does_not_count_and_is_named(
        self, place: Place, wrong: dict[str, object], column: str
    ) -> None:
        """CTL-6: inside the approved limits and the station's own number, and no two at one time."""
        self.staged(place)
        place.execute("UPDATE pump_stations SET max_pumps_running = 2 WHERE station_id = 's1'")
        place.insert("station_profiles", PROFILE_ROW)
        place.insert(
            "station_profiles", {**PROFILE_ROW, "name": "x", "starts_at": "05:30", "ends_at": "06:30"} | wrong
        )
        sites, invalid = place.topology()
        assert [key for key in invalid if key[0] == "station_profiles"] == [
            ("station_profiles", "s1/x", column)
        ]
        assert [profile.name for profile in sites[0].stations[0].duties.profiles] == ["night"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"starts_at": "24:00"},
            {"ends_at": "6:00"},
            {"weekdays": "018"},
            {"weekdays": ""},
            {"name": " "},
            {"speed_hz_min": 36.0},
            {"max_pumps_running": 0},
        ],
        ids=str,
    )
    def test_impossible_profiles_are_refused_by_the_database(
        self, place: Place, wrong: dict[str, object]
    ) -> None:
        """CTL-6, DAT-1: times of day, days and bands."""
        self.staged(place)
        with pytest.raises(place.refusal):
            place.insert("station_profiles", {**PROFILE_ROW, **wrong})

    def test_a_changed_duty_wakes_discovery(self, place: Place) -> None:
        """DAT-4: as any other configuration."""
        self.staged(place)

        async def work(database: Database) -> bool:
            reader = DatabaseTopologyReader(database)
            await reader.read()
            await reader.wait_for_change(at_most_s=0.0)
            await asyncio.to_thread(place.insert, "station_duties", DUTIES_ROW)
            woken = await reader.wait_for_change(at_most_s=5.0)
            await reader.close()
            return woken

        assert place.run(Access.READ, work)

    def test_a_level_pump_needs_its_levels(self, place: Place) -> None:
        """DAT-1: a NULL that the control type needs (a NaN on SQLite is one) is refused by name."""
        place.seed()
        place.pump("p3", control_type="LEVEL_CONTROLLED")
        place.envelope("p3")
        place.limits("p3", level_dry_run_m=0.4, level_dry_run_reset_m=0.6)
        place.pump("p4", control_type="POWER_CONTROLLED", rated_power_kw=10.0)
        sites, invalid = place.topology()
        assert {pump.pump_id for pump in sites[0].stations[0].pumps} == {"p1", "p2", "p3"}
        assert ("pump_safety_limits", "p3/1", "level_min_m") in invalid
        assert ("pumps", "p4", "rated_speed_hz") in invalid

    def test_setpoints_outside_the_band_count_as_zero(self, place: Place) -> None:
        """DAT-1: default and emergency setpoints are 0 or inside the band, else they count as 0."""
        place.seed()
        place.execute(
            "UPDATE pumps SET default_setpoint_hz = 10, emergency_stop_setpoint_hz = 60 WHERE pump_id = 'p1'"
        )
        sites, invalid = place.topology()
        pump = sites[0].stations[0].pumps[0]
        assert (pump.default_setpoint_hz, pump.emergency_stop_setpoint_hz) == (0.0, 0.0)
        assert {("pumps", "p1", "default_setpoint_hz"), ("pumps", "p1", "emergency_stop_setpoint_hz")} == set(
            invalid
        )

    def test_a_thousand_pumps_are_read_by_as_few_statements_as_one(self, place: Place) -> None:
        """DAT-4: what discovery costs does not grow by a question for each pump."""
        with counted_statements() as of_none:
            place.topology()
        place.execute("INSERT INTO sites (site_id, name) VALUES ('north', 'North')")
        count = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) "
        place.execute(
            "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) "
            + count.format(last=199)
            + "SELECT 's' || i, 'north', 'S', i + 1 FROM n"
        )
        place.execute(
            "INSERT INTO pumps (pump_id, station_id, name, control_type, default_setpoint_hz) "
            + count.format(last=999)
            + "SELECT 'p' || i, 's' || (i / 5), 'P', 'DIRECT_SPEED', 30 FROM n"
        )
        place.execute(
            "INSERT INTO pump_commissioning_envelopes (pump_id, min_speed_hz, max_speed_hz, commissioned_by) "
            "SELECT pump_id, 18, 52, 'anna' FROM pumps"
        )
        place.execute(
            "INSERT INTO pump_safety_limits (pump_id, version, hard_min_speed_hz, hard_max_speed_hz,"
            " max_rate_hz_per_s, set_by, approved_by) SELECT pump_id, 1, 20, 50, 2, 'anna', 'bert' FROM pumps"
        )
        with counted_statements() as of_a_thousand:
            sites, invalid = place.topology()
        assert of_none
        assert of_a_thousand == of_none
        assert invalid == {}
        pumps = [pump for station in sites[0].stations for pump in station.pumps]
        assert len(pumps) == 1000
        assert all(pump.limits is not None and pump.wire_slot < 5 for pump in pumps)

    # ----------------------------------------------------------------- plans and feedback

    def plan(self, place: Place, start: str, end: str, **values: object) -> None:
        """Insert a plan as the optimiser does: without plan_id and created_at."""
        row = {
            "station_id": "s1",
            "pump_id": "p1",
            "interval_start": start,
            "interval_end": end,
            "suggested_speed_hz": 35.0,
            "plan_version": 1,
            **values,
        }
        place.insert("pump_plans", row)

    def test_plans_are_read_by_moment_in_any_form(self, place: Place) -> None:
        """CTL-1: intervals that touch [start, end) are found, however their times are written."""
        place.seed()
        self.plan(place, "2026-06-01T11:00:00+00:00", "2026-06-01T12:00:00+00:00")  # ends where we begin
        self.plan(place, "2026-06-01 11:00:00+00:00", "2026-06-01 12:00:00.000001+00:00")
        self.plan(place, "2026-06-01T14:00:00+02:00", "2026-06-01T15:00:00+02:00")
        self.plan(place, "2026-06-01T05:30:00.5-07:00", "2026-06-01T06:30:00-07:00")
        self.plan(place, "2026-06-01T13:00:00Z", "2026-06-01T14:00:00Z")  # begins where we end
        self.plan(place, "2026-06-01T12:45:00Z", "2026-06-01T12:30:00Z")  # backwards: to be refused by name
        rows = place.run(
            Access.READ,
            lambda database: DatabasePlanReader(database).plans("s1", start=NOON, end=moment(3600)),
        )
        assert [row.plan_id for row in rows] == [2, 3, 4, 6]
        assert rows[1].interval_start == NOON
        assert rows[2].interval_start == moment(1800.5)
        assert all(row.created_at.utcoffset() == timedelta(0) for row in rows)

    def test_odd_plan_values_come_through_to_be_refused_with_their_reason(self, place: Place) -> None:
        """CTL-1: a plan of 60 Hz or NaN is not lost in the database: its reader refuses it and says why."""
        place.seed()
        for speed in (60.0, float("nan"), float("inf"), None):
            self.plan(place, "2026-06-01T12:00:00Z", "2026-06-01T13:00:00Z", suggested_speed_hz=speed)
        rows = place.run(
            Access.READ, lambda database: DatabasePlanReader(database).plans("s1", start=NOON, end=moment(1))
        )
        speeds = [row.suggested_speed_hz for row in rows]
        assert (speeds[0], speeds[2], speeds[3]) == (60.0, float("inf"), None)
        assert speeds[1] is None or speeds[1] != speeds[1]  # NaN on PostgreSQL, NULL on SQLite

    def read_plans(self, place: Place, *, start: datetime, end: datetime) -> list[tuple[str, int, datetime]]:
        """Return (pump, version, start) of what a plan actor gets."""
        rows = place.run(
            Access.READ, lambda database: DatabasePlanReader(database).plans("s1", start=start, end=end)
        )
        return [(row.pump_id, row.plan_version, row.interval_start) for row in rows]

    def test_the_newest_plan_is_never_cut_off(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """CTL-1: an optimiser that replans each minute and deletes nothing: the bound cuts old versions only."""
        monkeypatch.setattr("storage.readers.PLAN_ROWS_MAX", 20)
        monkeypatch.setattr("storage.readers._VERSIONS_OF_AN_INTERVAL", 4)
        place.seed()
        insert = (
            "INSERT INTO pump_plans (station_id, pump_id, interval_start, interval_end, suggested_speed_hz,"
            " plan_version) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
        )
        noon, one, two, four = (f"'2026-06-01T1{hour}:00:00+00:00'" for hour in (2, 3, 4, 6))
        if place.admin_url.startswith("postgresql"):
            noon, one, two, four = (f"timestamptz {each}" for each in (noon, one, two, four))
        # One interval, 500 versions, for a pump that counts from 1 and one that counts from 1,001.
        place.execute(f"{insert} SELECT 's1', 'p1', {noon}, {one}, 30, i FROM n")
        place.execute(f"{insert} SELECT 's1', 'p2', {noon}, {one}, 30, i + 1000 FROM n")
        # What began at the same time but lasts longer speaks when the others have ended.
        place.execute(f"{insert} SELECT 's1', 'p1', {noon}, {four}, 30, 0 FROM n WHERE i = 1")
        rows = self.read_plans(place, start=NOON, end=moment(7200))
        assert sorted(rows) == [
            *(("p1", version, NOON) for version in (0, 497, 498, 499, 500)),
            *(("p2", version, NOON) for version in (1497, 1498, 1499, 1500)),
        ]
        # More intervals than the bound: each pump has its newest, however the others number theirs.
        place.execute(f"{insert} SELECT 's1', 'p2', {one}, {two}, 30, 5000 + i FROM n WHERE i <= 4")
        monkeypatch.setattr("storage.readers.PLAN_ROWS_MAX", 6)
        rows = self.read_plans(place, start=NOON, end=moment(7200))
        assert sorted(rows) == [
            *(("p1", version, NOON) for version in (498, 499, 500)),
            *(("p2", version, moment(3600)) for version in (5002, 5003, 5004)),
        ]

    def test_of_equal_versions_the_one_written_last_comes_first(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """CTL-1: plan_version, then created_at, then plan_id; rows that can only be refused come last."""
        monkeypatch.setattr("storage.readers._VERSIONS_OF_AN_INTERVAL", 2)
        place.seed()
        for speed, created in (
            (31.0, "12:00:05"),
            (32.0, "12:00:09"),
            (33.0, "12:00:07"),
            (34.0, "12:00:07"),
        ):
            self.plan(
                place, "2026-06-01T12:00:00Z", "2026-06-01T13:00:00Z", suggested_speed_hz=speed,
                created_at=f"2026-06-01T{created}Z",
            )  # fmt: skip
        self.plan(place, "2026-06-01T12:45:00Z", "2026-06-01T12:30:00Z", plan_version=9)

        def read() -> list[float | None]:
            rows = place.run(
                Access.READ,
                lambda database: DatabasePlanReader(database).plans("s1", start=NOON, end=moment(3600)),
            )
            return [row.suggested_speed_hz for row in rows]

        assert read() == [32.0, 34.0, 35.0]
        monkeypatch.setattr("storage.readers.PLAN_ROWS_MAX", 2)
        assert len(read()) == 2

    def test_the_optimisers_heartbeat_is_read(self, place: Place) -> None:
        """WDG-1: the optimiser's own time and version, None without a row."""
        place.seed()

        async def read(database: Database) -> Any:
            return await DatabasePlanReader(database).optimiser_status("s1")

        assert place.run(Access.READ, read) is None
        place.insert(
            "optimiser_status",
            {"station_id": "s1", "heartbeat_at": "2026-06-01 12:00:00+00:00", "plan_version": 3},
        )
        status = place.run(Access.READ, read)
        assert (status.station_id, status.heartbeat_at, status.plan_version) == ("s1", NOON, 3)

    @pytest.mark.parametrize(
        ("table", "watch", "change"),
        [
            ("plans", DatabasePlanReader, "UPDATE pump_plans SET plan_version = 2"),
            ("configuration", DatabaseTopologyReader, "UPDATE pumps SET name = 'new' WHERE pump_id = 'p1'"),
        ],
    )
    def test_a_change_wakes_its_reader_and_nobody_else(
        self, place: Place, table: str, watch: type[Any], change: str
    ) -> None:
        """CTL-1: a reader is woken by a write to what it reads, within a second, not by its own side's writes."""
        place.seed()
        self.plan(place, "2026-06-01T12:00:00Z", "2026-06-01T13:00:00Z")

        async def work(database: Database) -> tuple[bool, bool, float]:
            reader = watch(database)
            try:
                assert not await reader.wait_for_change(at_most_s=0.0)
                waiting = asyncio.create_task(reader.wait_for_change(at_most_s=0.8))
                await asyncio.to_thread(place.write, feedback(1), audit_record(1))
                quiet = await waiting
                waiting = asyncio.create_task(reader.wait_for_change(at_most_s=10.0))
                begun_s = time.monotonic()
                await asyncio.to_thread(place.execute, change)
                return quiet, await waiting, time.monotonic() - begun_s
            finally:
                await reader.close()

        quiet, woken, after_s = place.run(Access.READ, work)
        assert (quiet, woken) == (False, True)
        assert after_s < 1.5

    def test_foreign_feedback_is_the_newest_of_each_pump(self, place: Place) -> None:
        """CTL-4: foreign rows measured after our start count, ours never do, whatever form the time has."""
        place.seed()
        place.write(*(feedback(number) for number in range(50, 60)))
        for measured_at, speed in (
            ("2026-06-01T12:00:00+00:00", 1.0),
            ("2026-06-01 14:00:10+02:00", 2.0),
            ("2026-06-01T12:00:09.999+00:00", 3.0),
        ):
            place.insert(
                "pump_feedback",
                {
                    "pump_id": "p1",
                    "measured_at": measured_at,
                    "actual_speed_hz": speed,
                    "source": "historian",
                },
            )
        place.insert(
            "pump_feedback", {"pump_id": "p2", "measured_at": "2026-06-01T11:59:59Z", "actual_speed_hz": 4.0}
        )

        async def read(database: Database) -> Any:
            return await DatabaseFeedbackReader(database).foreign_feedback("s1", since=NOON)

        (row,) = place.run(Access.READ, read)
        assert (row.pump_id, row.actual_speed_hz, row.measured_at, row.running) == (
            "p1",
            2.0,
            moment(10),
            None,
        )
        assert row.record_id.startswith("foreign:")

    # ----------------------------------------------------------------- access

    def test_the_reader_cannot_write(self, place: Place) -> None:
        """DAT-2: the reading side cannot change anything, even by mistake."""
        place.seed()

        async def write(database: Database) -> None:
            async def work(connection: Any) -> None:
                await connection.exec_driver_sql("UPDATE pumps SET name = 'x'")

            await database.run(work)

        with pytest.raises((DeviceError, RowRefusedError)):
            place.run(Access.READ, write)
        assert place.execute("SELECT count(*) FROM pumps WHERE name = 'x'") == [(0,)]

    def test_the_migrations_make_what_the_models_say(self, place: Place) -> None:
        """DAT-1: tables, columns, NOT NULLs, named checks and indexes are those of the models, on each engine."""
        engine = create_engine(parsed(place.admin_url, "sync"), poolclass=NullPool)
        inspector = inspect(engine)
        made = inspector.get_table_names()
        assert set(metadata.tables) == set(made) - {"alembic_version", "change_counters"}
        named = {word for row in place.execute(self.definitions) for word in re.findall(r"\w+", str(row[0]))}
        for table in metadata.sorted_tables:
            columns = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
            assert columns == {column.name: column.nullable for column in table.columns}
            dialect = engine.dialect
            ddl = str(CreateTable(table).compile(dialect=dialect))
            ddl += "".join(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)
            assert set(re.findall(r"\b(?:ck|uq|ix|fk)_\w+", ddl)) <= named
        engine.dispose()

    def test_a_database_of_the_first_version_is_brought_up_with_its_rows(self, place: Place) -> None:
        """DAT-1: an applied migration is never edited: what was written before the second one stays and closes."""
        engine = create_engine(parsed(place.empty_url(), "sync"), poolclass=NullPool)
        url = engine.url.render_as_string(hide_password=False)
        with engine.begin() as connection:
            config = schema._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            connection.exec_driver_sql(
                "INSERT INTO failsafe_events (scope, scope_id, reason, started_at, detail, record_id)"
                " VALUES ('PUMP', 'p1', 'r', '2026-06-01T12:00:00+00:00', 'd', 'e1')"
            )
        assert schema.check(url) is schema.SchemaState.OLDER
        with pytest.raises(schema.SchemaError, match=r"older.*calejo db upgrade"):
            schema.require_current(url)
        schema.upgrade(url)
        schema.require_current(url)
        with engine.begin() as connection:
            close = "UPDATE failsafe_events SET ended_at = '2026-06-01T13:00:00+00:00' WHERE ended_at IS NULL"
            assert connection.exec_driver_sql(close).rowcount == 1
        engine.dispose()

    def test_a_trail_of_before_0008_goes_on_in_one_chain(self, place: Place) -> None:
        """AUD-1: what was written in format 1 stays as it is and verifies; what follows has format 2."""
        engine = create_engine(parsed(place.empty_url(), "sync"), poolclass=NullPool)
        url = engine.url.render_as_string(hide_password=False)
        head = GENESIS
        with engine.begin() as connection:
            config = schema._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0004")
            for sequence in (1, 2, 3):
                row = {**audit.row_of(audit_record(sequence)), "format": 1, "clauses": ""}
                own = audit.link(head, sequence, row)
                row |= {"sequence": sequence, "previous_hash": head, "hash": own}
                row["at"] = row["at"].isoformat(timespec="microseconds")
                old = {name: value for name, value in row.items() if name not in {"format", "clauses"}}
                marks = ", ".join(f":{name}" for name in old)
                connection.execute(text(f"INSERT INTO audit_log ({', '.join(old)}) VALUES ({marks})"), old)
                head = own
        engine.dispose()
        schema.upgrade(url)

        async def work() -> tuple[dict[int, str], TrailVerdict, list[int]]:
            chance = Chance(sleep=asyncio.sleep, random=lambda: 0.5)
            database = Database(url, Access.WRITE, settings=DatabaseSettings(pool_size=1), chance=chance)
            try:
                refused = await DatabaseWriter(database).write([(1, audit_record(4)), (2, audit_record(2))])
                book = AuditBook(database)
                formats = [row["format"] async for rows in book.pages() for row in rows]
                return refused, await book.verify(), formats
            finally:
                await database.close()

        refused, verdict, formats = asyncio.run(work())
        assert (refused, formats) == ({}, [1, 1, 1, 2])
        assert verdict.holds, verdict

    def test_the_schema_says_how_it_stands(self, place: Place) -> None:
        """DAT-1: current, newer and missing are told apart in one line that says what to do."""
        assert schema.check(place.admin_url) is schema.SchemaState.CURRENT
        schema.upgrade(place.admin_url)
        place.execute("UPDATE alembic_version SET version_num = '9999'")
        assert schema.check(place.admin_url) is schema.SchemaState.NEWER
        for refuse in (schema.require_current, schema.upgrade):
            with pytest.raises(schema.SchemaError, match=r"\A[^\n]*newer[^\n]*\Z"):
                refuse(place.admin_url)
        place.execute("DELETE FROM alembic_version")
        with pytest.raises(schema.SchemaError, match="calejo db upgrade"):
            schema.require_current(place.admin_url)
        # Tables without a version are somebody else's, or half of ours: nothing is touched, nothing is half done.
        with pytest.raises(DeviceError, match="already exists"):
            schema.upgrade(place.admin_url)
