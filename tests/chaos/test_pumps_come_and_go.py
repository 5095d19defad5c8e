"""A pump is added and one removed by SQL while clients of three makes are connected: nobody else notices (issue 5)."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.conftest import until_enabled
from tests.chaos.figures import keep
from tests.chaos.sql import Sql, sql_of
from tests.program import Program, until
from tests.services import Mosquitto
from tests.wire.opcua.served import NodeClient, node_client
from tests.wire.sparkplug.test_host import Host, host_of

pytestmark = [pytest.mark.chaos, pytest.mark.services, pytest.mark.timeout(300)]

ADDED = "wires_added_1"
GAP_S_MAX = 4.0
"""Heartbeats come once a second; a reconfiguration may cost a client some of them, never its connection."""
SHOWN_WITHIN_S = 30.0
BLOCK_REGISTERS = 13


@pytest.fixture
def program(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Program]:
    """A demo that is on a broker, too."""
    broker = {"CALEJO_SPARKPLUG__HOST": "127.0.0.1", "CALEJO_SPARKPLUG__PORT": str(mosquitto.port)}
    made = Program(tmp_path / "data", "--demo", environment=broker)
    try:
        made.start().wait_ready()
        until_enabled(made)
        yield made
    finally:
        code = made.stop()
    assert code == 0, made.output[-20:]


class Poller:
    """mbpoll, reading one pump's block five times a second on one connection until it is ended."""

    def __init__(self, mbpoll: Path, program: Program, place: dict[str, Any], folder: Path) -> None:
        self._log = folder / "mbpoll.txt"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                ["stdbuf", "-oL", mbpoll, "-m", "tcp", "-p", str(program.modbus), "-a", str(place["unit_id"]), "-0",
                 "-t", "4", "-r", str(place["address"]), "-c", str(BLOCK_REGISTERS), "-l", "200", "127.0.0.1"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._heartbeat = place["address"] + 5

    @property
    def beats(self) -> list[str]:
        """Every heartbeat read so far."""
        return re.findall(rf"^\[{self._heartbeat}\]:\s*(\S+)", self._log.read_text(), re.MULTILINE)

    @property
    def failures(self) -> list[str]:
        return [line for line in self._log.read_text().splitlines() if "failed" in line.lower()]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)


def once(mbpoll: Path, program: Program, place: dict[str, Any]) -> str:
    """Read one block with another connection; return what mbpoll says."""
    done = subprocess.run(
        [mbpoll, "-m", "tcp", "-p", str(program.modbus), "-a", str(place["unit_id"]), "-0", "-1", "-t", "4",
         "-r", str(place["address"]), "-c", str(BLOCK_REGISTERS), "127.0.0.1"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def tags_of(program: Program) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the map by protocol and path, as REST tells it."""
    return {(row["protocol"], row["path"]): row for row in program.get("/api/v1/tags")}


def block_of(tags: dict[tuple[str, str], dict[str, Any]], pump_id: str) -> dict[str, Any]:
    return next(
        row for (protocol, _), row in tags.items()
        if protocol == "modbus" and row["pump_id"] == pump_id and row["point"] == "sequence"
    )  # fmt: skip


def node_of(tags: dict[tuple[str, str], dict[str, Any]], pump_id: str, point: str) -> str:
    return next(
        str(row["node_id"]) for (protocol, _), row in tags.items()
        if protocol == "opcua" and row["pump_id"] == pump_id and row["point"] == point
    )  # fmt: skip


def add_pump(sql: Sql, like: str) -> None:
    """Insert a pump with its envelope and approved limits, all as those of another one; the database gives the slot."""
    copied = (
        "station_id, control_type, default_setpoint_hz, failsafe_strategy, control_parameters, rated_power_kw,"
        " rated_flow_m3h"
    )
    newest = "version = (SELECT max(version) FROM pump_safety_limits WHERE pump_id = ?)"

    def columns(table: str) -> str:
        names = [row[0] for row in sql.run(f"SELECT name FROM pragma_table_info('{table}')")]
        return ", ".join(name for name in names if name != "pump_id")

    bounds, limits = columns("pump_commissioning_envelopes"), columns("pump_safety_limits")
    of_limits = f"FROM pump_safety_limits WHERE pump_id = ? AND {newest}"
    of_bounds = "FROM pump_commissioning_envelopes WHERE pump_id = ?"
    pump = f"INSERT INTO pumps (pump_id, name, {copied}) SELECT ?, ?, {copied} FROM pumps WHERE pump_id = ?"
    envelope = f"INSERT INTO pump_commissioning_envelopes (pump_id, {bounds}) SELECT ?, {bounds} {of_bounds}"
    limit = f"INSERT INTO pump_safety_limits (pump_id, {limits}) SELECT ?, {limits} {of_limits}"
    sql.transact([(pump, (ADDED, "Added", like)), (envelope, (ADDED, like)), (limit, (ADDED, like, like))])


async def shown(condition: Callable[[], Awaitable[bool]], what: str) -> float:
    """Wait for a condition; return how long it took (s)."""
    began_s = time.monotonic()
    while not await condition():
        assert time.monotonic() - began_s < SHOWN_WITHIN_S, f"not within {SHOWN_WITHIN_S:g} s: {what}"
        await asyncio.sleep(0.1)
    return time.monotonic() - began_s


class Watch:
    """The three clients that were there before, each of them on a pump that stays."""

    def __init__(self, poller: Poller, opcua: NodeClient, host: Host, stays: str) -> None:
        self.poller, self.opcua, self.host = poller, opcua, host
        self.device = stays
        self.heard_s: list[float] = []
        self.verbs: list[tuple[str, str | None]] = []

    async def collect(self) -> None:
        """Take what was heard since the last look."""
        if sum(len(each) for each in await self.opcua.ask("notifications")):
            self.heard_s.append(time.monotonic())
        self.verbs += [
            (each["verb"], each["device"]) for each in await self.host.ask("seen") if "verb" in each
        ]

    @property
    def gap_s(self) -> float:
        """The longest time between two notifications."""
        return max(later - earlier for earlier, later in zip(self.heard_s, self.heard_s[1:], strict=False))

    async def go_on(self) -> None:
        """Every client hears of its pump again, on the connection that it had."""
        beats, told = len(self.poller.beats), len(self.heard_s)
        data = self.verbs.count(("DDATA", self.device))

        async def heard() -> bool:
            await self.collect()
            return (
                len(self.poller.beats) >= beats + 10
                and len(self.heard_s) >= told + 2
                and self.verbs.count(("DDATA", self.device)) > data
            )

        await shown(heard, "all three clients go on")
        assert self.poller.process.poll() is None
        assert self.poller.failures == []
        assert len(set(self.poller.beats[-10:])) > 1, "the chain behind it lives"


def test_a_pump_comes_and_one_goes_while_clients_are_connected(
    program: Program,
    mosquitto: Mosquitto,
    mbpoll: Path,
    node_opcua: Path,
    sparkplug_host: Path,
    tmp_path: Path,
) -> None:
    """OPC-1, MOD-2, SPB-1, DAT-4: by SQL; no address of another changes, no connection and no subscription ends."""
    sql = sql_of(program)
    before = tags_of(program)
    pumps = sql.run("SELECT pump_id, station_id FROM pumps ORDER BY station_id, pump_id")
    (stays, station_id), (goes, of_station) = pumps[0], pumps[1]
    assert station_id == of_station, "the demo's first station has two pumps"
    poller = Poller(mbpoll, program, block_of(before, stays), tmp_path)

    def rediscover() -> None:
        program.request("POST", "/api/v1/discovery")

    async def story() -> None:
        url = SimpleNamespace(endpoint=SimpleNamespace(bound=f"opc.tcp://127.0.0.1:{program.opcua}"))
        publisher: Any = url
        async with (
            node_client(node_opcua, publisher) as opcua,
            host_of(sparkplug_host, mosquitto.port) as host,
        ):
            beat = node_of(before, stays, "heartbeat")
            assert await opcua.ask("subscribe", nodes=[beat], interval=100) == ["Good"]
            watch = Watch(poller, opcua, host, f"{station_id}.{stays}")
            node_id = before["modbus", next(path for protocol, path in before if protocol == "modbus")][
                "site_id"
            ]

            async def device(name: str) -> bool | None:
                node = await host.ask("node", name=node_id)
                return None if node is None else node["devices"].get(name)

            async def born() -> bool:
                return await device(watch.device) is True

            await shown(born, "the host knows the node")
            await watch.go_on()
            watch.verbs.clear()

            # ------------------------------------------------------------- one comes
            add_pump(sql, like=stays)
            rediscover()
            now: dict[tuple[str, str], dict[str, Any]] = {}

            async def on_map() -> bool:
                now.update(tags_of(program))
                return any(row["pump_id"] == ADDED for row in now.values())

            keep(
                "DAT-4 a pump by SQL", "on the map after (s)", await shown(on_map, "the new pump on the map")
            )
            changed = {key: (row, now.get(key)) for key, row in before.items() if now.get(key) != row}
            assert changed == {}, "an address of another pump changed"
            added = block_of(now, ADDED)

            async def by_modbus() -> bool:
                return f"[{added['address']}]:" in await asyncio.to_thread(once, mbpoll, program, added)

            async def by_opcua() -> bool:
                (read,) = await opcua.ask("read", nodes=[node_of(now, ADDED, "setpoint")])
                return str(read["status"]) != "BadNodeIdUnknown"

            async def by_sparkplug() -> bool:
                return await device(f"{station_id}.{ADDED}") is True

            for name, condition in (("Modbus", by_modbus), ("OPC UA", by_opcua), ("Sparkplug", by_sparkplug)):
                keep("DAT-4 a pump by SQL", f"read by {name} after (s)", await shown(condition, name))
            await watch.go_on()

            # ------------------------------------------------------------- one goes
            sql.run("UPDATE pumps SET active = 0 WHERE pump_id = ?", goes)
            rediscover()
            gone = block_of(before, goes)

            async def not_by_modbus() -> bool:
                return "Illegal data address" in await asyncio.to_thread(once, mbpoll, program, gone)

            async def not_by_opcua() -> bool:
                (read,) = await opcua.ask("read", nodes=[node_of(before, goes, "setpoint")])
                return str(read["status"]) == "BadNodeIdUnknown"

            async def not_by_sparkplug() -> bool:
                return await device(f"{station_id}.{goes}") is False

            for name, condition in (
                ("Modbus", not_by_modbus),
                ("OPC UA", not_by_opcua),
                ("Sparkplug", not_by_sparkplug),
            ):
                keep(
                    "DAT-4 a pump by SQL",
                    f"gone from {name} after (s)",
                    await shown(condition, f"{name} gone"),
                )
            left = tags_of(program)
            moved = {
                key: (row, left.get(key))
                for key, row in now.items()
                if row["pump_id"] != goes and left.get(key) != row
            }
            assert moved == {}, "an address of another pump changed"
            await watch.go_on()

            births = [each for each in watch.verbs if each[0] in {"NBIRTH", "NDEATH", "DBIRTH", "DDEATH"}]
            assert births == [("DBIRTH", f"{station_id}.{ADDED}"), ("DDEATH", f"{station_id}.{goes}")]
            keep("DAT-4 a pump by SQL", "longest silence of an OPC UA subscription (s)", watch.gap_s)
            keep("DAT-4 a pump by SQL", "blocks read by mbpoll, none refused", len(poller.beats))
            assert watch.gap_s < GAP_S_MAX

    try:
        asyncio.run(story())
    finally:
        poller.end()
    until(lambda: poller.process.poll() is not None, within_s=10, what="mbpoll's end")
