"""SIGINT and SIGTERM as a request: remembered from the first moment on, answered when nothing is half done."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Final, Self

# Whoever asked has 15 s of patience (HA-1, systemd's usual 90 s aside); the ordinary end takes 2 to 4.
INSIST_AFTER_S: Final = 9.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_PATIENT_ASKS: Final = 2


class StopInsistedError(BaseException):
    """The stop asked for was not carried out in time: whatever runs in this thread is to be left now.

    No Exception, so that no library that catches those can keep the program alive.
    """


class StopRequest:
    """Takes SIGINT and SIGTERM while entered; only the main thread can enter it.

    The first one is only remembered (and `call`ed back), so that a start in its midst is not torn apart. When
    the program has not left `INSIST_AFTER_S` later, or a third one comes, StopInsistedError is raised where the
    main thread is.
    """

    def __init__(self, *, insist_after_s: float = INSIST_AFTER_S) -> None:
        self._insist_after_s = insist_after_s
        self._count = 0
        self._answered = False
        self._callback: Callable[[], object] | None = None
        self._before: dict[signal.Signals, object] = {}

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._count > 0

    def call(self, callback: Callable[[], object]) -> None:
        """Call back when a stop is asked for; at once when it was already."""
        self._callback = callback
        if self.asked:
            callback()

    def answered(self) -> None:
        """What remains of the end has bounds of its own: do not insist any more."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        self._answered = True

    def take(self) -> None:
        """Take the signals again from a library that has put its own handlers over ours."""
        for each in _SIGNALS:
            signal.signal(each, self._ask)

    def __enter__(self) -> Self:
        for each in (*_SIGNALS, signal.SIGALRM):
            self._before[each] = signal.getsignal(each)
        signal.signal(signal.SIGALRM, self._insist)
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]  # what signal.signal gave us

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1:
            signal.setitimer(signal.ITIMER_REAL, self._insist_after_s)
            if self._callback is not None:
                self._callback()
        elif self._count > _PATIENT_ASKS:
            self._insist(_number, _frame)

    def _insist(self, _number: int, _frame: FrameType | None) -> None:
        if self._answered:
            return
        raise StopInsistedError
