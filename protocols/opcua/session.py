"""Sessions: who may connect, what one session may touch, and how reads and writes reach the points."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User
from asyncua.crypto.permission_rules import UserRole as StockRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.user_managers import UserManager

from actors.vocabulary.access import Operation
from actors.vocabulary.callers import Caller
from protocols.opcua import limits
from protocols.opcua.admission import Admission, source_of, user_certificate_of
from protocols.opcua.browsing import Browser, Views
from protocols.opcua.identity import current_caller
from protocols.opcua.ids import is_of_condition, random, status
from protocols.opcua.subscriptions import BoundedSubscriptions, cancel
from protocols.opcua.values import wire_time

# Reads of the points: called before any of them is served. Writes: one status per item.
BeforeRead = Callable[[Sequence[ua.ReadValueId]], None]
# UserAccessLevel or UserExecutable of a node for the present caller; None: the node's own value counts.
Rights = Callable[[ua.NodeId, Any], ua.DataValue | None]
USER_ATTRIBUTES: Final = frozenset({ua.AttributeIds.UserAccessLevel, ua.AttributeIds.UserExecutable})
WriteItems = Callable[[Sequence[ua.WriteValue], str], Awaitable[list[ua.StatusCode]]]


class Operations(Protocol):
    """What answers calls and looks back; the endpoint hands it in once its address space is built."""

    async def call(
        self, items: Sequence[ua.CallMethodRequest], session: Session
    ) -> list[ua.CallMethodResult]:
        """Answer every call of a request."""
        ...

    async def history_read(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """Answer every node of a request."""
        ...


class NoOperations:
    """Before there is an address space nobody is connected either."""

    async def call(
        self, items: Sequence[ua.CallMethodRequest], session: Session
    ) -> list[ua.CallMethodResult]:
        """Refuse the request."""
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)

    async def history_read(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """Refuse the request."""
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)


class Identified(UserManager):
    """Lets in whom the admission has let in already; asyncua itself asks for nothing more.

    Its default takes any password and makes an administrator of everybody called admin.
    """

    def get_user(
        self,
        iserver: InternalServer,
        username: str | None = None,
        password: str | None = None,
        certificate: Any = None,
    ) -> User | None:
        """Return an ordinary user of asyncua's; None for a name: none ever gets here."""
        if username is not None or password is not None:
            return None
        return User(role=StockRole.User, name="identified")


class Session(InternalSession):
    """A client's session: unguessable token, own subscriptions only, one connection at a time."""

    def __init__(self, server: Sessions, name: str, user: User) -> None:
        super().__init__(server, server.aspace, server.bounded_subscriptions, name, user=user, external=False)
        self.external = True
        # asyncua counts its tokens up from 1000: with one guess another client's session could be taken over.
        self.auth_token = random(32)
        self.session_id = random(16)
        self.subscriptions: Final = server.bounded_subscriptions
        self.server: Final = server
        self.browser: Final = Browser(server.view_service)
        # Until when its refreshes of conditions are paid for, by the loop's clock.
        self._refreshed_until_s = 0.0
        # The processor whose connection carries this session now; None between two connections.
        self.channel: object | None = None
        # Who it is, once it is activated, and by which certificate (b'': by none).
        self.caller: Caller | None = None
        self.user_certificate = b""
        # What its channel has shown: only such another one may take it over.
        self.application = b""
        self._security: tuple[str, Any] | None = None
        server.register_external_session(self)

    async def create_session(
        self, params: ua.CreateSessionParameters, sockname: tuple[str, int] | None = None
    ) -> ua.CreateSessionResult:
        """Answer CreateSession; a timeout that is no number would make the session immortal."""
        if not math.isfinite(params.RequestedSessionTimeout or 0.0):
            params.RequestedSessionTimeout = ua.Duration(limits.SESSION_TIMEOUT_S_MIN * 1000)
        result = await super().create_session(params, sockname)
        result.MaxRequestMessageSize = ua.UInt32(limits.REQUEST_BYTES_MAX)
        return result

    def bind(self, policy: Any) -> None:
        """Tie the session to the security of the channel that it was made on."""
        self.application = policy.peer_certificate or b""
        self._security = policy.URI, policy.Mode

    def is_bound_to(self, policy: Any) -> bool:
        """Say whether a channel is of the same program and security (OPC 10000-4, 5.6.3)."""
        return (policy.URI, policy.Mode) == self._security and (
            (policy.peer_certificate or b"") == self.application
        )

    def activate_as(self, caller: Caller, params: ua.ActivateSessionParameters) -> ua.ActivateSessionResult:
        """Activate the session for somebody who was let in; from then on it is known who asks."""
        shown = user_certificate_of(params)
        params.UserIdentityToken = ua.AnonymousIdentityToken()
        result = self.activate_session(params, None)
        self.caller, self.user_certificate = caller, shown
        if not caller.may(Operation.READ_PLANT):
            # Somebody else on the same channel: what the one before could hear of alarms is not theirs.
            for number in self.subscriptions.owned_by(self.session_id):
                self.subscriptions.items_of(number).forget_alarms()
        return result

    def may_refresh(self, heard: int, now_s: float) -> bool:
        """Take the turn of so many items to be refreshed; False: the session had all of its own lately."""
        begins_s = max(self._refreshed_until_s, now_s)
        ends_s = begins_s + heard * limits.REFRESH_APART_S
        if ends_s > now_s + limits.EVENT_ITEMS_PER_SESSION_MAX * limits.REFRESH_APART_S:
            return False
        self._refreshed_until_s = ends_s
        return True

    async def close_session(self, delete_subs: bool = True) -> None:
        """End the session with all its subscriptions: none may outlive its owner."""
        await super().close_session(delete_subs=True)

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        """Serve a read, after the points were brought up to date."""
        self.server.before_read(params.NodesToRead)
        now = wire_time()
        return [
            _stamped(self._read_one(item), params.TimestampsToReturn, now, item)
            for item in params.NodesToRead
        ]

    def _read_one(self, item: ua.ReadValueId) -> ua.DataValue:
        rights = self.server.rights
        if rights is not None and item.AttributeId in USER_ATTRIBUTES:
            own = rights(item.NodeId, item.AttributeId)
            if own is not None:
                return own
        if item.IndexRange:  # nothing of ours is an array; asyncua would return the whole value
            return ua.DataValue(StatusCode=status(ua.StatusCodes.BadIndexRangeNoData))
        if is_of_condition(item.NodeId) and not current_caller().may(Operation.READ_PLANT):
            return ua.DataValue(StatusCode=status(ua.StatusCodes.BadUserAccessDenied))
        return self.aspace.read_attribute_value(item.NodeId, item.AttributeId)

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        """Ask the guard item by item; nothing a client sends enters the address space by itself."""
        return await self.server.write_items(params.NodesToWrite, str(self.name))

    def own_subscription(self, subscription_id: int) -> None:
        """Refuse what belongs to another session: ids are counted up, so they can be guessed.

        Raises:
            ServiceError: no such subscription in this session.

        """
        subscription = self.subscriptions.subscriptions.get(subscription_id)
        if subscription is None or subscription.session_id != self.session_id:
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        """Add monitored items as long as there is room for them."""
        self.own_subscription(params.SubscriptionId)
        listens = any(
            item.ItemToMonitor.AttributeId == ua.AttributeIds.EventNotifier for item in params.ItemsToCreate
        )
        if listens and not current_caller().may(Operation.READ_PLANT):
            # Alarms are not a controller's business; its data items go in a request of their own.
            raise ServiceError(ua.StatusCodes.BadUserAccessDenied)
        self.server.before_read([item.ItemToMonitor for item in params.ItemsToCreate])
        room = max(0, self.subscriptions.items_max - self.subscriptions.items)
        surplus = len(params.ItemsToCreate) - room
        if surplus <= 0:
            return await self.subscriptions.create_monitored_items(params)
        params.ItemsToCreate = params.ItemsToCreate[:room]
        results = await self.subscriptions.create_monitored_items(params)
        full = ua.MonitoredItemCreateResult()
        full.StatusCode = status(ua.StatusCodes.BadTooManyMonitoredItems)
        return results + [full] * surplus

    async def delete_subscriptions(self, ids: list[int]) -> list[ua.StatusCode]:
        """Delete the session's own subscriptions; others' ids are unknown here."""
        own = set(self.subscriptions.owned_by(self.session_id))
        mine = [number for number in dict.fromkeys(ids) if number in own]
        answers = dict(zip(mine, await self.subscriptions.delete_subscriptions(mine), strict=True))
        unknown = status(ua.StatusCodes.BadSubscriptionIdInvalid)
        return [answers.pop(number, unknown) for number in ids]

    def publish(
        self, acks: Iterable[ua.SubscriptionAcknowledgement] | None = None
    ) -> tuple[int, list[ua.StatusCode]]:
        """Take acknowledgements of the session's own subscriptions; return how many those are.

        Raises:
            ServiceError: the session has none.

        """
        own = self.subscriptions.owned_by(self.session_id)
        if not own:
            raise ServiceError(ua.StatusCodes.BadNoSubscription)
        results = []
        for ack in acks or ():
            code = ua.StatusCodes.Good
            if ack.SubscriptionId not in own:
                code = ua.StatusCodes.BadSubscriptionIdInvalid
            else:
                self.subscriptions.subscriptions[ack.SubscriptionId].publish([ack.SequenceNumber])
            results.append(status(code))
        return len(own), results


class Sessions(InternalServer):
    """asyncua's inner server with our sessions, subscriptions and bounds."""

    def __init__(self, *, before_read: BeforeRead, write_items: WriteItems, admission: Admission) -> None:
        super().__init__(user_manager=Identified())
        self.admission: Final = admission
        self.before_read: Final = before_read
        # What only whoever asks can know: their own rights at a node; None until the space is built.
        self.rights: Rights | None = None
        self.write_items: Final = write_items
        self.view_service: Views = Views(self.aspace)
        self.bounded_subscriptions: Final = BoundedSubscriptions(self.aspace, self)
        self.subscription_service = self.bounded_subscriptions
        self.isession.subscription_service = self.bounded_subscriptions
        self.allow_remote_admin = False
        self.operations: Operations = NoOperations()
        self.supported_tokens = (ua.AnonymousIdentityToken,)  # type: ignore[assignment]  # a shorter tuple
        self.min_session_timeout_ms = limits.SESSION_TIMEOUT_S_MIN * 1000
        self.max_session_timeout_ms = limits.SESSION_TIMEOUT_S_MAX * 1000

    @property
    def sessions(self) -> list[Session]:
        """All client sessions, activated or not."""
        return [session for session in self._external_sessions.values() if isinstance(session, Session)]

    async def admit(self, peer: str) -> Session:
        """Make a session; when all places are taken, the longest idle one without a connection goes.

        Raises:
            ServiceError: all places, or all that one address may have, are taken by connected clients.

        """
        rules, source = self.admission.rules, source_of(peer)
        same = [session for session in self.sessions if source_of(str(session.name)) == source]
        if len(same) >= rules.sessions_per_address_max:
            await self._make_room_among(same)
        if len(self._external_sessions) >= rules.sessions_max:
            await self._make_room_among(self.sessions)
        return Session(self, peer, User(role=StockRole.Anonymous))

    async def _make_room_among(self, sessions: list[Session]) -> None:
        detached = [session for session in sessions if session.channel is None]
        if not detached:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        await min(detached, key=lambda session: session._last_activity).close_session()

    async def begin(self) -> None:
        """Show the server as running and start its clock."""
        await self.start()

    async def end(self) -> None:
        """Close every session and stop the clock at once (asyncua would wait for its next second)."""
        for session in self.sessions:
            await session.close_session()
        await cancel(self.time_task)
        self.time_task = None


def _stamped(
    value: ua.DataValue, wanted: ua.TimestampsToReturn, now: Any, item: ua.ReadValueId
) -> ua.DataValue:
    """Give a value the timestamps that the client asked for; the server's is the moment of the read."""
    if item.AttributeId != ua.AttributeIds.Value:
        return dataclasses.replace(value, SourceTimestamp=None, ServerTimestamp=None)
    if wanted == ua.TimestampsToReturn.Both:
        return dataclasses.replace(value, ServerTimestamp=now)
    if wanted == ua.TimestampsToReturn.Source:
        return dataclasses.replace(value, ServerTimestamp=None)
    if wanted == ua.TimestampsToReturn.Server:
        return dataclasses.replace(value, SourceTimestamp=None, ServerTimestamp=now)
    return dataclasses.replace(value, SourceTimestamp=None, ServerTimestamp=None)
