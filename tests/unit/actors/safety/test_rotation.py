"""Rule 6 for the station: duties that move to another pump, as timelines (SAF-2.6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.safety.conditions import observe
from actors.safety.rotation import rotate
from actors.safety.types import Facts, KernelState, PumpState, RoundInput, Work
from actors.station.sequencing import Turns
from actors.vocabulary import Mode, Reason, Rule
from actors.vocabulary.durable import MotorTimers
from tests.unit.actors.safety.timeline import START, Bench, limits, play, pump, station

FAST = limits(rate_hz_per_s=100.0, min_rest_s=60.0, max_run_s=100.0)


def rested(bench: Bench, *names: str) -> Bench:
    """Let these pumps have stood for long, and that be known."""
    timers = MotorTimers(turning=False, since=START.plus(-7200.0), known_at=START)
    bench.state = msgspec.structs.replace(
        bench.state, pumps={name: PumpState(timers=timers) for name in names}
    )
    return bench


def of(*names: str, **more: Any) -> Bench:
    """A bench of rested pumps of these names."""
    return rested(Bench(station(*(pump(name, FAST) for name in names), **more)), *names)


def run(bench: Bench, seconds: int, **told: dict[str, Any]) -> None:
    for _ in range(seconds):
        bench.tick(told, period_s=1.0)


def values(bench: Bench) -> dict[str, float]:
    return {name: decision.setpoint_hz for name, decision in bench.decisions.items()}


PLAN = {"a": {"plan_hz": 35.0}, "b": {"plan_hz": 0.0}, "c": {"plan_hz": 0.0}}


def test_after_its_maximum_run_another_pump_takes_over_and_keeps_the_duty() -> None:
    """SAF-2.6: the duty moves once and stays: going back after the rest would cost both pumps a start each time."""
    bench = of("a", "b")
    run(bench, 100, **PLAN)
    assert values(bench) == {"a": 35.0, "b": 0.0}
    run(bench, 1, **PLAN)
    first, second = bench.decisions["a"], bench.decisions["b"]
    assert (first.reason, second.reason, second.setpoint_hz) == (
        Reason.PROTECTION_TIMER,
        Reason.ROTATED,
        20.0,
    )
    assert [step.rule for step in second.trail] == [Rule.ROTATION, Rule.START_STEP]
    assert second.trail[0].why == "in the place of a"
    assert any("b runs in its place" in step.why for step in first.trail)
    run(bench, 2, **PLAN)
    assert values(bench) == {"a": 0.0, "b": 35.0}
    assert bench.state.duties == {"a": "b"}
    assert bench.decisions["a"].duty_hz == 35.0
    # The first has rested long ago, and still does not start.
    run(bench, 80, **PLAN)
    assert values(bench) == {"a": 0.0, "b": 35.0}
    # Then the second has run long enough, and the first takes its duty back.
    run(bench, 30, **PLAN)
    assert values(bench) == {"a": 35.0, "b": 0.0}
    assert bench.state.duties == {}


def test_a_duty_ends_with_its_wish() -> None:
    """SAF-2.6: who runs in another's place stops with it; the next wish is the first pump's own."""
    bench = of("a", "b")
    run(bench, 105, **PLAN)
    assert values(bench)["b"] == 35.0
    run(bench, 3, a={"plan_hz": 0.0}, b={"plan_hz": 0.0})
    assert values(bench) == {"a": 0.0, "b": 0.0}
    run(bench, 70, a={"plan_hz": 0.0}, b={"plan_hz": 0.0})
    run(bench, 2, **PLAN)
    assert values(bench) == {"a": 35.0, "b": 0.0}


def test_a_refused_start_moves_to_the_next_pump_in_wire_order() -> None:
    """SAF-2.6: the first that is ours, well, idle and rested."""
    bench = of("a", "b", "c")
    run(bench, 1, **PLAN)
    run(bench, 1, a={"plan_hz": 0.0}, b={"plan_hz": 0.0}, c={"plan_hz": 0.0})
    told = {**PLAN, "b": {"plan_hz": 0.0, "fault": 3.0}}
    run(bench, 1, **told)
    assert values(bench) == {"a": 0.0, "b": 0.0, "c": 20.0}


@pytest.mark.parametrize(
    "busy",
    [
        {"local": 1.0},
        {"stop": True},
        {"oos": True},
        {"fault": 3.0},
        {"mode": Mode.MANUAL},
        {"held": True},
        {"failsafe": "FAILSAFE_DATABASE"},
        {"plan_hz": 30.0},
        {"no_proposal": True},
    ],
)
def test_a_pump_that_is_not_free_takes_no_duty(busy: dict[str, Any]) -> None:
    """SAF-2.6: not at the panel, stopped, out of service, faulted, in an operator's hand, in failsafe or at work."""
    bench = of("a", "b")
    run(bench, 1, a={"plan_hz": 35.0}, b={"plan_hz": 0.0})
    run(bench, 1, a={"plan_hz": 0.0}, b={"plan_hz": 0.0})
    run(bench, 1, a={"plan_hz": 35.0}, b={"plan_hz": 0.0} | busy)
    assert bench.state.duties == {}
    assert bench.decisions["a"].setpoint_hz == 0.0


def test_an_operators_value_is_moved_to_nobody() -> None:
    """CTL-7, SAF-2.6: MANUAL is meant for this pump."""
    bench = of("a", "b")
    told = {"a": {"plan_hz": 35.0, "mode": Mode.MANUAL}, "b": {"plan_hz": 0.0}}
    run(bench, 102, **told)
    assert bench.state.duties == {}
    run(bench, 2, **told)
    assert values(bench) == {"a": 0.0, "b": 0.0}


def test_a_moved_duty_obeys_maximum_running() -> None:
    """CTL-6, SAF-2.6: with one permitted the other starts when the first has been seen to stand."""
    bench = of("a", "b", max_pumps_running=1)
    run(bench, 101, **PLAN)
    assert values(bench) == {"a": 20.0, "b": 0.0}
    assert bench.decisions["b"].reason is Reason.MAX_RUNNING
    run(bench, 1, **PLAN)
    assert values(bench) == {"a": 0.0, "b": 0.0}
    run(bench, 1, **PLAN)
    assert values(bench) == {"a": 0.0, "b": 20.0}


def test_a_substitute_that_is_lost_gives_the_duty_on() -> None:
    """SAF-2.6: to a third, as the first still rests."""
    bench = of("a", "b", "c")
    run(bench, 103, **PLAN)
    assert values(bench) == {"a": 0.0, "b": 35.0, "c": 0.0}
    run(bench, 3, **{**PLAN, "b": {"plan_hz": 0.0, "oos": True}})
    assert values(bench) == {"a": 0.0, "b": 0.0, "c": 35.0}
    assert bench.state.duties == {"a": "c"}


def test_each_pump_has_at_most_one_duty() -> None:
    """SAF-2.6: two pumps that ran too long need two others."""
    bench = of("a", "b", "c")
    told = {"a": {"plan_hz": 35.0}, "b": {"plan_hz": 30.0}, "c": {"plan_hz": 0.0}}
    run(bench, 104, **told)
    assert bench.state.duties == {"a": "c"}
    assert values(bench) == {"a": 0.0, "b": 0.0, "c": 35.0}


def test_a_duty_outlives_a_restart_without_a_move() -> None:
    """SAF-10, SAF-7: the restarted kernel knows the duty, waits for pumps that have not spoken, and moves nothing."""
    bench = of("a", "b")
    run(bench, 105, **PLAN)
    timers = {name: state.timers for name, state in bench.state.pumps.items()}
    bench.state = KernelState(
        since=bench.now,
        started_at=bench.now,
        pumps={name: PumpState(timers=one) for name, one in timers.items()},
        duties=bench.state.duties,
    )
    bench.held = {}
    shown = bench.tick({"a": {"plan_hz": 35.0, "no_proposal": True}, "b": {"plan_hz": 0.0}}, period_s=2.0)
    assert (shown["b"].setpoint_hz, shown["b"].reason) == (35.0, Reason.ROTATED)
    run(bench, 3, **PLAN)
    assert values(bench) == {"a": 0.0, "b": 35.0}
    timers_of_b = bench.state.pumps["b"].timers
    assert timers_of_b is not None
    assert timers_of_b.turning


def test_a_duty_of_a_pump_that_never_speaks_again_ends() -> None:
    """SAF-10: after a lease nobody waits any longer."""
    bench = of("a", "b")
    run(bench, 105, **PLAN)
    silent = {"a": {"plan_hz": 35.0, "no_proposal": True}, "b": {"plan_hz": 0.0}}
    run(bench, 1, **silent)
    assert bench.state.duties == {}


def test_a_pump_decided_in_another_round_takes_its_duty_in_its_own() -> None:
    """SAF-2.6, SAF-9: rounds of single pumps move duties too, on the word of a tick that still counts."""
    bench = of("a", "b")
    for _ in range(104):
        bench.tick(PLAN, period_s=0.5, deciding=frozenset("a"))
        bench.tick(PLAN, period_s=0.5, deciding=frozenset("b"))
    assert bench.decisions["b"].setpoint_hz == 35.0
    assert bench.state.duties == {"a": "b"}


def test_at_high_level_nothing_rotates() -> None:
    """SAF-2.4: rule 4 overrides the maximum run; whoever was chosen runs on."""
    of_high = msgspec.structs.replace(FAST, level_emergency_high_m=3.0)
    play(
        station(pump("a", of_high), pump("b", of_high), max_pumps_running=1),
        """
        t_s  level_m  a.plan_hz  b.plan_hz | a.setpoint_hz  a.reason    b.setpoint_hz
          0        3         35          0 |         35.00  high_level           0.00
        150        3         35          0 |         50.00  high_level           0.00
        """,
    )


def test_no_duty_moves_to_a_pump_whose_start_no_disk_takes() -> None:
    """SAF-7: the first stops after its maximum run; nobody is started in its place without a trace."""
    bench = of("a", "b")
    run(bench, 99, **PLAN)
    for _ in range(5):
        bench.tick(PLAN, period_s=1.0, durable=False)
    assert bench.state.duties == {}
    assert values(bench)["b"] == 0.0


# --------------------------------------------------------------------------- who is not heard of


def observed(*names: str, **told: dict[str, Any]) -> dict[str, Facts]:
    """The facts of rested pumps that are ours."""
    bench = of(*names)
    rows = {name: {"plan_hz": 0.0, **told.get(name, {})} for name in names}
    for _ in range(8):
        bench.tick(rows, period_s=1.0)
    seen: list[RoundInput] = []
    bench.tick(rows, period_s=1.0, spy=seen.append)
    return observe(seen[0], bench.state, now=bench.now)[0]


WANTS, RESTS = Work(value_hz=35.0, reason=Reason.PLAN), Work(value_hz=0.0, reason=Reason.PLAN)
IN_ORDER = Turns(order=("a", "b", "c"))


@pytest.mark.parametrize("settling", [True, False])
@pytest.mark.parametrize("heard", [{}, {"a": WANTS}, {"b": RESTS}])
def test_a_duty_stays_with_one_that_is_not_heard_of_for_as_long_as_we_settle(
    heard: dict[str, Work], settling: bool
) -> None:
    """SAF-10: the first, the other, or both of a duty may not have spoken yet after our start."""
    facts = observed("a", "b", "c")
    works, duties = rotate(heard, facts, {"a": "b"}, IN_ORDER, settling=settling)
    assert duties == ({"a": "b"} if settling else {})
    assert works.keys() == heard.keys()
    if settling and "a" in heard:
        assert works["a"].value_hz == 0.0
    if settling and "b" in heard:
        assert works["b"].value_hz == facts["b"].state.output_hz


def test_a_hand_over_looks_only_at_duties_that_are_done_and_pumps_that_speak() -> None:
    """CTL-6: none without a wish, none to a pump that is silent, none back to one that may not start."""
    facts = observed("a", "b", "c")
    long = {name: msgspec.structs.replace(fact, run_s=9000.0) for name, fact in facts.items()}
    turns = Turns(order=("a", "b", "c"), alternates=True, hand_over_s=3600.0)
    assert rotate({"b": RESTS}, long, {}, turns, settling=False)[1] == {}
    assert rotate({"b": WANTS}, long, {}, turns, settling=False)[1] == {}
    resting = {**long, "a": msgspec.structs.replace(facts["a"], start_refused="rests")}
    assert rotate({"a": WANTS, "b": RESTS}, resting, {"a": "b"}, turns, settling=False)[1] == {"a": "b"}
    ready = {**long, "a": facts["a"]}
    assert rotate({"a": WANTS, "b": RESTS}, ready, {"a": "b"}, turns, settling=False)[1] == {}
