"""What is remembered of one pump at one moment: the rows that `explain` tells the past from (SAF-4, BYD-1)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from actors.vocabulary.records import DecisionRecord, FeedbackRow, StopEventRecord, WireRecord


class DecisionChain(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the database knows of a pump at one moment.

    `decision`: the newest row until then, None: there is none. `next_at`: when the row after it was made. `took`: the
    rows of endpoints that took exactly this decision; `shown`: each endpoint's newest row until then. `limits`: the
    version that it was decided with. `stops`: emergency stops and out-of-service marks that held for the pump.
    `oldest_at`: its oldest row that is still kept.
    """

    pump_id: str
    decision: DecisionRecord | None = None
    next_at: datetime | None = None
    took: tuple[WireRecord, ...] = ()
    shown: tuple[WireRecord, ...] = ()
    feedback: FeedbackRow | None = None
    limits: dict[str, Any] | None = None
    stops: tuple[StopEventRecord, ...] = ()
    oldest_at: datetime | None = None


class DecisionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions of a pump in a span, the newest first; `following`: where the next page begins, '' on the last."""

    decisions: tuple[DecisionRecord, ...]
    following: str = ""
