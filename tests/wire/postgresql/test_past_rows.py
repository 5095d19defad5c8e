"""Rows of the past on a real PostgreSQL, by the limited roles."""

import pytest

from tests.services import Postgres
from tests.unit.storage.past_rows_contract import PastRowsContract
from tests.wire.postgresql.test_postgresql import PostgresPlace

pytestmark = [pytest.mark.services, pytest.mark.wire]


@pytest.fixture
def place(postgres: Postgres) -> PostgresPlace:
    return PostgresPlace(postgres)


class TestOnPostgresql(PastRowsContract):
    """The whole contract."""
