"""Tables of the past that REST shows row by row (API-2)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum, unique

import msgspec


@unique
class PastTable(StrEnum):
    """What happened, and what was planned."""

    VIOLATIONS = "violations"
    FAILSAFES = "failsafes"
    REFUSALS = "refusals"
    PLANS = "plans"


class PastQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of a table, the newest first; None: nothing is narrowed.

    `subjects`: of these pumps (or scopes) only. `since`, `until`: an event at a moment in [since, until); what lasts (a
    failsafe, the interval of a plan) if any of it lies there. `before`: only rows of a smaller number than this.
    """

    count_max: int
    subjects: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
