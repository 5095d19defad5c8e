"""The repository contract on a real PostgreSQL, its roles, and its outages."""

import asyncio
import subprocess
import sys
import time
from typing import Any

import psycopg
import pytest
from psycopg import sql

from actors.vocabulary import DeviceError, Settings
from actors.vocabulary.settings import DatabaseSettings
from ops.database import require_current
from storage import schema
from storage.engine import Access, Database
from storage.history import History
from storage.readers import DatabasePlanReader, DatabaseTopologyReader
from storage.writer import DatabaseWriter
from tests.migrated import postgres_in
from tests.services import Postgres
from tests.unit.storage.contract import (
    EVERY_KIND,
    NOON,
    TABLES,
    Place,
    audit_record,
    feedback,
    moment,
)
from tests.unit.storage.repository_contract import RepositoryContract

pytestmark = [pytest.mark.services, pytest.mark.wire]


class PostgresPlace(Place):
    """A fresh database, and login roles that have nothing but Calejo's two roles."""

    refusal = (psycopg.errors.IntegrityError, psycopg.errors.DataError)

    def __init__(self, cluster: Postgres) -> None:
        self.cluster = cluster
        self.admin_url = postgres_in(cluster)
        self.name = self.admin_url.rsplit("/", 1)[1]
        self.execute(
            sql.SQL("; ").join(
                sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(
                    sql.Identifier(f"{self.name}_{role}"), sql.Identifier(f"control_{role}")
                )
                for role in ("reader", "writer")
            )
        )
        self.reader_url = cluster.url(self.name, user=f"{self.name}_reader")
        self.writer_url = cluster.url(self.name, user=f"{self.name}_writer")

    def empty_url(self) -> str:
        """Another database of the cluster."""
        return self.cluster.fresh_database()

    def execute(self, statement: str | sql.Composed, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser."""
        return self.execute_as(self.admin_url, statement, *values)

    def execute_as(self, url: str, statement: str | sql.Composed, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement as somebody."""
        query = statement.replace("?", "%s").encode() if isinstance(statement, str) else statement
        with psycopg.connect(url) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def place(postgres: Postgres) -> PostgresPlace:
    return PostgresPlace(postgres)


class TestOnPostgresql(RepositoryContract):
    """The whole contract, by the limited roles."""

    definitions = "SELECT conname FROM pg_constraint UNION SELECT indexname FROM pg_indexes"


_CONFIGURATION = (
    "sites",
    "pump_stations",
    "pumps",
    "pump_safety_limits",
    "pump_commissioning_envelopes",
    "pump_plans",
    "optimiser_status",
    "station_duties",
    "station_profiles",
)


# What a change of limits rests on (SAF-6): read in the transaction that writes it.
_JUDGED_BY_LIMITS = {"pump_safety_limits", "pump_commissioning_envelopes"}


def test_the_reader_may_read_what_it_needs_and_nothing_else(place: PostgresPlace) -> None:
    """DAT-2: control_reader has SELECT on configuration, plans and feedback, and no other right at all."""
    granted = place.execute(
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = 'control_reader' ORDER BY 1"
    )
    assert granted == [(name, "SELECT") for name in sorted([*_CONFIGURATION, "pump_feedback"])]
    for table in set(TABLES) - {"pump_feedback"} | {"alembic_version"}:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            place.execute_as(place.reader_url, f"SELECT * FROM {table}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        place.execute_as(place.reader_url, "CREATE TABLE mine (i int)")


@pytest.mark.parametrize(
    "statement",
    [
        *(f"SELECT * FROM {table}" for table in sorted(set(_CONFIGURATION) - _JUDGED_BY_LIMITS)),
        "UPDATE pump_safety_limits SET hard_max_speed_hz = 60",
        "INSERT INTO pump_plans (station_id) VALUES ('s1')",
        *(f"DELETE FROM {table}" for table in TABLES),
        *(f"TRUNCATE {table}" for table in TABLES),
        "UPDATE pump_feedback SET actual_speed_hz = 0",
        "UPDATE decisions SET setpoint_hz = 0",
        "UPDATE emergency_stop_events SET scope = 'PUMP', scope_id = 'p9'",
        "UPDATE emergency_stop_events SET reason = ''",
        "UPDATE emergency_stop_events SET set_by = 'nobody'",
        "UPDATE emergency_stop_events SET set_at = now()",
        "UPDATE emergency_stop_events SET kind = 'out_of_service'",
        "UPDATE failsafe_events SET started_at = now()",
        "UPDATE alarms SET text = ''",
        "UPDATE audit_log SET actor = ''",
        "ALTER TABLE audit_log DISABLE TRIGGER ALL",
        "DROP TABLE decisions",
        "CREATE TABLE mine (i int)",
        "UPDATE alembic_version SET version_num = '9'",
    ],
)
def test_the_writer_may_only_append(place: PostgresPlace, statement: str) -> None:
    """DAT-2: control_writer appends, closes what it opened, and nothing else."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        place.execute_as(place.writer_url, statement)


def test_the_audit_log_cannot_be_truncated(place: PostgresPlace) -> None:
    """AUD-1: not even by its owner."""
    place.write(audit_record(1))
    with pytest.raises(psycopg.errors.CheckViolation, match="append-only"):
        place.execute("TRUNCATE audit_log")


def test_two_databases_of_one_cluster_share_the_roles(postgres: Postgres) -> None:
    """DAT-2: the roles are there already when a second database is migrated, also at the same time."""

    urls = [postgres.fresh_database() for _ in range(2)]
    program = "import sys; from storage import schema; schema.upgrade(sys.argv[1])"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for url in [*urls, *urls]
    ]
    assert [(one.communicate(timeout=60)[0], one.returncode) for one in running] == [("", 0)] * 4
    assert [schema.check(url) for url in urls] == [schema.SchemaState.CURRENT] * 2


def test_the_role_of_the_writer_can_tell_the_schema(place: PostgresPlace) -> None:
    """DAT-2: a start with the limited role knows whether the schema is the right one."""
    schema.require_current(place.writer_url)


def test_a_start_with_the_wrong_logins_is_refused_in_one_line(place: PostgresPlace) -> None:
    """DAT-2, issue 2: the reader's login is tried before anything starts, the writer's own is no reader."""

    def start(url: str, reader_url: str = "") -> None:
        database = DatabaseSettings(url=url, reader_url=reader_url)
        require_current(Settings(data_dir="/nowhere", database=database))

    start(url=place.writer_url, reader_url=place.reader_url)
    start(url=place.admin_url)
    wrong = place.reader_url.replace(place.name, f"{place.name}_typo")
    for urls, told in (
        (
            {"url": place.writer_url},
            r"database\.url: .*permission denied.*database\.reader_url.*control_reader",
        ),
        (
            {"url": place.writer_url, "reader_url": place.writer_url},
            r"database\.reader_url: .*permission denied",
        ),
        ({"url": place.writer_url, "reader_url": wrong}, r"database\.reader_url: .*does not exist"),
    ):
        with pytest.raises(DeviceError, match=rf"\A{told}") as refused:
            start(**urls)
        assert "\n" not in str(refused.value)
    place.execute("REVOKE SELECT ON pump_plans FROM control_reader")
    with pytest.raises(DeviceError, match=r"reader_url: .*pump_plans"):
        start(url=place.writer_url, reader_url=place.reader_url)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_the_server_s_default_isolation_costs_no_audit_record(place: PostgresPlace, level: str) -> None:
    """AUD-1, DAT-3: two writers at once on a server that isolates more than ours asks for: nothing is refused."""
    place.execute(
        sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = {}").format(
            sql.Identifier(place.name), sql.Literal(level)
        )
    )

    async def work(one: Database) -> list[dict[int, str]]:
        other = place.database(Access.WRITE)
        try:
            return await asyncio.gather(
                *(
                    DatabaseWriter(database).write([(1, audit_record(100 * turn + lane))])
                    for turn in range(20)
                    for lane, database in enumerate((one, other))
                )
            )
        finally:
            await other.close()

    assert place.run(Access.WRITE, work) == [{}] * 40
    verdict = place.run(Access.WRITE, lambda database: History(database).verify_audit())
    assert (verdict.count, verdict.broken_at) == (40, None)


def test_infinite_times_are_refused(place: PostgresPlace) -> None:
    """DAT-1: PostgreSQL has infinite times; no plan lasts that long."""
    place.seed()
    with pytest.raises(psycopg.errors.CheckViolation, match="heartbeat_at"):
        place.insert("optimiser_status", {"station_id": "s1", "heartbeat_at": "infinity"})


def test_a_plan_of_another_station_wakes_nobody(place: PostgresPlace) -> None:
    """CTL-1: the notice carries the station, so that a plan actor is woken for its own only."""
    place.seed()
    place.execute(
        "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) VALUES ('s2', 'north', 'Two', 2)"
    )

    def plan(station_id: str) -> None:
        place.execute(
            "INSERT INTO pump_plans (station_id, pump_id, interval_start, interval_end, plan_version)"
            " VALUES (?, 'p1', ?, ?, 1)",
            station_id,
            NOON,
            moment(60),
        )

    async def work(database: Database) -> list[bool]:
        reader = DatabasePlanReader(database)
        try:
            await reader.plans("s1", start=NOON, end=moment(1))
            await reader.wait_for_change(at_most_s=0.0)
            woken = []
            for station_id in ("s2", "s1"):
                waiting = asyncio.create_task(reader.wait_for_change(at_most_s=1.0))
                await asyncio.to_thread(plan, station_id)
                woken.append(await waiting)
            return woken
        finally:
            await reader.close()

    assert place.run(Access.READ, work) == [False, True]


def test_the_server_away_is_a_device_error_and_its_return_is_noticed(own_postgres: Postgres) -> None:
    """DAT-3: away means DeviceError within seconds, nothing lost; back means back, without anybody's help."""
    place = PostgresPlace(own_postgres)
    place.seed()

    async def work(reading: Database) -> tuple[bool, bool]:
        writing = place.database(Access.WRITE)
        writer, topology = DatabaseWriter(writing), DatabaseTopologyReader(reading)
        try:
            assert await writer.write([(1, feedback(1))]) == {}
            assert not await topology.wait_for_change(at_most_s=0.0)
            own_postgres.stop()
            begun_s = time.monotonic()
            for attempt in (writer.write([(2, feedback(2))]), topology.read()):
                with pytest.raises(DeviceError, match=rf"\APostgreSQL {place.name} at 127\.0\.0\.1"):
                    await attempt
            # What waits for changes while nobody can tell it of any just waits.
            quiet = await topology.wait_for_change(at_most_s=0.2)
            assert time.monotonic() - begun_s < 10.0
            own_postgres.start()
            assert await writer.write([(2, feedback(2)), (1, feedback(1))]) == {}
            assert len((await topology.read())[0]) == 1
            return quiet, await topology.wait_for_change(at_most_s=5.0)
        finally:
            await topology.close()
            await writing.close()

    quiet, missed = place.run(Access.READ, work)
    assert (quiet, missed) == (False, True)
    assert place.execute("SELECT count(*) FROM pump_feedback") == [(2,)]


def test_a_locked_table_costs_a_bounded_time(place: PostgresPlace) -> None:
    """DAT-3: a statement that waits for somebody else ends by itself."""
    place.seed()

    async def work(database: Database) -> float:
        begun_s = time.monotonic()
        with psycopg.connect(place.admin_url) as other:
            other.execute("LOCK TABLE pumps IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DeviceError):
                await DatabaseTopologyReader(database).read()
        return time.monotonic() - begun_s

    assert place.run(Access.READ, work) < 12.0


def test_every_kind_is_written_by_the_limited_role(place: PostgresPlace) -> None:
    """DAT-2: the writer's rights suffice for everything that Calejo writes, twice."""
    place.seed()
    for _ in range(2):
        assert place.write(*EVERY_KIND) == {}
