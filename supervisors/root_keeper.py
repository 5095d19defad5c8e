"""Keeps the root alive from the foreground process: Ray restarts it when it dies, this when it hangs."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final

from actors.messages import GetTree, StopTree, TreeView
from actors.start import WorkerStart
from actors.vocabulary import CalejoError, RefusedError, UnavailableError
from actors.vocabulary.ids import ROOT
from actors.vocabulary.settings import LIVENESS_DEADLINE_S, LIVENESS_PERIOD_S
from supervisors.on_ray.runtime import RayRuntime
from supervisors.process import SystemClock
from supervisors.restart_types import ChildState
from supervisors.runtime import HostStats, Life, StartOrder, settings_mark

_MAILBOX: Final = 4096
_ADOPT_DEADLINE_S: Final = 3.0
_END_BUDGET_S: Final = 6.0
_OWN_DELAY_S: Final = 0.5
# After a kill the root needs a moment to come back before its silence means anything again.
_GRACE_S: Final = 5.0


class RootKeeper:
    """Starts the root (or finds it alive on a cluster joined) and pings it every second."""

    def __init__(self, runtime: RayRuntime, start: WorkerStart) -> None:
        assert start.address == ROOT
        self._runtime = runtime
        self._start = start
        self._clock = SystemClock()
        self._settings = start.settings
        self._life: Life | None = None
        self._heard: HostStats | None = None

    async def adopt(self) -> bool:
        """Take over the root that lives on, if it does our work; one of ours that does not is ended with its tree.

        It outlives its foreground on a cluster joined. It does our work if it has our settings and is not stopping.

        Raises:
            RefusedError: it belongs to another data directory.
            UnavailableError: Ray cannot say who lives, or does not end them.

        """
        found = await self._runtime.adopt(ROOT, deadline_s=_ADOPT_DEADLINE_S)
        if found is None:
            return False
        life, stats = found
        if stats.data_dir != self._settings.data_dir:
            raise RefusedError(
                f"the tree in this namespace belongs to data directory {stats.data_dir!r}, not to"
                f" {self._settings.data_dir!r}: nothing of it was touched"
            )
        if stats.settings_mark == settings_mark(self._settings) and await self._is_at_work():
            self._life = life
            return True
        await self.stop(budget_s=_END_BUDGET_S)
        await self.end_by_force()
        return False

    async def _is_at_work(self) -> bool:
        try:
            answer = await self._runtime.directory.ref(ROOT).ask(GetTree(), deadline_s=_ADOPT_DEADLINE_S)
        except CalejoError:
            return True  # it gave a sign of life: a slow tree is no reason to end it
        assert isinstance(answer, TreeView)
        stopped = ChildState.STOPPED.value
        return not any(node.address == ROOT and node.state == stopped for node in answer.nodes)

    async def start(self, *, deadline_s: float) -> Life:
        """Start the root, or take over the one that lives.

        Raises:
            RefusedError: the one that lives belongs to another data directory.
            UnavailableError: it does not start.

        """
        if self._life is None and not await self.adopt():
            await self._runtime.kill_address(ROOT)
            order = StartOrder(start=self._start, mailbox_bound=_MAILBOX, immortal=True)
            self._life, _ = await self._runtime.start(order, deadline_s=deadline_s)
        assert self._life is not None
        return self._life

    async def stop(self, *, budget_s: float) -> str:
        """Stop all below the root in reverse order; return why it did not end in order, '' if it did."""
        try:
            ref = self._runtime.directory.ref(ROOT)
            await ref.ask(StopTree(budget_s=budget_s), deadline_s=budget_s + 1.0)
        except CalejoError as error:
            return str(error)
        return ""

    async def end_by_force(self) -> None:
        """End the root and whatever is left below it: on a cluster joined nothing ends with Ray.

        Raises:
            UnavailableError: Ray does not do it now.

        """
        # The root first: it would start the others again.
        await self._runtime.kill_address(ROOT)
        for address in await self._runtime.living():
            await self._runtime.kill_address(address)

    async def keep(self) -> None:
        """Ping until cancelled.

        Raises:
            UnavailableError: the root is gone for good: Ray restarts it no more.

        """
        assert self._life is not None, "start comes first"
        heard_at = self._clock.now()
        while True:
            await self._clock.sleep(LIVENESS_PERIOD_S)
            asked_at = self._clock.now()
            try:
                self._heard = await self._runtime.ping(self._life, deadline_s=LIVENESS_DEADLINE_S)
                heard_at = self._clock.now()
                continue
            except CalejoError:
                now = self._clock.now()
            if now.seconds_since(asked_at) > LIVENESS_DEADLINE_S + _OWN_DELAY_S:
                continue  # this process was held up itself
            if self._runtime.is_gone(self._life):
                raise UnavailableError("the root supervisor is gone and Ray does not start it again")
            # A refused call within the deadline is a death: Ray is at it already.
            hung = now.seconds_since(asked_at) >= LIVENESS_DEADLINE_S
            if hung or now.seconds_since(heard_at) > _GRACE_S + LIVENESS_DEADLINE_S:
                with contextlib.suppress(UnavailableError):  # then it is tried again
                    await self._end(self._life)
                await self._clock.sleep(_GRACE_S)
                heard_at = self._clock.now()

    async def _end(self, life: Life) -> None:
        """End a hanging root so that Ray starts it again: Ray itself takes seconds to end a stopped process."""
        heard, (_, node_id, _) = self._heard, self._runtime.me()
        if heard is not None and heard.pid is not None and heard.node_id == node_id:
            with contextlib.suppress(ProcessLookupError):
                os.kill(heard.pid, signal.SIGKILL)
            # Another may have taken its place since: only one that was heard of is ever killed by number.
            self._heard = None
        else:
            await self._runtime.kill_but_restart(life)
