"""Seeding, hand-back, recovery and the high float as timelines (CTL-7, SAF-10, SAF-2.4)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.feedback import LEVEL, LOCAL_OVERRIDE, PLC_HEARTBEAT, RUNNING, SPEED
from actors.messages import JudgedValue
from actors.safety.conditions import waiting_for
from actors.safety.hand_back import (
    advance,
    arrived_bad,
    good_level_m,
    holds_claim,
    needs_level,
    protects_by_level,
)
from actors.safety.types import HandBack, PumpInput, PumpState
from actors.vocabulary import ControlType, FailsafeStrategy, Quality, Reason
from tests.unit.actors.safety.timeline import START, Bench, limits, play, pump, station

WET = limits(
    dry_run_m=0.4, dry_run_reset_m=0.6, high_m=3.0, high_reset_m=2.5, rate_hz_per_s=100.0, level_max_m=2.4
)


@pytest.mark.parametrize("point", ["running", "actual_speed_hz", "local_override"])
def test_nothing_is_published_before_the_essentials_have_arrived(point: str) -> None:
    """SAF-10: no decision for a pump until running, speed and local override were measured after our start."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 30.0})
    for _ in range(20):
        assert bench.tick({"a": {"plan_hz": 30.0, "without": point}}, period_s=1.0) == {}
    decided = bench.tick({"a": {"plan_hz": 30.0}}, period_s=1.0)["a"]
    assert (decided.setpoint_hz, decided.remote_enabled) == (30.0, True)


def test_a_level_that_is_late_is_waited_for_and_then_handed_back() -> None:
    """SAF-10, CTL-7: the level may come a moment later without a blink; without it nothing is claimed."""
    bench = Bench(station(pump(of=WET)), start_hz={"a": 30.0})
    assert bench.tick({"a": {"plan_hz": 30.0}}, period_s=1.0) == {}
    decided = bench.tick({"a": {"plan_hz": 30.0, "level_m": 1.0}}, period_s=1.0)["a"]
    assert (decided.setpoint_hz, decided.remote_enabled) == (30.0, True)
    bench = Bench(station(pump(of=WET)), start_hz={"a": 30.0})
    for _ in range(3):
        assert bench.tick({"a": {"plan_hz": 30.0}}, period_s=1.0) == {}
    decided = bench.tick({"a": {"plan_hz": 30.0}}, period_s=1.0)["a"]
    assert (decided.remote_enabled, decided.reason) == (False, Reason.HANDED_BACK_LEVEL)
    # At a start there is no hold: once all have arrived the pump is claimed.
    decided = bench.tick({"a": {"plan_hz": 30.0, "level_m": 1.0}}, period_s=1.0)["a"]
    assert decided.remote_enabled


def test_lost_feedback_hands_back_and_returns_after_the_hold() -> None:
    """CTL-7: stale for 30 s: claim nothing; after a loss all must be good for 60 s; bumpless return."""
    play(
        station(pump(of=limits())),
        """
        t_s  plan_hz  silent  speed_hz | setpoint_hz  reason                     enabled  quality
          0       35       0         - |       35.00  plan                             1  GOOD
          1       35       1         - |       35.00  plan                             1  GOOD
         10       35       1         - |       35.00  plan                             1  GOOD
         11       35       1         - |       35.00  handed_back_plc_heartbeat        0  BAD
         40       35       0        28 |       28.00  recovering                       0  BAD
         99       35       0        41 |       41.00  recovering                       0  BAD
        100       35       0         - |       40.00  ramp                             1  GOOD
        """,
    )


def test_a_stuck_plc_heartbeat_hands_back() -> None:
    """WDG-1, CTL-7: a PLC that repeats one heartbeat has lost it, however fresh its other values are."""
    play(
        station(pump(of=limits())),
        """
        t_s  plan_hz  plc_stuck | setpoint_hz  reason                     enabled
          0       35          1 |       35.00  plan                             1
         10       35          1 |       35.00  plan                             1
         11       35          1 |       35.00  handed_back_plc_heartbeat        0
        """,
    )


def test_a_heartbeat_that_was_never_written_is_not_lost() -> None:
    """CTL-4: stations read by a poller or from rows have no PLC heartbeat."""
    play(
        station(pump(of=limits())),
        """
        t_s  plan_hz  without        | setpoint_hz  enabled
          0       35  plc_heartbeat  |       35.00        1
         30       35  plc_heartbeat  |       35.00        1
        """,
    )


def test_stale_feedback_without_a_heartbeat_hands_back_after_30_s() -> None:
    """CTL-7, WDG-1: speed, running or local override older than 30 s."""
    play(
        station(pump(of=limits())),
        """
        t_s  plan_hz  without        silent | setpoint_hz  reason                enabled
          0       35  plc_heartbeat       0 |       35.00  plan                        1
          1       35  plc_heartbeat       1 |       35.00  plan                        1
         30       35  plc_heartbeat       1 |       35.00  plan                        1
         31       35  plc_heartbeat       1 |       35.00  handed_back_feedback        0
        """,
    )


def test_a_protective_level_must_be_younger() -> None:
    """SAF-2, WDG-1: with dry run configured a level older than 5 s hands back; for control alone 30 s do."""
    table = """
        t_s  plan_hz  level_m  without           | reason             enabled
          0       35      1.0  -                 | plan                     1
          1       35      1.0  wet_well_level_m  | plan                     1
          5       35      1.0  wet_well_level_m  | plan                     1
          6       35      1.0  wet_well_level_m  | {reason}
    """
    play(station(pump(of=WET)), table.format(reason="handed_back_level        0"))
    play(
        station(pump(of=limits(), control_type=ControlType.LEVEL_CONTROLLED)),
        table.format(reason="plan                     1"),
    )
    play(station(pump(of=limits())), table.format(reason="plan                     1"))


def test_a_level_that_cannot_be_true_hands_back_the_whole_station() -> None:
    """SAF-2: a sensor that lies takes the station; a controller that is silent takes its own pump."""
    two = station(pump("a", WET), pump("b", WET))
    play(
        two,
        """
        t_s  a.level_m  b.level_m  a.plan_hz  b.plan_hz | a.reason           b.reason
          0          1          1         35         35 | plan               plan
          1        -50          1         35         35 | handed_back_level  handed_back_level
          2          1          1         35         35 | recovering         recovering
        """,
    )
    play(
        two,
        """
        t_s  level_m  a.silent  a.plan_hz  b.plan_hz | a.reason                   b.reason
          0        1         0         35         35 | plan                       plan
          1        1         1         35         35 | plan                       plan
         12        1         1         35         35 | handed_back_plc_heartbeat  plan
        """,
    )


def test_pumps_that_are_not_in_use_do_not_judge_the_well() -> None:
    """CTL-7: a pump out of service or at its panel hands back nobody else."""
    play(
        station(pump("a", WET), pump("b", WET)),
        """
        t_s  a.level_m  b.level_m  a.plan_hz  b.plan_hz  a.oos | b.reason
          0        -50          1         35         35      1 | plan
        """,
    )


FLOAT = station(pump(of=WET), has_high_float=True, float_response_max_s=20.0)


def test_a_closed_float_wins_over_a_dry_level_for_a_bounded_time() -> None:
    """SAF-2.4: high wins over a dry analogue value, for float_response_max_s on the float alone, then local."""
    play(
        FLOAT,
        """
        t_s  level_m  float  plan_hz | setpoint_hz  reason             enabled
          0      1.0      0       35 |       35.00  plan                     1
          1      0.2      0       35 |        0.00  dry_run                  1
          2      0.2      1       35 |       20.00  high_level               1
          3      0.2      1       35 |       50.00  high_level               1
         21      0.2      1       35 |       50.00  high_level               1
         22      0.2      1       35 |       50.00  handed_back_level        0
         40      1.0      0       35 |       50.00  recovering               0
        100      1.0      0       35 |       35.00  plan                     1
        """,
    )


def test_a_chattering_float_does_not_switch_the_pump() -> None:
    """SAF-2.4: after the contradiction the level stays BAD while dry, and the float wins back no claim."""
    play(
        FLOAT,
        """
        t_s  level_m  float  plan_hz | setpoint_hz  reason             enabled
          0      1.0      0       35 |       35.00  plan                     1
          1      0.2      1       35 |       50.00  high_level               1
          2      0.2      0       35 |       50.00  handed_back_level        0
          3      0.2      1       35 |       50.00  handed_back_level        0
          4      0.2      0       35 |       50.00  handed_back_level        0
        """,
    )


def test_the_float_covers_a_missing_level() -> None:
    """SAF-2: a level that is not GOOD hands back, unless a declared high float is closed."""
    play(
        FLOAT,
        """
        t_s  level_m  float  plan_hz | setpoint_hz  reason             enabled
          0      1.0      1       35 |       35.00  high_level               1
          1      -40      1       35 |       50.00  high_level               1
          2      -40      0       35 |       50.00  handed_back_level        0
        """,
    )


def test_a_float_beside_a_high_level_lasts() -> None:
    """SAF-2.4: while the level itself is high, the float's time does not run."""
    play(
        FLOAT,
        """
        t_s  level_m  float  plan_hz | setpoint_hz  reason      enabled
          0      3.1      1        0 |       20.00  high_level        1
         60      2.6      1        0 |       50.00  high_level        1
        """,
    )


def test_an_undeclared_or_old_float_is_nothing() -> None:
    """DAT-1, WDG-1: only a declared float counts, and only one not older than a protective level may be."""
    play(
        station(pump(of=WET)),
        """
        t_s  level_m  float  plan_hz | reason
          0      1.0      1       35 | plan
        """,
    )
    play(
        FLOAT,
        """
        t_s  level_m  float  plan_hz  without     | reason
          0      1.0      0       35  -           | plan
          1      1.0      1       35  -           | high_level
          2      1.0      1       35  high_float  | high_level
          6      1.0      1       35  high_float  | high_level
          7      1.0      1       35  high_float  | plan
        """,
    )


def test_after_a_lapse_of_the_lease_the_output_follows_the_pump_until_the_gate_claims_it_again() -> None:
    """SAF-9, WDG-2: our value of before the lapse is forgotten: the third fresh setpoint starts from the pump."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 35.0})
    bench.tick({"a": {"plan_hz": 35.0}}, period_s=1.0)
    for _ in range(12):
        bench.tick({"a": {"speed_hz": 45.0}}, period_s=1.0, deciding=frozenset())
    shown = [bench.tick({"a": {"plan_hz": 35.0, "speed_hz": 45.0}}, period_s=1.0)["a"] for _ in range(4)]
    assert [decision.setpoint_hz for decision in shown] == [44.0, 44.0, 44.0, 43.0]


def test_after_the_third_lapse_the_output_follows_the_pump_as_long_as_the_gates_wait() -> None:
    """SAF-9, WDG-2: the gates trust the chain 60 s later: its value then is one step from the pump, not the plan's."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 35.0})
    for _ in range(3):
        for _ in range(4):
            bench.tick({"a": {"plan_hz": 35.0, "speed_hz": 45.0}}, period_s=1.0)
        for _ in range(12):
            bench.tick({"a": {"speed_hz": 45.0}}, period_s=1.0, deciding=frozenset())
    shown = [
        bench.tick({"a": {"plan_hz": 35.0, "speed_hz": 45.0}}, period_s=1.0)["a"].setpoint_hz
        for _ in range(62)
    ]
    assert set(shown[:61]) == {44.0}
    assert shown[61] == 43.0


def test_a_lapse_under_way_is_one_lapse_and_old_ones_are_forgotten() -> None:
    """SAF-9: a recovery that begins anew is no further lapse; three in more than ten minutes do not wait."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 45.0})
    bench.tick({"a": {"plan_hz": 35.0, "speed_hz": 45.0}}, period_s=1.0)
    for fresh, pause_s in ((2, 12), (2, 12), (4, 650), (4, 12)):
        for _ in range(pause_s):
            bench.tick({"a": {"speed_hz": 45.0}}, period_s=1.0, deciding=frozenset())
        for _ in range(fresh):
            bench.tick({"a": {"plan_hz": 35.0, "speed_hz": 45.0}}, period_s=1.0)
    assert bench.decisions["a"].setpoint_hz == 43.0


def test_without_a_proposal_there_is_no_decision() -> None:
    """SAF-9: nothing is decided without a tick to decide on."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 35.0})
    assert bench.tick({"a": {"no_proposal": 1}}, period_s=1.0) == {}


def test_what_a_pump_waits_for_is_named() -> None:
    """SAF-10: the level too where a rule needs it; nothing once it is seeded."""
    entry = PumpInput(config=pump(of=WET), proposal=None, feedback={})
    assert waiting_for(entry, PumpState()) == "running, actual_speed_hz, local_override, wet_well_level_m"
    assert waiting_for(entry, PumpState(seeded=True)) == ""


@pytest.mark.parametrize(
    ("only", "protects"),
    [("dry_run_m", True), ("high_m", True), ("level_min_m", False), (None, False)],
)
def test_each_limit_on_level_alone_needs_the_level(only: str | None, protects: bool) -> None:
    """CTL-7, WDG-1: one limit on level is enough to need it; dry run and high level need it younger."""
    given: dict[str, Any] = {} if only is None else {only: 1.0}
    one = pump("a", limits(**given))
    assert needs_level(one) is (only is not None)
    assert protects_by_level(one) is protects


def test_a_loss_that_lasts_is_counted_from_its_beginning() -> None:
    """CTL-7: `since` is when the claim was lost, whatever is wrong by now, and the first good moment starts hold."""
    lost = advance(HandBack(claimed=True), Reason.HANDED_BACK_FEEDBACK, now=START, hold_s=60.0)
    later = advance(lost, Reason.HANDED_BACK_LEVEL, now=START.plus(5.0), hold_s=60.0)
    assert (later.since, later.reason) == (START, Reason.HANDED_BACK_LEVEL)
    good = advance(later, None, now=START.plus(7.0), hold_s=60.0)
    assert (good.since, good.good_since, good.reason) == (START, START.plus(7.0), Reason.RECOVERING)
    assert not holds_claim(advance(good, None, now=START.plus(66.9), hold_s=60.0))
    assert advance(good, None, now=START.plus(67.0), hold_s=60.0) == HandBack(claimed=True)


@pytest.mark.parametrize(
    "more",
    [
        {"control_type": ControlType.LEVEL_CONTROLLED},
        {"failsafe_strategy": FailsafeStrategy.LEVEL_ON_OFF},
    ],
)
def test_a_control_or_a_failsafe_by_level_alone_needs_the_level(more: dict[str, Any]) -> None:
    """CTL-7, WDG-3: without any limit on level, with or without limits at all; it need not be younger for it."""
    for of in (limits(), None):
        one = pump("a", of, **more)
        assert needs_level(one)
        assert not protects_by_level(one)
    assert not needs_level(pump("a", limits()))


GOOD_NOW = JudgedValue(value=1.0, quality=Quality.GOOD, age_s=0.0)
BAD_NOW = JudgedValue(value=1.0, quality=Quality.BAD, age_s=31.0)
NOT_YET = JudgedValue(value=None, quality=Quality.BAD, age_s=None)


@pytest.mark.parametrize("point", [RUNNING, SPEED, LOCAL_OVERRIDE, PLC_HEARTBEAT])
def test_bad_is_told_from_still_to_come(point: str) -> None:
    """SAF-10, CTL-7: each point that a claim needs, one at a time: good and not arrived are no loss, bad is one."""
    good = dict.fromkeys((RUNNING, SPEED, LOCAL_OVERRIDE, PLC_HEARTBEAT), GOOD_NOW)
    assert not arrived_bad(good)
    assert not arrived_bad({**good, point: NOT_YET})
    assert not arrived_bad({name: value for name, value in good.items() if name != point})
    assert arrived_bad({**good, point: BAD_NOW})


@pytest.mark.parametrize(
    ("inherited", "lost", "claimed"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_an_inherited_claim_is_lost_by_what_is_bad(inherited: bool, lost: bool, claimed: bool) -> None:
    """SAF-10, CTL-7: what our predecessor had claimed and what is bad now has its hold before it; waiting has none."""
    was = HandBack(inherited=inherited)
    waits = advance(was, Reason.HANDED_BACK_FEEDBACK, now=START, hold_s=60.0, lost=lost)
    assert (waits.claimed, waits.inherited, waits.since) == (claimed, inherited, START)
    good = advance(waits, None, now=START.plus(1.0), hold_s=60.0)
    assert holds_claim(good) is not claimed
    ours = advance(HandBack(claimed=True), Reason.HANDED_BACK_FEEDBACK, now=START, hold_s=60.0, lost=lost)
    assert ours.claimed, "a claim of our own is lost by whatever is wrong"


def test_a_level_that_is_not_there_is_none() -> None:
    """CTL-7, DAT-1: never told, not arrived, bad, or told without an age: no rule gets a level, whatever its limits."""
    told = JudgedValue(value=1.0, quality=Quality.GOOD, age_s=4.0)
    for one in (pump("a", limits()), pump("a", WET)):
        assert good_level_m({LEVEL: told}, one, protective_age_s=5.0) == 1.0
        assert good_level_m({}, one, protective_age_s=5.0) is None
        for value in (NOT_YET, BAD_NOW, msgspec.structs.replace(told, age_s=None)):
            assert good_level_m({LEVEL: value}, one, protective_age_s=5.0) is None


def test_a_claim_without_a_loss_has_no_reason_and_none_is_no_claim() -> None:
    """CTL-7: what was never lost recovers from nothing, and what was never claimed is not ours."""
    assert advance(HandBack(claimed=True), None, now=START, hold_s=60.0) == HandBack(claimed=True)
    assert advance(HandBack(), None, now=START, hold_s=60.0) == HandBack(claimed=True)
    assert holds_claim(HandBack(claimed=True))
    assert not holds_claim(HandBack())
    assert not holds_claim(HandBack(claimed=True, since=START))
