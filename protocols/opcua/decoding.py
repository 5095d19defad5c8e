"""Bounds on asyncua's decoder and silence for its logger; both are process-wide and set once, on import."""

from __future__ import annotations

import logging  # noqa: TID251 - asyncua logs through it; here it is only switched off
from typing import Any, Final

from asyncua import ua
from asyncua.ua import ua_binary

from protocols.opcua import limits

FRAME_HEADER_BYTES: Final = 8
_FRAME_TYPES: Final = frozenset({b"HEL", b"OPN", b"MSG", b"CLO"})
_CHUNK_TYPES: Final = frozenset({b"F", b"C", b"A"})


class FrameError(Exception):
    """Bytes that are no OPC UA frame; carries the status code for the error message."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


def take_frame(buffer: bytearray, *, greeted: bool) -> bytes | None:
    """Cut the first whole frame off `buffer`; None when more bytes are needed.

    The size is judged from the first 8 bytes, so that no claim makes us wait for, or keep, more than one chunk.

    Args:
        buffer: what was received, shortened by the frame that is returned.
        greeted: whether the Hello was received; it must come first and only once.

    Raises:
        FrameError: not a frame of a client, out of turn, or too large.

    """
    if len(buffer) < FRAME_HEADER_BYTES:
        return None
    kind, chunk = bytes(buffer[:3]), bytes(buffer[3:4])
    size = int.from_bytes(buffer[4:8], "little")
    if kind not in _FRAME_TYPES or chunk not in _CHUNK_TYPES:
        raise FrameError(ua.StatusCodes.BadTcpMessageTypeInvalid, "unknown message type")
    if (kind == b"HEL") is greeted:
        raise FrameError(ua.StatusCodes.BadTcpMessageTypeInvalid, "Hello must come first and once")
    if size > (limits.CHUNK_BYTES_MAX if greeted else limits.HELLO_BYTES_MAX):
        raise FrameError(ua.StatusCodes.BadTcpMessageTooLarge, f"message of {size} bytes")
    if size <= FRAME_HEADER_BYTES:
        raise FrameError(ua.StatusCodes.BadTcpMessageTypeInvalid, f"message of {size} bytes")
    if len(buffer) < size:
        return None
    frame = bytes(buffer[:size])
    del buffer[:size]
    return frame


def tcp_message(kind: Any, message: Any) -> bytes:
    """Encode a message of the transport itself, Acknowledge or Error; asyncua mistypes its own kinds."""
    return ua_binary.uatcp_to_binary(kind, message)


_stock_unpack_array: Final = ua_binary.unpack_uatype_array


def _unpack_array(vtype: ua.VariantType, data: Any) -> list[Any] | None:
    """Refuse arrays of Null: an element takes no byte, so that five bytes could claim two thousand million."""
    if vtype is ua.VariantType.Null:
        raise ua.UaError("an array of Null carries nothing")
    return _stock_unpack_array(vtype, data)


ua_binary.unpack_uatype_array = _unpack_array
# asyncua's own setting against claimed dimensions; its default of a million costs 56 MB per value of a request.
ua_binary.MAX_RESHAPE_ELEMENTS = limits.ARRAY_ELEMENTS_MAX

# A client could fill the log at will, one line per bad request. What matters reaches the publisher as client
# news, and our own faults the event loop's exception handler.
_logger: Final = logging.getLogger("asyncua")
_logger.addHandler(logging.NullHandler())
_logger.propagate = False
_logger.setLevel(logging.CRITICAL)
