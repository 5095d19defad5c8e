"""The edge node as a host of others' make sees it: mqtt.js and sparkplug-payload, with the real publisher behind."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from actors.messages import Configure, Done, Epoch, SetMode, SetpointsDecided, Tick
from actors.publisher.actor import PublisherActor
from actors.start import WorkerStart
from actors.vocabulary import Instant, Mode, Quality, Reason, Role, Settings, SiteConfig
from actors.vocabulary.ids import endpoint_address, pump_address
from actors.vocabulary.settings import SparkplugSettings
from protocols.sparkplug.endpoint import SparkplugEndpoint
from protocols.sparkplug.names import Node, sparkplug_points
from storage.sparkplug import BacklogFile, BirthSequenceFile
from tests.services import Mosquitto
from tests.simulation.fakes import FakeClock, FakeEpochStore, FakeLatchStore, FakePorts
from tests.unit.actors.publisher.test_actor import SITE, setpoint
from tests.wire.sparkplug.served import DEADLINE_S, until

pytestmark = [pytest.mark.wire, pytest.mark.services]

COMMANDS: Final = "spBv1.0/calejo/DCMD/north/s1.p1"
PUMP: Final = str(pump_address("north", "s1", "p1"))


class Host:
    """The program of the peers' folder: JSON commands in, JSON answers out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        async with asyncio.timeout(DEADLINE_S):
            answer = json.loads(await self._process.stdout.readline())
        assert "error" not in answer, f"{command}: {answer}"
        return answer["result"]

    async def value(self, device: str, name: str) -> Any:
        node = await self.ask("node", name="north")
        return None if node is None else node["values"].get(device, {}).get(name, {}).get("value")

    async def until(self, device: str, name: str, wanted: object) -> None:
        seen: object = None
        try:
            async with asyncio.timeout(DEADLINE_S):
                while (seen := await self.value(device, name)) != wanted:
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"{device} {name}: {seen!r}, expected {wanted!r}") from None

    async def say(self, name: str, kind: str, value: object, **more: Any) -> None:
        metrics = [{"name": name, "type": kind, "value": value}]
        await self.ask("command", **{"topic": COMMANDS, "metrics": metrics, **more})


@asynccontextmanager
async def host_of(peers: Path, port: int) -> AsyncIterator[Host]:
    process = await asyncio.create_subprocess_exec(
        "node", "sparkplug/host.js", f"mqtt://127.0.0.1:{port}", "scada",
        cwd=peers, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, limit=1 << 24,
    )  # fmt: skip
    try:
        host = Host(process)
        assert await host.ask("hello") == "connected"
        yield host
        assert await host.ask("faults") == []
        await host.ask("bye")
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Gate:
    """The real publisher with the real endpoint; its clock and its neighbours are the test's."""

    def __init__(self, folder: Path, port: int) -> None:
        self.clock = FakeClock(Instant("boot-a", 1_000 * 10**9, time.time_ns()))
        self.ports = FakePorts(str(endpoint_address("north", "sparkplug")), self.clock)
        settings = SparkplugSettings(
            host="127.0.0.1", port=port, primary_host="scada", operator_commands=True
        )
        self.endpoint = SparkplugEndpoint(
            settings,
            Node("calejo", "north"),
            births=BirthSequenceFile(folder / "north.json"),
            history=BacklogFile(folder / "north.db", bytes_max=1 << 20, utc_second=lambda: 0),
            utc_ns=time.time_ns,
            chance=random.random,
        )
        start = WorkerStart(
            role=Role.SPARKPLUG,
            address=self.ports.address,
            settings=Settings(data_dir="unused", sparkplug=settings),
            site=SITE,
        )
        self.actor = PublisherActor(
            self.ports, start, self.endpoint, FakeLatchStore(), FakeEpochStore(), sparkplug_points
        )
        self.ports.answers[PUMP] = lambda message: Done()
        self._sequence = 0

    async def open(self) -> None:
        await self.actor.start()
        for _ in range(70):
            await self.clock.advance(0.05)

    async def decide(self, hz: float, *, mode: Mode = Mode.MANUAL, reason: Reason = Reason.MANUAL) -> None:
        await self.clock.advance(1.0)
        self._sequence += 1
        decided = msgspec.structs.replace(
            setpoint(self._sequence, self.clock.now(), hz=hz), mode=mode, reason=reason
        )
        await self.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(decided,)))

    async def tick(self, after_s: float = 0.0) -> None:
        await self.clock.advance(after_s)
        await self.actor.handle(Tick(what="refresh"))


def play(folder: Path, port: int, peers: Path, story: Callable[[Gate, Host], Awaitable[None]]) -> None:
    async def run() -> None:
        async with host_of(peers, port) as host:
            gate = Gate(folder, port)
            await gate.open()
            try:
                await until(lambda: gate.endpoint.bound, what="a session")
                await story(gate, host)
            finally:
                await gate.actor.stop()
                await gate.ports.end()

    asyncio.run(run())


def test_a_host_sees_devices_values_units_and_quality(
    tmp_path: Path, mosquitto: Mosquitto, sparkplug_host: Path
) -> None:
    """SPB-1: births, aliases, types and properties as another's library reads them."""

    async def story(gate: Gate, host: Host) -> None:
        await gate.decide(35.25)
        await host.until("s1.p1", "setpoint", 35.25)
        node = await host.ask("node", name="north")
        assert set(node["devices"]) == {"s1", "s1.p1", "s1.p2", "s2", "s2.q1"}
        shown = node["values"]["s1.p1"]
        assert shown["remote_enabled"]["value"] is True
        assert (shown["setpoint"]["quality"], shown["actual_speed"]["quality"]) == (192, 0)
        assert shown["actual_speed"]["value"] is None
        assert shown["epoch"]["value"] == 7
        properties = shown["setpoint"]["properties"]
        assert properties["engUnit"]["value"] == "Hz"
        assert (properties["engLow"]["value"], properties["engHigh"]["value"]) == (0, 50)
        assert (node["online"], node["bdSeq"]) == (True, 0)

    play(tmp_path, mosquitto.port, sparkplug_host, story)


def test_when_the_chain_dies_the_host_sees_it(
    tmp_path: Path, mosquitto: Mosquitto, sparkplug_host: Path
) -> None:
    """SAF-9: the lease runs out: remote_enabled 0, quality BAD, the failsafe image; three fresh setpoints return."""

    async def story(gate: Gate, host: Host) -> None:
        await gate.decide(35.0)
        await host.until("s1.p1", "remote_enabled", True)
        await gate.tick(10.1)
        await host.until("s1.p1", "remote_enabled", False)
        await host.until("s1.p1", "setpoint", 25.0)
        await host.until("s1.p1", "setpoint_quality", Quality.BAD.value)
        await host.until("s1.p1", "reason", Reason.LEASE_EXPIRED.value)
        node = await host.ask("node", name="north")
        assert node["values"]["s1.p1"]["setpoint"]["quality"] == 0
        assert node["online"] is True, "the node itself lives"
        for _ in range(3):
            await gate.decide(36.0)
        await host.until("s1.p1", "remote_enabled", True)

    play(tmp_path, mosquitto.port, sparkplug_host, story)


def test_a_host_stops_a_pump_and_cannot_clear_it(
    tmp_path: Path, mosquitto: Mosquitto, sparkplug_host: Path
) -> None:
    """EST-1, EST-5: set only: writing 0 clears nothing; shown and answered by metrics, with run_inhibit."""

    async def story(gate: Gate, host: Host) -> None:
        await gate.decide(35.0)
        await host.until("s1.p1", "setpoint", 35.0)
        await host.say("emergency_stop", "Boolean", True)
        await host.until("s1.p1", "emergency_stop", True)
        await host.until("s1.p1", "setpoint", 0.0)
        await host.until("s1.p1", "run_inhibit", True)
        await host.until("s1.p1", "command_result", "applied")
        await host.say("emergency_stop", "Boolean", False)
        await host.until("s1.p1", "command_result", "accepted")
        assert await host.value("s1.p1", "emergency_stop") is True
        assert await host.value("s1.p2", "emergency_stop") is False

    play(tmp_path, mosquitto.port, sparkplug_host, story)


def test_a_host_asks_for_a_speed_and_hears_what_became_of_it(
    tmp_path: Path, mosquitto: Mosquitto, sparkplug_host: Path
) -> None:
    """SPB-1: accepted, applied, clamped; in AUTO rejected; the speed itself comes from the chain alone."""

    async def story(gate: Gate, host: Host) -> None:
        await gate.decide(30.0, mode=Mode.AUTO, reason=Reason.PLAN)
        await host.until("s1.p1", "mode", Mode.AUTO.value)
        await host.say("setpoint_request", "Double", 41.0)
        await host.until("s1.p1", "command_result", "rejected")
        assert await host.value("s1.p1", "command_detail") == "invalid_state"
        await gate.decide(30.0)
        await host.until("s1.p1", "mode", Mode.MANUAL.value)
        await host.say("setpoint_request", "Double", 41.0)
        await host.until("s1.p1", "command_result", "accepted")
        (command,) = gate.ports.told_to(PUMP, SetMode)
        assert (command.setpoint_hz, command.only_in) == (41.0, Mode.MANUAL)
        assert await host.value("s1.p1", "setpoint") == 30.0
        for _ in range(2):
            await gate.decide(41.0)
        await host.until("s1.p1", "command_result", "applied")
        await host.say("setpoint_request", "Float", 60.5)
        await host.until("s1.p1", "command_result", "accepted")
        for _ in range(2):
            await gate.decide(50.0, reason=Reason.LIMITED)
        await host.until("s1.p1", "command_result", "clamped")
        assert await host.value("s1.p1", "command_detail") == "50.00 Hz: LIMITED"

    play(tmp_path, mosquitto.port, sparkplug_host, story)


def test_pumps_come_and_go_while_the_host_is_connected(
    tmp_path: Path, mosquitto: Mosquitto, sparkplug_host: Path
) -> None:
    """SPB-1, DAT-4: that device dies and is born; no other changes its name, alias or value."""

    async def story(gate: Gate, host: Host) -> None:
        await gate.decide(35.0)
        await host.until("s1.p1", "setpoint", 35.0)
        before = (await host.ask("node", name="north"))["aliases"]
        await host.ask("seen")
        first, second = SITE.stations
        less = msgspec.structs.replace(first, pumps=first.pumps[:1])
        await gate.actor.handle(Configure(site=SiteConfig(site_id="north", name="North", timezone="UTC",
                                                          stations=(less, second))))  # fmt: skip
        await device(host, "s1.p2", alive=False)
        await gate.actor.handle(Configure(site=SITE))
        await device(host, "s1.p2", alive=True)
        seen = await host.ask("seen")
        assert {each["device"] for each in seen if each.get("verb") in {"DBIRTH", "DDEATH"}} == {"s1.p2"}
        assert not [each for each in seen if each.get("verb") == "NBIRTH"]
        after = (await host.ask("node", name="north"))["aliases"]
        assert before.items() <= after.items()
        await gate.decide(36.0)
        await host.until("s1.p1", "setpoint", 36.0)

    async def device(host: Host, name: str, *, alive: bool) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while (await host.ask("node", name="north"))["devices"].get(name) is not alive:
                await asyncio.sleep(0.03)

    play(tmp_path, mosquitto.port, sparkplug_host, story)


def test_a_host_that_comes_late_asks_for_births(
    tmp_path: Path, mosquitto: Mosquitto, sparkplug_host: Path
) -> None:
    """SPB-1: met in the middle of its session, the node is born again on request, with everything that it shows."""

    async def story(gate: Gate, host: Host) -> None:
        await gate.decide(35.0)
        await host.until("s1.p1", "setpoint", 35.0)
        async with host_of(sparkplug_host, mosquitto.port) as late:
            await gate.decide(36.0)
            await late.until("s1.p1", "setpoint", 36.0)
            assert (await late.ask("node", name="north"))["bdSeq"] == 0
            assert set((await late.ask("node", name="north"))["devices"]) == {
                "s1",
                "s1.p1",
                "s1.p2",
                "s2",
                "s2.q1",
            }

    play(tmp_path, mosquitto.port, sparkplug_host, story)


def test_an_end_in_order_is_a_death(tmp_path: Path, mosquitto: Mosquitto, sparkplug_host: Path) -> None:
    """SPB-1: the host marks the node offline by the number of its birth."""

    async def story(gate: Gate, host: Host) -> None:
        await host.until("s1.p1", "setpoint", 0.0)
        await gate.actor.stop()
        async with asyncio.timeout(DEADLINE_S):
            while (await host.ask("node", name="north"))["online"]:
                await asyncio.sleep(0.03)

    play(tmp_path, mosquitto.port, sparkplug_host, story)
