"""A row written into `pump_plans` by plain SQL moves a real pump on both wires, or is refused with its reason."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import pytest

from tests.chaos.figures import keep
from tests.chaos.opcua_log import OpcUaLog
from tests.chaos.sql import Sql
from tests.chaos.test_kills import judge
from tests.chaos.wire_log import WireLog
from tests.program import Program, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

ON_THE_WIRES_WITHIN_S = 10.0
GOOD_HZ, NEXT_HZ, ABSURD_HZ = 30.0, 34.0, 60.0
# The wire's resolution, and half of it again for the sum of two roundings.
RESOLUTION_HZ = 0.011


def both_show(wire: WireLog, opcua: OpcUaLog, pump_id: str, hz: float, since_s: float) -> float:
    """Wait until both wires show `hz`; return how long that took (s)."""

    def shown() -> list[float] | None:
        first = [
            next((seen.t_s for seen in log.of(pump_id, since_s=since_s) if seen.setpoint_hz == hz), None)
            for log in (wire, opcua)
        ]
        return [t for t in first if t is not None] if None not in first else None

    return max(until(shown, within_s=30, what=f"{pump_id} at {hz} Hz on both wires")) - since_s


def test_a_new_row_reaches_both_wires_ramped(
    database: Sql, wire: WireLog, opcua: OpcUaLog, pump_id: str
) -> None:
    """CTL-1, CTL-3: a new `pump_plans` row reaches Modbus and OPC UA within 10 s, by ramps and never in a step."""
    version = database.newest_version + 1
    database.insert_plan(pump_id, GOOD_HZ, version=version)
    both_show(wire, opcua, pump_id, GOOD_HZ, time.monotonic())
    began = time.monotonic()
    database.insert_plan(pump_id, NEXT_HZ, version=version + 1)
    took_s = both_show(wire, opcua, pump_id, NEXT_HZ, began)
    for name, log in (("Modbus", wire), ("OPC UA", opcua)):
        after = log.of(pump_id, since_s=began)
        moved_s = next(seen.t_s for seen in after if seen.setpoint_hz != GOOD_HZ) - began
        keep("CTL-1 from SQL insert (s)", f"first move on {name}", moved_s)
        assert moved_s <= ON_THE_WIRES_WITHIN_S, (name, moved_s)
        # From 30 to 34 Hz at 2 Hz/s there must be at least one value between.
        values = [seen.setpoint_hz for seen in after]
        assert any(GOOD_HZ < hz < NEXT_HZ for hz in values), f"{name}: {sorted(set(values))}"
        rate_hz = wire.place(pump_id).rate_hz_per_s
        steps = [later - earlier for earlier, later in pairwise(values)]
        assert max(map(abs, steps)) <= rate_hz + RESOLUTION_HZ, f"{name}: a step of {max(steps)} Hz"
    keep("CTL-1 from SQL insert (s)", "30 -> 34 Hz in full on both wires", took_s)
    assert took_s <= ON_THE_WIRES_WITHIN_S, took_s
    judge(wire)


def test_bad_rows_are_refused_with_their_reason_and_the_last_good_one_stays(
    demo: Program, database: Sql, wire: WireLog, opcua: OpcUaLog, pump_id: str
) -> None:
    """CTL-1: 60 Hz, NaN and an overlap are refused, each with its reason on record, in REST and as an alarm."""
    good = database.newest_version + 1
    good_id = database.insert_plan(pump_id, GOOD_HZ, version=good)
    both_show(wire, opcua, pump_id, GOOD_HZ, time.monotonic())
    station_id = wire.place(pump_id).station_id
    refused_before = demo.get(f"/api/v1/stations/{station_id}")["plan"]["refused_total"]
    began = time.monotonic()
    overlap = database.insert_plan(pump_id, NEXT_HZ, version=good)
    absurd = database.insert_plan(pump_id, ABSURD_HZ, version=good + 1)
    no_number = database.insert_plan(pump_id, math.nan, version=good + 2)

    def on_record() -> dict[int, str] | None:
        rows = database.run("SELECT plan_id, reason FROM plan_refusals WHERE pump_id = ?", pump_id)
        found = {plan_id: reason for plan_id, reason in rows if plan_id in {overlap, absurd, no_number}}
        return found if len(found) == 3 else None

    reasons = until(on_record, within_s=15, what="three refusals on record")
    keep("CTL-1 from SQL insert (s)", "refusals on record", time.monotonic() - began)
    assert f"overlaps plan {good_id}" in reasons[overlap]
    assert "25..45 Hz" in reasons[absurd]
    assert "NULL (or NaN)" in reasons[no_number], "SQLite keeps a NaN as NULL"
    plan = demo.get(f"/api/v1/stations/{station_id}")["plan"]
    assert plan["refused_total"] == refused_before + 3
    assert str(no_number) in plan["last_refusals"][pump_id], "the newest refusal of a pump is shown"
    alarm = until(
        lambda: next(
            (
                alarm
                for alarm in demo.get("/api/v1/alarms")
                if (alarm["condition"], alarm["subject"]) == ("plan_refused", pump_id)
            ),
            None,
        ),
        within_s=5,
        what="an alarm",
    )
    assert alarm["returned_at"] is None
    explained = demo.get(f"/api/v1/pumps/{pump_id}/explain")
    assert explained["proposal"]["plan_id"] == good_id
    # Reading the same rows again changes nothing.
    until(lambda: time.monotonic() - began > 6, within_s=8, what="another read of the plans")
    for log in (wire, opcua):
        assert {seen.setpoint_hz for seen in log.of(pump_id, since_s=began)} == {GOOD_HZ}
    assert len(database.run("SELECT 1 FROM plan_refusals WHERE plan_id >= ?", overlap)) == 3
    judge(wire)
