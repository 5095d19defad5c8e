"""What an edge node remembers: bdSeq numbers and the backlog, through kills, damage and a full disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actors.vocabulary import DeviceError
from storage.sparkplug import BacklogFile, BirthSequenceFile

ROOT = Path(__file__).resolve().parents[3]
SECOND = 1_790_000_000


def backlog(path: Path, *, bytes_max: int = 10_000) -> BacklogFile:
    return BacklogFile(path / "north.db", bytes_max=bytes_max, utc_second=lambda: SECOND)


def test_the_numbers_count_from_0_to_255_and_begin_anew(tmp_path: Path) -> None:
    """SPB-1: one more for each connection, across processes."""
    issued = [BirthSequenceFile(tmp_path / "north.json").issue() for _ in range(258)]
    assert issued == [*range(256), 0, 1]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"bd_seq": -1}', b'{"bd_seq": 256}', b'{"bd_seq": "1"}'])
def test_a_damaged_number_begins_anew(tmp_path: Path, damage: bytes) -> None:
    """SPB-1: the specification asks for a start at 0, and no number at all would be no session."""
    (tmp_path / "north.json").write_bytes(damage)
    assert BirthSequenceFile(tmp_path / "north.json").issue() == 0


def test_a_disk_that_refuses_issues_nothing(tmp_path: Path) -> None:
    """SPB-1: durable before the connection: without it the will of two sessions could be the same."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DeviceError):
        BirthSequenceFile(tmp_path / "file" / "north.json").issue()


def test_the_backlog_is_a_queue_that_survives(tmp_path: Path) -> None:
    """SPB-1: oldest first, by whoever opens it next."""
    first = backlog(tmp_path)
    first.append([(2, b"a"), (3, b"b")])
    first.close()
    second = backlog(tmp_path)
    found = second.oldest()
    assert found is not None
    assert found[1] == b"a"
    assert second.totals() == (5, 0)
    second.remove(found[0])
    assert second.totals() == (3, 0)
    assert (second.oldest() or (0, b""))[1] == b"b"
    second.close()


def test_a_killed_writer_loses_nothing_that_it_appended(tmp_path: Path) -> None:
    """SPB-1: SIGKILL right after an append."""
    program = f"""
import os, signal
from pathlib import Path
from storage.sparkplug import BacklogFile
file = BacklogFile(Path({str(tmp_path / "north.db")!r}), bytes_max=10_000, utc_second=lambda: 0)
for n in range(20):
    file.append([(1, bytes([n]))])
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -9
    file = backlog(tmp_path)
    assert file.totals() == (20, 0)
    file.close()


def test_no_room_lets_the_oldest_go_and_counts_their_values(tmp_path: Path) -> None:
    """SPB-1: bounded on disk; the loss is durable too."""
    file = backlog(tmp_path, bytes_max=1_000)
    lost = sum(file.append([(10, bytes(76))]) for _ in range(15))
    assert lost == 50
    assert file.totals() == (100, 50)
    file.note_lost(4)
    file.close()
    again = backlog(tmp_path)
    assert again.totals() == (100, 54)
    again.close()


def test_a_damaged_backlog_is_set_aside(tmp_path: Path) -> None:
    """SPB-1: what cannot be read must not keep new values from being kept."""
    (tmp_path / "north.db").write_bytes(b"no database at all" * 100)
    file = backlog(tmp_path)
    file.append([(1, b"x")])
    assert file.totals() == (1, 0)
    file.close()
    assert (tmp_path / f"north.damaged-{SECOND}.db").exists()


def test_a_locked_backlog_is_the_disks_fault(tmp_path: Path) -> None:
    """SPB-1: a predecessor that hangs in a write costs values, not the process."""
    holder = backlog(tmp_path)
    holder.append([(1, b"x")])
    assert holder._connection is not None
    holder._connection.execute("BEGIN IMMEDIATE")
    second = backlog(tmp_path)
    with pytest.raises(DeviceError):
        second.append([(1, b"y")])
    holder._connection.execute("ROLLBACK")
    assert second.append([(1, b"y")]) == 0
    second.close()
    holder.close()


def test_a_number_that_the_disk_refused_counts_on_in_this_process(tmp_path: Path) -> None:
    """SPB-1: a full disk takes no wire away; once it takes numbers again it goes on from the last one used."""
    path = tmp_path / "north.json"
    BirthSequenceFile(path).issue()
    births = BirthSequenceFile(path)
    assert [births.issue_unsaved() for _ in range(3)] == [1, 2, 3]
    assert births.issue() == 4
    assert BirthSequenceFile(path).issue() == 5
    (tmp_path / "file").write_text("in the way")
    blind = BirthSequenceFile(tmp_path / "file" / "north.json")
    assert [blind.issue_unsaved() for _ in range(257)] == [*range(256), 0]


def test_two_threads_take_turns(tmp_path: Path) -> None:
    """SPB-1: a caller that gave up leaves its thread at work; the next one must not take that for damage."""
    file = backlog(tmp_path, bytes_max=10_000_000)

    def work(first: int) -> None:
        for number in range(first, first + 100):
            file.append([(1, number.to_bytes(2, "big"))])
            file.totals()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, first * 100) for first in range(4)]:
            done.result(60)
    assert file.totals() == (400, 0)
    file.close()
    assert [each.name for each in tmp_path.iterdir()] == ["north.db"]


def test_a_wrong_call_is_our_bug_and_no_damage(tmp_path: Path) -> None:
    """SPB-1: values are not moved aside for what SQLite says of a call rather than of the file."""
    file = backlog(tmp_path)
    file.append([(2, b"a")])
    assert file._connection is not None
    file._connection.close()
    with pytest.raises(sqlite3.ProgrammingError):
        file.totals()
    assert file.totals() == (2, 0), "the next call opens it again"
    file.close()
    assert [each.name for each in tmp_path.iterdir()] == ["north.db"]


def test_what_a_damaged_file_held_counts_as_lost(tmp_path: Path) -> None:
    """SPB-1: the figure never runs back: what was lost before, and what waited when the file was last asked."""
    file = backlog(tmp_path)
    file.append([(30, b"a")])
    file.note_lost(12)
    assert file.totals() == (30, 12)
    file.close()
    for each in tmp_path.iterdir():
        each.write_bytes(b"no database at all" * 100)
    file.append([(1, b"x")])
    assert file.totals() == (1, 42)
    file.close()
