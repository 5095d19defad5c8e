"""Failsafe periods: goal: the widest true scope, one record per period, whoever restarts."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from actors.messages import EndpointStatus, Epoch, PumpDecision, Setpoint, StationDecisions
from actors.vocabulary import Instant, Mode, Quality, Reason, Scope, SiteConfig
from actors.vocabulary.records import FailsafeRecord
from actors.watchdog.failsafes import REPORT_AGE_S_MAX, Cause, Open, causes, follow, scopes, taken_over
from tests.unit.actors.watchdog.test_echo import status
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


def decided(pump_id: str, *, reason: Reason | None, since: Instant | None) -> PumpDecision:
    shown = Setpoint(
        pump_id=pump_id,
        setpoint_hz=0.0,
        remote_enabled=True,
        quality=Quality.UNCERTAIN,
        reason=Reason.DRY_RUN,
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
    return PumpDecision(
        setpoint=shown,
        proposal=None,
        trail=(),
        failsafe_since=since,
        handed_back_since=None,
        decided_at=T0,
        failsafe_reason=reason,
    )


def station_of(*decisions: PumpDecision) -> StationDecisions:
    return StationDecisions(
        station_id="s1", epoch=Epoch(0, 1), decisions=decisions, waiting_for={}, feedback={}, sent_at=T0
    )


def test_a_failsafe_has_the_chains_own_reason_whatever_the_wire_shows() -> None:
    """WDG-2: dry run may show on the wire; the failsafe beneath it is recorded by its own cause, hold included."""
    chain = station_of(
        decided("p1", reason=PLAN, since=T0.plus(-70.0)),
        decided("p2", reason=None, since=None),
        decided("q1", reason=None, since=T0),
    )
    found = _causes({"s1": chain}, {}, now=T0)
    assert found == {
        "p1": Cause(reason=PLAN, since=T0.plus(-70.0)),
        "q1": Cause(reason=Reason.DRY_RUN, since=T0),
    }


def test_a_gate_speaks_for_a_dead_chain_while_it_reports() -> None:
    """WDG-2: a lapse at a gate is a failsafe, unless the chain says more; an old report says nothing."""
    silent = status(echo=None)
    lapsed = msgspec.structs.replace(
        silent, pumps=(msgspec.structs.replace(silent.pumps[0], lease_left_s=0.0),)
    )
    accepted = lapsed.pumps[0].accepted_at
    assert accepted is not None
    found = _causes({}, {"modbus": lapsed}, now=T0.plus(REPORT_AGE_S_MAX))
    assert found == {
        "p1": Cause(reason=Reason.LEASE_EXPIRED, since=accepted.plus(10.0), detail="at the modbus gate")
    }
    later = msgspec.structs.replace(lapsed, sent_at=T0.plus(2.0))
    assert _causes({}, {"modbus": later}, now=T0.plus(2.0)) == found, "one lapse, whoever asks and when"
    assert _causes({}, {"modbus": lapsed}, now=T0.plus(REPORT_AGE_S_MAX + 0.1)) == {}
    assert _causes({}, {"modbus": silent}, now=T0) == {}
    chain = {"s1": station_of(decided("p1", reason=PLAN, since=T0))}
    assert _causes(chain, {"modbus": lapsed}, now=T0)["p1"].reason is PLAN


def _causes(
    decisions: Mapping[str, StationDecisions], endpoints: Mapping[str, EndpointStatus], *, now: Instant
) -> dict[str, Cause]:
    return causes(decisions, endpoints, lease_s=10.0, now=now)


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


def test_what_a_former_life_left_open_is_ended_by_the_next() -> None:
    """WDG-2: a failsafe that ended while the watchdog was away has an end too, and one that goes on is the same."""
    _, (over, goes_on) = step({}, {"p1": cause(), "q1": cause()}, T0)
    foreign = msgspec.structs.replace(over, record_id="f", scope_id="of another site")
    opened, records = taken_over({}, (over, goes_on, foreign), SITE)
    assert records == ()
    opened, records = step(opened, {"q1": cause()}, T0.plus(9.0))
    assert records == (msgspec.structs.replace(over, ended_at=T0.plus(9.0).utc),)
    assert [period.record for period in opened.values()] == [goes_on]


def test_what_was_left_open_ended_before_the_same_scope_failed_again() -> None:
    """WDG-2: at every moment each pump is under exactly one open record, also when storage answers late."""
    _, (old,) = step({}, {"p1": cause(-60.0)}, T0)
    _, (older,) = step({}, {"p1": cause(-90.0)}, T0)
    now_open, (new,) = step({}, {"p1": cause()}, T0)
    opened, records = taken_over(now_open, (older, new, old), SITE)
    assert opened == now_open
    assert {record.record_id: record.ended_at for record in records} == {
        old.record_id: new.started_at,
        older.record_id: new.started_at,
    }


def test_growing_to_the_station_ends_the_pumps_record() -> None:
    """WDG-2: at every moment each pump is under exactly one open record."""
    opened, _ = step({}, {"p1": cause()}, T0)
    opened, records = step(opened, {"p1": cause(), "p2": cause(5.0)}, T0.plus(5.0))
    assert set(opened) == {(Scope.STATION, "s1")}
    assert {(record.scope, record.ended_at is None) for record in records} == {
        (Scope.STATION, True),
        (Scope.PUMP, False),
    }
