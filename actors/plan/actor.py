"""The plan actor of one station: reads `pump_plans`, hands each pump its current and next interval (CTL-1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from actors.messages import (
    Configure,
    GetPlanIntervals,
    GetPlanStatus,
    PlanInbox,
    PlanIntervals,
    PlansRead,
    PlanStatus,
    PlansWritten,
    Tick,
)
from actors.outbox import Outbox
from actors.plan.conditions import ConditionBook
from actors.plan.selection import Selection, governing, select
from actors.plan.validation import PlanRules, Refusal, Verdict, validate
from actors.runtime import Ports
from actors.start import WorkerStart
from actors.stores import PlanReader
from actors.vocabulary import CalejoError, Instant, Severity, UnknownSubjectError
from actors.vocabulary.ids import ALARM, pump_address, watchdog_address
from actors.vocabulary.records import OptimiserStatus, PlanRow

POLL: Final = "poll"
BEAT: Final = "beat"
BOUNDARY: Final = "boundary"

BEAT_S: Final = 1.0
STATUS_EVERY_S: Final = 4.0
STATUS_DUE_S: Final = 5.0
# The watchdog waits so long for a word: the beat that finds 4 s gone must not be too late.
assert STATUS_EVERY_S + BEAT_S <= STATUS_DUE_S

FOLLOW_S: Final = 30.0
FOLLOW_RETRY_S: Final = 5.0
READ_MARGIN_S: Final = 5.0
ROWS_MAX: Final = 10_000
LAST_REFUSALS_MAX: Final = 200

# How far a read looks back and ahead (s). The next narrower one is taken when the reader's limit of rows would
# otherwise cut off the present, which is what it reads last.
WINDOWS_S: Final = ((86_400.0, 172_800.0), (0.0, 86_400.0), (0.0, 7_200.0), (0.0, 600.0))


class PlanActor:
    """Polls, validates, selects and tells. Never waits for the database while somebody waits for an answer."""

    def __init__(self, ports: Ports, start: WorkerStart, reader: PlanReader) -> None:
        assert start.site is not None, "a plan actor belongs to a site"
        assert start.station_id is not None, "a plan actor belongs to a station"
        self._ports = ports
        self._control = start.settings.control
        database = start.settings.database
        self._read_deadline_s = database.connect_timeout_s + 2 * database.statement_timeout_s + READ_MARGIN_S
        self._reader = reader
        self._site = start.site
        self._station_id = start.station_id
        self._outbox = Outbox(ports)
        self._conditions = ConditionBook()
        self._rules = self._rules_now()
        self._rows: tuple[PlanRow, ...] = ()
        self._verdict = Verdict(accepted={}, refused=())
        self._selections: dict[str, Selection] = {}
        self._optimiser: OptimiserStatus | None = None
        self._answered_at: Instant | None = None
        self._started_at = ports.clock.now()
        self._asked_at: Instant | None = None
        self._cancel_read: Callable[[], None] | None = None
        self._read_again = False
        self._window = 0
        self._status_at: Instant | None = None
        self._refused_ids: set[str] = set()
        self._refused_total = 0
        self._error = ""

    async def start(self) -> None:
        """Begin polling and listening for the database's word."""
        self._started_at = self._ports.clock.now()
        self._ports.timers.every(self._control.plan_poll_s, Tick(what=POLL), first_after_s=0.0)
        self._ports.timers.every(BEAT_S, Tick(what=BEAT))
        self._ports.tasks.spawn(self._follow_changes(), name="plan-changes")

    async def handle(self, message: PlanInbox) -> object:
        """Take one message.

        Raises:
            UnknownSubjectError: `GetPlanIntervals` for a pump that is not this station's.

        """
        now = self._ports.clock.now()
        match message:
            case Tick():
                self._tick(message.what, now)
            case Configure():
                self._configure(message, now)
            case PlansWritten():
                self._read(now)
            case PlansRead():
                self._take(message, now)
            case GetPlanIntervals():
                if message.pump_id not in self._rules.control_types:
                    raise UnknownSubjectError(
                        f"pump {message.pump_id!r} is not at station {self._station_id!r}"
                    )
                self._cross_boundaries(now)
                return self._intervals(message.pump_id, now)
            case GetPlanStatus():
                return self._status(now)
            case _:
                assert_never(message)
        return None

    # ----------------------------------------------------------------- time

    def _tick(self, what: str, now: Instant) -> None:
        if what == POLL:
            self._read(now)
            return
        self._cross_boundaries(now)
        if what != BEAT:
            return
        self._await_boundaries(now)
        if self._status_at is None or now.seconds_since(self._status_at) >= STATUS_EVERY_S:
            self._report(now)
        self._judge_silence(now)
        self._tell_alarms(now)

    def _cross_boundaries(self, now: Instant) -> None:
        """Tell each pump whose interval has changed since it was told last."""
        wall = self._wall(now)
        for pump_id, selection in list(self._selections.items()):
            if selection.changes_at is not None and selection.changes_at <= wall:
                self._selections[pump_id] = select(self._verdict.accepted.get(pump_id, ()), wall)
                self._push(pump_id, now)

    def _wall(self, now: Instant) -> datetime:
        """Return the wall clock by which the known rows were read, moved on by the boot clock (WDG-1: a clock step).

        Whoever sets the clock changes nothing about them; the next read, at most one poll later, is by the new one.
        """
        return (now if self._answered_at is None else self._answered_at.unstepped(now)).utc

    def _await_boundaries(self, now: Instant) -> None:
        """Wake up at every boundary that passes before the next beat but one: the pumps are told exactly then."""
        wall = self._wall(now)
        horizon = wall + timedelta(seconds=2 * BEAT_S)
        edges = {
            selection.changes_at
            for selection in self._selections.values()
            if selection.changes_at is not None and selection.changes_at < horizon
        }
        for edge in edges:
            self._ports.timers.after(max(0.0, (edge - wall).total_seconds()), Tick(what=BOUNDARY))

    # ----------------------------------------------------------------- reading

    def _read(self, now: Instant) -> None:
        """Start a read in the background, unless one is under way and young enough to still answer."""
        if self._asked_at is not None:
            if now.seconds_since(self._asked_at) < self._read_deadline_s:
                self._read_again = True
                return
            self._fail("a read did not end in time")
            if self._cancel_read is not None:
                self._cancel_read()
        self._asked_at = now
        self._read_again = False
        self._cancel_read = self._ports.tasks.spawn(self._read_rows(now, self._window), name="plan-read")

    async def _read_rows(self, asked_at: Instant, window: int) -> None:
        back_s, ahead_s = WINDOWS_S[window]
        try:
            rows = await self._reader.plans(
                self._station_id,
                start=asked_at.utc - timedelta(seconds=back_s),
                end=asked_at.utc + timedelta(seconds=ahead_s),
            )
            optimiser = await self._reader.optimiser_status(self._station_id)
            read = PlansRead(asked_at=asked_at, rows=tuple(rows), optimiser=optimiser)
        except CalejoError as error:
            read = PlansRead(asked_at=asked_at, error=f"{type(error).__name__}: {error}")
        self._ports.timers.deliver(read)

    async def _follow_changes(self) -> None:
        """Pass on the database's notifications; polling goes on whatever becomes of them."""
        clock = self._ports.clock
        while True:
            began = clock.now()
            try:
                if await self._reader.wait_for_change(at_most_s=FOLLOW_S):
                    self._ports.timers.deliver(PlansWritten())
            except CalejoError as error:
                self._ports.log.warning("plan_notifications_lost", error=str(error))
                await clock.sleep(FOLLOW_RETRY_S)
            # A reader that returns at once (no notifications on SQLite) must not spin.
            if clock.now().seconds_since(began) < BEAT_S:
                await clock.sleep(BEAT_S)

    def _take(self, read: PlansRead, now: Instant) -> None:
        if read.asked_at != self._asked_at:
            return  # the answer of a read that was given up
        self._asked_at = None
        self._cancel_read = None
        if read.error:
            self._fail(read.error)
        elif len(read.rows) >= ROWS_MAX and self._window < len(WINDOWS_S) - 1:
            self._window += 1
            self._read_again = True
        else:
            if self._error:
                self._ports.log.info("plan_database_returned", station=self._station_id)
            self._error = ""
            self._rows = read.rows
            self._optimiser = read.optimiser
            self._answered_at = read.asked_at
            self._note_window(len(read.rows))
            self._judge(now)
        self._report(now)
        self._tell_alarms(now)
        if self._read_again and not read.error:
            self._read(now)

    def _note_window(self, count: int) -> None:
        cut_off = count >= ROWS_MAX
        if cut_off:
            text = f"more than {ROWS_MAX} plan rows for {self._station_id} within {WINDOWS_S[-1][1]:g} s: not all seen"
            self._conditions.hold("plan_rows_cut_off", self._station_id, Severity.MEDIUM, text)
        else:
            self._conditions.clear("plan_rows_cut_off", self._station_id)
        if self._window > 0 and count < ROWS_MAX // 4:
            self._window -= 1

    def _fail(self, error: str) -> None:
        if not self._error:
            self._ports.log.warning("plan_database_unreachable", station=self._station_id, error=error)
        self._error = error

    def _judge_silence(self, now: Instant) -> None:
        """An error is an alarm at once; so is an unanswered read that outlasts the limit for the database."""
        last = self._answered_at or self._started_at
        silent_s = now.seconds_since(last)
        if not self._error and silent_s <= self._control.database_unreachable_s:
            self._conditions.clear("plan_database_unreachable", self._station_id)
            return
        text = f"plans of {self._station_id} not read for {silent_s:.0f} s: {self._error or 'no answer'}"
        self._conditions.hold("plan_database_unreachable", self._station_id, Severity.HIGH, text)

    # ----------------------------------------------------------------- judging

    def _rules_now(self) -> PlanRules:
        station = self._site.station(self._station_id)
        pumps = () if station is None else station.pumps
        return PlanRules(
            station_id=self._station_id,
            control_types={pump.pump_id: pump.control_type for pump in pumps},
            speed_hz_min=self._control.optimiser_speed_hz_min,
            speed_hz_max=self._control.optimiser_speed_hz_max,
        )

    def _configure(self, message: Configure, now: Instant) -> None:
        if message.site.site_id != self._site.site_id:
            return
        self._site = message.site
        rules = self._rules_now()
        if rules == self._rules:
            return
        self._rules = rules
        if self._answered_at is not None:
            self._judge(now)
            self._report(now)

    def _judge(self, now: Instant) -> None:
        """Judge the rows of the last read, keep account of the refused, and tell every pump where it stands."""
        self._verdict = validate(self._rows, self._rules, remembered=self._verdict.by_plan_id())
        self._account(self._verdict.refused, now)
        self._selections = {
            pump_id: select(self._verdict.accepted.get(pump_id, ()), self._wall(now))
            for pump_id in self._rules.control_types
        }
        for pump_id in self._selections:
            self._push(pump_id, now)
        self._await_boundaries(now)

    def _account(self, refused: tuple[Refusal, ...], now: Instant) -> None:
        own = [refusal for refusal in refused if not refusal.foreign]
        fresh = [refusal for refusal in own if refusal.record_id not in self._refused_ids]
        self._refused_ids = {refusal.record_id for refusal in own}
        self._refused_total += len(fresh)
        if fresh:
            self._outbox.put(*(refusal.record(at=now.utc) for refusal in fresh))
            first = fresh[0]
            self._ports.log.warning(
                "plans_refused",
                count=len(fresh),
                plan_id=first.row.plan_id,
                reason=first.reason,
                value=first.value,
            )
        # A refused row that is over concerns nobody; one that is to come is somebody's mistake to mend.
        alarming = {item.row.pump_id: item for item in own if _to_come(item.row, now)}
        for pump_id, item in alarming.items():
            self._conditions.hold("plan_refused", pump_id, Severity.MEDIUM, _told(item))
        self._conditions.clear_all_but("plan_refused", set(alarming))

    # ----------------------------------------------------------------- telling

    def _intervals(self, pump_id: str, now: Instant) -> PlanIntervals:
        selection = self._selections.get(pump_id)
        return PlanIntervals(
            pump_id=pump_id,
            current=None if selection is None else selection.current,
            following=None if selection is None else selection.following,
            database_answered_at=self._answered_at,
            optimiser_heartbeat_age_s=self._optimiser_age_s(),
            sent_at=now,
        )

    def _optimiser_age_s(self) -> float | None:
        """Age of the heartbeat when the database answered last: its silence is not the optimiser's.

        A heartbeat from the future is as far off as one from the past, or it would hide a dead optimiser.
        """
        if self._optimiser is None or self._answered_at is None:
            return None
        heartbeat_at = self._optimiser.heartbeat_at
        if heartbeat_at.tzinfo is None:
            heartbeat_at = heartbeat_at.replace(tzinfo=UTC)  # every timestamp of DAT-1 is UTC
        return abs((self._answered_at.utc - heartbeat_at).total_seconds())

    def _push(self, pump_id: str, now: Instant) -> None:
        address = pump_address(self._site.site_id, self._station_id, pump_id)
        self._ports.directory.ref(address).tell(self._intervals(pump_id, now))

    def _status(self, now: Instant) -> PlanStatus:
        wall = self._wall(now)
        last_refusals = {refusal.row.pump_id: _told(refusal) for refusal in self._verdict.refused}
        return PlanStatus(
            station_id=self._station_id,
            database_answered_at=self._answered_at,
            optimiser_heartbeat_age_s=self._optimiser_age_s(),
            covered={
                pump_id: governing(self._verdict.accepted.get(pump_id, ()), wall) is not None
                for pump_id in self._rules.control_types
            },
            refused_total=self._refused_total,
            last_refusals=dict(list(last_refusals.items())[-LAST_REFUSALS_MAX:]),
            sent_at=now,
        )

    def _report(self, now: Instant) -> None:
        self._status_at = now
        self._ports.directory.ref(watchdog_address(self._site.site_id)).tell(self._status(now))

    def _tell_alarms(self, now: Instant) -> None:
        alarm = self._ports.directory.ref(ALARM)
        for news in self._conditions.news(now):
            alarm.tell(news)


def _to_come(row: PlanRow, now: Instant) -> bool:
    """Say whether the row is not over; one without a time zone may be any time."""
    return row.interval_end.tzinfo is None or row.interval_end > now.utc


def _told(refusal: Refusal) -> str:
    return f"plan {refusal.row.plan_id}: {refusal.reason} ({refusal.value})"
