"""What a change of the plant is to OPC UA clients: objects that came and went, in one event (OPC 10000-3, 9.32)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from asyncua import ua

from protocols.opcua import limits
from protocols.opcua.events import EventData, text
from protocols.opcua.ids import own, standard
from protocols.opcua.nodes import LEVELS
from protocols.opcua.values import wire_time

ADDED: Final = 1
DELETED: Final = 2
_SERVER: Final = standard(ua.ObjectIds.Server)
_GENERAL: Final = standard(ua.ObjectIds.GeneralModelChangeEventType)
_BASE: Final = standard(ua.ObjectIds.BaseModelChangeEventType)
_EVENT_ID_BYTES: Final = 16


class ModelChange(msgspec.Struct, frozen=True):
    """An object of the plant that came or went (`verb` as the standard numbers it)."""

    path: str
    type_id: ua.NodeId
    verb: int


def changes_between(
    before: Mapping[str, ua.NodeId], after: Mapping[str, ua.NodeId], types: Mapping[str, ua.NodeId]
) -> list[ModelChange]:
    """Return what differs between two sets of objects by path, what went first, parents before children."""
    levels = list(LEVELS)

    def made(path: str, verb: int) -> ModelChange:
        return ModelChange(path, types[levels[path.count("/") - 1]], verb)

    gone = [made(path, DELETED) for path in sorted(before.keys() - after.keys())]
    return gone + [made(path, ADDED) for path in sorted(after.keys() - before.keys())]


def event_of(changes: Sequence[ModelChange]) -> EventData:
    """Return the event; of very many changes it tells only that there were some: clients then browse anew."""
    now, few = wire_time(), len(changes) <= limits.MODEL_CHANGES_TOLD_MAX
    kind = _GENERAL if few else _BASE
    kinds = {kind, _BASE, standard(ua.ObjectIds.BaseEventType)}
    fields = {
        "EventId": ua.Variant(secrets.token_bytes(_EVENT_ID_BYTES), ua.VariantType.ByteString),
        "EventType": ua.Variant(kind, ua.VariantType.NodeId),
        "SourceNode": ua.Variant(_SERVER, ua.VariantType.NodeId),
        "SourceName": ua.Variant("Server", ua.VariantType.String),
        "Time": ua.Variant(now, ua.VariantType.DateTime),
        "ReceiveTime": ua.Variant(now, ua.VariantType.DateTime),
        "Message": text(f"{len(changes)} objects of the plant came or went"),
        "Severity": ua.Variant(ua.UInt16(1), ua.VariantType.UInt16),
    }
    if few:
        told = [_told(change) for change in changes]
        fields["Changes"] = ua.Variant(told, ua.VariantType.ExtensionObject, is_array=True)
    return EventData(frozenset(kinds), frozenset({_SERVER}), fields)


def _told(change: ModelChange) -> ua.ModelChangeStructureDataType:
    made = ua.ModelChangeStructureDataType()
    made.Affected, made.AffectedType, made.Verb = own(change.path), change.type_id, ua.Byte(change.verb)
    return made
