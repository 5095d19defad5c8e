"""The past of points on a real PostgreSQL, by the limited role."""

import pytest

from tests.services import Postgres
from tests.unit.storage.past_contract import PastContract
from tests.wire.postgresql.test_postgresql import PostgresPlace

pytestmark = [pytest.mark.services, pytest.mark.wire]


@pytest.fixture
def place(postgres: Postgres) -> PostgresPlace:
    return PostgresPlace(postgres)


class TestOnPostgresql(PastContract):
    """The whole contract."""
