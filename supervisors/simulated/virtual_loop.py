"""An event loop whose time jumps from event to event, and cells in it that freeze or die like processes.

Callbacks that belong to a cell (by their context) run only while the cell does. A frozen or dead cell's callbacks are
parked, whatever they wait for: nothing of it runs on, not even a `finally`, as with SIGSTOP and SIGKILL.

A story is some hundred thousand callbacks, so this loop has timers and a round of its own: asyncio's compares timers in
Python and asks a selector in every round.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

_CELL: contextvars.ContextVar[Cell | None] = contextvars.ContextVar("cell", default=None)

# As in asyncio: timers this close together come due together, and so many cancelled ones are worth a sweep.
_RESOLUTION_S: Final = 1e-9
_SWEPT_ABOVE: Final = 100
_SWEPT_SHARE: Final = 0.5


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
        self.parked: list[_Timer] = []

    def thaw(self, loop: VirtualLoop) -> None:
        """Let the cell run on: everything parked comes due now, in its order."""
        self.frozen = False
        parked, self.parked = self.parked, []
        loop.come_due(parked)


class _Timer(float):
    """A callback at a time (virtual s), of a cell or of none; compared as the number that it is.

    Its owner may cancel it also while it is parked, also once it is due.
    """

    __slots__ = ("args", "callback", "cell", "context", "dropped", "loop", "waits")

    callback: Callable[..., object]
    args: tuple[Any, ...]
    context: contextvars.Context
    cell: Cell | None
    loop: VirtualLoop
    waits: bool
    dropped: bool

    def when(self) -> float:
        """Return the time at which it is due."""
        return float(self)

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self.dropped

    def cancel(self) -> None:
        """Take it back."""
        if not self.dropped:
            self.dropped = True
            self.args = ()
            self.loop.timer_cancelled(scheduled=self.waits)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Virtual time in seconds from 0; no threads, no sockets, no real waiting."""

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self) -> None:
        self._now_s = 0.0
        self._timers: list[_Timer] = []
        self._due: deque[_Timer] = deque()
        self._timers_cancelled = 0
        super().__init__(selectors.SelectSelector())
        self.set_task_factory(_task_in_its_cell)  # type: ignore[arg-type]  # options differ by Python version

    def time(self) -> float:
        """Return the virtual time in s."""
        return self._now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> _Timer:
        """Schedule `callback`, inside the cell that its context belongs to."""
        timer = self._timer(self._now_s, callback, args, context)
        timer.waits = False
        self._due.append(timer)
        return timer

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> _Timer:
        """Schedule `callback` after `delay` virtual seconds."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> _Timer:
        """Schedule `callback` at the virtual time `when`, inside the cell that its context belongs to."""
        timer = self._timer(when, callback, args, context)
        timer.waits = True
        heapq.heappush(self._timers, timer)
        return timer

    def _timer(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> _Timer:
        timer = _Timer(when)
        timer.callback, timer.args, timer.loop, timer.dropped = callback, args, self, False
        timer.context = in_context = contextvars.copy_context() if context is None else context
        timer.cell = in_context.get(_CELL)
        return timer

    def timer_cancelled(self, *, scheduled: bool) -> None:
        """Count a timer that was taken back before it came due: when they are many, they are swept out."""
        self._timers_cancelled += scheduled

    def come_due(self, parked: list[_Timer]) -> None:
        """Let these run next, in their order."""
        self._due.extend(parked)

    def run_in_executor(self, *_: Any) -> Any:  # type: ignore[override]
        """Refuse: a thread would bring real time in."""
        raise RuntimeError("no threads in the simulation")

    def neutral(self, delay_s: float, callback: Callable[..., object], *args: Any) -> None:
        """Call back after `delay_s` outside every cell: the network and the kernel live on when processes die."""
        self.call_at(self._now_s + delay_s, callback, *args, context=contextvars.Context())

    def _run_once(self) -> None:
        """Do one round as asyncio's loop does it, with a jump where that one waits."""
        self._forget_cancelled()
        timers, due = self._timers, self._due
        while self._ready:  # what asyncio itself scheduled past `call_soon`, from another thread
            self._ready.popleft()._run()  # noqa: SLF001  as its own loop would
        if not due and not self._stopping:
            if not timers:
                raise NothingWillHappenError("every task waits and no timer is set")
            self._now_s += max(0.0, timers[0] - self._now_s)
        end_s = self._now_s + _RESOLUTION_S
        while timers and timers[0] < end_s:
            timer = heapq.heappop(timers)
            timer.waits = False
            due.append(timer)
        for _ in range(len(due)):
            timer = due.popleft()
            if timer.dropped:
                continue
            if timer.cell is not None and timer.cell.frozen:
                timer.cell.parked.append(timer)
                continue
            try:
                timer.context.run(timer.callback, *timer.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001  as asyncio does: told, and the loop goes on
                told = {"message": f"Exception in callback {timer.callback!r}", "exception": error}
                self.call_exception_handler(told)

    def _forget_cancelled(self) -> None:
        timers = self._timers
        if (
            self._timers_cancelled > _SWEPT_ABOVE * _SWEPT_SHARE
            and len(timers) > _SWEPT_ABOVE
            and (self._timers_cancelled / len(timers) > _SWEPT_SHARE)
        ):
            for timer in timers:
                timer.waits = not timer.dropped
            self._timers = [timer for timer in timers if timer.waits]
            heapq.heapify(self._timers)
            self._timers_cancelled = 0
            return
        while timers and timers[0].dropped:
            self._timers_cancelled -= 1
            heapq.heappop(timers).waits = False


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
