"""How much each pump has worked, from what is measured: hours run, starts, when it last turned; pure (CTL-6)."""

from __future__ import annotations

from actors.vocabulary import Instant
from actors.vocabulary.durable import Wear


def worn(wear: Wear, *, running: bool | None, now: Instant, gap_s_max: float) -> Wear:
    """Return the wear at `now`; an unknown state (None) adds nothing, nor does a gap longer than `gap_s_max`."""
    if running is None:
        return wear
    since_s = float("inf") if wear.seen_at is None else now.seconds_since(wear.seen_at)
    turned_s = since_s if running and wear.turning and 0.0 <= since_s <= gap_s_max else 0.0
    return Wear(
        run_s=wear.run_s + turned_s,
        starts=wear.starts + (running and not wear.turning),
        turning=running,
        turned_at=now if running or wear.turned_at is None else wear.turned_at,
        seen_at=now,
    )


def stood_s(wear: Wear, *, now: Instant) -> float:
    """Return for how long a pump has not been seen to turn (s); 0 before the first look."""
    return 0.0 if wear.turned_at is None else max(0.0, now.seconds_since(wear.turned_at))
