"""The one class that Ray runs: a process that hosts one actor."""

from __future__ import annotations

import asyncio
import importlib
import os
from typing import Any, Final

import msgspec
import ray
from loguru import logger

from supervisors import logging
from supervisors.envelope import Answer, Deadline
from supervisors.forking import birth
from supervisors.host import Host, Surroundings
from supervisors.on_ray.directory import RayDirectory
from supervisors.on_ray.runtime import RayRuntime
from supervisors.on_ray.setup import WorkerSetup
from supervisors.process import SystemClock
from supervisors.runtime import HostStats, MakeActor, StartOrder

# From the end of the actor to the end of the process: those who watch it get the reason first.
_LAST_WORDS_S: Final = 0.02
# An immortal whose start fails is started again by Ray at once; this keeps that from being a storm.
_FAILED_START_PAUSE_S: Final = 1.0


def make_function(path: str) -> MakeActor:
    """Import the `MakeActor` at `module:function`."""
    module, _, name = path.partition(":")
    make: MakeActor = getattr(importlib.import_module(module), name)
    return make


class Shell:
    """Receives calls for one `Host`. Its event loop is the process's only one."""

    async def __init__(self, setup: WorkerSetup, order: StartOrder) -> None:  # type: ignore[misc]  # Ray awaits it
        birth.worker()
        logging.configure(setup.log, data_dir=setup.data_dir, address=order.start.address)
        clock = SystemClock()
        directory = RayDirectory(setup.namespace, clock)
        runtime = RayRuntime(setup, directory, create)
        self._node_id = ray.get_runtime_context().get_node_id()
        self._joined: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        around = Surroundings(
            clock=clock,
            directory=directory,
            log=logging.LoguruLog(order.start.address, order.start.role),
            me=runtime.me,
            lost_tells=lambda: directory.lost,
            ended=self._ended,
        )
        make = make_function(setup.make)
        self._host = Host(order, lambda ports: make(ports, order.start, runtime), around)
        self._own_start = asyncio.create_task(self._start_myself()) if order.immortal else None

    async def _start_myself(self) -> None:
        failed = await self.start()
        if isinstance(failed, str):
            await asyncio.sleep(_FAILED_START_PAUSE_S)
            self._ended(failed)

    async def start(self) -> HostStats | str:
        """Start the actor; return who it is, or why that failed (the process is then of no use)."""
        try:
            await self._host.start()
        except Exception as error:  # noqa: BLE001  a start may fail in any way; its supervisor is told
            logger.opt(exception=error).error("start_failed")
            return repr(error)[:500] or "start failed"
        return await self.ping()

    async def ask(self, message: object, deadline: Deadline) -> Answer:
        """Hand over a message that is to be answered."""
        return await self._host.ask(message, deadline)

    @ray.method(num_returns=0)
    async def tell(self, message: object) -> None:
        """Hand over a message that nobody waits for."""
        self._host.tell(message)

    async def ping(self) -> HostStats:
        """Answer through the actor's mailbox."""
        return msgspec.structs.replace(await self._host.ping(), birth=birth.how())

    async def joined(self) -> str:
        """Return the reason when the actor ends by itself; when the process dies, the call fails."""
        return await asyncio.shield(self._joined)

    async def stop(self) -> None:
        """End in order; the process follows."""
        await self._host.stop()

    def _ended(self, reason: str) -> None:
        if not self._joined.done():
            self._joined.set_result(reason)
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._exit, reason)

    def _exit(self, reason: str) -> None:
        logger.complete()
        os._exit(1 if reason else 0)


def options(setup: WorkerSetup, order: StartOrder) -> dict[str, Any]:
    """Return the Ray options of one worker: named, detached, never restarted by Ray unless it is the root."""
    return {
        "name": order.start.address,
        "namespace": setup.namespace,
        "lifetime": "detached",
        "num_cpus": 0,  # or two cores would schedule two actors
        "max_restarts": -1 if order.immortal else 0,
        "max_task_retries": 0,
        "max_concurrency": 1000,  # everything waits in our own mailbox, which is the bound
        "max_pending_calls": 2000,  # what one caller may have under way towards one that hangs
        "enable_task_events": False,
    }


def create(setup: WorkerSetup, order: StartOrder) -> Any:
    """Start a worker process for `order` and return its handle: the one place where workers begin. Blocks some ms.

    Raises ValueError while the name is still taken.
    """
    return ray.remote(**options(setup, order))(Shell).remote(setup, order)
