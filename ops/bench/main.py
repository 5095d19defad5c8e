"""`calejo bench`: measures this machine beside bare Ray in the same run; a table on standard output and JSON (OPS-5).

Everything is started by this command and ends with it: the demo as a user starts it, at two control rates, then as
many bare Ray actors as the tree had processes. Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from ops.bench.bytecode import refusal, uncompiled
from ops.cli.exits import DONE, FAILED, REFUSED, ExitError

KILLS_DEFAULT: Final = 3
STOPS_DEFAULT: Final = 50
_WINDOW_S_MAX: Final = 7200.0


def command(arguments: argparse.Namespace) -> int:
    """Measure, print, and write the JSON where asked.

    Raises:
        ExitError: (4) there is no compiled bytecode to measure with, (1) what is measured failed, or the disk did.

    """
    lacking = uncompiled()
    if lacking:
        raise ExitError(REFUSED, refusal(lacking))
    json_file: Path | None = arguments.json
    if json_file is not None and not json_file.resolve().parent.is_dir():
        raise ExitError(FAILED, f"--json {json_file}: there is no such folder")
    if getattr(arguments, "audit", 0):
        return _audit(arguments, json_file)
    if getattr(arguments, "opcua", 0) or getattr(arguments, "only", None) == "opcua":
        return _opcua(arguments, json_file)
    # First of all that imports ray: it sets what Ray reads from the environment at its import.
    importlib.import_module("supervisors.on_ray.session")
    from ops.bench.measure import Bench
    from ops.bench.report import law_tables, tables

    if arguments.pumps:
        return _many(arguments, json_file)
    with _ended_like_ctrl_c(), _work_dir(arguments.data_dir) as work_dir:
        bench = Bench(
            work_dir,
            seconds=min(arguments.seconds, _WINDOW_S_MAX),
            kills=getattr(arguments, "kills", KILLS_DEFAULT),
            stop_count=getattr(arguments, "stops", STOPS_DEFAULT),
            config=arguments.config,
        )
        if only := getattr(arguments, "only", None):
            law = bench.run_law(only)
            print(law_tables(law), flush=True)
            _write(law, json_file)
            return DONE
        report = bench.run()
    print(tables(report), flush=True)
    _write(report, json_file)
    return FAILED if report.shortfalls else DONE


def _many(arguments: argparse.Namespace, json_file: Path | None) -> int:
    """Run `--pumps N` alone, forked, for `--seconds`."""
    from ops.bench import many
    from ops.bench.measure import joined

    left: list[str] = []
    with _ended_like_ctrl_c(), _work_dir(arguments.data_dir) as work_dir:
        report = many.run(
            work_dir,
            count=min(arguments.pumps, many.PUMPS_MAX),
            seconds=min(arguments.seconds, _WINDOW_S_MAX),
            forked=not arguments.cold,
            joined=joined,
            left=left,
        )
    print("\n".join((many.shown(report), *(f"left behind and killed: {line}" for line in left))), flush=True)
    _write(report, json_file)
    return FAILED if left else DONE


def _audit(arguments: argparse.Namespace, json_file: Path | None) -> int:
    """Run `--audit N` alone: the audit trail, without Ray."""
    from actors.vocabulary import CalejoError
    from ops.bench import audit

    try:
        with _ended_like_ctrl_c(), _work_dir(arguments.data_dir) as work_dir:
            report = audit.run(work_dir, count=arguments.audit, url=arguments.database)
    except CalejoError as error:
        raise ExitError(FAILED, str(error)) from error
    print(audit.shown(report), flush=True)
    if json_file is not None:
        _write(audit.Report(engines=report), json_file)
    return DONE


def _opcua(arguments: argparse.Namespace, json_file: Path | None) -> int:
    """Run `--opcua N` or `--only opcua` alone: the endpoint beside bare asyncua, without Ray."""
    from actors.vocabulary import CalejoError
    from ops.bench import opcua
    from ops.bench.machine import facts
    from ops.bench.report import LawReport, law_tables

    try:
        with _ended_like_ctrl_c(), _work_dir(arguments.data_dir) as work_dir:
            seconds = min(arguments.seconds, _WINDOW_S_MAX)
            pumps = getattr(arguments, "opcua", 0) or opcua.PUMPS_DEFAULT
            report = LawReport(machine=facts(), opcua=opcua.measure(work_dir, pumps=pumps, seconds=seconds))
    except CalejoError as error:
        raise ExitError(FAILED, str(error)) from error
    print(law_tables(report), flush=True)
    if json_file is not None:
        _write(report, json_file)
    return DONE


def _write(report: msgspec.Struct, json_file: Path | None) -> None:
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    if json_file is None:
        print(f"\n{encoded.decode()}", end="", flush=True)
    else:
        try:
            json_file.write_bytes(encoded)
        except OSError as error:
            raise ExitError(FAILED, f"--json {json_file}: not written ({error.strerror})") from error


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does, so that everything started is ended."""
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def _work_dir(parent: Path | None) -> Iterator[Path]:
    """Make a folder for the measured programs' data, in `parent` (--data-dir) or where the system keeps such."""
    try:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="calejo-bench-", dir=parent))
    except OSError as error:
        raise ExitError(FAILED, f"no folder for the measured programs: {error}") from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
