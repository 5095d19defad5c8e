"""Owns the durable epochs of one site: the last one issued per station (SAF-11)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from actors.vocabulary import DeviceError
from actors.vocabulary.durable import Epoch
from storage.files import U32_MAX, UtcSecond, read_struct, write_whole


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    term: int
    counters: dict[str, int]


class EpochFile:
    """One file per site, written by its supervisor only; a missing or damaged one starts at the UTC second."""

    def __init__(self, path: Path, *, utc_second: UtcSecond, term: int = 0) -> None:
        """`term` is the site term: 0 until another node takes the site over (it then comes from PostgreSQL)."""
        self._path = path
        self._utc_second = utc_second
        self._term = term

    def issue(self, station_id: str) -> Epoch:
        """Issue the station's next epoch, durable before it returns and above every one issued before.

        Raises:
            DeviceError: the disk refused, or the 32 bits of the wire are used up.

        """
        content = self._content()
        counters = dict(content.counters) if content is not None else {}
        known = counters.get(station_id)
        # A station without a counter starts at the second: it may have had a file before this one.
        counter = self._utc_second() if known is None else known + 1
        if not 0 < counter <= U32_MAX:
            raise DeviceError(
                f"{self._path}: epoch {counter} of {station_id} does not fit 32 bits (is the clock right?)"
            )
        counters[station_id] = counter
        term = max(self._term, content.term if content is not None else 0)
        write_whole(self._path, msgspec.json.encode(_Content(term=term, counters=counters)) + b"\n")
        return Epoch(term, counter)

    def last(self, station_id: str) -> Epoch | None:
        """Return the last one issued; None: none yet, or the file is damaged.

        Raises:
            DeviceError: the disk refused.

        """
        content = self._content()
        if content is None or station_id not in content.counters:
            return None
        return Epoch(content.term, content.counters[station_id])

    def _content(self) -> _Content | None:
        content = read_struct(self._path, _Content)
        if content is None:
            return None
        sane = 0 <= content.term <= U32_MAX and all(
            0 < counter <= U32_MAX for counter in content.counters.values()
        )
        return content if sane else None
