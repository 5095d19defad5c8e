"""Database chores: where it is, made once, refused when it is not the one this version needs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from actors.vocabulary import DeviceError, Settings
from actors.vocabulary.settings import DatabaseSettings
from ops.database import database_urls, needed_revision, require_current, upgrade


def settings(tmp_path: Path, *, url: str = "", reader_url: str = "") -> Settings:
    return Settings(data_dir=str(tmp_path), database=DatabaseSettings(url=url, reader_url=reader_url))


def test_urls(tmp_path: Path) -> None:
    """DAT-2: as configured, the reader's own role if there is one; else the file in the data directory."""
    own = database_urls(settings(tmp_path))
    assert own.writer == own.reader == f"sqlite+aiosqlite:///{tmp_path}/calejo.db"
    one = database_urls(settings(tmp_path, url="postgresql+psycopg://w@h/d"))
    assert one.reader == one.writer
    two = database_urls(
        settings(tmp_path, url="postgresql+psycopg://w@h/d", reader_url="postgresql+psycopg://r@h/d")
    )
    assert (two.writer, two.reader) == ("postgresql+psycopg://w@h/d", "postgresql+psycopg://r@h/d")


def test_a_missing_schema_is_said_then_made_then_current(tmp_path: Path) -> None:
    """Issue 2: a missing database schema: one clear line saying what to do; nothing is made by looking."""
    with pytest.raises(DeviceError, match=r"missing.*calejo db upgrade"):
        require_current(settings(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert upgrade(settings(tmp_path)) == needed_revision() == upgrade(settings(tmp_path))
    require_current(settings(tmp_path))


@pytest.mark.parametrize("reader", ["missing.db", "empty.db", "text.db", "folder.db"])
def test_a_reader_that_cannot_read_is_said_at_the_start(tmp_path: Path, reader: str) -> None:
    """DAT-2, issue 2: one clear line naming the key, not a plant that stays empty; a typo makes no file."""
    upgrade(settings(tmp_path))
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("this is no database, but long enough to look like one\n" * 20)
    (tmp_path / "folder.db").mkdir()
    before = sorted(tmp_path.iterdir())
    url = f"sqlite+aiosqlite:///{tmp_path}/{{}}"
    wrong = settings(tmp_path, url=url.format("calejo.db"), reader_url=url.format(reader))
    with pytest.raises(DeviceError, match=rf"\Adatabase\.reader_url: SQLite .*{reader}: .*\Z") as raised:
        require_current(wrong)
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == before
    require_current(settings(tmp_path, url=url.format("calejo.db"), reader_url=url.format("calejo.db")))


def test_a_newer_schema_is_refused_by_both(tmp_path: Path) -> None:
    """Issue 2: a newer database schema is left alone."""
    upgrade(settings(tmp_path))
    with sqlite3.connect(tmp_path / "calejo.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    connection.close()
    for chore in (require_current, upgrade):
        with pytest.raises(DeviceError, match="newer") as raised:
            chore(settings(tmp_path))
        assert "\n" not in str(raised.value)


def test_a_place_that_cannot_be_written_is_a_device_error(tmp_path: Path) -> None:
    """Issue 2: an unwritable data directory is no traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="file"):
        upgrade(settings(tmp_path / "file"))
