"""Values to registers and back; what registers cannot say is never put there silently."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.vocabulary import InvalidValueError
from protocols.modbus.codec import decode, encode
from protocols.points import ModbusPlace, PointType


def place(raw: str, scale: float) -> ModbusPlace:
    count = 2 if raw.endswith("32") else 1
    return ModbusPlace(unit_id=1, table="holding", address=10, count=count, raw=raw, scale=scale)


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from([0.001, 0.01, 1.0]))
def test_an_int32_comes_back_exactly(raw: int, scale: float) -> None:
    """MOD-2: value = raw x scale, both ways."""
    value = round(raw * scale, 6)
    encoded = encode(place("int32", scale), value)
    assert encoded.fault == ""
    assert decode(place("int32", scale), encoded.registers, PointType.FLOAT) == value


@given(st.integers(0, 2**32 - 1))
def test_a_uint32_goes_most_significant_word_first(raw: int) -> None:
    """MOD-2: multi-register values most significant word first."""
    encoded = encode(place("uint32", 1.0), raw)
    assert encoded.registers == (raw >> 16, raw & 0xFFFF)
    assert decode(place("uint32", 1.0), encoded.registers, PointType.UINT32) == raw


@pytest.mark.parametrize(
    ("value", "register"),
    [
        (35.004, 3500), (35.006, 3501), (655.35, 65535),
        (655.36, 65535), (-0.01, 0), (1e300, 65535),
        (math.nan, 0), (math.inf, 0), (-math.inf, 0),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(value: float, register: int) -> None:
    """MOD-3: a value that is not finite or out of range is never on the wire silently."""
    encoded = encode(place("uint16", 0.01), value)
    assert encoded.registers == (register,)
    assert bool(encoded.fault) == (not 0 <= value <= 655.35)


def test_a_boolean_register_takes_only_0_and_1() -> None:
    """MOD-3: 2 is not a truth value."""
    assert decode(place("uint16", 1.0), [1], PointType.BOOL) is True
    with pytest.raises(InvalidValueError, match="2 is neither 0 nor 1"):
        decode(place("uint16", 1.0), [2], PointType.BOOL)


def test_half_a_value_is_no_value() -> None:
    """MOD-3: both registers or none."""
    with pytest.raises(InvalidValueError, match="1 registers, expected 2"):
        decode(place("int32", 1.0), [1], PointType.FLOAT)
