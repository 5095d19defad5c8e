"""Tables of the past that REST shows row by row (API-2)."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class PastTable(StrEnum):
    """What happened, and what was planned."""

    VIOLATIONS = "violations"
    FAILSAFES = "failsafes"
    REFUSALS = "refusals"
    PLANS = "plans"
