"""Kills one actor of each role and measures, over Ray and over the wire's ports, until its successor is there."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from ray.exceptions import RayError

from actors.messages import EndpointStatus, GetEndpoint, PublishedPump
from actors.runtime import Directory
from actors.vocabulary import Address, CalejoError, Role
from actors.vocabulary.ids import ROOT
from ops.bench.bare import boot_ns
from ops.rundir import RunFile
from supervisors.on_ray.directory import RayDirectory

_NS_PER_S: Final = 1_000_000_000
# How finely the moment of an answer is known; a ping under way answers at once.
RESOLUTION_S: Final = 0.005
_GATE_LOOK_S: Final = 0.05
RECOVER_WITHIN_S: Final = 30.0
_PING_DEADLINE_S: Final = 5.0


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to kill: `ports` are what it serves; `gate` shows the pumps that wait for it, by station or pump."""

    label: str
    address: Address
    ports: tuple[int, ...] = ()
    gate: Address | None = None
    station_id: str | None = None
    pump_id: str | None = None


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from SIGKILL until the successor answered as started, and until it did its work (None: not seen)."""

    label: str
    address: Address
    answers_s: float
    serves_s: float | None


def label_of(role: str, address: str) -> str:
    """Return the name of an actor's kind in the table."""
    if role != Role.SUPERVISOR.value:
        return role
    return "root" if address == ROOT else "site supervisor"


def targets_of(nodes: list[dict[str, Any]], run: RunFile) -> dict[str, list[Target]]:
    """Return whom to kill, by kind, with what each serves."""

    def port_of(url: str) -> int:
        return urlsplit(url if "://" in url else f"tcp://{url}").port or 0

    ports = {
        "modbus": (port_of(run.modbus),),
        "opcua": (port_of(run.opcua),),
        "api": (port_of(run.rest), port_of(run.health)),
    }
    kinds: dict[str, list[Target]] = {}
    for node in sorted(nodes, key=lambda each: each["address"]):
        if node["kind"] != "process" or node["state"] != "running":
            continue
        role, address = node["role"], node["address"]
        parts = address.split("/")
        watched = role in {"safety", "pump"}
        target = Target(
            label=label_of(role, address),
            address=Address(address),
            ports=ports.get(role, ()),
            gate=Address(f"/sites/{parts[2]}/endpoints/modbus") if watched else None,
            station_id=parts[4] if watched else None,
            pump_id=parts[6] if role == "pump" else None,
        )
        kinds.setdefault(target.label, []).append(target)
    return kinds


class Killer:
    """Joined to the run's own Ray."""

    def __init__(self, directory: RayDirectory, pumps_of: Callable[[str], Sequence[str]]) -> None:
        self._directory = directory
        self._pumps_of = pumps_of

    async def kill(self, target: Target) -> Recovered:
        """Kill and wait.

        Raises:
            TimeoutError: no successor within `RECOVER_WITHIN_S`, or there was nobody to kill.

        """
        async with asyncio.timeout(RECOVER_WITHIN_S):
            pid = await self._pid(target.address)
            before = await self._waiting(target)
            killed_ns = boot_ns()
            os.kill(pid, signal.SIGKILL)
            answered = asyncio.create_task(self._answered(target.address, pid))
            serves: Awaitable[int | None]
            if target.ports:
                serves = self._accepts(target.ports)
            elif before:
                serves = self._speaks(target, before, answered)
            else:
                serves = _nothing()
            try:
                answered_ns, serves_ns = await asyncio.gather(answered, serves)
            finally:
                answered.cancel()
        return Recovered(
            label=target.label,
            address=target.address,
            answers_s=(answered_ns - killed_ns) / _NS_PER_S,
            serves_s=None if serves_ns is None else (serves_ns - killed_ns) / _NS_PER_S,
        )

    async def _ping(self, address: Address) -> tuple[int | None, bool]:
        handle: Any = await self._directory.handle_of(address)
        if handle is None:
            return None, False
        try:
            async with asyncio.timeout(_PING_DEADLINE_S):
                stats = await handle.ping.remote()
        except (RayError, TimeoutError):
            return None, False
        return stats.pid, stats.started

    async def _pid(self, address: Address) -> int:
        while True:
            pid, started = await self._ping(address)
            if pid is not None and started:
                return pid
            await asyncio.sleep(RESOLUTION_S)

    async def _answered(self, address: Address, old_pid: int) -> int:
        while True:
            pid, started = await self._ping(address)
            if started and pid != old_pid:
                return boot_ns()
            await asyncio.sleep(RESOLUTION_S)

    async def _accepts(self, ports: Sequence[int]) -> int:
        """Wait until every port takes connections of the successor's.

        A killed process's socket takes connections until its last thread is gone: first it has to refuse one.
        """
        for port in ports:
            while await _connects(port):  # noqa: ASYNC110  (a port sends no event)
                await asyncio.sleep(RESOLUTION_S / 5)
        for port in ports:
            while not await _connects(port):  # noqa: ASYNC110
                await asyncio.sleep(RESOLUTION_S)
        return boot_ns()

    async def _waiting(self, target: Target) -> dict[str, PublishedPump]:
        """Return what the gate shows of the pumps that wait for the target."""
        if target.gate is None:
            return {}
        status = await status_of(self._directory, target.gate)
        wanted = {target.pump_id} if target.pump_id else set(self._pumps_of(target.station_id or ""))
        return {pump.pump_id: pump for pump in status.pumps if pump.pump_id in wanted} if status else {}

    async def _speaks(
        self, target: Target, before: dict[str, PublishedPump], answered: asyncio.Task[int]
    ) -> int:
        """Return when the gate took the successor's first word about each pump that waits (its own clock's word).

        A safety actor's successor is known by its epoch; a pump's by a tick later than its first answer.
        """
        by_epoch = target.pump_id is None
        answered_ns = 0 if by_epoch else await answered
        taken: dict[str, int] = {}
        while len(taken) < len(before):
            for pump_id, pump in (await self._waiting(target)).items():
                is_new = (
                    pump.epoch_counter > before[pump_id].epoch_counter
                    if by_epoch
                    else pump.heartbeat != before[pump_id].heartbeat
                    and pump.accepted_at is not None
                    and pump.accepted_at.boot_ns > answered_ns
                )
                if pump_id not in taken and is_new and pump.accepted_at is not None:
                    taken[pump_id] = pump.accepted_at.boot_ns
            await asyncio.sleep(_GATE_LOOK_S)
        return max(taken.values())


async def status_of(
    directory: Directory, endpoint: Address, *, latency_window_s: float = 60.0
) -> EndpointStatus | None:
    """Ask an endpoint how it stands; None when it does not answer."""
    try:
        status = await directory.ref(endpoint).ask(
            GetEndpoint(latency_window_s=latency_window_s), deadline_s=_PING_DEADLINE_S
        )
    except CalejoError:
        return None
    assert isinstance(status, EndpointStatus)
    return status


async def _connects(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _nothing() -> None:
    return None
