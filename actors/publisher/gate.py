"""The last gate before the wire: which setpoints it lets in, and for how long each counts (SAF-8, SAF-9, SAF-11).

Ages are judged by this machine's boot clock only. What the gate then shows is `actors.publisher.image`'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum, unique
from typing import Final

import msgspec

from actors.messages import Epoch, Setpoint
from actors.safety.limits import is_finite_number
from actors.vocabulary import Instant

_NS_PER_S: Final = 1_000_000_000
_UINT16: Final = 0x1_0000
_UINT32_MAX: Final = 0xFFFF_FFFF

# Scheduling and reading two clocks one after the other explain milliseconds, never more than this.
FUTURE_TOLERANCE_S: Final = 0.5
FRESH_NEEDED: Final = 3
LAPSE_WINDOW_S: Final = 600.0
LAPSES_PATIENT: Final = 3
LAPSE_WAIT_S: Final = 60.0


@unique
class Refusal(StrEnum):
    """Why the gate did not take a setpoint."""

    UNKNOWN_PUMP = "unknown_pump"
    MALFORMED = "malformed"
    EPOCH = "epoch"
    SEQUENCE = "sequence"
    UNKNOWN_CLOCK = "unknown_clock"
    FUTURE = "future"
    STALE = "stale"


class ClockOffset(msgspec.Struct, frozen=True):
    """Reading another boot's clock: ours = its + `offset_ns`, give or take `uncertainty_ns`."""

    offset_ns: int
    uncertainty_ns: int


_SAME_CLOCK: Final = ClockOffset(offset_ns=0, uncertainty_ns=0)


class PumpGate(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate remembers of one pump; times are ns of our own boot clock.

    `lease_end_ns` belongs to `last`. `lapsed` stays set until enough fresh setpoints have come; `fresh` counts
    them since `fresh_since_ns`. `applied_hz` is what the wire last showed together with remote_enabled 1 (0 if it
    showed none), since `applied_at_ns`, in `enabled_epoch` (None if it showed none); the last five are kept by
    `image`.
    """

    last: Setpoint | None = None
    accepted_at: Instant | None = None
    lease_end_ns: int = 0
    newest_origin_ns: int | None = None
    heartbeat: int = 0
    lapsed: bool = False
    fresh: int = 0
    fresh_since_ns: int = 0
    lapse_times_ns: tuple[int, ...] = ()
    lapses_total: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    applied_hz: float = 0.0
    applied_at_ns: int | None = None
    enabled_epoch: Epoch | None = None
    inhibit_seen_ns: int | None = None
    release_id: int | None = None


class StationGate(msgspec.Struct, frozen=True, kw_only=True):
    """One station's gate: the lowest epoch it still takes, and its pumps."""

    floor: Epoch | None = None
    pumps: dict[str, PumpGate] = msgspec.field(default_factory=dict)

    def of(self, pump_ids: Iterable[str]) -> StationGate:
        """Return the gate of exactly these pumps; the known ones keep what they have."""
        return StationGate(
            floor=self.floor, pumps={pump_id: self.pumps.get(pump_id, PumpGate()) for pump_id in pump_ids}
        )


def offer(
    gate: StationGate,
    setpoints: Iterable[Setpoint],
    *,
    now: Instant,
    lease_s_max: float,
    offsets: Mapping[str, ClockOffset] | None = None,
) -> tuple[StationGate, dict[str, Refusal]]:
    """Let in what is fresh and of the present epoch; return the new gate and what was refused, by pump.

    A setpoint that the gate already has is neither taken nor refused. A newer decision about an old tick is taken
    (it may be a stop), but neither moves the heartbeat nor lengthens the lease: that runs from the tick's origin,
    at most `lease_s_max`. Total: no number in a setpoint makes it raise.
    """
    known_offsets = offsets or {}
    pumps = dict(gate.pumps)
    floor = gate.floor
    refused: dict[str, Refusal] = {}
    for setpoint in setpoints:
        pump = pumps.get(setpoint.pump_id)
        if pump is None:
            refused[setpoint.pump_id] = Refusal.UNKNOWN_PUMP
            continue
        aged = advance(pump, now=now)
        taken = _take(aged, setpoint, floor, now=now, lease_s_max=lease_s_max, offsets=known_offsets)
        if isinstance(taken, Refusal):
            refused[setpoint.pump_id] = taken
            counted = {**aged.refused, taken.value: aged.refused.get(taken.value, 0) + 1}
            pumps[setpoint.pump_id] = msgspec.structs.replace(aged, refused=counted)
            continue
        pumps[setpoint.pump_id] = taken
        # Whoever speaks in a new epoch has replaced the old speaker, for every pump of the station.
        floor = setpoint.epoch if floor is None else max(floor, setpoint.epoch)
    return StationGate(floor=floor, pumps=pumps), refused


def advance(pump: PumpGate, *, now: Instant) -> PumpGate:
    """Note that the lease has run out, if it has: a lapse, or a recovery that has to begin anew."""
    if pump.last is None or now.boot_ns < pump.lease_end_ns:
        return pump
    if pump.lapsed:
        return pump if pump.fresh == 0 else msgspec.structs.replace(pump, fresh=0)
    recent = [at for at in pump.lapse_times_ns if pump.lease_end_ns - at <= LAPSE_WINDOW_S * _NS_PER_S]
    # Older ones than the last three decide nothing.
    times = (*recent, pump.lease_end_ns)[-LAPSES_PATIENT:]
    return msgspec.structs.replace(
        pump, lapsed=True, fresh=0, lapse_times_ns=times, lapses_total=pump.lapses_total + 1
    )


def alive(pump: PumpGate, *, now: Instant) -> bool:
    """Whether the wire may show the chain's own value: a lease that runs and has not lapsed before."""
    return pump.last is not None and not pump.lapsed and now.boot_ns < pump.lease_end_ns


def lease_left_s(pump: PumpGate, *, now: Instant) -> float:
    """Return how long the lease still runs (s), 0 if it does not."""
    return max(0.0, (pump.lease_end_ns - now.boot_ns) / _NS_PER_S) if pump.last is not None else 0.0


def _take(
    pump: PumpGate,
    setpoint: Setpoint,
    floor: Epoch | None,
    *,
    now: Instant,
    lease_s_max: float,
    offsets: Mapping[str, ClockOffset],
) -> PumpGate | Refusal:
    """Return the pump with the setpoint taken (itself if it has it already), or why it is not."""
    if not _well_formed(setpoint):
        return Refusal.MALFORMED
    if floor is not None and setpoint.epoch < floor:
        return Refusal.EPOCH
    if pump.last is not None:
        offered, held = (setpoint.epoch, setpoint.sequence), (pump.last.epoch, pump.last.sequence)
        if offered == held:
            return pump
        if offered < held:
            return Refusal.SEQUENCE
    clock = _SAME_CLOCK if setpoint.origin.boot_id == now.boot_id else offsets.get(setpoint.origin.boot_id)
    if clock is None:
        return Refusal.UNKNOWN_CLOCK
    # The earliest moment of our clock that the tick can have been: what we do not know counts against it.
    origin_ns = setpoint.origin.boot_ns + clock.offset_ns - clock.uncertainty_ns
    if origin_ns - now.boot_ns > FUTURE_TOLERANCE_S * _NS_PER_S:
        return Refusal.FUTURE
    # A clock slightly ahead must not buy time: no lease ends later than one that began now.
    lease_ns = round(min(setpoint.lease_s, lease_s_max) * _NS_PER_S)
    end_ns = min(origin_ns, now.boot_ns) + lease_ns
    if end_ns <= now.boot_ns:
        return Refusal.STALE
    is_fresh = pump.newest_origin_ns is None or origin_ns > pump.newest_origin_ns
    taken = msgspec.structs.replace(pump, last=setpoint, accepted_at=now, lease_end_ns=end_ns)
    return _refreshed(taken, origin_ns, now=now) if is_fresh else taken


def _refreshed(pump: PumpGate, origin_ns: int, *, now: Instant) -> PumpGate:
    """Move the heartbeat for a newer tick, and end a lapse once the chain has proved itself (SAF-9)."""
    fresh = pump.fresh + 1 if pump.lapsed else 0
    since_ns = now.boot_ns if fresh == 1 else pump.fresh_since_ns
    waits = len(pump.lapse_times_ns) >= LAPSES_PATIENT
    proved = not waits or now.boot_ns - since_ns >= LAPSE_WAIT_S * _NS_PER_S
    recovered = fresh >= FRESH_NEEDED and proved
    return msgspec.structs.replace(
        pump,
        newest_origin_ns=origin_ns,
        heartbeat=(pump.heartbeat + 1) % _UINT16,
        lapsed=pump.lapsed and not recovered,
        fresh=0 if recovered else fresh,
        fresh_since_ns=since_ns,
    )


def _well_formed(setpoint: Setpoint) -> bool:
    """Whether lease, sequence and epoch can be reckoned with and fit the wire (structs check no types)."""
    return (
        is_finite_number(setpoint.lease_s)
        and setpoint.lease_s > 0.0
        and _is_whole(setpoint.sequence)
        and setpoint.sequence >= 0
        and _is_whole(setpoint.epoch.counter)
        and 0 <= setpoint.epoch.counter <= _UINT32_MAX
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
