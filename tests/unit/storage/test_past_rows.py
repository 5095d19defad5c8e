"""Rows of the past on SQLite."""

from pathlib import Path

import pytest

from tests.unit.storage.contract import Place
from tests.unit.storage.past_rows_contract import PastRowsContract
from tests.unit.storage.test_sqlite import SqlitePlace


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return SqlitePlace(tmp_path / "calejo.db")


class TestOnSqlite(PastRowsContract):
    """The whole contract."""
