"""The measured OPC UA servers, each a process of its own: our endpoint, and bare asyncua with the same data.

`python -m ops.bench.opcua_servers ours|bare PUMPS CHANGES_PER_S FOLDER` prints its port and serves until its standard
input ends. Both let anybody read without security, and the client whose certificate they make in FOLDER with it. A
changing point's value is the monotonic clock (s) at its publication, which all processes share.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from actors.vocabulary import Quality, WriteRefusal
from actors.vocabulary.access import UserRole
from ops.bench.plants import plant
from ops.certificates import self_made_opcua
from protocols.endpoint import ClientWrite
from protocols.points import Point, PointType, PointValue, opcua_points
from storage.certificates import CertificateFiles, files_of

SLICE_S: Final = 0.01
CHANGING_MAX: Final = 1_000
CLIENT_URI: Final = "urn:calejo:bench"


def changing(points: Sequence[Point]) -> list[str]:
    """Return the paths of what changes: numbers, at most a thousand."""
    return [point.path for point in points if point.type is PointType.FLOAT][:CHANGING_MAX]


def papers(folder: Path) -> tuple[CertificateFiles, CertificateFiles]:
    """Make, where they are missing, and return the server's and the client's certificate and key."""
    own, client = files_of(folder, "own"), files_of(folder, "client")
    now = datetime.now(UTC)  # noqa: TID251 - a program of its own, it has no other clock
    self_made_opcua(own, now=now)
    self_made_opcua(client, uri=CLIENT_URI, now=now)
    return own, client


async def _ours(
    points: Sequence[Point], folder: Path
) -> tuple[int, Callable[[Sequence[str]], Awaitable[None]]]:
    from protocols.opcua import OpcUaEndpoint
    from protocols.opcua.admission import Rules
    from storage.opcua_pki import PkiFolder

    files, client = papers(folder)
    pki = PkiFolder(folder, lambda: files)
    pki.add_application("bench", pki.found(str(client.certificate))[1])
    rules = Rules(allow_none=True, anonymous_roles=frozenset({UserRole.READ_ONLY}))
    endpoint = OpcUaEndpoint("127.0.0.1", 0, rules=rules, pki=pki)

    async def guard(writes: Sequence[ClientWrite], _: bool) -> Sequence[WriteRefusal | None]:
        return [WriteRefusal.NOT_PERMITTED] * len(writes)

    await endpoint.configure(points)
    await endpoint.open(guard=guard, refresh=lambda: None, news=lambda *_: None)

    async def publish(paths: Sequence[str]) -> None:
        value = PointValue(value=time.monotonic(), quality=Quality.GOOD, utc_ns=time.time_ns())
        endpoint.publish(dict.fromkeys(paths, value))

    return int(endpoint.bound.rpartition(":")[2]), publish


async def _bare(
    points: Sequence[Point], folder: Path
) -> tuple[int, Callable[[Sequence[str]], Awaitable[None]]]:
    import socket

    from asyncua import Server, ua

    import protocols.opcua.decoding  # noqa: F401 - silences asyncua's logger; nothing else of ours is in it
    from protocols.opcua.ids import own
    from protocols.opcua.values import VARIANT_TYPES

    server = Server()
    await server.init()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    files, _ = papers(folder)
    server.set_security_policy(
        [ua.SecurityPolicyType.NoSecurity, ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt]
    )
    await server.load_certificate(str(files.certificate))
    await server.load_private_key(str(files.private_key))
    await server.register_namespace("urn:calejo")
    parent = server.get_objects_node()
    for point in points:
        value = False if point.type is PointType.BOOL else 0
        await parent.add_variable(
            own(point.path), ua.QualifiedName(point.point, 2), ua.Variant(value, VARIANT_TYPES[point.type])
        )
    await server.start()

    async def publish(paths: Sequence[str]) -> None:
        now: Any = datetime.now(UTC)  # noqa: TID251 - as ours stamps
        value = ua.DataValue(ua.Variant(time.monotonic(), ua.VariantType.Double), SourceTimestamp=now)
        for path in paths:
            await server.write_attribute_value(own(path), value)

    return port, publish


async def _main(kind: str, pumps: int, changes_per_s: int, folder: Path) -> None:
    points = opcua_points(plant(pumps))
    began_s = time.monotonic()
    port, publish = await (_ours(points, folder) if kind == "ours" else _bare(points, folder))
    paths = changing(points)
    await publish(paths)
    print(port, f"{time.monotonic() - began_s:.3f}", flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sent, start_s = 0, time.monotonic()
    while not ended.done():
        await asyncio.sleep(SLICE_S)
        # What is due by now, at most a second of it after a pause.
        due = min(int((time.monotonic() - start_s) * changes_per_s) - sent, changes_per_s)
        if due > 0:
            await publish([paths[(sent + number) % len(paths)] for number in range(due)])
            sent += due


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
