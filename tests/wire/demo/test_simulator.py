"""The plant's real process against the real Modbus endpoint: obeys, reports, outlives, is taken up again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.vocabulary import Quality
from ops.demo.__main__ import main
from ops.demo.catalogue import demo_site
from ops.demo.files import holder
from ops.demo.launch import FOLDER, LOCKS, start_demo, stop_demo
from ops.demo.seed import DemoDatabase
from ops.demo.settings import DemoSettings
from ops.demo.truth import judge, read_log
from protocols.modbus.server import ModbusEndpoint
from protocols.points import PointValue, site_points
from storage.schema import upgrade
from storage.urls import sqlite_url
from tests.wire.modbus.served import Publisher, until

PUMP = "/demo/harbour/harbour-1"


class Calejo:
    """Stands in for gate and chain: every pump gets a fresh setpoint all the time."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.setpoint_hz = 20.0
        self.inhibited = False
        self.release_id = 1

    async def live(self) -> None:
        beat = 0
        while True:
            beat = (beat + 1) % 65536
            values: dict[str, float] = {}
            for station in demo_site().stations:
                for pump in station.pumps:
                    base = f"/demo/{station.station_id}/{pump.pump_id}/"
                    mine = pump.pump_id == "harbour-1"
                    fresh = {
                        "sequence": beat, "sequence_end": beat, "heartbeat": beat, "epoch": 9,
                        "remote_enabled": not (mine and self.inhibited),
                        "run_inhibit": mine and self.inhibited, "release_id": self.release_id,
                        "setpoint": self.setpoint_hz if mine and not self.inhibited else 0.0,
                        "setpoint_quality": 2,
                    }  # fmt: skip
                    values.update({base + name: value for name, value in fresh.items()})
            self.publisher.show(values)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def calejo(port: int = 0) -> AsyncIterator[tuple[Calejo, int]]:
    endpoint = ModbusEndpoint("127.0.0.1", port)
    publisher = Publisher(endpoint)
    await endpoint.configure(site_points(demo_site()))
    await endpoint.open(guard=publisher.guard, refresh=publisher.refresh, news=publisher.tell)
    chain = Calejo(publisher)
    living = asyncio.create_task(chain.live())
    try:
        yield chain, int(endpoint.bound.rpartition(":")[2])
    finally:
        living.cancel()
        await endpoint.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    upgrade(sqlite_url(tmp_path / "calejo.db"))
    yield tmp_path
    stop_demo(tmp_path)
    assert all(holder(tmp_path / FOLDER / lock) is None for lock in LOCKS.values())


def state(data_dir: Path) -> dict[str, Any]:
    try:
        shown: dict[str, Any] = json.loads((data_dir / FOLDER / "state.json").read_bytes())
    except FileNotFoundError:
        return {}
    return shown


def pump_of(data_dir: Path) -> dict[str, Any]:
    lines = state(data_dir).get("stations", [])
    pumps = [pump for line in lines for pump in line["pumps"] if pump["pump"] == "harbour-1"]
    return pumps[0] if pumps else {}


def shown(chain: Calejo, point: str) -> float:
    image = chain.publisher.endpoint._desk.image
    value: PointValue = image.value(f"{PUMP}/{point}")
    return float(value.value) if value.quality is Quality.GOOD else float("nan")


async def start(data_dir: Path, port: int) -> dict[str, int]:
    environment = {
        **os.environ, "CALEJODEMO_LOG_S": "0.1", "CALEJODEMO_RECONNECT_S": "0.1", "CALEJODEMO_WRITE_S": "0.3",
        "CALEJODEMO_REBOOT_S": "0.5", "CALEJODEMO_READ_S": "0.1",
    }  # fmt: skip
    return await asyncio.to_thread(
        start_demo, data_dir, modbus_host="127.0.0.1", modbus_port=port,
        database_url=sqlite_url(data_dir / "calejo.db"), environment=environment,
    )  # fmt: skip


async def sees(what: str, condition: Callable[[], bool]) -> None:
    await until(condition, what=what, deadline_s=30.0)


def test_the_plant_obeys_reports_survives_calejo_and_remembers_a_stop(data_dir: Path) -> None:
    """OPS-4, EST-6: the whole life of a plant, over Modbus TCP only."""
    DemoDatabase(sqlite_url(data_dir / "calejo.db"))

    async def story() -> None:
        async with calejo() as (chain, port):
            pids = await start(data_dir, port)
            await sees("the pump follows", lambda: shown(chain, "actual_speed") == 20.0)
            assert shown(chain, "setpoint_echo") == 20.0
            assert shown(chain, "running") == 1.0
            assert 0 < shown(chain, "actual_power") < 9.5
            assert 0.5 < shown(chain, "wet_well_level") < 2.5
            before = shown(chain, "plc_heartbeat")
            await sees("the controller's heartbeat moves", lambda: shown(chain, "plc_heartbeat") > before + 2)
            assert pump_of(data_dir)["source"] == "remote"
            told = state(data_dir)
            assert told["connected"] == {"harbour": True, "hill": True, "mill": True}
            assert told["heard_s_ago"] < 5
            assert {"level_m", "inflow_m3h", "outflow_m3h", "spilled_m3"} <= told["stations"][0].keys()
            assert {"speed_hz", "power_kw", "starts", "energy_kwh", "dry_run_s"} <= pump_of(data_dir).keys()
            chain.inhibited = True
            await sees("the stop arrives", lambda: pump_of(data_dir).get("inhibited") is True)
            await sees("the pump stands", lambda: shown(chain, "actual_speed") == 0.0)
        await sees("Calejo is missed", lambda: not any(state(data_dir)["connected"].values()))
        assert pump_of(data_dir)["inhibited"], "losing Calejo does not turn a stop into a start"
        # The plant itself is killed: its successor knows the stop, and goes on from the same water.
        level_m = state(data_dir)["stations"][0]["level_m"]
        os.kill(pids["plant"], signal.SIGKILL)
        async with calejo() as (chain, port):
            chain.inhibited = False
            await sees("the plant is gone", lambda: holder(data_dir / FOLDER / LOCKS["plant"]) is None)
            again = await start(data_dir, port)
            assert again["plant"] != pids["plant"]
            assert again["optimiser"] == pids["optimiser"]
            await sees("another Calejo is heard", lambda: shown(chain, "plc_heartbeat") > 2)
            assert state(data_dir)["stations"][0]["level_m"] == pytest.approx(level_m, abs=0.1)
            assert pump_of(data_dir)["inhibited"], "release_id has not risen"
            assert shown(chain, "actual_speed") == 0.0
            chain.release_id = 2
            await sees("the release lets go", lambda: shown(chain, "actual_speed") == 20.0)
            taken_up = await start(data_dir, port)
            assert taken_up == again, "a living plant is taken up, not doubled"

    asyncio.run(story())
    lines = [json.loads(line) for line in (data_dir / FOLDER / "truth.jsonl").read_text().splitlines()]
    assert {line["station"] for line in lines} == {"harbour", "hill", "mill"}
    verdicts = judge(read_log(data_dir / FOLDER))
    assert [verdict.worse for verdict in verdicts] == [()] * 3
    assert sum(verdict.run.starts for verdict in verdicts) > 0


def test_a_person_can_break_a_sensor_take_a_pump_by_hand_and_reboot(data_dir: Path) -> None:
    """OPS-4: faults to switch on, from the command line."""

    def command(*arguments: str) -> None:
        assert main([arguments[0], "--data-dir", str(data_dir), *arguments[1:]]) == 0

    async def story() -> None:
        async with calejo() as (chain, port):
            await start(data_dir, port)
            await sees("the pump follows", lambda: shown(chain, "actual_speed") == 20.0)
            command("hand", "harbour-1", "17.5")
            await sees("the panel has the pump", lambda: shown(chain, "local_override") == 1.0)
            await sees("at the panel's speed", lambda: shown(chain, "actual_speed") == 17.5)
            command("hand", "harbour-1", "auto")
            await sees("Calejo has it again", lambda: shown(chain, "actual_speed") == 20.0)
            command("sensor", "harbour", "failing_low")
            await sees("the fault", lambda: state(data_dir)["stations"][0]["sensor"] == "failing_low")
            await sees(
                "what is reported leaves the truth",
                lambda: shown(chain, "wet_well_level") < state(data_dir)["stations"][0]["level_m"] - 0.03,
            )
            beat = shown(chain, "plc_heartbeat")
            command("reboot", "harbour")
            await sees("the controller begins again", lambda: shown(chain, "plc_heartbeat") < beat)
            await sees("and obeys again", lambda: shown(chain, "actual_speed") == 20.0)
            command("state")

    asyncio.run(story())


def test_a_plant_left_alone_ends(data_dir: Path) -> None:
    """OPS-4: after 10 minutes without Calejo, here one second, and its optimiser with it."""
    assert DemoSettings().alone_s == 600.0

    async def story() -> None:
        environment = {**os.environ, "CALEJODEMO_ALONE_S": "1"}
        await asyncio.to_thread(
            start_demo, data_dir, modbus_host="127.0.0.1", modbus_port=9,
            database_url=sqlite_url(data_dir / "calejo.db"), environment=environment,
        )  # fmt: skip
        await sees("the plant ends", lambda: holder(data_dir / FOLDER / LOCKS["plant"]) is None)

    asyncio.run(story())
