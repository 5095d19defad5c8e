"""Limits with approval on a real PostgreSQL, by the limited roles."""

import psycopg
import pytest

from tests.services import Postgres
from tests.unit.storage.limits_contract import LimitsContract, approve, propose
from tests.wire.postgresql.test_postgresql import PostgresPlace

pytestmark = [pytest.mark.services, pytest.mark.wire]


@pytest.fixture
def place(postgres: Postgres) -> PostgresPlace:
    return PostgresPlace(postgres)


class TestOnPostgresql(LimitsContract):
    """The whole contract."""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pump_commissioning_envelopes SET max_speed_hz = 99",
        (
            "INSERT INTO pump_commissioning_envelopes (pump_id, min_speed_hz, max_speed_hz, commissioned_by)"
            " VALUES ('p1', 1, 99, 'x')"
        ),
        "DELETE FROM pump_commissioning_envelopes",
        "UPDATE pump_safety_limits SET hard_max_speed_hz = 52",
        "DELETE FROM pump_safety_limits",
        "TRUNCATE pump_safety_limits",
        (
            "INSERT INTO pump_safety_limits_history (operation, pump_id, version, hard_min_speed_hz,"
            " hard_max_speed_hz, set_by, set_at) VALUES ('INSERT', 'p1', 9, 1, 2, 'x', now())"
        ),
        "UPDATE pump_safety_limits_history SET version = 9",
        "DELETE FROM pump_limit_proposals",
        "UPDATE pump_limit_proposals SET changes = '{}'",
        "UPDATE pump_limit_proposals SET proposed_by = 'x'",
        "SELECT calejo_limits_remembered()",
        "SELECT * FROM pumps",
        "UPDATE pumps SET control_type = 'DIRECT_SPEED'",
    ],
)
def test_the_login_that_serves_the_network_cannot_widen_anything(
    place: PostgresPlace, statement: str
) -> None:
    """SAF-6, DAT-2: the envelope is not its to write, nor what was proposed, nor the history."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        place.execute_as(place.writer_url, statement)


def test_truncating_is_remembered_or_refused(place: PostgresPlace) -> None:
    """SAF-6: the owner may empty the limits, and the history says what was there; it keeps itself."""
    place.seed()
    propose(place)
    approve(place)
    place.execute("TRUNCATE pump_safety_limits")
    gone = place.execute(
        "SELECT pump_id, version FROM pump_safety_limits_history WHERE operation = 'DELETE' ORDER BY 1, 2"
    )
    assert gone == [("p1", 1), ("p1", 2), ("p2", 1)]
    for table in ("pump_safety_limits_history", "pump_limit_proposals"):
        with pytest.raises(psycopg.errors.CheckViolation, match=r"append-only|for ever"):
            place.execute(f"TRUNCATE {table}")
