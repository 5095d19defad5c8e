"""Import files for SCADA systems: golden files of a small plant, and the shape that each system's documents ask for.

None of the systems is here: what a file must look like is taken from the documents named in each module. After a
wanted change, `PYTHONPATH=. python tests/unit/ops/kit/test_exports.py` writes the golden files anew; read the
difference before you keep it.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from actors.vocabulary import DeviceError
from ops.cli.kit_parser import FORMATS
from ops.cli.tags import _WRITERS
from ops.kit import factorytalk, plant_scada, wincc
from ops.kit.factorytalk import as_factorytalk
from ops.kit.ignition import as_ignition
from ops.kit.lists import COLUMNS, as_csv, as_markdown
from ops.kit.plant_scada import as_plant_scada
from ops.kit.plc import structured_text
from ops.kit.sheet import commissioning_sheet
from ops.kit.sparkplug import as_sparkplug
from ops.kit.tags import Tag, names, only, tags_of
from ops.kit.wincc import as_text, as_wincc
from ops.kit.xlsx import workbook
from protocols.sparkplug.names import definitions, sparkplug_points
from protocols.tags import tags as rows_of
from tests.unit.protocols.plants import north, site, station

GOLDEN = Path(__file__).parent / "golden"
ROWS = rows_of(site(station("hill-2", 3, {"hill-2_1": 0, "hill-2_7": 1_200})))
TAGS = tags_of(ROWS)
PLANT = tags_of(rows_of(north()))
# What OPC UA has: three of the four systems come by it.
NODES = tuple(tag for tag in PLANT if tag.node_id)

FILES: dict[str, Callable[[], str]] = {
    "map.csv": lambda: as_csv(ROWS),
    "map.md": lambda: as_markdown(ROWS),
    "wincc.txt": lambda: as_text(as_wincc(TAGS)),
    "ecostruxure.csv": lambda: as_plant_scada(TAGS, device="Calejo"),
    "factorytalk.csv": lambda: as_factorytalk(TAGS, shortcut="::[Calejo]"),
    "ignition.json": lambda: as_ignition(TAGS, server="Calejo"),
    "sparkplug.csv": lambda: as_sparkplug(ROWS),
    "station.st": lambda: structured_text(only(TAGS, station_id="hill-2")),
    "sheet.md": lambda: commissioning_sheet(only(TAGS, station_id="hill-2")),
}


@pytest.mark.parametrize("name", FILES)
def test_golden_file(name: str) -> None:
    """MOD-2, WDG-4: the same plant gives the same file; a change is seen in review."""
    assert FILES[name]().encode() == (GOLDEN / name).read_bytes()


def test_the_command_line_offers_what_is_written() -> None:
    """MOD-2, SPB-1: table, CSV, JSON, Markdown, four systems and Sparkplug's names."""
    assert ("table", *_WRITERS) == FORMATS


def test_sparkplugs_names_are_those_of_the_edge_node() -> None:
    """SPB-1: what is printed is what is born, metric for metric, with the same types."""
    printed = {
        (row["device"], row["metric"], row["type"].upper(), row["command"] == "yes", row["path"])
        for row in csv.DictReader(io.StringIO(as_sparkplug(rows_of(north()))))
    }
    born = {
        (each.device, each.name, each.datatype.name, each.writable, each.path)
        for each in definitions(sparkplug_points(north())).values()
        if ":" not in each.path
    }
    assert printed == born


def test_csv_says_what_json_says() -> None:
    """MOD-2: each row, each column; null is empty."""
    read = list(csv.DictReader(io.StringIO(as_csv(ROWS))))
    assert tuple(read[0]) == COLUMNS
    assert [{key: "" if row[key] is None else str(row[key]) for key in COLUMNS} for row in ROWS] == read


def test_markdown_has_a_line_per_place() -> None:
    """MOD-2: as many cells in every line as titles, one line per Modbus place, and per point that has none."""
    lines = [line for line in as_markdown(ROWS).splitlines() if line.startswith("| `")]
    places = sum(row["protocol"] == "modbus" for row in ROWS)
    assert len(lines) == places + sum(not tag.places for tag in TAGS)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {13}


def test_names_are_unique_whatever_the_ids() -> None:
    """MOD-2: ids that differ in a hyphen only get different tags, also where case does not count."""
    alike = tags_of(rows_of(site(station("s1", 1, {"a-b": 0, "a_b": 1, "1": 2}))))
    named = names(alike)
    assert len({name.lower() for name in named.values()}) == len(alike)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in named.values())
    assert named["/north/s1/1/setpoint"] == "CALEJO_north_s1_1_setpoint"


def test_wincc_sheet() -> None:
    """MOD-2: 33 columns, channel areas and types, one connection per station, addresses counted from 1."""
    header, *rows = as_wincc(PLANT)
    assert header == list(wincc.COLUMNS)
    assert {len(row) for row in rows} == {33}
    by_name = {str(row[0]): dict(zip(wincc.COLUMNS, row, strict=True)) for row in rows}
    # What stands on OPC UA alone has no place in a Modbus channel.
    assert len(by_name) == len([tag for tag in PLANT if tag.places])
    setpoint = by_name["CALEJO_north_s1_p2_setpoint"]
    assert (setpoint["Connection"], setpoint["Address"], setpoint["DataType"]) == (
        "Calejo_s1",
        "4x400154",
        "Int",
    )
    assert (setpoint["Linear scaling"], setpoint["End value PLC"], setpoint["End value HMI"]) == (
        "True",
        65_535,
        655.35,
    )
    level = by_name["CALEJO_north_s2_p3_wet_well_level"]
    assert (level["Address"], level["DataType"], level["Start value HMI"]) == (
        "4x400129",
        "+/-Double",
        -2_147_483.648,
    )
    assert level["Connection"] == "Calejo_s2"
    stop = by_name["CALEJO_north_s1_emergency_stop"]
    assert (stop["Address"], stop["DataType"], stop["Start value"]) == ("0x000001", "Bit", "<No Value>")
    assert by_name["CALEJO_north_failsafe"]["Address"] == "1x100002"
    for row in by_name.values():
        # A line through (start, start) and (end, end) must be value = raw x scale.
        if row["Linear scaling"] == "True":
            slope = (float(row["End value HMI"]) - float(row["Start value HMI"])) / (
                float(row["End value PLC"]) - float(row["Start value PLC"])
            )
            assert slope == pytest.approx(0.001 if row["Name"].endswith("level") else 0.01)  # type: ignore[union-attr]


def test_the_workbook_is_read_by_a_library_of_somebody_else_s_make() -> None:
    """MOD-2: openpyxl finds the sheet, its texts and its numbers; the same rows give the same bytes."""
    rows = as_wincc(PLANT)
    raw = workbook(wincc.SHEET, rows)
    assert raw == workbook(wincc.SHEET, rows)
    book = openpyxl.load_workbook(io.BytesIO(raw))
    assert book.sheetnames == ["Hmi Tags"]
    assert [[cell.value for cell in row] for row in book["Hmi Tags"].iter_rows()] == rows
    assert {entry.date_time[0] for entry in zipfile.ZipFile(io.BytesIO(raw)).infolist()} == {1980}
    odd = openpyxl.load_workbook(io.BytesIO(workbook("a", [['<&>" ', 1.5]]))).active
    assert (odd["A1"].value, odd["B1"].value) == ('<&>" ', 1.5)


def test_plant_scada_tags() -> None:
    """MOD-2: OPC UA node ids as addresses, the types its driver takes for ours."""
    read = list(csv.DictReader(io.StringIO(as_plant_scada(PLANT, device="IO1"))))
    assert tuple(read[0]) == plant_scada.COLUMNS
    assert {row["Data Type"] for row in read} == {"DIGITAL", "UINT", "ULONG", "REAL"}
    assert {row["I/O Device"] for row in read} == {"IO1"}
    assert [row["Address"] for row in read] == [tag.node_id for tag in NODES]
    assert all(len(row["Comment"]) <= 254 and len(row["Tag Name"]) <= 79 for row in read)
    # What an address of that driver cannot have.
    assert not any(part in row["Address"] for row in read for part in ("\\", "!A", ";!E="))


def test_factorytalk_file() -> None:
    """MOD-2: version line, folders before tags, 29 cells, read-only where we refuse writes."""
    text = as_factorytalk(PLANT, shortcut="::[Calejo]")
    lines = text.split("\r\n")
    assert lines[1] == factorytalk.VERSION
    assert "\n" not in text.replace("\r\n", "")
    rows = list(csv.reader(line for line in lines if line and not line.startswith(";")))
    folders = [row for row in rows if row[0] == "F"]
    tags = rows[len(folders) :]
    assert rows[: len(folders)] == folders
    assert {len(row) for row in tags} == {len(factorytalk.COLUMNS)} == {29}
    assert all("\\".join(row[1].split("\\")[:-1]) in {folder[1] for folder in folders} for row in tags)
    cells = {row[1]: dict(zip(factorytalk.COLUMNS, row, strict=True)) for row in tags}
    assert len(cells) == len(NODES)
    setpoint = cells["CALEJO\\north\\s1\\p1\\setpoint"]
    assert (setpoint["Tag Type"], setpoint["Read Only"], setpoint["Units"]) == ("A", "T", "Hz")
    assert setpoint["Address"] == "::[Calejo]north/s1/p1/setpoint"
    assert (setpoint["Min Analog"], setpoint["Max Analog"]) == ("0", "655.35")
    stop = cells["CALEJO\\north\\s1\\emergency_stop"]
    assert (stop["Tag Type"], stop["Read Only"], stop["On Label Digital"]) == ("D", "F", "On")
    for tag, row in zip(NODES, tags, strict=True):
        assert (row[3] == "F") is tag.writable


def leaves(folder: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    assert {"name", "tagType", "tags"} == set(folder)
    for child in folder["tags"]:
        here = f"{path}/{child['name']}"
        found.update(leaves(child, here) if child["tagType"] == "Folder" else {here: child})
    return found


def test_ignition_tags() -> None:
    """MOD-2: folders as our paths, item paths by namespace URI, types that hold every value of ours."""
    tags = leaves(json.loads(as_ignition(PLANT, server="Site A")))
    assert set(tags) == {tag.path for tag in NODES}
    for tag in NODES:
        made = tags[tag.path]
        assert made["opcItemPath"] == f"nsu=urn:calejo;s={tag.path}"
        assert (made["tagType"], made["valueSource"], made["opcServer"]) == ("AtomicTag", "opc", "Site A")
        assert made["dataType"] in {"Boolean", "Int4", "Int8", "Float8"}
        assert made["readOnly"] is not tag.writable
        assert made.get("engUnit", "") == tag.unit


@pytest.mark.parametrize("rows", [[{"protocol": "opcua"}], [{}], [{**ROWS[0], "address": "x"}]])
def test_rows_that_are_none_are_refused(rows: list[dict[str, Any]]) -> None:
    """SUP-7: an answer of another make is an error that says so, not a traceback."""
    with pytest.raises(DeviceError, match="/api/v1/tags"):
        tags_of(rows)


def test_a_tag_knows_its_range() -> None:
    """MOD-2: what its registers can say, in its unit."""
    found: dict[str, Tag] = {tag.point: tag for tag in PLANT}
    assert found["setpoint"].value_range == (0.0, 655.35)
    assert found["wet_well_level"].value_range == (-2_147_483.648, 2_147_483.647)
    assert found["running"].value_range == (0.0, 1.0)
    assert found["epoch"].value_range == (0, 4_294_967_295)


if __name__ == "__main__":
    for name, make in FILES.items():
        (GOLDEN / name).write_bytes(make().encode())
