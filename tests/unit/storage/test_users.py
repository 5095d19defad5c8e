"""Users on SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.unit.api.people import Users
from tests.unit.storage.contract import Place
from tests.unit.storage.test_sqlite import SqlitePlace
from tests.unit.storage.users_contract import DatabaseUsersContract, UsersContract, account, on_users


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return SqlitePlace(tmp_path / "calejo.db")


class TestOnSqlite(DatabaseUsersContract):
    """The whole contract."""


class TestInMemory(UsersContract):
    """The same for the store that tests of the API have."""

    @pytest.fixture
    def place(self) -> Users:
        return Users()


def test_replace_is_no_way_round(place: Place) -> None:
    """SEC-1: REPLACE deletes without asking SQLite's DELETE triggers; the INSERT is refused instead."""
    on_users(place, lambda users: users.add(account()))
    with pytest.raises(sqlite3.IntegrityError, match="the name is taken"):
        place.execute(
            "INSERT OR REPLACE INTO users (user_id, kind, role, created_at, created_by)"
            " VALUES ('anna', 'PERSON', 'ADMINISTRATOR', '2026-06-01T12:00:00+00:00', 'x')"
        )
