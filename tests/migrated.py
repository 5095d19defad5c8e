"""Databases with today's schema for tests of other things: migrated once in each process of tests, then copied.

What migrations do is tested where they run; a copy holds what they left, byte for byte.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from storage import schema
from storage.urls import sqlite_url
from tests.services import Postgres


def sqlite_at(path: Path) -> str:
    """Put a migrated SQLite file at `path`, where none is yet; return its URL."""
    assert not path.exists(), f"{path} is there already"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_file())
    return sqlite_url(path)


def postgres_in(cluster: Postgres) -> str:
    """Make a migrated database of its own in a cluster; return its URL, as the superuser."""
    return cluster.fresh_database(like=_template(cluster))


@cache
def _file() -> bytes:
    with tempfile.TemporaryDirectory(prefix="calejo-migrated-") as folder:
        path = Path(folder) / "calejo.db"
        schema.upgrade(sqlite_url(path))
        left = sorted(each.name for each in Path(folder).iterdir())
        assert left == [path.name], f"not whole without {left}"
        return path.read_bytes()


@cache
def _template(cluster: Postgres) -> str:
    url = cluster.fresh_database()
    schema.upgrade(url)
    return url.rpartition("/")[2]
