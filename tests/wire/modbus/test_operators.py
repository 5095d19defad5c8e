"""What operators ask for by Modbus: registers and command coils, and the input side of the map."""

from __future__ import annotations

import asyncio
import struct

from actors.vocabulary import Mode, Quality, Reason, WriteRefusal
from protocols.modbus.points import STATE_BASE, STATE_BITS, STATES
from protocols.points import FEEDBACK_POINTS, PointValue
from tests.wire.modbus.served import Raw, pdu, served

P1 = "/north/s1/p1"


def test_a_speed_and_a_mode_are_asked_for_in_one_request_and_read_back() -> None:
    """MOD-2, CTL-7: what was taken reads back as asked; what came of it stands in the handshake block."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            asked = pdu(16, 140, 2, data=struct.pack(">2H", Mode.MANUAL, 3550))
            assert await client.ask(asked) == pdu(16, 140, 2)
            assert [[(write.path, write.value) for write in request] for request in publisher.requests] == [
                [(f"{P1}/mode_request", 2), (f"{P1}/setpoint_request", 35.5)]
            ]
            assert await client.ask(pdu(3, 140, 2)) == b"\x03\x04" + struct.pack(">2H", 2, 3550)
            publisher.refusals = {f"{P1}/setpoint_request": WriteRefusal.INVALID_STATE}
            assert await client.ask(pdu(6, 141, 4000)) == b"\x86\x01"
            assert await client.ask(pdu(3, 141, 1)) == b"\x03\x02" + struct.pack(">H", 3550)
            await client.close()

    asyncio.run(story())


def test_a_command_coil_asks_for_its_mode_and_shows_the_mode() -> None:
    """MOD-2: writing 1 asks, writing 0 changes nothing, what reads back is the pump's mode."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            publisher.show({f"{P1}/mode": Mode.AUTO})
            assert await client.ask(pdu(1, 2000, 2)) == b"\x01\x01\x01"
            assert await client.ask(pdu(5, 2001, 0xFF00)) == pdu(5, 2001, 0xFF00)
            assert await client.ask(pdu(5, 2000, 0)) == pdu(5, 2000, 0)
            assert await client.ask(pdu(15, 2000, 2, data=b"\0")) == pdu(15, 2000, 2)
            assert [[(write.path, write.value) for write in request] for request in publisher.requests] == [
                [(f"{P1}/mode_request", Mode.MANUAL)]
            ]
            publisher.show({f"{P1}/mode": Mode.MANUAL})
            assert await client.ask(pdu(1, 2000, 2)) == b"\x01\x01\x02"
            await client.close()

    asyncio.run(story())


def test_input_registers_show_what_holding_registers_show() -> None:
    """MOD-2: status and feedback as seen, read by function 4 at the same addresses, in one request."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            publisher.show({f"{P1}/setpoint": 35.25, f"{P1}/epoch": 70_000, f"{P1}/wet_well_level": -1.5})
            holding, inputs = await client.ask(pdu(3, 100, 33)), await client.ask(pdu(4, 100, 33))
            assert inputs[1:] == holding[1:]
            registers = struct.unpack(">33H", inputs[2:])
            assert (registers[3], registers[6:8], registers[28:30]) == (3525, (1, 4464), (0xFFFF, 0xFA24))
            assert await client.ask(pdu(4, 0, 1)) == b"\x04\x02\0\0"
            await client.close()

    asyncio.run(story())


def test_one_read_gives_every_state_bit_of_a_pump() -> None:
    """MOD-2: discrete inputs: the block of a pump, its gaps 0, next to nobody else's."""

    async def story() -> None:
        async with served() as publisher:
            client = await Raw.connect(publisher)
            shown = {
                "remote_enabled": True,
                "reason": Reason.EMERGENCY_STOP,
                "mode": Mode.AUTO,
                "running": True,
            }
            publisher.show({f"{P1}/{point}": value for point, value in shown.items()})
            publisher.endpoint.publish({f"{P1}/high_float": PointValue(value=False, quality=Quality.BAD)})
            answer = await client.ask(pdu(2, STATE_BASE, STATE_BITS))
            bits = int.from_bytes(answer[2:], "little")
            named = {state.point for state in STATES if bits >> state.offset & 1}
            assert named == {"is_enabled", "is_stopped", "is_auto", "is_running", "good_running"}
            other = await client.ask(pdu(2, STATE_BASE + STATE_BITS, STATE_BITS))
            assert other == b"\x02\x04" + bytes(4)
            beyond = await client.ask(pdu(2, STATE_BASE + 2 * STATE_BITS, 1))
            assert beyond == b"\x82\x02"
            assert len(FEEDBACK_POINTS) + 16 <= STATE_BITS
            await client.close()

    asyncio.run(story())
