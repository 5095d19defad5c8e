"""Goal: whoever changes the trail is found by somebody who has one checkpoint and no Calejo.

Method: each attack is carried out on an export and on the database itself; the judges are processes of their own:
the verifier for outsiders, isolated from our packages, and `calejo audit verify`.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.audit import digest
from tests.unit.ops.audit.trail import Trail, judge, records_of, write_records


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trail, Path]:
    """Twelve records, a checkpoint after eight and one at the end, and their export."""
    trail = Trail(tmp_path_factory.mktemp("sound"))
    trail.write(8)
    assert trail.sign() == ""
    trail.write(4)
    assert trail.sign() == ""
    return trail, trail.export()


@pytest.fixture
def export(sound: tuple[Trail, Path], tmp_path: Path) -> Path:
    shutil.copytree(sound[1], tmp_path / "export")
    return tmp_path / "export"


@pytest.mark.parametrize("arithmetic", [False, True])
def test_a_sound_export_holds(sound: tuple[Trail, Path], arithmetic: bool) -> None:
    """AUD-1: records, checkpoints and keys suffice, with a library for Ed25519 and without."""
    trail, export = sound
    code, said = judge(export, *trail.kept, *(["--arithmetic"] if arithmetic else []))
    assert (code, "records 1 to 12 hold" in said, "4 checkpoints are met" in said) == (0, True, True), said
    assert "note" not in said


def test_without_a_checkpoint_kept_elsewhere_the_verifier_says_what_it_cannot_see(
    sound: tuple[Trail, Path],
) -> None:
    """AUD-1: no claim beyond what was held against something."""
    code, said = judge(sound[1])
    assert (code, said.count("note:")) == (0, 2)


def rechained(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with sequences and hashes that fit again."""
    head, found = "0" * 64, []
    for sequence, record in enumerate(records, 1):
        moved = {**record, "previous_hash": head, "sequence": sequence}
        head = digest(head, sequence, moved)
        found.append({**moved, "hash": head})
    return found


def _flip(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*records[:4], {**records[4], "actor": "nobody"}, *records[5:]]


def _delete(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*records[:4], *records[5:]]


def _reorder(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*records[:4], records[5], records[4], *records[6:]]


def _truncate(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return records[:10]


def _roll_back(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An old backup, written on with other records."""
    later = [{**record, "record_id": f"other{n}"} for n, record in enumerate(records[5:])]
    return rechained([*records[:5], *later])


def _rebuild(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return rechained(_flip(records))


EXPORT_ATTACKS: dict[str, tuple[Callable[[list[dict[str, Any]]], list[dict[str, Any]]], str]] = {
    "flip": (_flip, "record 5 ('a5'): its content is not what was hashed"),
    "delete": (_delete, "record 5 ('a6'): has sequence 6"),
    "reorder": (_reorder, "record 5 ('a6'): has sequence 6"),
    "truncation": (_truncate, "12 records, and the trail ends at 10: it was cut off"),
    "roll-back": (_roll_back, "record 8 is not the one that kept checkpoint 1"),
    "rebuilt chain": (_rebuild, "record 8 is not the one that kept checkpoint 1"),
}


@pytest.mark.parametrize("attack", EXPORT_ATTACKS)
def test_an_attack_on_the_export_is_found(sound: tuple[Trail, Path], export: Path, attack: str) -> None:
    """AUD-1: by the checkpoint kept elsewhere, also when the forger took the export's own checkpoints out."""
    change, told = EXPORT_ATTACKS[attack]
    write_records(export, change(records_of(export)))
    (export / "checkpoints.jsonl").write_text("")
    code, said = judge(export, *sound[0].kept)
    assert code == 1, said
    assert told in said


@pytest.mark.parametrize("attack", ["truncation", "roll-back", "rebuilt chain"])
def test_what_only_a_checkpoint_finds(export: Path, attack: str) -> None:
    """AUD-1: the test above is no accident: without the checkpoint the same forgery holds together."""
    write_records(export, EXPORT_ATTACKS[attack][0](records_of(export)))
    (export / "checkpoints.jsonl").write_text("")
    assert judge(export)[0] == 0


def test_a_chain_rebuilt_and_signed_with_a_key_of_one_s_own_is_found(
    sound: tuple[Trail, Path], tmp_path: Path
) -> None:
    """AUD-1: a whole new trail with its own key, checkpoints and manifest, every part of it sound in itself."""
    forged = Trail(tmp_path / "forged")
    forged.write(12)
    assert forged.sign() == ""
    export = forged.export("forgery")
    assert judge(export)[0] == 0
    code, said = judge(export, *sound[0].kept)
    assert code == 1
    assert "put in by somebody else" in said


def test_an_export_that_begins_behind_every_kept_checkpoint_is_not_believed(
    sound: tuple[Trail, Path], export: Path
) -> None:
    """AUD-1: a forger who leaves the beginning out leaves out what would bind him."""
    forged = [{**record, "actor": "nobody"} for record in records_of(export)[9:]]
    head = "f" * 64
    for record in forged:
        record["previous_hash"] = head
        head = record["hash"] = digest(head, record["sequence"], record)
    write_records(export, forged)
    manifest = json.loads((export / "manifest.json").read_text())
    (export / "manifest.json").write_text(json.dumps(manifest | {"after": 9, "after_hash": "f" * 64}))
    (export / "checkpoints.jsonl").write_text("")
    kept = export / "kept.jsonl"
    first = (sound[0].elsewhere / "checkpoints.jsonl").read_text().splitlines()[0]
    kept.write_text(f"{first}\n")
    known = ("--checkpoint", kept, "--keys", sound[0].elsewhere / "keys.jsonl")
    code, said = judge(export, *known)
    assert (code, "records 1 to 9 are not here" in said) == (1, True), said
    code, said = judge(export, *known, "--partial")
    assert (code, "nothing binds it" in said) == (1, True), said


@pytest.mark.parametrize("name", ["checkpoints.jsonl", "keys.jsonl"])
def test_a_changed_signature_in_the_export_is_found(
    sound: tuple[Trail, Path], export: Path, name: str
) -> None:
    """AUD-1: each signature counts, also the export's own."""
    entry, *others = (export / name).read_text().splitlines()
    told = json.loads(entry)
    told["signature"] = ("0" if told["signature"][0] != "0" else "1") + told["signature"][1:]
    (export / name).write_text("\n".join([json.dumps(told), *others]) + "\n")
    assert judge(export)[0] == 1


@pytest.mark.parametrize("damage", ["no manifest", "no json", "no tar", "nothing"])
def test_what_is_no_export_is_said_to_be_none(export: Path, damage: str) -> None:
    """AUD-1: a file that cannot be read is neither sound nor broken: exit 2."""
    path = export
    match damage:
        case "no manifest":
            (export / "manifest.json").unlink()
        case "no json":
            (export / "records.jsonl").write_text("{")
        case "no tar":
            path = export / "records.jsonl"
        case _:
            path = export / "absent"
    code, said = judge(path)
    assert (code, said.startswith("unreadable: ")) == (2, True), said


UNGUARDED = ("DROP TRIGGER audit_log_no_update", "DROP TRIGGER audit_log_no_delete")
GUARD = "CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log BEGIN SELECT RAISE(ABORT, 'append-only'); END"
DATABASE_ATTACKS: dict[str, tuple[tuple[str, ...], str]] = {
    "flip": (("UPDATE audit_log SET outcome = 'failed' WHERE sequence = 5",), "BROKEN at 5: record 'a5'"),
    "clauses": (("UPDATE audit_log SET clauses = '' WHERE sequence = 5",), "BROKEN at 5: record 'a5'"),
    "older format": (("UPDATE audit_log SET format = 1, clauses = '' WHERE sequence = 5",), "BROKEN at 5"),
    "delete": (("DELETE FROM audit_log WHERE sequence = 5",), "BROKEN at 5: record 'a6'"),
    "reorder": (
        (
            "UPDATE audit_log SET sequence = 99 WHERE sequence = 5",
            "UPDATE audit_log SET sequence = 5 WHERE sequence = 6",
            "UPDATE audit_log SET sequence = 6 WHERE sequence = 99",
        ),
        "BROKEN at 5: record 'a6'",
    ),
    "truncation": (("DELETE FROM audit_log WHERE sequence > 10",), "says 12 records, the trail ends at 10"),
}


@pytest.fixture
def stolen(sound: tuple[Trail, Path], tmp_path: Path) -> Trail:
    """A copy of the sound data directory in an attacker's hands."""
    shutil.copytree(sound[0].folder, tmp_path / "stolen")
    trail = Trail.__new__(Trail)
    trail.__dict__ |= sound[0].__dict__
    trail.folder, trail.data = tmp_path / "stolen", tmp_path / "stolen" / "data"
    return trail


@pytest.mark.parametrize("attack", DATABASE_ATTACKS)
def test_an_attack_on_the_database_is_found(stolen: Trail, attack: str) -> None:
    """AUD-1: by `calejo audit verify`, and by an outsider from the export of the tampered database."""
    statements, told = DATABASE_ATTACKS[attack]
    stolen.execute(*UNGUARDED, *statements, GUARD)
    verified = stolen.calejo("audit", "verify")
    assert verified.returncode == 1, verified.stderr
    assert told in verified.stdout
    code, said = judge(stolen.export("tampered"), *stolen.kept)
    assert code == 1, said


@pytest.mark.parametrize("attack", ["roll-back", "rebuilt chain"])
def test_a_database_replaced_by_another_is_found(stolen: Trail, attack: str) -> None:
    """AUD-1: an old backup written on, and a chain rebuilt in the database, each with the checkpoints of this
    machine removed: what is kept elsewhere is enough.
    """
    rows = records_of(stolen.folder / "export")
    changed = (_roll_back if attack == "roll-back" else _rebuild)(rows)
    stolen.execute(*UNGUARDED, "DELETE FROM audit_log")
    columns = ", ".join(changed[0])
    for row in changed:
        values = ", ".join(
            "NULL" if value is None else f"'{str(value).replace(chr(39), chr(39) * 2)}'"
            for value in row.values()
        )
        stolen.execute(f"INSERT INTO audit_log ({columns}) VALUES ({values})")
    shutil.rmtree(stolen.data / "audit")
    verified = stolen.calejo("audit", "verify", *stolen.kept)
    assert verified.returncode == 1, verified.stdout + verified.stderr
    assert "rebuilt or rolled back" in verified.stdout
    code, said = judge(stolen.export("tampered"), *stolen.kept)
    assert code == 1, said
    assert "record 8 is not the one that kept checkpoint 1" in said


def test_the_sound_database_verifies(sound: tuple[Trail, Path]) -> None:
    """AUD-1: the judges do not cry wolf; the copy kept elsewhere counts too."""
    verified = sound[0].calejo("audit", "verify", "--format", "json", *sound[0].kept)
    told = json.loads(verified.stdout)
    assert (verified.returncode, told["holds"], told["broken_at"]) == (0, True, None), verified.stderr
    assert told["checkpoints_met"] == 2
    assert told["count"] == 13, "the export has its own record"


def test_a_beginning_that_is_missing_does_not_hold(stolen: Trail, tmp_path: Path) -> None:
    """AUD-1: also where kept checkpoints lie within what is there, and where there are none to be missed at all."""
    trail, behind = stolen, tmp_path / "behind"
    made = trail.calejo("audit", "export", str(behind), "--after", "10")
    assert made.returncode == 0, made.stderr
    for arguments in (trail.kept, []):
        code, said = judge(behind, *arguments)
        assert (code, "BROKEN: records 1 to 10 are not here" in said) == (1, True), said
        assert "the trail does not hold" in said
    assert "2 checkpoints over them were not judged" in judge(behind, *trail.kept)[1]
    code, said = judge(behind, *trail.kept, "--partial")
    assert (code, "records 11 to 13 hold" in said) == (0, True), said
    (behind / "checkpoints.jsonl").write_text("")
    code, said = judge(behind)
    assert (code, "BROKEN: records 1 to 10 are not here: give" in said) == (1, True), (
        "none is missed, all is missing"
    )


@pytest.mark.parametrize("damage", ["cut", "flipped", "cut to nothing"])
@pytest.mark.parametrize("packed", ["tar.gz", "tar"])
def test_a_damaged_archive_is_unreadable_and_no_traceback(
    stolen: Trail, tmp_path: Path, packed: str, damage: str
) -> None:
    """AUD-1: cut off at any place it ends with 2; a wrong bit is either told as damage or found as a change."""
    whole = tmp_path / f"trail.{packed}"
    made = stolen.calejo("audit", "export", str(whole))
    assert made.returncode == 0, made.stderr
    raw = whole.read_bytes()
    broken = tmp_path / f"broken.{packed}"
    records = raw.index(b'"actor"') if packed == "tar" else len(raw) // 2
    match damage:
        case "cut":
            contents = [raw[: len(raw) * tenth // 10] for tenth in (1, 3, 5)]
        case "flipped":
            places = (
                0,
                1,
                len(raw) // 4,
                records + 2,
                len(raw) * 3 // 4 if packed == "tar.gz" else records + 40,
            )
            contents = [raw[:at] + bytes([raw[at] ^ 0xFF]) + raw[at + 1 :] for at in places]
        case _:
            contents = [b"", raw[:1], raw[:20]]
    for number, content in enumerate(contents):
        broken.write_bytes(content)
        code, said = judge(broken, *stolen.kept)
        assert "Traceback" not in said, (number, said)
        if damage == "flipped":
            assert code in {1, 2}, (number, said)
        else:
            assert (code, said.startswith("unreadable: ")) == (2, True), (number, said)
