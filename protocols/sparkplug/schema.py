"""Sparkplug B payloads as bytes and as plain values; pure.

The message types are made from the field table of the Sparkplug 3.0 specification (chapter 6.4, "Google Protocol
Buffer Schema"), so that no generated code has to fit the protobuf runtime (ops/decisions/0070). What Calejo neither
sends nor obeys (data sets, templates, files, metadata, extensions) is not in the table: a decoder skips it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import IntEnum, unique
from typing import Any, Final, TypeAlias

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, EncodeError

from actors.vocabulary import InvalidValueError

Scalar: TypeAlias = bool | int | float | str


@unique
class DataType(IntEnum):
    """The data types of the specification that Calejo sends or can be sent (table "Sparkplug Data Types")."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14


class Property(msgspec.Struct, frozen=True):
    """One entry of a metric's property set."""

    key: str
    type: DataType
    value: Scalar


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. `value` None: null. A decoded integer is as it stands on the wire, not yet signed."""

    name: str | None = None
    alias: int | None = None
    timestamp_ms: int | None = None
    datatype: int | None = None
    value: Scalar | None = None
    is_historical: bool = False
    properties: tuple[Property, ...] = ()


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `timestamp_ms` is UTC; `seq` None: the message carries none (NDEATH, commands)."""

    timestamp_ms: int | None = None
    seq: int | None = None
    metrics: tuple[Metric, ...] = ()


# (number, name, type, oneof "value"); a type that is no protobuf scalar is one of ours, "*" marks a list.
_TABLE: Final[dict[str, tuple[tuple[int, str, str, bool], ...]]] = {
    "PropertyValue": (
        (1, "type", "uint32", False), (2, "is_null", "bool", False), (3, "int_value", "uint32", True),
        (4, "long_value", "uint64", True), (5, "float_value", "float", True), (6, "double_value", "double", True),
        (7, "boolean_value", "bool", True), (8, "string_value", "string", True),
    ),
    "PropertySet": ((1, "keys", "*string", False), (2, "values", "*PropertyValue", False)),
    "Metric": (
        (1, "name", "string", False), (2, "alias", "uint64", False), (3, "timestamp", "uint64", False),
        (4, "datatype", "uint32", False), (5, "is_historical", "bool", False), (6, "is_transient", "bool", False),
        (7, "is_null", "bool", False), (9, "properties", "PropertySet", False), (10, "int_value", "uint32", True),
        (11, "long_value", "uint64", True), (12, "float_value", "float", True), (13, "double_value", "double", True),
        (14, "boolean_value", "bool", True), (15, "string_value", "string", True), (16, "bytes_value", "bytes", True),
    ),
    "Payload": (
        (1, "timestamp", "uint64", False), (2, "metrics", "*Metric", False), (3, "seq", "uint64", False),
        (4, "uuid", "string", False), (5, "body", "bytes", False),
    ),
}  # fmt: skip
_PACKAGE: Final = "calejo.sparkplug"

_VALUE_FIELDS: Final[dict[DataType, str]] = {
    DataType.INT8: "int_value",
    DataType.INT16: "int_value",
    DataType.INT32: "int_value",
    DataType.INT64: "long_value",
    DataType.UINT8: "int_value",
    DataType.UINT16: "int_value",
    DataType.UINT32: "int_value",
    DataType.UINT64: "long_value",
    DataType.FLOAT: "float_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
    DataType.STRING: "string_value",
    DataType.DATETIME: "long_value",
    DataType.TEXT: "string_value",
}
_BITS: Final = {
    DataType.INT8: 8,
    DataType.INT16: 16,
    DataType.INT32: 32,
    DataType.INT64: 64,
    DataType.UINT8: 8,
    DataType.UINT16: 16,
    DataType.UINT32: 32,
    DataType.UINT64: 64,
    DataType.DATETIME: 64,
}
_SIGNED: Final = frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64})
_U32: Final = 0xFFFF_FFFF


def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="calejo/sparkplug.proto", package=_PACKAGE, syntax="proto2"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for message_name, rows in _TABLE.items():
        message = file.message_type.add(name=message_name)
        if any(chosen for *_, chosen in rows):
            message.oneof_decl.add(name="value")
        for number, name, kind, chosen in rows:
            field = message.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            bare = kind.lstrip("*")
            if bare in _TABLE:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{bare}"
            else:
                field.type = getattr(kinds, f"TYPE_{bare.upper()}")
            if chosen:
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


_Payload: Final = _payload_class()


def encode(payload: Payload) -> bytes:
    """Return the bytes of a payload.

    Raises:
        ValueError: a value does not fit its data type; our bug.

    """
    message = _Payload()
    if payload.timestamp_ms is not None:
        message.timestamp = payload.timestamp_ms
    if payload.seq is not None:
        message.seq = payload.seq
    for metric in payload.metrics:
        _put(message.metrics.add(), metric)
    try:
        encoded: bytes = message.SerializeToString()
    except EncodeError as error:
        raise ValueError(f"payload of ours cannot be encoded: {error}") from error
    return encoded


def _put(row: Any, metric: Metric) -> None:
    if metric.name is not None:
        row.name = metric.name
    if metric.alias is not None:
        row.alias = metric.alias
    if metric.timestamp_ms is not None:
        row.timestamp = metric.timestamp_ms
    if metric.is_historical:
        row.is_historical = True
    assert metric.datatype is not None, "what we send has a data type, although not every message tells it"
    datatype = DataType(metric.datatype)
    if metric.value is None:
        row.is_null = True
    else:
        setattr(row, _VALUE_FIELDS[datatype], raw_of(datatype, metric.value))
    for each in metric.properties:
        row.properties.keys.append(each.key)
        value = row.properties.values.add(type=each.type.value)
        setattr(value, _VALUE_FIELDS[each.type], raw_of(each.type, each.value))
    if metric.name is not None:
        # Births name every metric and its type; data and death messages leave both to the birth.
        row.datatype = datatype.value


def raw_of(datatype: DataType, value: Scalar) -> Scalar:
    """Return how a value stands on the wire: negative integers in two's complement.

    Raises:
        ValueError: it does not fit.

    """
    bits = _BITS.get(datatype)
    if bits is None:
        return value
    number = int(value)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if datatype in _SIGNED else (0, (1 << bits) - 1)
    if not low <= number <= high:
        raise ValueError(f"{value!r} does not fit {datatype.name}")
    return number & (_U32 if _VALUE_FIELDS[datatype] == "int_value" else (1 << 64) - 1)


def decode(content: bytes, *, metrics_max: int) -> Payload:
    """Return what a message says; only metrics with a value that `Scalar` can hold have one.

    Raises:
        InvalidValueError: it is no Sparkplug payload, or has more than `metrics_max` metrics.

    """
    message = _Payload()
    try:
        message.ParseFromString(content)
        if len(message.metrics) > metrics_max:
            raise InvalidValueError(f"{len(message.metrics)} metrics, at most {metrics_max} expected")
        return Payload(
            timestamp_ms=message.timestamp if message.HasField("timestamp") else None,
            seq=message.seq if message.HasField("seq") else None,
            metrics=tuple(_taken(row) for row in message.metrics),
        )
    except (DecodeError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"no Sparkplug payload: {type(error).__name__}") from error


def _taken(row: Any) -> Metric:
    chosen = row.WhichOneof("value")
    value = getattr(row, chosen) if chosen is not None and not row.is_null else None
    return Metric(
        name=_text(row.name) if row.HasField("name") else None,
        alias=row.alias if row.HasField("alias") else None,
        timestamp_ms=row.timestamp if row.HasField("timestamp") else None,
        datatype=row.datatype if row.HasField("datatype") else None,
        value=value if isinstance(value, bool | int | float | str) else None,
        is_historical=row.is_historical,
        properties=_properties(row.properties),
    )


def _properties(rows: Any) -> tuple[Property, ...]:
    taken = []
    for key, value in zip(rows.keys, rows.values, strict=False):
        chosen = value.WhichOneof("value")
        if chosen is not None and value.type in DataType.__members__.values():
            taken.append(Property(_text(key), DataType(value.type), getattr(value, chosen)))
    return tuple(taken)


def _text(value: object) -> str:
    """Return a string; some runtimes hand out text that is not UTF-8 as bytes."""
    if isinstance(value, str):
        return value
    raise InvalidValueError("no Sparkplug payload: text that is not UTF-8")


def understood(metric: Metric, datatype: DataType) -> Scalar:
    """Return a sent value as its metric's own type means it.

    Hosts disagree on the field for 32-bit integers and on float or double: each number that the type can hold counts.

    Raises:
        InvalidValueError: there is no value, or it is not of that type; NaN and infinity are no numbers.

    """
    value = metric.value
    if value is None:
        raise InvalidValueError("no value")
    if datatype is DataType.BOOLEAN:
        if isinstance(value, bool):
            return value
    elif datatype in {DataType.STRING, DataType.TEXT}:
        if isinstance(value, str):
            return value
    elif isinstance(value, bool | str):
        pass
    elif datatype in {DataType.FLOAT, DataType.DOUBLE}:
        number = _signed(value, metric.datatype)
        if math.isfinite(number):
            return float(number)
    elif isinstance(value, int):
        return _signed(value, datatype)
    raise InvalidValueError(f"{value!r:.40} is no {datatype.name}")


def _signed(value: float, datatype: int | None) -> int | float:
    """Return the integer that two's complement means; anything else as it is."""
    if not isinstance(value, int) or datatype not in {kind.value for kind in _SIGNED}:
        return value
    bits = 64 if datatype == DataType.INT64 else 32
    return value - (1 << bits) if value >= 1 << bits - 1 else value


def by_key(properties: Iterable[Property]) -> dict[str, Scalar]:
    """Return a property set as a dictionary."""
    return {each.key: each.value for each in properties}
