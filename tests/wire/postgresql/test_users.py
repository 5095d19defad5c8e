"""Users on a real PostgreSQL, by the limited roles."""

import psycopg
import pytest

from tests.services import Postgres
from tests.unit.storage.users_contract import DatabaseUsersContract, account, on_users
from tests.wire.postgresql.test_postgresql import PostgresPlace

pytestmark = [pytest.mark.services, pytest.mark.wire]


@pytest.fixture
def place(postgres: Postgres) -> PostgresPlace:
    return PostgresPlace(postgres)


class TestOnPostgresql(DatabaseUsersContract):
    """The whole contract."""


@pytest.mark.parametrize(
    "statement", ["DELETE FROM users", "TRUNCATE users CASCADE", "DELETE FROM service_keys"]
)
def test_the_writer_deletes_nobody(place: PostgresPlace, statement: str) -> None:
    """SEC-1, DAT-2: what serves the network has no right to."""
    on_users(place, lambda users: users.add(account()))
    with (
        psycopg.connect(place.writer_url.replace("postgresql+psycopg", "postgresql")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


@pytest.mark.parametrize("table", ["users", "user_sessions", "service_keys"])
def test_the_reader_sees_no_hash(place: PostgresPlace, table: str) -> None:
    """SEC-1, DAT-2: the read-only role reads configuration, plans and feedback, nothing else."""
    with (
        psycopg.connect(place.reader_url.replace("postgresql+psycopg", "postgresql")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(f"SELECT * FROM {table}")
