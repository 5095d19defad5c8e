"""The launcher: a tenth of a cold start, and the cold start itself whenever anything is not as it should be."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from supervisors.forking import guard, service
from supervisors.forking.launcher import workers_command
from supervisors.forking.protocol import (
    COLD_MARK,
    FIRST_WORD_WITHIN_S,
    FORK,
    GO,
    HEAD,
    HERE,
    HERE_MARK,
    WAIT_MARK,
    decode,
    head_of,
)
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
    (tmp_path / "default_worker.py").write_text(WORKER)
    forking = ForkedWorkers(tmp_path / "f", code_path=str(ROOT), log=_NoLog())
    forking._make_folder()
    return forking, [*forking._command, str(tmp_path / "default_worker.py"), "--worker-id=1"]


def _worker(command: list[str]) -> list[str]:
    """Return the worker's part of a launcher's command."""
    at = next(at for at, each in enumerate(command) if each.endswith("_worker.py"))
    return command[at:]


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
            assert request.argv == [os.fsencode(each) for each in _worker(command)]
            assert request.environment[b"BYTES"] == b"\xff"
            nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 7)
            assert (request.nice, request.own_group, request.signal_mask) == (nice, True, 0b10)
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
    """SUP-8: setup_worker.py comes first then, and is told the environment: always cold, and as the raylet has it."""
    forking, command = launcher
    worker = _worker(command)
    setup = Path(worker[0]).with_name("setup_worker.py")
    setup.write_text(WORKER)
    told = [*worker, "--language=PYTHON", "--serialized-runtime-env-context={}"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(forking._socket_path))
        listener.listen()
        assert json.loads(_run([*forking._command, str(setup), *told]))[0] == told
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_only_the_raylets_worker_command_is_routed(launcher: tuple[ForkedWorkers, list[str]]) -> None:
    """SUP-8: one option of one command; every other server of Ray's is started as ever."""
    forking, _ = launcher
    option = f"--python_worker_command={sys.executable} /ray/setup_worker.py /ray/default_worker.py --x=1"
    routed = forking.routed(["raylet", "--a", option])
    ours = f"--python_worker_command={' '.join(forking._command)} /ray/setup_worker.py /ray/default_worker.py --x=1"
    assert routed == ["raylet", "--a", ours]
    log = forking._log
    assert isinstance(log, _NoLog)
    assert log.lines == []
    other = ["raylet", f"--python_worker_command={sys.executable}x y", sys.executable]
    assert forking.routed(other) == other
    ((event, fields),) = log.lines
    assert event == "forked_workers_off"
    assert "command is another" in str(fields["why"])


def test_paths_with_spaces_are_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-8: as Ray itself quotes the interpreter in the raylet's command."""
    monkeypatch.setattr(sys, "executable", "/a path/python")
    forking = ForkedWorkers(tmp_path / "f", code_path=str(ROOT), log=_NoLog())
    (routed,) = forking.routed(['--python_worker_command="/a path/python" /ray/setup_worker.py'])
    assert routed.startswith('--python_worker_command="/a path/python" -IS ')
    assert routed.endswith(f" {tmp_path}/f /ray/setup_worker.py")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (
            ["/r/setup_worker.py", "/r/default_worker.py", "--x", "--language=PYTHON"],
            ["/r/default_worker.py", "--x"],
        ),
        (["/r/default_worker.py", "--language=PYTHON"], ["/r/default_worker.py", "--language=PYTHON"]),
        (["/r/setup_worker.py", "--serialized-runtime-env-context={}"],) * 2,
        ([], []),
    ],
    ids=["none", "dropped already", "environment", "nothing"],
)
def test_setup_is_taken_out_as_the_raylet_would(given: list[str], meant: list[str]) -> None:
    """SUP-8: the raylet looks for setup_worker.py where our launcher stands; without an environment it has no use."""
    assert workers_command(given) == meant


@pytest.mark.parametrize(
    ("word", "patient"), [(b"", False), (HERE.pack(WAIT_MARK, 0), True)], ids=["nothing", "wait"]
)
def test_a_host_that_hangs_costs_seconds(
    launcher: tuple[ForkedWorkers, list[str]], word: bytes, *, patient: bool
) -> None:
    """SUP-8: without a word the launcher goes its own way soon; told to wait for the template, it waits."""
    forking, command = launcher
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(forking._socket_path))
        listener.listen()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"MARK": "mine"})
        connection, _ = listener.accept()
        with connection:
            for each in socket.recv_fds(connection, 1 << 20, 8)[1]:
                os.close(each)
            connection.send(word)
            if patient:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(FIRST_WORD_WITHIN_S + 1.0)
                connection.send(HERE.pack(COLD_MARK, 0))
            out, _ = process.communicate(timeout=FIRST_WORD_WITHIN_S + 5.0)
    assert json.loads(out) == COLD


@pytest.mark.parametrize("how", ["no token", "no folder", "token cut", "code broken"])
def test_what_is_spoilt_means_a_cold_start(
    launcher: tuple[ForkedWorkers, list[str]], how: str, tmp_path: Path
) -> None:
    """SUP-8: /tmp cleaned under it, a disk that was full, an upgrade half done: the worker starts, and the token shows
    in no error."""
    forking, command = launcher
    if how == "no token":
        forking._token_path.unlink()
    elif how == "no folder":
        forking._remove_folder()
    elif how == "token cut":
        forking._token_path.write_text("0a0")
    else:
        code = tmp_path / "code" / "supervisors" / "forking"
        code.mkdir(parents=True)
        (code / "launcher.py").write_text(Path(command[2]).read_text())
        (code / "launch.py").write_text("half a l")
        command = [*command[:2], str(code / "launcher.py"), *command[3:]]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={"MARK": "mine"}, check=True
    )
    assert json.loads(done.stdout) == COLD
    assert done.stderr == ""


def test_it_tells_its_environment_to_no_other_user(launcher: tuple[ForkedWorkers, list[str]]) -> None:
    """SUP-8: somebody else listens where the host did: not a byte, a cold start."""
    forking, command = launcher
    as_another = (
        "import os, sys; os.getuid = lambda: 54321; sys.argv.pop(0); __file__ = sys.argv[0];"
        "exec(compile(open(__file__).read(), __file__, 'exec'))"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(forking._socket_path))
        listener.listen()
        assert json.loads(_run([sys.executable, "-IS", "-c", as_another, *command[2:]])) == COLD
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1) == b""


def test_nobody_can_read_the_token(launcher: tuple[ForkedWorkers, list[str]], tmp_path: Path) -> None:
    """SUP-8: it is in no command line, and in files that only their owner can read, never through a link."""
    forking, command = launcher
    assert not any(forking._token.hex() in each for each in command)
    assert forking._token_path.read_text() == forking._token.hex()
    forking._token_path.write_text(forking._token.hex()[:9])  # the disk was full
    forking._make_folder()
    assert forking._token_path.read_text() == forking._token.hex()
    assert stat.S_IMODE(forking._token_path.stat().st_mode) == 0o600
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f"forking.json.{os.getpid()}").symlink_to(victim)
    forking.announce(tmp_path, "forking.json")
    assert victim.read_text() == "mine"
    assert stat.S_IMODE((tmp_path / "forking.json").lstat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.glob("forking.json*")) == ["forking.json"]


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
        patch.setattr(sys, "executable", "/no/python")
        assert "cannot be started" in why()[1]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/it's/python")
        assert "cannot stand in the raylet's command" in why()[1]
    with monkeypatch.context() as patch:
        patch.setattr(service, "_LAUNCHER", "/no/launcher.py")
        assert "does not work" in why()[1]
    tmp_path.chmod(0o770)
    assert "no folder of this user's alone" in why()[1]


def test_a_path_too_long_for_a_socket_is_unfit(tmp_path: Path) -> None:
    """SUP-8: said before anything is started."""
    forking = ForkedWorkers(tmp_path / ("x" * 100), code_path=str(ROOT), log=_NoLog())
    with pytest.raises(UnfitError, match="too long"):
        forking.prepare()
