"""The Modbus endpoint through programs of somebody else's make: nmap, modbus-serial (plain and TLS), openssl."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.vocabulary.access import UserRole
from protocols.modbus.clients import allow_list
from protocols.modbus.server import ModbusAccess
from tests.wire.modbus.certificates import Pki
from tests.wire.modbus.served import Publisher, frame, pdu, port_of, served

pytestmark = [pytest.mark.wire, pytest.mark.services]
DEADLINE_S = 30.0


async def output_of(*arguments: object, given: bytes = b"", wait_s: float = 60.0) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(str(each) for each in arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(given), wait_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")


class Node:
    """modbus-serial in a process of its own: a line of JSON in, a line of JSON out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, **command: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), DEADLINE_S)
        return json.loads(line)


@asynccontextmanager
async def modbus_serial_client(folder: Path, port: int, *tls: Path) -> AsyncIterator[Node]:
    process = await asyncio.create_subprocess_exec(
        "node", "modbus/client.js", str(port), *(str(each) for each in tls),
        cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Node(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def tls_port(publisher: Publisher) -> int:
    return int(publisher.endpoint.bound_tls.rpartition(":")[2])


def test_nmap_discovers_no_more_than_there_is_and_nobody_notices(nmap: Path) -> None:
    """MOD-3, SEC-5: nmap's modbus-discover (functions 17 and 43 on every unit) is answered by exceptions alone."""

    async def story() -> None:
        async with served() as publisher:
            code, output = await output_of(
                nmap, "-n", "-Pn", "-p", port_of(publisher), "--script", "+modbus-discover",
                "--script-args", "modbus-discover.aggressive=true", "127.0.0.1", wait_s=100,
            )  # fmt: skip
            assert code == 0, output
            assert "open" in output, output
            # Units that are there refuse the function (01), those that are not are no gateway's target (0B).
            assert re.search(r"sid 0x1:\s*\n\|?\s*_?\s*error: ILLEGAL FUNCTION", output), output
            assert "Slave ID data" not in output
            assert "Device identification" not in output
            assert publisher.requests == []
            assert publisher.endpoint.told["exception_01"] >= 2

    asyncio.run(story())


def test_nmap_of_a_stranger_finds_a_port_that_says_nothing(nmap: Path) -> None:
    """MOD-4: not on the allow list: no frame is answered."""

    async def story() -> None:
        access = ModbusAccess(allow=allow_list("10.0.0.0/8=FIELD"))
        async with served(access=access) as publisher:
            code, output = await output_of(
                nmap, "-n", "-Pn", "-p", port_of(publisher), "--script", "+modbus-discover", "127.0.0.1"
            )
            assert code == 0, output
            assert "sid 0x" not in output
            assert publisher.endpoint.told["refused"] >= 1
            assert publisher.endpoint.told["exception_01"] == 0

    asyncio.run(story())


async def pipelined(node: Node, publisher: Publisher) -> None:
    """Ask for everything at once, several times over; each answer has to be its question's."""
    for pump, beat in (("s1/p1", 111), ("s1/p2", 222), ("s2/p3", 333)):
        publisher.show({f"/north/{pump}/heartbeat": beat})
    answers = await node.ask(
        pipeline=[
            {"unit": 1 if n % 3 else 2, "fc": 3, "address": 105 + (50 if n % 3 == 2 else 0), "count": 1}
            for n in range(60)
        ]
    )
    assert answers == [{"data": [(333, 111, 222)[n % 3]]} for n in range(60)]
    mixed = await node.ask(
        pipeline=[
            {"unit": 1, "fc": 6, "address": 121, "value": 7},
            {"unit": 1, "fc": 3, "address": 121, "count": 1},
            {"unit": 1, "fc": 3, "address": 60_000, "count": 1},
            {"unit": 9, "fc": 3, "address": 0, "count": 1},
            {"unit": 1, "fc": 4, "address": 105, "count": 1},
            {"unit": 1, "fc": 2, "address": 10_000, "count": 8},
        ]
    )
    assert mixed[0] == {"address": 121, "value": 7}
    assert mixed[1] == {"data": [7]}
    assert (mixed[2]["code"], mixed[3]["code"]) == (2, 11)
    assert mixed[4] == {"data": [111]}
    assert mixed[5] == {"data": [False] * 8}


def test_modbus_serial_pipelines(modbus_serial: Path) -> None:
    """MOD-3: sixty requests in flight on one connection, by a JavaScript client, none mixed up."""

    async def story() -> None:
        async with served() as publisher, modbus_serial_client(modbus_serial, port_of(publisher)) as node:
            await pipelined(node, publisher)
            assert await node.ask(pipeline=[{"unit": 1, "fc": 5, "address": 0, "value": True}]) == [
                {"address": 0, "state": True}
            ]
            assert publisher.requests[-1][0].path == "/north/s1/emergency_stop"

    asyncio.run(story())


def test_modbus_serial_pipelines_over_tls_with_its_role(modbus_serial: Path, tmp_path: Path) -> None:
    """MOD-1, SEC-4: the same client inside Node's own TLS, with a certificate by `calejo certs client`."""
    pki = Pki(tmp_path / "certs")
    pki.client("plc-7", UserRole.FIELD)
    files = [pki.folder / name for name in ("ca.pem", "client-plc-7.pem", "client-plc-7-key.pem")]

    async def story() -> None:
        async with (
            served(access=pki.access) as publisher,
            modbus_serial_client(modbus_serial, tls_port(publisher), *files) as node,
        ):
            await pipelined(node, publisher)
            refused = await node.ask(pipeline=[{"unit": 1, "fc": 5, "address": 0, "value": True}])
            assert refused[0]["code"] == 1, "a controller may not stop"
            assert len(publisher.refused) == 1

    asyncio.run(story())


@pytest.mark.parametrize(("version", "named"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_openssl_sees_what_the_specification_asks_for(
    tmp_path: Path, openssl: Path, version: str, named: str
) -> None:
    """SEC-4: TLS 1.2 and 1.3, forward secrecy, a client certificate asked for of our authority; a frame is answered."""
    pki = Pki(tmp_path / "certs")
    pki.client("panel", UserRole.READ_ONLY)
    folder = pki.folder

    async def story() -> None:
        async with served(access=pki.access) as publisher:
            process = await asyncio.create_subprocess_exec(
                openssl, "s_client", "-connect", f"127.0.0.1:{tls_port(publisher)}", version, "-CAfile",
                folder / "ca.pem", "-verify_return_error", "-cert", folder / "client-panel.pem", "-key",
                folder / "client-panel-key.pem", "-nocommands",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            answer = frame(0x4142, 1, b"\x03\x02\0\0")
            try:
                process.stdin.write(frame(0x4142, 1, pdu(3, 0, 1)))
                seen = b""
                async with asyncio.timeout(DEADLINE_S):
                    while answer not in seen:
                        more = await process.stdout.read(4096)
                        assert more, seen.decode(errors="replace")
                        seen += more
            finally:
                process.kill()
                await process.wait()
            assert named.encode() in seen
            assert b"Requested Signature Algorithms" in seen, "no certificate was asked for"
            assert re.search(rb"ECDHE|TLS_AES|TLS_CHACHA", seen)

    asyncio.run(story())
