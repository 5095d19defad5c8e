"""The spool: survives SIGKILL and damage, stays inside its bound, and never drops what must not be lost."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from actors.vocabulary import CallerError, DeviceError, Scope, Severity
from actors.vocabulary.records import (
    AlarmRecord,
    AuditRecord,
    FeedbackRow,
    Record,
    StopEventRecord,
    ViolationRecord,
)
from storage.spool import SpoolFile

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def spool(folder: Path, bytes_max: int = 1_000_000) -> SpoolFile:
    return SpoolFile(folder / "spool", bytes_max=bytes_max, utc_second=lambda: 1_790_000_000)


def feedback(number: int) -> FeedbackRow:
    return FeedbackRow(
        record_id=f"f{number}",
        pump_id="p1",
        measured_at=NOON,
        source="calejo:modbus",
        quality="GOOD",
        actual_speed_hz=1.5,
    )


def violation(number: int) -> ViolationRecord:
    return ViolationRecord(
        record_id=f"v{number}",
        pump_id="p1",
        at=NOON,
        limit="rate",
        proposed=float("inf"),
        applied=0.0,
        detail="x" * 40,
    )


def precious(number: int) -> list[Record]:
    return [
        AuditRecord(
            record_id=f"a{number}",
            at=NOON,
            event_type="EMERGENCY_STOP_SET",
            actor="anna",
            source_address="",
            object_id="p1",
            outcome="done",
            severity=Severity.HIGH,
            after={"at": NOON, "nested": [1, {"x": None}]},
        ),
        StopEventRecord(
            record_id=f"s{number}", scope=Scope.PUMP, scope_id="p1", reason="", set_by="anna", set_at=NOON
        ),
        AlarmRecord(
            record_id=f"al{number}",
            condition="c",
            subject="s",
            severity=Severity.LOW,
            text="",
            raised_at=NOON,
        ),
    ]


def ids(waiting: SpoolFile) -> list[str]:
    return [record.record_id for _, record in waiting.peek(10_000)]


def test_records_wait_in_order_and_come_back_as_they_were(tmp_path: Path) -> None:
    """DAT-3: oldest first, over a restart, until removed."""
    first = spool(tmp_path)
    assert first.append([feedback(1), violation(1)]) == 0
    first.append(precious(1)[1:])
    first.close()
    again = spool(tmp_path)
    waiting = again.peek(3)
    assert [record for _, record in waiting] == [feedback(1), violation(1), precious(1)[1]]
    assert again.size()[0] == 4
    again.remove([position for position, _ in waiting])
    assert ids(again) == ["al1"]
    again.remove([position for position, _ in again.peek(9)])
    assert again.size() == (0, 0)
    again.close()


def test_full_it_drops_the_least_important_first_and_counts(tmp_path: Path) -> None:
    """DAT-3: feedback before violations; audit, stops and alarms never; the count survives."""
    full = spool(tmp_path, bytes_max=4_000)
    full.append(precious(1))
    full.append([violation(number) for number in range(10)])
    dropped = sum(full.append([feedback(number)]) for number in range(60))
    kept = ids(full)
    assert {"a1", "s1", "al1"} <= set(kept)
    assert [name for name in kept if name[0] == "v"] == [f"v{number}" for number in range(10)]
    assert dropped == 60 - sum(name[0] == "f" for name in kept) > 0
    assert kept[-1] == "f59"
    assert full.size()[1] <= 4_000
    dropped += full.append([violation(number) for number in range(10, 40)])
    assert not [name for name in ids(full) if name[0] == "f"]
    full.close()
    again = spool(tmp_path, bytes_max=4_000)
    assert again.dropped_total() == dropped
    again.close()


def test_what_is_never_dropped_is_refused_in_the_end(tmp_path: Path) -> None:
    """AUD-4: with nothing left to drop the sender keeps its records; what was taken stays."""
    full = spool(tmp_path, bytes_max=1_000)
    taken = 0
    while full.size()[1] < 1_000:
        full.append(precious(taken))
        taken += 1
    for number in range(taken, 100):
        try:
            full.append(precious(number))
        except DeviceError:
            break
        taken += 1
    else:
        pytest.fail("never full")
    assert full.size()[0] == 3 * taken
    with pytest.raises(DeviceError, match="full with what must not be dropped"):
        full.append(precious(taken))
    assert full.size()[1] <= 2_000
    full.close()


@pytest.mark.parametrize("damage", ["text", "torn", "foreign"])
def test_a_damaged_file_is_set_aside_and_named(tmp_path: Path, damage: str) -> None:
    """DAT-3: storage starts all the same, with a fresh spool, and the old one can be looked at."""
    first = spool(tmp_path)
    first.append([feedback(number) for number in range(300)])
    first.close()
    path = tmp_path / "spool" / "spool.db"
    if damage == "torn":
        content = bytearray(path.read_bytes())
        content[4096 : len(content) // 2] = b"\xaa" * (len(content) // 2 - 4096)
        path.write_bytes(content)
    else:
        path.write_bytes(b"no database at all, but long enough to be looked at as one\n" * 50)
    again = spool(tmp_path)
    again.append([feedback(1)])
    assert ids(again) == ["f1"]
    (name,) = again.set_aside_files()
    assert (tmp_path / "spool" / name).exists()
    again.close()


def test_what_the_database_refuses_is_kept_for_people(tmp_path: Path) -> None:
    """DAT-3: out of the way of the others, not lost."""
    waiting = spool(tmp_path)
    waiting.append([feedback(1), feedback(2)])
    waiting.set_aside(waiting.peek(1)[0][0], "no such pump")
    assert ids(waiting) == ["f2"]
    assert waiting.size()[0] == 1
    waiting.close()


@pytest.mark.parametrize("attempt", range(3))
def test_sigkill_in_the_middle_loses_nothing_that_was_acknowledged(tmp_path: Path, attempt: int) -> None:
    """DAT-3: a child appends as fast as it can and is killed outright: what it said it had is there, in order."""
    program = (
        "import sys; from pathlib import Path; from tests.unit.storage.test_spool import feedback, spool\n"
        "waiting = spool(Path(sys.argv[1]), 100_000_000)\n"
        "for batch in range(100_000):\n"
        "    waiting.append([feedback(batch * 3 + i) for i in range(3)])\n"
        "    print(batch, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(20 + 7 * attempt)]
    os.kill(child.pid, signal.SIGKILL)
    said += child.stdout.readlines()
    child.wait(timeout=30)
    child.stdout.close()
    acknowledged = int(next(line for line in reversed(said) if line.endswith("\n")))
    survivor = spool(tmp_path, 100_000_000)
    found = ids(survivor)
    assert survivor.set_aside_files() == ()
    assert found == [f"f{number}" for number in range(len(found))]
    # Whole batches only, at most one more than was acknowledged.
    assert len(found) in {3 * (acknowledged + 1), 3 * (acknowledged + 2)}
    assert survivor.size()[0] == len(found)
    survivor.close()


@pytest.mark.parametrize("bad", [{"actor": "ab\udcff"}, {"after": {"value": 2**70}}])
def test_a_record_that_cannot_be_encoded_is_its_sender_s_fault(
    tmp_path: Path, bad: dict[str, object]
) -> None:
    """AUD-4, OPC-5: refused as the caller's, whole, so that nobody sends it again for ever; the spool goes on."""
    waiting = spool(tmp_path)
    good = precious(1)
    with pytest.raises(CallerError, match="AuditRecord 'a1'"):
        waiting.append([*good, msgspec.structs.replace(good[0], **bad)])
    assert ids(waiting) == []
    waiting.append(good)
    assert len(ids(waiting)) == len(good)
    waiting.close()
