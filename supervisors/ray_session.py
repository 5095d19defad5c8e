"""Starts or joins Ray for one `calejo run`, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

# Read by Ray when it is imported, and by everything it starts. Names as in Ray 2.60; measured, see ops/decisions.
_RAY_ENVIRONMENT: Final[Mapping[str, str]] = {
    "RAY_event_stats": "0",  # a third of an idle actor's cost
    "RAY_task_events_report_interval_ms": "0",  # nobody reads them
    "RAY_metrics_report_interval_ms": "60000",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # Ray's default too; said aloud it needs no warning at every start
    "RAY_health_check_initial_delay_ms": "1000",  # a node's loss is noticed in 3 s instead of 14
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
for _name, _value in _RAY_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  after its environment
from loguru import logger  # noqa: E402
from ray._private import services  # noqa: E402

from actors.vocabulary import Address, Settings, UnavailableError  # noqa: E402
from supervisors import logging  # noqa: E402
from supervisors.forking.service import RUN_STATE, ForkedWorkers, prepared  # noqa: E402
from supervisors.process import SystemClock, alive, descendants  # noqa: E402
from supervisors.ray_directory import RayDirectory  # noqa: E402
from supervisors.ray_runtime import RayRuntime  # noqa: E402
from supervisors.ray_worker import WorkerSetup  # noqa: E402

NAMESPACE: Final = "calejo"
FOREGROUND: Final = Address("/foreground")  # the name of this process's log
MAKE_DEFAULT: Final = "supervisors.roles:make"
CODE_PATH: Final = str(Path(__file__).resolve().parent.parent)
_OBJECT_STORE_BYTES: Final = 80 * 1024 * 1024  # messages are small and travel inline; this is Ray's minimum
_SHUTDOWN_PATIENCE_S: Final = 4.0
_LEFT_BEHIND_PATIENCE_S: Final = 3.0
_LEFT_BEHIND_LOOK_S: Final = 0.02


class RaySession:
    """One process's connection to Ray; `local` when it started Ray itself."""

    def __init__(
        self, setup: WorkerSetup, temp_dir: Path | None, forking: ForkedWorkers | None = None
    ) -> None:
        self.setup = setup
        self.temp_dir = temp_dir
        self.forking = forking

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
        return RayRuntime(self.setup, RayDirectory(self.setup.namespace, SystemClock()))

    def shutdown(self) -> None:
        """Disconnect; a local Ray ends with every process it started. Blocks, at most some seconds."""
        ours = descendants(os.getpid()) if self.local else []
        ray_pids = [pid for pid in ours if _is_ray(pid)]
        # With its control store gone Ray waits a minute for it; what it started is ended below in any case.
        ending = threading.Thread(target=ray.shutdown, name="ray shutdown", daemon=True)
        ending.start()
        ending.join(_SHUTDOWN_PATIENCE_S)
        deadline_s = time.monotonic() + _LEFT_BEHIND_PATIENCE_S
        while any(map(alive, ray_pids)) and time.monotonic() < deadline_s:
            time.sleep(_LEFT_BEHIND_LOOK_S)
        for pid in filter(alive, ray_pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.forking is not None:
            self.forking.stop()
        if self.temp_dir is not None:
            shutil.rmtree(self.temp_dir, ignore_errors=True)


def _is_ray(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"ray" in command


class _InItsOwnSession(services.ConsolePopen):
    """Starts Ray's servers apart from our process group.

    Ctrl-C in a terminal and `timeout` signal the whole group: Ray's control store would be gone before the tree
    could be stopped in order. They still end with this process (Ray asks the kernel for that).
    """

    forking: ForkedWorkers | None = None

    def __init__(self, command: list[str], **options: Any) -> None:
        forking = self.forking
        is_raylet = forking is not None and Path(command[0]).name == "raylet"
        if forking is not None and is_raylet:
            command = forking.routed(command)
        super().__init__(command, **{**options, "start_new_session": True})
        if forking is not None and is_raylet:
            forking.raylet_started(self.pid, options["env"])


@contextlib.contextmanager
def surroundings(work_dir: Path, code_path: str, forking: ForkedWorkers | None) -> Iterator[None]:
    """Start Ray from an empty folder, with our packages on every worker's path and its workers forked.

    Workers put the folder of the starter first on their path and would import whatever lies there; so it is empty.
    """
    before = Path.cwd()
    old_path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (code_path, old_path)))
    os.chdir(work_dir)
    popen = services.ConsolePopen
    vars(services)["ConsolePopen"] = type("_Started", (_InItsOwnSession,), {"forking": forking})
    try:
        yield
    finally:
        vars(services)["ConsolePopen"] = popen
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
        UnavailableError: Ray does not start, or nobody answers at `address`.

    """
    data_dir = str(Path(settings.data_dir).resolve())
    setup = WorkerSetup(
        namespace=namespace, run_id=uuid4().hex, make=make, data_dir=data_dir, log=settings.log
    )
    # Short: Ray aborts when a socket's path in it is longer than 107 bytes.
    temp_dir = Path(tempfile.mkdtemp(prefix="calejo-", dir="/tmp"))
    work_dir = temp_dir / "empty"
    work_dir.mkdir()
    logging.configure(settings.log, data_dir=data_dir, address=FOREGROUND)
    vars(ray._private.worker)["print_to_stdstream"] = _log_what_the_raylet_says  # noqa: SLF001  no setting for it
    forking = None if address is not None else _forking(settings, temp_dir)
    try:
        with surroundings(work_dir, CODE_PATH, forking):
            if address is None:
                ray.init(
                    address="local",
                    namespace=namespace,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=str(temp_dir / "r"),
                )
            else:
                ray.init(address=address, namespace=namespace, log_to_driver=False, configure_logging=False)
    except (RuntimeError, ConnectionError, ValueError, OSError) as error:
        if forking is not None:
            forking.stop()
        shutil.rmtree(temp_dir, ignore_errors=True)
        raise UnavailableError(f"Ray does not start: {error}") from error
    if address is not None:
        shutil.rmtree(temp_dir, ignore_errors=True)
        return RaySession(setup, None)
    return RaySession(setup, temp_dir, forking)


def _forking(settings: Settings, temp_dir: Path) -> ForkedWorkers | None:
    return prepared(
        temp_dir / "f",
        wanted=settings.runtime.forked_workers,
        code_path=CODE_PATH,
        data_dir=Path(settings.data_dir),
        state=RUN_STATE,
        log=logging.LoguruLog(FOREGROUND, "foreground"),
    )


async def shutdown_in_thread(session: RaySession) -> None:
    """Shut down without blocking the loop."""
    await asyncio.get_running_loop().run_in_executor(None, session.shutdown)
