"""The stand-in optimiser's process: a heartbeat each minute and a new plan every few minutes, through SQL, as
the real one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns, time_ns
from typing import Final, TypeVar

from actors.vocabulary import DeviceError
from ops.demo.files import holder
from ops.demo.seed import DemoDatabase
from ops.demo.settings import DemoSettings

PLANT_LOCK: Final = "plant.lock"
_NS: Final = 1e9
# The optimiser of a plant that has ended ends, too; a plant that is just being replaced is waited for.
_WITHOUT_PLANT_S: Final = 30.0
_LOOK_S: Final = 1.0
_BLIND_S: Final = 60.0

_Done = TypeVar("_Done")


class Optimiser:
    """Writes plans for one demo."""

    def __init__(self, folder: Path, database: DemoDatabase, settings: DemoSettings) -> None:
        """Prepare; `run` works."""
        self._folder, self._database, self._settings = folder, database, settings
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Work until told to end, or until the plant has gone."""
        beat_due_s = plan_due_s = plant_seen_s = _now_s()
        while not self.ended.is_set():
            now_s = _now_s()
            if holder(self._folder / PLANT_LOCK) is not None:
                plant_seen_s = now_s
            elif now_s - plant_seen_s > _WITHOUT_PLANT_S:
                return
            if now_s >= plan_due_s and (planned := await self._try(self._database.plan)):
                every_s = self._settings.plan_every_s
                # Who planned blind looks again soon: feedback begins a moment after Calejo does.
                plan_due_s = now_s + (min(every_s, _BLIND_S) if planned.blind else every_s)
                beat_due_s = now_s + self._settings.heartbeat_every_s
            elif now_s >= beat_due_s and await self._try(self._beat):
                beat_due_s = now_s + self._settings.heartbeat_every_s
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self.ended.wait()
            except TimeoutError:
                continue

    def _beat(self, *, now: datetime) -> bool:
        self._database.beat(now=now)
        return True

    async def _try(self, work: Callable[..., _Done]) -> _Done | None:
        """Write; a database that is away is tried again at the next look."""
        now = datetime.fromtimestamp(time_ns() / _NS, tz=UTC)
        try:
            return await asyncio.to_thread(work, now=now)
        except DeviceError as error:
            print(f"demo optimiser: {error}", file=sys.stderr)
            return None


def _now_s() -> float:
    return monotonic_ns() / _NS
