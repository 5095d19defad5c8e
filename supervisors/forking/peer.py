"""One launcher, or `calejo node`, at the host: its request as it comes in, with the descriptors that it brings."""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

from supervisors.forking.protocol import MalformedError

# Of a worker: its standard input, output and errors.
STANDARD: Final = 3
_CHUNK: Final = 65_536


class Peer:
    """One connection that is being read."""

    def __init__(self, connection: socket.socket, *, until_s: float) -> None:
        self.connection = connection
        self.until_s = until_s
        self.data = b""
        self.descriptors: list[int] = []

    def read(self) -> bool:
        """Read what is there; return whether there may be more to come.

        Raises:
            MalformedError: more descriptors than a worker has.

        """
        room = socket.CMSG_LEN(STANDARD * 4)
        data, ancillary, flags, _ = self.connection.recvmsg(_CHUNK, room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                whole = raw[: len(raw) - len(raw) % 4]
                self.descriptors += [
                    int.from_bytes(whole[at : at + 4], sys.byteorder) for at in range(0, len(whole), 4)
                ]
        if flags & socket.MSG_CTRUNC or len(self.descriptors) > STANDARD:
            raise MalformedError("too many descriptors")
        self.data += data
        return bool(data)

    def close(self) -> None:
        """Let go of the connection and of what came over it."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []
        self.connection.close()
