"""Sparkplug payloads as bytes: what we say is read as meant, and nothing that anybody sends does harm."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.vocabulary import InvalidValueError
from protocols.sparkplug.schema import DataType, Metric, Payload, Property, decode, encode, understood


def test_a_payload_comes_back_as_it_was() -> None:
    """SPB-1: names, aliases, times, types, values, null, the historical flag and properties survive the bytes."""
    metrics = (
        Metric(
            name="setpoint", alias=7, timestamp_ms=5, datatype=DataType.DOUBLE, value=35.25,
            properties=(Property("Quality", DataType.INT32, 192), Property("engUnit", DataType.STRING, "Hz")),
        ),
        Metric(name="x", alias=8, timestamp_ms=5, datatype=DataType.BOOLEAN),
    )  # fmt: skip
    sent = Payload(timestamp_ms=1_795_000_000_000, seq=255, metrics=metrics)
    assert decode(encode(sent), metrics_max=2) == sent
    data = Metric(alias=7, timestamp_ms=5, datatype=DataType.DOUBLE, value=1.0, is_historical=True)
    (back,) = decode(encode(Payload(metrics=(data,))), metrics_max=1).metrics
    assert (back.name, back.alias, back.datatype, back.is_historical) == (None, 7, None, True)


@pytest.mark.parametrize(
    ("datatype", "value", "field"),
    [
        (DataType.INT32, -1, b"\x50\xff\xff\xff\xff\x0f"),
        (DataType.INT64, -1, b"\x58" + b"\xff" * 9 + b"\x01"),
        (DataType.UINT16, 65_535, b"\x50\xff\xff\x03"),
        (DataType.BOOLEAN, True, b"\x70\x01"),
        (DataType.DOUBLE, 1.0, b"\x69\0\0\0\0\0\0\xf0\x3f"),
        (DataType.STRING, "a", b"\x7a\x01a"),
    ],
)
def test_each_type_stands_in_its_own_field(datatype: DataType, value: float | str, field: bytes) -> None:
    """SPB-1: field numbers and two's complement as the specification's schema has them, byte for byte."""
    encoded = encode(Payload(metrics=(Metric(alias=1, datatype=datatype, value=value),)))
    assert field in encoded
    (metric,) = decode(encoded, metrics_max=1).metrics
    assert understood(metric, datatype) == value


def test_a_value_of_ours_that_does_not_fit_is_our_bug() -> None:
    """SPB-1: 65,536 is no UInt16; it is not sent as 0."""
    with pytest.raises(ValueError, match="does not fit UINT16"):
        encode(Payload(metrics=(Metric(alias=1, datatype=DataType.UINT16, value=65_536),)))


@pytest.mark.parametrize(
    ("metric", "datatype"),
    [
        (Metric(value=math.nan), DataType.DOUBLE),
        (Metric(value=math.inf), DataType.DOUBLE),
        (Metric(value=True), DataType.DOUBLE),
        (Metric(value="35"), DataType.DOUBLE),
        (Metric(value=1), DataType.BOOLEAN),
        (Metric(value="x"), DataType.BOOLEAN),
        (Metric(value=1.5), DataType.UINT16),
        (Metric(value=None), DataType.UINT16),
        (Metric(value=5), DataType.STRING),
    ],
)
def test_a_value_of_another_type_is_refused(metric: Metric, datatype: DataType) -> None:
    """SPB-1: NaN, infinity, text for a number, a number for a bit: nothing is guessed."""
    with pytest.raises(InvalidValueError):
        understood(metric, datatype)


@pytest.mark.parametrize("value", [30, 30.0])
def test_hosts_may_send_a_whole_number_for_a_float(value: float) -> None:
    """SPB-1: the field of a number is the host's choice, its meaning is the birth's."""
    assert understood(Metric(value=value, datatype=DataType.INT32), DataType.DOUBLE) == 30.0


def test_a_negative_number_keeps_its_sign() -> None:
    """SPB-1: -5 as Int32 is the field 4294967291."""
    assert understood(Metric(value=4_294_967_291, datatype=DataType.INT32), DataType.DOUBLE) == -5.0
    assert understood(Metric(value=4_294_967_291), DataType.INT32) == -5


def test_more_metrics_than_allowed_are_refused() -> None:
    """SPB-1: a command has bounds."""
    crowd = Payload(metrics=tuple(Metric(alias=n, datatype=DataType.BOOLEAN, value=True) for n in range(5)))
    with pytest.raises(InvalidValueError, match="5 metrics, at most 4"):
        decode(encode(crowd), metrics_max=4)


@given(st.binary(max_size=2_000))
def test_no_bytes_at_all_do_more_than_be_refused(content: bytes) -> None:
    """SPB-1: whatever is sent is a payload or `InvalidValueError`, nothing else."""
    try:
        payload = decode(content, metrics_max=64)
    except InvalidValueError:
        return
    for metric in payload.metrics:
        for datatype in DataType:
            try:
                understood(metric, datatype)
            except InvalidValueError:
                continue


@given(st.data())
def test_a_damaged_payload_is_refused_or_read(data: st.DataObject) -> None:
    """SPB-1: one that was a payload, with bytes changed, cut or doubled."""
    sent = encode(
        Payload(
            timestamp_ms=1,
            metrics=(
                Metric(name="setpoint_request", datatype=DataType.DOUBLE, value=30.0, timestamp_ms=1),
                Metric(name="note", datatype=DataType.STRING, value="text"),
            ),
        )
    )
    damaged = bytearray(sent)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    try:
        decode(cut, metrics_max=64)
    except InvalidValueError:
        return
