"""Emergency stops and out-of-service marks over REST, with disk, gates, discovery and safety failing one by one."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.messages import AlarmAsserted, AlarmReturned, SetMode, StopsChanged
from actors.safety.latch import LatchSet
from actors.vocabulary import Mode, Scope, UnansweredError, UnavailableError
from actors.vocabulary.ids import ALARM, DISCOVERY, STORAGE
from actors.vocabulary.records import AuditRecord, StopEventRecord
from api.latch_memory import LatchMemory
from storage import files
from storage.latches import LatchFolder
from tests.unit.api.served import (
    MODBUS,
    OPCUA,
    PUMP_1,
    SAFETY_1,
    TOPOLOGY,
    Latches,
    Memory,
    Served,
    Tree,
    moment,
    published,
    served,
    until,
)

SAFETY_2 = "/sites/north/stations/s2/safety"
STOPS = "/api/v1/emergency-stops"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, memory=Memory(TOPOLOGY)) as running:
        yield running


def order(scope: str = "PUMP", scope_id: str = "p1", **more: Any) -> dict[str, Any]:
    return {"scope": scope, "scope_id": scope_id, "reason": "pipe burst", "by": "anna"} | more


def test_a_stop_is_durable_on_every_wire_and_told_to_safety(api: Served) -> None:
    """EST-1, EST-2: the answer names each endpoint and, per pump, published, echoed and measured."""
    answer = api.post(STOPS, order())
    assert answer.status == 201
    body = answer.json()
    assert body["durable"] is True
    assert [(each["endpoint"], each["published"], each["durable"]) for each in body["endpoints"]] == [
        (MODBUS, True, True),
        (OPCUA, True, True),
    ]
    assert body["pumps"] == [
        {
            "pump_id": "p1", "endpoint": endpoint, "published_hz": 0.0, "run_inhibit": True, "echoed": True,
            "stopped": True,
        }
        for endpoint in (MODBUS, OPCUA)
    ]  # fmt: skip
    (held,) = api.latches.held.active()
    assert (held.record_id, held.scope, held.scope_id) == (body["stop_id"], Scope.PUMP, "p1")
    (told,) = api.tree.told_to(SAFETY_1, StopsChanged)
    # The wire, safety and the disk hold the very same record, and no receiver forwards it again.
    assert told.stops == (held,) == api.tree.stops[MODBUS].records
    assert told.origin == "/platform/api"


def test_a_stop_and_its_clear_are_audited_once_each(api: Served) -> None:
    """EST-5: who, when, from where, what; the same stop said twice is one event."""
    stop_id = str(uuid.uuid4())
    for _ in range(2):
        assert api.post(STOPS, order(stop_id=stop_id)).json()["stop_id"] == stop_id
    for _ in range(2):
        cleared = api.post(f"{STOPS}/clear", {"stop_ids": [stop_id], "reason": "repaired", "by": "bert"})
        assert cleared.json()["cleared"] == [stop_id]
    audits = api.records(AuditRecord, count=2)
    assert [(audit.event_type, audit.actor) for audit in audits] == [
        ("EMERGENCY_STOP_SET", "anna"),
        ("EMERGENCY_STOP_CLEARED", "bert"),
    ]
    assert audits[0].source_address.startswith("127.0.0.1:")
    assert len(api.latches.held.records) == 1
    assert len([each for each in api.tree.records if isinstance(each, StopEventRecord)]) == 2


def test_the_same_id_is_the_same_stop_however_it_is_spelled(api: Served) -> None:
    """EST-5: setting is idempotent by stop_id."""
    stop_id = uuid.uuid4()
    first = api.post(STOPS, order(stop_id=str(stop_id))).json()
    second = api.post(STOPS, order(stop_id=f"{{{str(stop_id).upper()}}}", reason="again")).json()
    assert first["stop_id"] == second["stop_id"] == str(stop_id)
    assert [stop.reason for stop in api.latches.held.active()] == ["pipe burst"]


@pytest.mark.parametrize("other", [("PUMP", "p2"), ("STATION", "s1"), ("SITE", "north"), ("SYSTEM", "")])
def test_an_id_of_another_scope_is_refused(api: Served, other: tuple[str, str]) -> None:
    """EST-2: a union of two scopes under one id would stop everything; the second one is refused."""
    stop_id = str(uuid.uuid4())
    api.post(STOPS, order(stop_id=stop_id))
    assert stop_id in api.post(STOPS, order(*other, stop_id=stop_id)).problem(409)
    (held,) = api.latches.held.active()
    assert (held.scope, held.scope_id) == (Scope.PUMP, "p1")


def test_an_id_that_only_the_disk_knows_is_refused_for_another_scope(api: Served) -> None:
    """EST-2: a stop left in the folder by another process counts too."""
    stop = StopEventRecord(
        record_id=str(uuid.uuid4()), scope=Scope.PUMP, scope_id="p2", reason="cli", set_by="carl", set_at=moment().utc
    )  # fmt: skip
    api.latches.merge((stop,))
    assert api.post(STOPS, order(stop_id=stop.record_id)).problem(409)


def test_a_cleared_id_stops_nothing_and_says_so(api: Served) -> None:
    """EST-5: whoever repeats the id of a cleared stop must not believe that something stopped."""
    stop_id = api.post(STOPS, order()).json()["stop_id"]
    api.post(f"{STOPS}/clear", {"stop_ids": [stop_id], "reason": "ok", "by": "bert"})
    assert "cleared" in api.post(STOPS, order(stop_id=stop_id)).problem(409)


@pytest.mark.parametrize(
    ("scope", "scope_id", "pumps", "safeties"),
    [
        ("PUMP", "P3", {"p3"}, {SAFETY_1, SAFETY_2}),
        ("STATION", "s1", {"p1", "p2"}, {SAFETY_1, SAFETY_2}),
        ("SITE", "north", {"p1", "p2", "p3"}, {SAFETY_1, SAFETY_2}),
        ("SYSTEM", "", {"p1", "p2", "p3"}, {SAFETY_1, SAFETY_2}),
    ],
)
def test_every_scope_reaches_what_it_covers(
    api: Served, scope: str, scope_id: str, pumps: set[str], safeties: set[str]
) -> None:
    """EST-1: pump, station, site and system."""
    body = api.post(STOPS, order(scope, scope_id)).json()
    assert {pump["pump_id"] for pump in body["pumps"]} == pumps
    assert all(pump["run_inhibit"] for pump in body["pumps"])
    assert {to for to, message in api.tree.told if isinstance(message, StopsChanged)} <= safeties


def test_a_pump_that_does_not_answer_is_not_called_stopped(api: Served) -> None:
    """EST-1: echoed and stopped are unknown until the controller wrote since the stop."""
    api.tree.controller_answers = False
    assert {(pump["echoed"], pump["stopped"]) for pump in api.post(STOPS, order()).json()["pumps"]} == {
        (None, None)
    }


def test_a_pump_that_still_turns_is_called_so(api: Served) -> None:
    """EST-1: a controller that does not obey is visible in the answer and afterwards."""
    status = api.tree.endpoint(MODBUS)
    turning = published("p1", 0.0, inhibited=True, now=moment().plus(5.0))
    turning = msgspec.structs.replace(turning, echo_hz=35.0, measured_hz=34.2)
    stop_id = api.post(STOPS, order()).json()["stop_id"]
    api.tree.odd[MODBUS] = msgspec.structs.replace(status, pumps=(turning,), stops_active=(stop_id,))
    shown = api.get(f"{STOPS}/{stop_id}").json()
    assert [(pump["endpoint"], pump["echoed"], pump["stopped"]) for pump in shown["pumps"]] == [
        (MODBUS, False, False),
        (OPCUA, True, True),
    ]
    assert (shown["kind"], shown["durable"], shown["reason"]) == ("emergency_stop", True, "pipe burst")
    assert all(each["published"] for each in shown["endpoints"])


# --------------------------------------------------------------------------- what may be broken


def test_a_full_disk_does_not_hold_back_a_stop(api: Served) -> None:
    """EST-2: the stop goes to the wire, answered as not durable and alarmed; it becomes durable when it can."""
    api.latches.refuses = True
    body = api.post(STOPS, order()).json()
    assert body["durable"] is False
    assert "no space left" in body["detail"]
    assert [each["published"] for each in body["endpoints"]] == [True, True]
    assert "not durable" in api.records(AuditRecord, count=1)[0].outcome
    assert api.get(f"{STOPS}/{body['stop_id']}").json()["durable"] is False
    api.tick("keep")
    (alarm,) = api.tree.told_to(ALARM, AlarmAsserted)
    assert (alarm.condition, alarm.severity) == ("latch_not_durable", "CRITICAL")
    # The gates are told again as long as no file can tell them.
    assert api.tree.told_to(MODBUS, StopsChanged)
    api.latches.refuses = False
    api.tick("keep")
    assert [stop.record_id for stop in api.latches.held.active()] == [body["stop_id"]]
    assert api.tree.told_to(ALARM, AlarmReturned)
    assert api.get(f"{STOPS}/{body['stop_id']}").json()["durable"] is True


def test_a_hanging_disk_does_not_hold_back_a_stop(api: Served) -> None:
    """EST-1, EST-2: on the wire within 1 s; the disk's time is bounded and its threads do not pile up."""
    api.latches.hangs.clear()
    answer = api.post(STOPS, order())
    assert answer.json()["durable"] is False
    assert [each["published"] for each in answer.json()["endpoints"]] == [True, True]
    assert answer.seconds < 2.5
    assert "did not answer" in api.get(STOPS).problem(503)
    api.latches.hangs.set()
    api.tick("keep")
    assert len(api.latches.held.active()) == 1


@pytest.mark.parametrize("how", ["dead", "deaf"])
def test_a_dead_gate_is_named_and_delays_no_other(api: Served, how: str) -> None:
    """EST-1: each endpoint for itself; the other one shows the stop, the file waits for the dead one."""
    getattr(api.tree, how).add(OPCUA)
    answer = api.post(STOPS, order())
    modbus, opcua = answer.json()["endpoints"]
    assert (modbus["published"], opcua["published"]) == (True, False)
    assert OPCUA in opcua["detail"]
    assert answer.seconds < 2.0


def test_a_gate_without_a_port_has_not_published(api: Served) -> None:
    """EST-1: an endpoint that has no port yet holds the stop, but nobody reads it there."""
    api.tree.ports[OPCUA] = ""
    assert [each["published"] for each in api.post(STOPS, order()).json()["endpoints"]] == [True, False]


def test_a_gates_own_disk_is_told_apart(api: Served) -> None:
    """EST-2: durable here and durable at the gate are two things."""
    api.tree.gate_disk_refuses = True
    body = api.post(STOPS, order()).json()
    assert body["durable"] is True
    assert [each["durable"] for each in body["endpoints"]] == [False, False]


def test_neither_disk_nor_gate_is_an_error_and_is_tried_on(api: Served) -> None:
    """EST-2: 503, so that the caller takes another way; ours goes on trying."""
    api.latches.refuses = True
    api.tree.dead |= {MODBUS, OPCUA}
    assert "no endpoint" in api.post(STOPS, order()).problem(503)
    kinds = ("EMERGENCY_STOP_SET", "EMERGENCY_STOP_REFUSED", "EMERGENCY_STOP_UNCONFIRMED")
    until(lambda: len(told(api, *kinds)) == 2)
    assert [kind for kind, _, _ in told(api, *kinds)] == [kinds[0], kinds[2]], "it is no refusal"
    api.latches.refuses = False
    api.tick("keep")
    assert len(api.latches.held.active()) == 1


@pytest.mark.parametrize("how", ["dead", "deaf"])
def test_dead_discovery_storage_and_safety_do_not_touch_a_stop(tmp_path: Path, how: str) -> None:
    """EST-3: with these down the stop still reaches the gates, whom a just started API knows from the file."""
    tree = Tree()
    getattr(tree, how).update({DISCOVERY, STORAGE, SAFETY_1, SAFETY_2})
    with served(tmp_path, tree=tree, memory=Memory(TOPOLOGY)) as api:
        answer = api.post(STOPS, order())
        assert [each["published"] for each in answer.json()["endpoints"]] == [True, True]
        assert answer.seconds < 0.9


def test_without_any_plant_the_disk_carries_the_stop(tmp_path: Path) -> None:
    """EST-3: nobody can be addressed, but every gate watches the folder."""
    tree = Tree()
    tree.dead.add(DISCOVERY)
    with served(tmp_path, tree=tree) as api:
        body = api.post(STOPS, order()).json()
        assert (body["durable"], body["endpoints"]) == (True, [])
        assert len(api.latches.held.active()) == 1


def test_a_pump_that_our_old_picture_lacks_is_stopped_all_the_same(tmp_path: Path) -> None:
    """EST-3: discovery is away and we do not know the pump: the stop goes to everybody rather than to nobody."""
    tree = Tree()
    tree.dead.add(DISCOVERY)
    with served(tmp_path, tree=tree, memory=Memory(TOPOLOGY)) as api:
        body = api.post(STOPS, order("PUMP", "p9")).json()
        assert [each["published"] for each in body["endpoints"]] == [True, True]


@pytest.mark.parametrize(("scope", "scope_id"), [("PUMP", "p9"), ("STATION", "s9"), ("SITE", "south")])
def test_what_the_plant_does_not_have_cannot_be_stopped(api: Served, scope: str, scope_id: str) -> None:
    """API-1: whoever mistypes is told, and nothing is latched."""
    assert scope_id in api.post(STOPS, order(scope, scope_id)).problem(404)
    assert api.latches.held.records == ()


# --------------------------------------------------------------------------- clearing


def test_a_clear_is_durable_before_it_is_told(api: Served) -> None:
    """EST-2: with a release number above every stamp, on the disk first, then on the wires."""
    stop_id = api.post(STOPS, order()).json()["stop_id"]
    answer = api.post(
        f"{STOPS}/clear", {"stop_ids": [stop_id, stop_id], "reason": "repaired", "by": "bert"}
    ).json()
    assert [each["published"] for each in answer["endpoints"]] == [True, True]
    assert answer["cleared"] == [stop_id]
    (held,) = api.latches.held.records
    assert (held.cleared_by, held.clear_reason) == ("bert", "repaired")
    assert held.release is not None
    assert held.release > held.set_stamp
    assert api.tree.stops[MODBUS].records == (held,)
    assert api.get(STOPS).json() == []
    assert [row["cleared_by"] for row in api.get(f"{STOPS}?all=true").json()] == ["bert"]


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_a_clear_that_cannot_be_durable_is_refused(api: Served, how: str) -> None:
    """EST-2: nothing is cleared anywhere, and a disk that wakes up later clears nothing either."""
    stop_id = api.post(STOPS, order()).json()["stop_id"]
    if how == "refuses":
        api.latches.refuses = True
    else:
        api.get(STOPS)
        api.latches.hangs.clear()
    answer = api.post(f"{STOPS}/clear", {"stop_ids": [stop_id], "reason": "ok", "by": "bert"})
    assert answer.problem(503)
    assert answer.seconds < 4.0
    api.latches.hangs.set()
    api.latches.refuses = False
    assert [stop.record_id for stop in api.latches.held.active()] == [stop_id]
    assert len(api.tree.stops[MODBUS].active()) == 1
    assert [row["stop_id"] for row in api.get(STOPS).json()] == [stop_id]


class OnDisk(Latches):
    """The real folder. `gate` holds up whatever is told to pass it; `reached` says that somebody stands there."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.folder = LatchFolder(path / "latches", utc_second=lambda: 1_800_000_000)
        self.gate, self.reached = threading.Event(), threading.Event()

    def load(self) -> tuple[StopEventRecord, ...]:
        return self.folder.load()

    def next_stamp(self) -> int:
        return self.folder.next_stamp()

    def merge(self, records: Sequence[StopEventRecord], *, wanted: Callable[[], bool] = lambda: True) -> None:
        self.folder.merge(records, wanted=wanted)

    def active(self) -> list[str]:
        return [stop.record_id for stop in LatchSet.of(self.folder.load()).active()]

    def hold(self, then: OSError | None = None) -> None:
        """Stand here until the gate opens, then go on or fail."""
        self.reached.set()
        assert self.gate.wait(30)
        if then is not None:
            raise then


@pytest.fixture
def disk(tmp_path: Path) -> OnDisk:
    return OnDisk(tmp_path)


def told(api: Served, *kinds: str) -> list[tuple[str, str, str]]:
    audits = [each for each in api.tree.records if isinstance(each, AuditRecord) and each.event_type in kinds]
    return [(each.event_type, each.actor, each.outcome) for each in audits]


def idle(api: Served) -> bool:
    return api.actor._stops._memory._disk._under_way == 0


CLEARS = ("EMERGENCY_STOP_CLEARED", "EMERGENCY_STOP_CLEAR_REFUSED", "EMERGENCY_STOP_CLEAR_UNCONFIRMED")


def clearing(api: Served, stop_id: str) -> Any:
    return api.post(f"{STOPS}/clear", {"stop_ids": [stop_id], "reason": "ok", "by": "bert"})


def test_a_clear_answered_not_cleared_frees_no_pump_when_the_disk_wakes_up(
    tmp_path: Path, disk: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EST-2: a disk that stalls in the middle of the clear, not before it: what was refused stays refused."""
    with served(tmp_path, latches=disk, memory=Memory(TOPOLOGY)) as api:
        stop_id = api.post(STOPS, order()).json()["stop_id"]
        really = files._write_synced

        def stalled(path: Path, content: bytes) -> None:
            disk.hold()
            really(path, content)

        monkeypatch.setattr(files, "_write_synced", stalled)
        answer = clearing(api, stop_id)
        assert disk.reached.is_set()
        assert "not cleared" in answer.problem(503)
        disk.gate.set()
        until(lambda: idle(api))
        assert disk.active() == [stop_id]
        assert [row["stop_id"] for row in api.get(STOPS).json()] == [stop_id]
        until(lambda: told(api, *CLEARS))
        ((kind, actor, outcome),) = told(api, *CLEARS)
        assert (kind, actor) == ("EMERGENCY_STOP_CLEAR_REFUSED", "bert")
        assert outcome.startswith("refused: not cleared")


@pytest.mark.parametrize("fails", [False, True])
def test_a_clear_whose_last_sync_hangs_is_not_called_refused(
    tmp_path: Path, disk: OnDisk, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """EST-2, AUD-2: the gates may read it already: the answer says so, and what became of it is told and recorded."""
    with served(tmp_path, latches=disk, memory=Memory(TOPOLOGY)) as api:
        stop_id = api.post(STOPS, order()).json()["stop_id"]
        error = OSError(5, "Input/output error") if fails else None
        monkeypatch.setattr(files, "sync_folder", lambda folder: disk.hold(error))
        answer = clearing(api, stop_id)
        assert disk.active() == [], "any gate that looks now finds it cleared"
        said = answer.problem(503)
        assert "not known" in said
        assert "not cleared" not in said
        until(lambda: told(api, *CLEARS))
        ((kind, _, outcome),) = told(api, *CLEARS)
        assert kind == "EMERGENCY_STOP_CLEAR_UNCONFIRMED"
        assert outcome.startswith("not known: ")
        assert api.tree.told_to(MODBUS, StopsChanged) == []
        disk.gate.set()
        until(lambda: len(told(api, *CLEARS)) == 2)
        kind, actor, outcome = told(api, *CLEARS)[-1]
        assert actor == "bert"
        if fails:
            assert (kind, outcome.split(":")[0]) == ("EMERGENCY_STOP_CLEAR_REFUSED", "refused in the end")
            assert disk.active() == [stop_id]
            assert [row["stop_id"] for row in api.get(STOPS).json()] == [stop_id]
            return
        assert (kind, outcome.split(",")[0]) == ("EMERGENCY_STOP_CLEARED", "success")
        assert api.get(STOPS).json() == []
        for address in (MODBUS, OPCUA, SAFETY_1):
            (news,) = [each for each in api.tree.told_to(address, StopsChanged) if each.stops[0].cleared_by]
            assert news.stops[0].record_id == stop_id


def test_a_clear_whose_asker_is_gone_never_begins(disk: OnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """EST-2: who is told nothing must find nothing changed, unless it was under way; then it is told as late."""
    stop = StopEventRecord(
        record_id="s", scope=Scope.PUMP, scope_id="p1", reason="x", set_by="anna", set_at=moment().utc, set_stamp=1
    )  # fmt: skip
    disk.merge((stop,))
    really = files._write_synced

    def stalled(path: Path, content: bytes) -> None:
        disk.hold()
        really(path, content)

    monkeypatch.setattr(files, "_write_synced", stalled)

    async def story() -> None:
        memory = LatchMemory(disk)
        late: list[object] = []
        clear = memory.clear(
            (stop,), by="bert", reason="ok", now=moment(), late=lambda *end: late.append(end)
        )
        asking = asyncio.create_task(clear)
        await asyncio.to_thread(disk.reached.wait, 10)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        disk.gate.set()
        async with asyncio.timeout(10):
            while memory._disk._under_way:
                await asyncio.sleep(0.005)
        assert late == []

    asyncio.run(story())
    assert disk.active() == ["s"]


def test_only_named_known_stops_are_cleared_all_or_none(api: Served) -> None:
    """EST-2: naming ids; one that is not known spoils the whole request."""
    stop_id = api.post(STOPS, order()).json()["stop_id"]
    unknown = str(uuid.uuid4())
    body = {"stop_ids": [stop_id, unknown], "reason": "ok", "by": "bert"}
    assert unknown in api.post(f"{STOPS}/clear", body).problem(404)
    assert len(api.latches.held.active()) == 1


def test_a_stop_made_elsewhere_is_listed_and_cleared_here(api: Served) -> None:
    """EST-2: what the coil or the command line left in the folder."""
    stop = StopEventRecord(
        record_id=str(uuid.uuid4()), scope=Scope.SITE, scope_id="north", reason="coil", set_by="modbus",
        set_at=moment().utc,
    )  # fmt: skip
    api.latches.merge((stop,))
    assert [row["stop_id"] for row in api.get(STOPS).json()] == [stop.record_id]
    api.post(f"{STOPS}/clear", {"stop_ids": [stop.record_id], "reason": "ok", "by": "bert"})
    assert api.latches.held.active() == ()


# --------------------------------------------------------------------------- modes


def mode(api: Served, **body: Any) -> Any:
    return api.post("/api/v1/pumps/p1/mode", {"by": "anna"} | body)


def test_auto_and_manual_go_to_the_pump(api: Served) -> None:
    """CTL-7: MANUAL goes to the pump's own actor and so through the safety layer, with what it records of it."""
    answer = mode(api, mode="MANUAL", setpoint_hz=31.5, expires_after_s=60, reason=" test run ").json()
    assert (answer["mode"], answer["manual_hz"], answer["by"]) == ("MANUAL", 31.5, "anna")
    assert answer["mode_expires_at"]
    assert api.tree.modes["p1"].mode is Mode.MANUAL
    assert mode(api, mode="AUTO").json()["mode"] == "AUTO"
    manual, _ = commanded(api)
    assert (manual.by, manual.reason, manual.source_address.split(":")[0]) == (
        "anna",
        "test run",
        "127.0.0.1",
    )
    assert told(api, "MODE_SET", "MODE_REFUSED") == [], "the pump records what it takes"


def commanded(api: Served) -> list[SetMode]:
    return [message for _, message in api.tree.asked if isinstance(message, SetMode)]


MODES = ("MODE_SET", "MODE_REFUSED", "MODE_UNCONFIRMED", "EMERGENCY_STOP_CLEAR_REFUSED")


def test_a_mode_that_the_pump_took_is_not_called_refused(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CTL-7, AUD-2: the pump obeys; that it does not tell its state a moment later makes no refusal of it."""
    really = api.tree.answer

    def then_silent(address: str, message: Any) -> Any:
        if address == PUMP_1 and not isinstance(message, SetMode):
            raise UnavailableError("it died")
        return really(address, message)

    monkeypatch.setattr(api.tree, "answer", then_silent)
    answer = mode(api, mode="MANUAL", setpoint_hz=31.5)
    assert answer.status == 200
    assert (answer.json()["mode"], answer.json()["manual_hz"]) == ("MANUAL", 31.5)
    assert answer.json()["note"] == "taken; the pump did not tell its present mode: it died"
    assert api.tree.modes["p1"].mode is Mode.MANUAL
    assert told(api, *MODES) == []


def test_a_mode_that_nobody_answered_may_have_been_taken(api: Served) -> None:
    """CTL-7, AUD-2: neither the answer nor the trail calls it refused; the same command may come again."""
    api.tree.odd[PUMP_1] = UnansweredError(
        "/sites/north/stations/s1/pumps/p1: no answer to SetMode within 1 s"
    )
    command_id = str(uuid.uuid4())
    said = mode(api, mode="AUTO", command_id=command_id).problem(503)
    assert "not known" in said
    assert f"command_id {command_id}" in said, "also when it was made here"
    until(lambda: told(api, *MODES))
    ((kind, actor, outcome),) = told(api, *MODES)
    assert (kind, actor) == ("MODE_UNCONFIRMED", "anna")
    assert outcome.startswith("not known: ")
    del api.tree.odd[PUMP_1]
    assert mode(api, mode="AUTO", command_id=command_id).status == 200
    assert [each.command_id for each in commanded(api)] == [command_id] * 2


@pytest.mark.parametrize("reason", ["x" * 501, "two\nlines"])
def test_what_would_be_refused_half_way_is_refused_before_the_pump_is_told(api: Served, reason: str) -> None:
    """CTL-7: a 400 means that nothing was commanded."""
    assert "reason" in mode(api, mode="AUTO", reason=reason).problem(400)
    assert commanded(api) == []


def test_a_dead_pump_takes_no_mode(api: Served) -> None:
    """CTL-7, SUP-6: a command that cannot be delivered in time is refused, not kept for later."""
    api.tree.deaf.add(PUMP_1)
    answer = mode(api, mode="MANUAL", setpoint_hz=30)
    assert PUMP_1 in answer.problem(503)
    assert answer.seconds < 2.0


def test_out_of_service_is_latched_like_a_stop_and_lifted_by_a_mode(api: Served) -> None:
    """CTL-7: OUT_OF_SERVICE is stored and merged like a stop; AUTO clears it, nothing else does."""
    assert mode(api, mode="OUT_OF_SERVICE", reason="impeller").json()["note"] == "durable"
    assert mode(api, mode="OUT_OF_SERVICE", reason="again").status == 200
    (mark,) = api.latches.held.active()
    assert (mark.kind, mark.scope_id, mark.reason) == ("out_of_service", "p1", "impeller")
    assert api.tree.stops[MODBUS].inhibited("north", "s1", "p1")
    assert api.get("/api/v1/pumps/p1").json()["out_of_service"] is True
    assert api.tree.modes == {}
    assert "AUTO" in mode(api, mode="MANUAL", setpoint_hz=30).problem(409)
    assert api.tree.modes == {}, "a refused command reaches nobody"
    refused = api.post(f"{STOPS}/clear", {"stop_ids": [mark.record_id], "reason": "ok", "by": "bert"})
    assert "mode" in refused.problem(409)
    assert mode(api, mode="AUTO").json()["mode"] == "AUTO"
    assert api.latches.held.active() == ()
    assert api.get("/api/v1/pumps/p1").json()["out_of_service"] is False


def test_return_to_service_leaves_emergency_stops_alone(api: Served) -> None:
    """EST-2: only a clear that names it ends a stop."""
    api.post(STOPS, order())
    mode(api, mode="OUT_OF_SERVICE")
    mode(api, mode="AUTO")
    assert [stop.kind for stop in api.latches.held.active()] == ["emergency_stop"]


def test_out_of_service_without_a_disk_still_stops(api: Served) -> None:
    """CTL-7, EST-2: latched like a stop: on the wire, and said to be not durable."""
    api.latches.refuses = True
    assert mode(api, mode="OUT_OF_SERVICE").json()["note"].startswith("NOT durable")
    assert api.tree.stops[MODBUS].inhibited("north", "s1", "p1")


def test_a_return_to_service_that_cannot_be_durable_is_refused(api: Served) -> None:
    """EST-2: the mark stays, here and on the wire."""
    mode(api, mode="OUT_OF_SERVICE")
    api.latches.refuses = True
    said = mode(api, mode="AUTO").problem(503)
    assert "took AUTO, but stays out of service: not cleared" in said
    assert api.tree.stops[MODBUS].inhibited("north", "s1", "p1")
    until(lambda: told(api, *MODES))
    assert [kind for kind, _, _ in told(api, *MODES)] == ["EMERGENCY_STOP_CLEAR_REFUSED"]


def test_a_repeated_command_does_not_lift_a_later_mark(api: Served) -> None:
    """SUP-6: commands carry an id: the late copy of an AUTO must not undo the OUT_OF_SERVICE said after it."""
    command_id = str(uuid.uuid4())
    assert mode(api, mode="AUTO", command_id=command_id).status == 200
    mode(api, mode="OUT_OF_SERVICE")
    assert mode(api, mode="AUTO", command_id=command_id).json()["note"] == "carried out before"
    assert len(api.latches.held.active()) == 1


def test_a_repeat_lifts_no_later_mark_after_a_restart_of_the_api(tmp_path: Path) -> None:
    """SUP-6, CTL-7: what was carried out is the pump's to remember: an API that begins anew asks it."""
    latches, tree, command_id = Latches(), Tree(), str(uuid.uuid4())
    with served(tmp_path, latches=latches, tree=tree) as api:
        assert mode(api, mode="AUTO", command_id=command_id).json()["note"] == ""
    with served(tmp_path, latches=latches, tree=tree) as api:
        mode(api, mode="OUT_OF_SERVICE", reason="impeller")
        assert mode(api, mode="AUTO", command_id=command_id).json()["note"] == "carried out before"
        assert [mark.reason for mark in latches.held.active()] == ["impeller"]
        assert mode(api, mode="AUTO").status == 200, "another AUTO is another command"
        assert latches.held.active() == ()


def test_a_repeat_finishes_what_its_first_time_left_half_done(api: Served) -> None:
    """SUP-6, AUD-2: the pump took it, the disk refused to lift the mark: the same command again lifts it."""
    mode(api, mode="OUT_OF_SERVICE")
    command_id = str(uuid.uuid4())
    api.latches.refuses = True
    assert "not cleared" in mode(api, mode="AUTO", command_id=command_id).problem(503)
    api.latches.refuses = False
    assert mode(api, mode="AUTO", command_id=command_id).json()["note"] == "carried out before"
    assert api.latches.held.active() == ()
    assert [each.command_id for each in commanded(api)] == [command_id] * 2


def test_one_id_on_two_pumps_is_two_commands(api: Served) -> None:
    """AUD-2, SUP-6: an id names a command of one pump: the other's is carried out and said to be so."""
    command_id = str(uuid.uuid4())
    for pump_id in ("p1", "p2"):
        body = {"mode": "MANUAL", "setpoint_hz": 45, "command_id": command_id}
        assert api.post(f"/api/v1/pumps/{pump_id}/mode", body).json()["note"] == ""
        assert api.tree.modes[pump_id].setpoint_hz == 45.0
    assert [each.pump_id for each in commanded(api)] == ["p1", "p2"]


def test_a_used_id_is_no_new_mark(api: Served) -> None:
    """EST-2: an id that a stop has cannot become a mark (their union would be something else)."""
    stop_id = api.post(STOPS, order()).json()["stop_id"]
    assert mode(api, mode="OUT_OF_SERVICE", command_id=stop_id).problem(409)


def test_a_restarted_api_knows_every_stop(tmp_path: Path) -> None:
    """EST-2, SAF-7: what was latched before is listed and can be cleared after a restart."""
    latches = Latches()
    with served(tmp_path, latches=latches) as api:
        stop_id = api.post(STOPS, order()).json()["stop_id"]
    with served(tmp_path, latches=latches) as api:
        assert [row["stop_id"] for row in api.get(STOPS).json()] == [stop_id]
        assert api.post(STOPS, order("STATION", "s1", stop_id=stop_id)).problem(409)
