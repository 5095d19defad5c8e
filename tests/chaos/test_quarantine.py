"""One child that dies again and again: it is started ever later, at last no more, and its pumps go to failsafe."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial

import pytest

from actors.vocabulary import Reason
from supervisors.restart import backoff_s
from supervisors.spec import Backoff, Intensity
from tests.chaos.conftest import sampled, under_way, until_enabled
from tests.chaos.figures import keep
from tests.chaos.sql import sql_of
from tests.chaos.test_kills import BACK_WITHIN_S, judge, pids
from tests.program import Program, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

# What the tree's children have unless their spec says otherwise.
INTENSITY, BACKOFF = Intensity(), Backoff()
FAILSAFE_WITHIN_S = 5.0
# Half a minute of a plan's swing and a ramp to the default setpoint fit in.
DEFAULT_WITHIN_S = 15.0


def test_kills_of_one_child_lead_to_back_off_then_quarantine_and_failsafe(second: Program) -> None:
    """SUP-2, SUP-5, WDG-3: each restart waits longer, none is more than one; over the intensity: quarantine, failsafe.

    Method: the plan actor of a station whose first pump has a default setpoint is killed whenever it is back, once
    more than its intensity allows. Then an operator retries it.
    """
    until_enabled(second)
    sql = sql_of(second)
    ((pump_id, station_id, default_hz),) = sql.run(
        "SELECT pump_id, station_id, default_setpoint_hz FROM pumps WHERE default_setpoint_hz > 0"
        " AND control_type = 'DIRECT_SPEED' LIMIT 1"
    )
    address = f"/sites/demo/stations/{station_id}/plan"
    with sampled(second) as wire:
        under_way(wire)
        others = {key: pid for key, pid in pids(second).items() if key != address}
        node = until(lambda: second.running(address), within_s=10, what=f"{address} running")
        restarts = node["restarts"]
        for failures in range(1, INTENSITY.restarts_max + 1):
            os.kill(node["pid"], signal.SIGKILL)
            killed_s = time.monotonic()
            node = until(
                partial(second.running, address, not_pid=node["pid"]),
                within_s=BACK_WITHIN_S + 5,
                what=f"{address} back after kill {failures}",
                every_s=0.02,
            )
            took_s = time.monotonic() - killed_s
            keep("SUP-2 back-off, kill to running (s)", f"kill {failures} within a minute", took_s)
            assert took_s <= BACK_WITHIN_S, f"kill {failures}: {took_s:.2f} s"
            # The least that the law lets it wait: more kills, later starts.
            least_s = backoff_s(BACKOFF, failures=failures, chance=1.0)
            assert took_s >= least_s, (
                f"kill {failures}: back after {took_s:.2f} s, at least {least_s:.2f} s expected"
            )
            assert node["restarts"] == restarts + failures, "one restart per death: no storm"
        os.kill(node["pid"], signal.SIGKILL)
        killed_s = time.monotonic()
        held = until(
            lambda: (row := second.tree().get(address)) and row["state"] == "quarantined" and row,
            within_s=BACK_WITHIN_S,
            what="quarantine",
        )
        assert "over its restart intensity" in held["last_error"]
        shown = json.loads(second.command("tree", "--format", "json").stdout)
        assert {row["address"]: row["state"] for row in shown}[address] == "quarantined"
        until(
            lambda: (
                (seen := wire.latest(pump_id)) is not None
                and seen.reason == Reason.FAILSAFE_CHILD_QUARANTINED
            ),
            within_s=FAILSAFE_WITHIN_S,
            what="failsafe on the wire, with its reason",
        )
        keep("SUP-5 (s)", "last kill to failsafe on the wire", time.monotonic() - killed_s)
        until(
            lambda: (seen := wire.latest(pump_id)) is not None and seen.setpoint_hz == default_hz,
            within_s=DEFAULT_WITHIN_S,
            what=f"{pump_id} at its default setpoint of {default_hz} Hz",
        )
        latest = wire.latest(pump_id)
        assert latest is not None
        assert latest.enabled, "DEFAULT_SETPOINT keeps control while feedback is good"
        assert second.tree()[address]["state"] == "quarantined"
        assert {key: pid for key, pid in pids(second).items() if key != address} == others, (
            "nobody else restarted"
        )
        _alarmed(second, address)
        second.request("POST", "/api/v1/tree/retry", {"address": address})
        until(
            lambda: second.running(address),
            within_s=BACK_WITHIN_S,
            what=f"{address} back by an operator's retry",
        )
        until(
            lambda: (
                (seen := wire.latest(pump_id)) is not None
                and seen.reason != Reason.FAILSAFE_CHILD_QUARANTINED
            ),
            within_s=30,
            what=f"{pump_id} by its plan again",
        )
        judge(wire)
        assert not wire.gaps
    events = sql.run(
        "SELECT scope, scope_id, reason FROM failsafe_events WHERE scope_id IN (?, ?)", station_id, pump_id
    )
    assert any(Reason.FAILSAFE_CHILD_QUARANTINED.name.lower() in str(row).lower() for row in events), events


def _alarmed(second: Program, address: str) -> None:
    alarms = second.get("/api/v1/alarms")
    held = [
        alarm for alarm in alarms if (alarm["condition"], alarm["subject"]) == ("child_quarantined", address)
    ]
    assert held, [alarm["condition"] for alarm in alarms]
    assert held[0]["returned_at"] is None
