"""An event loop whose time jumps from event to event, and cells in it that freeze or die like processes.

Callbacks that belong to a cell (by their context) run only while the cell does. A frozen or dead cell's callbacks are
parked, whatever they wait for: nothing of it runs on, not even a `finally`, as with SIGSTOP and SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

_CELL: contextvars.ContextVar[Cell | None] = contextvars.ContextVar("cell", default=None)


class NothingWillHappenError(RuntimeError):
    """Everybody waits and no timer is set: a deadlock of the simulated program."""


class Cell:
    """What one simulated process runs: its context, its tasks, and whether it may run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.context = contextvars.copy_context()
        self.context.run(_CELL.set, self)
        self.tasks: set[asyncio.Task[Any]] = set()
        self.frozen = False
        self._parked: list[_Due] = []

    def run(self, due: _Due) -> None:
        """Run a callback, or park it while the cell is frozen."""
        if self.frozen:
            self._parked.append(due)
        else:
            due.run()

    def thaw(self, loop: VirtualLoop) -> None:
        """Let the cell run on: everything parked comes due now, in its order."""
        self.frozen = False
        parked, self._parked = self._parked, []
        for due in parked:
            loop.call_soon(due.run, context=due.context)


class _Due:
    """A callback of a cell and the handle that its owner may cancel: also while it is parked, also once it is due."""

    __slots__ = ("args", "callback", "context", "handle")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.handle: asyncio.Handle | None = None

    def run(self) -> None:
        handle, self.handle = self.handle, None
        if handle is None or not handle.cancelled():
            self.callback(*self.args)


class _Jump(selectors.SelectSelector):
    """Waits for nothing: the time that select would have slept is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingWillHappenError("every task waits and no timer is set")
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Virtual time in seconds from 0; no threads, no sockets, no real waiting."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self.set_task_factory(_task_in_its_cell)  # type: ignore[arg-type]  # options differ by Python version

    def time(self) -> float:
        """Return the virtual time in s."""
        return self._jump.now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Schedule `callback`, inside the cell that its context belongs to."""
        in_context = contextvars.copy_context() if context is None else context
        cell = in_context.get(_CELL)
        if cell is None:
            return super().call_soon(callback, *args, context=in_context)
        due = _Due(callback, args, in_context)
        due.handle = super().call_soon(cell.run, due, context=in_context)
        return due.handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Schedule `callback` at the virtual time `when`, inside the cell that its context belongs to."""
        in_context = contextvars.copy_context() if context is None else context
        cell = in_context.get(_CELL)
        if cell is None:
            return super().call_at(when, callback, *args, context=in_context)
        due = _Due(callback, args, in_context)
        handle = super().call_at(when, cell.run, due, context=in_context)
        due.handle = handle
        return handle

    def run_in_executor(self, *_: Any) -> Any:  # type: ignore[override]
        """Refuse: a thread would bring real time in."""
        raise RuntimeError("no threads in the simulation")

    def neutral(self, delay_s: float, callback: Callable[..., object], *args: Any) -> None:
        """Call back after `delay_s` outside every cell: the network and the kernel live on when processes die."""
        self.call_later(delay_s, callback, *args, context=contextvars.Context())


def _task_in_its_cell(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    given: Mapping[contextvars.ContextVar[Any], Any] | None = options.get("context")
    cell = _CELL.get() if given is None else given.get(_CELL)
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    if cell is not None:
        cell.tasks.add(task)
        task.add_done_callback(cell.tasks.discard)
    return task
