"""Starts or joins Ray for one `calejo run`, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final
from uuid import uuid4

_AUTH_MODE: Final = "RAY_AUTH_MODE"
_TOKEN: Final = "token"  # noqa: S105  (a mode's name)
# Read by Ray when it is imported, and by everything it starts. Names as in Ray 2.60; measured, see ops/decisions.
_RAY_ENVIRONMENT: Final[Mapping[str, str]] = {
    "RAY_event_stats": "0",  # a third of an idle actor's cost
    "RAY_task_events_report_interval_ms": "0",  # nobody reads them
    "RAY_metrics_report_interval_ms": "60000",
    "RAY_USAGE_STATS_ENABLED": "0",
    _AUTH_MODE: _TOKEN,  # Ray's default too; said aloud it needs no warning at every start
    "RAY_worker_niceness": "0",  # Ray's 15 would let any backup job of the machine go before control
    # Ray's own server of this machine answers late when the machine is busy, and taken for dead it takes all with it.
    # Its end is seen at once by `_Run._watch_ray`; who joins nodes sets these at the head (ops/docs/security.md,
    # "Several machines").
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "5",
    # A stopped process cannot obey: by default Ray waits 5 s before it kills it, and its port is taken meanwhile.
    "RAY_kill_worker_timeout_milliseconds": "100",
}
for _name, _value in _RAY_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  after its environment
from loguru import logger  # noqa: E402
from ray._private import services  # noqa: E402

from actors.vocabulary import Address, Settings, UnavailableError  # noqa: E402
from supervisors import logging  # noqa: E402
from supervisors.forking.service import RUN_STATE, ForkedWorkers, prepared  # noqa: E402
from supervisors.on_ray.directory import RayDirectory  # noqa: E402
from supervisors.on_ray.owned_folder import OwnedFolder  # noqa: E402
from supervisors.on_ray.runtime import RayRuntime  # noqa: E402
from supervisors.on_ray.setup import WorkerSetup  # noqa: E402
from supervisors.on_ray.worker import create  # noqa: E402
from supervisors.process import SystemClock, alive, descendants  # noqa: E402

NAMESPACE: Final = "calejo"
FOREGROUND: Final = Address("/foreground")  # the name of this process's log
MAKE_DEFAULT: Final = "supervisors.roles:make"
CODE_PATH: Final = str(Path(__file__).resolve().parents[2])
_OBJECT_STORE_BYTES: Final = 80 * 1024 * 1024  # messages are small and travel inline; this is Ray's minimum
_VITAL: Final = frozenset({"gcs_server", "raylet"})
_SHUTDOWN_PATIENCE_S: Final = 3.0
_LEFT_BEHIND_PATIENCE_S: Final = 2.0
_LEFT_BEHIND_LOOK_S: Final = 0.02


class RaySession:
    """One process's connection to Ray; `local` when it started Ray itself.

    `servers` are the processes of Ray that this one started, by pid: control store, raylet and their helpers.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        folder: OwnedFolder | None = None,
        servers: Mapping[int, str] = MappingProxyType({}),
        forking: ForkedWorkers | None = None,
    ) -> None:
        self.setup = setup
        self.servers = servers
        self.forking = forking
        self._folder = folder

    @property
    def temp_dir(self) -> Path | None:
        """Where a local Ray keeps its sockets and logs."""
        return self._folder.path if self._folder is not None else None

    @property
    def local(self) -> bool:
        """Whether this process started Ray and ends it."""
        return self.temp_dir is not None

    @property
    def address(self) -> str:
        """Where others join this Ray (`host:port` of its control store)."""
        return str(ray.get_runtime_context().gcs_address)

    def runtime(self) -> RayRuntime:
        """Return a runtime for the event loop that runs now."""
        return RayRuntime(self.setup, RayDirectory(self.setup.namespace, SystemClock()), create)

    def lost(self) -> str | None:
        """Say which server without which a local Ray is nothing has ended; None while all live."""
        for pid, name in self.servers.items():
            if name in _VITAL and not alive(pid):
                return f"{name} (pid {pid}) ended"
        return None

    def shutdown(self) -> bool:
        """Disconnect; a local Ray ends with every process it started. Blocks, at most some seconds.

        Returns:
            False when Ray's own end still hangs in a thread: this process has to leave without waiting for it.

        """
        ours = _family(self.servers)
        if self.forking is not None:
            ours += self.forking.workers()
        # With its control store gone Ray waits a minute for it; what it started is ended below in any case.
        ending = threading.Thread(target=ray.shutdown, name="ray shutdown", daemon=True)
        ending.start()
        ending.join(_SHUTDOWN_PATIENCE_S)
        _end(ours, patience_s=_LEFT_BEHIND_PATIENCE_S)
        if self.forking is not None:
            self.forking.stop()
        if self._folder is not None:
            self._folder.remove()
        return not ending.is_alive()


def _family(servers: Iterable[int]) -> list[int]:
    """Return the pids of these servers and of everything they started."""
    return [each for pid in servers for each in (pid, *descendants(pid))]


def _end(pids: Iterable[int], *, patience_s: float) -> None:
    """Wait for these to end by themselves, then end them."""
    deadline_s = time.monotonic() + patience_s
    pids = list(pids)
    while any(map(alive, pids)) and time.monotonic() < deadline_s:
        time.sleep(_LEFT_BEHIND_LOOK_S)
    for pid in filter(alive, pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class _InItsOwnSession(services.ConsolePopen):
    """Starts Ray's servers apart from our process group.

    Ctrl-C in a terminal and `timeout` signal the whole group: Ray's control store would be gone before the tree
    could be stopped in order. They still end with this process (Ray asks the kernel for that).
    """

    started: ClassVar[dict[int, str]] = {}
    forking: ClassVar[ForkedWorkers | None] = None

    def __init__(self, command: list[str], **options: Any) -> None:
        name = Path(command[0]).name
        forking = self.forking if name == "raylet" else None
        if forking is not None:
            command = forking.routed(command)
        super().__init__(command, **{**options, "start_new_session": True})
        self.started[self.pid] = name
        if forking is not None:
            forking.raylet_started(self.pid, options["env"])


@contextlib.contextmanager
def surroundings(work_dir: Path, forking: ForkedWorkers | None) -> Iterator[dict[int, str]]:
    """Start Ray from an empty folder, with our packages on every worker's path; yield the servers it starts.

    Its workers are forked where `forking` is not None.

    Workers put the folder of the starter first on their path and would import whatever lies there; so it is empty.
    """
    before = Path.cwd()
    old_path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (CODE_PATH, old_path)))
    os.chdir(work_dir)
    popen, take_signal = services.ConsolePopen, ray._private.utils.set_sigterm_handler  # noqa: SLF001
    vars(services)["ConsolePopen"] = _InItsOwnSession
    # Ray would end this process on SIGTERM, wherever it is; its signals belong to whoever started the session.
    vars(ray._private.utils)["set_sigterm_handler"] = lambda _handler: None  # noqa: SLF001
    _InItsOwnSession.started.clear()
    _InItsOwnSession.forking = forking
    try:
        yield _InItsOwnSession.started
    finally:
        vars(services)["ConsolePopen"] = popen
        vars(ray._private.utils)["set_sigterm_handler"] = take_signal  # noqa: SLF001
        os.chdir(before)
        if old_path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = old_path


def _log_what_the_raylet_says(data: dict[str, Any], *_: object, **__: object) -> None:
    """Stand in for Ray's printer: worker deaths and start-up advice belong into the log, not on the terminal."""
    logger.bind(pid=data.get("pid")).info("raylet", lines=data.get("lines"))


def connect(
    settings: Settings, *, address: str | None = None, namespace: str = NAMESPACE, make: str = MAKE_DEFAULT
) -> RaySession:
    """Start Ray on this machine, or join the cluster at `address`. Blocks for some seconds.

    Raises:
        UnavailableError: Ray does not start, nobody answers at `address`, or it would take orders from anybody.

    """
    require_tokens()
    data_dir = str(Path(settings.data_dir).resolve())
    setup = WorkerSetup(
        namespace=namespace, run_id=uuid4().hex, make=make, data_dir=data_dir, log=settings.log
    )
    # Short: Ray aborts when a socket's path in it is longer than 107 bytes.
    folder = OwnedFolder.make(Path("/tmp"), prefix="calejo-")  # noqa: S108  made with mkdtemp
    work_dir = folder.path / "empty"
    work_dir.mkdir()
    logging.configure(settings.log, data_dir=data_dir, address=FOREGROUND)
    vars(ray._private.worker)["print_to_stdstream"] = _log_what_the_raylet_says  # noqa: SLF001  no setting for it
    servers: dict[int, str] = {}
    forking = None if address is not None else _forking(settings, folder.path)
    try:
        with surroundings(work_dir, forking) as started:
            try:
                if address is None:
                    ray.init(
                        address="local",
                        namespace=namespace,
                        include_dashboard=False,
                        log_to_driver=False,
                        configure_logging=False,
                        object_store_memory=_OBJECT_STORE_BYTES,
                        _temp_dir=str(folder.path / "r"),
                    )
                else:
                    ray.init(
                        address=address, namespace=namespace, log_to_driver=False, configure_logging=False
                    )
            finally:
                servers = dict(started)
    except BaseException as error:
        # Whatever ended it, a stop asked for included: nothing half started stays behind.
        _end(_family(servers), patience_s=0.0)
        if forking is not None:
            _end(forking.workers(), patience_s=0.0)
            forking.stop()
        folder.remove()
        if isinstance(error, RuntimeError | ConnectionError | ValueError | OSError):
            raise UnavailableError(f"Ray does not start: {error}") from error
        raise
    if address is not None:
        folder.remove()
        return RaySession(setup)
    return RaySession(setup, folder, servers, forking)


def require_tokens() -> None:
    """Refuse to run a Ray that asks nobody for a token: whoever reaches its ports could run code here (SEC-4).

    Raises:
        UnavailableError: the environment turned authentication off.

    """
    mode = os.environ.get(_AUTH_MODE, "")
    if mode.strip().lower() != _TOKEN:
        raise UnavailableError(
            f"Ray does not start: {_AUTH_MODE}={mode!r} in the environment would let whoever reaches its ports run code"
            f" here; unset it, or set {_TOKEN}"
        )


def _forking(settings: Settings, folder: Path) -> ForkedWorkers | None:
    return prepared(
        folder / "f",
        wanted=settings.runtime.forked_workers,
        code_path=CODE_PATH,
        data_dir=Path(settings.data_dir),
        state=RUN_STATE,
        log=logging.LoguruLog(FOREGROUND, "foreground"),
    )
