"""Limits with approval on SQLite, and what an envelope must be."""

from pathlib import Path
from typing import Any

import pytest

from storage.commissioning import complaints
from tests.unit.storage.contract import Place
from tests.unit.storage.limits_contract import LimitsContract
from tests.unit.storage.test_sqlite import SqlitePlace


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return SqlitePlace(tmp_path / "calejo.db")


class TestOnSqlite(LimitsContract):
    """The whole contract."""


@pytest.mark.parametrize(
    "statement",
    [
        (
            "INSERT OR REPLACE INTO pump_limit_proposals (proposal_id, pump_id, base_version, changes, reason,"
            " proposed_by, proposed_at, expires_at) VALUES ('{id}', 'p1', 1, '{{}}', 'r', 'a',"
            " '2026-06-01T12:00:00+00:00', '2026-06-01T12:00:00+00:00')"
        ),
        (
            "INSERT OR REPLACE INTO pump_safety_limits_history (history_id, operation, pump_id, version,"
            " hard_min_speed_hz, hard_max_speed_hz, set_by, set_at) VALUES (1, 'INSERT', 'p1', 1, 1, 2, 'a',"
            " '2026-06-01T12:00:00+00:00')"
        ),
    ],
)
def test_replace_is_no_way_round(place: Place, statement: str) -> None:
    """SAF-6: REPLACE deletes without asking SQLite's DELETE triggers; the INSERT is refused instead."""
    from tests.unit.storage.limits_contract import FIRST, propose

    place.seed()
    propose(place)
    with pytest.raises(place.refusal, match=r"append-only|begins as"):
        place.execute(statement.format(id=FIRST))


SPEEDS = {"hard_min_speed_hz": 18.0, "hard_max_speed_hz": 52.0}


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ({"hard_min_speed_hz": 18.0}, "hard_max_speed_hz: not given"),
        ({**SPEEDS, "speed": 1.0}, "'speed': not a limit"),
        (
            {**SPEEDS, "hard_max_speed_hz": 18.0},
            "hard_min_speed_hz: 18, expected below hard_max_speed_hz (18)",
        ),
        ({**SPEEDS, "max_power_kw": 0.0}, "max_power_kw: 0, expected above 0 (kW)"),
        ({**SPEEDS, "min_rest_s": -1.0}, "min_rest_s: -1, expected 0 or more (s)"),
        ({**SPEEDS, "max_starts_per_hour": 2.5}, "expected a whole number"),
        ({**SPEEDS, "level_max_m": float("nan")}, "expected a finite number (m)"),
        ({**SPEEDS, "level_max_m": 1e12}, "expected at most 1e+09"),
        ({**SPEEDS, "hard_max_speed_hz": 5000.0}, "expected at most 1000"),
        (
            {**SPEEDS, "level_dry_run_m": 1.0, "level_min_m": 0.9},
            "level_dry_run_m: 1, expected below level_min_m",
        ),
    ],
)
def test_an_envelope_that_makes_no_sense_is_refused(bounds: dict[str, Any], told: str) -> None:
    """SAF-6: every bound is named with what was expected."""
    assert any(told in line for line in complaints(bounds)), complaints(bounds)
    assert complaints({**SPEEDS, "level_dry_run_m": -3.0, "min_run_s": 0.0}) == ()
