"""What protects a motor: when it started and stopped, how often, and what that forbids (SAF-2.6, SAF-7); pure."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.vocabulary import Instant, SafetyLimits
from actors.vocabulary.durable import MotorTimers

HOUR_S: Final = 3600.0
STARTS_KEPT: Final = 120
"""So many starts of the last hour are remembered: one each 30 s is more than any motor's limit allows."""


def advance(
    timers: MotorTimers | None,
    *,
    running: bool | None,
    told: bool,
    now: Instant,
    gap_s_max: float,
) -> MotorTimers | None:
    """Return the timers at `now` (None: nothing was ever known).

    `running` is the measured state (None: unknown), `told` whether our own value has it run. A start that we ordered
    is under way until it was seen; one that nobody ordered (the panel, the local controller, a drive that restarts by
    itself) counts like ours. What was unknown for longer than `gap_s_max`, the time for which gates hold our value
    without us, counts as just started and just stopped.
    """
    if running is None:
        return timers
    if timers is None or not 0.0 <= now.seconds_since(timers.known_at) <= gap_s_max:
        known = () if timers is None else timers.starts
        return MotorTimers(
            turning=running, since=now, known_at=now, starts=_with_start(known, now), confirmed=running
        )
    if running and not timers.turning:
        return MotorTimers(
            turning=True, since=now, known_at=now, starts=_with_start(timers.starts, now), confirmed=True
        )
    starts = _of_the_last_hour(timers.starts, now)
    under_way = told and not timers.confirmed
    if timers.turning and not running and not under_way:
        return MotorTimers(turning=False, since=now, known_at=now, starts=starts)
    return msgspec.structs.replace(
        timers, known_at=now, starts=starts, confirmed=timers.turning and (timers.confirmed or running)
    )


def ordered(timers: MotorTimers | None, *, now: Instant) -> MotorTimers:
    """Return the timers after a start that we order now: counted before it is published (SAF-7)."""
    known = () if timers is None else timers.starts
    return MotorTimers(turning=True, since=now, known_at=now, starts=_with_start(known, now))


def run_s(timers: MotorTimers | None, *, now: Instant) -> float | None:
    """Return for how long the pump has been turning (s); None: it stands, or nothing is known."""
    return now.seconds_since(timers.since) if timers is not None and timers.turning else None


def start_refusal(timers: MotorTimers | None, limits: SafetyLimits, *, now: Instant) -> str:
    """Why a start is refused now; empty: it is not."""
    if not guarded(limits):
        return ""
    if timers is None:
        return "its starts and stops are not known"
    turned_s = run_s(timers, now=now)
    if turned_s is None:
        rested_s = now.seconds_since(timers.since)
        if limits.min_rest_s is not None and rested_s < limits.min_rest_s:
            return f"rested {rested_s:.0f} s, at least {limits.min_rest_s:g} s"
    elif limits.min_rest_s is not None:
        return f"still turning, rests at least {limits.min_rest_s:g} s"
    elif limits.max_run_s is not None and turned_s >= limits.max_run_s:
        return f"still turning after its maximum run of {limits.max_run_s:g} s"
    if limits.max_starts_per_hour is not None:
        most = min(limits.max_starts_per_hour, STARTS_KEPT)
        starts = _of_the_last_hour(timers.starts, now)
        if len(starts) >= most:
            left_s = HOUR_S - now.seconds_since(starts[-most])
            return f"{len(starts)} starts in the last hour, at most {most}, the next in {left_s:.0f} s"
    return ""


def guarded(limits: SafetyLimits) -> bool:
    """Whether any limit of this pump is about starts, rest or run."""
    return any(
        limit is not None
        for limit in (limits.max_starts_per_hour, limits.min_rest_s, limits.min_run_s, limits.max_run_s)
    )


def _with_start(starts: tuple[Instant, ...], now: Instant) -> tuple[Instant, ...]:
    return (*_of_the_last_hour(starts, now), now)[-STARTS_KEPT:]


def _of_the_last_hour(starts: tuple[Instant, ...], now: Instant) -> tuple[Instant, ...]:
    if not starts or now.seconds_since(starts[0]) < HOUR_S:
        return starts
    return tuple(start for start in starts if now.seconds_since(start) < HOUR_S)
