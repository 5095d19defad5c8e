"""The Modbus endpoint read and written by mbpoll, a client in C that shares no code with us."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.wire.modbus.served import Publisher, port_of, served

pytestmark = [pytest.mark.wire, pytest.mark.services]


async def run(
    mbpoll: Path, publisher: Publisher, *arguments: str, write: tuple[str, ...] = ()
) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        mbpoll, "-m", "tcp", "-p", str(port_of(publisher)), "-0", "-1", "-o", "2", *arguments, "127.0.0.1", *write,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode is not None
    return process.returncode, output.decode()


def values(output: str) -> dict[int, str]:
    return {int(place): value for place, value in re.findall(r"^\[(\d+)\]:\s*(\S+)", output, re.MULTILINE)}


def test_mbpoll_reads_a_block(mbpoll: Path) -> None:
    """WDG-4: another maker's client reads the handshake block in one request, 32 bits high word first."""

    async def story() -> None:
        async with served() as publisher:
            publisher.show(
                {"/north/s1/p2/sequence": 513, "/north/s1/p2/setpoint": 41.25, "/north/s1/p2/sequence_end": 513,
                 "/north/s1/p2/epoch": 1_800_000_000, "/north/s1/p2/run_inhibit": True}
            )  # fmt: skip
            code, output = await run(mbpoll, publisher, "-a", "1", "-t", "4", "-r", "150", "-c", "12")
            assert code == 0, output
            assert values(output)[150] == values(output)[161] == "513"
            assert (values(output)[152], values(output)[153]) == ("1", "4125")
            code, output = await run(
                mbpoll, publisher, "-a", "1", "-t", "4:int", "-B", "-r", "156", "-c", "1"
            )
            assert code == 0, output
            assert values(output)[156] == "1800000000"

    asyncio.run(story())


def test_mbpoll_writes_feedback_and_sets_a_stop(mbpoll: Path) -> None:
    """EST-1: the coil; MOD-2: feedback in one request, read back."""

    async def story() -> None:
        async with served() as publisher:
            code, output = await run(
                mbpoll, publisher, "-a", "2", "-t", "4", "-r", "120", write=("0", "3", "4100", "4090")
            )
            assert code == 0, output
            assert [(write.path, write.value) for write in publisher.requests[0]] == [
                ("/north/s2/p3/local_override", False), ("/north/s2/p3/plc_heartbeat", 3),
                ("/north/s2/p3/setpoint_echo", 41.0), ("/north/s2/p3/actual_speed", 40.9),
            ]  # fmt: skip
            code, output = await run(mbpoll, publisher, "-a", "2", "-t", "0", "-r", "100", write=("1",))
            assert code == 0, output
            code, output = await run(mbpoll, publisher, "-a", "2", "-t", "0", "-r", "100", "-c", "1")
            assert values(output) == {100: "1"}

    asyncio.run(story())


@pytest.mark.parametrize(
    ("arguments", "write", "words"),
    [
        (("-a", "1", "-t", "4", "-r", "103"), ("4000",), "Illegal data address"),
        (("-a", "1", "-t", "4", "-r", "120"), ("7",), "Illegal data value"),
        (("-a", "1", "-t", "4", "-r", "1", "-c", "1"), (), "Illegal data address"),
        (("-a", "9", "-t", "4", "-r", "100", "-c", "1"), (), "Target device failed to respond"),
    ],
)
def test_mbpoll_is_told_why_it_was_refused(
    mbpoll: Path, arguments: tuple[str, ...], write: tuple[str, ...], words: str
) -> None:
    """MOD-3: the standard's exception, as the other side names it."""

    async def story() -> None:
        async with served() as publisher:
            code, output = await run(mbpoll, publisher, *arguments, write=write)
            assert code != 0
            assert words in output
            assert publisher.requests == []

    asyncio.run(story())
