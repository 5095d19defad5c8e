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
from typing import TYPE_CHECKING, Final

from actors.messages import GetTree, StoreRecords, TreeNode, TreeView
from actors.start import WorkerStart
from actors.vocabulary import CalejoError, DeviceError, RefusedError, Role, Settings, UnavailableError
from actors.vocabulary.ids import ROOT, STORAGE
from actors.vocabulary.records import AuditRecord, Record
from actors.vocabulary.settings import health_host, modbus_host
from ops import database, modbus_access, opcua_access
from ops.cli.client import call
from ops.cli.exits import DONE, FAILED, REFUSED, ExitError
from ops.cli.settings_of import settings_of
from ops.modbus_settings import try_modbus
from ops.progress import Teller, starting, stopping
from ops.run_records import RunRecords
from ops.rundir import DataDirectory, Urls, reached_at, urls_of
from ops.stop_request import StopInsistedError, StopRequest
from ops.untold import Untold
from storage.certificates import rest_files
from storage.schema import UnreachableError
from storage.topology_file import TopologyFile

if TYPE_CHECKING:
    from supervisors.on_ray.runtime import RayRuntime
    from supervisors.on_ray.session import RaySession
    from supervisors.root_keeper import RootKeeper

_STOP_BUDGET_S: Final = 6.0  # with the plant and Ray itself, all has to end within 15 s
_LOOK_S: Final = 0.25
_TREE_DEADLINE_S: Final = 1.0
_RAY_LOOK_S: Final = 1.0
_READY_PATIENCE_S: Final = 120.0
_ROOT_START_S: Final = 30.0
_TRAIL_DEADLINE_S: Final = 2.0
_TRAIL_AGAIN_S: Final = 1.0
_LAST_WORD_S: Final = 1.0
_HOW_TO_ENTER: Final = (
    "commands of this user on this machine need no login (`calejo tree`); everybody else logs in: `--user NAME`, or"
    " POST /api/v1/auth/login (users: `calejo users list|add|reset`)"
)


def command(arguments: argparse.Namespace) -> int:
    """Run in the foreground until SIGINT or SIGTERM.

    Raises:
        ExitError: (1) something needed is missing or broken, (4) another run holds the data directory.

    """
    settings = settings_of(arguments)
    if arguments.demo:
        settings = opcua_access.demo_settings(settings)
    folder = DataDirectory(Path(settings.data_dir))
    tell = Teller(sys.stdout)
    with StopRequest() as stop:
        with _told_in_one_line():
            folder.acquire()
        try:
            with _told_in_one_line():
                _prepare(settings, tell, demo=arguments.demo, local=arguments.address is None)
            code, clean = _with_ray(
                settings, folder, stop, tell, address=arguments.address, demo=arguments.demo
            )
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


def _prepare(settings: Settings, tell: Teller, *, demo: bool, local: bool) -> None:
    if settings.api.tls:
        from api.tls import Tls

        Tls(*rest_files(settings))  # refuses now, in one line, what could not be served
    if local:  # on a cluster joined our own tree may live on, and have them
        _check_ports(settings)
    there = True
    if demo:
        from ops.demo.seed import DemoDatabase

        tell.say(f"data directory {settings.data_dir}")
        database.upgrade(settings)
        if DemoDatabase(database.database_urls(settings).writer).seed(now=datetime.now(UTC)):  # noqa: TID251
            tell.say("demo stations, limits and plans written to the database")
    else:
        there = _require_database(settings, tell)
    for access in (opcua_access, modbus_access):
        for line in access.prepare(settings, now=datetime.now(UTC)):  # noqa: TID251
            tell.say(line)
    _prepare_access(settings, tell, there=there)


def _prepare_access(settings: Settings, tell: Teller, *, there: bool) -> None:
    """Make keys and the credential of this run, and the first administrator if the database is `there` for it.

    Raises:
        DeviceError: the disk refused.

    """
    from ops import users

    users.prepare_files(settings)
    if not there:
        return
    try:
        first = asyncio.run(users.first_administrator(settings))
    except DeviceError as error:
        tell.say(f"whether there are users is not known yet: {error}")
        return
    if line := users.told(settings, first, on_terminal=sys.stdout.isatty()):
        tell.say(line)


def _require_database(settings: Settings, tell: Teller) -> bool:
    """Refuse a database that is not ours to work with; one that is only away hinders no start (DAT-3).

    Return whether it is there.

    After a power cut its machine may come up later than ours, and the stops that are latched here belong on the wires.

    Raises:
        DeviceError: it is not the one that this version needs, or it is away and nothing is known of the plant yet.

    """
    try:
        database.require_current(settings)
    except UnreachableError as error:
        if TopologyFile(Path(settings.data_dir) / "topology.json").load() is None:
            raise
        tell.say(f"the database is away, starting with the plant as last known: {error}")
        return False
    return True


def _check_ports(settings: Settings) -> None:
    """Refuse a taken port now, in one line, instead of in some actor's log.

    Raises:
        DeviceError: a port is taken; the text names the key.
        RefusedError: an address is not loopback.

    """
    from api.server import bind_loopback, bind_rest, bind_secured

    sites = [(f"sites.{name}.ports", site.ports) for name, site in settings.sites.items() if site.ports]
    wanted = [("api.health", health_host(settings.api), settings.api.health)]
    for key, ports in (("ports", settings.ports), *sites):
        if settings.opcua.host:
            bind_secured(settings.opcua.host, ports.opcua, what=f"{key}.opcua").close()
        else:
            wanted.append((f"{key}.opcua", ports.host, ports.opcua))
    bind_rest(settings.api).close()
    for key, host, port in wanted:
        bind_loopback(host, port, what=key).close()
    try_modbus(settings)


def _with_ray(
    settings: Settings,
    folder: DataDirectory,
    stop: StopRequest,
    tell: Teller,
    *,
    address: str | None,
    demo: bool,
) -> tuple[int, bool]:
    """Return the exit code, and whether Ray ended cleanly."""
    if stop.asked:
        return DONE, True
    # Ray costs a second to import and some to start: only when everything else is known to be good.
    from supervisors.on_ray.session import NAMESPACE, connect

    tell.say("starting Ray" if address is None else f"joining Ray at {address}")
    try:
        with _told_in_one_line():
            # Others may run Calejo on the same cluster, each with its data directory.
            namespace = NAMESPACE if address is None else f"{NAMESPACE}-{folder.identity()}"
            session = connect(settings, address=address, namespace=namespace)
        stop.take()  # Ray's core has put its own handlers over ours
    except StopInsistedError:
        tell.say("stopped while Ray was starting")
        return DONE, False
    try:
        code = asyncio.run(_Run(settings, folder, session, tell, demo=demo).until_stopped(stop))
    except StopInsistedError:  # the loop itself hangs
        code = FAILED
    finally:
        stop.answered()
        clean = session.shutdown()
    return code, clean


class _Run:
    """One run from the first actor to the last."""

    def __init__(
        self, settings: Settings, folder: DataDirectory, session: RaySession, tell: Teller, *, demo: bool
    ) -> None:
        self._tell = tell
        self._settings = settings
        self._folder = folder
        self._session = session
        self._demo = demo
        self._stop = asyncio.Event()
        self._failure = ""
        self._keeper: RootKeeper | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._records = RunRecords(settings)
        self._untold = Untold(Path(settings.data_dir))

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
            self._tell.say("stopping" if not self._failure else f"stopping: {self._failure}")
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            # The plant last: it sees an ordinary end of Calejo as a real one would, and goes on by itself.
            if self._keeper is not None and self._session.lost() is None:
                await self._tell_trail_of_the_end(runtime)
                await self._end_tree(runtime, self._keeper)
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

    async def _live(self, runtime: RayRuntime) -> None:
        from supervisors.root_keeper import RootKeeper

        keeper = RootKeeper(runtime, WorkerStart(role=Role.SUPERVISOR, address=ROOT, settings=self._settings))
        if await keeper.adopt():
            self._tell.say("the tree of this data directory lives on: taken over")
        elif not self._session.local:
            _check_ports(self._settings)
        self._keeper = keeper  # from here on the tree is ours to end
        await keeper.start(deadline_s=_ROOT_START_S)
        self._announce()
        self._spawn(keeper.keep)
        self._spawn(lambda: self._tell_trail(runtime))
        if self._demo:
            await self._start_plant()
        await self._until_ready(runtime)

    def _announce(self) -> None:
        self._folder.announce(
            self._settings,
            started_at=datetime.now(UTC).isoformat(),  # noqa: TID251  (this shell has no actor's clock)
            ray_address=self._session.address,
            namespace=self._session.setup.namespace,
        )

    # ------------------------------------------------------------------ the audit trail

    async def _tell_trail(self, runtime: RayRuntime) -> None:
        """Have storage write down that this run began, as soon as it answers."""
        try:
            records = await asyncio.to_thread(self._records.began, datetime.now(UTC))  # noqa: TID251
        except DeviceError as error:
            # Control does not wait for a disk that the trail needs.
            self._tell.say(f"the beginning of this run is not in the audit trail: {error}")
            return
        kept = await asyncio.to_thread(self._kept_by_commands)
        while True:
            if await self._stored(runtime, (*kept, *records), deadline_s=_TRAIL_DEADLINE_S):
                break
            await asyncio.sleep(_TRAIL_AGAIN_S)
        try:
            await asyncio.to_thread(self._untold.told, kept)
        except DeviceError as error:
            self._tell.say(f"told to the audit trail, and kept to be told again: {error}")

    def _kept_by_commands(self) -> tuple[AuditRecord, ...]:
        """Return what commands did while there was no trail to tell."""
        try:
            return self._untold.records()
        except DeviceError as error:
            self._tell.say(f"what commands did before this run is not in the audit trail: {error}")
            return ()

    async def _tell_trail_of_the_end(self, runtime: RayRuntime) -> None:
        """Have storage write down that this run ends; it outlives this moment in storage's queue on disk."""
        if not self._records.has_begun:
            return
        try:
            record = self._records.ended(datetime.now(UTC), why=self._failure)  # noqa: TID251
        except DeviceError as error:
            self._tell.say(f"the end of this run is not in the audit trail: {error}")
            return
        if not await self._stored(runtime, (record,), deadline_s=_LAST_WORD_S):
            self._tell.say("the end of this run is not in the audit trail: storage does not answer")

    @staticmethod
    async def _stored(runtime: RayRuntime, records: tuple[Record, ...], *, deadline_s: float) -> bool:
        try:
            await runtime.directory.ref(STORAGE).ask(StoreRecords(records=records), deadline_s=deadline_s)
        except CalejoError:
            return False
        return True

    # ------------------------------------------------------------------ readiness

    async def _until_ready(self, runtime: RayRuntime) -> None:
        """Tell what comes up as it comes up, then the ready line."""
        began_s = _now_s()
        impatient = False
        while (missing := await self._missing()) != []:
            waited_s = _now_s() - began_s
            self._tell.passing(starting(await self._parts(runtime), missing), now_s=_now_s())
            if waited_s > _READY_PATIENCE_S and not impatient:
                impatient = True
                self._tell.say(f"not ready after {waited_s:.0f} s; still missing: {'; '.join(missing)}")
            await asyncio.sleep(_LOOK_S)
        self._tell.say(self._ready_line(_now_s() - began_s))
        self._tell.say(_HOW_TO_ENTER)

    async def _missing(self) -> list[str]:
        """Return what readiness lacks, by the same answer that a load balancer gets.

        Raises:
            DeviceError: another program answers on our port.

        """
        health = urls_of(self._settings).health
        try:
            whose = await asyncio.to_thread(call, health, "GET", "/health/live", timeout_s=5.0)
            if whose.get("data_dir") != self._settings.data_dir:
                raise DeviceError(f"{health} is answered by another run: {whose}")
            detail = await asyncio.to_thread(call, health, "GET", "/health/detail", timeout_s=5.0)
        except (ConnectionError, ExitError):
            return ["the API"]
        missing: list[str] = detail["missing"]
        return missing

    @staticmethod
    async def _parts(runtime: RayRuntime) -> tuple[TreeNode, ...]:
        """Return the tree's rows; none while the root does not answer."""
        try:
            answer = await runtime.directory.ref(ROOT).ask(GetTree(), deadline_s=_TREE_DEADLINE_S)
        except CalejoError:
            return ()
        assert isinstance(answer, TreeView)
        return answer.nodes

    def _ready_line(self, waited_s: float) -> str:
        urls = urls_of(self._settings)
        return (
            f"ready after {waited_s:.1f} s: dashboard {urls.rest}/  REST {urls.rest}/api/v1"
            f"  health {urls.health}/health/ready"
            f"  OPC UA {urls.opcua}  Modbus {self._modbus_ways(urls)}"
        )

    def _modbus_ways(self, urls: Urls) -> str:
        """Return the ports that are really served."""
        ways = [urls.modbus] if self._settings.modbus.plain else []
        return " and ".join([*ways, *([f"{urls.modbus_tls} (TLS)"] if urls.modbus_tls else [])])

    # ------------------------------------------------------------------ the demo's plant

    async def _start_plant(self) -> None:
        """Start the simulated plant: processes of their own, outside Calejo, that outlive its sudden death."""
        from ops.demo.launch import start_demo

        ports = self._settings.ports
        await asyncio.to_thread(
            start_demo,
            Path(self._settings.data_dir),
            modbus_host=reached_at(modbus_host(self._settings, ports)),
            modbus_port=ports.modbus,
            database_url=database.database_urls(self._settings).writer,
            environment=os.environ,
        )

    async def _stop_plant(self) -> None:
        from ops.demo.launch import stop_demo

        await asyncio.to_thread(stop_demo, Path(self._settings.data_dir))

    # ------------------------------------------------------------------ the end

    async def _end_tree(self, runtime: RayRuntime, keeper: RootKeeper) -> None:
        """Stop the tree in reverse order; what does not answer in time ends by force, or with a Ray that is ours."""
        watching = asyncio.create_task(self._tell_the_end(runtime))
        try:
            if why := await keeper.stop(budget_s=_STOP_BUDGET_S):
                self._tell.say(f"the tree did not stop in order: {why}")
            if not self._session.local:
                await keeper.end_by_force()
        except CalejoError as error:
            self._tell.say(f"what is left of the tree was not ended: {error}")
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _tell_the_end(self, runtime: RayRuntime) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if parts := await self._parts(runtime):
                self._tell.passing(stopping(parts), now_s=_now_s())


def _now_s() -> float:
    return asyncio.get_running_loop().time()
