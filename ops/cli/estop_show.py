"""`calejo estop show STOP [--wait DURATION]`: what wires and controllers show of a stop, until all pumps stand still.

The answer to a stop comes before any controller can have read it. Who wants to know that the motors stand, asks here.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, Final
from urllib.parse import quote

from ops.cli.client import ask
from ops.cli.estop import lines_of
from ops.cli.exits import DONE, FAILED
from ops.cli.output import show
from ops.cli.settings_of import data_dir_of

_LOOK_S: Final = 0.5


def show_stop(arguments: argparse.Namespace) -> int:
    """Print a stop with each endpoint and covered pump; with --wait look until all of it is so, or the time is over.

    Exit code 1: an endpoint does not show it, or a pump is not measured standing still (after --wait, if given).

    Raises:
        ExitError: as `ops.cli.client.ask`; (4) there is no such stop.

    """
    data_dir = data_dir_of(arguments)
    path = f"/api/v1/emergency-stops/{quote(arguments.stop, safe='')}"
    until = time.monotonic() + (arguments.wait_s or 0.0)
    while True:
        stop: dict[str, Any] = ask(data_dir, "GET", path)
        done = is_carried_out(stop)
        left_s = until - time.monotonic()
        if done or left_s <= 0.0:
            break
        time.sleep(min(_LOOK_S, left_s))
    if arguments.format == "json":
        show(stop, (), form="json")
    else:
        what = "emergency stop" if stop["kind"] == "emergency_stop" else "out of service"
        cleared = (
            "" if stop["cleared_by"] is None else f", cleared by {stop['cleared_by']}: {stop['clear_reason']}"
        )
        scope = f"{stop['scope']} {stop['scope_id']}".rstrip()
        print(f"{what} of {scope} by {stop['set_by']} since {stop['set_at']}: {stop['reason']}{cleared}")
        print("\n".join(lines_of(stop)))
    return DONE if done else FAILED


def is_carried_out(stop: dict[str, Any]) -> bool:
    """Say whether every endpoint shows a stop and every covered pump stands; of a cleared one nothing is awaited."""
    if stop["cleared_by"] is not None:
        return True
    published = bool(stop["endpoints"]) and all(each["published"] for each in stop["endpoints"])
    still: dict[str, bool] = {}
    for pump in stop["pumps"]:
        # The endpoints share what controllers write: one word that it turns counts for more than another's silence.
        word = pump["stopped"] is True
        still[pump["pump_id"]] = still.get(pump["pump_id"], True) and word
    return published and all(still.values())
