"""What REST shows of a pump's chain at this moment: from the plan's row to readback (SAF-4)."""

from __future__ import annotations

import msgspec

from actors.messages import EndpointStatus, PumpStatus, StationDecisions
from actors.vocabulary import PumpConfig, StationConfig
from actors.vocabulary.records import PlanRow
from api.views import (
    JudgedView,
    PublishedView,
    SetpointView,
    decision_of,
    judged,
    published_of,
    setpoint_view,
)


class WishView(msgspec.Struct, frozen=True, kw_only=True):
    """What the pump proposed: by which calculator, for which plan, from which inputs."""

    calculator: str
    wish_hz: float | None
    plan_id: int | None
    plan_version: int | None
    note: str
    inputs: dict[str, JudgedView]


class ExplainView(msgspec.Struct, frozen=True, kw_only=True):
    """The chain; what is not known is null, and `unavailable` says who did not answer."""

    pump_id: str
    station_id: str
    mode: str
    plan: PlanRow | None
    proposal: WishView | None
    decision: SetpointView | None
    waiting_for: str | None
    published: list[PublishedView]
    unavailable: list[str]


def explain_view(
    station: StationConfig,
    pump: PumpConfig,
    *,
    status: PumpStatus | str,
    decisions: StationDecisions | str,
    endpoints: dict[str, EndpointStatus | str],
) -> ExplainView:
    """Return the chain from plan row to readback; the proposal and its plan are those safety decided on."""
    decision = decision_of(decisions, pump.pump_id)
    proposal = None if decision is None else decision.proposal
    heard = None if isinstance(status, str) else status
    # What the pump proposes now may be newer than what was decided: only without a decision it is the chain's.
    asked = heard if proposal is None else proposal
    source, wish_hz = (None, None) if asked is None else (asked.source, asked.wish_hz)
    plan = source.plan if source is not None else None
    if plan is None and heard is not None:
        plan = heard.plan
    told = "unknown" if heard is None else heard.mode.name
    parts = (("pump", status), ("safety", decisions), *endpoints.items())
    return ExplainView(
        pump_id=pump.pump_id,
        station_id=station.station_id,
        mode=told if decision is None else decision.setpoint.mode.name,
        plan=plan,
        proposal=None
        if source is None
        else WishView(
            calculator=source.calculator,
            wish_hz=wish_hz,
            plan_id=source.plan_id,
            plan_version=source.plan_version,
            note=source.note,
            inputs=judged(source.inputs),
        ),
        decision=None if decision is None else setpoint_view(decision),
        waiting_for=None if isinstance(decisions, str) else decisions.waiting_for.get(pump.pump_id),
        published=published_of(endpoints, pump.pump_id),
        unavailable=[f"{name}: {answer}" for name, answer in parts if isinstance(answer, str)],
    )
