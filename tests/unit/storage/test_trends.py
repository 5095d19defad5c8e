"""What displays draw, on SQLite."""

from pathlib import Path

import pytest

from tests.unit.storage.contract import Place
from tests.unit.storage.test_sqlite import SqlitePlace
from tests.unit.storage.trends_contract import TrendsContract


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return SqlitePlace(tmp_path / "calejo.db")


class TestOnSqlite(TrendsContract):
    """The whole contract."""
