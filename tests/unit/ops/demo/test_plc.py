"""The controller's law as stories: what it obeys, what it refuses, what it remembers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ops.demo.catalogue import STATIONS
from ops.demo.plant import Sensor, SensorFault
from ops.demo.plc import Block, PumpMemory, PumpPanel, Retained, fresh_memory, receive, reset_at_panel
from tests.unit.ops.demo.timeline import Story, fresh

HARBOUR, HILL, _ = STATIONS
FIRST = "harbour-1"


def only_first(setpoint_hz: float, **more: Any) -> Callable[[int, float], Block]:
    return lambda index, t_s: fresh(setpoint_hz, t_s, **more) if index == 0 else fresh(0.0, t_s)


def test_it_copies_the_setpoint_while_the_heartbeat_moves() -> None:
    """WDG-4: enabled, alive, not overridden: the drive ramps to the setpoint, inside its own limits."""
    story = Story(HARBOUR).go(20, inflow=100, blocks=only_first(35.0))
    assert story.sources == ["remote"] * 3
    assert story.speeds_hz == [35.0, 0.0, 0.0]
    story.go(20, inflow=100, blocks=only_first(80.0))
    assert story.speeds_hz[0] == 55.0
    story.go(20, inflow=100, blocks=only_first(0.0))
    assert story.speeds_hz[0] == 0.0


def test_a_heartbeat_that_stands_still_for_10_s_ends_the_obedience() -> None:
    """WDG-4: ten seconds, then its own levels, although the block still says enabled."""
    story = Story(HARBOUR).go(20, inflow=100, blocks=only_first(35.0))
    frozen = only_first(35.0)
    story.go(10, inflow=100, blocks=lambda index, t_s: frozen(index, 20.0))
    assert story.sources == ["remote"] * 3
    story.go(1, inflow=100, blocks=lambda index, t_s: frozen(index, 20.0))
    assert story.sources == ["local"] * 3
    story.go(30, inflow=100)
    assert story.speeds_hz == [0.0, 0.0, 0.0], "the level asks for no pump"
    story.go(20, inflow=100, blocks=only_first(30.0))
    assert story.speeds_hz == [30.0, 0.0, 0.0], "and back"


def test_a_heartbeat_seen_once_proves_nothing() -> None:
    """WDG-4: after power-up an old block with remote_enabled 1 is not obeyed before its heartbeat moves."""
    story = Story(HARBOUR).go(5, inflow=100, blocks=lambda index, t_s: fresh(40.0, 3.0))
    assert story.sources == ["local"] * 3


@pytest.mark.parametrize(
    "wrong",
    [{"remote_enabled": False}, {"setpoint_quality": 0}, {"sequence_end": 9_999}, {"epoch": 4}],
    ids=["not enabled", "BAD", "torn", "old epoch"],
)
def test_it_obeys_nothing_else(wrong: dict[str, Any]) -> None:
    """WDG-4, SAF-11: not enabled, BAD, torn or of an older epoch: not obeyed, for the last time 10 s after
    the last.
    """
    story = Story(HARBOUR).go(20, inflow=100, blocks=only_first(35.0))
    story.go(11, inflow=100, blocks=lambda index, t_s: fresh(45.0, t_s, **wrong))
    assert story.sources == ["local"] * 3
    assert story.speeds_hz[0] <= 35.0, "45 Hz was never obeyed"


def test_an_old_epoch_is_refused_until_a_reset_at_the_panel() -> None:
    """SAF-11: the newest epoch is remembered through a reboot; only a person makes it forget."""
    pump = fresh_memory(HARBOUR).pumps[0]
    pump = receive(pump, fresh(30.0, 1, epoch=7), now_s=1)
    rebooted = fresh_memory(HARBOUR, [pump.retained] * 3).pumps[0]
    refused = receive(rebooted, fresh(40.0, 2, epoch=6), now_s=2)
    assert (refused.echo_hz, refused.old_epochs) == (0.0, 1)
    taken = receive(reset_at_panel(refused), fresh(40.0, 2, epoch=6), now_s=3)
    assert taken.echo_hz == 40.0


def test_a_torn_block_changes_nothing_but_its_count() -> None:
    """WDG-4: sequence and sequence_end differ: not even the echo moves."""
    pump = receive(fresh_memory(HARBOUR).pumps[0], fresh(30.0, 1), now_s=1)
    torn = receive(pump, fresh(45.0, 2, sequence_end=7, run_inhibit=True, epoch=9), now_s=2)
    assert torn == msgspec.structs.replace(pump, torn=1)


def test_a_stopped_pump_stays_stopped_whatever_happens_to_calejo() -> None:
    """EST-6: stop, Calejo dead, level rising to the start level, reboot, empty blocks: it does not start."""
    story = Story(HARBOUR).go(20, inflow=100, blocks=only_first(35.0))
    story.go(20, inflow=100, blocks=only_first(0.0, run_inhibit=True, remote_enabled=False))
    assert story.speeds_hz[0] == 0.0
    story.go(3_600, inflow=250)
    assert story.speeds_hz[0] == 0.0
    assert sum(hz > 0 for hz in story.speeds_hz[1:]) == 2, "the others pump on their own levels"
    story.memory = fresh_memory(HARBOUR, [pump.retained for pump in story.memory.pumps])
    story.go(600, inflow=250, blocks=lambda index, t_s: Block())
    assert story.truth.pumps[0].starts == 1
    assert story.speeds_hz[0] == 0.0


def test_a_stop_is_released_only_by_a_higher_release_id() -> None:
    """EST-6: run_inhibit 0 is not enough; release_id must exceed the one retained."""
    pump = receive(fresh_memory(HARBOUR).pumps[0], fresh(0.0, 1, run_inhibit=True, release_id=100), now_s=1)
    for release_id, inhibited in ((99, True), (100, True), (101, False)):
        pump = receive(pump, fresh(0.0, 2, release_id=release_id), now_s=2)
        assert pump.retained.inhibited is inhibited
    assert pump.retained == Retained(inhibited=False, release_id=101, epoch=5)


def test_a_stop_in_a_block_of_an_older_epoch_still_stops() -> None:
    """EST-6, SAF-11: what is refused as a setpoint is not ignored as a stop; its release is."""
    pump = receive(fresh_memory(HARBOUR).pumps[0], fresh(30.0, 1, epoch=9), now_s=1)
    pump = receive(pump, fresh(0.0, 2, epoch=8, run_inhibit=True, release_id=100), now_s=2)
    assert pump.retained.inhibited
    assert receive(pump, fresh(0.0, 3, epoch=8, release_id=500), now_s=3).retained.inhibited


def test_under_a_stop_a_running_pump_may_run_on_a_remote_setpoint_but_none_starts() -> None:
    """EST-6: emergency_stop_setpoint_hz above 0: running down at 22 Hz is allowed, starting is not."""
    story = Story(HARBOUR).go(20, inflow=100, blocks=only_first(35.0))
    story.go(20, inflow=100, blocks=only_first(22.0, run_inhibit=True))
    assert story.speeds_hz[0] == 22.0
    story.go(20, inflow=100, blocks=only_first(0.0, run_inhibit=True))
    story.go(20, inflow=100, blocks=only_first(22.0, run_inhibit=True))
    assert story.speeds_hz[0] == 0.0


def test_the_panel_outranks_everything_but_the_dry_cut_out() -> None:
    """EST-6, CTL-7: hand operation is not bound by a stop; a dry well stops it."""
    story = Story(HARBOUR).go(5, inflow=100, blocks=only_first(0.0, run_inhibit=True, remote_enabled=False))
    story.panels = {FIRST: PumpPanel(hand_hz=30.0)}
    story.go(20, inflow=100, blocks=only_first(0.0, run_inhibit=True, remote_enabled=False))
    assert (story.speeds_hz[0], story.sources[0]) == (30.0, "panel")
    story.go(7_200, inflow=0)
    assert story.speeds_hz[0] == 0.0
    assert story.truth.pumps[0].dry_run_s == 0.0


def test_the_dry_cut_out_stops_a_remote_pump() -> None:
    """WDG-4: the station's own protection binds Calejo, too."""
    story = Story(HARBOUR, level_m=0.45).go(60, inflow=0, blocks=only_first(45.0))
    assert story.sources[0] == "remote"
    assert story.speeds_hz[0] == 0.0
    assert story.truth.pumps[0].dry_run_s == 0.0


def test_a_level_sensor_that_fails_low_spills_nothing_because_of_the_float() -> None:
    """OPS-4: a closed float outranks an analogue value that says dry."""
    failing = Sensor().with_fault(SensorFault.FAILING_LOW, level_m=1.2, now_s=0.0)
    story = Story(HARBOUR, sensor=failing).go(6 * 3_600, inflow=150, dt_s=2.0)
    assert story.level_max_m >= HARBOUR.high_float_m
    assert story.truth.spilled_m3 == 0.0
    assert sum(pump.run_s for pump in story.truth.pumps) > 600


def test_never_more_pumps_of_its_own_than_permitted() -> None:
    """OPS-4: max_pumps_running binds the local levels, too."""
    story = Story(HARBOUR, level_m=3.2).go(5, inflow=400)
    assert sum(hz > 0 for hz in story.speeds_hz) == HARBOUR.max_pumps_running


def test_a_pump_that_calejo_runs_counts_towards_what_the_level_wants() -> None:
    """WDG-4: half of the station remote, half local: together no more than the level asks for."""
    story = Story(HILL, level_m=1.7)

    def blocks(index: int, t_s: float) -> Block | None:
        return fresh(40.0, t_s) if index == 0 else None

    story.go(30, inflow=60, blocks=blocks)
    assert story.sources == ["remote", "local"]
    assert story.speeds_hz[0] == 40.0
    assert story.speeds_hz[1] == 0.0


def test_a_stop_read_with_an_older_epoch_is_not_let_go_without_a_clear() -> None:
    """EST-6: what lets go is higher than the number that the stop was read with, whatever its epoch."""
    controller = receive(PumpMemory(), Block(epoch=2, release_id=30), now_s=0.0)
    controller = receive(controller, Block(epoch=1, release_id=30, run_inhibit=True), now_s=0.0)
    controller = receive(controller, Block(epoch=2, release_id=30), now_s=0.0)
    assert controller.retained.inhibited
    controller = receive(controller, Block(epoch=2, release_id=31), now_s=0.0)
    assert not controller.retained.inhibited
