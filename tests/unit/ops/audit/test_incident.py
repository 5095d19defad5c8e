"""Goal: one command gathers what an incident report needs, with the times that follow from awareness."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.vocabulary import Severity
from actors.vocabulary.records import AlarmRecord, Record
from ops.audit_trail import opened
from ops.cli.incident import due
from storage.engine import Access
from storage.writer import DatabaseWriter
from tests.unit.ops.audit.trail import Trail
from tests.unit.storage.contract import EVERY_KIND, moment, stop


@pytest.mark.parametrize(
    ("aware", "final"),
    [
        (datetime(2026, 11, 21, 8, tzinfo=UTC), datetime(2026, 12, 24, 8, tzinfo=UTC)),
        (datetime(2026, 12, 20, 8, tzinfo=UTC), datetime(2027, 1, 23, 8, tzinfo=UTC)),
        (datetime(2027, 1, 28, 8, tzinfo=UTC), datetime(2027, 2, 28, 8, tzinfo=UTC)),
    ],
)
def test_the_reports_times_follow_from_awareness(aware: datetime, final: datetime) -> None:
    """SEC-6: 24 hours, 72 hours, one month after the notification; the end of a short month counts."""
    found = due(aware)
    assert (found["early_warning"] - aware).total_seconds() == 24 * 3600
    assert (found["notification"] - aware).total_seconds() == 72 * 3600
    assert found["final_report"] == final


def test_everything_of_the_time_range_is_exported_and_nothing_else(tmp_path: Path) -> None:
    """SEC-6: each kind of record, what still lasted included; the trail's state, and the export in the trail."""
    trail = Trail(tmp_path / "trail")
    trail.execute(
        "INSERT INTO sites (site_id, name) VALUES ('north', 'North')",
        "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) VALUES ('s1', 'north', 'One', 1)",
        "INSERT INTO pumps (pump_id, station_id, name, control_type, default_setpoint_hz)"
        " VALUES ('p1', 's1', 'p1', 'DIRECT_SPEED', 30.0)",
    )
    later: list[Record] = [
        stop("00000000-0000-4000-8000-000000000009", set_at=moment(7200)),
        AlarmRecord(
            record_id="long",
            condition="c",
            subject="s",
            severity=Severity.LOW,
            text="t",
            raised_at=moment(-9000),
        ),
        AlarmRecord(
            record_id="over",
            condition="c",
            subject="s",
            severity=Severity.LOW,
            text="t",
            raised_at=moment(-9000),
            returned_at=moment(-8000),
        ),
    ]

    async def write() -> None:
        async with opened(trail.settings, Access.WRITE) as database:
            refused = await DatabaseWriter(database).write(list(enumerate([*EVERY_KIND, *later])))
            assert refused == {}

    asyncio.run(write())
    to = trail.folder / "incident"
    done = trail.calejo(
        "incident", "export", str(to), "--since", "2026-06-01T11:59", "--until", "2026-06-01T13:00",
        "--aware", "2026-06-01T12:30", "--by", "anna", "--note", "overflow", "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads((to / "incident.json").read_text())
    assert told["aware_at"] == "2026-06-01T12:30:00.000000Z"
    assert told["due"]["notification"] == "2026-06-04T12:30:00.000000Z"
    assert (told["trail"]["holds"], told["reached_the_bound"], told["not_recorded"]) == (True, [], "")
    assert told["rows"] == {
        "audit_log": 1,
        "emergency_stop_events": 1,
        "failsafe_events": 1,
        "alarms": 2,
        "safety_limit_violations": 1,
        "decisions": 1,
        "plan_refusals": 1,
        "pump_feedback": 1,
    }
    for name, count in told["rows"].items():
        assert len((to / f"{name}.jsonl").read_text().splitlines()) == count
    found = json.loads(
        trail.calejo("audit", "search", "--type", "INCIDENT_EXPORTED", "--format", "json").stdout
    )
    (record,) = found["records"]
    assert json.loads(record["after"])["aware_at"] == told["aware_at"]
    assert trail.calejo("incident", "export", str(to), "--since", "2026-06-01").returncode == 4
    assert trail.calejo("incident", "export", str(to), "--since", "soon").returncode == 2
