"""Whether a pump does what it is told: commanded against measured speed (CTL-5); pure."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.vocabulary import Instant

NEARER_HZ: Final = 0.5
"""A measured speed that has come so much nearer than ever is on its way: a ramp, a start, a stop, a run-down."""


class Following(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one pump: since when it is off without coming nearer, and since when it does not follow.

    `below`: it turns too slowly; `nearest_hz`: the speed nearest to the command since then. `failed_to_run`: what it
    did not follow was a command to run, so standing still at 0 is no proof that it would. `good_since`: since when it
    has followed again.
    """

    off_since: Instant | None = None
    below: bool = False
    nearest_hz: float = 0.0
    failed_since: Instant | None = None
    failed_to_run: bool = False
    good_since: Instant | None = None


UNJUDGED: Final = Following()


def advance(
    was: Following,
    *,
    told_hz: float | None,
    measured_hz: float,
    tolerance_hz: float,
    time_s: float,
    now: Instant,
) -> Following:
    """Judge a pump that was told `told_hz` and turns at `measured_hz`; None: nothing was told, so nothing is judged.

    It does not follow when it has been off by more than `tolerance_hz` for `time_s` without coming nearer, and follows
    again when it has been within `tolerance_hz` for `time_s`, at a speed if it was a speed that it did not follow.
    """
    if told_hz is None:
        return UNJUDGED
    if abs(told_hz - measured_hz) <= tolerance_hz:
        return _within(was, told_hz=told_hz, time_s=time_s, now=now)
    below = measured_hz < told_hz
    nearer_hz = measured_hz - was.nearest_hz if below else was.nearest_hz - measured_hz
    if was.off_since is None or below is not was.below or nearer_hz >= NEARER_HZ:
        return msgspec.structs.replace(
            was, off_since=now, below=below, nearest_hz=measured_hz, good_since=None
        )
    if was.failed_since is None and now.seconds_since(was.off_since) >= time_s:
        return msgspec.structs.replace(was, failed_since=now, failed_to_run=below)
    return was


def _within(was: Following, *, told_hz: float, time_s: float, now: Instant) -> Following:
    if was.failed_since is None:
        return UNJUDGED
    if was.failed_to_run and told_hz <= 0.0:
        return msgspec.structs.replace(was, off_since=None, good_since=None)
    good_since = was.good_since or now
    if now.seconds_since(good_since) >= time_s:
        return UNJUDGED
    return msgspec.structs.replace(was, off_since=None, good_since=good_since)
