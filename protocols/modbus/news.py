"""What an endpoint tells of its clients: all is counted, little is told, so that nobody can fill a log with us."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from typing import Final

from protocols.endpoint import ClientNews
from protocols.modbus.limits import Bucket, ModbusLimits, is_loopback

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

# An address may use so much of its lane; of more addresses than these the one longest quiet is forgotten.
_PARTS: Final = 4
_SHARES_MAX: Final = 256


class _Lane:
    """A rate for one kind of teller, and how many were left out since the last that was told."""

    def __init__(self, limits: ModbusLimits) -> None:
        self.rate = Bucket(limits.news_per_s, limits.news_burst)
        self.suppressed = 0


class News:
    """Counts by event since the start, and a listener that hears of them no faster than somebody can use.

    Strangers (who is not let in) and clients are told of at rates of their own, and within each an address gets a
    share: nobody makes another unseen by his noise.
    """

    def __init__(self, limits: ModbusLimits) -> None:
        """Start with nobody listening."""
        self._limits = limits
        self._lanes = {False: _Lane(limits), True: _Lane(limits)}
        self._shares: OrderedDict[tuple[bool, str], Bucket] = OrderedDict()
        self.listener: ClientNews | None = None
        self.counts: Counter[str] = Counter()

    def count(self, event: str) -> None:
        """Count what is not worth telling one by one."""
        self.counts[event] += 1

    def tell(self, event: str, peer: str, detail: str, *, stranger: bool = False) -> None:
        """Count it and pass it on; what was left out is counted in the next that is told."""
        self.count(event)
        if self.listener is None:
            return
        if event in _OURS:
            self.listener(event, peer, detail)
            return
        lane, now_s = self._lanes[stranger], asyncio.get_running_loop().time()
        if not (self._share(stranger, peer).take(now_s) and lane.rate.take(now_s)):
            lane.suppressed += 1
            return
        if lane.suppressed:
            detail = f"{detail} ({lane.suppressed} news before this were suppressed)".lstrip()
            lane.suppressed = 0
        self.listener(event, peer, detail)

    def _share(self, stranger: bool, peer: str) -> Bucket:
        key = (stranger, peer.rpartition(":")[0])
        found = self._shares.get(key)
        if found is None:
            if len(self._shares) >= _SHARES_MAX:
                self._shares.popitem(last=False)
            limits = self._limits
            # Everybody on this machine has one address: there it is no share.
            part = 1 if limits.loopback_exempt and is_loopback(key[1]) else _PARTS
            found = Bucket(limits.news_per_s / part, max(1, limits.news_burst // part))
            self._shares[key] = found
        self._shares.move_to_end(key)
        return found
