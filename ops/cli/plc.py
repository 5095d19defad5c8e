"""`calejo plc`: Structured Text and commissioning sheet of a station, from the running map."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from actors.vocabulary import DeviceError
from ops.cli.exits import DONE, FAILED, ExitError
from ops.cli.tags import tags_for
from ops.kit.plc import structured_text
from ops.kit.sheet import commissioning_sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ops.kit.tags import Tag


def st(arguments: argparse.Namespace) -> int:
    """Write the station's Structured Text.

    Raises:
        ExitError: (2) no such station; (1) it has no pump, or the file cannot be written; else as `ask`.

    """
    return _write(arguments, structured_text)


def sheet(arguments: argparse.Namespace) -> int:
    """Write the station's commissioning sheet.

    Raises:
        ExitError: as `st`.

    """
    return _write(arguments, commissioning_sheet)


def _write(arguments: argparse.Namespace, make: Callable[[Sequence[Tag]], str]) -> int:
    try:
        text = make(tags_for(arguments))
    except DeviceError as error:
        raise ExitError(FAILED, str(error)) from error
    if arguments.out is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return DONE
    try:
        arguments.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExitError(FAILED, f"{arguments.out}: not written ({error.strerror})") from error
    print(f"{arguments.out}: {len(text.splitlines())} lines", file=sys.stderr)
    return DONE
