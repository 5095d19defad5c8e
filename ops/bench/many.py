"""`calejo bench --pumps N`: so many pumps at 1 Hz on this machine, with a controller that answers for each of them.

What it costs (processor, memory by role) and which control periods never reached the wire. The controllers are
this process's: they write every pump's feedback once a second over Modbus, as a PLC does, and count for nothing.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import create_engine, insert

from actors.messages import EndpointStatus, LatencySummary
from actors.vocabulary import (
    Address,
    ControlType,
    DeviceError,
    FailsafeStrategy,
    PumpConfig,
    Settings,
    SiteConfig,
    StationConfig,
)
from ops.bench.processes import command_line, memory, processor_s, used_s
from ops.bench.program import Program, running
from ops.bench.recovery import label_of, status_of
from ops.database import database_urls, upgrade
from ops.demo.catalogue import LIMITS
from ops.demo.link import Link, PumpPlace, places
from storage.models import (
    optimiser_status,
    pump_commissioning_envelopes,
    pump_plans,
    pump_safety_limits,
    pump_stations,
    pumps,
    sites,
)
from storage.models.configuration import LIMIT_COLUMNS
from storage.urls import parsed
from supervisors.on_ray.directory import RayDirectory
from supervisors.process import SystemClock

PUMPS_OF_A_STATION: Final = 10
PUMPS_MAX: Final = 500
_HZ: Final = 35.0
_SITE: Final = "many"
_ENDPOINT: Final = Address(f"/sites/{_SITE}/endpoints/modbus")
# Some hundred processes on two cores take their time.
_READY_WITHIN_S: Final = 600.0
_SETTLED_WITHIN_S: Final = 600.0
_LOOK_S: Final = 2.0
_ANSWER_S: Final = 5.0
_HEARTBEATS: Final = 65_536
# More heartbeats than twice the periods and these are no accepted setpoints.
_LEAP: Final = 10


class RoleCost(msgspec.Struct, frozen=True, kw_only=True):
    """Means over the processes of one kind: private memory (MiB) when settled and at the end, processor (%)."""

    what: str
    processes: int
    private_begin_mib: float
    private_end_mib: float
    processor_percent: float


class Many(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `missed`: control periods without a newly accepted setpoint, of `expected` for all pumps."""

    pumps: int
    seconds: float
    forked: bool
    ready_s: float
    settled_s: float
    processes: int
    cores_used: float
    expected: int
    missed: int
    worst_pump_missed: int
    enabled_at_the_end: int
    lapses: int
    proposal_to_wire: LatencySummary | None
    roles: tuple[RoleCost, ...]
    # Processes that were started in the other way: a run that was to be forked may have fallen back.
    otherwise: int = 0


def site_of(count: int) -> SiteConfig:
    """Return a site with so many pumps, ten to a station."""
    stations = [
        StationConfig(
            station_id=f"s{number + 1}",
            site_id=_SITE,
            name=f"Station {number + 1}",
            timezone="UTC",
            modbus_unit_id=number + 1,
            max_pumps_running=PUMPS_OF_A_STATION,
            level_datum="wet well floor",
            pumps=tuple(
                PumpConfig(
                    pump_id=f"s{number + 1}-p{slot + 1}",
                    station_id=f"s{number + 1}",
                    name=f"Pump {slot + 1}",
                    control_type=ControlType.DIRECT_SPEED,
                    default_setpoint_hz=30.0,
                    failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
                    wire_slot=slot,
                )
                for slot in range(min(PUMPS_OF_A_STATION, count - number * PUMPS_OF_A_STATION))
            ),
        )
        for number in range(-(-count // PUMPS_OF_A_STATION))
    ]
    return SiteConfig(site_id=_SITE, name="Many", timezone="UTC", stations=tuple(stations))


def missed_of(before: Sequence[Any], after: Sequence[Any], *, periods: int) -> list[int]:
    """Return for each pump how many of the periods brought no newly accepted setpoint (heartbeats wrap at 16 bits).

    A pump that has gone, or whose heartbeat has leapt (its endpoint began anew), has missed them all.
    """
    latter = {pump.pump_id: pump.heartbeat for pump in after}
    return [_missed(pump.heartbeat, latter.get(pump.pump_id), periods) for pump in before]


def _missed(first: int, last: int | None, periods: int) -> int:
    beats = 0 if last is None else (last - first) % _HEARTBEATS
    return periods if beats > 2 * periods + _LEAP else max(0, periods - beats)


def seed(data_dir: Path, site: SiteConfig, *, now: datetime) -> None:
    """Write the site with limits and plans of one speed into a new database."""
    settings = Settings(data_dir=str(data_dir))
    upgrade(settings)
    values = {name: getattr(LIMITS, name) for name in LIMIT_COLUMNS}
    engine = create_engine(parsed(database_urls(settings).writer, "sync"))
    with engine.begin() as connection:
        connection.execute(insert(sites).values(site_id=site.site_id, name=site.name, timezone="UTC"))
        for station in site.stations:
            row = {name: getattr(station, name) for name in ("station_id", "site_id", "name", "timezone")}
            row |= {
                name: getattr(station, name)
                for name in ("modbus_unit_id", "max_pumps_running", "level_datum")
            }
            connection.execute(insert(pump_stations).values(**row))
            for pump in station.pumps:  # one by one: the database gives out the wire slots in this order
                for table, row in _rows_of(pump, values, now):
                    connection.execute(insert(table).values(**row))
            beat = {
                "station_id": station.station_id,
                "heartbeat_at": now + timedelta(minutes=15),
                "plan_version": 1,
            }
            connection.execute(insert(optimiser_status).values(**beat))
    engine.dispose()


def _rows_of(pump: PumpConfig, limits: dict[str, Any], now: datetime) -> Iterator[tuple[Any, dict[str, Any]]]:
    yield (
        pumps,
        {
            "pump_id": pump.pump_id,
            "station_id": pump.station_id,
            "name": pump.name,
            "control_type": pump.control_type.value,
            "default_setpoint_hz": pump.default_setpoint_hz,
            "failsafe_strategy": pump.failsafe_strategy.value,
            "control_parameters": {},
        },
    )
    yield (
        pump_commissioning_envelopes,
        {
            "pump_id": pump.pump_id,
            "min_speed_hz": 18.0,
            "max_speed_hz": 52.0,
            "commissioned_by": "bench-commissioner",
            **(limits | {"max_rate_hz_per_s": 5.0}),
        },
    )
    yield (
        pump_safety_limits,
        {
            "pump_id": pump.pump_id,
            "version": LIMITS.version,
            "hard_min_speed_hz": LIMITS.hard_min_speed_hz,
            "hard_max_speed_hz": LIMITS.hard_max_speed_hz,
            "set_by": LIMITS.set_by,
            "approved_by": LIMITS.approved_by,
            "approved_at": now,
            **limits,
        },
    )
    yield (
        pump_plans,
        {
            "station_id": pump.station_id,
            "pump_id": pump.pump_id,
            "interval_start": now - timedelta(hours=1),
            "interval_end": now + timedelta(days=1),
            "plan_version": 1,
            "suggested_speed_hz": _HZ,
        },
    )


class Controllers:
    """One connection for each station; each pump reports that it runs at the planned speed."""

    def __init__(self, site: SiteConfig, host: str, port: int) -> None:
        by_unit: dict[int, list[PumpPlace]] = {}
        for place in places(site).values():
            by_unit.setdefault(place.unit_id, []).append(place)
        self._units = [(Link(host, port, answer_s=_ANSWER_S), own) for own in by_unit.values()]

    async def run(self) -> None:
        """Report once a second until cancelled."""
        await asyncio.gather(*(self._station(*unit, phase) for phase, unit in enumerate(self._units)))

    async def _station(self, link: Link, own: list[PumpPlace], phase: int) -> None:
        await asyncio.sleep(phase / len(self._units))
        beat, is_open = 0, False
        while True:
            began_s = time.monotonic()
            beat = (beat + 1) % _HEARTBEATS
            values = {
                "local_override": 0.0, "plc_heartbeat": float(beat), "setpoint_echo": _HZ, "actual_speed": _HZ,
                "actual_power": 5.0, "actual_flow": 100.0, "wet_well_level": 1.5 + 0.01 * (beat % 7), "high_float": 0.0,
                "running": 1.0, "fault_code": 0.0,
            }  # fmt: skip
            try:
                is_open = is_open or await link.open()
                if is_open:
                    for place in own:
                        await link.write(place, values)
            except DeviceError:  # not there yet, or being restarted: a controller calls again
                link.close()
                is_open = False
            await asyncio.sleep(max(0.05, began_s + 1.0 - time.monotonic()))


async def measure(
    program: Program, site: SiteConfig, *, seconds: float, forked: bool, ready_s: float
) -> Many:
    """Measure as a client of the run's own Ray that has been joined already."""
    run = program.run_file()
    directory = RayDirectory(run.namespace, SystemClock())
    count = sum(len(station.pumps) for station in site.stations)
    began_s = time.monotonic()

    async def status() -> EndpointStatus:
        while (found := await status_of(directory, _ENDPOINT, latency_window_s=seconds)) is None:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        return found

    async with asyncio.timeout(_SETTLED_WITHIN_S):
        while sum(pump.remote_enabled for pump in (await status()).pumps) < count:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
    settled_s = time.monotonic() - began_s
    _say(f"{count} pumps claimed after {settled_s:.0f} s more; measuring for {seconds:g} s")
    nodes = await asyncio.to_thread(program.get, "/api/v1/tree")
    labels = {
        node["pid"]: label_of(node["role"], node["address"]) for node in nodes if node["pid"] is not None
    }
    family = [pid for pid in program.family.look() if "ops.demo" not in command_line(pid)]
    first, first_s = await status(), time.monotonic()
    before = {pid: processor_s(pid) for pid in family}
    weight = {pid: found.private_mib for pid in labels if (found := memory(pid)) is not None}
    await asyncio.sleep(seconds)
    last, took_s = await status(), time.monotonic() - first_s
    cores = used_s(before, family) / took_s
    roles = []
    for label in dict.fromkeys(labels.values()):
        own = [pid for pid, of in labels.items() if of == label and pid in weight and pid in before]
        ends = {pid: found.private_mib for pid in own if (found := memory(pid)) is not None}
        if ends:
            roles.append(
                RoleCost(
                    what=label,
                    processes=len(ends),
                    private_begin_mib=sum(weight[pid] for pid in ends) / len(ends),
                    private_end_mib=sum(ends.values()) / len(ends),
                    processor_percent=100.0 * used_s(before, ends) / took_s / len(ends),
                )
            )
    periods = int(took_s)
    missed = missed_of(first.pumps, last.pumps, periods=periods)
    return Many(
        pumps=count,
        seconds=took_s,
        forked=forked,
        ready_s=ready_s,
        settled_s=settled_s,
        processes=len(labels),
        cores_used=cores,
        expected=periods * len(missed),
        missed=sum(missed),
        worst_pump_missed=max(missed, default=0),
        enabled_at_the_end=sum(pump.remote_enabled for pump in last.pumps),
        lapses=sum(pump.lapses for pump in last.pumps) - sum(pump.lapses for pump in first.pumps),
        proposal_to_wire=last.proposal_to_wire,
        roles=tuple(roles),
        otherwise=sum(node["birth"] not in {"forked" if forked else "cold", None} for node in nodes),
    )


def run(work_dir: Path, *, count: int, seconds: float, forked: bool, joined: Any, left: list[str]) -> Many:
    """Start Calejo with so many pumps, measure, end it.

    `joined` is the context manager that joins the run's Ray (`ops.bench.measure.joined`).

    Raises:
        ExitError: (1) what is measured does not start or ends early.

    """
    data_dir = work_dir / ("many-forked" if forked else "many-cold")
    data_dir.mkdir()
    site = site_of(count)
    seed(data_dir, site, now=datetime.now(UTC))  # noqa: TID251  (a shell without an actor's clock)
    environment = {"CALEJO_RUNTIME__FORKED_WORKERS": "true" if forked else "false"}
    _say(f"starting {count} pumps, {'forked' if forked else 'cold'}")
    with running(data_dir, config=None, environment=environment, left_behind=left, demo=False) as program:

        async def story() -> Many:
            controllers = asyncio.create_task(Controllers(site, "127.0.0.1", program.modbus_port).run())
            try:
                ready_s = await asyncio.to_thread(_ready, program)
                _say(f"ready after {ready_s:.0f} s")
                run_file = program.run_file()
                with joined(data_dir, address=run_file.ray_address, namespace=run_file.namespace):
                    return await measure(program, site, seconds=seconds, forked=forked, ready_s=ready_s)
            finally:
                controllers.cancel()
                await asyncio.gather(controllers, return_exceptions=True)

        return asyncio.run(story())


def _ready(program: Program) -> float:
    return program.until(lambda: program.ready_s, within_s=_READY_WITHIN_S, what="ready")


def shown(many: Many) -> str:
    """Return one run as text."""
    wire = many.proposal_to_wire
    figures = "-" if wire is None else f"p50 {wire.p50_ms:.0f}, p99 {wire.p99_ms:.0f}, max {wire.max_ms:.0f}"
    share = 100.0 * many.missed / many.expected if many.expected else 0.0
    how = "forked" if many.forked else "cold"
    but = f" but {many.otherwise}" if many.otherwise else ""
    lines = [
        f"{many.pumps} pumps at 1 Hz for {many.seconds:.0f} s, {many.processes} processes {how}{but}",
        f"  ready after {many.ready_s:.0f} s, all claimed {many.settled_s:.0f} s later",
        f"  cores used {many.cores_used:.2f}; proposal to wire (ms) {figures}",
        f"  periods missed {many.missed} of {many.expected} ({share:.2f} %), worst pump {many.worst_pump_missed}",
        f"  lapses {many.lapses}; claimed at the end {many.enabled_at_the_end}",
    ]
    for role in many.roles:
        begin, end = role.private_begin_mib, role.private_end_mib
        lines.append(
            f"  {role.what:16} {role.processes:4} x private {begin:6.1f} -> {end:6.1f} MiB,"
            f" {role.processor_percent:5.2f} % of a core each"
        )
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
