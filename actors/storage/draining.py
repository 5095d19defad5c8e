"""When to bring spooled records to the database, and which alarms the way there deserves; pure (DAT-3, AUD-4)."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.messages import AlarmAsserted, AlarmReturned
from actors.storage import guarding
from actors.vocabulary import Instant, Severity

BATCH_MAX: Final = 500
IDLE_S: Final = 0.2
BACKOFF_S_MIN: Final = 0.5
BACKOFF_S_MAX: Final = 15.0
ASSERT_PERIOD_S: Final = 10.0
# An alarm is asserted again at least every 15 s while it holds, so that a restarted alarm actor learns of it.
assert ASSERT_PERIOD_S < 15.0  # noqa: PLR2004  (the contract of AlarmAsserted)
REFUSED_SHOWN_S: Final = 300.0
FILLING_SHARE: Final = 0.5
FILLING_SHARE_RETURN: Final = 0.4
assert FILLING_SHARE_RETURN < FILLING_SHARE

UNREACHABLE: Final = "database_unreachable"
FILLING: Final = "spool_filling"
REFUSED: Final = "record_refused"
DAMAGED: Final = "spool_damaged"
UNJOINED: Final = "stops_not_joined"
CONDITIONS: Final = (UNREACHABLE, FILLING, REFUSED, DAMAGED, UNJOINED, *guarding.CONDITIONS)
SUBJECT: Final = "storage"

_SEVERITY: Final = {
    UNREACHABLE: Severity.HIGH,
    FILLING: Severity.HIGH,
    REFUSED: Severity.MEDIUM,
    DAMAGED: Severity.HIGH,
    UNJOINED: Severity.HIGH,
    **guarding.CONDITIONS,
}


class DrainState(msgspec.Struct, frozen=True, kw_only=True):
    """How the way to the database went so far."""

    database_ok: bool = True
    failing_since: Instant | None = None
    failures: int = 0
    last_error: str = ""
    written_total: int = 0
    refused_total: int = 0
    refused_at: Instant | None = None
    last_refusal: str = ""
    # Since when the stops of the database and of the latch folder could not be joined (EST-2).
    unjoined_since: Instant | None = None
    join_error: str = ""


def wrote(state: DrainState, *, count: int, refusals: dict[int, str], now: Instant) -> DrainState:
    """Return the state after a batch of `count` records was written, but for `refusals`."""
    after = msgspec.structs.replace(
        state,
        database_ok=True,
        failing_since=None,
        failures=0,
        last_error="",
        written_total=state.written_total + count - len(refusals),
    )
    if not refusals:
        return after
    return msgspec.structs.replace(
        after,
        refused_total=state.refused_total + len(refusals),
        refused_at=now,
        last_refusal=next(iter(refusals.values())),
    )


def failed(state: DrainState, *, error: str, now: Instant) -> DrainState:
    """Return the state after the database did not take a batch."""
    return msgspec.structs.replace(
        state,
        database_ok=False,
        failing_since=state.failing_since or now,
        failures=state.failures + 1,
        last_error=error,
    )


def joined(state: DrainState) -> DrainState:
    """Return the state after the stops of the database and of the latch folder were joined."""
    return msgspec.structs.replace(state, unjoined_since=None, join_error="")


def not_joined(state: DrainState, *, error: str, now: Instant) -> DrainState:
    """Return the state after they could not be joined."""
    return msgspec.structs.replace(state, unjoined_since=state.unjoined_since or now, join_error=error)


def pause_s(state: DrainState, *, more: bool, chance: float) -> float:
    """Return how long to wait before the next batch (s); `chance` in [0, 1)."""
    if state.failures:
        return min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** min(state.failures - 1, 10)) * (0.5 + chance / 2)
    return 0.0 if more else IDLE_S


def alarms(
    state: DrainState,
    *,
    spooled_bytes: int,
    bytes_max: int,
    damaged_files: tuple[str, ...],
    unreachable_after_s: float,
    was: frozenset[str],
    now: Instant,
) -> dict[str, str]:
    """Return the conditions that hold now, each with its text; `was` holds those of the last time (hysteresis)."""
    held = {}
    if state.failing_since is not None and now.seconds_since(state.failing_since) >= unreachable_after_s:
        held[UNREACHABLE] = f"the database takes no records: {state.last_error}"
    share = spooled_bytes / bytes_max
    if share >= (FILLING_SHARE_RETURN if FILLING in was else FILLING_SHARE):
        held[FILLING] = f"{share:.0%} of the spool's {bytes_max} bytes are used"
    if state.refused_at is not None and now.seconds_since(state.refused_at) < REFUSED_SHOWN_S:
        held[REFUSED] = (
            f"{state.refused_total} records refused by the database, the last one: {state.last_refusal}"
        )
    if damaged_files:
        held[DAMAGED] = f"a damaged spool was set aside: {', '.join(damaged_files)}"
    if state.unjoined_since is not None and now.seconds_since(state.unjoined_since) >= unreachable_after_s:
        held[UNJOINED] = f"stops of the database and of the latch folder are not joined: {state.join_error}"
    return held


def news(
    held: dict[str, str], was: frozenset[str], now: Instant
) -> tuple[AlarmAsserted | AlarmReturned, ...]:
    """Return what the alarm actor is to hear: what holds, and what holds no longer."""
    asserted = [
        AlarmAsserted(condition=condition, subject=SUBJECT, severity=_SEVERITY[condition], text=text, at=now)
        for condition, text in held.items()
    ]
    returned = [
        AlarmReturned(condition=condition, subject=SUBJECT, at=now) for condition in sorted(was - held.keys())
    ]
    return (*asserted, *returned)
