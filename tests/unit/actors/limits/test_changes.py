"""What a change of limits may do: directions, envelope, consistency; by example."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from actors.limits.changes import Direction, diff, forbidden, inconsistencies, malformed, values_of
from actors.vocabulary import ControlType
from actors.vocabulary.limits import LIMIT_KEYS, Tighter
from tests.unit.actors.limits.books import VALUES, book, current, envelope


def complaint(**changed: float) -> str:
    found = forbidden(book(), {**VALUES, **changed})
    assert len(found) <= 1, found
    return found[0] if found else ""


def test_a_maximum_is_tighter_when_lower_and_a_minimum_when_higher() -> None:
    """SAF-6: the direction of every limit, as an engineer would say it."""
    tighter_when_higher = {name for name, key in LIMIT_KEYS.items() if key.tighter is Tighter.HIGHER}
    assert tighter_when_higher == {
        "hard_min_speed_hz", "level_min_m", "level_dry_run_m", "level_dry_run_reset_m", "min_flow_m3h",
        "min_run_s", "min_rest_s",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "at_bound", "outside", "side"),
    [
        ("hard_max_speed_hz", 52.0, 52.01, "at most 52 Hz"),
        ("hard_min_speed_hz", 18.0, 17.99, "at least 18 Hz"),
        ("max_rate_hz_per_s", 5.0, 5.1, "at most 5 Hz/s"),
        ("level_dry_run_m", 0.3, 0.29, "at least 0.3 m"),
        ("level_dry_run_reset_m", 0.45, 0.399, "at least 0.4 m"),
        ("level_emergency_high_m", 2.8, 2.81, "at most 2.8 m"),
        ("max_starts_per_hour", 12.0, 13.0, "at most 12 1/h"),
    ],
)
def test_a_limit_may_be_widened_to_its_bound_and_not_past_it(
    key: str, at_bound: float, outside: float, side: str
) -> None:
    """SAF-6: key, value, expectation and envelope are named."""
    assert complaint(**{key: at_bound}) == ""
    found = forbidden(book(), {**VALUES, key: outside})
    told = next(line for line in found if line.startswith(f"{key}: {outside:g}"))
    assert f"expected {side}, the commissioning envelope's bound" in told


def test_tightening_is_allowed_however_far_it_stays_consistent() -> None:
    """SAF-6: both directions of the speed band, a rate, a level."""
    assert forbidden(book(), {**VALUES, "hard_max_speed_hz": 20.01, "max_rate_hz_per_s": 0.01}) == ()
    assert complaint(level_dry_run_m=0.59) == ""


def test_without_a_bound_a_limit_may_be_tightened_only() -> None:
    """SAF-6: nobody commissioned how far max_power_kw may go."""
    assert complaint(max_power_kw=21.0) == ""
    assert complaint(max_flow_m3h=100.0) == "", "setting what was not set protects more"
    told = complaint(max_power_kw=22.5)
    assert told.startswith("max_power_kw: 22.5 kW, expected at most the 22 kW in force")
    without = {name: value for name, value in VALUES.items() if name != "max_power_kw"}
    assert "max_power_kw: not set" in forbidden(book(), without)[0]


def test_a_bounded_limit_must_be_set() -> None:
    """SAF-6: no limit at all is wider than any bound."""
    without = {name: value for name, value in VALUES.items() if name != "max_starts_per_hour"}
    (told,) = forbidden(book(), without)
    assert told == "max_starts_per_hour: not set, expected at most 12 1/h, the commissioning envelope's bound"


@pytest.mark.parametrize(
    "changed",
    [
        {"hard_min_speed_hz": 50.0},
        {"hard_min_speed_hz": 51.0},
        {"level_dry_run_m": 0.6},
        {"level_dry_run_m": 0.75, "level_dry_run_reset_m": 0.9},
        {"level_min_m": 2.0},
        {"level_max_m": 0.7},
        {"level_emergency_high_m": 1.9},
        {"level_emergency_high_reset_m": 2.6},
        {"level_dry_run_reset_m": 2.3},
        {"level_emergency_high_reset_m": 0.5},
        {"max_flow_m3h": 50.0, "min_flow_m3h": 50.0},
        {"min_run_s": 60.0, "max_run_s": 60.0},
        {"max_power_kw": 0.0},
        {"min_rest_s": -1.0},
        {"max_starts_per_hour": 0.0},
        {"max_rate_hz_per_s": 0.0},
    ],
)
def test_relations_between_keys_are_kept(changed: dict[str, float]) -> None:
    """DAT-1, SAF-6: min < max, resets beyond their levels, dry < min < max < emergency high."""
    assert inconsistencies(VALUES) == ()
    found = inconsistencies({**VALUES, **changed})
    assert found
    assert all(any(name in line for name in LIMIT_KEYS) for line in found)


def test_a_level_and_its_reset_go_together() -> None:
    """DAT-1: a dry-run level without the level at which it ends protects once, or for ever."""
    for gone in ("level_dry_run_m", "level_dry_run_reset_m", "level_emergency_high_m"):
        values = {name: value for name, value in VALUES.items() if name != gone}
        assert any(gone in line for line in inconsistencies(values)), gone


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "changes: empty"),
        ({"speed": 1.0}, "'speed': not a limit, expected one of hard_min_speed_hz"),
        ({"hard_max_speed_hz": None}, "a limit is not removed remotely"),
        ({"hard_max_speed_hz": "45"}, "expected a number (Hz)"),
        ({"hard_max_speed_hz": True}, "expected a number (Hz)"),
        ({"hard_max_speed_hz": [45]}, "expected a number (Hz)"),
        ({"hard_max_speed_hz": math.nan}, "expected a finite number (Hz)"),
        ({"hard_max_speed_hz": -math.inf}, "expected a finite number (Hz)"),
        ({"level_max_m": 1e10}, "expected a finite number (m)"),
        ({"max_starts_per_hour": 4.5}, "expected a whole number (1/h)"),
    ],
)
def test_what_no_limit_could_be_is_named(changes: dict[str, Any], told: str) -> None:
    """SAF-6, API-1: NaN, infinities, text, truth values, unknown keys, nothing at all."""
    (found,) = malformed(changes)
    assert told in found


def test_what_the_control_type_needs_must_be_there() -> None:
    """DAT-5: limits that discovery would refuse are refused before anybody approves them."""
    power = book(control_type=ControlType.POWER_CONTROLLED, envelope=envelope(), current=None)
    values = {name: VALUES[name] for name in VALUES if name != "max_power_kw"}
    assert forbidden(power, values) == (
        "max_power_kw: not set, expected a number: POWER_CONTROLLED needs it",
    )


def test_without_an_envelope_nothing_is_allowed() -> None:
    """SAF-6: a pump that nobody commissioned has no room to move in."""
    (told,) = forbidden(book(envelope=None), VALUES)
    assert "not commissioned" in told


def test_an_envelope_narrowed_since_judges_what_is_in_force_too() -> None:
    """SAF-6: a proposal on another key does not slip limits through that are outside today."""
    narrowed = book(envelope=envelope(hard_max_speed_hz=45.0))
    (told,) = forbidden(narrowed, {**VALUES, "max_rate_hz_per_s": 1.0})
    assert told.startswith("hard_max_speed_hz: 50 Hz, expected at most 45 Hz")


def test_the_difference_names_what_changes_and_in_which_direction() -> None:
    """SAF-6: changed keys only, with direction and bound."""
    after = {**VALUES, "hard_max_speed_hz": 45.0, "level_dry_run_m": 0.35, "min_rest_s": 30.0}
    changes = diff(VALUES, after, envelope())
    assert [(each.key, each.before, each.after, each.direction, each.bound) for each in changes] == [
        ("hard_max_speed_hz", 50.0, 45.0, Direction.TIGHTER, 52.0),
        ("level_dry_run_m", 0.4, 0.35, Direction.WIDER, 0.3),
        ("min_rest_s", None, 30.0, Direction.TIGHTER, None),
    ]
    (removed,) = diff({"max_power_kw": 22.0}, {})
    assert (removed.direction, removed.after) == (Direction.WIDER, None)
    assert diff(VALUES, dict(VALUES)) == ()


def test_what_is_set_is_what_is_not_none() -> None:
    """SAF-6: the values of limits in force, and of none."""
    assert values_of(current()) == VALUES
    assert values_of(None) == {}
    assert set(LIMIT_KEYS) < set(msgspec.structs.asdict(current()))
