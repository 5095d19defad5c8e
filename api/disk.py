"""Runs small file calls beside the loop, with a deadline: a disk that hangs costs a thread, never a request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from actors.vocabulary import DeviceError

_CALLS_MAX: Final = 32

_Answer = TypeVar("_Answer")


class DiskLateError(DeviceError):
    """The time was up before the call returned: it may still do its work."""


class Disk:
    """Daemon threads, at most `calls_max` at a time: one that never returns must not keep the process from ending."""

    def __init__(self, what: str, *, calls_max: int = _CALLS_MAX) -> None:
        self._what = what
        self._calls_max = calls_max
        self._under_way = 0

    async def call(
        self,
        function: Callable[[], _Answer],
        *,
        deadline_s: float,
        late: Callable[[_Answer | BaseException], None] | None = None,
    ) -> _Answer:
        """Return what `function` returns.

        `late` is given, in the loop, what it returned or raised when nobody waited any more (the time was up, or who
        asked is gone): for work that changes something, and whose end somebody must hear of.

        Raises:
            DiskLateError: it did not return within `deadline_s`; it may still do its work.
            DeviceError: too many already hang; nothing was begun.
            Exception: what `function` raised.

        """
        if self._under_way >= self._calls_max:
            text = f"{self._what}: the disk does not answer ({self._under_way} calls wait for it)"
            raise DeviceError(text)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Answer] = loop.create_future()

        def ended(value: _Answer | None, error: BaseException | None) -> None:
            self._under_way -= 1
            if answer.done():
                if late is not None:
                    late(error if error is not None else value)  # type: ignore[arg-type]  # as below
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(value)  # type: ignore[arg-type]  # without an error there is a value

        def work() -> None:
            value, error = None, None
            try:
                value = function()
            except Exception as raised:  # noqa: BLE001  (whatever it is belongs to the caller, in the loop)
                error = raised
            with suppress(RuntimeError):  # the loop ended meanwhile: nobody waits
                loop.call_soon_threadsafe(ended, value, error)

        self._under_way += 1
        threading.Thread(target=work, name=f"disk-{self._what}", daemon=True).start()
        try:
            async with asyncio.timeout(deadline_s):
                return await answer
        except TimeoutError as error:
            text = f"{self._what}: the disk did not answer within {deadline_s:g} s"
            raise DiskLateError(text) from error
