"""Old records into segments: written, looked at, taken out, proved: the commands, in processes."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from actors.vocabulary.audit_trail import Checkpoint, Look, Why
from ops.audit_trail import notary_of, opened
from storage.audit_export import digest_of
from storage.audit_reader import AuditBook, Segment
from storage.audit_segments import walked
from storage.files import alone
from tests.unit.ops.audit.trail import PROCESS_S, ROOT, Trail, judge
from tests.unit.storage.contract import NOON


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path / "trail")
    made.write(6)
    return made


ARCHIVE = ("audit", "archive", "--days", "1", "--format", "json", "--to")


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
    code, said = judge(export, *trail.kept)
    assert (code, "BROKEN: records 1 to 5 are not here" in said) == (1, True), said
    code, said = judge(export, *trail.kept, "--partial")
    assert (code, "note: begins behind record 5" in said) == (0, True), said
    code, said = judge(export, segment, "--partial")
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


def test_a_segment_is_written_looked_at_and_deleted_on_three_days(trail: Trail) -> None:
    """AUD-3: what was looked at is what is noted, byte by byte; records that grew old meanwhile come next."""
    folder = str(trail.folder)
    first = json.loads(trail.calejo(*ARCHIVE, folder).stdout)
    assert (first["last"], first["deleted"], first["was_there"]) == (5, False, False)
    path = Path(first["segment"])
    written = path.read_bytes()
    again = json.loads(trail.calejo(*ARCHIVE, folder, "--delete").stdout)
    assert (again["last"], again["was_there"], again["sha256"]) == (5, True, first["sha256"])
    assert path.read_bytes() == written
    verified = trail.calejo("audit", "verify", "--segments", folder)
    assert verified.returncode == 0, verified.stdout
    told = json.loads(trail.calejo("audit", "search", "--type", "AUDIT_ARCHIVED", "--format", "json").stdout)
    assert [json.loads(each["after"])["deleted"] for each in told["records"]] == [True, False]


def test_a_segment_that_ends_earlier_is_the_one_that_was_looked_at(trail: Trail) -> None:
    """AUD-3: between looking and deleting more records grow old; what goes is what was looked at."""
    folder = str(trail.folder)
    first = json.loads(trail.calejo(*ARCHIVE, folder).stdout)
    trail.write(3)
    deleted = json.loads(trail.calejo(*ARCHIVE, folder, "--delete").stdout)
    assert (deleted["segment"], deleted["last"]) == (first["segment"], 5)
    trail.write(1)
    following = json.loads(trail.calejo(*ARCHIVE, folder, "--delete").stdout)
    assert (following["first"], following["was_there"]) == (6, False)
    verified = trail.calejo("audit", "verify", "--segments", folder)
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize("damage", ["cut", "flipped", "another chain's", "no tar"])
def test_a_file_that_is_not_the_chain_s_lets_nothing_be_deleted(trail: Trail, damage: str) -> None:
    """AUD-3: it is read back before anything goes, whoever wrote it and whatever happened to it since."""
    path = Path(json.loads(trail.calejo(*ARCHIVE, str(trail.folder)).stdout)["segment"])
    raw = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(raw[: len(raw) // 2])
        case "flipped":
            middle = len(raw) // 2
            path.write_bytes(raw[:middle] + bytes([raw[middle] ^ 0x55]) + raw[middle + 1 :])
        case "another chain's":
            other = Trail(trail.folder / "other")
            other._number = 20
            other.write(6)
            made = json.loads(other.calejo(*ARCHIVE, str(other.folder)).stdout)
            path.write_bytes(Path(made["segment"]).read_bytes())
        case _:
            path.write_bytes(b"no tar at all")
    done = trail.calejo(*ARCHIVE, str(trail.folder), "--delete")
    assert (done.returncode, "is not what the chain holds" in done.stderr) == (4, True), done.stderr
    verified = json.loads(trail.calejo("audit", "verify", "--format", "json").stdout)
    assert (verified["holds"], verified["first"], verified["archived"]) == (True, 1, 0)


_KILLED = """
import os, signal, sys
from pathlib import Path
from ops.cli.main import main
from storage import audit_archive, audit_export

def half(folder, tar):
    Path(tar).write_bytes(b"half a file")
    os.kill(os.getpid(), signal.SIGKILL)

async def before(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "while it is written":
    audit_export.pack = half
else:
    audit_archive.take_out = before
main(sys.argv[2:])
"""


@pytest.mark.parametrize("step", ["while it is written", "between writing and deleting"])
def test_an_archive_that_was_killed_is_gone_on_with(trail: Trail, step: str) -> None:
    """AUD-3: nothing has left the database, and what lies in the folder blocks nobody."""
    command = (*ARCHIVE, str(trail.folder), "--delete")
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, step, *command, "--data-dir", str(trail.data)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        timeout=PROCESS_S,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert trail.calejo("audit", "verify").returncode == 0
    done = trail.calejo(*command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["was_there"] is (step == "between writing and deleting")
    verified = trail.calejo("audit", "verify", "--segments", str(trail.folder))
    assert verified.returncode == 0, verified.stdout
    assert [path.name for path in trail.folder.glob(".audit*")] == [], "what the killed one left is gone"


def test_the_notary_says_from_when_the_oldest_record_is_that_can_go(trail: Trail) -> None:
    """AUD-3: the last record of the chain never goes, so it is never due."""

    async def look() -> Look:
        async with opened(trail.settings) as database:
            return await notary_of(trail.settings, AuditBook(database)).look(now=NOON)

    assert asyncio.run(look()).oldest_at == "2026-06-01T12:00:01.250000Z"
    trail.note_segment(3)
    assert asyncio.run(look()).oldest_at == "2026-06-01T12:00:04.250000Z"
    trail.note_segment(5, first=4)
    assert asyncio.run(look()).oldest_at == ""


def test_two_archives_of_one_trail_do_not_meet(trail: Trail) -> None:
    """AUD-3: the second says that another is at work, and touches nothing."""
    with alone(trail.data / "audit" / "archive.lock", doing="archives"):
        done = trail.calejo(*ARCHIVE, str(trail.folder), "--delete")
    assert (done.returncode, "another process archives" in done.stderr) == (1, True), done.stderr


def test_a_broken_trail_is_neither_archived_nor_signed(trail: Trail) -> None:
    """AUD-3: an archive must not launder what was changed."""
    assert trail.sign() == ""
    trail.execute("DROP TRIGGER audit_log_no_update", "UPDATE audit_log SET actor = 'x' WHERE sequence = 2")
    done = trail.calejo("audit", "archive", "--to", str(trail.folder), "--days", "1", "--delete")
    assert (done.returncode, "a broken trail is not archived" in done.stderr) == (4, True), done.stderr
    trail.execute("UPDATE audit_log SET hash = 'x' WHERE sequence = 6")
    assert trail.calejo("audit", "rotate-key").returncode == 1
    assert trail.calejo("audit", "checkpoint").returncode == 4
