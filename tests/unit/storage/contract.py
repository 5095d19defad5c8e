"""A database with Calejo's schema, and rows and records to put into it, as the contracts of storage use them."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from sqlalchemy import Engine, event

from actors.vocabulary import (
    Scope,
    Severity,
    SiteConfig,
)
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
from storage.engine import Access, Chance, Database
from storage.readers import DatabaseTopologyReader
from storage.writer import DatabaseWriter

S = TypeVar("S")
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

    def with_pools(self, made: Callable[[Database, Database], S], work: Callable[[S], Awaitable[T]]) -> T:
        """Open a store of two pools of the writer's role as the API does, do `work`, close."""

        async def with_both(writer: Database) -> T:
            reader = Database(self.writer_url, Access.READ, settings=DatabaseSettings(), chance=writer.chance)
            try:
                return await work(made(reader, writer))
            finally:
                await reader.close()

        return self.run(Access.WRITE, with_both)

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


async def awaited(work: Awaitable[T]) -> T:
    """Return what `work` returns: a coroutine for whoever runs a loop of its own."""
    return await work


class Contract:
    """What a contract may ask of the engine that it runs on."""

    definitions: ClassVar[str]
    """Asks the engine for texts in which every constraint and index that it has is named."""
