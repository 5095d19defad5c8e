"""Calls of a disk that comes late: who gave up is not answered, and what changed is heard of all the same."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from actors.vocabulary import DeviceError
from actors.vocabulary.access import UserRole
from api.access.kept_keys import KeptKey, KeptKeys
from api.disk import Disk, DiskLateError
from storage.files import write_whole


@pytest.mark.parametrize("fails", [False, True])
def test_what_ends_late_is_told_once_and_to_nobody_else(fails: bool) -> None:
    """EST-2: the end of a call that was given up is told in the loop, be it a result or an error."""
    gate, told, where = threading.Event(), [], []

    def work() -> str:
        assert gate.wait(20)
        if fails:
            raise DeviceError("full")
        return "done"

    def late(end: str | BaseException) -> None:
        told.append(str(end))
        where.append(threading.current_thread())

    async def story() -> None:
        disk = Disk("test")
        with pytest.raises(DiskLateError, match="did not answer within"):
            await disk.call(work, deadline_s=0.05, late=late)
        assert told == []
        gate.set()
        async with asyncio.timeout(10):
            while not told:
                await asyncio.sleep(0.005)
        assert disk._under_way == 0
        assert await disk.call(lambda: "in time", deadline_s=10, late=late) == "in time"

    asyncio.run(story())
    assert told == ["full" if fails else "done"]
    assert where == [threading.main_thread()]


def test_too_many_that_hang_begin_nothing() -> None:
    """EST-1: bounded; what is refused so was never begun, which is another thing than late."""
    gate, begun = threading.Event(), []

    async def story() -> None:
        disk = Disk("test", calls_max=1)
        with pytest.raises(DiskLateError):
            await disk.call(lambda: gate.wait(20), deadline_s=0.05)
        with pytest.raises(DeviceError, match="calls wait") as told:
            await disk.call(lambda: begun.append(1), deadline_s=10)
        assert not isinstance(told.value, DiskLateError)
        gate.set()
        async with asyncio.timeout(10):
            while disk._under_way:
                await asyncio.sleep(0.005)

    asyncio.run(story())
    assert begun == []


def test_a_late_write_puts_no_revoked_key_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EST-4: the file of keys that may stop is what was known last, whichever write the disk finished last."""
    kept = KeptKeys(tmp_path)
    key = KeptKey(key_id="k1", user_id="scada", role=UserRole.OPERATOR, secret_hash="h")
    kept.take_up(())
    kept._by_id["k1"] = key
    older = kept.unwritten()
    assert older == (key,)
    gate, inside = threading.Event(), threading.Event()

    def slow(path: Path, content: bytes) -> bool:
        inside.set()
        assert gate.wait(20)
        return write_whole(path, content)

    monkeypatch.setattr("api.access.kept_keys.write_whole", slow)
    writers = [threading.Thread(target=kept.write, args=(older,)) for _ in range(2)]
    writers[0].start()
    assert inside.wait(20)
    writers[1].start()  # the same list once more, as after a time-out
    kept.drop("k1")
    assert kept.unwritten() is None, "the file holds no key, as far as anybody knows yet"
    gate.set()
    for each in writers:
        each.join(20)
    assert kept.read() == (key,), "the first one was under way"
    left = kept.unwritten()
    assert left == (), "and is known to be there"
    kept.write(left)
    assert kept.read() == ()
    assert kept.unwritten() is None
