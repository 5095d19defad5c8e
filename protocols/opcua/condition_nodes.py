"""Condition instances as nodes: what of an alarm can be read without listening to events (OPC 10000-9, 5.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from asyncua import ua
from asyncua.server.address_space import AddressSpace, AttributeValue, NodeData

from actors.vocabulary.client_calls import ShownAlarm
from protocols.opcua.ids import below, own, standard, status
from protocols.opcua.small_nodes import HAS_TYPE, delete, reference, show, variable
from protocols.points import OPCUA_NAMESPACE_INDEX

ACKNOWLEDGE: Final = standard(ua.ObjectIds.AcknowledgeableConditionType_Acknowledge)
_ALARM: Final = standard(ua.ObjectIds.AlarmConditionType)
_HAS_CONDITION: Final = standard(ua.ObjectIds.HasCondition)
_PROPERTY: Final = standard(ua.ObjectIds.HasProperty)
_COMPONENT: Final = standard(ua.ObjectIds.HasComponent)
_PROPERTY_TYPE: Final = standard(ua.ObjectIds.PropertyType)
_CONDITION_VARIABLE: Final = standard(ua.ObjectIds.ConditionVariableType)
_TWO_STATE: Final = standard(ua.ObjectIds.TwoStateVariableType)
# Field -> data type, type of the variable; what has a `/` is a property of what stands before it.
_FIELDS: Final = {
    "EventId": (ua.ObjectIds.ByteString, _PROPERTY_TYPE),
    "EventType": (ua.ObjectIds.NodeId, _PROPERTY_TYPE),
    "SourceNode": (ua.ObjectIds.NodeId, _PROPERTY_TYPE),
    "SourceName": (ua.ObjectIds.String, _PROPERTY_TYPE),
    "Time": (ua.ObjectIds.UtcTime, _PROPERTY_TYPE),
    "ReceiveTime": (ua.ObjectIds.UtcTime, _PROPERTY_TYPE),
    "Message": (ua.ObjectIds.LocalizedText, _PROPERTY_TYPE),
    "Severity": (ua.ObjectIds.UInt16, _PROPERTY_TYPE),
    "ConditionClassId": (ua.ObjectIds.NodeId, _PROPERTY_TYPE),
    "ConditionClassName": (ua.ObjectIds.LocalizedText, _PROPERTY_TYPE),
    "ConditionName": (ua.ObjectIds.String, _PROPERTY_TYPE),
    "BranchId": (ua.ObjectIds.NodeId, _PROPERTY_TYPE),
    "Retain": (ua.ObjectIds.Boolean, _PROPERTY_TYPE),
    "EnabledState": (ua.ObjectIds.LocalizedText, _TWO_STATE),
    "EnabledState/Id": (ua.ObjectIds.Boolean, _PROPERTY_TYPE),
    "Quality": (ua.ObjectIds.StatusCode, _CONDITION_VARIABLE),
    "LastSeverity": (ua.ObjectIds.UInt16, _CONDITION_VARIABLE),
    "Comment": (ua.ObjectIds.LocalizedText, _CONDITION_VARIABLE),
    "ClientUserId": (ua.ObjectIds.String, _PROPERTY_TYPE),
    "AckedState": (ua.ObjectIds.LocalizedText, _TWO_STATE),
    "AckedState/Id": (ua.ObjectIds.Boolean, _PROPERTY_TYPE),
    "ActiveState": (ua.ObjectIds.LocalizedText, _TWO_STATE),
    "ActiveState/Id": (ua.ObjectIds.Boolean, _PROPERTY_TYPE),
    "InputNode": (ua.ObjectIds.NodeId, _PROPERTY_TYPE),
    "SuppressedOrShelved": (ua.ObjectIds.Boolean, _PROPERTY_TYPE),
}


class ConditionNodes:
    """The instances; each is reached from its source by HasCondition, which is no way down the plant."""

    def __init__(self, space: AddressSpace) -> None:
        self._space: Final = space
        self._variables: Final[dict[ua.NodeId, dict[str, NodeData]]] = {}
        self._sources: Final[dict[ua.NodeId, ua.NodeId]] = {}

    def add(self, node_id: ua.NodeId, alarm: ShownAlarm) -> None:
        """Make an instance, still without values."""
        name = ua.QualifiedName(alarm.condition, OPCUA_NAMESPACE_INDEX)
        node = NodeData(node_id)
        kinds = ua.VariantType
        node.attributes = {
            attribute: AttributeValue(ua.DataValue(value))
            for attribute, value in {
                ua.AttributeIds.NodeId: ua.Variant(node_id, kinds.NodeId),
                ua.AttributeIds.NodeClass: ua.Variant(ua.NodeClass.Object, kinds.Int32),
                ua.AttributeIds.BrowseName: ua.Variant(name, kinds.QualifiedName),
                ua.AttributeIds.DisplayName: ua.Variant(
                    ua.LocalizedText(alarm.condition), kinds.LocalizedText
                ),
                ua.AttributeIds.EventNotifier: ua.Variant(0, kinds.Byte),
            }.items()
        }
        node.references = [
            reference(HAS_TYPE, _ALARM, ua.QualifiedName("AlarmConditionType", 0), ua.NodeClass.ObjectType),
            reference(_COMPONENT, ACKNOWLEDGE, ua.QualifiedName("Acknowledge", 0), ua.NodeClass.Method),
        ]
        self._space[node_id] = node
        self._variables[node_id] = self._fields_of(node)
        self._attach(node, alarm)

    def _fields_of(self, node: NodeData) -> dict[str, NodeData]:
        made: dict[str, NodeData] = {}
        for field, (data_type, type_id) in _FIELDS.items():
            above, _, name = field.rpartition("/")
            made[field] = variable(
                self._space,
                made[above] if above else node,
                below(node.nodeid, field),
                name,
                ua.Variant(None),
                data_type=standard(data_type),
                type_id=type_id,
                kind=_PROPERTY if type_id == _PROPERTY_TYPE else _COMPONENT,
            )
        return made

    def _attach(self, node: NodeData, alarm: ShownAlarm) -> None:
        name = ua.QualifiedName(alarm.condition, OPCUA_NAMESPACE_INDEX)
        source = self._space.get(own(alarm.source))
        if source is None:
            return  # its object is not there (yet); its events are heard at the server all the same
        source.references.append(reference(_HAS_CONDITION, node.nodeid, name, ua.NodeClass.Object, _ALARM))
        self._sources[node.nodeid] = source.nodeid

    def _detach(self, node_id: ua.NodeId) -> None:
        above = self._space.get(self._sources.pop(node_id, ua.NodeId()))
        if above is not None:
            above.references[:] = [one for one in above.references if one.NodeId != node_id]

    def move(self, node_id: ua.NodeId, alarm: ShownAlarm) -> None:
        """Reach an instance from another object than before."""
        self._detach(node_id)
        self._attach(self._space[node_id], alarm)

    def show(self, node_id: ua.NodeId, fields: Mapping[str, ua.Variant]) -> None:
        """Give an instance its values."""
        for field, node in self._variables[node_id].items():
            show(node, fields[field])

    def mark(self, *, current: bool) -> None:
        """Say at every instance whether what it shows could be asked for just now."""
        code = ua.StatusCodes.Good if current else ua.StatusCodes.UncertainLastUsableValue
        for variables in self._variables.values():
            show(variables["Quality"], ua.Variant(status(code), ua.VariantType.StatusCode))

    def remove(self, node_id: ua.NodeId) -> None:
        """Take an instance away; who watches it is told."""
        self._detach(node_id)
        for node in self._variables.pop(node_id).values():
            delete(self._space, node)
        delete(self._space, self._space[node_id])
