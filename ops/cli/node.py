"""`calejo node start|reload|status`: this machine as a node of a Ray cluster, and how its processes are started."""

from __future__ import annotations

import argparse
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actors.vocabulary import Address, DeviceError, UnavailableError
from ops import modbus_access, opcua_access
from ops.cli.exits import DONE, FAILED, NOT_RUNNING, ExitError
from ops.cli.output import show
from ops.cli.settings_of import data_dir_of, settings_of

_COLUMNS = ("of", "template", "forked", "cold", "refused", "reloads", "templates_lost", "why")
# One that is ignored (nohup) stays so.
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NODE = Address("/node")  # the name of this process's log


def start(arguments: argparse.Namespace) -> int:
    """Join the cluster and stay until SIGINT, SIGTERM or SIGHUP; its workers on this machine are forked.

    Does what `ray start --address … --block` does, by the same function: Ray's token (`RAY_AUTH_TOKEN` or
    `RAY_AUTH_TOKEN_PATH`), TLS (`RAY_USE_TLS` and its files) and every other variable of Ray's count as there.

    Raises:
        ExitError: (1) the data directory cannot be written, Ray's authentication is off, or Ray does not start.

    """
    settings = settings_of(arguments)
    from supervisors import logging
    from supervisors.forking.service import NODE_STATE, prepared
    from supervisors.on_ray import session
    from supervisors.on_ray.owned_folder import OwnedFolder

    try:
        session.require_tokens()
        Path(settings.data_dir).mkdir(parents=True, exist_ok=True, mode=0o750)
        logging.configure(settings.log, data_dir=settings.data_dir, address=_NODE)
        # A site that is served on this machine shows its certificate, and trusts whom its folder names.
        for access in (opcua_access, modbus_access):
            for line in access.prepare(settings, now=datetime.now(UTC)):  # noqa: TID251  (a shell without a clock)
                print(line, flush=True)
    except UnavailableError as error:
        raise ExitError(FAILED, str(error)) from error
    except (OSError, DeviceError) as error:
        raise ExitError(FAILED, f"data directory {settings.data_dir}: {error}") from error
    folder = OwnedFolder.make(Path("/tmp"), prefix="calejo-")  # noqa: S108  made with mkdtemp, short for its socket
    work_dir = folder.path / "empty"
    work_dir.mkdir()
    forking = prepared(
        folder.path / "f",
        wanted=settings.runtime.forked_workers,
        code_path=session.CODE_PATH,
        data_dir=Path(settings.data_dir),
        state=NODE_STATE,
        log=logging.LoguruLog(_NODE, "node"),
    )
    how = "forked" if forking is not None else "started cold (the log says why)"
    print(f"joining Ray at {arguments.address}; processes on this machine are {how}", flush=True)
    former = {each: signal.signal(each, _leave) for each in _ENDS if signal.getsignal(each) != signal.SIG_IGN}
    try:
        with session.surroundings(work_dir, forking):
            _ray_start(["--address", arguments.address, *arguments.ray])
    finally:
        if forking is not None:
            forking.stop()
        folder.remove()
        for each, handler in former.items():
            signal.signal(each, handler)
    return DONE


def _leave(*_: object) -> None:
    """Unwind; Ray ends the node's processes when this one exits."""
    sys.exit(DONE)


def _ray_start(options: list[str]) -> None:
    import click
    from ray.scripts.scripts import start as ray_start

    try:
        ray_start.main(["--block", *options], prog_name="ray start", standalone_mode=False)
    except click.ClickException as error:
        raise ExitError(FAILED, f"ray start: {error.format_message()}") from error
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ExitError(FAILED, f"ray start: {error}") from error


def reload(arguments: argparse.Namespace) -> int:
    """Replace the processes that workers are forked from by ones with the code on disk.

    Raises:
        ExitError: (3) nothing runs here that forks, (1) the new code cannot be loaded; the old one serves on.

    """
    from supervisors.forking.protocol import RELOAD

    return _ask(arguments, RELOAD)


def status(arguments: argparse.Namespace) -> int:
    """Print how many processes were forked, how many started cold and why.

    Raises:
        ExitError: (3) nothing runs here that forks.

    """
    from supervisors.forking.protocol import STATUS

    return _ask(arguments, STATUS)


def _ask(arguments: argparse.Namespace, kind: int) -> int:
    from supervisors.forking.protocol import RELOAD
    from supervisors.forking.service import NODE_STATE, ask, states_of

    data_dir = data_dir_of(arguments)
    rows: list[dict[str, Any]] = []
    for name, state in states_of(data_dir).items():
        try:
            said = ask(state, kind)
        except OSError:
            continue  # of a run that was killed: it is as good as not there
        why = said.get("why") or said["off"]
        rows.append({"of": "node" if name == NODE_STATE else "run", **said, "why": why})
    if not rows:
        raise ExitError(NOT_RUNNING, f"nothing that forks processes runs with {data_dir}")
    show(rows, _COLUMNS, form=arguments.format)
    failed = [row["why"] for row in rows if row["why"]] if kind == RELOAD else []
    if failed:
        print(f"calejo: not reloaded, the former code serves on: {failed[0]}", file=sys.stderr)
    return FAILED if failed else DONE
