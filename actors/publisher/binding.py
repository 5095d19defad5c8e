"""When an endpoint that has just started opens its port (SAF-9); pure."""

from __future__ import annotations

from typing import Final

from actors.vocabulary import ControlSettings, Instant, SiteConfig

TICKS_AWAITED: Final = 1.5


class Hearing:
    """Which stations' fresh setpoints have come in since the start."""

    def __init__(self, began: Instant) -> None:
        self._began = began
        self._heard: set[str] = set()
        self._first_at: Instant | None = None

    def note(self, station_id: str, now: Instant) -> None:
        """A setpoint of this station was accepted."""
        self._heard.add(station_id)
        self._first_at = self._first_at or now

    def may_bind(self, site: SiteConfig, control: ControlSettings, now: Instant) -> bool:
        """Whether to open the port: a fresh setpoint is here and the other stations have had their tick, too.

        Opened at the first station's setpoint, the port would hand back every other station for up to a period.
        """
        if now.seconds_since(self._began) >= control.gate_bind_after_s:
            return True
        if self._first_at is None:
            return False
        owed = {station.station_id for station in site.stations if station.pumps}
        return owed <= self._heard or now.seconds_since(self._first_at) >= TICKS_AWAITED * control.period_s
