"""Who exports the trail by REST, page by page: told in the trail when it begins, not with every page (AUD-2)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from actors.runtime import Clock
from actors.vocabulary import Instant
from api.noting import Noting

BEGINNINGS_PER_WINDOW: Final = 10
WINDOW_S: Final = 60.0
WHO_MAX: Final = 256


class _Export(msgspec.Struct):
    next_after: int
    began: Instant
    noted: int = 0
    suppressed: int = 0


class Exports:
    """Remembers of each who asks where their last page ended: a page that begins elsewhere begins an export."""

    def __init__(self, noting: Noting, clock: Clock) -> None:
        self._noting = noting
        self._clock = clock
        self._of: OrderedDict[str, _Export] = OrderedDict()

    def page(self, *, actor: str, peer: str, after: int, first: int, last: int) -> None:
        """Note a page from record `first` to `last`, asked for as behind `after`, if it begins an export.

        Ten beginnings a minute of one actor are noted, and how many were not with the next one: a client that asks
        for the same page in a loop must not fill what it exports.
        """
        now = self._clock.now()
        held = self._of.pop(actor, None)
        goes_on = held is not None and held.next_after == after
        if held is None or now.seconds_since(held.began) >= WINDOW_S:
            held = _Export(next_after=last, began=now, suppressed=0 if held is None else held.suppressed)
        held.next_after = last
        self._of[actor] = held
        if len(self._of) > WHO_MAX:
            self._of.popitem(last=False)
        if goes_on:
            return
        if held.noted >= BEGINNINGS_PER_WINDOW:
            held.suppressed += 1
            return
        held.noted += 1
        told: dict[str, int] = {"first": first, "until": last}
        if held.suppressed:
            told["suppressed_before"], held.suppressed = held.suppressed, 0
        self._noting.note("AUDIT_EXPORTED", actor=actor, peer=peer, object_id="audit_log", after=told)
