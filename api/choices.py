"""Filters of lists as their query says them: comma-separated words of a kind, and moments (API-2)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

from litestar.params import QueryParameter

from actors.vocabulary import InvalidValueError

_WORDS_MAX: Final = 50
_SHOWN_MAX: Final = 60

Choice = TypeVar("Choice", bound=str)
Since = Annotated[
    str,
    QueryParameter(description="from this moment on: ISO 8601, UTC unless it says otherwise", max_length=40),
]
Until = Annotated[str, QueryParameter(description="before this moment", max_length=40)]


def words(text: str, *, what: str) -> tuple[str, ...]:
    """Return comma-separated words; none: nothing is narrowed.

    Raises:
        InvalidValueError: there are too many.

    """
    found = tuple(word for part in text.split(",") if (word := part.strip()))
    if len(found) > _WORDS_MAX:
        raise InvalidValueError(f"{what}: {len(found)} words, expected at most {_WORDS_MAX}")
    return found


def choices(text: str, known: Iterable[Choice], *, what: str) -> tuple[Choice, ...]:
    """Return what comma-separated words name, in any case; none: nothing is narrowed.

    Raises:
        InvalidValueError: a word is none of those.

    """
    by_word = {each.lower(): each for each in known}
    found = []
    for word in words(text, what=what):
        if (choice := by_word.get(word.lower())) is None:
            expected = ", ".join(by_word.values())
            raise InvalidValueError(f"{what}: {word[:_SHOWN_MAX]!r}, expected one of {expected}")
        found.append(choice)
    return tuple(found)


def moment(text: str, *, what: str) -> datetime | None:
    """Return a moment, None: none was given.

    Raises:
        InvalidValueError: it is none.

    """
    if not text:
        return None
    try:
        read = datetime.fromisoformat(text)
        return (read.replace(tzinfo=UTC) if read.tzinfo is None else read).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidValueError(f"{what}: {text!r}, expected a time such as 2026-11-21T08:00Z") from None
