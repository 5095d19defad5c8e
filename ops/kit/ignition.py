"""Tags for Ignition (Inductive Automation) 8.1 and later: a JSON file for the Tag Browser's import.

Format: the JSON that `system.tag.exportTags` writes and `system.tag.importTags` reads (Ignition user manual,
docs.inductiveautomation.com, system.tag.importTags); property names and values from its pages "Tag Properties" and
"Tag Data Types" (Boolean, Int4, Int8, Float8). The item path has the namespace by its URI (`nsu=`), as Ignition itself
writes it, so that it does not depend on the namespace's index. Checked against the documentation only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from ops.kit.tags import Tag
from protocols.points import OPCUA_NAMESPACE_URI

# Ignition has no unsigned types: the next larger signed one holds every value.
_TYPES: Final = {"Boolean": "Boolean", "UInt16": "Int4", "UInt32": "Int8", "Double": "Float8"}


def as_ignition(tags: Sequence[Tag], *, server: str) -> str:
    """Return the tags in folders of site, station and pump; `server` is the name of the OPC UA connection there."""
    root: dict[str, Any] = {"name": "Calejo", "tagType": "Folder", "tags": []}
    for tag in (each for each in tags if each.node_id):
        folder = root
        for name in tag.path[1:].split("/")[:-1]:
            folder = _folder(folder, name)
        folder["tags"].append(_tag(tag, server))
    return json.dumps(root, indent=2) + "\n"


def _folder(parent: dict[str, Any], name: str) -> dict[str, Any]:
    for child in parent["tags"]:
        if child["name"] == name and child["tagType"] == "Folder":
            found: dict[str, Any] = child
            return found
    made: dict[str, Any] = {"name": name, "tagType": "Folder", "tags": []}
    parent["tags"].append(made)
    return made


def _tag(tag: Tag, server: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": tag.point,
        "tagType": "AtomicTag",
        "valueSource": "opc",
        "dataType": _TYPES[tag.type],
        "opcServer": server,
        "opcItemPath": f"nsu={OPCUA_NAMESPACE_URI};{tag.node_id.partition(';')[2]}",
        "readOnly": not tag.writable,
        "documentation": tag.description,
    }
    if tag.unit:
        made["engUnit"] = tag.unit
    return made
