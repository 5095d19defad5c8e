"""What of a station survives every restart, and what of it may be believed afterwards (SAF-7); pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from actors.safety.timers import STARTS_KEPT
from actors.safety.types import Failsafe, KernelState, PumpState, StrategyMemory, initial_state
from actors.vocabulary import Instant
from actors.vocabulary.durable import Epoch, PumpMemory, StationMemory


def memory_of(station_id: str, state: KernelState, *, epoch: Epoch, boot_id: str) -> StationMemory:
    """Return what of the kernel's state must survive. A pump of which nothing is known leaves nothing behind."""
    return StationMemory(
        station_id=station_id,
        epoch=epoch,
        boot_id=boot_id,
        pumps={
            pump_id: PumpMemory(
                timers=pump.timers,
                dry_run=pump.dry_run,
                high=pump.high,
                held_since=pump.strategy.held_since,
                failsafe_reason=pump.failsafe.reason,
                failsafe_since=pump.failsafe.since,
            )
            for pump_id, pump in state.pumps.items()
            if pump.timers is not None
        },
        duties=dict(state.duties),
    )


def restored(
    memory: StationMemory | None, seen: Mapping[str, Instant], *, now: Instant, gap_s_max: float
) -> KernelState:
    """Return the state of a kernel that starts at `now` with this memory; output and claims begin anew, but not the
    time for which a last value may be held.

    `seen` are later moments at which the memory was still known to hold. A failsafe that is not older than `gap_s_max`,
    the time for which gates hold our value without us, goes on, and its recovery hold begins anew (WDG-2): a restart
    ends none. After a longer time everything else was seen anew too.
    """
    state = initial_state(now)
    if memory is None:
        return state
    pumps: dict[str, PumpState] = {}
    for pump_id, pump in memory.pumps.items():
        timers = pump.timers
        known_at = seen.get(pump_id, timers.known_at)
        if known_at.seconds_since(timers.known_at) < 0.0:
            known_at = timers.known_at
        # When another boot knew it last stays on that boot's clock: that is too long ago to go on from.
        timers = msgspec.structs.replace(
            timers,
            since=_rebased(timers.since, now),
            starts=tuple(_rebased(start, now) for start in timers.starts[-STARTS_KEPT:]),
            known_at=known_at,
        )
        pumps[pump_id] = PumpState(
            timers=timers,
            dry_run=pump.dry_run,
            high=pump.high,
            failsafe=_failsafe(pump, now) if now.seconds_since(known_at) <= gap_s_max else Failsafe(),
            strategy=StrategyMemory(
                held_since=None if pump.held_since is None else _rebased(pump.held_since, now)
            ),
        )
    return msgspec.structs.replace(state, pumps=pumps, duties=dict(memory.duties))


def _failsafe(pump: PumpMemory, now: Instant) -> Failsafe:
    if pump.failsafe_reason is None or pump.failsafe_since is None:
        return Failsafe()
    return Failsafe(reason=pump.failsafe_reason, since=_rebased(pump.failsafe_since, now))


def same(one: StationMemory, other: StationMemory) -> bool:
    """Whether two memories of one epoch say the same, however recently each knew it."""
    return _settled(one) == _settled(other)


def orders_a_start(before: KernelState, after: KernelState) -> bool:
    """Whether the round between these two states ordered a start, which must be durable before it is published."""
    return any(
        pump.timers is not None
        and pump.timers.turning
        and not pump.timers.confirmed
        and pump.timers.starts[-1:] != _last_start(before.pumps.get(pump_id))
        for pump_id, pump in after.pumps.items()
    )


def known_at(memory: StationMemory) -> dict[str, Instant]:
    """Return when each pump's timers were known last."""
    return {pump_id: pump.timers.known_at for pump_id, pump in memory.pumps.items()}


def _last_start(pump: PumpState | None) -> tuple[Instant, ...]:
    return () if pump is None or pump.timers is None else pump.timers.starts[-1:]


def _settled(memory: StationMemory) -> tuple[object, ...]:
    pumps = {
        pump_id: (
            pump.timers.turning,
            pump.timers.since,
            pump.timers.starts[-1:],
            pump.dry_run,
            pump.high,
            pump.held_since,
            pump.failsafe_reason,
        )
        for pump_id, pump in memory.pumps.items()
    }
    return memory.epoch, memory.duties, pumps


def _rebased(then: Instant, now: Instant) -> Instant:
    """Return a moment on the clock of `now`'s boot.

    Of another boot the wall clock tells the age, and our own uptime is the least that it can be: a clock that was set
    back makes nothing younger than that.
    """
    if then.boot_id == now.boot_id:
        return then if then.boot_ns <= now.boot_ns else now
    age_ns = max(now.utc_ns - then.utc_ns, now.boot_ns, 0)
    return Instant(now.boot_id, now.boot_ns - age_ns, now.utc_ns - age_ns)
