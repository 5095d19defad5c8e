"""What local files remember across restarts: epochs and operator modes (SAF-11, CTL-7)."""

from __future__ import annotations

from datetime import datetime

import msgspec

from actors.vocabulary.codes import Mode


class Epoch(msgspec.Struct, frozen=True, order=True):
    """Which incarnation of a station's safety chain speaks (SAF-11): site term, then counter."""

    term: int
    counter: int


class StoredMode(msgspec.Struct, frozen=True, kw_only=True):
    """A pump's operator mode as it survives restarts."""

    pump_id: str
    mode: Mode
    by: str
    setpoint_hz: float | None
    set_at: datetime
    expires_at: datetime | None
    held_stopped: bool = False
