"""The repository contract on SQLite, and what only SQLite has to answer for."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors.vocabulary import DeviceError, InvalidValueError
from storage import schema
from storage.engine import Access
from storage.readers import DatabasePlanReader
from storage.urls import sqlite_url
from tests.migrated import sqlite_at
from tests.unit.storage.contract import NOON, Place, audit_record, moment
from tests.unit.storage.repository_contract import RepositoryContract


class SqlitePlace(Place):
    """A file in a temporary folder; the foreign client is Python's own, as it comes (foreign keys on)."""

    refusal = (sqlite3.IntegrityError,)

    def __init__(self, path: Path) -> None:
        self.path = path
        self.admin_url = self.reader_url = self.writer_url = sqlite_at(path)

    def empty_url(self) -> str:
        """Another file."""
        return sqlite_url(self.path.with_name("empty.db"))

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            return connection.execute(statement, values).fetchall()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return SqlitePlace(tmp_path / "calejo.db")


class TestOnSqlite(RepositoryContract):
    """The whole contract."""

    definitions = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"


@pytest.mark.parametrize(
    "written",
    [
        "2026-06-01 12:00:00",
        "2026-06-01T12:00:00",
        "2026-06-01",
        "12:00:00+00:00",
        "2026-02-30T12:00:00Z",
        "2026-06-01T24:00:00Z",
        "2026-06-01T12:00:00 +00:00",
        "2026-06-01T12:00:00.+00:00",
        "2026-06-01T12:00:61Z",
        "now",
        "1780315200",
        1780315200,
        "",
    ],
    ids=repr,
)
def test_a_time_that_names_no_moment_is_refused(place: Place, written: object) -> None:
    """DAT-1: on SQLite times are ISO-8601 with an offset, and nothing that Python could not read gets in."""
    place.seed()
    with pytest.raises(sqlite3.IntegrityError, match="optimiser_status_heartbeat_at_has_offset"):
        place.insert("optimiser_status", {"station_id": "s1", "heartbeat_at": written})


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("pumps", "default_setpoint_hz", "fast"),
        ("pumps", "default_setpoint_hz", None),
        ("pumps", "default_setpoint_hz", float("nan")),
        ("pumps", "control_type", "MAGIC"),
        ("pumps", "failsafe_strategy", "HOPE"),
        ("pumps", "active", 2),
        ("pumps", "control_parameters", "{broken"),
        ("pump_stations", "modbus_unit_id", 248),
        ("pump_stations", "modbus_unit_id", "one"),
        ("pump_stations", "protective_level_age_s", 0),
        ("pump_safety_limits", "version", 0),
        ("pump_safety_limits", "max_starts_per_hour", 2.5),
        ("sites", "site_id", "a b"),
        ("sites", "site_id", "-a"),
        ("sites", "site_id", "a" * 41),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_by_row_and_column(
    place: Place, table: str, column: str, value: object
) -> None:
    """DAT-1: a refused value is named with its table and column."""
    place.seed()
    with pytest.raises(sqlite3.IntegrityError) as refused:
        place.execute(f"UPDATE {table} SET {column} = ?", value)
    assert column in str(refused.value)


@pytest.mark.parametrize(
    ("table", "column", "stored", "key"),
    [
        ("sites", "name", "CAST(x'50e974' AS TEXT)", "south"),
        ("sites", "timezone", "CAST(x'50e974' AS TEXT)", "south"),
        ("pump_stations", "name", "CAST(x'50e974' AS TEXT)", "s2"),
        ("pump_stations", "level_datum", "CAST(x'e9' AS TEXT)", "s2"),
        ("pump_stations", "level_datum", "x'e9'", "s2"),
        ("pumps", "name", "CAST(x'50e974' AS TEXT)", "p3"),
        ("pumps", "name", "x'50e974'", "p3"),
        ("pumps", "control_parameters", "CAST(x'7b2261223a22e9227d' AS TEXT)", "p3"),
        ("pump_safety_limits", "approved_by", "CAST(x'e9' AS TEXT)", "p3/1"),
    ],
)
def test_a_text_that_is_none_costs_its_row_only(
    place: Place, table: str, column: str, stored: str, key: str
) -> None:
    """DAT-4: whoever writes Latin-1 into SQLite: that row is skipped with its reason, the rest runs."""
    place.seed()
    place.execute("INSERT INTO sites (site_id, name) VALUES ('south', 'South')")
    place.execute(
        "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) VALUES ('s2', 'south', 'Two', 2)"
    )
    place.pump("p3", station_id="s2")
    place.envelope("p3")
    place.limits("p3")
    whole, _ = place.topology()
    id_column = {"sites": "site_id", "pump_stations": "station_id"}.get(table, "pump_id")
    place.execute(f"UPDATE {table} SET {column} = {stored} WHERE {id_column} = ?", key.partition("/")[0])
    sites, invalid = place.topology()
    assert sites[0] == whole[0], "the other site is as it was"
    assert list(invalid) == [(table, key, column)]
    reason = invalid[table, key, column]
    assert "UTF-8" in reason or "not a text" in reason
    reason.encode()


def test_replace_cannot_rewrite_the_audit_log(place: Place) -> None:
    """AUD-1: SQLite's REPLACE deletes without asking the DELETE trigger; the INSERT trigger refuses it."""
    place.write(*(audit_record(number) for number in range(3)))
    for sequence in (2, 3, 4):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            place.execute(
                "INSERT OR REPLACE INTO audit_log SELECT ?, at, event_type, 'nobody', source_address, object_id,"
                " outcome, severity, before, after, correlation_id, record_id, previous_hash, hash, clauses, format"
                " FROM audit_log WHERE sequence = 2",
                sequence,
            )
    assert place.execute("SELECT DISTINCT actor FROM audit_log") == [("anna",)]


def test_the_hot_queries_use_their_indexes(place: Place) -> None:
    """DAT-1: neither plans nor foreign feedback are found by reading the whole table."""
    for statement, index in (
        (
            "SELECT * FROM pump_plans WHERE station_id = 's1' AND julianday(interval_end) >= julianday('2026-01-01')",
            "ix_pump_plans_hot",
        ),
        (
            (
                "SELECT * FROM pump_feedback WHERE pump_id = 'p1' AND substr(source, 1, 7) <> 'calejo:'"
                " AND julianday(measured_at) >= julianday('2026-01-01') ORDER BY julianday(measured_at) DESC"
            ),
            "ix_pump_feedback_foreign",
        ),
        (
            (
                "SELECT * FROM pump_plans WHERE station_id = 's1'"
                " AND julianday(interval_end) <= julianday(interval_start)"
                " AND julianday(interval_start) >= julianday('2026-01-01')"
                " AND julianday(interval_end) <= julianday('2026-01-02')"
            ),
            "ix_pump_plans_backwards",
        ),
    ):
        plan = " ".join(str(row) for row in place.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert index in plan
        assert "TEMP B-TREE" not in plan


def test_the_database_is_as_asked_for(tmp_path: Path) -> None:
    """DAT-1: WAL, and a missing file is missing, not made by looking."""
    path = tmp_path / "deep" / "calejo.db"
    assert schema.check(sqlite_url(path)) is schema.SchemaState.MISSING
    assert not path.parent.exists()
    schema.upgrade(sqlite_url(path))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_no_database_is_told_in_one_line(tmp_path: Path) -> None:
    """DAT-1: a clear line instead of a traceback."""
    path = tmp_path / "calejo.db"
    path.write_bytes(b"this is not a database, it is a text file, and long enough to look like one\n" * 20)
    with pytest.raises(DeviceError, match=r"\ASQLite .*calejo\.db: file is not a database\Z"):
        schema.check(sqlite_url(path))


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """DAT-1: all or nothing: the second statement fails, the first one is undone."""
    path = tmp_path / "calejo.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE sites (whatever TEXT)")
    with pytest.raises(DeviceError, match="already exists"):
        schema.upgrade(sqlite_url(path))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [
            ("sites",)
        ]


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://u:geheim@h/d", "sqlite://", "postgresql://u:geheim@h:port/d"]
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    """SEC-3: a password never appears in an error."""
    with pytest.raises(InvalidValueError, match=r"database\.url") as refused:
        schema.check(url)
    assert "geheim" not in str(refused.value)


def test_a_database_that_is_away_is_a_device_error(tmp_path: Path) -> None:
    """DAT-3: a folder in the place of the file, after its bounded retries."""
    place = SqlitePlace(tmp_path / "calejo.db")
    (tmp_path / "calejo.db").rename(tmp_path / "elsewhere.db")
    (tmp_path / "calejo.db").mkdir()
    with pytest.raises(DeviceError, match=r"\ASQLite .*unable to open"):
        place.run(
            Access.READ, lambda database: DatabasePlanReader(database).plans("s1", start=NOON, end=moment(1))
        )
