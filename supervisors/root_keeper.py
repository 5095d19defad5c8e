"""Keeps the root alive from the foreground process: Ray restarts it when it dies, this when it hangs."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final

from actors.start import WorkerStart
from actors.vocabulary import CalejoError, UnavailableError
from actors.vocabulary.ids import ROOT
from actors.vocabulary.settings import LIVENESS_DEADLINE_S, LIVENESS_PERIOD_S
from supervisors.process import SystemClock
from supervisors.ray_runtime import RayRuntime
from supervisors.runtime import HostStats, Life, StartOrder

_MAILBOX: Final = 4096
_ADOPT_DEADLINE_S: Final = 3.0
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
        self._life: Life | None = None
        self._heard: HostStats | None = None

    async def start(self, *, deadline_s: float) -> Life:
        """Start the root, or take over the one that lives.

        Raises:
            UnavailableError: it does not start.

        """
        found = await self._runtime.adopt(ROOT, deadline_s=_ADOPT_DEADLINE_S)
        if found is not None:
            self._life = found[0]
        else:
            await self._runtime.kill_address(ROOT)
            order = StartOrder(start=self._start, mailbox_bound=_MAILBOX, immortal=True)
            self._life = await self._runtime.start(order, deadline_s=deadline_s)
        return self._life

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
