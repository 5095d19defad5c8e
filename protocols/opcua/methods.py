"""The methods of our object types: names, arguments, who may call them; and how arguments become a command (OPC-3).

A method is one node of its type; every instance refers to it, so a thousand pumps cost no node more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from asyncua import ua

from actors.vocabulary import Scope
from actors.vocabulary.access import Operation
from actors.vocabulary.client_calls import (
    STOP_IDS_MAX,
    TEXT_MAX,
    ClearStops,
    ClientCommand,
    CommandMode,
    SeeAlarm,
    SetStop,
)
from actors.vocabulary.texts import storable
from protocols.opcua.ids import own, standard
from protocols.opcua.nodes import (
    COMPONENT,
    LEVELS,
    MANDATORY,
    MODELLING_RULE,
    mask,
    node_item,
    reference_item,
)

_KINDS: Final = {
    "String": ua.VariantType.String,
    "UInt16": ua.VariantType.UInt16,
    "Double": ua.VariantType.Double,
}


def readable(text: str | None) -> str:
    """Return a client's text without what is no character: asyncua lets through bytes that no file of ours could hold.

    Replaced, not refused: a stop must not fail for its reason.
    """
    return storable(text or "").strip()


class ArgumentError(Exception):
    """One argument is not as declared: carries its place (from 0) and status code."""

    def __init__(self, place: int, code: int) -> None:
        super().__init__(place, code)
        self.place = place
        self.code = code


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The object at which a method is called."""

    site_id: str
    station_id: str | None
    pump_id: str | None

    @property
    def scope(self) -> tuple[Scope, str]:
        """The scope that it stands for."""
        if self.pump_id is not None:
            return Scope.PUMP, self.pump_id
        if self.station_id is not None:
            return Scope.STATION, self.station_id
        return Scope.SITE, self.site_id


class Argument(msgspec.Struct, frozen=True):
    """One argument as clients are told of it."""

    name: str
    type: str
    description: str
    array: bool = False

    def told(self) -> ua.Argument:
        """Return it as the standard describes arguments."""
        made = ua.Argument()
        made.Name, made.DataType = self.name, standard(getattr(ua.ObjectIds, self.type))
        made.ValueRank = ua.Int32(1 if self.array else -1)
        made.ArrayDimensions = [ua.UInt32(0)] if self.array else []
        made.Description = ua.LocalizedText(self.description)
        return made

    def checked(self, place: int, given: ua.Variant) -> Any:
        """Return the value of this argument.

        Raises:
            ArgumentError: another type, not a number, or too long.

        """
        value = given.Value
        if self.array:
            # An empty array is null on the wire of some clients.
            values = [] if value is None else value
            is_list = isinstance(values, list) and not any(isinstance(each, list) for each in values)
            if not is_list or (values and given.VariantType is not _KINDS[self.type]):
                raise ArgumentError(place, ua.StatusCodes.BadTypeMismatch)
            if len(values) > STOP_IDS_MAX or any(len(each or "") > TEXT_MAX for each in values):
                raise ArgumentError(place, ua.StatusCodes.BadOutOfRange)
            return tuple(readable(each) for each in values)
        if isinstance(value, list):
            raise ArgumentError(place, ua.StatusCodes.BadTypeMismatch)
        if given.VariantType is ua.VariantType.LocalizedText and self.type == "String":
            value = None if value is None else value.Text
        elif given.VariantType is not _KINDS[self.type]:
            raise ArgumentError(place, ua.StatusCodes.BadTypeMismatch)
        if self.type == "String":
            if len(value or "") > TEXT_MAX:
                raise ArgumentError(place, ua.StatusCodes.BadOutOfRange)
            return readable(value)
        if value is None:
            raise ArgumentError(place, ua.StatusCodes.BadTypeMismatch)
        if not math.isfinite(value):
            raise ArgumentError(place, ua.StatusCodes.BadOutOfRange)
        return value


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One method; `make` turns checked arguments into the command."""

    name: str
    levels: tuple[str, ...]
    operation: Operation
    description: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    make: Callable[[Place, Sequence[Any]], ClientCommand]

    def node_id(self, level: str) -> ua.NodeId:
        """Return the node of this method in the type of a level."""
        return own(f"types/{LEVELS[level]}/{self.name}")

    def command(self, place: Place, given: Sequence[ua.Variant]) -> ClientCommand:
        """Return what is asked for.

        Raises:
            ArgumentError: an argument is not as declared.

        """
        values = [each.checked(index, given[index]) for index, each in enumerate(self.inputs)]
        return self.make(place, values)


def _required(values: Sequence[str], place: int) -> str:
    if not values[place]:
        raise ArgumentError(place, ua.StatusCodes.BadInvalidArgument)
    return values[place]


def _set_stop(place: Place, values: Sequence[Any]) -> ClientCommand:
    scope, scope_id = place.scope
    return SetStop(scope=scope, scope_id=scope_id, reason=_required(values, 0))


def _clear_stops(place: Place, values: Sequence[Any]) -> ClientCommand:
    scope, scope_id = place.scope
    if not values[0] or not all(values[0]):
        raise ArgumentError(0, ua.StatusCodes.BadInvalidArgument)
    return ClearStops(scope=scope, scope_id=scope_id, stop_ids=values[0], reason=_required(values, 1))


def _set_mode(place: Place, values: Sequence[Any]) -> ClientCommand:
    assert place.station_id is not None, "a method of pumps"
    assert place.pump_id is not None, "a method of pumps"
    mode, speed_hz, expires_s, reason = values
    return CommandMode(
        station_id=place.station_id,
        pump_id=place.pump_id,
        mode=mode,
        setpoint_hz=None if speed_hz < 0.0 else speed_hz,
        expires_after_s=None if expires_s <= 0.0 else expires_s,
        reason=reason,
    )


def _see_alarm(_: Place, values: Sequence[Any]) -> ClientCommand:
    return SeeAlarm(alarm_id=_required(values, 0), comment=values[1])


METHODS: Final = (
    Method(
        name="EmergencyStop",
        levels=("site", "station", "pump"),
        operation=Operation.SET_STOP,
        description="Set an emergency stop of this object; while one of just this object is set it is that one",
        inputs=(Argument("Reason", "String", "Why; not empty"),),
        outputs=(Argument("StopIds", "String", "The stops of this object that hold now", array=True),),
        make=_set_stop,
    ),
    Method(
        name="ClearEmergencyStop",
        levels=("site", "station", "pump"),
        operation=Operation.CLEAR_STOP,
        description="Clear named stops of this object or of what is below it; at the site also of the whole system",
        inputs=(
            Argument("StopIds", "String", "The stops to clear; none is cleared unless all may be", array=True),
            Argument("Reason", "String", "Why; not empty"),
        ),
        outputs=(),
        make=_clear_stops,
    ),
    Method(
        name="SetMode",
        levels=("pump",),
        operation=Operation.SET_MODE,
        description="Command a mode; LOCAL is chosen at the station's panel only",
        inputs=(
            Argument("Mode", "UInt16", "1 AUTO, 2 MANUAL, 4 OUT_OF_SERVICE"),
            Argument("SetpointHz", "Double", "With MANUAL: the speed; negative: the one applied now. Else ignored"),
            Argument("ExpiresAfterS", "Double", "With MANUAL: seconds until it ends; 0: as configured. Else ignored"),
            Argument("Reason", "String", "Why; may be empty"),
        ),
        outputs=(),
        make=_set_mode,
    ),
    Method(
        name="AcknowledgeAlarm",
        levels=("site",),
        operation=Operation.ACKNOWLEDGE_ALARM,
        description="Acknowledge an alarm of this site by its id (the field of REST; conditions have Acknowledge)",
        inputs=(
            Argument("AlarmId", "String", "The alarm's id"),
            Argument("Comment", "String", "What is being done about it; may be empty"),
        ),
        outputs=(),
        make=_see_alarm,
    ),
)  # fmt: skip

BY_NODE: Final[Mapping[ua.NodeId, tuple[str, Method]]] = {
    method.node_id(level): (level, method) for method in METHODS for level in method.levels
}


def method_items() -> Iterator[ua.AddNodesItem | ua.AddReferencesItem]:
    """Yield the nodes and references of all methods, each after what it stands on."""
    for node_id, (level, method) in BY_NODE.items():
        kind = own(f"types/{LEVELS[level]}")
        item = node_item(node_id, method.name, kind, COMPONENT, ua.NodeClass.Method, ua.NodeId())
        item.NodeAttributes = ua.MethodAttributes(
            DisplayName=ua.LocalizedText(method.name),
            Description=ua.LocalizedText(method.description),
            Executable=True,
            UserExecutable=True,
        )
        item.NodeAttributes.SpecifiedAttributes = mask(
            "DisplayName", "Description", "Executable", "UserExecutable"
        )
        yield item
        yield reference_item(node_id, MODELLING_RULE, MANDATORY, ua.NodeClass.Object)


def argument_lists() -> Iterator[tuple[ua.NodeId, str, list[ua.Argument]]]:
    """Yield the InputArguments and OutputArguments of all methods: method, name, arguments."""
    for node_id, (_, method) in BY_NODE.items():
        for name, arguments in (("InputArguments", method.inputs), ("OutputArguments", method.outputs)):
            if arguments:
                yield node_id, name, [each.told() for each in arguments]
