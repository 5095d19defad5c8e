"""The TCP side: bounded connections, whole frames in order, and nobody who can make us wait or remember."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Any, Final

from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.ua_binary import header_from_binary

from protocols.endpoint import ClientNews
from protocols.opcua import limits
from protocols.opcua.admission import source_of
from protocols.opcua.decoding import FrameError, take_frame, tcp_message
from protocols.opcua.ids import status
from protocols.opcua.processor import Fault, Processor
from protocols.opcua.services import SERVICES
from protocols.opcua.session import Sessions
from protocols.opcua.subscriptions import cancel


class Listener:
    """The listening socket and all its connections; sweeps away what is idle, stalled or half closed."""

    def __init__(self, server: Sessions, policies: list[Any], *, news: ClientNews, fault: Fault) -> None:
        self.server: Final = server
        self.policies: Final = policies
        self.news: Final = news
        self.fault: Final = fault
        self.connections: Final[list[Connection]] = []
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._closing: Final[set[asyncio.Task[None]]] = set()

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Bind and serve; return where.

        Raises:
            OSError: the address cannot be bound.

        """
        loop = asyncio.get_running_loop()
        # reuse_address (asyncio's default on POSIX): after a SIGKILL the port can be bound again at once.
        self._server = await loop.create_server(lambda: Connection(self), host, port)
        self._sweeper = loop.create_task(self._sweep_for_ever())
        name = self._server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def close(self) -> None:
        """Stop listening and drop every client."""
        await cancel(self._sweeper)
        self._sweeper = None
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()
        deadline = asyncio.get_running_loop().time() + limits.CLOSE_GRACE_S
        while (self.connections or self._closing) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0)  # an aborted connection is reported lost on the loop's next turns
            if self._closing:
                await asyncio.wait(self._closing, timeout=limits.CLOSE_GRACE_S)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def make_room(self) -> bool:
        """Whether there is a place; when all are taken, one without a session loses its own."""
        if len(self.connections) < limits.CONNECTIONS_MAX:
            return True
        idle = [one for one in self.connections if not one.active]
        if not idle:
            return False
        # Of whoever has the most: one address that opens many does not push out another's handshake.
        crowd = Counter(one.address for one in idle)
        victim = max(idle, key=lambda one: crowd[one.address])
        victim.abort()
        self.forget(victim)
        return True

    def forget(self, connection: Connection) -> None:
        """Take a connection off the list; its session is looked after by a task that is waited for."""
        if connection not in self.connections:
            return
        self.connections.remove(connection)
        task = asyncio.get_running_loop().create_task(connection.release())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _sweep_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(limits.SWEEP_PERIOD_S)
            for connection in list(self.connections):
                connection.sweep(loop.time())


class Connection(asyncio.Protocol):
    """One TCP connection: cuts frames, queues a few, has them answered one after the other."""

    def __init__(self, listener: Listener) -> None:
        self._listener: Final = listener
        self._loop: Final = asyncio.get_running_loop()
        self._buffer: Final = bytearray()
        self._frames: Final[deque[bytes]] = deque()
        self._arrived: Final = asyncio.Event()
        self._writable: Final = asyncio.Event()
        self._greeted = False
        self._reading = True
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._processor: Processor | None = None
        self._idle_since_s: float | None = self._loop.time()
        self._stalled_since_s: float | None = None
        self._closing_since_s: float | None = None
        self.peer = "unknown"
        # Where the client is, as its share is counted; looked at for every connection whenever one more comes.
        self.address = "unknown"

    @property
    def active(self) -> bool:
        """Whether it carries an activated session."""
        return self._processor is not None and self._processor.active

    def carries(self, channel: object) -> bool:
        """Say whether this is the connection of that channel."""
        return self._processor is channel

    # --- Called by asyncio ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new client in, or turn it away when all places are taken by clients with a session."""
        assert isinstance(transport, asyncio.Transport)
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if name else "unknown"
        self.address = source_of(self.peer)
        if not self._listener.make_room():
            self._listener.news("refused", self.peer, f"{limits.CONNECTIONS_MAX} connections")
            transport.abort()
            return
        self._transport = transport
        transport.set_write_buffer_limits(high=limits.WRITE_BUFFER_BYTES)
        bounds = TransportLimits(
            max_recv_buffer=limits.CHUNK_BYTES_MAX,
            max_send_buffer=limits.CHUNK_BYTES_MAX,
            max_chunk_count=limits.REQUEST_CHUNKS_MAX,
            max_message_size=limits.REQUEST_BYTES_MAX,
        )
        self._processor = Processor(
            self._listener.server,
            transport,
            bounds,
            policies=self._listener.policies,
            services=SERVICES,
            fault=self._listener.fault,
        )
        self._writable.set()
        self._listener.connections.append(self)
        self._task = self._loop.create_task(self._serve())
        self._listener.news("connected", self.peer, "")

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        if self._transport is None:
            return
        if self._task is not None:
            self._task.cancel()
        self._frames.clear()
        self._buffer.clear()
        self._listener.news("disconnected", self.peer, "" if exc is None else str(exc))
        self._listener.forget(self)

    def data_received(self, data: bytes) -> None:
        """Cut frames off what came; stop reading while enough of them wait."""
        if self._transport is None or self._closing_since_s is not None:
            return
        self._buffer.extend(data)
        try:
            while (frame := take_frame(self._buffer, greeted=self._greeted)) is not None:
                self._greeted = True
                self._frames.append(frame)
        except FrameError as error:
            self.refuse(error.code, error.text)
            return
        self._arrived.set()
        if len(self._frames) > limits.QUEUED_FRAMES_HIGH and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Note that the client does not read: no further request of its is answered meanwhile."""
        self._writable.clear()
        self._stalled_since_s = self._loop.time()

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        self._stalled_since_s = None
        self._writable.set()

    # --- Ours -------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        processor, transport = self._processor, self._transport
        assert processor is not None
        assert transport is not None
        while True:
            await self._arrived.wait()
            while self._frames:
                await self._writable.wait()
                frame = self._frames.popleft()
                if not self._reading and len(self._frames) <= limits.QUEUED_FRAMES_LOW:
                    self._reading = True
                    transport.resume_reading()
                if not await self._answer(processor, frame):
                    self._close()
                    return
                await asyncio.sleep(0)  # a client with many requests waiting takes turns with the others
            self._arrived.clear()

    async def _answer(self, processor: Processor, frame: bytes) -> bool:
        try:
            buffer = Buffer(frame)
            return await processor.process(header_from_binary(buffer), buffer)
        except (ServiceError, ua.uaerrors.UaStatusCodeError) as error:
            self.refuse(error.code, "")
        except Exception as error:  # noqa: BLE001 - channel code and the client's bytes, nothing of ours
            self.refuse(ua.StatusCodes.BadTcpInternalError, type(error).__name__)
        return False

    def refuse(self, code: int, text: str) -> None:
        """Say why in an error message, then close; a stream that was once out of step is not trusted again."""
        if self._transport is None or self._closing_since_s is not None:
            return
        code_shown = status(code)
        self._listener.news("refused", self.peer, f"{code_shown.name} {text}".strip())
        self._transport.write(tcp_message(ua.MessageType.Error, ua.ErrorMessage(code_shown, ua.String(text))))
        self._close()

    def _close(self) -> None:
        if self._transport is not None and self._closing_since_s is None:
            self._closing_since_s = self._loop.time()
            self._frames.clear()
            self._buffer.clear()
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection at once, whatever waits to be sent."""
        if self._transport is not None:
            self._transport.abort()

    async def release(self) -> None:
        """Close what the connection carried."""
        if self._processor is not None:
            await self._processor.close()

    def sweep(self, now_s: float) -> None:
        """Drop the connection if it is half open, does not read, or does not finish closing."""
        if self._closing_since_s is not None:
            if now_s - self._closing_since_s > limits.CLOSE_GRACE_S:
                self.abort()
            return
        if self._stalled_since_s is not None and now_s - self._stalled_since_s > limits.STALLED_WRITE_S:
            self._listener.news("refused", self.peer, "does not read its answers")
            self.abort()
            return
        if self._processor is not None and self._processor.has_ended(now_s):
            self.refuse(ua.StatusCodes.BadSecureChannelTokenUnknown, "the channel was not renewed")
            return
        if self.active:
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = now_s
        elif now_s - self._idle_since_s > limits.IDLE_CONNECTION_S:
            self.refuse(ua.StatusCodes.BadTimeout, "no session")
