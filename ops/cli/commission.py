"""`calejo db commission PUMP KEY=VALUE…`: writes a pump's envelope, straight into the database (SAF-6)."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from actors.vocabulary import CalejoError, Settings
from ops.cli.exits import DONE, FAILED, ExitError
from ops.cli.limits import numbers_of
from ops.cli.settings_of import settings_of


def commission(arguments: argparse.Namespace) -> int:
    """Set how far limits may ever go; needs the database owner's login; Calejo need not run.

    Raises:
        ExitError: (2) a bound is not KEY=VALUE; (1) the bounds, the pump or the database refuse it.

    """
    from ops.database import require_current
    from storage.urls import shown

    settings = settings_of(arguments)
    bounds, by = numbers_of(arguments.bounds), str(arguments.by).strip()
    if not by or not by.isprintable():
        raise ExitError(FAILED, f"--by: {by!r}, expected a name")
    try:
        require_current(settings)
        before = asyncio.run(_commission(settings, arguments, bounds, by))
    except CalejoError as error:
        raise ExitError(FAILED, str(error)) from error
    if arguments.format == "json":
        print(json.dumps({"pump_id": arguments.pump.lower(), "before": before, "bounds": bounds}))
        return DONE
    from ops.database import database_urls
    from storage.urls import parsed

    where = shown(parsed(database_urls(settings).writer, "sync"))
    print(f"pump {arguments.pump.lower()} is commissioned by {by} in {where}")
    return DONE


async def _commission(
    settings: Settings, arguments: argparse.Namespace, bounds: dict[str, float], by: str
) -> dict[str, Any]:
    from actors.vocabulary.ids import checked_id
    from ops.database import database_urls
    from storage import commissioning
    from storage.engine import Access, Database, real_chance
    from supervisors.process import SystemClock

    url = database_urls(settings).writer
    database = Database(url, Access.WRITE, settings=settings.database, chance=real_chance())
    try:
        return await commissioning.commission(
            database,
            pump_id=checked_id(arguments.pump, place="pump"),
            bounds=bounds,
            by=by,
            at=SystemClock().now().utc,
            replace=arguments.replace,
        )
    finally:
        await database.close()
