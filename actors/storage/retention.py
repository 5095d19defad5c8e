"""How old decisions are forgotten: from when on, and in what steps; pure (SAF-4)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from actors.vocabulary import Instant
from actors.vocabulary.settings import HistorySettings

FIRST_AFTER_S: Final = 30.0
PERIOD_S: Final = 600.0
# One batch holds SQLite's only pen for some milliseconds; the pause lets whoever waits for it write first.
BATCH_MAX: Final = 500
PAUSE_S: Final = 0.2
assert PAUSE_S < PERIOD_S


def horizon(now: Instant, settings: HistorySettings) -> datetime:
    """Return the moment from which on every decision stays explainable."""
    return now.utc - timedelta(days=settings.decisions_days)
