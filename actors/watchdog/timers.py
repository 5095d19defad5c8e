"""A site's watchdog timers as data: what feeds each, how long it lasts, and when its alarm returns (WDG-1).

Every timer is a dead man's switch: it is fed at the moment something was last known to be good, is lost when that
is longer ago than its limit, and returns only after having been good for its hold. The watchdog records and alarms;
the chain judges the same ages for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum, unique
from typing import Final

import msgspec

from actors.feedback import LEVEL, LOCAL_OVERRIDE, PLC_HEARTBEAT, RUNNING, SPEED
from actors.messages import EndpointStatus, JudgedValue, PlanStatus, StationDecisions
from actors.safety.hand_back import protects_by_level
from actors.vocabulary import ControlSettings, Instant, Quality, Severity, SiteConfig, StationConfig
from actors.watchdog.echo import WINDOW_S as ECHO_WINDOW_S

PROTOCOLS: Final = ("opcua", "modbus")
# What the chain needs of every pump before it claims anything (CTL-7).
NEEDED: Final = (SPEED, RUNNING, LOCAL_OVERRIDE, LEVEL)


@unique
class Watch(StrEnum):
    """What is watched; the value is the alarm's condition."""

    PLAN_COVERAGE = "plan_coverage"
    OPTIMISER_HEARTBEAT = "optimiser_heartbeat"
    DATABASE = "database_unreachable"
    FEEDBACK_STALE = "feedback_stale"
    FEEDBACK_REJECTED = "feedback_rejected"
    PLC_HEARTBEAT = "plc_heartbeat"
    SCADA_HEARTBEAT = "scada_heartbeat"
    ENDPOINT_SILENT = "endpoint_silent"
    CHAIN_SILENT = "chain_silent"
    LEASE_LAPSED = "lease_lapsed"
    PROTECTIVE_LEVEL = "protective_level_old"
    SETPOINT_ECHO = "setpoint_echo_mismatch"
    CLOCK_STEP = "clock_step"


class TimerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of timer (times in s).

    `from_start`: watched before it was ever good; `first_limit_s`: how long that may take, if longer than the limit.
    """

    limit_s: float
    return_hold_s: float
    severity: Severity
    text: str
    from_start: bool = True
    first_limit_s: float = 0.0


def specs(control: ControlSettings) -> dict[Watch, TimerSpec]:
    """Return every timer of a site with its limit."""
    return {
        # Three statuses: one may be lost, one may fall on the seam between two intervals.
        Watch.PLAN_COVERAGE: TimerSpec(
            limit_s=3 * control.plan_poll_s,
            return_hold_s=control.plan_poll_s,
            severity=Severity.HIGH,
            text="no plan covers this moment",
        ),
        # A site whose optimiser writes no heartbeat has none to lose.
        Watch.OPTIMISER_HEARTBEAT: TimerSpec(
            limit_s=control.optimiser_heartbeat_s,
            return_hold_s=control.plan_poll_s,
            severity=Severity.MEDIUM,
            text="the optimiser's heartbeat is too old",
            from_start=False,
        ),
        Watch.DATABASE: TimerSpec(
            limit_s=control.database_unreachable_s,
            return_hold_s=2 * control.plan_poll_s,
            severity=Severity.HIGH,
            text="no plan actor has reached the database",
        ),
        Watch.FEEDBACK_STALE: TimerSpec(
            limit_s=control.feedback_stale_s,
            return_hold_s=5.0,
            severity=Severity.HIGH,
            text="speed, running, local_override or level is no longer written",
        ),
        # Judged bad already (CTL-4); the limit only keeps a single odd value from ringing.
        Watch.FEEDBACK_REJECTED: TimerSpec(
            limit_s=10.0,
            return_hold_s=10.0,
            severity=Severity.MEDIUM,
            text="speed, running, local_override or level is written but cannot be believed",
            from_start=False,
        ),
        # The judgement waits plc_heartbeat_s itself; two statuses more decide.
        Watch.PLC_HEARTBEAT: TimerSpec(
            limit_s=2.0,
            return_hold_s=5.0,
            severity=Severity.HIGH,
            text="the PLC's heartbeat stands still",
            # At a start of ours the PLC has yet to connect: no alarm for every pump each time.
            first_limit_s=control.plc_heartbeat_s + 2.0,
        ),
        # Watched once a client has written it.
        Watch.SCADA_HEARTBEAT: TimerSpec(
            limit_s=control.scada_heartbeat_s,
            return_hold_s=5.0,
            severity=Severity.MEDIUM,
            text="SCADA's heartbeat stands still",
            from_start=False,
        ),
        # An endpoint reports each second; a restart within the liveness budget is no alarm.
        Watch.ENDPOINT_SILENT: TimerSpec(
            limit_s=control.setpoint_lease_s,
            return_hold_s=3.0,
            severity=Severity.HIGH,
            text="the endpoint does not report",
        ),
        Watch.CHAIN_SILENT: TimerSpec(
            limit_s=control.setpoint_lease_s,
            return_hold_s=3.0,
            severity=Severity.CRITICAL,
            text="the station's safety actor does not decide",
        ),
        # The gate has waited the lease itself.
        Watch.LEASE_LAPSED: TimerSpec(
            limit_s=1.5,
            return_hold_s=3.0,
            severity=Severity.HIGH,
            text="the gate shows the failsafe image: no fresh setpoint",
            from_start=False,
        ),
        # Each status is judged by the station's own protective_level_age_s; two statuses more decide.
        Watch.PROTECTIVE_LEVEL: TimerSpec(
            limit_s=2.0,
            return_hold_s=5.0,
            severity=Severity.HIGH,
            text="no level is good and young enough for dry run and emergency high level",
            first_limit_s=control.plc_heartbeat_s + 2.0,
        ),
        # Watched once a controller has written one.
        Watch.SETPOINT_ECHO: TimerSpec(
            limit_s=control.setpoint_echo_s,
            # An echo that stands still agrees for a window while a ramp passes it, and is good for the limit after.
            return_hold_s=control.setpoint_echo_s + 2 * ECHO_WINDOW_S,
            severity=Severity.HIGH,
            text="the setpoint that the controller echoes is not one that was shown",
            from_start=False,
        ),
        # Fed at every look that finds the clock where it was: one that does not is lost at once, and told for a while.
        Watch.CLOCK_STEP: TimerSpec(
            limit_s=0.5,
            return_hold_s=control.failsafe_recovery_hold_s,
            severity=Severity.HIGH,
            text="the wall clock was set; plans and foreign rows are dated by it",
        ),
    }


Key = tuple[Watch, str]


class TimerState(msgspec.Struct, frozen=True, kw_only=True):
    """One timer: since when it is watched, when it was last good, and since when it is lost or good again."""

    since: Instant
    good_at: Instant | None = None
    lost_at: Instant | None = None
    good_since: Instant | None = None


def subjects(site: SiteConfig) -> dict[Watch, tuple[str, ...]]:
    """Return what each kind of timer watches at this site."""
    stations = tuple(station.station_id for station in site.stations)
    pumps = tuple(pump.pump_id for station in site.stations for pump in station.pumps)
    driven = tuple(station.station_id for station in site.stations if station.pumps)
    endpoint_pumps = tuple(f"{protocol}:{pump_id}" for protocol in PROTOCOLS for pump_id in pumps)
    return {
        Watch.PLAN_COVERAGE: pumps,
        Watch.OPTIMISER_HEARTBEAT: stations,
        Watch.DATABASE: (site.site_id,) if stations else (),
        Watch.FEEDBACK_STALE: pumps,
        Watch.FEEDBACK_REJECTED: pumps,
        Watch.PLC_HEARTBEAT: pumps,
        Watch.SCADA_HEARTBEAT: stations,
        Watch.ENDPOINT_SILENT: tuple(f"{site.site_id}:{protocol}" for protocol in PROTOCOLS),
        Watch.CHAIN_SILENT: driven,
        Watch.LEASE_LAPSED: endpoint_pumps,
        Watch.PROTECTIVE_LEVEL: tuple(
            station.station_id
            for station in site.stations
            if any(protects_by_level(pump) for pump in station.pumps)
        ),
        Watch.SETPOINT_ECHO: pumps,
        Watch.CLOCK_STEP: (site.site_id,),
    }


def watching(
    timers: Mapping[Key, TimerState], site: SiteConfig, control: ControlSettings, *, now: Instant
) -> dict[Key, TimerState]:
    """Return the timers of exactly this site: known ones as they are, new ones from now on."""
    every = specs(control)
    wanted = {(watch, subject) for watch, found in subjects(site).items() for subject in found}
    kept = {key: state for key, state in timers.items() if key in wanted}
    for key in wanted - kept.keys():
        if every[key[0]].from_start:
            kept[key] = TimerState(since=now)
    return kept


def feed(
    timers: Mapping[Key, TimerState], fed: Iterable[tuple[Watch, str, Instant]], known: frozenset[Key]
) -> dict[Key, TimerState]:
    """Return the timers with these moments of good taken; older ones than held and unknown subjects count nothing."""
    after = dict(timers)
    for watch, subject, at in fed:
        key = (watch, subject)
        if key not in known:
            continue
        state = after.get(key, TimerState(since=at))
        if state.good_at is None or at.boot_ns > state.good_at.boot_ns:
            after[key] = msgspec.structs.replace(state, good_at=at)
    return after


def begun(
    timers: Mapping[Key, TimerState], keys: Iterable[Key], known: frozenset[Key], *, now: Instant
) -> dict[Key, TimerState]:
    """Return the timers with these watched from now on, good or not; those that are watched already stay."""
    new = {key: TimerState(since=now) for key in keys if key in known and key not in timers}
    return {**timers, **new}


def judge(
    timers: Mapping[Key, TimerState], control: ControlSettings, *, now: Instant
) -> dict[Key, TimerState]:
    """Return the timers as they stand: lost past the limit, back only after the hold (hysteresis)."""
    every = specs(control)
    return {key: _judge_one(state, every[key[0]], now=now) for key, state in timers.items()}


def _judge_one(state: TimerState, spec: TimerSpec, *, now: Instant) -> TimerState:
    limit_s = spec.limit_s if state.good_at else max(spec.limit_s, spec.first_limit_s)
    good = now.seconds_since(state.good_at or state.since) <= limit_s
    if not good:
        return msgspec.structs.replace(state, lost_at=state.lost_at or now, good_since=None)
    if state.lost_at is None:
        return state
    good_since = state.good_since or now
    if now.seconds_since(good_since) >= spec.return_hold_s:
        return msgspec.structs.replace(state, lost_at=None, good_since=None)
    return msgspec.structs.replace(state, good_since=good_since)


# --------------------------------------------------------------------------- what feeds them


def fed_by_plan(site_id: str, status: PlanStatus) -> list[tuple[Watch, str, Instant]]:
    """Return what a plan actor's status proves."""
    fed = [
        (Watch.PLAN_COVERAGE, pump_id, status.sent_at)
        for pump_id, covered in status.covered.items()
        if covered
    ]
    if status.database_answered_at is not None:
        fed.append((Watch.DATABASE, site_id, status.database_answered_at))
    if status.optimiser_heartbeat_age_s is not None:
        beat_at = status.sent_at.plus(-status.optimiser_heartbeat_age_s)
        fed.append((Watch.OPTIMISER_HEARTBEAT, status.station_id, beat_at))
    return fed


def fed_by_decisions(decisions: StationDecisions) -> list[tuple[Watch, str, Instant]]:
    """Return what a safety actor's decisions and the feedback it judged prove."""
    at = decisions.sent_at
    fed = [(Watch.CHAIN_SILENT, decisions.station_id, at)]
    for pump_id, judged in decisions.feedback.items():
        oldest_s = _oldest_s(judged)
        if oldest_s is not None:
            fed.append((Watch.FEEDBACK_STALE, pump_id, at.plus(-oldest_s)))
            if all(judged[point].quality is Quality.GOOD for point in NEEDED):
                fed.append((Watch.FEEDBACK_REJECTED, pump_id, at))
        heartbeat = judged.get(PLC_HEARTBEAT)
        if heartbeat is not None and heartbeat.quality is Quality.GOOD:
            fed.append((Watch.PLC_HEARTBEAT, pump_id, at))
    return fed


def fed_by_levels(station: StationConfig, decisions: StationDecisions) -> list[tuple[Watch, str, Instant]]:
    """Return whether rules 3 and 4 have a level that they may use: one of the well's is enough."""
    for pump in station.pumps:
        level = decisions.feedback.get(pump.pump_id, {}).get(LEVEL)
        if (
            protects_by_level(pump)
            and level is not None
            and level.quality is Quality.GOOD
            and level.age_s is not None
            and level.age_s <= station.protective_level_age_s
        ):
            return [(Watch.PROTECTIVE_LEVEL, station.station_id, decisions.sent_at)]
    return []


def fed_by_endpoint(site_id: str, status: EndpointStatus) -> list[tuple[Watch, str, Instant]]:
    """Return what an endpoint's status proves."""
    at = status.sent_at
    fed = [(Watch.ENDPOINT_SILENT, f"{site_id}:{status.protocol}", at)] if status.bound else []
    fed += [
        (Watch.LEASE_LAPSED, f"{status.protocol}:{pump.pump_id}", at)
        for pump in status.pumps
        if pump.accepted_at is not None and pump.lease_left_s > 0.0
    ]
    fed += [
        (Watch.SCADA_HEARTBEAT, station_id, moved_at)
        for station_id, moved_at in status.scada_moved_at.items()
    ]
    return fed


def _oldest_s(judged: Mapping[str, JudgedValue]) -> float | None:
    """Return the age of the oldest point that the chain needs; None: one was never written."""
    ages: list[float] = []
    for point in NEEDED:
        value = judged.get(point)
        if value is None or value.age_s is None:
            return None
        ages.append(value.age_s)
    return max(ages)
