"""EURange of the points whose range is known: a property with a stable id, valued as configured (OPC 10000-8, 5.6)."""

from __future__ import annotations

from typing import Final

from asyncua import ua
from asyncua.server.address_space import AddressSpace, NodeData

from protocols.opcua.ids import own, standard
from protocols.opcua.small_nodes import delete, show, variable
from protocols.points import Point

_NAME: Final = "EURange"
_RANGE: Final = standard(ua.ObjectIds.Range)
_PROPERTY: Final = standard(ua.ObjectIds.HasProperty)
_PROPERTY_TYPE: Final = standard(ua.ObjectIds.PropertyType)


class Ranges:
    """The range properties by the path of their point."""

    def __init__(self, space: AddressSpace) -> None:
        self._space: Final = space
        self._made: Final[dict[str, NodeData]] = {}

    def describe(self, point: Point, node: NodeData) -> None:
        """Give a point's variable the range it has now, or none."""
        if point.low is None or point.high is None:
            self.forget(point.path, node)
            return
        value = ua.Variant(ua.Range(point.low, point.high), ua.VariantType.ExtensionObject)
        if (known := self._made.get(point.path)) is not None:
            show(known, value)
            return
        self._made[point.path] = variable(
            self._space,
            node,
            own(f"{point.path}/{_NAME}"),
            _NAME,
            value,
            data_type=_RANGE,
            type_id=_PROPERTY_TYPE,
            kind=_PROPERTY,
        )

    def forget(self, path: str, node: NodeData) -> None:
        """Take a variable's range away, if it has one."""
        known = self._made.pop(path, None)
        if known is not None:
            node.references[:] = [one for one in node.references if one.NodeId != known.nodeid]
            delete(self._space, known)
