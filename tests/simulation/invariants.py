"""What must hold at every moment of every story, each once: in words (its docstring) and in code.

A check sees what clients, controllers and the plant can see, and two things that a test may know besides: when a
pump's actor ticked and when a safety actor held a round. It returns what is wrong, '' when nothing is.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from actors.messages import Setpoint
from actors.safety.latch import LatchSet
from actors.vocabulary import ControlSettings, PumpConfig, Quality, Reason, SafetyLimits, SiteConfig
from ops.demo.machine import Station
from tests.simulation.wires import Image

RESOLUTION_HZ: Final = 0.01 + 1e-9
# What the network may add to a message's way, so that two values decided 1 s apart are shown closer together.
JITTER_S: Final = 0.25
# How old a measured speed may be that a new safety goes on from.
REPORTED_S: Final = 2.0
# How far back a value is held against those before it.
REMEMBERED_S: Final = 5.0
# EST-1: on the wire of every living endpoint within a second.
STOP_ON_WIRE_S: Final = 1.0
# The drive's own ramp from its maximum to a standstill (50 Hz at 5 Hz/s), and the controller's scan.
RUN_DOWN_S: Final = 12.0
# A gate takes setpoints for up to 3 s before it binds its port.
BEFORE_BOUND_S: Final = 4.0
FORCED: Final = frozenset({Reason.EMERGENCY_STOP, Reason.OUT_OF_SERVICE, Reason.DRY_RUN})


@dataclass(frozen=True, slots=True)
class Value:
    """A value, when it was shown and when it was decided (0 counts as the minimum: that step is free).

    `by_gate`: it is not what was decided, but what the gate held or ramped itself after a clear.
    """

    hz: float
    shown_s: float
    decided_s: float
    by_gate: bool


@dataclass(frozen=True, slots=True)
class Decided:
    """What safety decided, when, and when it last decided something that is no step from the value before: nothing
    claimed, forced down, or (after a lapse) following the pump until the gates trust the chain again.
    """

    hz: float = 0.0
    at_s: float = -math.inf
    anew_s: float = -math.inf


@dataclass(slots=True)
class Shown:
    """One pump at one endpoint: the image before, and what its history left to be remembered (times in s).

    `ours`: its values of the last seconds since it became ours or was forced down; `beats`: how often the heartbeat
    moved on this gate; `held_at_hz`: what the pump was stopped at, None once it was let go or handed back.
    """

    image: Image | None = None
    ours: deque[Value] = field(default_factory=deque)
    opened_at_s: float = 0.0
    beat_at_s: float | None = None
    beats: int = 0
    held_at_hz: float | None = None


@dataclass(slots=True)
class Motor:
    """What safety ordered of one motor: its last value (0: nothing), its starts, and when it was last to turn."""

    epoch: int = 0
    hz: float | None = None
    starts_s: list[float] = field(default_factory=list)
    turned_s: float = -math.inf


@dataclass(slots=True)
class Knowledge:
    """What the checks know of the whole site."""

    config: SiteConfig
    control: ControlSettings
    now_s: float = 0.0
    shown: dict[tuple[str, str], Shown] = field(default_factory=dict)
    newest_epoch: dict[tuple[str, str], int] = field(default_factory=dict)
    ticks: dict[str, list[float]] = field(default_factory=dict)
    rounds: dict[str, float] = field(default_factory=dict)
    decided: dict[tuple[str, int, int], Decided] = field(default_factory=dict)
    motors: dict[str, Motor] = field(default_factory=dict)
    anew_s: dict[str, float] = field(default_factory=dict)
    awake_since_s: dict[str, tuple[int, float] | None] = field(default_factory=dict)
    stop_since_s: dict[str, float] = field(default_factory=dict)
    covered_at_s: dict[str, float] = field(default_factory=dict)
    inhibited_since_s: dict[str, float | None] = field(default_factory=dict)
    speed_hz: dict[str, float] = field(default_factory=dict)

    def decision(self, image: Image) -> Decided:
        """Return the decision that is shown."""
        return self.decided.get((image.pump_id, *order(image)), Decided())

    def pump(self, image: Image) -> PumpConfig:
        """Return the configuration of the pump that is shown."""
        station = self.config.station(image.station_id)
        pump = None if station is None else station.pump(image.pump_id)
        assert pump is not None, "only configured pumps are shown"
        return pump


# --------------------------------------------------------------------------- at every change of what is shown


def inside_the_band(site: Knowledge, before: Shown, image: Image) -> str:
    """SAF-2.9, SAF-8: the shown setpoint is 0 or within the pump's own approved band, and a number."""
    limits = site.pump(image).limits
    if not math.isfinite(image.hz):
        return "no number"
    if limits is None:
        return "driven without limits" if image.hz != 0.0 else ""
    inside = image.hz == 0.0 or limits.hard_min_speed_hz <= image.hz <= limits.hard_max_speed_hz
    return "" if inside else f"{image.hz:g} Hz is outside the band"


def untorn(site: Knowledge, before: Shown, image: Image) -> str:
    """WDG-4: the block is shown whole: sequence and sequence_end agree."""
    return "" if image.block.sequence == image.block.sequence_end else "torn"


def no_step_beyond_the_rate(site: Knowledge, before: Shown, image: Image) -> str:
    """CTL-3, SAF-2.10: while the pump stays ours its value moves by the rate but for 0 ↔ minimum and forced stops.

    Held against every value of the last seconds, those of a predecessor's gate too. The time between two values is
    that between their showing or that between their deciding: what arrives late is shown closer to what follows. A
    gate's own ramp after a clear is a line, the chain's a stair: from one to the other is a tick more.
    """
    limits, low = site.pump(image).limits, minimum_hz(site, image)
    if limits is None or not image.enabled or begins_anew(site, before.image, image):
        return ""
    decided_s = site.decision(image).at_s
    slack_s = JITTER_S + (site.control.period_s if any(then.by_gate for then in before.ours) else 0.0)
    for then in before.ours:
        elapsed_s = max(image.at_s - then.shown_s, decided_s - then.decided_s)
        step_hz = abs(max(image.hz, low) - then.hz)
        if step_hz > limits.max_rate_hz_per_s * (elapsed_s + slack_s) + RESOLUTION_HZ:
            return f"from {then.hz:g} to {image.hz:g} Hz in {elapsed_s:.3f} s"
    return ""


def stopped_means_stopped(site: Knowledge, before: Shown, image: Image) -> str:
    """EST-2, EST-6: under an emergency stop that the endpoint shows: run_inhibit, and 0 (or the emergency
    setpoint for a pump that ran), never a start.
    """
    if not image.stopped:
        return ""
    if not image.block.run_inhibit:
        return "stopped without run_inhibit"
    most_hz = max(0.0, site.pump(image).emergency_stop_setpoint_hz)
    last = before.image
    if last is not None and last.gate == image.gate:
        most_hz = min(most_hz, last.hz) if last.enabled else 0.0
    if image.enabled and image.hz > most_hz:
        return f"{image.hz:g} Hz under an emergency stop, at most {most_hz:g} Hz"
    if not image.enabled and image.hz != 0.0:
        return f"{image.hz:g} Hz shown under an emergency stop though nothing is claimed"
    return ""


def ramps_after_a_clear(site: Knowledge, before: Shown, image: Image) -> str:
    """EST-2: clearing never starts a pump at once: from 0 to the minimum, then by the ramp.

    A successor of gate or safety may find the pump running and goes on from the speed that it has.
    """
    limits, held_hz, last = site.pump(image).limits, before.held_at_hz, before.image
    if limits is None or held_hz is None or image.block.run_inhibit or not image.enabled or last is None:
        return ""
    new = last.gate != image.gate or last.block.epoch != image.block.epoch
    if new and _as_measured(site, image):
        return ""
    # What was lost on the way is made up for by the time since the last that was not.
    most_hz = max(limits.hard_min_speed_hz, held_hz) + RESOLUTION_HZ
    # The chain's ramp begins at its last decision, which may be older than the clear, but by no more than a tick.
    decided_s = min(site.decision(image).at_s - site.decision(last).at_s, site.control.period_s)
    most_hz += limits.max_rate_hz_per_s * max(image.at_s - last.at_s, decided_s)
    return "" if image.hz <= most_hz else f"{image.hz:g} Hz right after a clear"


def a_beat_needs_a_tick(site: Knowledge, before: Shown, image: Image) -> str:
    """WDG-4: the heartbeat moves only with a newer sequence, at most once for each tick of the pump's actor, and
    only when both that tick and a round of safety lie within the lease.
    """
    last = before.image
    if last is None or last.gate != image.gate or last.block.heartbeat == image.block.heartbeat:
        return ""
    if order(image) <= order(last):
        return "the heartbeat moved without a newer sequence"
    lease_s, ticks = site.control.setpoint_lease_s, site.ticks.get(image.pump_id, [])
    if not ticks or image.at_s - ticks[-1] > lease_s:
        return "the heartbeat moved though the pump's actor was silent for the whole lease"
    if image.at_s - site.rounds.get(image.station_id, -math.inf) > lease_s:
        return "the heartbeat moved though safety decided nothing for the whole lease"
    since_s = before.opened_at_s - lease_s - BEFORE_BOUND_S
    possible = len(ticks) - bisect.bisect_left(ticks, since_s)
    return "" if before.beats < possible else f"beat {before.beats + 1} of {possible} ticks"


def bad_unless_enabled(site: Knowledge, before: Shown, image: Image) -> str:
    """SAF-9: what is not claimed has quality BAD, what is claimed has not."""
    bad = image.block.setpoint_quality == Quality.BAD.value
    return "" if bad != image.enabled else f"quality {image.block.setpoint_quality}, enabled {image.enabled}"


def no_older_epoch(site: Knowledge, before: Shown, image: Image) -> str:
    """SAF-11: once a newer epoch was shown for a station, nothing of an older one is taken for any of its pumps."""
    newest = site.newest_epoch.get((image.protocol, image.station_id), 0)
    last = before.image
    new = last is None or order(last) != order(image)
    return f"epoch {image.block.epoch} after {newest}" if new and image.block.epoch < newest else ""


def never_backwards(site: Knowledge, before: Shown, image: Image) -> str:
    """SAF-11: (epoch, sequence) never decreases on a gate, and the epoch never on a wire."""
    last = before.image
    if last is None:
        return ""
    if image.block.epoch < last.block.epoch:
        return f"epoch {image.block.epoch} after {last.block.epoch}"
    if last.gate == image.gate and order(image) < order(last):
        return f"{order(image)} after {order(last)}"
    return ""


AT_EACH_CHANGE: Final = (
    inside_the_band,
    untorn,
    no_step_beyond_the_rate,
    stopped_means_stopped,
    ramps_after_a_clear,
    a_beat_needs_a_tick,
    bad_unless_enabled,
    no_older_epoch,
    never_backwards,
)

# --------------------------------------------------------------------------- at every decision of safety


def no_start_too_often_or_too_soon(
    site: Knowledge, setpoint: Setpoint, limits: SafetyLimits, motor: Motor
) -> str:
    """SAF-2.6, SAF-7: whoever was killed in between, no pump is ordered to start more often within an hour than its
    limit, nor sooner after it was last to turn than its rest; but at high level, where no start is refused.
    """
    if motor.hz != 0.0 or setpoint.setpoint_hz <= 0.0 or setpoint.reason is Reason.HIGH_LEVEL:
        return ""
    recent = [at_s for at_s in motor.starts_s if site.now_s - at_s < 3600.0]
    if limits.max_starts_per_hour is not None and len(recent) >= limits.max_starts_per_hour:
        return f"{setpoint.pump_id}: start {len(recent) + 1} of {limits.max_starts_per_hour} within an hour"
    rested_s = site.now_s - motor.turned_s
    if limits.min_rest_s is not None and rested_s < limits.min_rest_s:
        return f"{setpoint.pump_id}: started after {rested_s:.1f} s of rest"
    return ""


# --------------------------------------------------------------------------- as time passes


def a_dead_chain_lets_go(site: Knowledge, before: Shown, image: Image) -> str:
    """SAF-9: without a newly accepted setpoint nothing is claimed once the lease is over."""
    if not image.enabled or before.beat_at_s is None:
        return ""
    silent_s = site.now_s - before.beat_at_s
    return f"enabled {silent_s:.3f} s after the last beat" if silent_s > site.control.setpoint_lease_s else ""


def a_stop_is_on_every_wire(site: Knowledge, before: Shown, image: Image, latches: LatchSet) -> str:
    """EST-1, EST-3: a stop that is in the latch folder is on the wire of every living endpoint within a second."""
    awake = site.awake_since_s.get(image.protocol)
    if awake is None or site.now_s - awake[1] < STOP_ON_WIRE_S or image.block.run_inhibit:
        return ""
    where = (site.config.site_id, image.station_id, image.pump_id)
    late = [
        stop.record_id
        for stop in latches.covering(*where)
        if site.now_s - site.stop_since_s.get(stop.record_id, site.now_s) > STOP_ON_WIRE_S
    ]
    return f"{late} not shown" if late else ""


# --------------------------------------------------------------------------- at each scan of a controller


def no_run_under_a_stop(
    site: Knowledge, station: Station, index: int, *, stopped: bool, by_hand: bool
) -> str:
    """EST-6: no pump runs while its controller holds an emergency stop, but to run down, by hand at the panel, or at
    its emergency setpoint; and none starts.
    """
    pump = station.station.pumps[index]
    since_s = site.inhibited_since_s.get(pump.pump_id)
    speed_hz = station.truth.pumps[index].speed_hz
    config = _config(site.config, station.station.station_id, pump.pump_id)
    if since_s is None or not stopped or by_hand or speed_hz <= 0.0:
        return ""
    if site.speed_hz.get(pump.pump_id, speed_hz) <= 0.0:
        return f"{pump.pump_id} started under an emergency stop"
    if site.now_s - since_s > RUN_DOWN_S and config.emergency_stop_setpoint_hz <= 0.0:
        return f"{pump.pump_id} runs at {speed_hz:g} Hz, stopped for {site.now_s - since_s:.1f} s"
    return ""


def a_stop_is_retained(site: Knowledge, station: Station, index: int, *, stopped: bool, by_hand: bool) -> str:
    """EST-6: a controller lets go of a stop only when it was cleared: losing Calejo never turns a stop into a start."""
    pump = station.station.pumps[index]
    held = site.inhibited_since_s.get(pump.pump_id) is not None
    let_go = held and not station.memory.pumps[index].retained.inhibited
    return f"{pump.pump_id}: the controller let go of a stop that holds" if let_go and stopped else ""


def no_old_epoch_at_the_controller(
    site: Knowledge, station: Station, index: int, *, stopped: bool, by_hand: bool
) -> str:
    """SAF-11: no controller ever had to refuse an older epoch, nor a torn block."""
    memory = station.memory.pumps[index]
    return f"{memory.old_epochs} old epochs, {memory.torn} torn" if memory.old_epochs or memory.torn else ""


AT_EACH_SCAN: Final = (no_run_under_a_stop, a_stop_is_retained, no_old_epoch_at_the_controller)


# --------------------------------------------------------------------------- what the checks share


def begins_anew(site: Knowledge, last: Image | None, image: Image) -> bool:
    """Whether a value has nothing to do with those before it.

    It was forced down by one of rules 1 to 3, or by a stop that was set and cleared while nobody answered here; or what
    safety decided in between was no step; a new incarnation of safety goes on from the measured speed (SAF-10); or a
    gate ended in the middle of its own ramp after a clear, which its successor cannot know of.
    """
    if last is None:
        return True
    missed = last.gate != image.gate and site.covered_at_s.get(image.pump_id, -math.inf) > last.at_s
    forced = image.hz < last.hz and (missed or Reason(image.block.reason) in FORCED)
    anew = site.decision(image).anew_s > site.decision(last).at_s
    seeded = last.block.epoch != image.block.epoch and _as_measured(site, image)
    ramped_alone = last.gate != image.gate and last.hz != site.decision(last).hz
    return forced or anew or seeded or ramped_alone


def _as_measured(site: Knowledge, image: Image) -> bool:
    """Whether the value is the pump's own speed, as old as two reports may be."""
    limits, low = site.pump(image).limits, minimum_hz(site, image)
    measured_hz = max(site.speed_hz.get(image.pump_id, 0.0), low)
    return (
        limits is not None and abs(max(image.hz, low) - measured_hz) <= limits.max_rate_hz_per_s * REPORTED_S
    )


def minimum_hz(site: Knowledge, image: Image) -> float:
    limits = site.pump(image).limits
    return 0.0 if limits is None else limits.hard_min_speed_hz


def order(image: Image) -> tuple[int, int]:
    """Return (epoch, sequence): no story is long enough for 16 bits to wrap."""
    return (image.block.epoch, image.block.sequence)


def _config(site: SiteConfig, station_id: str, pump_id: str) -> PumpConfig:
    station = site.station(station_id)
    pump = None if station is None else station.pump(pump_id)
    assert pump is not None, "controllers of configured pumps only"
    return pump
