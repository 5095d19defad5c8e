"""The past of points on SQLite."""

from pathlib import Path

import pytest

from tests.unit.storage.contract import Place
from tests.unit.storage.past_contract import PastContract
from tests.unit.storage.test_sqlite import SqlitePlace


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return SqlitePlace(tmp_path / "calejo.db")


class TestOnSqlite(PastContract):
    """The whole contract."""
