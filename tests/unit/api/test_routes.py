"""Every route: what it shows, what it shows when parts of the tree are dead, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.messages import AlarmView, DiscoverNow, RetryChild, TreeNode
from actors.vocabulary import InvalidRow, RefusedError, Topology, UnknownSubjectError
from actors.vocabulary.access import UserRole
from actors.vocabulary.ids import ALARM, DISCOVERY, ROOT, STORAGE
from actors.vocabulary.records import AuditRecord
from tests.unit.api.people import logged_in
from tests.unit.api.served import (
    MODBUS,
    OPCUA,
    PLAN_1,
    PUMP_1,
    SAFETY_1,
    STATION_1,
    TOPOLOGY,
    Memory,
    Served,
    Tree,
    served,
)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def test_tree_shows_every_actor_with_the_agreed_keys(api: Served) -> None:
    """SUP-7: address, role, kind, state, pid, node, restarts, last error, mailbox depth, memory."""
    rows = api.get("/api/v1/tree").json()
    assert [row["address"] for row in rows] == ["/", MODBUS, SAFETY_1]
    agreed = {
        "address", "role", "kind", "state", "pid", "node_id", "restarts", "last_error", "mailbox_depth", "rss_mib",
    }  # fmt: skip
    assert agreed <= set(rows[0])
    assert rows[1]["role"] == "modbus"
    assert set(rows[0]) == set(TreeNode.__struct_fields__), "what a supervisor tells of a child is shown"


def test_retry_goes_to_the_supervisor_process_of_the_child(api: Served) -> None:
    """SUP-5: an operator can retry a quarantined child."""
    assert api.post("/api/v1/tree/retry", {"address": MODBUS}).status == 200
    assert api.post("/api/v1/tree/retry", {"address": "/storage"}).status == 200
    asked = [(to, message) for to, message in api.tree.asked if isinstance(message, RetryChild)]
    assert asked == [("/sites/north", RetryChild(child=MODBUS)), (ROOT, RetryChild(child="/storage"))]
    assert "address" in api.post("/api/v1/tree/retry", {"address": "north"}).problem(400)
    api.tree.odd["/sites/north"] = UnknownSubjectError("no such child")
    assert "no such child" in api.post("/api/v1/tree/retry", {"address": "/sites/north/x"}).problem(404)
    api.tree.odd["/sites/north"] = RefusedError("it is not in quarantine")
    assert "quarantine" in api.post("/api/v1/tree/retry", {"address": MODBUS}).problem(409)
    # AUD-2: who asked is written down, and what was refused too.
    noted = [
        (each.actor, each.object_id, each.outcome)
        for each in api.records(AuditRecord, count=5)
        if each.event_type == "QUARANTINE_RETRIED"
    ]
    assert noted[:2] == [("anna", MODBUS, "success"), ("anna", "/storage", "success")]
    assert [(who, outcome.partition(":")[0]) for who, _, outcome in noted[2:]] == [("anna", "refused")] * 3


def test_tags_are_one_list_with_all_keys(api: Served) -> None:
    """MOD-2: the map of both protocols, every key in every row."""
    rows = api.get("/api/v1/tags").json()
    keys = {
        "path", "site_id", "station_id", "pump_id", "point", "protocol", "unit_id", "table", "address", "count",
        "type", "scale", "unit", "access", "node_id",
    }  # fmt: skip
    assert all(keys <= set(row) for row in rows)
    assert {row["protocol"] for row in rows} == {"modbus", "opcua"}


def test_stations_show_level_and_plan(api: Served) -> None:
    """API-2: stations with wet well, plan coverage and pumps."""
    first, second = api.get("/api/v1/stations").json()
    assert (first["station_id"], second["station_id"]) == ("s1", "s2")
    assert first["level"] == {"value": 1.23, "quality": "GOOD", "age_s": 0.4, "why": "", "utc": None}
    assert first["plan"]["last_refusals"] == {"p1": "60 Hz is above 45 Hz"}
    assert first["pumps"] == ["p1", "p2"]
    assert api.get("/api/v1/stations/S1").json()["unavailable"] == []


def test_priorities_show_the_order_with_the_stations_values(api: Served) -> None:
    """SAF-2: the kernel's own order, swapped or not, and what each rule works with here."""
    table = api.get("/api/v1/stations/S1/priorities").json()
    assert (table["station_id"], table["swapped"]) == ("s1", False)
    assert [row["rank"] for row in table["rows"]] == list(range(1, len(table["rows"]) + 1))
    assert table["rows"][0]["rule"] == "emergency_stop"
    assert table["rows"][-1]["rule"] == "final_check"
    [timers] = [row for row in table["rows"] if row["rule"] == "protection_timers"]
    assert (timers["number"], timers["decided"]) == ("6", "pump")
    assert set(timers["pumps"]["p1"]) == {"max_starts_per_hour", "min_rest_s", "min_run_s", "max_run_s"}


def test_pumps_show_the_current_setpoint_with_its_trail(api: Served) -> None:
    """SAF-4, API-2: setpoint, every rule that changed it, and what each endpoint publishes."""
    everything = api.get("/api/v1/pumps").json()
    assert [pump["pump_id"] for pump in everything] == ["p1", "p2", "p3"]
    pump = api.get("/api/v1/pumps/p1").json()
    assert pump["setpoint"]["setpoint_hz"] == 35.0
    assert pump["setpoint"]["trail"] == [
        {"rule": "power_cap", "before_hz": 44.0, "after_hz": 35.0, "why": "11.0 kW allowed"}
    ]
    assert {shown["endpoint"] for shown in pump["published"]} == {MODBUS, OPCUA}
    # JSON has no infinity: an age that nobody knows is null.
    assert pump["feedback"]["level"] == {
        "value": None,
        "quality": "BAD",
        "age_s": None,
        "why": "never written",
        "utc": None,
    }
    assert [each["pump_id"] for each in api.get("/api/v1/pumps?station_id=s2").json()] == ["p3"]


def test_explain_tells_the_chain_from_plan_row_to_readback(api: Served) -> None:
    """SAF-4: plan row, proposal with inputs, decision with trail, published value, echo and measured speed."""
    chain = api.get("/api/v1/pumps/p1/explain").json()
    assert chain["plan"]["plan_id"] == 17
    assert chain["proposal"]["wish_hz"] == 44.0
    assert chain["proposal"]["inputs"]["level"]["value"] == 1.2
    assert chain["decision"]["epoch"] == "0.1800000001"
    assert chain["published"][0]["echo_hz"] == 35.0
    assert chain["unavailable"] == []


def test_alarms_come_newest_first(api: Served) -> None:
    """API-2: alarms raised and returned."""
    rows = api.get("/api/v1/alarms").json()
    states = [(row["alarm_id"], row["state"]) for row in rows]
    assert states == [("a2", "UNACKNOWLEDGED"), ("a1", "RETURNED_UNACKNOWLEDGED")]
    assert rows[0]["returned_at"] is None
    assert set(rows[0]) == set(AlarmView.__struct_fields__), "what the alarm actor tells of an alarm is shown"


def test_discovery_is_shown_without_another_look(api: Served) -> None:
    """DAT-4, API-2: what the last look found and skipped, also when it found nothing, to who may see the plant."""
    row = InvalidRow(table="pumps", key="9", column="pump_id", reason="two pumps have this id")
    api.tree.topology = msgspec.structs.replace(TOPOLOGY, invalid=(row,))
    asked = len(api.tree.asked)
    found = api.get("/api/v1/discovery").json()
    assert (found["revision"], found["stations"], found["last_error"]) == ("r1", 2, "")
    assert found["invalid"] == [msgspec.to_builtins(row)]
    assert not [1 for _, message in api.tree.asked[asked:] if isinstance(message, DiscoverNow)]
    api.tree.topology = None
    nothing = api.get("/api/v1/discovery").json()
    assert (nothing["revision"], nothing["last_error"]) == (None, "the database is away")
    plc = logged_in(api.users, api.desk, "plc-9", UserRole.FIELD)
    assert api.get("/api/v1/discovery", token=plc).problem(403)


def test_discovery_looks_now(api: Served) -> None:
    """DAT-4: POST /api/v1/discovery has the database looked at, and says what was found."""
    found = api.post("/api/v1/discovery", {}).json()
    assert (found["revision"], found["stations"], found["pumps"], found["last_error"]) == ("r1", 2, 3, "")


def test_alive_asks_nobody(api: Served) -> None:
    """API-1: a sign of life that no dead actor can delay."""
    api.tree.deaf |= {ROOT, DISCOVERY, STORAGE}
    asked = len(api.tree.asked)
    assert api.get("/api/v1/alive").json() == {"alive": True}
    assert len(api.tree.asked) == asked


def test_openapi_describes_every_resource(api: Served) -> None:
    """API-1: the OpenAPI document is served offline and names what exists."""
    answer = api.get("/api/v1/schema/openapi.json")
    assert answer.status == 200
    paths = set(answer.json()["paths"])
    assert {"/api/v1/pumps", "/api/v1/emergency-stops", "/api/v1/emergency-stops/{stop_id}"} <= paths


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/api/v1/tree", ROOT),
        ("/api/v1/alarms", ALARM),
        ("/api/v1/tags", DISCOVERY),
        ("/api/v1/pumps/p1", DISCOVERY),
    ],
)
@pytest.mark.parametrize("how", ["dead", "deaf", "odd"])
@pytest.mark.usefixtures("impatient")
def test_what_only_one_actor_knows_is_503_without_it(api: Served, path: str, address: str, how: str) -> None:
    """API-1: the part that is down is named, at once or within its deadline; nothing hangs."""
    if how == "odd":
        api.tree.odd[address] = 17
    else:
        getattr(api.tree, how).add(address)
    answer = api.get(path)
    assert address in answer.problem(503)
    assert answer.headers["retry-after"] == "1"
    assert answer.seconds < 5.0


def test_what_is_known_of_the_plant_outlives_discovery(api: Served) -> None:
    """DESIGN: the API answers what it can; the plant is remembered when discovery dies."""
    assert api.get("/api/v1/tags").status == 200
    api.tree.dead.add(DISCOVERY)
    assert api.get("/api/v1/tags").status == 200
    assert "discovery" in api.post("/api/v1/discovery", {}).problem(503)


def test_no_plant_yet_says_why(tmp_path: Path) -> None:
    """DAT-4: before the first successful look the reason is shown."""
    tree = Tree()
    tree.topology = None
    with served(tmp_path, tree=tree) as api:
        assert "the database is away" in api.get("/api/v1/pumps").problem(503)


@pytest.mark.parametrize("how", ["dead", "deaf"])
def test_a_dead_part_leaves_the_rest_of_the_page(api: Served, how: str) -> None:
    """DESIGN: when part of the tree is down, the API answers what it can and says what it cannot."""
    getattr(api.tree, how).update({SAFETY_1, STATION_1, PLAN_1, PUMP_1, OPCUA})
    station = api.get("/api/v1/stations").json()[0]
    assert (station["level"], station["plan"]) == (None, None)
    assert [text.split(":")[0] for text in station["unavailable"]] == ["station", "plan"]
    pumps = api.get("/api/v1/pumps")
    first, _, third = pumps.json()
    assert first["setpoint"] is None
    assert [shown["endpoint"] for shown in first["published"]] == [MODBUS]
    assert len(first["unavailable"]) == 2
    assert third["setpoint"]["setpoint_hz"] == 35.0
    assert pumps.seconds < 3.0
    chain = api.get("/api/v1/pumps/p1/explain").json()
    assert len(chain["unavailable"]) == 3
    assert (chain["mode"], chain["plan"], chain["decision"]) == ("unknown", None, None)


def test_latches_that_cannot_be_read_are_said(api: Served) -> None:
    """EST-2: whether a pump is out of service is not claimed when the folder cannot be read."""
    api.latches.unreadable = True
    assert any("latches" in text for text in api.get("/api/v1/pumps/p1").json()["unavailable"])
    assert "input/output error" in api.get("/api/v1/emergency-stops").problem(503)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/pumps/nobody"),
        ("GET", "/api/v1/pumps/nobody/explain"),
        ("POST", "/api/v1/pumps/nobody/mode"),
        ("GET", "/api/v1/stations/nowhere"),
        ("GET", "/api/v1/stations/nowhere/priorities"),
        ("GET", "/api/v1/pumps?station_id=nowhere"),
        ("GET", "/api/v1/emergency-stops/11111111-1111-4111-8111-111111111111"),
        ("GET", "/api/v1/nothing"),
        ("GET", "/nothing"),
    ],
)
def test_what_is_not_known_is_404(api: Served, method: str, path: str) -> None:
    """API-1: an unknown id or path is a problem document that names it."""
    body = {"mode": "AUTO", "by": "anna"} if method == "POST" else None
    assert api.call(method, path, body).problem(404)


@pytest.mark.parametrize("pump", ["%2e%2e", "a%20b", "p1%00", "x" * 41, "-p"])
def test_what_is_no_id_is_400(api: Served, pump: str) -> None:
    """API-1: an id outside the alphabet is refused, not looked up."""
    assert api.get(f"/api/v1/pumps/{pump}").problem(400)


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/api/v1/pumps"), ("PUT", "/api/v1/emergency-stops"), ("POST", "/api/v1/tree")],
)
def test_the_wrong_method_is_405_and_names_the_right_ones(api: Served, method: str, path: str) -> None:
    """API-1: 405 with Allow."""
    answer = api.call(method, path, {})
    answer.problem(405)
    assert answer.headers["allow"]


STOP = {"scope": "PUMP", "scope_id": "p1", "reason": "leak", "by": "anna"}
BAD_BODIES: list[tuple[str, Any, list[str]]] = [
    ("/api/v1/emergency-stops", STOP | {"scope": "PLANET"}, ["scope", "PLANET"]),
    ("/api/v1/emergency-stops", STOP | {"reason": 7}, ["reason", "7", "str"]),
    ("/api/v1/emergency-stops", STOP | {"reason": " "}, ["reason", "printable"]),
    ("/api/v1/emergency-stops", STOP | {"by": "a\nb"}, ["by", "anna", "logged in"]),
    ("/api/v1/emergency-stops", STOP | {"reason": "x" * 501}, ["reason", "500"]),
    ("/api/v1/emergency-stops", STOP | {"stop_id": "seven"}, ["stop_id", "seven", "UUID"]),
    ("/api/v1/emergency-stops", STOP | {"scope_id": "no id"}, ["scope_id", "no id"]),
    ("/api/v1/emergency-stops", STOP | {"scope": "SYSTEM"}, ["scope_id", "p1", "none"]),
    ("/api/v1/emergency-stops", STOP | {"colour": "red"}, ["colour"]),
    ("/api/v1/emergency-stops", [STOP], ["object", "array"]),
    ("/api/v1/emergency-stops", {"scope": "PUMP"}, ["reason"]),
    ("/api/v1/emergency-stops/clear", {"stop_ids": [], "reason": "ok", "by": "anna"}, ["stop_ids"]),
    ("/api/v1/emergency-stops/clear", {"stop_ids": "all", "reason": "ok", "by": "anna"}, ["stop_ids", "all"]),
    ("/api/v1/emergency-stops/clear", {"stop_ids": ["x"], "reason": "", "by": "anna"}, ["reason"]),
    ("/api/v1/pumps/p1/mode", {"mode": "LOCAL", "by": "anna"}, ["mode", "LOCAL", "panel"]),
    ("/api/v1/pumps/p1/mode", {"mode": "AUTO", "by": "Bert B."}, ["by", "anna"]),
    ("/api/v1/pumps/p1/mode", {"mode": "MANUAL", "by": "anna", "setpoint_hz": -1}, ["setpoint_hz", "-1"]),
    (
        "/api/v1/pumps/p1/mode",
        {"mode": "MANUAL", "by": "anna", "setpoint_hz": "30"},
        ["setpoint_hz", "float"],
    ),
    (
        "/api/v1/pumps/p1/mode",
        {"mode": "MANUAL", "by": "anna", "setpoint_hz": True},
        ["setpoint_hz", "float"],
    ),
    ("/api/v1/pumps/p1/mode", {"mode": "AUTO", "by": "anna", "setpoint_hz": 30}, ["setpoint_hz", "MANUAL"]),
    ("/api/v1/pumps/p1/mode", {"mode": "AUTO", "by": "anna", "command_id": "x"}, ["command_id", "UUID"]),
    ("/api/v1/tree/retry", {}, ["address"]),
]


@pytest.mark.parametrize(("path", "body", "named"), BAD_BODIES)
def test_a_bad_body_is_400_naming_key_value_and_expectation(
    api: Served, path: str, body: Any, named: list[str]
) -> None:
    """API-1: RFC 9457; the person who sent it can correct it."""
    detail = api.post(path, body).problem(400)
    assert all(word in detail for word in named), detail
    assert api.latches.held.records == ()
    assert api.tree.modes == {}


@pytest.mark.parametrize(
    "raw",
    [b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"NaN"', b"null null", b"\xff"],
)
def test_json_that_is_no_finite_number_is_refused(api: Served, raw: bytes) -> None:
    """CTL-7: no NaN and no infinity comes in as an operator's speed."""
    body = b'{"mode": "MANUAL", "by": "anna", "setpoint_hz": ' + raw + b"}"
    assert api.post("/api/v1/pumps/p1/mode", raw=body).problem(400)
    assert api.tree.modes == {}


@pytest.mark.parametrize("path", ["/api/v1/pumps/p1/mode", "/api/v1/emergency-stops"])
@pytest.mark.parametrize("before", [b"", b'{"mode": 5, "deep": ', b'{"mode": "AUTO", "by": "anna", "deep": '])
def test_a_body_of_a_thousand_levels_is_400(api: Served, path: str, before: bytes) -> None:
    """API-1: what no decoder can follow is the client's fault and no error of ours."""
    assert api.post(path, raw=before + b"[" * 10_000).problem(400)
    assert api.tree.modes == {}


def test_no_body_is_400(api: Served) -> None:
    """API-1: a command without a body is none."""
    assert api.post("/api/v1/emergency-stops").problem(400)


def test_answers_carry_security_headers_and_hide_the_server(api: Served) -> None:
    """API-2: security headers on answers and on errors."""
    for path in ("/api/v1/pumps", "/api/v1/nothing"):
        headers = api.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == ("private, no-cache" if path.endswith("pumps") else "no-store")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_a_just_restarted_api_knows_the_plant_from_discoverys_file(tmp_path: Path) -> None:
    """EST-1: with discovery dead, an API that has just started still knows whom to address."""
    tree = Tree()
    tree.dead.add(DISCOVERY)
    with served(tmp_path, tree=tree, memory=Memory(TOPOLOGY)) as api:
        assert len(api.get("/api/v1/pumps").json()) == 3
    with served(tmp_path, tree=tree, memory=Memory(refuses=True)) as api:
        assert api.get("/api/v1/pumps").status == 503
        assert any(event == "topology_not_recalled" for event, _ in api.ports.logged)


def test_a_newer_plant_replaces_the_remembered_one(tmp_path: Path) -> None:
    """DAT-4: the beat brings the plant up to date without a reader."""
    with served(tmp_path, memory=Memory(Topology(revision="r0"))) as api:
        api.tick("topology")
        api.tree.dead.add(DISCOVERY)
        assert len(api.get("/api/v1/pumps").json()) == 3
