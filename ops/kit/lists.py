"""The map as CSV and Markdown, for people and for programs that are none of the four systems we write files for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

COLUMNS: Final = (
    "path", "protocol", "unit_id", "table", "address", "count", "type", "scale", "unit", "access", "node_id",
    "description",
)  # fmt: skip


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the rows of `/api/v1/tags` as CSV (RFC 4180): a header, one line per place and node, '' for null."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(["" if row[column] is None else row[column] for column in COLUMNS] for row in rows)
    return text.getvalue()


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as Markdown: a table per station, a line per point with both of its places."""
    nodes = {row["path"]: row for row in rows if row["protocol"] == "opcua"}
    placed = {row["path"] for row in rows if row["protocol"] == "modbus"}
    lines = ["# The map"]
    group: tuple[str, str | None] | None = None
    for row in rows:
        if row["protocol"] != "modbus" and row["path"] in placed:
            continue
        here = (row["site_id"], row["station_id"])
        if here != group:
            group = here
            title = f"site {here[0]}" if here[1] is None else f"site {here[0]}, station {here[1]}"
            lines += ["", f"## {title}", "", _line(*_TITLES), _line(*("---" for _ in _TITLES))]
        node = nodes.get(row["path"], {"node_id": "–", "type": "–"})
        lines.append(
            _line(
                f"`{row['path']}`",
                row["unit"] or "",
                row["access"],
                *_place(row),
                f"`{node['node_id']}`" if row["path"] in nodes else "–",
                node["type"],
                row["description"],
            )
        )
    return "\n".join(lines) + "\n"


def _place(row: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the cells of a Modbus place, empty for what stands on OPC UA alone."""
    if row["protocol"] != "modbus":
        return ("",) * 6
    return (row["unit_id"], row["table"], row["address"], row["count"], row["type"], f"{row['scale']:g}")


_TITLES: Final = (
    "path", "unit", "access", "unit id", "table", "address", "registers", "raw", "scale", "OPC UA node", "OPC UA type",
    "meaning",
)  # fmt: skip


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |"
