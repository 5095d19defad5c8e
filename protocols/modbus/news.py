"""What an endpoint tells of its clients: all is counted, little is told, so that nobody can fill a log with us."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from protocols.endpoint import ClientNews
from protocols.modbus.limits import Bucket, ModbusLimits

CONNECTED: Final = "connected"
DISCONNECTED: Final = "disconnected"
REFUSED: Final = "refused"
WRITE_REFUSED: Final = "write_refused"
LIMITED: Final = "limited"
FAILED: Final = "failed"
UNSOUND: Final = "unsound"
LISTENING: Final = "listening"
CERTIFICATE_REJECTED: Final = "certificate_rejected"
CERTIFICATE_REPLACED: Final = "certificate_replaced"
CERTIFICATE_UNUSABLE: Final = "certificate_unusable"

# No client can bring these about, and an alarm hangs on them: they are told whatever the rate.
_OURS: Final = (LISTENING, CERTIFICATE_REPLACED, CERTIFICATE_UNUSABLE)


class News:
    """Counts by event since the start, and a listener that hears of them no faster than somebody can use."""

    def __init__(self, limits: ModbusLimits) -> None:
        """Start with nobody listening."""
        self._rate = Bucket(limits.news_per_s, limits.news_burst)
        self._suppressed = 0
        self.listener: ClientNews | None = None
        self.counts: Counter[str] = Counter()

    def count(self, event: str) -> None:
        """Count what is not worth telling one by one."""
        self.counts[event] += 1

    def tell(self, event: str, peer: str, detail: str) -> None:
        """Count it and pass it on; what was left out is counted in the next that is told."""
        self.count(event)
        if self.listener is None:
            return
        if event in _OURS:
            self.listener(event, peer, detail)
            return
        if not self._rate.take(asyncio.get_running_loop().time()):
            self._suppressed += 1
            return
        if self._suppressed:
            detail = f"{detail} ({self._suppressed} news before this were suppressed)".lstrip()
            self._suppressed = 0
        self.listener(event, peer, detail)
