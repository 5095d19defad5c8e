"""The numbers of sessions (bdSeq): durable where the disk takes them, and counted on where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from actors.vocabulary import DeviceError
from protocols.sparkplug.backfill import BirthCounter

_SAVE_S: Final = 10.0


class SessionNumbers:
    """A disk that is full must not take the wire away; that a number may be used twice after a restart is told."""

    def __init__(self, births: BirthCounter, tell: Callable[[str, str], None]) -> None:
        self._births = births
        self._tell = tell
        self._tried_s: float | None = None
        self.fault = ""
        """Why the last number is not on disk; '' when it is."""

    async def issue(self) -> int:
        """Return the next session's number."""
        try:
            number = await asyncio.to_thread(self._births.issue)
        except DeviceError as error:
            self._refused(error)
            return await asyncio.to_thread(self._births.issue_unsaved)
        self.fault = ""
        return number

    async def save(self, *, now_s: float) -> None:
        """Make the number durable that the disk refused, if it does so now; asked seldom (`now_s`: any origin)."""
        if not self.fault or (self._tried_s is not None and now_s - self._tried_s < _SAVE_S):
            return
        self._tried_s = now_s
        try:
            await asyncio.to_thread(self._births.save)
        except DeviceError as error:
            self._refused(error)
        else:
            self.fault = ""

    def _refused(self, error: DeviceError) -> None:
        if str(error) != self.fault:
            self.fault = str(error)
            self._tell("number_unsaved", self.fault)
