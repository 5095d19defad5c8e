"""The API under a real uvicorn on free ports, with a tree in memory behind it that can be dead, deaf or odd."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from litestar import Litestar

from actors.alarm.lifecycle import AlarmList, acknowledged, asserted, returned, view
from actors.messages import (
    AcknowledgeAlarm,
    AlarmAsserted,
    AlarmReturned,
    Alarms,
    DiscoverNow,
    DiscoveryStatus,
    Done,
    EndpointStatus,
    Epoch,
    GetAlarms,
    GetEndpoint,
    GetPlanStatus,
    GetPump,
    GetStation,
    GetStationDecisions,
    GetStorage,
    GetTopology,
    GetTree,
    GetWatchdog,
    JudgedValue,
    PlanStatus,
    Proposal,
    ProposalSource,
    PublishedPump,
    PumpDecision,
    PumpStatus,
    RetryChild,
    SetMode,
    Setpoint,
    StartCleanOut,
    StationDecisions,
    StationStatus,
    StopCleanOut,
    StopConfirmed,
    StopsChanged,
    StorageStatus,
    Stored,
    StoreRecords,
    TrailStep,
    TreeNode,
    TreeView,
    WatchdogStatus,
)
from actors.safety.latch import LatchSet, is_cleared
from actors.start import WorkerStart
from actors.stores import DecisionReader
from actors.vocabulary import (
    Address,
    DeviceError,
    Instant,
    Mode,
    Quality,
    Reason,
    Role,
    Rule,
    Settings,
    Severity,
    StationConfig,
    Topology,
    UnavailableError,
)
from actors.vocabulary.access import UserRole
from actors.vocabulary.ids import API, ROOT
from actors.vocabulary.records import PlanRow, StopEventRecord
from actors.vocabulary.settings import ApiSettings
from actors.vocabulary.users import USER_ID_PATTERN
from api.access.desk import AccessDesk
from api.actor import ApiActor
from ops.ports import free_ports
from storage.local_credential import LocalCredential
from tests.unit.actors.limits.books import Store
from tests.unit.api.people import Users, logged_in
from tests.unit.api.remembered import Past, Points, Requests
from tests.unit.protocols.plants import north

R = TypeVar("R")
BOOT = "boot-a"
SAFETY_1 = "/sites/north/stations/s1/safety"
STATION_1 = "/sites/north/stations/s1/station"
PLAN_1 = "/sites/north/stations/s1/plan"
PUMP_1 = "/sites/north/stations/s1/pumps/p1"
MODBUS = "/sites/north/endpoints/modbus"
OPCUA = "/sites/north/endpoints/opcua"
TOPOLOGY = Topology(revision="r1", sites=(north(),))


def moment() -> Instant:
    return Instant(BOOT, time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())


class Latches:
    """The latch folder in memory: `refuses` like a full disk, `hangs` until told otherwise."""

    def __init__(self) -> None:
        self.held = LatchSet()
        self.refuses = False
        self.unreadable = False
        self.hangs = threading.Event()
        self.hangs.set()  # set: it does not hang
        self._stamp = 1_800_000_000
        self._lock = threading.Lock()
        self.merges = 0

    def load(self) -> tuple[StopEventRecord, ...]:
        self.hangs.wait(30)
        if self.unreadable:
            raise DeviceError("latches: input/output error")
        return self.held.records

    def fingerprint(self) -> object:
        return self.held.records

    def next_stamp(self) -> int:
        self._disk()
        with self._lock:
            self._stamp = max(self._stamp + 1, time.time_ns() // 10**9)
            return self._stamp

    def merge(self, records: Sequence[StopEventRecord], *, wanted: Callable[[], bool] = lambda: True) -> None:
        self._disk()
        if any(map(is_cleared, records)) and not wanted():
            raise DeviceError("latches: nobody waits for it any more")
        with self._lock:
            self.held = self.held.merge(records)
            self.merges += 1

    def _disk(self) -> None:
        self.hangs.wait(30)
        if self.refuses:
            raise DeviceError("latches: no space left on device")


class Memory:
    """Discovery's file."""

    def __init__(self, topology: Topology | None = None, *, refuses: bool = False) -> None:
        self.topology = topology
        self.refuses = refuses

    def load(self) -> Topology | None:
        if self.refuses:
            raise DeviceError("topology.json: input/output error")
        return self.topology


class Tree:
    """Every actor that the API may ask. `dead`: no such actor; `deaf`: answers nothing until the deadline."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.deaf: set[str] = set()
        self.odd: dict[str, Any] = {}
        self.told: list[tuple[str, Any]] = []
        self.asked: list[tuple[str, Any]] = []
        self.records: list[Any] = []
        self.topology: Topology | None = TOPOLOGY
        self.stops: dict[str, LatchSet] = {MODBUS: LatchSet(), OPCUA: LatchSet()}
        self.ports = {MODBUS: "127.0.0.1:5020", OPCUA: "opc.tcp://127.0.0.1:4840"}
        self.gate_disk_refuses = False
        self.controller_answers = True
        self.modes: dict[str, SetMode] = {}
        self.alarms = alarm_list()
        self.alarms_whole = True
        self.carried_out: dict[tuple[str, str], datetime] = {}

    def ref(self, address: Address) -> TreeRef:
        return TreeRef(self, address)

    def answer(self, address: str, message: Any) -> Any:
        if address in self.odd:
            odd = self.odd[address]
            if isinstance(odd, Exception):
                raise odd
            return odd
        if isinstance(message, StopsChanged):
            return self._stop(address, message)
        if isinstance(message, StoreRecords):
            self.records += message.records
            return Stored(count=len(message.records))
        if isinstance(message, SetMode):
            named = (message.pump_id, message.command_id)
            if named in self.carried_out:
                return Done(repeat_of=self.carried_out[named])
            self.carried_out[named] = moment().utc
            self.modes[message.pump_id] = message
            return Done()
        if isinstance(message, RetryChild):
            return Done()
        if isinstance(message, StartCleanOut | StopCleanOut):
            return Done(note="taken")
        return _ANSWERS[type(message)](self, address, message)

    def _stop(self, address: str, message: StopsChanged) -> StopConfirmed:
        self.stops[address] = self.stops[address].merge(message.stops)
        return StopConfirmed(
            endpoint=address,
            published=self.ports[address] != "",
            durable=not self.gate_disk_refuses,
            stop_ids=tuple(stop.record_id for stop in message.stops),
        )

    def endpoint(self, address: str) -> EndpointStatus:
        now, stops = moment(), self.stops[address]
        pumps = []
        for station in north().stations:
            for pump in station.pumps:
                inhibited = stops.inhibited("north", station.station_id, pump.pump_id)
                pumps.append(
                    published(pump.pump_id, 0.0 if inhibited else 35.0, inhibited=inhibited, now=now)
                )
        if not self.controller_answers:
            pumps = [
                msgspec.structs.replace(pump, echo_hz=None, measured_hz=None, echo_at=None, measured_at=None)
                for pump in pumps
            ]
        return EndpointStatus(
            protocol=address.rpartition("/")[2],
            bound=self.ports[address],
            clients=1,
            pumps=tuple(pumps),
            writes_refused=3,
            stops_active=tuple(stop.record_id for stop in stops.active()),
            sent_at=now,
        )

    def told_to(self, address: str, kind: type) -> list[Any]:
        return [message for to, message in self.told if to == address and isinstance(message, kind)]


class TreeRef:
    def __init__(self, tree: Tree, address: Address) -> None:
        self._tree = tree
        self.address = address

    async def ask(self, message: Any, *, deadline_s: float) -> Any:
        self._tree.asked.append((self.address, message))
        if self.address in self._tree.dead:
            raise UnavailableError(f"{self.address}: no such actor now")
        if self.address in self._tree.deaf:
            # Or until it is healed: what was asked before that stays unanswered.
            gives_up = time.monotonic() + deadline_s
            while self.address in self._tree.deaf and time.monotonic() < gives_up:
                await asyncio.sleep(0.01)
            raise UnavailableError(f"{self.address}: no answer within {deadline_s:g} s")
        answer = self._tree.answer(self.address, message)
        return await answer if asyncio.iscoroutine(answer) else answer

    def tell(self, message: Any) -> None:
        self._tree.told.append((self.address, message))


def published(pump_id: str, hz: float, *, inhibited: bool, now: Instant) -> PublishedPump:
    return PublishedPump(
        pump_id=pump_id,
        setpoint_hz=hz,
        remote_enabled=True,
        run_inhibit=inhibited,
        quality=Quality.GOOD,
        reason=Reason.EMERGENCY_STOP if inhibited else Reason.PLAN,
        heartbeat=7,
        sequence=41,
        epoch_counter=1_800_000_001,
        release_id=1_800_000_000,
        mode=Mode.AUTO,
        accepted_at=now,
        lease_left_s=9.5,
        lapses=0,
        refused={"older_epoch": 2},
        echo_hz=hz,
        measured_hz=hz,
        echo_at=now,
        measured_at=now,
    )


def decisions(station: StationConfig) -> StationDecisions:
    now = moment()
    epoch = Epoch(0, 1_800_000_001)
    decided = [
        PumpDecision(
            setpoint=Setpoint(
                pump_id=pump.pump_id,
                setpoint_hz=35.0,
                remote_enabled=True,
                quality=Quality.GOOD,
                reason=Reason.LIMITED,
                run_inhibit=False,
                failsafe_image_hz=0.0,
                failsafe_image_reason=Reason.NOT_STARTED,
                epoch=epoch,
                sequence=41,
                origin=now,
                lease_s=10.0,
                limits_version=3,
                mode=Mode.AUTO,
            ),
            proposal=Proposal(
                pump_id=pump.pump_id,
                wish_hz=44.0,
                mode=Mode.AUTO,
                origin=now,
                sequence=9,
                source=ProposalSource(
                    calculator="direct_speed",
                    plan_id=17,
                    plan_version=2,
                    inputs={"level": JudgedValue(value=1.2, quality=Quality.GOOD, age_s=0.5)},
                ),
            ),
            trail=(TrailStep(rule=Rule.POWER_CAP, before_hz=44.0, after_hz=35.0, why="11.0 kW allowed"),),
            failsafe_since=None,
            handed_back_since=None,
            decided_at=now,
        )
        for pump in station.pumps
    ]
    judged = {"level": JudgedValue(value=None, quality=Quality.BAD, age_s=float("inf"), why="never written")}
    return StationDecisions(
        station_id=station.station_id,
        epoch=epoch,
        decisions=tuple(decided),
        waiting_for={},
        feedback={pump.pump_id: judged for pump in station.pumps},
        sent_at=now,
    )


def _station_of(address: str) -> StationConfig:
    station = north().station(address.split("/")[4])
    assert station is not None
    return station


def _tree(tree: Tree, address: str, message: Any) -> TreeView:
    rows = [
        (ROOT, Role.SUPERVISOR, "process"),
        (MODBUS, Role.MODBUS, "process"),
        (SAFETY_1, Role.SAFETY, "process"),
    ]
    return TreeView(
        nodes=tuple(
            TreeNode(
                address=where, role=role, kind=kind, state="running", pid=100 + at, node_id="n1", restarts=at,
                last_error="", mailbox_depth=0, rss_mib=51.5,
            )
            for at, (where, role, kind) in enumerate(rows)
        )
    )  # fmt: skip


def _plan(tree: Tree, address: str, message: Any) -> PlanStatus:
    return PlanStatus(
        station_id="s1", database_answered_at=moment(), optimiser_heartbeat_age_s=12.0, covered={"p1": True},
        refused_total=1, last_refusals={"p1": "60 Hz is above 45 Hz"}, sent_at=moment(),
    )  # fmt: skip


def _pump(tree: Tree, address: str, message: Any) -> PumpStatus:
    pump_id = address.rpartition("/")[2]
    command = tree.modes.get(pump_id)
    start = datetime(2026, 11, 21, tzinfo=UTC)
    return PumpStatus(
        pump_id=pump_id,
        mode=Mode.AUTO if command is None else command.mode,
        mode_by="" if command is None else command.by,
        mode_expires_at=None if command is None or command.mode is Mode.AUTO else moment().plus(60.0),
        manual_hz=None if command is None else command.setpoint_hz,
        plan=PlanRow(
            plan_id=17, station_id="s1", pump_id=pump_id, interval_start=start, interval_end=start,
            plan_version=2, created_at=start, suggested_speed_hz=44.0,
        ),
        wish_hz=44.0,
        source=ProposalSource(calculator="direct_speed", plan_id=17),
        feedback={},
        held_stopped=False,
    )  # fmt: skip


def alarm_list() -> AlarmList:
    """Return two alarms of p1 as the alarm actor's own law makes them: `a1` is over and unseen, `a2` stands."""
    held = AlarmList()
    for number in (1, 2):
        at = moment().plus(number)
        news = AlarmAsserted(
            condition="feedback_stale", subject=f"p{number}", severity=Severity.HIGH,
            text=f"p{number} has not written for 30 s", at=at,
        )  # fmt: skip
        held, _ = asserted(held, news, now=at)
        if number == 1:
            held = returned(held, AlarmReturned(condition="feedback_stale", subject="p1", at=at), now=at)
    return msgspec.structs.replace(
        held,
        alarms={
            key: msgspec.structs.replace(alarm, alarm_id=f"a{at + 1}")
            for at, (key, alarm) in enumerate(held.alarms.items())
        },
    )


def _acknowledge(tree: Tree, address: str, message: AcknowledgeAlarm) -> Done:
    tree.alarms, _ = acknowledged(tree.alarms, message, now=moment())
    return Done()


_ANSWERS: dict[type, Callable[[Tree, str, Any], Any]] = {
    GetTopology: lambda tree, _a, _m: DiscoveryStatus(
        topology=tree.topology, looked_at=moment(), last_error="" if tree.topology else "the database is away"
    ),
    DiscoverNow: lambda tree, _a, _m: DiscoveryStatus(topology=tree.topology, looked_at=moment(), last_error=""),
    GetTree: _tree,
    GetStationDecisions: lambda _t, address, _m: decisions(_station_of(address)),
    GetStation: lambda _t, _a, _m: StationStatus(
        station_id="s1",
        level=JudgedValue(value=1.23, quality=Quality.GOOD, age_s=0.4),
        running={"p1": True},
        feedback={},
        feedback_sources={},
    ),
    GetPlanStatus: _plan,
    GetPump: _pump,
    GetEndpoint: lambda tree, address, _m: tree.endpoint(address),
    GetAlarms: lambda tree, _a, _m: Alarms(
        alarms=view(tree.alarms, now=moment()), whole=tree.alarms_whole
    ),
    AcknowledgeAlarm: _acknowledge,
    GetStorage: lambda _t, _a, _m: StorageStatus(
        database_ok=True, last_error="", spooled_records=4, spooled_bytes=512, written_total=99,
        refused_total=1, dropped_total=0,
    ),
    GetWatchdog: lambda _t, _a, _m: WatchdogStatus(timers=(), failsafes=()),
}  # fmt: skip


class Ports:
    """What a runtime gives an actor: real time, ahead as a test says; tasks on the running loop, beats by hand."""

    def __init__(self, tree: Tree) -> None:
        self.address = API
        self.directory = tree
        self.timed: list[Any] = []
        self.logged: list[tuple[str, dict[str, object]]] = []
        self.failed: list[BaseException] = []
        self.ahead_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def clock(self) -> Ports:
        return self

    @property
    def timers(self) -> Ports:
        return self

    @property
    def log(self) -> Ports:
        return self

    @property
    def tasks(self) -> Ports:
        return self

    def now(self) -> Instant:
        return moment().plus(self.ahead_s)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return random.Random(1).random()

    def every(self, period_s: float, message: object, *, first_after_s: float | None = None) -> None:
        self.timed.append(message)

    def after(self, delay_s: float, message: object) -> None:
        self.timed.append(message)

    def deliver(self, message: object) -> None:
        self.timed.append(message)

    def info(self, event: str, **fields: object) -> None:
        self.logged.append((event, fields))

    warning = info
    error = info

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Callable[[], None]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                self.failed.append(error)

        task.add_done_callback(ended)
        return lambda: None if task.done() else (task.cancel(), None)[1]


class Answer:
    """One HTTP answer."""

    def __init__(self, status: int, headers: dict[str, str], raw: bytes, seconds: float) -> None:
        self.status, self.headers, self.raw, self.seconds = status, headers, raw, seconds

    def json(self) -> Any:
        return json.loads(self.raw)

    def problem(self, status: int) -> str:
        """Return the detail, having checked that this is a problem of that status (RFC 9457)."""
        assert self.status == status, (self.status, self.raw)
        assert self.headers["content-type"] == "application/problem+json"
        body = self.json()
        assert set(body) == {"type", "title", "status", "detail", "instance"}
        assert body["status"] == status
        return str(body["detail"])


class Served:
    """A running API; `get`, `post` speak real HTTP to it."""

    def __init__(
        self,
        tree: Tree,
        latches: Latches,
        memory: Memory,
        tmp_path: Path,
        decisions: DecisionReader | None = None,
        *,
        requests: Requests | None = None,
        users: Users | None = None,
        limits: Store | None = None,
        ports: tuple[int, int] | None = None,
        settings: dict[str, Any] | None = None,
        **readers: Any,
    ) -> None:
        """Take what is behind it, and settings of the API; a test may ask as often as it likes unless it says so."""
        self.tree, self.latches, self.memory = tree, latches, memory
        self.rest, self.health = ports or free_ports(2)
        api = ApiSettings(
            rest=self.rest, health=self.health, **{"user_requests_per_s": 0.0, **(settings or {})}
        )
        self.settings = Settings(data_dir=str(tmp_path), api=api)
        self.ports = Ports(tree)
        self.limits = limits or Store()
        self.users = users or Users()
        self.users.audits = tree.records
        self.requests = requests or Requests()
        self.past, self.points = Past(), Points()
        self.actor = ApiActor(
            self.ports,
            self.start_arguments(),
            latches,
            memory,
            limits=self.limits,
            decisions=decisions,
            users=self.users,
            requests=self.requests,
            tables=self.past,
            points=self.points,
            **readers,
        )
        LocalCredential(tmp_path).renew()
        self._tokens: dict[tuple[str, UserRole], str] = {}
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start_arguments(self) -> WorkerStart:
        return WorkerStart(role=Role.API, address=API, settings=self.settings)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def on_loop(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def tick(self, what: str) -> None:
        from actors.messages import Tick

        self.on_loop(self.actor.handle(Tick(what=what)))

    @property
    def desk(self) -> AccessDesk:
        return self.actor._desk

    def token(self, user_id: str = "anna", role: UserRole = UserRole.ADMINISTRATOR) -> str:
        """Return an access token of a user, who is made when first asked for."""
        if (
            self.desk._ring is None
        ):  # a loaded disk refused at the start: then the beat of every second reads it
            self.on_loop(self.desk.look())
        if (user_id, role) not in self._tokens:
            self._tokens[user_id, role] = logged_in(self.users, self.desk, user_id, role)
        return self._tokens[user_id, role]

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
        port: int | None = None,
        token: str | None = None,
    ) -> Answer:
        """Send a request as whom its body names in `by`, else as anna; with `token` as somebody else, '' as nobody."""
        if token is None:
            named = body.get("by") if isinstance(body, dict) else None
            is_user = isinstance(named, str) and USER_ID_PATTERN.match(named) is not None
            token = self.token(str(named) if is_user else "anna")
        if token:
            headers = {"Authorization": f"Bearer {token}"} | (headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", port or self.rest, timeout=30)
        began = time.monotonic()
        content = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        try:
            connection.request(
                method, path, body=content, headers={"Content-Type": "application/json"} | (headers or {})
            )
            response = connection.getresponse()
            data = response.read()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lowered, data, time.monotonic() - began)
        finally:
            connection.close()

    def get(self, path: str, **named: Any) -> Answer:
        return self.call("GET", path, **named)

    def post(self, path: str, body: Any = None, **named: Any) -> Answer:
        return self.call("POST", path, body, **named)

    def records(self, kind: type[R], *, count: int) -> list[R]:
        """Return what storage was given of one type, once there are `count`."""
        until(lambda: len([each for each in self.tree.records if isinstance(each, kind)]) >= count)
        return [each for each in self.tree.records if isinstance(each, kind)]


class _Built:
    """Litestar's applications, built once for all tests: its tables of routes take longer than most tests.

    What makes one a test's own is exchanged: the state with its service, the handlers of errors with their log, and
    what looks at a request before its handler. One that differs in more, as by its origins, is built for its test.
    """

    def __init__(self) -> None:
        self._spare: dict[object, list[tuple[Litestar, dict[str, Any]]]] = {}

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Have `api.app` take its applications from here; at the end they are free for the next."""
        taken: list[tuple[object, tuple[Litestar, dict[str, Any]]]] = []

        def take(**options: Any) -> Litestar:
            if options.get("cors_config") is not None:
                return Litestar(**options)
            kind = (frozenset(options), options.get("after_response"))
            if spare := self._spare.setdefault(kind, []):
                application, own = spare.pop()
                application.state = options["state"]
                application.exception_handlers.clear()
                application.exception_handlers.update(options["exception_handlers"])
            else:
                own = {}

                async def before(request: Any) -> Any:
                    return await own["before_request"](request)

                forwarding = {"before_request": before} if "before_request" in options else {}
                application = Litestar(**options | forwarding)
            own["before_request"] = options.get("before_request")
            taken.append((kind, (application, own)))
            return application

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("api.app.Litestar", take)
            try:
                yield
            finally:
                for kind, application in taken:
                    self._spare[kind].append(application)


class _Brisk:
    """uvicorn's asyncio: at its end it looks every 0.1 s whether connections are gone, at least once; here at once.

    What it waits for stays the same; six hundred tests do not wait a minute for nothing.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    async def sleep(delay_s: float) -> None:
        await asyncio.sleep(min(delay_s, 0.005))


_BUILT = _Built()


@contextmanager
def served(
    tmp_path: Path,
    *,
    tree: Tree | None = None,
    latches: Latches | None = None,
    memory: Memory | None = None,
    decisions: DecisionReader | None = None,
    **given: Any,
) -> Iterator[Served]:
    """Run the API; at the end nothing of it may have failed, and both ports are free again."""
    api = Served(tree or Tree(), latches or Latches(), memory or Memory(), tmp_path, decisions, **given)
    api._thread.start()
    try:
        with _BUILT.lent(), pytest.MonkeyPatch.context() as patch:
            patch.setattr("uvicorn.server.asyncio", _Brisk())
            api.on_loop(api.actor.start())
            try:
                yield api
            finally:
                api.on_loop(api.actor.stop())
        assert api.ports.failed == []
        for port in (api.rest, api.health):
            socket.create_server(("127.0.0.1", port)).close()
    finally:
        api.latches.hangs.set()
        api.on_loop(_cancel_all())
        api.loop.call_soon_threadsafe(api.loop.stop)
        api._thread.join(5)
        api.loop.close()


def walked(api: Served, path: str) -> Iterator[Answer]:
    """Follow every `Link` from the first page on."""
    following: str | None = path
    for _ in range(1_000):
        if following is None:
            return
        answer = api.get(following)
        assert answer.status == 200, answer.raw
        yield answer
        link = answer.headers.get("link")
        found = re.fullmatch(r'<([^>]+)>; rel="next"', link or "")
        assert (found is None) == (link is None)
        following = None if found is None else found[1]
    raise AssertionError("this list does not end")


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def until(condition: Callable[[], object], *, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)  # between two looks at a condition
