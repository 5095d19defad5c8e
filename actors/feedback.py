"""Judges what controllers write: quality, age and the reason why a value may not be used (CTL-4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from actors.messages import JudgedValue, PumpFeedback, Sample
from actors.safety.limits import is_finite_number
from actors.vocabulary import ControlSettings, Instant, PumpConfig, Quality

SPEED: Final = "actual_speed_hz"
POWER: Final = "actual_power_kw"
FLOW: Final = "actual_flow_m3h"
LEVEL: Final = "wet_well_level_m"
RUNNING: Final = "running"
LOCAL_OVERRIDE: Final = "local_override"
HIGH_FLOAT: Final = "high_float"
FAULT: Final = "fault_code"
PLC_HEARTBEAT: Final = "plc_heartbeat"
ECHO: Final = "setpoint_echo_hz"

POINTS: Final = (
    SPEED,
    POWER,
    FLOW,
    LEVEL,
    RUNNING,
    LOCAL_OVERRIDE,
    HIGH_FLOAT,
    FAULT,
    PLC_HEARTBEAT,
    ECHO,
)
"""Every point of `PumpFeedback`, by field name: the keys of what `judge` returns."""

NEVER_WRITTEN: Final = "never written since our start"

BOOLEANS: Final = frozenset({RUNNING, LOCAL_OVERRIDE, HIGH_FLOAT})
"""Points whose number means yes (1) or no (0)."""
_COUNTERS: Final = frozenset({FAULT, PLC_HEARTBEAT})
_UINT16_MAX: Final = 65535.0
# No drive of a wastewater pump turns faster; a register full of ones (655.35 Hz) is no speed.
_SPEED_HZ_MAX: Final = 120.0
# A clock of this machine cannot be ahead of itself; more than scheduling jitter is a fault.
FUTURE_TOLERANCE_S: Final = 1.0
# The drive's speed equals its setpoint to the last bit for hours: it is stuck only if the setpoint moved
# meanwhile.
_ECHO_MOVED_HZ: Final = 0.5
# Without limits any elevation on land passes; the all-ones pattern of an int32 in mm (2147 km) does not.
_LEVEL_M_ANY: Final = (-500.0, 9000.0)
_LEVEL_MARGIN_BELOW_M: Final = 1.0
_LEVEL_MARGIN_ABOVE_M: Final = 10.0


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The value a point holds and the moment of the first sample that showed it."""

    value: float
    since: Instant


class FeedbackMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What judging must remember of one pump: since when each point shows its value, and how the echo moved.

    `echo_hz_min` and `echo_hz_max` span the setpoint echo since the measured speed last changed.
    """

    held: dict[str, Held] = msgspec.field(default_factory=dict)
    echo_hz_min: float | None = None
    echo_hz_max: float | None = None


def judge(
    feedback: PumpFeedback,
    memory: FeedbackMemory,
    *,
    now: Instant,
    since: Instant,
    control: ControlSettings,
    pump: PumpConfig,
    pumping_since: Instant | None = None,
) -> tuple[dict[str, JudgedValue], FeedbackMemory]:
    """Judge every point of `feedback` at `now`; return them by field name (all of `POINTS`), and the new
    memory.

    `since` is our own start: what was written before it counts as never written. `pumping_since` is since
    when any pump of the station runs (`pumping_since_of`), which decides whether an unmoving level is
    frozen or calm; without it the pump's own running does. A value that is not GOOD keeps its number where
    it has one, so that it can be shown; control must look at the quality. Total: no number in a sample
    makes it raise.
    """
    samples = {point: _written(getattr(feedback, point), now=now, since=since) for point in POINTS}
    memory = _remember(samples, memory)
    judged: dict[str, JudgedValue] = {}
    for point, sample in samples.items():
        if sample is None:
            judged[point] = JudgedValue(value=None, quality=Quality.BAD, age_s=None, why=NEVER_WRITTEN)
            continue
        age_s = now.seconds_since(sample.at)
        why = _fault_of(point, sample.value, age_s=age_s, control=control, pump=pump)
        judged[point] = _verdict(sample, age_s, why)
    own_since = running_since(memory) if judged[RUNNING].quality is Quality.GOOD else None
    for point in (SPEED, POWER, FLOW, LEVEL, PLC_HEARTBEAT):
        value, sample = judged[point], samples[point]
        if value.quality is not Quality.GOOD or sample is None or value.age_s is None:
            continue
        moving_since = pumping_since or own_since if point == LEVEL else own_since
        why = _unmoved(point, memory, now=now, moving_since=moving_since, control=control)
        if why:
            judged[point] = _verdict(sample, value.age_s, why)
    return judged, memory


def running_since(memory: FeedbackMemory) -> Instant | None:
    """Since when this pump reports that it runs; None: it does not, or never said."""
    held = memory.held.get(RUNNING)
    return held.since if held is not None and held.value == 1.0 else None


def pumping_since_of(memories: Iterable[FeedbackMemory]) -> Instant | None:
    """Since when some pump of a station runs without interruption, by the longest-running one; None: none
    runs.
    """
    moments = [moment for moment in map(running_since, memories) if moment is not None]
    return min(moments, key=lambda moment: moment.boot_ns, default=None)


def good_value(judged: Mapping[str, JudgedValue], point: str) -> float | None:
    """Return the value of `point` when it is GOOD, else None: the only way control should read feedback."""
    value = judged.get(point)
    return value.value if value is not None and value.quality is Quality.GOOD else None


def arrived(judged: Mapping[str, JudgedValue], point: str) -> bool:
    """Whether `point` was written since our start, good or not (SAF-10)."""
    value = judged.get(point)
    return value is not None and value.age_s is not None


def newest(old: PumpFeedback | None, new: PumpFeedback, *, now: Instant) -> PumpFeedback:
    """Merge two views of one pump: of every point the sample written last.

    Samples from the future of `now` are not taken (they would hide every later one); of two boots the one of
    `now` wins.
    """
    merged: dict[str, Sample | None] = {}
    for point in POINTS:
        was: Sample | None = getattr(old, point) if old is not None else None
        comes: Sample | None = getattr(new, point)
        if comes is not None and _from_the_future(comes, now):
            comes = None
        merged[point] = _later(was, comes, now=now)
    return PumpFeedback(pump_id=new.pump_id, **merged)


def level_range_m(pump: PumpConfig) -> tuple[float, float]:
    """Return the levels (m above datum) that can be true, from the configured level limits.

    Below the lowest lower limit (dry run, minimum) by the span of the limits, at least 1 m: a broken 4-20 mA
    loop reads a quarter of its span below zero. Above the highest upper limit by the span, at least 10 m. A
    side without a limit is as wide as land is high.
    """
    if pump.limits is None:
        return _LEVEL_M_ANY
    lower = _known(pump.limits.level_dry_run_m, pump.limits.level_min_m)
    upper = _known(pump.limits.level_max_m, pump.limits.level_emergency_high_m)
    span_m = max(upper) - min(lower) if lower and upper else 0.0
    return (
        min(lower) - max(_LEVEL_MARGIN_BELOW_M, span_m) if lower else _LEVEL_M_ANY[0],
        max(upper) + max(_LEVEL_MARGIN_ABOVE_M, span_m) if upper else _LEVEL_M_ANY[1],
    )


def _known(*levels_m: float | None) -> list[float]:
    return [level_m for level_m in levels_m if level_m is not None and is_finite_number(level_m)]


def _written(sample: Sample | None, *, now: Instant, since: Instant) -> Sample | None:
    """Return the sample if it counts as written since our start; another boot's clock says nothing about
    that.
    """
    if sample is None or sample.at.boot_id != now.boot_id or sample.at.boot_id != since.boot_id:
        return None
    return sample if sample.at.boot_ns > since.boot_ns else None


def _from_the_future(sample: Sample, now: Instant) -> bool:
    return sample.at.boot_id == now.boot_id and -now.seconds_since(sample.at) > FUTURE_TOLERANCE_S


def _later(was: Sample | None, comes: Sample | None, *, now: Instant) -> Sample | None:
    if was is None or comes is None:
        return comes if was is None else was
    if was.at.boot_id != comes.at.boot_id:
        return comes if comes.at.boot_id == now.boot_id else was
    return comes if comes.at.boot_ns >= was.at.boot_ns else was


def _remember(samples: Mapping[str, Sample | None], memory: FeedbackMemory) -> FeedbackMemory:
    held = dict(memory.held)
    speed_moved = False
    for point, sample in samples.items():
        if sample is None:
            continue
        known = held.get(point)
        # NaN differs from itself, so it is never held for long; it is refused as non-finite anyway.
        if known is None or known.value != sample.value:
            held[point] = Held(value=sample.value, since=sample.at)
            speed_moved = speed_moved or point == SPEED
    echo = samples[ECHO]
    if echo is None or not is_finite_number(echo.value):
        return msgspec.structs.replace(memory, held=held)
    if speed_moved or memory.echo_hz_min is None or memory.echo_hz_max is None:
        return FeedbackMemory(held=held, echo_hz_min=echo.value, echo_hz_max=echo.value)
    return FeedbackMemory(
        held=held,
        echo_hz_min=min(memory.echo_hz_min, echo.value),
        echo_hz_max=max(memory.echo_hz_max, echo.value),
    )


def _fault_of(point: str, value: float, *, age_s: float, control: ControlSettings, pump: PumpConfig) -> str:
    """Why the value cannot be used as it stands; empty: nothing is wrong with it."""
    if not is_finite_number(value):
        return "not a finite number"
    if age_s < -FUTURE_TOLERANCE_S:
        return f"written {-age_s:.1f} s in the future"
    stale_s = control.plc_heartbeat_s if point == PLC_HEARTBEAT else control.feedback_stale_s
    if age_s > stale_s:
        return f"stale: {age_s:.1f} s old, at most {stale_s:g} s"
    if point in BOOLEANS:
        return "" if value in (0.0, 1.0) else f"{value:g} is neither 0 nor 1"
    low, high = _range_of(point, pump)
    if not low <= value <= high:
        return f"{value:g} is outside {low:g} to {high:g}"
    if point in _COUNTERS and value != math.floor(value):
        return f"{value:g} is not a whole number"
    return ""


def _range_of(point: str, pump: PumpConfig) -> tuple[float, float]:
    """Physical range of a point in its own unit; rated values give the scale of power and flow."""
    if point in _COUNTERS:
        return 0.0, _UINT16_MAX
    if point == LEVEL:
        return level_range_m(pump)
    if point == POWER:
        rated_kw = pump.rated_power_kw or 10_000.0
        return -rated_kw, 3.0 * rated_kw
    if point == FLOW:
        # Backflow through a check valve that leaks is real, and so is a run-out beyond the rated point.
        rated_m3h = pump.rated_flow_m3h or 100_000.0
        return -rated_m3h, 3.0 * rated_m3h
    return 0.0, _SPEED_HZ_MAX


def _unmoved(
    point: str,
    memory: FeedbackMemory,
    *,
    now: Instant,
    moving_since: Instant | None,
    control: ControlSettings,
) -> str:
    """Why a value that has not changed cannot be believed; empty: it may well stand still."""
    held_s = now.seconds_since(memory.held[point].since)
    if point == PLC_HEARTBEAT:
        return f"unchanged for {held_s:.1f} s" if held_s > control.plc_heartbeat_s else ""
    if moving_since is None:
        return ""
    still_s = min(held_s, now.seconds_since(moving_since))
    if still_s <= control.feedback_frozen_s:
        return ""
    if point == SPEED:
        low, high = memory.echo_hz_min, memory.echo_hz_max
        if low is None or high is None or high - low <= _ECHO_MOVED_HZ:
            return ""
    return f"frozen: the same to the last bit for {still_s:.0f} s while pumping"


def _verdict(sample: Sample, age_s: float, why: str) -> JudgedValue:
    return JudgedValue(
        value=float(sample.value) if is_finite_number(sample.value) else None,
        quality=Quality.BAD if why else Quality.GOOD,
        age_s=age_s,
        why=why,
        utc_ns=sample.at.utc_ns,
    )
