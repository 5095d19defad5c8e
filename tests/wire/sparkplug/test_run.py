"""A whole run with a broker beside it: Calejo on Ray as a user starts it, its edge node as a host sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from protocols.sparkplug.schema import DataType
from tests.program import Program
from tests.services import Mosquitto
from tests.wire.sparkplug.served import Listener, listener, until

pytestmark = [pytest.mark.wire, pytest.mark.services, pytest.mark.ray, pytest.mark.chaos]

NODE = "/sites/demo/endpoints/sparkplug"
PUMP = "mill.mill-1"
COMMANDS = f"spBv1.0/calejo/DCMD/demo/{PUMP}"


PUMPS = {f"mill.mill-{n}" for n in (1, 2)} | {f"hill.hill-{n}" for n in (1, 2)}
PUMPS |= {f"harbour.harbour-{n}" for n in (1, 2, 3)}
DEVICES = PUMPS | {"mill", "hill", "harbour"}


def node_of(program: Program) -> dict[str, Any]:
    return program.tree().get(NODE, {})


def link_of(program: Program) -> dict[str, Any]:
    endpoint = program.get("/health/detail", port=program.health)["endpoints"].get(NODE, {})
    found: dict[str, Any] = {} if isinstance(endpoint, str) else endpoint.get("link") or {}
    return found


async def under_control(program: Program, host: Listener) -> None:
    await until(
        lambda: all(host.last(device, "remote_enabled") is True for device in PUMPS),
        within_s=60.0,
        what="every pump enabled on this wire",
    )


def published(program: Program, protocol: str) -> dict[str, Any]:
    pump = program.get("/api/v1/pumps/mill-1")
    found: list[dict[str, Any]] = [
        each for each in pump["published"] if each["endpoint"].endswith(f"/{protocol}")
    ]
    return found[0]


async def story(program: Program, broker: Mosquitto) -> None:
    async with listener(broker.port) as host:
        # A host that comes late asks for births, as the specification has it.
        await until(
            lambda: node_of(program).get("state") == "running", within_s=60.0, what="the node's process"
        )
        await until(lambda: link_of(program).get("session"), within_s=60.0, what="a session")
        await host.say("spBv1.0/calejo/NCMD/demo", ("Node Control/Rebirth", DataType.BOOLEAN, True))
        await until(lambda: {each.device for each in host.of("DBIRTH")} >= DEVICES, what="stations and pumps")
        await under_control(program, host)
        node = node_of(program)
        assert (node["role"], node["state"]) == ("sparkplug", "running")

        # An operator's speed goes through pump and kernel, and its answer comes from the gate.
        await host.say(
            COMMANDS, ("mode_request", DataType.UINT16, 2), ("setpoint_request", DataType.DOUBLE, 31.0)
        )
        results = ("accepted", "applied", "clamped")
        await until(lambda: host.last(PUMP, "command_result") in results, what="an answer")
        await until(
            lambda: host.last(PUMP, "command_result") in {"applied", "clamped"}, within_s=60.0, what="its end"
        )
        assert host.last(PUMP, "mode") == 2
        assert program.get("/api/v1/pumps/mill-1")["mode"] == "MANUAL"

        # Killed: dead at once for every host, born again by its supervisor; no other wire notices.
        lapses, births = published(program, "modbus")["lapses"], len(host.of("NBIRTH"))
        killed_s = time.monotonic()
        os.kill(node["pid"], signal.SIGKILL)
        await until(lambda: host.of("NDEATH"), within_s=5.0, what="the death")
        assert host.of("NDEATH")[0].at_s - killed_s < 1.0
        await until(lambda: len(host.of("NBIRTH")) == births + 1, what="the birth of the next")
        assert host.of("NBIRTH")[-1].at_s - killed_s < 3.0
        numbers = [
            metric.value
            for each in host.of("NBIRTH")
            for metric in each.payload.metrics
            if metric.name == "bdSeq"
        ]
        assert numbers == [0] * births + [1]
        assert published(program, "modbus")["lapses"] == lapses
        await under_control(program, host)

        # A stop from a host is on every wire.
        await host.say(COMMANDS, ("emergency_stop", DataType.BOOLEAN, True))
        await until(
            lambda: host.last(PUMP, "run_inhibit") is True, within_s=2.0, what="the stop on this wire"
        )
        await until(
            lambda: published(program, "modbus")["run_inhibit"], within_s=2.0, what="the stop on Modbus"
        )
        (stop,) = program.get("/api/v1/emergency-stops")
        assert stop["set_by"].startswith("sparkplug:127.0.0.1")

    # Without a broker the plant is controlled as before, and ready; with it, hosts see it again.
    broker.kill()
    await until(lambda: not link_of(program)["session"])
    assert program.get("/health/ready", port=program.health)["ready"] is True
    assert published(program, "modbus")["lapses"] == lapses
    broker.start()
    async with listener(broker.port) as host:
        await until(lambda: link_of(program)["session"], within_s=60.0, what="the broker that is back")
        assert await asyncio.to_thread(program.stop) == 0
        await until(lambda: host.of("NDEATH"), what="the death of an end in order")


@pytest.mark.timeout(300)
def test_a_run_with_a_broker(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SPB-1, SUP-1, SUP-8, EST-1: commands, a kill, a stop and a broker that goes, on Ray with forked workers."""
    program = Program(
        tmp_path / "data",
        "--demo",
        environment={
            "CALEJO_SPARKPLUG__HOST": "127.0.0.1",
            "CALEJO_SPARKPLUG__PORT": str(mosquitto.port),
            "CALEJO_SPARKPLUG__OPERATOR_COMMANDS": "true",
        },
    )
    try:
        program.start().wait_ready()
        asyncio.run(story(program, mosquitto))
    finally:
        program.stop()
