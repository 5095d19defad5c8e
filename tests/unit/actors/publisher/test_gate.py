"""The last gate: goal: nothing old, foreign, unfit or latched reaches a wire, in whatever order it arrives."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Epoch, Setpoint
from actors.publisher.gate import (
    ClockOffset,
    PumpGate,
    Refusal,
    StationGate,
    advance,
    alive,
    lease_left_s,
    offer,
)
from actors.publisher.image import PumpImage, image
from actors.safety.latch import EMERGENCY_STOP, OUT_OF_SERVICE, LatchSet, cleared
from actors.vocabulary import (
    ControlType,
    FailsafeStrategy,
    Instant,
    Mode,
    PumpConfig,
    Quality,
    Reason,
    SafetyLimits,
    Scope,
)
from actors.vocabulary.records import StopEventRecord

BOOT = "boot-a"
T0 = Instant(BOOT, 1_000 * 10**9, 1_800_000_000 * 10**9)
LIMITS = SafetyLimits(version=1, hard_min_speed_hz=20.0, hard_max_speed_hz=50.0, max_rate_hz_per_s=2.0)
FLOOR = 1_800_000_000


def pump_config(*, emergency_hz: float = 0.0, limits: SafetyLimits | None = LIMITS) -> PumpConfig:
    return PumpConfig(
        pump_id="p1",
        station_id="s1",
        name="P1",
        control_type=ControlType.DIRECT_SPEED,
        default_setpoint_hz=25.0,
        failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
        wire_slot=0,
        emergency_stop_setpoint_hz=emergency_hz,
        limits=limits,
    )


def setpoint(
    *,
    sequence: int,
    origin: Instant,
    hz: float = 35.0,
    counter: int = 7,
    lease_s: float = 10.0,
    image_hz: float = 25.0,
    enabled: bool = True,
    inhibit: bool = False,
    release: int = 0,
) -> Setpoint:
    return Setpoint(
        pump_id="p1",
        setpoint_hz=hz,
        remote_enabled=enabled,
        quality=Quality.GOOD,
        reason=Reason.PLAN,
        run_inhibit=inhibit,
        failsafe_image_hz=image_hz,
        failsafe_image_reason=Reason.LEASE_EXPIRED,
        epoch=Epoch(0, counter),
        sequence=sequence,
        origin=origin,
        lease_s=lease_s,
        limits_version=1,
        mode=Mode.AUTO,
        latch_release=release,
    )


def stop_record(
    record_id: str = "a", *, kind: str = EMERGENCY_STOP, stamp: int = FLOOR + 10
) -> StopEventRecord:
    return StopEventRecord(
        record_id=record_id,
        scope=Scope.PUMP,
        scope_id="p1",
        reason="t",
        set_by="t",
        set_at=T0.utc,
        kind=kind,
        set_stamp=stamp,
    )


class Bench:
    """One pump's gate with its own clock: offers, looks, and keeps the last picture."""

    def __init__(self, *, config: PumpConfig | None = None, floor: Epoch | None = None) -> None:
        self.config = config or pump_config()
        self.gate = StationGate(floor=floor).of(["p1"])
        self.latches = LatchSet()
        self.whole = True
        self.now = T0
        self.sequence = 0

    def offer(self, given_: Setpoint, *, offsets: dict[str, ClockOffset] | None = None) -> Refusal | None:
        self.gate, refused = offer(self.gate, [given_], now=self.now, lease_s_max=10.0, offsets=offsets)
        return refused.get("p1")

    def tick(self, hz: float = 35.0, **changed: object) -> Refusal | None:
        """A healthy chain's next setpoint, of this very moment."""
        self.sequence += 1
        return self.offer(setpoint(sequence=self.sequence, origin=self.now, hz=hz, **changed))  # type: ignore[arg-type]

    def look(self) -> PumpImage:
        floor = self.gate.floor
        picture, pump = image(
            self.gate.pumps["p1"],
            self.latches,
            self.config,
            site_id="north",
            whole=self.whole,
            epoch_floor=floor.counter if floor else 0,
            now=self.now,
        )
        self.gate = msgspec.structs.replace(self.gate, pumps={"p1": pump})
        return picture

    def after(self, seconds: float) -> Bench:
        self.now = self.now.plus(seconds)
        return self

    @property
    def pump(self) -> PumpGate:
        return self.gate.pumps["p1"]


# --------------------------------------------------------------------------- freshness and lease


def test_nothing_received_claims_nothing() -> None:
    """SAF-9: a new gate shows 0, not enabled, BAD, and the epoch it will not go below."""
    picture = Bench(floor=Epoch(0, 41)).look()
    assert (picture.setpoint_hz, picture.remote_enabled, picture.quality) == (0.0, False, Quality.BAD)
    assert (picture.reason, picture.heartbeat, picture.epoch_counter) == (Reason.NOT_STARTED, 0, 41)


def test_the_lease_runs_from_the_origin_not_from_the_arrival() -> None:
    """SAF-9: a setpoint that took 6 s to arrive counts for 4 s more."""
    bench = Bench()
    late = setpoint(sequence=1, origin=T0)
    bench.after(6.0)
    assert bench.offer(late) is None
    assert lease_left_s(bench.pump, now=bench.now) == pytest.approx(4.0)
    assert bench.look().remote_enabled
    assert bench.after(3.999).look().remote_enabled
    lapsed = bench.after(0.001).look()
    assert not lapsed.remote_enabled
    assert (lapsed.setpoint_hz, lapsed.quality, lapsed.reason) == (25.0, Quality.BAD, Reason.LEASE_EXPIRED)
    assert lapsed.failsafe


def test_a_lease_that_is_over_is_dead_before_anybody_has_noted_it() -> None:
    """SAF-9: alive to the last nanosecond of the lease, dead from its end on."""
    pump = PumpGate(last=setpoint(sequence=1, origin=T0.plus(-10.0)), lease_end_ns=T0.boot_ns + 1)
    assert alive(pump, now=T0)
    assert not alive(msgspec.structs.replace(pump, lapsed=True), now=T0)
    for end_ns in (T0.boot_ns, T0.boot_ns - 1):
        assert not alive(msgspec.structs.replace(pump, lease_end_ns=end_ns), now=T0)


def test_a_setpoint_on_its_last_second_is_stale() -> None:
    """SAF-9: what is as old as its lease is refused, counted, and changes nothing."""
    bench = Bench()
    late = setpoint(sequence=1, origin=T0)
    bench.after(10.0)
    assert bench.offer(late) is Refusal.STALE
    assert bench.look().reason is Reason.NOT_STARTED
    assert bench.pump.refused == {"stale": 1}


def test_the_gate_bounds_the_lease_itself() -> None:
    """SAF-9: a sender cannot give itself an hour."""
    bench = Bench()
    assert bench.tick(lease_s=3600.0) is None
    assert lease_left_s(bench.pump, now=bench.now) == pytest.approx(10.0)


@pytest.mark.parametrize("lease_s", [0.0, -1.0, math.nan, math.inf])
def test_a_senseless_lease_is_malformed(lease_s: float) -> None:
    """SAF-9: a lease that cannot be reckoned with is none."""
    assert Bench().tick(lease_s=lease_s) is Refusal.MALFORMED


def test_origins_in_the_future() -> None:
    """SAF-9: far ahead is refused; slightly ahead is taken but buys no time."""
    bench = Bench()
    assert bench.offer(setpoint(sequence=1, origin=T0.plus(0.6))) is Refusal.FUTURE
    assert bench.offer(setpoint(sequence=2, origin=T0.plus(0.4))) is None
    assert lease_left_s(bench.pump, now=bench.now) == pytest.approx(10.0)


def test_another_boots_clock() -> None:
    """SAF-9: unknown offset refused; a measured one is used with its uncertainty counting against the age."""
    bench = Bench()
    foreign = Instant("boot-b", T0.boot_ns + 500 * 10**9, T0.utc_ns)
    assert bench.offer(setpoint(sequence=1, origin=foreign)) is Refusal.UNKNOWN_CLOCK
    known = {"boot-b": ClockOffset(offset_ns=-500 * 10**9, uncertainty_ns=2 * 10**9)}
    assert bench.offer(setpoint(sequence=1, origin=foreign), offsets=known) is None
    assert lease_left_s(bench.pump, now=bench.now) == pytest.approx(8.0)
    vague = {"boot-b": ClockOffset(offset_ns=-500 * 10**9, uncertainty_ns=11 * 10**9)}
    assert bench.offer(setpoint(sequence=2, origin=foreign), offsets=vague) is Refusal.STALE


def test_the_heartbeat_proves_a_newer_tick_not_a_newer_message() -> None:
    """WDG-4: re-deciding an old tick shows its value at once, but neither beats nor lengthens the lease."""
    bench = Bench()
    bench.tick()
    first = bench.look()
    bench.after(2.0)
    assert bench.offer(setpoint(sequence=2, origin=T0, hz=0.0)) is None
    second = bench.look()
    assert (first.heartbeat, second.heartbeat) == (1, 1)
    assert (second.setpoint_hz, second.sequence) == (0.0, 2)
    assert lease_left_s(bench.pump, now=bench.now) == pytest.approx(8.0)
    bench.sequence = 2
    bench.tick()
    assert bench.look().heartbeat == 2


def test_the_heartbeat_wraps() -> None:
    """WDG-4: 16 bits on the wire."""
    bench = Bench()
    bench.gate = msgspec.structs.replace(bench.gate, pumps={"p1": PumpGate(heartbeat=65_535)})
    bench.tick()
    assert bench.look().heartbeat == 0


def test_repeats_are_no_refusals_and_older_sequences_are() -> None:
    """SAF-11: the batch repeats unchanged pumps; what Ray delivered late is dropped."""
    bench = Bench()
    bench.sequence = 4
    bench.tick(hz=30.0)
    assert bench.offer(setpoint(sequence=5, origin=bench.now, hz=40.0)) is None
    assert bench.offer(setpoint(sequence=4, origin=bench.now, hz=45.0)) is Refusal.SEQUENCE
    assert bench.look().setpoint_hz == 30.0
    assert bench.pump.refused == {"sequence": 1}


# --------------------------------------------------------------------------- lapse and recovery


def test_three_fresh_setpoints_end_a_lapse() -> None:
    """SAF-9: after a lapse the first two are shown as recovering, the third enables."""
    bench = Bench()
    bench.tick()
    bench.after(11.0)
    shown = []
    for _ in range(4):
        bench.tick()
        picture = bench.look()
        shown.append((picture.remote_enabled, picture.setpoint_hz, picture.reason))
        bench.after(1.0)
    assert shown == [
        (False, 25.0, Reason.RECOVERING),
        (False, 25.0, Reason.RECOVERING),
        (True, 35.0, Reason.PLAN),
        (True, 35.0, Reason.PLAN),
    ]


def test_a_redecided_tick_proves_nothing_after_a_lapse() -> None:
    """SAF-9: three messages about one tick are not three fresh setpoints."""
    bench = Bench()
    bench.tick()
    bench.after(11.0)
    origin = bench.now
    for sequence in range(2, 8):
        bench.offer(setpoint(sequence=sequence, origin=origin))
    assert not bench.look().remote_enabled


def test_a_gap_during_the_recovery_starts_it_anew() -> None:
    """SAF-9: two fresh, silence, one fresh: not enabled."""
    bench = Bench()
    bench.tick()
    bench.after(11.0).tick()
    bench.after(1.0).tick()
    bench.after(11.0).look()
    bench.tick()
    assert not bench.look().remote_enabled
    assert bench.pump.lapses_total == 1


def lapse(bench: Bench) -> None:
    bench.tick()
    bench.after(10.0).look()


def recover(bench: Bench, *, ticks_max: int = 100) -> int:
    """Tick each second until enabled; return the seconds it took."""
    for elapsed in range(ticks_max):
        bench.tick()
        if bench.look().remote_enabled:
            return elapsed
        bench.after(1.0)
    raise AssertionError("never enabled again")


def test_the_third_lapse_within_ten_minutes_waits() -> None:
    """SAF-9: 2 s, 2 s, then 60 s."""
    bench = Bench()
    waits = []
    for _ in range(3):
        lapse(bench)
        waits.append(recover(bench))
    assert waits == [2, 2, 60]


def test_three_lapses_in_more_than_ten_minutes_do_not_wait() -> None:
    """SAF-9: the window forgets."""
    bench = Bench()
    waits = []
    for _ in range(4):
        lapse(bench)
        waits.append(recover(bench))
        for _ in range(400):
            bench.after(1.0).tick()
    assert waits == [2, 2, 2, 2]


@pytest.mark.parametrize(("between_ns", "counted"), [(600 * 10**9, 2), (600 * 10**9 + 1, 1)])
def test_two_lapses_are_ten_minutes_apart_to_the_nanosecond(between_ns: int, counted: int) -> None:
    """SAF-9: within ten minutes: ten minutes still are, a nanosecond more is not."""
    first_ns = T0.boot_ns - between_ns
    last = setpoint(sequence=1, origin=T0.plus(-10.0))
    before = PumpGate(last=last, lease_end_ns=T0.boot_ns, lapse_times_ns=(first_ns,), lapses_total=1)
    after = advance(before, now=T0)
    assert after.lapse_times_ns == (first_ns, T0.boot_ns)[-counted:]
    assert (after.lapsed, after.lapses_total) == (True, 2)


# --------------------------------------------------------------------------- fencing


def test_an_older_epoch_is_refused_from_the_first_setpoint_on() -> None:
    """SAF-11: the floor read at the start fences before anything was accepted."""
    bench = Bench(floor=Epoch(0, 8))
    assert bench.tick(counter=7) is Refusal.EPOCH
    assert bench.tick(counter=8) is None
    assert bench.tick(counter=9) is None
    assert bench.tick(counter=8) is Refusal.EPOCH
    assert bench.look().epoch_counter == 9


def test_a_new_epoch_may_count_from_one_again() -> None:
    """SAF-11: sequences are compared within an epoch only."""
    bench = Bench()
    bench.sequence = 500
    bench.tick()
    bench.sequence = 0
    assert bench.tick(counter=8, hz=30.0) is None
    assert bench.look().setpoint_hz == 30.0


def test_one_pumps_new_epoch_fences_the_whole_station() -> None:
    """SAF-11: the floor is the station's; the other pump keeps its value for the rest of its lease."""
    gate = StationGate().of(["p1", "p2"])
    other = msgspec.structs.replace(setpoint(sequence=1, origin=T0), pump_id="p2")
    gate, _ = offer(gate, [other], now=T0, lease_s_max=10.0)
    gate, _ = offer(gate, [setpoint(sequence=1, origin=T0, counter=8)], now=T0, lease_s_max=10.0)
    late = msgspec.structs.replace(other, sequence=2, setpoint_hz=45.0)
    gate, refused = offer(gate, [late], now=T0, lease_s_max=10.0)
    assert refused == {"p2": Refusal.EPOCH}
    assert gate.pumps["p2"].last == other


def test_a_pump_of_another_station_is_refused() -> None:
    """SAF-8: what is not configured here is not shown here."""
    _, refused = offer(StationGate(), [setpoint(sequence=1, origin=T0)], now=T0, lease_s_max=10.0)
    assert refused == {"p1": Refusal.UNKNOWN_PUMP}


# --------------------------------------------------------------------------- final check


@pytest.mark.parametrize("hz", [60.0, 10.0, -5.0, math.nan, math.inf, 50.02])
def test_a_value_outside_the_band_is_not_shown(hz: float) -> None:
    """SAF-8: the gate's own band: the pump is handed back, flagged, never forced to a value nobody decided."""
    bench = Bench()
    bench.tick(hz=hz)
    picture = bench.look()
    assert (picture.setpoint_hz, picture.remote_enabled) == (0.0, False)
    assert (picture.quality, picture.reason) == (Quality.BAD, Reason.FINAL_CHECK)


@pytest.mark.parametrize(
    ("band_hz", "edge_hz"), [((20.0, 40.0), 40.0), ((47.0, 50.0), 47.0), ((20.0, 60.0), 45.0)]
)
def test_new_limits_that_arrive_before_the_next_decision_let_go_of_no_pump(
    band_hz: tuple[float, float], edge_hz: float
) -> None:
    """SAF-8, SAF-2.9: a value decided under other limits is shown at the edge of the band in force, still enabled."""
    bench = Bench()
    bench.tick(hz=45.0)
    assert bench.look().setpoint_hz == 45.0
    low, high = band_hz
    changed = msgspec.structs.replace(LIMITS, version=2, hard_min_speed_hz=low, hard_max_speed_hz=high)
    bench.config = pump_config(limits=changed)
    picture = bench.after(0.1).look()
    assert (picture.setpoint_hz, picture.remote_enabled) == (edge_hz, True)
    # The latch outranks it, and what was decided under the very limits in force has no such excuse.
    bench.latches = LatchSet.of([stop_record()])
    assert bench.look().setpoint_hz == 0.0
    bench = Bench(config=pump_config(limits=changed))
    bench.sequence += 1
    bench.offer(
        msgspec.structs.replace(setpoint(sequence=1, origin=bench.now, hz=high + 1.0), limits_version=2)
    )
    assert (bench.look().remote_enabled, bench.look().reason) == (False, Reason.FINAL_CHECK)


def test_a_successors_first_value_is_caught_up_with() -> None:
    """SAF-2.10, SAF-10: stopped, the safety actor replaced while the pump runs down: no step from 0 into the band."""
    bench = Bench()
    bench.tick(hz=0.0)
    bench.look()
    bench.after(0.5)
    shown: list[float] = []
    for tenth in range(200):
        if tenth % 10 == 0:
            bench.tick(hz=min(38.0 + 0.2 * tenth, 40.0), counter=8)
        shown.append(bench.look().setpoint_hz)
        bench.after(0.1)
    assert shown[0] == 20.0
    assert shown[-1] == 40.0
    assert all(later - earlier <= 0.2 + 0.011 for earlier, later in pairwise(shown))


def test_a_successor_that_goes_on_where_its_predecessor_was_is_shown_as_it_is() -> None:
    """SAF-10: bumpless: neither at the same value, nor below it, nor where nothing was claimed before."""
    for before_hz, enabled, first_hz in ((35.0, True, 35.0), (35.0, True, 33.5), (0.0, False, 40.0)):
        bench = Bench()
        bench.tick(hz=before_hz, enabled=enabled)
        bench.look()
        shown = []
        for step in range(3):
            bench.after(1.0).tick(hz=first_hz + step, counter=8)
            shown.append(bench.look().setpoint_hz)
        assert shown == [first_hz, first_hz + 1.0, first_hz + 2.0]


def test_a_failsafe_image_outside_the_band_is_not_shown() -> None:
    """SAF-8: the image left behind passes the same check."""
    bench = Bench()
    bench.tick(image_hz=60.0)
    assert bench.after(11.0).look().setpoint_hz == 0.0


def test_a_pump_without_limits_is_never_driven() -> None:
    """DAT-5: 0, not enabled, flagged, whatever the chain says."""
    bench = Bench(config=pump_config(limits=None))
    for hz in (35.0, 0.0):
        bench.tick(hz=hz)
        picture = bench.look()
        assert (picture.setpoint_hz, picture.remote_enabled) == (0.0, False)
        assert picture.reason is Reason.NOT_COMMISSIONED


# --------------------------------------------------------------------------- latch


def test_a_stop_is_shown_whatever_the_lease_does() -> None:
    """EST-2, SAF-8: never received, alive, lapsed: value 0, run_inhibit, reason; remote_enabled as decided."""
    bench = Bench()
    bench.latches = LatchSet.of([stop_record()])
    never = bench.look()
    bench.tick()
    living = bench.look()
    lapsed = bench.after(11.0).look()
    for picture, enabled in ((never, False), (living, True), (lapsed, False)):
        assert (picture.setpoint_hz, picture.run_inhibit) == (0.0, True)
        assert picture.reason is Reason.EMERGENCY_STOP
        assert picture.remote_enabled is enabled


def test_an_emergency_setpoint_slows_but_never_starts() -> None:
    """SAF-2.1: min(applied, emergency_stop_setpoint_hz): a running pump slows to it, a standing one stays."""
    running = Bench(config=pump_config(emergency_hz=22.0))
    running.tick(hz=35.0)
    assert running.look().setpoint_hz == 35.0
    running.latches = LatchSet.of([stop_record()])
    assert running.look().setpoint_hz == 22.0
    running.tick(hz=0.0)
    assert running.look().setpoint_hz == 0.0
    running.tick(hz=22.0)
    assert running.look().setpoint_hz == 0.0

    standing = Bench(config=pump_config(emergency_hz=22.0))
    standing.tick(hz=0.0)
    standing.look()
    standing.latches = LatchSet.of([stop_record()])
    standing.tick(hz=22.0)
    assert standing.look().setpoint_hz == 0.0


def test_a_lapse_under_a_stop_does_not_run_the_failsafe_image() -> None:
    """SAF-9, EST-6: not enabled under run_inhibit stands still; coming back must not be a start."""
    bench = Bench(config=pump_config(emergency_hz=22.0))
    bench.tick(hz=35.0)
    bench.look()
    bench.latches = LatchSet.of([stop_record()])
    bench.look()
    bench.after(11.0).look()
    for _ in range(3):
        bench.tick(hz=22.0)
        bench.look()
        bench.after(1.0)
    picture = bench.look()
    assert picture.remote_enabled
    assert picture.setpoint_hz == 0.0


def test_an_emergency_setpoint_is_not_shown_where_nothing_is_claimed() -> None:
    """SAF-2.1, SAF-9: lapsed or handed back under a stop, the very next picture is 0, not the emergency value."""
    for handed_back in (False, True):
        bench = Bench(config=pump_config(emergency_hz=25.0))
        bench.tick(hz=35.0)
        bench.look()
        bench.latches = LatchSet.of([stop_record()])
        assert bench.look().setpoint_hz == 25.0
        if handed_back:
            bench.after(1.0).tick(hz=30.0, enabled=False)
        else:
            bench.after(10.0)
        picture = bench.look()
        assert (picture.setpoint_hz, picture.remote_enabled, picture.run_inhibit) == (0.0, False, True)


def test_out_of_service_is_zero() -> None:
    """SAF-2.2, CTL-7: latched like a stop, shown as such."""
    bench = Bench(config=pump_config(emergency_hz=22.0))
    bench.tick(hz=35.0)
    bench.look()
    bench.latches = LatchSet.of([stop_record(kind=OUT_OF_SERVICE)])
    picture = bench.look()
    assert (picture.setpoint_hz, picture.run_inhibit) == (0.0, True)
    assert (picture.reason, picture.mode) == (Reason.OUT_OF_SERVICE, Mode.OUT_OF_SERVICE)


def test_clearing_never_starts_at_once_even_if_the_chain_slept_through_it() -> None:
    """EST-2: hold until a newer tick, then 0 -> minimum -> ramp, although the chain says 35 Hz all the time."""
    bench = Bench()
    bench.tick(hz=35.0)
    bench.look()
    record = stop_record()
    bench.latches = LatchSet.of([record])
    bench.look()
    bench.latches = bench.latches.merge(
        [cleared(record, by="op", at=T0.utc, reason="ok", release=FLOOR + 20)]
    )
    held = bench.after(0.1).look()
    assert (held.setpoint_hz, held.reason, held.run_inhibit) == (0.0, Reason.HELD_STOPPED, False)
    shown = [0.0]
    for step in range(1200):
        if step % 10 == 0:
            bench.tick(hz=35.0)
        shown.append(bench.look().setpoint_hz)
        bench.after(0.1)
        if shown[-1] == 35.0:
            break
    assert shown[1] == 20.0
    assert shown[-1] == 35.0
    steps = [later - earlier for earlier, later in pairwise(shown[1:])]
    assert all(0.0 <= step <= 0.2 + 0.011 for step in steps)
    assert len(steps) >= 74


def test_the_time_under_a_stop_is_no_time_for_a_ramp() -> None:
    """EST-2, CTL-3: a pump that an emergency setpoint left running ramps on from its clear, not from before."""
    bench = Bench(config=pump_config(emergency_hz=25.0))
    bench.tick(hz=35.0)
    bench.look()
    record = stop_record()
    bench.latches = LatchSet.of([record])
    bench.tick(hz=25.0, inhibit=True)
    for _ in range(20):
        assert bench.look().setpoint_hz == 25.0
        bench.after(0.1)
    bench.latches = LatchSet.of([cleared(record, by="op", at=T0.utc, reason="ok", release=FLOOR + 20)])
    bench.after(0.1).tick(hz=27.0)
    assert bench.look().setpoint_hz <= 25.0 + 2.0 * 0.2 + 0.011
    assert bench.after(1.0).look().setpoint_hz == 27.0


def test_two_ramps_after_a_clear_do_not_add_up() -> None:
    """EST-2, CTL-3: a gate that catches up with a chain that still ramps stays on its own ramp until both stand."""
    bench = Bench()
    record = stop_record()
    bench.latches = LatchSet.of([record])
    bench.tick(hz=0.0)
    bench.look()
    bench.latches = LatchSet.of([cleared(record, by="op", at=T0.utc, reason="ok", release=FLOOR + 20)])
    bench.after(0.1)
    shown: list[float] = []
    for tenth in range(200):
        if tenth % 10 == 0:
            bench.tick(hz=min(21.5 + 0.2 * tenth, 35.0))  # the chain is 0.75 s ahead of the gate
        shown.append(bench.look().setpoint_hz)
        bench.after(0.1)
    assert shown[0] == 20.0
    assert shown[-1] == 35.0
    since = {hz: tenth for tenth, hz in reversed(list(enumerate(shown)))}
    for (hz, tenth), (later_hz, later) in pairwise(sorted(since.items())):
        assert later_hz - hz <= 2.0 * 0.1 * (later - tenth) + 0.011, f"{hz} to {later_hz} Hz too soon"


def test_a_chain_that_knows_of_the_stop_is_followed() -> None:
    """EST-2: 0 decided after the clear ends the gate's own hold; the chain's ramp is shown as it is."""
    bench = Bench()
    bench.tick(hz=35.0)
    bench.look()
    record = stop_record()
    bench.latches = LatchSet.of([record])
    bench.tick(hz=0.0, inhibit=True)
    bench.look()
    bench.latches = LatchSet.of([cleared(record, by="op", at=T0.utc, reason="ok", release=FLOOR + 20)])
    shown = []
    for hz in (0.0, 20.0, 22.0, 24.0):
        bench.after(1.0).tick(hz=hz)
        shown.append(bench.look().setpoint_hz)
    assert shown == [0.0, 20.0, 22.0, 24.0]


def test_release_id_moves_only_together_with_the_inhibit() -> None:
    """EST-6: while any reader could see run_inhibit 1, it sees the old number; the chain hears of the clear later."""
    bench = Bench()
    record = stop_record()
    bench.latches = LatchSet.of([record])
    bench.tick(hz=0.0, inhibit=True)
    before = bench.look()
    bench.latches = LatchSet.of([cleared(record, by="op", at=T0.utc, reason="ok", release=FLOOR + 20)])
    between = bench.look()
    bench.after(1.0).tick(hz=0.0)
    after = bench.look()
    assert [(p.run_inhibit, p.release_id) for p in (before, between, after)] == [
        (True, 0),
        (False, FLOOR + 20),
        (False, FLOOR + 20),
    ]


def test_no_number_releases_before_the_latches_are_whole() -> None:
    """EST-2, EST-6: the folder was lost; the clear of one stop came by, whether another one holds is not known yet."""
    bench = Bench()
    bench.latches = LatchSet.of([cleared(stop_record(), by="op", at=T0.utc, reason="ok", release=FLOOR + 20)])
    bench.whole = False
    assert (bench.look().run_inhibit, bench.look().release_id) == (False, 0)
    bench.whole = True
    assert bench.look().release_id == FLOOR + 20


def test_a_setpoint_that_knows_nothing_of_the_clear_shows_no_inhibit_with_a_spent_number() -> None:
    """EST-6: the gate heard of stop and clear at once; a controller that retained that number would never let go."""
    bench = Bench()
    bench.latches = LatchSet.of([cleared(stop_record(), by="op", at=T0.utc, reason="ok", release=FLOOR + 20)])
    pictures = [bench.look()]
    for inhibit, release in ((True, 0), (True, FLOOR), (False, FLOOR + 20)):
        bench.after(1.0).tick(hz=0.0, inhibit=inhibit, release=release)
        pictures.append(bench.look())
    assert [(p.run_inhibit, p.release_id) for p in pictures] == [(False, FLOOR + 20)] * 4


def test_the_chain_may_know_of_a_newer_stop_than_the_gate() -> None:
    """EST-3, EST-6: its inhibit counts where it knows every clear that the gate knows; the next release is higher."""
    bench = Bench()
    bench.latches = LatchSet.of([cleared(stop_record(), by="op", at=T0.utc, reason="ok", release=FLOOR + 20)])
    bench.look()
    bench.after(1.0).tick(hz=0.0, inhibit=True, release=FLOOR + 20)
    assert (bench.look().run_inhibit, bench.look().release_id) == (True, FLOOR + 20)


def test_the_chains_inhibit_ends_with_its_lease_the_latches_does_not() -> None:
    """EST-6: a dead chain's word about a stop we do not hold cannot inhibit for ever; the latch can."""
    bench = Bench()
    bench.tick(hz=0.0, inhibit=True)
    assert bench.look().run_inhibit
    assert not bench.after(11.0).look().run_inhibit
    bench.latches = LatchSet.of([stop_record()])
    assert bench.after(1e6).look().run_inhibit


# --------------------------------------------------------------------------- in any order

offered = st.lists(
    st.tuples(
        st.integers(7, 9),  # epoch counter
        st.integers(1, 6),  # sequence
        st.floats(-2.0, 12.0),  # age of the origin at the offer (s)
        st.sampled_from([0.0, 20.0, 35.0, 50.0, 10.0, 60.0, math.nan]),
        st.sampled_from([0.0, 25.0, 99.0]),  # failsafe image
        st.floats(0.0, 6.0),  # time passes before the offer (s)
        st.sampled_from(["", "", "", "stop", "clear", "out"]),
    ),
    max_size=25,
)


@given(offered, st.sampled_from([0.0, 22.0]))
def test_whatever_arrives_the_wire_stays_lawful(
    story: list[tuple[int, int, float, float, float, float, str]], emergency_hz: float
) -> None:
    """SAF-8, SAF-9, SAF-11, WDG-4: order, repeats, age, junk and stops at random; looked at after each and between."""
    bench = Bench(config=pump_config(emergency_hz=emergency_hz))
    epoch = heartbeat = 0
    newest_origin = -math.inf
    before: PumpImage | None = None
    for counter, sequence, age_s, hz, image_hz, passes_s, event in story:
        bench.after(passes_s)
        if event == "clear":
            bench.latches = bench.latches.merge(
                [
                    cleared(record, by="op", at=T0.utc, reason="ok", release=FLOOR + 20)
                    for record in bench.latches.active()
                ]
            )
        elif event:
            kind = OUT_OF_SERVICE if event == "out" else EMERGENCY_STOP
            number = len(bench.latches.records)
            bench.latches = bench.latches.merge([stop_record(f"{number:03}", kind=kind)])
        origin = bench.now.plus(-age_s)
        given_ = setpoint(sequence=sequence, origin=origin, hz=hz, counter=counter, image_hz=image_hz)
        bench.offer(given_)
        for _ in range(2):
            picture = bench.look()
            last = bench.pump.last
            assert picture.setpoint_hz == 0.0 or 20.0 <= picture.setpoint_hz <= 50.0
            assert picture.epoch_counter >= epoch
            epoch = picture.epoch_counter
            if picture.heartbeat != heartbeat:
                assert picture.heartbeat == heartbeat + 1
                assert last is not None
                assert last.origin.boot_ns > newest_origin
                newest_origin = last.origin.boot_ns
                heartbeat = picture.heartbeat
            if picture.remote_enabled:
                assert last is not None
                assert bench.now.boot_ns < last.origin.boot_ns + 10.0 * 1e9 or age_s < 0.0
                assert lease_left_s(bench.pump, now=bench.now) <= 10.0
            if bench.latches.active(OUT_OF_SERVICE):
                assert picture.setpoint_hz == 0.0
            if bench.latches.active():
                assert picture.run_inhibit
                applied = before.setpoint_hz if before is not None and before.remote_enabled else 0.0
                assert picture.setpoint_hz <= min(applied, emergency_hz)
            before = picture
            bench.after(0.05)


def test_a_hand_back_after_a_clear_ends_the_gates_own_ramp() -> None:
    """EST-2, CTL-7: the chain handed the pump back after the clear; it takes it over at its measured speed later."""
    bench = Bench()
    bench.tick()
    bench.look()
    bench.latches = LatchSet.of([stop_record()])
    bench.after(1.0).look()
    bench.latches = LatchSet.of([cleared(stop_record(), by="t", at=T0.utc, reason="t", release=FLOOR + 11)])
    bench.after(1.0).tick(enabled=False)
    assert not bench.look().remote_enabled
    assert bench.pump.inhibit_seen_ns is None
    bench.after(1.0).tick(hz=35.0)
    assert bench.look().setpoint_hz == 35.0


@pytest.mark.parametrize(("hz", "shown_hz"), [(0.0, 0.0), (math.nan, 0.0), (60.0, 50.0), (35.0, 35.0)])
def test_a_value_of_other_limits_is_brought_to_the_edge_of_the_band(hz: float, shown_hz: float) -> None:
    """SAF-8: only what is a number above 0 has an edge to go to; 0 stays 0 and no number is no value."""
    newer = msgspec.structs.replace(LIMITS, version=2)
    bench = Bench(config=pump_config(limits=newer))
    bench.tick(hz=hz)
    assert bench.look().setpoint_hz == shown_hz


@pytest.mark.parametrize(("ahead_s", "refused"), [(0.5, None), (0.500_000_001, Refusal.FUTURE)])
def test_the_tolerated_future_ends_at_its_nanosecond(ahead_s: float, refused: Refusal | None) -> None:
    """SAF-9: half a second ahead is two clocks read one after the other, a nanosecond more is not."""
    bench = Bench()
    assert bench.offer(setpoint(sequence=1, origin=T0.plus(ahead_s))) is refused


@pytest.mark.parametrize(
    ("sequence", "counter", "refused"),
    [
        (0, 7, None),
        (-1, 7, Refusal.MALFORMED),
        (0, -1, Refusal.MALFORMED),
        (0, 2**32 - 1, None),
        (0, 2**32, Refusal.MALFORMED),
        (0.5, 7, Refusal.MALFORMED),
        (True, 7, Refusal.MALFORMED),
        ("1", 7, Refusal.MALFORMED),
        (0, 1.5, Refusal.MALFORMED),
        (0, True, Refusal.MALFORMED),
        (0, None, Refusal.MALFORMED),
    ],
)
def test_numbers_that_do_not_fit_the_wire_are_refused(
    sequence: Any, counter: Any, refused: Refusal | None
) -> None:
    """SAF-11: sequence and epoch are whole numbers of the wire, whatever a struct was made of."""
    bench = Bench()
    assert bench.offer(setpoint(sequence=sequence, origin=T0, counter=counter)) is refused
