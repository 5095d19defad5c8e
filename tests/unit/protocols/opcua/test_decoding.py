"""Frames cut off a stream, and the bounds of the decoder."""

from __future__ import annotations

import struct

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary
from hypothesis import given
from hypothesis import strategies as st

from protocols.opcua import limits
from protocols.opcua.decoding import FRAME_HEADER_BYTES, FrameError, take_frame


def frame(kind: bytes, size: int, *, claimed: int | None = None) -> bytes:
    return kind + struct.pack("<I", size if claimed is None else claimed) + bytes(size - FRAME_HEADER_BYTES)


@given(st.lists(st.integers(9, 200), max_size=8), st.integers(1, 50))
def test_frames_come_out_whole_however_they_were_cut(sizes: list[int], step: int) -> None:
    """OPC-5: the stream's pieces do not matter."""
    frames = [frame(b"MSGF", size) for size in sizes]
    stream, buffer, got = b"".join(frames), bytearray(), []
    for start in range(0, len(stream), step):
        buffer += stream[start : start + step]
        while (one := take_frame(buffer, greeted=True)) is not None:
            got.append(one)
    assert got == frames
    assert not buffer


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_are_a_frame_an_error_or_a_beginning(data: bytes, greeted: bool) -> None:
    """OPC-5: nothing else comes out, and never more is kept than one chunk could need."""
    buffer = bytearray(data)
    try:
        one = take_frame(buffer, greeted=greeted)
    except FrameError:
        return
    assert (b"" if one is None else one) + bytes(buffer) == data


@pytest.mark.parametrize(
    ("start", "greeted"),
    [
        (frame(b"HELF", 100), True),
        (frame(b"MSGF", 100), False),
        (frame(b"HELF", 100, claimed=limits.HELLO_BYTES_MAX + 1), False),
        (frame(b"MSGF", 100, claimed=limits.CHUNK_BYTES_MAX + 1), True),
        (frame(b"MSGF", 100, claimed=0), True),
        (frame(b"MSGF", 100, claimed=8), True),
        (frame(b"MSGX", 100), True),
        (frame(b"ACKF", 100), True),
        (frame(b"RHEF", 100), False),
    ],
)
def test_a_wrong_frame_is_refused_by_its_first_eight_bytes(start: bytes, greeted: bool) -> None:
    """OPC-5: nothing is waited for that will not be taken."""
    with pytest.raises(FrameError):
        take_frame(bytearray(start[:FRAME_HEADER_BYTES]), greeted=greeted)


def test_an_array_of_nothing_is_refused() -> None:
    """OPC-5: Nulls take no bytes, so their number is not bounded by the message."""
    claim = b"\x80" + struct.pack("<i", 50_000_000)
    with pytest.raises(ua.UaError, match="array of Null"):
        ua_binary.variant_from_binary(Buffer(claim))


def test_dimensions_allocate_no_more_than_our_bound() -> None:
    """OPC-5: an empty array with large dimensions is refused."""
    claim = b"\xcb" + struct.pack("<i", 0) + struct.pack("<iii", 2, 50, 50)
    with pytest.raises(ua.UaError, match="MAX_RESHAPE_ELEMENTS"):
        ua_binary.variant_from_binary(Buffer(claim))


@pytest.mark.parametrize("kind", range(64))
def test_no_type_lets_a_few_bytes_claim_millions(kind: int) -> None:
    """OPC-5: for every type of array the claimed length ends with the message."""
    claim = bytes([0x80 | kind]) + struct.pack("<i", 0x7FFF_FFFF) + bytes(16)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever asyncua raises, it may not allocate first
        ua_binary.variant_from_binary(Buffer(claim))
