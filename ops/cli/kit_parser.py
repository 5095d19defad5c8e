"""The command line of the commissioning kit: `calejo tags`, `wire` and `plc`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  (its only name)

FORMATS: Final = (
    "table",
    "json",
    "csv",
    "markdown",
    "wincc",
    "ecostruxure",
    "factorytalk",
    "ignition",
    "sparkplug",
)


def add_kit(commands: Commands, common: argparse.ArgumentParser, duration_s: Callable[[str], float]) -> None:
    """Add the kit's commands."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--site", dest="site_id", default=None, metavar="SITE")
    where.add_argument("--station", dest="station_id", default=None, metavar="STATION")
    where.add_argument("--pump", dest="pump_id", default=None, metavar="PUMP")
    _add_tags(commands, common, where)
    _add_wire(commands, common, where, duration_s)
    _add_plc(commands, common)


def _add_tags(commands: Commands, common: argparse.ArgumentParser, where: argparse.ArgumentParser) -> None:
    tags = commands.add_parser(
        "tags", parents=[common, where], help="every point on the wires, and import files for SCADA"
    )
    tags.set_defaults(command="ops.cli.tags:command")
    tags.add_argument("--format", choices=FORMATS, default="table")
    tags.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="FILE",
        help="write there (wincc: a workbook if it ends in .xlsx)",
    )
    tags.add_argument(
        "--server", default="Calejo", metavar="NAME", help="ignition: its OPC UA connection (default Calejo)"
    )
    tags.add_argument(
        "--device", default="Calejo", metavar="NAME", help="ecostruxure: its I/O device (default Calejo)"
    )
    tags.add_argument(
        "--shortcut", default="::[Calejo]", metavar="PREFIX", help="factorytalk: stands before every address"
    )


def _add_wire(
    commands: Commands,
    common: argparse.ArgumentParser,
    where: argparse.ArgumentParser,
    duration_s: Callable[[str], float],
) -> None:
    wire = commands.add_parser("wire", help="both wires as a client sees them").add_subparsers(required=True)
    watch = wire.add_parser("watch", parents=[common, where], help="live values, side by side")
    watch.set_defaults(command="ops.cli.wire:watch")
    watch.add_argument("--format", choices=("table", "json"), default="table")
    watch.add_argument(
        "--for",
        dest="for_s",
        type=duration_s,
        default=None,
        metavar="DURATION",
        help="end then (else Ctrl-C)",
    )
    watch.add_argument("--every", dest="every_s", type=duration_s, default=1.0, metavar="DURATION")
    check = wire.add_parser(
        "check", parents=[common, where], help="map, types, scaling, handshake, refusals, security: a report"
    )
    check.set_defaults(command="ops.cli.wire:check")
    check.add_argument("--format", choices=("table", "json"), default="table")
    check.add_argument(
        "--without-plc",
        action="store_true",
        help="a heartbeat that stands still is a note: no controller writes yet",
    )


def _add_plc(commands: Commands, common: argparse.ArgumentParser) -> None:
    plc = commands.add_parser("plc", help="what the station's controller needs").add_subparsers(required=True)
    for name, text in (
        ("st", "IEC 61131-3 Structured Text with the handshake block and the station's addresses"),
        ("sheet", "commissioning sheet (Markdown)"),
    ):
        verb = plc.add_parser(name, parents=[common], help=text)
        verb.set_defaults(command=f"ops.cli.plc:{name}")
        verb.add_argument("station_id", metavar="STATION")
        verb.add_argument("--out", type=Path, default=None, metavar="FILE")
