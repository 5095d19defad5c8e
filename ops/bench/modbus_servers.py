"""The two Modbus servers that are measured, each in a process of its own: ours, and pymodbus's with its defects fixed.

`python -m ops.bench.modbus_servers ours|bare PUMPS` prints where it listens and after how many seconds; it serves until
its input ends. Both show the first pump's registers and write one 32-bit number there anew every 50 ms: the machine's
monotonic clock in units of 0.1 ms.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice
from pymodbus.transaction import TransactionManager

from actors.vocabulary import Quality
from ops.bench.plants import plant
from protocols.endpoint import ClientWrite
from protocols.modbus.limits import ModbusLimits
from protocols.modbus.points import modbus_points
from protocols.modbus.server import ModbusEndpoint
from protocols.points import PUMP_BASE, PointValue

STAMP_ADDRESS: Final = PUMP_BASE + 6
"""Where the clock stands: the epoch of the first pump, two registers."""
STAMP_S: Final = 0.05
_TICKS_PER_S: Final = 10_000
_MODULUS: Final = 1 << 32
_REGISTERS: Final = 1000
_MBAP: Final = 6
_LENGTH_MIN, _LENGTH_MAX = 2, 254
_QUEUE_MAX: Final = 16


def stamp() -> int:
    """Return the monotonic clock, the same in every process of this machine, in units of 0.1 ms, 32 bits of it."""
    return time.monotonic_ns() // (1_000_000_000 // _TICKS_PER_S) % _MODULUS


def age_ms(stamped: int) -> float:
    """Return how long ago a stamp was made."""
    return (stamp() - stamped) % _MODULUS * 1000.0 / _TICKS_PER_S


# --------------------------------------------------------------------------- ours


async def serve_ours(pumps: int, *, began_s: float) -> None:
    """Serve by our endpoint: every check is made, the rates alone are out of reach."""
    limits = ModbusLimits(
        clients_max=128, requests_per_s=1e6, requests_burst=10**6, pool_per_s=1e6, pool_burst=10**6
    )
    endpoint = ModbusEndpoint("127.0.0.1", 0, limits)
    await endpoint.configure(modbus_points(plant(pumps)))
    clock = {"stale_at_ns": 0}

    def refresh() -> None:
        # What a publisher does before each read, while its image is young.
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if now_ns >= clock["stale_at_ns"]:
            clock["stale_at_ns"] = now_ns + 50_000_000

    async def guard(writes: Sequence[ClientWrite], _whole: bool) -> list[None]:
        return [None] * len(writes)

    await endpoint.open(guard=guard, refresh=refresh, news=lambda *_: None)
    print(endpoint.bound, f"{time.monotonic() - began_s:.3f}", flush=True)
    while True:
        endpoint.publish({"/bench/s0/p0/epoch": PointValue(value=stamp(), quality=Quality.GOOD)})
        await asyncio.sleep(STAMP_S)


# --------------------------------------------------------------------------- pymodbus, fixed


class Ordered(ServerRequestHandler):
    """A connection of pymodbus's that answers every frame, in order, each with its own ids; nothing else is added."""

    transport: Any

    def callback_connected(self) -> None:
        """Begin to answer."""
        super().callback_connected()
        self._requests: asyncio.Queue[Any] = asyncio.Queue(_QUEUE_MAX)
        self._answering = self.loop.create_task(self._answer_in_order())

    def callback_disconnected(self, exc: Exception | None) -> None:
        """Stop answering."""
        super().callback_disconnected(exc)
        self._answering.cancel()

    def send(self, data: bytes, addr: tuple[Any, ...] | None = None) -> None:
        """Send; the base class forgets what it had already received, and the next frame may lie there."""
        pending = self.recv_buffer
        super().send(data, addr)
        self.recv_buffer = pending

    def callback_data(self, data: bytes, addr: tuple[Any, ...] | None = None) -> int:
        """Take every whole frame."""
        used = 0
        while len(data) - used >= _MBAP + 2:
            length = int.from_bytes(data[used + 4 : used + _MBAP], "big")
            if data[used + 2 : used + 4] != b"\0\0" or not _LENGTH_MIN <= length <= _LENGTH_MAX:
                self.transport.abort()
                return len(data)
            if len(data) - used < _MBAP + length:
                break
            frame = data[used : used + _MBAP + length]
            used += len(frame)
            self.last_pdu = None
            TransactionManager.callback_data(self, frame, addr)
            taken: Any = self.last_pdu
            if taken is not None:
                try:
                    self._requests.put_nowait(taken)
                except asyncio.QueueFull:
                    self.transport.abort()
                    return len(data)
        return used

    async def _answer_in_order(self) -> None:
        while True:
            pdu = await self._requests.get()
            if pdu.dev_id in self.server.context.devices:
                answer = await pdu.datastore_update(self.server.context, pdu.dev_id)
            else:
                answer = ExceptionResponse(pdu.function_code, ExcCodes.GATEWAY_NO_RESPONSE)
            answer.transaction_id, answer.dev_id = pdu.transaction_id, pdu.dev_id
            self.server_send(answer, None)  # type: ignore[no-untyped-call] # untyped in pymodbus


class FixedServer(ModbusTcpServer):
    """pymodbus's server with that connection."""

    def callback_new_connection(self) -> Ordered:
        """Return the handler of one client."""
        return Ordered(self, None, None, None)  # type: ignore[no-untyped-call] # untyped in pymodbus


async def serve_bare(*, began_s: float) -> None:
    """Serve the same registers by pymodbus."""
    data = [SimData(0, values=[0] * _REGISTERS, datatype=DataType.REGISTERS)]
    server = FixedServer(SimDevice(1, simdata=data), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    listening: Any = server.transport
    host, port = listening.sockets[0].getsockname()[:2]
    print(f"{host}:{port}", f"{time.monotonic() - began_s:.3f}", flush=True)
    while True:
        now = stamp()
        await server.async_setValues(1, 16, STAMP_ADDRESS, [now >> 16, now & 0xFFFF])
        await asyncio.sleep(STAMP_S)


async def _until_input_ends(serving: asyncio.Task[None]) -> None:
    """Serve until whoever started us goes, or the server fails."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ending = loop.create_task(reader.read())
    await asyncio.wait([serving, ending], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    serving.cancel()


async def _main(which: str, pumps: int) -> None:
    began_s = time.monotonic()
    serving = asyncio.create_task(
        serve_ours(pumps, began_s=began_s) if which == "ours" else serve_bare(began_s=began_s)
    )
    await _until_input_ends(serving)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
