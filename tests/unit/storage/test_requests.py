"""Commands by key and failed logins on SQLite and in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.api.remembered import Requests
from tests.unit.storage.contract import Place
from tests.unit.storage.requests_contract import DatabaseRequestsContract, RequestsContract
from tests.unit.storage.test_sqlite import SqlitePlace


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return SqlitePlace(tmp_path / "calejo.db")


class TestOnSqlite(DatabaseRequestsContract):
    """The whole contract."""


class TestInMemory(RequestsContract):
    """The same for the store that tests of the API have."""

    @pytest.fixture
    def place(self) -> Requests:
        return Requests()
