"""Answers the requests of Modbus clients: reads from the image, writes through the guard, refuses with the right code.

How a refusal reads on the wire: unknown unit 0B; unknown function 01; an address that is missing, reserved or
read-only 02; a count, length or value that cannot be, or half of a 32-bit value, 03; something behind us
failed 04; a client asking too often 06; not permitted or not in this state 01 (the standard's own wording for
a server in the wrong state, and that of Modbus/TCP Security for a role that may not). A write request is carried out
whole or not at all, but for acknowledgements beside it: what the publisher accepted, a stop above all, is answered as
accepted whatever becomes of those. What was accepted shows when the publisher publishes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from actors.vocabulary import CallerError, Quality, WriteRefusal
from actors.vocabulary.access import Operation
from actors.vocabulary.client_calls import ClientCall, SeeAlarm, ShownAlarms
from protocols.endpoint import CallDesk, ClientWrite, Refresh, WriteGuard
from protocols.modbus import news
from protocols.modbus.alarms import unacknowledged
from protocols.modbus.clients import OPERATIONS
from protocols.modbus.connection import Connection
from protocols.modbus.door import Door
from protocols.modbus.image import IllegalAddress, IllegalValue, RegisterImage
from protocols.modbus.news import News
from protocols.modbus.points import ACKNOWLEDGE, COMMANDS, REQUEST_POINTS
from protocols.modbus.requests import (
    ExceptionCode,
    MaskWrite,
    Read,
    ReadWrite,
    Refusal,
    Request,
    Write,
    bits_pdu,
    parse,
    refusal_pdu,
    registers_pdu,
)
from protocols.points import PointValue, path_of

_CODES: Final[Mapping[WriteRefusal, ExceptionCode]] = {
    WriteRefusal.READ_ONLY: ExceptionCode.ILLEGAL_ADDRESS,
    WriteRefusal.UNKNOWN_POINT: ExceptionCode.ILLEGAL_ADDRESS,
    WriteRefusal.OUT_OF_RANGE: ExceptionCode.ILLEGAL_VALUE,
    WriteRefusal.BAD_TYPE: ExceptionCode.ILLEGAL_VALUE,
    WriteRefusal.NOT_PERMITTED: ExceptionCode.ILLEGAL_FUNCTION,
    WriteRefusal.INVALID_STATE: ExceptionCode.ILLEGAL_FUNCTION,
    WriteRefusal.DEVICE_FAILURE: ExceptionCode.DEVICE_FAILURE,
    # No Modbus request can be stale: it carries no time.
    WriteRefusal.STALE: ExceptionCode.ILLEGAL_FUNCTION,
}
assert set(_CODES) == set(WriteRefusal)

_WRITES: Final = (5, 6, 15, 16, 22, 23)
# Answers to an acknowledgement: seen by somebody else; gone from the list.
_SEEN_MEANWHILE: Final = (WriteRefusal.INVALID_STATE, WriteRefusal.UNKNOWN_POINT)
_STOP: Final = "emergency_stop"
_READ_WRITE: Final = 23
ACKNOWLEDGE_S: Final = 1.5
"""So long a client waits for its acknowledgements, and with it whatever it sent behind them: it may be a stop."""
ACKNOWLEDGING_MAX: Final = 8
"""Acknowledgements that go on behind clients which were answered."""


class RequestDesk:
    """One endpoint's answers. `image` is what it serves; the others are told when it opens."""

    def __init__(self, door: Door, told: News) -> None:
        """Start with nothing to serve and nobody behind."""
        self._door = door
        self._news = told
        self.image = RegisterImage()
        self.guard: WriteGuard | None = None
        self.refresh: Refresh | None = None
        self.call: CallDesk | None = None
        self.alarms: ShownAlarms | None = None
        self._acknowledging: set[asyncio.Task[None]] = set()

    async def answer(self, connection: Connection, unit_id: int, pdu: bytes) -> bytes:
        """Answer one request; every fault becomes an exception code."""
        function = pdu[0]
        try:
            return await self._judged(connection, unit_id, pdu)
        except Refusal as refusal:
            code, path, why = refusal.code, "", refusal.why
        except IllegalAddress as error:
            code, path = ExceptionCode.ILLEGAL_ADDRESS, error.path
            why = WriteRefusal.READ_ONLY if path else WriteRefusal.UNKNOWN_POINT
        except IllegalValue as error:
            code, path, why = ExceptionCode.ILLEGAL_VALUE, error.path, WriteRefusal.OUT_OF_RANGE
        except CallerError as error:
            self._news.tell(news.REFUSED, connection.peer, str(error))
            code, path, why = ExceptionCode.ILLEGAL_VALUE, "", None
        except Exception as error:  # noqa: BLE001 - told; this client hears 04
            self._news.tell(news.FAILED, connection.peer, repr(error))
            code, path, why = ExceptionCode.DEVICE_FAILURE, "", None
        self._news.count(f"exception_{code:02X}")
        if why is not None and function in _WRITES:
            await self._note_refused(connection, path or f"/modbus/{unit_id}/{function}", pdu, why)
        return refusal_pdu(function, code)

    async def _judged(self, connection: Connection, unit_id: int, pdu: bytes) -> bytes:
        """Answer one request.

        Raises:
            Refusal, IllegalAddress, IllegalValue: it is refused.

        """
        malformed: Refusal | None = None
        request: Request | None = None
        try:
            request = parse(pdu)
        except Refusal as refusal:
            malformed = refusal
        if request is None or not self._presses_stop(connection, unit_id, request):
            self._limit_rate(connection, pdu[0])
        if unit_id not in self.image:
            raise Refusal(ExceptionCode.NO_SUCH_UNIT, f"no unit {unit_id}", WriteRefusal.UNKNOWN_POINT)
        if request is None:
            assert malformed is not None, "what is no request has a fault"
            raise malformed
        return await self._perform(connection, unit_id, request)

    async def _perform(self, connection: Connection, unit_id: int, request: Request) -> bytes:
        match request:
            case Read():
                self._must_read(connection)
                values = self._fresh(unit_id, request.table, request.address, request.count)
                if request.table in ("coil", "discrete"):
                    return bits_pdu(request.function, values)
                return registers_pdu(request.function, values)
            case Write():
                await self._write(connection, unit_id, request.table, request.address, request.values)
                return request.echo
            case MaskWrite():
                (held,) = self._fresh(unit_id, "holding", request.address, 1)
                masked = held & request.and_mask | request.or_mask & ~request.and_mask
                await self._write(connection, unit_id, "holding", request.address, (masked,))
                return request.echo
            case ReadWrite():
                self._must_read(connection)
                # Seen before anything is written, or a refused reading would leave a write behind.
                self.image.check(unit_id, "holding", request.read_address, request.read_count)
                await self._write(connection, unit_id, "holding", request.write_address, request.values)
                values = self._fresh(unit_id, "holding", request.read_address, request.read_count)
                return registers_pdu(request.function, values)
            case _:
                assert_never(request)

    def _must_read(self, connection: Connection) -> None:
        if connection.caller.may(Operation.READ_POINTS):
            return
        if not connection.denied:
            connection.denied = True
            self._news.tell(news.REFUSED, connection.peer, "it has no role that may read")
        raise Refusal(ExceptionCode.ILLEGAL_FUNCTION, "may not read", WriteRefusal.NOT_PERMITTED)

    def _fresh(self, unit_id: int, table: str, address: int, count: int) -> list[int]:
        """Let the publisher judge ages first, so that nothing is served that outlived its lease."""
        assert self.refresh is not None
        self.refresh()
        if unit_id not in self.image:
            raise Refusal(ExceptionCode.NO_SUCH_UNIT, f"unit {unit_id} has gone")
        return self.image.read(unit_id, table, address, count)

    async def _write(
        self, connection: Connection, unit_id: int, table: str, address: int, raw: Sequence[int]
    ) -> None:
        assert self.guard is not None
        writes, acknowledged = self._wanted(connection, unit_id, table, address, raw)
        # Zeros to commands alone ask for nothing.
        verdicts = await self.guard(writes, True) if writes else ()
        for write, verdict in zip(writes, verdicts, strict=True):
            if verdict is not None:
                told = f"{write.path} = {write.value}: {verdict.value}"
                self._news.tell(news.WRITE_REFUSED, connection.peer, told)
                raise Refusal(_CODES[verdict], verdict.value)
        try:
            await self._acknowledge(connection, acknowledged)
        except Exception as error:
            if not writes:
                raise
            # What stands beside it was carried out: whoever pressed a stop must not be told that it failed.
            self._news.tell(news.FAILED, connection.peer, f"not acknowledged: {_text(error)}")
        connection.wrote_s = connection.heard_s
        # What an operator asked for reads back as asked; what came of it shows in the handshake block.
        asked = {
            write.path: PointValue(value=write.value, quality=Quality.GOOD)
            for write in writes
            if (point := self.image.point(write.path)) is not None and point.point in REQUEST_POINTS
        }
        self.image.take(asked)

    def _wanted(
        self, connection: Connection, unit_id: int, table: str, address: int, raw: Sequence[int]
    ) -> tuple[list[ClientWrite], list[str]]:
        """Return the points of a write, commands as the requests that they stand for, each with its refusal if any;
        and the objects whose alarms are to be acknowledged.
        """
        writes: list[ClientWrite] = []
        acknowledged: list[str] = []
        for write in self.image.decode_write(unit_id, table, address, raw):
            point = self.image.point(write.path)
            assert point is not None, "the image decodes its own points"
            path, value = write.path, write.value
            permitted = connection.caller.may(OPERATIONS[point.point])
            if permitted and not value and (point.point in COMMANDS or point.point == ACKNOWLEDGE):
                continue
            if permitted and point.point == ACKNOWLEDGE:
                acknowledged.append(path.rpartition("/")[0])
                continue
            if point.point in COMMANDS:
                target, value = COMMANDS[point.point]
                path = path_of(point.site_id, point.station_id, point.pump_id, target)
            refusal = None if permitted else WriteRefusal.NOT_PERMITTED
            writes.append(
                ClientWrite(
                    path=path, value=value, peer=connection.peer, refusal=refusal, caller=connection.shown
                )
            )
        return writes, acknowledged

    async def _acknowledge(self, connection: Connection, owners: Sequence[str]) -> None:
        """Acknowledge every alarm of these objects, one by one, as far as nobody else was quicker.

        An answer that takes longer than `ACKNOWLEDGE_S` is waited for no more; what was asked for goes on.

        Raises:
            Refusal: the alarms are not known, or whoever keeps them does not answer; too many wait already.

        """
        if not owners:
            return
        if self.call is None or self.alarms is None:
            raise Refusal(ExceptionCode.DEVICE_FAILURE, "the alarms are not known yet")
        if len(self._acknowledging) >= ACKNOWLEDGING_MAX:
            raise Refusal(ExceptionCode.BUSY, "too many acknowledgements at once")
        found = [alarm_id for owner in owners for alarm_id in unacknowledged(self.alarms, owner)]
        task = asyncio.get_running_loop().create_task(
            self._see(self.call, connection, tuple(dict.fromkeys(found))), name="modbus acknowledge"
        )
        self._acknowledging.add(task)
        done, _ = await asyncio.wait({task}, timeout=ACKNOWLEDGE_S)
        if done:
            self._acknowledging.discard(task)
            await task
            return
        task.add_done_callback(lambda ended: self._seen_late(ended, connection.peer))
        raise Refusal(ExceptionCode.DEVICE_FAILURE, f"not acknowledged within {ACKNOWLEDGE_S:g} s")

    async def _see(self, call: CallDesk, connection: Connection, alarm_ids: Sequence[str]) -> None:
        for alarm_id in alarm_ids:
            command = SeeAlarm(alarm_id=alarm_id, comment="Modbus coil")
            answer = await call(ClientCall(command=command, caller=connection.caller, peer=connection.peer))
            if answer.refusal is not None and answer.refusal not in _SEEN_MEANWHILE:
                raise Refusal(_CODES[answer.refusal], answer.detail)

    def _seen_late(self, task: asyncio.Task[None], peer: str) -> None:
        self._acknowledging.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._news.tell(news.FAILED, peer, f"not acknowledged: {_text(error)}")

    async def close(self) -> None:
        """End what goes on behind clients that have left."""
        tasks = tuple(self._acknowledging)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _note_refused(self, connection: Connection, path: str, pdu: bytes, why: WriteRefusal) -> None:
        """Have a write counted and audited that was refused before the publisher saw it; its answer stands anyway."""
        assert self.guard is not None
        # FC23 names what it reads first.
        at = 5 if pdu[0] == _READ_WRITE else 1
        address = int.from_bytes(pdu[at : at + 2], "big")
        refused = ClientWrite(
            path=path, value=address, peer=connection.peer, refusal=why, caller=connection.shown
        )
        try:
            await self.guard((refused,), True)
        except Exception as error:  # noqa: BLE001 - told; the connection goes on
            self._news.tell(news.FAILED, connection.peer, repr(error))

    def _presses_stop(self, connection: Connection, unit_id: int, request: Request) -> bool:
        """Whether this stops pumps, as far as its client may: such a request is never limited (EST-4)."""
        return (
            isinstance(request, Write)
            and request.table == "coil"
            and connection.caller.may(Operation.SET_STOP)
            and self.image.sets(unit_id, "coil", request.address, request.values, _STOP)
        )

    def _limit_rate(self, connection: Connection, function: int) -> None:
        budgets = self._door.budgets(connection)  # one that has left may still ask for what had arrived
        budget = None if budgets is None else budgets.writes if function in _WRITES else budgets.reads
        if budget is None or budget.take(connection.heard_s):
            connection.limited = False
            return
        if not connection.limited:
            connection.limited = True
            limits = self._door.limits
            what = f"more than {limits.requests_per_s:g} requests per second, or all together more than"
            self._news.tell(news.LIMITED, connection.peer, f"{what} {limits.pool_per_s:g} above their shares")
        raise Refusal(ExceptionCode.BUSY, "too many requests")


def _text(error: BaseException) -> str:
    return str(error.args[1]) if isinstance(error, Refusal) else repr(error)
