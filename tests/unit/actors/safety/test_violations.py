"""Violations: once a minute per pump and rule, the rest counted and not lost (SAF-5)."""

from __future__ import annotations

from actors.messages import TrailStep
from actors.safety.violations import ViolationLedger, flush, is_violation, only, record
from actors.vocabulary import Rule
from tests.unit.actors.safety.timeline import START


def step(rule: Rule, before_hz: float = 60.0, after_hz: float = 50.0) -> TrailStep:
    return TrailStep(rule=rule, before_hz=before_hz, after_hz=after_hz, why="")


def test_a_stuck_input_is_written_once_a_minute_with_the_count_of_the_rest() -> None:
    """SAF-5: 150 violations in 150 s: rows at 0, 60 and 120 s, 59 suppressed before each; the flush keeps the rest."""
    ledger = ViolationLedger()
    rows = []
    for second in range(150):
        due, ledger = record(ledger, "a", [step(Rule.POWER_CAP)], now=START.plus(second))
        rows += [(second, one.suppressed) for one in due]
    assert rows == [(0, 0), (60, 59), (120, 59)]
    due, ledger = flush(ledger, now=START.plus(170))
    assert due == ()
    due, ledger = flush(ledger, now=START.plus(180))
    # 29 were held back: the newest is the row, 28 its count.
    assert [(one.pump_id, one.suppressed) for one in due] == [("a", 28)]
    due, ledger = flush(ledger, now=START.plus(240))
    assert (due, ledger.seen) == ((), {})


def test_pumps_and_rules_are_counted_apart() -> None:
    """SAF-5: one rule's flood hides no other rule and no other pump."""
    _, ledger = record(ViolationLedger(), "a", [step(Rule.POWER_CAP)], now=START)
    due, ledger = record(ledger, "a", [step(Rule.FLOW_CAP), step(Rule.POWER_CAP)], now=START)
    assert [one.step.rule for one in due] == [Rule.FLOW_CAP]
    due, ledger = record(ledger, "b", [step(Rule.POWER_CAP)], now=START)
    assert len(due) == 1
    assert {key[0] for key in only(ledger, {"b"}).seen} == {"b"}


def test_shaping_is_no_violation() -> None:
    """SAF-5: ramps, start steps and rounding up to the minimum are normal; a wish above the maximum is not."""
    assert is_violation(step(Rule.SPEED_BAND))
    assert not is_violation(step(Rule.SPEED_BAND, 18.0, 20.0))
    assert not is_violation(step(Rule.SPEED_BAND, 12.0, 0.0))
    assert not any(
        map(is_violation, map(step, (Rule.RATE, Rule.START_STEP, Rule.STAGGER, Rule.EMERGENCY_STOP)))
    )
