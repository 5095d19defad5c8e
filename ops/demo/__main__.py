"""The demo from the command line: its processes, and what a person can do to the plant."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from actors.vocabulary import CalejoError, InvalidValueError, RefusedError
from ops.demo.catalogue import STATIONS
from ops.demo.files import CONTROL, TARGET, Control, Lock, Target, read, replace
from ops.demo.launch import LOCKS, folder_of
from ops.demo.optimiser import Optimiser
from ops.demo.plant import SensorFault
from ops.demo.seed import DemoDatabase
from ops.demo.settings import DATABASE_URL, load
from ops.demo.simulator import Simulator, state_of
from ops.demo.truth import judge, read_log, table

_STATION_IDS: Final = [station.station_id for station in STATIONS]
_PUMP_IDS: Final = [pump.pump_id for station in STATIONS for pump in station.pumps]
_HAND_HZ_MAX: Final = 55.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 done, 1 failed or a verdict against the run, 2 usage, 4 refused."""
    options = _parser().parse_args(arguments)
    folder = folder_of(options.data_dir.resolve())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _run(options, folder)
    except RefusedError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 4
    except (CalejoError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, folder: Path) -> int:
    match options.command:
        case "plant":
            if options.modbus:
                replace(folder / TARGET, _target(options.modbus), durable=False)
            settings = load(folder, os.environ)
            return _serve(folder, "plant", lambda: Simulator(folder, settings))
        case "optimiser":
            settings = load(folder, os.environ)
            database = DemoDatabase(_database_url(options, os.environ))
            return _serve(folder, "optimiser", lambda: Optimiser(folder, database, settings))
        case "seed":
            now = datetime.fromtimestamp(time.time_ns() / 1e9, tz=UTC)
            seeded = DemoDatabase(_database_url(options, os.environ)).seed(now=now)
            print("seeded" if seeded else "the demo's site is there already")
        case "truth":
            return _judged(options, folder)
        case "state":
            print(msgspec.json.format(msgspec.json.encode(state_of(folder)), indent=2).decode())
        case _:
            control = read(folder / CONTROL, Control) or Control()
            replace(folder / CONTROL, _changed(control, options), durable=False)
    return 0


def _changed(control: Control, options: argparse.Namespace) -> Control:
    """Return the control file after one of the commands sensor, hand, reset and reboot."""
    name = options.subject
    match options.command:
        case "sensor":
            sensors = {**control.sensors, name: SensorFault(options.fault)}
            return msgspec.structs.replace(control, sensors=sensors)
        case "hand":
            hand = {pump: hz for pump, hz in control.hand_hz.items() if pump != name}
            if options.hz != "auto":
                hand[name] = _hand_hz(options.hz)
            return msgspec.structs.replace(control, hand_hz=hand)
        case "reset":
            return msgspec.structs.replace(control, resets=_counted(control.resets, name))
        case _:
            return msgspec.structs.replace(control, reboots=_counted(control.reboots, name))


def _judged(options: argparse.Namespace, folder: Path) -> int:
    """Show the run beside its twin; 1: the plant would have been better off alone."""
    verdicts = judge(read_log(folder))
    if options.format == "json":
        shown = [{**msgspec.to_builtins(verdict), "worse": verdict.worse} for verdict in verdicts]
        print(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    else:
        print(table(verdicts))
    return 1 if any(verdict.worse for verdict in verdicts) else 0


def _counted(counts: Mapping[str, int], name: str) -> dict[str, int]:
    return {**counts, name: counts.get(name, 0) + 1}


def _hand_hz(text: str) -> float:
    try:
        hz = float(text)
    except ValueError:
        hz = -1.0
    if not 0.0 <= hz <= _HAND_HZ_MAX:
        raise InvalidValueError(f"{text!r} is neither 'auto' nor a speed of 0 to {_HAND_HZ_MAX:g} Hz")
    return hz


def _serve(folder: Path, kind: str, make: object) -> int:
    """Hold the lock of a kind of process and run it until SIGTERM or SIGINT."""
    assert callable(make)
    lock = Lock(folder / LOCKS[kind])

    async def run() -> None:
        process = make()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, process.ended.set)
        await process.run()

    try:
        asyncio.run(run())
    finally:
        lock.release()
    return 0


def _target(text: str) -> Target:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidValueError(f"{text!r} is not HOST:PORT")
    return Target(host=host, port=int(port))


def _database_url(options: argparse.Namespace, environment: Mapping[str, str]) -> str:
    url = options.database or environment.get(DATABASE_URL, "")
    if not url:
        raise InvalidValueError(f"no database: give --database URL or {DATABASE_URL}")
    return str(url)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops.demo", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data-dir", type=Path, required=True, help="Calejo's data directory")
    commands = parser.add_subparsers(dest="command", required=True)
    plant = commands.add_parser("plant", parents=[shared], help="simulate the plant until told to end")
    plant.add_argument("--modbus", metavar="HOST:PORT", help="where Calejo listens; else as last told")
    for name, text in (("optimiser", "write plans until told to end"), ("seed", "insert the demo's site")):
        command = commands.add_parser(name, parents=[shared], help=text)
        command.add_argument("--database", metavar="URL", help=f"else {DATABASE_URL}")
    commands.add_parser("state", parents=[shared], help="show the plant as JSON")
    truth = commands.add_parser("truth", parents=[shared], help="judge the run against local levels alone")
    truth.add_argument("--format", choices=("table", "json"), default="table")
    sensor = commands.add_parser("sensor", parents=[shared], help="let a level sensor fail, or heal it")
    sensor.add_argument("subject", choices=_STATION_IDS)
    sensor.add_argument("fault", choices=[fault.value for fault in SensorFault])
    hand = commands.add_parser("hand", parents=[shared], help="operate a pump by hand at the panel")
    hand.add_argument("subject", choices=_PUMP_IDS)
    hand.add_argument("hz", help="speed in Hz, or auto")
    reset = commands.add_parser("reset", parents=[shared], help="press reset at a pump's panel")
    reset.add_argument("subject", choices=_PUMP_IDS)
    reboot = commands.add_parser("reboot", parents=[shared], help="reboot a station's controller")
    reboot.add_argument("subject", choices=_STATION_IDS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
