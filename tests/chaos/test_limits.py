"""A limit tightened on the running program holds on both wires within a second; past the envelope it never widens."""

from __future__ import annotations

import json
import time
import urllib.error
from typing import Any

import pytest

from tests.chaos.figures import keep
from tests.chaos.opcua_log import OpcUaLog
from tests.chaos.sql import Sql
from tests.chaos.wire_log import WireLog
from tests.program import Program, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

ON_THE_WIRES_WITHIN_S = 1.0
PLAN_HZ, TIGHT_HZ, PAST_HZ = 36.0, 31.5, 53.0


def proposed(demo: Program, pump_id: str, hz: float) -> str:
    limits = demo.get(f"/api/v1/limits/{pump_id}")
    body = {
        "changes": {"hard_max_speed_hz": hz},
        "base_version": limits["version"],
        "reason": "seen on the running program",
    }
    answer = demo.request("POST", f"/api/v1/limits/{pump_id}/proposals", body, user="anna")
    return str(answer["proposal"]["proposal_id"])


def approved(demo: Program, pump_id: str, proposal_id: str, *, by: str = "bert") -> Any:
    path = f"/api/v1/limits/{pump_id}/proposals/{proposal_id}/approve"
    return demo.request("POST", path, {"reason": "seen"}, user=by)


def refused(error: urllib.error.HTTPError) -> str:
    with error:
        return str(json.load(error)["detail"])


def test_a_tightened_maximum_holds_on_both_wires_within_a_second(
    demo: Program, database: Sql, wire: WireLog, opcua: OpcUaLog, pump_id: str
) -> None:
    """SAF-6: approved by a second person it is on Modbus and OPC UA within 1 s, and holds; widened again it ramps."""
    logs: dict[str, WireLog | OpcUaLog] = {"Modbus": wire, "OPC UA": opcua}

    def first(since_s: float, holds: Any) -> dict[str, float] | None:
        found = {
            name: next(
                (seen.t_s for seen in log.of(pump_id, since_s=since_s) if holds(seen.setpoint_hz)), None
            )
            for name, log in logs.items()
        }
        return {name: t for name, t in found.items() if t is not None} if None not in found.values() else None

    database.insert_plan(pump_id, PLAN_HZ, version=database.newest_version + 1)
    until(
        lambda: first(time.monotonic() - 0.2, lambda hz: hz == PLAN_HZ),
        within_s=40,
        what=f"{pump_id} at its plan",
    )
    proposal_id = proposed(demo, pump_id, TIGHT_HZ)
    with pytest.raises(urllib.error.HTTPError) as own:
        approved(demo, pump_id, proposal_id, by="anna")
    assert own.value.code == 409
    assert "second person" in refused(own.value)
    began = time.monotonic()
    answer = approved(demo, pump_id, proposal_id)
    answered_s = time.monotonic() - began
    shown = until(
        lambda: first(began, lambda hz: hz <= TIGHT_HZ), within_s=20, what=f"{pump_id} below {TIGHT_HZ} Hz"
    )
    for name, t in shown.items():
        keep("SAF-6 tightened maximum", f"from approval to {name} (s)", t - began)
    keep("SAF-6 tightened maximum", "answered (s)", answered_s)
    assert answer["in_force"], answer["note"]
    settled_s = max(shown.values())
    until(lambda: wire.of(pump_id, since_s=settled_s + 3.0), within_s=20, what="three seconds more")
    for log in logs.values():
        later = [seen.setpoint_hz for seen in log.of(pump_id, since_s=settled_s)]
        assert max(later) == TIGHT_HZ, "it runs at its new maximum, and never above"
    with pytest.raises(urllib.error.HTTPError) as wide:
        proposed(demo, pump_id, PAST_HZ)
    assert wide.value.code == 400
    assert "the commissioning envelope's bound" in refused(wide.value)
    # As it was, for whoever comes next: inside the envelope, so another proposal widens it again.
    assert approved(demo, pump_id, proposed(demo, pump_id, 50.0))["in_force"]
    until(
        lambda: first(time.monotonic() - 0.2, lambda hz: hz == PLAN_HZ), within_s=20, what=f"{pump_id} back"
    )
    assert settled_s - began <= ON_THE_WIRES_WITHIN_S
