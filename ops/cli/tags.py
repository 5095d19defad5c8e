"""`calejo tags`: the map as a list, or as a file that a SCADA system imports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from actors.vocabulary import DeviceError
from ops.cli.client import ask
from ops.cli.exits import DONE, FAILED, USAGE, ExitError
from ops.cli.output import show
from ops.cli.settings_of import data_dir_of
from ops.kit.factorytalk import as_factorytalk
from ops.kit.ignition import as_ignition
from ops.kit.lists import as_csv, as_markdown
from ops.kit.plant_scada import as_plant_scada
from ops.kit.sparkplug import as_sparkplug
from ops.kit.tags import Tag, tags_of
from ops.kit.wincc import SHEET, as_text, as_wincc
from ops.kit.xlsx import workbook

_Rows: TypeAlias = Sequence[dict[str, Any]]
_COLUMNS: Final = (
    "path", "protocol", "unit_id", "table", "address", "count", "type", "scale", "unit", "access", "node_id",
)  # fmt: skip


def command(arguments: argparse.Namespace) -> int:
    """Print every point on the wires, or write an import file (`--out`).

    Raises:
        ExitError: (2) no such station or pump, or a workbook without `--out`; (1) the file cannot be written;
            else as `ops.cli.client.ask`.

    """
    rows = rows_of(arguments)
    form = arguments.format
    if arguments.out is None and form in ("table", "json"):
        show(rows, _COLUMNS, form=form)
        return DONE
    if form == "table":
        raise ExitError(USAGE, "--out goes with another --format than table")
    content = _WRITERS[form](arguments, rows)
    if arguments.out is None:
        # Line ends as the importing system wants them, whatever this terminal's are.
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return DONE
    try:
        arguments.out.write_bytes(content)
    except OSError as error:
        raise ExitError(FAILED, f"{arguments.out}: not written ({error.strerror})") from error
    print(f"{arguments.out}: {len(rows)} rows, {len(content)} bytes", file=sys.stderr)
    return DONE


def rows_of(arguments: argparse.Namespace) -> _Rows:
    """Return the running map, narrowed to `--site`, `--station` and `--pump` where they are given.

    Raises:
        ExitError: (2) nothing is left; else as `ops.cli.client.ask`.

    """
    return narrowed(every_row(arguments), arguments)


def every_row(arguments: argparse.Namespace) -> _Rows:
    """Return the running map.

    Raises:
        ExitError: as `ops.cli.client.ask`.

    """
    rows: _Rows = ask(data_dir_of(arguments), "GET", "/api/v1/tags")
    return rows


def narrowed(rows: _Rows, arguments: argparse.Namespace) -> _Rows:
    """Return the rows of `--site`, `--station` and `--pump`.

    Raises:
        ExitError: (2) nothing is left.

    """
    for key in ("site_id", "station_id", "pump_id"):
        wanted = getattr(arguments, key, None)
        if wanted is not None:
            rows = [row for row in rows if row[key] == wanted.lower()]
            if not rows:
                raise ExitError(
                    USAGE, f"no {key.removesuffix('_id')} {wanted!r} on the wires (see `calejo tags`)"
                )
    return rows


def tags_for(arguments: argparse.Namespace) -> tuple[Tag, ...]:
    """Return the tags of `rows_of`.

    Raises:
        ExitError: as `rows_of`; (1) the answer is no list of tags.

    """
    return as_tags(rows_of(arguments))


def as_tags(rows: _Rows) -> tuple[Tag, ...]:
    """Return the tags of rows.

    Raises:
        ExitError: (1) they are no list of tags.

    """
    try:
        return tags_of(rows)
    except DeviceError as error:
        raise ExitError(FAILED, str(error)) from error


def _json(_: argparse.Namespace, rows: _Rows) -> bytes:
    import json

    return (json.dumps(rows, indent=2) + "\n").encode()


def _wincc(arguments: argparse.Namespace, rows: _Rows) -> bytes:
    sheet = as_wincc(as_tags(rows))
    out: Path | None = arguments.out
    return (
        workbook(SHEET, sheet)
        if out is not None and out.suffix.lower() == ".xlsx"
        else as_text(sheet).encode()
    )


_WRITERS: Final[dict[str, Callable[[argparse.Namespace, _Rows], bytes]]] = {
    "json": _json,
    "csv": lambda _, rows: as_csv(rows).encode(),
    "markdown": lambda _, rows: as_markdown(rows).encode(),
    "wincc": _wincc,
    "ecostruxure": lambda arguments, rows: as_plant_scada(as_tags(rows), device=arguments.device).encode(),
    "factorytalk": lambda arguments, rows: as_factorytalk(
        as_tags(rows), shortcut=arguments.shortcut
    ).encode(),
    "ignition": lambda arguments, rows: as_ignition(as_tags(rows), server=arguments.server).encode(),
    "sparkplug": lambda _, rows: as_sparkplug(rows).encode(),
}
