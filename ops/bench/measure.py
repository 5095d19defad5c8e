"""One bench run: the demo at two control rates, kills, memory, then the same work by bare Ray."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from actors.publisher.latency import summary_of
from actors.vocabulary import Address, Settings, UnavailableError
from ops.bench.bare import Crowd
from ops.bench.machine import facts
from ops.bench.processes import Memory, command_line, memory, processor_s, used_s
from ops.bench.program import Program, running, undisturbed
from ops.bench.recovery import RESOLUTION_S, Killer, Recovered, label_of, status_of, targets_of
from ops.bench.report import BARE, Latency, Report, Start, beside_bare, memory_of, recoveries_of
from ops.cli.exits import FAILED, ExitError
from ops.rundir import RunFile
from supervisors.process import SystemClock, descendants
from supervisors.ray_directory import RayDirectory
from supervisors.ray_session import connect
from supervisors.spec import Intensity

RATES_HZ: Final = (1.0, 10.0)
_SETTLE_S: Final = 5.0
_ENDPOINTS: Final = ("modbus", "opcua")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _ray(data_dir: Path, *, address: str | None, namespace: str) -> Iterator[None]:
    """Join the Ray at `address`, or start one; leave it or end it.

    Raises:
        ExitError: (1) Ray does not start, or nobody answers there.

    """
    session = None
    try:
        with undisturbed():
            session = connect(Settings(data_dir=str(data_dir)), address=address, namespace=namespace)
        yield
    except UnavailableError as error:
        raise ExitError(FAILED, f"bench: {error}") from error
    finally:
        if session is not None:
            with undisturbed():
                session.shutdown()


class Bench:
    """One bench run from its first process to its last."""

    def __init__(self, work_dir: Path, *, seconds: float, kills: int, config: Path | None) -> None:
        self._work_dir = work_dir
        self._seconds = seconds
        self._kills = kills
        self._config = config
        self._left: list[str] = []
        self._shortfalls: list[str] = []
        self._starts: list[Start] = []
        self._latencies: list[Latency] = []
        self._recovered: list[Recovered] = []
        self._memory: list[tuple[str, Memory]] = []
        self._bare_memory: list[Memory] = []
        self._bare_recoveries: list[float] = []
        self._pumps_of_stations: list[int] = []
        self._processes = 0

    def run(self) -> Report:
        """Measure everything.

        Raises:
            ExitError: (1) what is measured does not start or ends early.

        """
        machine = facts()
        for hz in RATES_HZ:
            self._demo(hz, with_kills=hz == RATES_HZ[0])
        self._bare()
        self._shortfalls += [f"left behind and killed: {line}" for line in self._left]
        return Report(
            machine=machine,
            seconds_per_rate=self._seconds,
            recovery_resolution_s=RESOLUTION_S,
            starts=tuple(self._starts),
            latencies=beside_bare(sorted(self._latencies, key=lambda each: each.hz)),
            recoveries=recoveries_of(self._recovered, self._bare_recoveries),
            memory=memory_of(self._memory, self._bare_memory),
            shortfalls=tuple(self._shortfalls),
        )

    # ------------------------------------------------------------------ the demo

    def _demo(self, hz: float, *, with_kills: bool) -> None:
        data_dir = self._work_dir / f"{hz:g}-hz"
        environment = {"CALEJO_CONTROL__PERIOD_S": f"{1.0 / hz:g}"}
        _say(f"starting the demo, its pumps at {hz:g} Hz")
        with running(
            data_dir, config=self._config, environment=environment, left_behind=self._left
        ) as program:
            ready_s = program.wait_ready()
            nodes = program.get("/api/v1/tree")
            self._processes = sum(node["kind"] == "process" for node in nodes)
            what = f"Calejo's demo at {hz:g} Hz, command to ready"
            self._starts.append(Start(what=what, processes=self._processes, took_s=ready_s))
            program.family.look()
            asyncio.run(self._joined(program, hz, with_kills=with_kills))

    async def _joined(self, program: Program, hz: float, *, with_kills: bool) -> None:
        """Measure as another client of the run's own Ray."""
        run = program.run_file()
        with _ray(program.data_dir, address=run.ray_address, namespace=run.namespace):
            directory = RayDirectory(run.namespace, SystemClock())
            await program.wait_settled()
            await self._latency(program, directory, hz)
            if with_kills:
                self._weigh(program)
                await self._kill(program, directory, run)

    async def _latency(self, program: Program, directory: RayDirectory, hz: float) -> None:
        await asyncio.sleep(_SETTLE_S)
        nodes = await asyncio.to_thread(program.get, "/api/v1/tree")
        pumps = Counter(node["address"].split("/")[4] for node in nodes if node["role"] == "pump")
        self._pumps_of_stations = list(pumps.values())
        _say(f"measuring {pumps.total()} pumps at {hz:g} Hz for {self._seconds:g} s")
        # The plant is no part of Calejo.
        family = [pid for pid in program.family.look() if "ops.demo" not in command_line(pid)]
        before = {pid: processor_s(pid) for pid in family}
        began_s = time.monotonic()
        await asyncio.sleep(self._seconds)
        took_s = time.monotonic() - began_s
        cores_used = used_s(before, family) / took_s
        for node in nodes:
            if node["role"] not in _ENDPOINTS:
                continue
            status = await status_of(directory, Address(node["address"]), latency_window_s=took_s)
            summary = None if status is None else status.proposal_to_wire
            if summary is None:
                self._shortfalls.append(f"no latency from {node['address']} at {hz:g} Hz")
            self._latencies.append(
                Latency(
                    where=f"Calejo, {node['role']}",
                    hz=hz,
                    pumps=pumps.total(),
                    summary=summary,
                    cores_used=cores_used,
                )
            )

    def _weigh(self, program: Program) -> None:
        """Note the memory of every process of the run, by what it is."""
        nodes = program.get("/api/v1/tree")
        labels = {
            node["pid"]: label_of(node["role"], node["address"]) for node in nodes if node["pid"] is not None
        }
        named = {pid: label for pid, label in labels.items() if memory(pid) is not None}
        others: dict[int, str] = {program.process.pid: "calejo run"}
        for pid in program.family.look():
            if pid not in named and "ops.demo" not in command_line(pid):
                others[pid] = "Ray's own processes"
        for pid, label in (*named.items(), *others.items()):
            found = memory(pid)
            if found is not None:
                self._memory.append((label, found))

    # ------------------------------------------------------------------ kills

    async def _kill(self, program: Program, directory: RayDirectory, run: RunFile) -> None:
        stations: dict[str, list[str]] = {}
        nodes = await asyncio.to_thread(program.get, "/api/v1/tree")
        for node in nodes:
            if node["role"] == "pump":
                _, _, _, _, station_id, _, pump_id = node["address"].split("/")
                stations.setdefault(station_id, []).append(pump_id)
        killer = Killer(directory, lambda station_id: stations.get(station_id, ()))
        kinds = targets_of(nodes, run)
        # Supervisors wait longer and longer before they start a child that fails again within this time; what is
        # measured is the restart, so no actor is killed twice within it.
        apart_s = Intensity().period_s + _SETTLE_S
        killed_at: dict[str, float] = {}
        for turn in range(self._kills):
            for label, targets in kinds.items():
                target = targets[turn % len(targets)]
                wait_s = killed_at.get(target.address, float("-inf")) + apart_s - time.monotonic()
                if wait_s > _SETTLE_S:
                    _say(f"waiting {wait_s:.0f} s: nobody is killed twice within {apart_s:g} s")
                await asyncio.sleep(max(0.0, wait_s))
                await program.wait_settled()
                killed_at[target.address] = time.monotonic()
                try:
                    recovered = await killer.kill(target)
                except TimeoutError:
                    self._shortfalls.append(f"{target.address} was not back after its kill ({label})")
                    continue
                _say(
                    f"killed {label} {target.address}: answers after {recovered.answers_s:.2f} s"
                    + ("" if recovered.serves_s is None else f", serves after {recovered.serves_s:.2f} s")
                )
                self._recovered.append(recovered)
                program.family.look()

    # ------------------------------------------------------------------ bare Ray

    def _bare(self) -> None:
        _say(f"starting {self._processes} bare Ray actors")
        began_s = time.monotonic()
        with _ray(self._work_dir, address=None, namespace="bare"):
            asyncio.run(self._bare_figures(time.monotonic() - began_s))

    async def _bare_figures(self, init_s: float) -> None:
        crowd = Crowd(self._processes)
        took_s = await crowd.start()
        self._starts.append(
            Start(
                what=f"{BARE}, ray.init and as many actors",
                processes=self._processes,
                took_s=init_s + took_s,
            )
        )
        for hz in RATES_HZ:
            _say(f"measuring bare Ray at {hz:g} Hz for {self._seconds:g} s")
            family = descendants(os.getpid())
            before = {pid: processor_s(pid) for pid in family}
            began_s = time.monotonic()
            samples = await crowd.chain(
                self._pumps_of_stations, sinks=len(_ENDPOINTS), hz=hz, seconds=self._seconds
            )
            self._latencies.append(
                Latency(
                    where=BARE,
                    hz=hz,
                    pumps=sum(self._pumps_of_stations),
                    summary=summary_of(samples),
                    cores_used=used_s(before, family) / (time.monotonic() - began_s),
                )
            )
        self._bare_memory = [found for pid in crowd.pids if (found := memory(pid)) is not None]
        _say("killing a bare Ray actor")
        self._bare_recoveries = await crowd.recoveries(max(5, self._kills))
