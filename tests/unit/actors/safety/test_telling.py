"""How decisions are told: records as JSON, whatever was in a proposal (SAF-4)."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from actors.plan.conditions import ConditionBook
from actors.safety.telling import TEXT_MAX, hold_alarms, hold_station_alarm, json_safe
from actors.vocabulary import Mode
from tests.unit.actors.safety.timeline import START, limits, play, pump, station


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (7, 7),
        (10**400, "a number beyond any number"),
        ("x" * 1000, "x" * TEXT_MAX),
        (Mode.AUTO, "AUTO"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
        ((1, [2.0, object()]), [1, [2.0, "a object"]]),
        ({1: {"a": math.nan}}, {"1": {"a": "nan"}}),
        ([[[[[[[1]]]]]]], [[[[[["..."]]]]]]),
        (START, {"boot_id": "boot", "boot_ns": START.boot_ns, "utc_ns": START.utc_ns}),
    ],
)
def test_everything_can_be_told_as_json(value: Any, told: Any) -> None:
    """SAF-4: bounded, finite, readable; never an error for what somebody sent."""
    assert json_safe(value) == told
    msgspec.json.encode(json_safe(value))


def test_what_holds_is_alarmed_and_what_does_not_is_cleared() -> None:
    """ALM: dry run, failsafe, hand-back and bad proposals per pump; the high level once per station."""
    of = limits(dry_run_m=0.4, dry_run_reset_m=0.6, high_m=3.0)
    header = "t_s level_m plan_hz failsafe without | setpoint_hz"
    book = ConditionBook()

    def held(*rows: str) -> set[tuple[str, str]]:
        bench = play(station(pump(of=of)), "\n".join((header, *rows)))
        hold_alarms(book, bench.decisions["a"])
        hold_station_alarm(book, "s", bench.decisions.values())
        hold_station_alarm(book, "s", ())
        return {
            (news.condition, news.subject)
            for news in book.news(START)
            if type(news).__name__ == "AlarmAsserted"
        }

    assert held("0 1.0 30 - - | 30.0") == set()
    assert held("0 0.3 30 - - | 0.0") == {("dry_run", "a")}
    assert held("0 1.0 30 FAILSAFE_DATABASE - | 30.0") == {("failsafe", "a")}
    assert held("0 3.1 30 - - | 30.0") == {("high_level", "s")}
    assert held("0 1.0 30 - - | 30.0", "1 1.0 nan - - | 30.0") == {("invalid_proposal", "a")}
    late = [f"{second} - 30 - - | -" for second in range(3)]
    assert held(*late, "3 - 30 - - | 30.0") == {("handed_back", "a")}
