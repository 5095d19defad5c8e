"""Point values on their way to OPC UA and back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from asyncua import ua

from actors.vocabulary import Quality, WriteRefusal
from protocols.opcua.values import NEVER_WRITTEN, decode, encode, refusal_status, status_of
from protocols.points import PointType, PointValue

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("quality", "utc_ns", "name"),
    [
        (Quality.GOOD, 1, "Good"),
        (Quality.UNCERTAIN, 1, "UncertainLastUsableValue"),
        (Quality.BAD, 1, "BadNoCommunication"),
        (Quality.BAD, None, "BadWaitingForInitialData"),
    ],
)
def test_status_codes_say_the_truth(quality: Quality, utc_ns: int | None, name: str) -> None:
    """OPC-1: Good, Uncertain and Bad by quality; never written is not the same as lost."""
    assert status_of(PointValue(value=1, quality=quality, utc_ns=utc_ns)).name == name
    assert {status_of(PointValue(value=1, quality=one, utc_ns=1)).value >> 30 for one in Quality} == {0, 1, 2}


def test_a_bad_value_keeps_its_number() -> None:
    """SAF-9: under a bad setpoint lies the failsafe image, not a null."""
    data = encode(PointValue(value=12.5, quality=Quality.BAD, utc_ns=5), PointType.FLOAT, server_time=NOW)
    assert data.Value is not None
    assert data.Value.Value == 12.5


def test_source_time_is_the_point_s_own_to_the_microsecond() -> None:
    """OPC-1: the source timestamp is when the value was measured; none if it never was."""
    value = PointValue(value=True, quality=Quality.GOOD, utc_ns=1_700_000_000_123_456_789)
    data = encode(value, PointType.BOOL, server_time=NOW)
    assert data.SourceTimestamp == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert data.ServerTimestamp == NOW
    assert encode(NEVER_WRITTEN, PointType.BOOL, server_time=NOW).SourceTimestamp is None


@pytest.mark.parametrize(
    ("kind", "value", "native"),
    [
        (PointType.BOOL, 1, True),
        (PointType.UINT16, 65_535, 65_535),
        (PointType.UINT16, True, 1),
        (PointType.UINT32, 4_294_967_295, 4_294_967_295),
        (PointType.FLOAT, 3, 3.0),
    ],
)
def test_numbers_take_the_type_of_their_point(kind: PointType, value: float, native: float) -> None:
    """OPC-1: the variant has the node's type, whatever Python type the number came as."""
    data = encode(PointValue(value=value, quality=Quality.GOOD, utc_ns=1), kind, server_time=NOW)
    assert data.Value is not None
    assert data.Value.Value == native
    assert type(data.Value.Value) is type(native)
    assert decode(ua.DataValue(data.Value), kind) == native


@pytest.mark.parametrize(
    ("kind", "value"), [(PointType.UINT16, -1), (PointType.UINT16, 65_536), (PointType.UINT32, 1 << 32)]
)
def test_a_number_that_does_not_fit_is_our_bug(kind: PointType, value: int) -> None:
    """OPC-1: what cannot be sent is found when it is published, not when a client reads."""
    with pytest.raises(ValueError, match="does not fit"):
        encode(PointValue(value=value, quality=Quality.GOOD, utc_ns=1), kind, server_time=NOW)


def test_every_refusal_has_its_own_status() -> None:
    """OPC-2: each reason of the guard reaches the client as a different bad status."""
    codes = {refusal_status(refusal).value for refusal in WriteRefusal}
    assert len(codes) == len(WriteRefusal)
    assert all(code >> 30 == 2 for code in codes)
