"""Database URLs: which drivers they mean, and how they are named without their secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from actors.vocabulary import InvalidValueError

Way = Literal["async", "sync"]

_DRIVERS: Final[dict[str, dict[Way, str]]] = {
    "sqlite": {"async": "sqlite+aiosqlite", "sync": "sqlite+pysqlite"},
    "postgresql": {"async": "postgresql+psycopg", "sync": "postgresql+psycopg"},
}


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return URL.create("sqlite+aiosqlite", database=str(path.absolute())).render_as_string(hide_password=False)


def parsed(url: str, way: Way) -> URL:
    """Return the URL with the driver that Calejo uses, whichever driver it names.

    Raises:
        InvalidValueError: it is no URL, or of an engine other than SQLite (a file) and PostgreSQL. Never repeats
            the URL: there may be a password in it.

    """
    try:
        url_read = make_url(url)
    except (ArgumentError, ValueError):
        raise InvalidValueError(
            "database.url: not a URL like sqlite+aiosqlite:///path or postgresql+psycopg://user@host/name"
        ) from None
    engine = url_read.get_backend_name()
    if engine not in _DRIVERS:
        raise InvalidValueError(f"database.url: {engine!r} is not supported, expected sqlite or postgresql")
    if engine == "sqlite" and url_read.database in {None, "", ":memory:"}:
        raise InvalidValueError("database.url: SQLite needs a file, which all processes share")
    return url_read.set(drivername=_DRIVERS[engine][way])


def shown(url: URL) -> str:
    """Name a database for people: never a password, never the query part."""
    if url.get_backend_name() == "sqlite":
        return f"SQLite {url.database}"
    place = url.host or "local socket"
    return f"PostgreSQL {url.database or ''} at {place}{f':{url.port}' if url.port else ''}"


def without_secrets(text: str, url: URL) -> str:
    """Return `text` without the password of `url`, should a driver have repeated it."""
    secrets = [str(url.password)] if url.password else []
    secrets += [str(value) for key, value in url.query.items() if "pass" in key.lower()]
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
