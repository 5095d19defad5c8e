"""Goal: one command gathers what an incident report needs, with the times that follow from awareness."""

import asyncio
import fcntl
import json
import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from actors.vocabulary import Severity
from actors.vocabulary.records import AlarmRecord, Record
from ops.audit_trail import opened
from ops.cli.incident import due
from storage import incidents
from storage.engine import Access
from storage.incidents import LEFT_OUT, PARTS, SECRET_COLUMNS, TIMES
from storage.models import metadata
from storage.writer import DatabaseWriter
from tests.unit.ops.audit.trail import Trail
from tests.unit.storage.contract import EVERY_KIND, NOON, moment, stop

PLANT = (
    "INSERT INTO sites (site_id, name) VALUES ('north', 'North')",
    "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) VALUES ('s1', 'north', 'One', 1)",
    (
        "INSERT INTO pumps (pump_id, station_id, name, control_type, default_setpoint_hz)"
        " VALUES ('p1', 's1', 'p1', 'DIRECT_SPEED', 30.0), ('p2', 's1', 'p2', 'DIRECT_SPEED', 30.0)"
    ),
)


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


def test_every_table_is_exported_or_left_out_with_a_reason() -> None:
    """SEC-6: a table that comes with a later version is in the export by itself, or somebody says why it is not."""
    exported = {part.table.name for part in PARTS}
    assert exported | LEFT_OUT.keys() == set(metadata.tables)
    assert not exported & LEFT_OUT.keys()
    assert all(len(reason) > 20 for reason in LEFT_OUT.values())
    assert TIMES.keys() <= exported
    for part in PARTS:
        if part.times is not None:
            assert {each for each in part.times if each} <= set(part.table.c.keys()), part.table.name
        if part.times is None:
            grows = {"record_id", "at", "raised_at", "started_at", "measured_at"} & set(part.table.c.keys())
            assert not grows, f"{part.table.name} grows without end and would be exported whole"


def test_no_secret_is_in_an_export() -> None:
    """SEC-6, SEC-3: neither hashes of passwords and keys nor seeds of second factors."""
    written = {f"{part.table.name}.{column.name}" for part in PARTS for column in part.columns}
    assert [name for name in written if re.search(r"secret|password_hash|totp|request_hash", name)] == []
    assert {"users.role", "service_keys.operations", "user_sessions.source_address"} <= written
    for table, columns in SECRET_COLUMNS.items():
        assert columns <= set(metadata.tables[table].c.keys())


def _prepared(folder: Path) -> Trail:
    """A plant with a record of each kind inside the range 11:59 to 13:00, and others outside."""
    trail = Trail(folder)
    trail.execute(
        *PLANT,
        "INSERT INTO pump_plans (station_id, pump_id, interval_start, interval_end, suggested_speed_hz, plan_version,"
        " created_at) VALUES"
        " ('s1', 'p1', '2026-06-01T11:00:00Z', '2026-06-01T12:00:00Z', 30, 1, '2026-06-01T10:00:00Z'),"
        " ('s1', 'p1', '2026-06-01T12:45:00Z', '2026-06-01T13:45:00Z', 31, 1, '2026-06-01T10:00:00Z'),"
        " ('s1', 'p1', '2026-06-01T10:00:00Z', '2026-06-01T11:00:00Z', 32, 1, '2026-06-01T10:00:00Z'),"
        " ('s1', 'p2', '2026-06-01T13:00:00Z', '2026-06-01T14:00:00Z', 33, 1, '2026-06-01T10:00:00Z')",
        "INSERT INTO station_duties (station_id, alternation) VALUES ('s1', 'BY_STARTS')",
        "INSERT INTO users (user_id, kind, role, password_hash, created_at, created_by)"
        " VALUES ('anna', 'PERSON', 'OPERATOR', '$argon2id$S3CRET', '2026-01-01T00:00:00Z', 'admin')",
        "INSERT INTO user_sessions (session_id, user_id, started_at, seen_at, expires_at, source_address, ended_at,"
        " ended_by) VALUES"
        " ('early', 'anna', '2026-06-01T08:00:00Z', '2026-06-01T08:00:00Z', '2026-06-01T20:00:00Z', '10.0.0.1',"
        "  '2026-06-01T09:00:00Z', 'anna'),"
        " ('lasting', 'anna', '2026-06-01T08:00:00Z', '2026-06-01T08:00:00Z', '2026-06-01T20:00:00Z', '10.0.0.2',"
        "  '2026-06-01T12:30:00Z', 'anna')",
        "INSERT INTO login_failures (kind, name, count, last_at) VALUES"
        " ('ACCOUNT', 'anna', 3, '2026-06-01T12:10:00Z')",
        "INSERT INTO pump_limit_proposals (proposal_id, pump_id, base_version, changes, reason, proposed_by,"
        " proposed_at, expires_at) VALUES ('l1', 'p1', 1, '{}', 'r', 'eve', '2026-06-01T12:05:00Z',"
        " '2026-06-08T12:05:00Z')",
    )
    return trail


def test_everything_of_the_time_range_is_exported_and_nothing_else(tmp_path: Path) -> None:
    """SEC-6: each kind of record, what still lasted included; the trail's state, and the export in the trail."""
    trail = _prepared(tmp_path / "trail")
    later: list[Record] = [
        stop("00000000-0000-4000-8000-000000000009", set_at=moment(7200)),
        *(
            AlarmRecord(
                record_id=name,
                condition="c",
                subject="s",
                severity=Severity.LOW,
                text="t",
                raised_at=moment(-9000),
                returned_at=returned_at,
            )
            for name, returned_at in (("long", None), ("over", moment(-8000)))
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
    assert (told["trail"]["holds"], told["trail"]["segments"]) == (True, [])
    assert json.loads(done.stdout)["not_recorded"] == ""
    assert told["left_out"].keys() == LEFT_OUT.keys()
    assert told["rows"].keys() == {part.table.name for part in PARTS}
    found = {name: count for name, count in told["rows"].items() if count}
    assert found == {
        "audit_log": 1,
        "emergency_stop_events": 1,
        "failsafe_events": 1,
        "alarms": 2,
        "safety_limit_violations": 1,
        "decisions": 1,
        "wire_records": 1,
        "plan_refusals": 1,
        "pump_feedback": 1,
        "pump_plans": 2,
        "pump_limit_proposals": 1,
        "login_failures": 1,
        "user_sessions": 1,
        "users": 1,
        "station_duties": 1,
        "sites": 1,
        "pump_stations": 1,
        "pumps": 2,
    }
    for name, count in told["rows"].items():
        assert len((to / f"{name}.jsonl").read_text().splitlines()) == count
    assert "S3CRET" not in "".join(path.read_text() for path in to.iterdir())
    found = json.loads(
        trail.calejo("audit", "search", "--type", "INCIDENT_EXPORTED", "--format", "json").stdout
    )
    (record,) = found["records"]
    assert json.loads(record["after"])["aware_at"] == told["aware_at"]
    assert trail.calejo("incident", "export", str(to), "--since", "2026-06-01").returncode == 4
    assert trail.calejo("incident", "export", str(to), "--since", "soon").returncode == 2


def test_no_row_is_lost_between_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-6: pages meet without gap or overlap, also where many rows of several pumps have the same time."""
    trail = _prepared(tmp_path / "trail")
    monkeypatch.setattr(incidents, "PAGE", 3)
    values = [
        f"('{pump}', '2026-06-01T12:00:{second:02d}Z', {number})"
        for number, (pump, second) in enumerate(
            (pump, second) for second in (0, 0, 0, 0, 0, 0, 0, 1, 1, 59) for pump in ("p1", "p2")
        )
    ]
    trail.execute(f"INSERT INTO pump_feedback (pump_id, measured_at, fault_code) VALUES {', '.join(values)}")

    async def read(name: str) -> list[dict[str, Any]]:
        (part,) = (each for each in PARTS if each.table.name == name)
        async with opened(trail.settings) as database:
            since, until = NOON, NOON + timedelta(seconds=59)
            return [
                row
                async for page in incidents.pages(database, part, since=since, until=until)
                for row in page
            ]

    found = asyncio.run(read("pump_feedback"))
    assert sorted(row["fault_code"] for row in found) == list(range(18)), "the last second is outside"
    assert [row["pump_id"] for row in found] == ["p1"] * 9 + ["p2"] * 9
    assert all(not name.startswith("_") for name in found[0])
    assert len(asyncio.run(read("pumps"))) == 2


def test_an_export_that_fails_leaves_nothing_and_the_next_one_is_whole(tmp_path: Path) -> None:
    """SEC-6: neither an error half way nor a kill leaves a folder that looks like an export or refuses the next."""
    trail = _prepared(tmp_path / "trail")
    to, part = trail.folder / "incident", trail.folder / ".incident.part"
    shutil.copy(trail.database, trail.folder / "kept.db")
    trail.execute("DROP TABLE wire_records")
    failed = trail.calejo("incident", "export", str(to), "--since", "2026-06-01")
    assert (failed.returncode, "wire_records" in failed.stderr) == (1, True), failed.stderr
    assert not to.exists()
    assert not part.exists()
    shutil.copy(trail.folder / "kept.db", trail.database)
    part.mkdir()
    (part / "alarms.jsonl").write_text("what a run that was killed left\n")
    done = trail.calejo("incident", "export", str(to), "--since", "2026-06-01")
    assert done.returncode == 0, done.stderr
    assert (to / "alarms.jsonl").read_text() == ""
    assert not part.exists()


def test_two_exports_of_one_name_do_not_mix(tmp_path: Path) -> None:
    """SEC-6: the second is refused and leaves the first one's files alone."""
    trail = Trail(tmp_path / "trail")
    to, part = trail.folder / "incident", trail.folder / ".incident.part"
    part.mkdir()
    (part / "alarms.jsonl").write_text("of the one that is being written\n")
    handle = os.open(part, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = trail.calejo("incident", "export", str(to), "--since", "2026-06-01")
    finally:
        os.close(handle)
    assert (done.returncode, "another export" in done.stderr) == (4, True), done.stderr
    assert (part / "alarms.jsonl").exists()
    assert not to.exists()


def test_archived_records_of_the_time_range_are_named_or_in_it(tmp_path: Path) -> None:
    """SEC-6, AUD-3: what left for a segment is exported where the segment is seen, and else said to be missing."""
    trail = Trail(tmp_path / "trail")
    trail.write(6)
    assert trail.sign() == ""
    archive = ("audit", "archive", "--to", str(trail.folder), "--days", "1", "--delete")
    assert trail.calejo(*archive).returncode == 0
    since = ("--since", "2026-06-01T12:00:03", "--until", "2026-06-01T13:00")
    blind = trail.calejo("incident", "export", str(trail.folder / "blind"), *since)
    assert (blind.returncode, "segments not seen: audit-" in blind.stderr) == (1, True), blind.stderr
    told = json.loads((trail.folder / "blind" / "incident.json").read_text())
    (segment,) = told["trail"]["segments"]
    assert (told["trail"]["holds"], segment["first"], segment["last"], segment["seen"]) == (
        False,
        1,
        5,
        False,
    )
    assert told["rows"]["audit_log"] == 1
    to = trail.folder / "seen"
    seen = trail.calejo("incident", "export", str(to), *since, "--segments", str(trail.folder))
    assert seen.returncode == 0, seen.stderr
    told = json.loads((to / "incident.json").read_text())
    assert (told["trail"]["holds"], told["trail"]["segments"][0]["seen"]) == (True, True)
    found = [json.loads(line)["record_id"] for line in (to / "audit_log.jsonl").read_text().splitlines()]
    assert found == ["a3", "a4", "a5", "a6"]
