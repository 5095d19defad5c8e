"""How a decision is told: setpoint, record, trail as JSON, alarms; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final

import msgspec

from actors.messages import Epoch, JudgedValue, Proposal, PumpDecision, Setpoint, SetpointDecided
from actors.plan.conditions import ConditionBook
from actors.safety.failsafe import mode_of
from actors.safety.limits import is_finite_number
from actors.safety.types import Decision
from actors.safety.violations import Due
from actors.vocabulary import Instant, PumpConfig, Reason, SafetyLimits, Severity
from actors.vocabulary.records import AuditRecord, DecisionRecord, ViolationRecord

TEXT_MAX: Final = 300
RECORD_STEP_HZ: Final = 1.0
"""A value that moved so far since the last record is a change worth a row; a ramp is not a row per tick."""

_DEPTH_MAX: Final = 6
_ITEMS_MAX: Final = 100

PUMP_CONDITIONS: Final = (
    "dry_run",
    "failsafe",
    "handed_back",
    "not_commissioned",
    "invalid_proposal",
    "final_check",
    "not_following",
    "failsafe_strategy_unusable",
)
"""Alarm conditions whose subject is a pump; `high_level` is its station's."""


def setpoint_of(
    decision: Decision, *, epoch: Epoch, sequence: int, lease_s: float, latch_release: int
) -> Setpoint:
    """Return the decision as gates receive it; its origin is the proposal's tick, so it never renews a
    lease.
    """
    return Setpoint(
        pump_id=decision.pump_id,
        setpoint_hz=decision.setpoint_hz,
        remote_enabled=decision.remote_enabled,
        quality=decision.quality,
        reason=decision.reason,
        run_inhibit=decision.run_inhibit,
        failsafe_image_hz=decision.failsafe_image_hz,
        failsafe_image_reason=decision.failsafe_image_reason,
        epoch=epoch,
        sequence=sequence,
        origin=decision.proposal.origin,
        lease_s=lease_s,
        limits_version=decision.limits_version,
        mode=decision.mode,
        latch_release=latch_release,
        not_following=decision.not_following_since is not None,
    )


def pump_decision(decision: Decision, setpoint: Setpoint, *, now: Instant) -> PumpDecision:
    """Return the decision with its trail as the API and the watchdog see it (SAF-4)."""
    return PumpDecision(
        setpoint=setpoint,
        proposal=presentable(decision.proposal),
        trail=decision.trail,
        failsafe_since=decision.failsafe.since,
        handed_back_since=decision.handed_back_since,
        decided_at=now,
        failsafe_reason=decision.failsafe.reason,
        not_following_since=decision.not_following_since,
    )


def decided_news(decision: Decision) -> SetpointDecided:
    """Return what the pump hears of its proposal."""
    return SetpointDecided(
        pump_id=decision.pump_id,
        applied_hz=decision.setpoint_hz,
        reason=decision.reason,
        remote_enabled=decision.remote_enabled,
        tracking_hz=decision.tracking_hz,
        origin=decision.proposal.origin,
        duty_hz=decision.duty_hz,
    )


def presentable(proposal: Proposal) -> Proposal:
    """Return the proposal with a wish that every receiver can read; the trail tells what stood there."""
    return msgspec.structs.replace(
        proposal,
        wish_hz=proposal.wish_hz if is_finite_number(proposal.wish_hz) else None,
        mode=mode_of(proposal),
        failsafe=proposal.failsafe if isinstance(proposal.failsafe, Reason) else None,
    )


def worth_a_row(last: PumpDecision | None, new: PumpDecision, *, now: Instant, period_s: float) -> bool:
    """Whether this decision is written: something but a small step changed, or `period_s` have passed."""
    if last is None or now.seconds_since(last.decided_at) >= period_s:
        return True
    was, is_now = last.setpoint, new.setpoint
    if abs(was.setpoint_hz - is_now.setpoint_hz) >= RECORD_STEP_HZ:
        return True
    return _kind(last) != _kind(new)


def marked(decision: PumpDecision) -> PumpDecision:
    """Return the decision with the word to its gates that a row is written of it (SAF-4)."""
    return msgspec.structs.replace(
        decision, setpoint=msgspec.structs.replace(decision.setpoint, recorded=True)
    )


def decision_record(
    decision: PumpDecision,
    *,
    site_id: str,
    station_id: str,
    at: Instant,
    decided: Decision,
    feedback: Mapping[str, JudgedValue],
) -> DecisionRecord:
    """Return the row of a decision with its whole trail as JSON; `feedback`: the pump's as judged for it (SAF-4)."""
    setpoint = decision.setpoint
    source = None if decision.proposal is None else decision.proposal.source
    return DecisionRecord(
        record_id=record_id(site_id, station_id, setpoint, "decision"),
        pump_id=setpoint.pump_id,
        station_id=station_id,
        at=at.utc,
        plan_id=source.plan_id if source is not None and is_finite_number(source.plan_id) else None,
        epoch_term=setpoint.epoch.term,
        epoch_counter=setpoint.epoch.counter,
        sequence=setpoint.sequence,
        limits_version=setpoint.limits_version or None,
        setpoint_hz=setpoint.setpoint_hz,
        remote_enabled=setpoint.remote_enabled,
        reason=setpoint.reason.name,
        trail={
            "site_id": site_id,
            "proposal": json_safe(decided.proposal),
            "feedback": {point: _short(value) for point, value in feedback.items()},
            "steps": [json_safe(step) for step in decision.trail],
            "mode": setpoint.mode.name,
            "quality": setpoint.quality.name,
            "run_inhibit": setpoint.run_inhibit,
            "failsafe_image_hz": setpoint.failsafe_image_hz,
            "failsafe_image_reason": setpoint.failsafe_image_reason.name,
            "failsafe_reason": None if decided.failsafe.reason is None else decided.failsafe.reason.name,
            "not_following": setpoint.not_following,
            "failsafe_since": _time(decided.failsafe.since),
            "handed_back_since": _time(decided.handed_back_since),
            "tracking_hz": json_safe(decided.tracking_hz),
            "duty_hz": json_safe(decided.duty_hz),
            "lease_s": setpoint.lease_s,
            "latch_release": setpoint.latch_release,
        },
    )


def _time(moment: Instant | None) -> str | None:
    return None if moment is None else moment.utc.isoformat()


def _short(value: JudgedValue) -> dict[str, Any]:
    """Return a judged value without words that say nothing: a minute's row has one for each point."""
    told = {"value": json_safe(value.value), "quality": value.quality.name, "age_s": json_safe(value.age_s)}
    return {**told, "why": value.why[:TEXT_MAX]} if value.why else told


def violation_record(
    due: Due, setpoint: Setpoint, *, site_id: str, station_id: str, at: Instant
) -> ViolationRecord:
    """Return the row of a limit that acted (SAF-5)."""
    return ViolationRecord(
        record_id=record_id(site_id, station_id, setpoint, f"violation:{due.step.rule.value}"),
        pump_id=due.pump_id,
        at=at.utc,
        limit=due.step.rule.value,
        proposed=due.step.before_hz if due.step.before_hz >= 0.0 else None,
        applied=due.step.after_hz,
        detail=due.step.why[:TEXT_MAX],
        suppressed=due.suppressed,
    )


def limits_record(
    pump: PumpConfig, before: SafetyLimits | None, *, epoch: Epoch, at: Instant, actor: str
) -> AuditRecord:
    """Return the audit of a change of limits as this station's safety took it up (SAF-6)."""
    after = pump.limits
    version = 0 if after is None else after.version
    issued = f"{epoch.term}.{epoch.counter}:{version}:{at.boot_ns}"
    return AuditRecord(
        record_id=f"limits:{pump.station_id}/{pump.pump_id}:{issued}",
        at=at.utc,
        event_type="SAFETY_LIMITS_APPLIED",
        actor=actor,
        source_address="",
        object_id=f"pump:{pump.pump_id}",
        outcome="success",
        severity=Severity.HIGH,
        before=None if before is None else json_safe(before),
        after=None if after is None else json_safe(after),
    )


def record_id(site_id: str, station_id: str, setpoint: Setpoint, what: str) -> str:
    """Name a record by what it is about: epoch and sequence are never issued twice."""
    epoch = setpoint.epoch
    return (
        f"{what}:{site_id}/{station_id}/{setpoint.pump_id}:{epoch.term}.{epoch.counter}.{setpoint.sequence}"
    )


def hold_alarms(book: ConditionBook, decision: Decision) -> None:
    """Let the book hold what this decision raises, and none of it that does not hold any longer."""
    held = decision.conditions
    pump_id, reason = decision.pump_id, decision.reason.name.lower()
    texts = {
        "dry_run": (held.dry_run, Severity.HIGH, f"{pump_id}: dry-run level, stopped"),
        "failsafe": (held.failsafe, Severity.HIGH, f"{pump_id}: failsafe, {_failsafe_name(decision)}"),
        "handed_back": (
            held.handed_back,
            Severity.HIGH,
            f"{pump_id}: handed back to local control, {reason}",
        ),
        "invalid_proposal": (held.invalid_proposal, Severity.HIGH, f"{pump_id}: proposal cannot be believed"),
        "final_check": (
            held.final_check,
            Severity.CRITICAL,
            f"{pump_id}: final check refused a value of our own",
        ),
        "not_following": (
            held.not_following,
            Severity.HIGH,
            f"{pump_id}: NOT_FOLLOWING, its measured speed is not what it is told",
        ),
    }
    for condition, (holds, severity, text) in texts.items():
        if holds:
            book.hold(condition, pump_id, severity, text)
        else:
            book.clear(condition, pump_id)


def hold_station_alarm(book: ConditionBook, station_id: str, decisions: Iterable[Decision]) -> None:
    """Hold the station's high level while any of its decisions tells of it; without a decision nothing
    changes.
    """
    told = [decision.conditions.high_level for decision in decisions]
    if any(told):
        book.hold("high_level", station_id, Severity.CRITICAL, f"{station_id}: emergency high level")
    elif told:
        book.clear("high_level", station_id)


def json_safe(value: Any, depth: int = 0) -> Any:
    """Return `value` as JSON can hold it: bounded, texts cut, and what is no finite number told as text."""
    if isinstance(value, bool) or value is None:
        return value
    if type(value) is str:
        return value[:TEXT_MAX]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, int):
        return value if is_finite_number(value) else "a number beyond any number"
    if depth >= _DEPTH_MAX:
        return "..."
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        items = list(value.items())[:_ITEMS_MAX]
        return {str(json_safe(key, _DEPTH_MAX)): json_safe(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple):
        return [json_safe(item, depth + 1) for item in value[:_ITEMS_MAX]]
    return f"a {type(value).__name__}"


def _kind(decision: PumpDecision) -> tuple[object, ...]:
    """Return what makes two decisions different in kind, whatever their values."""
    setpoint = decision.setpoint
    return (
        setpoint.remote_enabled,
        setpoint.run_inhibit,
        setpoint.reason,
        setpoint.quality,
        setpoint.mode,
        setpoint.limits_version,
        setpoint.setpoint_hz == 0.0,
        setpoint.failsafe_image_reason,
        setpoint.not_following,
        tuple(step.rule for step in decision.trail),
        None if decision.proposal is None else decision.proposal.source.plan_id,
    )


def _failsafe_name(decision: Decision) -> str:
    return "" if decision.failsafe.reason is None else decision.failsafe.reason.name.lower()
