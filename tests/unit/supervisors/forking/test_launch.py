"""The launcher: a tenth of a cold start, and the cold start itself whenever anything is not as it should be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from supervisors.forking import guard
from supervisors.forking.protocol import COLD_MARK, FORK, GO, HEAD, HERE, HERE_MARK, decode, head_of
from supervisors.forking.service import ForkedWorkers, UnfitError, prepared
from tests.unit.supervisors.forking.served import ROOT

# Stands for Ray's worker script: a cold start runs it.
WORKER = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get('MARK')]))"

# Becomes the command as a raylet's child: a group of its own, nice, SIGINT blocked.
AS_THE_RAYLET = (
    "import os, signal, sys; os.setpgid(0, 0); os.nice(7); signal.pthread_sigmask(signal.SIG_BLOCK, {2});"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class _NoLog:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    warning = info


@pytest.fixture
def launcher(tmp_path: Path) -> tuple[ForkedWorkers, list[str]]:
    (tmp_path / "f").mkdir(mode=0o700)
    (tmp_path / "default_worker.py").write_text(WORKER)
    forking = ForkedWorkers(tmp_path / "f", code_path=str(ROOT), log=_NoLog())
    forking._write_launcher()
    return forking, [str(tmp_path / "f" / "launcher"), str(tmp_path / "default_worker.py"), "--worker-id=1"]


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env={"MARK": "mine", "PATH": os.environ["PATH"]},
        check=True,
    )
    return done.stdout


COLD = [["--worker-id=1"], "mine"]


def test_without_a_host_it_becomes_the_cold_worker(launcher: tuple[ForkedWorkers, list[str]]) -> None:
    """SUP-8: nobody listens: the same command with the real interpreter, arguments and environment untouched."""
    _, command = launcher
    assert json.loads(_run(command)) == COLD


@pytest.mark.parametrize("answer", [b"", HERE.pack(COLD_MARK, 0), b"P"], ids=["end", "cold", "cut"])
def test_an_answer_that_is_no_worker_means_a_cold_start(
    launcher: tuple[ForkedWorkers, list[str]], answer: bytes
) -> None:
    """SUP-8: a host that lets go, refuses or dies in the middle of its answer."""
    forking, command = launcher
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(forking._socket_path))
        listener.listen()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"MARK": "mine"})
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 20)
            connection.send(answer)
        out, _ = process.communicate(timeout=30)
    assert json.loads(out) == COLD


def test_it_asks_with_all_that_makes_a_worker_and_tells_it_to_go(
    launcher: tuple[ForkedWorkers, list[str]],
) -> None:
    """SUP-8: the worker gets its standard descriptors, and goes on only when the launcher has heard it."""
    forking, command = launcher
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(forking._socket_path))
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-c", AS_THE_RAYLET, *command],
            stdout=subprocess.PIPE,
            env={"MARK": "mine", "BYTES": os.fsdecode(b"\xff")},
        )
        connection, _ = listener.accept()
        with connection:
            data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 8)
            kind, size = head_of(data, forking._token)
            request = decode(data[HEAD.size :])
            assert (kind, size, len(descriptors)) == (FORK, len(data) - HEAD.size, 3)
            assert request.argv == [os.fsencode(each) for each in command[1:]]
            assert request.environment[b"BYTES"] == b"\xff"
            assert (request.nice, request.own_group, request.signal_mask) == (7, True, 0b10)
            os.write(descriptors[1], b"from the worker")
            for each in descriptors:
                os.close(each)
            assert process.poll() is None, "it waits for the worker's own word"
            connection.send(HERE.pack(HERE_MARK, 42))
            assert connection.recv(1) == GO
        out, _ = process.communicate(timeout=30)
    assert out == b"from the worker"
    assert process.returncode == 0


def test_with_a_runtime_environment_it_asks_nobody(launcher: tuple[ForkedWorkers, list[str]]) -> None:
    """SUP-8: setup_worker.py comes first then: always cold."""
    forking, command = launcher
    setup = Path(command[1]).with_name("setup_worker.py")
    setup.write_text(WORKER)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(forking._socket_path))
        listener.listen()
        assert json.loads(_run([command[0], str(setup), *command[1:]]))[0] == command[1:]
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_only_the_raylets_worker_command_is_routed(launcher: tuple[ForkedWorkers, list[str]]) -> None:
    """SUP-8: one option of one command; every other server of Ray's is started as ever."""
    forking, command = launcher
    option = f"--python_worker_command={sys.executable} /ray/setup_worker.py /ray/default_worker.py --x=1"
    routed = forking.routed(["raylet", "--a", option])
    assert routed == [
        "raylet", "--a", f"--python_worker_command={command[0]} /ray/setup_worker.py /ray/default_worker.py --x=1",
    ]  # fmt: skip
    other = ["gcs_server", f"--python_worker_command={sys.executable}x y", sys.executable]
    assert forking.routed(other) == other


def test_off_and_unfit_are_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-8: switched off, another Ray, or a folder that executes nothing: cold, one line, nothing left behind."""

    def why(*, wanted: bool = True) -> tuple[str, str]:
        log = _NoLog()
        state = "forking.json"
        forking = prepared(
            tmp_path / "f", wanted=wanted, code_path=str(ROOT), data_dir=tmp_path, state=state, log=log
        )
        assert forking is None
        assert not (tmp_path / "f").exists()
        assert not (tmp_path / state).exists()
        ((event, fields),) = log.lines
        return event, str(fields["why"])

    assert why(wanted=False) == ("forked_workers_off", "runtime.forked_workers is false; workers start cold")
    with monkeypatch.context() as patch:
        patch.setattr(guard, "RAY_VERSION", "0.0")
        assert "forking is made for 0.0" in why()[1]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/a path/python")
        assert "interpreter line" in why()[1]
    with monkeypatch.context() as patch:
        patch.setattr(
            ForkedWorkers, "_write_launcher", lambda self: self._launcher.write_text("#!/nowhere\n")
        )
        assert "cannot be started" in why()[1]


def test_a_path_too_long_for_a_socket_is_unfit(tmp_path: Path) -> None:
    """SUP-8: said before anything is started."""
    forking = ForkedWorkers(tmp_path / ("x" * 100), code_path=str(ROOT), log=_NoLog())
    with pytest.raises(UnfitError, match="too long"):
        forking.prepare()
