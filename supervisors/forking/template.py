"""The template: a process that has imported Ray and our modules once, and forks workers when its host says so.

Run as a script by the host, with the environment of a worker: `python template.py DESCRIPTOR PARENT-PID`. It has one
thread and no descriptor but the standard ones and the host's, verified before every fork. The child closes
everything but what came with the request, becomes what the raylet's own child would have been (group, niceness, oom
score, signals, environment), and then runs Ray's worker script as if it had been started by it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib.util
import os
import random
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final, NoReturn

# As if Ray's worker script had been started: its folder stands first, before Ray puts others in front of it.
_RAY: Final = importlib.util.find_spec("ray")
assert _RAY is not None
assert _RAY.origin is not None
WORKER_SCRIPT: Final = Path(_RAY.origin).parent / "_private" / "workers" / "default_worker.py"

_CONNECTION: Final = 3
_GO_WITHIN_S: Final = 12.0
# More arenas than these only cost: a worker's threads mostly wait.
_ARENAS: Final = 2


class _RefusedError(Exception):
    """This process is not fit for forking; the text says why."""


def _one_thread() -> None:
    from supervisors.forking import linux  # noqa: PLC0415  sys.path is set by main

    count = linux.threads()
    if count != 1:
        raise _RefusedError(f"the template has {count} threads: something that it imported started them")


def _descriptors() -> set[int]:
    names = os.listdir("/proc/self/fd")  # noqa: PTH208  (the one of the listing itself is closed by now)
    return {int(name) for name in names if _is_open(int(name))}


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _random_sources() -> list[random.Random]:
    """Return every generator of `random` that an import left behind; numpy's own are refused in `main`."""
    return [each for each in gc.get_objects() if isinstance(each, random.Random)]


def main() -> None:
    """Load, say so, and fork until the host has gone."""
    number, parent = int(sys.argv[1]), int(sys.argv[2])
    if not sys.flags.safe_path:  # PYTHONSAFEPATH: no script's folder is on the path then
        sys.path[0] = str(WORKER_SCRIPT.parent)
    from supervisors.forking import guard, linux, preload  # noqa: PLC0415
    from supervisors.forking.wire import ClosedError, Wire  # noqa: PLC0415

    linux.die_with_parent(parent)
    # The host ignores these, and a program inherits what is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    linux.few_arenas(_ARENAS)
    host = Wire(socket.socket(fileno=number))
    try:
        reason = guard.reason_against()
        if reason:
            raise _RefusedError(reason)
        missing = preload.load()
        code = compile(WORKER_SCRIPT.read_bytes(), str(WORKER_SCRIPT), "exec")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the workers
        if "numpy" in sys.modules:
            raise _RefusedError("numpy was imported: its random generators are not reseeded")
        more = _descriptors() - {0, 1, 2, number}
        if more:
            raise _RefusedError(f"an import left descriptors open: {sorted(more)}")
        _one_thread()
        gc.collect()
        randoms = _random_sources()
        linux.trim()
        holes = linux.fill_holes()
        # What is here now is never collected in a fork: a collection would write into every page of it.
        gc.freeze()
        host.send(
            {
                "threads": 1,
                "modules": len(sys.modules),
                "holes_bytes": holes,
                "randoms": len(randoms),
                "missing": missing,
            },
            within_s=1.0,
        )
        while True:
            _serve(host, code, randoms, number)
    except ClosedError:
        os._exit(0)
    except Exception as error:
        host.send({"why": f"{type(error).__name__}: {error}"[:500]}, within_s=1.0)
        raise


def _serve(host: Any, code: CodeType, randoms: list[random.Random], number: int) -> None:
    message, body, descriptors = host.receive_all(within_s=None)
    if message["do"] == "fork":
        _one_thread()
        try:
            pid = os.fork()
        except OSError as error:  # no memory, too many processes: that is no fault of this one
            answer: dict[str, Any] = {"cold": f"fork: {error.strerror}"}
        else:
            if pid == 0:
                _be_a_worker(code, body, descriptors, randoms)
            answer = {"pid": pid}
        for descriptor in descriptors:
            os.close(descriptor)
        host.send(answer, within_s=1.0)
        return
    more = _descriptors() - {0, 1, 2, number}
    if more:
        raise _RefusedError(f"descriptors were left open: {sorted(more)}")
    host.send({"threads": 1}, within_s=1.0)


# --------------------------------------------------------------------------- the child


def _be_a_worker(
    code: CodeType, body: bytes, descriptors: list[int], randoms: list[random.Random]
) -> NoReturn:
    """Never return into the template's loop, whatever happens."""
    status = 1
    try:
        main_module = _born(body, descriptors, randoms)
    except BaseException:  # noqa: BLE001  not told HERE: the launcher reads the end and starts cold
        _tell(sys.exc_info()[1])
        os._exit(1)
    try:
        exec(code, main_module.__dict__)  # noqa: S102  Ray's own script, read from its own installation
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException as error:  # noqa: BLE001  as the interpreter would
        _tell(error)
    finally:
        try:
            _end_as_the_interpreter_does()
        finally:
            os._exit(status & 0xFF)


def _tell(error: BaseException | None) -> None:
    assert error is not None
    with contextlib.suppress(Exception):  # nowhere to tell it
        sys.excepthook(type(error), error, error.__traceback__)


def _end_as_the_interpreter_does() -> None:
    """Wait for its threads and call what is registered: Ray takes its leave of the raylet there (Py_FinalizeEx)."""
    for end in (
        vars(threading)["_shutdown"],
        vars(atexit)["_run_exitfuncs"],
        sys.stdout.flush,
        sys.stderr.flush,
    ):
        try:
            end()
        except BaseException as error:  # noqa: BLE001  the interpreter too tells it and goes on
            _tell(error)


def _born(body: bytes, descriptors: list[int], randoms: list[random.Random]) -> ModuleType:
    """Become the worker. What can fail stands before the word to the launcher, which otherwise starts it cold."""
    from supervisors.forking import birth, linux  # noqa: PLC0415  loaded long before
    from supervisors.forking.protocol import decode, signals_of  # noqa: PLC0415

    request = decode(body)
    _take_descriptors(descriptors)
    launcher = socket.socket(fileno=_CONNECTION)
    if request.own_group:
        os.setpgid(0, 0)
    for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(each) not in {signal.SIG_DFL, None} and each not in _PYTHONS_OWN:
            signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, signals_of(request.signal_mask))
    os.setpriority(os.PRIO_PROCESS, 0, request.nice)
    with open("/proc/self/oom_score_adj", "wb") as file:  # noqa: PTH123
        file.write(b"%d" % request.oom_score_adj)
    linux.as_limited_as(linux.peer(launcher)[0])
    os.umask(request.umask)
    os.chdir(request.cwd)
    _environment(request.environment)
    for generator in randoms:
        generator.seed()
    if "multiprocessing.process" in sys.modules:  # a key that the template drew at its import
        sys.modules["multiprocessing.process"].current_process().authkey = os.urandom(32)
    birth.forked()
    sys.argv = [os.fsdecode(each) for each in request.argv]
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    main_module = ModuleType("__main__")
    main_module.__file__ = str(WORKER_SCRIPT)
    vars(main_module)["__builtins__"] = __builtins__
    sys.modules["__main__"] = main_module
    _wait_for_go(launcher)
    return main_module


# As Python sets them at its start: a cold worker has these too.
_PYTHONS_OWN: Final = frozenset({signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ})


def _take_descriptors(descriptors: list[int]) -> None:
    """Have the request's four at 0 to 3, and no other."""
    high = [os.dup2(each, 100 + at, inheritable=False) for at, each in enumerate(descriptors)]
    for at, each in enumerate(high):
        os.dup2(each, at, inheritable=at < _CONNECTION)
    for each in _descriptors() - {
        *range(_CONNECTION + 1)
    }:  # not all that there may be: that can be a billion
        os.close(each)


def _wait_for_go(launcher: socket.socket) -> None:
    """Tell the launcher that this process lives; without its word there may be another worker of this id: end."""
    from supervisors.forking.protocol import GO, HERE, HERE_MARK  # noqa: PLC0415

    try:
        launcher.send(HERE.pack(HERE_MARK, os.getpid()))
        poll = select.poll()
        poll.register(launcher.fileno(), select.POLLIN)
        if poll.poll(_GO_WITHIN_S * 1000.0) and launcher.recv(1) == GO:
            launcher.close()
            return
    except OSError:
        os._exit(0)
    os._exit(0)


def _environment(wanted: dict[bytes, bytes]) -> None:
    """Have exactly this environment, for Python and for C, and let Ray read its settings from it again."""
    from ray._raylet import Config  # type: ignore[attr-defined]  # noqa: PLC0415

    # The template was loaded without a job: Ray's C++ has that for good, and the names of log files must agree.
    wanted[b"RAY_JOB_ID"] = os.environb[b"RAY_JOB_ID"]
    for name in set(os.environb) - set(wanted):
        del os.environb[name]
    for name, value in wanted.items():
        if os.environb.get(name) != value:
            os.environb[name] = value
    Config.initialize("")


if __name__ == "__main__":
    main()
