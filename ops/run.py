"""`calejo run`: checks everything first, starts the tree, says when it is ready, and takes it all down again.

Nothing is started before configuration, data directory, database and ports are known to be good; whatever was
started ends with this process: Ray's own processes follow its death, the plant is told to.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.messages import Done, StopTree
from actors.start import WorkerStart
from actors.vocabulary import CalejoError, DeviceError, RefusedError, Role, Settings, UnavailableError
from actors.vocabulary.ids import ROOT
from ops import database
from ops.cli.client import call
from ops.cli.exits import DONE, FAILED, REFUSED, ExitError
from ops.cli.settings_of import settings_of
from ops.rundir import DataDirectory
from ops.stop_request import StopInsistedError, StopRequest

if TYPE_CHECKING:
    from supervisors.ray_session import RaySession

_STOP_BUDGET_S: Final = 6.0  # with the plant and Ray itself, all has to end within 15 s
_READY_LOOK_S: Final = 0.25
_RAY_LOOK_S: Final = 1.0
_READY_PATIENCE_S: Final = 120.0
_ROOT_START_S: Final = 30.0


def command(arguments: argparse.Namespace) -> int:
    """Run in the foreground until SIGINT or SIGTERM.

    Raises:
        ExitError: (1) something needed is missing or broken, (4) another run holds the data directory.

    """
    settings = settings_of(arguments)
    folder = DataDirectory(Path(settings.data_dir))
    with StopRequest() as stop:
        with _told_in_one_line():
            folder.acquire()
        try:
            with _told_in_one_line():
                _prepare(settings, demo=arguments.demo)
            code, clean = _with_ray(settings, folder, stop, address=arguments.address, demo=arguments.demo)
        except StopInsistedError:
            return DONE
        finally:
            folder.release()
    if not clean:
        # A part of Ray hangs in a thread, and the interpreter would wait for it: everything of ours has ended.
        sys.stdout.flush()
        os._exit(code)
    return code


@contextlib.contextmanager
def _told_in_one_line() -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        raise ExitError(REFUSED, str(error)) from error
    except CalejoError as error:
        raise ExitError(FAILED, str(error)) from error


def _prepare(settings: Settings, *, demo: bool) -> None:
    _check_ports(settings)
    if demo:
        from ops.demo.seed import DemoDatabase

        _say(f"data directory {settings.data_dir}")
        database.upgrade(settings)
        if DemoDatabase(database.database_urls(settings).writer).seed(now=datetime.now(UTC)):  # noqa: TID251
            _say("demo stations, limits and plans written to the database")
    else:
        database.require_current(settings)


def _check_ports(settings: Settings) -> None:
    """Refuse a taken port now, in one line, instead of in some actor's log.

    Raises:
        DeviceError: a port is taken; the text names the key.
        RefusedError: an address is not loopback.

    """
    from api.actor import bind_loopback

    sites = [(f"sites.{name}.ports", site.ports) for name, site in settings.sites.items() if site.ports]
    wanted = [
        ("api.rest", settings.api.host, settings.api.rest),
        ("api.health", settings.api.host, settings.api.health),
    ]
    for key, ports in (("ports", settings.ports), *sites):
        wanted += [(f"{key}.opcua", ports.host, ports.opcua), (f"{key}.modbus", ports.host, ports.modbus)]
    for key, host, port in wanted:
        bind_loopback(host, port, what=key).close()


def _with_ray(
    settings: Settings, folder: DataDirectory, stop: StopRequest, *, address: str | None, demo: bool
) -> tuple[int, bool]:
    """Return the exit code, and whether Ray ended cleanly."""
    if stop.asked:
        return DONE, True
    # Ray costs a second to import and some to start: only when everything else is known to be good.
    from supervisors.ray_session import connect

    _say("starting Ray" if address is None else f"joining Ray at {address}")
    try:
        with _told_in_one_line():
            session = connect(settings, address=address)
    except StopInsistedError:
        _say("stopped while Ray was starting")
        return DONE, False
    try:
        code = asyncio.run(_Run(settings, folder, session, demo=demo).until_stopped(stop))
    except StopInsistedError:  # the loop itself hangs
        code = FAILED
    finally:
        stop.answered()
        clean = session.shutdown()
    return code, clean


class _Run:
    """One run from the first actor to the last."""

    def __init__(self, settings: Settings, folder: DataDirectory, session: RaySession, *, demo: bool) -> None:
        self._settings = settings
        self._folder = folder
        self._session = session
        self._demo = demo
        self._stop = asyncio.Event()
        self._failure = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def until_stopped(self, stop: StopRequest) -> int:
        """Bring the tree up, keep it, take it down."""
        loop = asyncio.get_running_loop()
        stop.call(lambda: loop.call_soon_threadsafe(self._stop.set))
        runtime = self._session.runtime()
        try:
            self._spawn(lambda: self._live(runtime))
            self._spawn(self._watch_ray)
            await self._stop.wait()
        finally:
            _say("stopping" if not self._failure else f"stopping: {self._failure}")
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            # The plant last: it sees an ordinary end of Calejo as a real one would, and goes on by itself.
            if self._session.lost() is None:
                await self._end_tree(runtime)
            if self._demo:
                await self._stop_plant()
        return FAILED if self._failure else DONE

    async def _watch_ray(self) -> None:
        """End the run when a server of its Ray has ended: nothing could be restarted any more.

        Raises:
            UnavailableError: one has.

        """
        while (lost := self._session.lost()) is None:  # noqa: ASYNC110  nobody tells when a server ends
            await asyncio.sleep(_RAY_LOOK_S)
        raise UnavailableError(f"Ray's {lost}")

    def _spawn(self, make: Callable[[], Awaitable[None]]) -> None:
        async def guarded() -> None:
            try:
                await make()
            except CalejoError as error:
                self._failure = str(error)
                self._stop.set()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._failure = f"{type(error).__name__}: {error}"
                self._stop.set()
                raise

        self._tasks.add(asyncio.create_task(guarded()))

    async def _live(self, runtime: Any) -> None:
        from supervisors.root_keeper import RootKeeper

        keeper = RootKeeper(runtime, WorkerStart(role=Role.SUPERVISOR, address=ROOT, settings=self._settings))
        await keeper.start(deadline_s=_ROOT_START_S)
        self._announce()
        self._spawn(keeper.keep)
        if self._demo:
            await self._start_plant()
        await self._progress()

    def _announce(self) -> None:
        from supervisors.ray_session import NAMESPACE

        self._folder.announce(
            self._settings,
            started_at=datetime.now(UTC).isoformat(),  # noqa: TID251  (this shell has no actor's clock)
            ray_address=self._session.address,
            namespace=NAMESPACE,
        )

    # ------------------------------------------------------------------ readiness

    async def _progress(self) -> None:
        """Tell what comes up as it comes up, then the ready line."""
        began = asyncio.get_running_loop().time()
        told: set[str] = set()
        impatient = False
        api = self._settings.api
        health = f"http://{api.host}:{api.health}"
        while True:
            waited_s = asyncio.get_running_loop().time() - began
            try:
                whose = await asyncio.to_thread(call, health, "GET", "/health/live", timeout_s=5.0)
                if whose.get("data_dir") != self._settings.data_dir:
                    raise DeviceError(f"{health} is answered by another run: {whose}")
                readiness = await asyncio.to_thread(call, health, "GET", "/health/ready", timeout_s=5.0)
            except ConnectionError:
                missing = ["the API is starting"]
            except ExitError:
                missing = await self._missing(health)
            else:
                if readiness["ready"]:
                    _say(self._ready_line(waited_s))
                    return
                missing = readiness["missing"]
            for line in missing:
                if line not in told:
                    told.add(line)
                    _say(f"  {line}")
            if waited_s > _READY_PATIENCE_S and not impatient:
                impatient = True
                _say(f"not ready after {waited_s:.0f} s; still missing: {'; '.join(missing)}")
            await asyncio.sleep(_READY_LOOK_S)

    @staticmethod
    async def _missing(health: str) -> list[str]:
        try:
            detail = await asyncio.to_thread(call, health, "GET", "/health/detail", timeout_s=5.0)
        except (ConnectionError, ExitError) as error:
            return [str(error)]
        missing: list[str] = detail["missing"]
        return missing

    def _ready_line(self, waited_s: float) -> str:
        ports, api = self._settings.ports, self._settings.api
        return (
            f"ready after {waited_s:.1f} s: REST http://{api.host}:{api.rest}/api/v1  health http://{api.host}:{api.health}"
            f"/health/ready  OPC UA opc.tcp://{ports.host}:{ports.opcua}  Modbus {ports.host}:{ports.modbus}"
        )

    # ------------------------------------------------------------------ the demo's plant

    async def _start_plant(self) -> None:
        """Start the simulated plant: processes of their own, outside Calejo, that outlive its sudden death."""
        from ops.demo.launch import start_demo

        ports = self._settings.ports
        await asyncio.to_thread(
            start_demo,
            Path(self._settings.data_dir),
            modbus_host=ports.host,
            modbus_port=ports.modbus,
            database_url=database.database_urls(self._settings).writer,
            environment=os.environ,
        )

    async def _stop_plant(self) -> None:
        from ops.demo.launch import stop_demo

        await asyncio.to_thread(stop_demo, Path(self._settings.data_dir))

    # ------------------------------------------------------------------ the end

    async def _end_tree(self, runtime: Any) -> None:
        """Stop the tree in reverse order; what does not answer in time ends with Ray."""
        try:
            answer = await runtime.directory.ref(ROOT).ask(
                StopTree(budget_s=_STOP_BUDGET_S), deadline_s=_STOP_BUDGET_S + 1.0
            )
        except UnavailableError as error:
            _say(f"the tree did not stop in order: {error}")
            return
        except DeviceError as error:
            _say(f"the tree did not stop in order: {error}")
            return
        assert isinstance(answer, Done)


def _say(line: str) -> None:
    print(line, flush=True)
