"""RayRuntime: each actor one Ray actor, found by name; every restart is ours, none is Ray's but the root's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

import ray
from ray.exceptions import ActorAlreadyExistsError, PendingCallsLimitExceeded, RayActorError, RayError
from ray.util import list_named_actors

from actors.runtime import Directory
from actors.vocabulary import Address
from supervisors import starving
from supervisors.envelope import unanswered
from supervisors.on_ray.directory import RayDirectory, died
from supervisors.on_ray.setup import WorkerSetup, identity
from supervisors.runtime import HostStats, Life, Runtime, StartOrder

R = TypeVar("R")

# A dead actor's name is free after some ms; a start that finds it taken tries again this often, this long.
_NAME_RETRY_S: Final = 0.005
_NAME_PATIENCE_S: Final = 2.0


class RayRuntime(Runtime):
    """Starts, watches, pings and ends Ray actors. One per process, used from its event loop."""

    def __init__(
        self, setup: WorkerSetup, directory: RayDirectory, create: Callable[[WorkerSetup, StartOrder], Any]
    ) -> None:
        """Start actors by `create` (`worker.create`): the worker's process has a runtime, too."""
        self._setup = setup
        self._create = create
        self._directory = directory
        self._node_id = ray.get_runtime_context().get_node_id()
        # Creating, killing and listing block for a round trip to Ray's control store.
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="ray")

    @property
    def directory(self) -> Directory:
        """Finds actors by address."""
        return self._directory

    @property
    def run_id(self) -> str:
        """What tells this run of the tree from any other."""
        return self._setup.run_id

    def me(self) -> tuple[int | None, str | None, float | None]:
        """Return this process's pid, node id and resident memory in MiB."""
        return identity(self._node_id)

    async def _off_loop(self, function: Callable[..., R], *args: Any) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    # ------------------------------------------------------------------ begin

    async def start(self, order: StartOrder, *, deadline_s: float) -> tuple[Life, HostStats]:
        """Start an actor and wait until its `start()` is done (see `Runtime.start`)."""
        address = order.start.address
        handle, stats = None, None
        try:
            async with asyncio.timeout(deadline_s):
                handle = await self._created(order)
                # The root starts itself, after its deaths too; everybody else is told to.
                stats = (
                    await self._started_by_itself(handle) if order.immortal else await handle.start.remote()
                )
                failed = stats if isinstance(stats, str) else ""
        except TimeoutError:
            failed = f"not started within {deadline_s} s"
        except RayActorError as error:
            failed = _first_line(error)
        except RayError as error:
            failed = repr(error)[:300]
        except asyncio.CancelledError:
            if handle is not None:
                self._threads.submit(_kill_for_good, handle)
            raise
        if failed or handle is None:
            if handle is not None:
                await self._kill(handle)
            raise unanswered(address, f"start failed: {failed}")
        assert isinstance(stats, HostStats)
        return Life(address, order.start.incarnation, handle, self._pid_here(stats)), stats

    def _pid_here(self, stats: HostStats) -> int | None:
        return stats.pid if stats.node_id == self._node_id else None

    async def _created(self, order: StartOrder) -> Any:
        clock, address = self._directory.clock, order.start.address
        give_up, displaced = clock.now().plus(_NAME_PATIENCE_S), False
        while True:
            creating = self._threads.submit(self._create, self._setup, order)
            try:
                return await asyncio.wrap_future(creating)
            except asyncio.CancelledError:
                # Nobody waits for it any more, and it would live and have its name for ever.
                creating.add_done_callback(self._end_late)
                raise
            except (ValueError, ActorAlreadyExistsError) as error:
                if clock.now().boot_ns >= give_up.boot_ns:
                    if displaced:
                        raise unanswered(address, f"start failed: {_first_line(error)}") from None
                    # Adoption and every ordered end come before a start: whoever still has the name is nobody's.
                    await self.kill_address(address)
                    give_up, displaced = clock.now().plus(_NAME_PATIENCE_S), True
            await clock.sleep(_NAME_RETRY_S)

    def _end_late(self, creating: Future[Any]) -> None:
        if not creating.cancelled() and creating.exception() is None:
            self._threads.submit(_kill_for_good, creating.result())

    async def _started_by_itself(self, handle: Any) -> HostStats:
        while True:
            stats: HostStats = await handle.ping.remote()
            if stats.started:
                return stats
            await self._directory.clock.sleep(_NAME_RETRY_S)

    async def adopt(self, address: Address, *, deadline_s: float) -> tuple[Life, HostStats] | None:
        """Return the living actor of that name if it answers as started, else None."""
        # The deadline is for the actor: waiting for one's turn with the name server says nothing about it.
        handle = await self._directory.holder_of(address)
        if handle is None:
            return None
        try:
            async with asyncio.timeout(deadline_s):
                stats: HostStats = await handle.ping.remote()
        except (TimeoutError, RayError, PendingCallsLimitExceeded):
            return None
        life = Life(address, stats.incarnation, handle, self._pid_here(stats))
        return (life, stats) if stats.started else None

    # ------------------------------------------------------------------ watch

    async def watch(self, life: Life) -> str:
        """Return when `life` has ended, with the reason ('' for an ordered end); some 10 ms after a SIGKILL."""
        try:
            return str(await life.handle.joined.remote())
        except (RayError, PendingCallsLimitExceeded) as error:
            return _first_line(error) or "died"

    async def ping(self, life: Life, *, deadline_s: float) -> HostStats:
        """Ask for a sign of life through the actor's own mailbox (see `Runtime.ping`)."""
        try:
            async with asyncio.timeout(deadline_s):
                stats = await life.handle.ping.remote()
        except TimeoutError:
            raise unanswered(life.address, f"no sign of life within {deadline_s} s") from None
        except (RayError, PendingCallsLimitExceeded) as error:
            raise unanswered(life.address, _first_line(error)) from None
        assert isinstance(stats, HostStats)
        return stats

    def processor_wait_s(self, life: Life) -> float | None:
        """Return how long it has waited for a processor; None for a process of another machine."""
        return None if life.pid is None else starving.processor_wait_s(life.pid)

    # ------------------------------------------------------------------ end

    async def stop(self, life: Life, *, timeout_s: float) -> None:
        """End it in order, and by force when it has not ended after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await life.handle.stop.remote()
                await self.watch(life)
        except (TimeoutError, RayError, PendingCallsLimitExceeded):
            pass
        # Also after an ordered end: Ray would start an immortal again.
        await self.kill(life)

    async def kill(self, life: Life) -> None:
        """End it by force, stopped processes too; Ray frees the name at once."""
        await self._kill(life.handle)

    async def _kill(self, handle: Any) -> None:
        if not died(handle):
            await self._ended(_kill_for_good, handle)

    async def _ended(self, kill: Callable[[Any], None], handle: Any) -> None:
        try:
            await self._off_loop(kill, handle)
        except RayError as error:
            raise unanswered("Ray", f"does not end an actor: {_first_line(error)}") from None

    def is_gone(self, life: Life) -> bool:
        """Whether Ray says that this actor is dead and will not come back."""
        return died(life.handle)

    async def kill_but_restart(self, life: Life) -> None:
        """End a hanging immortal so that Ray starts it again."""
        await self._ended(_kill_to_restart, life.handle)

    async def living(self) -> Sequence[Address]:
        """Return the addresses of all actors alive in this tree."""
        try:
            named = await self._off_loop(_named_actors)
        except RayError as error:
            raise unanswered("Ray", f"does not list its actors: {_first_line(error)}") from None
        return [Address(entry["name"]) for entry in named if entry["namespace"] == self._setup.namespace]

    async def kill_address(self, address: Address) -> None:
        """End whoever lives there by force; nobody there is fine."""
        handle = await self._directory.holder_of(address)
        if handle is not None:
            await self._kill(handle)


def _named_actors() -> list[dict[str, str]]:
    named: list[dict[str, str]] = list_named_actors(all_namespaces=True)
    return named


def _kill_for_good(handle: Any) -> None:
    ray.kill(handle, no_restart=True)


def _kill_to_restart(handle: Any) -> None:
    ray.kill(handle, no_restart=False)


def _first_line(error: BaseException) -> str:
    """Return what matters of Ray's long texts: 300 characters of one line."""
    exit_type = re.search(r"Worker exit type: (\w+)", str(error))
    if exit_type is not None:
        return f"process died ({exit_type[1]})"
    text = " ".join(str(error).split())
    return (text or repr(error))[:300]
