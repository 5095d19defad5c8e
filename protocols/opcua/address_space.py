"""The address space: site -> station -> pump objects of our types, built in bulk, changed by differences."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec
from asyncua import Server, ua
from asyncua.server.address_space import AttributeValue, NodeData

from protocols.opcua import limits
from protocols.opcua.ids import below, own, standard, status
from protocols.opcua.methods import Place, argument_lists, method_items
from protocols.opcua.model_changes import ModelChange, changes_between
from protocols.opcua.monitored_items import reporter_of
from protocols.opcua.nodes import (
    COMPONENT,
    DICTIONARIES,
    FOLDER,
    LEVELS,
    MANDATORY,
    MODELLING_RULE,
    NOTIFIER,
    OPERATION_LIMITS,
    ORGANIZES,
    Declaration,
    ancestors_of,
    changing_attributes,
    id_value,
    level_of,
    mask,
    node_item,
    rebuilt,
    reference_item,
    type_item,
    unit_item,
    unit_reference,
    variable_item,
)
from protocols.opcua.ranges import Ranges
from protocols.opcua.session import Sessions
from protocols.opcua.small_nodes import delete, reference, variable
from protocols.opcua.values import NEVER_WRITTEN, encode, wire_time
from protocols.points import (
    OPCUA_NAMESPACE_INDEX,
    OPCUA_NAMESPACE_URI,
    Point,
    PointValue,
)

SERVER: Final = standard(ua.ObjectIds.Server)
_TRUE: Final = ua.Variant(True, ua.VariantType.Boolean)


class Slot(msgspec.Struct):
    """Where a point's value lives: its point, its attribute in the address space and the last value shown."""

    point: Point
    node: NodeData
    attribute: AttributeValue
    shown: PointValue


@contextmanager
def no_collections() -> Iterator[None]:
    """Keep the cyclic collector from walking a graph that is being built: it takes half of the time.

    Afterwards what was built is set aside (`gc.freeze`): a full pass over it would stop the server for 0.2 to
    0.6 s. `OpcUaEndpoint.close` puts it back.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


class AddressSpace:
    """The points as nodes; knows asyncua's inner space, and nothing of clients."""

    def __init__(self, server: Server, sessions: Sessions) -> None:
        self._server: Final = server
        self._sessions: Final = sessions
        self._space: Final = sessions.aspace
        self._objects: Final[dict[str, ua.NodeId]] = {}
        self._units: Final[dict[str, ua.ReferenceDescription]] = {}
        self._declared: Final[dict[tuple[str, str], Declaration]] = {}
        self._upwards: Final[dict[str, ua.ReferenceDescription]] = {}
        self._types: Final[dict[str, ua.NodeId]] = {}
        self._methods: Final[dict[str, list[ua.ReferenceDescription]]] = {}
        self._ranges: Final = Ranges(self._space)
        self.slots: Final[dict[str, Slot]] = {}
        # Told after each change of what objects there are.
        self.on_changes: Callable[[list[ModelChange]], None] = lambda _: None

    async def load(self) -> None:
        """Build the standard nodes, our namespace, types and operation limits."""
        # asyncua's cache file was slower than building, and a pickle that anybody may have written no safe start.
        with no_collections():
            await self._server.init()
        index = await self._server.register_namespace(OPCUA_NAMESPACE_URI)
        assert index == OPCUA_NAMESPACE_INDEX, f"our namespace is {index}"
        for number in DICTIONARIES:
            self._set(standard(number), ua.Variant(b"", ua.VariantType.ByteString))
        for name, most in OPERATION_LIMITS.items():
            number = getattr(ua.ObjectIds, f"Server_ServerCapabilities_OperationLimits_{name}")
            self._set(standard(number), ua.Variant(most, ua.VariantType.UInt32))
        points_max = ua.Variant(limits.BROWSE_POINTS_MAX, ua.VariantType.UInt16)
        self._set(standard(ua.ObjectIds.Server_ServerCapabilities_MaxBrowseContinuationPoints), points_max)
        self._add(type_item(name) for name in LEVELS.values())
        self._types.update({level: own(f"types/{name}") for level, name in LEVELS.items()})
        self._add_methods()
        self._set(standard(ua.ObjectIds.HistoryServerCapabilities_AccessHistoryDataCapability), _TRUE)
        values_max = ua.Variant(limits.HISTORY_VALUES_MAX, ua.VariantType.UInt32)
        self._set(standard(ua.ObjectIds.HistoryServerCapabilities_MaxReturnDataValues), values_max)

    async def configure(self, points: Iterable[Point]) -> None:
        """Add and remove only what differs; the loop gets its turn every few nodes."""
        wanted = {point.path: point for point in points}
        before = dict(self._objects)
        added = [
            p for path, p in wanted.items() if path not in self.slots or rebuilt(self.slots[path].point, p)
        ]
        for slot in list(self.slots.values()):
            path = slot.point.path
            if path not in wanted or rebuilt(slot.point, wanted[path]):
                self._ranges.forget(path, slot.node)
                self._remove(slot.node)
                del self.slots[path]
            elif slot.point != wanted[path]:
                slot.point = wanted[path]
                self._describe(slot)
        self._remove_empty_objects(wanted.values())
        with no_collections():
            for start in range(0, len(added), limits.NODES_PER_SLICE):
                for point in added[start : start + limits.NODES_PER_SLICE]:
                    self._add_point(point)
                await asyncio.sleep(0)
        self._sessions.bounded_subscriptions.items_max = limits.monitored_items_max(len(self.slots))
        changes = changes_between(before, self._objects, self._types)
        if changes and before:
            self.on_changes(changes)

    def publish(self, values: Mapping[str, PointValue]) -> None:
        """Show new values: first all of them, then tell the subscribers, without a turn of the loop between.

        Raises:
            KeyError: a path that is not configured; our bug.
            ValueError: a number that does not fit its point; our bug.

        """
        now = wire_time()
        fresh: list[tuple[Slot, PointValue, ua.DataValue]] = []
        for path, value in values.items():
            slot = self.slots[path]
            if slot.shown != value:
                fresh.append((slot, value, encode(value, slot.point.type, server_time=now)))
        for slot, value, data in fresh:
            slot.shown = value
            slot.attribute.value = data
        for slot, _, data in fresh:
            for handle, callback in slot.attribute.datachange_callbacks.items():
                reporter_of(callback).report(handle, data)

    def attribute_status(self, node_id: ua.NodeId, attribute: ua.AttributeIds) -> ua.StatusCode:
        """Good, or why there is no such attribute: BadNodeIdUnknown, BadAttributeIdInvalid."""
        node = self._space.get(node_id)
        if node is None:
            return status(ua.StatusCodes.BadNodeIdUnknown)
        if attribute not in node.attributes:
            return status(ua.StatusCodes.BadAttributeIdInvalid)
        return ua.StatusCode()

    def slot_of(self, node_id: ua.NodeId) -> Slot | None:
        """Return the slot of a point's node; None: it is another node, or none."""
        if node_id.NamespaceIndex != OPCUA_NAMESPACE_INDEX or not isinstance(node_id.Identifier, str):
            return None
        return self.slots.get(node_id.Identifier)

    def status_of(self, node_id: ua.NodeId) -> ua.StatusCode:
        """Good, or BadNodeIdUnknown."""
        return status(
            ua.StatusCodes.BadNodeIdUnknown if self._space.get(node_id) is None else ua.StatusCodes.Good
        )

    def access_of(self, point: Point) -> int:
        """Return the AccessLevel that a point's node has for whoever may do everything."""
        return int(changing_attributes(point)["AccessLevel"].Value)

    def place_of(self, node_id: ua.NodeId) -> tuple[str, Place] | None:
        """Return level and ids of a site's, station's or pump's object; None: it is another node, or none."""
        path = node_id.Identifier
        if node_id.NamespaceIndex != OPCUA_NAMESPACE_INDEX or not isinstance(path, str):
            return None
        if path not in self._objects:
            return None
        ids: list[str | None] = [*path[1:].split("/"), None, None]
        level = list(LEVELS)[path.count("/") - 1]
        assert ids[0] is not None, "a path begins with its site"
        return level, Place(site_id=ids[0], station_id=ids[1], pump_id=ids[2])

    # --- Objects and variables --------------------------------------------------------------------------------

    def _add_point(self, point: Point) -> None:
        """Add a variable as a copy of its type's declaration.

        By hand, not by asyncua's AddNodes, which takes ten times as long: it looks through all references of
        the parent for each node. What is equal for all copies is shared.
        """
        level = level_of(point)
        parent_path = point.path.rpartition("/")[0]
        parent = self._object(point)
        declaration = self._declaration(level, point)
        node_id = own(point.path)
        node = NodeData(node_id)
        attributes = {
            name: AttributeValue(old.value)
            for name, old in declaration.node.attributes.items()
            if old.value is not None
        }
        attributes[ua.AttributeIds.NodeId] = AttributeValue(id_value(node_id))
        value = AttributeValue(encode(NEVER_WRITTEN, point.type, server_time=wire_time()))
        attributes[ua.AttributeIds.Value] = value
        node.attributes = attributes
        node.references = [self._upwards[parent_path], *declaration.shared]
        parent.references.append(declaration.downwards(node_id))
        self._space[node_id] = node
        slot = Slot(point, node, value, NEVER_WRITTEN)
        self.slots[point.path] = slot
        if changing_attributes(point) != changing_attributes(declaration.point):
            self._describe(slot)
        else:
            self._ranges.describe(point, node)

    def _object(self, point: Point) -> NodeData:
        """Node of the object that holds the point, made with those above it when missing."""
        parent, reference = FOLDER, ORGANIZES
        ids = [part for part in (point.site_id, point.station_id, point.pump_id) if part is not None]
        for depth, (level, name) in enumerate(zip(LEVELS, ids, strict=False), start=1):
            path = "/" + "/".join(ids[:depth])
            if path not in self._objects:
                item = node_item(own(path), name, parent, reference, ua.NodeClass.Object, self._types[level])
                item.NodeAttributes = ua.ObjectAttributes(
                    DisplayName=ua.LocalizedText(name),
                    Description=ua.LocalizedText(f"{level} {name}"),
                    EventNotifier=ua.Byte(ua.EventNotifier.SubscribeToEvents.mask),
                )
                item.NodeAttributes.SpecifiedAttributes = mask("DisplayName", "Description", "EventNotifier")
                self._add([item])
                self._objects[path] = item.RequestedNewNodeId
                upwards = ua.ReferenceDescription()
                upwards.ReferenceTypeId, upwards.IsForward = COMPONENT, False
                upwards.NodeId, upwards.NodeClass = item.RequestedNewNodeId, ua.NodeClass.Object
                upwards.BrowseName, upwards.DisplayName = item.BrowseName, item.NodeAttributes.DisplayName
                upwards.TypeDefinition = self._types[level]
                self._upwards[path] = upwards
                self._add_to_hierarchies(item, parent if depth > 1 else SERVER, level)
            parent, reference = self._objects[path], COMPONENT
        return self._space[parent]

    def _add_to_hierarchies(self, item: ua.AddNodesItem, notified: ua.NodeId, level: str) -> None:
        """Let an object's events be heard above it, and its type's methods be found at it."""
        node_id = item.RequestedNewNodeId
        made = reference(NOTIFIER, node_id, item.BrowseName, ua.NodeClass.Object, self._types[level])
        self._space[notified].references.append(made)
        back = reference(NOTIFIER, notified, ua.QualifiedName(), ua.NodeClass.Object, forward=False)
        self._space[node_id].references += [back, *self._methods.get(level, ())]

    def _add_methods(self) -> None:
        """Add the methods to the types, with their arguments; instances refer to them."""
        for item in method_items():
            if isinstance(item, ua.AddNodesItem):
                self._add([item])
            else:
                for result in self._sessions.node_mgt_service.add_references([item]):
                    result.check()
        for method, name, arguments in argument_lists():
            variable(
                self._space,
                self._space[method],
                below(method, name),
                name,
                ua.Variant(arguments, ua.VariantType.ExtensionObject, is_array=True),
                data_type=standard(ua.ObjectIds.Argument),
                type_id=standard(ua.ObjectIds.PropertyType),
                kind=standard(ua.ObjectIds.HasProperty),
                array=True,
            )
        for level, kind in self._types.items():
            references = self._space[kind].references
            self._methods[level] = [
                one for one in references if one.IsForward and one.NodeClass == ua.NodeClass.Method
            ]
            references.append(
                reference(
                    standard(ua.ObjectIds.GeneratesEvent),
                    standard(ua.ObjectIds.AlarmConditionType),
                    ua.QualifiedName("AlarmConditionType", 0),
                    ua.NodeClass.ObjectType,
                )
            )

    def _declaration(self, level: str, point: Point) -> Declaration:
        """Return the point's declaration in its object's type, made when it is the first of its kind."""
        found = self._declared.get((level, point.point))
        if found is not None:
            assert not rebuilt(found.point, point), (
                f"{point.path}: not of the type that its name has elsewhere"
            )
            return found
        node_id = own(f"types/{LEVELS[level]}/{point.point}")
        item = variable_item(point, node_id, self._types[level])
        self._add([item])
        node = self._space[node_id]
        shared = [one for one in node.references if one.IsForward]
        references = [reference_item(node_id, MODELLING_RULE, MANDATORY, ua.NodeClass.Object)]
        for result in self._sessions.node_mgt_service.add_references(references):
            result.check()
        if point.unit:
            shared.append(self._unit(point.unit))
            node.references.append(self._unit(point.unit))
        self._declared[level, point.point] = Declaration(point, node, item, shared)
        return self._declared[level, point.point]

    def _unit(self, unit: str) -> ua.ReferenceDescription:
        """Reference to the one EngineeringUnits property of a unit, shared by all variables with that unit."""
        if unit not in self._units:
            item = unit_item(unit)
            # Unchecked, because it has no parent: it is reached through the variables.
            refused = list(self._sessions.node_mgt_service.try_add_nodes([item], check=False))
            assert not refused, f"unit {unit} was refused"
            self._units[unit] = unit_reference(item)
        return self._units[unit]

    def _describe(self, slot: Slot) -> None:
        """Take over what changed about a point that stays: description, access and range."""
        for name, value in changing_attributes(slot.point).items():
            attribute = slot.node.attributes[getattr(ua.AttributeIds, name)]
            attribute.value = ua.DataValue(value)
        self._ranges.describe(slot.point, slot.node)

    def _remove(self, node: NodeData) -> None:
        """Delete a node of ours; who watches it is told. Its references point upwards or to shared nodes."""
        for upwards in node.references:
            above = None if upwards.IsForward else self._space.get(upwards.NodeId)
            if above is not None:
                above.references[:] = [one for one in above.references if one.NodeId != node.nodeid]
        delete(self._space, node)

    def _remove_empty_objects(self, points: Iterable[Point]) -> None:
        kept = {part for point in points for part in ancestors_of(point)}
        for path in sorted(set(self._objects) - kept, key=len, reverse=True):
            self._remove(self._space[self._objects.pop(path)])
            del self._upwards[path]

    def _add(self, items: Iterable[ua.AddNodesItem]) -> None:
        for result in self._sessions.node_mgt_service.add_nodes(list(items)):
            result.StatusCode.check()

    def _set(self, node_id: ua.NodeId, value: ua.Variant) -> None:
        self._space[node_id].attributes[ua.AttributeIds.Value].value = ua.DataValue(value)
