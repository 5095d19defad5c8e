"""What `wire check` tries of the endpoints' security: everything that must be turned away (MOD-4, OPC-4, SEC-4).

Each attempt is a stranger's: without a certificate, with a version that is too old, with a certificate made for this
moment. It is turned away and leaves what strangers leave: a line in the log, a record in the audit trail, and of a
certificate that OPC UA rejects a file in the folder of the rejected.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from asyncua import ua

from actors.vocabulary import DeviceError
from ops.kit.clients import ANSWER_S, ModbusWire, OpcUaWire
from ops.kit.papers import Papers, TlsPapers
from ops.kit.report import Finding, Subject

_STRANGER: Final = "calejo-wire-stranger"
_STRANGER_URI: Final = "urn:calejo:wire:stranger"
# Read one holding register of unit 1: whatever the answer, it is one.
_REQUEST: Final = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 1)
_ALERT, _HANDSHAKE = 0x15, 0x16
_TLS_1_1: Final = b"\x03\x02"
# Of TLS 1.1 and before, in RFC 4346 and RFC 4492.
_OLD_SUITES: Final = b"\xc0\x09\xc0\x0a\xc0\x13\xc0\x14\x00\x2f\x00\x35"


async def modbus_tls(
    subject: Subject, host: str, port: int, papers: TlsPapers | None
) -> AsyncIterator[Finding]:
    """Modbus/TLS lets in who shows a certificate, by TLS 1.2 or newer, and nobody else."""
    where = f"{host}:{port} (TLS)"
    if papers is not None:
        wire = ModbusWire(host, port, papers)
        fault = ""
        try:
            await wire.open()
        except DeviceError as error:
            fault = str(error)
        finally:
            wire.close()
        yield subject.finding("modbus tls connects", where, fault, "with its certificate")
    else:
        yield subject.note("modbus tls connects", where, "there is no certificate to show: not tried")
    fault = await _without_certificate(host, port)
    yield subject.finding("modbus tls asks for a certificate", where, fault, "nothing answered without one")
    fault = await _old_version(host, port)
    yield subject.finding("modbus tls refuses TLS 1.1", where, fault, "no handshake")


async def opcua_strangers(subject: Subject, wire: OpcUaWire) -> AsyncIterator[Finding]:
    """Nobody is let in without security, nor with a certificate that nobody trusts; where that is offered, a note."""
    offered = await wire.endpoints()
    if any(policy == "None" or "Anonymous" in tokens for policy, _, tokens in offered):
        detail = "it lets anonymous clients in, by its settings: not tried"
        yield subject.note("opcua refuses strangers", wire.where, detail)
        return
    fault = await _session(OpcUaWire(wire.where), "a client without security and without a name")
    yield subject.finding("opcua refuses the unsecured", wire.where, fault, "no session")
    with tempfile.TemporaryDirectory(prefix="calejo-") as folder:
        papers = await asyncio.to_thread(_throw_away, Path(folder))
        fault = await _session(OpcUaWire(wire.where, papers), "a certificate that nobody trusts")
    yield subject.finding("opcua refuses unknown certificates", wire.where, fault, "no session")


async def _session(wire: OpcUaWire, who: str) -> str:
    """Return what is wrong: it got a session, or nobody knows; '' the server refused it."""
    try:
        await wire.open()
    except DeviceError as error:
        return (
            "" if isinstance(error.__cause__, ua.UaStatusCodeError) else f"{who}: not refused, but: {error}"
        )
    finally:
        await wire.close()
    return f"{who} got a session"


def _throw_away(folder: Path) -> Papers:
    from ops.certificates import self_made_opcua
    from storage.certificates import files_of

    files = files_of(folder, _STRANGER)
    self_made_opcua(files, uri=_STRANGER_URI, now=datetime.now(UTC))  # noqa: TID251  (a shell without a clock)
    return Papers(certificate=str(files.certificate), private_key=str(files.private_key), uri=_STRANGER_URI)


async def _without_certificate(host: str, port: int) -> str:
    """Return what is wrong: a request was answered; '' it was not. TLS 1.3 refuses after the handshake only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is told to this server, and nothing of it believed.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(2 * ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                writer.write(_REQUEST)
                answer = await reader.read(1)
            finally:
                writer.close()
    except TimeoutError:
        return "neither answered nor hung up on"
    except (OSError, ssl.SSLError):
        return ""
    return "a request was answered" if answer else ""


async def _old_version(host: str, port: int) -> str:
    """Return what is wrong: the server would shake hands by TLS 1.1; '' it would not.

    The first message is made by hand: this machine's own library may refuse to speak so old a version.
    """
    body = (
        _TLS_1_1 + os.urandom(32) + b"\x00" + len(_OLD_SUITES).to_bytes(2, "big") + _OLD_SUITES + b"\x01\x00"
    )
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    try:
        async with asyncio.timeout(2 * ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
                answer = await reader.read(1)
            finally:
                writer.close()
    except TimeoutError:
        return "neither answered nor hung up on"
    except OSError:
        return ""
    if not answer or answer[0] == _ALERT:
        return ""
    return "it shakes hands by TLS 1.1" if answer[0] == _HANDSHAKE else "it does not speak TLS"
