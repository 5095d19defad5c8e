"""`calejo wire check`: connects as a client to a site's own endpoints and sees whether they are what the map says.

Nothing of the process is changed: the only writes are such as every version must refuse (a read-only point gets the
value that it shows; a register that belongs to no point gets 0), and no emergency stop is ever written. What strangers
must not get is tried as well, and leaves what strangers leave (`check_tls`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

from actors.vocabulary import DeviceError
from ops.kit import check_both, check_modbus, check_opcua, check_tls
from ops.kit.clients import ModbusWire, OpcUaWire, Shown
from ops.kit.report import Finding, Subject, Verdict, is_loopback
from ops.kit.tags import Tag
from ops.kit.watch import Endpoint, modbus_of

_ASKED: Final = 100
# MOD-5 and OPC-6, with 50 clients; one client alone has no excuse.
_MODBUS_P99_S: Final = 0.050
_OPCUA_P99_S: Final = 0.100
_OPEN_S: Final = 1.0


def dark_site(endpoint: Endpoint) -> Finding:
    """Return the finding for a site that nobody serves."""
    subject = Subject(site_id=endpoint.site_id, tags=(), whole=False, without_plc=False)
    return subject.finding("served", endpoint.site_id, endpoint.dark)


async def check_site(
    endpoint: Endpoint, tags: Sequence[Tag], *, whole: bool, without_plc: bool
) -> list[Finding]:
    """Check both endpoints of a site for these tags; `whole`: they are all there are.

    A wire that does not answer ends its own part, and is a finding.
    """
    subject = Subject(site_id=endpoint.site_id, tags=tuple(tags), whole=whole, without_plc=without_plc)
    modbus, fault = _modbus_or_not(endpoint)
    opcua = OpcUaWire(endpoint.opcua_url, endpoint.papers)
    findings = [
        subject.finding("modbus connects", modbus.where, fault)
        if fault
        else await _opened(subject, "modbus connects", modbus.where, modbus.open),
        await _opened(subject, "opcua connects", opcua.where, opcua.open),
    ]
    has_modbus, has_opcua = (each.verdict is Verdict.PASS for each in findings)
    parts = [
        (has_modbus, "modbus", check_modbus.readable(subject, modbus)),
        (has_modbus, "modbus", check_modbus.edges(subject, modbus)),
        (has_modbus, "modbus", check_modbus.read_only(subject, modbus)),
        (has_opcua, "opcua", check_opcua.nodes(subject, opcua)),
        (has_opcua, "opcua", check_opcua.read_only(subject, opcua)),
        (has_opcua, "opcua", check_opcua.security(subject, opcua)),
        (has_opcua, "opcua", check_tls.opcua_strangers(subject, opcua)),
        (
            endpoint.modbus_tls_port != 0,
            "modbus",
            check_tls.modbus_tls(
                subject, endpoint.modbus_host, endpoint.modbus_tls_port, endpoint.modbus_papers
            ),
        ),
        (has_modbus and has_opcua, "both wires", check_both.agreement(subject, modbus, opcua)),
        (has_modbus and has_opcua, "both wires", check_both.handshake(subject, modbus, opcua)),
        (has_modbus, "modbus", _modbus_round_trip(subject, modbus)),
        (has_opcua, "opcua", _opcua_round_trip(subject, opcua)),
    ]
    try:
        for possible, wire, part in parts:
            if possible:
                findings += await _guarded(subject, wire, part)
        findings += await _listening(subject, endpoint)
    finally:
        modbus.close()
        await opcua.close()
    return findings


def _modbus_or_not(endpoint: Endpoint) -> tuple[ModbusWire, str]:
    """Return the client, and why it cannot even be tried ('' it can)."""
    try:
        return modbus_of(endpoint), ""
    except DeviceError as error:
        return ModbusWire(endpoint.modbus_host, endpoint.modbus_tls_port), str(error)


async def _opened(
    subject: Subject, check: str, where: str, open_it: Callable[[], Awaitable[None]]
) -> Finding:
    try:
        await open_it()
    except DeviceError as error:
        return subject.finding(check, where, str(error))
    return subject.finding(check, where, "")


async def _guarded(subject: Subject, wire: str, part: AsyncIterator[Finding]) -> list[Finding]:
    """Return a part's findings; a wire that falls silent in its middle is a finding as well."""
    found = []
    try:
        async for finding in part:
            found.append(finding)  # noqa: PERF401  (what was found before the fault counts)
    except DeviceError as error:
        found.append(subject.finding(f"{wire} answers", subject.site_id, str(error)))
    return found


async def _modbus_round_trip(subject: Subject, wire: ModbusWire) -> AsyncIterator[Finding]:
    for points in list(subject.pumps.values())[:1]:
        block = [tag for tag in points.values() if tag.places and tag.places[0].table == "holding"]
        yield await _timed(subject, "modbus round trip", wire.where, wire.read, block, _MODBUS_P99_S)


async def _opcua_round_trip(subject: Subject, wire: OpcUaWire) -> AsyncIterator[Finding]:
    for points in list(subject.pumps.values())[:1]:
        block = [tag for tag in points.values() if tag.node_id]
        yield await _timed(subject, "opcua round trip", wire.where, wire.read, block, _OPCUA_P99_S)


async def _timed(
    subject: Subject,
    check: str,
    where: str,
    read: Callable[[Sequence[Tag]], Awaitable[Mapping[str, Shown]]],
    tags: Sequence[Tag],
    most_s: float,
) -> Finding:
    loop = asyncio.get_running_loop()
    took: list[float] = []
    for _ in range(_ASKED):
        began_s = loop.time()
        await read(tags)
        took.append(loop.time() - began_s)
    took.sort()
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99) - 1]
    text = f"a pump's {len(tags)} points: p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms"
    if p99 > most_s:
        return subject.note(
            check, where, f"{text}; more than {most_s * 1e3:g} ms: is this machine or network busy?"
        )
    return subject.finding(check, where, "", text)


async def _listening(subject: Subject, endpoint: Endpoint) -> list[Finding]:
    """A server that is told to listen on loopback answers on no other address of this machine."""
    found = []
    bound = endpoint.modbus_listens or endpoint.modbus_host
    ports = [("modbus", bound, endpoint.modbus_port)] if endpoint.modbus_plain else []
    ports += [("modbus tls", bound, endpoint.modbus_tls_port)] if endpoint.modbus_tls_port else []
    host, _, port = endpoint.opcua_url.removeprefix("opc.tcp://").rpartition(":")
    ports.append(("opcua", host.strip("[]"), int(port)))
    others = list(_own_addresses())
    for wire, where, number in ports:
        if not is_loopback(where):
            if wire == "modbus":
                text = (
                    f"plain Modbus TCP on {where}: modbus.allow names addresses, which prove nothing; keep it in"
                    " its own network"
                )
                found.append(subject.note("modbus security", f"{where}:{number}", text))
            continue
        faults = [
            f"answers on {address}:{number} too" for address in others if await _answers(address, number)
        ]
        good = f"loopback only ({len(others)} other addresses tried)"
        found.append(subject.finding(f"{wire} listens", f"{where}:{number}", faults, good))
    return found


def _own_addresses() -> Iterator[str]:
    """Yield this machine's addresses that are no loopback: what its name resolves to, and where it would send from."""
    found = set()
    with contextlib.suppress(OSError):
        found |= {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    # A datagram socket that is connected sends nothing; it only takes the address of the route (RFC 5737, RFC 3849).
    for family, nowhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((nowhere, 9))
            found.add(str(probe.getsockname()[0]))
    yield from sorted(address for address in found if not is_loopback(address))


async def _answers(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), _OPEN_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
