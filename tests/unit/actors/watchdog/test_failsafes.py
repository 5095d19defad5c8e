"""Failsafe periods: goal: the widest true scope, one record per period, whoever restarts."""

from __future__ import annotations

from collections.abc import Mapping

from actors.vocabulary import Instant, Reason, Scope, SiteConfig
from actors.vocabulary.records import FailsafeRecord
from actors.watchdog.failsafes import Cause, Open, follow, scopes
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
