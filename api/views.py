"""What REST shows: structs built from what the actors answered, times as ISO-8601 UTC, enums by name."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from actors.feedback import BOOLEANS
from actors.messages import (
    AlarmView,
    EndpointStatus,
    JudgedValue,
    PlanStatus,
    PublishedPump,
    PumpDecision,
    PumpStatus,
    StationDecisions,
    TreeNode,
)
from actors.vocabulary import Instant, PumpConfig, StationConfig
from actors.vocabulary.records import StopEventRecord

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class JudgedView(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value with its quality, its age and when it was written; what is yes or no is a Boolean."""

    value: bool | float | None
    quality: str
    age_s: float | None
    why: str
    utc: str | None = None


class SetpointView(msgspec.Struct, frozen=True, kw_only=True):
    """A setpoint as safety decided it, with every rule that changed it."""

    setpoint_hz: float
    remote_enabled: bool
    run_inhibit: bool
    quality: str
    reason: str
    mode: str
    epoch: str
    sequence: int
    limits_version: int
    decided_at: str
    failsafe_since: str | None
    failsafe_reason: str | None
    not_following_since: str | None
    trail: list[dict[str, Any]]


class PumpView(msgspec.Struct, frozen=True, kw_only=True):
    """A pump with its current setpoint; `unavailable` says which parts did not answer."""

    pump_id: str
    station_id: str
    site_id: str
    name: str
    control_type: str
    commissioned: bool
    out_of_service: bool
    mode: str | None
    setpoint: SetpointView | None
    waiting_for: str | None
    feedback: dict[str, JudgedView]
    published: list[dict[str, Any]]
    unavailable: list[str]


class ModeView(msgspec.Struct, frozen=True, kw_only=True):
    """Who commands a pump."""

    pump_id: str
    mode: str
    manual_hz: float | None = None
    mode_expires_at: str | None = None
    by: str = ""
    note: str = ""


def when(moment: Instant | None) -> str | None:
    """Return the moment as ISO-8601 UTC."""
    return None if moment is None else moment.utc.isoformat()


def judged(values: dict[str, JudgedValue]) -> dict[str, JudgedView]:
    """Return judged values as shown."""
    return {
        name: JudgedView(
            value=value_of(name, value),
            quality=value.quality.name,
            age_s=_finite(value.age_s),
            why=value.why,
            utc=written_at(value),
        )
        for name, value in values.items()
    }


def value_of(point: str, judged: JudgedValue) -> bool | float | None:
    """Return a judged value in the type that the wires have it in; what is neither yes nor no stays a number."""
    is_truth = point in BOOLEANS and judged.value in (0.0, 1.0)
    return bool(judged.value) if is_truth else judged.value


def written_at(judged: JudgedValue) -> str | None:
    """Return when a value was written, which is the source timestamp on OPC UA and Sparkplug; None: never."""
    if judged.utc_ns is None:
        return None
    return (_EPOCH + timedelta(microseconds=judged.utc_ns // 1_000)).isoformat()


def _finite(value: float | None) -> float | None:
    # JSON has no infinity: an unknown age is shown as none.
    return None if value is None or not math.isfinite(value) else round(value, 3)


def plan_view(plan: PlanStatus) -> dict[str, Any]:
    """Return a station's plan coverage as shown."""
    return {
        "covered": plan.covered,
        "refused_total": plan.refused_total,
        "last_refusals": plan.last_refusals,
        "database_answered_at": when(plan.database_answered_at),
        "optimiser_heartbeat_age_s": _finite(plan.optimiser_heartbeat_age_s),
    }


def setpoint_view(decision: PumpDecision) -> SetpointView:
    """Return a decision as shown."""
    setpoint = decision.setpoint
    return SetpointView(
        setpoint_hz=setpoint.setpoint_hz,
        remote_enabled=setpoint.remote_enabled,
        run_inhibit=setpoint.run_inhibit,
        quality=setpoint.quality.name,
        reason=setpoint.reason.name,
        mode=setpoint.mode.name,
        epoch=f"{setpoint.epoch.term}.{setpoint.epoch.counter}",
        sequence=setpoint.sequence,
        limits_version=setpoint.limits_version,
        decided_at=decision.decided_at.utc.isoformat(),
        failsafe_since=when(decision.failsafe_since),
        failsafe_reason=None if decision.failsafe_reason is None else decision.failsafe_reason.name,
        not_following_since=when(decision.not_following_since),
        trail=[
            {"rule": step.rule.value, "before_hz": step.before_hz, "after_hz": step.after_hz, "why": step.why}
            for step in decision.trail
        ],
    )


def published_view(endpoint: str, pump: PublishedPump) -> dict[str, Any]:
    """Return what one endpoint shows for one pump."""
    return {
        "endpoint": endpoint,
        "setpoint_hz": pump.setpoint_hz,
        "remote_enabled": pump.remote_enabled,
        "run_inhibit": pump.run_inhibit,
        "quality": pump.quality.name,
        "reason": pump.reason.name,
        "heartbeat": pump.heartbeat,
        "sequence": pump.sequence,
        "epoch": pump.epoch_counter,
        "release_id": pump.release_id,
        "accepted_at": when(pump.accepted_at),
        "lease_left_s": _finite(pump.lease_left_s),
        "lapses": pump.lapses,
        "refused": pump.refused,
        "echo_hz": pump.echo_hz,
        "measured_hz": pump.measured_hz,
    }


def decision_of(decisions: StationDecisions | str, pump_id: str) -> PumpDecision | None:
    """Return the decision for one pump, None when there is none."""
    if isinstance(decisions, str):
        return None
    return next((each for each in decisions.decisions if each.setpoint.pump_id == pump_id), None)


def published_of(endpoints: dict[str, EndpointStatus | str], pump_id: str) -> list[dict[str, Any]]:
    """Return what each answering endpoint shows for one pump."""
    return [
        published_view(endpoint, pump)
        for endpoint, status in endpoints.items()
        if not isinstance(status, str)
        for pump in status.pumps
        if pump.pump_id == pump_id
    ]


def pump_view(
    station: StationConfig,
    pump: PumpConfig,
    *,
    decisions: StationDecisions | str,
    endpoints: dict[str, EndpointStatus | str],
    out_of_service: tuple[frozenset[str], str],
) -> PumpView:
    """Return a pump as shown, from whatever answered; `out_of_service`: pumps, and why that may be incomplete."""
    out, why = out_of_service
    decision = decision_of(decisions, pump.pump_id)
    feedback = {} if isinstance(decisions, str) else decisions.feedback.get(pump.pump_id, {})
    waiting = None if isinstance(decisions, str) else decisions.waiting_for.get(pump.pump_id)
    silent = [f"safety: {decisions}"] if isinstance(decisions, str) else []
    silent += [f"{name}: {status}" for name, status in endpoints.items() if isinstance(status, str)]
    silent += [f"latches: {why}"] if why else []
    return PumpView(
        pump_id=pump.pump_id,
        station_id=station.station_id,
        site_id=station.site_id,
        name=pump.name,
        control_type=pump.control_type.value,
        commissioned=pump.limits is not None,
        out_of_service=pump.pump_id in out,
        mode=None if decision is None else decision.setpoint.mode.name,
        setpoint=None if decision is None else setpoint_view(decision),
        waiting_for=waiting,
        feedback=judged(feedback),
        published=published_of(endpoints, pump.pump_id),
        unavailable=silent,
    )


def explain_view(
    station: StationConfig,
    pump: PumpConfig,
    *,
    status: PumpStatus | str,
    decisions: StationDecisions | str,
    endpoints: dict[str, EndpointStatus | str],
) -> dict[str, Any]:
    """Return the chain from plan row to readback (SAF-4); the proposal and its plan are those safety decided on."""
    decision = decision_of(decisions, pump.pump_id)
    proposal = None if decision is None else decision.proposal
    source = proposal.source if proposal is not None else (None if isinstance(status, str) else status.source)
    wish_hz = (
        proposal.wish_hz if proposal is not None else (None if isinstance(status, str) else status.wish_hz)
    )
    plan = source.plan if source is not None and source.plan is not None else None
    if plan is None and not isinstance(status, str):
        plan = status.plan
    return {
        "pump_id": pump.pump_id,
        "station_id": station.station_id,
        "mode": decision.setpoint.mode.name
        if decision is not None
        else ("unknown" if isinstance(status, str) else status.mode.name),
        "plan": None if plan is None else msgspec.to_builtins(plan),
        "proposal": None
        if source is None
        else {
            "calculator": source.calculator,
            "wish_hz": wish_hz,
            "plan_id": source.plan_id,
            "plan_version": source.plan_version,
            "note": source.note,
            "inputs": msgspec.to_builtins(judged(source.inputs)),
        },
        "decision": None if decision is None else msgspec.to_builtins(setpoint_view(decision)),
        "waiting_for": None if isinstance(decisions, str) else decisions.waiting_for.get(pump.pump_id),
        "published": published_of(endpoints, pump.pump_id),
        "unavailable": [
            text
            for text in (
                f"pump: {status}" if isinstance(status, str) else "",
                f"safety: {decisions}" if isinstance(decisions, str) else "",
                *(f"{name}: {answer}" for name, answer in endpoints.items() if isinstance(answer, str)),
            )
            if text
        ],
    }


def alarm_view(alarm: AlarmView) -> dict[str, Any]:
    """Return an alarm as shown."""
    return {
        "alarm_id": alarm.alarm_id,
        "condition": alarm.condition,
        "subject": alarm.subject,
        "severity": alarm.severity.value,
        "state": alarm.state,
        "text": alarm.text,
        "raised_at": when(alarm.raised_at),
        "returned_at": when(alarm.returned_at),
        "occurrences": alarm.occurrences,
        "acknowledged_at": when(alarm.acknowledged_at),
        "acknowledged_by": alarm.acknowledged_by,
        "comment": alarm.comment,
    }


def stop_view(stop: StopEventRecord) -> dict[str, Any]:
    """Return a stop as shown."""
    return {
        "stop_id": stop.record_id,
        "kind": stop.kind,
        "scope": stop.scope.value,
        "scope_id": stop.scope_id,
        "reason": stop.reason,
        "set_by": stop.set_by,
        "set_at": stop.set_at.isoformat(),
        "cleared_by": stop.cleared_by,
        "cleared_at": None if stop.cleared_at is None else stop.cleared_at.isoformat(),
        "clear_reason": stop.clear_reason,
    }


def tree_view(node: TreeNode) -> dict[str, Any]:
    """Return a row of the tree as shown (SUP-7)."""
    row: dict[str, Any] = msgspec.to_builtins(node)
    return row
