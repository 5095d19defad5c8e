"""HistoryRead of raw values from our own storage: bounded in count, time and number (OPC-3, OPC 10000-11, 6.5.3).

A continuation point holds all that is needed to go on, so nothing is kept for a client that never comes back. It is
checked like any other input: what it asks for could have been asked for anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from asyncua import ua
from asyncua.common.utils import ServiceError

from actors.vocabulary import CalejoError, InvalidValueError
from actors.vocabulary.access import Operation
from actors.vocabulary.client_calls import PastQuestion, PastValue
from protocols.endpoint import PastReader
from protocols.opcua import limits
from protocols.opcua.identity import current_caller
from protocols.opcua.ids import status
from protocols.opcua.nodes import historized
from protocols.opcua.values import encode
from protocols.points import Point, PointValue

if TYPE_CHECKING:
    from protocols.opcua.address_space import Slot

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The wire's zero: no time at all (OPC 10000-6, 5.2.2.5).
_NO_TIME_BEFORE: Final = datetime(1601, 1, 2, tzinfo=UTC)
_POINT_BYTES_MAX: Final = 1_000


class _Cursor(msgspec.Struct, frozen=True):
    """A continuation point: whose it is, the whole question, and where the page before ended.

    `opened`: the bound at its beginning was given; `closing`: nothing is left but the one at its end.
    """

    path: str
    start: datetime | None
    end: datetime | None
    backwards: bool
    bounds: bool
    following: str
    opened: bool = False
    closing: bool = False


class History:
    """Answers HistoryRead. `slot_of` finds the point of a node; `status_of` says why there is none."""

    def __init__(
        self, slot_of: Callable[[ua.NodeId], Slot | None], status_of: Callable[[ua.NodeId], ua.StatusCode]
    ) -> None:
        self._slot_of = slot_of
        self._status_of = status_of
        self._past: PastReader | None = None
        # So that readers of history cannot take all of the database's few connections, nor our loop.
        self._turns = asyncio.Semaphore(limits.HISTORY_AT_ONCE_MAX)

    def operate(self, past: PastReader) -> None:
        """Take what reads the past."""
        self._past = past

    async def answer(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """Answer every node of a request; a database that is away costs no more than the deadline.

        Raises:
            ServiceError: the request as a whole is not one that we serve.

        """
        details = params.HistoryReadDetails
        if not isinstance(details, ua.ReadRawModifiedDetails):
            raise ServiceError(ua.StatusCodes.BadHistoryOperationUnsupported)
        if params.TimestampsToReturn not in (
            ua.TimestampsToReturn.Source,
            ua.TimestampsToReturn.Both,
            ua.TimestampsToReturn.Server,
        ):
            raise ServiceError(ua.StatusCodes.BadTimestampsToReturnInvalid)
        if params.ReleaseContinuationPoints:
            return [ua.HistoryReadResult() for _ in params.NodesToRead]
        if details.IsReadModified:
            raise ServiceError(ua.StatusCodes.BadHistoryOperationUnsupported)
        results: list[ua.HistoryReadResult] = []
        try:
            async with asyncio.timeout(limits.HISTORY_DEADLINE_S), self._turns:
                for node in params.NodesToRead:
                    results.append(await self._one(node, details, params.TimestampsToReturn))  # noqa: PERF401
        except TimeoutError:
            missing = len(params.NodesToRead) - len(results)
            results += [_result(ua.StatusCodes.BadTimeout) for _ in range(missing)]
        return results

    async def _one(
        self,
        node: ua.HistoryReadValueId,
        details: ua.ReadRawModifiedDetails,
        stamps: ua.TimestampsToReturn,
    ) -> ua.HistoryReadResult:
        slot = self._slot_of(node.NodeId)
        if slot is None:
            code = self._status_of(node.NodeId)
            return _result(ua.StatusCodes.BadHistoryOperationUnsupported if code.is_good() else code.value)
        if not current_caller().may(Operation.READ_PLANT):
            return _result(ua.StatusCodes.BadUserAccessDenied)
        if node.IndexRange:
            return _result(ua.StatusCodes.BadIndexRangeNoData)
        if not historized(slot.point) or self._past is None:
            return _result(ua.StatusCodes.BadHistoryOperationUnsupported)
        try:
            cursor = _continued(node.ContinuationPoint, slot.point) or _begun(details, slot.point)
            count_max = min(details.NumValuesPerNode or limits.HISTORY_VALUES_MAX, limits.HISTORY_VALUES_MAX)
            values, after = await self._read(slot.point, cursor, count_max, self._past)
        except _RefusedError as refused:
            return _result(refused.code)
        except InvalidValueError:
            return _result(ua.StatusCodes.BadContinuationPointInvalid)
        except CalejoError:
            return _result(ua.StatusCodes.BadNoCommunication)
        result = ua.HistoryReadResult()
        result.HistoryData = ua.HistoryData([_stamped(value, stamps) for value in values])
        if after is not None:
            result.ContinuationPoint = msgspec.msgpack.encode(after)
        elif not values:
            result.StatusCode = status(ua.StatusCodes.GoodNoData)
        return result

    async def _read(
        self, point: Point, cursor: _Cursor, count_max: int, past: PastReader
    ) -> tuple[list[ua.DataValue], _Cursor | None]:
        """Return one page, and where the next one begins; the bounds count among its values (6.5.3.2)."""
        assert point.pump_id is not None, "only pumps have a past"
        question = PastQuestion(
            pump_id=point.pump_id,
            point=point.point,
            start=cursor.start,
            end=cursor.end,
            count_max=count_max,
            backwards=cursor.backwards,
            following=cursor.following,
        )
        values: list[ua.DataValue] = []
        if cursor.bounds and not (cursor.opened or cursor.following) and cursor.start is not None:
            bound = await self._bound(question, cursor.start, point, past)
            is_missing = bound.StatusCode == status(ua.StatusCodes.BadBoundNotFound)
            if is_missing or bound.SourceTimestamp != cursor.start:
                values.append(bound)
        cursor = msgspec.structs.replace(cursor, opened=True)
        if not cursor.closing and len(values) < count_max:
            page = await past(msgspec.structs.replace(question, count_max=count_max - len(values)))
            values += [_encoded(value, point) for value in page.values]
            cursor = msgspec.structs.replace(cursor, following=page.following, closing=not page.following)
        if not cursor.closing:
            return values, cursor
        if not cursor.bounds or cursor.end is None or cursor.end == cursor.start:
            return values, None
        if len(values) >= count_max:
            return values, cursor
        beyond = msgspec.structs.replace(
            question, start=cursor.end, backwards=not cursor.backwards, following=""
        )
        values.append(await self._bound(beyond, cursor.end, point, past))
        return values, None

    async def _bound(
        self, question: PastQuestion, at: datetime, point: Point, past: PastReader
    ) -> ua.DataValue:
        """Return the value that holds at one end of the interval, or that there is none (6.5.3.1)."""
        page = await past(msgspec.structs.replace(question, following="", bound=True, count_max=1))
        if page.values:
            return _encoded(page.values[0], point)
        stamp: Any = at
        return ua.DataValue(StatusCode=status(ua.StatusCodes.BadBoundNotFound), SourceTimestamp=stamp)


class _RefusedError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _begun(details: ua.ReadRawModifiedDetails, point: Point) -> _Cursor:
    """Return the question of a first page: two of start, end and count must be given."""
    start, end = _time(details.StartTime), _time(details.EndTime)
    if (start is None) + (end is None) + (not details.NumValuesPerNode) > 1:
        raise _RefusedError(ua.StatusCodes.BadInvalidArgument)
    bounds = bool(details.ReturnBounds)
    if start is None:
        # The newest ones until the end.
        return _Cursor(point.path, end, None, backwards=True, bounds=bounds, following="")
    backwards = end is not None and end < start
    return _Cursor(point.path, start, end, backwards=backwards, bounds=bounds, following="")


def _continued(given: bytes | None, point: Point) -> _Cursor | None:
    if not given:
        return None
    try:
        if len(given) > _POINT_BYTES_MAX:
            raise _RefusedError(ua.StatusCodes.BadContinuationPointInvalid)
        cursor = msgspec.msgpack.decode(given, type=_Cursor)
    except (msgspec.DecodeError, OverflowError, ValueError):
        raise _RefusedError(ua.StatusCodes.BadContinuationPointInvalid) from None
    ours = all(at is None or _is_on_the_wire(at) for at in (cursor.start, cursor.end))
    goes_on = cursor.following or cursor.opened
    if cursor.path != point.path or not goes_on or not ours:
        raise _RefusedError(ua.StatusCodes.BadContinuationPointInvalid)
    return cursor


def _is_on_the_wire(at: datetime) -> bool:
    """Whether we could have made this time: UTC, and not before the wire's zero."""
    return at.utcoffset() == timedelta(0) and at >= _NO_TIME_BEFORE


def _time(given: datetime | None) -> datetime | None:
    if given is None:
        return None
    at = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
    return None if at < _NO_TIME_BEFORE else at


def _encoded(value: PastValue, point: Point) -> ua.DataValue:
    utc_ns = (value.at - _EPOCH) // timedelta(microseconds=1) * 1000
    shown = PointValue(value=value.value, quality=value.quality, utc_ns=utc_ns)
    return encode(shown, point.type, server_time=None)


def _stamped(value: ua.DataValue, wanted: ua.TimestampsToReturn) -> ua.DataValue:
    """Give a value the timestamps asked for; of the past, both are those of the source."""
    if wanted == ua.TimestampsToReturn.Source:
        return value
    source = None if wanted == ua.TimestampsToReturn.Server else value.SourceTimestamp
    return ua.DataValue(
        value.Value,
        StatusCode=value.StatusCode,
        SourceTimestamp=source,
        ServerTimestamp=value.SourceTimestamp,
    )


def _result(code: int) -> ua.HistoryReadResult:
    result = ua.HistoryReadResult()
    result.StatusCode = status(code)
    return result
