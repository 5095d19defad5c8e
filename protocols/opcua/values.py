"""Point values to OPC UA data values and back, with status codes that say the truth (OPC-1)."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final, assert_never

from asyncua import ua

from actors.vocabulary import Quality, WriteRefusal
from protocols.opcua.ids import standard, status
from protocols.points import PointType, PointValue

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UINT_MAX: Final = {PointType.UINT16: 0xFFFF, PointType.UINT32: 0xFFFF_FFFF}

VARIANT_TYPES: Final = {
    PointType.BOOL: ua.VariantType.Boolean,
    PointType.UINT16: ua.VariantType.UInt16,
    PointType.UINT32: ua.VariantType.UInt32,
    PointType.FLOAT: ua.VariantType.Double,
}
DATA_TYPES: Final = {
    PointType.BOOL: standard(ua.ObjectIds.Boolean),
    PointType.UINT16: standard(ua.ObjectIds.UInt16),
    PointType.UINT32: standard(ua.ObjectIds.UInt32),
    PointType.FLOAT: standard(ua.ObjectIds.Double),
}

_GOOD: Final = status(ua.StatusCodes.Good)
_UNCERTAIN: Final = status(ua.StatusCodes.UncertainLastUsableValue)
_WAITING: Final = status(ua.StatusCodes.BadWaitingForInitialData)
_NO_COMMUNICATION: Final = status(ua.StatusCodes.BadNoCommunication)

NEVER_WRITTEN: Final = PointValue(value=0, quality=Quality.BAD)


def wire_time() -> datetime:
    """The wall clock for server timestamps; nothing is decided by it."""
    return datetime.now(UTC)  # noqa: TID251 - asyncua stamps with the same clock, and a stamp decides nothing


def status_of(value: PointValue) -> ua.StatusCode:
    """Status code of a value: never had one, lost, last usable, or good."""
    match value.quality:
        case Quality.GOOD:
            return _GOOD
        case Quality.UNCERTAIN:
            return _UNCERTAIN
        case Quality.BAD:
            return _WAITING if value.utc_ns is None else _NO_COMMUNICATION
        case _ as never:
            assert_never(never)


def encode(value: PointValue, kind: PointType, *, server_time: Any) -> ua.DataValue:
    """Make the data value of a point; the number stays in it whatever its quality.

    OPC 10000-4, 7.11 lets a client ignore the number under a bad status. It is sent all the same: under a bad
    setpoint lies the failsafe image (SAF-9), and a client that ignores status must find that, not a null.

    Raises:
        ValueError: the number does not fit the point's type; our bug.

    """
    source: Any = None if value.utc_ns is None else _EPOCH + timedelta(microseconds=value.utc_ns // 1000)
    return ua.DataValue(
        ua.Variant(_native(value.value, kind), VARIANT_TYPES[kind]),
        StatusCode=status_of(value),
        SourceTimestamp=source,
        ServerTimestamp=server_time,
    )


def _native(value: bool | int | float, kind: PointType) -> bool | int | float:  # noqa: PYI041 - the port's own type
    match kind:
        case PointType.BOOL:
            return bool(value)
        case PointType.FLOAT:
            return float(value)
        case PointType.UINT16 | PointType.UINT32:
            number = int(value)
            if not 0 <= number <= _UINT_MAX[kind]:
                raise ValueError(f"{value!r} does not fit a {kind.value}")
            return number
        case _ as never:
            assert_never(never)


def decode(item: ua.DataValue, kind: PointType) -> bool | int | float | ua.StatusCode:
    """Read a value that a client wants to write; the status code says why it cannot be taken.

    Strict: exactly the node's type, a scalar, finite, and nothing but a value (status and timestamps are ours).
    """
    variant = item.Value
    if (item.StatusCode is not None and item.StatusCode.value != ua.StatusCodes.Good) or any(
        stamp is not None
        for stamp in (
            item.SourceTimestamp,
            item.ServerTimestamp,
            item.SourcePicoseconds,
            item.ServerPicoseconds,
        )
    ):
        return status(ua.StatusCodes.BadWriteNotSupported)
    if (
        variant is None
        or variant.VariantType is not VARIANT_TYPES[kind]
        or not isinstance(variant.Value, bool | int | float)  # null, or an array: a list
    ):
        return status(ua.StatusCodes.BadTypeMismatch)
    if not math.isfinite(variant.Value):
        return status(ua.StatusCodes.BadOutOfRange)
    return variant.Value


def refusal_status(refusal: WriteRefusal) -> ua.StatusCode:
    """Status code of a write that the guard refused."""
    match refusal:
        case WriteRefusal.READ_ONLY:
            return status(ua.StatusCodes.BadNotWritable)
        case WriteRefusal.OUT_OF_RANGE:
            return status(ua.StatusCodes.BadOutOfRange)
        case WriteRefusal.BAD_TYPE:
            return status(ua.StatusCodes.BadTypeMismatch)
        case WriteRefusal.UNKNOWN_POINT:
            return status(ua.StatusCodes.BadNodeIdUnknown)
        case WriteRefusal.NOT_PERMITTED:
            return status(ua.StatusCodes.BadUserAccessDenied)
        case WriteRefusal.INVALID_STATE:
            return status(ua.StatusCodes.BadInvalidState)
        case WriteRefusal.STALE:
            return status(ua.StatusCodes.BadInvalidTimestamp)
        case WriteRefusal.DEVICE_FAILURE:
            return status(ua.StatusCodes.BadDeviceFailure)
        case _ as never:
            assert_never(never)
