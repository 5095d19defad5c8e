"""Method calls: each judged by itself, then put before the publisher's desk; and the methods of conditions (OPC-3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError

from actors.vocabulary import WriteRefusal
from actors.vocabulary.access import Operation
from actors.vocabulary.client_calls import TEXT_MAX, CallAnswer, ClientCall, ClientCommand, SeeAlarm
from protocols.endpoint import CallDesk
from protocols.opcua import limits
from protocols.opcua.condition_nodes import ACKNOWLEDGE
from protocols.opcua.conditions import Conditions
from protocols.opcua.identity import current_caller
from protocols.opcua.ids import standard, status
from protocols.opcua.methods import BY_NODE, ArgumentError, Method, Place, readable
from protocols.opcua.refusals import CLIENT_REFUSED, Refusals
from protocols.opcua.values import refusal_status

if TYPE_CHECKING:
    from protocols.opcua.session import Session

_CONDITION_TYPES: Final = frozenset(
    standard(number)
    for number in (
        ua.ObjectIds.ConditionType,
        ua.ObjectIds.AcknowledgeableConditionType,
        ua.ObjectIds.AlarmConditionType,
    )
)
REFRESH: Final = standard(ua.ObjectIds.ConditionType_ConditionRefresh)
REFRESH_ONE: Final = standard(ua.ObjectIds.ConditionType_ConditionRefresh2)
_ACKNOWLEDGE_ARGUMENTS: Final = 2
_NAME_SHOWN: Final = 200


class Calls:
    """The way of a call from a request to the desk. `place_of` finds the object of a node: its level and ids."""

    def __init__(
        self, place_of: Callable[[ua.NodeId], tuple[str, Place] | None], conditions: Conditions
    ) -> None:
        self._place_of = place_of
        self._conditions = conditions
        self._desk: CallDesk | None = None
        self._refusals: Refusals | None = None

    def operate(self, desk: CallDesk) -> None:
        """Take what carries commands out."""
        self._desk = desk

    def open(self, refusals: Refusals) -> None:
        """Take who hears of calls that never reach the desk."""
        self._refusals = refusals

    async def answer(
        self, items: Sequence[ua.CallMethodRequest], session: Session
    ) -> list[ua.CallMethodResult]:
        """Answer every call of a request, one after the other."""
        results = [await self._one(item, session) for item in items]
        # What came before the desk is counted and audited there, each by itself.
        refused = [
            (item, result)
            for item, result in zip(items, results, strict=True)
            if not result.StatusCode.is_good() and not isinstance(result, _Judged)
        ]
        if refused and self._refusals is not None:
            item, result = refused[0]
            name = str(item.MethodId.Identifier)[:_NAME_SHOWN]
            text = f"{len(refused)} of {len(items)} calls, first {name!r}: {result.StatusCode.name}"
            self._refusals.event(
                CLIENT_REFUSED, actor=current_caller().name, peer=str(session.name), refused=text
            )
        return results

    async def _one(self, item: ua.CallMethodRequest, session: Session) -> ua.CallMethodResult:
        arguments = item.InputArguments or []
        if item.MethodId == ACKNOWLEDGE:
            return await self._acknowledge(item.ObjectId, arguments, session)
        if item.MethodId in (REFRESH, REFRESH_ONE):
            return self._refresh(item, arguments, session)
        found = BY_NODE.get(item.MethodId)
        place = self._place_of(item.ObjectId)
        if place is None:
            return _result(ua.StatusCodes.BadNodeIdUnknown)
        if found is None or found[0] != place[0]:
            return _result(ua.StatusCodes.BadMethodInvalid)
        return await self._method(found[1], place[1], arguments, session)

    async def _method(
        self, method: Method, place: Place, arguments: Sequence[ua.Variant], session: Session
    ) -> ua.CallMethodResult:
        if len(arguments) < len(method.inputs):
            return _result(ua.StatusCodes.BadArgumentsMissing)
        if len(arguments) > len(method.inputs):
            return _result(ua.StatusCodes.BadTooManyArguments)
        try:
            command = method.command(place, arguments)
        except ArgumentError as error:
            return _wrong(error, len(arguments))
        # Whether there is such an alarm is nobody else's to know: they are refused by the desk, as all are.
        if (
            isinstance(command, SeeAlarm)
            and current_caller().may(method.operation)
            and self._conditions.alarm(command.alarm_id) is None
        ):
            return _result(ua.StatusCodes.BadNotFound)
        result, answer = await self._ask(command, session)
        if result.StatusCode.is_good():
            result.InputArgumentResults = [ua.StatusCode() for _ in arguments]
            outputs = [ua.Variant(list(answer.ids), ua.VariantType.String, is_array=True)]
            result.OutputArguments = outputs if method.outputs else []
        return result

    async def _ask(self, command: ClientCommand, session: Session) -> tuple[ua.CallMethodResult, CallAnswer]:
        """Put a command before the desk, for a bounded time."""
        nothing = CallAnswer(refusal=WriteRefusal.DEVICE_FAILURE)
        if self._desk is None:
            return _result(ua.StatusCodes.BadNotSupported), nothing
        call = ClientCall(command=command, caller=current_caller(), peer=str(session.name))
        try:
            async with asyncio.timeout(limits.GUARD_DEADLINE_S):
                answer = await self._desk(call)
        except TimeoutError:
            # It may or may not have been carried out; the client sees by what is shown.
            return _result(ua.StatusCodes.BadTimeout), nothing
        if answer.refusal is WriteRefusal.UNKNOWN_POINT:
            return _Judged(StatusCode=status(ua.StatusCodes.BadNotFound)), answer
        code = ua.StatusCode() if answer.refusal is None else refusal_status(answer.refusal)
        return _Judged(StatusCode=code), answer

    # --- The standard's own methods of conditions -----------------------------------------------------------------

    async def _acknowledge(
        self, node: ua.NodeId, arguments: Sequence[ua.Variant], session: Session
    ) -> ua.CallMethodResult:
        if len(arguments) != _ACKNOWLEDGE_ARGUMENTS:
            few = len(arguments) < _ACKNOWLEDGE_ARGUMENTS
            return _result(ua.StatusCodes.BadArgumentsMissing if few else ua.StatusCodes.BadTooManyArguments)
        event, comment = arguments
        if event.VariantType is not ua.VariantType.ByteString or isinstance(event.Value, list):
            return _wrong(ArgumentError(0, ua.StatusCodes.BadTypeMismatch), len(arguments))
        said = ""
        if comment.Value is not None:
            if comment.VariantType is not ua.VariantType.LocalizedText or isinstance(comment.Value, list):
                return _wrong(ArgumentError(1, ua.StatusCodes.BadTypeMismatch), len(arguments))
            said = readable(comment.Value.Text)
        if len(said) > TEXT_MAX:
            return _wrong(ArgumentError(1, ua.StatusCodes.BadOutOfRange), len(arguments))
        if not current_caller().may(Operation.READ_PLANT):
            # Whether there is such an alarm is not theirs to know.
            return _result(ua.StatusCodes.BadUserAccessDenied)
        alarm = self._conditions.alarm_of(node, event.Value)
        if isinstance(alarm, ua.StatusCode):
            return ua.CallMethodResult(StatusCode=alarm)
        result, _ = await self._ask(SeeAlarm(alarm_id=alarm.alarm_id, comment=said), session)
        return result

    def _refresh(
        self, item: ua.CallMethodRequest, arguments: Sequence[ua.Variant], session: Session
    ) -> ua.CallMethodResult:
        """Tell one subscription, or one item of it, all conditions that are of interest."""
        if item.ObjectId not in _CONDITION_TYPES:
            return _result(ua.StatusCodes.BadNodeIdUnknown)
        count = 1 if item.MethodId == REFRESH else 2
        if len(arguments) != count:
            few = len(arguments) < count
            return _result(ua.StatusCodes.BadArgumentsMissing if few else ua.StatusCodes.BadTooManyArguments)
        for place, given in enumerate(arguments):
            if given.VariantType is not ua.VariantType.UInt32 or not isinstance(given.Value, int):
                return _wrong(ArgumentError(place, ua.StatusCodes.BadTypeMismatch), len(arguments))
        if not current_caller().may(Operation.READ_PLANT):
            return _result(ua.StatusCodes.BadUserAccessDenied)
        try:
            session.own_subscription(arguments[0].Value)
        except ServiceError as error:
            return _result(error.code)
        items = session.subscriptions.items_of(arguments[0].Value)
        only = None if count == 1 else arguments[1].Value
        if only is not None and only not in items.listeners:
            return _result(ua.StatusCodes.BadMonitoredItemIdInvalid)
        now_s = asyncio.get_running_loop().time()
        heard = len(items.listeners) if only is None else 1
        if now_s < items.refresh_not_before_s or not session.may_refresh(heard, now_s):
            return _result(ua.StatusCodes.BadRefreshInProgress)
        items.refresh_not_before_s = now_s + limits.REFRESH_APART_S
        self._conditions.refresh(lambda event: items.hear(event, only=only))
        return _result(ua.StatusCodes.Good)


class _Judged(ua.CallMethodResult):
    """The result of a call that the desk has judged: it is told there."""


def _result(code: int) -> ua.CallMethodResult:
    return ua.CallMethodResult(StatusCode=status(code))


def _wrong(error: ArgumentError, count: int) -> ua.CallMethodResult:
    result = _result(ua.StatusCodes.BadInvalidArgument)
    places: list[Any] = [ua.StatusCode() for _ in range(count)]
    places[error.place] = status(error.code)
    result.InputArgumentResults = places
    return result
