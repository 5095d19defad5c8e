"""The OPC UA endpoint through node-opcua, a client of somebody else's make."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.vocabulary import Quality, Scope, WriteRefusal
from actors.vocabulary.client_calls import (
    CallAnswer,
    ClearStops,
    CommandMode,
    PastValue,
    SeeAlarm,
    SetStop,
    ShownAlarms,
)
from protocols.points import PUMP_POINTS, opcua_points
from tests.unit.protocols.plants import north
from tests.wire.opcua.served import PUMP, NodeClient, alarm_shown, node_client, served, until

pytestmark = [pytest.mark.wire, pytest.mark.services]


def ns(path: str) -> str:
    return f"ns=2;s={path}"


async def notified(client: NodeClient, enough: int) -> list[list[dict[str, Any]]]:
    """Collect notification messages until so many values came."""
    got: list[list[dict[str, Any]]] = []
    async with asyncio.timeout(10):
        while sum(len(one) for one in got) < enough:
            got += await client.ask("notifications")
            await asyncio.sleep(0.02)
    return got


def test_browse_finds_site_station_and_pump_under_their_stable_ids(node_opcua: Path) -> None:
    """OPC-1: site -> station -> pump objects of our types, node ids and browse paths are the point's path."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            assert (await client.ask("namespaces"))[2] == "urn:calejo"
            roots = {one["name"]: one for one in await client.ask("browse", node="ObjectsFolder")}
            assert roots["north"] == {"name": "north", "node": ns("/north"), "type": ns("types/SiteType")}
            site = {one["name"]: one for one in await client.ask("browse", node=ns("/north"))}
            stops = {"EmergencyStop", "ClearEmergencyStop"}
            assert set(site) == {"emergency_stop", "failsafe", "s1", "s2", "AcknowledgeAlarm"} | stops
            assert site["s1"]["type"] == ns("types/StationType")
            station = {one["name"]: one for one in await client.ask("browse", node=ns("/north/s1"))}
            assert set(station) == {"emergency_stop", "failsafe", "scada_heartbeat", "p1", "p2"} | stops
            assert station["p1"]["type"] == ns("types/PumpType")
            pump = {one["name"]: one["node"] for one in await client.ask("browse", node=ns(PUMP))}
            methods = {name: ns(f"types/PumpType/{name}") for name in (*stops, "SetMode")}
            points = {point: ns(f"{PUMP}/{point}") for point in (*PUMP_POINTS, "setpoint_request")}
            assert pump == points | methods
            path = "/2:north/2:s1/2:p1/2:setpoint"
            assert await client.ask("translate", start="ObjectsFolder", path=path) == [ns(f"{PUMP}/setpoint")]

    asyncio.run(story())


def test_read_gives_value_type_unit_quality_and_source_time(node_opcua: Path) -> None:
    """OPC-1: engineering units, source timestamps and status codes that say the truth."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            publisher.show({f"{PUMP}/setpoint": 35.25}, utc_ns=1_700_000_000_250_000_000)
            publisher.show({f"{PUMP}/epoch": 4_000_000_000}, Quality.UNCERTAIN)
            publisher.show({f"{PUMP}/running": True}, Quality.BAD)
            names = ("setpoint", "epoch", "running", "actual_flow", "reason")
            values = await client.ask("read", nodes=[ns(f"{PUMP}/{name}") for name in names])
            setpoint, epoch, running, flow, reason = values
            assert (setpoint["value"], setpoint["type"], setpoint["status"]) == (35.25, "Double", "Good")
            assert setpoint["source"] == "2023-11-14T22:13:20.250Z"
            assert setpoint["server"] is not None
            assert (epoch["value"], epoch["type"]) == (4_000_000_000, "UInt32")
            assert epoch["status"] == "UncertainLastUsableValue"
            assert (running["value"], running["status"]) == (True, "BadNoCommunication")
            assert (flow["value"], flow["status"]) == (0, "BadWaitingForInitialData")
            assert flow["source"] is None
            assert reason["type"] == "UInt16"
            unit = await client.ask("property", node=ns(f"{PUMP}/setpoint"), name="EngineeringUnits")
            assert unit == {"unit": "Hz", "id": 4740186}  # HTZ, OPC 10000-8 annex
            (gone,) = await client.ask("read", nodes=[ns("/north/s9")])
            assert gone["status"] == "BadNodeIdUnknown"

    asyncio.run(story())


def test_a_block_reaches_a_subscriber_in_one_notification(node_opcua: Path) -> None:
    """WDG-4: what is published together arrives together, and nothing arrives when nothing changed."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            block = ("sequence", "setpoint", "heartbeat", "sequence_end")
            nodes = [ns(f"{PUMP}/{name}") for name in block]
            assert await client.ask("subscribe", nodes=nodes, interval=100) == ["Good"] * 4
            await notified(client, 4)
            values: dict[str, float] = {}
            for number in range(1, 6):
                values = dict.fromkeys((f"{PUMP}/{name}" for name in block), number)
                publisher.show(values)
                publisher.show(values)
                (message,) = await notified(client, 4)
                assert [one["value"] for one in message] == [number] * 4
            # Nothing changed, nothing comes: the next message is the next change.
            publisher.show(values)
            publisher.show({f"{PUMP}/setpoint": 50.0})
            ((change,),) = await notified(client, 1)
            assert change["value"] == 50.0

    asyncio.run(story())


def test_writes_are_judged_one_by_one(node_opcua: Path) -> None:
    """OPC-2: every item gets its own fitting status code; the accepted ones of the same request are applied."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            publisher.refusals = {
                f"{PUMP}/actual_speed": WriteRefusal.OUT_OF_RANGE,
                f"{PUMP}/fault_code": WriteRefusal.NOT_PERMITTED,
                f"{PUMP}/running": WriteRefusal.INVALID_STATE,
                f"{PUMP}/high_float": WriteRefusal.DEVICE_FAILURE,
            }
            items = [
                (f"{PUMP}/wet_well_level", "Double", 1.25, "Good"),
                (f"{PUMP}/actual_speed", "Double", 99.0, "BadOutOfRange"),
                (f"{PUMP}/fault_code", "UInt16", 3, "BadUserAccessDenied"),
                (f"{PUMP}/running", "Boolean", True, "BadInvalidState"),
                (f"{PUMP}/high_float", "Boolean", True, "BadDeviceFailure"),
                (f"{PUMP}/setpoint", "Double", 40.0, "BadNotWritable"),
                (f"{PUMP}/plc_heartbeat", "Int32", 4, "BadTypeMismatch"),
                (f"{PUMP}/actual_power", "Null", None, "BadTypeMismatch"),
                ("/north/s1/p9/running", "Boolean", True, "BadNodeIdUnknown"),
                (f"{PUMP}/plc_heartbeat", "UInt16", 4, "Good"),
            ]
            request = [{"node": ns(path), "type": kind, "value": value} for path, kind, value, _ in items]
            assert await client.ask("write", items=request) == [code for _, _, _, code in items]
            level, heartbeat, setpoint = await client.ask(
                "read",
                nodes=[ns(f"{PUMP}/{name}") for name in ("wet_well_level", "plc_heartbeat", "setpoint")],
            )
            assert (level["value"], heartbeat["value"], setpoint["value"]) == (1.25, 4, 0)
            seen = publisher.offered
            assert [write.path.rpartition("/")[2] for write in seen] == [
                "wet_well_level", "actual_speed", "fault_code", "running", "high_float", "plc_heartbeat"
            ]  # fmt: skip
            assert type(seen[0].value) is float
            assert type(seen[-1].value) is int
            (told,) = publisher.requests
            refused = [write.refusal.name for write in told if write.refusal is not None]
            assert refused == ["READ_ONLY", "BAD_TYPE", "BAD_TYPE", "UNKNOWN_POINT"], "each for the record"

    asyncio.run(story())


def test_emergency_stop_is_a_boolean_that_can_only_be_set(node_opcua: Path) -> None:
    """EST-4: writing 0 is accepted and changes nothing; what is read back is the latch."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            for path in (f"{PUMP}/emergency_stop", "/north/s1/emergency_stop", "/north/emergency_stop"):
                publisher.show({path: False})
                item = {"node": ns(path), "type": "Boolean"}
                assert await client.ask("write", items=[{**item, "value": True}]) == ["Good"]
                assert await client.ask("write", items=[{**item, "value": False}]) == ["Good"]
                (value,) = await client.ask("read", nodes=[ns(path)])
                assert (value["value"], value["status"]) == (True, "Good")

    asyncio.run(story())


def test_a_new_pump_comes_and_an_old_one_goes_while_clients_stay(node_opcua: Path) -> None:
    """OPC-1, DAT-4: only differences are applied; subscriptions on what stays go on, those on what goes hear it."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            stays, goes = f"{PUMP}/setpoint", "/north/s2/p3/setpoint"
            publisher.show({stays: 30.0, goes: 31.0})
            await client.ask("subscribe", nodes=[ns(stays), ns(goes)], interval=50)
            await notified(client, 2)
            kept = [point for point in opcua_points(north()) if "/s2" not in point.path]
            await publisher.endpoint.configure(kept)
            ((gone,),) = await notified(client, 1)
            assert (gone["node"], gone["status"]) == (ns(goes), "BadNodeIdUnknown")
            publisher.show({stays: 32.0})
            ((change,),) = await notified(client, 1)
            assert (change["node"], change["value"]) == (ns(stays), 32.0)
            assert "s2" not in {one["name"] for one in await client.ask("browse", node=ns("/north"))}
            await publisher.endpoint.configure(opcua_points(north()))
            values = await client.ask("read", nodes=[ns(stays), ns(goes)])
            assert [one["status"] for one in values] == ["Good", "BadWaitingForInitialData"]
            assert "s2" in {one["name"] for one in await client.ask("browse", node=ns("/north"))}
            await until(lambda: publisher.endpoint.clients == 1, what="the client stayed")

    asyncio.run(story())


def test_an_operators_speed_is_answered_item_by_item(node_opcua: Path) -> None:
    """OPC-2: `setpoint_request` beside read-only setpoints; what was taken reads back while the pump is in MANUAL."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            publisher.refusals = {"/north/s1/p2/setpoint_request": WriteRefusal.INVALID_STATE}
            items = [
                (f"{PUMP}/setpoint_request", 35.5, "Good"),
                ("/north/s1/p2/setpoint_request", 35.5, "BadInvalidState"),
                (f"{PUMP}/setpoint", 35.5, "BadNotWritable"),
            ]
            request = [{"node": ns(path), "type": "Double", "value": value} for path, value, _ in items]
            assert await client.ask("write", items=request) == [code for _, _, code in items]
            nodes = [ns(f"{PUMP}/setpoint_request"), ns("/north/s1/p2/setpoint_request")]
            taken, refused = await client.ask("read", nodes=nodes)
            assert (taken["value"], taken["status"]) == (35.5, "Good")
            assert refused["status"] == "BadWaitingForInitialData"
            publisher.show({f"{PUMP}/mode": 1})
            (ended,) = await client.ask("read", nodes=nodes[:1])
            assert (ended["value"], ended["status"]) == (35.5, "UncertainLastUsableValue")

    asyncio.run(story())


def test_methods_are_described_and_called_at_their_objects(node_opcua: Path) -> None:
    """OPC-3: arguments are told, and a call reaches the desk with the scope of the object that it names."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            mode = ns("types/PumpType/SetMode")
            described = await client.ask("arguments", method=mode)
            assert described == {
                "inputs": ["Mode", "SetpointHz", "ExpiresAfterS", "Reason"],
                "outputs": [],
            }
            inputs = [["UInt16", 2], ["Double", 35.5], ["Double", 0.0], ["String", "test run"]]
            answer = await client.ask("call", object=ns(PUMP), method=mode, inputs=inputs)
            assert answer == {"status": "Good", "inputs": ["Good"] * 4, "outputs": []}
            publisher.answers = [CallAnswer(ids=("stop-1", "stop-2"))]
            stop = ns("types/StationType/EmergencyStop")
            answer = await client.ask(
                "call", object=ns("/north/s1"), method=stop, inputs=[["String", "flood"]]
            )
            assert (answer["status"], answer["outputs"]) == ("Good", [["stop-1", "stop-2"]])
            clear = ns("types/SiteType/ClearEmergencyStop")
            inputs = [["String", ["stop-1"]], ["String", "over"]]
            assert (await client.ask("call", object=ns("/north"), method=clear, inputs=inputs))[
                "status"
            ] == "Good"
            assert [call.command for call in publisher.calls] == [
                CommandMode(
                    station_id="s1", pump_id="p1", mode=2, setpoint_hz=35.5, expires_after_s=None, reason="test run"
                ),
                SetStop(scope=Scope.STATION, scope_id="s1", reason="flood"),
                ClearStops(scope=Scope.SITE, scope_id="north", stop_ids=("stop-1",), reason="over"),
            ]  # fmt: skip

    asyncio.run(story())


async def heard(client: NodeClient, count: int) -> list[dict[str, Any]]:
    """Collect events until so many came."""
    got: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while len(got) < count:
            got += await client.ask("events")
            await asyncio.sleep(0.02)
    return got


def test_an_alarm_is_heard_acknowledged_and_refreshed(node_opcua: Path) -> None:
    """OPC-3, ALM-1: a condition with its events; Acknowledge by the event; ConditionRefresh."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            assert await client.ask("listen", node=ns("/north"), type="AlarmConditionType") == "Good"
            alarm = alarm_shown("dry_run", "p1", PUMP)
            publisher.endpoint.show_alarms(ShownAlarms(alarms=(alarm,), whole=True))
            (event,) = await heard(client, 1)
            assert (event["ActiveState.Id"], event["AckedState.Id"], event["Retain"]) == (True, False, True)
            assert (event["SourceNode"], event["Severity"], event["Message"]) == (ns(PUMP), 700, "it holds")
            condition = event["ConditionId"]
            assert condition == ns("conditions/dry_run/p1")
            acknowledge = {"condition": condition, "comment": "on my way"}
            assert await client.ask("acknowledge", event="00" * 16, **acknowledge) == "BadEventIdUnknown"
            assert await client.ask("acknowledge", event=event["EventId"], **acknowledge) == "Good"
            (call,) = publisher.calls
            assert call.command == SeeAlarm(alarm_id=alarm.alarm_id, comment="on my way")
            seen = msgspec.structs.replace(
                alarm,
                acknowledged=True,
                acknowledged_by="anna",
                comment="on my way",
                acknowledged_utc_ns=2 * 10**18,
            )
            publisher.endpoint.show_alarms(ShownAlarms(alarms=(seen,), whole=True))
            (event,) = await heard(client, 1)
            told = (event["AckedState.Id"], event["Comment"], event["ClientUserId"], event["Retain"])
            assert told == (True, "on my way", "anna", True)
            code = await client.ask("acknowledge", event=event["EventId"], **acknowledge)
            assert code == "BadConditionBranchAlreadyAcked"
            assert await client.ask("refresh") == "Good"
            start, again, end = await heard(client, 3)
            assert (start["EventType"], end["EventType"]) == ("ns=0;i=2787", "ns=0;i=2788")
            assert (again["EventId"], again["ConditionId"]) == (event["EventId"], condition)
            gone = msgspec.structs.replace(seen, active=False, returned_utc_ns=2 * 10**18)
            publisher.endpoint.show_alarms(ShownAlarms(alarms=(gone,), whole=True))
            (event,) = await heard(client, 1)
            assert (event["ActiveState.Id"], event["Retain"]) == (False, False)

    asyncio.run(story())


def test_the_past_is_read_back(node_opcua: Path) -> None:
    """OPC-3: raw values of a setpoint with their time and quality."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            publisher.past["p1", "setpoint"] = [
                PastValue(
                    value=30.0 + number,
                    quality=Quality.GOOD if number else Quality.UNCERTAIN,
                    at=datetime(2026, 11, 21, 12, 0, number, tzinfo=UTC),
                )
                for number in range(5)
            ]
            start, end = "2026-11-21T12:00:00Z", "2026-11-21T12:00:04Z"
            answer = await client.ask("history", node=ns(f"{PUMP}/setpoint"), start=start, end=end)
            assert answer["status"] == "Good"
            assert [one["value"] for one in answer["values"]][:4] == [30.0, 31.0, 32.0, 33.0]
            first = answer["values"][0]
            assert (first["source"], first["status"]) == (
                "2026-11-21T12:00:00.000Z",
                "UncertainLastUsableValue",
            )
            publisher.database_away = True
            away = await client.ask("history", node=ns(f"{PUMP}/setpoint"), start=start, end=end)
            assert away == {"status": "BadNoCommunication", "values": []}
            assert (await client.ask("read", nodes=[ns("/north/failsafe")]))[0]["type"] == "Boolean"

    asyncio.run(story())
