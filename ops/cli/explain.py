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
from ops.cli.client import ask_page
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
    answer, _ = _ask(
        arguments, {"at": at.isoformat()}, lambda past: _at(past, arguments.pump, at.isoformat())
    )
    if arguments.format == "json":
        show(answer, (), form="json")
    else:
        print("\n".join(answer["sentences"]))
    return DONE


def _list(arguments: argparse.Namespace) -> int:
    start = None if arguments.start is None else _moment(arguments.start, "--from").isoformat()
    end = None if arguments.end is None else _moment(arguments.end, "--to").isoformat()
    asked = {"from": start, "to": end, "limit": arguments.limit, "cursor": arguments.following}

    async def read(past: Decisions) -> tuple[Any, str]:
        import msgspec

        page = await past.page(
            arguments.pump,
            start=start,
            end=end,
            cursor=arguments.following,
            count=arguments.limit,
            trail=False,
        )
        return msgspec.to_builtins(page.rows), page.following

    rows, following = _ask(arguments, {name: value for name, value in asked.items() if value}, read)
    if arguments.format == "json":
        show({"pump_id": arguments.pump, "decisions": rows, "following": following}, (), form="json")
        return DONE
    show([{**row, "rules": " ".join(row["rules"]) or "-"} for row in rows], _COLUMNS, form="table")
    if following:
        print(f"more: --following '{following}'", file=sys.stderr)
    return DONE


async def _at(past: Decisions, pump_id: str, at: str) -> tuple[Any, str]:
    import msgspec

    return msgspec.to_builtins(await past.at(pump_id, at)), ""


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
    read: Callable[[Decisions], Awaitable[tuple[Any, str]]],
) -> tuple[Any, str]:
    """Ask the API of what runs, or read the database of what does not; return the answer and the next page's cursor.

    Raises:
        ExitError: as `explain`.

    """
    from ops.rundir import find_run

    data_dir = data_dir_of(arguments)
    run = find_run(data_dir)
    if run is not None:
        path = f"/api/v1/decisions/{quote(arguments.pump, safe='')}?{urlencode(parameters)}"
        try:
            return ask_page(run, data_dir, path, timeout_s=_TIMEOUT_S)
        except ConnectionError as error:
            print(f"calejo: {error}; reading the database", file=sys.stderr)
    return _from_database(arguments, read)


def _from_database(
    arguments: argparse.Namespace, read: Callable[[Decisions], Awaitable[tuple[Any, str]]]
) -> tuple[Any, str]:
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
    arguments: argparse.Namespace, read: Callable[[Decisions], Awaitable[tuple[Any, str]]]
) -> tuple[Any, str]:
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
