"""What a STATE message says about the primary host; pure."""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

import msgspec

from protocols.sparkplug.names import NAMESPACE

_STATE_BYTES_MAX: Final = 1_024


@unique
class HostWord(Enum):
    """What follows from one STATE message."""

    ONLINE = "online"
    OFFLINE = "offline"
    NOTHING = "nothing"


class _State(msgspec.Struct, frozen=True):
    online: bool
    timestamp: int


def state_topic(host_id: str) -> str:
    """Return where a host tells whether it is there."""
    return f"{NAMESPACE}/STATE/{host_id}"


class PrimaryHost:
    """Whether the primary host is there, within one connection to one broker; none configured counts as there."""

    def __init__(self, host_id: str) -> None:
        self._topic = state_topic(host_id) if host_id else ""
        self._told_ms: int | None = None
        self.online = not host_id

    @property
    def topic(self) -> str:
        """What to subscribe to; '': nothing."""
        return self._topic

    def connected(self) -> None:
        """Know nothing again: a broker's retained message is what counts there."""
        self._told_ms = None
        self.online = not self._topic

    def take(self, topic: str, content: bytes) -> HostWord:
        """Take a STATE message; one that is malformed, another host's, or older than the last says nothing.

        An offline message that is older than the birth before it is a will that came late: the host is back already.
        """
        if topic != self._topic or len(content) > _STATE_BYTES_MAX:
            return HostWord.NOTHING
        try:
            state = msgspec.json.decode(content, type=_State)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return HostWord.NOTHING
        if self._told_ms is not None and state.timestamp < self._told_ms:
            return HostWord.NOTHING
        self._told_ms = state.timestamp
        self.online = state.online
        return HostWord.ONLINE if state.online else HostWord.OFFLINE
