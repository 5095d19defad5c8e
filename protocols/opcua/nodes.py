"""What the nodes of our address space are made of: types, units, attributes and references; no state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from asyncua import ua
from asyncua.server.address_space import NodeData

from actors.vocabulary.client_calls import PAST_POINTS
from protocols.opcua import limits
from protocols.opcua.ids import own, standard
from protocols.opcua.values import DATA_TYPES, VARIANT_TYPES
from protocols.points import OPCUA_NAMESPACE_INDEX, OPCUA_NAMESPACE_URI, Access, Point, PointType

# Names of OPC 40223 (Pumps and Vacuum Pumps 1.0) where one fits: its PumpType gives our pump's type its name. They are
# display names: the browse name is the point's own, so that a point has one name on every wire. The whole table, with
# what was left out and why, is in ops/docs/opcua.md; tests/wire/opcua/test_names.py holds the two together.
DISPLAY_NAMES: Final = {
    "actual_speed": "Frequency",  # DriveMeasurementsType
    "actual_power": "DriverPowerInput",  # DriveMeasurementsType
    "wet_well_level": "Level",  # MeasurementsType
    "running": "PumpOperation",  # SignalsType
}
# UNECE Recommendation 20 codes as OPC 10000-8, 5.6.3 derives unit ids from them: the code's characters as bytes,
# most significant first.
UNECE: Final = {"Hz": ("HTZ", "hertz"), "kW": ("KWT", "kilowatt"), "m3/h": ("MQH", "cubic metre per hour"),
                 "m": ("MTR", "metre")}  # fmt: skip
UNITS_URI: Final = "http://www.opcfoundation.org/UA/units/un/cefact"

FOLDER: Final = standard(ua.ObjectIds.ObjectsFolder)
COMPONENT: Final = standard(ua.ObjectIds.HasComponent)
ORGANIZES: Final = standard(ua.ObjectIds.Organizes)
NOTIFIER: Final = standard(ua.ObjectIds.HasNotifier)
PROPERTY: Final = standard(ua.ObjectIds.HasProperty)
MODELLING_RULE: Final = standard(ua.ObjectIds.HasModellingRule)
MANDATORY: Final = standard(ua.ObjectIds.ModellingRule_Mandatory)
ANALOG: Final = standard(ua.ObjectIds.BaseAnalogType)  # as in OPC 40223; its EngineeringUnits are optional
PLAIN: Final = standard(ua.ObjectIds.BaseDataVariableType)

# Texts of 211 and 343 kB (the binary and XML dictionaries, deprecated since 1.04) that a client could ask for a
# thousand times in one request.
DICTIONARIES: Final = (ua.ObjectIds.OpcUa_BinarySchema, ua.ObjectIds.OpcUa_XmlSchema)

LEVELS: Final = {"site": "SiteType", "station": "StationType", "pump": "PumpType"}


class Declaration(msgspec.Struct):
    """A variable as its object's type declares it, and the references that all its copies share."""

    point: Point
    node: NodeData
    item: ua.AddNodesItem
    shared: list[ua.ReferenceDescription]

    def downwards(self, node_id: ua.NodeId) -> ua.ReferenceDescription:
        """Return the reference from the parent to a copy."""
        reference = ua.ReferenceDescription()
        reference.ReferenceTypeId, reference.IsForward = COMPONENT, True
        reference.NodeId, reference.NodeClass = node_id, ua.NodeClass.Variable
        reference.BrowseName = self.item.BrowseName
        reference.DisplayName = self.item.NodeAttributes.DisplayName
        reference.TypeDefinition = self.item.TypeDefinition
        return reference


VARIABLE_MASK: Final = (
    "DisplayName", "Description", "Value", "DataType", "ValueRank", "AccessLevel", "UserAccessLevel",
    "Historizing",
)  # fmt: skip

OPERATION_LIMITS: Final = {
    "MaxNodesPerRead": limits.NODES_PER_READ_MAX,
    "MaxNodesPerWrite": limits.NODES_PER_WRITE_MAX,
    "MaxNodesPerBrowse": limits.NODES_PER_BROWSE_MAX,
    "MaxNodesPerTranslateBrowsePathsToNodeIds": limits.NODES_PER_TRANSLATE_MAX,
    "MaxNodesPerRegisterNodes": limits.NODES_PER_REGISTER_MAX,
    "MaxMonitoredItemsPerCall": limits.ITEMS_PER_CALL_MAX,
    "MaxNodesPerMethodCall": limits.METHODS_PER_CALL_MAX,
    "MaxNodesPerHistoryReadData": limits.NODES_PER_HISTORY_READ_MAX,
}


def mask(*names: str) -> int:
    """Which attributes an item brings; asyncua leaves out what the mask does not name."""
    bits = 0
    for name in names:
        bits |= getattr(ua.NodeAttributesMask, name)
    return bits


def id_value(node_id: ua.NodeId) -> ua.DataValue:
    """Return the value of a node's NodeId attribute."""
    return ua.DataValue(ua.Variant(node_id, ua.VariantType.NodeId))


def level_of(point: Point) -> str:
    """Return which kind of object holds the point: site, station or pump."""
    if point.pump_id is not None:
        return "pump"
    return "site" if point.station_id is None else "station"


def ancestors_of(point: Point) -> Iterable[str]:
    """Paths of the objects above a point."""
    parts = point.path.split("/")[1:-1]
    return ("/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1))


def rebuilt(old: Point, new: Point) -> bool:
    """Whether the node cannot stay: another type or unit, or an object of another level."""
    return (old.type, old.unit, level_of(old)) != (new.type, new.unit, level_of(new))


def node_item(
    node_id: ua.NodeId,
    name: str,
    parent: ua.NodeId,
    reference: ua.NodeId,
    node_class: ua.NodeClass,
    type_id: ua.NodeId,
) -> ua.AddNodesItem:
    """Return an item with what every node has; its attributes are still missing."""
    item = ua.AddNodesItem()
    item.RequestedNewNodeId, item.ParentNodeId, item.ReferenceTypeId = node_id, parent, reference
    item.BrowseName = ua.QualifiedName(name, OPCUA_NAMESPACE_INDEX)
    item.NodeClass, item.TypeDefinition = node_class, type_id
    return item


def reference_item(
    source: ua.NodeId, kind: ua.NodeId, target: ua.NodeId, node_class: ua.NodeClass
) -> ua.AddReferencesItem:
    """Return the item of a forward reference."""
    item = ua.AddReferencesItem()
    item.SourceNodeId, item.ReferenceTypeId, item.TargetNodeId = source, kind, target
    item.IsForward, item.TargetNodeClass = True, node_class
    return item


def changing_attributes(point: Point) -> dict[str, ua.Variant]:
    """The attributes of a point that may change while its node stays."""
    access = ua.AccessLevel.CurrentRead.mask
    if historized(point):
        access |= ua.AccessLevel.HistoryRead.mask
    if point.access is not Access.READ:
        access |= ua.AccessLevel.CurrentWrite.mask
    return {
        "Description": ua.Variant(ua.LocalizedText(point.description), ua.VariantType.LocalizedText),
        "AccessLevel": ua.Variant(access, ua.VariantType.Byte),
        "UserAccessLevel": ua.Variant(access, ua.VariantType.Byte),
    }


def variable_item(point: Point, node_id: ua.NodeId, parent: ua.NodeId) -> ua.AddNodesItem:
    """Return the item of a point's variable."""
    analog = bool(point.unit) and point.type is PointType.FLOAT
    item = node_item(
        node_id, point.point, parent, COMPONENT, ua.NodeClass.Variable, ANALOG if analog else PLAIN
    )
    changing = changing_attributes(point)
    item.NodeAttributes = ua.VariableAttributes(
        DisplayName=ua.LocalizedText(DISPLAY_NAMES.get(point.point, point.point)),
        Description=changing["Description"].Value,
        Value=ua.Variant(False if point.type is PointType.BOOL else 0, VARIANT_TYPES[point.type]),
        DataType=DATA_TYPES[point.type],
        ValueRank=ua.Int32(-1),
        AccessLevel=changing["AccessLevel"].Value,
        UserAccessLevel=changing["UserAccessLevel"].Value,
        Historizing=historized(point),
    )
    item.NodeAttributes.SpecifiedAttributes = mask(*VARIABLE_MASK)
    return item


def historized(point: Point) -> bool:
    """Whether the past of a point can be read."""
    return point.pump_id is not None and point.point in PAST_POINTS


def type_item(name: str) -> ua.AddNodesItem:
    """Return the item of one of our object types."""
    base, subtype = standard(ua.ObjectIds.BaseObjectType), standard(ua.ObjectIds.HasSubtype)
    item = node_item(own(f"types/{name}"), name, base, subtype, ua.NodeClass.ObjectType, ua.NodeId())
    item.NodeAttributes = ua.ObjectTypeAttributes(DisplayName=ua.LocalizedText(name))
    item.NodeAttributes.SpecifiedAttributes = mask("DisplayName", "IsAbstract")
    return item


def unit_item(unit: str) -> ua.AddNodesItem:
    """Return the item of a unit's EngineeringUnits property; it has no parent."""
    code, name = UNECE.get(unit, ("", unit))
    information = ua.EUInformation(
        NamespaceUri=UNITS_URI if code else OPCUA_NAMESPACE_URI,
        UnitId=ua.Int32(int.from_bytes(code.encode(), "big")) if code else ua.Int32(-1),
        DisplayName=ua.LocalizedText(unit),
        Description=ua.LocalizedText(name),
    )
    nowhere = ua.NodeId()
    item = node_item(
        own(f"types/units/{unit}"),
        "EngineeringUnits",
        nowhere,
        nowhere,
        ua.NodeClass.Variable,
        standard(ua.ObjectIds.PropertyType),
    )
    item.BrowseName = ua.QualifiedName("EngineeringUnits", 0)
    item.NodeAttributes = ua.VariableAttributes(
        DisplayName=ua.LocalizedText("EngineeringUnits"),
        Value=ua.Variant(information, ua.VariantType.ExtensionObject),
        DataType=standard(ua.ObjectIds.EUInformation),
        ValueRank=ua.Int32(-1),
        AccessLevel=ua.Byte(ua.AccessLevel.CurrentRead.mask),
        UserAccessLevel=ua.Byte(ua.AccessLevel.CurrentRead.mask),
    )
    item.NodeAttributes.SpecifiedAttributes = mask(*VARIABLE_MASK)
    return item


def unit_reference(item: ua.AddNodesItem) -> ua.ReferenceDescription:
    """Return the reference by which every variable with that unit reaches its property."""
    reference = ua.ReferenceDescription()
    reference.ReferenceTypeId, reference.NodeId = PROPERTY, item.RequestedNewNodeId
    reference.IsForward, reference.NodeClass = True, ua.NodeClass.Variable
    reference.BrowseName, reference.DisplayName = item.BrowseName, item.NodeAttributes.DisplayName
    reference.TypeDefinition = item.TypeDefinition
    return reference
