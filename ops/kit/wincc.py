"""HMI tags for SIMATIC WinCC (TIA Portal: Comfort, Advanced), over its channel "Modicon MODBUS TCP/IP".

The sheet "Hmi Tags" and its 33 columns are those of TIA Portal's own tag export (V13 to V18), as public
projects carry it; we found no table of them by Siemens. The channel's areas and type names (0x, 1x, 4x; Bit,
Int, Double, +/-Double: unsigned and signed, 16 and 32 bits; the address one above ours) follow the WinCC
manual's chapter on Modicon MODBUS, whose pages were not at hand to compare. Nobody has imported this file
into TIA Portal for us: import one pump first, and compare `epoch` with `calejo wire watch` for the
connection's word order.

One connection per station, named `Calejo_<station>`: its slave address is the station's unit id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ops.kit.tags import RAW_RANGE, Place, Tag, names, word

SHEET: Final = "Hmi Tags"
_NONE: Final = "<No Value>"
COLUMNS: Final = (
    "Name", "Path", "Connection", "PLC tag", "DataType", "Length", "Coding", "Access Method", "Address",
    "Indirect addressing", "Index tag", "Start value", "ID tag", "Display name [en-US]", "Comment [en-US]",
    "Acquisition mode", "Acquisition cycle", "Limit Upper 2 Type", "Limit Upper 2", "Limit Upper 1 Type",
    "Limit Upper 1", "Limit Lower 2 Type", "Limit Lower 2", "Limit Lower 1 Type", "Limit Lower 1", "Linear scaling",
    "End value PLC", "Start value PLC", "End value HMI", "Start value HMI", "Gmp relevant", "Confirmation Type",
    "Mandatory Commenting",
)  # fmt: skip
_TYPES: Final[Mapping[str, tuple[str, int]]] = {
    "bool": ("Bit", 1),
    "uint16": ("Int", 2),
    "uint32": ("Double", 4),
    "int32": ("+/-Double", 4),
}
# Area, digits and the number of its first cell; ours is 0.
_AREAS: Final[Mapping[str, tuple[str, int]]] = {
    "coil": ("0x", 1),
    "discrete": ("1x", 100_001),
    "holding": ("4x", 400_001),
}


def as_wincc(tags: Sequence[Tag]) -> list[list[str | float]]:
    """Return the sheet, the header first; a site's point stands in the unit of its first station only."""
    named = names(tags)
    stations = {
        tag.places[0].unit_id: tag.station_id for tag in tags if tag.station_id is not None and tag.places
    }
    rows: list[list[str | float]] = [list(COLUMNS)]
    for tag in tags:
        for place in tag.places[:1]:
            station = stations.get(place.unit_id)
            connection = f"{_CONNECTION}{word(station or str(place.unit_id))}"
            rows.append(_row(tag, place, named[tag.path], connection))
    return rows


def as_text(rows: Sequence[Sequence[str | float]]) -> str:
    """Return the sheet as text for pasting into a spreadsheet: tabs between cells, CR LF after rows."""
    return "".join("\t".join(_cell(cell) for cell in row) + "\r\n" for row in rows)


_CONNECTION: Final = "Calejo_"


def _row(tag: Tag, place: Place, name: str, connection: str) -> list[str | float]:
    kind, length = _TYPES[place.type]
    area, first = _AREAS[place.table]
    scaled = place.scale != 1.0
    raw_low, raw_high = RAW_RANGE[place.type]
    low, high = tag.value_range
    scaling: list[str | float] = (
        ["True", raw_high, raw_low, high, low] if scaled else ["False", 10, 0, 100, 0]
    )
    return [
        name, tag.owner[1:].replace("/", "\\"), connection, _NONE, kind, length, "Binary", "Absolute access",
        f"{area}{first + place.address:06d}", "False", _NONE, _NONE, 0, _NONE, _comment(tag), "Cyclic in operation",
        "1 s", "None", _NONE, "None", _NONE, "None", _NONE, "None", _NONE, *scaling, "False", "None", "False",
    ]  # fmt: skip


def _comment(tag: Tag) -> str:
    unit = f" ({tag.unit})" if tag.unit else ""
    return f"{tag.description}{unit}"


def _cell(cell: str | float) -> str:
    return cell.replace("\t", " ") if isinstance(cell, str) else f"{cell:.12g}"
