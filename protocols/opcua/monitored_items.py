"""Monitored items that tell what they promise: filters, queues, and what is said when one overflows (OPC-1, OPC-5)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final, Protocol

from asyncua import ua
from asyncua.server.address_space import AddressSpace
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemData, MonitoredItemService

# The class that the decoder makes; `ua.DataChangeFilter` is a subclass for clients.
from asyncua.ua.uaprotocol_auto import DataChangeFilter

from actors.vocabulary.access import Operation
from protocols.opcua import limits
from protocols.opcua.events import EventData, Listener, RefusedFilterError, refusal, understood
from protocols.opcua.identity import current_caller
from protocols.opcua.ids import is_of_condition, standard, status

# OPC 10000-4, 7.39.1: the info bits belong to a data value, and its queue has overflown.
_OVERFLOW_BITS: Final = 0x0480
_NUMBERS: Final = frozenset({ua.VariantType.Double, ua.VariantType.UInt16, ua.VariantType.UInt32})


class Others(Protocol):
    """What the items of one subscription must know of all the others."""

    @property
    def event_items(self) -> int:
        """Monitored items for events of all sessions."""
        ...

    def event_items_of(self, session_id: ua.NodeId) -> int:
        """Monitored items for events of one session."""
        ...

    def filter_failed(self, error: Exception) -> None:
        """Tell of a filter that could not be evaluated."""
        ...


class ReportingItems(MonitoredItemService):
    """Monitored items of one subscription.

    Against the stock class: filters are checked when they come, a deadband counts from the last value reported
    (not from the last one seen, which lets a slow drift pass unnoticed), values are shared and not deep-copied
    (a published DataValue is never changed), events are selected by filters that were understood when they came,
    and unknown items get their own status instead of failing the whole request.
    """

    def __init__(self, isub: InternalSubscription, aspace: AddressSpace, service: Others) -> None:
        super().__init__(isub, aspace)
        self._service = service
        self.listeners: dict[int, Listener] = {}
        # When this subscription may be refreshed again, by the loop's clock.
        self.refresh_not_before_s = 0.0
        # Items whose filter raised: they hear nothing more until they are given another.
        self._failed_filters: set[int] = set()
        # Items whose full queue takes the new value in place of the one before it.
        self._discards_newest: set[int] = set()

    async def _create_data_change_monitored_item(
        self, params: ua.MonitoredItemCreateRequest
    ) -> ua.MonitoredItemCreateResult:
        target = params.ItemToMonitor
        if is_of_condition(target.NodeId) and not current_caller().may(Operation.READ_PLANT):
            return refusal(ua.StatusCodes.BadUserAccessDenied)
        code = self._filter_status(target, params.RequestedParameters.Filter)
        if target.IndexRange:
            code = ua.StatusCodes.BadIndexRangeNoData
        if code != ua.StatusCodes.Good:
            return refusal(code)
        result = await super()._create_data_change_monitored_item(params)
        if result.StatusCode.is_good():
            self._choose_discarded(result.MonitoredItemId, params.RequestedParameters)
        return result

    def _choose_discarded(self, item_id: int, wanted: ua.MonitoringParameters) -> None:
        if wanted.DiscardOldest:
            self._discards_newest.discard(item_id)
        else:
            self._discards_newest.add(item_id)

    def _create_events_monitored_item(
        self, params: ua.MonitoredItemCreateRequest
    ) -> ua.MonitoredItemCreateResult:
        target = params.ItemToMonitor
        notifier = self.aspace.read_attribute_value(target.NodeId, ua.AttributeIds.EventNotifier)
        if notifier.StatusCode is not None and not notifier.StatusCode.is_good():
            return refusal(notifier.StatusCode.value)
        bits = 0 if notifier.Value is None else notifier.Value.Value or 0
        if not bits & ua.EventNotifier.SubscribeToEvents.mask:
            return refusal(ua.StatusCodes.BadNotSupported)
        own = self._service.event_items_of(self.isub.session_id)
        if own >= limits.EVENT_ITEMS_PER_SESSION_MAX or self._service.event_items >= limits.EVENT_ITEMS_MAX:
            return refusal(ua.StatusCodes.BadTooManyMonitoredItems)
        try:
            wanted = understood(params.RequestedParameters.Filter)
        except RefusedFilterError as error:
            return refusal(error.code)
        result, item = self._make_monitored_item_common(params)
        item.queue_size = result.RevisedQueueSize = ua.Counter(limits.EVENT_QUEUE)
        self._commit_monitored_item(result, item)
        self.listeners[result.MonitoredItemId] = Listener(target.NodeId, wanted)
        return result

    def hear(self, event: EventData, *, only: int | None = None) -> None:
        """Queue an event for the items that listen where it can be heard and want it; `only`: for one of them."""
        for item_id, listener in self.listeners.items():
            item = self._monitored_items[item_id]
            if item.mode != ua.MonitoringMode.Reporting or only not in (None, item_id):
                continue
            if not self._concerns(item_id, listener, event):
                continue
            waiting = self.isub._triggered_events.setdefault(item_id, [])
            if len(waiting) >= limits.EVENT_QUEUE:
                # Nobody fetches them: the oldest go, and the first that is left says so.
                del waiting[:2]
                waiting.insert(0, _fields(item, listener, OVERFLOW))
            waiting.append(_fields(item, listener, event))

    def forget_alarms(self) -> None:
        """Let go of every item that tells of alarms."""
        told = [
            item_id
            for item_id, item in self._monitored_items.items()
            if item_id in self.listeners
            or (item.read_value_id is not None and is_of_condition(item.read_value_id.NodeId))
        ]
        self.delete_monitored_items(told)

    def _concerns(self, item_id: int, listener: Listener, event: EventData) -> bool:
        """Whether an item wants an event. A filter that fails is its own item's end, and nobody else's."""
        if event.everywhere:
            return True
        if item_id in self._failed_filters or listener.node not in event.heard_at:
            return False
        try:
            return listener.wanted.test(event)
        except Exception as error:  # noqa: BLE001 - a client's filter met a value of ours: told, and never asked again
            self._failed_filters.add(item_id)
            self._service.filter_failed(error)
            return False

    def _delete_monitored_items(self, mid: int) -> ua.StatusCode:
        self.listeners.pop(mid, None)
        self._discards_newest.discard(mid)
        self._failed_filters.discard(mid)
        self.isub._triggered_events.pop(mid, None)
        return super()._delete_monitored_items(mid)

    def _modify_monitored_item(self, params: ua.MonitoredItemModifyRequest) -> ua.MonitoredItemModifyResult:
        result = ua.MonitoredItemModifyResult()
        item = self._monitored_items.get(params.MonitoredItemId)
        if item is None:
            result.StatusCode = status(ua.StatusCodes.BadMonitoredItemIdInvalid)
            return result
        wanted = params.RequestedParameters
        if params.MonitoredItemId in self.listeners:
            return self._modify_listener(params, item)
        code = self._filter_status(item.read_value_id, wanted.Filter)
        result.StatusCode = status(code)
        if code == ua.StatusCodes.Good:
            item.filter = wanted.Filter
            item.client_handle = wanted.ClientHandle
            item.queue_size = self._revise_queue_size(wanted.QueueSize)
            self._choose_discarded(params.MonitoredItemId, wanted)
            result.RevisedQueueSize = ua.Counter(item.queue_size)
            result.RevisedSamplingInterval = self.isub.data.RevisedPublishingInterval
        return result

    def _modify_listener(
        self, params: ua.MonitoredItemModifyRequest, item: MonitoredItemData
    ) -> ua.MonitoredItemModifyResult:
        result = ua.MonitoredItemModifyResult()
        try:
            wanted = understood(params.RequestedParameters.Filter)
        except RefusedFilterError as error:
            result.StatusCode = status(error.code)
            return result
        self.listeners[params.MonitoredItemId].wanted = wanted
        self._failed_filters.discard(params.MonitoredItemId)
        item.client_handle = params.RequestedParameters.ClientHandle
        result.RevisedQueueSize = ua.Counter(limits.EVENT_QUEUE)
        result.RevisedSamplingInterval = self.isub.data.RevisedPublishingInterval
        return result

    def _filter_status(self, target: Any, wanted: Any) -> int:
        if wanted is None or (isinstance(wanted, ua.ExtensionObject) and wanted.Body is None):
            return ua.StatusCodes.Good
        if not isinstance(wanted, DataChangeFilter):
            return ua.StatusCodes.BadMonitoredItemFilterUnsupported
        if target.AttributeId != ua.AttributeIds.Value:
            return ua.StatusCodes.BadFilterNotAllowed
        if wanted.DeadbandType == ua.DeadbandType.None_:
            return ua.StatusCodes.Good
        if wanted.DeadbandType != ua.DeadbandType.Absolute:
            return ua.StatusCodes.BadMonitoredItemFilterUnsupported
        if not (math.isfinite(wanted.DeadbandValue) and wanted.DeadbandValue >= 0):
            return ua.StatusCodes.BadDeadbandFilterInvalid
        now = self.aspace.read_attribute_value(target.NodeId, ua.AttributeIds.Value).Value
        if now is None or now.is_array or now.VariantType not in _NUMBERS:
            return ua.StatusCodes.BadFilterNotAllowed
        return ua.StatusCodes.Good

    def _revise_queue_size(self, requested: int) -> int:
        return min(max(int(requested), 1), limits.ITEM_QUEUE_MAX)

    async def datachange_callback(
        self, handle: int, value: ua.DataValue, error: ua.StatusCode | None = None
    ) -> None:
        """Report a new value if the item's filter lets it through."""
        self.report(handle, value)

    def report(self, handle: int, value: ua.DataValue) -> None:
        """Queue a new value for the next publication if the item's filter lets it through.

        Plain, not async, so that a whole block reaches a subscription without a turn of the loop in between.
        """
        item_id = self._monitored_datachange.get(handle)
        item = None if item_id is None else self._monitored_items.get(item_id)
        if item_id is None or item is None or item.mode != ua.MonitoringMode.Reporting:
            return
        if not _passes(item, value):
            return
        item.mvalue.current_dvalue = value
        notification = ua.MonitoredItemNotification()
        notification.ClientHandle = item.client_handle
        notification.Value = value
        waiting = self.isub._triggered_datachanges.setdefault(item_id, [])
        if len(waiting) < item.queue_size:
            waiting.append(notification)
            return
        if item_id in self._discards_newest:
            waiting[item.queue_size - 1 :] = [notification]
            marked = len(waiting) - 1
        else:
            waiting.append(notification)
            del waiting[: len(waiting) - item.queue_size]
            marked = 0
        # OPC 10000-4, 5.13.1.5: beside what was dropped stands that something was; of one there is nothing to tell.
        if item.queue_size > 1:
            waiting[marked].Value = _overflowed(waiting[marked].Value)

    def forget_node(self, handle: int) -> None:
        """Tell the subscriber that the node is gone; the item stays until its client removes it."""
        self.report(handle, ua.DataValue(StatusCode=status(ua.StatusCodes.BadNodeIdUnknown)))


def reporter_of(callback: Any) -> ReportingItems:
    """Return the monitored items behind a callback that asyncua keeps with a value."""
    owner = callback.__self__
    assert isinstance(owner, ReportingItems)
    return owner


def _overflowed(value: ua.DataValue) -> ua.DataValue:
    """Return a value that says that others beside it were lost."""
    code = ua.StatusCodes.Good if value.StatusCode is None else value.StatusCode.value
    return dataclasses.replace(value, StatusCode=status(code | _OVERFLOW_BITS))


def _fields(item: MonitoredItemData, listener: Listener, event: EventData) -> ua.EventFieldList:
    fields = ua.EventFieldList()
    fields.ClientHandle = item.client_handle
    fields.EventFields = listener.wanted.select(event)
    return fields


_OVERFLOW_TYPE: Final = standard(ua.ObjectIds.EventQueueOverflowEventType)
OVERFLOW: Final = EventData(
    kinds=frozenset({_OVERFLOW_TYPE}),
    heard_at=frozenset(),
    fields={
        "EventId": ua.Variant(b"overflow", ua.VariantType.ByteString),
        "EventType": ua.Variant(_OVERFLOW_TYPE, ua.VariantType.NodeId),
        "SourceNode": ua.Variant(standard(ua.ObjectIds.Server), ua.VariantType.NodeId),
        "SourceName": ua.Variant("Server", ua.VariantType.String),
        "Message": ua.Variant(
            ua.LocalizedText("events were lost: nobody fetched them"), ua.VariantType.LocalizedText
        ),
        "Severity": ua.Variant(ua.UInt16(500), ua.VariantType.UInt16),
    },
)
"""What stands in a queue where events were lost (OPC 10000-5, 6.4.24)."""


def _passes(item: MonitoredItemData, value: ua.DataValue) -> bool:
    """Whether `value` differs from the last one reported as the item's filter demands (OPC 10000-4, 7.22.2)."""
    last = item.mvalue.current_dvalue
    if last is None or last.StatusCode != value.StatusCode:
        return True
    chosen = item.filter if isinstance(item.filter, DataChangeFilter) else None
    trigger = ua.DataChangeTrigger.StatusValue if chosen is None else chosen.Trigger
    if trigger == ua.DataChangeTrigger.Status:
        return False
    if trigger == ua.DataChangeTrigger.StatusValueTimestamp and last.SourceTimestamp != value.SourceTimestamp:
        return True
    if last.Value == value.Value:
        return False
    if chosen is None or chosen.DeadbandType == ua.DeadbandType.None_:
        return True
    old, new = last.Value, value.Value
    if old is None or new is None or old.Value is None or new.Value is None:
        return True
    return bool(abs(new.Value - old.Value) > chosen.DeadbandValue)
