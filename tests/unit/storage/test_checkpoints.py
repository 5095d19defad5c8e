"""Keys and checkpoints: what is signed, in which order, and what is noticed when somebody changes either."""

import asyncio
import shutil
import stat
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from actors.vocabulary import DeviceError, UnavailableError
from actors.vocabulary.audit_trail import GENESIS, Checkpoint, Look, SignedCheckpoint, SignedKey, Why
from actors.vocabulary.records import AuditRecord
from storage import checkpoints
from storage.audit_desk import AuditDesk
from storage.audit_keys import (
    KEYS_FILE,
    KeyFolder,
    append_line,
    chained,
    is_signed,
    read_lines,
    signed_text,
)
from storage.audit_reader import AuditBook
from storage.checkpoints import (
    CHECKPOINTS_FILE,
    CONTRADICTED,
    Held,
    Ledger,
    Notary,
    judged,
    read_checkpoints,
)
from storage.engine import Access, Database
from tests.unit.storage.contract import NOON, Place, audit_record
from tests.unit.storage.test_sqlite import SqlitePlace

T = TypeVar("T")
AT = "2026-06-01T12:00:00.000000Z"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return SqlitePlace(tmp_path / "calejo.db")


def with_notary(
    place: Place, folder: Path, work: Callable[[Notary], Awaitable[T]], *, elsewhere: Path | None = None
) -> T:
    async def inside(database: Database) -> T:
        book = AuditBook(database)
        return await work(Notary(folder, book, every_records=5, every_s=3600.0, elsewhere=elsewhere))

    return place.run(Access.WRITE, inside)


def lines(folder: Path) -> tuple[tuple[SignedCheckpoint, ...], tuple[SignedKey, ...]]:
    return read_checkpoints(folder), KeyFolder(folder).keys()


def test_the_first_key_is_its_owner_s_only(tmp_path: Path) -> None:
    """AUD-1: made at first start with mode 0600, listed with its own signature, and kept from then on."""
    keys = KeyFolder(tmp_path / "audit")
    with keys.alone():
        _, key, made = keys.ensure(at=AT)
        again = keys.ensure(at=AT)
    assert (made, again[1], again[2]) == (True, key, False)
    assert stat.S_IMODE((tmp_path / "audit" / "signing.pem").stat().st_mode) == 0o600
    assert chained(keys.keys()) == ({key.key_id: key}, "")


@pytest.mark.parametrize("crash_at", ["next.pem", KEYS_FILE])
def test_a_rotation_that_is_cut_short_leaves_one_key_that_signs(
    tmp_path: Path, crash_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUD-1: killed after the private or after the public half was written, one key is in use and listed."""
    keys = KeyFolder(tmp_path)
    with keys.alone():
        _, old, _ = keys.ensure(at=AT)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, keys.alone():
        if crash_at == "next.pem":
            patch.setattr("storage.audit_keys.append_line", killed)
        else:
            patch.setattr(KeyFolder, "_finish_rotation", _after(2, killed))
        with pytest.raises(KeyboardInterrupt):
            keys.rotate(at=AT)
    with keys.alone():
        _, now, made = keys.ensure(at=AT)
    assert not made
    assert (now == old) is (crash_at == "next.pem")
    assert not (tmp_path / "next.pem").exists()
    assert chained(keys.keys())[1] == ""


def _after(calls: int, then: Callable[..., None]) -> Callable[[KeyFolder], None]:
    real, seen = KeyFolder._finish_rotation, 0

    def counted(folder: KeyFolder) -> None:
        nonlocal seen
        seen += 1
        if seen >= calls:
            then()
        real(folder)

    return counted


def test_a_key_that_nobody_signed_is_none(tmp_path: Path) -> None:
    """AUD-1: a foreign key put behind ours is not followed, and is named."""
    keys = KeyFolder(tmp_path)
    with keys.alone():
        keys.ensure(at=AT)
    foreign = KeyFolder(tmp_path / "foreign")
    with foreign.alone():
        _, other, _ = foreign.ensure(at=AT)
    claimed = msgspec.structs.replace(other, number=2, previous_key_id=keys.keys()[0].key.key_id)
    append_line(tmp_path / KEYS_FILE, SignedKey(key=claimed, signature=foreign.keys()[0].signature))
    good, wrong = chained(keys.keys())
    assert list(good) == [keys.keys()[0].key.key_id]
    assert other.key_id in wrong


def test_a_lost_private_key_is_said_and_not_replaced_in_silence(tmp_path: Path) -> None:
    """AUD-1: whoever deletes the key does not get a new beginning for nothing."""
    keys = KeyFolder(tmp_path)
    with keys.alone():
        keys.ensure(at=AT)
        (tmp_path / "signing.pem").unlink()
        with pytest.raises(DeviceError, match="gone"):
            keys.ensure(at=AT)
        with pytest.raises(UnavailableError), KeyFolder(tmp_path).alone():
            pass


def test_checkpoints_by_count_and_time_and_asked_for(tmp_path: Path, place: Place) -> None:
    """AUD-1: the first record, then every five, then after an hour; nothing new: none; a torn line is none."""
    folder = tmp_path / "audit"

    async def story(notary: Notary) -> list[tuple[int, Why] | None]:
        found = []
        for count, hours in ((0, 0), (1, 0), (4, 0), (6, 0), (6, 3), (7, 0.5), (7, 3), (7, 9)):
            while len(written) < count:
                written.append(audit_record(len(written)))
                await asyncio.to_thread(place.write, written[-1])
            look = await notary.look(now=NOON + timedelta(hours=hours))
            assert (look.broken, look.not_kept_elsewhere) == ("", "")
            found.append(None if look.signed is None else (look.signed.count, look.signed.reason))
        with (folder / CHECKPOINTS_FILE).open("ab") as file:
            file.write(b'{"checkpoint": {"form')
        look = await notary.look(now=NOON, why=Why.ASKED)
        assert look.signed is not None
        assert look.signed.number == 4
        return found

    written: list[AuditRecord] = []
    assert with_notary(place, folder, story) == [
        None,
        (1, Why.COUNT),
        None,
        (6, Why.COUNT),
        None,
        None,
        (7, Why.TIME),
        None,
    ]
    good, wrong = judged(*lines(folder))
    assert ([each.count for each in good], wrong) == ([1, 6, 7, 7], "")


def test_rotation_is_chained_and_an_old_key_signs_no_more(tmp_path: Path, place: Place) -> None:
    """AUD-1: the old key signs the new one; what the old one signs later is refused."""
    folder = tmp_path / "audit"
    place.write(audit_record(1))

    async def story(notary: Notary) -> None:
        await notary.look(now=NOON)
        stolen = (folder / "signing.pem").read_bytes()
        old, new, look = await notary.rotate(now=NOON)
        assert new.previous_key_id == old.key_id
        assert look.signed is not None
        assert look.signed.key_id == new.key_id
        good, wrong = judged(*lines(folder))
        assert ([each.key_id for each in good], wrong) == ([old.key_id, old.key_id, new.key_id], "")
        (folder / "signing.pem").write_bytes(stolen)
        await notary.look(now=NOON, why=Why.ASKED)
        assert "had been replaced" in judged(*lines(folder))[1]

    with_notary(place, folder, story)


@pytest.mark.parametrize("change", ["count", "head", "signature", "gap", "foreign"])
def test_a_changed_checkpoint_is_named(tmp_path: Path, place: Place, change: str) -> None:
    """AUD-1: neither a figure nor a signature nor the order of checkpoints can be changed unseen."""
    folder = tmp_path / "audit"

    async def story(notary: Notary) -> None:
        for number in range(3):
            await asyncio.to_thread(place.write, audit_record(number))
            await notary.look(now=NOON, why=Why.ASKED)

    with_notary(place, folder, story)
    signed, keys = lines(folder)
    second = signed[1]
    match change:
        case "gap":
            changed: tuple[SignedCheckpoint, ...] = (signed[0], signed[2])
        case "foreign":
            by_other = Ed25519PrivateKey.generate().sign(signed_text(second.checkpoint)).hex()
            changed = (signed[0], msgspec.structs.replace(second, signature=by_other), signed[2])
        case "signature":
            changed = (signed[0], msgspec.structs.replace(second, signature="00"), signed[2])
        case _:
            value = {"count": 99, "head": "f" * 64}[change]
            other = msgspec.structs.replace(second.checkpoint, **{change: value})
            changed = (signed[0], msgspec.structs.replace(second, checkpoint=other), signed[2])
    good, wrong = judged(changed, keys)
    assert len(good) == 1
    assert wrong.startswith(f"checkpoint {3 if change == 'gap' else 2} ")
    assert judged(signed[1:], keys)[1] == "", "a copy kept elsewhere may begin later"


def test_elsewhere_gets_what_it_missed_and_notices_a_machine_rolled_back(
    tmp_path: Path, place: Place
) -> None:
    """AUD-1: a share that was away catches up; a data directory restored from a backup contradicts it."""
    folder, elsewhere = tmp_path / "audit", tmp_path / "share"

    async def story(notary: Notary) -> None:
        place_write = place.write
        await asyncio.to_thread(place_write, audit_record(1))
        assert "no such folder" in (await notary.look(now=NOON)).not_kept_elsewhere
        assert not elsewhere.exists()
        elsewhere.mkdir()
        kept = (folder / CHECKPOINTS_FILE).read_bytes()
        await asyncio.to_thread(place_write, audit_record(2))
        assert (await notary.look(now=NOON, why=Why.ASKED)).not_kept_elsewhere == ""
        assert read_checkpoints(elsewhere) == read_checkpoints(folder)
        assert read_lines(elsewhere / KEYS_FILE, SignedKey) == [*KeyFolder(folder).keys()]
        (folder / CHECKPOINTS_FILE).write_bytes(kept)
        rolled_back = await notary.look(now=NOON)
        assert CONTRADICTED in rolled_back.not_kept_elsewhere
        assert CONTRADICTED in rolled_back.broken, "an alarm of its own: somebody went back in time"

    with_notary(place, folder, story, elsewhere=elsewhere)


def test_a_key_made_anew_is_noticed_by_what_is_kept_elsewhere(tmp_path: Path, place: Place) -> None:
    """AUD-1: whoever removes keys and checkpoints gets a new beginning, and an alarm with it."""
    folder, elsewhere = tmp_path / "audit", tmp_path / "share"
    elsewhere.mkdir()
    place.write(audit_record(1))

    async def look(notary: Notary) -> Look:
        return await notary.look(now=NOON)

    assert with_notary(place, folder, look, elsewhere=elsewhere).broken == ""
    shutil.rmtree(folder)
    assert CONTRADICTED in with_notary(place, folder, look, elsewhere=elsewhere).broken


def test_a_share_that_hangs_hangs_nobody(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUD-1, AUD-4: signing goes on, one thread waits, and what was missed is copied when the share answers."""
    folder, elsewhere = tmp_path / "audit", tmp_path / "share"
    elsewhere.mkdir()
    answers, waiting = threading.Event(), []
    real = checkpoints.copied

    def slow(*arguments: Any) -> str:
        waiting.append(1)
        assert answers.wait(60)
        return real(*arguments)

    monkeypatch.setattr(checkpoints, "copied", slow)
    monkeypatch.setattr(checkpoints, "COPY_DEADLINE_S", 0.05)

    async def story(notary: Notary) -> None:
        for number in range(3):
            await asyncio.to_thread(place.write, audit_record(number))
            look = await notary.look(now=NOON, why=Why.ASKED)
            assert look.signed is not None
            assert look.not_kept_elsewhere.endswith("does not answer")
        assert len(waiting) == 1
        answers.set()
        monkeypatch.setattr(checkpoints, "COPY_DEADLINE_S", 30.0)
        await notary.look(now=NOON)
        assert (await notary.look(now=NOON)).not_kept_elsewhere == ""
        assert read_checkpoints(elsewhere) == read_checkpoints(folder)

    with_notary(place, folder, story, elsewhere=elsewhere)


def many(folder: Path, count: int) -> None:
    """Write so many checkpoints of an empty trail as a notary would have over the years."""
    keys = KeyFolder(folder)
    with keys.alone():
        private, key, _ = keys.ensure(at=AT)
    previous, written = GENESIS, []
    for number in range(1, count + 1):
        checkpoint = Checkpoint(
            format=checkpoints.CHECKPOINT_FORMAT, number=number, at=AT, count=0, head=GENESIS,
            key_id=key.key_id, previous=previous, reason=Why.TIME,
        )  # fmt: skip
        previous = checkpoints.digest(checkpoint)
        signature = private.sign(signed_text(checkpoint)).hex()
        written.append(
            msgspec.json.encode(SignedCheckpoint(checkpoint=checkpoint, signature=signature)) + b"\n"
        )
    (folder / CHECKPOINTS_FILE).write_bytes(b"".join(written))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the signatures that are verified from now on."""
    verified: list[int] = []
    real = is_signed

    def one(*arguments: Any) -> bool:
        verified.append(1)
        return real(*arguments)

    monkeypatch.setattr("storage.checkpoints.is_signed", one)
    monkeypatch.setattr("storage.audit_keys.is_signed", one)
    return verified


def test_what_was_judged_is_not_judged_again(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUD-1: the second look at 20,000 checkpoints verifies what is new, and beside the loop."""
    folder, count = tmp_path / "audit", 20_000
    many(folder, count)
    verified = counted(monkeypatch)
    threads: set[str] = set()
    real = Ledger.read

    def watched(ledger: Ledger) -> Held:
        threads.add(threading.current_thread().name)
        return real(ledger)

    monkeypatch.setattr(Ledger, "read", watched)

    async def story(notary: Notary) -> None:
        assert (await notary.look(now=NOON)).broken == ""
        assert len(verified) >= count
        verified.clear()
        assert (await notary.look(now=NOON)).broken == ""
        assert len(verified) <= 1
        await asyncio.to_thread(place.write, audit_record(1))
        look = await notary.look(now=NOON, why=Why.ASKED)
        assert look.signed is not None
        assert look.signed.number == count + 1
        verified.clear()
        assert (await notary.look(now=NOON)).broken == ""
        assert len(verified) <= 1
        assert threading.current_thread().name not in threads

    with_notary(place, folder, story)


def test_what_reads_for_people_judges_once_as_well(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUD-1, EST-4: whoever asks REST again and again whether the trail holds makes nobody wait for it."""
    folder = tmp_path / "audit"
    many(folder, 200)
    verified = counted(monkeypatch)

    async def inside(database: Database) -> None:
        desk = AuditDesk(folder, AuditBook(database))
        assert (await desk.verify(after=0, count_max=10)).holds
        verified.clear()
        assert (await desk.verify(after=0, count_max=10)).holds
        assert len(verified) <= 1

    place.write(audit_record(1))
    place.run(Access.WRITE, inside)


@pytest.mark.parametrize("change", ["edited", "shortened", "swapped", "key"])
def test_whatever_is_more_than_growth_is_judged_from_the_beginning(tmp_path: Path, change: str) -> None:
    """AUD-1: remembering what was judged hides no change of it."""
    many(tmp_path, 5)
    path, ledger = tmp_path / CHECKPOINTS_FILE, Ledger(tmp_path)
    assert ledger.read().wrong == ""
    kept = path.read_bytes().splitlines(keepends=True)
    match change:
        case "edited":
            path.write_bytes(b"".join(kept).replace(b'"number":2', b'"number":7'))
        case "shortened":
            path.write_bytes(b"".join(kept[:3]))
        case "swapped":
            path.write_bytes(b"".join((kept[0], kept[2], kept[1], *kept[3:])))
        case _:
            (tmp_path / KEYS_FILE).unlink()
    now = ledger.read()
    assert now == Ledger(tmp_path).read()
    assert now == ledger.read(), "and found again what was found"
    assert (len(now.known), bool(now.wrong)) == {
        "edited": (1, True), "shortened": (3, False), "swapped": (1, True), "key": (0, True),
    }[change]  # fmt: skip


def test_a_line_that_is_being_written_is_read_again(tmp_path: Path) -> None:
    """AUD-1: who looks while another process appends sees the whole line the next time."""
    many(tmp_path, 3)
    path, ledger = tmp_path / CHECKPOINTS_FILE, Ledger(tmp_path)
    whole = path.read_bytes()
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end, count in ((start + 20, 2), (len(whole) - 1, 3), (len(whole), 3)):
        path.write_bytes(whole[:end])
        held = ledger.read()
        assert (len(held.known), held.wrong) == (count, "")


def test_the_notary_signs_nothing_over_a_tampered_trail(tmp_path: Path, place: Place) -> None:
    """AUD-1: a record changed since the last checkpoint, one changed at it, a cut tail: each named, none signed."""
    folder = tmp_path / "audit"
    place.write(*(audit_record(number) for number in range(6)))

    async def look(notary: Notary) -> str:
        found = await notary.look(now=NOON, why=Why.ASKED)
        assert found.broken == "" or found.signed is None
        return found.broken

    assert with_notary(place, folder, look) == ""
    place.write(*(audit_record(number) for number in range(6, 9)))
    place.execute("DROP TRIGGER audit_log_no_update")
    place.execute("DROP TRIGGER audit_log_no_delete")
    place.execute("UPDATE audit_log SET actor = 'nobody' WHERE sequence = 8")
    assert with_notary(place, folder, look).startswith("record 8: record 'a7': its content")
    place.execute("UPDATE audit_log SET hash = ? WHERE sequence = 6", "0" * 64)
    assert "rebuilt or rolled back" in with_notary(place, folder, look)
    place.execute("DELETE FROM audit_log WHERE sequence > 4")
    assert "cut off or rolled back" in with_notary(place, folder, look)
