"""What the wire shows for one pump: the lease, then the final check, then the latch, which outranks everything.

Sources: SAF-8, SAF-9, EST-2, EST-6, WDG-4.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.publisher.gate import PumpGate, advance, alive
from actors.safety.latch import EMERGENCY_STOP, OUT_OF_SERVICE, LatchSet
from actors.safety.limits import final_check, is_finite_number, problems, resolve_hz
from actors.vocabulary import Instant, Mode, PumpConfig, Quality, Reason

_NS_PER_S: Final = 1_000_000_000
# The rate counts for at most one tick's time, or a gate that slept would jump (SAF-2.10).
_RAMP_STEP_S_MAX: Final = 1.0

FAILSAFE_REASONS: Final = frozenset(
    {
        Reason.FAILSAFE_PLAN_EXPIRED,
        Reason.FAILSAFE_OPTIMISER_STALE,
        Reason.FAILSAFE_DATABASE,
        Reason.FAILSAFE_INVALID_PROPOSAL,
        Reason.FAILSAFE_CHILD_QUARANTINED,
        Reason.FAILSAFE_OPERATOR,
        Reason.HANDED_BACK_STRATEGY,
        Reason.LEASE_EXPIRED,
        Reason.FINAL_CHECK,
    }
)


class PumpImage(msgspec.Struct, frozen=True, kw_only=True):
    """The handshake block of one pump (WDG-4), before scaling; `failsafe` and `not_following` feed points of their own.

    `not_following` None: without a living chain nobody judges it (CTL-5).
    """

    setpoint_hz: float
    remote_enabled: bool
    run_inhibit: bool
    quality: Quality
    reason: Reason
    heartbeat: int
    sequence: int
    epoch_counter: int
    release_id: int
    mode: Mode | None
    failsafe: bool
    not_following: bool | None = None


class _Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be shown before the latch has its say."""

    value_hz: float
    enabled: bool
    quality: Quality
    reason: Reason


def image(
    gate: PumpGate,
    latches: LatchSet,
    pump: PumpConfig,
    *,
    site_id: str,
    whole: bool,
    epoch_floor: int,
    now: Instant,
) -> tuple[PumpImage, PumpGate]:
    """Return what the wire has to show now, and the gate that remembers having shown it.

    An emergency stop caps the value at min(what was applied, emergency_stop_setpoint_hz) and lets nothing start;
    out of service is 0; both whether the lease runs, has run out or never began. remote_enabled stays as the chain
    decided: with it the setpoint stops the pump, without it run_inhibit does (EST-6). After the last inhibit the
    value stays where it is until a newer tick was decided, then goes 0 -> minimum -> ramp even if the chain slept
    through it all. `whole`: these latches hold every stop that is durable anywhere; until then no number releases.
    """
    gate = advance(gate, now=now)
    stopped = bool(latches.covering(site_id, pump.station_id, pump.pump_id, EMERGENCY_STOP))
    out_of_service = bool(latches.covering(site_id, pump.station_id, pump.pump_id, OUT_OF_SERVICE))
    latched = stopped or out_of_service
    living = alive(gate, now=now)
    wish = _under_new_limits(_wish(gate, living=living, now=now), gate, pump)
    # An emergency setpoint goes on from what we apply; where nothing is claimed, that is nothing.
    last_hz = gate.applied_hz if wish.enabled else 0.0
    checked = final_check(
        wish.value_hz, pump, stopped=stopped, out_of_service=out_of_service, last_hz=last_hz
    )
    shown = _Wish(value_hz=checked.value_hz, enabled=wish.enabled, quality=wish.quality, reason=wish.reason)
    if pump.limits is None or checked.refusal in {Reason.FINAL_CHECK, Reason.NOT_COMMISSIONED}:
        # Nothing we could claim: the station's own levels know better than a 0 that we would enforce.
        reason = checked.refusal or Reason.NOT_COMMISSIONED
        shown = _Wish(value_hz=0.0, enabled=False, quality=Quality.BAD, reason=reason)
    failsafe = shown.reason in FAILSAFE_REASONS or gate.lapsed
    gate = _after_succession(gate, enabled=shown.enabled)
    gate, shown = _after_inhibit(gate, shown, pump, latched=latched, now=now)
    # The chain may know of a stop that has not reached us; without a lease only the latch can be believed. But what it
    # took for a stop may be cleared since: shown with a release number that is spent, nothing would ever let go of it.
    newest_clear = latches.release_id(site_id, pump.station_id, pump.pump_id)
    of_chain = living and gate.last is not None and gate.last.run_inhibit
    inhibited = latched or (of_chain and gate.last is not None and gate.last.latch_release >= newest_clear)
    mode = gate.last.mode if gate.last is not None else None
    reason = shown.reason
    if stopped:
        reason = Reason.EMERGENCY_STOP
    elif out_of_service:
        reason, mode = Reason.OUT_OF_SERVICE, Mode.OUT_OF_SERVICE
    # Of some clears without all stops nobody can say what they let go.
    released = newest_clear if whole else 0
    # Both halves of a release show at once: a controller must never retain a number that is already spent.
    release_id = gate.release_id if inhibited and gate.release_id is not None else released
    picture = PumpImage(
        setpoint_hz=shown.value_hz,
        remote_enabled=shown.enabled,
        run_inhibit=inhibited,
        quality=shown.quality,
        reason=reason,
        heartbeat=gate.heartbeat,
        sequence=gate.last.sequence & 0xFFFF if gate.last is not None else 0,
        epoch_counter=gate.last.epoch.counter if gate.last is not None else epoch_floor,
        release_id=release_id,
        mode=mode,
        failsafe=failsafe,
        not_following=gate.last.not_following if living and gate.last is not None else None,
    )
    # Under run_inhibit a pump that is not enabled stands still, so the next value counts as a start.
    applied_hz = shown.value_hz if shown.enabled else 0.0
    # Nor does the time under it count for a ramp: the value that an emergency setpoint left goes on from the clear.
    changed = applied_hz != gate.applied_hz or gate.applied_at_ns is None or inhibited
    return picture, msgspec.structs.replace(
        gate,
        applied_hz=applied_hz,
        enabled_epoch=gate.last.epoch if shown.enabled and gate.last is not None else None,
        applied_at_ns=now.boot_ns if changed else gate.applied_at_ns,
        release_id=release_id,
    )


def block(picture: PumpImage) -> dict[str, tuple[bool | int | float, Quality]]:
    """Return the handshake block's points by name (WDG-4): the setpoint carries its quality, the rest are facts."""
    mode = (0, Quality.BAD) if picture.mode is None else (picture.mode.value, Quality.GOOD)
    return {
        "sequence": (picture.sequence, Quality.GOOD),
        "remote_enabled": (picture.remote_enabled, Quality.GOOD),
        "run_inhibit": (picture.run_inhibit, Quality.GOOD),
        "setpoint": (picture.setpoint_hz, picture.quality),
        "setpoint_quality": (picture.quality.value, Quality.GOOD),
        "heartbeat": (picture.heartbeat, Quality.GOOD),
        "epoch": (picture.epoch_counter, Quality.GOOD),
        "release_id": (picture.release_id, Quality.GOOD),
        "reason": (picture.reason.value, Quality.GOOD),
        "sequence_end": (picture.sequence, Quality.GOOD),
        "mode": mode,
    }


def _wish(gate: PumpGate, *, living: bool, now: Instant) -> _Wish:
    """Return what the chain wants while its lease runs, else the failsafe image it left behind (SAF-9)."""
    last = gate.last
    if last is None:
        return _Wish(value_hz=0.0, enabled=False, quality=Quality.BAD, reason=Reason.NOT_STARTED)
    if living:
        return _Wish(
            value_hz=last.setpoint_hz,
            enabled=last.remote_enabled,
            quality=last.quality,
            reason=last.reason,
        )
    recovering = now.boot_ns < gate.lease_end_ns
    return _Wish(
        value_hz=last.failsafe_image_hz,
        enabled=False,
        quality=Quality.BAD,
        reason=Reason.RECOVERING if recovering else Reason.LEASE_EXPIRED,
    )


def _under_new_limits(wish: _Wish, gate: PumpGate, pump: PumpConfig) -> _Wish:
    """Bring a value that was decided under other limits to the edge of the band in force.

    New limits reach the chain and the gates one after the other. What is outside the band for that moment is nobody's
    bug, and letting go of a running pump would be a bump.
    """
    limits = pump.limits
    if limits is None or gate.last is None or gate.last.limits_version == limits.version or problems(limits):
        return wish
    if not is_finite_number(wish.value_hz) or wish.value_hz <= 0.0:
        return wish
    edge_hz = min(max(wish.value_hz, limits.hard_min_speed_hz), limits.hard_max_speed_hz)
    return msgspec.structs.replace(wish, value_hz=edge_hz)


def _after_succession(gate: PumpGate, *, enabled: bool) -> PumpGate:
    """Let a successor's first value be caught up with like one after a clear (SAF-2.10, SAF-10).

    It goes on from the measured speed, which is far above what was shown when the pump is still running down.
    """
    last, newest_ns = gate.last, gate.newest_origin_ns
    if not enabled or last is None or newest_ns is None or gate.enabled_epoch in {None, last.epoch}:
        return gate
    seen_ns = newest_ns - 1 if gate.inhibit_seen_ns is None else gate.inhibit_seen_ns
    return msgspec.structs.replace(gate, inhibit_seen_ns=seen_ns)


def _after_inhibit(
    gate: PumpGate, shown: _Wish, pump: PumpConfig, *, latched: bool, now: Instant
) -> tuple[PumpGate, _Wish]:
    """Keep a clear from starting a pump at once, whatever the chain last said (EST-2)."""
    if latched:
        return msgspec.structs.replace(gate, inhibit_seen_ns=now.boot_ns), shown
    if gate.inhibit_seen_ns is None or pump.limits is None:
        return gate, shown
    decided_since = gate.newest_origin_ns is not None and gate.newest_origin_ns > gate.inhibit_seen_ns
    if not shown.enabled:
        if decided_since and gate.last is not None and not gate.last.remote_enabled:
            # The chain itself handed the pump back; it will take it over at its measured speed, without a bump.
            return msgspec.structs.replace(gate, inhibit_seen_ns=None), shown
        return gate, shown
    if not decided_since:
        if shown.value_hz <= gate.applied_hz:
            return gate, shown
        return gate, msgspec.structs.replace(shown, value_hz=gate.applied_hz, reason=Reason.HELD_STOPPED)
    ceiling_hz = pump.limits.hard_min_speed_hz
    if gate.applied_hz > 0.0 and gate.applied_at_ns is not None:
        step_s = min(max(now.boot_ns - gate.applied_at_ns, 0) / _NS_PER_S, _RAMP_STEP_S_MAX)
        ceiling_hz = gate.applied_hz + pump.limits.max_rate_hz_per_s * step_s
    if shown.value_hz <= ceiling_hz:
        # A chain that still ramps is a step ahead again at its next tick: only a value that a newer tick confirms is
        # caught up with. Let go any sooner, our ramp and the chain's would add up to twice the rate.
        confirmed = gate.applied_at_ns is not None and (gate.newest_origin_ns or 0) > gate.applied_at_ns
        if confirmed and shown.value_hz == gate.applied_hz:
            gate = msgspec.structs.replace(gate, inhibit_seen_ns=None)
        return gate, shown
    ramped_hz = resolve_hz(ceiling_hz, pump.limits)
    return gate, msgspec.structs.replace(shown, value_hz=ramped_hz, reason=Reason.RAMP)
