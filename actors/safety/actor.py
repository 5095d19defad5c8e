"""The safety actor of one station: proposals in, decisions out; the kernel decides, this performs (SAF-1 to
SAF-5).
"""

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from actors.messages import (
    Configure,
    Done,
    FeedbackReceived,
    GetStationDecisions,
    JudgedValue,
    Proposal,
    PumpDecision,
    RoundDue,
    SafetyInbox,
    ScopeFailed,
    Setpoint,
    SetpointsDecided,
    StartCleanOut,
    StationDecisions,
    StopCleanOut,
    StopsChanged,
    Tick,
)
from actors.outbox import Outbox
from actors.plan.conditions import ConditionBook
from actors.publisher.stops import audit_of, changes
from actors.runtime import Ports
from actors.safety import orders, telling
from actors.safety.intake import Intake
from actors.safety.kernel import decide_round
from actors.safety.limits import problems
from actors.safety.memory import feedback_of, memory_of, orders_a_start, restored, same, seen_of
from actors.safety.strategies import unusable
from actors.safety.types import Decision, KernelState, RoundInput, initial_state
from actors.safety.violations import Due, ViolationLedger, flush, only, record
from actors.start import WorkerStart
from actors.stores import JoinedLatchStore, LatchStore, TimerStore
from actors.vocabulary import (
    CallerError,
    DeviceError,
    Instant,
    RefusedError,
    Severity,
    SiteConfig,
)
from actors.vocabulary.durable import StationMemory
from actors.vocabulary.ids import ALARM, endpoint_address, pump_address, watchdog_address
from actors.vocabulary.settings import protocols_of

BEAT: Final = "beat"
BEAT_S: Final = 1.0
# A station's pumps tick together; so long the first proposal waits for the others, and one round serves them all.
GATHER_S: Final = 0.02
# A round that was refused a place in a full inbox is asked for again with the next period's first proposal.
GATHER_LOST_S: Final = 0.5
# A proposal that could not even be ordered in time is alarmed for so long after the last one.
MALFORMED_SHOWN_S: Final = 30.0


class SafetyActor:
    """Keeps what the kernel needs and does what it says. Never raises for what a proposal contains (SAF-3)."""

    def __init__(self, ports: Ports, start: WorkerStart, latches: LatchStore, timers: TimerStore) -> None:
        assert start.site is not None, "a safety actor belongs to a site"
        assert start.station_id is not None, "a safety actor belongs to a station"
        assert start.epoch is not None, "a safety actor speaks in an epoch"
        self._ports = ports
        self._control = start.settings.control
        self._protocols = protocols_of(start.settings)
        self._epoch = start.epoch
        self._site_id = start.site.site_id
        self._station_id = start.station_id
        self._latch_store = latches
        self._timer_store = timers
        self._stored: StationMemory | None = None
        self._durable = True
        self._outbox = Outbox(ports)
        self._conditions = ConditionBook()
        self._violations = ViolationLedger()
        since = ports.clock.now()
        self._kernel: KernelState = initial_state(since)
        self._intake = Intake(start.site, start.station_id, since=since, control=self._control)
        self._latches_loaded = False
        self._fingerprint: object = None
        self._decisions: dict[str, PumpDecision] = {}
        self._recorded: dict[str, PumpDecision] = {}
        self._malformed_at: dict[str, Instant] = {}
        self._sequence = 0
        self._noted_order = ""
        self._gathering_since: Instant | None = None

    async def start(self) -> None:
        """Load timers and latches before anything can be decided, and begin to beat."""
        self._intake.since = self._ports.clock.now()
        self._kernel = self._recalled(self._intake.since)
        self._poll_latches()
        self._ports.timers.every(BEAT_S, Tick(what=BEAT))

    async def handle(self, message: SafetyInbox) -> object:
        """Take one message. Nothing in a proposal, a measurement or a latch makes this raise.

        Raises:
            InvalidValueError: `StartCleanOut` for longer than is configured.
            RefusedError: `StartCleanOut` that may not be; nothing has changed.

        """
        now = self._ports.clock.now()
        match message:
            case Tick():
                self._beat(now)
            case Proposal():
                self._propose(message, now)
            case RoundDue():
                self._gathering_since = None
                self._decide(self._newly_proposed(), now)
            case FeedbackReceived():
                self._intake.take_feedback(message, now=now)
            case StopsChanged():
                self._take_stops(message, now)
                return Done(note=f"{len(message.stops)} stops merged")
            case ScopeFailed():
                self._intake.take_failure(message, now=now)
                self._decide(self._all(), now)
            case Configure():
                self._configure(message.site, now)
            case StartCleanOut():
                return self._start_clean_out(message, now)
            case StopCleanOut():
                return self._stop_clean_out(message, now)
            case GetStationDecisions():
                return self._station_decisions(now)
            case _:
                assert_never(message)
        return None

    # ----------------------------------------------------------------- what arrives

    def _propose(self, proposal: Proposal, now: Instant) -> None:
        """Keep it; the round comes when every pump has proposed anew, or a moment later."""
        newer, why = self._intake.propose(proposal, now=now)
        if newer:
            if len(self._newly_proposed()) >= len(self._intake.pumps()):
                self._ports.timers.deliver(RoundDue())
            elif self._gathering_since is None or now.seconds_since(self._gathering_since) >= GATHER_LOST_S:
                self._gathering_since = now
                self._ports.timers.after(GATHER_S, RoundDue())
        elif why:
            pump = self._intake.pump(proposal.pump_id)
            subject = self._station_id if pump is None else pump.pump_id
            self._malformed_at[subject] = now
            text = f"{subject}: a proposal was dropped: {why}"
            self._conditions.hold("malformed_proposal", subject, Severity.HIGH, text)
            self._ports.log.warning("proposal_dropped", subject=subject, why=why)

    def _take_stops(self, message: StopsChanged, now: Instant) -> None:
        """Merge, act, pass on what nobody else has passed on, make durable, record (EST-2).

        The disk comes after the wire: one that hangs must not hold up a stop. The answer comes after both.
        """
        before = self._intake.latches
        self._intake.latches = before.merge(message.stops)
        news = changes(before, self._intake.latches)
        if not message.origin and message.stops:
            self._pass_on(message)
        if news:
            self._decide(self._all(), now)
        self._keep(message)
        if news:
            self._outbox.put(*news, *(audit_of(stop, source_address=message.origin) for stop in news))
        self._tell_alarms(now)

    def _configure(self, site: SiteConfig, now: Instant) -> None:
        """Put the configuration in force at once; pumps that are absent are gone."""
        before = self._intake.configure(site)
        kept = {pump.pump_id for pump in self._intake.pumps()}
        for pump in self._intake.pumps():
            old = None if before is None else before.pump(pump.pump_id)
            if old is not None and old.limits != pump.limits:
                audit = telling.limits_record(
                    pump, old.limits, epoch=self._epoch, at=now, actor=str(self._ports.address)
                )
                self._outbox.put(audit)
        self._decisions = {key: value for key, value in self._decisions.items() if key in kept}
        self._recorded = {key: value for key, value in self._recorded.items() if key in kept}
        self._violations = only(self._violations, kept)
        for condition in telling.PUMP_CONDITIONS:
            self._conditions.clear_all_but(condition, kept)
        self._decide(self._all(), now)

    def _start_clean_out(self, message: StartCleanOut, now: Instant) -> Done:
        """Take a person's order, or say why not; both are recorded (CTL-6)."""
        try:
            if not self._latches_loaded:
                raise RefusedError(f"pump {message.pump_id}: stops are not known yet")
            given = self._intake.round_input(frozenset(), now=now)
            order = orders.begun(message, given, self._kernel, now=now)
        except CallerError as error:
            self._outbox.put(orders.refusal_record(message, str(error), now=now))
            raise
        if order is self._kernel.clean_out:
            return Done(note="already carried out")
        self._kernel = msgspec.structs.replace(self._kernel, clean_out=order)
        self._outbox.put(orders.begin_record(order, message, now=now))
        self._ports.log.warning("clean_out_started", pump=order.pump_id, by=order.by, reason=order.reason)
        return Done(note=f"until {order.until.utc.isoformat()}")

    def _stop_clean_out(self, message: StopCleanOut, now: Instant) -> Done:
        """End a clean-out at a person's word; rule 3 has its pump again in this very round."""
        over = orders.ended(message, self._kernel.clean_out)
        if over is None:
            return Done(note=f"no clean-out of {message.pump_id} is under way")
        self._kernel = msgspec.structs.replace(self._kernel, clean_out=over)
        self._decide(self._all(), now)
        return Done(note="ended")

    def _note_clean_out(self, now: Instant) -> None:
        """Record a clean-out that has ended, once."""
        order = self._kernel.clean_out
        if order is None or not order.over or order.order_id == self._noted_order:
            return
        self._noted_order = order.order_id
        self._outbox.put(orders.end_record(order, now=now, address=str(self._ports.address)))
        self._ports.log.warning("clean_out_ended", pump=order.pump_id, why=order.over)

    # ----------------------------------------------------------------- deciding

    def _all(self) -> frozenset[str]:
        return frozenset(self._intake.proposals)

    def _newly_proposed(self) -> frozenset[str]:
        decided = {pump_id: decision.setpoint.origin for pump_id, decision in self._decisions.items()}
        return self._intake.newly_proposed(decided)

    def _decide(self, deciding: frozenset[str], now: Instant, *, changes_only: bool = False) -> None:
        """Hold one round and tell everybody. Before the latches are known nothing is decided (EST-2)."""
        round_input = self._intake.round_input(deciding, now=now)
        if round_input is None or not self._latches_loaded:
            return
        decisions = self._hold_round(round_input, now)
        decided = {pump_id: self._issue(decision, now) for pump_id, decision in decisions.items()}
        telling.hold_station_alarm(self._conditions, self._station_id, decisions.values())
        if changes_only:
            decided = {key: new for key, new in decided.items() if self._differs(key, new.setpoint)}
        if not decided:
            return
        decided = {key: self._marked(key, new, now) for key, new in decided.items()}
        for pump_id, new in decided.items():
            self._decisions[pump_id] = new
            self._ports.directory.ref(pump_address(self._site_id, self._station_id, pump_id)).tell(
                telling.decided_news(decisions[pump_id])
            )
        self._publish()
        for pump_id, new in decided.items():
            self._write_down(decisions[pump_id], new, round_input.pumps[pump_id].feedback, now)
        self._tell_alarms(now)

    def _hold_round(self, round_input: RoundInput, now: Instant) -> dict[str, Decision]:
        """Decide; a start is durable before anybody hears of it, or it is decided again without (SAF-7)."""
        given = msgspec.structs.replace(round_input, starts_durable=self._durable)
        decisions, kernel = decide_round(given, self._kernel, now=now)
        if orders_a_start(self._kernel, kernel) and not self._store(kernel) and given.starts_durable:
            given = msgspec.structs.replace(round_input, starts_durable=False)
            decisions, kernel = decide_round(given, self._kernel, now=now)
        self._kernel = kernel
        self._note_clean_out(now)
        if kernel.clean_out is not None and not kernel.clean_out.over:
            # A pump that runs in a dry well: should we die now, our successor knows at once that it is dry.
            self._keep_memory()
        return decisions

    def _issue(self, decision: Decision, now: Instant) -> PumpDecision:
        """Give the decision the next sequence of this epoch."""
        self._sequence += 1
        setpoint = telling.setpoint_of(
            decision,
            epoch=self._epoch,
            sequence=self._sequence,
            lease_s=self._control.setpoint_lease_s,
            latch_release=self._intake.latch_release(decision.pump_id),
        )
        telling.hold_alarms(self._conditions, decision)
        return telling.pump_decision(decision, setpoint, now=now)

    def _differs(self, pump_id: str, setpoint: Setpoint) -> bool:
        last = self._decisions.get(pump_id)
        if last is None:
            return True
        # Neither a new number nor a row of history makes another setpoint.
        same = msgspec.structs.replace(last.setpoint, sequence=setpoint.sequence, recorded=setpoint.recorded)
        return setpoint != same

    def _marked(self, pump_id: str, new: PumpDecision, now: Instant) -> PumpDecision:
        """Settle before it is published whether a row tells of it: on change and once a minute (SAF-4)."""
        period_s = self._control.decision_record_period_s
        worth = telling.worth_a_row(self._recorded.get(pump_id), new, now=now, period_s=period_s)
        return telling.marked(new) if worth else new

    # ----------------------------------------------------------------- telling

    def _publish(self) -> None:
        """Send the newest setpoint of every pump to each endpoint of the site, in one message."""
        batch = SetpointsDecided(
            station_id=self._station_id,
            epoch=self._epoch,
            setpoints=tuple(decision.setpoint for decision in self._decisions.values()),
        )
        for protocol in self._protocols:
            self._ports.directory.ref(endpoint_address(self._site_id, protocol)).tell(batch)

    def _write_down(
        self, decision: Decision, new: PumpDecision, feedback: dict[str, JudgedValue], now: Instant
    ) -> None:
        """Record what is marked for it; violations at their own rate."""
        pump_id = decision.pump_id
        if new.setpoint.recorded:
            self._recorded[pump_id] = new
            row = telling.decision_record(
                new,
                site_id=self._site_id,
                station_id=self._station_id,
                at=now,
                decided=decision,
                feedback=feedback,
            )
            self._outbox.put(row)
        due, self._violations = record(self._violations, pump_id, decision.trail, now=now)
        self._write_violations(due, now)

    def _write_violations(self, dues: tuple[Due, ...], now: Instant) -> None:
        for due in dues:
            decision = self._decisions.get(due.pump_id)
            if decision is not None:
                row = telling.violation_record(
                    due, decision.setpoint, site_id=self._site_id, station_id=self._station_id, at=now
                )
                self._outbox.put(row)

    def _tell_alarms(self, now: Instant) -> None:
        alarm = self._ports.directory.ref(ALARM)
        for news in self._conditions.news(now):
            alarm.tell(news)

    def _station_decisions(self, now: Instant) -> StationDecisions:
        judged = self._intake.judged(now=now)
        waiting = self._intake.waiting(self._kernel, judged)
        if not self._latches_loaded:
            waiting = {pump.pump_id: "latches" for pump in self._intake.pumps()}
        return StationDecisions(
            station_id=self._station_id,
            epoch=self._epoch,
            decisions=tuple(self._decisions.values()),
            waiting_for=waiting,
            feedback=judged,
            sent_at=now,
        )

    # ----------------------------------------------------------------- each second

    def _beat(self, now: Instant) -> None:
        self._poll_latches()
        if self._intake.forget_failures(now=now):
            self._decide(self._all(), now)
        self._decide(self._intake.silent(now=now), now, changes_only=True)
        self._keep_memory()
        due, self._violations = flush(self._violations, now=now)
        self._write_violations(due, now)
        for subject, at in list(self._malformed_at.items()):
            if now.seconds_since(at) >= MALFORMED_SHOWN_S:
                del self._malformed_at[subject]
                self._conditions.clear("malformed_proposal", subject)
        for pump in self._intake.pumps():
            wrong = ("no approved limits",) if pump.limits is None else problems(pump.limits)
            if wrong:
                text = f"{pump.pump_id}: never driven: {'; '.join(wrong)[: telling.TEXT_MAX]}"
                self._conditions.hold("not_commissioned", pump.pump_id, Severity.MEDIUM, text)
            else:
                self._conditions.clear("not_commissioned", pump.pump_id)
            without = "" if wrong else unusable(pump)
            if without:
                text = f"{pump.pump_id}: in failsafe its default setpoint instead of LEVEL_ON_OFF: {without}"
                self._conditions.hold("failsafe_strategy_unusable", pump.pump_id, Severity.MEDIUM, text)
            else:
                self._conditions.clear("failsafe_strategy_unusable", pump.pump_id)
        self._tell_alarms(now)
        self._ports.directory.ref(watchdog_address(self._site_id)).tell(self._station_decisions(now))

    def _recalled(self, now: Instant) -> KernelState:
        """Return the state to start with: what the disk remembers of the motors, or nothing (SAF-7)."""
        try:
            memory, seen = self._timer_store.load(self._station_id)
        except DeviceError as error:
            text = f"starts, run and rest times are unknown: {error}"
            self._conditions.hold("timers_unreadable", str(self._ports.address), Severity.HIGH, text)
            return initial_state(now)
        self._stored = memory
        self._intake.recall(feedback_of(seen, now=now))
        return restored(memory, seen, now=now, gap_s_max=self._control.setpoint_lease_s)

    def _keep_memory(self) -> None:
        """Store what changed without a start of ours, or what the disk refused; note that the rest still holds."""
        memory = self._memory(self._kernel)
        changed = self._stored is None or not same(memory, self._stored)
        if (changed or not self._durable) and memory.pumps and not self._store(self._kernel):
            return
        try:
            seen = seen_of(self._kernel, self._intake.memories, now=self._ports.clock.now())
            self._timer_store.seen(self._station_id, self._epoch, seen)
        except DeviceError as error:
            # Nothing is lost by it but the time until now: a successor takes what it does not know for just stopped.
            self._ports.log.warning("timers_not_seen", station=self._station_id, error=str(error))

    def _memory(self, kernel: KernelState) -> StationMemory:
        return memory_of(self._station_id, kernel, epoch=self._epoch, boot_id=self._intake.since.boot_id)

    def _store(self, kernel: KernelState) -> bool:
        """Make durable what must survive of this state; return whether it is."""
        subject, memory = str(self._ports.address), self._memory(kernel)
        try:
            self._timer_store.store(memory)
        except DeviceError as error:
            self._durable = False
            text = f"no pump with limits on starts, rest or run is started, nor claimed for a start: {error}"
            self._conditions.hold("timers_not_durable", subject, Severity.CRITICAL, text)
            return False
        self._durable, self._stored = True, memory
        for condition in ("timers_not_durable", "timers_unreadable"):
            self._conditions.clear(condition, subject)
        return True

    def _poll_latches(self) -> None:
        """Look into the latch folder: before the first decision, and each second whatever the messages
        said.
        """
        subject = str(self._ports.address)
        store = self._latch_store
        try:
            # First: what joins the folder with the database in between is then read at the next look.
            new = not self._latches_loaded and isinstance(store, JoinedLatchStore) and store.is_new()
            fingerprint = store.fingerprint()
            if self._latches_loaded and fingerprint == self._fingerprint:
                self._conditions.clear("latch_unreadable", subject)
                return
            records = store.load()
        except DeviceError as error:
            self._conditions.hold("latch_unreadable", subject, Severity.CRITICAL, str(error))
            return
        self._conditions.clear("latch_unreadable", subject)
        self._fingerprint = fingerprint
        before = self._intake.latches
        self._intake.latches = before.merge(records)
        # A new folder may lack the database's stops: no gate passes anything on yet, so nothing is decided either.
        first = not self._latches_loaded and not new
        self._latches_loaded = not new
        if self._intake.latches is not before or first:
            self._decide(self._all(), self._ports.clock.now())

    def _keep(self, message: StopsChanged) -> None:
        subject = str(self._ports.address)
        try:
            self._latch_store.merge(message.stops)
        except DeviceError as error:
            text = f"stops are in force but not durable here: {error}"
            self._conditions.hold("latch_not_durable", subject, Severity.CRITICAL, text)
            return
        self._conditions.clear("latch_not_durable", subject)

    def _pass_on(self, message: StopsChanged) -> None:
        """We are the first to hear of it: the site's gates must know, whoever told us."""
        onward = StopsChanged(stops=message.stops, origin=str(self._ports.address))
        for protocol in self._protocols:
            self._ports.directory.ref(endpoint_address(self._site_id, protocol)).tell(onward)
