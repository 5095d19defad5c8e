"""Keys, checkpoints by hand, archived segments and reports: the commands, in processes of their own."""

import asyncio
import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.vocabulary.audit_trail import AuditQuery, Checkpoint, Why
from ops import audit_report
from ops.audit_trail import opened
from ops.cli.audit_parser import REPORTS
from ops.cli.main import main
from storage.audit_export import digest_of
from storage.audit_reader import AuditBook, Segment
from storage.audit_segments import fits, walked
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


def test_old_records_leave_for_a_segment_and_everything_still_verifies(trail: Trail) -> None:
    """AUD-3: the database refuses to lose any other record; segments and the rest prove the whole chain together."""
    assert trail.sign() == ""
    done = trail.calejo(
        "audit",
        "archive",
        "--to",
        str(trail.folder),
        "--days",
        "1",
        "--delete",
        "--by",
        "anna",
        "--format",
        "json",
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["first"], told["last"], told["deleted"]) == (1, 5, True)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        trail.execute("DELETE FROM audit_log WHERE sequence = 6")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        trail.execute("DELETE FROM audit_segments")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        trail.execute("UPDATE audit_segments SET last_sequence = 6")
    trail.write(2)
    assert trail.sign() == "", "the notary goes on over the archived beginning"
    unseen = trail.calejo("audit", "verify", "--format", "json")
    told_of = json.loads(unseen.stdout)
    assert (unseen.returncode, told_of["holds"], told_of["unseen"]) == (
        1,
        False,
        [Path(told["segment"]).name],
    )
    seen = trail.calejo("audit", "verify", "--segments", str(trail.folder), "--format", "json")
    verified = json.loads(seen.stdout)
    assert (seen.returncode, verified["holds"], verified["archived"], verified["first"]) == (0, True, 5, 6)
    export, segment = trail.export(), Path(told["segment"])
    code, said = judge(segment, export, *trail.kept)
    assert (code, "records 1 to 9 hold" in said, "note" in said) == (0, True, False), said
    assert judge(segment, "--keys", trail.elsewhere / "keys.jsonl")[0] == 0
    assert "begins behind record 5" in judge(export)[1]
    code, said = judge(export, segment)
    assert (code, "not where the one before ends" in said) == (1, True)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO audit_segments VALUES (6, 1, (SELECT hash FROM audit_log WHERE sequence = 6), '', '', '', '{at}')",
        "INSERT INTO audit_segments VALUES (4, 2, (SELECT hash FROM audit_log WHERE sequence = 4), '', '', '', '{at}')",
        "INSERT INTO audit_segments VALUES (4, 1, 'another', '', '', '', '{at}')",
    ],
)
def test_the_database_refuses_a_segment_that_does_not_fit(trail: Trail, statement: str) -> None:
    """AUD-3: not the end of the chain, not with a gap, not another chain's."""
    with pytest.raises(sqlite3.IntegrityError, match="does not continue"):
        trail.execute(statement.format(at="2026-06-01T12:00:00.000000+00:00"))


def test_a_segment_that_was_only_noted_hides_nothing(trail: Trail) -> None:
    """AUD-1, AUD-3: on SQLite whoever writes the database can note a segment and delete its records: it is told."""
    assert trail.sign() == ""
    trail.note_segment(4)
    done = trail.calejo("audit", "verify", "--segments", str(trail.folder))
    assert done.returncode == 1
    assert "NOT SEEN: segment 'audit-1-4.tar.gz'" in done.stdout
    assert "records 1 to 4 are archived, not all of them were seen" in done.stdout
    out = trail.folder / "report.html"
    reported = trail.calejo("audit", "report", "changes", "--out", str(out), "--segments", str(trail.folder))
    assert (reported.returncode, "not whole: segments not seen" in reported.stderr) == (1, True), (
        reported.stderr
    )
    told = out.read_text()
    assert "2 records hold" in told
    assert "NOT PROVED: records 1 to 4 are archived, segments not seen: audit-1-4.tar.gz" in told
    assert "<dt>Not whole</dt>" in told
    exported = trail.calejo(
        "incident", "export", str(trail.folder / "incident"), "--since", "2026-06-01", "--segments", str(trail.folder)
    )  # fmt: skip
    assert (exported.returncode, "NOT PROVED" in exported.stderr) == (1, True), exported.stderr
    incident = json.loads((trail.folder / "incident" / "incident.json").read_text())
    assert incident["trail"]["holds"] is False
    searched = trail.calejo("audit", "search", "--segments", str(trail.folder), "--format", "json")
    assert (searched.returncode, json.loads(searched.stdout)["unseen"]) == (0, ["audit-1-4.tar.gz"])
    assert "not searched: segments not seen: audit-1-4.tar.gz" in searched.stderr


def test_everything_taken_out_under_a_noted_segment_is_told(trail: Trail) -> None:
    """AUD-1: a database that is empty behind a noted segment does not hold, also without any checkpoint."""
    trail.note_segment(4)
    trail.execute("DROP TRIGGER audit_log_no_delete", "DELETE FROM audit_log")
    done = trail.calejo("audit", "verify", "--format", "json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["holds"], told["unseen"]) == (1, False, ["audit-1-4.tar.gz"])


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


@pytest.mark.parametrize(
    "what", ["sound", "another file", "cut", "another chain", "a name elsewhere", "no tar"]
)
def test_a_segment_counts_only_if_it_is_the_chain_s(trail: Trail, what: str) -> None:
    """AUD-3: the digest that was noted, and every record from the first on, held against what was signed."""
    assert trail.sign() == ""
    words = ("--to", str(trail.folder), "--days", "1", "--delete", "--by", "anna", "--format", "json")
    path = Path(json.loads(trail.calejo("audit", "archive", *words).stdout)["segment"])
    segment = Segment(first_sequence=1, last_sequence=5, last_hash="", name=path.name, sha256=digest_of(path))
    with sqlite3.connect(trail.database) as connection:
        (last_hash,) = connection.execute("SELECT last_hash FROM audit_segments").fetchone()
    segment = msgspec.structs.replace(segment, last_hash=last_hash)
    expected = (0, 0)
    match what:
        case "another file":
            path.write_bytes(path.read_bytes() + b"\0")
            expected = (1, 0)
        case "cut":
            segment = msgspec.structs.replace(segment, last_sequence=6)
            expected = (0, 1)
        case "another chain":
            segment = msgspec.structs.replace(segment, last_hash="0" * 64)
            expected = (0, 1)
        case "a name elsewhere":
            segment = msgspec.structs.replace(segment, name=f"../{path.parent.name}/{path.name}")
            expected = (1, 0)
        case "no tar":
            path.write_bytes(b"no tar at all")
            segment = msgspec.structs.replace(segment, sha256=digest_of(path))
            expected = (0, 1)
        case _:
            pass
    found = walked((segment,), [path.parent / "nothing", path.parent])
    assert (len(found.unseen), len(found.complaints)) == expected, found
    if what == "sound":
        forged = Checkpoint(
            format="calejo-audit-checkpoint/1", number=1, at="", count=3, head="0" * 64, key_id="", previous="",
            reason=Why.ASKED,
        )  # fmt: skip
        assert "another record" in walked((segment,), [path.parent], [forged]).complaints[0]


def test_a_broken_trail_is_neither_archived_nor_signed(trail: Trail) -> None:
    """AUD-3: an archive must not launder what was changed."""
    assert trail.sign() == ""
    trail.execute("DROP TRIGGER audit_log_no_update", "UPDATE audit_log SET actor = 'x' WHERE sequence = 2")
    done = trail.calejo("audit", "archive", "--to", str(trail.folder), "--days", "1", "--delete")
    assert (done.returncode, "a broken trail is not archived" in done.stderr) == (4, True), done.stderr
    trail.execute("UPDATE audit_log SET hash = 'x' WHERE sequence = 6")
    assert trail.calejo("audit", "rotate-key").returncode == 1
    assert trail.calejo("audit", "checkpoint").returncode == 4


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
