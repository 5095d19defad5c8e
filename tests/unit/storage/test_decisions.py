"""The past on SQLite."""

from pathlib import Path

import pytest

from tests.unit.storage.contract import Place
from tests.unit.storage.decisions_contract import DecisionsContract
from tests.unit.storage.test_sqlite import SqlitePlace


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return SqlitePlace(tmp_path / "calejo.db")


class TestOnSqlite(DecisionsContract):
    """The whole contract."""

    def plan(self, place: Place, table: str) -> str:
        query = (
            f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE pump_id = 'p1'"
            " AND julianday(at) <= julianday('2026-06-01T12:00:00+00:00') ORDER BY julianday(at) DESC LIMIT 8"
        )
        return str(place.execute(query))
