"""Whether we may claim a pump: what must have arrived, what is lost, and how long it must be good again
(CTL-7).
"""

from __future__ import annotations

from typing import Final

from actors.feedback import (
    LEVEL,
    LOCAL_OVERRIDE,
    PLC_HEARTBEAT,
    RUNNING,
    SPEED,
    arrived,
    good_value,
)
from actors.messages import JudgedValue
from actors.safety.types import HandBack
from actors.vocabulary import ControlType, FailsafeStrategy, Instant, PumpConfig, Quality, Reason

ESSENTIAL: Final = (RUNNING, SPEED, LOCAL_OVERRIDE)
"""What SAF-10 waits for before anything is published for a pump."""

# The rest of one controller's scan may arrive in a later batch of feedback; without this patience a restarted
# chain would hand back for 200 ms, and a lease that is alive would lapse for nothing.
SEED_PATIENCE_S: Final = 3.0


def needs_level(pump: PumpConfig) -> bool:
    """Whether this pump cannot be driven without a level: by its control type, its failsafe or a limit on level."""
    limits = pump.limits
    if (
        pump.control_type is ControlType.LEVEL_CONTROLLED
        or pump.failsafe_strategy is FailsafeStrategy.LEVEL_ON_OFF
    ):
        return True
    return limits is not None and (
        limits.level_dry_run_m is not None
        or limits.level_emergency_high_m is not None
        or limits.level_min_m is not None
    )


def protects_by_level(pump: PumpConfig) -> bool:
    """Whether rule 3 or 4 uses this pump's level, which then must be younger (WDG-1)."""
    limits = pump.limits
    return limits is not None and (
        limits.level_dry_run_m is not None or limits.level_emergency_high_m is not None
    )


def good_level_m(
    feedback: dict[str, JudgedValue],
    pump: PumpConfig,
    *,
    protective_age_s: float,
) -> float | None:
    """Return the pump's level (m) when it is GOOD and young enough for the rules that use it."""
    value = feedback.get(LEVEL)
    if value is None or value.quality is not Quality.GOOD or value.age_s is None:
        return None
    if protects_by_level(pump) and value.age_s > protective_age_s:
        return None
    return value.value


def missing_essentials(feedback: dict[str, JudgedValue]) -> tuple[str, ...]:
    """Name what SAF-10 still waits for."""
    return tuple(point for point in ESSENTIAL if not arrived(feedback, point))


def lost_feedback(feedback: dict[str, JudgedValue]) -> Reason | None:
    """Why this pump cannot be claimed, apart from the level.

    A heartbeat that was never written is not lost: stations read by a poller or from `pump_feedback` have
    none.
    """
    if arrived(feedback, PLC_HEARTBEAT) and good_value(feedback, PLC_HEARTBEAT) is None:
        return Reason.HANDED_BACK_PLC_HEARTBEAT
    if any(good_value(feedback, point) is None for point in ESSENTIAL):
        return Reason.HANDED_BACK_FEEDBACK
    return None


def arrived_bad(feedback: dict[str, JudgedValue]) -> bool:
    """Whether something that a claim needs has arrived and cannot be believed."""
    return any(
        arrived(feedback, point) and good_value(feedback, point) is None
        for point in (*ESSENTIAL, PLC_HEARTBEAT)
    )


def advance(
    hand_back: HandBack, problem: Reason | None, *, now: Instant, hold_s: float, lost: bool = True
) -> HandBack:
    """Advance one pump's claim by what is wrong at `now` (None: nothing).

    Before the first claim nothing is claimed until nothing is wrong, then at once; after a loss all must have been good
    for `hold_s`. A claim that is inherited can be lost before it is our own: by what is bad, not by what is still to
    arrive (`lost`).
    """
    if problem is not None:
        claimed = hand_back.claimed or (hand_back.inherited and lost)
        return HandBack(
            claimed=claimed,
            inherited=hand_back.inherited,
            since=hand_back.since or now,
            reason=problem,
        )
    if not hand_back.claimed or hand_back.since is None:
        return HandBack(claimed=True)
    good_since = hand_back.good_since or now
    if now.seconds_since(good_since) >= hold_s:
        return HandBack(claimed=True)
    return HandBack(claimed=True, since=hand_back.since, good_since=good_since, reason=Reason.RECOVERING)


def holds_claim(hand_back: HandBack) -> bool:
    """Whether the pump is claimed as far as feedback goes."""
    return hand_back.claimed and hand_back.since is None
