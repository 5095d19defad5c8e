"""Subscriptions that a client cannot make expensive, and monitored items that tell what they promise."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.address_space import AddressSpace
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemData, MonitoredItemService
from asyncua.server.subscription_service import SubscriptionService

# The class that the decoder makes; `ua.DataChangeFilter` is a subclass for clients.
from asyncua.ua.uaprotocol_auto import DataChangeFilter

from protocols.opcua import limits
from protocols.opcua.events import EventData, Listener, RefusedFilterError, refusal, understood
from protocols.opcua.ids import standard, status

_NUMBERS: Final = frozenset({ua.VariantType.Double, ua.VariantType.UInt16, ua.VariantType.UInt32})


def publishing_interval_ms(requested: float) -> float:
    """Bring a requested publishing interval (ms; may be 0, NaN or infinite) into our bounds."""
    if not math.isfinite(requested):
        return limits.PUBLISHING_INTERVAL_MS_MIN
    return min(max(requested, limits.PUBLISHING_INTERVAL_MS_MIN), limits.PUBLISHING_INTERVAL_MS_MAX)


def revised_counts(interval_ms: float, *, keep_alive: int, lifetime: int) -> tuple[int, int]:
    """Bound keep-alive and lifetime counts; the lifetime is at least three keep-alives (OPC 10000-4, 5.14.2)."""
    lifetime_max = max(3, int(limits.LIFETIME_MS_MAX / interval_ms))
    keep_alive = min(max(keep_alive, 1), limits.KEEP_ALIVE_COUNT_MAX, lifetime_max // 3)
    return keep_alive, min(max(lifetime, 3 * keep_alive), lifetime_max)


class BoundedSubscription(InternalSubscription):
    """A subscription whose messages stay below the size its client asked for."""

    notifications_max: int = limits.NOTIFICATIONS_PER_MESSAGE_MAX

    def _pop_triggered_datachanges(self, result: ua.PublishResult) -> None:
        """Take whole items until the message is full; the rest goes with the next one."""
        taken: list[ua.MonitoredItemNotification] = []
        while self._triggered_datachanges:
            item_id = next(iter(self._triggered_datachanges))
            waiting = self._triggered_datachanges[item_id]
            room = self.notifications_max - len(taken)
            if room <= 0:
                break
            taken += waiting[:room]
            if room < len(waiting):
                self._triggered_datachanges[item_id] = waiting[room:]
                break
            del self._triggered_datachanges[item_id]
        if taken:
            notification = ua.DataChangeNotification()
            notification.MonitoredItems = taken
            result.NotificationMessage.NotificationData.append(notification)

    def _pop_triggered_events(self, result: ua.PublishResult) -> None:
        """Take events until the message is full; the rest goes with the next one."""
        taken: list[ua.EventFieldList] = []
        for item_id in list(self._triggered_events):
            waiting = self._triggered_events[item_id]
            room = self.notifications_max - len(taken)
            if room <= 0:
                break
            taken += waiting[:room]
            if room < len(waiting):
                self._triggered_events[item_id] = waiting[room:]
            else:
                del self._triggered_events[item_id]
        if taken:
            notification = ua.EventNotificationList()
            notification.Events = taken
            result.NotificationMessage.NotificationData.append(notification)

    def republish(self, nb: int) -> ua.NotificationMessage:
        """Return an unacknowledged message again.

        Raises:
            ServiceError: it is not kept (any more).

        """
        result = self._not_acknowledged_results.get(nb)
        if result is None:
            raise ServiceError(ua.StatusCodes.BadMessageNotAvailable)
        message: ua.NotificationMessage = result.NotificationMessage
        return message


class BoundedSubscriptions(SubscriptionService):
    """All subscriptions of the server: bounded in number, interval, lifetime and items."""

    def __init__(self, aspace: AddressSpace, iserver: Any) -> None:
        super().__init__(aspace, iserver)
        self.items_max = limits.monitored_items_max(0)

    @property
    def items(self) -> int:
        """Monitored items of all sessions."""
        return sum(len(sub.monitored_item_srv._monitored_items) for sub in self.subscriptions.values())

    @property
    def event_items(self) -> int:
        """Monitored items for events of all sessions."""
        return sum(len(items.listeners) for items in self._reporting())

    def event_items_of(self, session_id: ua.NodeId) -> int:
        """Monitored items for events of one session."""
        return sum(len(self.items_of(number).listeners) for number in self.owned_by(session_id))

    def _reporting(self) -> list[ReportingItems]:
        found = [sub.monitored_item_srv for sub in self.subscriptions.values()]
        return [items for items in found if isinstance(items, ReportingItems)]

    def items_of(self, subscription_id: int) -> ReportingItems:
        """Return a subscription's monitored items; the caller knows that there is such a subscription."""
        found = self.subscriptions[subscription_id].monitored_item_srv
        assert isinstance(found, ReportingItems)
        return found

    def tell(self, event: EventData) -> None:
        """Queue an event for everybody who listens where it can be heard."""
        for items in self._reporting():
            items.hear(event)

    def owned_by(self, session_id: ua.NodeId) -> list[int]:
        """Ids of a session's subscriptions."""
        return [number for number, sub in self.subscriptions.items() if sub.session_id == session_id]

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        session_id: ua.NodeId,
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        """Make a subscription within our bounds.

        Raises:
            ServiceError: the session or the server has as many as it may have.

        """
        own = len(self.owned_by(session_id))
        if own >= limits.SUBSCRIPTIONS_PER_SESSION_MAX or len(self.subscriptions) >= limits.SUBSCRIPTIONS_MAX:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        result = ua.CreateSubscriptionResult()
        interval_ms = publishing_interval_ms(params.RequestedPublishingInterval)
        keep_alive, lifetime = revised_counts(
            interval_ms, keep_alive=params.RequestedMaxKeepAliveCount, lifetime=params.RequestedLifetimeCount
        )
        result.RevisedPublishingInterval = interval_ms
        result.RevisedMaxKeepAliveCount = ua.Counter(keep_alive)
        result.RevisedLifetimeCount = ua.Counter(lifetime)
        self._sub_id_counter += 1
        number = self._sub_id_counter
        result.SubscriptionId = ua.IntegerId(number)
        subscription = BoundedSubscription(
            result,
            self.aspace,
            callback,
            session_id,
            request_callback=request_callback,
            delete_callback=lambda: self.subscriptions.pop(number, None),
            no_acks_limit=limits.UNACKNOWLEDGED_MAX,
            max_queue_size=limits.ITEM_QUEUE_MAX,
            publishing_enabled=params.PublishingEnabled,
        )
        if params.MaxNotificationsPerPublish:
            subscription.notifications_max = min(
                params.MaxNotificationsPerPublish, limits.NOTIFICATIONS_PER_MESSAGE_MAX
            )
        subscription.monitored_item_srv = ReportingItems(subscription, self.aspace, self)
        await subscription.start()
        self.subscriptions[number] = subscription
        return result


class ReportingItems(MonitoredItemService):
    """Monitored items of one subscription.

    Against the stock class: filters are checked when they come, a deadband counts from the last value reported
    (not from the last one seen, which lets a slow drift pass unnoticed), values are shared and not deep-copied
    (a published DataValue is never changed), events are selected by filters that were understood when they came,
    and unknown items get their own status instead of failing the whole request.
    """

    def __init__(
        self, isub: InternalSubscription, aspace: AddressSpace, service: BoundedSubscriptions
    ) -> None:
        super().__init__(isub, aspace)
        self._service = service
        self.listeners: dict[int, Listener] = {}
        # When this subscription may be refreshed again, by the loop's clock.
        self.refresh_not_before_s = 0.0

    async def _create_data_change_monitored_item(
        self, params: ua.MonitoredItemCreateRequest
    ) -> ua.MonitoredItemCreateResult:
        target = params.ItemToMonitor
        code = self._filter_status(target, params.RequestedParameters.Filter)
        if target.IndexRange:
            code = ua.StatusCodes.BadIndexRangeNoData
        if code != ua.StatusCodes.Good:
            return refusal(code)
        return await super()._create_data_change_monitored_item(params)

    def _create_events_monitored_item(
        self, params: ua.MonitoredItemCreateRequest
    ) -> ua.MonitoredItemCreateResult:
        target = params.ItemToMonitor
        notifier = self.aspace.read_attribute_value(target.NodeId, ua.AttributeIds.EventNotifier)
        if notifier.Value is None:
            assert notifier.StatusCode is not None
            return refusal(notifier.StatusCode.value)
        if not notifier.Value.Value & ua.EventNotifier.SubscribeToEvents.mask:
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
            concerned = listener.node in event.heard_at and listener.wanted.test(event)
            if not (event.everywhere or concerned):
                continue
            waiting = self.isub._triggered_events.setdefault(item_id, [])
            if len(waiting) >= limits.EVENT_QUEUE:
                # Nobody fetches them: the oldest go, and the first that is left says so.
                del waiting[:2]
                waiting.insert(0, _fields(item, listener, OVERFLOW))
            waiting.append(_fields(item, listener, event))

    def _delete_monitored_items(self, mid: int) -> ua.StatusCode:
        self.listeners.pop(mid, None)
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
        if len(waiting) >= item.queue_size:
            del waiting[0]
        waiting.append(notification)

    def forget_node(self, handle: int) -> None:
        """Tell the subscriber that the node is gone; the item stays until its client removes it."""
        self.report(handle, ua.DataValue(StatusCode=status(ua.StatusCodes.BadNodeIdUnknown)))


def reporter_of(callback: Any) -> ReportingItems:
    """Return the monitored items behind a callback that asyncua keeps with a value."""
    owner = callback.__self__
    assert isinstance(owner, ReportingItems)
    return owner


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


async def cancel(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task of our own and wait until it is gone."""
    if task is None or task.done():
        return
    task.cancel()
    await asyncio.wait([task])
