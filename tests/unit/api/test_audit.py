"""The audit trail over REST: searched, verified and exported from a real database, and what REST writes into it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from actors.vocabulary.records import AuditRecord
from api.exporting import WHO_MAX, Exports
from api.noting import Noting
from ops.audit_trail import folder_of
from storage.audit_desk import AuditDesk
from storage.audit_reader import AuditBook
from storage.engine import Access, Database, real_chance
from storage.urls import sqlite_url
from tests.unit.actors.storage.ports import FakeClock
from tests.unit.api.served import Served, served, until, walked
from tests.unit.ops.audit.trail import Trail, judge

AUDIT = "/api/v1/audit"


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path / "trail")
    made.write(8)
    assert made.sign() == ""
    made.write(4)
    return made


@pytest.fixture
def api(tmp_path: Path, trail: Trail) -> Iterator[Served]:
    with served(tmp_path) as running:
        url = sqlite_url(trail.database)
        database = Database(url, Access.READ, settings=trail.settings.database, chance=real_chance())
        running.actor._service.audit = AuditDesk(folder_of(trail.settings), AuditBook(database))
        yield running
        running.on_loop(database.close())


def test_a_search_is_filtered_and_paged(api: Served) -> None:
    """AUD-3, API-2: newest first; pages meet without a gap; filters by each column."""
    pages = list(walked(api, f"{AUDIT}?limit=5&actor=anna"))
    assert [len(page.json()) for page in pages] == [5, 5, 2]
    assert [entry["sequence"] for page in pages for entry in page.json()] == list(range(12, 0, -1))
    exported = [
        line
        for page in walked(api, f"{AUDIT}/export/records?limit=5&after=1")
        for line in page.raw.splitlines()
    ]
    assert [json.loads(line)["sequence"] for line in exported] == list(range(2, 13))
    for query, count in (
        ({"event_type": "mode_set,login"}, 12),
        ({"event_type": "LOGIN"}, 0),
        ({"actor": "ANNA"}, 12),
        ({"actor": "ann"}, 0),
        ({"source_address": "127.0"}, 12),
        ({"object_id": "/north/s1/p1"}, 12),
        ({"outcome": "do"}, 12),
        ({"outcome": "%"}, 0),
        ({"severity": "low"}, 12),
        ({"severity": "HIGH"}, 0),
        ({"text": "manual"}, 12),
        ({"text": "'; DROP TABLE audit_log; --"}, 0),
        ({"since": "2026-06-01T12:00:05Z", "until": "2026-06-01T14:00:08+02:00"}, 3),
    ):
        assert len(api.get(f"{AUDIT}?{urlencode(query)}").json()) == count, query


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "since=0001-01-01T00:00%2B14:00",
        "event_type=DROP%20TABLE",
        "limit=0",
        "cursor=0",
        "cursor=LTE",
        "limit=9999",
    ],
)
def test_a_filter_that_is_none_is_named(api: Served, query: str) -> None:
    """API-1: 400 with the key, never a guess."""
    assert query.partition("=")[0] in api.get(f"{AUDIT}?{query}").problem(400)


def test_the_chain_is_verified_window_by_window(api: Served, trail: Trail) -> None:
    """AUD-1: windows meet, the last one is held against every checkpoint; the first broken record is named."""
    first = api.get(f"{AUDIT}/verify?limit=7").json()
    assert (first["holds"], first["first"], first["count"], first["next_after"]) == (True, 1, 7, 7)
    last = api.get(f"{AUDIT}/verify?after=7").json()
    assert (last["holds"], last["count"], last["next_after"], last["checkpoints_met"]) == (True, 12, None, 1)
    assert last["archived"] == 0
    api.get(f"{AUDIT}/verify?after=99").problem(404)
    trail.execute("DROP TRIGGER audit_log_no_update", "UPDATE audit_log SET actor = 'x' WHERE sequence = 3")
    broken = api.get(f"{AUDIT}/verify").json()
    assert (broken["holds"], broken["broken_at"], broken["next_after"]) == (False, 3, None)
    trail.execute("DROP TRIGGER audit_log_no_delete", "DELETE FROM audit_log WHERE sequence > 6")
    cut = api.get(f"{AUDIT}/verify?after=5").json()
    assert (cut["holds"], "cut off" in cut["complaints"][0]) == (False, True)


def test_archived_records_are_not_said_to_hold(api: Served, trail: Trail) -> None:
    """AUD-3: REST sees no segments: asked from the first record on it says so; behind them it verifies as ever."""
    trail.note_segment(4)
    found = api.get(f"{AUDIT}/verify").json()
    assert (found["holds"], found["archived"], found["first"], found["broken_at"]) == (False, 4, 5, None)
    assert "not seen here" in found["complaints"][0]
    behind = api.get(f"{AUDIT}/verify?after=4").json()
    assert (behind["holds"], behind["archived"]) == (True, 0)


def test_what_rest_exports_an_outsider_verifies(api: Served, trail: Trail, tmp_path: Path) -> None:
    """AUD-1: the three resources, put together by somebody with curl, are an export."""
    export = tmp_path / "export"
    export.mkdir()
    records = api.get(f"{AUDIT}/export/records?limit=7").raw + api.get(f"{AUDIT}/export/records?after=7").raw
    (export / "records.jsonl").write_bytes(records)
    for name in ("checkpoints", "keys"):
        (export / f"{name}.jsonl").write_bytes(api.get(f"{AUDIT}/export/{name}").raw)
    last = json.loads(records.splitlines()[-1])
    manifest = {
        "format": "calejo-audit-export/1",
        "after": 0,
        "after_hash": "0" * 64,
        "count": last["sequence"],
        "head": last["hash"],
    }
    (export / "manifest.json").write_text(json.dumps(manifest))
    code, said = judge(export, *trail.kept)
    assert (code, "records 1 to 12 hold" in said) == (0, True), said


def exports_of(api: Served) -> list[AuditRecord]:
    return [
        each
        for each in api.tree.records
        if isinstance(each, AuditRecord) and each.event_type == "AUDIT_EXPORTED"
    ]


def test_who_exports_by_rest_is_in_the_trail_once(api: Served) -> None:
    """AUD-2: the first page of an export, wherever it begins; pages that go on from it and empty ones are not."""
    for query in ("limit=5", "after=5&limit=5", "after=10", "after=12"):
        assert api.get(f"{AUDIT}/export/records?{query}").status == 200
    until(lambda: len(exports_of(api)) >= 1)
    api.get(f"{AUDIT}/export/records?after=3&limit=2")
    until(lambda: len(exports_of(api)) >= 2)
    first, second = exports_of(api)
    assert (first.after, second.after) == ({"first": 1, "until": 5}, {"first": 4, "until": 5})
    assert first.actor
    assert first.source_address.startswith("127.0.0.1:")


def test_an_export_in_a_loop_cannot_fill_the_trail() -> None:
    """AUD-2, AUD-4: ten beginnings a minute of one actor, and the next minute says how many were not noted."""
    clock = FakeClock()
    noted: list[Any] = []
    exports = Exports(Noting(noted.extend, clock), clock)
    for _ in range(25):
        exports.page(actor="eve", peer="10.0.0.9:1", after=0, first=1, last=5)
    exports.page(actor="bob", peer="10.0.0.8:1", after=0, first=1, last=5)
    assert [each.actor for each in noted] == ["eve"] * 10 + ["bob"]
    clock.at = clock.at.plus(61.0)
    exports.page(actor="eve", peer="10.0.0.9:1", after=0, first=1, last=5)
    assert noted[-1].after == {"first": 1, "until": 5, "suppressed_before": 15}
    for number in range(WHO_MAX + 10):
        exports.page(actor=f"user{number}", peer="10.0.0.9:1", after=0, first=1, last=5)
    assert len(exports._of) == WHO_MAX


def test_nothing_under_audit_takes_a_write(api: Served) -> None:
    """AUD-1: the trail is read here, by GET alone."""
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in (AUDIT, f"{AUDIT}/verify", f"{AUDIT}/export/records"):
            assert api.call(method, path).status in {404, 405}


def test_the_table_of_events_is_shown(api: Served) -> None:
    """AUD-2: with meaning and clauses."""
    events = {each["event_type"]: each for each in api.get(f"{AUDIT}/events").json()}
    assert len(events) >= 35
    assert "NIS2:23" in events["EMERGENCY_STOP_SET"]["clauses"]


def test_without_a_trail_the_api_says_so(tmp_path: Path) -> None:
    """API-2: 503, not an empty answer."""
    with served(tmp_path) as running:
        running.get(AUDIT).problem(503)


def test_refusals_are_in_the_trail_but_cannot_fill_it(api: Served) -> None:
    """AUD-2, SEC-5: a refused stop, clear or mode is written down; of a loop of one person's the first ten a minute.

    Neither what else this one is refused nor what others behind the same address are is hidden by that.
    """
    for _ in range(20):
        api.post("/api/v1/pumps/p77/mode", {"mode": "AUTO", "by": "eve"}).problem(404)
    clear, stop = (
        {"stop_ids": ["nobody"], "reason": "r", "by": "eve"},
        {"scope": "PUMP", "scope_id": "p77", "reason": "r", "by": "adam"},
    )
    api.post("/api/v1/emergency-stops/clear", clear).problem(404)
    api.post("/api/v1/emergency-stops", stop).problem(404)
    api.post("/api/v1/pumps/p77/mode", {"mode": "AUTO", "by": "adam"}).problem(404)
    until(lambda: len(api.tree.records) >= 13)
    told = [each for each in api.tree.records if isinstance(each, AuditRecord)]
    assert [(each.event_type, each.actor) for each in told] == [
        *[("MODE_REFUSED", "eve")] * 10,
        ("EMERGENCY_STOP_CLEAR_REFUSED", "eve"),
        ("EMERGENCY_STOP_REFUSED", "adam"),
        ("MODE_REFUSED", "adam"),
    ]
    assert all(each.outcome.startswith("refused: ") for each in told)
    assert {each.object_id for each in told} == {"nobody", "PUMP:p77"}


def test_what_people_ask_of_the_tree_is_in_the_trail(api: Served) -> None:
    """AUD-2: a look at the database asked for, a child taken out of quarantine."""
    assert api.post("/api/v1/discovery").status == 200
    assert api.post("/api/v1/tree/retry", {"address": "/storage"}).status == 200
    told = api.records(AuditRecord, count=2)
    assert [(each.event_type, each.object_id) for each in told] == [
        ("DISCOVERY_REQUESTED", "topology"),
        ("QUARANTINE_RETRIED", "/storage"),
    ]
    assert told[0].source_address.startswith("127.0.0.1:")
