"""The start of a measured server: bounded, and what it cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """Our endpoint's start with so many pumps: until it listens, and its resident memory then."""

    pumps: int
    start_s: float
    rss_mib: float

    def __str__(self) -> str:
        return f"{self.pumps} pumps: listens after {self.start_s:.2f} s, {self.rss_mib:.0f} MiB"


@contextmanager
def at_most(seconds: float, otherwise: Callable[[], None]) -> Iterator[None]:
    """Call `otherwise` if the block takes longer; for what has no deadline of its own, as a line from a process."""
    timer = threading.Timer(seconds, otherwise)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
