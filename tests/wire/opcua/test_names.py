"""The names of OPC 40223: what the document's table says is what is served, and nothing else is renamed."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from asyncua import ua

from protocols.opcua.ids import own
from protocols.opcua.nodes import DISPLAY_NAMES
from tests.wire.opcua.served import PUMP, Raw, served

pytestmark = pytest.mark.wire
DOCUMENT = Path(__file__).resolve().parents[3] / "ops" / "docs" / "opcua.md"
_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \|([^|]*)\| (\w+) \|$", re.MULTILINE)


def table() -> dict[str, tuple[str, str]]:
    """Return by point what OPC 40223 calls it and what is shown."""
    part = DOCUMENT.read_text().partition("### Names of OPC 40223")[2].partition("\n## ")[0]
    return {point: (name.strip(), shown) for point, name, _, shown in _ROW.findall(part)}


def test_the_table_of_names_is_what_is_served() -> None:
    """OPC-1: each row's display name is its node's, and OPC 40223's where it is another; no other point has one."""
    rows = table()
    assert len(rows) == 10
    assert {point: shown for point, (_, shown) in rows.items() if shown != point} == DISPLAY_NAMES
    assert all(rows[point][0] == name for point, name in DISPLAY_NAMES.items())

    async def story() -> None:
        async with served() as publisher:
            space = publisher.endpoint._space
            assert space is not None
            points = [path for path in space.slots if path.startswith(f"{PUMP}/")]
            names = {path: path.rpartition("/")[2] for path in points}
            assert set(rows) <= set(names.values())
            raw = await Raw.session_to(publisher)
            request = ua.ReadRequest()
            request.Parameters.NodesToRead = [
                ua.ReadValueId(own(path), attribute)
                for path in points
                for attribute in (ua.AttributeIds.DisplayName, ua.AttributeIds.BrowseName)
            ]
            results = (await raw.ask(request, ua.ReadResponse)).Results
            shown = {path: results[2 * place].Value.Value.Text for place, path in enumerate(points)}
            browsed = {path: results[2 * place + 1].Value.Value.Name for place, path in enumerate(points)}
            assert shown == {path: DISPLAY_NAMES.get(name, name) for path, name in names.items()}
            assert browsed == names

    asyncio.run(story())
