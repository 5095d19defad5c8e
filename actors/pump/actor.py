"""The pump actor: each control period its plan or its operator becomes a proposal (CTL-2, CTL-7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from actors.feedback import LEVEL, SPEED, FeedbackMemory, good_value, judge, newest, pumping_since_of
from actors.messages import (
    Configure,
    Done,
    FeedbackReceived,
    GetPlanIntervals,
    GetPump,
    JudgedValue,
    PlanIntervals,
    Proposal,
    ProposalSource,
    PumpFeedback,
    PumpInbox,
    PumpStatus,
    SetMode,
    SetpointDecided,
    Tick,
)
from actors.outbox import Outbox
from actors.plan.conditions import ConditionBook
from actors.pump.calculators import CalculatorSetup, CalculatorState, calculate, setup_of, track
from actors.pump.coverage import (
    Coverage,
    PlanKnowledge,
    coverage,
    first_beat_after_s,
    learn,
    must_wait,
)
from actors.pump.modes import (
    carried_out,
    expire,
    expiry_record,
    from_store,
    held_stopped,
    order,
    order_record,
    to_store,
)
from actors.pump.parameters import effective_parameters
from actors.pump.regulator import Applied
from actors.runtime import Ports, Ref
from actors.start import WorkerStart
from actors.station.wet_well import merged_level
from actors.stores import ModeStore
from actors.vocabulary import (
    CalejoError,
    DeviceError,
    Instant,
    Mode,
    PumpConfig,
    Quality,
    Reason,
    RefusedError,
    Severity,
    SiteConfig,
    StationConfig,
)
from actors.vocabulary.ids import ALARM, station_part_address

CONTROL: Final = "control"
BEAT: Final = "beat"
BEAT_S: Final = 1.0
ASK_DEADLINE_S: Final = 2.0
ASK_AGAIN_S: Final = 1.0

# A decision with one of these carries the wish or a limit on it; any other one is somebody else's value.
_FOLLOWS_THE_WISH: Final = frozenset({Reason.PLAN, Reason.LIMITED, Reason.RAMP})


class PumpActor:
    """One pump's control loop. Everything it decides is somebody's pure function; it only keeps the state."""

    def __init__(self, ports: Ports, start: WorkerStart, modes: ModeStore) -> None:
        assert start.site is not None, "a pump belongs to a site"
        assert start.station_id is not None, "a pump belongs to a station"
        assert start.pump_id is not None, "a pump actor is one pump's"
        self._ports = ports
        self._control = start.settings.control
        self._modes = modes
        self._site_id = start.site.site_id
        self._station_id = start.station_id
        self._pump_id = start.pump_id
        self._outbox = Outbox(ports)
        self._conditions = ConditionBook()
        self._started_at = ports.clock.now()
        self._mode = held_stopped("", now=self._started_at)
        self._mode_stored = True
        self._station: StationConfig | None = None
        self._pump: PumpConfig | None = None
        self._calculator = CalculatorState()
        self._setup: CalculatorSetup | None = None
        self._adopt(start.site)
        self._known = PlanKnowledge()
        self._coverage: Coverage | None = None
        self._feedback: dict[str, PumpFeedback] = {}
        self._memories: dict[str, FeedbackMemory] = {}
        self._judged: dict[str, JudgedValue] = {}
        self._decided: SetpointDecided | None = None
        self._ticked_at: Instant | None = None
        self._sequence = 0
        self._wish_hz: float | None = None
        self._source: ProposalSource | None = None

    async def start(self) -> None:
        """Load the operator's mode, begin the rhythm and ask for the plan."""
        now = self._ports.clock.now()
        self._started_at = now
        # Milliseconds of this boot: above all that an earlier life of this pump has used.
        self._sequence = now.boot_ns // 1_000_000
        try:
            self._mode = from_store(self._modes.load(self._pump_id), now=now)
        except DeviceError as error:
            # It may have been an operator's 0, and not knowing must not become a start.
            self._mode = held_stopped("", now=now)
            text = f"operator mode of {self._pump_id} cannot be read, held stopped: {error}"
            self._conditions.hold("mode_unreadable", self._pump_id, Severity.HIGH, text)
        period_s = self._control.period_s
        first_s = first_beat_after_s(self._station_id, period_s=period_s, now=now)
        self._ports.timers.every(period_s, Tick(what=CONTROL), first_after_s=first_s)
        self._ports.timers.every(BEAT_S, Tick(what=BEAT))
        self._ports.tasks.spawn(self._ask_for_plan(), name="plan-question")

    async def handle(self, message: PumpInbox) -> object:
        """Take one message.

        Raises:
            InvalidValueError: `SetMode` with a value out of range.
            RefusedError: `SetMode` for another pump, or to a mode that is not the operator's to set.
            DeviceError: the new mode cannot be made durable; nothing has changed.

        """
        now = self._ports.clock.now()
        match message:
            case Tick():
                if message.what == CONTROL:
                    self._propose(now)
                else:
                    self._beat(now)
            case Configure():
                if message.site.site_id == self._site_id:
                    self._adopt(message.site)
            case PlanIntervals():
                if message.pump_id == self._pump_id:
                    self._known = learn(self._known, message)
            case FeedbackReceived():
                self._collect(message, now)
            case SetMode():
                return self._set_mode(message, now)
            case SetpointDecided():
                if message.pump_id == self._pump_id and _is_newer(message, self._decided):
                    self._decided = message
            case GetPump():
                return self._status()
            case _:
                assert_never(message)
        return None

    # ----------------------------------------------------------------- configuration, plan, feedback

    def _adopt(self, site: SiteConfig) -> None:
        """Take over the configuration; a changed control type or parameter set begins anew, bumpless."""
        self._station = site.station(self._station_id)
        pump = None if self._station is None else self._station.pump(self._pump_id)
        if pump == self._pump:
            return
        self._pump = pump
        if pump is None:
            return
        parameters, error = effective_parameters(pump)
        setup = setup_of(pump, parameters, self._control)
        if self._setup != setup:
            self._calculator = track(self._calculator.regulator.output_hz)
        self._setup = setup
        if error:
            text = f"{error}; the defaults of {pump.control_type.value} hold"
            self._conditions.hold("control_parameters_invalid", self._pump_id, Severity.MEDIUM, text)
        else:
            self._conditions.clear("control_parameters_invalid", self._pump_id)

    async def _ask_for_plan(self) -> None:
        """Ask until the plan actor answers once; from then on it tells by itself."""
        plan = self._ports.directory.ref(station_part_address(self._site_id, self._station_id, "plan"))
        while not self._known.heard:
            try:
                answer = await plan.ask(GetPlanIntervals(pump_id=self._pump_id), deadline_s=ASK_DEADLINE_S)
            except CalejoError as error:
                self._ports.log.info("plan_not_heard", pump=self._pump_id, error=str(error))
            else:
                self._ports.timers.deliver(answer)
            await self._ports.clock.sleep(ASK_AGAIN_S)

    def _collect(self, message: FeedbackReceived, now: Instant) -> None:
        """Keep the newest sample of every point of this station's pumps (the others see the same wet well)."""
        if message.station_id != self._station_id or self._station is None:
            return
        for feedback in message.pumps:
            if self._station.pump(feedback.pump_id) is not None:
                self._feedback[feedback.pump_id] = newest(
                    self._feedback.get(feedback.pump_id), feedback, now=now
                )

    def _judge(self, now: Instant) -> tuple[dict[str, JudgedValue], JudgedValue]:
        """Return the pump's own judged feedback, and the level to control by."""
        pumps = () if self._station is None else self._station.pumps
        pumping_since = pumping_since_of(self._memories.values())
        levels: dict[str, JudgedValue] = {}
        own: dict[str, JudgedValue] = {}
        memories: dict[str, FeedbackMemory] = {}
        for pump in pumps:
            judged, memories[pump.pump_id] = judge(
                self._feedback.get(pump.pump_id, PumpFeedback(pump_id=pump.pump_id)),
                self._memories.get(pump.pump_id, FeedbackMemory()),
                now=now,
                since=self._started_at,
                control=self._control,
                pump=pump,
                pumping_since=pumping_since,
            )
            levels[pump.pump_id] = judged[LEVEL]
            if pump.pump_id == self._pump_id:
                own = judged
        self._memories = memories
        level = merged_level(levels)
        # While all agree the own transmitter is preferred: two that differ by centimetres would make the level jump.
        if level.quality is Quality.GOOD and good_value(own, LEVEL) is not None:
            level = own[LEVEL]
        return own, level

    # ----------------------------------------------------------------- the control period

    def _propose(self, now: Instant) -> None:
        dt_s = 0.0 if self._ticked_at is None else now.seconds_since(self._ticked_at)
        self._ticked_at = now
        self._expire(now)
        self._judged, level = self._judge(now)
        self._coverage = coverage(self._known, now=now, control=self._control)
        if self._pump is None:
            return  # not configured (any longer): the gates' lease runs out
        if self._mode.mode is Mode.AUTO and must_wait(self._known, now=now, started_at=self._started_at):
            return
        failsafe: Reason | None = None
        if self._mode.mode is Mode.AUTO:
            failsafe = self._wish_by_plan(self._coverage, {**self._judged, LEVEL: level}, now, dt_s)
        else:
            self._wish_by_operator(now)
        assert self._source is not None
        self._sequence += 1
        self._safety().tell(
            Proposal(
                pump_id=self._pump_id,
                wish_hz=self._wish_hz,
                mode=self._mode.mode,
                origin=now,
                sequence=self._sequence,
                source=self._source,
                failsafe=failsafe,
                held_stopped=self._mode.held_stopped,
            )
        )

    def _wish_by_plan(
        self, covered: Coverage, judged: Mapping[str, JudgedValue], now: Instant, dt_s: float
    ) -> Reason | None:
        """Find the wish of an AUTO pump; return the reason for failsafe if there is none."""
        others_hz, applied = self._feedback_of_the_decision(now)
        if others_hz is not None:
            self._calculator = track(others_hz)
        plan = covered.plan
        if covered.failsafe is not None or plan is None:
            self._wish_hz = None
            self._source = ProposalSource(
                calculator="failsafe",
                plan_id=None if plan is None else plan.plan_id,
                plan_version=None if plan is None else plan.plan_version,
                plan=plan,
                note=covered.why,
            )
            return covered.failsafe
        assert self._setup is not None, "a configured pump has its setup"
        wish = calculate(self._setup, plan, judged, self._calculator, applied=applied, dt_s=dt_s)
        self._calculator = wish.state
        self._wish_hz = wish.hz
        self._source = wish.source
        return None if wish.hz is not None else Reason.FAILSAFE_INVALID_PROPOSAL

    def _wish_by_operator(self, now: Instant) -> None:
        applied_hz = self._applied_hz(now)
        hz = self._mode.setpoint_hz
        self._calculator = track(hz if applied_hz is None else applied_hz)
        self._wish_hz = hz
        self._source = ProposalSource(
            calculator="held_stopped" if self._mode.held_stopped else "manual", note=f"by {self._mode.by}"
        )

    def _feedback_of_the_decision(self, now: Instant) -> tuple[float | None, Applied | None]:
        """Return (the speed that somebody else holds, what became of our last wish); at most one is not None.

        Without a fresh decision nobody knows what is applied: the measured speed is, so the wish stays with it.
        """
        decided = self._decided
        if decided is None or now.seconds_since(decided.origin) > self._control.setpoint_lease_s:
            return good_value(self._judged, SPEED), None
        if decided.tracking_hz is not None:
            return decided.tracking_hz, None
        if decided.duty_hz is not None and decided.remote_enabled:
            # Another pump does what we wish: what it makes of that is what our wish has to follow.
            return None, Applied(hz=decided.duty_hz, ramping=True)
        if not decided.remote_enabled or decided.reason not in _FOLLOWS_THE_WISH:
            return decided.applied_hz, None
        return None, Applied(hz=decided.applied_hz, ramping=decided.reason is Reason.RAMP)

    # ----------------------------------------------------------------- modes

    def _set_mode(self, message: SetMode, now: Instant) -> Done:
        if message.pump_id != self._pump_id:
            raise RefusedError(f"this is pump {self._pump_id!r}, not {message.pump_id!r}")
        self._expire(now)
        before = self._mode
        ordered = order(
            before,
            message,
            now=now,
            applied_hz=self._applied_hz(now),
            expiry_s=self._control.manual_expiry_s,
            min_hz=self._min_hz(),
        )
        by = str(self._ports.address)
        if ordered is before:
            known = carried_out(ordered, message.command_id)
            assert known is not None, "a state that stays the same has taken the command before"
            # The first time may have died with us before its record was out; one id is stored once.
            self._outbox.put(order_record(None, message, at=known.at, source_address=by))
            return Done(note="already carried out", repeat_of=known.at)
        self._modes.store(to_store(ordered, self._pump_id))
        self._mode = ordered
        self._mode_stored = True
        for condition in ("mode_unreadable", "mode_not_durable"):
            self._conditions.clear(condition, self._pump_id)
        # Here and not where the command came in: there its answer may never arrive (AUD-2).
        self._outbox.put(order_record(before, message, at=now.utc, source_address=by))
        self._ports.log.info("mode_set", pump=self._pump_id, mode=ordered.mode.name, by=message.by)
        return Done(note=f"{ordered.command.value} by {message.by}")

    def _min_hz(self) -> float:
        limits = None if self._pump is None else self._pump.limits
        return 0.0 if limits is None else limits.hard_min_speed_hz

    def _applied_hz(self, now: Instant) -> float | None:
        """Return what this pump itself is driven with, whoever does its duty."""
        decided = self._decided
        if decided is not None and decided.duty_hz is not None and decided.remote_enabled:
            return decided.applied_hz
        others_hz, applied = self._feedback_of_the_decision(now)
        return others_hz if applied is None else applied.hz

    def _expire(self, now: Instant) -> None:
        """Let the operator's time end; that the store fails must not lengthen it, so it is tried again each beat."""
        before = self._mode
        self._mode = expire(before, now=now)
        if self._mode is before:
            return
        self._mode_stored = False
        self._store_mode()
        self._ports.log.warning(
            "mode_expired", pump=self._pump_id, was=before.command.value, now=self._mode.command.value
        )
        by = str(self._ports.address)
        self._outbox.put(expiry_record(self._pump_id, before, self._mode, now=now, by=by))

    def _store_mode(self) -> None:
        try:
            self._modes.store(to_store(self._mode, self._pump_id))
        except DeviceError as error:
            text = f"operator mode of {self._pump_id} cannot be stored: {error}"
            self._conditions.hold("mode_not_durable", self._pump_id, Severity.HIGH, text)
            return
        self._mode_stored = True
        self._conditions.clear("mode_not_durable", self._pump_id)

    # ----------------------------------------------------------------- telling

    def _beat(self, now: Instant) -> None:
        if not self._mode_stored:
            self._store_mode()
        if self._mode.held_stopped:
            text = f"{self._pump_id} is held stopped until an operator says otherwise"
            self._conditions.hold("pump_held_stopped", self._pump_id, Severity.HIGH, text)
        else:
            self._conditions.clear("pump_held_stopped", self._pump_id)
        alarm = self._ports.directory.ref(ALARM)
        for news in self._conditions.news(now):
            alarm.tell(news)

    def _safety(self) -> Ref:
        return self._ports.directory.ref(station_part_address(self._site_id, self._station_id, "safety"))

    def _status(self) -> PumpStatus:
        return PumpStatus(
            pump_id=self._pump_id,
            mode=self._mode.mode,
            mode_by=self._mode.by,
            mode_expires_at=self._mode.expires_at,
            manual_hz=self._mode.setpoint_hz,
            plan=None if self._coverage is None else self._coverage.plan,
            wish_hz=self._wish_hz,
            source=self._source,
            feedback=self._judged,
            held_stopped=self._mode.held_stopped,
        )


def _is_newer(message: SetpointDecided, known: SetpointDecided | None) -> bool:
    if known is None or message.origin.boot_id != known.origin.boot_id:
        return True
    return message.origin.boot_ns >= known.origin.boot_ns
