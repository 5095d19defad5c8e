"""One plant behind every wire at once: the same values with the same quality, whoever asks (issue 5, bullet 5).

Real servers and real clients: three publishers with Modbus, OPC UA and Sparkplug (a broker between) in front of them,
the intake of safety behind REST and the stream. A controller writes by Modbus alone; the clock is the test's.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.feedback import POINTS
from actors.messages import FeedbackReceived, Tick
from actors.publisher.actor import PublisherActor
from actors.publisher.feedback_board import RULES, SCADA_HEARTBEAT
from actors.safety.intake import Intake
from actors.start import WorkerStart
from actors.vocabulary import ControlSettings, Role, Settings
from actors.vocabulary.ids import endpoint_address
from protocols.modbus.points import STATES, modbus_points
from protocols.modbus.server import ModbusEndpoint
from protocols.opcua import OpcUaEndpoint
from protocols.points import opcua_points
from protocols.sparkplug.names import sparkplug_points
from protocols.sparkplug.schema import DataType
from tests.services import Mosquitto
from tests.simulation.fakes import FakeClock, FakeEpochStore, FakeLatchStore, FakePorts
from tests.unit.api.served import SAFETY_1, Served, decisions, served
from tests.unit.api.stream.clients import Sse
from tests.unit.protocols.plants import north
from tests.wire.modbus import served as modbus
from tests.wire.opcua import served as opcua
from tests.wire.opcua.standard_nodes import built_once
from tests.wire.sparkplug import served as sparkplug

pytestmark = [pytest.mark.wire, pytest.mark.services, pytest.mark.system("actors.publisher")]

CONTROL = ControlSettings(feedback_frozen_s=40.0)
P1 = "/north/s1/p1"
FIRST_INPUT, FIRST_STATE = 120, 10_000
FIELDS = {name: rule.field for name, rule in RULES.items() if name != SCADA_HEARTBEAT}
GOOD_BITS = {
    state.point.removeprefix("good_"): state.offset for state in STATES if state.point.startswith("good_")
}
Quality = str
Seen = dict[str, tuple[Any, Quality]]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


class Plant:
    """Three publishers and a safety's intake on one clock; what a controller writes reaches them all."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.clock = FakeClock()
        self.site = north()
        self.intake = Intake(self.site, "s1", since=self.clock.now(), control=CONTROL)
        self.node = sparkplug.Served(folder, broker.port)
        self.modbus = ModbusEndpoint("127.0.0.1", 0)
        self.opcua = OpcUaEndpoint("127.0.0.1", 0, rules=opcua.OPEN)
        self.ports: list[FakePorts] = []
        self.actors = [
            self._publisher(Role.MODBUS, "modbus", self.modbus, modbus_points),
            self._publisher(Role.OPCUA, "opcua", self.opcua, opcua_points),
            self._publisher(Role.SPARKPLUG, "sparkplug", self.node.endpoint, sparkplug_points),
        ]
        self.beat = 0

    def _publisher(self, role: Role, name: str, server: Any, points: Any) -> PublisherActor:
        ports = FakePorts(str(endpoint_address("north", name)), self.clock)
        self.ports.append(ports)
        settings = Settings(data_dir="unused", control=CONTROL)
        start = WorkerStart(role=role, address=ports.address, settings=settings, site=self.site)
        return PublisherActor(ports, start, server, FakeLatchStore(), FakeEpochStore(), points)

    async def write(
        self,
        raw: modbus.Raw,
        *,
        speed: int = 3_520,
        level: int = 1_234,
        echo: int = 3_500,
        beats: bool = True,
    ) -> None:
        """Write a whole report as a controller does, registers as they stand, and let everybody hear of it."""
        self.beat += beats
        report = struct.pack(">4H3i3H", 0, self.beat, echo, speed, 1_234, 5_678 + self.beat, level, 0, 1, 0)
        request = struct.pack(">B2HB", 16, FIRST_INPUT, 13, 26) + report
        assert (await raw.ask(request))[0] == 16
        await self.look()

    async def look(self) -> None:
        """Let a second of the plant's own beats pass: what was written is passed on, ages are judged."""
        await self.actors[0].handle(Tick(what="flush"))
        told = [message for _, message in self.ports[0].told if isinstance(message, FeedbackReceived)]
        self.ports[0].told.clear()
        for message in told[-1:]:
            self.intake.take_feedback(message, now=self.clock.now())
            for actor in self.actors[1:]:
                await actor.handle(message)
        self.intake.judged(now=self.clock.now())
        for actor in self.actors:
            await actor.handle(Tick(what="status"))


@asynccontextmanager
async def plant(folder: Path, broker: Mosquitto) -> AsyncIterator[Plant]:
    made = Plant(folder, broker)
    try:
        with built_once():
            for actor in made.actors:
                await actor.start()
            for _ in range(70):
                await made.clock.advance(0.05)
            await modbus.until(lambda: made.modbus.bound and made.opcua.bound, what="both ports are open")
        await modbus.until(lambda: made.node.endpoint.bound, what="the node is born")
        yield made
    finally:
        for actor in made.actors:
            await actor.stop()
        for ports in made.ports:
            await ports.end()


async def by_modbus(raw: modbus.Raw) -> Seen:
    words = struct.unpack(">13H", (await raw.ask(modbus.pdu(3, FIRST_INPUT, 13)))[2:])
    answer = (await raw.ask(modbus.pdu(2, FIRST_STATE, 32)))[2:]
    bits = int.from_bytes(answer, "little")

    def pair(first: int) -> int:
        return int(struct.unpack(">i", struct.pack(">2H", *words[first : first + 2]))[0])

    values = {
        "local_override": words[0], "plc_heartbeat": words[1], "setpoint_echo": words[2] * 0.01,
        "actual_speed": words[3] * 0.01, "actual_power": pair(4) * 0.01, "actual_flow": pair(6) * 0.01,
        "wet_well_level": pair(8) * 0.001, "high_float": words[10], "running": words[11], "fault_code": words[12],
    }  # fmt: skip
    return {
        name: (round(value, 6), "GOOD" if bits >> GOOD_BITS[name] & 1 else "BAD")
        for name, value in values.items()
    }


async def by_opcua(made: Plant) -> Seen:
    raw = await opcua.Raw.session_to(opcua.Publisher(made.opcua))
    read = await raw.read(*(f"{P1}/{name}" for name in FIELDS))
    await raw.close()
    return {
        name: (value, "GOOD" if status == "Good" else status[:3].upper())
        for name, (value, status) in zip(FIELDS, read, strict=True)
    }


def by_sparkplug(host: sparkplug.Listener) -> Seen:
    """Return what a host holds after all that it heard: births and data, values with their Quality property."""
    seen: Seen = {}
    for each in host.heard:
        for metric in each.payload.metrics:
            known = host._names.get(metric.alias or 0)
            if known is not None and known[0] == "s1.p1" and known[1] in FIELDS:
                code = next(prop.value for prop in metric.properties if prop.key == "Quality")
                seen[known[1]] = (metric.value, {192: "GOOD", 0: "BAD"}[int(str(code))])
    return seen


def by_rest(api: Served) -> Seen:
    shown = api.get("/api/v1/pumps/p1").json()["feedback"]
    return {name: (shown[field]["value"], shown[field]["quality"]) for name, field in FIELDS.items()}


def by_stream(api: Served) -> Seen:
    with Sse(api, "topics=feedback&pump_id=p1") as stream:
        (row,) = stream.first("snapshot").data["topics"]["feedback"]
    shown = row["values"]
    return {name: (shown[field]["value"], shown[field]["quality"]) for name, field in FIELDS.items()}


async def everywhere(made: Plant, raw: modbus.Raw, api: Served, host: sparkplug.Listener) -> dict[str, Seen]:
    """Return what every wire shows now, Sparkplug once its messages have arrived."""
    station = made.site.station("s1")
    assert station is not None
    judged = made.intake.judged(now=made.clock.now())
    api.tree.odd[SAFETY_1] = msgspec.structs.replace(decisions(station), feedback=judged)
    seen = {"modbus": await by_modbus(raw), "opcua": await by_opcua(made)}
    # A message to the broker and the stream's look of once a second need their moment.
    await modbus.until(
        lambda: same(by_sparkplug(host), seen["opcua"]), what="the host has heard it", deadline_s=20.0
    )
    seen["sparkplug"] = by_sparkplug(host)
    seen["rest"] = by_rest(api)
    await modbus.until(lambda: same(by_stream(api), seen["rest"]), what="the stream has looked")
    seen["stream"] = by_stream(api)
    return seen


def same(one: Seen, other: Seen) -> bool:
    """Whether two wires show the same, a value that nobody ever wrote aside: each has its own word for none."""
    return all(
        one.get(name, ("", ""))[1] == quality and (quality == "BAD" or one[name][0] == value)
        for name, (value, quality) in other.items()
    )


def agree(seen: dict[str, Seen], *bad: str, case: str) -> None:
    """Every wire has the same quality of every point, that of the case, and the same number of what was written."""
    for name in FIELDS:
        wanted = "BAD" if name in bad else "GOOD"
        assert {wire: held[name][1] for wire, held in seen.items()} == dict.fromkeys(seen, wanted), (
            case,
            name,
        )
        values = {wire: held[name][0] for wire, held in seen.items()}
        if case != "never":
            low, high = min(values.values()), max(values.values())
            assert high - low < 1e-6, (case, name, values)
        if case == "good" and name in {"running", "high_float", "local_override"}:
            truths = {wire: type(value) for wire, value in values.items() if wire != "modbus"}
            assert truths == dict.fromkeys(truths, bool), "what is yes or no is so everywhere"


def test_every_wire_tells_the_same_of_every_value(tmp_path: Path, mosquitto: Mosquitto, api: Served) -> None:
    """OPC-1, MOD-2, SPB-1, API-2, CTL-4: good, out of range, frozen, stale, never: one judgement on all five."""

    async def story() -> None:
        async with plant(tmp_path, mosquitto) as made, sparkplug.listener(mosquitto.port) as host:
            # Who listens late has missed the birth: a new one is asked for, as a host would.
            command = "spBv1.0/calejo/NCMD/north"
            await host.say(command, ("Node Control/Rebirth", DataType.BOOLEAN, True))
            await modbus.until(lambda: host.of("DBIRTH"), what="a birth")
            raw = await modbus.Raw.connect(modbus.Publisher(made.modbus))
            look: Callable[[], Any] = lambda: everywhere(made, raw, api, host)  # noqa: E731 - a verb of this story
            agree(await look(), *FIELDS, case="never")

            await made.clock.advance(1.0)
            await made.write(raw)
            seen = await look()
            agree(seen, case="good")
            assert seen["rest"]["actual_speed"] == (35.2, "GOOD")

            await made.clock.advance(1.0)
            await made.write(raw, speed=0xFFFF, level=2**31 - 1)
            seen = await look()
            agree(seen, "actual_speed", "wet_well_level", case="out of range")
            assert seen["opcua"]["actual_speed"][0] == 655.35, "the controller's own number stays visible"

            for second in range(60):
                await made.clock.advance(1.0)
                # The setpoint moves, the pump runs, and its speed is the same to the last bit; so is the level.
                await made.write(raw, echo=3_500 + 10 * second, beats=second < 45)
            agree(
                await look(), "actual_speed", "wet_well_level", "actual_power", "plc_heartbeat", case="frozen"
            )

            await made.clock.advance(CONTROL.feedback_stale_s + 1.0)
            await made.look()
            agree(await look(), *FIELDS, case="stale")
            stamped = api.get("/api/v1/pumps/p1").json()["feedback"]["actual_speed_hz"]["utc"]
            assert stamped is not None, "REST has the source time that OPC UA has"
            await raw.close()

    asyncio.run(story())


def test_the_points_of_the_wire_are_those_that_are_judged() -> None:
    """CTL-4: no point of the map is shown by a rule of its own."""
    assert set(FIELDS.values()) == set(POINTS)
    assert set(FIELDS) == set(GOOD_BITS)
