"""How much of what costs us a private key's work one address, and all of them, may ask for; pure, bounded (OPC-5)."""

from __future__ import annotations

from typing import Final

import msgspec

ADDRESSES_MAX: Final = 1_000


class _Bucket(msgspec.Struct):
    tokens: float
    at_s: float


class Quota:
    """Token buckets: `burst` at once, then `per_s`; one for each address and one, `share` times as large, for all."""

    def __init__(self, *, burst: int, per_s: float, share: int) -> None:
        """Say how much; `share`: how many addresses may take their whole part at the same time."""
        self._burst = float(burst)
        self._per_s = per_s
        self._share = float(share)
        self._all = _Bucket(self._burst * self._share, 0.0)
        self._addresses: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def take(self, address: str, now_s: float) -> bool:
        """Take one; False: too many. A refused one counts nothing, so that waiting always helps."""
        own = self._addresses.pop(address, None) or _Bucket(self._burst, now_s)
        # Taken out and put in again: the longest quiet stand first.
        while len(self._addresses) >= ADDRESSES_MAX:
            del self._addresses[next(iter(self._addresses))]
        self._addresses[address] = own
        _fill(own, now_s, most=self._burst, per_s=self._per_s)
        _fill(self._all, now_s, most=self._burst * self._share, per_s=self._per_s * self._share)
        if own.tokens < 1.0 or self._all.tokens < 1.0:
            return False
        own.tokens -= 1.0
        self._all.tokens -= 1.0
        return True


def _fill(bucket: _Bucket, now_s: float, *, most: float, per_s: float) -> None:
    bucket.tokens = min(most, bucket.tokens + max(0.0, now_s - bucket.at_s) * per_s)
    bucket.at_s = now_s
