"""A real host and its owner: whatever happens to host and folder, there is soon one again, and nothing is left behind.

Without Ray: the owner tells of no raylet, so no template is loaded.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisors.forking import service
from supervisors.forking.service import RUN_STATE, ForkedWorkers, ask, states_of
from supervisors.process import alive
from tests.unit.supervisors.forking.served import ROOT


class _Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    warning = info

    def why(self) -> list[str]:
        return [str(fields["why"]) for event, fields in list(self.lines) if event == "forking_host_lost"]


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[ForkedWorkers]:
    forking = ForkedWorkers(tmp_path / "f", code_path=str(ROOT), log=_Log())
    forking.prepare()
    yield forking
    forking.stop()
    assert not (tmp_path / "f").exists()
    assert not forking._thread.is_alive()


def _log(owner: ForkedWorkers) -> _Log:
    assert isinstance(owner._log, _Log)
    return owner._log


def _until(holds: Callable[[], Any], *, within_s: float = 15.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def _pid(owner: ForkedWorkers) -> int | None:
    try:
        return int(owner.status()["pid"])
    except OSError:
        return None


def test_a_host_that_died_is_started_again(owner: ForkedWorkers) -> None:
    """SUP-8: one line of the log, another host in its place."""
    before = _pid(owner)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    _until(lambda: _pid(owner) not in {None, before})
    assert _log(owner).why() == ["it ended with -9"]
    assert not owner._template_was_ready, "so launchers wait for the first template, as before"


def test_a_host_that_hangs_is_replaced(owner: ForkedWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-8: it would keep every launcher waiting for its whole patience: it is noticed and killed."""
    before = _pid(owner)
    assert before is not None
    monkeypatch.setattr(service, "_SILENT_S", 1.0)
    os.kill(before, signal.SIGKILL)  # the next one is watched with the short patience
    _until(lambda: _pid(owner) not in {None, before})
    hanging = _pid(owner)
    assert hanging is not None
    monkeypatch.setattr(service, "_SILENT_S", 20.0)
    os.kill(hanging, signal.SIGSTOP)
    _until(lambda: not alive(hanging))
    _until(lambda: len(_log(owner).why()) == 2)
    assert "said nothing" in _log(owner).why()[1]


def test_a_host_that_hangs_is_ended_with_its_owner(
    owner: ForkedWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SUP-8: an ordered end does not depend on the host's help."""
    monkeypatch.setattr(service, "_STOP_WITHIN_S", 0.3)
    pid = _pid(owner)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    owner.stop()
    assert not alive(pid)


@pytest.mark.parametrize("whole", [True, False], ids=["with its folder", "its files"])
def test_a_folder_that_was_emptied_is_made_again(owner: ForkedWorkers, *, whole: bool) -> None:
    """SUP-8: a cleaner of /tmp, or a hand that slipped: launchers find host and token again."""
    if whole:
        owner._remove_folder()
    else:
        for each in owner._folder.iterdir():
            each.unlink()
    _until(lambda: _pid(owner))
    assert "emptied" in _log(owner).why()[0]
    assert owner._token_path.read_text() == owner._token.hex()
    assert owner._folder.stat().st_mode & 0o777 == 0o700


class _Spoilt(ForkedWorkers):
    """Fails at the first thing that a host of its own says; other owners of this process are not touched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, code_path=str(ROOT), log=_Log())
        self.seen: list[int] = []

    def _heard(self, said: dict[str, Any]) -> None:
        assert self._host is not None
        self.seen.append(self._host.pid)
        if len(self.seen) == 1:
            raise KeyError("event")
        super()._heard(said)


def test_an_owner_survives_what_it_does_not_understand(tmp_path: Path) -> None:
    """SUP-8: the thread that keeps the host alive ends with its owner only; the host that spoke is killed."""
    forking = _Spoilt(tmp_path / "f")
    forking.prepare()
    try:
        assert _log(forking).why() == ["KeyError: 'event'"]
        assert not alive(forking.seen[0])
        assert _pid(forking) == forking.seen[1]
    finally:
        forking.stop()


def test_why_a_host_failed_is_told(owner: ForkedWorkers) -> None:
    """SUP-8: nobody reads what it prints: its last word is its error."""
    owner._socket_path.unlink()
    owner._socket_path.mkdir()  # where it cannot listen
    host = owner._host
    assert host is not None
    host.kill()
    _until(lambda: any("Error: [Errno" in why for why in _log(owner).why()))
    owner._socket_path.rmdir()


@pytest.mark.parametrize("late", [False, True], ids=["signal alone", "signal first"])
def test_a_signal_is_told_from_the_end_of_its_owner(tmp_path: Path, *, late: bool) -> None:
    """SUP-8: of an owner that dies the kernel may send the signal before it closes the connection: the folder goes. A
    host that somebody else ends leaves it to its owner, who starts another."""
    folder = tmp_path / "f"
    folder.mkdir(mode=0o700)
    ours, theirs = socket.socketpair()
    start = f"import sys; sys.path.append({str(ROOT)!r}); from supervisors.forking.host import main; main()"
    with ours:
        with theirs:
            command = [sys.executable, "-IS", "-c", start, str(theirs.fileno()), str(os.getpid())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        told = {"folder": str(folder), "socket": str(folder / "host"), "token": "00" * 32}
        ours.sendall(json.dumps(told).encode() + b"\n")
        assert b"listening" in ours.recv(1000)
        process.terminate()
        if late:
            ours.shutdown(socket.SHUT_RDWR)
        assert process.wait(10) == (0 if late else 1)
    assert folder.exists() is not late


def test_only_the_own_announcement_is_taken_back(tmp_path: Path) -> None:
    """SUP-8: two with one data directory: the first to end leaves the other's."""
    first, second = (ForkedWorkers(tmp_path / name, code_path=str(ROOT), log=_Log()) for name in "ab")
    first.announce(tmp_path, RUN_STATE)
    second.announce(tmp_path, RUN_STATE)
    first.stop()
    assert states_of(tmp_path) == {RUN_STATE: second._state()}
    second.stop()
    assert states_of(tmp_path) == {}


@pytest.mark.parametrize(
    "text", ["", "{", '{"socket": "/x"}', '{"socket": "/x", "token": "no digits"}', "\xff"]
)
def test_an_announcement_that_is_none_is_passed_over(tmp_path: Path, text: str) -> None:
    """SUP-8: `calejo node status` says that nothing runs, and breaks on nothing."""
    (tmp_path / RUN_STATE).write_text(text, encoding="latin-1")
    assert states_of(tmp_path) == {}


def test_a_host_that_ends_in_its_answer_is_nobody(tmp_path: Path) -> None:
    """SUP-8: half an answer is an OSError like none."""
    path = tmp_path / "s"
    half = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(flush=True);"
        "c, _ = s.accept(); c.recv(100); c.send(b'{\"pid\"')"
    )
    process = subprocess.Popen([sys.executable, "-c", half, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(OSError, match="while it answered"):
        ask(service.State(socket=str(path), token="00" * 32), 3)
    process.communicate(timeout=10)
