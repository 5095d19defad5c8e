"""Messages between host and template over a socket pair: JSON, a body of bytes, descriptors; every wait is bounded."""

from __future__ import annotations

import array
import json
import socket
import time
from struct import Struct
from typing import Any, Final

_SIZES: Final = Struct("!II")
_DESCRIPTORS_MAX: Final = 4
_BYTES_MAX: Final = 1_048_576


class ClosedError(ConnectionError):
    """The other side has gone."""


class Wire:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._end.fileno()

    def close(self) -> None:
        """Let go."""
        self._end.close()

    def send(
        self,
        message: dict[str, Any],
        *,
        body: bytes = b"",
        descriptors: tuple[int, ...] = (),
        within_s: float,
    ) -> None:
        """Send.

        Raises:
            TimeoutError: the other side does not take it.
            ClosedError: it has gone.

        """
        text = json.dumps(message).encode()
        data = _SIZES.pack(len(text), len(body)) + text + body
        rights = array.array("i", descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        self._end.settimeout(within_s)
        try:
            sent = self._end.sendmsg([data], ancillary)
            self._end.sendall(data[sent:])
        except TimeoutError:
            raise
        except OSError as error:
            raise ClosedError(str(error)) from None

    def receive(self, *, within_s: float | None) -> dict[str, Any]:
        """Return the next message without what came with it.

        Raises:
            TimeoutError: none came within the time.
            ClosedError: the other side has gone.

        """
        message, _, descriptors = self.receive_all(within_s=within_s)
        assert not descriptors, "nobody sends descriptors here"
        return message

    def receive_all(self, *, within_s: float | None) -> tuple[dict[str, Any], bytes, list[int]]:
        """Return the next message, its body and its descriptors, which are the caller's to close; see `receive`."""
        until_s = None if within_s is None else time.monotonic() + within_s
        descriptors: list[int] = []
        head = self._exactly(_SIZES.size, until_s, descriptors)
        text_size, body_size = _SIZES.unpack(head)
        if text_size + body_size > _BYTES_MAX:
            raise ClosedError("a message over its bound")
        message: dict[str, Any] = json.loads(self._exactly(text_size, until_s, descriptors))
        return message, self._exactly(body_size, until_s, descriptors), descriptors

    def _exactly(self, count: int, until_s: float | None, descriptors: list[int]) -> bytes:
        data = b""
        while len(data) < count:
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0.0:
                raise TimeoutError
            self._end.settimeout(left_s)
            try:
                more, came, flags, _ = socket.recv_fds(self._end, count - len(data), _DESCRIPTORS_MAX)
            except TimeoutError:
                raise
            except OSError as error:
                raise ClosedError(str(error)) from None
            descriptors += came
            if not more or flags & socket.MSG_CTRUNC:
                raise ClosedError("the end")
            data += more
        return data
