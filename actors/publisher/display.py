"""All that one endpoint shows, by path: handshake blocks, stops, failsafes and feedback; and what of it is new."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from actors.feedback import ECHO, SPEED
from actors.messages import PublishedPump
from actors.publisher.feedback_board import Board, Shown, held, shown_points
from actors.publisher.gate import PumpGate, StationGate, lease_left_s
from actors.publisher.image import PumpImage, block, image
from actors.publisher.judging import FeedbackJudge
from actors.publisher.stops import STOP_POINT, scope_of, shown_as_stopped
from actors.safety.latch import LatchSet
from actors.vocabulary import Instant, Quality, SiteConfig

FAILSAFE_POINT: Final = "failsafe"
NOT_FOLLOWING_POINT: Final = "not_following"


class Display:
    """Remembers what was shown last; `update` computes it anew and returns what changed. No I/O."""

    def __init__(self, site: SiteConfig, judge: FeedbackJudge) -> None:
        self._site = site
        self._judge = judge
        self._pictures: dict[str, dict[str, PumpImage]] = {
            station.station_id: {} for station in site.stations
        }
        self._failsafe: dict[str, bool] = {}
        self._lease_ends_ns: dict[str, tuple[int, ...]] = {}
        self._shown: dict[str, Shown] = {}
        self._paths: dict[tuple[str | None, str | None, str], str] = {}
        self.lease_end_ns: int | None = None

    def update(
        self,
        gates: Mapping[str, StationGate],
        latches: LatchSet,
        board: Board,
        *,
        whole: bool,
        now: Instant,
        only: str | None = None,
    ) -> tuple[dict[str, StationGate], dict[str, Shown]]:
        """Return the gates (they remember what they showed) and the values that differ from those shown before.

        `only` names the one station whose gate is new: a hundred stations that each decide once a second must not cost
        a hundred sites a second. `lease_end_ns` is then the next moment (our boot clock) at which a lease runs out.
        Feedback is computed for the stations that `board` names as changed.
        """
        changed: dict[str, Shown] = {}
        after = dict(gates)
        for station in self._site.stations:
            if only is not None and station.station_id != only:
                continue
            gate, ends = gates[station.station_id], []
            pumps = dict(gate.pumps)
            for pump in station.pumps:
                picture, pumps[pump.pump_id] = image(
                    gate.pumps[pump.pump_id],
                    latches,
                    pump,
                    site_id=self._site.site_id,
                    whole=whole,
                    epoch_floor=0 if gate.floor is None else gate.floor.counter,
                    now=now,
                )
                ends.append(pumps[pump.pump_id].lease_end_ns)
                self._note_picture(changed, station.station_id, pump.pump_id, picture, now)
            after[station.station_id] = StationGate(floor=gate.floor, pumps=pumps)
            self._lease_ends_ns[station.station_id] = tuple(ends)
            pictures = self._pictures[station.station_id].values()
            self._failsafe[station.station_id] = any(picture.failsafe for picture in pictures)
            self._note_states(changed, latches, station.station_id, pumps, now)
            if station.station_id in board.changed:
                judged = self._judge.judged(station, board, now=now)
                stale_s = self._judge.control.feedback_stale_s
                for pump_id, point, value in shown_points(
                    board, station.station_id, judged, now=now, stale_s=stale_s
                ):
                    self._note(changed, self._path(station.station_id, pump_id, point), value, stamped=True)
        self._note_states(changed, latches, None, (), now)
        self.lease_end_ns = min(
            (end for ends in self._lease_ends_ns.values() for end in ends if end > now.boot_ns), default=None
        )
        return after, changed

    def written(
        self, station_id: str, pump_ids: Collection[str | None], board: Board, *, now: Instant
    ) -> dict[str, Shown]:
        """Return what is new of a station's feedback for these pumps (None: its own points), and of nothing else.

        A controller writes and reads in turn, a hundred of them a hundred times a second: each costs its own pump.
        """
        changed: dict[str, Shown] = {}
        station = self._site.station(station_id)
        if station is not None:
            judged = self._judge.judged(station, board, now=now, only=pump_ids)
            stale_s = self._judge.control.feedback_stale_s
            for pump_id, point, value in shown_points(board, station_id, judged, now=now, stale_s=stale_s):
                self._note(changed, self._path(station_id, pump_id, point), value, stamped=True)
        return changed

    def pump(
        self, station_id: str, pump_id: str, gate: PumpGate, board: Board, *, now: Instant
    ) -> PublishedPump:
        """Return a pump as last shown, with what came back from its controller."""
        picture = self._pictures[station_id][pump_id]
        feedback = held(board, station_id, pump_id, now=now)
        echo, speed = getattr(feedback, ECHO), getattr(feedback, SPEED)
        return PublishedPump(
            pump_id=pump_id,
            setpoint_hz=picture.setpoint_hz,
            remote_enabled=picture.remote_enabled,
            run_inhibit=picture.run_inhibit,
            quality=picture.quality,
            reason=picture.reason,
            heartbeat=picture.heartbeat,
            sequence=picture.sequence,
            epoch_counter=picture.epoch_counter,
            release_id=picture.release_id,
            mode=picture.mode,
            accepted_at=gate.accepted_at,
            lease_left_s=lease_left_s(gate, now=now),
            lapses=gate.lapses_total,
            refused=gate.refused,
            echo_hz=None if echo is None else echo.value,
            measured_hz=None if speed is None else speed.value,
            echo_at=None if echo is None else echo.at,
            measured_at=None if speed is None else speed.at,
        )

    def _note_picture(
        self, changed: dict[str, Shown], station_id: str, pump_id: str, picture: PumpImage, now: Instant
    ) -> None:
        if self._pictures[station_id].get(pump_id) == picture:
            return
        self._pictures[station_id][pump_id] = picture
        for point, (value, quality) in block(picture).items():
            self._note(changed, self._path(station_id, pump_id, point), Shown(value, quality, now.utc_ns))
        judged = Quality.BAD if picture.not_following is None else Quality.GOOD
        following = Shown(picture.not_following is True, judged, now.utc_ns)
        self._note(changed, self._path(station_id, pump_id, NOT_FOLLOWING_POINT), following)

    def _note_states(
        self,
        changed: dict[str, Shown],
        latches: LatchSet,
        station_id: str | None,
        pump_ids: Iterable[str],
        now: Instant,
    ) -> None:
        """Show the stops of a station and its pumps, and whether any is in failsafe (`station_id` None: the site)."""
        failsafe = any(self._failsafe.values()) if station_id is None else self._failsafe[station_id]
        path = self._path(station_id, None, FAILSAFE_POINT)
        self._note(changed, path, Shown(failsafe, Quality.GOOD, now.utc_ns))
        for pump_id in (None, *pump_ids):
            stopped = shown_as_stopped(latches, *scope_of(self._site.site_id, station_id, pump_id))
            path = self._path(station_id, pump_id, STOP_POINT)
            self._note(changed, path, Shown(stopped, Quality.GOOD, now.utc_ns))

    def _note(self, changed: dict[str, Shown], path: str, value: Shown, *, stamped: bool = False) -> None:
        """Take a value that is new; unless `stamped`, its time is that of the change, not of this look."""
        before = self._shown.get(path)
        same = before is not None and (before.value, before.quality) == (value.value, value.quality)
        if same and (not stamped or before == value):
            return
        self._shown[path] = changed[path] = value

    def _path(self, station_id: str | None, pump_id: str | None, point: str) -> str:
        """Return `/site[/station[/pump]]/point`, as `protocols.points` names it (the law knows no protocol)."""
        path = self._paths.get((station_id, pump_id, point))
        if path is None:
            parts = (self._site.site_id, station_id, pump_id, point)
            path = "/" + "/".join(part for part in parts if part is not None)
            self._paths[station_id, pump_id, point] = path
        return path
