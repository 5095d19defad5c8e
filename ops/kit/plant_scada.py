"""Variable tags for EcoStruxure Plant SCADA (AVEVA Plant SCADA, once Citect), over its OPC UA driver.

Sources, all of AVEVA's Plant SCADA documentation (docs.aveva.com/bundle/plant-scada): page 843704 "Configuring Variable
Tags" (the address is the OPC UA NodeId; BOOLEAN is DIGITAL, UINT16 UINT, UINT32 ULONG, DOUBLE REAL), page 1234480 (the
fields of a variable tag and their lengths: 254 characters for address and comment). The column titles are those of
the variable tags' grid in Plant SCADA Studio, as public projects carry them. Values arrive in engineering
units, so that raw and engineering scales stay empty. Checked against the documentation only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from ops.kit.tags import Tag, names

COLUMNS: Final = (
    "Tag Name", "Cluster Name", "I/O Device", "Address", "Data Type", "Raw Zero Scale", "Raw Full Scale",
    "Eng Zero Scale", "Eng Full Scale", "Eng Units", "Format", "Comment",
)  # fmt: skip
_TYPES: Final = {"Boolean": "DIGITAL", "UInt16": "UINT", "UInt32": "ULONG", "Double": "REAL"}
_FORMATS: Final = {"Boolean": "", "UInt16": "#####", "UInt32": "##########", "Double": "######.##EU"}
_LEVEL_FORMAT: Final = "#####.###EU"
_COMMENT_MAX: Final = 254


def as_plant_scada(tags: Sequence[Tag], *, device: str) -> str:
    """Return the variable tags as CSV; `device` is the name of the I/O device with the OPC UA protocol there."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    tags = [tag for tag in tags if tag.node_id]
    named = names(tags)
    for tag in tags:
        layout = _LEVEL_FORMAT if tag.unit == "m" else _FORMATS[tag.type]
        writer.writerow(
            [
                named[tag.path],
                "",
                device,
                tag.node_id,
                _TYPES[tag.type],
                "",
                "",
                "",
                "",
                tag.unit,
                layout,
                tag.description[:_COMMENT_MAX],
            ]
        )
    return text.getvalue()
