"""The standard nodes of every OPC UA server, built once in this process; each server of a test has a copy of its own.

asyncua needs a second for them. Nodes, their lists of references and their attributes are copied; what those hold is
replaced by servers, never changed, but for arrays, which are copied too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.address_space import AttributeValue, NodeData
from asyncua.server.standard_address_space import standard_address_space

_build: Callable[[Any], None] = standard_address_space.fill_address_space
_built: dict[ua.NodeId, NodeData] = {}


@contextmanager
def built_once() -> Iterator[None]:
    """Have servers that begin meanwhile take their standard nodes from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standard_address_space, "fill_address_space", _fill)
        yield


def _fill(node_management: Any) -> None:
    space = node_management._aspace
    assert not space._nodes, "the standard nodes come first"
    if not _built:
        _build(node_management)
        _built.update({node_id: _copy(node) for node_id, node in space._nodes.items()})
        return
    space._nodes.update({node_id: _copy(node) for node_id, node in _built.items()})


def _copy(node: NodeData) -> NodeData:
    other = NodeData(node.nodeid)
    other.attributes = {name: _own(attribute) for name, attribute in node.attributes.items()}
    other.references = list(node.references)
    assert node.call is None
    return other


def _own(attribute: AttributeValue) -> AttributeValue:
    value = attribute.value
    assert value is not None
    assert attribute.value_callback is None
    assert attribute.value_setter is None
    held = value.Value
    return AttributeValue(
        copy.deepcopy(value) if held is not None and isinstance(held.Value, list) else value
    )
