"""`calejo clean-out start|stop PUMP`: a person begins and ends the one supervised exception to dry run (CTL-6)."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Callable
from urllib.parse import quote

from ops.cli.client import ask
from ops.cli.exits import DONE
from ops.cli.output import show
from ops.cli.settings_of import data_dir_of

_COLUMNS = ("pump_id", "by", "note")


def add_clean_out(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    data: argparse.ArgumentParser,
    *,
    user: str,
    duration_s: Callable[[str], float],
) -> None:
    """Add the command to the parser."""
    text = "run one pump down below its dry-run level, once, supervised and bounded"
    verbs = commands.add_parser("clean-out", help=text).add_subparsers(required=True)
    for verb, function, about in (("start", "start", text), ("stop", "stop", "end it now")):
        parser = verbs.add_parser(verb, parents=[common, data], help=about)
        parser.set_defaults(command=f"ops.cli.duties:{function}")
        parser.add_argument("pump")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", default=user, help="who orders it (default: the user's name)")
        if verb == "start":
            parser.add_argument(
                "--for",
                dest="lasts_s",
                type=duration_s,
                default=None,
                metavar="DURATION",
                help="at most so long (default and bound: clean_out_run_s)",
            )


def start(arguments: argparse.Namespace) -> int:
    """Order a clean-out.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    body = {
        "by": arguments.by,
        "reason": arguments.reason,
        "lasts_s": arguments.lasts_s,
        "command_id": str(uuid.uuid4()),
    }
    answer = ask(data_dir_of(arguments), "POST", _path(arguments.pump), body=body)
    show(answer, _COLUMNS, form=arguments.format)
    return DONE


def stop(arguments: argparse.Namespace) -> int:
    """End a clean-out.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    body = {"by": arguments.by, "reason": arguments.reason}
    answer = ask(data_dir_of(arguments), "POST", f"{_path(arguments.pump)}/end", body=body)
    show(answer, _COLUMNS, form=arguments.format)
    return DONE


def _path(pump: str) -> str:
    return f"/api/v1/pumps/{quote(pump, safe='')}/clean-out"
