"""What REST shows of pumps: structs built from what the actors answered, times as ISO-8601 UTC, enums by name."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from actors.feedback import BOOLEANS
from actors.messages import (
    EndpointStatus,
    JudgedValue,
    PublishedPump,
    PumpDecision,
    StationDecisions,
)
from actors.vocabulary import Instant, PumpConfig, StationConfig

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class JudgedView(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value with its quality, its age and when it was written; what is yes or no is a Boolean."""

    value: bool | float | None
    quality: str
    age_s: float | None
    why: str
    utc: str | None = None


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule made of a setpoint; null: it was no finite number."""

    rule: str
    before_hz: float | None
    after_hz: float | None
    why: str


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
    trail: list[StepView]


class PublishedView(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint shows for a pump, and what came back; `refused`: setpoints that its gate refused, by reason."""

    endpoint: str
    setpoint_hz: float
    remote_enabled: bool
    run_inhibit: bool
    quality: str
    reason: str
    heartbeat: int
    sequence: int
    epoch: int
    release_id: int
    accepted_at: str | None
    lease_left_s: float | None
    lapses: int
    refused: dict[str, int]
    echo_hz: float | None
    measured_hz: float | None


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
    published: list[PublishedView]
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
            age_s=finite(value.age_s),
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


def finite(value: float | None) -> float | None:
    """Return a number to the thousandth: JSON has no infinity, so an unknown age is shown as none."""
    return None if value is None or not math.isfinite(value) else round(value, 3)


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
            StepView(rule=step.rule.value, before_hz=step.before_hz, after_hz=step.after_hz, why=step.why)
            for step in decision.trail
        ],
    )


def published_view(endpoint: str, pump: PublishedPump) -> PublishedView:
    """Return what one endpoint shows for one pump."""
    return PublishedView(
        endpoint=endpoint,
        setpoint_hz=pump.setpoint_hz,
        remote_enabled=pump.remote_enabled,
        run_inhibit=pump.run_inhibit,
        quality=pump.quality.name,
        reason=pump.reason.name,
        heartbeat=pump.heartbeat,
        sequence=pump.sequence,
        epoch=pump.epoch_counter,
        release_id=pump.release_id,
        accepted_at=when(pump.accepted_at),
        lease_left_s=finite(pump.lease_left_s),
        lapses=pump.lapses,
        refused=pump.refused,
        echo_hz=pump.echo_hz,
        measured_hz=pump.measured_hz,
    )


def decision_of(decisions: StationDecisions | str, pump_id: str) -> PumpDecision | None:
    """Return the decision for one pump, None when there is none."""
    if isinstance(decisions, str):
        return None
    return next((each for each in decisions.decisions if each.setpoint.pump_id == pump_id), None)


def published_of(endpoints: dict[str, EndpointStatus | str], pump_id: str) -> list[PublishedView]:
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
