"""A remembered chain from plan row to readback as JSON, complete for an auditor; `sentences` tells it (SAF-4, BYD-1).

What an older version of Calejo did not record is null here, never guessed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from actors.vocabulary import Rule
from actors.vocabulary.chains import DecisionChain
from actors.vocabulary.records import DecisionRecord, FeedbackRow, WireRecord
from api.decision_sentences import sentences
from api.plant_views import StopView, stop_view

# A row is written each period while a pump is decided for; one more than that is missing when it was not.
_ROWS_MISSED: Final = 2.0
_DECIDED: Final = (
    "run_inhibit",
    "quality",
    "mode",
    "lease_s",
    "latch_release",
    "failsafe_image_hz",
    "failsafe_image_reason",
    "failsafe_reason",
    "failsafe_since",
    "handed_back_since",
    "tracking_hz",
    "duty_hz",
    "not_following",
)


class DecidedView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision as one row of a list; `record_id` and `trail` (everything that was recorded of it) if asked for."""

    decided_at: str
    setpoint_hz: float
    remote_enabled: bool
    reason: str
    rules: list[str]
    plan_id: int | None
    limits_version: int | None
    epoch: str
    sequence: int
    record_id: str = ""
    trail: dict[str, Any] = {}


class PastView(msgspec.Struct, frozen=True, kw_only=True):
    """A remembered chain. What was recorded of plan, inputs, rules, wires and plant is told as it was recorded."""

    pump_id: str
    station_id: str
    at: str
    decided_at: str
    age_s: float
    next_decision_at: str | None
    silent: bool
    plan: dict[str, Any] | None
    proposal: dict[str, Any]
    feedback: Any
    rules: list[dict[str, Any]]
    decision: dict[str, Any]
    limits: dict[str, Any] | None
    stops: list[StopView]
    wire: list[WireView]
    plant: PlantView | None
    record_id: str
    sentences: list[str]


class PlantView(msgspec.Struct, frozen=True, kw_only=True):
    """What the plant had written last, until that moment; null: that was not written."""

    record_id: str
    pump_id: str
    measured_at: str
    quality: str
    source: str
    actual_speed_hz: float | None
    actual_power_kw: float | None
    actual_flow_m3h: float | None
    wet_well_level_m: float | None
    running: bool | None
    local_override: bool | None
    high_float: bool | None
    fault_code: int | None


class WireView(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint: when and how it took the decision, and what it showed at that moment."""

    endpoint: str
    took: dict[str, Any] | None
    shown: dict[str, Any] | None


def explained(chain: DecisionChain, *, at: datetime, row_period_s: float) -> PastView:
    """Return everything that is known of a pump at a moment; the chain has a decision."""
    decision = chain.decision
    assert decision is not None, "there is nothing to explain without a decision"
    trail = decision.trail
    proposal = _mapping(trail.get("proposal"))
    source = _mapping(proposal.get("source"))
    view: dict[str, Any] = {
        "pump_id": chain.pump_id,
        "station_id": decision.station_id,
        "at": at.isoformat(),
        "decided_at": decision.at.isoformat(),
        "age_s": round((at - decision.at).total_seconds(), 3),
        "next_decision_at": _iso(chain.next_at),
        "silent": at - decision.at > timedelta(seconds=row_period_s * _ROWS_MISSED),
        "plan": _mapping(source.get("plan")) or None,
        "proposal": {
            "calculator": source.get("calculator"),
            "wish_hz": proposal.get("wish_hz"),
            "mode": proposal.get("mode"),
            "note": source.get("note", ""),
            "plan_id": source.get("plan_id"),
            "plan_version": source.get("plan_version"),
            "inputs": {name: _mapping(value) for name, value in _mapping(source.get("inputs")).items()},
            "failsafe": proposal.get("failsafe"),
            "held_stopped": proposal.get("held_stopped"),
            "tick": proposal.get("origin"),
            "sequence": proposal.get("sequence"),
        },
        "feedback": trail.get("feedback"),
        "rules": [{**step, "rule": _rule(step.get("rule"))} for step in trail.get("steps", ())],
        "decision": {
            **msgspec.to_builtins(listed(decision, trail=False)),
            **{name: trail.get(name) for name in _DECIDED},
        },
        "limits": chain.limits,
        "stops": [stop_view(stop) for stop in chain.stops],
        "wire": _wires(chain),
        "plant": None if chain.feedback is None else _plant(chain.feedback),
        "record_id": decision.record_id,
    }
    return PastView(**view, sentences=sentences(msgspec.to_builtins(view)))


def listed(decision: DecisionRecord, *, trail: bool) -> DecidedView:
    """Return a decision as one row; with `trail` everything that was recorded of it."""
    row = DecidedView(
        decided_at=decision.at.isoformat(),
        setpoint_hz=decision.setpoint_hz,
        remote_enabled=decision.remote_enabled,
        reason=decision.reason,
        rules=[_rule(step.get("rule")) for step in decision.trail.get("steps", ())],
        plan_id=decision.plan_id,
        limits_version=decision.limits_version,
        epoch=f"{decision.epoch_term}.{decision.epoch_counter}",
        sequence=decision.sequence,
    )
    if not trail:
        return row
    return msgspec.structs.replace(row, record_id=decision.record_id, trail=decision.trail)


def _wires(chain: DecisionChain) -> list[dict[str, Any]]:
    took = {each.endpoint: each for each in chain.took}
    shown = {each.endpoint: each for each in chain.shown}
    return [
        {
            "endpoint": endpoint,
            "took": None if endpoint not in took else _wire(took[endpoint]),
            "shown": None if endpoint not in shown else _wire(shown[endpoint]),
        }
        for endpoint in sorted({*took, *shown})
    ]


def _wire(row: WireRecord) -> dict[str, Any]:
    return {
        "since": row.at.isoformat(),
        "accepted_at": _iso(row.accepted_at),
        "setpoint_hz": row.setpoint_hz,
        "remote_enabled": row.remote_enabled,
        "reason": row.reason,
        "epoch": None if row.epoch_term is None else f"{row.epoch_term}.{row.epoch_counter}",
        "sequence": row.sequence,
        **row.detail,
        "record_id": row.record_id,
    }


def _plant(row: FeedbackRow) -> PlantView:
    told = {name: getattr(row, name) for name in PlantView.__struct_fields__}
    return PlantView(**{**told, "measured_at": row.measured_at.isoformat()})


def _mapping(value: Any) -> dict[str, Any]:
    """Return what should be a mapping; a proposal may have held anything (SAF-3), and was recorded as it came."""
    return value if isinstance(value, dict) else {}


def _rule(name: Any) -> str:
    """Return a rule's own word: records hold its name."""
    return Rule[name].value if isinstance(name, str) and name in Rule.__members__ else str(name)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
