"""Judges what an endpoint shows of its controllers by the rules that control itself uses (CTL-4, OPC-1).

One judgement for all: what safety would not use (out of range, frozen, a heartbeat that stands still, stale) is not
GOOD on a wire either, whichever wire it is. The controller's own number stays where it is; the quality tells.
"""

from __future__ import annotations

from collections.abc import Collection

from actors.feedback import FeedbackMemory, judge, pumping_since_of
from actors.publisher.feedback_board import Board, Judged, held
from actors.vocabulary import ControlSettings, Instant, SiteConfig, StationConfig


class FeedbackJudge:
    """Remembers of each pump since when its points show what they show. A restarted endpoint begins anew."""

    def __init__(self, control: ControlSettings) -> None:
        self.control = control
        self._memories: dict[str, dict[str, FeedbackMemory]] = {}

    def configure(self, site: SiteConfig) -> None:
        """Forget the pumps that are gone; of the others nothing: a new limit makes no frozen value move."""
        kept: dict[str, dict[str, FeedbackMemory]] = {}
        for station in site.stations:
            known = self._memories.get(station.station_id, {})
            kept[station.station_id] = {
                pump.pump_id: known[pump.pump_id] for pump in station.pumps if pump.pump_id in known
            }
        self._memories = kept

    def judged(
        self,
        station: StationConfig,
        board: Board,
        *,
        now: Instant,
        only: Collection[str | None] | None = None,
    ) -> dict[str, Judged]:
        """Judge every point of a station's pumps, or of `only` some, by pump."""
        memories = self._memories.setdefault(station.station_id, {})
        # What the board holds was written to this endpoint or heard by it since its start: all of it counts.
        since = Instant(now.boot_id, 0, 0)
        found: dict[str, Judged] = {}
        for pump in station.pumps:
            if only is not None and pump.pump_id not in only:
                continue
            feedback = held(board, station.station_id, pump.pump_id, now=now)
            verdicts, memories[pump.pump_id] = judge(
                feedback,
                memories.get(pump.pump_id, FeedbackMemory()),
                now=now,
                since=since,
                control=self.control,
                pump=pump,
                pumping_since=pumping_since_of(memories.values()),
            )
            found[pump.pump_id] = Judged(feedback, verdicts)
        return found
