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
from actors.vocabulary import Address, DeviceError, Settings, UnavailableError
from actors.vocabulary.settings import RuntimeSettings
from ops.bench import kernel, modbus, opcua, stops
from ops.bench.bare import Crowd
from ops.bench.machine import facts
from ops.bench.processes import Memory, command_line, memory, processor_s, used_s
from ops.bench.program import Program, running, undisturbed
from ops.bench.recovery import RESOLUTION_S, Killer, Recovered, label_of, status_of, targets_of
from ops.bench.report import (
    BARE,
    Births,
    Latency,
    LawReport,
    Report,
    Start,
    StopTime,
    beside_bare,
    beside_cold,
    memory_of,
    recoveries_of,
)
from ops.cli.client import credentials
from ops.cli.exits import FAILED, ExitError
from ops.rundir import RunFile
from supervisors.on_ray.directory import RayDirectory
from supervisors.on_ray.session import connect
from supervisors.process import SystemClock, descendants
from supervisors.spec import Intensity

RATES_HZ: Final = (1.0, 10.0)
_SETTLE_S: Final = 5.0
_IDLE_S: Final = 20.0
# At the quick rate nothing is learnt from a long look; a long one at 1 Hz shows how memory grows.
_QUICK_S_MAX: Final = 60.0
_ENDPOINTS: Final = ("modbus", "opcua")
# Of the kernel's own time, for each size of station and each kind of day.
KERNEL_S: Final = 2.0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def joined(data_dir: Path, *, address: str | None, namespace: str, forked: bool = False) -> Iterator[None]:
    """Join the Ray at `address`, or start one; leave it or end it.

    Raises:
        ExitError: (1) Ray does not start, or nobody answers there.

    """
    session = None
    try:
        with undisturbed():
            settings = Settings(data_dir=str(data_dir), runtime=RuntimeSettings(forked_workers=forked))
            session = connect(settings, address=address, namespace=namespace)
        yield
    except UnavailableError as error:
        raise ExitError(FAILED, f"bench: {error}") from error
    finally:
        if session is not None:
            with undisturbed():
                session.shutdown()


class Bench:
    """One bench run from its first process to its last."""

    def __init__(
        self, work_dir: Path, *, seconds: float, kills: int, stop_count: int = 0, config: Path | None
    ) -> None:
        self._work_dir = work_dir
        self._seconds = seconds
        self._kills = kills
        self._stop_count = stop_count
        self._stops: tuple[StopTime, ...] = ()
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
        self._births = {True: Births(), False: Births()}
        self._forked = True

    def run(self) -> Report:
        """Measure everything.

        Raises:
            ExitError: (1) what is measured does not start or ends early.

        """
        machine = facts()
        for hz in RATES_HZ:
            self._demo(hz, with_kills=hz == RATES_HZ[0])
        self._forked = False
        self._demo(RATES_HZ[0], with_kills=True)
        self._bare()
        self._bare_forked()
        figures, opcua_figures = self._modbus(), self._opcua()
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
            births=beside_cold(self._births[True], self._births[False], seconds=self._seconds),
            kernel=kernel.measure(seconds=KERNEL_S),
            stops=self._stops,
            modbus=figures,
            opcua=opcua_figures,
        )

    def _modbus(self) -> modbus.ModbusFigures | None:
        """Measure Modbus beside pymodbus's own server; what goes wrong is a shortfall."""
        _say(f"asking two Modbus servers for {self._seconds:g} s each, by {modbus.CLIENTS} clients")
        try:
            return modbus.measure(seconds=self._seconds)
        except DeviceError as error:
            self._shortfalls.append(str(error))
            return None

    def _opcua(self) -> opcua.OpcUaFigures | None:
        """Measure OPC UA beside bare asyncua; what goes wrong is a shortfall."""
        _say(f"asking two OPC UA servers, {self._seconds:g} s for each figure")
        try:
            return opcua.measure(self._work_dir, pumps=opcua.PUMPS_DEFAULT, seconds=self._seconds)
        except DeviceError as error:
            self._shortfalls.append(str(error))
            return None

    def run_law(self, only: str) -> LawReport:
        """Measure the kernel alone, stops alone, or Modbus alone.

        Raises:
            ExitError: (1) the demo does not start, or ends early.

        """
        machine = facts()
        if only == "kernel":
            return LawReport(machine=machine, kernel=kernel.measure(seconds=KERNEL_S))
        if only == "modbus":
            try:
                return LawReport(machine=machine, modbus=modbus.measure(seconds=self._seconds))
            except DeviceError as error:
                raise ExitError(FAILED, str(error)) from error
        _say("starting the demo")
        with running(
            self._work_dir / "stops", config=self._config, environment={}, left_behind=self._left
        ) as program:
            program.wait_ready()
            asyncio.run(self._after_settling(program))
        for line in self._left:
            _say(f"left behind and killed: {line}")
        return LawReport(machine=machine, stops=self._stops)

    async def _after_settling(self, program: Program) -> None:
        await program.wait_settled()
        await self._measure_stops(program)

    async def _measure_stops(self, program: Program) -> None:
        """Stop the demo's site again and again, as clients do.

        Raises:
            ExitError: (1) an endpoint did not show a stop, or did not answer.

        """
        if not self._stop_count:
            return
        _say(f"stopping every pump {self._stop_count} times by each way")
        rows = await asyncio.to_thread(program.get, "/api/v1/tags")
        try:
            self._stops = await stops.measure(
                program.run_file(), rows, count=self._stop_count, headers=credentials(program.data_dir)
            )
        except DeviceError as error:
            raise program.failed(str(error)) from error

    # ------------------------------------------------------------------ the demo

    def _demo(self, hz: float, *, with_kills: bool) -> None:
        how = "forked" if self._forked else "cold"
        data_dir = self._work_dir / f"{hz:g}-hz-{how}"
        environment = {
            "CALEJO_CONTROL__PERIOD_S": f"{1.0 / hz:g}",
            "CALEJO_RUNTIME__FORKED_WORKERS": str(self._forked).lower(),
        }
        _say(f"starting the demo, its pumps at {hz:g} Hz, its processes {how}")
        with running(
            data_dir, config=self._config, environment=environment, left_behind=self._left
        ) as program:
            ready_s = program.wait_ready()
            nodes = program.get("/api/v1/tree")
            self._processes = sum(node["kind"] == "process" for node in nodes)
            if any(node["birth"] not in {how, None} for node in nodes):
                self._shortfalls.append(f"not every process was started {how} at {hz:g} Hz")
            if hz == RATES_HZ[0]:
                self._births[self._forked].start_s = ready_s
            what = f"Calejo's demo at {hz:g} Hz, {how}, command to ready"
            self._starts.append(Start(what=what, processes=self._processes, took_s=ready_s))
            program.family.look()
            asyncio.run(self._joined(program, hz, with_kills=with_kills))

    async def _joined(self, program: Program, hz: float, *, with_kills: bool) -> None:
        """Measure as another client of the run's own Ray."""
        run = program.run_file()
        with joined(program.data_dir, address=run.ray_address, namespace=run.namespace):
            directory = RayDirectory(run.namespace, SystemClock())
            await program.wait_settled()
            births = self._births[self._forked]
            if with_kills:
                births.memory_begin = self._weighed(program)
            await self._latency(program, directory, hz)
            if with_kills and self._forked:
                await self._measure_stops(program)
                await program.wait_settled()
            if with_kills:
                births.memory_end = self._weighed(program)
                if self._forked:
                    self._memory = births.memory_end
                await self._kill(program, directory, run)

    async def _latency(self, program: Program, directory: RayDirectory, hz: float) -> None:
        await asyncio.sleep(_SETTLE_S)
        seconds = self._seconds if hz == RATES_HZ[0] else min(self._seconds, _QUICK_S_MAX)
        nodes = await asyncio.to_thread(program.get, "/api/v1/tree")
        pumps = Counter(node["address"].split("/")[4] for node in nodes if node["role"] == "pump")
        self._pumps_of_stations = list(pumps.values())
        _say(f"measuring {pumps.total()} pumps at {hz:g} Hz for {seconds:g} s")
        # The plant is no part of Calejo.
        family = [pid for pid in program.family.look() if "ops.demo" not in command_line(pid)]
        before = {pid: processor_s(pid) for pid in family}
        began_s = time.monotonic()
        await asyncio.sleep(seconds)
        took_s = time.monotonic() - began_s
        cores_used = used_s(before, family) / took_s
        if hz == RATES_HZ[0]:
            self._births[self._forked].note_processor(
                [
                    (label_of(node["role"], node["address"]), node["pid"])
                    for node in nodes
                    if node["pid"] in before
                ],
                lambda pid: used_s(before, [pid]) / took_s,
                cores_used,
            )
        if not self._forked:
            return  # beside bare Ray stands what users run
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

    def _weighed(self, program: Program) -> list[tuple[str, Memory]]:
        """Return the memory of every process of the run, by what it is."""
        nodes = program.get("/api/v1/tree")
        labels = {
            node["pid"]: label_of(node["role"], node["address"]) for node in nodes if node["pid"] is not None
        }
        named = {pid: label for pid, label in labels.items() if memory(pid) is not None}
        others: dict[int, str] = {program.process.pid: "calejo run"}
        for pid in program.family.look():
            if pid not in named and "ops.demo" not in command_line(pid):
                others[pid] = "Ray's own processes"
        everybody = (*named.items(), *others.items())
        return [(label, found) for pid, label in everybody if (found := memory(pid)) is not None]

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
                self._births[self._forked].recovered.append(recovered)
                if self._forked:
                    self._recovered.append(recovered)
                program.family.look()

    # ------------------------------------------------------------------ bare Ray

    def _bare(self) -> None:
        _say(f"starting {self._processes} bare Ray actors")
        began_s = time.monotonic()
        with joined(self._work_dir, address=None, namespace="bare"):
            asyncio.run(self._bare_figures(time.monotonic() - began_s))

    async def _bare_figures(self, init_s: float) -> None:
        crowd = Crowd(self._processes)
        took_s = await crowd.start()
        self._births[False].bare_idle = await _idle(crowd.pids)
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

    def _bare_forked(self) -> None:
        """Measure the same bare actors once more, forked: what forking saves without anything of ours."""
        _say(f"starting {self._processes} bare Ray actors, forked")
        births = self._births[True]
        began_s = time.monotonic()
        with joined(self._work_dir, address=None, namespace="bare-forked", forked=True):
            init_s = time.monotonic() - began_s

            async def figures() -> None:
                crowd = Crowd(self._processes)
                births.bare_start_s = init_s + await crowd.start()
                births.bare_idle = await _idle(crowd.pids)
                births.bare_memory = [found for pid in crowd.pids if (found := memory(pid)) is not None]
                births.bare_recoveries = await crowd.recoveries(max(5, self._kills))

            asyncio.run(figures())
        cold = self._births[False]
        cold.bare_start_s = self._starts[-1].took_s
        cold.bare_memory, cold.bare_recoveries = self._bare_memory, self._bare_recoveries


async def _idle(pids: list[int]) -> float:
    """Return the processor time that each of these uses while nothing happens (cores, mean)."""
    before = {pid: processor_s(pid) for pid in pids}
    began_s = time.monotonic()
    await asyncio.sleep(_IDLE_S)
    return used_s(before, pids) / (time.monotonic() - began_s) / len(pids)
