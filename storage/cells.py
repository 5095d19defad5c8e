"""Reads one cell of a configuration row, or says what is wrong with it; pure.

Every function raises BadCellError, which names the column: somebody may have written past the tables' own checks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar
from zoneinfo import available_timezones

from actors.vocabulary import InvalidValueError
from actors.vocabulary.ids import checked_id

Row = Mapping[str, Any]
E = TypeVar("E", bound=StrEnum)


class BadCellError(Exception):
    """A row's value that cannot count, with its column and the reason."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(column, reason)
        self.column = column
        self.reason = reason


def identifier(row: Row, column: str) -> str:
    """Return an id as the tree needs it, lower case."""
    try:
        return checked_id(str(row[column]), place=column)
    except InvalidValueError as error:
        raise BadCellError(column, str(error)) from error


def text(row: Row, column: str) -> str:
    """Return a text; on SQLite anybody can store bytes that are none."""
    value = row[column]
    if not isinstance(value, str):
        raise BadCellError(column, f"{value!r} is not a text")
    if not _is_utf8(value):
        raise BadCellError(column, f"{value!r} is not UTF-8")
    return value


def _is_utf8(value: str) -> bool:
    """Say whether a text has no lone surrogates, which stand for bytes that were no UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """Return a key as it may go into reports and files, whatever was stored as one."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def member(row: Row, column: str, vocabulary: type[E]) -> E:
    """Return a word of a closed vocabulary."""
    try:
        return vocabulary(row[column])
    except ValueError as error:
        expected = ", ".join(vocabulary)
        raise BadCellError(column, f"{row[column]!r} is unknown, expected one of {expected}") from error


def flag(row: Row, column: str) -> bool:
    """Return a boolean."""
    value = row[column]
    if value not in {0, 1}:
        raise BadCellError(column, f"{value!r} is neither true nor false")
    return bool(value)


def number(row: Row, column: str, *, above: float | None = None, optional: bool = False) -> float | None:
    """Return a finite number, above `above` if given; None only where `optional`."""
    value = row[column]
    if value is None:
        if optional:
            return None
        raise BadCellError(column, "no value (a NaN is stored as none)")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadCellError(column, f"{value!r} is not a finite number")
    if above is not None and not value > above:
        raise BadCellError(column, f"{value:g} is not above {above:g}")
    return float(value)


def needed(row: Row, column: str, *, above: float | None = None) -> float:
    """Return a finite number that is not negative."""
    value = number(row, column, above=above)
    assert value is not None
    if value < 0.0:
        raise BadCellError(column, f"{value:g} is negative")
    return value


def whole(row: Row, column: str, *, low: int, high: int | None = None, optional: bool = False) -> int | None:
    """Return a whole number in [low, high]; None only where `optional`."""
    value = row[column]
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadCellError(column, f"{value!r} is not a whole number")
    if value < low or (high is not None and value > high):
        raise BadCellError(column, f"{value} is outside {low} to {'any' if high is None else high}")
    return value


_ZONES: Final = available_timezones()


def timezone_name(row: Row) -> str:
    """Return the name of a time zone that this machine knows."""
    name = text(row, "timezone")
    # A machine without a zone database knows none; times are kept in UTC anyway.
    if _ZONES and name not in _ZONES:
        raise BadCellError("timezone", f"{name!r} is not a time zone like Europe/Berlin")
    return name
