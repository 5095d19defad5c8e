"""TLS handshakes of REST, bounded in time and number before anything else is spent on whoever connects (SEC-4, EST-4).

asyncio's own TLS listener tells nobody of a connection before its handshake is over: as many as like to come would
hold a socket and its buffers each, in no limit, for a minute.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

from actors.vocabulary.sources import source_of

HANDSHAKE_S: Final = 5.0
GOODBYE_S: Final = 5.0
# Under way at a time, of all and of one address; beyond that the oldest gives way, so that silent ones keep nobody out.
HANDSHAKES_MAX: Final = 64
HANDSHAKES_PER_ADDRESS_MAX: Final = 16


class Porch:
    """Makes a protocol for each connection that has shaken hands; nothing in it grows past its bounds."""

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        make: Callable[..., asyncio.Protocol],
        *,
        trusted: Callable[[str], bool],
        told: Callable[[str, str], None],
    ) -> None:
        """Take what gives the context of a handshake, and what makes the protocol behind it.

        `trusted`: of which addresses none are counted; `told`: of each that gives way: peer, why.
        """
        self._context = context
        self._make = make
        self._trusted = trusted
        self._told = told
        self._under_way: dict[_Handshake, None] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def __call__(self, **given: object) -> asyncio.Protocol:
        """Return the protocol of a connection that was accepted just now."""
        return _Handshake(self, lambda: self._make(**given))

    def close(self) -> None:
        """End every handshake that is under way."""
        for each in list(self._under_way):
            each.drop()

    def begin(self, handshake: _Handshake) -> ssl.SSLContext:
        """Take up a handshake; beyond a bound the oldest ends."""
        own = [each for each in self._under_way if each.source == handshake.source]
        if not self._trusted(handshake.host) and len(own) >= HANDSHAKES_PER_ADDRESS_MAX:
            self._dismiss(own[0], "too many TLS handshakes of one address")
        elif len(self._under_way) >= HANDSHAKES_MAX:
            self._dismiss(next(iter(self._under_way)), "too many TLS handshakes")
        self._under_way[handshake] = None
        return self._context()

    def over(self, handshake: _Handshake) -> None:
        """Forget a handshake that has ended, one way or the other."""
        self._under_way.pop(handshake, None)

    def _dismiss(self, handshake: _Handshake, why: str) -> None:
        del self._under_way[handshake]
        handshake.drop()
        self._told(handshake.peer, why)


class _Handshake(asyncio.Protocol):
    """One connection until its handshake is over."""

    def __init__(self, porch: Porch, make: Callable[[], asyncio.Protocol]) -> None:
        self._porch = porch
        self._make = make
        self._early = bytearray()
        self._is_lost = False
        self._raw: asyncio.Transport | None = None
        self._shaking: asyncio.Task[None] | None = None
        self.host = self.source = self.peer = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to shake hands."""
        if name := transport.get_extra_info("peername"):
            self.host, self.peer = name[0], f"{name[0]}:{name[1]}"
        self.source = source_of(self.host)
        self._raw = transport
        transport.pause_reading()
        context = self._porch.begin(self)
        loop = asyncio.get_running_loop()
        self._shaking = loop.create_task(self._shake_hands(loop, transport, context), name="rest tls")

    def data_received(self, data: bytes) -> None:
        """Keep what came with the last of the handshake for the protocol behind."""
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember that nobody is there any more."""
        self._is_lost = True

    def drop(self) -> None:
        """End the handshake at once."""
        if self._shaking is not None and self._raw is not None:
            self._shaking.cancel()
            # A task that is cancelled before it began never comes to do it.
            self._raw.abort()

    async def _shake_hands(
        self, loop: asyncio.AbstractEventLoop, raw: asyncio.Transport, context: ssl.SSLContext
    ) -> None:
        try:
            secured = await loop.start_tls(
                raw,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=GOODBYE_S,
            )
        except (OSError, asyncio.CancelledError):
            # No TLS, none of ours, too late, gone, or it gave way: there is nobody who could be told.
            raw.abort()
            return
        finally:
            self._porch.over(self)
        if secured is None or self._is_lost:
            raw.abort()
            return
        behind = self._make()
        secured.set_protocol(behind)
        behind.connection_made(secured)
        if self._early and not secured.is_closing():
            behind.data_received(bytes(self._early))
