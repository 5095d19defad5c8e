"""Runs for the sake of a pump or the main: when a flush or an exercise is due and when it ends; pure (CTL-6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from actors.feedback import FLOW, SPEED, good_value
from actors.safety.types import Facts, KernelState
from actors.vocabulary import Exercise, Flush, Instant
from actors.vocabulary.durable import Task

AGAIN_S: Final = 600.0
"""A flush that could not be brought to its end is tried again after so long (s)."""
PATIENCE_S: Final = 120.0
"""So much longer than its time (s) an exercise may take until its pump turns."""


def enough_water(fact: Facts, level_m: float) -> bool:
    """Whether the pump's level is good, protective and at least `level_m`."""
    return fact.level_m is not None and fact.level_m >= level_m


def flow_seen(
    facts: Mapping[str, Facts], flush: Flush | None, state: KernelState, *, now: Instant
) -> KernelState:
    """Note since when the rising main has its minimum flow; kept for the time of a flush, it is as good as one."""
    if flush is None:
        return msgspec.structs.replace(state, flushed_at=None, moving_since=None)
    moving_since = (state.moving_since or now) if _flow_m3h(facts) >= flush.flow_m3h else None
    flushed_at = now if state.flushed_at is None else state.flushed_at
    if moving_since is not None and now.seconds_since(moving_since) >= flush.run_s:
        flushed_at = now
    return msgspec.structs.replace(state, flushed_at=flushed_at, moving_since=moving_since)


def flush_due(flush: Flush, state: KernelState, *, now: Instant) -> bool:
    """Whether the minimum flow was not kept for too long."""
    return state.flushed_at is not None and now.seconds_since(state.flushed_at) >= flush.every_h * 3600.0


def flush_end(flush: Flush | None, task: Task, fact: Facts, *, able: bool, now: Instant) -> Instant | None:
    """Return from when the next interval counts if the flush has ended, None while it goes on.

    One that was brought to its end counts as the minimum flow; one that was not is due again after AGAIN_S.
    """
    if flush is None:
        return now
    over = now.seconds_since(task.since) >= flush.run_s
    if over and fact.state.output_hz > 0.0:
        return now
    if over or not able or not enough_water(fact, floor_m(fact)):
        return now.plus(AGAIN_S - flush.every_h * 3600.0)
    return None


def exercise_ends(exercise: Exercise | None, task: Task, fact: Facts, *, able: bool, now: Instant) -> bool:
    """Whether an exercise has ended: its time is over, or it may not go on, or the pump does not turn."""
    if exercise is None or not able or not enough_water(fact, floor_m(fact)):
        return True
    if fact.run_s is not None and fact.run_s >= exercise.run_s and fact.state.output_hz > 0.0:
        return True
    return now.seconds_since(task.since) >= exercise.run_s + PATIENCE_S


def exercised(state: KernelState, pump_id: str, *, now: Instant) -> KernelState:
    """Count an exercise that ended as one, also where the pump did not turn: it is not tried again and again."""
    pump = state.pumps.get(pump_id)
    if pump is None:
        return state
    pump = msgspec.structs.replace(pump, wear=msgspec.structs.replace(pump.wear, turned_at=now))
    return msgspec.structs.replace(state, pumps={**state.pumps, pump_id: pump})


def floor_m(fact: Facts) -> float:
    """Return the level below which nobody runs a pump for upkeep: its minimum and its dry-run reset."""
    limits = fact.limits
    if limits is None:
        return float("inf")
    known = (limits.level_min_m, limits.level_dry_run_reset_m, limits.level_dry_run_m)
    return max((level_m for level_m in known if level_m is not None), default=float("-inf"))


def _flow_m3h(facts: Mapping[str, Facts]) -> float:
    """Return what all pumps move together: measured, else by their rated point (Q ~ n)."""
    return sum(_of_pump_m3h(fact) for fact in facts.values() if fact.running is True)


def _of_pump_m3h(fact: Facts) -> float:
    measured_m3h = good_value(fact.feedback, FLOW)
    if measured_m3h is not None:
        return max(0.0, measured_m3h)
    speed_hz = good_value(fact.feedback, SPEED)
    rated_m3h, rated_hz = fact.config.rated_flow_m3h, fact.config.rated_speed_hz
    if speed_hz is None or rated_m3h is None or rated_hz is None or not rated_hz > 0.0:
        return 0.0
    return max(0.0, speed_hz) * rated_m3h / rated_hz
