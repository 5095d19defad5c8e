"""Moments as people type them: read in the local zone, or refused with the words that would do."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from actors.vocabulary import InvalidValueError
from ops.cli.moments import moment_of

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)  # 11:30 in Berlin


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("now", "2026-11-21T10:30:00"),
        ("2026-11-20T23:00:00Z", "2026-11-20T23:00:00"),
        ("2026-11-21T00:00:00.5+01:00", "2026-11-20T23:00:00.500000"),
        ("15m ago", "2026-11-21T10:15:00"),
        ("90 s ago", "2026-11-21T10:28:30"),
        ("1.5h ago", "2026-11-21T09:00:00"),
        ("2d ago", "2026-11-19T10:30:00"),
        ("11:05", "2026-11-21T10:05:00"),
        ("9:05:30", "2026-11-21T08:05:30"),
        ("11:45", "2026-11-20T10:45:00"),  # has not come today: yesterday's
        ("today 11:00", "2026-11-21T10:00:00"),
        ("Yesterday 11:45", "2026-11-20T10:45:00"),
        (" 2026-07-01 12:00 ", "2026-07-01T10:00:00"),
        ("2026-07-01T12:00:01", "2026-07-01T10:00:01"),
    ],
)
def test_words_are_read(text: str, told: str) -> None:
    """BYD-1: ISO 8601 with a zone, or the local wording that `ops/docs/explain.md` documents."""
    found = moment_of(text, now=NOW, zone=BERLIN)
    assert found.tzinfo is UTC
    assert found == datetime.fromisoformat(told).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "25:00", "10:61", "2026-02-30 10:00", "tomorrow 10:00", "10", "-5m ago", "nan m ago",
        "999999999d ago",
        "9999-12-31T23:59:59-12:00", "2026-11-21", "1e9s ago", "10:05 ago", "0001-01-01T00:00:00+14:00",
    ],
)  # fmt: skip
def test_what_is_no_moment_is_refused(text: str) -> None:
    """BYD-1: a typed error that shows the words that would do, for whatever is typed."""
    with pytest.raises(InvalidValueError, match="expected ISO 8601"):
        moment_of(text, now=NOW, zone=BERLIN)


def test_an_hour_that_was_twice_or_never_is_asked_for() -> None:
    """BYD-1: when clocks are changed a local time may name two moments or none: nobody guesses which."""
    with pytest.raises(InvalidValueError, match=r"was twice.*2026-10-25T00:30:00\+00:00 or 2026-10-25T01:30"):
        moment_of("2026-10-25 02:30", now=NOW, zone=BERLIN)
    with pytest.raises(InvalidValueError, match="never was"):
        moment_of("2026-03-29 02:30", now=NOW, zone=BERLIN)


def test_without_a_zone_this_machines_own_is_taken() -> None:
    """BYD-1: a person who types a time means the clock on the wall."""
    local = datetime(2026, 7, 1, 12, 0).astimezone().astimezone(UTC)
    assert moment_of("2026-07-01 12:00", now=NOW) == local
