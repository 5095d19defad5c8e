"""HMI tags for FactoryTalk View (Rockwell Automation): the CSV of its Tag Import and Export Wizard, version ###002.

We found no table of these 29 columns by Rockwell; titles, version line and row forms are those that the wizard's own
export files carry in public projects. The values come over FactoryTalk Linx: its OPC UA Connector reads our
namespace (Rockwell's FactoryTalk Services Platform help 6.60, "Supported data constructs" and "OPC UA Servers"). How
the connector spells an item in an address is not in the pages that we have: the file puts a prefix of yours
(`--shortcut`) before `site/station/pump/point`; browse one tag there and compare before you import all. Checked against
such files only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ops.kit.tags import PREFIX, Tag, names

COLUMNS: Final = (
    "Tag Type", "Tag Name", "Tag Description", "Read Only", "Data Source", "Security Code", "Alarmed", "Native Type",
    "Value Type", "Min Analog", "Max Analog", "Initial Analog", "Scale", "Offset", "DeadBand", "Units",
    "Off Label Digital", "On Label Digital", "Initial Digital", "Length String", "Initial String", "Retentive",
    "Address", "System Source Name", "System Source Index", "RIO Address", "Element Size Block",
    "Number Elements Block", "Initial Block",
)  # fmt: skip
VERSION: Final = ";###002 - THIS LINE CONTAINS VERSION INFORMATION. DO NOT REMOVE!!!"
_DESCRIPTION_MAX: Final = 128
_FOLDER: Final = "F"
_DIGITAL: Final = "D"
_ANALOG: Final = "A"


def as_factorytalk(tags: Sequence[Tag], *, shortcut: str) -> str:
    """Return the wizard's file, folders first, lines ended by CR LF; `shortcut` is a prefix such as `::[Calejo]`."""
    return "".join(f"{line}\r\n" for line in _lines(tags, shortcut))


def _lines(tags: Sequence[Tag], shortcut: str) -> Iterator[str]:
    tags = [tag for tag in tags if tag.node_id]
    named = names(tags, separator="\\")
    yield ";" + ", ".join(COLUMNS)
    yield VERSION
    yield ""
    yield ";Folders Section (Must define folders before tags)"
    folders = dict.fromkeys([PREFIX])
    for tag in tags:
        parts = named[tag.path].split("\\")
        folders.update(dict.fromkeys("\\".join(parts[:depth]) for depth in range(2, len(parts))))
    for folder in folders:
        yield ",".join([_quoted(_FOLDER), _quoted(folder), _quoted(""), _quoted("F")])
    yield ""
    yield ";Tag Section"
    for tag in tags:
        yield ",".join(_cells(tag, named[tag.path], shortcut + tag.path[1:]))


def _cells(tag: Tag, name: str, address: str) -> list[str]:
    digital = tag.type == "Boolean"
    low, high = tag.value_range
    head = [
        _quoted(_DIGITAL if digital else _ANALOG), _quoted(name), _quoted(tag.description[:_DESCRIPTION_MAX]),
        _quoted("F" if tag.writable else "T"), _quoted("D"), _quoted("*"), _quoted("F"), _quoted("D"),
    ]  # fmt: skip
    if digital:
        body = [
            _quoted(""),
            "",
            "",
            "",
            "",
            "",
            "",
            _quoted(""),
            _quoted("Off"),
            _quoted("On"),
            _quoted("Off"),
        ]
    else:
        kind = "F" if tag.type == "Double" else "L"
        body = [
            _quoted(kind), f"{low:.10g}", f"{high:.10g}", "0", "1", "0", "0", _quoted(tag.unit), _quoted(""),
            _quoted(""), "",
        ]  # fmt: skip
    tail = ["", _quoted(""), "", _quoted(address), _quoted(""), "", _quoted(""), "", "", _quoted("")]
    return head + body + tail


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
