"""What was measured over a span, in equal pieces, as displays draw it (HMI-2)."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Means over one piece of a span that begins `at`; None: nothing was measured in it."""

    at: datetime
    speed_hz: float | None = None
    level_m: float | None = None
