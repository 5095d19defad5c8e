"""Alarms & Conditions: each alarm of the site as a condition instance with events (OPC 10000-9, OPC-3, ALM-1).

A condition is (condition, subject): its node id never changes. One life of it is an alarm id; each of its states has
an event id that follows from them, so that a client may acknowledge what it saw before this process was restarted.
What is acknowledged, and by whom, the alarm actor alone decides and remembers; here it is only shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from asyncua import ua

from actors.vocabulary import Severity
from actors.vocabulary.client_calls import ShownAlarm, ShownAlarms
from protocols.opcua import limits
from protocols.opcua.condition_nodes import ConditionNodes
from protocols.opcua.events import EventData, text
from protocols.opcua.ids import CONDITIONS, own, standard, status
from protocols.opcua.values import wire_time

ALARM_TYPE: Final = standard(ua.ObjectIds.AlarmConditionType)
# The type and all above it, for filters by type.
KINDS: Final = frozenset(
    standard(number)
    for number in (
        ua.ObjectIds.AlarmConditionType,
        ua.ObjectIds.AcknowledgeableConditionType,
        ua.ObjectIds.ConditionType,
        ua.ObjectIds.BaseEventType,
    )
)
SERVER: Final = standard(ua.ObjectIds.Server)
# 1 to 1,000 (OPC 10000-5, 6.4.2); a third of the scale each, as its table of ranges suggests.
SEVERITIES: Final = {Severity.LOW: 200, Severity.MEDIUM: 450, Severity.HIGH: 700, Severity.CRITICAL: 900}
_EVENT_ID_BYTES: Final = 16
_NAME_MAX: Final = 200
# States of one life that a client may still acknowledge by: what it saw may not be the newest.
_EVENT_IDS_KEPT: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Condition(msgspec.Struct):
    """One condition as shown: its alarm, the ids of its states so far (the newest last), and its severity before."""

    alarm: ShownAlarm
    node: ua.NodeId
    event_ids: tuple[bytes, ...]
    since: datetime
    last_severity: Severity

    @property
    def retained(self) -> bool:
        """Whether it is of interest still (OPC 10000-9, 5.5.2)."""
        return self.alarm.active or not self.alarm.acknowledged


class Conditions:
    """The conditions of one endpoint. `tell` hands an event to the subscriptions."""

    def __init__(self, nodes: ConditionNodes, *, tell: Callable[[EventData], None]) -> None:
        self._nodes = nodes
        self._tell = tell
        self._held: dict[tuple[str, str], Condition] = {}
        self._by_node: dict[ua.NodeId, Condition] = {}
        self._current = False
        # How many alarms there are that have no condition here.
        self.hidden = 0
        self._site = SERVER

    def show(self, shown: ShownAlarms) -> None:
        """Take the alarms as they are now, and tell what is new about them.

        What is absent has left the list: it is told as returned and seen. While the list is not whole nothing is.
        """
        self._current = shown.current
        if not shown.current:
            self._nodes.mark(current=False)
            return
        self._nodes.mark(current=True)
        alarms = {(alarm.condition, alarm.subject): alarm for alarm in shown.alarms}
        if shown.whole:
            # First, so that what has left makes room for what has come.
            for key in [key for key in self._held if key not in alarms]:
                self._drop(key)
        for key, alarm in alarms.items():
            self._take(key, alarm)
        hidden = [alarm for key, alarm in alarms.items() if key not in self._held]
        self._site = next((own(f"/{alarm.source[1:].partition('/')[0]}") for alarm in hidden), self._site)
        # Not with each one that comes or goes.
        is_news, self.hidden = bool(hidden) != bool(self.hidden), len(hidden)
        if is_news:
            self._tell(self._hidden_event())

    def _hidden_event(self) -> EventData:
        """Return the event of the site that says whether every alarm has its condition."""
        message, severity = "every alarm is shown again", 1
        if self.hidden:
            message = f"{self.hidden} alarms are not shown here: more than {limits.CONDITIONS_MAX} at a time"
            severity = SEVERITIES[Severity.HIGH]
        return _system_event(ua.ObjectIds.SystemEventType, message, source=self._site, severity=severity)

    def _take(self, key: tuple[str, str], alarm: ShownAlarm) -> None:
        known = self._held.get(key)
        if known is None:
            if len(self._held) >= limits.CONDITIONS_MAX:
                return
            condition = Condition(
                alarm=alarm,
                node=node_of(alarm.condition, alarm.subject),
                event_ids=(event_id(alarm),),
                since=wire_time(),
                last_severity=alarm.severity,
            )
            self._held[key] = self._by_node[condition.node] = condition
            self._nodes.add(condition.node, alarm)
            self._nodes.show(condition.node, self._fields(condition))
            if condition.retained:
                self._tell(self._event(condition))
            return
        if known.alarm == alarm:
            return
        newest, same_life = event_id(alarm), known.alarm.alarm_id == alarm.alarm_id
        moved = newest != known.event_ids[-1]
        if known.alarm.source != alarm.source:
            self._nodes.move(known.node, alarm)
        if moved:
            known.last_severity = known.alarm.severity
            kept = known.event_ids if same_life else ()
            known.event_ids = (*kept, newest)[-_EVENT_IDS_KEPT:]
            known.since = wire_time()
        known.alarm = alarm
        # A text that changes with its figures is shown, and told with the next state: not an event each second.
        self._nodes.show(known.node, self._fields(known))
        if moved:
            self._tell(self._event(known))

    def _drop(self, key: tuple[str, str]) -> None:
        condition = self._held.pop(key)
        del self._by_node[condition.node]
        if condition.retained:
            condition.alarm = msgspec.structs.replace(condition.alarm, active=False, acknowledged=True)
            condition.event_ids = (*condition.event_ids, event_id(condition.alarm))
            condition.since = wire_time()
            self._tell(self._event(condition))
        self._nodes.remove(condition.node)

    def forget_object(self, path: str) -> None:
        """Let go of the conditions of an object that is gone."""
        for key, condition in list(self._held.items()):
            if condition.alarm.source == path:
                self._drop(key)

    def found_object(self, path: str) -> None:
        """Let the conditions of an object be reached from it, now that it is there."""
        for condition in self._held.values():
            if condition.alarm.source == path:
                self._nodes.move(condition.node, condition.alarm)

    def refresh(self, hear: Callable[[EventData], None]) -> None:
        """Tell one listener all that is of interest, between a start and an end (OPC 10000-9, 5.5.7)."""
        hear(_marker(ua.ObjectIds.RefreshStartEventType, "refresh begins"))
        for condition in self._held.values():
            if condition.retained:
                hear(self._event(condition))
        if self.hidden:
            hear(self._hidden_event())
        hear(_marker(ua.ObjectIds.RefreshEndEventType, "refresh ends"))

    def alarm_of(self, node: ua.NodeId, wanted: Any) -> ShownAlarm | ua.StatusCode:
        """Return the alarm that a condition's event tells of, or why it cannot be acknowledged by it."""
        condition = self._by_node.get(node)
        if condition is None:
            return status(ua.StatusCodes.BadNodeIdUnknown)
        if wanted not in condition.event_ids:
            return status(ua.StatusCodes.BadEventIdUnknown)
        if condition.alarm.acknowledged:
            return status(ua.StatusCodes.BadConditionBranchAlreadyAcked)
        return condition.alarm

    def alarm(self, alarm_id: str) -> ShownAlarm | None:
        """Return an alarm that is shown here."""
        found = (held.alarm for held in self._held.values() if held.alarm.alarm_id == alarm_id)
        return next(found, None)

    def _event(self, condition: Condition) -> EventData:
        """Return the event of a condition's newest state, heard at its object, those above it, and the server."""
        parts = condition.alarm.source[1:].split("/")
        above = {own("/" + "/".join(parts[:count])) for count in range(1, len(parts) + 1)}
        return EventData(KINDS, frozenset({SERVER, *above}), dict(self._fields(condition)), condition.node)

    def _fields(self, condition: Condition) -> dict[str, ua.Variant]:
        alarm = condition.alarm
        since = condition.since
        acked_at = _time(alarm.acknowledged_utc_ns)
        active_at = _time(alarm.raised_utc_ns if alarm.active else alarm.returned_utc_ns) or since
        quality = ua.StatusCodes.Good if self._current else ua.StatusCodes.UncertainLastUsableValue
        return {
            "EventId": ua.Variant(condition.event_ids[-1], ua.VariantType.ByteString),
            "EventType": ua.Variant(ALARM_TYPE, ua.VariantType.NodeId),
            "SourceNode": ua.Variant(own(alarm.source), ua.VariantType.NodeId),
            "SourceName": ua.Variant(alarm.source, ua.VariantType.String),
            "Time": ua.Variant(since, ua.VariantType.DateTime),
            "ReceiveTime": ua.Variant(since, ua.VariantType.DateTime),
            "Message": text(alarm.text),
            "Severity": _severity(alarm.severity),
            "ConditionClassId": ua.Variant(
                standard(ua.ObjectIds.ProcessConditionClassType), ua.VariantType.NodeId
            ),
            "ConditionClassName": text("ProcessConditionClassType"),
            "ConditionName": ua.Variant(alarm.condition, ua.VariantType.String),
            "BranchId": ua.Variant(ua.NodeId(), ua.VariantType.NodeId),
            "Retain": _flag(condition.retained),
            **_state("EnabledState", "Enabled", "Disabled", holds=True, since=None),
            "Quality": ua.Variant(status(quality), ua.VariantType.StatusCode),
            "Quality/SourceTimestamp": ua.Variant(since, ua.VariantType.DateTime),
            "LastSeverity": _severity(condition.last_severity),
            "LastSeverity/SourceTimestamp": ua.Variant(since, ua.VariantType.DateTime),
            "Comment": text(alarm.comment),
            "Comment/SourceTimestamp": ua.Variant(acked_at or since, ua.VariantType.DateTime),
            "ClientUserId": ua.Variant(alarm.acknowledged_by, ua.VariantType.String),
            **_state(
                "AckedState", "Acknowledged", "Unacknowledged", holds=alarm.acknowledged, since=acked_at
            ),
            **_state("ActiveState", "Active", "Inactive", holds=alarm.active, since=active_at),
            "InputNode": ua.Variant(ua.NodeId(), ua.VariantType.NodeId),
            "SuppressedOrShelved": _flag(False),
        }


def node_of(condition: str, subject: str) -> ua.NodeId:
    """Return the node id of a condition: its name, or for a name that is no short text the beginning and a digest."""
    name = f"{CONDITIONS}{condition}/{subject}"
    shown = name.encode("utf-8", "replace").decode("utf-8")
    if shown != name or len(name) > _NAME_MAX:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        shown = f"{shown[:_NAME_MAX]}~{digest[:_EVENT_ID_BYTES]}"
    return own(shown)


def event_id(alarm: ShownAlarm) -> bytes:
    """Return the id of an alarm's state: the same state has the same id, in every life of this process."""
    state = (
        alarm.alarm_id,
        alarm.active,
        alarm.acknowledged,
        alarm.severity.value,
        alarm.occurrences,
        alarm.comment,
        alarm.acknowledged_by,
    )
    return hashlib.sha256(repr(state).encode()).digest()[:_EVENT_ID_BYTES]


def _marker(number: int, message: str) -> EventData:
    made = _system_event(number, message, source=SERVER, severity=1)
    return msgspec.structs.replace(made, everywhere=True)


def _system_event(number: int, message: str, *, source: ua.NodeId, severity: int) -> EventData:
    kind, now = standard(number), wire_time()
    above = {standard(ua.ObjectIds.SystemEventType), standard(ua.ObjectIds.BaseEventType)}
    fields = {
        "EventId": ua.Variant(
            hashlib.sha256(f"{message} {now}".encode()).digest()[:_EVENT_ID_BYTES], ua.VariantType.ByteString
        ),
        "EventType": ua.Variant(kind, ua.VariantType.NodeId),
        "SourceNode": ua.Variant(source, ua.VariantType.NodeId),
        "SourceName": ua.Variant(
            "Server" if source == SERVER else str(source.Identifier), ua.VariantType.String
        ),
        "Time": ua.Variant(now, ua.VariantType.DateTime),
        "ReceiveTime": ua.Variant(now, ua.VariantType.DateTime),
        "Message": text(message),
        "Severity": ua.Variant(ua.UInt16(severity), ua.VariantType.UInt16),
    }
    return EventData(frozenset({kind, *above}), frozenset({SERVER, source}), fields)


def _state(name: str, true: str, false: str, *, holds: bool, since: datetime | None) -> dict[str, ua.Variant]:
    fields = {name: text(true if holds else false), f"{name}/Id": _flag(holds)}
    if since is not None:
        fields[f"{name}/TransitionTime"] = ua.Variant(since, ua.VariantType.DateTime)
    return fields


def _severity(severity: Severity) -> ua.Variant:
    return ua.Variant(ua.UInt16(SEVERITIES[severity]), ua.VariantType.UInt16)


def _flag(value: bool) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.Boolean)


def _time(utc_ns: int | None) -> datetime | None:
    return None if utc_ns is None else _EPOCH + timedelta(microseconds=utc_ns // 1000)
