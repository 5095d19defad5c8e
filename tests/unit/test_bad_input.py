"""START HERE to see what bad input does: one walk along every entry to the control path, with the same bad values.

Each entry answers with a typed error or keeps the last safe value; no actor raises anything else, and what is on a wire
stays 0 or inside its band. What each wire's own bytes may do is in tests/wire (`test_hostile_values.py`,
`test_bad_clients.py`); what a proposal may hold, in the exhaustive search of tests/proof.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from actors.messages import (
    EndpointStatus,
    Epoch,
    FeedbackReceived,
    GetEndpoint,
    GetPump,
    PlanIntervals,
    PumpFeedback,
    Sample,
    ScopeFailed,
    SetMode,
    SetpointDecided,
    SetpointsDecided,
    StopsChanged,
    Tick,
)
from actors.safety.actor import BEAT
from actors.station import foreign
from actors.vocabulary import (
    Address,
    CallerError,
    Instant,
    InvalidValueError,
    Mode,
    Reason,
    Scope,
    WriteRefusal,
)
from ops.settings import fields, load
from protocols.endpoint import ClientWrite
from protocols.points import site_points
from storage.engine import Access, Database
from storage.readers import DatabaseFeedbackReader, DatabasePlanReader
from tests.unit.actors.plan.plans import MIDNIGHT, plan
from tests.unit.actors.plan.test_plan_actor import FakePlans, last, played
from tests.unit.actors.publisher.test_actor import SITE, setpoint
from tests.unit.actors.publisher.test_actor import Bench as Gate
from tests.unit.actors.publisher.test_actor import play as play_gate
from tests.unit.actors.pump.bench import Bench
from tests.unit.actors.pump.test_pump_actor import Played
from tests.unit.actors.pump.test_pump_actor import play as play_with_pump
from tests.unit.actors.safety.test_safety_actor import Rig, stop
from tests.unit.actors.safety.timeline import START
from tests.unit.api.served import Served, served
from tests.unit.ops.cli.runs import run, save_plant
from tests.unit.storage.contract import Place
from tests.unit.storage.test_sqlite import SqlitePlace

Capsys = pytest.CaptureFixture[str]

NUMBERS: Final[dict[str, Any]] = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "negative": -1.0,
    "huge": 1e300,
    "beyond any number": 10**400,
}
WRONG: Final[dict[str, Any]] = {
    "text": "fast",
    "true": True,
    "nothing": None,
    "list": [],
    "mapping": {"a": 1},
    "bytes": b"\xff",
}
VALUES: Final = NUMBERS | WRONG
BAND_HZ: Final = (20.0, 50.0)


def sane(hz: object) -> bool:
    """Say whether a value may stand on a wire of these tests."""
    return isinstance(hz, float | int) and (hz == 0.0 or BAND_HZ[0] <= hz <= BAND_HZ[1])


# ------------------------------------------------------------------ plans by SQL

_PLAN_COLUMNS: Final = (
    "station_id", "pump_id", "interval_start", "interval_end", "plan_version", "created_at",
    "suggested_speed_hz", "target_flow_m3h", "target_level_m", "target_power_kw",
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = SqlitePlace(tmp_path / "calejo.db")
    made.insert("sites", {"site_id": "north", "name": "North"})
    made.insert("pump_stations", {"station_id": "st-1", "site_id": "north", "name": "1", "modbus_unit_id": 1})
    for pump_id, control_type in (("p-1", "DIRECT_SPEED"), ("p-2", "LEVEL_CONTROLLED")):
        made.pump(pump_id, station_id="st-1", control_type=control_type)
    return made


def inserted(place: Place, table: str, row: dict[str, object]) -> bool:
    """Say whether the database took a row; what it refuses, it refuses by name."""
    try:
        place.insert(table, row)
    except sqlite3.IntegrityError as refused:
        why = str(refused)
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError):
        return False  # the client itself cannot say such a thing
    else:
        return True
    assert table in why or "FOREIGN KEY" in why
    return False


def test_plans_by_sql(place: Place) -> None:
    """CTL-1, SAF-3: a row is refused by the table, or by the reader with a reason; the last good plan stays."""
    good: dict[str, object] = {
        "station_id": "st-1",
        "pump_id": "p-1",
        "interval_start": MIDNIGHT.isoformat(),
        "interval_end": MIDNIGHT.replace(hour=1).isoformat(),
        "plan_version": 1,
        "created_at": MIDNIGHT.isoformat(),
        "suggested_speed_hz": 30.0,
    }
    place.insert("pump_plans", good)
    taken = 0
    for column in _PLAN_COLUMNS:
        for value in VALUES.values():
            taken += inserted(place, "pump_plans", {**good, "plan_version": 2, column: value})
    assert taken > 10, "some get past the table, and are the reader's to refuse"

    async def read(database: Database) -> list[Any]:
        reader = DatabasePlanReader(database)
        return list(await reader.plans("st-1", start=MIDNIGHT, end=MIDNIGHT.replace(hour=2)))

    async def story(bench: Bench, plans: FakePlans) -> None:
        await bench.until(11.0)
        news = last(bench)
        assert news.current is not None
        speed = news.current.suggested_speed_hz
        assert speed is not None
        assert 25.0 <= speed <= 45.0

    played(story, *place.run(Access.READ, read))


def test_plans_that_no_database_checked() -> None:
    """CTL-1, SAF-3: the plan actor refuses what another reader might hand it, and keeps the good row."""

    async def story(bench: Bench, plans: FakePlans) -> None:
        number = 10
        for name in ("suggested_speed_hz", "target_level_m", "target_power_kw", "target_flow_m3h"):
            for value in NUMBERS.values():
                number += 1
                plans.rows.append(plan(number, 0, 3600, plan_version=number, **{name: value}))
                await bench.until(bench.t_s + 6.0)
                current = last(bench).current
                assert current is not None, (name, value)
                assert current.suggested_speed_hz is not None, (name, value)
                assert 25.0 <= current.suggested_speed_hz <= 45.0, (name, value)

    played(story, plan(1, 0, 3600))


# ------------------------------------------------------------------ feedback by SQL

_FEEDBACK_COLUMNS: Final = (
    "actual_speed_hz", "actual_power_kw", "actual_flow_m3h", "wet_well_level_m", "running", "local_override",
    "high_float", "fault_code", "quality", "source", "measured_at",
)  # fmt: skip


@pytest.mark.parametrize("column", _FEEDBACK_COLUMNS)
def test_feedback_by_sql(place: Place, column: str) -> None:
    """CTL-4, SAF-3: whatever a foreign row says, safety decides on, and what it decides is sane."""
    rig = Rig()
    rig.second()
    moment = START.utc.isoformat()
    for number, value in enumerate(VALUES.values()):
        row: dict[str, object] = {
            "pump_id": "p-1", "measured_at": moment, "actual_speed_hz": 35.0, "running": 1, "local_override": 0,
            "wet_well_level_m": 1.0, "quality": "GOOD", "source": "scada", "record_id": f"r{number}", column: value,
        }  # fmt: skip
        if not inserted(place, "pump_feedback", row):
            continue

        async def read(database: Database) -> list[Any]:
            reader = DatabaseFeedbackReader(database)
            return list(await reader.foreign_feedback("st-1", since=START.plus(-60.0).utc))

        rows = place.run(Access.READ, read)
        held, _ = foreign.take(foreign.ForeignFeedback(), rows, pumps={"p-1": None}, now=rig.world.instant)
        told = tuple(msgspec.structs.replace(each, pump_id="a") for each in held.held.values())
        rig.send(FeedbackReceived(station_id="s", source="database", pumps=told))
        rig.second()
        shown = rig.take(SetpointsDecided)
        assert all(sane(each.setpoint_hz) for batch in shown for each in batch.setpoints), (column, value)
        place.execute("DELETE FROM pump_feedback")


# ------------------------------------------------------------------ writes by Modbus and OPC UA


def test_writes_by_protocol_clients() -> None:
    """MOD-3, OPC-2, CTL-4: every point, every value: refused by a code, or taken for what it is; the wire stays."""

    async def story(gate: Gate) -> None:
        await gate.bound()
        await gate.decide(1)
        before = gate.show("setpoint", "remote_enabled", "run_inhibit")
        assert before == [35.0, True, False]
        refused = 0
        points = [point.path for point in site_points(SITE) if point.station_id in {None, "s1"}]
        for path in (*points, "/north/s1/nobody/actual_speed", "", "/"):
            for value in (value for value in VALUES.values() if value is not True):
                write = ClientWrite(path=path, value=value, peer="10.0.0.1:5")
                [verdict] = await gate.actor._guard([write], True)
                assert verdict is None or isinstance(verdict, WriteRefusal), (path, value)
                refused += verdict is not None
        await gate.tick("flush")
        await gate.tick("status")
        assert refused > len(points) * 5
        assert gate.show("setpoint", "remote_enabled", "run_inhibit") == before
        for news in (message for _, message in gate.ports.told if isinstance(message, FeedbackReceived)):
            msgspec.json.encode(news)
        status = await gate.actor.handle(GetEndpoint())
        assert isinstance(status, EndpointStatus)
        assert status.stops_active == ()

    play_gate(story)


# ------------------------------------------------------------------ commands by REST

_UUID: Final = "7f3d3b1e-6a52-4d2c-9a55-0c1f2a3b4c5d"
_REST: Final[tuple[tuple[str, dict[str, Any], frozenset[str]], ...]] = (
    # path, a good body, its keys that may be absent or null
    (
        "/api/v1/pumps/p1/mode",
        {"mode": "MANUAL", "setpoint_hz": 30.0, "expires_after_s": 60.0, "by": "anna", "reason": "test"},
        frozenset({"setpoint_hz", "expires_after_s"}),
    ),
    (
        "/api/v1/emergency-stops",
        {"scope": "PUMP", "scope_id": "p1", "reason": "test", "by": "anna", "stop_id": _UUID},
        frozenset({"stop_id"}),
    ),
    (
        "/api/v1/emergency-stops/clear",
        {"stop_ids": [_UUID], "reason": "test", "by": "anna"},
        frozenset(),
    ),
    (
        "/api/v1/limits/p1/proposals",
        {
            "changes": {"hard_max_speed_hz": 45.0}, "base_version": 3, "reason": "test", "by": "anna",
            "expires_after_s": 60.0, "proposal_id": _UUID,
        },
        frozenset({"expires_after_s", "proposal_id"}),
    ),
    ("/api/v1/tree/retry", {"address": "/sites/north/watchdog"}, frozenset()),
)  # fmt: skip
# Texts are free: these keys take any printable one.
_FREE_TEXT: Final = frozenset({"reason", "by", "address"})
_PATHS: Final = (
    "/api/v1/pumps/nobody/mode",
    "/api/v1/pumps/%00/mode",
    "/api/v1/limits/nobody/proposals",
    "/api/v1/limits/p1/proposals/nobody/approve",
)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def bodies(good: dict[str, Any]) -> Iterator[tuple[str, str, bytes]]:
    """Yield (key, value's name, JSON) with one bad value each; JSON of Python says NaN and Infinity as many do."""
    for key in good:
        for name, value in VALUES.items():
            if name != "bytes":
                yield key, name, json.dumps({**good, key: value}).encode()
    for name, value in (("unknown key", {**good, "extra": 1}), ("no object", [good]), ("number", 1)):
        yield "body", name, json.dumps(value).encode()
    yield "body", "no JSON", b"\xff{"


def test_commands_by_rest(api: Served) -> None:
    """API-1, SAF-3: 4xx with a problem that says what was expected; a refused command has told no actor anything."""
    for path, good, optional in _REST:
        for key, name, raw in bodies(good):
            asked = len([one for _, one in api.tree.asked if isinstance(one, SetMode | StopsChanged)])
            answer = api.call("POST", path, raw=raw)
            harmless = (key in optional and name == "nothing") or (key in _FREE_TEXT and name == "text")
            # Finite and not negative: how much is too much the pump says (`test_messages_to_a_pump`), here a fake one.
            harmless |= (
                path.endswith("/mode") and name == "huge" and key in {"setpoint_hz", "expires_after_s"}
            )
            if harmless:
                assert answer.status < 500, (path, key, name, answer.raw)
                continue
            assert 400 <= answer.status < 500, (path, key, name, answer.raw)
            assert answer.headers["content-type"] == "application/problem+json", (path, key, name)
            after = len([one for _, one in api.tree.asked if isinstance(one, SetMode | StopsChanged)])
            assert after == asked, (path, key, name)
    for path in _PATHS:
        good = _REST[0][1] if path.endswith("mode") else _REST[3][1]
        assert 400 <= api.post(path, good).status < 500, path
    assert not [event for event, _ in api.ports.logged if event == "handler_failed"]


def test_limits_in_a_proposal(api: Served) -> None:
    """SAF-6: a limit that is no number, not finite, negative or absurd is refused by key."""
    good = _REST[3][1]
    for key in ("hard_max_speed_hz", "level_dry_run_m", "max_starts_per_hour", "no_such_limit"):
        for name, value in VALUES.items():
            if name == "bytes":
                continue
            raw = json.dumps({**good, "changes": {key: value}}).encode()
            answer = api.call("POST", "/api/v1/limits/p1/proposals", raw=raw)
            assert 400 <= answer.status < 500, (key, name, answer.raw)


# ------------------------------------------------------------------ stops by the command line


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--scope", "pump", "--reason", "r"), 2),
        (("--scope", "system", "--id", "p1", "--reason", "r"), 2),
        (("--scope", "pump", "--id", "a b", "--reason", "r"), 2),
        (("--scope", "pump", "--id", "nobody", "--reason", "r"), 4),
        (("--scope", "planet", "--id", "p1", "--reason", "r"), 2),
        (("--scope", "pump", "--id", "p1", "--reason", " "), 2),
        (("--scope", "pump", "--id", "p1", "--reason", "x" * 501), 2),
        (("--scope", "pump", "--id", "p1", "--reason", "r\x07"), 2),
        (("--scope", "pump", "--id", "p1", "--reason", "r", "--by", ""), 2),
    ],
)
def test_stops_by_command_line(tmp_path: Path, capsys: Capsys, arguments: tuple[str, ...], code: int) -> None:
    """EST-1: whoever mistypes must not believe that something stopped: exit code, one line, nothing stored."""
    save_plant(tmp_path)
    assert run(capsys, "estop", "set", *arguments, "--data-dir", tmp_path).code == code
    assert not [*tmp_path.glob("latches/*.json")]


# ------------------------------------------------------------------ settings


def taken_or_refused(name: str, value: object) -> tuple[Any, str]:
    """Return what a key holds after this option, or why it was refused."""
    try:
        settings = load(file=None, environment={}, options={name: value}).settings
    except InvalidValueError as error:
        return None, str(error)
    taken: Any = msgspec.to_builtins(settings)
    for part in name.split("."):
        taken = taken.get(part) if isinstance(taken, dict) else taken
    return taken, ""


def test_settings() -> None:
    """CFG-1: a bad value of any key is an error that names it; what is taken is finite."""
    for key, _ in fields():
        name = key.replace("<site_id>", "north")
        for told, value in VALUES.items():
            taken, why = taken_or_refused(name, value)
            # A site of its own has ports, and the first of those that clash may be another one.
            named = name.split(".")[-1] in why or (key.startswith("sites.") and "sites.north" in why)
            assert named or why == "", (name, told, why)
            assert not isinstance(taken, float) or math.isfinite(taken), (name, told)


# ------------------------------------------------------------------ messages to actors


@pytest.mark.parametrize(
    "name", ["wish_hz", "mode", "origin", "sequence", "source", "failsafe", "held_stopped", "pump_id"]
)
def test_proposals_to_safety(name: str) -> None:
    """SAF-3: replaced by the last safe value for three ticks, then failsafe; never an exception."""
    rig = Rig()
    rig.second()
    for value in VALUES.values():
        rig.world.instant = rig.world.instant.plus(1.0)
        rig.feed()
        rig.take(SetpointsDecided)
        rig.send(msgspec.structs.replace(rig.proposal(), **{name: value}))
        for batch in rig.take(SetpointsDecided):
            assert all(sane(each.setpoint_hz) for each in batch.setpoints), value
    rig.send(Tick(what=BEAT))
    rig.second()
    shown = [each for batch in rig.take(SetpointsDecided) for each in batch.setpoints]
    assert shown, "and the next good proposal is decided on as if nothing had been"


_POINTS: Final = tuple(name for name in PumpFeedback.__struct_fields__ if name != "pump_id")


@pytest.mark.parametrize("point", _POINTS)
def test_feedback_to_safety(point: str) -> None:
    """CTL-4, SAF-3: a value that cannot be believed is BAD; what is decided stays sane."""
    rig = Rig()
    rig.second()
    for value in NUMBERS.values():
        rig.world.instant = rig.world.instant.plus(1.0)
        rig.feed()
        spoilt = PumpFeedback(pump_id="a", **{point: Sample(value, rig.world.instant)})
        rig.send(FeedbackReceived(station_id="s", source="modbus", pumps=(spoilt,)))
        rig.take(SetpointsDecided)
        rig.send(rig.proposal())
        for batch in rig.take(SetpointsDecided):
            assert all(sane(each.setpoint_hz) for each in batch.setpoints), value
    rig.send(Tick(what=BEAT))


def test_other_messages_to_safety() -> None:
    """SAF-3: unknown subjects change nothing; a stop of nobody stops nobody, one without words still stops."""
    rig = Rig()
    rig.second()
    strangers = (
        FeedbackReceived(station_id="nobody", source="modbus", pumps=()),
        FeedbackReceived(station_id="s", source="modbus", pumps=(PumpFeedback(pump_id="nobody"),)),
        msgspec.structs.replace(rig.proposal(), pump_id="nobody"),
        StopsChanged(stops=(stop("elsewhere", Scope.PUMP, "nobody"),), origin="x"),
        StopsChanged(stops=(), origin="x"),
        ScopeFailed(
            child=Address("/x"), scope=Scope.PUMP, scope_id="nobody", active=True,
            reason=Reason.FAILSAFE_OPERATOR, detail="",
        ),
        Tick(what="nonsense"),
    )  # fmt: skip
    for message in strangers:
        rig.send(message)
    rig.take(SetpointsDecided)
    rig.second()
    [batch, *_] = rig.take(SetpointsDecided)
    assert [each.setpoint_hz for each in batch.setpoints] == [35.0]
    wordless = msgspec.structs.replace(stop("here"), reason="", set_by="")
    rig.send(StopsChanged(stops=(wordless,), origin="x"))
    [batch, *_] = rig.take(SetpointsDecided)
    assert [each.setpoint_hz for each in batch.setpoints] == [0.0]


@pytest.mark.parametrize(
    "name",
    ["setpoint_hz", "failsafe_image_hz", "lease_s", "sequence", "limits_version", "latch_release", "pump_id"],
)
def test_setpoints_to_a_gate(name: str) -> None:
    """SAF-8, SAF-9: refused, or checked once more: a gate shows nothing that is not 0 or in its band."""

    async def story(gate: Gate) -> None:
        await gate.bound()
        await gate.decide(1)
        for number, value in enumerate(NUMBERS.values(), 2):
            await gate.clock.advance(0.2)
            bad = msgspec.structs.replace(setpoint(number, gate.clock.now()), **{name: value})
            await gate.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(bad,)))
            await gate.tick("status")
            assert sane(gate.show("setpoint")[0]), value
        stranger = setpoint(99, gate.clock.now(), pump_id="nobody")
        await gate.actor.handle(SetpointsDecided(station_id="s9", epoch=Epoch(0, 7), setpoints=(stranger,)))
        await gate.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(stranger,)))
        await gate.tick("status", after_s=20.0)
        assert sane(gate.show("setpoint")[0])

    play_gate(story)


def test_epochs_and_clocks_to_a_gate() -> None:
    """SAF-9, SAF-11: an epoch or a tick that cannot be is refused and holds up nobody after it."""

    async def story(gate: Gate) -> None:
        await gate.bound()
        await gate.decide(1)
        now = gate.clock.now()
        for epoch in (Epoch(0, -1), Epoch(0, 2**32), Epoch(-1, 7), Epoch(0, 10**400)):
            bad = msgspec.structs.replace(setpoint(2, now, hz=44.0), epoch=epoch)
            await gate.actor.handle(SetpointsDecided(station_id="s1", epoch=epoch, setpoints=(bad,)))
        for origin in (Instant("boot-a", 10**400, 0), Instant("boot-a", -(10**400), 0), Instant("", 0, 0)):
            bad = msgspec.structs.replace(setpoint(3, now, hz=44.0), origin=origin)
            await gate.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(bad,)))
        assert gate.show("setpoint") == [35.0]
        await gate.clock.advance(0.5)
        await gate.decide(4, hz=35.5)
        assert gate.show("setpoint") == [35.5]

    play_gate(story)


def play_pump(story: Callable[[Bench], Awaitable[None]]) -> None:
    """Play with a started pump that has a plan."""

    async def started(it: Played) -> None:
        await it.start()
        await story(it.bench)

    play_with_pump(started)


def test_messages_to_a_pump() -> None:
    """CTL-7, SUP-6: commands are refused with a typed error; news that cannot be is left alone."""

    async def story(bench: Bench) -> None:
        await bench.until(3.0)
        now = bench.now()
        good = SetMode(pump_id="p-1", command_id="c", mode=Mode.MANUAL, by="anna", setpoint_hz=30.0)
        bad: list[dict[str, Any]] = [
            *({"setpoint_hz": value} for value in NUMBERS.values()),
            *({"expires_after_s": value} for value in (*NUMBERS.values(), 0.0) if value != 10**400),
            {"pump_id": "nobody"},
            {"mode": Mode.LOCAL},
            {"mode": Mode.OUT_OF_SERVICE},
        ]
        for number, changes in enumerate(bad):
            with pytest.raises(CallerError):
                await bench.give(msgspec.structs.replace(good, command_id=f"c{number}", **changes))
        for value in NUMBERS.values():
            await bench.give(
                SetpointDecided(
                    pump_id="p-1", applied_hz=value, reason=Reason.PLAN, remote_enabled=True, tracking_hz=value,
                    origin=now, duty_hz=value,
                )
            )  # fmt: skip
            await bench.give(
                FeedbackReceived(
                    station_id="st-1", source="modbus",
                    pumps=(PumpFeedback(pump_id="p-1", **{point: Sample(value, now) for point in _POINTS}),),
                )
            )  # fmt: skip
            await bench.give(
                PlanIntervals(
                    pump_id="p-1", current=plan(1, 0, 600, suggested_speed_hz=value), following=None,
                    database_answered_at=now, sent_at=now,
                    # An age comes from two times, never from a number of that size.
                    optimiser_heartbeat_age_s=None if value == 10**400 else value,
                )
            )  # fmt: skip
            await bench.until(bench.t_s + 1.0)
        status = await bench.give(GetPump())
        assert status.mode is Mode.AUTO

    play_pump(story)


def test_a_command_that_has_expired_is_not_carried_out_again() -> None:
    """CTL-7, SUP-6: the same command id after its time does nothing: a late repeat starts no pump."""

    async def story(bench: Bench) -> None:
        await bench.until(1.0)
        command = SetMode(
            pump_id="p-1",
            command_id="once",
            mode=Mode.MANUAL,
            by="anna",
            setpoint_hz=30.0,
            expires_after_s=5.0,
        )
        await bench.give(command)
        assert (await bench.give(GetPump())).mode is Mode.MANUAL
        await bench.until(20.0)
        assert (await bench.give(GetPump())).mode is Mode.AUTO
        await bench.give(command)
        assert (await bench.give(GetPump())).mode is Mode.AUTO

    play_pump(story)
