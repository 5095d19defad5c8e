"""The host among bad peers and bad templates.

Goal: nobody else has it fork, and its own launchers always get an answer.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supervisors.forking import host as host_module
from supervisors.forking import protocol
from supervisors.forking.host import retry_s
from supervisors.forking.loaded import LOG_BYTES_MAX
from supervisors.forking.protocol import COLD_MARK, FORK, HEAD, HERE, HERE_MARK, framed
from supervisors.process import alive
from tests.unit.supervisors.forking.served import served


def _mark(answer: bytes) -> bytes:
    mark, _ = HERE.unpack(answer)
    assert isinstance(mark, bytes)
    return mark


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_launcher_with_the_token_has_a_worker_forked(tmp_path: Path) -> None:
    """SUP-8: the forked process itself answers; requests that come before the template is ready wait for it."""
    with served(tmp_path, "slow") as host:
        mark, pid = HERE.unpack(host.fork())
        assert mark == HERE_MARK
        assert pid == host.status()["template"]
        assert host.status()["forked"] == 1
        assert host.status()["cold"] == {}


def test_after_a_host_that_died_nobody_waits_for_a_template(tmp_path: Path) -> None:
    """SUP-8: what is started then is a process that died: cold is sooner than a template that has to load first."""
    with served(tmp_path, "slow", again=True) as host:
        assert _mark(host.fork()) == COLD_MARK
        host.until(lambda: host.status()["template"])
        assert _mark(host.fork()) == HERE_MARK


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    """SUP-8: folder and socket have owner-only rights."""
    with served(tmp_path) as host:
        assert stat.S_IMODE(host.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(host.path.stat().st_mode) == 0o600


def test_another_user_is_refused_before_a_byte_is_read(tmp_path: Path) -> None:
    """SUP-8: the kernel's word about the peer counts, even with the right token."""
    with served(tmp_path) as host:
        host.host._uid = os.getuid() + 1
        assert host.fork() == b""
        host.until(lambda: host.event("refused"))
        assert f"belongs to user {os.getuid()}" in (host.event("refused") or {})["why"]


@pytest.mark.parametrize(
    ("frame", "descriptors", "why"),
    [
        (lambda token, body: framed(bytes(32), FORK, body), 3, "wrong token"),
        (
            lambda token, body: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
            3,
            "no request of this version",
        ),
        (lambda token, body: HEAD.pack(protocol.MAGIC, token, FORK, 1 << 30), 3, "a body of"),
        (lambda token, body: framed(token, FORK, body) + b"more", 3, "more than was announced"),
        (lambda token, body: framed(token, FORK, body[:-4]), 3, "strings"),
        (lambda token, body: framed(token, FORK, body), 1, "not three descriptors"),
        (lambda token, body: framed(token, FORK, body), 9, "too many descriptors"),
    ],
    ids=["token", "http", "oversize", "more", "cut", "few descriptors", "many descriptors"],
)
def test_a_bad_request_is_refused_and_leaves_nothing(
    tmp_path: Path, frame: object, descriptors: int, why: str
) -> None:
    """SUP-8: refused with a reason, forked nobody, kept no descriptor; the next good one is served."""
    with served(tmp_path) as host:
        assert _mark(host.fork()) == HERE_MARK
        host.status()  # answered after the former was let go
        before = _descriptors()
        assert callable(frame)
        assert host.ask(frame(host.token, host.request()), descriptors=descriptors) == b""
        host.until(lambda: host.event("refused"))
        assert why in (host.event("refused") or {})["why"]
        assert host.host._forked == 1
        assert _mark(host.fork()) == HERE_MARK
        host.until(lambda: _descriptors() == before)


def test_a_slow_peer_is_let_go_and_delays_nobody(tmp_path: Path) -> None:
    """SUP-8: a request has half a second; meanwhile others are served."""
    with served(tmp_path) as host, host.connect() as slow:
        slow.send(framed(host.token, FORK, host.request())[:20])
        began_s = time.monotonic()
        assert _mark(host.fork()) == HERE_MARK
        assert time.monotonic() - began_s < protocol.REQUEST_WITHIN_S
        assert slow.recv(1) == b""
        assert time.monotonic() - began_s < protocol.REQUEST_WITHIN_S + 2.0
        host.until(lambda: (host.event("refused") or {}).get("why") == "too slow")


def test_more_peers_than_allowed_are_let_go(tmp_path: Path) -> None:
    """SUP-8: the number of requests under way is bounded; a full host serves again when they have gone."""
    with served(tmp_path) as host:
        assert _mark(host.fork()) == HERE_MARK
        many = [host.connect() for _ in range(protocol.PEERS_MAX + 5)]
        try:
            host.until(
                lambda: any(each["why"] == "too many at once" for each in host.events if "why" in each)
            )
            assert len(host.host._peers) <= protocol.PEERS_MAX
        finally:
            for each in many:
                each.close()
        # Those who waited in the queue are let in and out one after the other before all have gone.
        host.until(lambda: not host.host._peers)
        assert _mark(host.fork()) == HERE_MARK


def test_a_worker_that_the_template_cannot_become_starts_cold(tmp_path: Path) -> None:
    """SUP-8: another environment than the template's: told cold, counted with the reason, said once."""
    with served(tmp_path) as host:
        for _ in range(3):
            assert _mark(host.fork(RAY_X=b"2")) == COLD_MARK
        assert host.status()["cold"] == {"its environment differs in RAY_X": 3}
        host.until(lambda: host.event("cold_start"))
        assert len([each for each in host.events if each["event"] == "cold_start"]) == 1


@pytest.mark.parametrize(("how", "why"), [("fails", "told to fail"), ("dies", "died")])
def test_without_a_template_workers_start_cold(tmp_path: Path, how: str, why: str) -> None:
    """SUP-8: a template that does not load: those who wait are told at once, and another is tried, not in a storm."""
    with served(tmp_path, how) as host:
        assert _mark(host.fork()) == COLD_MARK
        host.until(lambda: host.event("template_lost"))
        assert why in (host.event("template_lost") or {})["why"]
        if how == "dies":
            assert (host.event("template_lost") or {})["log"] == "its last words"
    assert [retry_s(n) for n in (0, 1, 2, 20)] == [0.2, 0.4, 0.8, 60.0]


def test_a_killed_template_is_replaced(tmp_path: Path) -> None:
    """SUP-8: killed: the next launcher is told cold or forked, never left alone; soon all are forked again."""
    with served(tmp_path) as host:
        assert _mark(host.fork()) == HERE_MARK
        for _ in range(5):
            pid = host.status()["template"]
            os.kill(pid, signal.SIGKILL)
            assert host.fork()[:1] in {COLD_MARK, HERE_MARK, b""}
            host.until(lambda pid=pid: host.status()["template"] not in {None, pid})  # type: ignore[misc]
            assert not alive(pid)
            assert _mark(host.fork()) == HERE_MARK
        assert host.status()["templates_lost"] == 5


def test_a_template_that_hangs_is_killed_and_the_launcher_let_go(tmp_path: Path) -> None:
    """SUP-8: no answer within a second: the launcher reads the end and starts cold."""
    with served(tmp_path, "hangs") as host:
        host.until(lambda: host.status()["template"])
        pid = host.status()["template"]
        assert host.fork() == b""
        host.until(lambda: not alive(pid))
        assert host.status()["cold"] == {"the template did not fork": 1}


def test_a_machine_without_memory_costs_no_template(tmp_path: Path) -> None:
    """SUP-8: a fork that the kernel refuses: cold, with its reason; the template is not to blame."""
    with served(tmp_path, "full") as host:
        assert host.fork() == b""
        assert host.status()["cold"] == {"fork: Cannot allocate memory": 1}
        assert host.status()["templates_lost"] == 0


def test_a_template_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    """SUP-8: no memory, no disk, an interpreter that is being replaced: the host lives, workers start cold."""
    with served(tmp_path, node=False) as host:
        command = host.host._told["template"]
        host.host._told["template"] = ["/no/interpreter"]
        before = _descriptors()
        host.node()
        host.until(lambda: host.event("template_lost"))
        assert "not started" in (host.event("template_lost") or {})["why"]
        host.until(lambda: _descriptors() == before + 1)  # the raylet's
        assert _mark(host.fork()) == COLD_MARK
        host.host._told["template"] = command
        host.until(lambda: host.status()["template"])
        assert _mark(host.fork()) == HERE_MARK


def test_a_reload_never_brings_code_that_was_read_before(tmp_path: Path) -> None:
    """SUP-8: asked for while a template loads: that one began before, another takes its place."""
    with served(tmp_path, "slow") as host:
        host.until(lambda: host.host._loading)
        loading = host.host._loading
        assert loading is not None
        said = host.reload()
        assert said["why"] == ""
        assert said["reloads"] == 1
        assert said["template"] not in {None, loading.process.pid}
        assert not alive(loading.process.pid)
        assert said["templates_lost"] == 0


def test_a_reload_that_is_none_says_so(tmp_path: Path) -> None:
    """SUP-8: a host without a node, or with one that has ended, has nothing to reload."""
    with served(tmp_path, node=False) as host:
        assert "serves no node" in host.reload()["why"]
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.communicate()
        host.node(ended.pid)
        host.until(lambda: host.event("off"))
        assert host.reload()["why"] == "the raylet has ended"
        assert _mark(host.fork()) == COLD_MARK


def test_what_waits_and_what_is_written_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-8: launchers that wait for the first template; what templates print in months of failing."""
    monkeypatch.setattr(host_module, "_PARKED_MAX", 0)
    with served(tmp_path, node=False) as host:
        log = host.folder / "template.log"
        log.write_bytes(b"x" * (LOG_BYTES_MAX + 1))
        assert _mark(host.fork()) == COLD_MARK
        assert host.status()["cold"] == {"too many wait for the template": 1}
        host.node()
        host.until(lambda: host.status()["template"])
        assert log.stat().st_size == 0


def test_it_waits_for_no_owner_that_is_stopped(tmp_path: Path) -> None:
    """SUP-8: Ctrl-Z on `calejo run`: its host serves on, however much there would be to tell."""
    with served(tmp_path, node=False) as host:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            told = host.host._told | {"socket": str(tmp_path / "another")}
            deaf = host_module.Host(theirs, told)
            for _ in range(2_000):
                deaf._say("refused", why="x" * 500)
            deaf.close()
            lines = ours.recv(1 << 22).splitlines()
            assert 1 < len(lines) < 2_000
            assert all(json.loads(line)["event"] == "refused" for line in lines), "no half a line"


def test_it_tells_its_owner_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-8: without a request and without a template."""
    monkeypatch.setattr(host_module, "_HEALTH_PERIOD_S", 0.05)
    monkeypatch.setattr(host_module, "ALIVE_PERIOD_S", 0.1)
    with served(tmp_path, node=False) as host:
        host.until(lambda: len([each for each in host.events if each["event"] == "alive"]) > 2)


def test_it_ends_with_its_node_and_with_its_owner(tmp_path: Path) -> None:
    """SUP-8: when the raylet ends or the owner lets go, host and template end and the folder is empty."""
    raylet = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with served(tmp_path, node=False) as host:
        host.node(raylet.pid)
        host.until(lambda: host.status()["template"])
        pid = host.status()["template"]
        raylet.kill()
        raylet.communicate()
        assert host.ended()
        assert not alive(pid)
        assert not host.folder.exists()
    with served(tmp_path) as host:
        host.until(lambda: host.status()["template"])
        pid = host.status()["template"]
        host.end()
        assert not alive(pid)
        assert not host.folder.exists()
