"""Keys, checkpoints by hand, search and reports: the commands, in processes of their own."""

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from actors.vocabulary.audit_trail import AuditQuery
from api.reports import report as audit_report
from ops.audit_trail import opened
from ops.cli.audit_parser import REPORTS
from ops.cli.main import main
from storage.audit_reader import AuditBook
from storage.audit_segments import fits
from tests.unit.ops.audit.trail import Trail, judge, records_of
from tests.unit.storage.contract import moment


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path / "trail")
    made.write(6)
    return made


def test_a_key_is_rotated_and_an_outsider_follows(trail: Trail) -> None:
    """AUD-1: the export verifies over the rotation, with the first key as all that was kept elsewhere."""
    assert trail.calejo("audit", "checkpoint").returncode == 0
    first_key = trail.folder / "first.jsonl"
    first_key.write_text((trail.elsewhere / "keys.jsonl").read_text())
    rotated = trail.calejo("audit", "rotate-key", "--by", "anna")
    assert rotated.returncode == 0, rotated.stderr
    trail.write(3)
    line = trail.calejo("audit", "checkpoint")
    kept = trail.folder / "kept.jsonl"
    kept.write_text(line.stdout)
    assert json.loads(line.stdout)["checkpoint"]["number"] == 4
    code, said = judge(trail.export(), "--keys", first_key, "--checkpoint", kept)
    assert (code, "5 checkpoints are met" in said) == (0, True), said
    found = json.loads(
        trail.calejo("audit", "search", "--type", "audit_key_rotated", "--format", "json").stdout
    )
    assert [each["actor"] for each in found["records"]] == ["anna"]


def test_what_lies_in_segments_is_found_and_reported(trail: Trail) -> None:
    """AUD-3: search by pages and reports go on into the segments; without their folder they say what they lack."""
    archived = trail.calejo("audit", "archive", "--to", str(trail.folder), "--days", "1", "--delete")
    assert archived.returncode == 0, archived.stderr
    trail.write(1)
    folder = ("--segments", str(trail.folder))
    found: list[int] = []
    before: list[str] = []
    for _ in range(5):
        page = trail.calejo(
            "audit", "search", *folder, "--type", "MODE_SET", "--limit", "3", "--format", "json", *before
        )
        told = json.loads(page.stdout)
        found += [row["sequence"] for row in told["records"]]
        if told["next_before"] is None:
            break
        before = ["--before", str(told["next_before"])]
    assert found == [8, 6, 5, 4, 3, 2, 1], "record 7 tells of the archive"
    out = trail.folder / "changes.csv"
    whole = trail.calejo("audit", "report", "changes", "--out", str(out), *folder, "--format", "json")
    assert (whole.returncode, json.loads(whole.stdout)["whole"]) == (0, True), whole.stderr
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [int(row["sequence"]) for row in rows] == list(range(1, 9))
    facts = dict(csv.reader(io.StringIO((trail.folder / "changes.facts.csv").read_text())))
    assert "records 1 to 5 are archived, and their segments were seen" in facts["State of the trail"]
    period = ("--since", "2026-06-01T12:00:02", "--until", "2026-06-01T12:00:05")
    within = trail.calejo(
        "audit", "report", "changes", "--out", str(out), *folder, *period, "--format", "json"
    )
    assert json.loads(within.stdout)["records"] == 3
    lacking = trail.calejo("audit", "report", "changes", "--out", str(out), "--format", "json")
    assert (lacking.returncode, "not whole: segments not seen" in lacking.stderr) == (1, True)
    assert json.loads(lacking.stdout)["whole"] is False
    facts = dict(csv.reader(io.StringIO((trail.folder / "changes.facts.csv").read_text())))
    assert "segments not seen" in facts["Not whole"]
    assert "NOT PROVED" in facts["State of the trail"]


def test_a_report_that_is_cut_says_so_beside_its_rows(
    trail: Trail, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """AUD-3: a CSV has nowhere to say what it lacks: its facts stand beside it, exit code and a line tell too."""
    monkeypatch.setattr(audit_report, "ROWS_MAX", 4)
    out = trail.folder / "changes.csv"
    code = main(["audit", "report", "changes", "--out", str(out), "--data-dir", str(trail.data)])
    assert (code, "not whole: only the newest 4 records" in capsys.readouterr().err) == (1, True)
    assert len(list(csv.DictReader(io.StringIO(out.read_text())))) == 4
    facts = dict(csv.reader(io.StringIO((trail.folder / "changes.facts.csv").read_text())))
    assert (facts["Report"], facts["Records"], facts["Records of MODE_SET"]) == (
        "Changes and operation",
        "4",
        "4",
    )
    assert facts["Not whole"].startswith("only the newest 4 records are in it")
    assert "6 records hold" in facts["State of the trail"]


QUERIES: tuple[tuple[dict[str, Any], bool], ...] = (
    ({}, True),
    ({"event_types": ("MODE_SET",)}, True),
    ({"event_types": ("LOGIN",)}, False),
    ({"severities": ("HIGH",)}, False),
    ({"actor": "ANNA"}, True),
    ({"actor": "ann"}, False),
    ({"source_address": "127.0"}, True),
    ({"outcome": "do"}, True),
    ({"outcome": "one"}, False),
    ({"text": "manual"}, True),
    ({"text": "%"}, False),
    ({"before": 3}, False),
    ({"since": moment(3), "until": moment(4)}, True),
    ({"since": moment(4)}, False),
    ({"until": moment(3.25)}, False),
)


def test_a_segment_is_searched_as_the_database_is(trail: Trail) -> None:
    """AUD-3: one record, the same answers from both to every kind of question."""
    (row,) = [each for each in records_of(trail.export()) if each["sequence"] == 3]

    async def from_database() -> list[bool]:
        async with opened(trail.settings) as database:
            book = AuditBook(database)
            pages = [await book.search(AuditQuery(**query, limit=100)) for query, _ in QUERIES]
        return [any(each["sequence"] == 3 for each in page.records) for page in pages]

    assert asyncio.run(from_database()) == [expected for _, expected in QUERIES]
    assert [fits(row, AuditQuery(**query)) for query, _ in QUERIES] == [expected for _, expected in QUERIES]


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("form", ["html", "csv", "pdf"])
def test_every_report_in_every_form(trail: Trail, kind: str, form: str) -> None:
    """AUD-3: access, changes, emergency operations, failed log-ins, limits; as HTML, CSV and PDF."""
    out = trail.folder / f"report.{form}"
    done = trail.calejo(
        "audit", "report", kind, "--out", str(out), "--since", "2026-01-01", "--format", "json"
    )
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)["records"]
    assert records == (6 if kind == "changes" else 0), "the trail of this test is modes set"
    content = out.read_bytes()
    match form:
        case "html":
            assert b"6 records hold" in content
            assert b"<script" not in content
            assert content.count(b"<td>MODE_SET</td>") == (7 if kind == "changes" else 0)
        case "csv":
            rows = list(csv.DictReader(io.StringIO(content.decode())))
            assert len(rows) == records
            assert all(
                row["change"] == 'hz: 1.1 → ; mode: "AUTO" → "MANUAL"; é:  → [1, null, true, 0.1]'
                for row in rows
            )
        case _:
            assert content.startswith(b"%PDF-1.")
            assert content.rstrip().endswith(b"%%EOF")
