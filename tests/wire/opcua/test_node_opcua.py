"""The OPC UA endpoint through node-opcua, a client of somebody else's make."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.vocabulary import Quality, WriteRefusal
from protocols.points import PUMP_POINTS, site_points
from tests.unit.protocols.plants import north
from tests.wire.opcua.served import PUMP, NodeClient, node_client, served, until

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
            assert set(site) == {"emergency_stop", "failsafe", "s1", "s2"}
            assert site["s1"]["type"] == ns("types/StationType")
            station = {one["name"]: one for one in await client.ask("browse", node=ns("/north/s1"))}
            assert set(station) == {"emergency_stop", "failsafe", "scada_heartbeat", "p1", "p2"}
            assert station["p1"]["type"] == ns("types/PumpType")
            pump = {one["name"]: one["node"] for one in await client.ask("browse", node=ns(PUMP))}
            assert pump == {point: ns(f"{PUMP}/{point}") for point in PUMP_POINTS}
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
            (seen,) = publisher.requests
            assert [write.path.rpartition("/")[2] for write in seen] == [
                "wet_well_level", "actual_speed", "fault_code", "running", "high_float", "plc_heartbeat"
            ]  # fmt: skip
            assert type(seen[0].value) is float
            assert type(seen[-1].value) is int
            (refused,) = publisher.events("refused")
            assert "8 of 10 writes" in refused

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
            kept = [point for point in site_points(north()) if "/s2" not in point.path]
            await publisher.endpoint.configure(kept)
            ((gone,),) = await notified(client, 1)
            assert (gone["node"], gone["status"]) == (ns(goes), "BadNodeIdUnknown")
            publisher.show({stays: 32.0})
            ((change,),) = await notified(client, 1)
            assert (change["node"], change["value"]) == (ns(stays), 32.0)
            assert "s2" not in {one["name"] for one in await client.ask("browse", node=ns("/north"))}
            await publisher.endpoint.configure(site_points(north()))
            values = await client.ask("read", nodes=[ns(stays), ns(goes)])
            assert [one["status"] for one in values] == ["Good", "BadWaitingForInitialData"]
            assert "s2" in {one["name"] for one in await client.ask("browse", node=ns("/north"))}
            await until(lambda: publisher.endpoint.clients == 1, what="the client stayed")

    asyncio.run(story())


def test_methods_are_refused_until_there_are_any(node_opcua: Path) -> None:
    """OPC-5: Call is no service of ours yet; the session survives the question."""

    async def story() -> None:
        async with served() as publisher, node_client(node_opcua, publisher) as client:
            assert "BadServiceUnsupported" in await client.ask("call")
            assert (await client.ask("read", nodes=[ns("/north/failsafe")]))[0]["type"] == "Boolean"

    asyncio.run(story())
