"""Whom the bench kills: goal: one of each kind, known by its place in the tree, with what shows that it serves."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ops.bench.bare import boot_ns
from ops.bench.recovery import Killer, label_of, targets_of
from ops.ports import free_ports
from ops.rundir import RunFile
from supervisors.on_ray.directory import RayDirectory
from supervisors.process import SystemClock

RUN = RunFile(
    pid=1, started_at="", process_start_ticks=0, rest="http://127.0.0.1:8080", health="http://127.0.0.1:8081",
    opcua="opc.tcp://127.0.0.1:4840", modbus="127.0.0.1:5020", ray_address="", namespace="calejo",
)  # fmt: skip


def node(role: str, address: str, *, kind: str = "process", state: str = "running") -> dict[str, Any]:
    return {"role": role, "address": address, "kind": kind, "state": state}


def test_every_kind_is_a_target_and_groups_are_not() -> None:
    """OPS-5: root and site supervisor are told apart; a group has no process; who does not run is not killed."""
    targets = targets_of(
        [
            node("supervisor", "/"),
            node("supervisor", "/sites", kind="group"),
            node("supervisor", "/sites/demo"),
            node("pump", "/sites/demo/stations/hill/pumps/hill-2"),
            node("pump", "/sites/demo/stations/hill/pumps/hill-1"),
            node("safety", "/sites/demo/stations/hill/safety"),
            node("alarm", "/platform/alarm", state="quarantined"),
        ],
        RUN,
    )
    assert set(targets) == {"root", "site supervisor", "pump", "safety"}
    assert [each.pump_id for each in targets["pump"]] == ["hill-1", "hill-2"]
    (safety,) = targets["safety"]
    assert (safety.station_id, safety.pump_id) == ("hill", None)
    assert safety.gate == "/sites/demo/endpoints/modbus"


def test_what_has_a_port_is_watched_there() -> None:
    """OPS-5: an endpoint is back when its port takes connections, the API when both of its ports do."""
    targets = targets_of(
        [
            node("modbus", "/sites/demo/endpoints/modbus"),
            node("opcua", "/sites/demo/endpoints/opcua"),
            node("api", "/platform/api"),
            node("plan", "/sites/demo/stations/hill/plan"),
        ],
        RUN,
    )
    ports = {label: each[0].ports for label, each in targets.items()}
    assert ports == {"modbus": (5020,), "opcua": (4840,), "api": (8080, 8081), "plan": ()}
    assert all(each[0].gate is None for each in targets.values())


def test_supervisors_are_named_by_their_place() -> None:
    """OPS-5: two processes of one role are two lines of the table."""
    assert label_of("supervisor", "/") == "root"
    assert label_of("supervisor", "/sites/demo") == "site supervisor"
    assert label_of("watchdog", "/sites/demo/watchdog") == "watchdog"


def test_a_port_serves_again_only_after_it_was_gone() -> None:
    """OPS-5: a killed process's socket takes connections for some ms; those are not its successor's."""

    async def story() -> None:
        (port,) = free_ports(1)
        old = socket.create_server(("127.0.0.1", port))  # the kernel takes connections for it
        killer = Killer(RayDirectory("unused", SystemClock()), lambda _: ())
        serves = asyncio.create_task(killer._accepts((port,)))
        # Some looks at the old one.
        done, _ = await asyncio.wait({serves}, timeout=0.05)
        assert not done
        old.close()
        done, _ = await asyncio.wait({serves}, timeout=0.05)
        assert not done
        opened_ns = boot_ns()
        with socket.create_server(("127.0.0.1", port)):
            assert await asyncio.wait_for(serves, 5) >= opened_ns

    asyncio.run(story())
