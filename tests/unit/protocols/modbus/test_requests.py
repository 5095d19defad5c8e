"""Requests as bytes: exactly well formed or refused with the right code."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.requests import (
    ExceptionCode,
    MaskWrite,
    Read,
    ReadWrite,
    Refusal,
    Write,
    bits_pdu,
    parse,
    refusal_pdu,
    registers_pdu,
)

BAD, NOWHERE, NO_FUNCTION = (
    ExceptionCode.ILLEGAL_VALUE,
    ExceptionCode.ILLEGAL_ADDRESS,
    ExceptionCode.ILLEGAL_FUNCTION,
)


def pdu(function: int, *words: int, data: bytes | None = None) -> bytes:
    head = struct.pack(f">B{len(words)}H", function, *words)
    return head if data is None else head + bytes([len(data)]) + data


def test_well_formed_requests_are_read() -> None:
    """MOD-2: the functions that are served."""
    assert parse(pdu(3, 100, 50)) == Read(3, "holding", 100, 50)
    assert parse(pdu(2, 0, 2000)) == Read(2, "discrete", 0, 2000)
    assert parse(pdu(5, 1, 0xFF00)) == Write(5, "coil", 1, (1,), pdu(5, 1, 0xFF00))
    assert parse(pdu(6, 0, 9)) == Write(6, "holding", 0, (9,), pdu(6, 0, 9))
    assert parse(pdu(15, 0, 3, data=b"\x05")) == Write(15, "coil", 0, (1, 0, 1), pdu(15, 0, 3))
    assert parse(pdu(16, 120, 2, data=b"\0\1\0\2")) == Write(16, "holding", 120, (1, 2), pdu(16, 120, 2))
    assert parse(pdu(22, 4, 0xF2, 0x25)) == MaskWrite(22, 4, 0xF2, 0x25, pdu(22, 4, 0xF2, 0x25))
    assert parse(pdu(23, 3, 6, 14, 1, data=b"\0\xff")) == ReadWrite(23, 3, 6, 14, (255,))


@pytest.mark.parametrize(
    ("request_pdu", "code"),
    [
        (pdu(3, 0, 0), BAD), (pdu(3, 0, 126), BAD), (pdu(4, 0, 126), BAD), (pdu(1, 0, 2001), BAD),
        (pdu(3, 65535, 2), NOWHERE), (pdu(3, 0), BAD), (pdu(3, 0, 1) + b"\0", BAD), (b"\x03", BAD),
        (pdu(5, 0, 1), BAD), (pdu(5, 0, 0xFF01), BAD), (pdu(6, 0), BAD),
        (pdu(15, 0, 9, data=b"\0"), BAD), (pdu(15, 0, 8, data=b"\0\0"), BAD), (pdu(15, 0, 0, data=b""), BAD),
        (pdu(15, 0, 1969, data=bytes(247)), BAD),
        (pdu(16, 0, 2, data=b"\0\0"), BAD), (pdu(16, 0, 0, data=b""), BAD), (pdu(16, 0, 1) + b"\x04\0\0", BAD),
        (pdu(16, 0, 124, data=bytes(248)), BAD), (pdu(16, 65535, 2, data=bytes(4)), NOWHERE),
        (pdu(22, 0, 0), BAD), (pdu(23, 0, 126, 0, 1, data=b"\0\0"), BAD),
        (pdu(23, 0, 1, 0, 122, data=bytes(244)), BAD), (pdu(23, 0, 1, 0, 2, data=b"\0\0"), BAD),
        (pdu(7), NO_FUNCTION), (pdu(8, 0, 0), NO_FUNCTION), (pdu(17), NO_FUNCTION), (pdu(20), NO_FUNCTION),
        (b"\x2b\x0e\x01\x00", NO_FUNCTION), (b"\x00", NO_FUNCTION), (b"\x80", NO_FUNCTION), (b"\xff", NO_FUNCTION),
    ],
)  # fmt: skip
def test_what_is_not_well_formed_is_refused(request_pdu: bytes, code: ExceptionCode) -> None:
    """MOD-3: invalid function, address or value gets the right exception code."""
    with pytest.raises(Refusal) as refused:
        parse(request_pdu)
    assert refused.value.code is code


@given(st.binary(min_size=1, max_size=253))
def test_no_bytes_make_the_reader_fail(request_pdu: bytes) -> None:
    """MOD-3: any PDU is a request or a refusal, nothing else."""
    with suppress(Refusal):
        parse(request_pdu)


def test_answers_are_encoded_as_the_standard_shows() -> None:
    """MOD-2: bits low first, registers high byte first, a refused function with its top bit."""
    assert bits_pdu(1, [1, 0, 1, 1, 0, 0, 1, 1, 1, 1]) == bytes([1, 2, 0xCD, 0x03])
    assert registers_pdu(3, [0x022B, 0, 0x64]) == bytes([3, 6, 2, 0x2B, 0, 0, 0, 0x64])
    assert refusal_pdu(0x2B, NO_FUNCTION) == b"\xab\x01"
