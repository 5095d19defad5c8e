"""Holds every invariant against everything that is seen, and keeps what it found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from actors.messages import Setpoint
from actors.safety.latch import EMERGENCY_STOP, LatchSet, covers
from actors.vocabulary import ControlSettings, Reason, SiteConfig
from ops.demo.machine import Station
from ops.demo.plc import PumpPanel
from tests.simulation.invariants import (
    AT_EACH_CHANGE,
    AT_EACH_SCAN,
    FORCED,
    REMEMBERED_S,
    STOP_ON_WIRE_S,
    Decided,
    Knowledge,
    Motor,
    Shown,
    Value,
    a_dead_chain_lets_go,
    a_stop_is_on_every_wire,
    begins_anew,
    minimum_hz,
    no_start_too_often_or_too_soon,
)
from tests.simulation.wires import Image


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that did not hold, when (virtual s) and how."""

    at_s: float
    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.at_s:9.3f} s  {self.invariant}: {self.text}"


class Inspector:
    """Holds every invariant against everything that is seen; keeps what it found."""

    def __init__(
        self,
        config: SiteConfig,
        control: ControlSettings,
        *,
        now_s: Callable[[], float],
        tail: Callable[[], Sequence[str]],
    ) -> None:
        self.findings: list[Finding] = []
        self.before_the_first: tuple[str, ...] = ()
        self._now_s = now_s
        self._tail = tail
        self._site = Knowledge(config=config, control=control)

    def tick(self, pump_id: str) -> None:
        """A pump's actor ticks."""
        self._site.ticks.setdefault(pump_id, []).append(self._now_s())

    def round(self, station_id: str) -> None:
        """A station's safety holds a round."""
        self._site.rounds[station_id] = self._now_s()

    def shown(self, protocol: str, pump_id: str) -> Image | None:
        """Return what an endpoint showed last."""
        seen = self._site.shown.get((protocol, pump_id))
        return None if seen is None else seen.image

    def decide(self, setpoint: Setpoint, *, follows: bool) -> None:
        """A station's safety gives a decision its sequence; `follows`: the value is the pump's, not a step."""
        site, now_s = self._site, self._now_s()
        if follows or not setpoint.remote_enabled or setpoint.reason in FORCED:
            site.anew_s[setpoint.pump_id] = now_s
        self._judge_start(setpoint, follows=follows)
        anew_s = site.anew_s.get(setpoint.pump_id, -math.inf)
        key = (setpoint.pump_id, setpoint.epoch.counter, setpoint.sequence & 0xFFFF)
        site.decided[key] = Decided(hz=setpoint.setpoint_hz, at_s=now_s, anew_s=anew_s)

    def _judge_start(self, setpoint: Setpoint, *, follows: bool) -> None:
        """Hold what safety orders of a motor against what it ordered before; one that was replaced orders nothing."""
        site, motor = self._site, self._site.motors.setdefault(setpoint.pump_id, Motor())
        site.now_s = self._now_s()
        if setpoint.epoch.counter < motor.epoch:
            return
        limits = next(
            pump.limits
            for station in site.config.stations
            for pump in station.pumps
            if pump.pump_id == setpoint.pump_id
        )
        ours = setpoint.remote_enabled and not follows
        # What a new incarnation finds running it has not started.
        if ours and setpoint.epoch.counter == motor.epoch and limits is not None:
            self.note(
                no_start_too_often_or_too_soon.__name__,
                no_start_too_often_or_too_soon(site, setpoint, limits, motor),
            )
            if motor.hz == 0.0 < setpoint.setpoint_hz:
                motor.starts_s.append(site.now_s)
        motor.epoch = setpoint.epoch.counter
        motor.hz = setpoint.setpoint_hz if ours else None
        if ours and setpoint.setpoint_hz > 0.0:
            motor.turned_s = site.now_s

    def latched(self, stops: LatchSet) -> None:
        """The folder takes these, set or cleared."""
        site = self._site.config
        for station in site.stations:
            for pump in station.pumps:
                where = (site.site_id, station.station_id, pump.pump_id)
                if any(covers(stop, *where) for stop in stops.records):
                    self._site.covered_at_s[pump.pump_id] = self._now_s()

    def beat_age_s(self, protocol: str, pump_id: str) -> float:
        """Return how long ago the heartbeat moved."""
        seen = self._site.shown.get((protocol, pump_id))
        return math.inf if seen is None or seen.beat_at_s is None else self._now_s() - seen.beat_at_s

    def see(self, image: Image) -> None:
        """An endpoint shows something else."""
        site = self._site
        site.now_s = self._now_s()
        before = site.shown.setdefault((image.protocol, image.pump_id), Shown())
        for check in AT_EACH_CHANGE:
            self.note(check.__name__, check(site, before, image), image)
        _remember(site, before, image)

    def look(self, protocol: str, *, gate: int | None, latches: LatchSet) -> None:
        """Somebody reads (`gate` None: nobody answers) and asks what time should have done."""
        site = self._site
        site.now_s = self._now_s()
        awake = site.awake_since_s.get(protocol)
        if gate is None:
            site.awake_since_s[protocol] = None
        elif awake is None or awake[0] != gate:
            site.awake_since_s[protocol] = (gate, site.now_s)
        for stop in latches.active():
            site.stop_since_s.setdefault(stop.record_id, site.now_s)
        for (shown_by, _), seen in site.shown.items():
            if gate is None or shown_by != protocol or seen.image is None or seen.image.gate != gate:
                continue
            text = a_dead_chain_lets_go(site, seen, seen.image)
            self.note(a_dead_chain_lets_go.__name__, text, seen.image)
            text = a_stop_is_on_every_wire(site, seen, seen.image, latches)
            self.note(a_stop_is_on_every_wire.__name__, text, seen.image)

    def scan(self, station: Station, latches: LatchSet, panels: Mapping[str, PumpPanel]) -> None:
        """A controller has scanned."""
        site = self._site
        site.now_s = self._now_s()
        for index, pump in enumerate(station.station.pumps):
            where = (site.config.site_id, station.station.station_id, pump.pump_id)
            stopped = any(
                site.now_s - site.stop_since_s.get(stop.record_id, site.now_s) > STOP_ON_WIRE_S
                for stop in latches.covering(*where, kind=EMERGENCY_STOP)
            )
            by_hand = panels.get(pump.pump_id, PumpPanel()).hand_hz is not None
            for check in AT_EACH_SCAN:
                text = check(site, station, index, stopped=stopped, by_hand=by_hand)
                self.note(check.__name__, text)
            inhibited = station.memory.pumps[index].retained.inhibited
            since_s = site.inhibited_since_s.get(pump.pump_id)
            restarts = since_s is None or by_hand
            site.inhibited_since_s[pump.pump_id] = (
                (site.now_s if restarts else since_s) if inhibited else None
            )
            site.speed_hz[pump.pump_id] = station.truth.pumps[index].speed_hz

    def note(self, invariant: str, text: str, image: Image | None = None) -> None:
        """Keep what is wrong (`text` '': nothing is)."""
        if not text:
            return
        if not self.findings:
            self.before_the_first = tuple(self._tail())
        shown = text if image is None else f"{text}  [{image}]"
        self.findings.append(Finding(at_s=self._now_s(), invariant=invariant, text=shown))


def _remember(site: Knowledge, seen: Shown, image: Image) -> None:
    last = seen.image
    if last is None or last.gate != image.gate:
        # A gate that takes over cannot know what the former one held, nor since when the chain beats.
        seen.opened_at_s, seen.beats = image.at_s, image.block.heartbeat
        seen.beat_at_s = image.at_s if image.block.heartbeat else None
    elif last.block.heartbeat != image.block.heartbeat:
        seen.beats += 1
        seen.beat_at_s = image.at_s
    if not image.enabled or begins_anew(site, last, image):
        seen.ours.clear()
    if image.enabled:
        decision = site.decision(image)
        hz = max(image.hz, minimum_hz(site, image))
        seen.ours.append(Value(hz, image.at_s, decision.at_s, by_gate=decision.hz != image.hz))
        while image.at_s - seen.ours[0].shown_s > REMEMBERED_S:
            seen.ours.popleft()
    if image.block.run_inhibit:
        seen.held_at_hz = image.hz
    elif not image.enabled or image.hz > 0.0 or Reason(image.block.reason) is Reason.PROTECTION_TIMER:
        # Handed back it is the local controller's; running again, the rate is the rule; and where the motor has to
        # rest first, what follows is a start like any other.
        seen.held_at_hz = None
    seen.image = image
    key = (image.protocol, image.station_id)
    site.newest_epoch[key] = max(site.newest_epoch.get(key, 0), image.block.epoch)
