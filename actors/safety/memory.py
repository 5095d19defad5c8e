"""What of a station survives every restart, and what of it may be believed afterwards (SAF-7); pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from actors.feedback import FeedbackMemory, Held
from actors.publisher.gate import FRESH_NEEDED
from actors.safety.limits import is_finite_number
from actors.safety.timers import STARTS_KEPT
from actors.safety.types import Failsafe, HandBack, KernelState, PumpState, StrategyMemory, initial_state
from actors.vocabulary import Instant
from actors.vocabulary.durable import Epoch, HeldPoint, PumpMemory, PumpSeen, StationMemory, Wear

WEAR_STEP_S: Final = 600.0
"""Hours run and the time of the last flush become durable in such steps, and at each start and stop."""

UNMOVED_S: Final = 5.0
"""A point that shows its value for less than this moves: that it did is noted of no point."""


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
                wear=pump.wear,
                held_since=pump.strategy.held_since,
                failsafe_reason=pump.failsafe.reason,
                failsafe_since=pump.failsafe.since,
                claimed=pump.hand_back.claimed or pump.hand_back.inherited,
                # Before the first claim nothing was lost: that is a start, and has no hold (CTL-7).
                handed_back_since=pump.hand_back.since if pump.hand_back.claimed else None,
                lapses=pump.lapses,
            )
            for pump_id, pump in state.pumps.items()
            if pump.timers is not None
        },
        duties=dict(state.duties),
        turn=state.turn,
        tasks=dict(state.tasks),
        flushed_at=state.flushed_at,
    )


def restored(
    memory: StationMemory | None, seen: Mapping[str, PumpSeen], *, now: Instant, gap_s_max: float
) -> KernelState:
    """Return the state of a kernel that starts at `now` with this memory; output and claims begin anew, but not the
    time for which a last value may be held.

    `seen` was noted later than the memory. A failsafe that is not older than `gap_s_max`, the time for which gates hold
    our value without us, goes on, and its recovery hold begins anew (WDG-2): a restart ends none. After a longer time
    everything else was seen anew too. A hand-back goes on however long we were away, its hold begins anew as well
    (CTL-7). What the gates make of our lease they have not forgotten, so neither must we (SAF-9): not known, we take it
    that they wait for as many fresh decisions as after any lapse.
    """
    state = initial_state(now)
    if memory is None:
        return state
    pumps: dict[str, PumpState] = {}
    for pump_id, pump in memory.pumps.items():
        timers = pump.timers
        mark = seen.get(pump_id, PumpSeen(known_at=timers.known_at))
        known_at = mark.known_at
        if known_at.seconds_since(timers.known_at) < 0.0:
            known_at = timers.known_at
        lately = now.seconds_since(known_at) <= gap_s_max
        # When another boot knew it last stays on that boot's clock: that is too long ago to go on from.
        timers = msgspec.structs.replace(
            timers,
            since=_rebased(timers.since, now),
            starts=tuple(_rebased(start, now) for start in timers.starts[-STARTS_KEPT:]),
            known_at=known_at,
        )
        of_this_boot = mark.origin is not None and mark.origin.boot_id == now.boot_id
        since = pump.handed_back_since
        pumps[pump_id] = PumpState(
            timers=timers,
            dry_run=pump.dry_run,
            high=pump.high,
            wear=_rebased_wear(pump.wear, now),
            failsafe=_failsafe(pump, now) if lately else Failsafe(),
            hand_back=HandBack(inherited=pump.claimed and lately)
            if since is None
            else HandBack(claimed=True, since=_rebased(since, now)),
            strategy=StrategyMemory(
                held_since=None if pump.held_since is None else _rebased(pump.held_since, now)
            ),
            origin=mark.origin if of_this_boot else None,
            fresh_left=mark.fresh_left if of_this_boot or lately else FRESH_NEEDED,
            fresh_since=mark.fresh_since if of_this_boot else None,
            lapses=tuple(at for at in pump.lapses if at.boot_id == now.boot_id),
        )
    return msgspec.structs.replace(
        state,
        pumps=pumps,
        duties=dict(memory.duties),
        turn=memory.turn,
        tasks={
            pump_id: msgspec.structs.replace(task, since=_rebased(task.since, now))
            for pump_id, task in memory.tasks.items()
        },
        flushed_at=None if memory.flushed_at is None else _rebased(memory.flushed_at, now),
    )


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


def seen_of(
    state: KernelState, memories: Mapping[str, FeedbackMemory], *, now: Instant
) -> dict[str, PumpSeen]:
    """Return what is worth noting each second of the pumps that `memory_of` remembers."""
    return {
        pump_id: _seen(pump, pump.timers.known_at, memories.get(pump_id, FeedbackMemory()), now=now)
        for pump_id, pump in state.pumps.items()
        if pump.timers is not None
    }


def feedback_of(seen: Mapping[str, PumpSeen], *, now: Instant) -> dict[str, FeedbackMemory]:
    """Return what judging goes on from: a point that stood still goes on standing still (CTL-4).

    The time in which nobody looked counts for nothing, so neither its length nor a reboot matters.
    """
    return {
        pump_id: FeedbackMemory(
            held={
                point: Held(value=held.value, since=now.plus(-held.held_s))
                for point, held in pump.held.items()
            },
            echo_hz_min=None if pump.echo_hz is None else pump.echo_hz[0],
            echo_hz_max=None if pump.echo_hz is None else pump.echo_hz[1],
        )
        for pump_id, pump in seen.items()
    }


def _seen(pump: PumpState, known_at: Instant, memory: FeedbackMemory, *, now: Instant) -> PumpSeen:
    held = {
        point: HeldPoint(value=held.value, held_s=now.seconds_since(held.since))
        for point, held in memory.held.items()
        # What is no number is believed by nobody, and no file holds it.
        if is_finite_number(held.value) and now.seconds_since(held.since) >= UNMOVED_S
    }
    low, high = memory.echo_hz_min, memory.echo_hz_max
    return PumpSeen(
        known_at=known_at,
        origin=pump.origin,
        fresh_left=pump.fresh_left,
        fresh_since=pump.fresh_since,
        held=held,
        echo_hz=None if low is None or high is None else (low, high),
    )


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
            pump.claimed,
            pump.handed_back_since,
            pump.lapses,
            pump.wear.starts,
            # Not each second: what a crash may lose of the hours run.
            int(pump.wear.run_s // WEAR_STEP_S),
        )
        for pump_id, pump in memory.pumps.items()
    }
    return memory.epoch, memory.duties, memory.turn, memory.tasks, _flushed_step(memory), pumps


def _flushed_step(memory: StationMemory) -> int | None:
    """Return when the main was flushed, in steps: while it has its flow the moment moves on each second."""
    return None if memory.flushed_at is None else int(memory.flushed_at.utc_ns // (WEAR_STEP_S * 1e9))


def _rebased_wear(wear: Wear, now: Instant) -> Wear:
    """Return the wear on the clock of `now`'s boot; what happened since the last look is not known."""
    turned_at = None if wear.turned_at is None else _rebased(wear.turned_at, now)
    return msgspec.structs.replace(wear, turned_at=turned_at, seen_at=None)


def _rebased(then: Instant, now: Instant) -> Instant:
    """Return a moment on the clock of `now`'s boot.

    Of another boot the wall clock tells the age, and our own uptime is the least that it can be: a clock that was set
    back makes nothing younger than that.
    """
    if then.boot_id == now.boot_id:
        return then if then.boot_ns <= now.boot_ns else now
    age_ns = max(now.utc_ns - then.utc_ns, now.boot_ns, 0)
    return Instant(now.boot_id, now.boot_ns - age_ns, now.utc_ns - age_ns)
