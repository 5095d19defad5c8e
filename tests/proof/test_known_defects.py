"""What the searches found: repaired, and an ordinary test; or not yet, and expected to fail until it is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from actors.messages import Epoch, Setpoint
from actors.publisher.gate import StationGate, offer
from actors.publisher.image import image
from actors.safety.latch import LatchSet, cleared
from actors.vocabulary import Mode, Quality, Reason, Scope
from actors.vocabulary.records import StopEventRecord
from ops.demo.plc import Block, PumpMemory, receive
from storage.latches import LatchFolder
from tests.unit.actors.safety.timeline import START, limits, play, pump, station

CAPPED = station(pump(of=limits(band_hz=(20.0, 50.0), max_power_kw=8.0)))


def test_a_pump_that_draws_too_much_at_its_minimum_is_stopped() -> None:
    """SAF-2.7: 12 kW at 20 Hz where 8 kW are allowed, so 17.5 Hz at most, which is below the minimum: 0."""
    play(
        CAPPED,
        """
        t_s  plan_hz  power_kw | setpoint_hz  because
          0       20        12 |        0.00  power_cap
        """,
        start_hz=20.0,
    )


def test_a_wish_below_the_minimum_is_not_lifted_above_the_motors_power() -> None:
    """SAF-2.7, SAF-2.9: a lower rule never weakens a higher one. Rule 7 lets 17 Hz pass, rule 9 makes 20 Hz of it."""
    play(
        CAPPED,
        """
        t_s  plan_hz  power_kw | setpoint_hz
          0       17        12 |        0.00
        """,
        start_hz=20.0,
    )


def test_a_soft_stop_is_not_slower_than_the_motors_power_allows() -> None:
    """SAF-2.7, SAF-2.10: 12 kW at 35 Hz where 8 kW are allowed. With a plan of 35 Hz it comes down by the rate (1 Hz/s)
    to 30.57 Hz; with a plan of 0 it must not draw too much for longer.
    """
    play(
        station(pump(of=limits(band_hz=(20.0, 50.0), max_power_kw=8.0)), soft_stop_hz_per_s=0.3),
        """
        t_s  plan_hz  power_kw | setpoint_hz
          0       35         - |       35.00
          1        0        12 |       34.00
          2        0        12 |       33.00
        """,
        start_hz=35.0,
    )


def test_a_soft_stop_is_soft_below_the_motors_power() -> None:
    """SAF-2.10: 8.1 kW at 35 Hz where 8 kW are allowed: by the rate to 34.86 Hz, softly from there."""
    play(
        station(pump(of=limits(band_hz=(20.0, 50.0), max_power_kw=8.0)), soft_stop_hz_per_s=0.1),
        """
        t_s  plan_hz  power_kw | setpoint_hz
          0       35         - |       35.00
          1        0       8.1 |       34.86
          2        0       7.9 |       34.76
        """,
        start_hz=35.0,
    )


def test_a_held_pump_is_not_started_by_a_bad_wish() -> None:
    """CTL-7, SAF-3: held stopped stays stopped, also where the wish beside it is absurd and failsafe begins."""
    play(
        station(pump(of=limits(), default_setpoint_hz=30.0)),
        """
        t_s  plan_hz  held  failsafe              | setpoint_hz
          0        0     1  -                     |        0.00
          1      101     1  FAILSAFE_DATABASE     |        0.00
        """,
    )


# --------------------------------------------------------------------------- found by spin in fencing.pml


def shown(gate: StationGate, latches: LatchSet) -> tuple[Block, StationGate]:
    """What a gate shows, as its controller reads it."""
    picture, pump_gate = image(
        gate.pumps["a"], latches, CAPPED.pumps[0], site_id="site", whole=True, epoch_floor=1, now=START
    )
    block = Block(
        remote_enabled=picture.remote_enabled,
        run_inhibit=picture.run_inhibit,
        setpoint_quality=picture.quality.value,
        heartbeat=picture.heartbeat,
        epoch=picture.epoch_counter,
        release_id=picture.release_id,
    )
    return block, StationGate(floor=gate.floor, pumps={"a": pump_gate})


def decided(sequence: int, *, inhibit: bool) -> Setpoint:
    return Setpoint(
        pump_id="a",
        setpoint_hz=0.0,
        remote_enabled=True,
        quality=Quality.GOOD,
        reason=Reason.PLAN,
        run_inhibit=inhibit,
        failsafe_image_hz=0.0,
        failsafe_image_reason=Reason.LEASE_EXPIRED,
        epoch=Epoch(0, 1),
        sequence=sequence,
        origin=START,
        lease_s=10.0,
        limits_version=1,
        mode=Mode.AUTO,
    )


STOP = StopEventRecord(
    record_id="s", scope=Scope.PUMP, scope_id="a", reason="t", set_by="t", set_at=START.utc, set_stamp=20
)
CLEARED = cleared(STOP, by="t", at=START.utc, reason="t", release=30)


def test_a_setpoint_that_knows_nothing_of_the_clear_does_not_hold_the_pump_for_ever() -> None:
    """EST-6: the gate knows of stop and clear; then a setpoint arrives that was decided before the clear."""
    latches, controller = LatchSet.of([CLEARED]), PumpMemory()
    gate = StationGate().of(["a"])
    block, gate = shown(gate, latches)  # run_inhibit 0, release_id 30
    controller = receive(controller, block, now_s=0.0)
    for sequence, inhibit in ((1, True), (2, False)):
        gate, _ = offer(gate, [decided(sequence, inhibit=inhibit)], now=START, lease_s_max=10.0)
        block, gate = shown(gate, latches)
        controller = receive(controller, block, now_s=0.0)
    assert not controller.retained.inhibited, "nobody's stop stands, and no release will ever be higher"


def test_a_stop_read_from_a_gate_of_an_older_epoch_is_not_let_go_without_a_clear() -> None:
    """EST-6: what let go is higher than what was retained only because nothing was retained."""
    controller = receive(PumpMemory(), Block(epoch=2, release_id=30), now_s=0.0)
    controller = receive(controller, Block(epoch=1, release_id=30, run_inhibit=True), now_s=0.0)
    assert controller.retained.inhibited
    controller = receive(controller, Block(epoch=2, release_id=30), now_s=0.0)
    assert controller.retained.inhibited, "nobody cleared anything"


@pytest.mark.parametrize("joined_with", [(), (CLEARED,)], ids=["nothing is left", "an old clear is left"])
def test_a_latch_folder_that_begins_anew_lets_no_retained_stop_go(
    tmp_path: Path, joined_with: tuple[StopEventRecord, ...]
) -> None:
    """EST-6: losing Calejo never turns a stop into a start: the folder is lost with a stop that the database has not
    got, and made anew. Only a person's clear has a number; and the next one's is above all that was ever given.
    """
    before = LatchFolder(tmp_path / "before", utc_second=lambda: 1_800_000_000)
    before.merge(joined_with)
    lost = msgspec.structs.replace(STOP, record_id="lost", set_stamp=before.next_stamp())
    gate = StationGate().of(["a"])
    block, gate = shown(gate, LatchSet.of([*before.load(), lost]))
    controller = receive(PumpMemory(), block, now_s=0.0)
    assert controller.retained.inhibited

    anew = LatchFolder(tmp_path / "anew", utc_second=lambda: 1_800_000_500)
    anew.merge(joined_with)
    anew.mark_joined()
    block, gate = shown(StationGate().of(["a"]), LatchSet.of(anew.load()))
    assert not block.run_inhibit, "what nobody knows of cannot be shown"
    controller = receive(controller, block, now_s=1.0)
    assert controller.retained.inhibited, "nobody cleared anything"

    # A person who has looked stops the pump once more and clears that.
    again = msgspec.structs.replace(STOP, record_id="again", set_stamp=anew.next_stamp())
    block, gate = shown(gate, LatchSet.of([*anew.load(), again]))
    controller = receive(controller, block, now_s=2.0)
    done = cleared(again, by="t", at=START.utc, reason="t", release=anew.next_stamp())
    block, gate = shown(gate, LatchSet.of([*anew.load(), done]))
    assert not receive(controller, block, now_s=3.0).retained.inhibited
