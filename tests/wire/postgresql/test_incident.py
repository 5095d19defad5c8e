"""An incident's export on a real PostgreSQL, by the two logins that have nothing but Calejo's roles."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors.vocabulary import Settings
from actors.vocabulary.settings import DatabaseSettings
from ops.audit_trail import opened, reading
from storage import incidents
from storage.incidents import PARTS
from tests.services import Postgres
from tests.unit.storage.contract import DUTIES_ROW, EVERY_KIND, NOON, feedback, moment
from tests.wire.postgresql.test_postgresql import PostgresPlace

pytestmark = [pytest.mark.services, pytest.mark.wire]


def test_every_table_is_read_by_a_login_that_may(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-6, DAT-2: neither role reads all of it; a page a row, so that each kind of key goes on behind the last."""
    monkeypatch.setattr(incidents, "PAGE", 1)
    place = PostgresPlace(postgres)
    place.seed()
    place.insert("station_duties", DUTIES_ROW)
    for number in (1, 2):
        place.execute(
            "INSERT INTO pump_plans (station_id, pump_id, interval_start, interval_end, plan_version)"
            " VALUES ('s1', ?, '2026-06-01T11:30:00Z', '2026-06-01T12:30:00Z', 1)",
            f"p{number}",
        )
    more = [feedback(number, measured_at=moment(number % 2)) for number in range(2, 6)]
    assert place.write(*EVERY_KIND, *more) == {}
    settings = Settings(
        data_dir="unused", database=DatabaseSettings(url=place.writer_url, reader_url=place.reader_url)
    )

    async def read() -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        since, until = NOON - timedelta(minutes=1), NOON + timedelta(hours=1)
        async with opened(settings) as writer_s, reading(settings) as reader_s:
            for part in PARTS:
                database = reader_s if part.by_reader else writer_s
                pages = incidents.pages(database, part, since=since, until=until)
                found[part.table.name] = [row async for page in pages for row in page]
        return found

    found = asyncio.run(read())
    for table, expected in {
        "audit_log": 1, "decisions": 1, "wire_records": 1, "failsafe_events": 1, "emergency_stop_events": 1,
        "alarms": 1, "pump_feedback": 5, "pump_plans": 2, "pumps": 2, "pump_safety_limits": 2, "station_duties": 1,
        "pump_commissioning_envelopes": 2,
    }.items():  # fmt: skip
        assert len(found[table]) == expected, table
    assert len({row["feedback_id"] for row in found["pump_feedback"]}) == 5
    times = [row["measured_at"] for row in found["pump_feedback"]]
    assert times == sorted(times)
