"""The past on a real PostgreSQL, by the limited roles."""

import psycopg
import pytest

from tests.services import Postgres
from tests.unit.storage.contract import Place
from tests.unit.storage.decisions_contract import DecisionsContract
from tests.wire.postgresql.test_postgresql import PostgresPlace

pytestmark = [pytest.mark.services, pytest.mark.wire]


@pytest.fixture
def place(postgres: Postgres) -> PostgresPlace:
    return PostgresPlace(postgres)


class TestOnPostgresql(DecisionsContract):
    """The whole contract."""

    def plan(self, place: Place, table: str) -> str:
        query = (
            f"SET enable_seqscan = off; EXPLAIN SELECT * FROM {table} WHERE pump_id = 'p1'"
            " AND at <= '2026-06-01T12:00:00+00:00' ORDER BY at DESC LIMIT 8"
        )
        assert isinstance(place, PostgresPlace)
        with psycopg.connect(place.admin_url) as connection:
            setting, _, asked = query.partition("; ")
            connection.execute(setting.encode())
            return str(connection.execute(asked.encode()).fetchall())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE decisions SET setpoint_hz = 1",
        "DELETE FROM decisions",
        "DELETE FROM wire_records",
        "TRUNCATE decisions",
        "UPDATE wire_records SET setpoint_hz = 1",
        "TRUNCATE wire_records",
        "DELETE FROM safety_limit_violations",
        "DELETE FROM audit_log",
    ],
)
def test_the_writer_deletes_nothing_by_itself(place: PostgresPlace, statement: str) -> None:
    """DAT-2: retention goes through the owner's function; no right on history came with it."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        place.execute_as(place.writer_url, statement)


def test_only_the_writer_may_call_what_forgets(place: PostgresPlace) -> None:
    """DAT-2: not the reader."""
    place.execute_as(place.writer_url, "SELECT calejo_forget_decisions(ARRAY[1]::bigint[])")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        place.execute_as(place.reader_url, "SELECT calejo_forget_decisions(ARRAY[1]::bigint[])")
