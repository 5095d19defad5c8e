"""Prints rows as a table for people or JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def show(rows: Sequence[Mapping[str, Any]] | Mapping[str, Any], columns: Sequence[str], *, form: str) -> None:
    """Print `rows`: all of it as JSON, or the named columns as an aligned table."""
    if form == "json":
        print(json.dumps(rows, indent=2, sort_keys=False))
        return
    listed = [rows] if isinstance(rows, Mapping) else list(rows)
    cells = [[_text(row.get(column)) for column in columns] for row in listed]
    widths = [max(len(column), *(len(row[at]) for row in cells), 0) for at, column in enumerate(columns)]
    lines = [columns, *cells]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    sys.stdout.flush()


def _text(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
