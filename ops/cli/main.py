"""`calejo`: parses the command line and hands over to the module of the command; imports nothing heavy by itself."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from ops.cli.access_parser import add_access
from ops.cli.audit_parser import add_audit, add_incident
from ops.cli.duties import add_clean_out
from ops.cli.exits import FAILED, ExitError
from ops.cli.identity import login_name, speak_as, token_in_use
from ops.cli.kit_parser import add_kit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DURATION_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def duration_s(text: str) -> float:
    """Read a duration such as `90`, `90s`, `15m`, `2h` in seconds.

    Raises:
        argparse.ArgumentTypeError: it is none.

    """
    unit = _DURATION_UNITS_S.get(text[-1:].lower())
    try:
        seconds = float(text[:-1]) * unit if unit is not None else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        message = f"{text!r} is not a duration (90, 90s, 15m, 2h)"
        raise argparse.ArgumentTypeError(message)
    return seconds


def speed_hz(text: str) -> float:
    """Read a speed in Hz.

    Raises:
        argparse.ArgumentTypeError: it is no finite number from 0.

    """
    try:
        hz = float(text)
    except ValueError:
        hz = -1.0
    if not 0.0 <= hz < float("inf"):
        message = f"{text!r} is not a speed in Hz (a finite number from 0)"
        raise argparse.ArgumentTypeError(message)
    return hz


def port(text: str) -> int:
    """Read a TCP port.

    Raises:
        argparse.ArgumentTypeError: it is none.

    """
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:  # noqa: PLR2004  (TCP's range)
        message = f"{text!r} is not a port (1 to 65535)"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; each sets `command` to `module:function`."""
    parser = argparse.ArgumentParser(
        prog="calejo",
        description="Safe, explained, real-time setpoints for wastewater pump stations.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 not running, 4 refused.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data-dir", type=Path, default=None, help="where Calejo keeps its data (default ./.calejo)"
    )
    common.add_argument("--config", type=Path, default=None, help="configuration file (YAML, TOML or JSON)")
    common.add_argument(
        "--user",
        default=None,
        metavar="NAME",
        help="log in as this user (default: as this machine's own command)",
    )
    common.add_argument("--code", default=None, help="with --user: the code of the second factor")
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("--format", choices=("table", "json"), default="table")

    _add_run(commands, common)
    _add_estop(commands, common, data)
    _add_mode(commands, common, data)
    add_clean_out(commands, common, data, user=login_name(), duration_s=duration_s)
    _add_limits(commands, common, data)
    _add_explain(commands, common, data)
    _add_views(commands, common, data)
    add_audit(commands, common, data, user=login_name())
    add_incident(commands, common, data, user=login_name())
    add_kit(commands, common, duration_s)
    _add_config(commands, common, data)
    _add_node(commands, common, data)
    add_access(commands, common, data)
    return parser


def _add_run(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    run = commands.add_parser("run", parents=[common], help="run Calejo in the foreground")
    run.set_defaults(command="ops.run:command")
    run.add_argument(
        "--demo", action="store_true", help="embedded database, demo stations and a simulated plant"
    )
    run.add_argument(
        "--address", default=None, metavar="RAY", help="join this Ray cluster instead of starting one"
    )
    run.add_argument("--opcua-port", type=port, default=None)
    run.add_argument("--modbus-port", type=port, default=None)
    run.add_argument("--rest-port", type=port, default=None)
    run.add_argument("--health-port", type=port, default=None)
    bench = commands.add_parser(
        "bench", parents=[common], help="measure this machine beside the bare libraries"
    )
    bench.set_defaults(command="ops.bench.main:command")
    bench.add_argument(
        "--json", type=Path, default=None, metavar="FILE", help="write the figures there as well"
    )
    bench.add_argument("--seconds", type=duration_s, default=20.0, help="how long each rate is measured")
    bench.add_argument(
        "--pumps",
        type=int,
        default=0,
        metavar="N",
        help="only this: so many pumps at 1 Hz for --seconds (to 500)",
    )
    bench.add_argument(
        "--audit", type=int, default=0, metavar="N", help="only this: N records through the audit trail"
    )
    bench.add_argument(
        "--opcua", type=int, default=0, metavar="N", help="only this: OPC UA with N pumps beside bare asyncua"
    )
    bench.add_argument(
        "--database", default="", metavar="URL", help="with --audit: an empty PostgreSQL database as well"
    )
    bench.add_argument("--cold", action="store_true", help="with --pumps: processes started cold, not forked")
    bench.add_argument(
        "--kills",
        type=int,
        choices=range(11),
        default=3,
        metavar="N",
        help="how often each role is killed (0 to 10)",
    )
    bench.add_argument(
        "--stops",
        type=int,
        choices=range(1001),
        default=50,
        metavar="N",
        help="how often every pump is stopped by each way (0 to 1000)",
    )
    bench.add_argument(
        "--only", choices=("kernel", "stops", "modbus", "opcua"), default=None, help="measure only this"
    )


def _add_estop(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    data: argparse.ArgumentParser,
) -> None:
    estop = commands.add_parser("estop", help="set, list and clear emergency stops").add_subparsers(
        required=True
    )
    by = login_name()

    setting = estop.add_parser("set", parents=[common, data], help="stop pumps now")
    setting.set_defaults(command="ops.cli.estop:set_stop")
    setting.add_argument("--scope", choices=("pump", "station", "site", "system"), required=True)
    setting.add_argument("--id", default=None, help="which pump, station or site")
    setting.add_argument("--reason", required=True)
    setting.add_argument("--by", default=by, help="who stops (default: the user's name)")

    listing = estop.add_parser("list", parents=[common, data], help="the stops that hold")
    listing.set_defaults(command="ops.cli.estop:list_stops")
    listing.add_argument("--all", action="store_true", help="cleared ones too")

    showing = estop.add_parser("show", parents=[common, data], help="what wires and motors show of a stop")
    showing.set_defaults(command="ops.cli.estop_show:show_stop")
    showing.add_argument("stop", metavar="ID")
    showing.add_argument(
        "--wait",
        dest="wait_s",
        type=duration_s,
        default=None,
        metavar="DURATION",
        help="until all motors stand",
    )

    clearing = estop.add_parser("clear", parents=[common, data], help="clear stops; pumps then ramp from 0")
    clearing.set_defaults(command="ops.cli.estop:clear_stops")
    clearing.add_argument(
        "--stop", action="extend", nargs="+", default=[], metavar="ID", help="one or more stops' ids"
    )
    clearing.add_argument("--scope", choices=("pump", "station", "site", "system"), default=None)
    clearing.add_argument("--id", default=None, help="with --scope: which pump, station or site")
    clearing.add_argument("--reason", required=True)
    clearing.add_argument("--by", default=by)


def _add_mode(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    data: argparse.ArgumentParser,
) -> None:
    mode = commands.add_parser("mode", help="who commands a pump").add_subparsers(required=True)
    setting = mode.add_parser("set", parents=[common, data], help="AUTO, MANUAL or OUT_OF_SERVICE")
    setting.set_defaults(command="ops.cli.views:set_mode")
    setting.add_argument("pump")
    setting.add_argument("mode", choices=("AUTO", "MANUAL", "OUT_OF_SERVICE"), type=str.upper)
    setting.add_argument(
        "--hz",
        type=speed_hz,
        default=None,
        help="MANUAL: the speed, through the safety layer (default: the present one)",
    )
    setting.add_argument("--for", dest="expires_after_s", type=duration_s, default=None, metavar="DURATION")
    setting.add_argument("--by", default=login_name(), help="who commands (default: the user's name)")
    setting.add_argument("--reason", default="")


def _add_limits(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    data: argparse.ArgumentParser,
) -> None:
    limits = commands.add_parser("limits", help="limits of a pump: propose, approve, show")
    verbs = limits.add_subparsers(required=True)

    def verb(name: str, function: str, text: str) -> argparse.ArgumentParser:
        parser = verbs.add_parser(name, parents=[common, data], help=text)
        parser.set_defaults(command=f"ops.cli.limits:{function}")
        return parser

    verb("show", "show", "what is in force, beside the commissioning envelope").add_argument("pump")
    proposing = verb("propose", "propose", "propose a change, for a second person to approve")
    proposing.add_argument("pump")
    proposing.add_argument("changes", nargs="+", metavar="KEY=VALUE")
    proposing.add_argument("--reason", required=True)
    proposing.add_argument("--by", default=login_name(), help="no effect: who is logged in (--user) proposes")
    proposing.add_argument(
        "--base", type=int, default=None, metavar="VERSION", help="what it rests on (default: in force)"
    )
    proposing.add_argument(
        "--expires-after", dest="expires_after_s", type=duration_s, default=None, metavar="DURATION"
    )
    for name, text in (
        ("approve", "bring somebody else's proposal into force"),
        ("reject", "close somebody else's proposal"),
        ("withdraw", "take one's own proposal back"),
    ):
        closing = verb(name, name, text)
        closing.add_argument("pump")
        closing.add_argument("proposal", metavar="PROPOSAL")
        closing.add_argument("--reason", required=True)
        closing.add_argument(
            "--by", default=login_name(), help="no effect: who is logged in (--user) does it"
        )
    listing = verb("list", "listing", "proposals, open ones unless told otherwise")
    listing.add_argument("pump", nargs="?", default=None)
    listing.add_argument("--all", action="store_true", help="closed ones too")
    listing.add_argument("--state", default="", help="comma-separated states")
    history = verb("history", "history", "every version that ever stood")
    history.add_argument("pump")
    history.add_argument("--before", type=int, default=None, metavar="HISTORY_ID")
    diff = verb("diff", "diff", "what a proposal changes, or what differs between two versions")
    diff.add_argument("pump")
    diff.add_argument("what", metavar="PROPOSAL|VERSION")
    diff.add_argument("after", nargs="?", default=None, metavar="VERSION")


def _add_views(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    data: argparse.ArgumentParser,
) -> None:
    for name, function, text in (
        ("tree", "tree", "every actor with state, process, restarts, memory"),
        ("alarms", "alarms", "alarms raised and returned"),
        ("priorities", "priorities", "the order of a station's safety rules, with its values"),
    ):
        view = commands.add_parser(name, parents=[common, data], help=text)
        view.set_defaults(command=f"ops.cli.views:{function}")
        if name == "priorities":
            view.add_argument("station")
        if name == "tree":
            view.add_argument(
                "--retry", default=None, metavar="ADDRESS", help="take a child out of quarantine"
            )


def _add_explain(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    data: argparse.ArgumentParser,
) -> None:
    explain = commands.add_parser(
        "explain", parents=[common, data], help="why a pump's setpoint is what it is, or was what it was"
    )
    explain.set_defaults(command="ops.cli.explain:explain")
    explain.add_argument("pump")
    explain.add_argument(
        "--at", default=None, metavar="TIME", help="this moment: 2026-11-21T10:05:00Z, 10:05, '15m ago'"
    )
    explain.add_argument(
        "--from", dest="start", default=None, metavar="TIME", help="list decisions from here"
    )
    explain.add_argument("--to", dest="end", default=None, metavar="TIME", help="until here (default: now)")
    explain.add_argument(
        "--limit", type=int, choices=range(1, 501), default=100, metavar="N", help="rows of a list"
    )
    explain.add_argument("--following", default="", metavar="PLACE", help="where the list before ended")
    explain.add_argument(
        "--json", dest="format", action="store_const", const="json", help="everything, for an auditor"
    )


def _add_config(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    data: argparse.ArgumentParser,
) -> None:
    config = commands.add_parser("config", help="check, show or describe the configuration").add_subparsers(
        required=True
    )
    for name, text in (
        ("check", "is it valid?"),
        ("show", "what is in force"),
        ("schema", "JSON schema of the file"),
    ):
        verb = config.add_parser(name, parents=[common, data], help=text)
        verb.set_defaults(command=f"ops.cli.config:{name}")
    database = commands.add_parser("db", help="the database: its schema, commissioning").add_subparsers(
        required=True
    )
    upgrade = database.add_parser("upgrade", parents=[common, data], help="bring it to this version")
    upgrade.set_defaults(command="ops.cli.config:db_upgrade")
    commission = database.add_parser(
        "commission",
        parents=[common, data],
        help="how far a pump's limits may ever go",
    )
    commission.set_defaults(command="ops.cli.commission:commission")
    commission.add_argument("pump")
    commission.add_argument("bounds", nargs="+", metavar="KEY=VALUE")
    commission.add_argument("--by", required=True, help="who commissions")
    commission.add_argument("--replace", action="store_true", help="it has an envelope already")


def _add_node(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    data: argparse.ArgumentParser,
) -> None:
    node = commands.add_parser("node", help="this machine as a node of a Ray cluster").add_subparsers(
        required=True
    )
    start = node.add_parser("start", parents=[common], help="join a cluster, in the foreground")
    start.set_defaults(command="ops.cli.node:start")
    start.add_argument("--address", required=True, metavar="HOST:PORT", help="the cluster's control store")
    start.add_argument(
        "ray", nargs="*", metavar="-- RAY-OPTION", help="options for `ray start` (after a lone --)"
    )
    for name, text in (
        ("reload", "start processes with the code that is on disk now; those that run keep theirs"),
        ("status", "how this machine's processes are started"),
    ):
        verb = node.add_parser(name, parents=[common, data], help=text)
        verb.set_defaults(command=f"ops.cli.node:{name}")


def _log_out(arguments: argparse.Namespace) -> None:
    """End the session that `--user` opened; one that cannot be ended expires by itself."""
    if not (token := token_in_use()):
        return
    from ops.cli.client import call, running
    from ops.cli.settings_of import data_dir_of

    speak_as(None, None)
    headers = {"Authorization": f"Bearer {token}"}
    with contextlib.suppress(ExitError, ConnectionError):
        run = running(data_dir_of(arguments))
        call(
            run.rest,
            "POST",
            "/api/v1/auth/logout",
            body={},
            headers=headers,
            certificate=run.rest_certificate,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = build_parser().parse_args(argv)
    module, _, function = arguments.command.partition(":")
    try:
        run = cast("Callable[[argparse.Namespace], int]", getattr(importlib.import_module(module), function))
        speak_as(getattr(arguments, "user", None), getattr(arguments, "code", None))
        try:
            return run(arguments)
        finally:
            _log_out(arguments)
    except ExitError as error:
        print(f"calejo: {error.line}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        # The reader of our output went away (`calejo tags | head`): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
