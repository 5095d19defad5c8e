"""Nodes made by hand: variables and objects whose attributes never change share them, all but id and value.

asyncua's AddNodes looks through all references of the parent for each node; for thousands of properties that is too
slow, and a property of a property needs none of what it checks.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from asyncua import ua
from asyncua.server.address_space import AddressSpace, AttributeValue, NodeData

from protocols.opcua.ids import standard
from protocols.opcua.monitored_items import reporter_of

HAS_TYPE: Final = standard(ua.ObjectIds.HasTypeDefinition)
READABLE: Final = ua.AccessLevel.CurrentRead.mask


def reference(
    kind: ua.NodeId,
    target: ua.NodeId,
    name: ua.QualifiedName,
    node_class: ua.NodeClass,
    type_id: ua.NodeId | None = None,
    *,
    forward: bool = True,
) -> ua.ReferenceDescription:
    """Return one end of a reference."""
    made = ua.ReferenceDescription()
    made.ReferenceTypeId, made.IsForward, made.NodeId, made.NodeClass = kind, forward, target, node_class
    made.BrowseName, made.DisplayName = name, ua.LocalizedText(name.Name)
    made.TypeDefinition = ua.NodeId() if type_id is None else type_id
    return made


def variable(
    space: AddressSpace,
    parent: NodeData,
    node_id: ua.NodeId,
    name: str,
    value: ua.Variant,
    *,
    data_type: ua.NodeId,
    type_id: ua.NodeId,
    kind: ua.NodeId,
    array: bool = False,
) -> NodeData:
    """Add a read-only variable of the standard's namespace below a node, and return it."""
    node = NodeData(node_id)
    node.attributes = {
        **_variable_attributes(name, data_type, array),
        ua.AttributeIds.NodeId: AttributeValue(ua.DataValue(ua.Variant(node_id, ua.VariantType.NodeId))),
        ua.AttributeIds.Value: AttributeValue(ua.DataValue(value)),
    }
    node.references = [_typed(type_id)]
    parent.references.append(
        reference(kind, node_id, ua.QualifiedName(name, 0), ua.NodeClass.Variable, type_id)
    )
    space[node_id] = node
    return node


def show(node: NodeData, value: ua.Variant) -> None:
    """Give a variable another value, and tell who watches it."""
    attribute = node.attributes[ua.AttributeIds.Value]
    held = attribute.value
    if held is not None and held.Value == value:
        return
    data = ua.DataValue(value)
    attribute.value = data
    for handle, callback in attribute.datachange_callbacks.items():
        reporter_of(callback).report(handle, data)


def delete(space: AddressSpace, node: NodeData) -> None:
    """Take a node out of the space; who watches it is told. The references to it are the caller's."""
    for name, attribute in node.attributes.items():
        for handle, callback in list(attribute.datachange_callbacks.items()):
            owned = space._handle_to_attribute_map.get(handle)
            if owned is None or owned[0] != node.nodeid:
                continue  # of another node that shares this attribute
            if name == ua.AttributeIds.Value:
                reporter_of(callback).forget_node(handle)
            space.delete_datachange_callback(handle)
    del space[node.nodeid]


@cache
def _typed(type_id: ua.NodeId) -> ua.ReferenceDescription:
    return reference(HAS_TYPE, type_id, ua.QualifiedName(), ua.NodeClass.VariableType)


@cache
def _variable_attributes(
    name: str,
    data_type: ua.NodeId,
    array: bool,
) -> dict[Any, AttributeValue]:
    kinds = ua.VariantType
    values = {
        ua.AttributeIds.BrowseName: ua.Variant(ua.QualifiedName(name, 0), kinds.QualifiedName),
        ua.AttributeIds.NodeClass: ua.Variant(ua.NodeClass.Variable, kinds.Int32),
        ua.AttributeIds.DisplayName: ua.Variant(ua.LocalizedText(name), kinds.LocalizedText),
        ua.AttributeIds.DataType: ua.Variant(data_type, kinds.NodeId),
        ua.AttributeIds.ValueRank: ua.Variant(1 if array else -1, kinds.Int32),
        ua.AttributeIds.AccessLevel: ua.Variant(READABLE, kinds.Byte),
        ua.AttributeIds.UserAccessLevel: ua.Variant(READABLE, kinds.Byte),
        ua.AttributeIds.Historizing: ua.Variant(False, kinds.Boolean),
        ua.AttributeIds.WriteMask: ua.Variant(0, kinds.UInt32),
        ua.AttributeIds.UserWriteMask: ua.Variant(0, kinds.UInt32),
    }
    return {attribute: AttributeValue(ua.DataValue(value)) for attribute, value in values.items()}
