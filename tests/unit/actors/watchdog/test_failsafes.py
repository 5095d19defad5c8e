"""Failsafe periods: goal: the widest true scope, one record per period, whoever restarts."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from actors.messages import (
    EndpointStatus,
    Epoch,
    Proposal,
    ProposalSource,
    PublishedPump,
    PumpDecision,
    Setpoint,
    StationDecisions,
)
from actors.vocabulary import Instant, Mode, Quality, Reason, Scope, SiteConfig
from actors.vocabulary.records import FailsafeRecord
from actors.watchdog.failsafes import Cause, Open, causes, follow, scopes
from tests.unit.actors.watchdog.test_timers import SITE, T0

PLAN = Reason.FAILSAFE_PLAN_EXPIRED


def cause(at_s: float = 0.0) -> Cause:
    return Cause(reason=PLAN, since=T0.plus(at_s))


def names(site: SiteConfig, pumps: Mapping[str, Cause]) -> set[str]:
    return {f"{scope}:{scope_id}" for scope, scope_id in scopes(site, pumps)}


def test_the_widest_scope_that_is_wholly_in_failsafe() -> None:
    """WDG-2: pump, station, site as the cause demands."""
    assert names(SITE, {}) == set()
    assert names(SITE, {"p1": cause()}) == {"PUMP:p1"}
    assert names(SITE, {"p1": cause(), "p2": cause()}) == {"STATION:s1"}
    assert names(SITE, {"p1": cause(), "q1": cause()}) == {"PUMP:p1", "STATION:s2"}
    assert names(SITE, {"p1": cause(), "p2": cause(), "q1": cause()}) == {"SITE:north"}


def test_a_station_is_in_failsafe_since_its_last_pump_was() -> None:
    """WDG-2: and says what holds each of them."""
    found = scopes(SITE, {"p1": cause(1.0), "p2": cause(5.0)})[Scope.STATION, "s1"]
    assert found.since == T0.plus(5.0)
    assert found.detail == "p1: FAILSAFE_PLAN_EXPIRED, p2: FAILSAFE_PLAN_EXPIRED"


def step(
    opened: Mapping[tuple[Scope, str], Open], pumps: Mapping[str, Cause], now: Instant
) -> tuple[dict[tuple[Scope, str], Open], tuple[FailsafeRecord, ...]]:
    return follow(opened, scopes(SITE, pumps), now=now)


def test_one_record_opens_and_closes_a_period() -> None:
    """WDG-2: the same id at both ends, nothing in between, also when the chain restarts meanwhile."""
    opened, begun = step({}, {"p1": cause()}, T0)
    opened, nothing = step(opened, {"p1": cause(30.0)}, T0.plus(30.0))
    assert nothing == ()
    opened, ended = step(opened, {}, T0.plus(60.0))
    assert opened == {}
    assert [record.ended_at for record in (*begun, *ended)] == [None, T0.plus(60.0).utc]
    assert begun[0].record_id == ended[0].record_id


def test_a_restarted_watchdog_opens_the_same_record() -> None:
    """WDG-2: stored twice is stored once."""
    _, first = step({}, {"p1": cause()}, T0)
    _, again = step({}, {"p1": cause()}, T0.plus(99.0))
    assert [record.record_id for record in first] == [record.record_id for record in again]


def test_growing_to_the_station_ends_the_pumps_record() -> None:
    """WDG-2: at every moment each pump is under exactly one open record."""
    opened, _ = step({}, {"p1": cause()}, T0)
    opened, records = step(opened, {"p1": cause(), "p2": cause(5.0)}, T0.plus(5.0))
    assert set(opened) == {(Scope.STATION, "s1")}
    assert {(record.scope, record.ended_at is None) for record in records} == {
        (Scope.STATION, True),
        (Scope.PUMP, False),
    }


def decided(pump_id: str, *, failsafe: Reason | None, since: Instant | None) -> PumpDecision:
    setpoint = Setpoint(
        pump_id=pump_id,
        setpoint_hz=0.0,
        remote_enabled=True,
        quality=Quality.UNCERTAIN,
        reason=Reason.FAILSAFE_CHILD_QUARANTINED,
        run_inhibit=False,
        failsafe_image_hz=0.0,
        failsafe_image_reason=Reason.LEASE_EXPIRED,
        epoch=Epoch(0, 1),
        sequence=1,
        origin=T0,
        lease_s=10.0,
        limits_version=1,
        mode=Mode.AUTO,
    )
    proposal = Proposal(
        pump_id=pump_id,
        wish_hz=None,
        mode=Mode.AUTO,
        origin=T0,
        sequence=1,
        source=ProposalSource(calculator="t"),
        failsafe=failsafe,
    )
    return PumpDecision(
        setpoint=setpoint,
        proposal=proposal,
        trail=(),
        failsafe_since=since,
        handed_back_since=None,
        decided_at=T0,
    )


def endpoint(pump_id: str, *, lease_left_s: float, sent_at: Instant) -> EndpointStatus:
    shown = PublishedPump(
        pump_id=pump_id,
        setpoint_hz=0.0,
        remote_enabled=False,
        run_inhibit=False,
        quality=Quality.BAD,
        reason=Reason.LEASE_EXPIRED,
        heartbeat=1,
        sequence=1,
        epoch_counter=1,
        release_id=0,
        mode=Mode.AUTO,
        accepted_at=T0,
        lease_left_s=lease_left_s,
        lapses=1,
        refused={},
        echo_hz=None,
        measured_hz=None,
    )
    return EndpointStatus(
        protocol="modbus",
        bound="here",
        clients=1,
        pumps=(shown,),
        writes_refused=0,
        stops_active=(),
        sent_at=sent_at,
    )


def test_who_is_in_failsafe_by_the_chains_word_and_by_the_gates() -> None:
    """WDG-2, SAF-9: the plan's cause, else the decision's own; a lapse at a gate that still reports; else nobody."""
    chain = StationDecisions(
        station_id="s1",
        epoch=Epoch(0, 1),
        decisions=(
            decided("p1", failsafe=PLAN, since=T0),
            decided("p2", failsafe=None, since=T0),
            decided("p3", failsafe=None, since=None),
        ),
        waiting_for={},
        feedback={},
        sent_at=T0,
    )
    gates = {
        "lapsed": endpoint("q1", lease_left_s=0.0, sent_at=T0),
        "known": endpoint("p1", lease_left_s=0.0, sent_at=T0),
        "alive": endpoint("q2", lease_left_s=3.0, sent_at=T0),
        "silent": endpoint("q3", lease_left_s=0.0, sent_at=T0.plus(-60.0)),
    }
    found = causes({"s1": chain}, gates, now=T0)
    assert {pump_id: one.reason for pump_id, one in found.items()} == {
        "p1": PLAN,
        "p2": Reason.FAILSAFE_CHILD_QUARANTINED,
        "q1": Reason.LEASE_EXPIRED,
    }
    without = msgspec.structs.replace(chain.decisions[0], proposal=None)
    alone = causes({"s1": msgspec.structs.replace(chain, decisions=(without,))}, {}, now=T0)
    assert alone["p1"].reason is Reason.FAILSAFE_CHILD_QUARANTINED
