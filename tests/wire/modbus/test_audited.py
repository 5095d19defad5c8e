"""The publisher behind a real Modbus endpoint: what clients do wrong is refused, changes nothing, and is audited.

The clock is the test's, the sockets are real; pumps and the alarm actor are played.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.messages import (
    AcknowledgeAlarm,
    Alarms,
    AlarmView,
    EndpointStatus,
    Epoch,
    FeedbackReceived,
    GetAlarms,
    GetEndpoint,
    SetMode,
    SetpointsDecided,
    Tick,
)
from actors.publisher.actor import PublisherActor
from actors.start import WorkerStart
from actors.vocabulary import Mode, Role, Scope, Settings, Severity
from actors.vocabulary.access import UserRole
from actors.vocabulary.ids import ALARM, endpoint_address, pump_address
from actors.vocabulary.records import AuditRecord
from protocols.modbus.clients import allow_list
from protocols.modbus.points import modbus_points
from protocols.modbus.server import ModbusAccess, ModbusEndpoint
from tests.simulation.fakes import FakeClock, FakeEpochStore, FakeLatchStore, FakePorts
from tests.unit.actors.publisher.test_actor import SITE, setpoint
from tests.wire.modbus.certificates import Pki, utf8
from tests.wire.modbus.served import Publisher, Raw, pdu, until

PLC, SCADA, PANEL, STRANGER = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.9"
ALLOW = allow_list(f"{PLC}=FIELD, {SCADA}=OPERATOR, {PANEL}=READ_ONLY")
SAFETY = "/sites/north/stations/s1/safety"
FLUSH = Tick(what="flush")
P1 = str(pump_address("north", "s1", "p1"))


class Plant:
    """One endpoint with its gate; pump p1 runs at 35 Hz in the mode that was decided last."""

    def __init__(self, access: ModbusAccess) -> None:
        self.clock = FakeClock()
        self.latches = FakeLatchStore()
        self.ports = FakePorts(str(endpoint_address("north", "modbus")), self.clock)
        self.endpoint = ModbusEndpoint("127.0.0.1", 0, access=access)
        start = WorkerStart(
            role=Role.MODBUS, address=self.ports.address, settings=Settings(data_dir="unused"), site=SITE
        )
        self.actor = PublisherActor(
            self.ports, start, self.endpoint, self.latches, FakeEpochStore(), modbus_points
        )
        # For the raw client, which asks a publisher where to connect.
        self.served = Publisher(self.endpoint)

    async def decide(self, sequence: int, mode: Mode) -> None:
        wish = msgspec.structs.replace(setpoint(sequence, self.clock.now()), mode=mode)
        await self.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(wish,)))

    async def audits(self) -> list[AuditRecord]:
        found: list[AuditRecord] = await self.ports.stored(AuditRecord)
        return found

    def asked(self, kind: type) -> list[Any]:
        return [message for _, message in self.ports.told if isinstance(message, kind)]


@asynccontextmanager
async def plant(access: ModbusAccess) -> AsyncIterator[Plant]:
    made = Plant(access)
    await made.actor.start()
    try:
        await made.decide(1, Mode.AUTO)
        for _ in range(60):
            await made.clock.advance(0.05)
        ports = 1 if access.tls is None else 2
        await until(lambda: made.endpoint.told["listening"] == ports, what="every port is open")
        await made.decide(2, Mode.AUTO)
        yield made
    finally:
        await made.actor.stop()
        await made.ports.end()


def alarm(alarm_id: str, subject: str, at: Any) -> AlarmView:
    return AlarmView(
        alarm_id=alarm_id, condition="dry", subject=subject, severity=Severity.HIGH, state="UNACKNOWLEDGED", text="",
        raised_at=at, returned_at=None, occurrences=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "unit", "request_pdu", "answer", "why", "path"),
    [
        (PANEL, 1, pdu(6, 121, 7), "86 01", "not_permitted", "/north/s1/p1/plc_heartbeat"),
        (PANEL, 1, pdu(5, 0, 0xFF00), "85 01", "not_permitted", "/north/s1/emergency_stop"),
        (PLC, 1, pdu(5, 100, 0xFF00), "85 01", "not_permitted", "/north/s1/p1/emergency_stop"),
        (PLC, 1, pdu(6, 141, 3000), "86 01", "not_permitted", "/north/s1/p1/setpoint_request"),
        (SCADA, 1, pdu(6, 121, 7), "86 01", "not_permitted", "/north/s1/p1/plc_heartbeat"),
        (PLC, 1, pdu(6, 103, 4000), "86 02", "read_only", "/north/s1/p1/setpoint"),
        (PLC, 9, pdu(6, 121, 7), "86 0b", "unknown_point", "/modbus/9/6"),
        (PLC, 1, pdu(6, 60_000, 7), "86 02", "unknown_point", "/modbus/1/6"),
        (PLC, 1, pdu(6, 120, 7), "86 03", "out_of_range", "/north/s1/p1/local_override"),
        (PLC, 1, pdu(6, 128, 7), "86 03", "out_of_range", "/north/s1/p1/wet_well_level"),
        (PLC, 1, pdu(16, 120, 0, data=b""), "90 03", "out_of_range", "/modbus/1/16"),
        (PLC, 1, struct.pack(">B4HB2H", 23, 100, 1, 103, 2, 4, 1, 2), "97 02", "read_only", "/north/s1/p1/setpoint"),
        (SCADA, 1, pdu(6, 141, 3000), "86 01", "invalid_state", "/north/s1/p1/setpoint_request"),
        (SCADA, 1, pdu(6, 140, 3), "86 03", "out_of_range", "/north/s1/p1/mode_request"),
        (SCADA, 1, pdu(16, 140, 2, data=struct.pack(">2H", 2, 10_001)), "90 03", "out_of_range",
         "/north/s1/p1/setpoint_request"),
    ],
)  # fmt: skip
def test_a_write_outside_the_rules_is_refused_audited_and_moves_nothing(
    source: str, unit: int, request_pdu: bytes, answer: str, why: str, path: str
) -> None:
    """MOD-3, SEC-2, SEC-5: READ_ONLY, forged units, read-only points, values out of range: exact code, one record."""

    async def story() -> None:
        async with plant(ModbusAccess(allow=ALLOW)) as made:
            client = await Raw.connect(made.served, source=source)
            before = await client.ask(pdu(3, 100, 50))
            assert (await client.ask(request_pdu, unit=unit)).hex(" ") == answer
            assert await client.ask(pdu(3, 100, 50)) == before
            (record,) = await made.audits()
            assert (record.event_type, record.object_id) == ("WRITE_REFUSED", path)
            assert record.outcome == f"refused: {why}"
            assert record.source_address.startswith(f"{source}:")
            status = await made.actor.handle(GetEndpoint())
            assert isinstance(status, EndpointStatus)
            assert status.writes_refused == 1
            assert status.told[f"exception_{answer[3:].upper()}"] == 1
            assert made.latches.held.active() == ()
            await made.actor.handle(FLUSH)
            assert not made.asked(SetMode)
            assert not made.ports.told_to(SAFETY, FeedbackReceived)
            await client.close()

    asyncio.run(story())


def test_a_flood_of_refusals_is_counted_whole_and_audited_sparingly() -> None:
    """SEC-5: three records a minute for each address, the rest as a count; the next minute tells it."""

    async def story() -> None:
        async with plant(ModbusAccess(allow=ALLOW)) as made:
            panel = await Raw.connect(made.served, source=PANEL)
            for _ in range(50):
                assert await panel.ask(pdu(6, 121, 7)) == b"\x86\x01"
            for _ in range(20):
                stranger = await Raw.connect(made.served, source=STRANGER)
                await stranger.ended()
                await stranger.close()
            kinds = [record.event_type for record in await made.audits()]
            assert kinds == ["WRITE_REFUSED"] * 3 + ["CLIENT_REFUSED"] * 3
            status = await made.actor.handle(GetEndpoint())
            assert isinstance(status, EndpointStatus)
            assert (status.writes_refused, status.told["exception_01"], status.told["refused"]) == (
                50,
                50,
                20,
            )
            await made.clock.advance(61.0)
            assert await panel.ask(pdu(6, 121, 7)) == b"\x86\x01"
            assert (await made.audits())[-1].after["suppressed_before"] == 47  # type: ignore[index] # a mapping
            await panel.close()

    asyncio.run(story())


def test_a_certificate_s_name_stands_in_every_record(tmp_path: Path) -> None:
    """SEC-2, SEC-5, EST-5: who stopped, commanded and was refused is told by the certificate, not by an address."""
    pki = Pki(tmp_path / "certs")

    async def story() -> None:
        async with plant(pki.access) as made:
            made.ports.answers[P1] = lambda _: None
            scada = await Raw.connect_tls(made.served, pki.client("scada", UserRole.OPERATOR))
            assert await scada.ask(pdu(5, 100, 0xFF00)) == pdu(5, 100, 0xFF00)
            assert await scada.ask(pdu(6, 121, 7)) == b"\x86\x01"
            (stop,) = made.latches.held.active()
            assert (stop.scope, stop.scope_id, stop.set_by) == (Scope.PUMP, "p1", "certificate:scada")
            await made.decide(3, Mode.AUTO)
            assert await scada.ask(pdu(5, 2_005, 0xFF00)) == b"\x85\x01", "p2's chain has not spoken"
            kinds = [(record.event_type, record.actor) for record in await made.audits()]
            assert kinds == [
                ("EMERGENCY_STOP_SET", "certificate:scada"), ("WRITE_REFUSED", "certificate:scada"),
                ("WRITE_REFUSED", "certificate:scada"),
            ]  # fmt: skip
            nobody = await Raw.connect_tls(made.served, pki.by_hand("nobody", role=utf8("GUEST")))
            assert await nobody.ask(pdu(3, 0, 1)) == b"\x83\x01"
            later = [record.event_type for record in await made.audits()][3:]
            assert later == ["CERTIFICATE_REJECTED", "CLIENT_REFUSED"]
            for client in (scada, nobody):
                await client.close()

    asyncio.run(story())


def test_what_operators_ask_for_goes_to_the_pump_and_alarms_to_their_actor() -> None:
    """MOD-2, CTL-7, ALM-1: a mode with its speed is one command; a coil acknowledges what stands at its object."""

    async def story() -> None:
        async with plant(ModbusAccess(allow=ALLOW)) as made:
            at = made.clock.now()
            told = Alarms(alarms=(alarm("a", "pump:p1", at), alarm("b", "station:s2", at)))
            made.ports.answers[str(ALARM)] = lambda message: told if isinstance(message, GetAlarms) else None
            made.ports.answers[P1] = lambda _: None
            scada = await Raw.connect(made.served, source=SCADA)
            asked = pdu(16, 140, 2, data=struct.pack(">2H", Mode.MANUAL, 3000))
            assert await scada.ask(asked) == pdu(16, 140, 2)
            (command,) = made.asked(SetMode)
            assert (command.mode, command.setpoint_hz, command.pump_id) == (Mode.MANUAL, 30.0, "p1")
            await made.decide(3, Mode.MANUAL)
            assert await scada.ask(pdu(6, 141, 3100)) == pdu(6, 141, 3100)
            assert made.asked(SetMode)[-1].setpoint_hz == 31.0
            assert made.asked(SetMode)[-1].only_in is Mode.MANUAL
            for _ in range(6):
                await made.clock.advance(1.0)
            assert await scada.ask(pdu(2, 10_014, 2)) == b"\x02\x01\x03"
            assert await scada.ask(pdu(5, 2, 0xFF00)) == pdu(5, 2, 0xFF00)
            assert [each.alarm_id for each in made.asked(AcknowledgeAlarm)] == ["a"]
            kinds = [record.event_type for record in await made.audits()]
            assert kinds == ["ALARM_ACKNOWLEDGED"], "a mode is recorded by the pump that takes it"
            assert command.source_address.startswith(SCADA)
            await scada.close()

    asyncio.run(story())


def test_a_read_modify_write_sees_the_write_before_it() -> None:
    """MOD-2, MOD-3: FC22 twice in one moment sets both bits; FC23 answers with what it wrote; other pumps too."""

    async def story() -> None:
        async with plant(ModbusAccess(allow=ALLOW)) as made:
            first = await Raw.connect(made.served, source=PLC)
            second = await Raw.connect(made.served, source=PLC)
            fault = 132
            assert await first.ask(pdu(3, fault, 1)) == b"\x03\x02\x00\x00"
            # AND mask keeps everything, OR mask sets one bit (FC22); the clock stands still all the while.
            assert await first.ask(pdu(22, fault, 0xFFFE, 0x0001)) == pdu(22, fault, 0xFFFE, 0x0001)
            assert await second.ask(pdu(22, fault, 0xFFFD, 0x0002)) == pdu(22, fault, 0xFFFD, 0x0002)
            assert await second.ask(pdu(3, fault, 1)) == b"\x03\x02\x00\x03"
            both = struct.pack(">B4HBH", 23, fault, 1, fault, 1, 2, 77)
            assert await first.ask(both) == b"\x17\x02\x00\x4d"
            other = struct.pack(">B4HBH", 23, fault + 50, 1, fault + 50, 1, 2, 78)
            assert await first.ask(other) == b"\x17\x02\x00\x4e"
            for client in (first, second):
                await client.close()

    asyncio.run(story())


def test_a_refused_read_write_is_audited_with_the_address_that_it_would_write() -> None:
    """SEC-5, MOD-3: FC23 names what it reads first."""

    async def story() -> None:
        async with plant(ModbusAccess(allow=ALLOW)) as made:
            client = await Raw.connect(made.served, source=PLC)
            refused = struct.pack(">B4HB2H", 23, 100, 1, 60_000, 2, 4, 1, 2)
            assert await client.ask(refused) == b"\x97\x02"
            (record,) = await made.audits()
            assert "60000" in str(record.after), record
            await client.close()

    asyncio.run(story())
