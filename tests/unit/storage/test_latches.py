"""The latch folder: no order of writers, no crash and no damaged file may lose a stop."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.safety.latch import LatchSet
from actors.vocabulary import DeviceError, Scope
from actors.vocabulary.records import StopEventRecord
from storage.latches import UNREADABLE, LatchFolder

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = 1_790_000_000


def folder(path: Path, second: int = SECOND) -> LatchFolder:
    return LatchFolder(path / "latches", utc_second=lambda: second)


def stop(stop_id: str, *, stamp: int = 1, scope: Scope = Scope.PUMP, by: str = "anna") -> StopEventRecord:
    return StopEventRecord(
        record_id=stop_id, scope=scope, scope_id="p1", reason="test", set_by=by, set_at=NOON, set_stamp=stamp
    )


def cleared(record: StopEventRecord, *, release: int = 5, by: str = "bert") -> StopEventRecord:
    return msgspec.structs.replace(
        record, cleared_by=by, cleared_at=NOON + timedelta(seconds=9), clear_reason="mended", release=release
    )


def test_what_was_merged_is_there_for_everybody(tmp_path: Path) -> None:
    """EST-2: stops and clears are durable, and another process's object reads them."""
    mine = folder(tmp_path)
    mine.merge([stop("b"), stop("a")])
    mine.merge([cleared(stop("a"))])
    assert folder(tmp_path).load() == (cleared(stop("a")), stop("b")) == mine.load()


def test_a_bare_stop_undoes_no_clear(tmp_path: Path) -> None:
    """EST-2: a late message with the bare stop changes nothing, a clear that comes first is kept."""
    latches = folder(tmp_path)
    latches.merge([cleared(stop("a"))])
    latches.merge([stop("a")])
    assert latches.load() == (cleared(stop("a")),)


records = st.builds(
    lambda stop_id, stamp, scope, by, release, clears: (
        cleared(stop(stop_id, stamp=stamp, scope=scope, by=by), release=release, by=by)
        if clears
        else stop(stop_id, stamp=stamp, scope=scope, by=by)
    ),
    st.sampled_from(["a", "b", "ein/böser id\0"]),
    st.integers(1, 3),
    st.sampled_from([Scope.PUMP, Scope.STATION]),
    st.sampled_from(["anna", "bert"]),
    st.integers(4, 6),
    st.booleans(),
)


@given(batches=st.lists(st.lists(records, max_size=3), max_size=5), order=st.randoms())
def test_the_union_is_the_same_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[StopEventRecord]], order: object
) -> None:
    """EST-2: any order, any repetition, two writers: the same set, and the one the actors' own union gives."""
    one, two = (tmp_path_factory.mktemp("latches") for _ in range(2))
    for batch in batches:
        folder(one).merge(batch)
    shuffled = [*batches, *batches]
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    writers = (folder(two), folder(two))
    for number, batch in enumerate(shuffled):
        writers[number % 2].merge(batch)
    law = LatchSet.of(record for batch in batches for record in batch).records
    assert folder(one).load() == folder(two).load() == law


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", None], ids=["empty", "cut", "bytes", "edited"])
def test_a_damaged_file_counts_as_a_stop_of_everything(tmp_path: Path, damage: bytes | None) -> None:
    """EST-2: what cannot be read may be a stop; it is named by its file, and a person can clear it."""
    latches = folder(tmp_path)
    latches.merge([stop("a")])
    (path,) = (tmp_path / "latches").glob("*.json")
    path.write_bytes(path.read_bytes().replace(b'"p1"', b'"p2"') if damage is None else damage)
    (found,) = latches.load()
    assert (found.scope, found.cleared_by, found.set_by) == (Scope.SYSTEM, None, UNREADABLE)
    assert path.name in found.record_id
    latches.merge([cleared(found)])
    (after,) = latches.load()
    assert (after.record_id, after.cleared_by) == (found.record_id, "bert")


def test_the_fingerprint_changes_with_the_content(tmp_path: Path) -> None:
    """EST-2: gates poll it every 200 ms: it must not miss a stop, and must not cry for a stamp."""
    latches = folder(tmp_path)
    seen = [latches.fingerprint()]
    latches.merge([stop("a")])
    seen.append(latches.fingerprint())
    latches.next_stamp()
    latches.mark_joined()
    assert latches.fingerprint() == seen[-1]
    latches.merge([cleared(stop("a"))])
    seen.append(latches.fingerprint())
    (path, *_) = sorted((tmp_path / "latches").glob("*.json"))
    path.write_bytes(b"")
    seen.append(latches.fingerprint())
    assert len(set(seen)) == 4


def test_stamps_rise_whatever_the_clock_does(tmp_path: Path) -> None:
    """EST-6: above everything issued or merged, at least the UTC second, also after a clock stepped back."""
    assert folder(tmp_path).next_stamp() == SECOND
    assert folder(tmp_path).next_stamp() == SECOND + 1
    assert folder(tmp_path, SECOND - 1000).next_stamp() == SECOND + 2
    assert folder(tmp_path, SECOND + 50).next_stamp() == SECOND + 50
    folder(tmp_path).merge([cleared(stop("a"), release=SECOND + 99)])
    assert folder(tmp_path).next_stamp() == SECOND + 100
    with pytest.raises(DeviceError, match="32 bits"):
        folder(tmp_path, 2**32).next_stamp()


def test_stamps_of_many_processes_are_distinct_and_rise(tmp_path: Path) -> None:
    """EST-6: without any lock, so that a hung process cannot keep others from stopping a pump."""
    program = (
        "import sys; from pathlib import Path; from storage.latches import LatchFolder\n"
        f"latches = LatchFolder(Path(sys.argv[1]), utc_second=lambda: {SECOND})\n"
        "print(*(latches.next_stamp() for _ in range(40)))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    lanes = [[int(word) for word in one.communicate(timeout=60)[0].split()] for one in running]
    assert all(lane == sorted(lane) and len(lane) == 40 for lane in lanes)
    assert len({stamp for lane in lanes for stamp in lane}) == 160
    assert len(list(tmp_path.glob("*.stamp"))) < 10


def test_a_mark_of_an_earlier_version_counts_and_is_no_stop(tmp_path: Path) -> None:
    """EST-2: it held a release number of its own, which nobody asks for any more."""
    (tmp_path / "latches").mkdir()
    (tmp_path / "latches" / "release_floor").write_bytes(b"1700000000\n")
    latches = folder(tmp_path)
    assert not latches.is_new()
    assert latches.load() == ()


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    """EST-2: the folder and its files are for their owner alone."""
    latches = folder(tmp_path)
    latches.merge([stop("a")])
    latches.next_stamp()
    latches.mark_joined()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "latches").iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "latches").stat().st_mode) == 0o700


def test_a_refusing_disk_is_a_device_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EST-2: the caller learns that a stop is not durable, and nothing half written stays."""
    latches = folder(tmp_path)
    latches.merge([stop("a")])

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DeviceError, match="No space left"):
        latches.merge([stop("b")])
    monkeypatch.undo()
    assert latches.load() == (stop("a"),)
    assert not list((tmp_path / "latches").glob(".tmp-*"))


def test_what_a_killed_writer_left_is_no_stop_and_is_swept(tmp_path: Path) -> None:
    """EST-2: a half-written temporary file means nothing; an old one goes."""
    latches = folder(tmp_path)
    latches.merge([stop("a")])
    left = tmp_path / "latches" / ".tmp-1-0-x"
    left.write_bytes(b"{")
    os.utime(left, (SECOND, SECOND))
    latches.merge([stop("b")])
    assert left.exists()
    folder(tmp_path, SECOND + 7200).merge([stop("c")])
    assert not left.exists()
    assert [record.record_id for record in latches.load()] == ["a", "b", "c"]


def test_a_folder_is_new_until_it_is_marked_as_joined(tmp_path: Path) -> None:
    """EST-2: stops and stamps alone do not tell that the database's stops are here as well."""
    latches = folder(tmp_path)
    assert latches.is_new()
    latches.merge([stop("a")])
    latches.next_stamp()
    assert latches.is_new()
    latches.mark_joined()
    assert not latches.is_new()
    assert not folder(tmp_path).is_new()


def test_dropped_ids_are_gone_and_no_other(tmp_path: Path) -> None:
    """EST-2: every file of the ids, in whatever version; a damaged file is not ours to forget."""
    latches = folder(tmp_path)
    odd = stop("ein/böser id\0")
    latches.merge([cleared(stop("a")), stop("a", by="carl"), cleared(odd), stop("aa"), cleared(stop("d"))])
    damaged = next((tmp_path / "latches").glob("d.stop.*"))
    damaged.write_bytes(b"{")
    before = latches.fingerprint()
    latches.drop(["a", odd.record_id, "d", "unknown"])
    assert latches.fingerprint() != before
    assert [(record.record_id, record.cleared_by) for record in latches.load()] == [
        ("aa", None),
        (f"unreadable:{damaged.name}", None),
    ]


def unlinks(count: int) -> Callable[..., None]:
    """Return an `unlink` that works so many times and then refuses."""
    unlink, left = Path.unlink, iter(range(count))

    def limited(path: Path, *, missing_ok: bool = False) -> None:
        if next(left, None) is None:
            raise OSError(5, "Input/output error")
        unlink(path, missing_ok=missing_ok)

    return limited


def test_a_crash_while_ids_are_dropped_leaves_no_stop_without_its_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EST-2: whichever of the files went last: the ids are cleared or gone, never active again."""
    latches = folder(tmp_path)
    for left in range(1, 5):
        latches.merge([cleared(stop("a")), cleared(stop("b"))])
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", unlinks(left))
            if left < 4:
                with pytest.raises(DeviceError, match="Input/output"):
                    latches.drop(["a", "b"])
            else:
                latches.drop(["a", "b"])
        assert all(record.cleared_by == "bert" for record in latches.load())
    assert latches.load() == ()
