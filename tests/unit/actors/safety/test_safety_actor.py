"""The shell of the safety actor between fakes: what goes out for what comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from actors.messages import (
    AlarmAsserted,
    AlarmReturned,
    Configure,
    Epoch,
    FeedbackReceived,
    GetStationDecisions,
    JudgedValue,
    Proposal,
    ProposalSource,
    PumpFeedback,
    RoundDue,
    Sample,
    ScopeFailed,
    SetpointDecided,
    SetpointsDecided,
    StationDecisions,
    StopsChanged,
    Stored,
    StoreRecords,
    Tick,
)
from actors.safety.actor import BEAT, SafetyActor
from actors.safety.intake import FAILURES_MAX, Intake
from actors.start import WorkerStart
from actors.vocabulary import (
    Address,
    DeviceError,
    Instant,
    Mode,
    Quality,
    Reason,
    Role,
    Scope,
    Settings,
    SiteConfig,
    StationConfig,
)
from actors.vocabulary.durable import MotorTimers, PumpMemory, PumpSeen, StationMemory
from actors.vocabulary.records import (
    AuditRecord,
    DecisionRecord,
    PlanRow,
    Record,
    StopEventRecord,
    ViolationRecord,
)
from tests.unit.actors.safety.timeline import START, limits, pump, station

ENDPOINTS = ("/sites/site/endpoints/opcua", "/sites/site/endpoints/modbus")


class FakeRef:
    def __init__(self, world: World, address: Address) -> None:
        self._world = world
        self._address = address

    @property
    def address(self) -> Address:
        return self._address

    async def ask(self, message: object, *, deadline_s: float) -> Any:
        assert isinstance(message, StoreRecords)
        # What storage cannot encode must never be sent to it.
        msgspec.json.encode(message)
        self._world.records += message.records
        return Stored(count=len(message.records))

    def tell(self, message: object) -> None:
        self._world.told.append((str(self._address), message))


class World:
    """Clock, directory, timers, log and tasks of one actor, and all that it said."""

    def __init__(self) -> None:
        self.address = Address("/sites/site/stations/s/safety")
        self.instant = START
        self.told: list[tuple[str, Any]] = []
        self.records: list[Record] = []
        self.delivered: list[object] = []
        self.later: list[object] = []
        self.inbox_full = False
        self.background: list[Coroutine[Any, Any, None]] = []

    @property
    def clock(self) -> World:
        return self

    @property
    def directory(self) -> World:
        return self

    @property
    def timers(self) -> World:
        return self

    @property
    def log(self) -> World:
        return self

    @property
    def tasks(self) -> World:
        return self

    def now(self) -> Instant:
        return self.instant

    async def sleep(self, seconds: float) -> None:
        self.instant = self.instant.plus(seconds)

    def random(self) -> float:
        return 0.5

    def ref(self, address: Address) -> FakeRef:
        return FakeRef(self, address)

    def every(self, period_s: float, message: object, *, first_after_s: float | None = None) -> None:
        assert (period_s, message) == (1.0, Tick(what=BEAT))

    def after(self, delay_s: float, message: object) -> None:
        """Note it; `Rig.send` lets the moment pass before it is done."""
        assert 0.0 < delay_s < 0.1
        if not self.inbox_full:
            self.later.append(message)

    def deliver(self, message: object) -> None:
        self.delivered.append(message)

    def info(self, event: str, **fields: object) -> None:
        return None

    warning = error = info

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Callable[[], None]:
        self.background.append(coroutine)
        return coroutine.close


class FakeLatches:
    """A latch folder in memory, which may refuse."""

    def __init__(self) -> None:
        self.records: tuple[StopEventRecord, ...] = ()
        self.broken = False
        self.loads = 0

    def _check(self) -> None:
        if self.broken:
            raise DeviceError("the disk refuses")

    def load(self) -> tuple[StopEventRecord, ...]:
        self._check()
        self.loads += 1
        return self.records

    def fingerprint(self) -> object:
        self._check()
        return self.records

    def next_stamp(self) -> int:
        return 1

    def merge(self, records: Sequence[StopEventRecord], *, wanted: Callable[[], bool] = lambda: True) -> None:
        self._check()
        self.records = (*self.records, *records)


class FakeTimers:
    """A folder of timers in memory, which may refuse; `order` tells when something was stored."""

    def __init__(self) -> None:
        self.memory: StationMemory | None = None
        self.marks: dict[str, PumpSeen] = {}
        self.broken = False
        self.stored: list[StationMemory] = []

    def _check(self) -> None:
        if self.broken:
            raise DeviceError("the disk refuses")

    def load(self, station_id: str) -> tuple[StationMemory | None, dict[str, PumpSeen]]:
        self._check()
        return self.memory, self.marks

    def store(self, memory: StationMemory) -> None:
        self._check()
        self.memory = memory
        self.stored.append(memory)

    def seen(self, station_id: str, epoch: Epoch, pumps: Mapping[str, PumpSeen]) -> None:
        self._check()
        self.marks = dict(pumps)


class Rig:
    """A started safety actor with an obedient controller."""

    def __init__(
        self,
        config: StationConfig | None = None,
        latches: FakeLatches | None = None,
        timers: FakeTimers | None = None,
        *,
        now: Instant | None = None,
    ) -> None:
        self.world = World()
        self.world.instant = now or self.world.instant
        self.timers = timers or FakeTimers()
        self.latches = latches or FakeLatches()
        self.config = config or station(pump("a", limits()))
        self.actor = SafetyActor(
            self.world,
            WorkerStart(
                role=Role.SAFETY,
                address=self.world.address,
                settings=Settings(data_dir="unused"),
                site=self.site(self.config),
                station_id="s",
                epoch=Epoch(0, 7),
            ),
            self.latches,
            self.timers,
        )
        self.sequence = 0
        asyncio.run(self.actor.start())

    def site(self, config: StationConfig) -> SiteConfig:
        return SiteConfig(site_id="site", name="site", timezone="UTC", stations=(config,))

    def send(self, message: Any) -> Any:
        """Deliver, then everything the actor delivered to itself, and let storage answer."""
        self.world.delivered.append(message)
        answer = None
        while self.world.delivered:
            given: Any = self.world.delivered.pop(0)
            got = asyncio.run(self.actor.handle(given))
            answer = got if given is message else answer
            if not self.world.delivered:
                self.world.delivered, self.world.later = self.world.later, []
        while self.world.background:
            asyncio.run(self.world.background.pop(0))
        return answer

    def proposal(self, pump_id: str = "a", wish_hz: Any = 35.0, **more: Any) -> Proposal:
        self.sequence += 1
        return Proposal(
            pump_id=pump_id,
            wish_hz=wish_hz,
            mode=more.pop("mode", Mode.AUTO),
            origin=more.pop("origin", self.world.instant),
            sequence=self.sequence,
            source=more.pop("source", ProposalSource(calculator="test", plan_id=3)),
            **more,
        )

    def feed(
        self, *, hz: float = 35.0, pumps: str = "a", level_m: float = 1.0, station_id: str = "s"
    ) -> None:
        at = self.world.instant
        values = {
            "actual_speed_hz": hz,
            "running": float(hz > 0),
            "local_override": 0.0,
            "wet_well_level_m": level_m,
            "plc_heartbeat": float(self.sequence),
        }
        self.send(
            FeedbackReceived(
                station_id=station_id,
                source="modbus",
                pumps=tuple(
                    PumpFeedback(pump_id=one, **{name: Sample(value, at) for name, value in values.items()})
                    for one in pumps
                ),
            )
        )

    def second(self, *, hz: float = 35.0, wish_hz: Any = 35.0, pumps: str = "a", **more: Any) -> None:
        """Let a second pass in which the controller writes and the pumps propose."""
        self.world.instant = self.world.instant.plus(1.0)
        self.feed(hz=hz, pumps=pumps, **more)
        for one in pumps:
            self.send(self.proposal(one, wish_hz))

    def take(self, kind: type[Any], to: str | None = None) -> list[Any]:
        """Return what was told of a kind (to somebody), and forget all that was told."""
        found = [
            message
            for address, message in self.world.told
            if isinstance(message, kind) and to in {None, address}
        ]
        self.world.told.clear()
        return found

    def records(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.world.records if isinstance(one, kind)]


def stop(
    record_id: str = "one", scope: Scope = Scope.STATION, scope_id: str = "s", **more: Any
) -> StopEventRecord:
    return StopEventRecord(
        record_id=record_id,
        scope=scope,
        scope_id=scope_id,
        reason="test",
        set_by="me",
        set_at=START.utc,
        **more,
    )


def test_a_proposal_becomes_one_batch_for_each_endpoint_and_a_word_for_the_pump() -> None:
    """SAF-1, SAF-9: epoch, sequence and the tick's own origin; one message per endpoint and round."""
    rig = Rig(station(pump("a", limits()), pump("b", limits())))
    rig.world.instant = rig.world.instant.plus(1.0)
    rig.feed(pumps="ab")
    first, second = rig.proposal("a"), rig.proposal("b", 30.0)
    assert asyncio.run(rig.actor.handle(first)) is None
    assert (rig.world.delivered, rig.world.later) == ([], [RoundDue()]), "it waits a moment for the other"
    assert asyncio.run(rig.actor.handle(second)) is None
    assert rig.world.delivered == [RoundDue()], "and not when the other has come"
    rig.world.delivered.clear()
    rig.world.later.clear()
    rig.send(RoundDue())
    rig.send(RoundDue())
    for endpoint in ENDPOINTS:
        batches = [one for address, one in rig.world.told if address == endpoint]
        assert len(batches) == 1
        batch = batches[0]
        assert isinstance(batch, SetpointsDecided)
        assert [(one.pump_id, one.setpoint_hz, one.sequence) for one in batch.setpoints] == [
            ("a", 35.0, 1),
            # The first decision after the seed moves nothing.
            ("b", 35.0, 2),
        ]
        assert {one.epoch for one in batch.setpoints} == {Epoch(0, 7)}
        assert [one.origin for one in batch.setpoints] == [first.origin, second.origin]
    words = [one for address, one in rig.world.told if address.endswith("/pumps/a")]
    assert words == [
        SetpointDecided(
            pump_id="a",
            applied_hz=35.0,
            reason=Reason.PLAN,
            remote_enabled=True,
            tracking_hz=None,
            origin=first.origin,
        )
    ]


def test_a_pump_that_proposes_nothing_holds_up_no_other() -> None:
    """SAF-1, SUP-8: after a moment the round is held for those who have proposed, once."""
    rig = Rig(station(pump("a", limits()), pump("b", limits())))
    rig.world.instant = rig.world.instant.plus(1.0)
    rig.feed(pumps="ab")
    for _ in range(3):
        asyncio.run(rig.actor.handle(rig.proposal("a")))
        assert rig.world.later == [RoundDue()], "one round is under way, not three"
        rig.world.instant = rig.world.instant.plus(0.005)
    rig.send(rig.world.later.pop())
    batches = rig.take(SetpointsDecided)
    assert {one.pump_id for batch in batches for one in batch.setpoints} == {"a"}
    asyncio.run(rig.actor.handle(rig.proposal("a")))
    assert rig.world.later == [RoundDue()], "and the next tick has its own"


def test_nothing_is_published_before_feedback_of_after_the_start() -> None:
    """SAF-10: a restarted actor waits for what was measured after its start, and says for what."""
    rig = Rig()
    rig.feed()
    rig.world.instant = rig.world.instant.plus(1.0)
    rig.send(rig.proposal())
    assert rig.take(SetpointsDecided) == []
    status = rig.send(GetStationDecisions())
    assert isinstance(status, StationDecisions)
    assert status.waiting_for == {"a": "running, actual_speed_hz, local_override"}
    rig.second()
    assert rig.take(SetpointsDecided) != []
    assert rig.send(GetStationDecisions()).waiting_for == {}


def test_an_old_or_repeated_tick_renews_nothing() -> None:
    """SAF-9: only a newer tick gives a newer lease; a round without one says nothing."""
    rig = Rig()
    rig.second()
    newest = rig.proposal()
    rig.take(SetpointsDecided)
    rig.send(msgspec.structs.replace(newest, origin=newest.origin.plus(-0.5)))
    rig.send(RoundDue())
    assert rig.take(SetpointsDecided) == []


def test_a_stop_is_decided_at_once_with_the_old_origin_and_a_new_sequence() -> None:
    """EST-1, SAF-9: stop now, renew nothing; durable, recorded, passed on if nobody else did."""
    rig = Rig()
    rig.second()
    rig.take(SetpointsDecided)
    before = rig.world.instant
    rig.world.instant = before.plus(0.4)
    rig.send(StopsChanged(stops=(stop(),)))
    told = list(rig.world.told)
    [batch] = [one for address, one in told if address == ENDPOINTS[0] and isinstance(one, SetpointsDecided)]
    [setpoint] = batch.setpoints
    assert (setpoint.setpoint_hz, setpoint.run_inhibit, setpoint.reason) == (0.0, True, Reason.EMERGENCY_STOP)
    assert (setpoint.origin, setpoint.sequence) == (before, 2)
    assert setpoint.latch_release == 0, "EST-6: no clear is known yet"
    onward = [one for address, one in told if address in ENDPOINTS and isinstance(one, StopsChanged)]
    assert [one.origin for one in onward] == [str(rig.world.address)] * 2
    assert [one.record_id for one in rig.latches.records] == ["one"]
    assert [one.record_id for one in rig.records(StopEventRecord)] == ["one"]
    # The same stop again, by somebody who passed it on: nothing new, nobody told.
    rig.world.told.clear()
    rig.send(StopsChanged(stops=(stop(),), origin="/api"))
    assert rig.take(SetpointsDecided) == []
    cleared = stop(cleared_by="me", cleared_at=START.utc, release=5)
    rig.send(StopsChanged(stops=(cleared,), origin="/api"))
    [batch] = rig.take(SetpointsDecided, to=ENDPOINTS[1])
    assert (batch.setpoints[0].setpoint_hz, batch.setpoints[0].run_inhibit) == (0.0, False)
    assert batch.setpoints[0].reason is Reason.HELD_STOPPED
    assert batch.setpoints[0].latch_release == 5


def test_nothing_starts_before_the_next_tick() -> None:
    """EST-2, SAF-9: a clear is decided at once, the start that it permits with the pump's next tick only: a gate shows
    none before it, and a ramp begun ahead of the gate's would show in a step when that gate is replaced."""
    rig = Rig()
    rig.second()
    rig.send(StopsChanged(stops=(stop(),), origin="/api"))
    rig.send(StopsChanged(stops=(stop(cleared_by="me", cleared_at=START.utc, release=5),), origin="/api"))
    [batch] = rig.take(SetpointsDecided, to=ENDPOINTS[1])[-1:]
    assert batch.setpoints[0].setpoint_hz == 0.0
    rig.second()
    [batch] = rig.take(SetpointsDecided, to=ENDPOINTS[1])[-1:]
    assert batch.setpoints[0].setpoint_hz == 20.0


def test_a_disk_that_refuses_hinders_no_stop() -> None:
    """EST-2: the stop is in force, and an alarm says that it is not durable here."""
    rig = Rig()
    rig.second()
    rig.latches.broken = True
    rig.send(StopsChanged(stops=(stop(),), origin="/api"))
    told = [one for _, one in rig.world.told]
    assert any(isinstance(one, AlarmAsserted) and one.condition == "latch_not_durable" for one in told)
    [batch] = rig.take(SetpointsDecided, to=ENDPOINTS[0])[-1:]
    assert batch.setpoints[0].setpoint_hz == 0.0


def test_latches_are_loaded_before_the_first_decision_and_looked_at_each_second() -> None:
    """EST-2: without a readable folder nothing is decided; a stop left there by others is found by the beat."""
    latches = FakeLatches()
    latches.broken = True
    rig = Rig(latches=latches)
    rig.second()
    assert rig.take(SetpointsDecided) == []
    assert rig.send(GetStationDecisions()).waiting_for == {"a": "latches"}
    rig.send(Tick(what=BEAT))
    assert [one.condition for one in rig.take(AlarmAsserted)] == ["latch_unreadable"]
    latches.broken = False
    latches.records = (stop(),)
    rig.send(Tick(what=BEAT))
    told = [one for _, one in rig.world.told]
    assert any(isinstance(one, AlarmReturned) and one.condition == "latch_unreadable" for one in told)
    [batch] = rig.take(SetpointsDecided, to=ENDPOINTS[0])
    assert batch.setpoints[0].reason is Reason.EMERGENCY_STOP
    loads = latches.loads
    rig.send(Tick(what=BEAT))
    assert latches.loads == loads
    latches.records = (stop(), stop("two", Scope.PUMP, "a", kind="out_of_service"))
    rig.send(Tick(what=BEAT))
    [batch] = rig.take(SetpointsDecided, to=ENDPOINTS[0])
    assert batch.setpoints[0].mode is Mode.OUT_OF_SERVICE


class NewFolder(FakeLatches):
    """A latch folder that was not joined with the database yet."""

    new = True

    def is_new(self) -> bool:
        return self.new

    def drop(self, record_ids: Collection[str]) -> None:
        raise AssertionError("safety forgets nothing")

    def mark_joined(self) -> None:
        raise AssertionError("safety joins nothing")


def test_nothing_is_decided_before_a_new_folder_holds_the_databases_stops() -> None:
    """EST-2, SAF-10: or the chain would ramp while its gates pass nothing on; a stop that comes is kept meanwhile."""
    latches = NewFolder()
    rig = Rig(latches=latches)
    rig.second()
    rig.send(StopsChanged(stops=(stop(),), origin="/api"))
    rig.send(Tick(what=BEAT))
    assert rig.take(SetpointsDecided) == []
    assert rig.send(GetStationDecisions()).waiting_for == {"a": "latches"}
    latches.new = False
    rig.send(Tick(what=BEAT))
    [batch] = rig.take(SetpointsDecided, to=ENDPOINTS[0])
    assert batch.setpoints[0].reason is Reason.EMERGENCY_STOP


@pytest.mark.parametrize(
    "garbage",
    [
        {"pump_id": "nobody"},
        {"pump_id": ["a"]},
        {"origin": "yesterday"},
        {"origin": Instant("boot", START.boot_ns + 10**12, 0)},
        {"sequence": "seven"},
        {"sequence": -1},
        {"source": None},
    ],
)
def test_a_proposal_that_cannot_be_ordered_is_dropped_with_an_alarm(garbage: dict[str, Any]) -> None:
    """SAF-3: nothing that a proposal contains raises out of handle; the alarm returns when it stops."""
    rig = Rig()
    rig.second()
    rig.take(SetpointsDecided)
    rig.send(msgspec.structs.replace(rig.proposal(), **garbage))
    assert rig.take(SetpointsDecided) == []
    rig.send(Tick(what=BEAT))
    assert "malformed_proposal" in {one.condition for one in rig.take(AlarmAsserted)}
    rig.world.instant = rig.world.instant.plus(31.0)
    rig.send(Tick(what=BEAT))
    assert "malformed_proposal" in {one.condition for one in rig.take(AlarmReturned)}


@pytest.mark.parametrize(
    "garbage",
    [
        {"wish_hz": float("nan")},
        {"wish_hz": "fast"},
        {"wish_hz": 10**400},
        {"wish_hz": object()},
        {"mode": "sometimes"},
        {"failsafe": "please"},
        {"held_stopped": float("inf")},
        {"source": ProposalSource(calculator="x" * 10_000, plan_id=float("nan"), note="y" * 10_000)},  # type: ignore[arg-type]
    ],
)
def test_no_content_of_a_proposal_raises_or_spoils_a_record(garbage: dict[str, Any]) -> None:
    """SAF-3, SAF-4: decided, recorded and told as JSON that everybody can read."""
    rig = Rig()
    rig.second()
    for _ in range(6):
        rig.world.instant = rig.world.instant.plus(1.0)
        rig.feed()
        rig.send(msgspec.structs.replace(rig.proposal(), **garbage))
    for one in rig.records(DecisionRecord):
        assert len(msgspec.json.encode(one)) < 4_000
    rig.send(Tick(what=BEAT))
    assert rig.take(StationDecisions)


def test_records_on_change_and_once_a_minute() -> None:
    """SAF-4, SAF-5: not a row per tick; the trail, plan, epoch and limits version are in it."""
    rig = Rig()
    for _ in range(121):
        rig.second()
    rows = rig.records(DecisionRecord)
    assert [one.sequence for one in rows] == [1, 61, 121]
    row = rows[0]
    assert (row.plan_id, row.epoch_counter, row.limits_version, row.reason) == (3, 7, 7, "PLAN")
    assert row.trail["proposal"]["wish_hz"] == 35.0
    assert len({one.record_id for one in rows}) == 3
    rig.world.records.clear()
    for _ in range(70):
        rig.second(wish_hz=60.0)
    assert [(one.limit, one.proposed, one.suppressed) for one in rig.records(ViolationRecord)] == [
        ("speed_band", 60.0, 0),
        ("speed_band", 60.0, 59),
    ]
    rig.world.instant = rig.world.instant.plus(61.0)
    rig.send(Tick(what=BEAT))
    assert [one.suppressed for one in rig.records(ViolationRecord)][2:] == [8]


def test_a_row_holds_what_an_auditor_asks_for_and_the_gates_are_told_of_it() -> None:
    """SAF-4: plan row, inputs, tick, judged feedback with ages; the setpoint of a row, and no other, is marked."""
    rig = Rig()
    now = rig.world.instant.utc
    plan = PlanRow(
        plan_id=3, station_id="s", pump_id="a", interval_start=now, interval_end=now, plan_version=2, created_at=now,
        suggested_speed_hz=35.0,
    )  # fmt: skip
    level = JudgedValue(value=1.0, quality=Quality.GOOD, age_s=0.25)
    source = ProposalSource(calculator="level_pid", plan_id=3, plan=plan, inputs={"wet_well_level_m": level})
    marks = []
    for _ in range(62):
        rig.world.instant = rig.world.instant.plus(1.0)
        rig.feed()
        rig.take(SetpointsDecided)
        rig.send(rig.proposal(source=source))
        marks += [
            one.recorded for batch in rig.take(SetpointsDecided, to=ENDPOINTS[0]) for one in batch.setpoints
        ]
    rows = rig.records(DecisionRecord)
    assert (
        [number for number, marked in enumerate(marks, 1) if marked]
        == [row.sequence for row in rows]
        == [1, 61]
    )
    trail = rows[0].trail
    assert trail["site_id"] == "site"
    told = trail["proposal"]["source"]
    assert (told["plan"]["plan_version"], told["plan"]["interval_end"]) == (2, now.isoformat())
    assert told["inputs"]["wet_well_level_m"]["age_s"] == 0.25
    assert trail["proposal"]["origin"]["boot_id"] == rig.world.instant.boot_id
    assert trail["feedback"]["actual_speed_hz"]["quality"] == "GOOD"
    assert trail["feedback"]["actual_power_kw"]["quality"] == "BAD"
    assert len(msgspec.json.encode(rows[0])) < 3_000


def test_new_limits_hold_at_once_and_are_audited_and_absent_pumps_are_gone() -> None:
    """DAT-4, SAF-6: a configuration replaces the one before, with the old origin."""
    rig = Rig(station(pump("a", limits()), pump("b", limits())))
    rig.second(pumps="ab")
    rig.take(SetpointsDecided)
    narrower = station(pump("a", limits(band_hz=(20.0, 30.0), version=8)))
    rig.send(Configure(site=rig.site(narrower)))
    [batch] = rig.take(SetpointsDecided, to=ENDPOINTS[0])
    assert [(one.pump_id, one.setpoint_hz, one.limits_version) for one in batch.setpoints] == [("a", 30.0, 8)]
    [audit] = rig.records(AuditRecord)
    assert (audit.event_type, audit.object_id) == ("SAFETY_LIMITS_APPLIED", "pump:a")
    assert audit.after is not None
    assert audit.after["version"] == 8
    rig.send(Configure(site=SiteConfig(site_id="site", name="site", timezone="UTC")))
    rig.send(rig.proposal())
    assert rig.send(GetStationDecisions()).decisions == ()


def test_a_quarantined_scope_is_failsafe_until_it_is_revived() -> None:
    """SUP-5: its pumps go to failsafe at once, whatever the scope."""
    for scope, scope_id in (
        (Scope.PUMP, "a"),
        (Scope.STATION, "s"),
        (Scope.SITE, "site"),
        (Scope.SYSTEM, "whatever"),
    ):
        rig = Rig()
        rig.second()
        rig.take(SetpointsDecided)
        failed = ScopeFailed(
            child=Address("/sites/site/stations/s/part"),
            scope=scope,
            scope_id=scope_id,
            active=True,
            reason=Reason.FAILSAFE_CHILD_QUARANTINED,
            detail="",
        )
        rig.send(failed)
        [batch] = rig.take(SetpointsDecided, to=ENDPOINTS[0])
        assert batch.setpoints[0].reason is Reason.FAILSAFE_CHILD_QUARANTINED
        rig.send(msgspec.structs.replace(failed, active=False))
        for _ in range(62):
            rig.second()
        assert rig.take(SetpointsDecided)[-1].setpoints[0].reason is Reason.RAMP


def test_a_quarantine_that_nobody_repeats_is_over() -> None:
    """SUP-5, SUP-8: its supervisor was killed and its successor knows of none: not failsafe for ever."""
    rig = Rig()
    rig.second()
    failed = ScopeFailed(
        child=Address("/sites/site/stations/s/plan"), scope=Scope.STATION, scope_id="s", active=True,
        reason=Reason.FAILSAFE_CHILD_QUARANTINED, detail="",
    )  # fmt: skip
    for _ in range(6):
        rig.send(failed)
        for _ in range(5):
            rig.second()
    rig.send(Tick(what=BEAT))
    rig.second()
    assert rig.take(SetpointsDecided)[-1].setpoints[0].reason is Reason.FAILSAFE_CHILD_QUARANTINED
    for _ in range(75):
        rig.second()
        rig.send(Tick(what=BEAT))
    assert rig.take(SetpointsDecided)[-1].setpoints[0].reason is not Reason.FAILSAFE_CHILD_QUARANTINED


def test_one_part_in_quarantine_does_not_hide_another_of_the_same_station() -> None:
    """SUP-5: plan and station actor are both of the station's scope: reviving one does not revive the other."""
    rig = Rig()
    rig.second()
    plan = ScopeFailed(
        child=Address("/sites/site/stations/s/plan"), scope=Scope.STATION, scope_id="s", active=True,
        reason=Reason.FAILSAFE_CHILD_QUARANTINED, detail="",
    )  # fmt: skip
    rig.send(plan)
    rig.send(msgspec.structs.replace(plan, child=Address("/sites/site/stations/s/station")))
    rig.send(msgspec.structs.replace(plan, active=False))
    rig.second()
    assert rig.take(SetpointsDecided)[-1].setpoints[0].reason is Reason.FAILSAFE_CHILD_QUARANTINED


def test_a_round_that_had_no_place_in_the_inbox_is_asked_for_again() -> None:
    """SUP-6: one pump silent, and the order for a round lost in a full inbox: the others are decided all the same."""
    rig = Rig(station(pump("a", limits()), pump("b", limits())))
    rig.second()
    rig.take(SetpointsDecided)
    rig.world.inbox_full = True
    rig.second(pumps="a")
    assert not rig.take(SetpointsDecided)
    rig.world.inbox_full = False
    rig.second(pumps="a")
    assert rig.take(SetpointsDecided)


def test_the_beat_protects_while_the_pumps_actor_is_silent() -> None:
    """SAF-2.3, SAF-9: a dry run is seen without a new tick, with the old lease; without a change nothing is said."""
    rig = Rig(station(pump("a", limits(dry_run_m=0.4, dry_run_reset_m=0.6))))
    rig.second()
    origin = rig.world.instant
    rig.take(SetpointsDecided)
    rig.world.instant = rig.world.instant.plus(2.0)
    rig.feed(level_m=1.0)
    rig.send(Tick(what=BEAT))
    assert rig.take(SetpointsDecided) == []
    rig.feed(level_m=0.3)
    rig.send(Tick(what=BEAT))
    [batch] = rig.take(SetpointsDecided, to=ENDPOINTS[0])
    assert (batch.setpoints[0].setpoint_hz, batch.setpoints[0].origin) == (0.0, origin)
    rig.world.instant = rig.world.instant.plus(20.0)
    rig.feed(level_m=1.0)
    rig.send(Tick(what=BEAT))
    assert rig.take(SetpointsDecided) == []


def test_the_watchdog_hears_each_second_and_alarms_are_asserted_again() -> None:
    """SUP-6, ALM: StationDecisions each beat; conditions that hold at least every 15 s; foreign feedback ignored."""
    rig = Rig(station(pump("a", limits()), pump("b", None)))
    alarms: list[AlarmAsserted] = []
    for _ in range(25):
        rig.second(pumps="a")
        rig.feed(station_id="other", hz=1.0)
        rig.feed(pumps="z", hz=1.0)
        rig.world.told = [(to, one) for to, one in rig.world.told if not isinstance(one, StationDecisions)]
        rig.send(Tick(what=BEAT))
        told = list(rig.world.told)
        rig.world.told.clear()
        [(to, status)] = [(to, one) for to, one in told if isinstance(one, StationDecisions)]
        assert to == "/sites/site/watchdog"
        assert status.feedback["a"]["actual_speed_hz"].value == 35.0
        assert status.waiting_for == {"b": "running, actual_speed_hz, local_override, proposal"}
        alarms += [one for _, one in told if isinstance(one, AlarmAsserted)]
    assert [(one.condition, one.subject) for one in alarms] == [("not_commissioned", "b")] * 3
    rig.send(Configure(site=rig.site(station(pump("a", limits()), pump("b", limits())))))
    rig.send(Tick(what=BEAT))
    assert [one.subject for one in rig.take(AlarmReturned)] == ["b"]


def test_failures_are_bounded() -> None:
    """SUP-6: everything is bounded; what is known already still changes when the table is full."""
    rig = Rig()
    failure = ScopeFailed(
        child=Address("/a"), scope=Scope.PUMP, scope_id="a", active=True, reason=Reason.FAILSAFE_OPERATOR,
        detail="",
    )  # fmt: skip

    def other(number: int) -> ScopeFailed:
        return msgspec.structs.replace(failure, child=Address(f"/p{number}"), scope_id=f"p{number}")

    intake = Intake(rig.site(rig.config), "s", since=START, control=Settings(data_dir="unused").control)
    for number in range(FAILURES_MAX + 10):
        intake.take_failure(other(number), now=START)
    intake.take_failure(failure, now=START)
    entry = intake.round_input(frozenset(), now=START)
    assert entry is not None
    assert entry.pumps["a"].scope_failure is None
    for number in (0, *range(11)):
        intake.take_failure(msgspec.structs.replace(other(number), active=False), now=START)
    intake.take_failure(failure, now=START)
    entry = intake.round_input(frozenset(), now=START)
    assert entry is not None
    assert entry.pumps["a"].scope_failure is Reason.FAILSAFE_OPERATOR


GUARDED = station(pump("a", limits(max_starts_per_hour=3, min_rest_s=5.0)))


def rested(at: Instant = START) -> FakeTimers:
    """A disk that remembers a pump which has stood for long."""
    timers = FakeTimers()
    stood = MotorTimers(turning=False, since=at.plus(-7200.0), known_at=at)
    timers.memory = StationMemory(
        station_id="s",
        epoch=Epoch(0, 7),
        boot_id="boot",
        pumps={"a": PumpMemory(timers=stood, dry_run=False, claimed=True)},
    )
    return timers


def shown(rig: Rig) -> list[tuple[float, bool, Reason]]:
    return [
        (one.setpoint_hz, one.remote_enabled, one.reason)
        for batch in rig.take(SetpointsDecided, to=ENDPOINTS[0])
        for one in batch.setpoints
    ]


def test_a_start_is_durable_before_it_is_published() -> None:
    """SAF-7: when the first endpoint hears of the start, the disk has it."""
    timers = rested()
    rig = Rig(GUARDED, timers=timers)
    heard: list[int] = []

    class Witness(FakeTimers):
        def store(self, memory: StationMemory) -> None:
            heard.append(sum(isinstance(one, SetpointsDecided) for _, one in rig.world.told))
            super().store(memory)

    witness = Witness()
    witness.memory = timers.memory
    rig.actor._timer_store = witness
    rig.second(hz=0.0)
    assert shown(rig) == [(20.0, True, Reason.RAMP)]
    assert heard == [0]
    [stored] = witness.stored
    assert stored.pumps["a"].timers.starts == (rig.world.instant,)
    assert stored.pumps["a"].timers.turning


def test_a_successor_goes_on_counting() -> None:
    """SAF-7: killed right after the start, the next incarnation knows of it; so does one after a reboot."""
    timers = rested()
    rig = Rig(GUARDED, timers=timers)
    rig.second(hz=0.0)
    now = rig.world.instant.plus(2.0)
    successor = Rig(GUARDED, timers=timers, now=now)
    successor.second(hz=0.0, wish_hz=0.0)
    kept = successor.actor._kernel.pumps["a"].timers
    assert kept is not None
    assert kept.starts == (rig.world.instant,)
    rebooted = Instant("next", 60 * 10**9, now.utc_ns + 300 * 10**9)
    after = Rig(GUARDED, timers=timers, now=rebooted)
    after.second(hz=0.0)
    kept = after.actor._kernel.pumps["a"].timers
    assert kept is not None
    # The one of before, and what may have happened since.
    assert len(kept.starts) == 2
    assert shown(after) == [(0.0, True, Reason.PROTECTION_TIMER)]


def test_a_disk_that_refuses_costs_the_start_and_the_claim_until_it_is_well() -> None:
    """SAF-7: the start that cannot be made durable is not published: the local controller gets the pump, alarmed."""
    timers = rested()
    rig = Rig(GUARDED, timers=timers)
    timers.broken = True
    rig.second(hz=0.0)
    told = [one for _, one in rig.world.told if isinstance(one, AlarmAsserted)]
    assert "timers_not_durable" in [one.condition for one in told]
    assert shown(rig) == [(0.0, False, Reason.HANDED_BACK_STORAGE)]
    timers.broken = False
    rig.send(Tick(what=BEAT))
    told_again = [one for _, one in rig.world.told if isinstance(one, AlarmReturned)]
    assert "timers_not_durable" in [one.condition for one in told_again]
    for _ in range(61):
        rig.second(hz=0.0, wish_hz=0.0)
    rig.take(SetpointsDecided)
    rig.second(hz=0.0)
    assert shown(rig) == [(20.0, True, Reason.RAMP)]


def test_a_disk_that_refuses_stops_nothing_that_runs() -> None:
    """SAF-7: only starts leave a trace that must be durable."""
    timers = rested()
    rig = Rig(GUARDED, timers=timers)
    timers.broken = True
    rig.second(hz=35.0)
    rig.send(Tick(what=BEAT))
    rig.second(hz=35.0)
    assert shown(rig)[-1] == (35.0, True, Reason.PLAN)


def test_at_high_level_a_start_is_published_even_if_no_disk_takes_it() -> None:
    """SAF-2.6: a start at high level is never refused; the alarm tells that it is not durable."""
    of_high = limits(max_starts_per_hour=3, high_m=3.0)
    timers = rested()
    rig = Rig(station(pump("a", of_high)), timers=timers)
    timers.broken = True
    rig.second(hz=0.0, wish_hz=0.0, level_m=3.1)
    told = [one.condition for _, one in rig.world.told if isinstance(one, AlarmAsserted)]
    assert "timers_not_durable" in told
    assert shown(rig) == [(20.0, True, Reason.HIGH_LEVEL)]


def test_a_pump_without_such_limits_starts_whatever_the_disk_does() -> None:
    """SAF-7: nothing of it is protected by a count; it is counted all the same while the disk is well."""
    rig = Rig()
    rig.timers.broken = True
    rig.second(hz=0.0)
    assert shown(rig) == [(20.0, True, Reason.RAMP)]


def test_unreadable_timers_are_unknown_and_alarmed() -> None:
    """SAF-7: just started and just stopped; the alarm returns when the file is whole again."""
    timers = FakeTimers()
    timers.broken = True
    rig = Rig(GUARDED, timers=timers)
    timers.broken = False
    rig.second(hz=0.0)
    told = [one.condition for _, one in rig.world.told if isinstance(one, AlarmAsserted)]
    assert "timers_unreadable" in told
    assert shown(rig) == [(0.0, True, Reason.PROTECTION_TIMER)]
    rig.send(Tick(what=BEAT))
    told = [one.condition for _, one in rig.world.told if isinstance(one, AlarmReturned)]
    assert "timers_unreadable" in told


def test_the_beat_stores_what_changed_without_our_order_and_marks_the_rest() -> None:
    """SAF-7: a start at the panel and every stop reach the disk within a second; what stays is only marked."""
    timers = rested()
    rig = Rig(GUARDED, timers=timers)
    rig.second(hz=0.0, wish_hz=0.0)
    rig.send(Tick(what=BEAT))
    assert timers.stored == []
    assert timers.marks == {"a": PumpSeen(known_at=rig.world.instant, origin=rig.world.instant)}
    rig.second(hz=30.0, wish_hz=0.0)
    rig.send(Tick(what=BEAT))
    [stored] = timers.stored
    assert stored.pumps["a"].timers.starts == (rig.world.instant,)


def test_a_successor_hands_back_what_its_predecessor_had_handed_back() -> None:
    """CTL-7: killed while a level is frozen, the next incarnation finds it as frozen, and its first word is 0."""
    config = station(pump("a", limits(dry_run_m=0.4)))
    timers = rested()
    rig = Rig(config, timers=timers)
    for second in range(310):
        rig.second(hz=30.0, level_m=1.0)
        if second % 10 == 0:
            rig.send(Tick(what=BEAT))
    rig.send(Tick(what=BEAT))
    assert shown(rig)[-1] == (30.0, False, Reason.HANDED_BACK_LEVEL)
    successor = Rig(config, timers=timers, now=rig.world.instant.plus(3.0))
    for _ in range(100):
        successor.second(hz=30.0, level_m=1.0)
    told = shown(successor)
    assert {enabled for _, enabled, _ in told} == {False}
    assert told[-1][2] is Reason.HANDED_BACK_LEVEL


def test_nothing_known_overwrites_nothing() -> None:
    """SAF-7: before any feedback the file stays as it is."""
    timers = FakeTimers()
    rig = Rig(GUARDED, timers=timers)
    rig.send(Tick(what=BEAT))
    assert timers.stored == []


def test_a_refused_start_is_a_violation_and_is_explained() -> None:
    """SAF-4, SAF-5: rule 6 in the trail, in the record, and in the list of violations."""
    rig = Rig(GUARDED)
    rig.second(hz=0.0)
    [violation] = rig.records(ViolationRecord)
    assert (violation.limit, violation.proposed, violation.applied) == ("protection_timers", 35.0, 0.0)
    assert violation.detail == "rested 0 s, at least 5 s"
    [row] = rig.records(DecisionRecord)
    assert row.reason == "PROTECTION_TIMER"
    assert [step["rule"] for step in row.trail["steps"]] == ["PROTECTION_TIMERS"]
