"""`calejo explain PUMP [--at TIME | --from TIME --to TIME]`: why a setpoint is or was what it is (SAF-4, BYD-1).

The present is asked of the running system. The past is asked of it as well, and read from the database when nothing
runs or its API does not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from ops.cli import views
from ops.cli.client import ask_run
from ops.cli.exits import DONE, FAILED, REFUSED, USAGE, ExitError
from ops.cli.output import show
from ops.cli.settings_of import data_dir_of, settings_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.decisions import Decisions

# The database is asked in between.
_TIMEOUT_S: Final = 15.0
_COLUMNS: Final = (
    "decided_at", "setpoint_hz", "remote_enabled", "reason", "rules", "plan_id", "limits_version", "epoch", "sequence",
)  # fmt: skip


def explain(arguments: argparse.Namespace) -> int:
    """Print the chain from plan row to plant: of now, of a moment, or the decisions of a span.

    Raises:
        ExitError: (2) no moment, or one to come; (4) no such pump, or nothing is remembered of that time; (1) neither
            the API nor the database answers; (3) the present is asked for and nothing runs.

    """
    span = arguments.start is not None or arguments.end is not None
    if arguments.at is None and not span:
        return views.explain(arguments)
    if arguments.at is not None and span:
        raise ExitError(USAGE, "give either --at or a span (--from, --to)")
    if span:
        return _list(arguments)
    at = _moment(arguments.at, "--at")
    answer = _ask(arguments, {"at": at.isoformat()}, lambda past: past.at(arguments.pump, at.isoformat()))
    if arguments.format == "json":
        show(answer, (), form="json")
    else:
        print("\n".join(answer["sentences"]))
    return DONE


def _list(arguments: argparse.Namespace) -> int:
    start = None if arguments.start is None else _moment(arguments.start, "--from").isoformat()
    end = None if arguments.end is None else _moment(arguments.end, "--to").isoformat()
    asked = {"from": start, "to": end, "limit": arguments.limit, "following": arguments.following}
    page = _ask(
        arguments,
        {name: value for name, value in asked.items() if value},
        lambda past: past.page(
            arguments.pump,
            start=start,
            end=end,
            following=arguments.following,
            count=arguments.limit,
            trail=False,
        ),
    )
    if arguments.format == "json":
        show(page, (), form="json")
        return DONE
    show(
        [{**row, "rules": " ".join(row["rules"]) or "-"} for row in page["decisions"]], _COLUMNS, form="table"
    )
    if page["following"]:
        print(f"more: --following '{page['following']}'", file=sys.stderr)
    return DONE


def _moment(text: str, place: str) -> datetime:
    from actors.vocabulary import InvalidValueError
    from ops.cli.moments import moment_of
    from supervisors.process import SystemClock

    try:
        return moment_of(text, now=SystemClock().now().utc, place=place)
    except InvalidValueError as error:
        raise ExitError(USAGE, str(error)) from error


def _ask(
    arguments: argparse.Namespace,
    parameters: dict[str, Any],
    read: Callable[[Decisions], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    """Ask the API of what runs, or read the database of what does not.

    Raises:
        ExitError: as `explain`.

    """
    from ops.rundir import find_run

    data_dir = data_dir_of(arguments)
    run = find_run(data_dir)
    if run is not None:
        path = f"/api/v1/decisions/{quote(arguments.pump, safe='')}?{urlencode(parameters)}"
        try:
            answer: dict[str, Any] = ask_run(run, data_dir, "GET", path, timeout_s=_TIMEOUT_S)
        except ConnectionError as error:
            print(f"calejo: {error}; reading the database", file=sys.stderr)
        else:
            return answer
    return _from_database(arguments, read)


def _from_database(
    arguments: argparse.Namespace, read: Callable[[Decisions], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    from actors.vocabulary import CalejoError, InvalidValueError, UnknownSubjectError

    try:
        return asyncio.run(_read(arguments, read))
    except InvalidValueError as error:
        raise ExitError(USAGE, str(error)) from error
    except UnknownSubjectError as error:
        raise ExitError(REFUSED, str(error)) from error
    except CalejoError as error:
        raise ExitError(FAILED, str(error)) from error


async def _read(
    arguments: argparse.Namespace, read: Callable[[Decisions], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    from api.decisions import Decisions
    from ops.database import database_urls
    from storage import schema
    from storage.decisions import Decisions as Rows
    from storage.engine import Access, Database, real_chance
    from supervisors.process import SystemClock

    settings = settings_of(arguments)
    url = database_urls(settings).writer
    schema.require_current(url)
    database = Database(url, Access.READ, settings=settings.database, chance=real_chance())
    try:
        return await read(Decisions(None, Rows(database), clock=SystemClock(), settings=settings))
    finally:
        await database.close()
