"""The watchdog of a site: watches ages, alarms what is lost and records failsafes; it controls nothing (WDG-1, 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

from actors.messages import (
    Configure,
    EndpointStatus,
    GetWatchdog,
    OpenFailsafesRead,
    PlanStatus,
    ReadOpenFailsafes,
    StationDecisions,
    Tick,
    WatchdogInbox,
    WatchdogStatus,
)
from actors.outbox import Outbox
from actors.plan.conditions import ConditionBook
from actors.runtime import Ports
from actors.start import WorkerStart
from actors.vocabulary import Instant, Scope, Severity
from actors.vocabulary.ids import ALARM, STORAGE
from actors.vocabulary.settings import protocols_of
from actors.watchdog import clock, echo, failsafes, timers

BEAT: Final = "beat"
BEAT_S: Final = 1.0
# What was true before the watchdog began to listen takes a moment to be told.
SETTLE_S: Final = 3.0
# Storage may have been restarted between the question and its answer.
ASK_AGAIN_BEATS: Final = 15


class WatchdogActor:
    """Judges every timer once a second from what plan, safety and endpoints tell it."""

    def __init__(self, ports: Ports, start: WorkerStart) -> None:
        assert start.site is not None, "a watchdog belongs to a site"
        self._ports = ports
        self._control = start.settings.control
        self._protocols = protocols_of(start.settings)
        self._site = start.site
        self._outbox = Outbox(ports)
        self._conditions = ConditionBook()
        self._known: frozenset[timers.Key] = frozenset()
        self._timers: dict[timers.Key, timers.TimerState] = {}
        self._decisions: dict[str, StationDecisions] = {}
        self._endpoints: dict[str, EndpointStatus] = {}
        self._failsafes: dict[tuple[Scope, str], failsafes.Open] = {}
        self._shown: dict[str, tuple[echo.Shown, ...]] = {}
        self._clock: clock.ClockWatch | None = None
        self._taken_over = False
        self._beats = 0

    async def start(self) -> None:
        """Begin to watch, and ask which failsafes a former life left open."""
        self._watch(self._ports.clock.now())
        self._ports.timers.every(BEAT_S, Tick(what=BEAT), first_after_s=SETTLE_S)
        self._ask()

    def _ask(self) -> None:
        storage = self._ports.directory.ref(STORAGE)
        storage.tell(ReadOpenFailsafes(site_id=self._site.site_id))

    async def handle(self, message: WatchdogInbox) -> object:
        """Take one message."""
        now = self._ports.clock.now()
        match message:
            case Tick():
                self._beat(now)
            case Configure():
                if message.site.site_id == self._site.site_id:
                    self._site = message.site
                    self._watch(now)
            case StationDecisions():
                station = self._site.station(message.station_id)
                if station is not None:
                    self._decisions[message.station_id] = message
                    self._feed(timers.fed_by_decisions(message))
                    self._feed(timers.fed_by_levels(station, message))
            case PlanStatus():
                self._feed(timers.fed_by_plan(self._site.site_id, message))
            case EndpointStatus():
                if message.protocol in self._protocols:
                    self._endpoints[message.protocol] = message
                    self._feed(timers.fed_by_endpoint(self._site.site_id, message))
                    self._follow_echo(message)
            case OpenFailsafesRead():
                self._take_over(message)
            case GetWatchdog():
                return self._status(now)
            case _:
                assert_never(message)
        return None

    def _watch(self, now: Instant) -> None:
        """Watch what the site now consists of; what is gone is neither late nor in failsafe."""
        found = timers.subjects(self._site, self._protocols)
        self._known = frozenset((watch, subject) for watch, ids in found.items() for subject in ids)
        self._timers = timers.watching(
            self._timers, self._site, self._control, now=now, protocols=self._protocols
        )
        stations = {station.station_id for station in self._site.stations}
        self._decisions = {key: held for key, held in self._decisions.items() if key in stations}
        pumps = {pump.pump_id for station in self._site.stations for pump in station.pumps}
        self._shown = {key: held for key, held in self._shown.items() if key in pumps}

    def _feed(self, fed: Iterable[tuple[timers.Watch, str, Instant]]) -> None:
        self._timers = timers.feed(self._timers, fed, self._known)

    def _follow_echo(self, status: EndpointStatus) -> None:
        """Hold what controllers echo against what was shown to them."""
        self._shown = echo.remember(self._shown, status)
        keys = [(timers.Watch.SETPOINT_ECHO, pump_id) for pump_id in echo.echoing(status)]
        self._timers = timers.begun(self._timers, keys, self._known, now=status.sent_at)
        agreed = echo.agreed(self._shown, status, self._control)
        self._feed([(timers.Watch.SETPOINT_ECHO, pump_id, at) for pump_id, at in agreed])

    def _look_at_the_clock(self, now: Instant) -> None:
        self._clock, stepped = clock.look(self._clock, now=now, step_s_min=self._control.clock_step_s)
        if stepped:
            self._ports.log.warning("wall_clock_set", by_s=self._clock.step_s)
        else:
            self._feed([(timers.Watch.CLOCK_STEP, self._site.site_id, now)])

    def _text(self, watch: timers.Watch, subject: str, state: timers.TimerState) -> str:
        good_at = "never" if state.good_at is None else state.good_at.utc.isoformat(timespec="seconds")
        text = timers.specs(self._control)[watch].text
        if watch is timers.Watch.CLOCK_STEP and self._clock is not None:
            return f"{subject}: {text} (by {self._clock.step_s:+.1f} s)"
        return f"{subject}: {text} (last good: {good_at})"

    def _take_over(self, message: OpenFailsafesRead) -> None:
        """Follow what a former life began, so that it has an end."""
        if not self._taken_over:
            self._taken_over = True
            self._failsafes, records = failsafes.taken_over(self._failsafes, message.records, self._site)
            self._outbox.put(*records)

    def _beat(self, now: Instant) -> None:
        self._beats += 1
        if not self._taken_over and self._beats % ASK_AGAIN_BEATS == 0:
            self._ask()
        self._look_at_the_clock(now)
        self._timers = timers.judge(self._timers, self._control, now=now)
        every = timers.specs(self._control)
        lost: dict[str, set[str]] = {watch.value: set() for watch in timers.Watch}
        for (watch, subject), state in self._timers.items():
            if state.lost_at is not None:
                lost[watch.value].add(subject)
                text = self._text(watch, subject, state)
                self._conditions.hold(watch.value, subject, every[watch].severity, text)
        for condition, subjects in lost.items():
            self._conditions.clear_all_but(condition, subjects)
        self._follow_failsafes(now)
        alarm = self._ports.directory.ref(ALARM)
        for news in self._conditions.news(now):
            alarm.tell(news)

    def _follow_failsafes(self, now: Instant) -> None:
        pumps = failsafes.causes(
            self._decisions, self._endpoints, lease_s=self._control.setpoint_lease_s, now=now
        )
        present = failsafes.scopes(self._site, pumps)
        self._failsafes, records = failsafes.follow(self._failsafes, present, now=now)
        if records:
            self._outbox.put(*records)
        names = set()
        for period in self._failsafes.values():
            record = period.record
            subject = f"{record.scope.value.lower()}:{record.scope_id}"
            names.add(subject)
            text = f"{subject} is in failsafe: {record.reason} {record.detail}".rstrip()
            self._conditions.hold("failsafe", subject, Severity.HIGH, text)
        self._conditions.clear_all_but("failsafe", names)

    def _status(self, now: Instant) -> WatchdogStatus:
        every = timers.specs(self._control)
        shown = tuple(
            {
                "condition": watch.value,
                "subject": subject,
                "limit_s": every[watch].limit_s,
                "age_s": None if state.good_at is None else now.seconds_since(state.good_at),
                "lost": state.lost_at is not None,
                "lost_at": None if state.lost_at is None else state.lost_at.utc.isoformat(),
            }
            for (watch, subject), state in sorted(self._timers.items())
        )
        open_ones = tuple(
            {
                "scope": period.record.scope.value,
                "scope_id": period.record.scope_id,
                "reason": period.record.reason,
                "started_at": period.record.started_at.isoformat(),
                "detail": period.record.detail,
            }
            for period in self._failsafes.values()
        )
        return WatchdogStatus(timers=shown, failsafes=open_ones)
