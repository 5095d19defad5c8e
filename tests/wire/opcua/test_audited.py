"""The publisher behind a real OPC UA endpoint: what clients do wrong changes nothing, and is audited by name.

The clock is the test's, the sockets are real; users, pumps and the alarm actor are played.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from asyncua import Client, ua

from actors.messages import (
    Alarms,
    EndpointStatus,
    Epoch,
    FeedbackReceived,
    GetEndpoint,
    SetMode,
    SetpointsDecided,
    Tick,
)
from actors.outbox import Outbox
from actors.publisher.actor import PublisherActor
from actors.start import WorkerStart
from actors.vocabulary import Mode, Role, Settings
from actors.vocabulary.access import UserRole
from actors.vocabulary.ids import ALARM, endpoint_address
from actors.vocabulary.pki import UserCertificate
from actors.vocabulary.records import AuditRecord
from api.access.security_log import SecurityLog
from api.access.wire_users import WireUsers
from protocols.opcua import OpcUaEndpoint, limits
from protocols.opcua.ids import own, standard
from protocols.points import opcua_points
from tests.simulation.fakes import FakeClock, FakeEpochStore, FakeLatchStore, FakePorts
from tests.unit.actors.publisher.test_actor import SITE, setpoint
from tests.unit.api.people import Users as NobodyKnown
from tests.wire.opcua.papers import SAFE, Cabinet, Guarded, Paper, Users, client_of, paper
from tests.wire.opcua.served import Publisher, item, until
from tests.wire.opcua.standard_nodes import built_once

pytestmark = pytest.mark.wire
SAFETY = "/sites/north/stations/s1/safety"
P1 = "/north/s1/p1"
DOUBLE, BOOLEAN, UINT16 = ua.VariantType.Double, ua.VariantType.Boolean, ua.VariantType.UInt16
ROLES = {"plc": UserRole.FIELD, "scada": UserRole.OPERATOR, "panel": UserRole.READ_ONLY}


class Plant:
    """One endpoint with its gate and its doorkeeper; the three programs show a user certificate each."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.latches = FakeLatchStore()
        self.ports = FakePorts(str(endpoint_address("north", "opcua")), self.clock)
        self.ports.answers[str(ALARM)] = lambda _: Alarms(alarms=(), whole=True)
        outbox = Outbox(self.ports)
        log = SecurityLog(lambda records: outbox.put(*records), self.clock)
        self.door = WireUsers(NobodyKnown(), log=log, clock=self.clock, wire="OPC UA")
        users = {paper(name): UserCertificate(name=name, role=role) for name, role in ROLES.items()}
        self.cabinet = Cabinet(paper("client"), users=users)
        self.endpoint = OpcUaEndpoint("127.0.0.1", 0, rules=SAFE, pki=self.cabinet, doorkeeper=self.door)
        start = WorkerStart(
            role=Role.OPCUA, address=self.ports.address, settings=Settings(data_dir="unused"), site=SITE
        )
        self.actor = PublisherActor(
            self.ports, start, self.endpoint, self.latches, FakeEpochStore(), opcua_points
        )
        self._guarded = Guarded(Publisher(self.endpoint), self.cabinet, Users())

    @asynccontextmanager
    async def client(self, name: str, *, shown: Paper | None = None) -> AsyncIterator[Client]:
        async with await client_of(self._guarded, user_paper=paper(name), shown=shown) as client:
            yield client

    async def decide(self, sequence: int) -> None:
        wish = msgspec.structs.replace(setpoint(sequence, self.clock.now()), mode=Mode.AUTO)
        await self.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(wish,)))

    async def audits(self) -> list[AuditRecord]:
        """Return what was written down, but for who came and went."""
        found: list[AuditRecord] = await self.ports.stored(AuditRecord)
        return [record for record in found if record.event_type != "LOGIN"]

    async def status(self) -> EndpointStatus:
        status = await self.actor.handle(GetEndpoint())
        assert isinstance(status, EndpointStatus)
        return status


@asynccontextmanager
async def plant() -> AsyncIterator[Plant]:
    with built_once():
        made = Plant()
        await made.actor.start()
        try:
            await made.decide(1)
            for _ in range(60):
                await made.clock.advance(0.05)
            await until(lambda: made.endpoint.bound != "", what="the port is open")
            await made.decide(2)
            yield made
        finally:
            await made.actor.stop()
            await made.ports.end()
            made.door._hashing.close()


async def written(client: Client, *items: ua.WriteValue) -> list[str]:
    write = ua.WriteParameters()
    write.NodesToWrite = list(items)
    return [code.name for code in await client.uaclient.write(write)]


def at(node: ua.NodeId, value: Any, kind: Any) -> ua.WriteValue:
    made = item("", value, kind)
    made.NodeId = node
    return made


@pytest.mark.parametrize(
    ("who", "write", "code", "why", "path"),
    [
        ("panel", item(f"{P1}/plc_heartbeat", 7, UINT16), "BadUserAccessDenied", "not_permitted",
         f"{P1}/plc_heartbeat"),
        ("panel", item("/north/s1/emergency_stop", True, BOOLEAN), "BadUserAccessDenied", "not_permitted",
         "/north/s1/emergency_stop"),
        ("plc", item(f"{P1}/emergency_stop", True, BOOLEAN), "BadUserAccessDenied", "not_permitted",
         f"{P1}/emergency_stop"),
        ("scada", item(f"{P1}/plc_heartbeat", 7, UINT16), "BadUserAccessDenied", "not_permitted",
         f"{P1}/plc_heartbeat"),
        ("plc", item(f"{P1}/setpoint", 40.0, DOUBLE), "BadNotWritable", "read_only", f"{P1}/setpoint"),
        ("plc", item(f"{P1}/wet_well_level", 3, ua.VariantType.Byte, ua.AttributeIds.AccessLevel),
         "BadNotWritable", "read_only", f"{P1}/wet_well_level"),
        ("plc", at(standard(ua.ObjectIds.Server_ServiceLevel), 1, ua.VariantType.Byte), "BadNotWritable",
         "read_only", "ns=0;2267"),
        ("plc", item("/north/s1/p9/running", True, BOOLEAN), "BadNodeIdUnknown", "unknown_point",
         "/north/s1/p9/running"),
        ("plc", item("/north/\udcff", True, BOOLEAN), "BadNodeIdUnknown", "unknown_point", "/north/?"),
        ("plc", item(f"{P1}/wet_well_level", float("nan"), DOUBLE), "BadOutOfRange", "out_of_range",
         f"{P1}/wet_well_level"),
        ("plc", item(f"{P1}/wet_well_level", float("inf"), DOUBLE), "BadOutOfRange", "out_of_range",
         f"{P1}/wet_well_level"),
        ("plc", item(f"{P1}/wet_well_level", 1, ua.VariantType.Int32), "BadTypeMismatch", "bad_type",
         f"{P1}/wet_well_level"),
        ("plc", item(f"{P1}/wet_well_level", [1.0], DOUBLE), "BadTypeMismatch", "bad_type",
         f"{P1}/wet_well_level"),
        ("plc", item(f"{P1}/wet_well_level", 1.0, DOUBLE, SourceTimestamp=ua.DateTime(2020, 1, 1)),
         "BadWriteNotSupported", "bad_type", f"{P1}/wet_well_level"),
        ("scada", item(f"{P1}/setpoint_request", 30.0, DOUBLE), "BadInvalidState", "invalid_state",
         f"{P1}/setpoint_request"),
    ],
)  # fmt: skip
def test_a_write_outside_the_rules_is_refused_audited_and_moves_nothing(
    who: str, write: ua.WriteValue, code: str, why: str, path: str
) -> None:
    """OPC-2, SEC-2, SEC-5: rights, read-only and unknown nodes, types, NaN: exact status, one record with the name."""

    async def story() -> None:
        async with plant() as made, made.client(who) as client:
            held = {
                slot.point.path: slot.shown.value
                for slot in made.endpoint._space.slots.values()  # type: ignore[union-attr] # it is configured
                if slot.point.point not in {"heartbeat", "lease"}
            }
            assert await written(client, write) == [code]
            (record,) = await made.audits()
            assert (record.event_type, record.actor) == ("WRITE_REFUSED", f"certificate:{who}")
            assert (record.object_id, record.outcome) == (path, f"refused: {why}")
            assert record.source_address.startswith("127.0.0.1:")
            status = await made.status()
            assert (status.writes_refused, status.clients_refused) == (1, 0)
            assert status.told["connected"] == 1
            assert made.latches.held.active() == ()
            after = {path: made.endpoint._space.slots[path].shown.value for path in held}  # type: ignore[union-attr]
            assert after == held
            await made.actor.handle(Tick(what="flush"))
            assert not [told for _, told in made.ports.told if isinstance(told, SetMode)]
            assert not made.ports.told_to(SAFETY, FeedbackReceived)

    asyncio.run(story())


def test_each_refused_write_of_a_request_is_counted_and_the_others_are_taken() -> None:
    """OPC-2, SEC-5: item by item; of a flood three records a minute, the rest a count that the next one tells."""

    async def story() -> None:
        async with plant() as made, made.client("plc") as client:
            codes = await written(
                client,
                item(f"{P1}/wet_well_level", float("nan"), DOUBLE),
                item(f"{P1}/plc_heartbeat", 9, UINT16),
                item(f"{P1}/setpoint", 1.0, DOUBLE),
            )
            assert codes == ["BadOutOfRange", "Good", "BadNotWritable"]
            for _ in range(10):
                await written(client, item(f"{P1}/setpoint", 1.0, DOUBLE))
            outcomes = [each.outcome for each in await made.audits() if each.event_type == "WRITE_REFUSED"]
            assert outcomes == ["refused: out_of_range", "refused: read_only", "refused: read_only"]
            assert (await made.status()).writes_refused == 12
            await made.clock.advance(61.0)
            await written(client, item(f"{P1}/setpoint", 1.0, DOUBLE))
            last = [each for each in await made.audits() if each.event_type == "WRITE_REFUSED"][-1]
            assert last.after is not None
            assert last.after["suppressed_before"] == 9

    asyncio.run(story())


def text(value: str) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.String)


@pytest.mark.parametrize(
    ("who", "where", "method", "arguments", "code", "event"),
    [
        ("panel", P1, "types/PumpType/EmergencyStop", [text("why")], "BadUserAccessDenied",
         "EMERGENCY_STOP_REFUSED"),
        ("panel", "/north", "types/SiteType/AcknowledgeAlarm", [text("none"), text("")],
         "BadUserAccessDenied", "ALARM_ACKNOWLEDGE_REFUSED"),
        ("plc", "/north", "types/SiteType/AcknowledgeAlarm", [text("none"), text("")],
         "BadUserAccessDenied", "ALARM_ACKNOWLEDGE_REFUSED"),
        ("scada", "/north", "types/SiteType/AcknowledgeAlarm", [text("none"), text("")], "BadNotFound",
         "CLIENT_REFUSED"),
        ("scada", P1, "types/PumpType/EmergencyStop", [], "BadArgumentsMissing", "CLIENT_REFUSED"),
        ("scada", P1, "types/PumpType/EmergencyStop", [text("")], "BadInvalidArgument", "CLIENT_REFUSED"),
        ("scada", P1, "types/PumpType/ClearEmergencyStop",
         [ua.Variant(["none"], ua.VariantType.String, is_array=True), text("why")], "BadNotFound",
         "EMERGENCY_STOP_CLEAR_REFUSED"),
    ],
)  # fmt: skip
def test_a_call_that_is_refused_is_told_once_and_by_name(
    who: str, where: str, method: str, arguments: list[ua.Variant], code: str, event: str
) -> None:
    """OPC-3, SEC-5: by the desk where it was judged, as a refused client where it never got there; never both."""

    async def story() -> None:
        async with plant() as made, made.client(who) as client:
            request = ua.CallMethodRequest()
            request.ObjectId, request.MethodId, request.InputArguments = own(where), own(method), arguments
            (result,) = await client.uaclient.call([request])
            assert result.StatusCode.name == code
            (record,) = await made.audits()
            assert (record.event_type, record.actor) == (event, f"certificate:{who}")
            assert record.outcome.startswith("refused: ")
            assert made.latches.held.active() == ()

    asyncio.run(story())


def test_what_is_refused_after_the_channel_is_open_is_counted_and_audited() -> None:
    """SEC-5, OPC-5: limits and what a role may not see: an event each, with the name; and the endpoint's counts."""

    async def story() -> None:
        async with plant() as made, made.client("plc") as client:
            for _ in range(limits.SUBSCRIPTIONS_PER_SESSION_MAX):
                await client.create_subscription(100.0, None)
            with pytest.raises(ua.uaerrors.BadTooManySubscriptions):
                await client.create_subscription(100.0, None)
            read = ua.ReadParameters()
            read.NodesToRead = [ua.ReadValueId(own(f"{P1}/setpoint"), ua.AttributeIds.Value)] * 1_001
            with pytest.raises(ua.uaerrors.BadTooManyOperations):
                await client.uaclient.read(read)
            history = ua.HistoryReadParameters()
            history.HistoryReadDetails = ua.ReadRawModifiedDetails(
                IsReadModified=False, NumValuesPerNode=ua.Counter(1)
            )
            history.TimestampsToReturn = ua.TimestampsToReturn.Source
            history.ReleaseContinuationPoints = False
            history.NodesToRead = [ua.HistoryReadValueId(NodeId=own(f"{P1}/setpoint"))]
            (past,) = await client.uaclient.history_read(history)
            assert past.StatusCode.name == "BadUserAccessDenied"
            events = [(record.event_type, record.actor, record.outcome) for record in await made.audits()]
            plc = "certificate:plc"
            assert events == [
                ("RATE_LIMITED", plc, "refused: CreateSubscription: BadTooManySubscriptions"),
                ("RATE_LIMITED", plc, "refused: Read: BadTooManyOperations"),
                ("CLIENT_REFUSED", plc, "refused: HistoryRead: 1 of its operations: BadUserAccessDenied"),
            ]
            status = await made.status()
            assert (status.told["limited"], status.told["refused"], status.told["fault"]) == (2, 1, 2)
            assert status.security["RATE_LIMITED:refused"] == 2

    asyncio.run(story())
