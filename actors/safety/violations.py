"""How often a limit that acts is written down: once a minute per pump and rule, the rest counted (SAF-5)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from actors.messages import TrailStep
from actors.vocabulary import Instant, Rule

WRITE_EVERY_S: Final = 60.0

# Shaping a value (ramps, start steps, staggering) is no violation; a stop, a mode or a hand-back is told
# elsewhere.
LIMITS: Final = frozenset(
    {
        Rule.DRY_RUN,
        Rule.HIGH_LEVEL,
        Rule.PROTECTION_TIMERS,
        Rule.FLOW_FLOOR,
        Rule.POWER_CAP,
        Rule.FLOW_CAP,
        Rule.LEVEL_BAND,
        Rule.MAX_RUNNING,
        Rule.STATION_POWER,
        Rule.INVALID_PROPOSAL,
        Rule.FINAL_CHECK,
    }
)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One pump and rule: when it was written last, how many were not since, and the newest of those."""

    written_at: Instant
    suppressed: int = 0
    last: TrailStep | None = None


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A violation to be written now, with the number of those that were not since the one before."""

    pump_id: str
    step: TrailStep
    suppressed: int


class ViolationLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What was written and what was held back; at most one entry per pump and rule."""

    seen: dict[tuple[str, Rule], Seen] = msgspec.field(default_factory=dict)


def is_violation(step: TrailStep) -> bool:
    """Whether this step means that a limit had to act: the speed band only where it lowered a wish above
    it.
    """
    if step.rule is Rule.SPEED_BAND:
        return step.before_hz > step.after_hz > 0.0
    return step.rule in LIMITS


def record(
    ledger: ViolationLedger, pump_id: str, trail: Collection[TrailStep], *, now: Instant
) -> tuple[tuple[Due, ...], ViolationLedger]:
    """Return which violations of this trail are to be written now, and the ledger with the others counted."""
    seen = dict(ledger.seen)
    due: list[Due] = []
    for step in trail:
        if not is_violation(step):
            continue
        key = (pump_id, step.rule)
        known = seen.get(key)
        if known is None or now.seconds_since(known.written_at) >= WRITE_EVERY_S:
            due.append(Due(pump_id=pump_id, step=step, suppressed=0 if known is None else known.suppressed))
            seen[key] = Seen(written_at=now)
        else:
            seen[key] = Seen(written_at=known.written_at, suppressed=known.suppressed + 1, last=step)
    return tuple(due), ViolationLedger(seen=seen)


def flush(ledger: ViolationLedger, *, now: Instant) -> tuple[tuple[Due, ...], ViolationLedger]:
    """Return what was held back and is due although nothing followed, so that no count is lost; forget the
    quiet.
    """
    seen: dict[tuple[str, Rule], Seen] = {}
    due: list[Due] = []
    for key, known in ledger.seen.items():
        if now.seconds_since(known.written_at) < WRITE_EVERY_S:
            seen[key] = known
        elif known.last is not None:
            # The newest of them is written itself; the others are its count.
            due.append(Due(pump_id=key[0], step=known.last, suppressed=known.suppressed - 1))
            seen[key] = Seen(written_at=now)
    return tuple(due), ViolationLedger(seen=seen)


def only(ledger: ViolationLedger, pump_ids: Collection[str]) -> ViolationLedger:
    """Forget pumps that are gone."""
    return ViolationLedger(seen={key: seen for key, seen in ledger.seen.items() if key[0] in pump_ids})
