"""Any process of the running tree is killed or hung; the wire stays safe and service returns by itself."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.chaos.conftest import all_enabled
from tests.chaos.wire_log import WireLog, faults, heartbeat_moves, lapses
from tests.program import Program, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

BACK_WITHIN_S = 5.0
# Liveness period and deadline, then a restart like any other (SUP-3).
HANG_BACK_WITHIN_S = 1.0 + 3.0 + BACK_WITHIN_S
SITE = "/sites/demo"

PLATFORM = ["/", "/storage", "/platform/discovery", "/platform/alarm", "/platform/api"]
SITE_PARTS = [SITE, f"{SITE}/watchdog", f"{SITE}/endpoints/opcua", f"{SITE}/endpoints/modbus"]
ROLES = ["safety", "plan", "station", "pump"]


def address_of(program: Program, role: str) -> str:
    """Return the first actor of a role, or the address itself."""
    if role.startswith("/"):
        return role
    return next(address for address, node in sorted(program.tree().items()) if node["role"] == role)


def pids(program: Program) -> dict[str, int]:
    return {key: node["pid"] for key, node in program.tree().items() if node["kind"] == "process"}


def judge(wire: WireLog) -> None:
    wrong = [fault for place in wire.places for fault in faults(wire.of(place.pump_id), place)]
    assert not wrong, "\n".join(wrong[:5])


@pytest.fixture
def victim(demo: Program, wire: WireLog, request: pytest.FixtureRequest) -> tuple[str, int]:
    address = address_of(demo, request.param)
    node = until(lambda: demo.running(address), within_s=30, what=f"{address} running")
    return address, node["pid"]


@pytest.mark.parametrize("victim", [*PLATFORM, *SITE_PARTS, *ROLES], indirect=True)
def test_a_killed_process_is_back_and_the_plant_does_not_notice(
    demo: Program, wire: WireLog, victim: tuple[str, int]
) -> None:
    """SUP-3, SUP-4, SUP-8, SAF-9: SIGKILL any process; back within 5 s, no other restarts, no unsafe value."""
    address, pid = victim
    before = pids(demo)
    killed_at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    back = until(
        lambda: demo.running(address, not_pid=pid),
        within_s=BACK_WITHIN_S + 3.0,
        what=f"{address} running again",
    )
    took_s = time.monotonic() - killed_at
    assert took_s <= BACK_WITHIN_S, f"{address} was back only after {took_s:.2f} s"
    assert back["pid"] != pid
    # A full lease later the plant would know, if it were to know at all.
    until(lambda: time.monotonic() - killed_at > 11.0, within_s=15, what="a lease after the kill")
    after = pids(demo)
    others = {
        key: (before[key], after.get(key))
        for key in before
        if key != address and after.get(key) != before[key]
    }
    assert not others, f"restarted as well: {others}"
    judge(wire)
    if "endpoints/modbus" in address:
        assert wire.gaps, "the endpoint that was killed cannot have answered throughout"
    else:
        assert not wire.gaps, f"the Modbus server was away: {wire.gaps}"
        assert {place.pump_id: lapses(wire.of(place.pump_id)) for place in wire.places} == {
            place.pump_id: 0 for place in wire.places
        }


@pytest.mark.parametrize("victim", ["safety", "pump", "plan", "station", SITE, "/"], indirect=True)
def test_a_hung_process_is_replaced_and_the_plant_does_not_notice(
    demo: Program, wire: WireLog, victim: tuple[str, int]
) -> None:
    """SUP-3, SUP-8: SIGSTOP; noticed by the liveness ping, killed, replaced; no unsafe value, no lapse."""
    address, pid = victim
    hung_at = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    until(
        lambda: demo.running(address, not_pid=pid),
        within_s=HANG_BACK_WITHIN_S + 3,
        what=f"{address} replaced",
    )
    took_s = time.monotonic() - hung_at
    assert took_s <= HANG_BACK_WITHIN_S, f"{address} was replaced only after {took_s:.2f} s"
    until(lambda: time.monotonic() - hung_at > 14.0, within_s=20, what="a lease after the hang")
    judge(wire)
    assert not wire.gaps
    assert sum(lapses(wire.of(place.pump_id)) for place in wire.places) == 0


@pytest.mark.parametrize("victim", ["safety"], indirect=True)
def test_no_heartbeat_moves_while_the_chain_is_dead(
    demo: Program, wire: WireLog, victim: tuple[str, int]
) -> None:
    """WDG-4: the heartbeat proves the whole chain: with safety stopped it stands still, though the gate lives."""
    address, pid = victim
    station = address.split("/")[4]
    of_station = {pump["pump_id"] for pump in demo.get(f"/api/v1/pumps?station_id={station}")}
    os.kill(pid, signal.SIGSTOP)
    stopped_at = time.monotonic()
    until(lambda: time.monotonic() - stopped_at > 2.5, within_s=5, what="2.5 s of a dead chain")
    for pump_id in of_station:
        # What was already on its way may still arrive in the first moments.
        moves = heartbeat_moves(wire.of(pump_id), from_s=stopped_at + 0.3, to_s=stopped_at + 2.5)
        assert moves == 0, f"{pump_id}: the heartbeat moved {moves} times"
    until(lambda: demo.running(address, not_pid=pid), within_s=HANG_BACK_WITHIN_S, what=f"{address} replaced")
    until(lambda: all_enabled(demo), within_s=30, what="control again")
    judge(wire)
